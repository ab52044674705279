//! Which container a file is, by its first bytes; the name decides nothing that the bytes do.

use crate::Reason;
use crate::demux::Demuxer;
use crate::source::{Source, Stop};
use crate::{mkv, mp4};

/// The first read: most containers have all their headers here.
const HEAD: u64 = 64 << 10;

pub(crate) fn open(source: &Source, _name: Option<&str>) -> Result<Box<dyn Demuxer>, Stop> {
    let head = source.peek(0, 16, HEAD)?;
    if mp4::sniff(&head) {
        return mp4::open(source);
    }
    if mkv::sniff(&head) {
        return mkv::open(source);
    }
    Err(Stop::Refuse(Reason::NotMedia))
}
