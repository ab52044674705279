//! MP4 and its relatives (ISO/IEC 14496-12, QuickTime): moov at either end, fragmented or not.

pub(crate) mod boxes;
mod fragment;
mod fragment_seek;
mod fragmented;
mod index;
mod moov;
mod progressive;
mod stsd;
mod table;

use crate::Reason;
use crate::demux::Demuxer;
use crate::error::{Fault, Path};
use crate::source::{Source, Stop};
use boxes::{Body, TopBox, id, top_box};
use fragmented::Fragmented;
pub(crate) use fragmented::sequential;
use moov::Movie;
use progressive::Progressive;
pub(crate) use progressive::{BUCKET_US, GAP, SETTLE_US, zero_us};

/// The first read: the whole index of a short file, or the headers up to `mdat`, in one round trip.
const HEAD: u64 = 64 << 10;
/// Once `mdat` is passed, what is left is the index: asked for whole up to this size.
const TAIL: u64 = 1 << 20;
/// A 50 GB film has about 10 MB of tables.
const MOOV_MAX: u64 = 64 << 20;
/// Boxes looked at before `moov`: real files have fewer than ten.
const TOP_BOXES_MAX: usize = 1024;

/// Whether the file's first bytes are a box that begins such files.
pub(crate) fn sniff(head: &[u8]) -> bool {
    head.get(4..8).is_some_and(|kind| {
        matches!(
            kind,
            b"ftyp" | b"moov" | b"mdat" | b"free" | b"skip" | b"wide" | b"pnot" | b"styp" | b"moof" | b"sidx"
        )
    })
}

pub(crate) fn open(source: &Source) -> Result<Box<dyn Demuxer>, Stop> {
    let mut at = 0;
    let mut ahead = HEAD;
    for _ in 0..TOP_BOXES_MAX {
        let Some(found) = top_box(source, at, ahead)? else { break };
        if found.kind == id(b"moov") {
            return open_movie(source, found);
        }
        if found.kind == id(b"moof") {
            break;
        }
        if found.kind == id(b"mdat") && source.len.saturating_sub(found.end) <= TAIL {
            ahead = TAIL;
        }
        at = found.end;
    }
    Err(Path::root().child(id(b"moov")).error(Fault::Missing, at.min(source.len)).into())
}

fn open_movie(source: &Source, moov: TopBox) -> Result<Box<dyn Demuxer>, Stop> {
    let path = Path::root().child(moov.kind);
    if moov.end - moov.body > MOOV_MAX {
        return Err(path.error(Fault::TooLarge, moov.start).into());
    }
    let data = source.get(moov.body..moov.end, path)?;
    let mut movie = Movie::parse(Body::new(data, moov.body, path))?;
    let in_fragments = movie.fragmented && movie.tracks.iter().all(|t| t.table.count == 0);
    if in_fragments {
        // Raw sound in fragments, sample by sample, is not read.
        movie.tracks.iter_mut().filter(|t| t.stream.pcm.is_some()).for_each(|t| t.stream.codec = None);
    }
    if !movie.tracks.iter().any(|t| t.stream.codec.is_some()) {
        return Err(Stop::Refuse(if movie.encrypted { Reason::Encrypted } else { Reason::NoPlayableTrack }));
    }
    if in_fragments {
        return Ok(Box::new(Fragmented::open(source, movie, moov.end)?));
    }
    Ok(Box::new(Progressive::new(movie, path, moov.start)?))
}
