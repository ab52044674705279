//! Sealing: a piece of plaintext in, sealed bytes and their header out (docs/protocol.md section 5).
//!
//! XChaCha20 without a tag: the length stays, any block opens alone, and integrity comes from the signed root.
//! The nonce is a keyed hash of what is sealed: the same bytes give the same header, and different bytes never
//! share a nonce, even if a publisher loses its memory and seals index 7 anew.

use bytes::Bytes;
use chacha20::XChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use core::fmt;

use crate::header::{Core, Header, PieceFlags, SignedCore};
use crate::id::{BlockIndex, Lane, PieceIndex, SwarmId};
use crate::keys::{PublisherKey, derive_key};
use crate::verify::{BlockError, VerifiedBlock};
use crate::{BLOCK_LEN, BLOCKS_PER_PIECE, PIECE_LEN, tree};

/// The keys that one lane is sealed under.
#[derive(Clone)]
pub struct LaneKey {
    cipher: [u8; 32],
    nonce: [u8; 32],
}

impl LaneKey {
    pub(crate) fn derive(content_key: &[u8; 32], lane: Lane) -> Self {
        let parts: [&[u8]; 2] = [content_key, &lane.0.to_le_bytes()];
        LaneKey {
            cipher: derive_key(LANE_CIPHER_CONTEXT, &parts),
            nonce: derive_key(LANE_NONCE_CONTEXT, &parts),
        }
    }

    /// Opens or seals again, in place, the block `block` of the piece of `core`: both are the same XOR.
    ///
    /// `bytes` may also be a run of blocks that begins with `block`.
    pub fn apply(&self, core: &Core, block: BlockIndex, bytes: &mut [u8]) {
        self.apply_at(core, usize::from(block.0) * BLOCK_LEN, bytes);
    }

    /// The same from any byte of the piece on.
    pub fn apply_at(&self, core: &Core, offset: usize, bytes: &mut [u8]) {
        debug_assert!(offset + bytes.len() <= core.len as usize);
        let mut cipher = self.cipher(&core.nonce);
        cipher.seek(offset as u64);
        cipher.apply_keystream(bytes);
    }

    fn cipher(&self, nonce: &[u8; 24]) -> XChaCha20 {
        XChaCha20::new(&self.cipher.into(), &(*nonce).into())
    }

    /// The plaintext comes first, so that BLAKE3 sees whole chunks of it; what follows has a fixed length.
    fn nonce(&self, lane: Lane, index: PieceIndex, plaintext: &[u8]) -> [u8; 24] {
        let mut hasher = blake3::Hasher::new_keyed(&self.nonce);
        hasher.update(plaintext);
        hasher.update(&lane.0.to_le_bytes());
        hasher.update(&index.0.to_le_bytes());
        let mut nonce = [0; 24];
        nonce.copy_from_slice(&hasher.finalize().as_bytes()[..24]);
        nonce
    }
}

impl fmt::Debug for LaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LaneKey(..)")
    }
}

/// What the publisher knows of a piece besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceMeta {
    pub swarm: SwarmId,
    pub epoch: u32,
    pub lane: Lane,
    pub index: PieceIndex,
    pub flags: PieceFlags,
    /// In microseconds from the start; 0 where that means nothing.
    pub media_time_us: i64,
}

/// Seals 1..=[`PIECE_LEN`] bytes in place and signs their header.
///
/// `lane_key` is that of `meta.lane`. Panics on an empty or too long piece.
pub fn seal(
    lane_key: &LaneKey,
    publisher: &PublisherKey,
    meta: PieceMeta,
    plaintext: &mut [u8],
) -> Header {
    assert!(
        (1..=PIECE_LEN).contains(&plaintext.len()),
        "a piece has 1 byte to 1 MiB"
    );
    let nonce = lane_key.nonce(meta.lane, meta.index, plaintext);
    let hashes = seal_in_place(lane_key.cipher(&nonce), plaintext);
    let core = Core {
        flags: meta.flags,
        lane: meta.lane,
        index: meta.index,
        len: plaintext.len() as u32,
        epoch: meta.epoch,
        media_time_us: meta.media_time_us,
        swarm: meta.swarm,
        nonce,
        root: hashes.root,
    };
    Header::sign(core, hashes.list(), publisher)
}

/// What the blocks of a piece hash to. A piece of one block has no list.
struct Hashes {
    of_blocks: [[u8; 32]; BLOCKS_PER_PIECE],
    count: usize,
    root: [u8; 32],
}

impl Hashes {
    fn list(&self) -> &[[u8; 32]] {
        &self.of_blocks[..self.count]
    }
}

/// Each block is hashed right after it was sealed, while it is in the cache.
fn seal_in_place(mut cipher: XChaCha20, plaintext: &mut [u8]) -> Hashes {
    let mut of_blocks = [[0; 32]; BLOCKS_PER_PIECE];
    let mut count = plaintext.len().div_ceil(BLOCK_LEN);
    let root = if count == 1 {
        count = 0;
        cipher.apply_keystream(plaintext);
        *blake3::hash(plaintext).as_bytes()
    } else {
        for (place, block) in plaintext.chunks_mut(BLOCK_LEN).enumerate() {
            cipher.apply_keystream(block);
            of_blocks[place] = tree::block_hash(place, block);
        }
        tree::root(&of_blocks[..count])
    };
    Hashes {
        of_blocks,
        count,
        root,
    }
}

/// A freshly sealed piece, its blocks ready to send.
#[derive(Clone, Debug)]
pub struct Sealed {
    header: Header,
    bytes: Bytes,
}

impl Sealed {
    /// Seals the plaintext of a piece again, under the header that was signed for it before: two passes over the bytes instead of four
    /// and no signature. The error names the first block that is not what it was then.
    pub fn again(
        lane_key: &LaneKey,
        header: Header,
        mut plaintext: Vec<u8>,
    ) -> Result<Sealed, BlockError> {
        if plaintext.len() != header.len() {
            return Err(BlockError::Length {
                piece: header.id(),
                block: BlockIndex(0),
                expected: header.len(),
                got: plaintext.len(),
            });
        }
        let mut cipher = lane_key.cipher(&header.core().nonce);
        for (place, block) in plaintext.chunks_mut(BLOCK_LEN).enumerate() {
            cipher.apply_keystream(block);
            header.check(BlockIndex(place as u8), block)?;
        }
        Ok(Sealed {
            header,
            bytes: plaintext.into(),
        })
    }

    /// The same where only the core is at hand: the header's hashes are found again on the way. `None`: the bytes are not what they were.
    pub fn again_by_core(
        lane_key: &LaneKey,
        signed: &SignedCore,
        mut plaintext: Vec<u8>,
    ) -> Option<Sealed> {
        let core = signed.core();
        if plaintext.len() != core.len as usize {
            return None;
        }
        let hashes = seal_in_place(lane_key.cipher(&core.nonce), &mut plaintext);
        let header = signed.with_hashes(hashes.list())?;
        (hashes.root == core.root).then(|| Sealed {
            header,
            bytes: plaintext.into(),
        })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The sealed bytes of the whole piece.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// One block; `None` for one that the piece does not have. It is not hashed once more: sealing did that.
    pub fn block(&self, block: BlockIndex) -> Option<VerifiedBlock> {
        let start = usize::from(block.0) * BLOCK_LEN;
        let len = self.header.block_len(block);
        (len > 0).then(|| {
            VerifiedBlock::just_hashed(
                self.header.clone(),
                block,
                self.bytes.slice(start..start + len),
            )
        })
    }

    /// All blocks in order.
    pub fn blocks(&self) -> impl Iterator<Item = VerifiedBlock> + '_ {
        self.header
            .full_mask()
            .iter()
            .filter_map(|block| self.block(block))
    }
}

/// [`seal`] for a piece whose blocks are wanted right away: they need no second look then.
pub fn seal_blocks(
    lane_key: &LaneKey,
    publisher: &PublisherKey,
    meta: PieceMeta,
    mut plaintext: Vec<u8>,
) -> Sealed {
    let header = seal(lane_key, publisher, meta, &mut plaintext);
    Sealed {
        header,
        bytes: plaintext.into(),
    }
}

const LANE_CIPHER_CONTEXT: &str = "baton 2026-11 lane cipher key v1";
const LANE_NONCE_CONTEXT: &str = "baton 2026-11 lane nonce key v1";
