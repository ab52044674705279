//! Where fragments begin: `sidx` (ISO/IEC 14496-12 §8.16.3) and `mfra` (§8.8.9).

use super::boxes::{Body, id};
use crate::MediaError;
use crate::demux::us;
use crate::error::Fault;

/// Entries kept: one per second for two days.
pub(super) const INDEX_MAX: usize = 200_000;

/// (microseconds of the track's own time, byte where a fragment begins).
pub(super) type Places = Vec<(i64, u64)>;

/// What a `sidx` says.
pub(super) struct Named {
    pub places: Places,
    /// When the last of them ends, microseconds.
    pub end_us: i64,
    /// The byte where the last of them ends.
    pub end: u64,
}

/// The fragments that a `sidx` names. `anchor` is the byte after the box. References to
/// further `sidx` boxes are returned as places too: whoever goes there reads on.
pub(super) fn sidx(mut body: Body, anchor: u64) -> Result<Named, MediaError> {
    let (version, _) = body.full()?;
    body.u32()?;
    let timescale = body.u32()?.max(1);
    let (mut time, first) = (body.sized(version)?.min(1 << 60) as i64, body.sized(version)?);
    let mut at = anchor.saturating_add(first);
    body.u16()?;
    let mut places = Places::new();
    for _ in 0..body.u16()? {
        let (size, duration) = (body.u32()?, body.u32()?);
        body.u32()?;
        places.push((us(time, timescale), at));
        at = at.saturating_add(u64::from(size & 0x7fff_ffff));
        time = time.saturating_add(i64::from(duration));
    }
    Ok(Named { places, end_us: us(time, timescale), end: at })
}

/// The fragments in which `track` has sync samples. The times count presentation.
pub(super) fn mfra(mut body: Body, track: u32, timescale: u32) -> Result<Places, MediaError> {
    let mut places = Places::new();
    while let Some((kind, mut tfra)) = body.child()? {
        if kind != id(b"tfra") {
            continue;
        }
        let (version, _) = tfra.full()?;
        if tfra.u32()? != track {
            continue;
        }
        let sizes = tfra.u32()?;
        let numbers = (sizes >> 4 & 3) + (sizes >> 2 & 3) + (sizes & 3) + 3;
        let count = tfra.u32()?;
        if count as usize > INDEX_MAX {
            return Err(tfra.error(Fault::TooMany));
        }
        for _ in 0..count {
            let (time, offset) = (tfra.sized(version)?, tfra.sized(version)?);
            tfra.skip(numbers as usize)?;
            places.push((us(time.min(1 << 60) as i64, timescale), offset));
        }
    }
    Ok(places)
}
