//! What a browser keeps of one stream on its disk: a log of small checked records, and a file of sealed blocks.
//!
//! Log: `"batonop1" | publisher 32 | swarm 32`, then records `kind 1 | length 4 | payload | first 4 bytes of BLAKE3 of all before`
//! (docs/storage.md). A record is written after the bytes it speaks of. What a crash tore off at the end is cut away when the log is
//! opened. All else the log only claims: every block is verified on its way out, and one that does not hold is dropped.
//!
//! Pure: what it reads and writes is a [`Medium`], so that tests can break it at every write.

use super::table::Table;
use baton_content::record::{RECORD_HEAD_LEN, Record, push_piece_record, push_record, split_piece};
use baton_content::{
    BLOCK_LEN, BlockIndex, Header, Mark, Mask, PIECE_LEN, PieceId, PublisherId, SignedHead,
    SwarmId, VerifiedBlock,
};
use bytes::Bytes;
use std::collections::VecDeque;

/// A file that this process alone has open.
pub trait Medium {
    /// Bytes in it.
    fn size(&self) -> Result<u64, Fault>;
    /// Reads as much as there is; less than asked for only at the end.
    fn read(&self, at: u64, into: &mut [u8]) -> Result<usize, Fault>;
    /// Writes all of it. After a fault any part of it may be there.
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Fault>;
    fn truncate(&mut self, len: u64) -> Result<(), Fault>;
}

/// What a disk can refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no room: the origin's quota, or the disk.
    Full,
    /// It cannot be read or written any more.
    Broken,
}

/// One stream's log and blocks.
pub struct Disk<M> {
    log: M,
    blocks: M,
    publisher: PublisherId,
    swarm: SwarmId,
    /// Where the log's whole records end.
    log_end: u64,
    /// Records that are not written yet.
    buffer: Vec<u8>,
    pieces: Table<Kept>,
    /// Which units are taken, by bits.
    taken: Vec<u64>,
    /// Units from here on are free.
    end: u32,
    /// No unit before this one is free.
    free_from: u32,
    /// Units that may be used.
    capacity: u32,
    head: Option<SignedHead>,
    /// The last piece whose claim was given out by `find`.
    found: Option<PieceId>,
    /// Headers noted and not written yet.
    unwritten: Vec<Header>,
    /// Headers used a moment ago, oldest first: nobody reads a piece block by block and its header each time.
    recent: VecDeque<Header>,
    /// Pieces whose headers the log has, since this was asked last.
    kept: Vec<PieceId>,
}

/// One piece as the log tells it.
struct Kept {
    /// Where its header stands in the log, and how long it is.
    header_at: (u64, u32),
    /// Once it was verified: 32 bytes in memory instead of 2.2 KB.
    mark: Option<Mark>,
    /// First unit; `None` while it has no block here.
    start: Option<u32>,
    /// As many as its blocks.
    units: u32,
    have: Mask,
}

impl<M: Medium> Disk<M> {
    /// Reads the log of a stream, or begins one. What is not ours, or too old to read, is dropped.
    pub fn open(
        log: M,
        blocks: M,
        publisher: PublisherId,
        swarm: SwarmId,
    ) -> Result<Disk<M>, Fault> {
        let mut disk = Disk {
            log,
            blocks,
            publisher,
            swarm,
            log_end: 0,
            buffer: Vec::new(),
            pieces: Table::new(),
            taken: Vec::new(),
            end: 0,
            free_from: 0,
            capacity: u32::MAX,
            head: None,
            found: None,
            unwritten: Vec::new(),
            recent: VecDeque::new(),
            kept: Vec::new(),
        };
        let begin = [&FORMAT[..], &publisher.0, &swarm.0].concat();
        let mut read = vec![0; begin.len()];
        let len = disk.log.read(0, &mut read)?;
        if read[..len] != begin[..] {
            if len > 0 {
                disk.log.truncate(0)?;
                disk.blocks.truncate(0)?;
            }
            // Written with the first record: whoever comes waits for a picture, and four writes took 5 ms of it.
            disk.buffer = begin;
            return Ok(disk);
        }
        disk.log_end = begin.len() as u64;
        disk.replay()?;
        disk.collect_taken();
        Ok(disk)
    }

    /// Reads record after record; the first that is not whole is the end.
    fn replay(&mut self) -> Result<(), Fault> {
        let mut window = Vec::new();
        let mut at = 0;
        loop {
            while let Some(record) = Record::first(&window[at..], RECORD_LEN_MAX) {
                match record.kind {
                    HEADER => self.replay_header(record.payload),
                    HEAD => {
                        if let Ok(head) = SignedHead::parse(
                            Bytes::copy_from_slice(record.payload),
                            &self.publisher,
                            &self.swarm,
                        ) {
                            self.head = Some(head)
                                .filter(|new| {
                                    self.head.as_ref().is_none_or(|old| new.supersedes(old))
                                })
                                .or(self.head.take());
                        }
                    }
                    _ => self.replay_piece(&record),
                }
                self.log_end += record.log_len() as u64;
                at += record.log_len();
            }
            window.drain(..at);
            at = 0;
            let had = window.len();
            if had >= RECORD_LEN_MAX {
                break;
            }
            window.resize(had + WINDOW_LEN, 0);
            let len = self
                .log
                .read(self.log_end + had as u64, &mut window[had..])?;
            window.truncate(had + len);
            if len == 0 {
                break;
            }
        }
        if self.log.size()? > self.log_end {
            self.log.truncate(self.log_end)?;
        }
        Ok(())
    }

    /// Of the record that the log ends with so far.
    fn replay_header(&mut self, payload: &[u8]) {
        // Lane and index stand at bytes 10 to 15 of the core, the length after them (docs/protocol.md section 4).
        let Some((piece, rest)) = payload.get(10..).and_then(split_piece) else {
            return;
        };
        let Some(len) = rest.first_chunk::<4>().map(|len| u32::from_le_bytes(*len)) else {
            return;
        };
        if len == 0 || len as usize > PIECE_LEN {
            return;
        }
        self.pieces.remove(piece);
        self.pieces.get_or(piece, || Kept {
            header_at: (self.log_end + RECORD_HEAD_LEN as u64, payload.len() as u32),
            mark: None,
            start: None,
            units: len.div_ceil(BLOCK_LEN as u32),
            have: Mask::EMPTY,
        });
    }

    fn replay_piece(&mut self, record: &Record) {
        let Some((piece, rest)) = record.piece() else {
            return;
        };
        let Some(kept) = self.pieces.get_mut(piece) else {
            return;
        };
        let bits = || {
            rest.try_into()
                .map_or(Mask::EMPTY, |b| Mask(u64::from_le_bytes(b)))
        };
        match record.kind {
            PLACE => {
                let start = rest.try_into().ok().map(u32::from_le_bytes);
                kept.start = start.filter(|start| *start < UNITS_END);
            }
            HAVE if kept.start.is_some() => {
                let all = Mask::first_n(kept.units as usize);
                kept.have = kept.have.or(bits()).and(all);
            }
            GONE => {
                kept.have = kept.have.without(bits());
                if kept.have.is_empty() {
                    kept.start = None;
                }
            }
            // A later version's.
            _ => {}
        }
    }

    /// Which places are in use.
    fn collect_taken(&mut self) {
        (self.taken, self.end, self.free_from) = (Vec::new(), 0, 0);
        let place = |kept: &Kept| kept.start.map(|start| (start, kept.units));
        let places: Vec<_> = self.pieces.iter().filter_map(|(_, k)| place(k)).collect();
        for (start, units) in places {
            self.mark(start, units, true);
        }
    }

    fn mark(&mut self, start: u32, units: u32, taken: bool) {
        let end = start + units;
        if self.taken.len() * 64 < end as usize {
            self.taken.resize((end as usize).div_ceil(64), 0);
        }
        for unit in start..end {
            let (word, bit) = (&mut self.taken[unit as usize / 64], 1 << (unit % 64));
            *word = if taken { *word | bit } else { *word & !bit };
        }
        match taken {
            true => self.end = self.end.max(end),
            false => self.free_from = self.free_from.min(start),
        }
    }

    fn is_taken(&self, unit: u32) -> bool {
        let word = self.taken.get(unit as usize / 64);
        word.is_some_and(|word| word >> (unit % 64) & 1 == 1)
    }

    /// How many bytes the files may have together.
    pub fn set_capacity(&mut self, bytes: u64) {
        let units = bytes.saturating_sub(self.log_end) / BLOCK_LEN as u64;
        self.capacity = u32::try_from(units).unwrap_or(u32::MAX);
    }

    /// Bytes of blocks that still fit.
    pub fn room(&self) -> u64 {
        let taken: u32 = self.taken.iter().map(|word| word.count_ones()).sum();
        u64::from(self.capacity.saturating_sub(taken)) * BLOCK_LEN as u64
    }

    /// Bytes of blocks that it may have in all.
    pub fn capacity(&self) -> u64 {
        u64::from(self.capacity) * BLOCK_LEN as u64
    }

    /// Bytes of both files.
    pub fn used(&self) -> u64 {
        u64::from(self.end) * BLOCK_LEN as u64 + self.log_end
    }

    /// The highest head that was kept.
    pub fn head(&self) -> Option<&SignedHead> {
        self.head.as_ref()
    }

    /// Keeps a head, unless a higher one is here.
    pub fn set_head(&mut self, head: &SignedHead) {
        if self.head.as_ref().is_none_or(|old| head.supersedes(old)) {
            push_record(&mut self.buffer, HEAD, &[head.bytes()]);
            self.head = Some(head.clone());
        }
    }

    /// What is claimed of the next pieces whose headers hold, at most `count`; empty once all were told. Manifest first.
    pub fn find(&mut self, count: usize) -> Vec<(Header, Mask)> {
        let mut found = Vec::new();
        while found.len() < count {
            let Some(piece) = self.pieces.after(self.found) else {
                break;
            };
            self.found = Some(piece);
            if let Some((header, mask)) = self.claim(piece)
                && !mask.is_empty()
            {
                found.push((header, mask));
            }
        }
        found
    }

    /// Keeps a header alone: what a publisher has signed, before anybody sees it.
    pub fn put_header(&mut self, header: &Header) -> Result<(), Fault> {
        self.note_header(header);
        self.commit()
    }

    /// Notes a header, unless it is known.
    fn note_header(&mut self, header: &Header) {
        if self.pieces.get(header.id()).is_some() {
            return;
        }
        let at = self.log_end + (self.buffer.len() + RECORD_HEAD_LEN) as u64;
        push_record(&mut self.buffer, HEADER, &[header.bytes()]);
        self.unwritten.push(header.clone());
        self.pieces.get_or(header.id(), || Kept {
            header_at: (at, header.bytes().len() as u32),
            mark: Some(header.mark()),
            start: None,
            units: header.block_count() as u32,
            have: Mask::EMPTY,
        });
    }

    /// Pieces whose headers can be had from here from now on, told once.
    pub fn take_kept(&mut self) -> Vec<PieceId> {
        std::mem::take(&mut self.kept)
    }

    /// A piece's header, verified. One that does not hold is no header.
    pub fn header(&mut self, piece: PieceId) -> Option<Header> {
        let of_piece = |header: &&Header| header.id() == piece;
        let mut in_memory = self.recent.iter().chain(&self.unwritten);
        if let Some(header) = in_memory.find(of_piece) {
            return Some(header.clone());
        }
        let kept = self.pieces.get_mut(piece)?;
        let (at, len) = kept.header_at;
        let mut bytes = vec![0; len as usize];
        if self.log.read(at, &mut bytes) != Ok(bytes.len()) {
            return None;
        }
        let header = match &kept.mark {
            Some(mark) => Header::parse_marked(bytes.into(), mark)?,
            None => Header::parse(bytes.into(), &self.publisher, &self.swarm).ok()?,
        };
        if header.id() != piece {
            return None;
        }
        if kept.mark.replace(header.mark()).is_none() {
            self.kept.push(piece);
        }
        self.remember(header.clone());
        Some(header)
    }

    fn remember(&mut self, header: Header) {
        if self.recent.len() == RECENT_HEADERS {
            self.recent.pop_front();
        }
        self.recent.push_back(header);
    }

    /// A piece's verified header and what is claimed of its blocks. One whose header does not hold is forgotten.
    pub fn claim(&mut self, piece: PieceId) -> Option<(Header, Mask)> {
        let have = self.pieces.get(piece)?.have;
        match self.header(piece) {
            Some(header) => Some((header, have)),
            None => {
                self.forget(piece);
                None
            }
        }
    }

    /// What is known of a piece does not hold, its header included.
    fn forget(&mut self, piece: PieceId) {
        self.remove(piece, Mask(u64::MAX));
        self.pieces.remove(piece);
        self.recent.retain(|header| header.id() != piece);
        self.unwritten.retain(|header| header.id() != piece);
    }

    /// The blocks of a piece that are claimed to be here.
    pub fn have(&self, piece: PieceId) -> Mask {
        self.pieces.get(piece).map_or(Mask::EMPTY, |kept| kept.have)
    }

    /// The pieces that have blocks here.
    pub fn pieces(&self) -> impl Iterator<Item = (PieceId, Mask)> {
        self.pieces
            .iter()
            .map(|(piece, kept)| (piece, kept.have))
            .filter(|(_, have)| !have.is_empty())
    }

    /// Writes blocks of one piece, in order. What is here already is not written again. After a fault none of them counts.
    pub fn put(&mut self, header: &Header, blocks: &[&VerifiedBlock]) -> Result<(), Fault> {
        let piece = header.id();
        let mark = self.pieces.get(piece).and_then(|kept| kept.mark);
        if mark != Some(header.mark())
            && self
                .claim(piece)
                .is_some_and(|(known, _)| !known.same_core(header))
        {
            self.forget(piece);
        }
        let (start, old) = match self.pieces.get(piece) {
            Some(kept) => (kept.start, kept.have),
            None => (None, Mask::EMPTY),
        };
        let units = header.block_count() as u32;
        let place = match start {
            Some(start) => start,
            None => self.take_place(units).ok_or(Fault::Full)?,
        };
        let new: Vec<&VerifiedBlock> = blocks
            .iter()
            .copied()
            .filter(|block| !old.contains(block.block()))
            .collect();
        let mut mask = Mask::EMPTY;
        for run in new.chunk_by(|a, b| a.block().0 + 1 == b.block().0) {
            let at = (u64::from(place) + u64::from(run[0].block().0)) * BLOCK_LEN as u64;
            // Block by block: byte by byte this took a third of the worker's time in a bulk transfer.
            let mut bytes = Vec::with_capacity(run.len() * BLOCK_LEN);
            run.iter()
                .for_each(|block| bytes.extend_from_slice(block.bytes()));
            if let Err(fault) = self.blocks.write(at, &bytes) {
                if start.is_none() {
                    self.mark(place, units, false);
                }
                if fault == Fault::Full {
                    // It gets no longer than it is.
                    self.capacity = self.capacity.min(self.end);
                }
                return Err(fault);
            }
            run.iter().for_each(|block| mask.insert(block.block()));
        }
        self.note_header(header);
        if start.is_none() {
            push_piece_record(&mut self.buffer, PLACE, piece, &place.to_le_bytes());
        }
        if !mask.is_empty() {
            push_piece_record(&mut self.buffer, HAVE, piece, &mask.0.to_le_bytes());
        }
        let kept = self.pieces.get_mut(piece).expect("inserted above");
        kept.start = Some(place);
        kept.have = kept.have.or(mask);
        Ok(())
    }

    /// Reads and verifies blocks. Those that do not hold are forgotten, and returned as lost.
    pub fn read(&mut self, piece: PieceId, mask: Mask) -> (Vec<VerifiedBlock>, Mask) {
        let had = self.have(piece);
        let claimed = had.and(mask);
        let Some((header, _)) = self.claim(piece) else {
            // With its header all of it is gone.
            return (Vec::new(), had);
        };
        let Some(start) = self.pieces.get(piece).and_then(|kept| kept.start) else {
            return (Vec::new(), claimed);
        };
        let (mut good, mut lost) = (Vec::new(), Mask::EMPTY);
        let wanted: Vec<BlockIndex> = claimed.iter().collect();
        for run in wanted.chunk_by(|a, b| a.0 + 1 == b.0) {
            let at = (u64::from(start) + u64::from(run[0].0)) * BLOCK_LEN as u64;
            let mut bytes = vec![0; run.iter().map(|b| header.block_len(*b)).sum()];
            let len = self.blocks.read(at, &mut bytes).unwrap_or(0);
            bytes.truncate(len);
            let mut bytes = Bytes::from(bytes);
            for &block in run {
                let own = bytes.split_to(header.block_len(block).min(bytes.len()));
                match header.verify(block, own) {
                    Ok(block) => good.push(block),
                    Err(_) => lost.insert(block),
                }
            }
        }
        if !lost.is_empty() {
            self.remove(piece, lost);
        }
        (good, lost)
    }

    /// Forgets blocks; a piece without any gives its place back.
    pub fn remove(&mut self, piece: PieceId, gone: Mask) {
        let Some(kept) = self.pieces.get_mut(piece) else {
            return;
        };
        let gone = kept.have.and(gone);
        kept.have = kept.have.without(gone);
        let empty = kept.have.is_empty();
        let place = kept.start.filter(|_| empty).map(|at| (at, kept.units));
        if empty {
            kept.start = None;
        }
        if let Some((start, units)) = place {
            self.mark(start, units, false);
        }
        if !gone.is_empty() {
            push_piece_record(&mut self.buffer, GONE, piece, &gone.0.to_le_bytes());
        }
    }

    /// Gives the end of the file back to the disk, with all pieces that stand there; they are returned.
    pub fn shrink(&mut self) -> Vec<(PieceId, Mask)> {
        let keep = self.end.saturating_sub(SHRINK_UNITS);
        let beyond = |kept: &Kept| {
            kept.start
                .is_some_and(|start| start.saturating_add(kept.units) > keep)
        };
        let gone: Vec<(PieceId, Mask)> = self
            .pieces
            .iter()
            .filter(|(_, kept)| beyond(kept))
            .map(|(piece, kept)| (piece, kept.have))
            .collect();
        for (piece, mask) in &gone {
            self.remove(*piece, *mask);
        }
        self.collect_taken();
        self.capacity = self.capacity.min(self.end);
        // If even this fails the file stays as long as it is, and that is all.
        let _ = self.blocks.truncate(u64::from(self.end) * BLOCK_LEN as u64);
        gone
    }

    /// Writes out what was noted.
    pub fn commit(&mut self) -> Result<(), Fault> {
        if !self.buffer.is_empty() {
            self.log.write(self.log_end, &self.buffer)?;
            self.log_end += self.buffer.len() as u64;
            self.buffer.clear();
            for header in std::mem::take(&mut self.unwritten) {
                self.kept.push(header.id());
                self.remember(header);
            }
        }
        Ok(())
    }

    /// The first free place that is large enough.
    fn take_place(&mut self, units: u32) -> Option<u32> {
        let (mut unit, mut run) = (self.free_from, 0);
        while run < units {
            if unit >= self.capacity {
                return None;
            }
            match self.is_taken(unit) {
                true if run == 0 && unit == self.free_from => self.free_from += 1,
                true => run = 0,
                false => run += 1,
            }
            unit += 1;
        }
        self.mark(unit - units, units, true);
        Some(unit - units)
    }
}

const FORMAT: [u8; 8] = *b"batonop1";
/// A piece's header, as on the wire.
const HEADER: u8 = 1;
/// Where a piece's blocks stand: `lane 2 | index 4 | first unit 4`.
const PLACE: u8 = 2;
/// Blocks that are here: `lane 2 | index 4 | mask 8`.
const HAVE: u8 = 3;
/// Blocks that are no longer here: the same.
const GONE: u8 = 4;
/// A head, as on the wire.
const HEAD: u8 = 5;
/// A longer record is none of ours: a head with all its lanes and slots is below it.
const RECORD_LEN_MAX: usize = 64 << 10;
/// Headers kept in memory: what a dozen peers read at a time, 140 KB.
const RECENT_HEADERS: usize = 64;
/// What is read of a log at once: a log of 20,000 pieces has 45 MB and must not be in memory whole.
const WINDOW_LEN: usize = 1 << 20;
/// No place begins beyond 1 TiB: no stream is longer.
const UNITS_END: u32 = 1 << 26;
/// What `shrink` gives back, in units: 16 MiB, room for the logs of many films.
const SHRINK_UNITS: u32 = (16 << 20) / BLOCK_LEN as u32;

#[cfg(test)]
mod tests;
