//! What heads promise.

mod common;

use baton_content::head::{LANES_MAX, SLOTS_MAX};
use baton_content::{
    Head, HeadError, KeySlot, Lane, LaneState, PIECES_PER_LANE_MAX, PublisherKey, SignedHead,
    SlotError, SlotKey, SwarmId,
};
use common::{Fixture, fixture};

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

    let other = SignedHead::sign(
        Head {
            expires_unix_s: 1,
            ..fixture.head()
        },
        &fixture.publisher,
    );
    assert!(first.contradicts(&other));
    assert!(!first.contradicts(&first.clone()));
    assert!(!first.contradicts(&second));
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
