//! MPEG transport streams (`.ts`, `.m2ts`): no index at all, times of 33 bits, pictures as byte streams.

mod annexb;
mod packet;
mod seek;

use crate::codec::{Codec, ac3_config, adts_header, eac3_config, mp3_header};
use crate::demux::{Ahead, Demuxer, Horizon, Sample, Stream, Timeline, ticks, us};
use crate::error::{Fault, Path};
use crate::mp4::sequential;
use crate::source::{Source, Stop};
use crate::{Container, Kind, Reason};
use annexb::Sets;
use bytes::{Bytes, BytesMut};
use packet::{Entry, Layout, Packet, StreamKind};
use seek::Seeking;
use std::collections::VecDeque;

const RATE: u32 = 90_000;
/// The first read, enough for tables and usually the first picture.
const HEAD: u64 = 64 << 10;
/// How far the beginning is read for tables and configurations.
const START_MAX: u64 = 8 << 20;
/// A picture as it is collected.
const UNIT_MAX: usize = 32 << 20;
const STREAMS_MAX: usize = 32;
/// Pictures and sound that wait for the other stream, as in Matroska.
const WAIT_US: i64 = 10_000_000;
const WAIT_SAMPLES: usize = 16_384;

pub(crate) fn sniff(head: &[u8]) -> bool {
    Layout::detect(head).is_some()
}

#[derive(Clone)]
pub(crate) struct Transport {
    layout: Layout,
    streams: Vec<Stream>,
    tracks: Vec<Track>,
    selected: Vec<usize>,
    at: u64,
    /// The first time of the file, to which all others are near.
    base: Option<u64>,
    zero: i64,
    duration_us: Option<u64>,
    ended: bool,
    seeking: Option<Seeking>,
    tail: u64,
}

#[derive(Clone)]
struct Track {
    entry: Entry,
    sets: Sets,
    /// The PES packet being collected, and where it began.
    unit: BytesMut,
    times: Option<(i64, i64)>,
    random_access: bool,
    ready: VecDeque<Sample>,
    /// Configurations are being collected.
    learning: bool,
    started: bool,
    skip_until: i64,
    /// Where the next sound frame begins, if its packet does not say.
    next_pts: i64,
}

pub(crate) fn open(source: &Source) -> Result<Box<dyn Demuxer>, Stop> {
    let head = source.peek(0, 1024, HEAD)?;
    let layout = Layout::detect(&head).ok_or(Stop::Refuse(Reason::NotMedia))?;
    let (streams, tracks) = program(source, layout)?;
    let mut media = Transport {
        layout,
        selected: (0..tracks.len()).collect(),
        streams,
        tracks,
        at: layout.first,
        base: None,
        zero: 0,
        duration_us: None,
        ended: false,
        seeking: None,
        tail: seek::TAIL,
    };
    media.read_start(source)?;
    if media.streams.iter().all(|s| s.codec.is_none()) {
        return Err(Stop::Refuse(Reason::NoPlayableTrack));
    }
    Ok(Box::new(media))
}

/// The first program's streams.
fn program(source: &Source, layout: Layout) -> Result<(Vec<Stream>, Vec<Track>), Stop> {
    let (mut at, mut map) = (layout.first, None);
    while at < START_MAX {
        let Some(data) = packet::window(source, layout, at)? else { break };
        let packet = packet::parse(&data);
        at += layout.stride;
        let Some(packet) = packet.filter(|p| p.start) else { continue };
        if packet.pid == 0 {
            map = map.or(packet::program_map_pid(&packet.payload));
        } else if Some(packet.pid) == map
            && let Some(entries) = packet::program_map(&packet.payload)
        {
            let is_blu_ray = layout.stride == BLU_RAY_STRIDE;
            return Ok(entries.into_iter().take(STREAMS_MAX).map(|entry| Track::new(entry, is_blu_ray)).unzip());
        }
    }
    Err(Path::root().error(Fault::Missing, at.min(source.len)).into())
}

impl Track {
    fn new(entry: Entry, is_blu_ray: bool) -> (Stream, Track) {
        let (kind, name) = match entry.kind {
            StreamKind::Avc => (Kind::Video, "h264".into()),
            StreamKind::Hevc => (Kind::Video, "hevc".into()),
            StreamKind::Aac => (Kind::Audio, "aac".into()),
            StreamKind::Mpeg => (Kind::Audio, "mp3".into()),
            StreamKind::Ac3 => (Kind::Audio, "ac3".into()),
            StreamKind::Eac3 => (Kind::Audio, "eac3".into()),
            StreamKind::Other(1 | 2 | 0x10) => (Kind::Video, "mpeg video".into()),
            // Sound that we do not read is to be told of. In broadcasts these numbers are other things: 0x86 says where advertisements go (SCTE 35).
            StreamKind::Other(0x80) if is_blu_ray => (Kind::Audio, "lpcm".into()),
            StreamKind::Other(0x82 | 0x85 | 0x86) if is_blu_ray => (Kind::Audio, "dts".into()),
            StreamKind::Other(0x83) if is_blu_ray => (Kind::Audio, "truehd".into()),
            // AAC as broadcasters pack it.
            StreamKind::Other(0x11) => (Kind::Audio, "aac latm".into()),
            StreamKind::Other(code) => (Kind::Text, format!("stream type {code:#04x}")),
        };
        let mut stream = Stream::new(kind, RATE);
        stream.codec_name = name;
        stream.language = entry.language.and_then(|l| String::from_utf8(l.to_vec()).ok()).filter(|l| l != "und");
        let track = Track {
            sets: Sets::new(entry.kind == StreamKind::Hevc),
            entry,
            unit: BytesMut::new(),
            times: None,
            random_access: false,
            ready: VecDeque::new(),
            learning: true,
            started: false,
            skip_until: i64::MIN,
            next_pts: 0,
        };
        (stream, track)
    }

    fn restart(&mut self) {
        self.unit.clear();
        self.times = None;
        self.ready.clear();
        self.started = false;
        self.skip_until = i64::MIN;
    }
}

impl Transport {
    /// Reads on until every stream has its configuration and first sample; those that have none are left out.
    fn read_start(&mut self, source: &Source) -> Result<(), Stop> {
        let coded = |s: &Stream| s.kind != Kind::Text;
        while self.at < START_MAX && !self.ended {
            let waiting = self
                .streams
                .iter()
                .zip(&self.tracks)
                .any(|(s, t)| coded(s) && t.ready.is_empty() && known(t.entry.kind));
            if !waiting && !self.may_hear_more() {
                break;
            }
            self.read_packet(source)?;
        }
        for (stream, track) in self.streams.iter_mut().zip(&mut self.tracks) {
            track.learning = false;
            if stream.kind == Kind::Video
                && let Some((codec, width, height, aspect)) = track.sets.describe()
            {
                (stream.codec, stream.width, stream.height) = (Some(codec), width, height);
                stream.pixel_aspect = aspect;
            }
            match track.ready.front() {
                Some(first) => stream.timeline = Timeline { first_dts: first.dts, first_pts: first.pts, preroll: None },
                None => stream.codec = None,
            }
        }
        // Sound is timed in samples.
        for stream in self.streams.iter_mut().filter(|s| s.kind == Kind::Audio && s.codec.is_some()) {
            stream.timescale = stream.sample_rate.max(1);
            let first = crate::demux::rescale(stream.timeline.first_pts, RATE, stream.timescale);
            stream.timeline = Timeline { first_dts: first, first_pts: first, preroll: None };
        }
        // Times count from anywhere, so nothing marks sound as priming: whatever comes first is at 0.
        let coded = self.streams.iter().filter(|s| s.codec.is_some());
        let zero = coded.map(|s| us(s.timeline.first_pts, s.timescale)).min().unwrap_or(0);
        self.zero = ticks(zero, RATE);
        for stream in &mut self.streams {
            let zero = ticks(zero, stream.timescale);
            stream.timeline.first_pts -= zero;
            stream.timeline.first_dts -= zero;
        }
        self.go_to(self.layout.first);
        Ok(())
    }

    /// No sound that can be read is known yet, and there is a stream that may be some.
    fn may_hear_more(&self) -> bool {
        let mut streams = self.streams.iter().zip(&self.tracks);
        let heard = streams.any(|(s, t)| s.kind == Kind::Audio && known(t.entry.kind));
        let unnamed = self.tracks.iter().any(|t| t.entry.kind == UNNAMED);
        unnamed && !heard && self.at < self.layout.first + UNNAMED_MAX
    }

    /// Some muxers (ffmpeg's `.m2ts`) call AAC private data and say no more: its first bytes tell.
    fn name_it(&mut self, slot: usize, packet: &Packet) {
        let (stream, track) = (&mut self.streams[slot], &mut self.tracks[slot]);
        let payload = packet::pes(&packet.payload).and_then(|(_, _, from)| packet.payload.get(from..));
        let kind = match payload.unwrap_or_default() {
            data if adts_header(data).is_some() => StreamKind::Aac,
            [0x0b, 0x77, _, _, _, id, ..] if id >> 3 > 10 => StreamKind::Eac3,
            [0x0b, 0x77, ..] => StreamKind::Ac3,
            _ => return,
        };
        (track.entry.kind, stream.kind) = (kind, Kind::Audio);
    }

    fn go_to(&mut self, at: u64) {
        self.at = at;
        self.ended = false;
        self.tracks.iter_mut().for_each(Track::restart);
    }

    /// Takes one packet; at the end of the file the units that were being collected are finished.
    fn read_packet(&mut self, source: &Source) -> Result<(), Stop> {
        let Some(data) = packet::window(source, self.layout, self.at)? else {
            for slot in 0..self.tracks.len() {
                self.finish_unit(slot);
            }
            self.ended = true;
            return Ok(());
        };
        match packet::parse(&data) {
            Some(packet) => self.take(packet),
            // Damage: on to where packets begin again, if not here.
            None if data.first() != Some(&0x47) => {
                let skip = data.iter().skip(1).position(|b| *b == 0x47).map_or(data.len(), |i| i + 1) as u64;
                if !skip.is_multiple_of(self.layout.stride) {
                    self.layout.first = (self.at + skip) % self.layout.stride;
                }
                self.at += skip;
                return Ok(());
            }
            None => {}
        }
        self.at += self.layout.stride;
        Ok(())
    }

    fn take(&mut self, packet: Packet) {
        let Some(slot) = self.tracks.iter().position(|t| t.entry.pid == packet.pid) else { return };
        if packet.start && self.tracks[slot].learning && self.tracks[slot].entry.kind == UNNAMED {
            self.name_it(slot, &packet);
        }
        if !self.selected.contains(&slot) || !known(self.tracks[slot].entry.kind) {
            return;
        }
        if packet.start {
            let Some((pts, dts, from)) = packet::pes(&packet.payload) else { return };
            // Without a time it goes on with what came before.
            if let (Some(pts), Some(dts)) = (pts, dts) {
                self.finish_unit(slot);
                let times = (self.near(pts), self.near(dts));
                let track = &mut self.tracks[slot];
                track.times = Some(times);
                track.random_access = packet.random_access;
            }
            self.collect(slot, &packet.payload[from..]);
        } else {
            self.collect(slot, &packet.payload);
        }
    }

    fn collect(&mut self, slot: usize, data: &[u8]) {
        let track = &mut self.tracks[slot];
        if track.times.is_some() && track.unit.len() + data.len() <= UNIT_MAX {
            track.unit.extend_from_slice(data);
        }
    }

    /// 33 bits made whole: within 13 hours of the first time.
    fn near(&mut self, stamp: u64) -> i64 {
        let base = *self.base.get_or_insert(stamp);
        let ahead = stamp.wrapping_sub(base) & ((1 << 33) - 1);
        let near = if ahead >= 1 << 32 { ahead as i64 - (1 << 33) } else { ahead as i64 };
        near - self.zero
    }

    /// A PES packet is whole: its samples are ready.
    fn finish_unit(&mut self, slot: usize) {
        let track = &mut self.tracks[slot];
        let data = track.unit.split().freeze();
        let Some((pts, dts)) = track.times.take().filter(|_| !data.is_empty()) else { return };
        match track.entry.kind {
            StreamKind::Avc | StreamKind::Hevc => self.picture(slot, &data, pts, dts),
            _ => self.sound(slot, &data, pts),
        }
    }

    fn picture(&mut self, slot: usize, data: &[u8], pts: i64, dts: i64) {
        let track = &mut self.tracks[slot];
        let (sample, sync) = track.sets.sample(data, track.learning);
        track.started |= sync;
        if !track.started || sample.is_empty() {
            return;
        }
        if let Some(last) = track.ready.back_mut() {
            last.duration = (dts - last.dts).clamp(1, i64::from(RATE) * 60) as u32;
        }
        track.ready.push_back(Sample { dts, pts, duration: 0, sync, data: sample });
    }

    fn sound(&mut self, slot: usize, data: &Bytes, pts: i64) {
        let stream = &mut self.streams[slot];
        let track = &mut self.tracks[slot];
        let mut at = 0;
        let scale = |stream: &Stream| if track.learning { RATE } else { stream.timescale };
        let mut time = None;
        while let Some((skip, size, samples)) = data.get(at..).and_then(|rest| frame(track.entry.kind, rest, stream)) {
            let to = scale(stream);
            let at_time = time.unwrap_or_else(|| {
                let said = crate::demux::rescale(pts, RATE, to);
                // Times of 90 kHz are rounded: frames that follow each other do so exactly.
                let slack = i64::from(to / 400);
                if (said - track.next_pts).abs() <= slack && !track.ready.is_empty() { track.next_pts } else { said }
            });
            let length = crate::demux::rescale(i64::from(samples), stream.sample_rate, to);
            let end = (at + size).min(data.len());
            if at + size > data.len() {
                break;
            }
            if let Some(last) = track.ready.back_mut().filter(|last| last.dts < at_time) {
                last.duration = (at_time - last.dts).clamp(1, i64::from(to) * 60) as u32;
            }
            if at_time >= track.skip_until {
                let data = data.slice(at + skip..end);
                track.ready.push_back(Sample { dts: at_time, pts: at_time, duration: length as u32, sync: true, data });
            }
            time = Some(at_time + length);
            track.next_pts = at_time + length;
            at = end;
        }
    }

    fn crowded(&self, slot: usize) -> bool {
        self.selected.iter().filter(|s| **s != slot).any(|&other| {
            let ready = &self.tracks[other].ready;
            let span = match (ready.front(), ready.back()) {
                (Some(first), Some(last)) => us(last.dts.saturating_sub(first.dts), self.streams[other].timescale),
                _ => 0,
            };
            span > WAIT_US || ready.len() > WAIT_SAMPLES
        })
    }
}

/// Blu-ray's packets have their arrival time before them, and no broadcast's.
const BLU_RAY_STRIDE: u64 = 192;
/// Private data, of which no descriptor says what it is (ISO/IEC 13818-1 table 2-34).
const UNNAMED: StreamKind = StreamKind::Other(6);
/// How much is read to find out, bytes: half a second of a film without any other sound.
const UNNAMED_MAX: u64 = 512 << 10;

fn known(kind: StreamKind) -> bool {
    !matches!(kind, StreamKind::Other(_))
}

/// Header bytes to leave out, size and samples of the sound frame that `data` begins with. The first one describes
/// the stream.
fn frame(kind: StreamKind, data: &[u8], stream: &mut Stream) -> Option<(usize, usize, u32)> {
    let mut describe = |codec: Codec, rate: u32, channels: u32| {
        if stream.codec.is_none() {
            (stream.codec, stream.sample_rate, stream.channels) = (Some(codec), rate, channels);
        }
    };
    match kind {
        StreamKind::Aac => {
            let (header, config) = adts_header(data)?;
            describe(Codec::Aac { config: Bytes::copy_from_slice(&config) }, header.sample_rate, header.channels);
            Some((header.header as usize, header.size as usize, header.samples))
        }
        StreamKind::Mpeg => {
            let header = mp3_header(data)?;
            describe(Codec::Mp3, header.sample_rate, header.channels);
            Some((0, header.size as usize, header.samples))
        }
        StreamKind::Ac3 => {
            let (config, rate, channels) = ac3_config(data)?;
            describe(Codec::Ac3 { config }, rate, channels);
            Some((0, ac3_size(data)?, 1536))
        }
        StreamKind::Eac3 => {
            let (config, rate, channels) = eac3_config(data)?;
            describe(Codec::Eac3 { config }, rate, channels);
            let size = (usize::from(data[2] & 7) << 8 | usize::from(*data.get(3)?)) * 2 + 2;
            let blocks = if data.get(4)? >> 6 == 3 { 6 } else { [1, 2, 3, 6][usize::from(data[4] >> 4 & 3)] };
            Some((0, size, blocks * 256))
        }
        _ => None,
    }
}

/// ETSI TS 102 366 table 4.13.
fn ac3_size(data: &[u8]) -> Option<usize> {
    const KILOBITS: [usize; 19] =
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];
    let code = data.get(4)?;
    let kilobits = *KILOBITS.get(usize::from(code & 63) / 2)?;
    Some(match code >> 6 {
        0 => kilobits * 4,
        1 => (kilobits * 320 / 147 + usize::from(code & 1)) * 2,
        _ => kilobits * 6,
    })
}

impl Demuxer for Transport {
    fn fork(&self) -> Option<Box<dyn Demuxer>> {
        Some(Box::new(self.clone()))
    }

    fn container(&self) -> Container {
        Container::MpegTs
    }

    fn streams(&self) -> &[Stream] {
        &self.streams
    }

    fn duration_us(&self) -> Option<u64> {
        self.duration_us
    }

    fn seek(&mut self, source: &Source, selected: &[usize], time_us: u64) -> Result<(), Stop> {
        self.seek_to(source, selected, time_us)
    }

    fn next(&mut self, source: &Source, slot: usize) -> Result<Option<Sample>, Stop> {
        if slot >= self.tracks.len() {
            return Ok(None);
        }
        loop {
            let ready = &mut self.tracks[slot].ready;
            // The last one lasts until the next one begins.
            if ready.len() > 1 || (self.ended && !ready.is_empty()) {
                let usual = RATE / 25;
                return Ok(ready
                    .pop_front()
                    .map(|s| Sample { duration: if s.duration == 0 { usual } else { s.duration }, ..s }));
            }
            if self.ended {
                return Ok(None);
            }
            if self.crowded(slot) {
                return Err(Stop::Idle);
            }
            self.read_packet(source)?;
        }
    }

    fn ahead(&self, source: &Source, selected: &[usize], horizon: Horizon) -> Vec<Ahead> {
        let mut out = Vec::new();
        if !selected.is_empty() && !self.ended && self.seeking.is_none() {
            let last = |slot: &usize| {
                let ready = &self.tracks.get(*slot)?.ready;
                ready.back().map(|s| us(s.dts, self.streams[*slot].timescale).max(0) as u64)
            };
            let now_us = selected.iter().filter_map(last).max().unwrap_or(0);
            sequential(source, self.at, now_us, self.duration_us, horizon, horizon.bytes, &mut out);
        }
        out
    }

    fn extras(&mut self, source: &Source) -> Result<(), Stop> {
        self.find_end(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_blu_ray_calls_sound_is_something_else_in_a_broadcast() {
        let stream = |code: u8, is_blu_ray: bool| {
            let entry = Entry { kind: StreamKind::Other(code), pid: 256, language: None };
            let stream = Track::new(entry, is_blu_ray).0;
            (stream.kind, stream.codec_name)
        };
        assert_eq!(stream(0x86, true), (Kind::Audio, "dts".into()));
        for code in [0x80, 0x82, 0x83, 0x85, 0x86] {
            assert_eq!(stream(code, true).0, Kind::Audio);
            assert_eq!(stream(code, false), (Kind::Text, format!("stream type {code:#04x}")));
        }
        assert_eq!(stream(0x11, false), (Kind::Audio, "aac latm".into()));
    }
}
