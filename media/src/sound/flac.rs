//! FLAC files (RFC 9639): frames carry their number, but not their length; checksums tell where they end.

use super::{Frame, Frames, SoundFile, stream};
use crate::Container;
use crate::codec::pcm::{crc8, crc16};
use crate::codec::{Codec, flac_info};
use crate::demux::{Demuxer, us};
use crate::error::{Fault, Path};
use crate::probe::{NEAR_BYTES, Probe};
use crate::source::{Source, Stop};

/// Asked for at once.
const AHEAD: u64 = 64 << 10;
/// A frame of 65535 samples in 8 channels of 32 bits is 2 MB.
const FRAME_MAX: u64 = 4 << 20;
/// What looks like a header inside a frame is one by a chance of 2^-23 per byte; more than this many are malice.
const FALSE_ENDS_MAX: u32 = 32;
const BLOCKS_MAX: usize = 256;

pub(crate) fn sniff(head: &[u8]) -> bool {
    head.starts_with(b"fLaC")
}

struct Flac {
    first: u64,
    end: u64,
    /// Samples in each frame but the last; 0 where they differ and frames count samples.
    block: u32,
    total: i64,
    sample_rate: u32,
    /// Of which frame the end is searched, from where on, and how many false ends were seen.
    searched: (u64, u64, u32),
    probe: Option<(i64, Probe)>,
}

pub(crate) fn open(source: &Source) -> Result<Box<dyn Demuxer>, Stop> {
    let path = Path::root();
    let (mut at, mut config) = (4, None);
    for _ in 0..BLOCKS_MAX {
        let head = source.peek(at, 4, AHEAD)?;
        let Some(&[kind, a, b, c]) = head.first_chunk() else { return Err(path.error(Fault::Truncated, at).into()) };
        let size = u64::from(u32::from_be_bytes([0, a, b, c]));
        if kind & 0x7f == 0 {
            let mut block = source.get(at..at + 38, path)?.to_vec();
            block[0] = 0x80;
            config = Some(block);
        }
        at += 4 + size;
        if kind & 0x80 != 0 {
            break;
        }
    }
    let config = config.ok_or_else(|| path.error(Fault::Missing, 4))?;
    let info = flac_info(&config[4..]).ok_or_else(|| path.error(Fault::BadValue, 8))?;
    let mut track = stream(info.sample_rate, info.channels);
    track.sample_bits = info.sample_bits;
    track.codec = Some(Codec::Flac { config: config.into() });
    let frames = Flac {
        first: at,
        end: source.len,
        block: if info.same_blocks { info.max_block } else { 0 },
        total: info.total_samples as i64,
        sample_rate: info.sample_rate,
        searched: (0, 0, 0),
        probe: None,
    };
    let total = frames.total;
    Ok(Box::new(SoundFile::new(frames, Container::Flac, track, at, 0, Some(total))))
}

/// A frame header (§9.1) whose checksum is right.
pub(super) struct Header {
    pub samples: u32,
    /// Number of the frame or of its first sample.
    number: u64,
    counts_samples: bool,
}

pub(super) fn header(data: &[u8]) -> Option<Header> {
    if data.first()? != &0xff || data.get(1)? & 0xfe != 0xf8 {
        return None;
    }
    let (sizes, channels) = (*data.get(2)?, *data.get(3)?);
    if sizes & 15 == 15 || channels >> 4 > 10 || channels & 1 != 0 {
        return None;
    }
    let lead = *data.get(4)?;
    let more = (lead.leading_ones() as usize).saturating_sub(1);
    if lead.leading_ones() == 1 || more > 6 {
        return None;
    }
    let mut number = u64::from(lead) & (0x7f >> lead.leading_ones().min(7));
    for byte in data.get(5..5 + more)? {
        number = number << 6 | u64::from(byte & 0x3f);
    }
    let mut at = 5 + more;
    let samples = match sizes >> 4 {
        0 => return None,
        1 => 192,
        code @ 2..=5 => 144 << code,
        6 => {
            at += 1;
            u32::from(*data.get(at - 1)?) + 1
        }
        7 => {
            at += 2;
            u32::from(u16::from_be_bytes([*data.get(at - 2)?, *data.get(at - 1)?])) + 1
        }
        code => 1 << code,
    };
    at += match sizes & 15 {
        12 => 1,
        13 | 14 => 2,
        _ => 0,
    };
    (crc8(data.get(..at)?) == *data.get(at)?).then_some(Header { samples, number, counts_samples: data[1] & 1 == 1 })
}

impl Flac {
    fn position(&self, header: &Header) -> i64 {
        match (header.counts_samples, self.block) {
            (true, _) => header.number as i64,
            // Frames of equal length; a file may say otherwise, then its own length is the best guess.
            (false, 0) => header.number.saturating_mul(u64::from(header.samples)) as i64,
            (false, block) => header.number.saturating_mul(u64::from(block)) as i64,
        }
    }

    /// The first true header in `from..to`.
    fn find(&self, source: &Source, from: u64, to: u64) -> Result<Option<(u64, Header)>, Stop> {
        let mut at = from;
        while at < to {
            let window = source.peek(at, 32, AHEAD)?;
            for (i, _) in window.iter().enumerate().filter(|(_, b)| **b == 0xff) {
                // The last bytes come again with the next window.
                if at + i as u64 >= to || (window.len() - i < 16 && at + (window.len() as u64) < self.end) {
                    break;
                }
                if let Some(header) = header(&window[i..]) {
                    return Ok(Some((at + i as u64, header)));
                }
            }
            at += (window.len() as u64).saturating_sub(15).max(1);
        }
        Ok(None)
    }
}

impl Frames for Flac {
    fn frame(&mut self, source: &Source, at: u64) -> Result<Option<Frame>, Stop> {
        let Some((start, found)) = self.find(source, at, self.end)? else { return Ok(None) };
        if self.searched.0 != start {
            self.searched = (start, start + 8, 0);
        }
        let limit = self.end.min(start + FRAME_MAX);
        // The end is where the next header begins and the checksum of all before it is right.
        loop {
            let next = self.find(source, self.searched.1, limit)?.map_or(limit, |(next, _)| next);
            let data = source.get(start..next, Path::root())?;
            let sum = data.last_chunk::<2>().map(|b| u16::from_be_bytes(*b));
            if sum == Some(crc16(&data[..data.len().saturating_sub(2)]))
                || next >= limit
                || self.searched.2 >= FALSE_ENDS_MAX
            {
                let position = Some(self.position(&found));
                return Ok(Some(Frame { data, samples: found.samples, next, position }));
            }
            (self.searched.1, self.searched.2) = (next + 1, self.searched.2 + 1);
        }
    }

    fn place(&mut self, source: &Source, position: i64) -> Result<(u64, i64), Stop> {
        let rate = self.sample_rate;
        let time = |position: i64| us(position, rate);
        let total = if self.total > 0 { time(self.total) } else { i64::MAX };
        let mut probe = match self.probe.take().filter(|(for_position, _)| *for_position == position) {
            Some((_, probe)) => probe,
            None => Probe::new(time(position), (self.first, 0), (self.end, total), NEAR_BYTES / 4),
        };
        let done = probe
            .run(|from, to| Ok(self.find(source, from, to)?.map(|(at, header)| (at, time(self.position(&header))))));
        let low = match done {
            Ok(low) => low,
            Err(stop) => {
                self.probe = Some((position, probe));
                return Err(stop);
            }
        };
        // On to the last frame that begins at or before the position.
        let (mut best, mut at) = ((low.0, 0), low.0);
        while let Some((place, header)) = self.find(source, at, self.end)? {
            let begins = self.position(&header);
            if begins > position || begins < best.1 {
                break;
            }
            best = (place, begins);
            at = place + 8;
        }
        Ok(best)
    }
}
