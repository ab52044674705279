//! Verified blocks in memory.

use baton_content::{BLOCKS_PER_PIECE, BlockIndex, Header, Mask, PieceId, VerifiedBlock};
use baton_sorted::SortedMap;

/// Everything that a viewer has: each block as it was verified, still sealed.
#[derive(Default)]
pub struct Store {
    pieces: SortedMap<PieceId, Box<Piece>>,
}

struct Piece {
    header: Header,
    have: Mask,
    blocks: [Option<VerifiedBlock>; BLOCKS_PER_PIECE],
}

impl Store {
    /// Keeps a block. One that is here already is replaced by itself.
    pub fn put(&mut self, block: VerifiedBlock) {
        let piece = self.pieces.entry(block.piece()).or_insert_with(|| {
            Box::new(Piece {
                header: block.header().clone(),
                have: Mask::EMPTY,
                blocks: [const { None }; BLOCKS_PER_PIECE],
            })
        });
        let index = block.block();
        piece.have.insert(index);
        piece.blocks[usize::from(index.0)] = Some(block);
    }

    /// One block, if it is here.
    pub fn get(&self, piece: PieceId, block: BlockIndex) -> Option<&VerifiedBlock> {
        self.pieces
            .get(&piece)?
            .blocks
            .get(usize::from(block.0))?
            .as_ref()
    }

    /// Which blocks of a piece are here.
    pub fn have(&self, piece: PieceId) -> Mask {
        self.pieces.get(&piece).map_or(Mask::EMPTY, |p| p.have)
    }

    /// All blocks of a piece, once all are here.
    pub fn whole(&self, piece: PieceId) -> Option<impl Iterator<Item = &VerifiedBlock>> {
        let piece = self.pieces.get(&piece)?;
        piece
            .have
            .contains_all(piece.header.full_mask())
            .then(|| piece.blocks.iter().flatten())
    }
}
