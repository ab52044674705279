//! How a demuxer reads: it asks, and stops where bytes are missing, to be called again when they are here.

use crate::MediaError;
use crate::cache::{Cache, merged};
use crate::error::{Fault, Path};
use bytes::Bytes;
use std::cell::RefCell;
use std::ops::Range;

/// Why a demuxer could not go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Call again when these bytes are here. The first of them is missing or a later one; never empty.
    Need(Range<u64>),
    Broken(MediaError),
    /// Nothing to do for this track until the others are played further.
    Idle,
    /// Not ours to play.
    Refuse(crate::Reason),
}

impl From<MediaError> for Stop {
    fn from(error: MediaError) -> Stop {
        Stop::Broken(error)
    }
}

pub(crate) struct Source<'a> {
    pub cache: &'a Cache,
    pub len: u64,
    /// What was read, for [`Media::start_ranges`](crate::Media::start_ranges).
    pub touched: RefCell<Vec<Range<u64>>>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(cache: &'a Cache, len: u64) -> Source<'a> {
        Source { cache, len, touched: RefCell::new(Vec::new()) }
    }

    /// Exactly `range`; past the file's end it is truncated, which `path` is blamed for.
    #[inline(never)]
    pub(crate) fn get(&self, range: Range<u64>, path: Path) -> Result<Bytes, Stop> {
        if range.end > self.len || range.start > range.end {
            return Err(path.error(Fault::Truncated, range.start).into());
        }
        let bytes = self.cache.get(range.clone()).ok_or_else(|| Stop::Need(range.clone()))?;
        self.touch(range);
        Ok(bytes)
    }

    /// At least `min` bytes at `at`, more (up to `want`) where that costs no copy; at the end of the file fewer, even
    /// none. When they are missing, `want` bytes are asked for at once: one round trip instead of several.
    #[inline(never)]
    pub(crate) fn peek(&self, at: u64, min: u64, want: u64) -> Result<Bytes, Stop> {
        let min_end = at.saturating_add(min).min(self.len);
        let want_end = at.saturating_add(want.max(min)).min(self.len);
        if at >= self.len {
            return Ok(Bytes::new());
        }
        let bytes = match self.cache.run_from(at) {
            Some(run) if run.len() as u64 >= min_end - at => run.slice(..run.len().min((want_end - at) as usize)),
            _ => self.cache.get(at..min_end).ok_or(Stop::Need(at..want_end))?,
        };
        self.touch(at..min_end);
        Ok(bytes)
    }

    fn touch(&self, range: Range<u64>) {
        let mut touched = self.touched.borrow_mut();
        match touched.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => touched.push(range),
        }
        if touched.len() > 256 {
            *touched = merged(std::mem::take(&mut touched), 4096);
        }
    }
}
