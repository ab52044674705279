//! One picture by itself: which one, from which bytes, and that nothing else is touched by it.

mod common;

use baton_media::{Kind, Media, Picture, Still, Support};
use common::*;
use std::path::Path;
use std::process::{Command, Stdio};

const LONG: &str = "-stream_loop 3 -i BBB -c copy";

/// What the driver does: gives what is missing, as long as `may` it. The picture, and how many blocks it took.
fn ask(feeder: &mut Feeder, at_s: f64, may: bool) -> (Still, u64) {
    let mut blocks = 0;
    for _ in 0..1000 {
        match feeder.media.still((at_s * 1e6) as u64) {
            Still::Missing(range) if may => {
                assert!(!range.is_empty());
                let (from, to) = (range.start / BLOCK, range.end.div_ceil(BLOCK));
                for block in from..to {
                    let (start, end) = (block * BLOCK, ((block + 1) * BLOCK).min(feeder.file.len() as u64));
                    feeder.media.handle_bytes(start, feeder.file.slice(start as usize..end as usize));
                    blocks += 1;
                }
            }
            other => return (other, blocks),
        }
    }
    panic!("no end in sight");
}

fn open(path: &Path) -> Feeder {
    let mut feeder = Feeder::new(read(path));
    while feeder.played.info.is_none() {
        assert!(feeder.hand_most_urgent());
        feeder.drain();
    }
    feeder
}

/// The first picture that ffmpeg decodes of this, as grey of 16 × 9.
fn decoded(input: &[&str], stdin: Option<&[u8]>) -> Vec<u8> {
    let mut child = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin"].iter().filter(|it| stdin.is_none() || **it != "-nostdin"))
        .args(input)
        .args(["-frames:v", "1", "-vf", "scale=16:9,format=gray", "-f", "rawvideo", "-"])
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffmpeg must be installed: these tests compare with it");
    if let (Some(bytes), Some(mut pipe)) = (stdin, child.stdin.take()) {
        // It may stop reading once it has its picture.
        let _ = std::io::Write::write_all(&mut pipe, bytes);
    }
    let out = child.wait_with_output().expect("ffmpeg ends");
    assert_eq!(out.stdout.len(), 16 * 9);
    out.stdout
}

fn check(path: &Path, targets: &[f64]) -> u64 {
    let name = path.file_name().expect("a name");
    let (source, _) = packets(path, "v:0");
    let (sound, _) = packets(path, "a:0");
    let heard = sound.iter().find(|p| p.pts + p.duration.max(0.001) > 0.0005).map_or(f64::NAN, |p| p.pts.max(0.0));
    let zero = source.iter().filter(|p| !p.discard).map(|p| p.pts).fold(f64::NAN, f64::min).min(heard);
    let mut most = 0;
    for &target in targets {
        let mut feeder = open(path);
        let demands = feeder.media.demands();
        let (still, blocks) = ask(&mut feeder, target, true);
        let Still::Here(Picture { at_us, bytes, .. }) = still else { panic!("{name:?} at {target}: {still:?}") };
        most = most.max(blocks);
        let key = source.iter().rfind(|p| p.key && p.pts - zero <= target + 1e-6).unwrap_or(&source[0]);
        let should = if std::ptr::eq(key, &source[0]) { 0.0 } else { key.pts - zero };
        assert!((at_us as f64 / 1e6 - should).abs() < 0.0015, "{name:?} at {target}: {at_us} µs, not {should} s");
        let from = format!("{:.6}", (key.pts - 0.0005).max(0.0));
        let file = path.to_string_lossy();
        let right = decoded(&["-seek_timestamp", "1", "-ss", &from, "-i", &file], None);
        let ours = decoded(&["-i", "pipe:0"], Some(&bytes));
        let off = right.iter().zip(&ours).map(|(a, b)| u32::from(a.abs_diff(*b))).max().expect("pixels");
        assert!(off <= 2, "{name:?} at {target}: another picture, {off} of 255 off");
        // Asked again with all of it at hand it is the same; and playing goes on where it was.
        assert_eq!(
            ask(&mut feeder, target, false).0,
            Still::Here(Picture { at_us, bytes, track: feeder.played.first(Kind::Video).expect("video") })
        );
        let soonest = demands.first().expect("it wants to play").in_us;
        assert_eq!(feeder.media.generation(), 0);
        assert!(feeder.media.demands().first().is_none_or(|it| it.in_us >= soonest));
    }
    most
}

#[test]
fn a_still_is_the_last_key_frame_before_its_time_in_every_container() {
    let x264 = "-t 12 -i BBB -vf scale=426:240 -ac 2 -c:v libx264 -preset veryfast -g 48 -bf 3 -c:a aac";
    let vpx = "-ss 2 -t 8 -i BBB -vf scale=320:180 -ac 2 -deadline realtime -cpu-used 8 -b:v 300k -g 48";
    let targets = [0.0, 0.5, 2.1, 5.0, 7.7];
    for (name, args) in [
        ("still.mp4", x264.to_string()),
        ("still-frag.mp4", format!("{x264} -movflags +frag_keyframe+empty_moov+default_base_moof")),
        ("still.mkv", x264.to_string()),
        ("still.ts", x264.to_string()),
        ("still-vp9.webm", format!("{vpx} -c:v libvpx-vp9 -c:a libopus")),
        ("still-vp8.webm", format!("{vpx} -c:v libvpx -c:a libvorbis")),
    ] {
        check(&clip(name, &args), &targets);
    }
}

#[test]
fn a_still_costs_the_bytes_of_one_picture() {
    let most = check(&clip("long-end.mp4", LONG), &[0.0, 31.7, 60.0, 107.9]);
    println!("long-end.mp4: at most {} KiB for a still", most * BLOCK / 1024);
    assert!(most * BLOCK <= 128 << 10, "{most} blocks");
}

#[test]
fn where_bytes_are_missing_they_are_named_and_what_has_no_pictures_has_no_still() {
    let mut feeder = Feeder::new(read(&clip("long-end.mp4", LONG)));
    assert_eq!(ask(&mut feeder, 1.0, false).0, Still::None, "its index is not here");
    let mut feeder = open(&clip("long-end.mp4", LONG));
    let (still, _) = ask(&mut feeder, 60.0, false);
    let Still::Missing(range) = still else { panic!("{still:?}") };
    assert!(range.end <= feeder.file.len() as u64);
    // Naming them is no demand.
    assert!(feeder.media.demands().iter().all(|it| it.range.end <= range.start || it.range.start >= range.end));
    let mut sound = open(&clip("sound.flac", "-t 3 -i BBB -vn -c:a flac"));
    assert_eq!(ask(&mut sound, 1.0, true).0, Still::None);
    assert_eq!(Media::new(0, None, Support::default()).still(0), Still::None);
}
