//! Broken and hostile files: a reason, never a panic, never without end.

mod common;

use baton_media::{Fault, Media, Output, Reason, Support, fuzz};
use bytes::Bytes;
use common::*;

const TINY: &str = "-f lavfi -i testsrc2=s=64x36:r=10:d=2 -f lavfi -i sine=d=2:r=48000";
const X264: &str = "-c:v libx264 -preset ultrafast -bf 2 -g 5 -c:a aac -b:a 32k";
const VPX: &str = "-deadline realtime -cpu-used 8 -b:v 30k -g 5";

fn seeds() -> Vec<(&'static str, Bytes)> {
    let words = scratch("hostile-words.srt");
    std::fs::write(&words, "1\n00:00:00,200 --> 00:00:00,900\n<i>a</i>\n\n2\n00:00:01,000 --> 00:00:01,500\nb\n")
        .expect("writable");
    let words = words.display();
    let meta = scratch("hostile.meta");
    let chapter = |from: u32| format!("[CHAPTER]\nTIMEBASE=1/10\nSTART={from}\nEND={}\ntitle=Part {from}\n", from + 5);
    std::fs::write(&meta, [";FFMETADATA1\n", &chapter(0), &chapter(5), &chapter(10)].concat()).expect("writable");
    let meta = meta.display();
    let recipes = [
        ("tiny-start.mp4", format!("{TINY} {X264} -movflags +faststart")),
        ("tiny-end.mp4", format!("{TINY} {X264}")),
        ("tiny-frag.mp4", format!("{TINY} {X264} -movflags +frag_keyframe+empty_moov+default_base_moof")),
        ("tiny-sidx.mp4", format!("{TINY} {X264} -movflags +frag_keyframe+empty_moov+global_sidx+skip_trailer")),
        ("tiny-bare.mp4", format!("{TINY} {X264} -movflags +frag_keyframe+empty_moov+separate_moof+skip_trailer")),
        (
            "tiny.mov",
            format!("{TINY} -c:v libx265 -preset ultrafast -x265-params log-level=error -tag:v hvc1 -c:a aac"),
        ),
        ("tiny.mkv", format!("{TINY} {X264}")),
        ("tiny-flac.mkv", format!("{TINY} -c:v libx265 -preset ultrafast -x265-params log-level=error -c:a flac")),
        ("tiny-vp9.webm", format!("{TINY} -c:v libvpx-vp9 {VPX} -c:a libopus -b:a 16k")),
        ("tiny-vp8.webm", format!("{TINY} -c:v libvpx {VPX} -c:a libvorbis")),
        ("tiny-live.webm", format!("{TINY} -c:v libvpx {VPX} -c:a libopus -b:a 16k -live 1")),
        ("texts.mkv", format!("{TINY} -i {words} {X264} -c:s ass")),
        ("texts.mp4", format!("{TINY} -i {words} {X264} -c:s mov_text")),
        ("chapters.mp4", format!("{TINY} -i {meta} -map_chapters 2 {X264} -movflags disable_chpl")),
        ("tiny.ts", format!("{TINY} {X264}")),
        ("tiny.m2ts", format!("{TINY} -c:v libx264 -preset ultrafast -c:a ac3")),
        ("tiny-eac3.mp4", format!("{TINY} -c:v libx264 -preset ultrafast -c:a eac3 -b:a 2000k -t 0.4")),
        ("tiny.mp3", "-f lavfi -i sine=d=2:r=44100 -c:a libmp3lame -b:a 64k".into()),
        ("tiny.aac", "-f lavfi -i sine=d=2:r=44100 -c:a aac".into()),
        ("tiny.flac", "-f lavfi -i sine=d=1:r=8000 -c:a flac".into()),
        ("tiny.opus", "-f lavfi -i sine=d=2 -c:a libopus -b:a 16k".into()),
        ("tiny.ogg", "-f lavfi -i sine=d=2 -c:a libvorbis".into()),
        ("tiny-raw.mov", "-f lavfi -i sine=d=1:r=8000 -c:a pcm_s16le".into()),
        ("tiny-raw.mka", "-f lavfi -i sine=d=1:r=8000 -c:a pcm_s16le".into()),
        ("tiny.wav", "-f lavfi -i sine=d=1:r=8000 -c:a pcm_s16le".into()),
    ];
    recipes.into_iter().map(|(name, args)| (name, read(&clip(name, &args)))).collect()
}

fn mutate(file: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut out = file.to_vec();
    // Headers are few among the samples: half of the changes go to the first and the last bytes.
    let place = |out: &[u8], dice: &mut Dice| {
        let len = out.len() as u64;
        match dice.roll(4) {
            0 => dice.roll(len.min(1500)),
            1 => len - 1 - dice.roll(len.min(2500)),
            _ => dice.roll(len),
        }
    };
    for _ in 0..=dice.roll(4) {
        if out.is_empty() {
            break;
        }
        let at = place(&out, dice) as usize;
        match dice.roll(7) {
            0 => out[at] ^= 1 << dice.roll(8),
            1 => out[at] = [0, 1, 0x7f, 0x80, 0xff][dice.roll(5) as usize],
            2 => out.iter_mut().skip(at).take(4).for_each(|b| *b = 0xff),
            3 => out.iter_mut().skip(at).take(8).for_each(|b| *b = 0),
            4 => out.truncate(at),
            5 => drop(out.drain(at..(at + dice.roll(16) as usize).min(out.len()))),
            _ => {
                let from = place(&out, dice) as usize;
                let copy: Vec<u8> = out.iter().skip(from).take(dice.roll(64) as usize).copied().collect();
                out.splice(at..at, copy);
            }
        }
    }
    out
}

/// `cargo xtask fuzz` sets these for a long run with other mutants.
fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(usual)
}

#[test]
fn mutated_subtitles_never_panic() {
    let seeds: [&[u8]; 5] = [
        b"1\n00:00:01,500 --> 00:00:03,000\n<i>One</i> {\\an8}\n\n2\n00:00:04,000 --> 00:00:05,250\nCaf\xc3\xa9 & more\n",
        b"WEBVTT\n\nid\n00:01.000 --> 01:00:02.000 line:0\n<v Ann>Hi</v>\n",
        b"[Events]\nDialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,{\\i1\\p1}first\\N{\\r}second\n",
        b"\0\x07A < B&C\0\0\0\x16styl\0\0\0\x20vttc\0\0\0\x18payl<b>words</b>here",
        b"\x78\x9c\xcb\x48\xcd\xc9\xc9\x57\xc8\x40\x90\x00\x3a\x2e\x06\x7d",
    ];
    let (rounds, seed) = (setting("FUZZ_ROUNDS", 150) * 20, setting("FUZZ_SEED", 0));
    for file in seeds {
        for round in seed..seed + rounds {
            let mutant = mutate(file, &mut Dice(round * 7919 + 1));
            if std::panic::catch_unwind(|| fuzz::subtitles(&mutant)).is_err() {
                panic!("round {round}: {mutant:?}");
            }
        }
    }
}

#[test]
fn mutated_files_never_panic_and_always_end() {
    let (rounds, seed) = (setting("FUZZ_ROUNDS", 150), setting("FUZZ_SEED", 0));
    let endings = std::env::var("FUZZ_ENDINGS").unwrap_or_default();
    let wanted = |name: &str| endings.is_empty() || endings.split(',').any(|e| name.ends_with(&format!(".{e}")));
    for (name, file) in seeds().into_iter().filter(|(name, _)| wanted(name)) {
        fuzz::play(&file);
        fuzz::tags(&file);
        for round in seed..seed + rounds {
            let mut dice = Dice(round * 7919 + 1);
            let mutant = mutate(&file, &mut dice);
            let played = std::panic::catch_unwind(|| {
                fuzz::play(&mutant);
                fuzz::tags(&mutant);
            });
            if played.is_err() {
                let path = scratch(&format!("panic-{round}-{name}"));
                std::fs::write(&path, &mutant).expect("writable");
                panic!("{name}, round {round}: see {path:?}");
            }
        }
    }
}

fn outcome(file: &[u8]) -> Output {
    let file = Bytes::copy_from_slice(file);
    let mut media = Media::new(file.len() as u64, Some("film.mp4"), Support::default());
    media.handle_bytes(0, file);
    std::iter::from_fn(|| media.poll_output()).last().expect("an outcome")
}

#[test]
fn what_is_no_film_is_told_apart_from_what_is_broken() {
    assert_eq!(outcome(b"PK\x03\x04 a zip"), Output::Unsupported { reason: Reason::NotMedia });
    assert_eq!(outcome(b"x"), Output::Unsupported { reason: Reason::NotMedia });
    let Output::Failed(error) = outcome(b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x08mdat") else { panic!("not refused") };
    assert_eq!(
        (error.fault, error.to_string()),
        (Fault::Missing, "a required part is missing in moov at byte 24".into())
    );
    let Output::Failed(error) = outcome(b"\0\0\0\x10ftypisom\0\0\0\0\0\0\xff\xffmoov") else { panic!("not refused") };
    assert_eq!(error.to_string(), "ends too early in moov at byte 24");
    let empty = Media::new(0, None, Support::default()).poll_output();
    assert_eq!(empty, Some(Output::Unsupported { reason: Reason::NotMedia }));
}

#[test]
fn a_film_cut_off_in_the_middle_plays_up_to_there() {
    for (name, args) in [
        ("tiny-start.mp4", format!("{TINY} {X264} -movflags +faststart")),
        ("tiny-frag.mp4", format!("{TINY} {X264} -movflags +frag_keyframe+empty_moov+default_base_moof")),
        ("tiny.mkv", format!("{TINY} {X264}")),
    ] {
        let file = read(&clip(name, &args));
        let mut feeder = Feeder::new(file.slice(..file.len() * 6 / 10));
        feeder.play(5);
        assert!(feeder.played.failed.is_none(), "{name}: {:?}", feeder.played.failed);
        for (track, segments) in &feeder.played.segments {
            let end = segments.last().expect("segments").end_us;
            assert!((600_000..2_000_000).contains(&end), "{name} {track:?}: {end}");
        }
    }
}

#[test]
fn a_hole_in_the_middle_is_passed_over() {
    for (name, args) in [
        ("tiny-frag.mp4", format!("{TINY} {X264} -movflags +frag_keyframe+empty_moov+default_base_moof")),
        ("long-hole.mkv", "-t 20 -i BBB -c copy -cluster_time_limit 1000".to_string()),
    ] {
        let mut file = read(&clip(name, &args)).to_vec();
        let (from, to) = (file.len() * 45 / 100, file.len() * 55 / 100);
        file[from..to].fill(0xa5);
        let mut feeder = Feeder::new(file.into());
        feeder.play(5);
        assert!(feeder.played.failed.is_none(), "{name}: {:?}", feeder.played.failed);
        let longest = feeder.played.segments.values().filter_map(|s| s.last()).map(|s| s.end_us).max();
        let duration = feeder.played.info.as_ref().and_then(|i| i.duration_us).or(feeder.played.duration_us);
        assert!(
            longest.expect("segments") + 500_000 > duration.expect("a duration"),
            "{name}: {longest:?} {duration:?}"
        );
    }
}
