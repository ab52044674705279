//! Where the bytes of a file lie in its lane, and back.
//!
//! A file begins at the start of [`Entry::first_piece`]; all its pieces but the last are full.

use core::ops::Range;

use crate::id::{BlockIndex, Mask, PieceId};
use crate::manifest::Entry;
use crate::{BLOCK_LEN, PIECE_LEN};

impl Entry {
    /// How many pieces the file fills; 0 when it is empty.
    pub fn piece_count(&self) -> u32 {
        u32::try_from(self.size.div_ceil(PIECE_LEN as u64))
            .expect("a manifest's entries fit into their lanes")
    }

    /// The pieces of the file, in order.
    pub fn pieces(&self) -> impl Iterator<Item = PieceId> + use<> {
        let (lane, first) = (self.lane, self.first_piece.0);
        (first..first.saturating_add(self.piece_count()))
            .map(move |index| PieceId::new(lane, index))
    }

    /// Whether a piece belongs to the file.
    pub fn has_piece(&self, piece: PieceId) -> bool {
        self.piece_range(piece).is_some()
    }

    /// Which bytes of the file a piece holds; `None` for a piece that is not the file's.
    pub fn piece_range(&self, piece: PieceId) -> Option<Range<u64>> {
        let place = piece
            .index
            .0
            .checked_sub(self.first_piece.0)
            .filter(|_| piece.lane == self.lane)?;
        let start = u64::from(place) * PIECE_LEN as u64;
        (start < self.size).then(|| start..self.size.min(start + PIECE_LEN as u64))
    }

    /// Which bytes of the file a block holds; `None` for a block that is not the file's.
    pub fn block_range(&self, piece: PieceId, block: BlockIndex) -> Option<Range<u64>> {
        let piece = self.piece_range(piece)?;
        let start = piece.start + u64::from(block.0) * BLOCK_LEN as u64;
        (start < piece.end).then(|| start..piece.end.min(start + BLOCK_LEN as u64))
    }

    /// The byte of the file that a block begins with; `None` for a block that is not the file's.
    pub fn block_offset(&self, piece: PieceId, block: BlockIndex) -> Option<u64> {
        self.block_range(piece, block).map(|range| range.start)
    }

    /// The blocks that hold the bytes `range` of the file, piece by piece. What lies beyond the file is left out.
    pub fn blocks(&self, range: Range<u64>) -> impl Iterator<Item = (PieceId, Mask)> + use<> {
        let (piece_len, block_len) = (PIECE_LEN as u64, BLOCK_LEN as u64);
        let (lane, first) = (self.lane, self.first_piece.0);
        let (start, end) = (range.start, range.end.min(self.size));
        let pieces = if start < end {
            start / piece_len..end.div_ceil(piece_len)
        } else {
            0..0
        };
        pieces.map(move |place| {
            let piece_start = place * piece_len;
            let from = start.saturating_sub(piece_start) / block_len;
            let to = (end - piece_start).min(piece_len).div_ceil(block_len);
            (
                PieceId::new(lane, first + place as u32),
                Mask::range(from as usize, to as usize),
            )
        })
    }

    /// All blocks of the file, piece by piece.
    pub fn all_blocks(&self) -> impl Iterator<Item = (PieceId, Mask)> + use<> {
        self.blocks(0..self.size)
    }

    /// The blocks that a player should have first: [`Entry::start`] in its order. Pieces may come more than once.
    pub fn start_blocks(&self) -> impl Iterator<Item = (PieceId, Mask)> + '_ {
        self.start.iter().flat_map(|range| {
            self.blocks(range.offset..range.offset.saturating_add(u64::from(range.len)))
        })
    }
}
