//! Matroska as other writers than ffmpeg make it: the same film packed, laced, without sizes or Cues plays the same.

mod common;

use baton_media::{Kind, Output};
use bytes::Bytes;
use common::*;

const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1f43_b675;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const CUES: u32 = 0x1c53_bb6b;
const SEEK_HEAD: u32 = 0x114d_9b74;
const SIMPLE_BLOCK: u32 = 0xa3;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;

/// An element: what is inside of the few that we change, the bytes of the others.
#[derive(Clone, Debug)]
struct Element {
    id: u32,
    body: Vec<u8>,
    children: Vec<Element>,
    /// Written without a size.
    open: bool,
}

fn read_all(mut data: &[u8]) -> Vec<Element> {
    let mut out = Vec::new();
    while let Some(first) = data.first() {
        let id_len = first.leading_zeros() as usize + 1;
        let id = data[..id_len].iter().fold(0, |v, b| v << 8 | u32::from(*b));
        let size_len = data[id_len].leading_zeros() as usize + 1;
        let size = data[id_len..id_len + size_len].iter().fold(0u64, |v, b| v << 8 | u64::from(*b));
        let size = (size & ((1 << (7 * size_len)) - 1)) as usize;
        let body = &data[id_len + size_len..][..size];
        let inside = matches!(id, SEGMENT | CLUSTER | TRACKS | TRACK_ENTRY | BLOCK_GROUP);
        let children = if inside { read_all(body) } else { Vec::new() };
        out.push(Element { id, body: if inside { Vec::new() } else { body.to_vec() }, children, open: false });
        data = &data[id_len + size_len + size..];
    }
    out
}

fn element(id: u32, body: &[u8]) -> Element {
    Element { id, body: body.to_vec(), children: Vec::new(), open: false }
}

fn write_all(list: &[Element]) -> Vec<u8> {
    let mut out = Vec::new();
    for one in list {
        let body = if one.children.is_empty() { one.body.clone() } else { write_all(&one.children) };
        let id = one.id.to_be_bytes();
        out.extend_from_slice(&id[id.iter().take_while(|b| **b == 0).count()..]);
        match one.open {
            true => out.extend_from_slice(&[0x01, 255, 255, 255, 255, 255, 255, 255]),
            false => out.extend_from_slice(&(body.len() as u64 | 1 << 56).to_be_bytes()),
        }
        out.extend_from_slice(&body);
    }
    out
}

/// The segment's children; what points at places (SeekHead, Cues) is left out, since places change.
fn inside(file: &[u8], change: impl FnOnce(&mut Vec<Element>)) -> Bytes {
    let mut all = read_all(file);
    let segment = all.iter_mut().find(|e| e.id == SEGMENT).expect("a segment");
    segment.children.retain(|e| !matches!(e.id, CUES | SEEK_HEAD));
    change(&mut segment.children);
    write_all(&all).into()
}

fn clusters(children: &mut [Element]) -> impl Iterator<Item = &mut Element> {
    children.iter_mut().filter(|e| e.id == CLUSTER)
}

/// Every block of one track, alone or in a group. Track numbers below 128 are one byte.
fn each_block(children: &mut [Element], track: u8, mut change: impl FnMut(&mut Vec<u8>)) {
    for cluster in clusters(children) {
        for block in &mut cluster.children {
            let inner = block.children.iter_mut().find(|e| e.id == BLOCK);
            let body = if block.id == SIMPLE_BLOCK { Some(&mut block.body) } else { inner.map(|b| &mut b.body) };
            if let Some(body) = body.filter(|b| b[0] == 0x80 | track) {
                change(body);
            }
        }
    }
}

fn add_encoding(children: &mut [Element], track: u8, algorithm: u8, settings: &[u8]) {
    let tracks = children.iter_mut().find(|e| e.id == TRACKS).expect("tracks");
    let number = |e: &Element| e.children.iter().any(|c| c.id == 0xd7 && c.body == [track]);
    let entry = tracks.children.iter_mut().find(|e| number(e)).expect("the track");
    let compression = write_all(&[element(0x4254, &[algorithm]), element(0x4255, settings)]);
    let encoding = write_all(&[element(0x5034, &compression)]);
    entry.children.push(element(0x6d80, &write_all(&[element(0x6240, &encoding)])));
}

fn zlib(children: &mut [Element], track: u8) {
    each_block(children, track, |b| {
        let packed = miniz_oxide::deflate::compress_to_vec_zlib(&b[4..], 6);
        b.splice(4.., packed);
    });
    add_encoding(children, track, 0, &[]);
}

/// Joins runs of `count` sound blocks of a cluster into one laced block.
fn lace(children: &mut [Element], track: u8, kind: u8, count: usize) {
    for cluster in clusters(children) {
        let mut out: Vec<Element> = Vec::new();
        let mut run: Vec<Element> = Vec::new();
        for block in std::mem::take(&mut cluster.children) {
            if block.id != SIMPLE_BLOCK || block.body[0] != 0x80 | track {
                // The very last block says in a group how much of it is padding.
                if block.id == BLOCK_GROUP && !run.is_empty() {
                    out.push(laced(&std::mem::take(&mut run), kind));
                }
                out.push(block);
                continue;
            }
            let same = run.first().is_none_or(|r| kind != 2 || r.body.len() == block.body.len());
            if run.len() == count || !same {
                out.push(laced(&std::mem::take(&mut run), kind));
            }
            run.push(block);
        }
        if !run.is_empty() {
            out.push(laced(&run, kind));
        }
        cluster.children = out;
    }
}

fn laced(run: &[Element], kind: u8) -> Element {
    let sizes: Vec<usize> = run.iter().map(|b| b.body.len() - 4).collect();
    let mut body = run[0].body[..4].to_vec();
    body[3] |= kind << 1;
    body.push(run.len() as u8 - 1);
    for (i, size) in sizes.iter().enumerate().take(run.len() - 1) {
        match kind {
            1 => {
                body.extend(std::iter::repeat_n(255, size / 255));
                body.push((size % 255) as u8);
            }
            // Two bytes hold the first size, two the differences.
            3 if i == 0 => body.extend_from_slice(&(0x4000 | *size as u16).to_be_bytes()),
            3 => {
                let difference = *size as i32 - sizes[i - 1] as i32 + 0x1fff;
                body.extend_from_slice(&(0x4000 | difference as u16).to_be_bytes());
            }
            _ => {}
        }
    }
    run.iter().for_each(|b| body.extend_from_slice(&b.body[4..]));
    element(SIMPLE_BLOCK, &body)
}

/// What a player gets to see: for each track all sample times and all bytes, and the cues.
type Seen = (Vec<(Vec<(f64, f64)>, Vec<u8>)>, Vec<String>);

fn seen(file: Bytes) -> Seen {
    let mut feeder = Feeder::new(file);
    feeder.play(9);
    let played = &feeder.played;
    assert!(played.failed.is_none(), "{:?}", played.failed);
    let tracks = played.inits.iter().map(|(track, init)| {
        let segments = &played.segments[track];
        let bytes = segments.iter().flat_map(|s| {
            let at = s.bytes.windows(4).position(|w| w == b"mdat").expect("mdat");
            s.bytes[at + 4..].to_vec()
        });
        (mp4_times(init, segments), bytes.collect())
    });
    let cues = played.others.iter().filter_map(|o| match o {
        Output::Cue { cue, .. } => Some(cue.text.clone()),
        _ => None,
    });
    (tracks.collect(), cues.collect())
}

fn check(name: &str, plain: &Seen, file: Bytes) {
    let ours = seen(file);
    assert_eq!(ours.1, plain.1, "{name}: cues");
    assert_eq!(ours.0.len(), plain.0.len(), "{name}: tracks");
    for (i, (ours, plain)) in ours.0.iter().zip(&plain.0).enumerate() {
        assert_eq!(ours.0.len(), plain.0.len(), "{name}: samples of {i}");
        let off = ours.0.iter().zip(&plain.0).position(|(a, b)| (a.0 - b.0).abs() > 0.0016);
        assert!(off.is_none(), "{name}: times of {i}: {:?}", off.map(|at| (at, ours.0[at], plain.0[at])));
        assert!(ours.1 == plain.1, "{name}: bytes of {i}");
    }
}

fn film(codec: &str) -> Bytes {
    let words = scratch("mkv-words.srt");
    std::fs::write(
        &words,
        "1\n00:00:00,500 --> 00:00:01,500\nHello hello hello\n\n2\n00:00:03,000 --> 00:00:04,000\n<i>Bye</i>\n",
    )
    .expect("writable");
    let args = format!(
        "-t 5 -i BBB -i {} -map 0:v -map 0:a -map 1 -vf scale=320:180 -c:v libx264 -preset veryfast -bf 3 -g 48 {codec} -c:s srt",
        words.display()
    );
    read(&clip("mkv-film.mkv", &args))
}

#[test]
fn packed_frames_are_unpacked() {
    let file = film("-c:a aac -ac 2");
    let plain = seen(file.clone());
    assert_eq!(plain.1, ["Hello hello hello", "<i>Bye</i>"]);
    check("zlib subtitles", &plain, inside(&file, |c| zlib(c, 3)));
    check("zlib sound", &plain, inside(&file, |c| zlib(c, 2)));
    let stripped = inside(&file, |c| {
        let mut common: Option<Vec<u8>> = None;
        each_block(c, 2, |b| {
            let same = |known: &Vec<u8>| known.iter().zip(&b[4..]).take_while(|(a, b)| a == b).count();
            common = Some(common.as_ref().map_or(b[4..].to_vec(), |known| known[..same(known)].to_vec()));
        });
        let prefix = common.expect("sound");
        each_block(c, 2, |b| drop(b.drain(4..4 + prefix.len())));
        add_encoding(c, 2, 3, &prefix);
    });
    check("header stripping", &plain, stripped);
}

#[test]
fn every_lacing_of_every_sound_codec_gives_the_same_times() {
    for codec in ["-c:a aac -ac 2", "-c:a libopus -ac 2", "-c:a libmp3lame -ac 2", "-c:a ac3 -ac 2", "-c:a flac -ac 2"]
    {
        let file = film(codec);
        let plain = seen(file.clone());
        for kind in [1, 2, 3] {
            check(&format!("{codec}, lacing {kind}"), &plain, inside(&file, |c| lace(c, 2, kind, 8)));
        }
    }
}

#[test]
fn sizes_and_indexes_may_be_missing() {
    let file = film("-c:a aac -ac 2");
    let plain = seen(file.clone());
    check("no Cues", &plain, inside(&file, |_| ()));
    check("clusters without sizes", &plain, inside(&file, |c| clusters(c).for_each(|e| e.open = true)));
    let mut all = read_all(&file);
    let segment = all.iter_mut().find(|e| e.id == SEGMENT).expect("a segment");
    segment.children.retain(|e| !matches!(e.id, CUES | SEEK_HEAD));
    clusters(&mut segment.children).for_each(|e| e.open = true);
    segment.open = true;
    check("nothing has a size", &plain, write_all(&all).into());
}

/// Only the first third is in the Cues (a writer that stopped, or that names few places).
#[test]
fn partial_cues_are_read_on_from() {
    let file = read(&clip("partial.mkv", "-stream_loop 1 -i BBB -c copy -cluster_time_limit 1000"));
    let at = file.windows(4).rposition(|w| w == CUES.to_be_bytes()).expect("cues");
    let mut cues = read_all(&file[at..]);
    let mut points = read_all(&cues[0].body);
    let all = points.len();
    points.truncate(all / 3);
    cues[0].body = write_all(&points);
    let short = [&file[..at], &write_all(&cues[..1])].concat();
    let target = 55_000_000;
    let first = |file: Bytes| {
        let mut feeder = Feeder::new(file);
        let mut dice = Dice(3);
        while feeder.played.info.is_none() {
            feeder.drain();
            feeder.hand_random(&mut dice);
        }
        feeder.media.seek(target);
        let picture = |f: &Feeder| {
            let track = f.played.first(Kind::Video)?;
            Some(f.played.segments.get(&track)?.iter().find(|s| s.generation == 1)?.start_us)
        };
        while picture(&feeder).is_none() {
            assert!(feeder.hand_random(&mut dice), "nothing demanded");
            feeder.drain();
        }
        (picture(&feeder), feeder.handed)
    };
    let (whole, short) = (first(file), first(short.into()));
    assert_eq!(whole.0, short.0);
    assert!(short.1 < 600, "{} blocks of {all} points", short.1);
}
