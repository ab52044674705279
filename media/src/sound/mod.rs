//! Files of sound alone: one track, frame after frame.

mod flac;
mod mpeg;
mod ogg;
mod wav;

use crate::demux::{Ahead, Demuxer, Horizon, Sample, Stream, ticks, us};
use crate::mp4::{SETTLE_US, sequential};
use crate::source::{Source, Stop};
use crate::{Container, Kind};
use bytes::Bytes;

/// One coded frame and where the next one is looked for.
pub(crate) struct Frame {
    pub data: Bytes,
    pub samples: u32,
    pub next: u64,
    /// Its own number of the first sample, where frames carry one.
    pub position: Option<i64>,
}

/// A format of such files.
pub(crate) trait Frames {
    /// The first frame that begins at or after `at`; `None` at the end.
    fn frame(&mut self, source: &Source, at: u64) -> Result<Option<Frame>, Stop>;
    /// A frame's place at or before `position` (samples), and its position.
    fn place(&mut self, source: &Source, position: i64) -> Result<(u64, i64), Stop>;
    /// After a jump, before the first `frame`.
    fn restart(&mut self) {}
    /// The length in samples, if it became known late.
    fn late_length(&mut self, _source: &Source) -> Result<Option<i64>, Stop> {
        Ok(None)
    }
}

pub(crate) struct SoundFile<F> {
    frames: F,
    container: Container,
    streams: [Stream; 1],
    duration_us: Option<u64>,
    first: u64,
    /// Position of the first frame: negative for priming.
    start: i64,
    at: u64,
    position: i64,
    measured: bool,
}

impl<F: Frames> SoundFile<F> {
    /// `samples` is the length without priming, where known.
    pub(crate) fn new(
        frames: F,
        container: Container,
        mut stream: Stream,
        first: u64,
        start: i64,
        samples: Option<i64>,
    ) -> SoundFile<F> {
        stream.timeline.first_pts = start.min(0);
        let duration_us = samples.filter(|s| *s > 0).map(|s| us(s, stream.timescale) as u64);
        SoundFile {
            frames,
            container,
            streams: [stream],
            duration_us,
            first,
            start,
            at: first,
            position: start,
            measured: false,
        }
    }
}

/// For the beginning of such a file.
pub(crate) fn stream(sample_rate: u32, channels: u32) -> Stream {
    Stream { sample_rate, channels, ..Stream::new(Kind::Audio, sample_rate.max(1)) }
}

impl<F: Frames> Demuxer for SoundFile<F> {
    fn container(&self) -> Container {
        self.container
    }

    fn streams(&self) -> &[Stream] {
        &self.streams
    }

    fn duration_us(&self) -> Option<u64> {
        self.duration_us
    }

    fn seek(&mut self, source: &Source, _: &[usize], time_us: u64) -> Result<(), Stop> {
        let target = ticks((time_us as i64).saturating_sub(SETTLE_US), self.streams[0].timescale);
        (self.at, self.position) = match time_us {
            0 => (self.first, self.start),
            _ if target <= self.start => (self.first, self.start),
            _ => self.frames.place(source, target)?,
        };
        self.frames.restart();
        Ok(())
    }

    fn next(&mut self, source: &Source, _: usize) -> Result<Option<Sample>, Stop> {
        let Some(frame) = self.frames.frame(source, self.at)? else { return Ok(None) };
        let pts = frame.position.unwrap_or(self.position);
        self.at = frame.next;
        self.position = pts.saturating_add(i64::from(frame.samples));
        Ok(Some(Sample { dts: pts, pts, duration: frame.samples.max(1), sync: true, data: frame.data }))
    }

    fn ahead(&self, source: &Source, selected: &[usize], horizon: Horizon) -> Vec<Ahead> {
        let mut out = Vec::new();
        if !selected.is_empty() {
            let now_us = us(self.position, self.streams[0].timescale).max(0) as u64;
            sequential(source, self.at, now_us, self.duration_us, horizon, horizon.bytes, &mut out);
        }
        out
    }

    fn extras(&mut self, source: &Source) -> Result<(), Stop> {
        if self.duration_us.is_none() && !self.measured {
            let length = self.frames.late_length(source)?;
            self.measured = true;
            self.duration_us = length.filter(|l| *l > 0).map(|l| us(l, self.streams[0].timescale) as u64);
        }
        Ok(())
    }
}

pub(crate) use flac::{open as open_flac, sniff as is_flac};
pub(crate) use mpeg::{open as open_mpeg, sniff as is_mpeg};
pub(crate) use ogg::{open as open_ogg, sniff as is_ogg};
pub(crate) use wav::{open as open_wav, sniff as is_wav};
