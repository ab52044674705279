//! The engine: what is open, what is produced, what is demanded.

use crate::{Demand, Info, Output, Support, TrackId};
use bytes::Bytes;
use std::ops::Range;

/// One file being played.
pub struct Media {
    info: Option<Info>,
}

impl Media {
    /// `len` is the file's length in bytes; the name only helps where the first bytes do not tell the format.
    pub fn new(_len: u64, _name_hint: Option<&str>, _support: Support) -> Media {
        Media { info: None }
    }

    /// Takes bytes of the file, in any order, any number of times. Keeps at most the cache's cap; what had to be
    /// dropped is demanded again.
    pub fn handle_bytes(&mut self, _offset: u64, _bytes: Bytes) {}

    /// Produces these tracks from now on; unknown and unplayable ones are ignored. A track that is added starts a new
    /// generation at the playhead; leaving one out does not.
    pub fn select(&mut self, _tracks: &[TrackId]) {}

    /// Goes on from the sync sample at or before `time_us`, in a new generation.
    pub fn seek(&mut self, _time_us: u64) {}

    /// What plays now and how far ahead segments are wanted.
    pub fn set_playhead(&mut self, _time_us: u64, _produce_until_us: u64) {}

    /// The bytes that are missing, most urgent first, at most about 30 s ahead of the playhead.
    pub fn demands(&mut self) -> Vec<Demand> {
        Vec::new()
    }

    /// In order, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// Once the index is known: the ranges that show the first picture, index first.
    pub fn start_ranges(&self) -> Option<Vec<Range<u64>>> {
        None
    }

    pub fn info(&self) -> Option<&Info> {
        self.info.as_ref()
    }

    /// The current generation: 0 at first, +1 per seek.
    pub fn generation(&self) -> u32 {
        0
    }
}
