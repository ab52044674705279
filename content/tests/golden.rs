//! The bytes of docs/protocol.md, fixed: golden/vectors.txt was made once by this code, read by a second
//! implementation (playwright/node/second_opinion.test.mjs), and does not change. A difference here breaks every link there is.

mod common;

use baton_content::{
    BlockIndex, DATA_LANE, Entry, Header, Lane, Link, MANIFEST_LANE, Manifest, SignedHead, Ticket,
    seal,
};
use bytes::Bytes;
use common::{counting, fixture, hex, plaintext};
use std::fmt::Write;

const VECTORS: &str = include_str!("golden/vectors.txt");

fn vector(name: &str) -> &'static str {
    let line = VECTORS
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no vector is named {name}"))
}

fn vector_bytes(name: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| {
        u8::from_str_radix(std::str::from_utf8(pair).expect("hex is ASCII"), 16)
            .expect("vectors are hex")
    };
    vector(name).as_bytes().chunks(2).map(byte).collect()
}

#[test]
fn every_byte_is_as_it_was_fixed() {
    let now = all_vectors();
    for (then, now) in VECTORS.lines().zip(now.lines()) {
        assert_eq!(then, now, "a format changed");
    }
    assert_eq!(
        VECTORS, now,
        "a vector came or went; all of them now:\n{now}"
    );
}

fn all_vectors() -> String {
    let mut text = String::new();
    let mut add = |name: &str, value: String| {
        writeln!(text, "{name} {value}").expect("writing to memory does not fail")
    };
    let fixture = fixture();
    let keys = fixture.link.keys();
    let lane_key = fixture.content_key.lane_key(DATA_LANE);

    add("publisher_seed", hex(fixture.publisher.seed()));
    add("publisher", hex(fixture.publisher.id().0));
    add("secret", hex(fixture.link.secret.0));
    add("link", fixture.link.encode());
    add(
        "link_without_servers",
        Link::new(fixture.link.publisher, fixture.link.secret).encode(),
    );
    add("swarm_seed", hex(keys.swarm.seed()));
    add("swarm", hex(keys.swarm.id().0));
    add("signalling", hex(keys.signalling));
    add("link_slot", hex(keys.link_slot.as_bytes()));
    add("ticket", fixture.link.ticket().encode());
    add("content_key", hex(fixture.content_key.as_bytes()));
    add("slot_payload", hex(&fixture.head().slots[0].payload));
    add("head", hex(fixture.signed_head().bytes()));
    add("head_hash", hex(fixture.signed_head().hash()));
    for (name, index, len) in [
        ("one_byte", 0, 1),
        ("short", 1, 100),
        ("one_block", 2, 16_384),
        ("two_blocks", 3, 16_385),
        ("three_blocks", 4, 40_000),
        ("full", 5, 1 << 20),
    ] {
        let mut bytes = plaintext(len);
        let header = seal(
            &lane_key,
            &fixture.publisher,
            fixture.meta(index),
            &mut bytes,
        );
        add(&format!("header_{name}"), hex(header.bytes()));
        if len <= 100 {
            add(&format!("sealed_{name}"), hex(&bytes));
        }
    }
    add(
        "manifest_piece",
        hex(&manifest()
            .to_pieces()
            .expect("the manifest is within its limits")[0]),
    );
    text
}

fn manifest() -> Manifest {
    let mut entry = Entry::new("holiday/film.mp4", 3_000_000);
    entry.mime = Some("video/mp4".to_owned());
    entry.start = vec![
        baton_content::ByteRange {
            offset: 0,
            len: 4096,
        },
        baton_content::ByteRange {
            offset: 2_900_000,
            len: 100_000,
        },
    ];
    entry.duration_us = Some(30_000_000);
    entry.blake3 = Some(counting(1));
    Manifest::file(entry)
}

#[test]
fn the_golden_link_and_ticket_read_as_what_they_were_made_of() {
    let fixture = fixture();
    assert_eq!(Link::parse(vector("link")), Ok(fixture.link.clone()));
    assert_eq!(fixture.link.servers(), ["https://second.example:8443"]);
    let ticket = Ticket::parse(vector("ticket")).expect("the golden ticket is good");
    assert_eq!(ticket.publisher, fixture.publisher.id());
    assert_eq!(ticket.swarm.id(), fixture.swarm());
    assert_eq!(ticket.signalling, fixture.link.keys().signalling);
    assert_eq!(ticket.servers(), fixture.link.servers());
    assert_eq!(ticket.encode(), vector("ticket"));
}

#[test]
fn the_golden_head_reads_as_what_it_was_made_of_and_yields_the_content_key() {
    let fixture = fixture();
    let head = SignedHead::parse(
        vector_bytes("head").into(),
        &fixture.publisher.id(),
        &fixture.swarm(),
    )
    .expect("the golden head is good");
    assert_eq!(*head.head(), fixture.head());
    assert_eq!(
        head.head().content_key(&fixture.link.keys().link_slot),
        Ok(fixture.content_key)
    );
}

#[test]
fn the_golden_pieces_verify_and_open() {
    let fixture = fixture();
    for (name, len) in [("one_byte", 1), ("short", 100)] {
        let header = vector_bytes(&format!("header_{name}"));
        let header = Header::parse(header.into(), &fixture.publisher.id(), &fixture.swarm())
            .expect("the golden header is good");
        let sealed = Bytes::from(vector_bytes(&format!("sealed_{name}")));
        let block = header
            .verify(BlockIndex(0), sealed)
            .expect("the golden block is good");
        let mut opened = block.bytes().to_vec();
        fixture
            .content_key
            .lane_key(Lane(1))
            .apply(header.core(), BlockIndex(0), &mut opened);
        assert_eq!(opened, plaintext(len));
    }
}

#[test]
fn the_golden_manifest_reads_as_what_it_was_made_of() {
    let piece = vector_bytes("manifest_piece");
    let read = Manifest::from_lane([(baton_content::PieceIndex(0), piece.as_slice())]);
    assert_eq!(read, Ok(Some(manifest())));
    assert_eq!(MANIFEST_LANE, Lane(0));
}
