//! Subtitles, chapters, titles and several sound tracks, as ffmpeg writes them into each container.

mod common;

use baton_media::{Chapter, Cue, Kind, Output, TrackId};
use common::*;
use std::path::{Path, PathBuf};

const CUES: [(u64, u64, &str); 3] = [
    (500_000, 1_500_000, "First <i>words</i>"),
    (2_000_000, 3_000_000, "Second & last\nline two"),
    (4_000_000, 4_800_000, "Ende gut"),
];

/// A file of our own. Tests run side by side, and some read it while others write it: what is there is always whole.
fn ingredient(name: &str, bytes: &[u8]) -> PathBuf {
    let (path, draft) = (scratch(name), scratch(&format!("{name}.{:?}", std::thread::current().id())));
    std::fs::write(&draft, bytes).and_then(|()| std::fs::rename(&draft, &path)).expect("a writable target directory");
    path
}

fn srt() -> PathBuf {
    let stamp = |us: u64| format!("00:00:{:02},{:03}", us / 1_000_000, us / 1000 % 1000);
    let cue = |(i, (from, to, text)): (usize, &(u64, u64, &str))| {
        format!("{}\n{} --> {}\n{text}\n\n", i + 1, stamp(*from), stamp(*to))
    };
    ingredient("words.srt", CUES.iter().enumerate().map(cue).collect::<String>().as_bytes())
}

fn meta() -> PathBuf {
    let chapter = |from: u64, to: u64, title: &str| {
        format!("[CHAPTER]\nTIMEBASE=1/1000\nSTART={from}\nEND={to}\ntitle={title}\n")
    };
    let all = [";FFMETADATA1\ntitle=A film\n", &chapter(0, 2500, "The beginning"), &chapter(2500, 6000, "Übrigens")];
    ingredient("film.meta", all.concat().as_bytes())
}

/// One film with two sound tracks, two subtitle tracks, chapters and a title.
fn film(name: &str, codecs: &str) -> PathBuf {
    let (srt, meta) = (srt(), meta());
    let args = format!(
        "-t 6 -i BBB -f lavfi -t 6 -i sine=440:r=48000 -i {srt} -i {srt} -i {meta} -map 0:v -map 0:a -map 1:a -map 2 -map 3 \
         -map_metadata 4 -map_chapters 4 -vf scale=320:180 {codecs} -g 48 -metadata:s:a:0 language=eng \
         -metadata:s:a:1 language=deu -metadata:s:a:1 title=Kommentar -metadata:s:s:0 language=eng -metadata:s:s:1 language=fra \
         -metadata:s:s:1 title=Signs -disposition:s:1 forced -disposition:a:1 0",
        srt = srt.display(),
        meta = meta.display()
    );
    clip(name, &args)
}

const AVC: &str = "-c:v libx264 -preset veryfast -c:a aac -ac 2";

fn films() -> Vec<PathBuf> {
    vec![
        film("texts.mp4", &format!("{AVC} -c:s mov_text")),
        // Chapters as QuickTime keeps them alone.
        film("texts-chap.mp4", &format!("{AVC} -c:s mov_text -movflags disable_chpl")),
        film("texts-frag.mp4", &format!("{AVC} -c:s mov_text -movflags +frag_keyframe+empty_moov+default_base_moof")),
        wvtt(),
        film("texts-srt.mkv", &format!("{AVC} -c:s srt")),
        film("texts-ass.mkv", &format!("{AVC} -c:s ass")),
        film("texts-vtt.mkv", &format!("{AVC} -c:s webvtt")),
        film("texts.webm", "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 300k -c:a libopus -ac 2 -c:s webvtt"),
    ]
}

fn wvtt() -> PathBuf {
    ingredient("texts-wvtt.mp4", &with_wvtt(&read(&film("texts.mp4", &format!("{AVC} -c:s mov_text")))))
}

struct Found {
    feeder: Feeder,
    cues: Vec<(TrackId, Cue)>,
    chapters: Vec<Chapter>,
}

fn play(path: &Path, pick: &[usize], seek_us: Option<u64>) -> Found {
    let mut found = Found { feeder: Feeder::new(read(path)), cues: Vec::new(), chapters: Vec::new() };
    let mut dice = Dice(77);
    let mut seek_us = seek_us;
    for _ in 0..100_000 {
        found.feeder.drain();
        for output in std::mem::take(&mut found.feeder.played.others) {
            match output {
                Output::Cue { track, cue } => found.cues.push((track, cue)),
                Output::Chapters(chapters) => found.chapters = chapters,
                other => panic!("{other:?}"),
            }
        }
        if let Some(info) = found.feeder.played.info.clone()
            && found.feeder.picked.is_none()
        {
            let text = |(i, t): (usize, &baton_media::Track)| (i < 2 || pick.contains(&i)).then_some(t.id);
            let ids: Vec<TrackId> = info.tracks.iter().enumerate().filter_map(text).collect();
            found.feeder.media.select(&ids);
            found.feeder.picked = Some(ids);
            if let Some(at) = seek_us.take() {
                found.feeder.media.seek(at);
            }
        }
        if found.feeder.done() && found.feeder.media.demands().is_empty() {
            return found;
        }
        if !found.feeder.hand_random(&mut dice) {
            found.feeder.playhead_us += 1_000_000;
            let at = found.feeder.playhead_us;
            found.feeder.media.set_playhead(at, at + 3_000_000);
        }
    }
    panic!("no end in sight");
}

#[test]
fn subtitles_of_every_container_become_cues() {
    for path in films() {
        let found = play(&path, &[3, 4], None);
        for track in [3, 4] {
            let mut cues: Vec<&Cue> = found.cues.iter().filter(|c| c.0 == TrackId(track)).map(|c| &c.1).collect();
            cues.dedup();
            assert_eq!(cues.len(), CUES.len(), "{path:?} {track}: {cues:?}");
            for (cue, (from, to, text)) in cues.iter().zip(CUES) {
                // ffmpeg's fragments forget the picture's delay, and when a subtitle ends, as ffprobe sees too; into Matroska it writes sound with
                // its priming, which moves all by 21 ms.
                let fragmented = path.to_string_lossy().contains("frag");
                assert!(cue.start_us.abs_diff(from) < if fragmented { 90_000 } else { 22_000 }, "{path:?}: {cue:?}");
                assert!(fragmented || cue.end_us.abs_diff(to) < 22_000, "{path:?}: {cue:?}");
                let plain = |text: &str| text.replace("<i>", "").replace("</i>", "").replace("&amp;", "&");
                assert_eq!(plain(&cue.text), plain(text), "{path:?}");
            }
        }
    }
}

/// A film with WebVTT in MP4 (ISO/IEC 14496-30), which ffmpeg does not write: made of one with tx3g. The samples lie in an `mdat` before `moov`.
fn with_wvtt(file: &[u8]) -> Vec<u8> {
    let boxed = |kind: &[u8], parts: &[&[u8]]| {
        let body = parts.concat();
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, &body].concat()
    };
    let word = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().expect("four")) as usize;
    let moov = file.windows(4).rposition(|w| w == b"moov").expect("moov") - 4;
    let samples = std::cell::RefCell::new(Vec::new());
    let moved = rewrite(&file[moov..], &|kind, body| {
        if kind != b"stbl" || !body.windows(4).any(|w| w == b"tx3g") {
            return None;
        }
        let table = |name: &[u8; 4]| -> Vec<usize> {
            let at = body.windows(4).position(|w| w == name).expect("a table");
            body[at + 8..].chunks_exact(4).map(|w| u32::from_be_bytes(w.try_into().expect("four")) as usize).collect()
        };
        let (sizes, chunks, runs) = (table(b"stsz")[1..].to_vec(), table(b"stco"), table(b"stsc"));
        let (mut sample, mut new_sizes, mut offsets) = (0, Vec::new(), Vec::new());
        for chunk in 0..chunks[0] {
            let run = (0..runs[0]).take_while(|i| runs[1 + 3 * i] <= chunk + 1).last().expect("a run");
            let mut at = chunks[1 + chunk];
            for _ in 0..runs[2 + 3 * run] {
                let length = usize::from(u16::from_be_bytes([file[at], file[at + 1]]));
                let text = String::from_utf8_lossy(&file[at + 2..at + 2 + length]).replace('&', "&amp;");
                let new = match text.is_empty() {
                    true => boxed(b"vtte", &[]),
                    false => boxed(b"vttc", &[&boxed(b"payl", &[text.as_bytes()])]),
                };
                let mut all = samples.borrow_mut();
                offsets.push((moov + 8 + all.len()) as u32);
                new_sizes.push(new.len() as u32);
                all.extend(new);
                at += sizes[1 + sample];
                sample += 1;
            }
        }
        let words = |list: &[u32]| list.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>();
        let count = sample as u32;
        let entry = boxed(b"wvtt", &[&[0, 0, 0, 0, 0, 0, 0, 1], &boxed(b"vttC", &[b"WEBVTT"])]);
        let times = body.windows(4).position(|w| w == b"stts").expect("times") - 4;
        let times_len = u32::from_be_bytes(body[times..times + 4].try_into().expect("four")) as usize;
        let new = [
            boxed(b"stsd", &[&words(&[0, 1]), &entry]),
            body[times..times + times_len].to_vec(),
            boxed(b"stsc", &[&words(&[0, 1, 1, 1, 1])]),
            boxed(b"stsz", &[&words(&[0, 0, count]), &words(&new_sizes)]),
            boxed(b"stco", &[&words(&[0, count]), &words(&offsets)]),
        ]
        .concat();
        Some(([&(new.len() as u32 + 8).to_be_bytes()[..], b"stbl"].concat(), new))
    });
    assert_eq!(word(moov) + moov, file.len(), "moov is at the end");
    [&file[..moov], &boxed(b"mdat", &[&samples.into_inner()]), &moved].concat()
}

#[test]
fn in_mp4_only_the_chosen_subtitles_are_fetched() {
    let found = play(&films()[0], &[4], None);
    assert!(!found.cues.is_empty() && found.cues.iter().all(|(track, _)| *track == TrackId(4)));
}

#[test]
fn after_a_seek_the_subtitle_under_way_comes_too() {
    for path in films() {
        let found = play(&path, &[3, 4], Some(4_400_000));
        let last = found.cues.iter().rfind(|(track, _)| *track == TrackId(3)).expect("a cue");
        assert_eq!(last.1.text, "Ende gut", "{path:?}");
    }
}

#[test]
fn tracks_are_named_and_chapters_known() {
    for path in films() {
        let found = play(&path, &[], None);
        let info = found.feeder.played.info.as_ref().expect("ready");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let kinds: Vec<Kind> = info.tracks.iter().map(|t| t.kind).collect();
        assert_eq!(kinds, [Kind::Video, Kind::Audio, Kind::Audio, Kind::Text, Kind::Text], "{name}");
        let languages: Vec<Option<&str>> = info.tracks.iter().skip(1).map(|t| t.language.as_deref()).collect();
        assert_eq!(languages[0], Some("eng"), "{name}");
        assert!(matches!(languages[1], Some("deu" | "ger")), "{name}: {languages:?}");
        assert!(matches!(languages[3], Some("fra" | "fre")), "{name}: {languages:?}");
        assert_eq!(info.tracks[2].name.as_deref(), Some("Kommentar"), "{name}");
        assert!(info.tracks[1].default && !info.tracks[2].default, "{name}");
        assert!(info.tracks[3].cues && info.tracks[4].cues);
        if name.ends_with("mkv") {
            assert!(info.tracks[4].forced && !info.tracks[3].forced, "{name}");
        }
        assert_eq!(info.title.as_deref(), Some("A film"), "{name}");
        let starts: Vec<(u64, &str)> = found.chapters.iter().map(|c| (c.start_us / 10_000, c.title.as_str())).collect();
        assert_eq!(starts, [(0, "The beginning"), (250, "Übrigens")], "{name}");
    }
}

/// The engine picks one sound track; another may be chosen while it plays, and goes on where the film is.
#[test]
fn another_sound_track_goes_on_where_the_film_is() {
    for path in films() {
        let mut feeder = Feeder::new(read(&path));
        let mut dice = Dice(5);
        while feeder.played.segments.get(&TrackId(1)).is_none_or(|s| s.len() < 5) {
            feeder.drain();
            feeder.hand_random(&mut dice);
        }
        feeder.media.set_playhead(2_200_000, 20_000_000);
        feeder.media.select(&[TrackId(0), TrackId(2)]);
        assert_eq!(feeder.media.generation(), 1);
        feeder.played.ended.clear();
        for _ in 0..10_000 {
            feeder.drain();
            if feeder.played.ended.contains(&TrackId(2)) && feeder.played.ended.contains(&TrackId(0)) {
                break;
            }
            feeder.hand_random(&mut dice);
        }
        let sound: Vec<&Segment> = feeder.played.segments[&TrackId(2)].iter().filter(|s| s.generation == 1).collect();
        let (start, end) = (sound[0].start_us, sound.last().expect("segments").end_us);
        assert!((2_000_000..=2_200_000).contains(&start) && end > 5_800_000, "{path:?}: {start} {end}");
        assert!(feeder.played.inits.contains_key(&TrackId(2)));
        // The picture went on where it was, or a decoder in the middle of it would wait for the next sync sample: nothing twice, nothing missing.
        let picture = &feeder.played.segments[&TrackId(0)];
        for pair in picture.windows(2) {
            assert_eq!(pair[0].end_us, pair[1].start_us, "{path:?}");
        }
        assert!(picture[0].start_us == 0 && picture.last().expect("segments").end_us > 5_800_000, "{path:?}");
    }
}
