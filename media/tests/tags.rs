//! Titles, artists and covers, as ffmpeg writes them into each container.

mod common;

use baton_media::{TagReader, Tags, fuzz};
use bytes::Bytes;
use common::*;
use std::path::PathBuf;
use std::process::Command;

/// Reads a file's tags in blocks of 16 KiB; also how many bytes that took.
fn tags(file: &Bytes) -> (Tags, usize) {
    let mut reader = TagReader::new(file.len() as u64);
    let mut handed = 0;
    for _ in 0..1000 {
        let range = match reader.poll() {
            Ok(tags) => return (tags, handed),
            Err(range) => range,
        };
        assert!(range.start < range.end && range.end <= file.len() as u64, "{range:?} of {}", file.len());
        let (from, to) = (range.start as usize >> 14 << 14, (range.end as usize).next_multiple_of(1 << 14));
        let to = to.min(file.len());
        reader.handle_bytes(from as u64, file.slice(from..to));
        handed += to - from;
    }
    panic!("asks without end");
}

/// A picture of about 30 KB.
fn cover(ending: &str) -> PathBuf {
    clip(&format!("cover.{ending}"), "-f lavfi -i testsrc2=s=400x400 -frames:v 1")
}

const NAMES: &str = "-metadata title=Der_Käse -metadata artist=Ärzte -metadata album=Alles";

/// With a cover, as the container has it.
fn recipes() -> Vec<(&'static str, String, bool)> {
    let (jpeg, png) = (cover("jpg"), cover("png"));
    let sound = |picture: &PathBuf, codec: &str| {
        format!(
            "-t 20 -i BBB -i {} -map 0:a -map 1 -c:a {codec} -c:v copy -disposition:v attached_pic {NAMES}",
            picture.display()
        )
    };
    let film = "-t 20 -i BBB -c copy";
    vec![
        (
            "film.mp4",
            format!("-t 20 -i BBB -i {} -map 0 -map 1 -c copy -disposition:v:1 attached_pic {NAMES}", jpeg.display()),
            true,
        ),
        (
            "start.mp4",
            format!(
                "-t 20 -i BBB -i {} -map 0 -map 1 -c copy -disposition:v:1 attached_pic -movflags +faststart {NAMES}",
                png.display()
            ),
            true,
        ),
        ("frag.mp4", format!("{film} -movflags +frag_keyframe+empty_moov+default_base_moof {NAMES}"), false),
        ("keys.mov", format!("{film} -movflags use_metadata_tags {NAMES}"), false),
        ("plain.mov", format!("{film} {NAMES}"), false),
        ("names.3gp", format!("{film} {NAMES}"), false),
        ("film.mkv", format!("{film} -attach {} -metadata:s:t mimetype=image/jpeg {NAMES}", jpeg.display()), true),
        ("live.mkv", format!("{film} -live 1 {NAMES}"), false),
        ("sound.m4a", sound(&jpeg, "aac"), true),
        ("sound.flac", sound(&png, "flac -ac 1"), true),
        ("three.mp3", format!("{} -id3v2_version 3", sound(&jpeg, "libmp3lame")), true),
        ("four.mp3", format!("{} -id3v2_version 4", sound(&png, "libmp3lame")), true),
        ("names.opus", format!("-t 5 -i BBB -map 0:a -c:a libopus {NAMES}"), false),
        ("names.ogg", format!("-t 5 -i BBB -map 0:a -c:a libvorbis {NAMES}"), false),
        ("names.wav", format!("-t 5 -i BBB -map 0:a {NAMES}"), false),
        ("flac.ogg", format!("-t 5 -i BBB -map 0:a -c:a flac {NAMES}"), false),
    ]
}

#[test]
fn names_and_covers_are_what_ffmpeg_was_told() {
    for (name, args, has_cover) in recipes() {
        let file = read(&clip(&format!("tags-{name}"), &args));
        let (tags, handed) = tags(&file);
        assert_eq!(tags.title.as_deref(), Some("Der_Käse"), "{name}");
        assert_eq!(tags.artist.as_deref(), Some("Ärzte"), "{name}");
        assert!(name == "keys.mov" || tags.album.as_deref() == Some("Alles"), "{name}: {:?}", tags.album);
        let picture = tags.cover.as_ref().map(|cover| (cover.mime, &cover.bytes[..]));
        let expected = [("image/jpeg", read(&cover("jpg"))), ("image/png", read(&cover("png")))];
        assert_eq!(picture.is_some(), has_cover, "{name}");
        if let Some(picture) = picture {
            assert!(expected.iter().any(|(mime, bytes)| picture == (*mime, &bytes[..])), "{name}: {:?}", picture.0);
        }
        // The film itself is not read for it.
        let most = picture.map_or(0, |(_, bytes)| bytes.len()) + (256 << 10);
        assert!(handed <= most, "{name}: {handed} of {}", file.len());
    }
}

#[test]
fn a_picture_in_an_ogg_file_is_found_across_pages() {
    let jpeg = read(&cover("jpg"));
    let mut block = vec![0, 0, 0, 3, 0, 0, 0, 10];
    block.extend(b"image/jpeg\0\0\0\0");
    block.extend([0; 16]);
    block.extend((jpeg.len() as u32).to_be_bytes());
    block.extend_from_slice(&jpeg);
    let path = scratch("picture.meta");
    std::fs::write(&path, format!(";FFMETADATA1\nMETADATA_BLOCK_PICTURE={}\n", base64(&block).replace('=', "\\=")))
        .expect("writable");
    let file = read(&clip(
        "tags-picture.opus",
        &format!("-t 5 -i BBB -i {} -map 0:a -map_metadata 1 -c:a libopus", path.display()),
    ));
    assert_eq!(tags(&file).0.cover.map(|c| c.bytes), Some(jpeg));
}

/// By coreutils: another implementation than ours.
fn base64(bytes: &[u8]) -> String {
    let path = scratch("picture.block");
    std::fs::write(&path, bytes).expect("writable");
    let out = Command::new("base64").arg("-w0").arg(&path).output().expect("base64 runs");
    String::from_utf8(out.stdout).expect("letters")
}

#[test]
fn broken_tags_end_and_never_panic() {
    for (name, args, _) in recipes() {
        let file = read(&clip(&format!("tags-{name}"), &args));
        // What is read: the first and the last of it.
        let (begin, end) = (file.len().min(4000) as u64, file.len().min(100_000) as u64);
        for round in 0..60 {
            let mut dice = Dice(round * 7919 + 1);
            let mut mutant = file.to_vec();
            for _ in 0..=dice.roll(6) {
                let at = match dice.roll(2) {
                    0 => dice.roll(begin),
                    _ => mutant.len() as u64 - 1 - dice.roll(end),
                };
                mutant[at as usize] = [0, 1, 0x7f, 0xff, dice.roll(256) as u8][dice.roll(5) as usize];
            }
            mutant.truncate(mutant.len() - dice.roll(2) as usize * dice.roll(end) as usize);
            fuzz::tags(&mutant);
        }
    }
}
