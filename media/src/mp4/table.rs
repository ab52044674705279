//! A track's sample table (ISO/IEC 14496-12 §8.6, §8.7), kept as the file has it: run-length coded, never one
//! struct per sample. Ten hours of film are a few megabytes.

use super::boxes::{Body, id};
use crate::MediaError;
use crate::codec::pcm::FlacWriter;
use crate::error::Fault;
use bytes::Bytes;

/// More samples than this in one track are refused: 99 hours of AAC, 38 hours at 120 pictures per second. It bounds
/// the time of a walk over a table that names one size for four billion samples.
const SAMPLES_MAX: u32 = 1 << 24;

#[derive(Clone, Debug)]
pub(crate) struct SampleTable {
    pub count: u32,
    /// stts: (count, delta).
    times: Bytes,
    /// ctts: (count, offset); the offset is read as signed in either version, as writers mean it.
    shown: Bytes,
    sizes: Sizes,
    /// stsc: (first chunk, samples per chunk, description).
    chunks: Bytes,
    chunk_offsets: Bytes,
    wide_offsets: bool,
    /// stss; `None` when every sample is a sync sample.
    sync: Option<Bytes>,
    /// Of raw sound, whose samples are single ones: how many bytes each has. As many of a chunk as make a frame come at once.
    raw: Option<u32>,
}

#[derive(Clone, Debug)]
enum Sizes {
    Same(u32),
    Words(Bytes),
    /// stz2 with this many bits each.
    Small(u8, Bytes),
}

/// Where one sample lies and when it is due, in the track's ticks before any edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub index: u32,
    pub offset: u64,
    pub size: u32,
    pub dts: i64,
    pub pts: i64,
    pub duration: u32,
    pub sync: bool,
}

impl SampleTable {
    /// From `stbl`. An empty table (of a fragmented file) has no samples. `raw`: how many bytes a sample of raw sound has, whatever the
    /// table says (QuickTime's may say 1).
    pub(crate) fn parse(stbl: &Body, raw: Option<u32>) -> Result<SampleTable, MediaError> {
        let mut stts = stbl.need(id(b"stts"))?;
        let times = entries(&mut stts, 8)?;
        let shown = match stbl.find(id(b"ctts"))? {
            Some(mut ctts) => entries(&mut ctts, 8)?,
            None => Bytes::new(),
        };
        let (sizes, count) = sizes(stbl)?;
        let chunks = entries(&mut stbl.need(id(b"stsc"))?, 12)?;
        let (chunk_offsets, wide_offsets) = match stbl.find(id(b"co64"))? {
            Some(mut co64) => (entries(&mut co64, 8)?, true),
            None => (entries(&mut stbl.need(id(b"stco"))?, 4)?, false),
        };
        let sync = match stbl.find(id(b"stss"))? {
            Some(mut stss) => Some(entries(&mut stss, 4)?),
            None => None,
        };
        // Raw ones are as few as the chunks that they lie in, and those are entries in the file.
        if count > SAMPLES_MAX && raw.is_none() {
            return Err(stbl.error(Fault::TooMany));
        }
        Ok(SampleTable { count, times, shown, sizes, chunks, chunk_offsets, wide_offsets, sync, raw })
    }

    pub(crate) fn walk(&self) -> Walk {
        Walk::default()
    }

    /// Whether composition offsets exist: display order may differ from decode order.
    #[cfg(test)]
    pub(crate) fn reorders(&self) -> bool {
        !self.shown.is_empty()
    }

    fn size(&self, index: u32) -> u32 {
        match &self.sizes {
            Sizes::Same(size) => *size,
            Sizes::Words(words) => word(words, index as usize),
            Sizes::Small(4, b) => u32::from(b.get(index as usize / 2).map_or(0, |v| v >> (4 - index % 2 * 4) & 15)),
            Sizes::Small(8, b) => u32::from(b.get(index as usize).copied().unwrap_or(0)),
            Sizes::Small(_, b) => b
                .get(index as usize * 2..index as usize * 2 + 2)
                .map_or(0, |v| u32::from(u16::from_be_bytes([v[0], v[1]]))),
        }
    }

    fn chunk_offset(&self, chunk: u32) -> Option<u64> {
        let i = chunk as usize;
        if self.wide_offsets {
            let bytes = self.chunk_offsets.get(i * 8..i * 8 + 8)?;
            Some(u64::from_be_bytes(bytes.try_into().ok()?))
        } else {
            let bytes = self.chunk_offsets.get(i * 4..i * 4 + 4)?;
            Some(u64::from(u32::from_be_bytes(bytes.try_into().ok()?)))
        }
    }
}

/// A place in the table: small, copied to look ahead.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walk {
    index: u32,
    dts: i64,
    times_at: usize,
    times_used: u32,
    shown_at: usize,
    shown_used: u32,
    chunks_at: usize,
    chunk: u32,
    in_chunk: u32,
    /// Past the last sample of this chunk.
    offset: u64,
    sync_at: usize,
}

impl Walk {
    /// The next sample; `None` at the end, or where the tables stop fitting each other.
    pub(crate) fn next(&mut self, table: &SampleTable) -> Option<Entry> {
        if self.index >= table.count {
            return None;
        }
        let duration = self.duration(table)?;
        let shown = self.shown(table);
        if self.in_chunk == 0 {
            self.offset = table.chunk_offset(self.chunk)?;
        }
        let per_chunk = self.per_chunk(table)?;
        if let Some(bytes) = table.raw {
            let count =
                per_chunk.saturating_sub(self.in_chunk).min(table.count - self.index).clamp(1, FlacWriter::BLOCK);
            return Some(self.raw(bytes, count, duration, per_chunk));
        }
        let size = table.size(self.index);
        let entry = Entry {
            index: self.index,
            offset: self.offset,
            size,
            dts: self.dts,
            pts: self.dts.saturating_add(i64::from(shown)),
            duration,
            sync: self.sync(table),
        };
        self.index += 1;
        self.dts = self.dts.saturating_add(i64::from(duration));
        self.offset = self.offset.saturating_add(u64::from(size));
        self.in_chunk += 1;
        if self.in_chunk >= per_chunk {
            self.in_chunk = 0;
            self.chunk += 1;
        }
        Some(entry)
    }

    /// So many samples of raw sound at once. `duration`: of one of them.
    fn raw(&mut self, bytes: u32, count: u32, duration: u32, per_chunk: u32) -> Entry {
        let (size, duration) = (bytes.saturating_mul(count), duration.saturating_mul(count));
        let entry =
            Entry { index: self.index, offset: self.offset, size, dts: self.dts, pts: self.dts, duration, sync: true };
        self.index += count;
        self.dts = self.dts.saturating_add(i64::from(duration));
        self.offset = self.offset.saturating_add(u64::from(size));
        self.times_used = self.times_used.saturating_add(count - 1);
        self.in_chunk += count;
        if self.in_chunk >= per_chunk {
            self.in_chunk = 0;
            self.chunk += 1;
        }
        entry
    }

    fn duration(&mut self, table: &SampleTable) -> Option<u32> {
        while self.times_used >= word_at(&table.times, self.times_at, 8, 0)? {
            self.times_at += 1;
            self.times_used = 0;
        }
        self.times_used += 1;
        word_at(&table.times, self.times_at, 8, 4)
    }

    fn shown(&mut self, table: &SampleTable) -> i32 {
        while let Some(count) = word_at(&table.shown, self.shown_at, 8, 0) {
            if self.shown_used < count {
                self.shown_used += 1;
                return word_at(&table.shown, self.shown_at, 8, 4).unwrap_or(0) as i32;
            }
            self.shown_at += 1;
            self.shown_used = 0;
        }
        0
    }

    fn per_chunk(&mut self, table: &SampleTable) -> Option<u32> {
        // first_chunk counts from 1.
        while word_at(&table.chunks, self.chunks_at + 1, 12, 0).is_some_and(|first| self.chunk + 1 >= first) {
            self.chunks_at += 1;
        }
        word_at(&table.chunks, self.chunks_at, 12, 4).filter(|n| *n > 0)
    }

    fn sync(&mut self, table: &SampleTable) -> bool {
        let Some(sync) = &table.sync else { return true };
        // Counts from 1. A table without entries still has to start somewhere.
        if sync.is_empty() {
            return self.index == 0;
        }
        while word_at(sync, self.sync_at, 4, 0).is_some_and(|number| number < self.index + 1) {
            self.sync_at += 1;
        }
        word_at(sync, self.sync_at, 4, 0) == Some(self.index + 1)
    }
}

fn entries(body: &mut Body, size: usize) -> Result<Bytes, MediaError> {
    body.full()?;
    let count = body.u32()?;
    body.table(count, size)
}

fn sizes(stbl: &Body) -> Result<(Sizes, u32), MediaError> {
    if let Some(mut stsz) = stbl.find(id(b"stsz"))? {
        stsz.full()?;
        let (same, count) = (stsz.u32()?, stsz.u32()?);
        return match same {
            0 => Ok((Sizes::Words(stsz.table(count, 4)?), count)),
            size => Ok((Sizes::Same(size), count)),
        };
    }
    let mut stz2 = stbl.need(id(b"stz2"))?;
    stz2.full()?;
    let bits = stz2.u32()? as u8;
    let count = stz2.u32()?;
    let bytes = match bits {
        4 => count.div_ceil(2),
        8 => count,
        16 => count.saturating_mul(2),
        _ => return Err(stz2.error(Fault::BadValue)),
    };
    Ok((Sizes::Small(bits, stz2.table(bytes, 1)?), count))
}

fn word(bytes: &[u8], index: usize) -> u32 {
    word_at(bytes, index, 4, 0).unwrap_or(0)
}

fn word_at(bytes: &[u8], index: usize, size: usize, field: usize) -> Option<u32> {
    let at = index * size + field;
    let b = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Path;

    fn boxed(kind: &[u8; 4], words: &[u32]) -> Vec<u8> {
        let mut out = (8 + words.len() as u32 * 4).to_be_bytes().to_vec();
        out.extend_from_slice(kind);
        words.iter().for_each(|w| out.extend_from_slice(&w.to_be_bytes()));
        out
    }

    fn table(boxes: &[Vec<u8>]) -> Result<SampleTable, MediaError> {
        SampleTable::parse(&Body::new(boxes.concat().into(), 0, Path::root()), None)
    }

    #[test]
    fn runs_are_walked_without_being_unrolled() {
        let t = table(&[
            boxed(b"stts", &[0, 2, 3, 10, 2, 20]),
            boxed(b"ctts", &[0x0100_0000, 2, 1, 5, 4, -10i32 as u32]),
            boxed(b"stsz", &[0, 0, 5, 100, 101, 102, 103, 104]),
            boxed(b"stsc", &[0, 2, 1, 2, 1, 2, 1, 1]),
            boxed(b"stco", &[0, 4, 1000, 2000, 3000, 4000]),
            boxed(b"stss", &[0, 2, 1, 4]),
        ])
        .unwrap();
        assert!(t.reorders());
        let mut walk = t.walk();
        let all: Vec<Entry> = std::iter::from_fn(|| walk.next(&t)).collect();
        let brief: Vec<_> = all.iter().map(|e| (e.offset, e.size, e.dts, e.pts, e.duration, e.sync)).collect();
        assert_eq!(
            brief,
            [
                (1000, 100, 0, 5, 10, true),
                (1100, 101, 10, 0, 10, false),
                (2000, 102, 20, 10, 10, false),
                (3000, 103, 30, 20, 20, true),
                (4000, 104, 50, 40, 20, false),
            ]
        );
    }

    #[test]
    fn four_billion_samples_of_one_size_are_refused() {
        let t = table(&[
            boxed(b"stts", &[0, 1, u32::MAX, 1]),
            boxed(b"stsz", &[0, 1, u32::MAX]),
            boxed(b"stsc", &[0, 1, 1, 1, 1]),
            boxed(b"stco", &[0, 1, 0]),
        ]);
        assert_eq!(t.unwrap_err().fault, Fault::TooMany);
    }

    #[test]
    fn a_table_larger_than_its_box_is_an_error() {
        let error = table(&[boxed(b"stts", &[0, u32::MAX, 1, 1])]).unwrap_err();
        assert_eq!(error.to_string(), "ends too early in stts at byte 16");
    }
}
