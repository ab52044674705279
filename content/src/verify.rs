//! Verification: the only door from bytes of unknown origin to a [`VerifiedBlock`].

use bytes::Bytes;
use thiserror::Error;

use crate::header::Header;
use crate::id::{BlockIndex, PieceId};
use crate::tree;

/// The bytes of one block, known to be what the publisher sealed.
///
/// Only [`Header::verify`] makes one, and sealing, which has just hashed the very bytes: so unverified bytes
/// cannot reach a player, a disk or another peer.
///
/// ```compile_fail,E0451
/// # let header: baton_content::Header = todo!();
/// # let (block, bytes) = todo!();
/// baton_content::VerifiedBlock { header, block, bytes };
/// ```
#[derive(Clone, Debug)]
pub struct VerifiedBlock {
    header: Header,
    block: BlockIndex,
    bytes: Bytes,
}

impl VerifiedBlock {
    /// For bytes whose hash stands in `header` because it was computed from them.
    pub(crate) fn just_hashed(header: Header, block: BlockIndex, bytes: Bytes) -> Self {
        VerifiedBlock {
            header,
            block,
            bytes,
        }
    }

    pub fn piece(&self) -> PieceId {
        self.header.id()
    }

    pub fn block(&self) -> BlockIndex {
        self.block
    }

    /// The sealed bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn header(&self) -> &Header {
        &self.header
    }
}

impl Header {
    /// Takes the bytes that somebody sent for a block, if they are the block's.
    pub fn verify(&self, block: BlockIndex, bytes: Bytes) -> Result<VerifiedBlock, BlockError> {
        self.check(block, &bytes)?;
        Ok(VerifiedBlock {
            header: self.clone(),
            block,
            bytes,
        })
    }

    /// Whether bytes are the block's, for whoever only asks.
    pub fn check(&self, block: BlockIndex, bytes: &[u8]) -> Result<(), BlockError> {
        let (piece, expected) = (self.id(), self.block_len(block));
        if expected == 0 {
            return Err(BlockError::NoSuchBlock { piece, block });
        }
        if bytes.len() != expected {
            return Err(BlockError::Length {
                piece,
                block,
                expected,
                got: bytes.len(),
            });
        }
        if !self.holds(block, bytes) {
            return Err(BlockError::Hash { piece, block });
        }
        Ok(())
    }

    fn holds(&self, block: BlockIndex, bytes: &[u8]) -> bool {
        let place = usize::from(block.0);
        match self.block_hashes().get(place) {
            Some(hash) => tree::block_hash(place, bytes) == *hash,
            // The only block of its piece.
            None => blake3::hash(bytes) == *self.root(),
        }
    }
}

/// Why bytes are not the block that they were sent for. Whoever sent them lied, or the way spoilt them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    #[error("piece {piece} has no block {}", block.0)]
    NoSuchBlock { piece: PieceId, block: BlockIndex },
    #[error("block {} of piece {piece} has {expected} bytes, not {got}", block.0)]
    Length {
        piece: PieceId,
        block: BlockIndex,
        expected: usize,
        got: usize,
    },
    #[error("block {} of piece {piece} is not what the publisher sealed", block.0)]
    Hash { piece: PieceId, block: BlockIndex },
}
