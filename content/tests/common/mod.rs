//! One small stream that the tests share.
#![allow(dead_code, reason = "each test file uses its part")]

use baton_content::{
    ContentKey, DATA_LANE, Head, Lane, LaneState, Link, PieceFlags, PieceIndex, PieceMeta,
    PublisherKey, Secret, SignedHead, SwarmId,
};

pub struct Fixture {
    pub publisher: PublisherKey,
    pub link: Link,
    pub content_key: ContentKey,
}

pub fn fixture() -> Fixture {
    let publisher = PublisherKey::from_seed(counting(0x10));
    let mut link = Link::new(publisher.id(), Secret(counting(0x80)));
    link.add_server("https://second.example:8443")
        .expect("this is an origin");
    Fixture {
        publisher,
        link,
        content_key: ContentKey::from_random(counting(0x40)),
    }
}

impl Fixture {
    pub fn swarm(&self) -> SwarmId {
        self.link.keys().swarm.id()
    }

    pub fn meta(&self, index: u32) -> PieceMeta {
        PieceMeta {
            swarm: self.swarm(),
            epoch: 3,
            lane: DATA_LANE,
            index: PieceIndex(index),
            flags: PieceFlags::RANDOM_ACCESS,
            media_time_us: -1_500_000,
        }
    }

    pub fn head(&self) -> Head {
        Head {
            revision: 7,
            previous: [0xAA; 32],
            lanes: vec![
                LaneState {
                    lane: Lane(0),
                    pieces: 1,
                    open: true,
                },
                LaneState {
                    lane: DATA_LANE,
                    pieces: 4_000,
                    open: false,
                },
            ],
            expires_unix_s: 1_800_000_000,
            clock_unix_ms: 1_795_000_000_123,
            epoch: 3,
            slots: vec![
                self.content_key
                    .wrap(&self.link.keys().link_slot, 3, counting(0xC0)),
            ],
            ..Head::new(self.swarm())
        }
    }

    pub fn signed_head(&self) -> SignedHead {
        SignedHead::sign(self.head(), &self.publisher)
    }
}

/// `first, first + 1, ...`
pub fn counting<const N: usize>(first: u8) -> [u8; N] {
    core::array::from_fn(|place| first.wrapping_add(place as u8))
}

/// Bytes that repeat only after 251, so that no two blocks are the same.
pub fn plaintext(len: usize) -> Vec<u8> {
    (0..len).map(|place| (place % 251) as u8).collect()
}

pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// xorshift64*, seeded: mutation tests replay.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end.max(1)
    }

    /// Flips, overwrites, cuts, doubles or inserts somewhere.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let place = self.below(bytes.len());
            match self.below(6) {
                0 if !bytes.is_empty() => bytes[place] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[place] = self.next() as u8,
                2 => bytes.truncate(place),
                3 => bytes.insert(place, self.next() as u8),
                4 if !bytes.is_empty() => bytes[place] = [0, 1, 0x7F, 0x80, 0xFF][self.below(5)],
                5 => {
                    let end = place + self.below(bytes.len() - place + 1);
                    bytes.extend_from_within(place..end);
                }
                _ => {}
            }
        }
    }
}
