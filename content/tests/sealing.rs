//! What sealing and verifying promise.

mod common;

use baton_content::{
    BLOCK_LEN, BlockError, BlockIndex, ContentKey, DATA_LANE, Header, HeaderError, Lane, Mask,
    PIECE_LEN, PieceFlags, PieceIndex, PublisherKey, Sealed, SignedCore, fraud_proof, seal,
    seal_blocks,
};
use bytes::Bytes;
use common::{Fixture, fixture, plaintext};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn seal_at(fixture: &Fixture, index: u32, bytes: &[u8]) -> (Header, Vec<u8>) {
    let mut sealed = bytes.to_vec();
    let lane_key = fixture.content_key.lane_key(DATA_LANE);
    let header = seal(
        &lane_key,
        &fixture.publisher,
        fixture.meta(index),
        &mut sealed,
    );
    (header, sealed)
}

fn open(fixture: &Fixture, header: &Header, sealed: &[u8]) -> Vec<u8> {
    let mut opened = sealed.to_vec();
    fixture.content_key.lane_key(header.core().lane).apply(
        header.core(),
        BlockIndex(0),
        &mut opened,
    );
    opened
}

fn sample_fixture() -> (Fixture, Header, Vec<u8>) {
    let fixture = fixture();
    let (header, sealed) = seal_at(&fixture, 7, &plaintext(3 * BLOCK_LEN + 500));
    (fixture, header, sealed)
}

#[test]
fn the_same_file_shared_twice_under_one_key_gives_the_same_headers() {
    let file = plaintext(2 * PIECE_LEN + 12_345);
    let share = || {
        let fixture = fixture();
        let pieces = file.chunks(PIECE_LEN).zip(0..);
        pieces
            .map(|(bytes, index)| seal_at(&fixture, index, bytes))
            .collect::<Vec<_>>()
    };
    assert_eq!(share(), share());
}

#[test]
fn a_changed_file_never_reuses_a_nonce() {
    let fixture = fixture();
    let mut nonces = BTreeSet::new();
    let mut file = plaintext(40_000);
    for place in (0..file.len()).step_by(997) {
        file[place] ^= 1;
        let (header, _) = seal_at(&fixture, 0, &file);
        assert!(
            nonces.insert(header.core().nonce),
            "a nonce came twice after byte {place} changed"
        );
    }
    let (shorter, _) = seal_at(&fixture, 0, &file[..39_999]);
    assert!(nonces.insert(shorter.core().nonce));
}

#[test]
fn the_same_bytes_elsewhere_look_different() {
    let fixture = fixture();
    let bytes = plaintext(BLOCK_LEN);
    let other_lane = seal_in_lane(&fixture, Lane(2), &bytes);
    let other_key = Fixture {
        content_key: ContentKey::from_random([9; 32]),
        ..common::fixture()
    };
    let sealed = [
        seal_at(&fixture, 0, &bytes).1,
        seal_at(&fixture, 1, &bytes).1,
        other_lane,
        seal_at(&other_key, 0, &bytes).1,
        bytes,
    ];
    let different: BTreeSet<_> = sealed.iter().map(|sealed| &sealed[..64]).collect();
    assert_eq!(different.len(), sealed.len());
}

fn seal_in_lane(fixture: &Fixture, lane: Lane, bytes: &[u8]) -> Vec<u8> {
    let mut sealed = bytes.to_vec();
    let meta = baton_content::PieceMeta {
        lane,
        ..fixture.meta(0)
    };
    seal(
        &fixture.content_key.lane_key(lane),
        &fixture.publisher,
        meta,
        &mut sealed,
    );
    sealed
}

#[test]
fn fresh_blocks_are_those_that_verify() {
    let fixture = fixture();
    let file = plaintext(5 * BLOCK_LEN + 1);
    let sealed = seal_blocks(
        &fixture.content_key.lane_key(DATA_LANE),
        &fixture.publisher,
        fixture.meta(7),
        file.clone(),
    );
    let (header, bytes) = seal_at(&fixture, 7, &file);
    assert_eq!(
        (sealed.header(), &sealed.bytes()[..]),
        (&header, &bytes[..])
    );
    assert_eq!(sealed.blocks().count(), 6);
    for block in sealed.blocks() {
        let verified = header
            .verify(block.block(), block.bytes().clone())
            .expect("a fresh block is a good one");
        assert_eq!(
            (verified.piece(), verified.block()),
            (block.piece(), block.block())
        );
    }
    assert!(sealed.block(BlockIndex(6)).is_none());
    assert!(sealed.block(BlockIndex(255)).is_none());
}

#[test]
fn a_piece_sealed_again_is_what_was_signed_and_a_changed_one_is_refused() {
    let (fixture, plain) = (fixture(), plaintext(3 * BLOCK_LEN + 17));
    let key = fixture.content_key.lane_key(DATA_LANE);
    let (header, sealed) = seal_at(&fixture, 4, &plain);
    let again = Sealed::again(&key, header.clone(), plain.clone()).unwrap();
    assert_eq!(again.bytes(), &sealed);

    let mut changed = plain.clone();
    changed[2 * BLOCK_LEN] ^= 1;
    let refused = Sealed::again(&key, header.clone(), changed);
    assert!(
        matches!(refused, Err(BlockError::Hash { block, .. }) if block == BlockIndex(2)),
        "{refused:?}"
    );
    let short = plain[..plain.len() - 1].to_vec();
    let refused = Sealed::again(&key, header, short);
    assert!(matches!(refused, Err(BlockError::Length { .. })));
}

#[test]
fn a_block_with_any_bit_changed_is_refused_and_the_error_says_where() {
    let (_, header, sealed) = sample_fixture();
    let block = BlockIndex(1);
    let good = &sealed[BLOCK_LEN..2 * BLOCK_LEN];
    assert!(header.verify(block, Bytes::copy_from_slice(good)).is_ok());
    for place in (0..BLOCK_LEN).step_by(331) {
        let mut bad = good.to_vec();
        bad[place] ^= 1 << (place % 8);
        let error = header
            .verify(block, bad.into())
            .expect_err("a changed block is refused");
        assert_eq!(
            error,
            BlockError::Hash {
                piece: header.id(),
                block
            }
        );
    }
}

#[test]
fn a_block_of_wrong_length_or_beyond_the_piece_is_refused() {
    let (_, header, sealed) = sample_fixture();
    let piece = header.id();
    let verify = |block, range: std::ops::Range<usize>| {
        header
            .verify(BlockIndex(block), Bytes::copy_from_slice(&sealed[range]))
            .map(|_| ())
    };
    let last = 3 * BLOCK_LEN;
    assert_eq!(verify(3, last..last + 500), Ok(()));
    assert_eq!(
        verify(3, last..last + 499),
        Err(BlockError::Length {
            piece,
            block: BlockIndex(3),
            expected: 500,
            got: 499
        })
    );
    assert_eq!(
        verify(0, 0..0),
        Err(BlockError::Length {
            piece,
            block: BlockIndex(0),
            expected: BLOCK_LEN,
            got: 0
        })
    );
    for block in [4, 63, 64, 255] {
        assert_eq!(
            verify(block, 0..BLOCK_LEN),
            Err(BlockError::NoSuchBlock {
                piece,
                block: BlockIndex(block)
            })
        );
    }
}

#[test]
fn a_header_with_any_byte_changed_is_refused() {
    let (fixture, header, _) = sample_fixture();
    for place in 0..header.bytes().len() {
        let mut bad = header.bytes().to_vec();
        bad[place] ^= 0x04;
        let result = Header::parse(bad.into(), &fixture.publisher.id(), &fixture.swarm());
        assert!(result.is_err(), "byte {place} of the header may be changed");
    }
}

#[test]
fn a_header_of_another_publisher_or_swarm_is_refused() {
    let (fixture, header, _) = sample_fixture();
    let (publisher, swarm) = (fixture.publisher.id(), fixture.swarm());
    let parse =
        |publisher, swarm| Header::parse(header.bytes().clone(), publisher, swarm).map(|_| ());
    let stranger = PublisherKey::from_seed([1; 32]).id();
    assert_eq!(parse(&publisher, &swarm), Ok(()));
    assert_eq!(
        parse(&stranger, &swarm),
        Err(HeaderError::Signature { piece: header.id() })
    );
    assert_eq!(
        parse(&publisher, &baton_content::SwarmId([1; 32])),
        Err(HeaderError::OtherSwarm { piece: header.id() })
    );
    // No point of the curve, and the one of order 1, sign nothing.
    assert!(parse(&baton_content::PublisherId([0xFF; 32]), &swarm).is_err());
    let mut identity = [0; 32];
    identity[0] = 1;
    assert!(parse(&baton_content::PublisherId(identity), &swarm).is_err());
}

#[test]
fn two_cores_for_one_place_prove_fraud_and_nothing_else_does() {
    let fixture = fixture();
    let (one, _) = seal_at(&fixture, 7, b"what the publisher told Ann");
    let (other, _) = seal_at(&fixture, 7, b"what the publisher told Bob");
    let (next, _) = seal_at(&fixture, 8, b"what the publisher told Ann");
    let core = |header: &Header| {
        SignedCore::parse(
            &header.core_bytes(),
            &fixture.publisher.id(),
            &fixture.swarm(),
        )
        .expect("core and signature stand alone")
    };
    assert_eq!(fraud_proof(&core(&one), &core(&other)), Some(one.id()));
    assert_eq!(fraud_proof(&core(&one), &core(&one)), None);
    assert_eq!(fraud_proof(&core(&one), &core(&next)), None);
    assert_ne!(one.root8(), other.root8());

    let mut forged = other.core_bytes().to_vec();
    forged[20] ^= 1;
    assert!(SignedCore::parse(&forged, &fixture.publisher.id(), &fixture.swarm()).is_err());
}

#[test]
fn what_is_kept_of_a_header_gives_all_of_it_again_from_the_bytes_and_from_nothing_else() {
    let fixture = fixture();
    let key = fixture.content_key.lane_key(DATA_LANE);
    for len in [1, BLOCK_LEN, BLOCK_LEN + 1, PIECE_LEN] {
        let plain: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        let (header, sealed) = seal_at(&fixture, 3, &plain);
        let core = header.signed_core();
        assert_eq!(&core.to_bytes()[..], &header.core_bytes()[..]);
        let again = Sealed::again_by_core(&key, &core, plain.clone()).expect("the same bytes");
        assert_eq!(again.header(), &header);
        assert_eq!(again.bytes(), &sealed);
        let mut changed = plain.clone();
        changed[len - 1] ^= 1;
        assert!(Sealed::again_by_core(&key, &core, changed).is_none());
        assert!(Sealed::again_by_core(&key, &core, plain[1..].to_vec()).is_none());
        let read = Header::parse_marked(header.bytes().clone(), &header.mark());
        assert_eq!(read.as_ref(), Some(&header));
        for at in [0, 20, 119, 183, header.bytes().len() - 1] {
            let mut bytes = header.bytes().to_vec();
            bytes[at] ^= 1;
            assert_eq!(Header::parse_marked(bytes.into(), &header.mark()), None);
        }
    }
}

#[test]
fn flags_and_media_time_are_signed_as_given() {
    let fixture = fixture();
    let meta = baton_content::PieceMeta {
        flags: PieceFlags::FRAGMENT_START.or(PieceFlags(0x8000)),
        media_time_us: i64::MIN,
        index: PieceIndex(baton_content::PIECES_PER_LANE_MAX - 1),
        ..fixture.meta(0)
    };
    let header = seal(
        &fixture.content_key.lane_key(DATA_LANE),
        &fixture.publisher,
        meta,
        &mut [1, 2, 3],
    );
    let read = Header::parse(
        header.bytes().clone(),
        &fixture.publisher.id(),
        &fixture.swarm(),
    )
    .expect("a sealed header parses");
    assert_eq!(read.core().media_time_us, i64::MIN);
    assert!(read.core().flags.contains(PieceFlags::FRAGMENT_START));
    assert!(!read.core().flags.contains(PieceFlags::RANDOM_ACCESS));
    assert_eq!(read.core().flags.0, 0x8001);
}

#[test]
#[should_panic(expected = "1 byte to 1 MiB")]
fn an_empty_piece_is_the_caller_s_mistake() {
    let fixture = fixture();
    seal_at(&fixture, 0, &[]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_sealed_opens_in_any_order_and_cut(len in 1..=5 * BLOCK_LEN, from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let fixture = fixture();
        let file = plaintext(len);
        let (header, sealed) = seal_at(&fixture, 3, &file);
        prop_assert_eq!(&open(&fixture, &header, &sealed), &file);

        let (a, b) = (from.index(len), to.index(len));
        let cut = a.min(b)..a.max(b) + 1;
        let mut opened = sealed[cut.clone()].to_vec();
        fixture.content_key.lane_key(DATA_LANE).apply_at(header.core(), cut.start, &mut opened);
        prop_assert_eq!(&opened, &file[cut]);
    }

    #[test]
    fn each_block_seals_again_to_what_was_signed(len in 1..=5 * BLOCK_LEN) {
        let fixture = fixture();
        let file = plaintext(len);
        let (header, _) = seal_at(&fixture, 3, &file);
        for (block, bytes) in header.full_mask().iter().zip(file.chunks(BLOCK_LEN)) {
            let mut again = bytes.to_vec();
            fixture.content_key.lane_key(DATA_LANE).apply(header.core(), block, &mut again);
            prop_assert!(header.verify(block, again.into()).is_ok());
        }
    }

    #[test]
    fn block_lengths_add_up_to_the_piece(len in 1..=PIECE_LEN) {
        let fixture = fixture();
        let (header, _) = seal_at(&fixture, 0, &vec![0; len]);
        let sum: usize = header.full_mask().iter().map(|block| header.block_len(block)).sum();
        prop_assert_eq!((sum, header.len()), (len, len));
        prop_assert_eq!(header.full_mask().count(), header.block_count());
        prop_assert_eq!(header.block_len(BlockIndex(header.block_count() as u8)), 0);
        prop_assert!(Mask(u64::MAX).contains_all(header.full_mask()));
    }
}
