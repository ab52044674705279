//! Fuzz bodies: plain functions over bytes, for seeded tests and for libFuzzer alike.

use crate::text::{Format, texts};
use crate::{Decoded, Media, Output, SoundDecoder, Still, Support, TrackId};
use bytes::Bytes;

/// Turns and bytes that one file may cost, per byte of it: far above what real ones need.
const HANDED_PER_BYTE: u64 = 64;

/// Plays whatever this is to its end, with two seeks and all tracks selected in turn. Panics only for a fault of ours.
pub fn play(data: &[u8]) {
    let file = Bytes::copy_from_slice(data);
    let len = file.len() as u64;
    let mut media = Media::new(len, None, Support { mp3_in_mp4: true });
    media.set_decoder(Box::new(Whims { asked: 0 }));
    let mut budget = len * HANDED_PER_BYTE + (1 << 20);
    let mut playhead_us = 0;
    let mut seeks = [90u64, 10].into_iter();
    let mut idle = 0;
    let mut segments = 0u64;
    loop {
        let mut over = false;
        while let Some(output) = media.poll_output() {
            match output {
                Output::Ready(info) => {
                    let all: Vec<TrackId> = info.tracks.iter().map(|t| t.id).collect();
                    media.select(&all);
                }
                Output::Segment { bytes, start_us, end_us, .. } => {
                    assert!(start_us <= end_us && !bytes.is_empty());
                    segments += 1;
                }
                Output::Failed(error) => {
                    assert!(!error.to_string().is_empty());
                    over = true;
                }
                Output::Unsupported { .. } => over = true,
                _ => {}
            }
        }
        if over {
            assert!(media.demands().is_empty());
            return;
        }
        let demands = media.demands();
        if demands.is_empty() {
            idle += 1;
            media.wake();
            if let Some(percent) = seeks.next() {
                let duration = media.info().and_then(|i| i.duration_us).unwrap_or(10_000_000);
                look(&mut media, &file, duration / 100 * percent);
                media.seek(duration / 100 * percent);
                playhead_us = duration / 100 * percent;
                continue;
            }
            if idle > 40 || segments > 100_000 {
                return;
            }
            playhead_us += 5_000_000;
            media.set_playhead(playhead_us, playhead_us + 10_000_000);
            continue;
        }
        for demand in demands.iter().take(4) {
            assert!(demand.range.start < demand.range.end && demand.range.end <= len, "{demand:?} of {len}");
            let end = demand.range.end.min(demand.range.start + (256 << 10));
            let piece = file.slice(demand.range.start as usize..end as usize);
            budget = budget.saturating_sub(piece.len() as u64 + 64);
            media.handle_bytes(demand.range.start, piece);
        }
        assert!(budget > 0, "asks for the same bytes without end");
    }
}

/// A decoder that answers as the frame's first byte and its own count say: all frames of a sound one begin alike.
struct Whims {
    asked: u8,
}

impl SoundDecoder for Whims {
    fn decode(&mut self, _: TrackId, _: bool, _: bool, frame: &[u8]) -> Decoded {
        self.asked = self.asked.wrapping_add(1);
        match frame.first().copied().unwrap_or_default().wrapping_add(self.asked) % 16 {
            0 => Decoded::Wait,
            1..=3 => Decoded::Broken,
            odd @ 4..=7 => Decoded::Samples(vec![odd; usize::from(odd)]),
            8 => Decoded::Samples(vec![8; 100_001]),
            _ => Decoded::Samples(frame.to_vec()),
        }
    }
}

/// Looks at one picture, as far as a driver would go for it.
fn look(media: &mut Media, file: &Bytes, at_us: u64) {
    for _ in 0..32 {
        let Still::Missing(range) = media.still(at_us) else { return };
        assert!(range.start < range.end && range.end <= file.len() as u64, "{range:?} of {}", file.len());
        media.handle_bytes(range.start, file.slice(range.start as usize..range.end as usize));
    }
}

/// Reads the tags of whatever this is, in blocks of 16 KiB as a driver would.
pub fn tags(data: &[u8]) {
    let file = Bytes::copy_from_slice(data);
    let mut reader = crate::TagReader::new(file.len() as u64);
    for _ in 0..=file.len() >> 10 << 2 | 64 {
        let range = match reader.poll() {
            Ok(tags) => return assert!(tags.cover.is_none_or(|cover| cover.bytes.len() <= file.len() * 2)),
            Err(range) => range,
        };
        assert!(range.start < range.end && range.end <= file.len() as u64, "{range:?} of {}", file.len());
        let (from, to) = (range.start as usize >> 14 << 14, (range.end as usize).next_multiple_of(1 << 14));
        reader.handle_bytes(from as u64, file.slice(from..to.min(file.len())));
    }
    panic!("asks for the same bytes without end");
}

/// Reads whatever this is as a subtitle file, as a sample of each kind, and as a packed frame.
pub fn subtitles(data: &[u8]) {
    let cues = crate::parse_subtitles(data).unwrap_or_default();
    assert!(cues.iter().all(|cue| cue.start_us < cue.end_us && !cue.text.is_empty()));
    let sample = Bytes::copy_from_slice(data);
    for format in [Format::Tx3g, Format::Wvtt, Format::Srt, Format::Ass, Format::WebVtt, Format::WebmVtt] {
        for cue in texts(format, &sample) {
            assert!(!cue.text.is_empty() && cue.text.len() <= data.len() * 7 + 16);
        }
    }
    assert!(crate::inflate::zlib(data, 1000).is_none_or(|out| out.len() <= 1000));
}
