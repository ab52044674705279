//! Matroska stores when a frame is shown, to the millisecond, and nothing else. Here decode times and durations
//! come back: pictures by their reorder depth, sound by counting samples.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A frame in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub offset: u64,
    pub size: u32,
    /// In the stream's ticks.
    pub pts: i64,
    pub sync: bool,
    /// What the block says, in ticks.
    pub duration: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timed {
    pub frame: Frame,
    pub dts: i64,
    pub duration: u32,
    /// The next frame's decode time is one of the stored times, not a guess.
    stored: bool,
}

/// Frames in, in decode order; timed frames out, each as soon as its duration is certain.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    waiting: VecDeque<Frame>,
    kind: Style,
    /// What a frame lasts unless its successor says otherwise; 0 unknown.
    usual: i64,
    /// Decode time of the front frame, once known.
    dts: Option<i64>,
    /// Presentation times of what came, those that became a decode time taken out.
    shown: BinaryHeap<Reverse<i64>>,
    /// A decode time was foretold, so one of `shown` is still to be taken out for it.
    foretold: bool,
    /// Of the first frame: what is shown before it cannot be decoded.
    first: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Up to this many pictures precede one in decode order and follow it in display order.
    Pictures(u32),
    /// Frames whose stored times are this much off at most, in ticks, follow each other without gaps.
    Sound(i64),
    /// The same of frames that say exactly how long they last.
    Samples(i64),
    /// Each is due at its own time; they may overlap.
    Texts,
}

impl Default for Style {
    fn default() -> Style {
        Style::Pictures(0)
    }
}

impl Clock {
    pub(super) fn new(kind: Style, usual: i64) -> Clock {
        Clock { kind, usual, ..Clock::default() }
    }

    /// As new, for after a seek.
    pub(super) fn reset(&mut self) {
        *self = Clock::new(self.kind, self.usual);
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = &Frame> {
        self.waiting.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn push(&mut self, frame: Frame) {
        match self.kind {
            Style::Pictures(_) => {
                let first = *self.first.get_or_insert(frame.pts);
                if frame.pts < first {
                    return;
                }
                self.shown.push(Reverse(frame.pts));
            }
            Style::Sound(_) | Style::Samples(_) | Style::Texts => {}
        }
        self.waiting.push_back(frame);
    }

    /// The front frame with its times, if they are certain; `ended`: nothing more will come.
    pub(super) fn peek(&mut self, ended: bool) -> Option<Timed> {
        let frame = *self.waiting.front()?;
        if self.kind == Style::Texts {
            let duration = frame.duration.unwrap_or(self.usual).clamp(1, i64::from(u32::MAX)) as u32;
            return Some(Timed { frame, dts: frame.pts, duration, stored: false });
        }
        let (next, stored) = match self.kind {
            Style::Pictures(reorder) => self.next_picture(frame, reorder, ended)?,
            Style::Sound(slack) | Style::Samples(slack) => (self.next_sound(frame, slack, ended)?, false),
            Style::Texts => return None,
        };
        let dts = self.dts?;
        Some(Timed { frame, dts, duration: (next - dts).clamp(1, i64::from(u32::MAX)) as u32, stored })
    }

    /// Takes the front frame, as `peek` gave it.
    pub(super) fn pop(&mut self, timed: &Timed) {
        self.waiting.pop_front();
        self.dts = Some(timed.dts + i64::from(timed.duration));
        if timed.stored {
            self.shown.pop();
        } else {
            self.foretold = true;
        }
    }

    pub(super) fn drop_front(&mut self) {
        self.waiting.pop_front();
    }

    fn next_picture(&mut self, frame: Frame, reorder: u32, ended: bool) -> Option<(i64, bool)> {
        let dts = match self.dts {
            Some(dts) => dts,
            None => {
                // The first: nothing is shown before it.
                self.shown.pop();
                *self.dts.insert(frame.pts)
            }
        };
        // With so many later ones known, the smallest is final.
        let enough = |clock: &Clock| ended || clock.shown.len() > reorder as usize;
        if self.foretold && enough(self) {
            self.shown.pop();
            self.foretold = false;
        }
        if !self.foretold && enough(self) {
            return Some(match self.shown.peek() {
                Some(Reverse(at)) => ((*at).max(dts + 1), true),
                None => (dts + frame.duration.unwrap_or(self.usual).max(1), false),
            });
        }
        // The very first picture is not kept waiting for the ones behind it.
        let first = !self.foretold && self.first == Some(frame.pts) && dts == frame.pts && reorder > 0;
        let known = frame.duration.filter(|_| reorder == 0).or((first && self.usual > 0).then_some(self.usual))?;
        Some((dts + known.max(1), false))
    }

    fn next_sound(&mut self, frame: Frame, slack: i64, ended: bool) -> Option<i64> {
        let dts = *self.dts.get_or_insert(frame.pts);
        let lasts = match self.kind {
            Style::Samples(_) => frame.duration.unwrap_or(0),
            _ => self.usual,
        };
        let counted = (lasts > 0).then_some(dts.saturating_add(lasts));
        match (self.waiting.get(1), counted) {
            // Rounded times of frames that follow each other.
            (Some(next), Some(counted)) if (next.pts - counted).abs() <= slack => Some(counted),
            (Some(next), _) => Some(next.pts.max(dts + 1)),
            (None, _) if ended => Some(dts + frame.duration.filter(|d| *d > 0).unwrap_or(self.usual.max(1))),
            (None, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(clock: &mut Clock, times: &[i64]) -> Vec<(i64, i64, u32)> {
        let mut out = Vec::new();
        for (i, pts) in times.iter().enumerate() {
            clock.push(Frame { offset: 0, size: 0, pts: *pts, sync: i == 0, duration: None });
            while let Some(timed) = clock.peek(false) {
                clock.pop(&timed);
                out.push((timed.dts, timed.frame.pts, timed.duration));
            }
        }
        while let Some(timed) = clock.peek(true) {
            clock.pop(&timed);
            out.push((timed.dts, timed.frame.pts, timed.duration));
        }
        out
    }

    #[test]
    fn decode_times_are_the_display_times_in_order() {
        let mut clock = Clock::new(Style::Pictures(2), 0);
        let out = run(&mut clock, &[0, 160, 80, 40, 120, 320, 240, 200, 280]);
        let dts: Vec<i64> = out.iter().map(|o| o.0).collect();
        assert_eq!(dts, [0, 40, 80, 120, 160, 200, 240, 280, 320]);
        let pts: Vec<i64> = out.iter().map(|o| o.1).collect();
        assert_eq!(pts, [0, 160, 80, 40, 120, 320, 240, 200, 280]);
    }

    #[test]
    fn the_first_picture_does_not_wait_when_the_rate_is_known() {
        let mut clock = Clock::new(Style::Pictures(2), 41);
        clock.push(Frame { offset: 0, size: 0, pts: 0, sync: true, duration: None });
        let first = clock.peek(false).unwrap();
        assert_eq!((first.dts, first.duration), (0, 41));
        clock.pop(&first);
        let rest = run(&mut clock, &[160, 80, 40, 120, 320, 240, 200, 280]);
        let dts: Vec<i64> = rest.iter().map(|o| o.0).collect();
        assert_eq!(dts, [41, 80, 120, 160, 200, 240, 280, 320]);
    }

    #[test]
    fn rounded_sound_times_are_counted_smooth_and_real_gaps_stay() {
        let mut clock = Clock::new(Style::Sound(96), 1024);
        let at = |ms: i64| ms * 48;
        let out = run(&mut clock, &[at(0), at(21), at(43), at(64), at(585)]);
        let dts: Vec<i64> = out.iter().map(|o| o.0).collect();
        assert_eq!(dts, [0, 1024, 2048, 3072, 28_080]);
    }

    #[test]
    fn pictures_without_reordering_need_only_the_next_ones_time() {
        let mut clock = Clock::new(Style::Pictures(0), 0);
        let out = run(&mut clock, &[0, 33, 67, 2000]);
        assert_eq!(out, [(0, 0, 33), (33, 33, 34), (67, 67, 1933), (2000, 2000, 1)]);
    }
}
