//! What heads promise.

mod common;

use baton_content::head::{LANES_MAX, SLOTS_MAX};
use baton_content::{
    Head, HeadError, KeySlot, Lane, LaneState, PIECES_PER_LANE_MAX, PublisherKey, SignedHead,
    SlotError, SlotKey, SwarmId,
};
use common::{Fixture, fixture};
use proptest::prelude::*;

fn parse(fixture: &Fixture, bytes: Vec<u8>) -> Result<SignedHead, HeadError> {
    SignedHead::parse(bytes.into(), &fixture.publisher.id(), &fixture.swarm())
}

/// The head with its signed part changed, signed anew: what a publisher without our limits could send.
fn tampered(fixture: &Fixture, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = fixture.signed_head().bytes().to_vec();
    bytes.truncate(bytes.len() - 64);
    change(&mut bytes);
    bytes.extend(fixture.publisher.sign(&bytes));
    bytes
}

#[test]
fn a_head_with_any_byte_changed_is_refused() {
    let fixture = fixture();
    let good = fixture.signed_head().bytes().to_vec();
    assert!(parse(&fixture, good.clone()).is_ok());
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 0x01;
        assert!(parse(&fixture, bad).is_err(), "byte {place}");
        assert!(
            parse(&fixture, good[..place].to_vec()).is_err(),
            "cut at {place}"
        );
    }
    assert!(parse(&fixture, [&good[..], &[0]].concat()).is_err());
}

#[test]
fn a_head_of_another_publisher_or_swarm_is_refused() {
    let fixture = fixture();
    let bytes = fixture.signed_head().bytes().clone();
    let stranger = PublisherKey::from_seed([1; 32]).id();
    assert_eq!(
        SignedHead::parse(bytes.clone(), &stranger, &fixture.swarm()),
        Err(HeadError::Signature)
    );
    assert_eq!(
        SignedHead::parse(bytes, &fixture.publisher.id(), &SwarmId([1; 32])),
        Err(HeadError::OtherSwarm)
    );
}

#[test]
fn a_head_has_one_way_to_be_written() {
    let fixture = fixture();
    let refused = |change: fn(&mut Vec<u8>)| {
        parse(&fixture, tampered(&fixture, change)).expect_err("this is refused")
    };
    assert!(parse(&fixture, tampered(&fixture, |_| {})).is_ok());
    assert_eq!(refused(|bytes| bytes[7] = b'2'), HeadError::UnknownFormat);
    assert_eq!(refused(|bytes| bytes[100] = 2), HeadError::Reserved);
    assert_eq!(
        refused(|bytes| bytes[100] = 1),
        HeadError::OpenAfterEnd { lane: Lane(0) }
    );
    assert_eq!(refused(|bytes| bytes[103] = 1), HeadError::Reserved);
    assert_eq!(refused(|bytes| bytes[106] = 2), HeadError::Reserved);
    assert_eq!(refused(|bytes| bytes[107] = 1), HeadError::Reserved);
    assert_eq!(refused(|bytes| bytes[104] = 1), HeadError::LaneOrder);
    assert_eq!(
        refused(|bytes| bytes[111] = 0x7F),
        HeadError::TooManyPieces { lane: Lane(0) }
    );
    assert_eq!(refused(|bytes| bytes.push(0)), HeadError::Length);
    assert_eq!(refused(|bytes| bytes[102] = 255), HeadError::Length);
    assert_eq!(
        refused(|bytes| bytes.extend([0; 10_000])),
        HeadError::TooLong
    );
    assert_eq!(
        refused(|bytes| {
            bytes[101] = 0;
            bytes[102] = 255;
            bytes.truncate(104);
            bytes.extend([0; 6 * 255])
        }),
        HeadError::TooManySlots
    );
}

#[test]
fn the_largest_head_is_within_the_limit() {
    let fixture = fixture();
    let head = Head {
        lanes: (0..LANES_MAX as u16)
            .map(|lane| LaneState {
                lane: Lane(lane),
                pieces: PIECES_PER_LANE_MAX,
                open: true,
            })
            .collect(),
        slots: vec![
            KeySlot {
                kind: 9,
                epoch: u32::MAX,
                payload: vec![1; 255]
            };
            SLOTS_MAX
        ],
        ..fixture.head()
    };
    let signed = SignedHead::sign(head.clone(), &fixture.publisher);
    assert_eq!(signed.bytes().len(), baton_content::head::HEAD_LEN_MAX);
    assert_eq!(
        parse(&fixture, signed.bytes().to_vec()).map(|read| read.head().clone()),
        Ok(head)
    );
}

#[test]
fn the_higher_revision_wins_and_names_the_one_before() {
    let fixture = fixture();
    let first = fixture.signed_head();
    let second = SignedHead::sign(first.next(), &fixture.publisher);
    assert!(second.supersedes(&first));
    assert!(!first.supersedes(&second));
    assert!(!first.supersedes(&first));
    assert_eq!(second.head().previous, first.hash());
    assert_eq!(second.head().revision, first.head().revision + 1);

    // Of two heads of one revision neither replaces the other: everybody keeps the one that came first.
    let other = SignedHead::sign(
        Head {
            expires_unix_s: 1,
            ..fixture.head()
        },
        &fixture.publisher,
    );
    assert!(!first.supersedes(&other) && !other.supersedes(&first));
}

#[test]
fn lanes_say_how_far_they_are() {
    let fixture = fixture();
    let head = fixture.head();
    assert_eq!(
        (
            head.pieces(Lane(0)),
            head.pieces(Lane(1)),
            head.pieces(Lane(2))
        ),
        (1, 4_000, 0)
    );
    assert_eq!(
        (
            head.is_open(Lane(0)),
            head.is_open(Lane(1)),
            head.is_open(Lane(2))
        ),
        (true, false, true)
    );
    assert!(!head.is_final());

    let mut ended = head.clone();
    ended.lanes[0].open = false;
    assert!(ended.is_final());
    ended.ended = true;
    assert!(!ended.is_open(Lane(2)));
    assert!(
        !Head {
            expires_unix_s: 0,
            ..head.clone()
        }
        .is_expired(u64::MAX)
    );
    assert!(head.is_expired(1_800_000_000) && !head.is_expired(1_799_999_999));
}

#[test]
fn the_content_key_comes_out_of_the_right_slot_only() {
    let fixture = fixture();
    let keys = fixture.link.keys();
    let mut head = fixture.head();
    assert_eq!(
        head.content_key(&keys.link_slot),
        Ok(fixture.content_key.clone())
    );
    assert_eq!(
        head.content_key(&SlotKey::from_bytes([0; 32])),
        Err(SlotError::WrongKey)
    );
    assert_eq!(
        head.content_key_of(&keys.link_slot, 4),
        Err(SlotError::NoSlot { epoch: 4 })
    );

    // A slot that is moved to another epoch does not open there.
    head.slots[0].epoch = 4;
    assert_eq!(
        head.content_key_of(&keys.link_slot, 4),
        Err(SlotError::WrongKey)
    );
    // A foreign slot before ours is in nobody's way.
    head.slots = vec![
        fixture
            .content_key
            .wrap(&SlotKey::from_bytes([1; 32]), 3, [0; 24]),
        fixture.head().slots[0].clone(),
    ];
    assert_eq!(head.content_key(&keys.link_slot), Ok(fixture.content_key));
    // Nor is one of a kind that is not known, or one that is too short.
    head.slots[0].kind = 200;
    assert!(head.content_key(&keys.link_slot).is_ok());
    head.slots[0] = KeySlot {
        kind: 1,
        epoch: 3,
        payload: vec![0; 7],
    };
    assert!(head.content_key(&keys.link_slot).is_ok());
}

/// A head read by the table of docs/protocol.md section 3, field by field, without any of the crate's reader.
fn naive_read(bytes: &[u8]) -> Option<Head> {
    let number = |at: usize, len: usize| -> Option<u64> {
        let bytes = bytes.get(at..at + len)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        )
    };
    let hash = |at: usize| -> Option<[u8; 32]> { bytes.get(at..at + 32)?.try_into().ok() };
    let flag = |at: usize| match number(at, 1)? {
        byte @ 0..=1 => Some(byte == 1),
        _ => None,
    };
    if bytes.get(..8)? != b"batonhd1" || number(103, 1)? != 0 {
        return None;
    }
    let (ended, lane_count, slot_count) = (flag(100)?, number(101, 1)?, number(102, 1)?);
    let mut at = 104;
    let mut lanes: Vec<LaneState> = Vec::new();
    for _ in 0..lane_count {
        let state = LaneState {
            lane: Lane(number(at, 2)? as u16),
            open: flag(at + 2)?,
            pieces: number(at + 4, 4)? as u32,
        };
        let in_order = lanes.last().is_none_or(|last| last.lane < state.lane);
        if number(at + 3, 1)? != 0 || !in_order || state.pieces > 1 << 24 || ended && state.open {
            return None;
        }
        lanes.push(state);
        at += 8;
    }
    let mut slots = Vec::new();
    for _ in 0..slot_count {
        let len = number(at + 1, 1)? as usize;
        slots.push(KeySlot {
            kind: number(at, 1)? as u8,
            epoch: number(at + 2, 4)? as u32,
            payload: bytes.get(at + 6..at + 6 + len)?.to_vec(),
        });
        at += 6 + len;
    }
    (at == bytes.len() && lanes.len() <= 64 && slots.len() <= 32).then_some(Head {
        revision: number(8, 8)?,
        previous: hash(16)?,
        swarm: SwarmId(hash(48)?),
        expires_unix_s: number(80, 8)?,
        clock_unix_ms: number(88, 8)?,
        epoch: number(96, 4)? as u32,
        lanes,
        ended,
        slots,
    })
}

fn any_head(swarm: SwarmId) -> impl Strategy<Value = Head> {
    let lanes =
        proptest::collection::btree_map(any::<u16>(), (0u32..=1 << 24, any::<bool>()), 0..=64);
    let slot = (
        any::<u8>(),
        any::<u32>(),
        proptest::collection::vec(any::<u8>(), 0..=255),
    );
    let slots = proptest::collection::vec(slot, 0..=32);
    let numbers = (
        any::<u64>(),
        any::<[u8; 32]>(),
        any::<u64>(),
        any::<u64>(),
        any::<u32>(),
    );
    (numbers, lanes, any::<bool>(), slots).prop_map(move |(numbers, lanes, ended, slots)| {
        let (revision, previous, expires_unix_s, clock_unix_ms, epoch) = numbers;
        let lane = |(lane, (pieces, open))| LaneState {
            lane: Lane(lane),
            pieces,
            open: open && !ended,
        };
        let slot = |(kind, epoch, payload)| KeySlot {
            kind,
            epoch,
            payload,
        };
        Head {
            swarm,
            revision,
            previous,
            lanes: lanes.into_iter().map(lane).collect(),
            ended,
            expires_unix_s,
            clock_unix_ms,
            epoch,
            slots: slots.into_iter().map(slot).collect(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_head_is_written_as_the_document_says(head in any_head(fixture().swarm())) {
        let fixture = fixture();
        let signed = SignedHead::sign(head.clone(), &fixture.publisher);
        let bytes = signed.bytes();
        prop_assert_eq!(naive_read(&bytes[..bytes.len() - 64]), Some(head));
        prop_assert_eq!(parse(&fixture, bytes.to_vec()), Ok(signed));
    }

    /// Bytes that a publisher signed are a head for us exactly when they are one by the document.
    #[test]
    fn whatever_a_publisher_signs_is_read_as_the_document_says(
        head in any_head(fixture().swarm()),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        near_the_counts in proptest::option::of((96usize..112, 0u8..4)),
        cut in 0usize..3,
    ) {
        let fixture = fixture();
        let mut bytes = SignedHead::sign(head, &fixture.publisher).bytes().to_vec();
        bytes.truncate(bytes.len() - 64);
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Some((place, value)) = near_the_counts && place < bytes.len() {
            bytes[place] = value;
        }
        bytes.truncate(bytes.len() - cut);
        // Another swarm's head is whole, but not for us.
        let expected = naive_read(&bytes).filter(|head| head.swarm == fixture.swarm());
        bytes.extend(fixture.publisher.sign(&bytes));
        prop_assert_eq!(parse(&fixture, bytes).ok().map(|signed| signed.head().clone()), expected);
    }
}
