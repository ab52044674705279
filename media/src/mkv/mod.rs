//! Matroska and WebM (RFC 9559): read cluster by cluster.

mod clock;
mod cluster;
pub(crate) mod ebml;
mod header;
pub(crate) mod ids;
mod seek;

use crate::cache::merged;
use crate::codec::pcm::FlacWriter;
use crate::codec::{Codec, ac3_config, eac3_config, opus_packet_samples, vpcc_from_frame};
use crate::demux::{About, Ahead, Demuxer, Horizon, Sample, Stream, cost, rescale, sort_by_time, ticks, us};
use crate::error::{Fault, Path};
use crate::mp4::{BUCKET_US, GAP, sequential, zero_us};
use crate::source::{Source, Stop};
use crate::{Container, Kind, Reason};
use bytes::Bytes;
use clock::{Clock, Frame, Style};
use cluster::Reader;
use header::{FromFrame, Header, Packing, TrackEntry};
use seek::{Index, Seeking};

/// Blocks looked at for the first frame of every track before we start without the missing ones: some two seconds.
const FIRST_BLOCKS: usize = 256;
/// Frames that may wait for the other track: past this much of the film the others have to be played first. Only
/// places are kept, no bytes.
const WAIT_US: i64 = 60_000_000;
/// A subtitle that does not say how long it stays.
const TEXT_US: i64 = 3_000_000;
/// Subtitles that wait for their bytes; older ones are forgotten.
const TEXTS_MAX: usize = 256;
/// The same in frames, whatever their times claim.
const WAIT_FRAMES: usize = 16_384;

#[derive(Clone)]
pub(crate) struct Matroska {
    webm: bool,
    streams: Vec<Stream>,
    tracks: Vec<Track>,
    reader: Reader,
    selected: Vec<usize>,
    duration_us: Option<u64>,
    index: Index,
    about: About,
    /// Where chapters are that were not read yet.
    chapters_at: Option<u64>,
    seeking: Option<Seeking>,
    ended: bool,
}

#[derive(Clone)]
struct Track {
    entry: TrackEntry,
    clock: Clock,
    /// What is taken off each stored time: the film's zero and the codec's delay, in nanoseconds.
    zero_ns: i64,
    /// Sound that ends before this is passed over after a seek.
    skip_until: i64,
    /// Pictures before the first sync sample are passed over.
    started: bool,
}

pub(crate) fn sniff(head: &[u8]) -> bool {
    header::sniff(head)
}

pub(crate) fn open(source: &Source) -> Result<Box<dyn Demuxer>, Stop> {
    let header = header::read(source)?;
    let encrypted = header.encrypted;
    let media = Matroska::new(source, header)?;
    if media.streams.iter().all(|s| s.codec.is_none()) {
        return Err(Stop::Refuse(if encrypted { Reason::Encrypted } else { Reason::NoPlayableTrack }));
    }
    Ok(Box::new(media))
}

impl Matroska {
    fn new(source: &Source, header: Header) -> Result<Matroska, Stop> {
        let reader = Reader::new(&header);
        let index = Index::new(&header);
        let (about, chapters_at) = (header.about, header.chapters_at);
        let tracks: Vec<Track> = header.tracks.into_iter().map(Track::new).collect();
        let mut media = Matroska {
            webm: header.webm,
            streams: Vec::new(),
            selected: (0..tracks.len()).collect(),
            tracks,
            reader,
            duration_us: header.duration_us,
            index,
            about,
            chapters_at,
            seeking: None,
            ended: false,
        };
        media.read_start(source)?;
        Ok(media)
    }

    /// Reads up to the first frame of each track: some configurations are only there, and the film's zero is.
    fn read_start(&mut self, source: &Source) -> Result<(), Stop> {
        let mut firsts: Vec<Option<Frame>> = vec![None; self.tracks.len()];
        for _ in 0..FIRST_BLOCKS {
            let missing = |slot: usize| {
                let entry = &self.tracks[slot].entry;
                firsts[slot].is_none() && (entry.stream.codec.is_some() || entry.wants_frame.is_some())
            };
            if !(0..firsts.len()).any(missing) {
                break;
            }
            let Some(block) = self.reader.next(source)? else { break };
            let Some(slot) = self.slot(block.track) else { continue };
            let track = &mut self.tracks[slot];
            if firsts[slot].is_some() || !(block.sync || track.entry.stream.kind == Kind::Audio) {
                continue;
            }
            let frames = block.frames(source)?;
            let Some((offset, size)) = frames.first().copied() else { continue };
            if let Some(wanted) = track.entry.wants_frame {
                let head = if matches!(track.entry.packing, Packing::Zlib) { size } else { size.min(64) };
                let data = source.get(offset..offset + u64::from(head), block.path)?;
                track.configure(wanted, data);
            }
            let pts = track.ticks(block.time_ns(self.reader.scale));
            firsts[slot] = Some(Frame { offset, size, pts, sync: block.sync, duration: None });
        }
        for (track, first) in self.tracks.iter_mut().zip(&firsts) {
            let stream = &mut track.entry.stream;
            match first {
                Some(frame) => (stream.timeline.first_pts, stream.timeline.first_dts) = (frame.pts, frame.pts),
                None if stream.kind == Kind::Video => stream.codec = None,
                None => {}
            }
            self.streams.push(stream.clone());
        }
        let zero = zero_us(&self.streams);
        for (stream, track) in self.streams.iter_mut().zip(&mut self.tracks) {
            track.zero_ns += zero * 1000;
            let zero = ticks(zero, stream.timescale);
            stream.timeline.first_pts -= zero;
            stream.timeline.first_dts -= zero;
        }
        self.index.zero_us = zero;
        self.about.shift(zero);
        self.reader.go_to(self.index.first_cluster);
        Ok(())
    }

    fn slot(&self, number: u64) -> Option<usize> {
        self.tracks.iter().position(|t| t.entry.number == number)
    }

    /// Reads one block and queues its frames; `false` at the end.
    fn read_block(&mut self, source: &Source) -> Result<bool, Stop> {
        let before = self.reader.clone();
        let Some(block) = self.reader.next(source)? else {
            self.ended = true;
            return Ok(false);
        };
        if let Some((time_ns, at)) = self.reader.take_cluster() {
            self.index.note(time_ns / 1000, at);
        }
        let Some(slot) = self.slot(block.track).filter(|slot| self.selected.contains(slot)) else { return Ok(true) };
        let scale = self.reader.scale;
        let track = &mut self.tracks[slot];
        let queued = block.frames(source).and_then(|frames| {
            let step = track.lace_step(source, &block, &frames, scale)?;
            Ok((frames, step))
        });
        match queued {
            Ok((frames, step)) => {
                let start = track.ticks(block.time_ns(scale));
                let duration = block.duration.map(|d| track.span(d.saturating_mul(scale)));
                let each = duration.map(|d| d / frames.len().max(1) as i64);
                if let Some(unit) = track.entry.stream.pcm.map(|pcm| pcm.frame_bytes()) {
                    track.push_raw(start, unit, &frames);
                    return Ok(true);
                }
                for (i, (offset, size)) in frames.into_iter().enumerate() {
                    let pts = start.saturating_add(step.saturating_mul(i as i64));
                    track.push(Frame { offset, size, pts, sync: block.sync || i > 0, duration: each });
                }
                Ok(true)
            }
            Err(Stop::Broken(_)) => Ok(true),
            Err(stop) => {
                self.reader = before;
                Err(stop)
            }
        }
    }

    /// Whether another track waits so far ahead that reading on for `slot` would only fill memory.
    fn crowded(&self, slot: usize) -> bool {
        let others = self.selected.iter().filter(|s| **s != slot && self.streams[**s].kind != Kind::Text);
        others.into_iter().any(|&other| {
            let clock = &self.tracks[other].clock;
            let span = match (clock.waiting().next(), clock.waiting().last()) {
                (Some(first), Some(last)) => us(last.pts.saturating_sub(first.pts), self.streams[other].timescale),
                _ => 0,
            };
            span > WAIT_US || clock.len() > WAIT_FRAMES
        })
    }

    fn frame_data(&self, source: &Source, slot: usize, frame: &Frame) -> Result<Bytes, Stop> {
        let path = Path::root().child(ids::SEGMENT).child(ids::CLUSTER);
        let data = source.get(frame.offset..frame.offset + u64::from(frame.size), path)?;
        Ok(match &self.streams[slot].pcm {
            Some(pcm) => pcm.frame(&data, 0),
            None => self.tracks[slot].entry.unpack(data),
        })
    }

    fn read_chapters(&mut self, source: &Source) -> Result<(), Stop> {
        let Some(at) = self.chapters_at else { return Ok(()) };
        let found = match ebml::element(source, at, self.reader.end(), GAP) {
            Ok(found) => found.filter(|e| e.id == ids::CHAPTERS),
            Err(Stop::Broken(_)) => None,
            Err(stop) => return Err(stop),
        };
        if let Some(end) = found.and_then(|f| f.end.filter(|end| *end - f.body <= header::CHAPTERS_MAX))
            && let Some(found) = found
        {
            let path = Path::root().child(ids::SEGMENT).child(ids::CHAPTERS);
            match source.get(found.body..end, path) {
                Ok(data) => {
                    let _ = header::chapters(ebml::Body::new(data, found.body, path), &mut self.about.chapters);
                    self.about.shift(self.index.zero_us);
                }
                Err(Stop::Broken(_)) => {}
                Err(stop) => return Err(stop),
            }
        }
        (self.chapters_at, self.about.unfinished) = (None, false);
        Ok(())
    }
}

impl Track {
    fn new(entry: TrackEntry) -> Track {
        let rate = i64::from(entry.stream.timescale);
        let (style, usual) = match entry.stream.kind {
            // Blocks are timed to the millisecond, and some writers round twice.
            Kind::Audio if entry.stream.pcm.is_some() => (Style::Samples(rate * 25 / 10_000), None),
            Kind::Audio => (Style::Sound(rate * 25 / 10_000), entry.frame_samples.map(i64::from)),
            Kind::Text => (Style::Texts, Some(TEXT_US)),
            _ => (Style::Pictures(entry.reorder), None),
        };
        let default = entry.default_duration_ns.map(|ns| rescale(ns as i64, 1_000_000_000, entry.stream.timescale));
        let clock = Clock::new(style, usual.or(default).unwrap_or(0));
        Track { zero_ns: entry.codec_delay_ns as i64, clock, entry, skip_until: i64::MIN, started: false }
    }

    /// Nanoseconds as the file counts to ticks of presentation.
    fn ticks(&self, time_ns: i64) -> i64 {
        rescale(time_ns.saturating_sub(self.zero_ns), 1_000_000_000, self.entry.stream.timescale)
    }

    fn span(&self, ns: u64) -> i64 {
        rescale(ns.min(1 << 60) as i64, 1_000_000_000, self.entry.stream.timescale)
    }

    /// How far apart the frames of one laced block are.
    fn lace_step(
        &self,
        source: &Source,
        block: &cluster::Block,
        frames: &[(u64, u32)],
        scale: u64,
    ) -> Result<i64, Stop> {
        if frames.len() < 2 {
            return Ok(0);
        }
        if let Some(step) = self.entry.frame_samples {
            return Ok(i64::from(step));
        }
        if let Some(ns) = self.entry.default_duration_ns {
            return Ok(self.span(ns));
        }
        if matches!(self.entry.stream.codec, Some(Codec::Opus { .. })) {
            let head = source.get(frames[0].0..frames[0].0 + u64::from(frames[0].1.min(2)), block.path)?;
            return Ok(i64::from(opus_packet_samples(&head)));
        }
        Ok(block.duration.map_or(0, |d| self.span(d.saturating_mul(scale)) / frames.len() as i64))
    }

    fn push(&mut self, frame: Frame) {
        if self.entry.stream.kind == Kind::Video {
            self.started |= frame.sync;
            if !self.started {
                return;
            }
        } else if frame.pts < self.skip_until {
            return;
        }
        self.clock.push(frame);
        if self.entry.stream.kind == Kind::Text && self.clock.len() > TEXTS_MAX {
            self.clock.drop_front();
        }
    }

    /// Raw sound: cut into frames of the length that goes out, so that it needs no memory of its own.
    #[inline(never)]
    fn push_raw(&mut self, start: i64, unit: u32, frames: &[(u64, u32)]) {
        let mut pts = start;
        for &(offset, size) in frames {
            let samples = size / unit;
            for first in (0..samples).step_by(FlacWriter::BLOCK as usize) {
                let count = (samples - first).min(FlacWriter::BLOCK);
                let offset = offset + u64::from(first * unit);
                self.push(Frame { offset, size: count * unit, pts, sync: true, duration: Some(i64::from(count)) });
                pts = pts.saturating_add(i64::from(count));
            }
        }
    }

    fn restart(&mut self) {
        self.clock.reset();
        self.skip_until = i64::MIN;
        self.started = false;
    }

    /// Completes the description from the first frame.
    fn configure(&mut self, wanted: FromFrame, frame: Bytes) {
        let whole = self.entry.unpack(frame);
        let stream = &mut self.entry.stream;
        stream.codec = match wanted {
            FromFrame::Vp9 => {
                let rate = self.entry.default_duration_ns.map_or(30.0, |ns| 1e9 / ns as f64);
                vpcc_from_frame(&whole, stream.width, stream.height, rate).map(|config| Codec::Vp9 { config })
            }
            FromFrame::Ac3 => ac3_config(&whole).map(|(config, _, channels)| {
                stream.channels = channels;
                Codec::Ac3 { config }
            }),
            FromFrame::Eac3 => eac3_config(&whole).map(|(config, _, channels)| {
                stream.channels = channels;
                Codec::Eac3 { config }
            }),
        };
    }
}

impl Demuxer for Matroska {
    fn fork(&self) -> Option<Box<dyn Demuxer>> {
        Some(Box::new(self.clone()))
    }

    fn container(&self) -> Container {
        if self.webm { Container::WebM } else { Container::Matroska }
    }

    fn streams(&self) -> &[Stream] {
        &self.streams
    }

    fn duration_us(&self) -> Option<u64> {
        let zero = self.index.zero_us.max(0) as u64;
        self.duration_us.map(|d| d.saturating_sub(if zero < d { zero } else { 0 }))
    }

    fn seek(&mut self, source: &Source, selected: &[usize], time_us: u64) -> Result<(), Stop> {
        self.seek_to(source, selected, time_us)
    }

    fn next(&mut self, source: &Source, slot: usize) -> Result<Option<Sample>, Stop> {
        if slot >= self.tracks.len() {
            return Ok(None);
        }
        loop {
            if let Some(timed) = self.tracks[slot].clock.peek(self.ended) {
                let data = self.frame_data(source, slot, &timed.frame)?;
                let track = &mut self.tracks[slot];
                track.clock.pop(&timed);
                let pts = if track.entry.stream.kind == Kind::Audio { timed.dts } else { timed.frame.pts };
                return Ok(Some(Sample {
                    dts: timed.dts,
                    pts,
                    duration: timed.duration,
                    sync: timed.frame.sync,
                    data,
                }));
            }
            if self.ended {
                return Ok(None);
            }
            // Subtitles come when the others pass them: to look for the next one would be to read the film.
            if self.streams[slot].kind == Kind::Text || self.crowded(slot) {
                return Err(Stop::Idle);
            }
            if self.tracks[slot].clock.len() > WAIT_FRAMES {
                return Err(Path::root().child(ids::SEGMENT).error(Fault::TooMany, self.reader.at).into());
            }
            self.read_block(source)?;
        }
    }

    fn ahead(&self, source: &Source, selected: &[usize], horizon: Horizon) -> Vec<Ahead> {
        let mut known = Vec::new();
        let mut reached = None;
        for &slot in selected.iter().filter(|s| **s < self.tracks.len()) {
            let scale = self.streams[slot].timescale;
            for frame in self.tracks[slot].clock.waiting() {
                let time_us = us(frame.pts, scale).max(0) as u64;
                known.push(Ahead { range: frame.offset..frame.offset + u64::from(frame.size), time_us });
                reached = reached.max(Some(time_us));
            }
        }
        sort_by_time(&mut known);
        let mut out: Vec<Ahead> = Vec::new();
        let mut bytes = 0;
        for bucket in known.chunk_by(|a, b| a.time_us / BUCKET_US == b.time_us / BUCKET_US) {
            let time_us = bucket[0].time_us;
            for range in merged(bucket.iter().map(|a| a.range.clone()).collect(), GAP) {
                bytes += cost(&range);
                out.push(Ahead { range, time_us });
            }
        }
        if self.seeking.is_none() && bytes < horizon.bytes && !self.ended {
            let start_us = reached.or_else(|| self.reader.cluster_us(self.index.zero_us)).unwrap_or(0);
            sequential(
                source,
                self.reader.at,
                start_us,
                self.duration_us,
                horizon,
                horizon.bytes.saturating_sub(bytes),
                &mut out,
            );
        }
        out
    }

    fn about(&self) -> Option<&About> {
        Some(&self.about)
    }

    fn texts_in_passing(&self) -> bool {
        true
    }

    fn extras(&mut self, source: &Source) -> Result<(), Stop> {
        self.read_cues(source)?;
        self.read_chapters(source)?;
        if self.duration_us.is_none() {
            self.find_end(source)?;
        }
        Ok(())
    }
}
