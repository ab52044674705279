//! Packing samples for MediaSource.

pub(crate) mod fmp4;
pub(crate) mod webm;

use bytes::Bytes;

/// A sample with the times that we put out, in the stream's ticks.
#[derive(Clone, Debug)]
pub(crate) struct OutSample {
    pub dts: u64,
    pub pts: u64,
    pub duration: u32,
    pub sync: bool,
    pub data: Bytes,
}
