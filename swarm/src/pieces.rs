//! Our own blocks. Invariant: a block is in exactly one of have, in flight, wanted, unwanted.
//!
//! Wanted pieces stand in shelves by how many neighbours have them, so that the rarest is found by looking at words of bits: a choice
//! among 50,000 pieces costs microseconds and is made once per piece, not per block.

use crate::bits::Bits;
use baton_content::{BLOCK_LEN, Head, Header, Lane, LaneState, PieceId, PieceIndex, SignedCore};
use baton_sorted::SortedMap;

/// Shelves: 0 to 6 neighbours, and more.
pub(crate) const SHELVES: usize = 8;

/// What is known of a piece's header.
#[derive(Clone, Debug)]
enum Known {
    Nothing,
    /// 2.2 KB, nearly all of them the hashes that blocks are checked with.
    All(Header),
    /// Storage has the hashes.
    Core(Box<SignedCore>),
}

/// What a block is checked with when it comes.
#[derive(Clone, Debug)]
pub(crate) enum Check {
    By(Header),
    /// It is here: nobody looks at it.
    Had,
}

/// What is known of one piece.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    known: Known,
    /// Storage gives the header whenever it is asked: the hashes go as soon as all blocks are here.
    kept: bool,
    /// The blocks there are; all ones until the header is known.
    pub(crate) full: u64,
    pub(crate) have: u64,
    pub(crate) in_flight: u64,
    /// In flight from two peers.
    pub(crate) hedged: u64,
    /// Dropped here to make room: wanted again only when demanded.
    evicted: u64,
    /// Neighbours that have all of it.
    copies: u16,
    shelf: Option<u8>,
}

impl Piece {
    fn new() -> Self {
        Piece {
            known: Known::Nothing,
            kept: false,
            full: u64::MAX,
            have: 0,
            in_flight: 0,
            hedged: 0,
            evicted: 0,
            copies: 0,
            shelf: None,
        }
    }

    /// Neither had nor on its way.
    pub(crate) fn missing(&self) -> u64 {
        self.full & !self.have & !self.in_flight
    }

    /// Whether its header was verified.
    pub(crate) fn is_known(&self) -> bool {
        !matches!(self.known, Known::Nothing)
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.is_known() && self.full & !self.have == 0
    }

    /// What is signed of it.
    pub(crate) fn core(&self) -> Option<SignedCore> {
        match &self.known {
            Known::Nothing => None,
            Known::All(header) => Some(header.signed_core()),
            Known::Core(core) => Some(**core),
        }
    }

    pub(crate) fn root8(&self) -> Option<[u8; 8]> {
        let root = match &self.known {
            Known::Nothing => return None,
            Known::All(header) => header.root(),
            Known::Core(core) => &core.core().root,
        };
        root.first_chunk().copied()
    }

    /// What others are told: all ones for a whole piece.
    pub(crate) fn told(&self) -> u64 {
        if self.is_whole() { u64::MAX } else { self.have }
    }
}

#[derive(Debug, Default)]
struct LaneTable {
    pieces: Vec<Piece>,
    shelves: [Bits; SHELVES],
}

/// All pieces that the head names.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    lanes: SortedMap<Lane, LaneTable>,
    /// Whether everything is wanted, or only what is demanded and lane 0.
    background: bool,
    /// The head names more than there is room for: it will never be whole here.
    cut: bool,
    total: u32,
    whole: u32,
    have_blocks: u64,
    have_bytes: u64,
    in_flight: u32,
    /// Length of lane 0, as far as its headers are known.
    manifest_bytes: u64,
}

impl Pieces {
    pub(crate) fn new(background: bool) -> Self {
        Pieces {
            background,
            ..Pieces::default()
        }
    }

    /// Makes room for what the head names, up to the limit. Returns the new pieces' ids.
    pub(crate) fn grow(&mut self, head: &Head) -> Vec<PieceId> {
        let mut new = Vec::new();
        for state in &head.lanes {
            // Lanes of earlier heads count too.
            if !self.lanes.contains_key(&state.lane) && self.lanes.len() >= crate::config::LANES_MAX
            {
                continue;
            }
            let table = self.lanes.entry(state.lane).or_default();
            let room = crate::config::PIECES_MAX.saturating_sub(self.total);
            let most = match state.lane.0 {
                0 => crate::config::MANIFEST_PIECES_MAX,
                _ => crate::config::PIECES_MAX,
            };
            let count = state
                .pieces
                .min(most)
                .saturating_sub(table.pieces.len() as u32)
                .min(room);
            for _ in 0..count {
                new.push(PieceId {
                    lane: state.lane,
                    index: PieceIndex(table.pieces.len() as u32),
                });
                table.pieces.push(Piece::new());
            }
            self.total += count;
        }
        for &piece in &new {
            self.reshelve(piece);
        }
        let is_cut = |state: &LaneState| state.pieces > self.lane_len(state.lane);
        self.cut = head.lanes.iter().any(is_cut);
        new
    }

    pub(crate) fn get(&self, piece: PieceId) -> Option<&Piece> {
        self.lanes
            .get(&piece.lane)?
            .pieces
            .get(piece.index.0 as usize)
    }

    fn get_mut(&mut self, piece: PieceId) -> Option<&mut Piece> {
        self.lanes
            .get_mut(&piece.lane)?
            .pieces
            .get_mut(piece.index.0 as usize)
    }

    pub(crate) fn contains(&self, piece: PieceId) -> bool {
        self.get(piece).is_some()
    }

    /// A piece's header, if all of it is in memory.
    pub(crate) fn header(&self, piece: PieceId) -> Option<&Header> {
        match &self.get(piece)?.known {
            Known::All(header) => Some(header),
            _ => None,
        }
    }

    /// Whether a piece's header was verified, be it in memory or not.
    pub(crate) fn is_known(&self, piece: PieceId) -> bool {
        self.get(piece).is_some_and(Piece::is_known)
    }

    /// Whether its header must be asked of storage before a block can be checked.
    pub(crate) fn lacks_hashes(&self, piece: PieceId) -> bool {
        let lacks = |piece: &Piece| matches!(piece.known, Known::Core(_)) && !piece.is_whole();
        self.get(piece).is_some_and(lacks)
    }

    /// What a block of this piece is checked with; `None` while that is not known.
    pub(crate) fn check(&self, piece: PieceId) -> Option<Check> {
        let piece = self.get(piece)?;
        match &piece.known {
            Known::All(header) => Some(Check::By(header.clone())),
            Known::Core(_) if piece.is_whole() => Some(Check::Had),
            _ => None,
        }
    }

    /// Blocks that a piece has; all ones until its header is known.
    pub(crate) fn full(&self, piece: PieceId) -> u64 {
        self.get(piece).map_or(u64::MAX, |piece| piece.full)
    }

    pub(crate) fn lanes(&self) -> impl Iterator<Item = (Lane, u32)> + '_ {
        self.lanes
            .iter()
            .map(|(&lane, table)| (lane, table.pieces.len() as u32))
    }

    /// How many pieces a lane has.
    pub(crate) fn lane_len(&self, lane: Lane) -> u32 {
        self.lanes
            .get(&lane)
            .map_or(0, |table| table.pieces.len() as u32)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = PieceId> + '_ {
        self.lanes().flat_map(|(lane, count)| {
            (0..count).map(move |index| PieceId {
                lane,
                index: PieceIndex(index),
            })
        })
    }

    /// Pieces that are not whole here, and their blocks that are neither here nor were dropped to make room.
    pub(crate) fn lacking(&self) -> impl Iterator<Item = (PieceId, u64)> + '_ {
        self.lanes.iter().flat_map(|(&lane, table)| {
            let lacking = move |(index, piece): (usize, &Piece)| {
                let mask = piece.full & !piece.have & !piece.evicted;
                let index = PieceIndex(index as u32);
                (mask != 0).then_some((PieceId { lane, index }, mask))
            };
            table.pieces.iter().enumerate().filter_map(lacking)
        })
    }

    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    /// Whether every piece that the head names is here.
    pub(crate) fn all_whole(&self) -> bool {
        self.total > 0 && self.whole == self.total && !self.cut
    }

    pub(crate) fn have_bytes(&self) -> u64 {
        self.have_bytes
    }

    /// Length of lane 0, as far as its headers are known.
    pub(crate) fn manifest_bytes(&self) -> u64 {
        self.manifest_bytes
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// In thousandths; 1000 only when all is here.
    pub(crate) fn completeness_permille(&self) -> u16 {
        if self.all_whole() {
            return 1000;
        }
        // Whole pieces count as 64 blocks, however short they are.
        let blocks = (u64::from(self.total) * 64).max(1);
        (self.have_blocks.min(blocks) * 999 / blocks) as u16
    }

    /// Remembers a header that was checked. Whether it was new.
    pub(crate) fn set_header(&mut self, header: &Header) -> bool {
        let id = header.id();
        let full = header.full_mask().0;
        let Some(piece) = self.get_mut(id) else {
            return false;
        };
        if piece.is_known() {
            return false;
        }
        let before = piece.count();
        piece.known = Known::All(header.clone());
        if id.lane.0 == 0 {
            self.manifest_bytes += header.len() as u64;
        }
        let piece = self.get_mut(id).expect("it was there a moment ago");
        piece.full = full;
        // Blocks that do not exist cannot be asked for any longer.
        piece.evicted &= full;
        piece.in_flight &= full;
        piece.hedged &= full;
        self.account(id, before);
        true
    }

    /// Storage gives the header from now on.
    pub(crate) fn keep(&mut self, id: PieceId) {
        if let Some(piece) = self.get_mut(id).filter(|piece| piece.is_known()) {
            piece.kept = true;
            piece.slim();
        }
    }

    /// The hashes are here again, for as long as blocks are missing.
    pub(crate) fn restore(&mut self, header: &Header) {
        if let Some(piece) = self.get_mut(header.id()).filter(|piece| piece.is_known()) {
            piece.known = Known::All(header.clone());
            piece.slim();
        }
    }

    /// Storage has lost the header, and we have not got it either: nothing is known of the piece.
    pub(crate) fn unknow(&mut self, id: PieceId) {
        let core = self.get(id).and_then(|piece| piece.core());
        if let Some(core) = core.filter(|_| id.lane.0 == 0) {
            self.manifest_bytes -= u64::from(core.core().len);
        }
        self.change(id, |piece| {
            piece.known = Known::Nothing;
            piece.kept = false;
            piece.full = u64::MAX;
            piece.have = 0;
        });
    }

    /// Marks blocks as had; the header must be known. They are no longer in flight.
    pub(crate) fn add_have(&mut self, id: PieceId, mask: u64) {
        self.change(id, |piece| {
            let mask = mask & piece.full;
            piece.have |= mask;
            piece.in_flight &= !mask;
            piece.hedged &= !mask;
            piece.evicted &= !mask;
        });
    }

    /// Forgets blocks. Returns those that were had.
    pub(crate) fn lose(&mut self, id: PieceId, mask: u64, evicted: bool) -> u64 {
        let mut lost = 0;
        self.change(id, |piece| {
            lost = piece.have & mask;
            piece.have &= !lost;
            if evicted {
                piece.evicted |= lost;
            }
        });
        lost
    }

    /// Marks missing blocks as asked for, or those in flight as asked for twice.
    pub(crate) fn ask(&mut self, id: PieceId, mask: u64) {
        self.change(id, |piece| {
            let mask = mask & !piece.have;
            piece.hedged |= piece.in_flight & mask;
            piece.in_flight |= mask;
        });
    }

    /// One of those asked for these blocks will not send them.
    pub(crate) fn release(&mut self, id: PieceId, mask: u64) {
        self.change(id, |piece| {
            let twice = piece.hedged & mask;
            piece.hedged &= !twice;
            piece.in_flight &= !(mask & !twice);
        });
    }

    /// One neighbour more or less has all of the piece.
    pub(crate) fn count_copy(&mut self, id: PieceId, more: bool) {
        self.change(id, |piece| {
            piece.copies = if more {
                piece.copies.saturating_add(1)
            } else {
                piece.copies.saturating_sub(1)
            }
        });
    }

    fn change(&mut self, id: PieceId, change: impl FnOnce(&mut Piece)) {
        let Some(piece) = self.get_mut(id) else {
            return;
        };
        let before = piece.count();
        change(piece);
        self.account(id, before);
    }

    /// Carries a change of one piece into the sums and the shelves.
    fn account(&mut self, id: PieceId, before: Count) {
        let piece = self.get_mut(id).expect("it was there a moment ago");
        let after = piece.count();
        debug_assert_eq!(
            piece.have & piece.in_flight,
            0,
            "a block is had or in flight"
        );
        debug_assert_eq!(
            piece.hedged & !piece.in_flight,
            0,
            "what is asked twice is in flight"
        );
        self.have_blocks = self.have_blocks + after.blocks - before.blocks;
        self.have_bytes = self.have_bytes + after.bytes - before.bytes;
        self.whole = self.whole + after.whole - before.whole;
        self.in_flight = self.in_flight + after.in_flight - before.in_flight;
        self.get_mut(id).expect("as above").slim();
        self.reshelve(id);
    }

    fn reshelve(&mut self, id: PieceId) {
        let background = self.background || id.lane.0 == 0;
        let table = self.lanes.get_mut(&id.lane).expect("a piece has a lane");
        let piece = &mut table.pieces[id.index.0 as usize];
        let wanted = background && piece.missing() & !piece.evicted != 0;
        let shelf = wanted.then(|| usize::from(piece.copies).min(SHELVES - 1) as u8);
        if shelf != piece.shelf {
            if let Some(old) = piece.shelf {
                table.shelves[usize::from(old)].remove(id.index.0);
            }
            if let Some(new) = shelf {
                table.shelves[usize::from(new)].insert(id.index.0);
            }
            piece.shelf = shelf;
        }
    }

    /// Missing blocks of a piece that the background wants.
    pub(crate) fn wanted(&self, id: PieceId) -> u64 {
        match self.get(id) {
            Some(piece) if self.background || id.lane.0 == 0 => piece.missing() & !piece.evicted,
            _ => 0,
        }
    }

    /// The pieces of one lane that are wanted and that so many neighbours have.
    pub(crate) fn shelf(&self, lane: Lane, shelf: usize) -> Option<&Bits> {
        self.lanes.get(&lane).map(|table| &table.shelves[shelf])
    }
}

/// What one piece adds to the sums.
#[derive(Clone, Copy)]
struct Count {
    blocks: u64,
    bytes: u64,
    whole: u32,
    in_flight: u32,
}

impl Piece {
    /// Lets the hashes go that nobody needs.
    fn slim(&mut self) {
        if self.kept
            && self.is_whole()
            && let Known::All(header) = &self.known
        {
            self.known = Known::Core(Box::new(header.signed_core()));
        }
    }

    fn count(&self) -> Count {
        let whole = self.is_whole();
        Count {
            blocks: if whole {
                64
            } else {
                u64::from(self.have.count_ones())
            },
            bytes: self.have_bytes(),
            whole: u32::from(whole),
            in_flight: self.in_flight.count_ones(),
        }
    }

    fn have_bytes(&self) -> u64 {
        let len = match &self.known {
            Known::Nothing => return 0,
            Known::All(header) => header.len(),
            Known::Core(core) => core.core().len as usize,
        };
        let last = self.full.count_ones().saturating_sub(1);
        let blocks = u64::from((self.have & !(1 << last)).count_ones()) * BLOCK_LEN as u64;
        let tail = if self.have >> last & 1 == 1 {
            (len - last as usize * BLOCK_LEN) as u64
        } else {
            0
        };
        blocks + tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LANES_MAX, PIECES_MAX};

    fn head(lanes: impl Iterator<Item = (u16, u32)>) -> Head {
        let state = |(lane, pieces)| LaneState {
            lane: Lane(lane),
            pieces,
            open: false,
        };
        Head {
            lanes: lanes.map(state).collect(),
            ..Head::new(baton_content::SwarmId([0; 32]))
        }
    }

    #[test]
    fn a_stream_that_is_too_long_is_never_whole() {
        let mut pieces = Pieces::new(true);
        pieces.grow(&head([(1, PIECES_MAX), (2, 1)].into_iter()));
        assert_eq!(pieces.total(), PIECES_MAX);
        pieces.whole = pieces.total;
        assert!(!pieces.all_whole(), "lane 2 is not here");
    }

    #[test]
    fn lanes_of_successive_heads_do_not_add_up() {
        let mut pieces = Pieces::new(true);
        for at in 0..4 {
            pieces.grow(&head((0..40).map(|lane| (1 + at * 40 + lane, 1))));
        }
        assert_eq!(pieces.lanes().count(), LANES_MAX);
    }
}
