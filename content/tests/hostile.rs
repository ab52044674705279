//! Bytes from anybody: nothing panics, and what comes out is within the limits. Seeded, so a failure replays.

mod common;

use baton_content::head::{HEAD_LEN_MAX, LANES_MAX, SLOTS_MAX};
use baton_content::header::{HEADER_LEN_MAX, SIGNED_CORE_LEN};
use baton_content::manifest::{ENTRIES_MAX, PATH_LEN_MAX};
use baton_content::path::is_clean;
use baton_content::{
    BlockIndex, ByteRange, DATA_LANE, Entry, Header, Link, Manifest, PieceIndex, SignedCore,
    SignedHead, Ticket, seal,
};
use common::{Random, fixture, plaintext};

const RUNS: usize = 4_000;

#[test]
fn hostile_heads_are_refused_or_within_limits() {
    let (fixture, mut random) = (fixture(), Random(1));
    let good = fixture.signed_head().bytes().to_vec();
    for run in 0..RUNS {
        let mut bytes = good.clone();
        // Every second one by a hostile publisher: changed first and signed then, so that the signature is no shield.
        if run % 2 == 0 {
            bytes.truncate(bytes.len() - 64);
            random.mutate(&mut bytes);
            bytes.extend(fixture.publisher.sign(&bytes));
        } else {
            random.mutate(&mut bytes);
        }
        let Ok(head) = SignedHead::parse(
            bytes.clone().into(),
            &fixture.publisher.id(),
            &fixture.swarm(),
        ) else {
            continue;
        };
        assert!(head.bytes().len() <= HEAD_LEN_MAX && head.bytes()[..] == bytes[..]);
        assert!(head.head().lanes.len() <= LANES_MAX && head.head().slots.len() <= SLOTS_MAX);
        assert_eq!(
            SignedHead::sign(head.head().clone(), &fixture.publisher),
            head,
            "one head, one way to write it"
        );
        let _ = head.head().content_key(&fixture.link.keys().link_slot);
    }
}

#[test]
fn hostile_headers_are_refused_or_within_limits() {
    let (fixture, mut random) = (fixture(), Random(2));
    let lane_key = fixture.content_key.lane_key(DATA_LANE);
    let mut sealed = plaintext(70_000);
    let good = seal(&lane_key, &fixture.publisher, fixture.meta(9), &mut sealed)
        .bytes()
        .to_vec();
    for run in 0..RUNS {
        let mut bytes = good.clone();
        random.mutate(&mut bytes);
        if run % 2 == 0 && bytes.len() >= SIGNED_CORE_LEN {
            let signature = fixture.publisher.sign(&bytes[..120]);
            bytes[120..SIGNED_CORE_LEN].copy_from_slice(&signature);
        }
        let core = bytes
            .get(..SIGNED_CORE_LEN)
            .map(|core| SignedCore::parse(core, &fixture.publisher.id(), &fixture.swarm()));
        let _ = SignedCore::parse(&bytes, &fixture.publisher.id(), &fixture.swarm());
        let Ok(header) = Header::parse(bytes.into(), &fixture.publisher.id(), &fixture.swarm())
        else {
            continue;
        };
        assert_eq!(
            core.expect("a header begins with a core")
                .expect("which holds")
                .core(),
            header.core()
        );
        assert!(header.bytes().len() <= HEADER_LEN_MAX && (1..=64).contains(&header.block_count()));
        for block in 0..=u8::MAX {
            let _ = header.verify(
                BlockIndex(block),
                sealed[..random.below(20_000)].to_vec().into(),
            );
        }
        lane_key.apply(
            header.core(),
            BlockIndex(0),
            &mut sealed.clone()[..header.len().min(70_000)],
        );
    }
}

#[test]
fn hostile_links_and_tickets_are_refused_or_read() {
    let (fixture, mut random) = (fixture(), Random(3));
    for good in [fixture.link.encode(), fixture.link.ticket().encode()] {
        for _ in 0..RUNS {
            let mut bytes = good.clone().into_bytes();
            random.mutate(&mut bytes);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            // What is read is read to the same text again, or it was the link itself in other words.
            if let Ok(link) = Link::parse(&text) {
                assert_eq!(Link::parse(&link.encode()), Ok(link));
            }
            if let Ok(ticket) = Ticket::parse(&text) {
                assert!(Ticket::parse(&ticket.encode()).is_ok());
            }
        }
    }
    assert!(Link::parse(&"A".repeat(100_000)).is_err());
    assert!(Link::parse(&"é".repeat(1_000)).is_err());
}

#[test]
fn hostile_manifests_are_refused_or_within_limits() {
    let mut random = Random(4);
    let mut entry = Entry::new("a/b.mp4", 9_000_000);
    entry.mime = Some("video/mp4".to_owned());
    entry.start = vec![ByteRange { offset: 1, len: 2 }];
    entry.blake3 = Some([3; 32]);
    let mut manifest = Manifest::file(entry);
    manifest
        .entries
        .extend((0..5).map(|number| Entry::new(&format!("{number}"), 1)));
    let good = manifest
        .to_pieces()
        .expect("the manifest is within its limits")
        .remove(0);
    let mut read = 0;
    for run in 0..20 * RUNS {
        let mut bytes = good.clone();
        if run % 2 == 0 {
            // Behind the part's header, with the right length: the record itself is hostile.
            let mut record = bytes.split_off(20);
            random.mutate(&mut record);
            bytes[16..20].copy_from_slice(&(record.len() as u32).to_le_bytes());
            bytes.extend(record);
        } else {
            random.mutate(&mut bytes);
        }
        let index = PieceIndex([0, 1, u32::MAX][random.below(3)]);
        let Ok(Some(manifest)) = Manifest::from_lane([(index, bytes.as_slice())]) else {
            continue;
        };
        read += 1;
        assert!(manifest.entries.len() <= ENTRIES_MAX);
        for entry in &manifest.entries {
            assert!(
                entry.path.len() <= PATH_LEN_MAX
                    && !entry.path.starts_with('/')
                    && entry.path.split('/').all(|part| part != "..")
            );
            assert!(
                entry
                    .start_blocks()
                    .take(100)
                    .all(|(piece, _)| entry.has_piece(piece))
            );
            assert!(
                entry
                    .pieces()
                    .last()
                    .is_none_or(|piece| entry.has_piece(piece))
            );
        }
        let places = manifest.places();
        assert!(places.iter().all(|place| is_clean(place)), "{places:?}");
    }
    assert!(
        read > RUNS,
        "most mutations of numbers and letters still read: {read}"
    );
}
