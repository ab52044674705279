//! What every container becomes: streams of samples with exact times.

use crate::codec::Codec;
use crate::codec::pcm::{FlacWriter, Pcm};
use crate::source::{Source, Stop};
use crate::text::Format;
use crate::{Chapter, Container, Kind};
use bytes::Bytes;
use std::ops::Range;

/// One track as its container tells it.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub kind: Kind,
    /// `None`: a codec that we do not put out, `codec_name` says which.
    pub codec: Option<Codec>,
    pub codec_name: String,
    pub width: u32,
    pub height: u32,
    /// Width and height of a pixel.
    pub pixel_aspect: (u32, u32),
    /// `colr` box payload, copied through.
    pub colour: Option<Bytes>,
    /// `tkhd` matrix: rotation.
    pub matrix: Option<[u32; 9]>,
    pub channels: u32,
    pub sample_rate: u32,
    /// As sample entries state it: 16 unless the codec knows better (Chromium compares FLAC's).
    pub sample_bits: u32,
    pub language: Option<String>,
    pub name: Option<String>,
    /// The file marks it as one to play unless told otherwise.
    pub default: bool,
    /// Subtitles that are to be shown unasked.
    pub forced: bool,
    /// Subtitles that we can read.
    pub text: Option<Format>,
    /// Raw sound: what its samples become on the way out.
    pub pcm: Option<FlacWriter>,
    /// Ticks per second of the samples' times.
    pub timescale: u32,
    pub timeline: Timeline,
}

impl Stream {
    pub(crate) fn new(kind: Kind, timescale: u32) -> Stream {
        Stream {
            kind,
            codec: None,
            codec_name: String::new(),
            width: 0,
            height: 0,
            pixel_aspect: (1, 1),
            colour: None,
            matrix: None,
            channels: 0,
            sample_rate: 0,
            sample_bits: 16,
            language: None,
            name: None,
            default: true,
            forced: false,
            text: None,
            pcm: None,
            timescale,
            timeline: Timeline::default(),
        }
    }

    /// Raw sound leaves as FLAC, where that has room for it.
    #[inline(never)]
    pub(crate) fn set_pcm(&mut self, pcm: Pcm) {
        self.pcm = FlacWriter::new(pcm);
        if let Some(writer) = &self.pcm {
            self.codec = Some(Codec::Flac { config: writer.config() });
            self.sample_bits = writer.bits();
        }
    }
}

/// How a stream's times become those that we put out (see `shape`). All in the stream's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timeline {
    /// Decode time of the first sample that is put out.
    pub first_dts: i64,
    /// Presentation time of the first displayed (or heard) sample: it is stretched back to 0.
    pub first_pts: i64,
    /// A cut start: the first picture shown is not a sync sample.
    pub preroll: Option<Preroll>,
}

/// The samples from the sync sample up to a cut start: decoded, shown for an instant only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preroll {
    pub count: u32,
    /// Decode time of the first sample that is not before the cut.
    pub cut_dts: i64,
    /// Presentation time of the sync sample: before `first_pts`.
    pub sync_pts: i64,
}

/// One coded picture or sound frame. Presentation times begin at the film's zero and are negative for priming.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub dts: i64,
    pub pts: i64,
    /// Until the next sample's decode time.
    pub duration: u32,
    pub sync: bool,
    pub data: Bytes,
}

/// Bytes that will be needed to show what is shown at `time_us`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ahead {
    pub range: Range<u64>,
    pub time_us: u64,
}

/// By time, then place.
pub(crate) fn sort_by_time(list: &mut Vec<Ahead>) {
    baton_sorted::sort_by_key(list, |a| (a.time_us, a.range.start));
}

/// What a range costs in the cache: whole blocks of 16 KiB come.
pub(crate) fn cost(range: &Range<u64>) -> u64 {
    const BLOCK: u64 = 16 << 10;
    range.end.div_ceil(BLOCK).saturating_mul(BLOCK) - range.start / BLOCK * BLOCK
}

/// How far to look ahead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Horizon {
    pub until_us: u64,
    pub bytes: u64,
}

/// What a container says of the whole film.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub title: Option<String>,
    /// By presentation time, in order.
    pub chapters: Vec<Chapter>,
    /// More of them may be found yet.
    pub unfinished: bool,
}

impl About {
    /// From times as the file counts, of which `zero_us` is the film's zero.
    pub(crate) fn shift(&mut self, zero_us: i64) {
        for chapter in &mut self.chapters {
            chapter.start_us = chapter.start_us.saturating_sub(zero_us.max(0) as u64);
        }
    }
}

/// An opened container. Slots number its streams.
pub(crate) trait Demuxer {
    fn container(&self) -> Container;
    fn streams(&self) -> &[Stream];
    fn duration_us(&self) -> Option<u64>;

    /// Goes to the sync sample at or before `time_us` in each selected stream (the first selected video leads).
    /// After `Need` it is called again with the same arguments.
    fn seek(&mut self, source: &Source, selected: &[usize], time_us: u64) -> Result<(), Stop>;

    /// The next sample of a stream in decode order; `None` at its end. A `Need` changes nothing that is visible.
    fn next(&mut self, source: &Source, slot: usize) -> Result<Option<Sample>, Stop>;

    /// The bytes that the next samples need, in order of time.
    fn ahead(&self, source: &Source, selected: &[usize], horizon: Horizon) -> Vec<Ahead>;

    fn about(&self) -> Option<&About> {
        None
    }

    /// Subtitles lie among the other tracks' samples: reading those reads these.
    fn texts_in_passing(&self) -> bool {
        false
    }

    /// Another one at the same place, to look elsewhere without losing that. `None`: there are no pictures to look at.
    fn fork(&self) -> Option<Box<dyn Demuxer>> {
        None
    }

    /// Reads what is not needed to play but to seek (Cues at the end, the duration of a live recording).
    fn extras(&mut self, _source: &Source) -> Result<(), Stop> {
        Ok(())
    }
}

/// Ticks to microseconds, rounding down; saturates instead of wrapping.
pub(crate) fn us(ticks: i64, timescale: u32) -> i64 {
    let scale = i64::from(timescale.max(1));
    let (whole, rest) = (ticks.div_euclid(scale), ticks.rem_euclid(scale));
    whole.saturating_mul(1_000_000).saturating_add(rest * 1_000_000 / scale)
}

/// Microseconds to ticks, rounding to nearest.
pub(crate) fn ticks(us: i64, timescale: u32) -> i64 {
    rescale(us, 1_000_000, timescale)
}

/// From one number of ticks per second to another, rounding to nearest; saturates.
pub(crate) fn rescale(value: i64, from: u32, to: u32) -> i64 {
    let (from, to) = (i64::from(from.max(1)), i64::from(to.max(1)));
    let (whole, rest) = (value.div_euclid(from), value.rem_euclid(from));
    whole.saturating_mul(to).saturating_add((rest * to + from / 2) / from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_convert_without_overflow() {
        assert_eq!(us(90_000, 90_000), 1_000_000);
        assert_eq!(us(-1, 3), -333_334);
        assert_eq!(us(i64::MAX, 1), i64::MAX);
        assert_eq!(ticks(1_000_000, 48_000), 48_000);
        assert_eq!(rescale(-1024, 48_000, 96_000), -2048);
    }
}
