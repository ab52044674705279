//! From a source's times to those that MediaSource gets: nothing negative, the first picture at 0, no gap before it.
//!
//! Each is a function of the sample alone, so a film that is produced again from another place gets the same times.

use crate::Kind;
use crate::demux::{Preroll, Sample, Stream, Timeline};
use crate::mux::OutSample;

/// Each picture before a cut start is shown for one part in so many of a second. Chromium 156 loses what follows
/// pictures of 40 µs and keeps it after ones of 80 µs.
const PREROLL_PER_SECOND: u32 = 7500;
/// With a cut start ticks must be short, or its preroll would be seen.
const FINE: u32 = 90_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    kind: Kind,
    timeline: Timeline,
    /// How many of our ticks are one of the source's.
    factor: u32,
    /// Our ticks that each picture before a cut start is shown.
    instant: i64,
}

impl Shape {
    pub(crate) fn new(stream: &Stream) -> Shape {
        let fine = stream.timeline.preroll.is_some() && stream.timescale < FINE;
        let factor = if fine { FINE.div_ceil(stream.timescale.max(1)) } else { 1 };
        let instant = i64::from(stream.timescale.saturating_mul(factor) / PREROLL_PER_SECOND).max(1);
        Shape { kind: stream.kind, timeline: stream.timeline, factor, instant }
    }

    /// Our ticks per second.
    pub(crate) fn timescale(&self, stream: &Stream) -> u32 {
        stream.timescale.saturating_mul(self.factor)
    }

    /// `None` for what is not to be heard or cannot be decoded.
    pub(crate) fn apply(&self, sample: Sample) -> Option<OutSample> {
        let (start, end, pts) = match self.kind {
            Kind::Audio => self.sound(&sample)?,
            _ => self.picture(&sample)?,
        };
        Some(OutSample {
            dts: start as u64,
            pts: pts as u64,
            duration: u32::try_from(end - start).unwrap_or(u32::MAX),
            sync: sample.sync,
            data: sample.data,
        })
    }

    fn sound(&self, sample: &Sample) -> Option<(i64, i64, i64)> {
        let end = sample.pts.saturating_add(i64::from(sample.duration));
        let first = self.timeline.first_pts;
        if end <= first.max(0) {
            return None;
        }
        // Stretched back to 0 if it begins later; cut if it begins earlier (the rest of the priming).
        let start = if sample.pts <= first { 0 } else { sample.pts.max(0) };
        Some((start, end, start))
    }

    fn picture(&self, sample: &Sample) -> Option<(i64, i64, i64)> {
        let end = sample.dts.saturating_add(i64::from(sample.duration));
        let pts = match self.timeline.preroll {
            Some(preroll) => self.around_cut(preroll, sample.pts),
            None if sample.pts < self.timeline.first_pts => return None,
            None if sample.pts == self.timeline.first_pts => 0,
            None => sample.pts.max(0),
        };
        Some((self.decode(sample.dts), self.decode(end), pts.saturating_mul(self.unit())))
    }

    fn unit(&self) -> i64 {
        i64::from(self.factor)
    }

    fn around_cut(&self, preroll: Preroll, pts: i64) -> i64 {
        let room = i64::from(preroll.count) * self.instant / self.unit() + 1;
        let depth = self.timeline.first_pts.saturating_sub(preroll.sync_pts).max(1);
        if pts >= self.timeline.first_pts {
            return pts.max(room);
        }
        let share = i128::from(pts.saturating_sub(preroll.sync_pts).max(0)) * i128::from(room) / i128::from(depth);
        (share as i64).clamp(0, room - 1)
    }

    /// Decode times count from the first sample; it lasts until the second would be due had it come at 0.
    fn decode(&self, dts: i64) -> i64 {
        let line = self.timeline;
        let Some(preroll) = line.preroll else {
            return match dts > line.first_dts {
                true => (dts - line.first_dts).saturating_add(line.first_pts.max(0)).saturating_mul(self.unit()),
                false => 0,
            };
        };
        let room = i64::from(preroll.count) * self.instant;
        if dts >= preroll.cut_dts {
            return (dts - preroll.cut_dts).saturating_mul(self.unit()).saturating_add(room);
        }
        let depth = (preroll.cut_dts - line.first_dts).max(1);
        (i128::from((dts - line.first_dts).max(0)) * i128::from(room) / i128::from(depth)) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn sample(dts: i64, pts: i64, duration: u32) -> Sample {
        Sample { dts, pts, duration, sync: false, data: Bytes::new() }
    }

    fn shape(kind: Kind, timeline: Timeline) -> Shape {
        Shape::new(&Stream { timeline, ..Stream::new(kind, 1000) })
    }

    #[test]
    fn priming_is_cut_and_late_sound_reaches_back_to_zero() {
        let primed = shape(Kind::Audio, Timeline { first_pts: -10, ..Timeline::default() });
        assert!(primed.apply(sample(-31, -31, 21)).is_none());
        let first = primed.apply(sample(-10, -10, 21)).unwrap();
        assert_eq!((first.dts, first.duration), (0, 11));
        let late = shape(Kind::Audio, Timeline { first_pts: 500, ..Timeline::default() });
        let first = late.apply(sample(500, 500, 21)).unwrap();
        assert_eq!((first.dts, first.pts, first.duration), (0, 0, 521));
        assert_eq!(late.apply(sample(521, 521, 21)).unwrap().dts, 521);
    }

    #[test]
    fn the_first_picture_is_at_zero_and_lasts_until_the_second() {
        let line = Timeline { first_dts: -80, first_pts: 40, preroll: None };
        let shape = shape(Kind::Video, line);
        let first = shape.apply(sample(-80, 40, 40)).unwrap();
        assert_eq!((first.dts, first.pts, first.duration), (0, 0, 80));
        let second = shape.apply(sample(-40, 160, 40)).unwrap();
        assert_eq!((second.dts, second.pts), (80, 160));
        assert!(shape.apply(sample(0, 0, 40)).is_none());
    }

    #[test]
    fn pictures_before_a_cut_take_no_time() {
        let preroll = Preroll { count: 10, cut_dts: 400, sync_pts: -400 };
        let shape = shape(Kind::Video, Timeline { first_dts: 0, first_pts: 0, preroll: Some(preroll) });
        let mut last = (-1, -1);
        for i in 0..10 {
            let out = shape.apply(sample(i * 40, i * 40 - 400, 40)).unwrap();
            assert!(out.pts < 180 && out.dts < 180 && (out.dts as i64) > last.0, "{out:?}");
            last = (out.dts as i64, out.pts as i64);
        }
        let shown = shape.apply(sample(440, 40, 40)).unwrap();
        assert_eq!((shown.pts, shown.duration), (40 * 90, 40 * 90));
    }
}
