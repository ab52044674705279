//! Movie fragments (ISO/IEC 14496-12 §8.8): runs of samples, kept as the file has them.

use super::boxes::{Body, id};
use super::moov::Defaults;
use crate::MediaError;
use crate::error::Fault;
use bytes::Bytes;

/// Samples in one run: a run may name one size for four billion samples without spending a byte on them.
const RUN_MAX: u32 = 1 << 20;

/// One `trun`, read from the front.
#[derive(Clone, Debug)]
pub(super) struct Run {
    entries: Bytes,
    flags: u32,
    count: u32,
    index: u32,
    offset: u64,
    dts: i64,
    defaults: Defaults,
    first_flags: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunEntry {
    pub offset: u64,
    pub size: u32,
    pub dts: i64,
    pub pts: i64,
    pub duration: u32,
    pub sync: bool,
}

impl Run {
    pub(super) fn peek(&self) -> Option<RunEntry> {
        self.clone().next()
    }

    fn field(&self, bit: u32, at: &mut usize) -> Option<u32> {
        if self.flags & bit == 0 {
            return None;
        }
        let b = self.entries.get(*at..*at + 4)?;
        *at += 4;
        Some(u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn entry_size(flags: u32) -> usize {
        (flags & 0xf00).count_ones() as usize * 4
    }

    /// How long all its samples take.
    fn total(&self) -> i64 {
        if self.flags & 0x100 == 0 {
            return i64::from(self.count) * i64::from(self.defaults.duration);
        }
        let size = Run::entry_size(self.flags);
        self.entries.chunks_exact(size).map(|e| i64::from(u32::from_be_bytes([e[0], e[1], e[2], e[3]]))).sum()
    }

    /// Past its last sample's last byte.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes())
    }

    fn bytes(&self) -> u64 {
        let mut copy = self.clone();
        std::iter::from_fn(|| copy.next()).map(|e| u64::from(e.size)).sum()
    }
}

impl Iterator for Run {
    type Item = RunEntry;

    fn next(&mut self) -> Option<RunEntry> {
        if self.index >= self.count {
            return None;
        }
        let mut at = self.index as usize * Run::entry_size(self.flags);
        let duration = self.field(0x100, &mut at).unwrap_or(self.defaults.duration);
        let size = self.field(0x200, &mut at).unwrap_or(self.defaults.size);
        let mut flags = self.field(0x400, &mut at).unwrap_or(self.defaults.flags);
        let shown = self.field(0x800, &mut at).unwrap_or(0) as i32;
        if self.index == 0 {
            flags = self.first_flags.unwrap_or(flags);
        }
        let entry = RunEntry {
            offset: self.offset,
            size,
            dts: self.dts,
            pts: self.dts.saturating_add(i64::from(shown)),
            duration,
            // sample_is_non_sync_sample, or depends on others.
            sync: flags & 0x1_0000 == 0 && flags >> 24 & 3 != 1,
        };
        self.index += 1;
        self.offset = self.offset.saturating_add(u64::from(size));
        self.dts = self.dts.saturating_add(i64::from(duration));
        Some(entry)
    }
}

/// What a track brings along to a fragment.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrackState {
    pub number: u32,
    pub defaults: Defaults,
    /// Where its time stands, for fragments without `tfdt`.
    pub dts: i64,
}

/// The runs of a `moof`, with the position in `tracks` that each belongs to; moves the tracks' times on.
pub(super) fn parse(mut moof: Body, start: u64, tracks: &mut [TrackState]) -> Result<Vec<(usize, Run)>, MediaError> {
    let mut runs = Vec::new();
    let mut data_end = start;
    let mut first = true;
    while let Some((kind, traf)) = moof.child()? {
        if kind != id(b"traf") {
            continue;
        }
        let mut tfhd = traf.need(id(b"tfhd"))?;
        let (_, flags) = tfhd.full()?;
        let number = tfhd.u32()?;
        let explicit = if flags & 1 != 0 { Some(tfhd.u64()?) } else { None };
        tfhd.skip(if flags & 2 != 0 { 4 } else { 0 })?;
        let slot = tracks.iter().position(|t| t.number == number);
        let mut defaults = slot.map_or(Defaults::default(), |s| tracks[s].defaults);
        for (bit, field) in [(8, &mut defaults.duration), (16, &mut defaults.size), (32, &mut defaults.flags)] {
            if flags & bit != 0 {
                *field = tfhd.u32()?;
            }
        }
        // §8.8.7: explicit, else the moof if it says so or for the first track, else the end of the data before.
        let base = match explicit {
            Some(base) => base,
            None if flags & 0x2_0000 != 0 || first => start,
            None => data_end,
        };
        first = false;
        let mut dts = slot.map_or(0, |s| tracks[s].dts);
        if let Some(mut tfdt) = traf.find(id(b"tfdt"))? {
            let (version, _) = tfdt.full()?;
            // Half the range, so that later additions cannot overflow.
            dts = tfdt.sized(version)?.min(1 << 60) as i64;
        }
        let mut at = base;
        let mut inside = traf.clone();
        while let Some((kind, body)) = inside.child()? {
            if kind != id(b"trun") {
                continue;
            }
            let run = trun(body, base, at, dts, defaults)?;
            dts = dts.saturating_add(run.total());
            at = run.end();
            if let Some(slot) = slot {
                runs.push((slot, run));
            }
        }
        data_end = at;
        if let Some(slot) = slot {
            tracks[slot].dts = dts;
        }
    }
    Ok(runs)
}

fn trun(mut body: Body, base: u64, at: u64, dts: i64, defaults: Defaults) -> Result<Run, MediaError> {
    let (_, flags) = body.full()?;
    let count = body.u32()?;
    if count > RUN_MAX {
        return Err(body.error(Fault::TooMany));
    }
    let offset = match flags & 1 {
        0 => at,
        _ => base.saturating_add_signed(i64::from(body.u32()? as i32)),
    };
    let first_flags = if flags & 4 != 0 { Some(body.u32()?) } else { None };
    let entries = body.table(count, Run::entry_size(flags))?;
    Ok(Run { entries, flags, count, index: 0, offset, dts, defaults, first_flags })
}
