//! What the tests share: clips made by ffmpeg, ffprobe's opinion of them, and a player that feeds the engine.
#![allow(dead_code)]

pub mod second;

use baton_media::{Info, Kind, Media, Output, Support, TrackId};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

pub const BLOCK: u64 = 16 << 10;

/// A clip, made once. `args` go between `ffmpeg` and the output file; `BBB` stands for the test film.
pub fn clip(name: &str, args: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("media-clips");
    std::fs::create_dir_all(&dir).expect("a writable target directory");
    // The arguments are part of the name: another recipe is another clip.
    let tag = args.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let (stem, ending) = name.rsplit_once('.').expect("a name with an ending");
    let path = dir.join(format!("{stem}-{:08x}.{ending}", tag as u32));
    // Tests run side by side and share clips: each is made once, by whoever needs it first.
    static MAKING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if path.exists() {
        return path;
    }
    let film = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/media/big-buck-bunny-480p-30s.mp4");
    let half = dir.join(format!("{stem}-{:08x}.{}.part.{ending}", tag as u32, std::process::id()));
    let args: Vec<String> = args
        .split_whitespace()
        .map(|a| {
            if a == "BBB" {
                film.to_string_lossy().into_owned()
            } else {
                a.replace("DIR/", &format!("{}/", dir.display()))
            }
        })
        .collect();
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(&args)
        .arg(&half)
        .output()
        .expect("ffmpeg must be installed: these tests compare with it");
    assert!(out.status.success(), "ffmpeg {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    std::fs::rename(&half, &path).expect("a clip");
    path
}

pub fn read(path: &Path) -> Bytes {
    std::fs::read(path).expect("a readable clip").into()
}

#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    pub pts: f64,
    pub duration: f64,
    pub size: u64,
    /// Where in the file.
    pub pos: Option<u64>,
    pub key: bool,
    pub discard: bool,
    pub hash: String,
}

/// ffprobe's packets of one stream (`v:0`, `a:1`), and what it had to complain about.
pub fn packets(path: &Path, stream: &str) -> (Vec<Packet>, String) {
    let out = Command::new("ffprobe")
        .args(["-v", "warning", "-select_streams", stream, "-show_packets", "-show_data_hash", "CRC32"])
        .args(["-show_entries", "packet=pts_time,duration_time,size,pos,flags,data_hash", "-of", "compact=p=0"])
        .arg(path)
        .output()
        .expect("ffprobe must be installed: these tests compare with it");
    let mut list = Vec::new();
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let fields: BTreeMap<&str, &str> = line.split('|').filter_map(|f| f.split_once('=')).collect();
        let Some(size) = fields.get("size") else {
            // Side data breaks the line before the hash.
            if let (Some(hash), Some(last)) = (fields.get("data_hash"), list.last_mut()) {
                let last: &mut Packet = last;
                last.hash = hash.to_string();
            }
            continue;
        };
        let number = |key: &str| fields.get(key).and_then(|v| v.parse::<f64>().ok());
        let flags = fields.get("flags").copied().unwrap_or("");
        list.push(Packet {
            pts: number("pts_time").unwrap_or(f64::NAN),
            duration: number("duration_time").unwrap_or(0.0),
            size: size.parse().expect("a size"),
            pos: fields.get("pos").and_then(|pos| pos.parse().ok()),
            key: flags.contains('K'),
            discard: flags.contains('D'),
            hash: fields.get("data_hash").copied().unwrap_or("").to_string(),
        });
    }
    (list, String::from_utf8_lossy(&out.stderr).into_owned())
}

#[derive(Clone, Debug)]
pub struct Segment {
    pub bytes: Bytes,
    pub start_us: u64,
    pub end_us: u64,
    pub random_access: bool,
    pub generation: u32,
}

#[derive(Default)]
pub struct Played {
    pub info: Option<Info>,
    pub duration_us: Option<u64>,
    pub inits: BTreeMap<TrackId, Bytes>,
    pub segments: BTreeMap<TrackId, Vec<Segment>>,
    pub ended: BTreeSet<TrackId>,
    pub failed: Option<Output>,
    /// Cues and chapters.
    pub others: Vec<Output>,
    /// Bytes fed until the first segment of each track.
    pub first_after: BTreeMap<TrackId, u64>,
}

impl Played {
    pub fn first(&self, kind: Kind) -> Option<TrackId> {
        let tracks = &self.info.as_ref()?.tracks;
        tracks.iter().find(|t| t.kind == kind && self.inits.contains_key(&t.id)).map(|t| t.id)
    }

    /// Init and segments of one track in one file.
    pub fn write(&self, track: TrackId, path: &Path) {
        let mut all = self.inits[&track].to_vec();
        self.segments.get(&track).into_iter().flatten().for_each(|s| all.extend_from_slice(&s.bytes));
        std::fs::write(path, all).expect("a writable target directory");
    }
}

/// Small, seeded, the same everywhere.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below.max(1)
    }
}

/// Feeds a `Media` with whole blocks, only demanded ones.
pub struct Feeder {
    pub file: Bytes,
    pub media: Media,
    pub played: Played,
    pub fed: BTreeSet<u64>,
    /// Blocks handed over, repeats counted.
    pub handed: u64,
    pub playhead_us: u64,
    /// What a test selected.
    pub picked: Option<Vec<TrackId>>,
}

impl Feeder {
    pub fn new(file: Bytes) -> Feeder {
        Feeder::with(file, Support { mp3_in_mp4: true })
    }

    pub fn with(file: Bytes, support: Support) -> Feeder {
        let media = Media::new(file.len() as u64, None, support);
        Feeder { file, media, played: Played::default(), fed: BTreeSet::new(), handed: 0, playhead_us: 0, picked: None }
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.media.poll_output() {
            match output {
                Output::Ready(info) => self.played.info = Some(info),
                Output::Duration(us) => self.played.duration_us = Some(us),
                Output::Init { track, bytes } => drop(self.played.inits.insert(track, bytes)),
                Output::Segment { track, bytes, start_us, end_us, random_access, generation } => {
                    self.played.first_after.entry(track).or_insert(self.fed.len() as u64 * BLOCK);
                    let segment = Segment { bytes, start_us, end_us, random_access, generation };
                    self.played.segments.entry(track).or_default().push(segment);
                }
                Output::EndOfTrack { track, .. } => drop(self.played.ended.insert(track)),
                other @ (Output::Cue { .. } | Output::Chapters(_)) => self.played.others.push(other),
                other => self.played.failed = Some(other),
            }
        }
    }

    pub fn done(&self) -> bool {
        self.played.failed.is_some()
            || (!self.played.inits.is_empty() && self.played.ended.len() >= self.played.inits.len())
    }

    pub fn hand(&mut self, block: u64) {
        let start = (block * BLOCK) as usize;
        let end = (start + BLOCK as usize).min(self.file.len());
        if start < end {
            self.media.handle_bytes(start as u64, self.file.slice(start..end));
            self.fed.insert(block);
            self.handed += 1;
        }
    }

    /// The block that holds the most urgent missing byte.
    pub fn hand_most_urgent(&mut self) -> bool {
        let Some(demand) = self.media.demands().into_iter().next() else { return false };
        self.hand(demand.range.start / BLOCK);
        true
    }

    /// One random block out of the first few demands.
    pub fn hand_random(&mut self, dice: &mut Dice) -> bool {
        let demands = self.media.demands();
        if demands.is_empty() {
            return false;
        }
        for _ in 0..8 {
            let demand = &demands[dice.roll(demands.len().min(12) as u64) as usize];
            let (first, last) = (demand.range.start / BLOCK, (demand.range.end - 1) / BLOCK);
            self.hand(first + dice.roll(last - first + 1));
        }
        true
    }

    /// Plays to the end with blocks in random order.
    pub fn play(&mut self, seed: u64) {
        let mut dice = Dice(seed | 1);
        for _ in 0..200_000 {
            self.drain();
            if self.done() {
                return;
            }
            if !self.hand_random(&mut dice) {
                self.playhead_us += 1_000_000;
                self.media.set_playhead(self.playhead_us, self.playhead_us + 3_000_000);
            }
        }
        panic!("no end in sight: {:?} {:?}", self.played.ended, self.media.demands());
    }
}

pub fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("media-out");
    std::fs::create_dir_all(&dir).expect("a writable target directory");
    dir.join(name)
}

/// Presentation time (s) and duration of every sample in our fragmented MP4, read from the boxes: ffprobe shifts all
/// times of a track by its most negative composition offset so far.
pub fn mp4_times(init: &[u8], segments: &[Segment]) -> Vec<(f64, f64)> {
    let word = |b: &[u8], at: usize| u32::from_be_bytes(b[at..at + 4].try_into().expect("four bytes"));
    let find = |b: &[u8], kind: &[u8; 4]| b.windows(4).position(|w| w == kind).expect("the box") + 4;
    let scale = f64::from(word(init, find(init, b"mdhd") + 12));
    let mut out = Vec::new();
    let mut next = None;
    for segment in segments {
        let b = &segment.bytes[..];
        let tfdt = find(b, b"tfdt");
        let mut dts = u64::from(word(b, tfdt + 4)) << 32 | u64::from(word(b, tfdt + 8));
        assert!(next.is_none_or(|next| next == dts), "decode times follow each other: {next:?} {dts}");
        let trun = find(b, b"trun");
        let flags = word(b, trun) & 0xff_ffff;
        let mut at = trun + 12;
        let (mut first, mut last) = (u64::MAX, 0);
        for _ in 0..word(b, trun + 4) {
            let duration = word(b, at);
            let shown = if flags & 0x800 != 0 { word(b, at + 12) as i32 } else { 0 };
            let pts = dts as i64 + i64::from(shown);
            assert!(pts >= 0 && duration > 0);
            (first, last) = (first.min(pts as u64), last.max(pts as u64 + u64::from(duration)));
            out.push((pts as f64 / scale, f64::from(duration) / scale));
            dts += u64::from(duration);
            at += if flags & 0x800 != 0 { 16 } else { 8 };
        }
        let us = |ticks: u64| (ticks as f64 / scale * 1e6) as i64;
        assert!((us(first) - segment.start_us as i64).abs() <= 1 && (us(last) - segment.end_us as i64).abs() <= 1);
        next = Some(dts);
    }
    out
}

/// A box's header and body, or `None` to leave it as it is.
pub type Change<'a> = &'a dyn Fn(&[u8; 4], &[u8]) -> Option<(Vec<u8>, Vec<u8>)>;

/// The file with some of its boxes changed, those around the sample tables looked into.
pub fn rewrite(data: &[u8], change: Change) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = data;
    while let Some(size) = rest.first_chunk::<4>().map(|b| u32::from_be_bytes(*b) as usize) {
        let (this, after) = rest.split_at(size);
        let kind: &[u8; 4] = this[4..8].try_into().expect("four bytes");
        let (header, body) = change(kind, &this[8..]).unwrap_or_else(|| {
            let inside = matches!(kind, b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl");
            let body = if inside { rewrite(&this[8..], change) } else { this[8..].to_vec() };
            ([&(body.len() as u32 + 8).to_be_bytes()[..], kind].concat(), body)
        });
        out.extend_from_slice(&header);
        out.extend_from_slice(&body);
        rest = after;
    }
    out
}
