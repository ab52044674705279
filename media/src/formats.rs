//! Which container a file is, by its first bytes; the name decides nothing that the bytes do.

use crate::Reason;
use crate::demux::Demuxer;
use crate::source::{Source, Stop};
use crate::{mkv, mp4, sound, ts};

/// The first read: most containers have all their headers here.
const HEAD: u64 = 64 << 10;

pub(crate) fn open(source: &Source, _name: Option<&str>) -> Result<Box<dyn Demuxer>, Stop> {
    let head = source.peek(0, 1024, HEAD)?;
    if mp4::sniff(&head) {
        return mp4::open(source);
    }
    if mkv::sniff(&head) {
        return mkv::open(source);
    }
    if sound::is_flac(&head) {
        return sound::open_flac(source);
    }
    if sound::is_ogg(&head) {
        return sound::open_ogg(source);
    }
    if sound::is_wav(&head) {
        return sound::open_wav(source);
    }
    if ts::sniff(&head) {
        return ts::open(source);
    }
    if sound::is_mpeg(&head) {
        return sound::open_mpeg(source);
    }
    Err(Stop::Refuse(Reason::NotMedia))
}
