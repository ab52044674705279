//! Block hashes and root against `bao-tree` (groups of 16 chunks) and plain BLAKE3.

mod common;

use bao_tree::BlockSize;
use bao_tree::io::outboard::PreOrderMemOutboard;
use baton_content::{BLOCK_LEN, BlockIndex, DATA_LANE, Header, PIECE_LEN, seal_blocks};
use common::{fixture, plaintext};
use proptest::prelude::*;

/// The hashes of all groups from left to right, read out of bao's outboard: pairs in pre-order.
fn bao_group_hashes(
    pairs: &mut impl Iterator<Item = ([u8; 32], [u8; 32])>,
    groups: usize,
    own: [u8; 32],
    hashes: &mut Vec<[u8; 32]>,
) {
    if groups == 1 {
        return hashes.push(own);
    }
    let left_groups = groups.next_power_of_two() / 2;
    let (left, right) = pairs.next().expect("bao has a pair for each inner node");
    bao_group_hashes(pairs, left_groups, left, hashes);
    bao_group_hashes(pairs, groups - left_groups, right, hashes);
}

fn compare(len: usize) {
    let fixture = fixture();
    let sealed = seal_blocks(
        &fixture.content_key.lane_key(DATA_LANE),
        &fixture.publisher,
        fixture.meta(0),
        plaintext(len),
    );
    let header = sealed.header();
    assert_eq!(*header.root(), *blake3::hash(sealed.bytes()).as_bytes());

    let bao = PreOrderMemOutboard::create(sealed.bytes(), BlockSize::from_chunk_log(4));
    assert_eq!(bao.root.as_bytes(), header.root());
    let mut pairs = bao
        .data
        .as_chunks::<32>()
        .0
        .as_chunks::<2>()
        .0
        .iter()
        .map(|[left, right]| (*left, *right));
    let mut hashes = Vec::new();
    bao_group_hashes(
        &mut pairs,
        header.block_count(),
        *header.root(),
        &mut hashes,
    );
    assert_eq!(pairs.next(), None);
    if len > BLOCK_LEN {
        assert_eq!(hashes, header.block_hashes());
    } else {
        assert!(header.block_hashes().is_empty());
    }
    for block in header.full_mask().iter() {
        let start = usize::from(block.0) * BLOCK_LEN;
        let bytes = sealed.bytes().slice(start..start + header.block_len(block));
        assert!(
            header.verify(block, bytes).is_ok(),
            "block {} of {len} bytes",
            block.0
        );
    }
    assert_eq!(
        Header::parse(
            header.bytes().clone(),
            &fixture.publisher.id(),
            &fixture.swarm()
        )
        .as_ref(),
        Ok(header)
    );
}

#[test]
fn the_tree_is_bao_s_at_every_number_of_blocks() {
    for blocks in 1..=64 {
        for len in [(blocks - 1) * BLOCK_LEN + 1, blocks * BLOCK_LEN] {
            compare(len);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_tree_is_bao_s_at_any_length(len in 1..=PIECE_LEN) {
        compare(len);
    }
}

#[test]
fn a_block_in_another_place_does_not_verify() {
    let fixture = fixture();
    let sealed = seal_blocks(
        &fixture.content_key.lane_key(DATA_LANE),
        &fixture.publisher,
        fixture.meta(0),
        vec![0; 4 * BLOCK_LEN],
    );
    let block = sealed
        .block(BlockIndex(1))
        .expect("the piece has four blocks");
    assert!(
        sealed
            .header()
            .verify(BlockIndex(1), block.bytes().clone())
            .is_ok()
    );
    assert!(
        sealed
            .header()
            .verify(BlockIndex(2), block.bytes().clone())
            .is_err()
    );
}
