//! A film with real keys, headers and seals. Sealed once, shared by all worlds of a test.

use baton_content::{
    ContentKey, Head, Lane, LaneState, Mask, PIECE_LEN, PieceFlags, PieceId, PieceMeta,
    PublisherKey, Sealed, SignedHead, SwarmId, SwarmKey, VerifiedBlock, seal_blocks,
};
use std::collections::BTreeMap;

pub struct Film {
    pub publisher: PublisherKey,
    pub swarm: SwarmId,
    pub head: SignedHead,
    pieces: BTreeMap<PieceId, Sealed>,
    plain: BTreeMap<PieceId, Vec<u8>>,
    /// Of lane 1.
    pub len: usize,
    pub key: ContentKey,
    start_blocks: usize,
}

impl Film {
    /// A film of `len` bytes in lane 1 and a small manifest in lane 0, which stays open.
    pub fn new(len: usize) -> Film {
        let publisher = PublisherKey::from_seed([1; 32]);
        let swarm = SwarmKey::from_seed([2; 32]).id();
        let pieces = len.div_ceil(PIECE_LEN) as u32;
        let lanes = vec![
            LaneState {
                lane: Lane(0),
                pieces: 1,
                open: true,
            },
            LaneState {
                lane: Lane(1),
                pieces,
                open: false,
            },
        ];
        let head = Head {
            lanes,
            ..Head::new(swarm)
        };
        let head = SignedHead::sign(head, &publisher);
        let key = ContentKey::from_random([3; 32]);
        let mut film = Film {
            publisher,
            swarm,
            head,
            pieces: BTreeMap::new(),
            plain: BTreeMap::new(),
            len,
            key,
            start_blocks: 8,
        };
        film.add(PieceId::new(Lane(0), 0), noise(1, 700));
        for index in 0..pieces {
            let piece_len = (len - index as usize * PIECE_LEN).min(PIECE_LEN);
            film.add(
                PieceId::new(Lane(1), index),
                noise(u64::from(index) + 10, piece_len),
            );
        }
        film
    }

    fn add(&mut self, piece: PieceId, plain: Vec<u8>) {
        let meta = self.meta(piece);
        let sealed = seal_blocks(
            &self.key.lane_key(piece.lane),
            &self.publisher,
            meta,
            plain.clone(),
        );
        self.pieces.insert(piece, sealed);
        self.plain.insert(piece, plain);
    }

    fn meta(&self, piece: PieceId) -> PieceMeta {
        PieceMeta {
            swarm: self.swarm,
            epoch: 0,
            lane: piece.lane,
            index: piece.index,
            flags: PieceFlags::NONE,
            media_time_us: 0,
        }
    }

    /// The manifest's next version: the head after it, with one more piece in lane 0.
    pub fn with_second_manifest(mut self) -> (Film, SignedHead) {
        let first = self.head.clone();
        self.add(PieceId::new(Lane(0), 1), noise(2, 900));
        let mut next = first.next();
        next.lanes[0].pieces = 2;
        let next = SignedHead::sign(next, &self.publisher);
        (self, next)
    }

    /// The same with so many pieces in lane 0, all but the first as long as pieces are.
    pub fn with_long_manifest(mut self, pieces: u32) -> Film {
        for index in 1..pieces {
            let plain = noise(1000 + u64::from(index), PIECE_LEN);
            self.add(PieceId::new(Lane(0), index), plain);
        }
        let mut head = self.head.head().clone();
        head.lanes[0].pieces = pieces;
        self.head = SignedHead::sign(head, &self.publisher);
        self
    }

    /// Another piece under an index that is taken: what a dishonest publisher makes.
    pub fn second_truth(&self, piece: PieceId) -> Sealed {
        let len = self.plain[&piece].len();
        seal_blocks(
            &self.key.lane_key(piece.lane),
            &self.publisher,
            self.meta(piece),
            noise(99, len),
        )
    }

    pub fn sealed(&self, piece: PieceId) -> &Sealed {
        &self.pieces[&piece]
    }

    pub fn piece_ids(&self, lane: u16) -> Vec<PieceId> {
        self.pieces
            .keys()
            .copied()
            .filter(|piece| piece.lane.0 == lane)
            .collect()
    }

    /// All bytes that are shared.
    pub fn bytes(&self) -> usize {
        self.plain.values().map(Vec::len).sum()
    }

    /// The first 128 KiB: index and first picture.
    pub fn start_set(&self) -> Vec<(PieceId, Mask)> {
        vec![(PieceId::new(Lane(1), 0), Mask::first_n(self.start_blocks))]
    }

    pub fn start_bytes(&self) -> u64 {
        (self.start_blocks * baton_content::BLOCK_LEN).min(self.len) as u64
    }

    /// What is delivered opens to what was shared.
    pub fn check(&self, block: &VerifiedBlock) {
        let mut bytes = block.bytes().to_vec();
        self.key.lane_key(block.piece().lane).apply(
            block.header().core(),
            block.block(),
            &mut bytes,
        );
        let at = usize::from(block.block().0) * baton_content::BLOCK_LEN;
        assert_eq!(
            bytes[..],
            self.plain[&block.piece()][at..at + bytes.len()],
            "delivered bytes are the film's"
        );
    }
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
