//! Which container a file is, by its first bytes; the name decides nothing that the bytes do.

use crate::Reason;
use crate::demux::Demuxer;
use crate::source::{Source, Stop};
use crate::{mkv, mp4, sound, ts};

/// The first read: most containers have all their headers here.
const HEAD: u64 = 64 << 10;

pub(crate) fn open(source: &Source, _name: Option<&str>) -> Result<Box<dyn Demuxer>, Stop> {
    let head = source.peek(0, 1024, HEAD)?;
    match FORMATS.iter().find(|(is, _)| is(&head)) {
        Some((_, open)) => open(source),
        None => Err(Stop::Refuse(Reason::NotMedia)),
    }
}

/// How a container begins, and what opens it. A list and no chain of calls: those would all become one function, and browsers compile
/// a function as a whole when it is first called (5 ms of the first picture were other containers').
const FORMATS: [(Sniff, Open); 7] = [
    (mp4::sniff, mp4::open),
    (mkv::sniff, mkv::open),
    (sound::is_flac, sound::open_flac),
    (sound::is_ogg, sound::open_ogg),
    (sound::is_wav, sound::open_wav),
    (ts::sniff, ts::open),
    (sound::is_mpeg, sound::open_mpeg),
];

type Sniff = fn(&[u8]) -> bool;
type Open = fn(&Source) -> Result<Box<dyn Demuxer>, Stop>;
