//! What a viewer has of one stream: verified blocks, still sealed, in memory and on disk.
//!
//! A block is in memory when it comes, and is written behind the player's back: four times a second, or at once when too much
//! waits. With a disk, memory is a small cache of it. Without one (an insecure page, a browser without OPFS, a second tab of
//! the same film), memory is all there is. Whichever is full gives up what is farthest from need.

use super::disk::{Disk, Fault, Medium};
use super::table::Table;
use baton_content::{
    BLOCKS_PER_PIECE, BlockIndex, Header, MANIFEST_LANE, Mask, PIECE_LEN, PieceId, SignedHead,
    VerifiedBlock,
};
use baton_swarm::Input;

/// Everything that a viewer has: each block as it was verified.
pub struct Store<M> {
    memory: Table<Held>,
    /// Bytes in memory, and how many of them are nowhere else.
    memory_bytes: usize,
    unwritten_bytes: usize,
    disk: Option<Disk<M>>,
    limits: Limits,
    /// What the person looks at.
    need: Option<PieceId>,
    /// What is about to be read into a file.
    reading: Option<PieceId>,
    /// Counts uses, so that the cache knows what was used last.
    turn: u64,
    /// What is gone without the engine having asked for it.
    gone: Vec<Input>,
}

/// How much may be in memory, bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// In all, where there is no disk.
    pub memory: usize,
    /// In all, where there is one.
    pub cache: usize,
    /// Waiting to be written.
    pub unwritten: usize,
    /// Of the film, before the player takes it.
    pub ahead: u64,
    /// Whether everything is scarce: the film is then fetched gently and opened late.
    pub small: bool,
}

impl Default for Limits {
    /// What a page may take beside its player, whose buffers have up to 160 MB. Engines without SIMD are televisions of 2021 and
    /// before, whose browsers have some 500 MB in all. The cache holds what a dozen peers ask for at once (`Config::grant_blocks`
    /// is 8 MiB, and they mostly ask for the same); what waits to be written is a second at 64 Mbit/s.
    fn default() -> Limits {
        Limits {
            memory: if cfg!(feature = "simd") {
                1 << 30
            } else {
                256 << 20
            },
            cache: 32 << 20,
            unwritten: 8 << 20,
            // As much as the media engine asks for at most.
            ahead: u64::MAX,
            small: false,
        }
    }
}

impl Limits {
    /// For a page that may have 150 MB in all (docs/tv.md). With the four seconds that the player has, 10 MB of 8 Mbit/s are ahead; the rest
    /// was seen: to pass on, and to step back to.
    pub fn television() -> Limits {
        Limits {
            memory: 14_000_000,
            ahead: 6_000_000,
            small: true,
            ..Limits::default()
        }
    }
}

/// One piece in memory.
struct Held {
    header: Header,
    have: Mask,
    /// Those that are nowhere else.
    unwritten: Mask,
    blocks: [Option<VerifiedBlock>; BLOCKS_PER_PIECE],
    used: u64,
}

impl<M: Medium> Store<M> {
    /// Nothing yet, and no disk.
    pub fn new(limits: Limits) -> Store<M> {
        Store {
            memory: Table::new(),
            memory_bytes: 0,
            unwritten_bytes: 0,
            disk: None,
            limits,
            need: None,
            reading: None,
            turn: 0,
            gone: Vec::new(),
        }
    }

    /// A disk is there from now on: what is in memory goes to it, what it holds is found bit by bit.
    pub fn set_disk(&mut self, disk: Disk<M>) {
        self.disk = Some(disk);
    }

    /// From now on memory holds what is needed soon, and no more.
    pub fn be_lean(&mut self) {
        self.limits.memory = self.limits.memory.min(LEAN_BYTES);
        self.make_room();
    }

    /// Whether what comes is kept on disk.
    pub fn has_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// Bytes that are in memory only.
    pub fn unwritten_bytes(&self) -> u64 {
        self.unwritten_bytes as u64
    }

    /// Bytes in memory.
    #[cfg(test)]
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// What the disk holds of the next pieces; empty once all was told.
    pub fn find(&mut self, count: usize) -> Vec<(Header, Mask)> {
        self.disk.as_mut().map_or(Vec::new(), |d| d.find(count))
    }

    /// Pieces whose headers the disk gives from now on, told once.
    pub fn take_kept(&mut self) -> Vec<PieceId> {
        self.disk.as_mut().map_or(Vec::new(), Disk::take_kept)
    }

    /// The header of a piece that is here. One that does not hold any more is forgotten with all blocks.
    pub fn header(&mut self, piece: PieceId) -> Option<Header> {
        match self.memory.get(piece) {
            Some(held) => Some(held.header.clone()),
            None => Some(self.disk.as_mut()?.claim(piece)?.0),
        }
    }

    /// Keeps the highest head for the next visit.
    pub fn set_head(&mut self, head: &SignedHead) {
        if let Some(disk) = &mut self.disk {
            disk.set_head(head);
        }
    }

    /// What the person looks at: what is farthest from it goes first.
    pub fn set_need(&mut self, piece: PieceId) {
        self.need = Some(piece);
    }

    /// What is about to be read into a file: it is needed as well, until it was.
    pub fn set_reading(&mut self, piece: Option<PieceId>) {
        self.reading = piece;
    }

    /// Whether more than what is needed would push out what is here.
    pub fn is_full(&self) -> bool {
        match &self.disk {
            Some(disk) => disk.room() < self.limits.cache as u64,
            None => self.memory_bytes + self.limits.unwritten > self.limits.memory,
        }
    }

    /// Pieces that may be fetched ahead of what is read: half of what there is room for, so that they are still here when their turn comes.
    pub fn pieces_ahead(&self) -> usize {
        let room = match &self.disk {
            Some(disk) => disk.capacity(),
            None => self.limits.memory as u64,
        };
        (room / 2 / PIECE_LEN as u64).clamp(1, PIECES_AHEAD_MAX) as usize
    }

    /// Keeps a block. One that is here already is replaced by itself.
    pub fn put(&mut self, block: VerifiedBlock) {
        self.turn += 1;
        let held = self.memory.get_or(block.piece(), || Held {
            header: block.header().clone(),
            have: Mask::EMPTY,
            unwritten: Mask::EMPTY,
            blocks: [const { None }; BLOCKS_PER_PIECE],
            used: 0,
        });
        held.used = self.turn;
        let (index, len) = (block.block(), block.bytes().len());
        if !held.have.contains(index) {
            held.have.insert(index);
            held.unwritten.insert(index);
            self.memory_bytes += len;
            self.unwritten_bytes += len;
        }
        held.blocks[usize::from(index.0)] = Some(block);
        if self.disk.is_some() && self.unwritten_bytes > self.limits.unwritten {
            self.write_out();
        }
        self.make_room();
    }

    /// Which blocks of a piece are here, or claimed by the disk.
    pub fn have(&self, piece: PieceId) -> Mask {
        let memory = self.memory.get(piece).map_or(Mask::EMPTY, |p| p.have);
        self.disk
            .as_ref()
            .map_or(memory, |disk| disk.have(piece).or(memory))
    }

    /// Those of these blocks that are here, in order, each verified. What the disk has lost is told to the engine.
    pub fn read(&mut self, piece: PieceId, mask: Mask) -> Vec<VerifiedBlock> {
        self.turn += 1;
        let mut held = self.memory.get_mut(piece);
        let in_memory = match &mut held {
            Some(held) => {
                held.used = self.turn;
                held.have
            }
            None => Mask::EMPTY,
        };
        let rest = mask.without(in_memory);
        let (from_disk, lost) = match &mut self.disk {
            Some(disk) if !rest.is_empty() => disk.read(piece, rest),
            _ => (Vec::new(), Mask::EMPTY),
        };
        if !lost.is_empty() {
            self.gone.push(Input::StoreFailed { piece, mask: lost });
        }
        let Some(held) = held.filter(|held| !held.have.and(mask).is_empty()) else {
            return from_disk;
        };
        let mut blocks = Vec::with_capacity(mask.count());
        let mut from_disk = from_disk.into_iter().peekable();
        for block in mask.iter() {
            match &held.blocks[usize::from(block.0)] {
                Some(held) => blocks.push(held.clone()),
                None => blocks.extend(from_disk.next_if(|read| read.block() == block)),
            }
        }
        blocks
    }

    /// All blocks of a piece in order, if all are here.
    pub fn whole(&mut self, piece: PieceId) -> Option<Vec<VerifiedBlock>> {
        let blocks = self.read(piece, self.have(piece));
        let all = blocks.first()?.header().block_count();
        (blocks.len() == all).then_some(blocks)
    }

    /// Whether something is gone of which the engine has not heard yet.
    pub fn has_lost(&self) -> bool {
        !self.gone.is_empty()
    }

    /// What is gone without the engine having asked for it.
    pub fn take_gone(&mut self) -> Vec<Input> {
        std::mem::take(&mut self.gone)
    }

    /// Writes out what waits. A disk that is full gives up what is farthest from need; one that fails is given up.
    pub fn write_out(&mut self) {
        while let Some(piece) = self.next_unwritten() {
            if !self.write_piece(piece) {
                return;
            }
        }
        if let Some(disk) = &mut self.disk {
            match disk.commit() {
                Ok(()) => {}
                Err(Fault::Full) => {
                    for (piece, mask) in disk.shrink() {
                        self.evicted(piece, mask);
                    }
                }
                Err(Fault::Broken) => self.lose_disk(),
            }
        }
    }

    fn next_unwritten(&self) -> Option<PieceId> {
        self.disk.as_ref()?;
        let mut unwritten = self.memory.iter().filter(|(_, h)| !h.unwritten.is_empty());
        unwritten.next().map(|(piece, _)| piece)
    }

    /// Whether there is still a disk after it.
    fn write_piece(&mut self, piece: PieceId) -> bool {
        loop {
            let (Some(disk), Some(held)) = (&mut self.disk, self.memory.get_mut(piece)) else {
                return self.disk.is_some();
            };
            let of = |b: BlockIndex| held.blocks[usize::from(b.0)].as_ref();
            let blocks: Vec<&VerifiedBlock> = held.unwritten.iter().filter_map(of).collect();
            match disk.put(&held.header, &blocks) {
                Ok(()) => {
                    let bytes = blocks.iter().map(|b| b.bytes().len()).sum::<usize>();
                    self.unwritten_bytes -= bytes;
                    held.unwritten = Mask::EMPTY;
                    return true;
                }
                Err(Fault::Full) => self.evict_farthest(),
                Err(Fault::Broken) => {
                    self.lose_disk();
                    return false;
                }
            }
        }
    }

    /// Gives up the piece that is farthest from need, wherever it is.
    fn evict_farthest(&mut self) {
        let on_disk = self.disk.iter().flat_map(|disk| disk.pieces());
        let known = on_disk
            .map(|(piece, _)| piece)
            .chain(self.memory.iter().map(|(piece, _)| piece));
        let Some(piece) = known.max_by_key(|piece| self.distance(*piece)) else {
            return;
        };
        let mask = self.have(piece);
        self.evicted(piece, mask);
        if let Some(disk) = &mut self.disk {
            disk.remove(piece, mask);
        }
    }

    /// From whichever needs it sooner.
    fn distance(&self, piece: PieceId) -> (bool, bool, u32) {
        let reading = self.reading.map(|at| distance(Some(at), piece));
        let need = (self.need.is_some() || reading.is_none()).then(|| distance(self.need, piece));
        reading.into_iter().chain(need).min().unwrap_or_default()
    }

    /// Blocks that the disk no longer has: no longer had at all.
    fn evicted(&mut self, piece: PieceId, mask: Mask) {
        self.forget(piece);
        self.gone.push(Input::Evicted { piece, mask });
    }

    /// What is only on the disk is lost with it; what is in memory is not.
    fn lose_disk(&mut self) {
        let Some(disk) = self.disk.take() else { return };
        for (piece, mask) in disk.pieces() {
            let held = self.memory.get_mut(piece).map_or(Mask::EMPTY, |held| {
                held.unwritten = held.have;
                held.have
            });
            let mask = mask.without(held);
            if !mask.is_empty() {
                self.gone.push(Input::StoreFailed { piece, mask });
            }
        }
        self.unwritten_bytes = self.memory_bytes;
    }

    /// Keeps memory within its limit.
    fn make_room(&mut self) {
        if self.disk.is_none() {
            while self.memory_bytes > self.limits.memory {
                self.evict_farthest();
            }
            return;
        }
        while self.memory_bytes > self.limits.cache.max(self.unwritten_bytes) {
            let written = self.memory.iter().filter(|(_, h)| h.unwritten.is_empty());
            match written.min_by_key(|(_, held)| held.used) {
                Some((piece, _)) => self.forget(piece),
                None => return,
            }
        }
    }

    /// Takes a piece out of memory.
    fn forget(&mut self, piece: PieceId) {
        if let Some(held) = self.memory.remove(piece) {
            let len = |b: BlockIndex| held.header.block_len(b);
            self.memory_bytes -= held.have.iter().map(len).sum::<usize>();
            self.unwritten_bytes -= held.unwritten.iter().map(len).sum::<usize>();
        }
    }
}

/// Pieces that are asked for ahead of what is read into a file: a second at 256 Mbit/s.
const PIECES_AHEAD_MAX: u64 = 32;

/// What a tab without a disk keeps of what another tab has, bytes: what a player asks for ahead, at 40 Mbit/s for twenty seconds.
const LEAN_BYTES: usize = 100 << 20;

/// How far from what the person looks at: what lies behind is farther than what is to come, and the manifest is never far.
fn distance(need: Option<PieceId>, piece: PieceId) -> (bool, bool, u32) {
    let at = need.map_or(0, |need| need.index.0);
    let index = piece.index.0;
    match index >= at {
        true => (piece.lane != MANIFEST_LANE, false, index - at),
        false => (piece.lane != MANIFEST_LANE, true, at - index),
    }
}
