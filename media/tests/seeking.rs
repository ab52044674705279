//! What is fetched before the first picture, at the start and after a seek, and where a seek lands.

mod common;

use baton_media::Kind;
use common::*;
use std::path::Path;

/// What Matroska calls SeekPreRoll: Opus asks for 80 ms.
const SETTLE_US: f64 = 80_000.0;
/// Two minutes, copied four times in a row: long enough that reading it all would show.
const LONG: &str = "-stream_loop 3 -i BBB -c copy";

/// Hands over one block at a time, the most urgent, until `done`; the number of blocks.
fn feed_until(feeder: &mut Feeder, what: &str, done: impl Fn(&Feeder) -> bool) -> u64 {
    let before = feeder.handed;
    for _ in 0..20_000 {
        feeder.drain();
        assert!(feeder.played.failed.is_none(), "{:?}", feeder.played.failed);
        if done(feeder) {
            return feeder.handed - before;
        }
        assert!(feeder.hand_most_urgent(), "{what}: nothing demanded, nothing produced");
    }
    panic!("{what}: no end in sight");
}

fn has_picture(feeder: &Feeder, generation: u32) -> bool {
    let track = feeder.played.first(Kind::Video);
    let segments = track.and_then(|t| feeder.played.segments.get(&t));
    segments.is_some_and(|s| s.iter().any(|s| s.generation == generation))
}

fn open(path: &Path) -> Feeder {
    let mut feeder = Feeder::new(read(path));
    feed_until(&mut feeder, "opening", |f| f.played.info.is_some());
    feeder
}

/// Seeks to each target (seconds) and returns the most blocks that one first picture needed.
fn check_seeks(path: &Path, targets: &[f64]) -> u64 {
    let (source, _) = packets(path, "v:0");
    let (sound, _) = packets(path, "a:0");
    let heard = sound.iter().find(|p| p.pts + p.duration.max(0.001) > 0.0005).map_or(f64::NAN, |p| p.pts.max(0.0));
    let first = source.iter().filter(|p| !p.discard).map(|p| p.pts).fold(f64::NAN, f64::min);
    let zero = first.min(heard);
    let mut most = 0;
    for &target in targets {
        let mut feeder = open(path);
        feeder.media.seek((target * 1e6) as u64);
        let blocks = feed_until(&mut feeder, "seeking", |f| has_picture(f, 1));
        most = most.max(blocks);
        if std::env::var_os("VERBOSE").is_some() {
            println!("{target}: {} KiB", kib(blocks));
        }
        let track = feeder.played.first(Kind::Video).expect("a video track");
        let first = feeder.played.segments[&track].iter().find(|s| s.generation == 1).expect("a segment").clone();
        let key = source.iter().rfind(|p| p.key && p.pts - zero <= target + 1e-6).unwrap_or(&source[0]);
        // The very first picture is stretched back to 0.
        let should = if std::ptr::eq(key, &source[0]) { 0.0 } else { key.pts - zero };
        let name = path.file_name().expect("a name");
        assert!(first.random_access, "{name:?} at {target}");
        let off = first.start_us as f64 / 1e6 - should;
        assert!(off.abs() < 0.0015, "{name:?}: seek to {target} landed {off} s from the key frame at {}", key.pts);
        // Both tracks go on past the target, without a hole around it, and sound begins early enough for its decoder to settle.
        feed_until(&mut feeder, "after the seek", |f| {
            f.played.inits.keys().all(|t| {
                let settle_us = if *t == track { 0.0 } else { SETTLE_US };
                let segments = f.played.segments.get(t).into_iter().flatten().filter(|s| s.generation == 1);
                let reach = segments.clone().map(|s| s.end_us).max().unwrap_or(0);
                let start = segments.map(|s| s.start_us).min().unwrap_or(u64::MAX);
                f.played.ended.contains(t)
                    || (reach as f64 > target * 1e6 + 1e5 && start as f64 <= (target * 1e6 - settle_us).max(0.0))
            })
        });
    }
    most
}

fn kib(blocks: u64) -> u64 {
    blocks * BLOCK / 1024
}

#[test]
fn the_first_picture_needs_the_index_and_one_sample() {
    let film = "-i BBB -c copy";
    let x264 = "-t 5 -i BBB -vf scale=426:240 -ac 2 -c:v libx264 -preset veryfast -g 48 -bf 3 -c:a aac";
    let vpx = "-ss 2 -t 5 -i BBB -vf scale=320:180 -ac 2 -deadline realtime -cpu-used 8 -b:v 300k -g 48";
    for (name, args, limit_kib) in [
        ("whole-start.mp4", format!("{film} -movflags +faststart"), 64),
        ("whole-end.mp4", film.to_string(), 96),
        ("long-end.mp4", LONG.to_string(), 192),
        ("whole.mkv", film.to_string(), 80),
        ("long-frag.mp4", format!("{LONG} -movflags +frag_keyframe+empty_moov+default_base_moof"), 80),
        ("h264.mkv", x264.to_string(), 80),
        ("vp9.webm", format!("{vpx} -c:v libvpx-vp9 -c:a libopus"), 80),
        ("vp8.webm", format!("{vpx} -c:v libvpx -c:a libvorbis"), 80),
    ] {
        let path = clip(name, &args);
        let mut feeder = Feeder::new(read(&path));
        let blocks = feed_until(&mut feeder, "starting", |f| has_picture(f, 0));
        println!("{name}: first picture after {} KiB of {} KiB", kib(blocks), feeder.file.len() / 1024);
        assert!(kib(blocks) <= limit_kib, "{name}: {} KiB", kib(blocks));
        let first = &feeder.played.segments[&feeder.played.first(Kind::Video).expect("video")][0];
        assert!(first.random_access && first.start_us == 0);
    }
}

#[test]
fn start_ranges_are_enough_for_the_first_picture() {
    for (name, args) in [
        ("whole-end.mp4", "-i BBB -c copy"),
        ("whole.mkv", "-i BBB -c copy"),
        ("long-frag.mp4", &format!("{LONG} -movflags +frag_keyframe+empty_moov+default_base_moof")),
    ] {
        let path = clip(name, args);
        let ranges = open(&path).media.start_ranges().expect("known once it is open");
        let mut feeder = Feeder::new(read(&path));
        for range in &ranges {
            let bytes = feeder.file.slice(range.start as usize..range.end as usize);
            feeder.media.handle_bytes(range.start, bytes);
        }
        feeder.drain();
        assert!(has_picture(&feeder, 0), "{name}: {ranges:?}");
        let total: u64 = ranges.iter().map(|r| r.end - r.start).sum();
        println!("{name}: start ranges {} KiB in {} parts", total / 1024, ranges.len());
    }
}

#[test]
fn a_seek_in_mp4_fetches_only_the_samples_from_the_key_frame_on() {
    let path = clip("long-end.mp4", LONG);
    let most = check_seeks(&path, &[0.0, 1.0, 31.7, 60.0, 107.9, 119.9]);
    println!("long-end.mp4: at most {} KiB to the picture after a seek", kib(most));
    assert!(kib(most) <= 128, "{}", kib(most));
    let path = clip("cut.mp4", "-ss 3.3 -t 4 -i BBB -c copy");
    let mut feeder = open(&path);
    feeder.media.seek(0);
    feed_until(&mut feeder, "back to the cut", |f| has_picture(f, 1));
}

#[test]
fn a_seek_in_fragments_uses_the_index_or_finds_its_way_without() {
    let targets = [0.0, 5.0, 31.7, 60.0, 107.9, 119.9];
    for (name, flags, limit_kib) in [
        ("long-frag.mp4", "+frag_keyframe+empty_moov+default_base_moof", 160),
        ("long-sidx.mp4", "+frag_keyframe+empty_moov+default_base_moof+global_sidx+skip_trailer", 128),
        ("long-bare.mp4", "+frag_keyframe+empty_moov+default_base_moof+skip_trailer", 2500),
        ("long-small.mp4", "+empty_moov+default_base_moof+skip_trailer -frag_duration 300000", 2500),
        ("long-apart.mp4", "+frag_keyframe+empty_moov+separate_moof+skip_trailer", 2500),
        // Each fragment has an index of its own, which says nothing of the others.
        ("long-dash.mp4", "+dash+frag_keyframe+empty_moov+skip_trailer", 2500),
    ] {
        let path = clip(name, &format!("{LONG} -movflags {flags}"));
        let most = check_seeks(&path, &targets);
        println!("{name}: at most {} KiB to the picture after a seek", kib(most));
        assert!(kib(most) <= limit_kib, "{name}: {}", kib(most));
    }
}

#[test]
fn a_seek_in_matroska_uses_cues_or_finds_its_way_without() {
    let targets = [0.0, 5.0, 31.7, 60.0, 107.9, 119.9];
    for (name, args, limit_kib) in [
        ("long.mkv", LONG.to_string(), 160),
        ("long-front.mkv", format!("{LONG} -cues_to_front 1"), 160),
        ("long-live.mkv", format!("{LONG} -live 1"), 2500),
    ] {
        let path = clip(name, &args);
        let most = check_seeks(&path, &targets);
        println!("{name}: at most {} KiB to the picture after a seek", kib(most));
        assert!(kib(most) <= limit_kib, "{name}: {}", kib(most));
    }
}

#[test]
fn a_recording_without_a_duration_gets_one() {
    for (name, args) in [
        ("long-live.mkv", format!("{LONG} -live 1")),
        ("long-bare.mp4", format!("{LONG} -movflags +frag_keyframe+empty_moov+default_base_moof+skip_trailer")),
        ("long-frag.mp4", format!("{LONG} -movflags +frag_keyframe+empty_moov+default_base_moof")),
    ] {
        let path = clip(name, &args);
        let mut feeder = open(&path);
        let known = |f: &Feeder| f.media.info().and_then(|i| i.duration_us);
        feed_until(&mut feeder, "finding the duration", |f| known(f).is_some());
        let seconds = known(&feeder).expect("known") as f64 / 1e6;
        assert!((seconds - 120.0).abs() < 0.5, "{name}: {seconds}");
    }
}

#[test]
fn segments_grow_from_one_sample_and_stay_short() {
    let path = clip("whole-end.mp4", "-i BBB -c copy");
    let mut feeder = open(&path);
    feed_until(&mut feeder, "three seconds", |f| {
        let track = f.played.first(Kind::Video);
        let segments = track.and_then(|t| f.played.segments.get(&t));
        segments.and_then(|s| s.last()).is_some_and(|s| s.end_us > 3_000_000)
    });
    let track = feeder.played.first(Kind::Video).expect("video");
    for segment in &feeder.played.segments[&track] {
        assert!(segment.end_us - segment.start_us < 1_000_000, "{} {}", segment.start_us, segment.end_us);
    }
}

#[test]
fn a_cache_that_is_full_asks_again_and_plays_on() {
    // 30 s at 30 Mbit/s and more do not fit into 32 MiB.
    let path = clip(
        "heavy.mp4",
        "-f lavfi -i nullsrc=s=640x360:d=6,geq=random(1)*255:128:128 -c:v libx264 -preset ultrafast -qp 10 -g 25",
    );
    let file = read(&path);
    assert!(file.len() > 40 << 20, "{}", file.len());
    // The second has little memory, and all that it may want is more than it keeps without looking.
    for ahead in [u64::MAX, 8 << 20] {
        let mut feeder = Feeder::new(file.clone());
        feeder.media.set_ahead(ahead);
        // Everything comes unasked, and in the wrong order.
        for block in (0..(file.len() as u64).div_ceil(BLOCK)).rev() {
            feeder.hand(block);
            feeder.drain();
        }
        feeder.play(3);
        let track = feeder.played.first(Kind::Video).expect("video");
        let total: usize = feeder.played.segments[&track].iter().map(|s| s.bytes.len()).sum();
        assert!(total > file.len() * 9 / 10, "{ahead}: {total}");
    }
}

#[test]
fn a_seek_in_a_transport_stream_finds_the_sync_sample() {
    let path = clip("long.ts", &format!("{LONG} -mpegts_flags +resend_headers"));
    let most = check_seeks(&path, &[0.0, 5.0, 31.7, 60.0, 107.9, 119.5]);
    println!("long.ts: at most {} KiB to the picture after a seek", kib(most));
    assert!(kib(most) <= 2500, "{}", kib(most));
}

#[test]
fn a_seek_in_sound_files_lands_near_and_costs_little() {
    let song = "-stream_loop 3 -i BBB -vn -ac 2";
    for (name, codec, exact) in [
        ("long.mp3", "libmp3lame", false),
        ("long.aac", "aac", false),
        ("long.flac", "flac", true),
        ("long.opus", "libopus", true),
        ("long.ogg", "libvorbis", true),
        ("long.wav", "pcm_s16le", true),
        ("long.m4a", "aac", true),
    ] {
        let path = clip(name, &format!("{song} -c:a {codec}"));
        let mut most = 0;
        for target in [30.0, 77.7, 118.0] {
            let mut feeder = open(&path);
            feeder.media.seek((target * 1e6) as u64);
            let heard = |f: &Feeder| {
                let segments = f.played.segments.values().flatten().filter(|s| s.generation == 1);
                segments.clone().any(|s| s.end_us as f64 > target * 1e6)
            };
            most = most.max(feed_until(&mut feeder, name, heard));
            let segments = feeder.played.segments.values().flatten().filter(|s| s.generation == 1);
            let start = segments.map(|s| s.start_us).min().expect("segments") as f64 / 1e6;
            let early = if exact { 4.0 } else { 0.2 };
            let settled = target - if exact { SETTLE_US / 1e6 } else { 0.0 };
            assert!(start <= settled && target - start < early, "{name}: seek to {target} starts at {start}");
        }
        println!("{name}: at most {} KiB to the sound after a seek", kib(most));
        assert!(kib(most) <= if name.contains("wav") { 640 } else { 512 }, "{name}: {}", kib(most));
    }
}

#[test]
fn a_jump_past_the_end_of_short_fragments_without_a_length_finds_the_last_picture() {
    // Most of these six hundred fragments hold no key frame, and none says how many there are.
    let path = clip(
        "short-frag.mp4",
        "-i BBB -c copy -movflags +empty_moov+default_base_moof+skip_trailer -frag_duration 50000",
    );
    let mut feeder = open(&path);
    feeder.media.seek(u64::MAX >> 2);
    feed_until(&mut feeder, "the last picture", |f| has_picture(f, 1));
    let seconds = feeder.media.info().and_then(|i| i.duration_us).expect("known by then") as f64 / 1e6;
    assert!((seconds - 30.0).abs() < 0.5, "{seconds}");
}
