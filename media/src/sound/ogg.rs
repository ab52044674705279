//! Ogg files with Opus, Vorbis or FLAC (RFC 3533, RFC 7845, Vorbis I, the FLAC mapping of RFC 9639 §10.1).

use super::{Frame, Frames, SoundFile, flac, stream};
use crate::codec::{Codec, dops_from_head, flac_info, opus_packet_samples};
use crate::demux::{Demuxer, Stream, us};
use crate::error::{Fault, Path};
use crate::probe::{NEAR_BYTES, Probe};
use crate::source::{Source, Stop};
use crate::{Container, Reason};
use bytes::Bytes;
use std::collections::VecDeque;

/// A page is at most 65,307 bytes.
const PAGE_MAX: u64 = 65_307;
/// Comments may hold a cover picture.
const HEADERS_MAX: usize = 32 << 20;
/// A packet of sound.
const PACKET_MAX: usize = 1 << 20;
/// Pages without anything for us that are passed over in one step.
const TAIL: u64 = 128 << 10;

pub(crate) fn sniff(head: &[u8]) -> bool {
    head.starts_with(b"OggS")
}

struct Page {
    granule: i64,
    serial: u32,
    continued: bool,
    sizes: Vec<u8>,
    body: u64,
    end: u64,
}

/// The page at `at`, or the next one after damage; `None` at the end.
fn page(source: &Source, at: u64) -> Result<Option<Page>, Stop> {
    let mut at = at;
    while at + 27 <= source.len {
        let window = source.peek(at, 27 + 255, PAGE_MAX)?;
        let Some(start) = window.windows(4).position(|w| w == b"OggS") else {
            at += (window.len() as u64).saturating_sub(3).max(1);
            continue;
        };
        if start > 0 {
            at += start as u64;
            continue;
        }
        let Some(head) = window.first_chunk::<27>() else { return Ok(None) };
        let Some(sizes) = window.get(27..27 + usize::from(head[26])) else { return Ok(None) };
        let body = at + 27 + sizes.len() as u64;
        let end = body + sizes.iter().map(|s| u64::from(*s)).sum::<u64>();
        let le = |i: usize| u32::from_le_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
        return Ok((end <= source.len).then(|| Page {
            granule: (u64::from(le(10)) << 32 | u64::from(le(6))) as i64,
            serial: le(14),
            continued: head[5] & 1 != 0,
            sizes: sizes.to_vec(),
            body,
            end,
        }));
    }
    Ok(None)
}

impl Page {
    /// The parts of packets on this page; the flag says whether the packet ends here.
    fn parts(&self, data: &Bytes) -> Vec<(Bytes, bool)> {
        let (mut parts, mut from, mut at) = (Vec::new(), 0, 0);
        for (i, size) in self.sizes.iter().enumerate() {
            at += usize::from(*size);
            let ends = *size < 255;
            if ends || i + 1 == self.sizes.len() {
                parts.push((data.slice(from..at), ends));
                from = at;
            }
        }
        parts
    }
}

enum Kind {
    Opus,
    /// Block sizes, and of each mode whether it is long.
    Vorbis {
        blocks: [u32; 2],
        modes: Vec<bool>,
        mode_bits: u32,
    },
    Flac,
}

struct Ogg {
    kind: Kind,
    serial: u32,
    first: u64,
    skip: i64,
    sample_rate: u32,
    cursor: u64,
    queue: VecDeque<(Bytes, u32, i64)>,
    partial: Vec<u8>,
    /// Of a packet whose beginning was not read.
    headless: bool,
    /// Of the next packet; `None` after a jump.
    position: Option<i64>,
    last_block: u32,
    fresh: bool,
    probe: Option<(i64, Probe)>,
}

pub(crate) fn open(source: &Source) -> Result<Box<dyn Demuxer>, Stop> {
    let path = Path::root();
    let (mut at, mut chosen, mut packets, mut partial) = (0, None, Vec::<Bytes>::new(), Vec::new());
    let mut wanted = usize::MAX;
    while packets.len() < wanted {
        let Some(found) = page(source, at)? else { return Err(path.error(Fault::Truncated, at).into()) };
        let data = source.get(found.body..found.end, path)?;
        at = found.end;
        if chosen.is_none() {
            wanted = header_packets(&data);
            if wanted > 0 {
                chosen = Some(found.serial);
            } else if found.granule > 0 {
                return Err(Stop::Refuse(Reason::NoPlayableTrack));
            }
        }
        if chosen != Some(found.serial) {
            continue;
        }
        for (part, ends) in found.parts(&data) {
            partial.extend_from_slice(&part);
            if partial.len() > HEADERS_MAX {
                return Err(path.error(Fault::TooLarge, at).into());
            }
            if ends {
                packets.push(std::mem::take(&mut partial).into());
            }
        }
    }
    let serial = chosen.unwrap_or(0);
    let (kind, track, skip) = describe(&packets).ok_or(Stop::Refuse(Reason::NoPlayableTrack))?;
    let ogg = Ogg {
        kind,
        serial,
        first: at,
        skip,
        sample_rate: track.sample_rate,
        cursor: at,
        queue: VecDeque::new(),
        partial: Vec::new(),
        headless: false,
        position: Some(-skip),
        last_block: 0,
        fresh: false,
        probe: None,
    };
    Ok(Box::new(SoundFile::new(ogg, Container::Ogg, track, at, -skip, None)))
}

/// How many packets of headers a stream that begins like this has; 0 if it is none of ours.
fn header_packets(first: &[u8]) -> usize {
    match first {
        [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', ..] => 2,
        [1, b'v', b'o', b'r', b'b', b'i', b's', ..] => 3,
        [0x7f, b'F', b'L', b'A', b'C', _, _, high, low, ..] => {
            1 + usize::from(u16::from_be_bytes([*high, *low])).max(1)
        }
        _ => 0,
    }
}

fn describe(packets: &[Bytes]) -> Option<(Kind, Stream, i64)> {
    let first = packets.first()?;
    if first.starts_with(b"OpusHead") {
        let channels = u32::from(*first.get(9)?);
        let skip = i64::from(u16::from_le_bytes([*first.get(10)?, *first.get(11)?]));
        let mut track = stream(48_000, channels);
        track.codec = Some(Codec::Opus { config: dops_from_head(first)? });
        return Some((Kind::Opus, track, skip));
    }
    if first.first() == Some(&1) {
        let channels = u32::from(*first.get(11)?);
        let rate = u32::from_le_bytes(first.get(12..16)?.try_into().ok()?);
        let sizes = *first.get(28)?;
        let mut track = stream(rate, channels);
        track.codec = Some(Codec::Vorbis { config: laced(packets.get(..3)?)? });
        let (modes, mode_bits) = vorbis_modes(packets.get(2)?)?;
        let blocks = [1u32 << (sizes & 15), 1 << (sizes >> 4)];
        return (rate > 0).then_some((Kind::Vorbis { blocks, modes, mode_bits }, track, 0));
    }
    let block = first.get(13..13 + 38)?;
    let info = flac_info(&block[4..])?;
    let mut config = block.to_vec();
    config[0] = 0x80;
    let mut track = stream(info.sample_rate, info.channels);
    track.sample_bits = info.sample_bits;
    track.codec = Some(Codec::Flac { config: config.into() });
    Some((Kind::Flac, track, 0))
}

/// The three headers as Matroska's CodecPrivate holds them: Xiph lacing.
fn laced(headers: &[Bytes]) -> Option<Bytes> {
    let mut out = vec![2];
    for header in headers.get(..2)? {
        out.extend(std::iter::repeat_n(255, header.len() / 255));
        out.push((header.len() % 255) as u8);
    }
    headers.iter().for_each(|h| out.extend_from_slice(h));
    Some(out.into())
}

/// Which modes have long blocks. They stand at the very end of the setup header (Vorbis I §4.2.4), behind codebooks
/// that nobody wants to read: they are found from the back, as libavcodec does.
fn vorbis_modes(setup: &[u8]) -> Option<(Vec<bool>, u32)> {
    let bit = |i: usize| setup.get(i / 8).map(|b| b >> (i % 8) & 1);
    let number = |at: usize, len: usize| (0..len).try_fold(0u32, |v, i| Some(v | u32::from(bit(at + i)?) << i));
    let mut end = setup.len() * 8;
    // The framing bit is the last one set.
    while end > 0 && bit(end - 1)? == 0 {
        end -= 1;
    }
    end = end.checked_sub(1)?;
    let mut best = None;
    let mut at = end;
    for count in 1..=64u32 {
        // blockflag 1, window type 16, transform type 16 (both 0), mapping 8.
        let Some(start) = at.checked_sub(41) else { break };
        at = start;
        if number(at + 1, 16)? != 0 || number(at + 17, 16)? != 0 || number(at + 33, 8)? > 63 {
            break;
        }
        if at >= 6 && number(at - 6, 6)? + 1 == count {
            best = Some((at, count));
        }
    }
    let (at, count) = best?;
    let modes = (0..count as usize).map(|i| bit(at + i * 41) == Some(1)).collect();
    Some((modes, u32::BITS - (count - 1).leading_zeros()))
}

impl Ogg {
    fn samples(&mut self, packet: &[u8]) -> u32 {
        match &self.kind {
            Kind::Opus => opus_packet_samples(packet),
            Kind::Flac => flac::header(packet).map_or(0, |h| h.samples),
            Kind::Vorbis { blocks, modes, mode_bits } => {
                let mode = packet.first().map_or(0, |b| usize::from(b >> 1 & ((1u16 << mode_bits) - 1) as u8));
                let block = blocks[usize::from(modes.get(mode).copied().unwrap_or(false))];
                let before = std::mem::replace(&mut self.last_block, block);
                // The first packet only primes the next.
                if before == 0 { 0 } else { (before + block) / 4 }
            }
        }
    }

    /// Reads the next page into the queue; `false` at the end.
    fn read_page(&mut self, source: &Source) -> Result<bool, Stop> {
        let Some(found) = page(source, self.cursor)? else { return Ok(false) };
        let data = source.get(found.body..found.end, Path::root())?;
        self.cursor = found.end;
        if found.serial != self.serial {
            return Ok(true);
        }
        if !found.continued {
            self.partial.clear();
            self.headless = false;
        } else if self.partial.is_empty() {
            self.headless = true;
        }
        let mut packets = Vec::new();
        for (part, ends) in found.parts(&data) {
            let whole = if self.partial.is_empty() {
                part
            } else {
                self.partial.extend_from_slice(&part);
                if ends { std::mem::take(&mut self.partial).into() } else { Bytes::new() }
            };
            if !ends {
                if self.partial.is_empty() && !self.headless {
                    self.partial.extend_from_slice(&whole);
                }
                if self.partial.len() > PACKET_MAX {
                    self.partial.clear();
                    self.headless = true;
                }
                continue;
            }
            if !std::mem::replace(&mut self.headless, false) && !whole.is_empty() {
                let samples = self.samples(&whole);
                packets.push((whole, samples));
            }
        }
        let total: i64 = packets.iter().map(|(_, samples)| i64::from(*samples)).sum();
        // The granule says where the last packet ends: needed after a jump.
        let counted = found.granule.saturating_sub(self.skip).saturating_sub(total);
        let mut position = self.position.unwrap_or(counted.max(-self.skip));
        for (packet, samples) in packets {
            self.queue.push_back((packet, samples, position));
            position = position.saturating_add(i64::from(samples));
        }
        if self.position.is_some() || !self.queue.is_empty() {
            self.position = Some(position);
        }
        Ok(true)
    }

    /// The first page of ours in `from..to` that says a time, and when it ends.
    fn timed(&self, source: &Source, from: u64, to: u64) -> Result<Option<(u64, i64)>, Stop> {
        let mut at = from;
        while at < to {
            let Some(found) = page(source, at)? else { break };
            let start = found.body - 27 - found.sizes.len() as u64;
            if start >= to {
                break;
            }
            if found.serial == self.serial && found.granule > 0 {
                return Ok(Some((start, us(found.granule.saturating_sub(self.skip), self.sample_rate))));
            }
            at = found.end;
        }
        Ok(None)
    }
}

impl Frames for Ogg {
    fn frame(&mut self, source: &Source, at: u64) -> Result<Option<Frame>, Stop> {
        if std::mem::replace(&mut self.fresh, false) {
            self.cursor = at;
            self.queue.clear();
            self.partial.clear();
            self.headless = false;
            self.last_block = 0;
            self.position = (at <= self.first).then_some(-self.skip);
        }
        loop {
            if let Some((data, samples, position)) = self.queue.pop_front() {
                return Ok(Some(Frame { data, samples, next: self.cursor, position: Some(position) }));
            }
            if !self.read_page(source)? {
                return Ok(None);
            }
        }
    }

    fn place(&mut self, source: &Source, position: i64) -> Result<(u64, i64), Stop> {
        let target_us = us(position, self.sample_rate);
        let mut probe = match self.probe.take().filter(|(for_position, _)| *for_position == position) {
            Some((_, probe)) => probe,
            None => Probe::new(target_us, (self.first, 0), (source.len, i64::MAX), NEAR_BYTES / 4),
        };
        let near = probe.run(|from, to| self.timed(source, from, to));
        let walked = near.and_then(|(mut at, _)| {
            // On to the last page that ends before the position.
            while let Some((next, _)) = self.timed(source, at + 1, source.len)?.filter(|(_, time)| *time <= target_us) {
                at = next;
            }
            Ok((at, position))
        });
        if walked.is_err() {
            self.probe = Some((position, probe));
        }
        walked
    }

    fn restart(&mut self) {
        self.fresh = true;
    }

    fn late_length(&mut self, source: &Source) -> Result<Option<i64>, Stop> {
        let (mut at, mut last) = (source.len.saturating_sub(TAIL).max(self.first), None);
        while let Some(found) = page(source, at)? {
            if found.serial == self.serial && found.granule > 0 {
                last = Some(found.granule.saturating_sub(self.skip));
            }
            at = found.end;
        }
        Ok(last)
    }
}
