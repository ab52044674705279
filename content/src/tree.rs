//! The BLAKE3 tree of a piece, cut at blocks.
//!
//! A block is 16 chunks, so the chaining values of whole blocks are inner nodes of the piece's own BLAKE3 tree:
//! the root of the piece is what `b3sum` prints for its sealed bytes, and it can be recomputed from the hashes
//! of the blocks.

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};

use crate::BLOCK_LEN;

/// The chaining value of the block at `block` in its piece; not for the only block of a piece, which is the root.
pub(crate) fn block_hash(block: usize, bytes: &[u8]) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset((block * BLOCK_LEN) as u64);
    hasher.update(bytes);
    hasher.finalize_non_root()
}

/// The root above the hashes of two or more blocks.
///
/// BLAKE3 gives the left subtree the largest power of two of chunks that leaves something for the right; as
/// blocks are 16 chunks that is the largest power of two of blocks.
pub(crate) fn root(hashes: &[ChainingValue]) -> [u8; 32] {
    let (left, right) = hashes.split_at(left_len(hashes.len()));
    *merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash).as_bytes()
}

fn subtree(hashes: &[ChainingValue]) -> ChainingValue {
    match hashes {
        [only] => *only,
        _ => {
            let (left, right) = hashes.split_at(left_len(hashes.len()));
            merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
        }
    }
}

/// The largest power of two below `count`, which is at least 2.
fn left_len(count: usize) -> usize {
    debug_assert!(count >= 2);
    count.next_power_of_two() / 2
}
