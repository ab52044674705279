//! MP3 and ADTS files: frames that only their headers delimit, with ID3 around them.

use super::{Frame, Frames, SoundFile, stream};
use crate::Container;
use crate::codec::{Codec, FrameHeader, adts_header, mp3_header};
use crate::demux::{Demuxer, Stream};
use crate::error::{Fault, Path};
use crate::source::{Source, Stop};
use bytes::Bytes;

/// Asked for at once.
const AHEAD: u64 = 64 << 10;
/// How far the first frame is searched: some files have rubbish in front.
const SEARCH_MAX: u64 = 1 << 20;
/// A cover picture in ID3 may be large, but not larger than this.
const TAG_MAX: u64 = 64 << 20;
/// The decoder's own delay in samples (LAME's technical FAQ), on top of the encoder's.
const DECODER_DELAY: i64 = 529;

pub(crate) fn sniff(head: &[u8]) -> bool {
    head.starts_with(b"ID3") || mp3_header(head).is_some() || adts_header(head).is_some()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Mp3,
    Adts,
}

impl Layout {
    fn header(self, data: &[u8]) -> Option<FrameHeader> {
        match self {
            Layout::Mp3 => mp3_header(data),
            Layout::Adts => adts_header(data).map(|(header, _)| header),
        }
    }
}

struct Mpeg {
    layout: Layout,
    first: u64,
    /// Frames end here: what follows are tags.
    end: u64,
    start: i64,
    /// Samples per byte, as (samples, bytes).
    rate: (i64, u64),
    /// Xing's table of contents: for each hundredth of time a 256th of the bytes.
    contents: Option<[u8; 100]>,
    sample_rate: u32,
}

pub(crate) fn open(source: &Source) -> Result<Box<dyn Demuxer>, Stop> {
    let begin = after_id3(source)?;
    let (first, layout, header) = first_frame(source, begin)?;
    let end = before_id3v1(source);
    let frame = source.peek(first, u64::from(header.size), AHEAD)?;
    let mut frames = Mpeg {
        layout,
        first,
        end,
        start: 0,
        rate: (i64::from(header.samples), u64::from(header.size)),
        contents: None,
        sample_rate: header.sample_rate,
    };
    let mut track: Stream = stream(header.sample_rate, header.channels);
    let mut samples = None;
    if layout == Layout::Mp3 {
        track.codec = Some(Codec::Mp3);
        if let Some(xing) = Xing::parse(&frame, &header) {
            frames.first = first + u64::from(header.size);
            frames.start = -xing.delay.map_or(0, |d| i64::from(d) + DECODER_DELAY);
            frames.contents = xing.contents;
            if let Some(count) = xing.frames {
                let all = i64::from(count) * i64::from(header.samples);
                samples = Some((all + frames.start - xing.padding).max(1));
                frames.rate = (all.max(1), (end - frames.first).max(1));
            }
        }
    } else {
        let config = adts_header(&frame).map(|(_, config)| config).unwrap_or([0x12, 0x10]);
        track.codec = Some(Codec::Aac { config: Bytes::copy_from_slice(&config) });
    }
    if samples.is_none() {
        frames.measure(source)?;
        samples = Some((i128::from(end - frames.first) * i128::from(frames.rate.0) / i128::from(frames.rate.1)) as i64);
    }
    let container = if layout == Layout::Mp3 { Container::Mp3 } else { Container::Adts };
    let (first, start) = (frames.first, frames.start);
    Ok(Box::new(SoundFile::new(frames, container, track, first, start, samples)))
}

/// ID3v2 §3.1: ten bytes with a size of four times seven bits; there may be several.
fn after_id3(source: &Source) -> Result<u64, Stop> {
    let mut at = 0;
    for _ in 0..8 {
        let head = source.peek(at, 10, AHEAD)?;
        let Some(b) = head.first_chunk::<10>().filter(|b| b.starts_with(b"ID3")) else { break };
        let size = b[6..].iter().fold(0u64, |v, b| v << 7 | u64::from(b & 0x7f));
        let footer = if b[5] & 0x10 != 0 { 10 } else { 0 };
        if size > TAG_MAX {
            return Err(Path::root().error(Fault::TooLarge, at).into());
        }
        at += 10 + size + footer;
    }
    Ok(at)
}

/// 128 bytes that begin with "TAG", when they are here; nothing is fetched for them.
fn before_id3v1(source: &Source) -> u64 {
    let at = source.len.saturating_sub(128);
    match source.cache.get(at..source.len) {
        Some(tail) if tail.starts_with(b"TAG") => at,
        _ => source.len,
    }
}

/// A header that another one follows where it says: anything else looks like one by chance.
fn first_frame(source: &Source, begin: u64) -> Result<(u64, Layout, FrameHeader), Stop> {
    let mut at = begin;
    while at < begin + SEARCH_MAX && at < source.len {
        let window = source.peek(at, 8192, AHEAD)?;
        for (i, _) in window.iter().enumerate().filter(|(_, b)| **b == 0xff) {
            for layout in [Layout::Mp3, Layout::Adts] {
                let Some(header) = layout.header(&window[i..]) else { continue };
                let next = i + header.size as usize;
                let last = at + next as u64 >= source.len;
                if last
                    || window
                        .get(next..)
                        .and_then(|w| layout.header(w))
                        .is_some_and(|h| h.sample_rate == header.sample_rate)
                {
                    return Ok((at + i as u64, layout, header));
                }
            }
        }
        // The last bytes again: a frame may begin there.
        at += (window.len() as u64).saturating_sub(4096).max(1);
    }
    Err(Path::root().error(Fault::Missing, begin.min(source.len)).into())
}

impl Mpeg {
    /// The mean rate over the first frames that are here anyway.
    fn measure(&mut self, source: &Source) -> Result<(), Stop> {
        let window = source.peek(self.first, 4096, AHEAD)?;
        let (mut at, mut samples) = (0, 0);
        while let Some(header) = window.get(at..).and_then(|w| self.layout.header(w)) {
            at += header.size as usize;
            samples += i64::from(header.samples);
        }
        if samples > 0 {
            self.rate = (samples, at as u64);
        }
        Ok(())
    }
}

impl Frames for Mpeg {
    fn frame(&mut self, source: &Source, at: u64) -> Result<Option<Frame>, Stop> {
        let mut at = at;
        while at < self.end {
            let window = source.peek(at, 16, AHEAD)?;
            if let Some(header) = self.layout.header(&window).filter(|h| h.sample_rate == self.sample_rate) {
                let end = at + u64::from(header.size);
                if end > self.end {
                    return Ok(None);
                }
                let data = source.get(at + u64::from(header.header)..end, Path::root())?;
                return Ok(Some(Frame { data, samples: header.samples, next: end, position: None }));
            }
            // Damage, or a tag: on to the next thing that looks like a frame.
            let skip = window.iter().skip(1).position(|b| *b == 0xff).map_or(window.len(), |i| i + 1);
            at += skip.max(1) as u64;
        }
        Ok(None)
    }

    fn place(&mut self, source: &Source, position: i64) -> Result<(u64, i64), Stop> {
        let bytes = self.end - self.first;
        let (samples, rate_bytes) = self.rate;
        let all = (i128::from(bytes) * i128::from(samples) / i128::from(rate_bytes)).max(1);
        let wanted = i128::from(position - self.start).clamp(0, all);
        let share = match &self.contents {
            Some(contents) => {
                let exact = wanted * 100 * 256 / all;
                let (slot, rest) = ((exact / 256).min(99) as usize, exact % 256);
                let low = i128::from(contents[slot]);
                let high = contents.get(slot + 1).map_or(256, |b| i128::from(*b));
                i128::from(bytes) * (low * 256 + (high - low).max(0) * rest) / 65_536
            }
            None => i128::from(bytes) * wanted / all,
        };
        let mut at = self.first + share.clamp(0, i128::from(bytes)) as u64;
        // A true frame: followed by another.
        while at < self.end {
            let window = source.peek(at, 4096, AHEAD)?;
            let found = (0..window.len()).find(|&i| {
                let header = window.get(i..).and_then(|w| self.layout.header(w));
                header
                    .is_some_and(|h| window.get(i + h.size as usize..).is_some_and(|w| self.layout.header(w).is_some()))
            });
            match found {
                Some(i) => return Ok((at + i as u64, position)),
                None => at += (window.len() as u64).saturating_sub(2048).max(1),
            }
        }
        Ok((self.end, position))
    }
}

/// The Xing or Info header in the first frame, with LAME's delays.
struct Xing {
    frames: Option<u32>,
    contents: Option<[u8; 100]>,
    delay: Option<u16>,
    padding: i64,
}

impl Xing {
    fn parse(frame: &[u8], header: &FrameHeader) -> Option<Xing> {
        let mpeg1 = header.samples == 1152;
        let side = match (mpeg1, header.channels) {
            (true, 1) | (false, 2) => 17,
            (true, _) => 32,
            (false, _) => 9,
        };
        let mut rest = frame.get(4 + side..header.size as usize)?;
        let tag = take(&mut rest, 4)?;
        (tag == b"Xing" || tag == b"Info").then_some(())?;
        let flags = u32::from_be_bytes(take(&mut rest, 4)?.try_into().ok()?);
        let mut out = Xing { frames: None, contents: None, delay: None, padding: 0 };
        if flags & 1 != 0 {
            out.frames = Some(u32::from_be_bytes(take(&mut rest, 4)?.try_into().ok()?));
        }
        if flags & 2 != 0 {
            take(&mut rest, 4)?;
        }
        if flags & 4 != 0 {
            out.contents = take(&mut rest, 100)?.try_into().ok();
        }
        if flags & 8 != 0 {
            take(&mut rest, 4)?;
        }
        // LAME's extension: 21 bytes of other things, then twelve bits each of delay and padding.
        if let Some(&[a, b, c]) = rest.get(21..24).and_then(|d| d.first_chunk::<3>())
            && rest.first().is_some_and(u8::is_ascii_alphabetic)
        {
            out.delay = Some(u16::from(a) << 4 | u16::from(b) >> 4);
            out.padding = (i64::from(b & 15) << 8 | i64::from(c)).saturating_sub(DECODER_DELAY).max(0);
        }
        Some(out)
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}
