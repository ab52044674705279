//! The stream that is simulated: real keys, headers and seals, made once and shared by all peers of a world.

use baton_content::{
    BLOCK_LEN, BlockIndex, ContentKey, Head, Lane, LaneState, Mask, PIECE_LEN, PieceFlags, PieceId,
    PieceMeta, PublisherKey, Sealed, SignedHead, SwarmId, SwarmKey, VerifiedBlock, seal_blocks,
};

/// Blocks of a piece.
pub const BLOCKS: u64 = (PIECE_LEN / BLOCK_LEN) as u64;

/// A film in lane 1 and a small manifest in lane 0.
///
/// Stores hold masks instead of bytes: what was verified is the same bytes everywhere, so everybody's store is this one.
pub struct Film {
    pub publisher: PublisherKey,
    pub swarm: SwarmId,
    pub head: SignedHead,
    manifest: Sealed,
    pieces: Vec<Sealed>,
    /// Bytes of lane 1.
    pub len: u64,
    pub bytes_per_second: u64,
}

impl Film {
    pub fn new(seconds: u64, bytes_per_second: u64) -> Film {
        let len = seconds * bytes_per_second;
        let publisher = PublisherKey::from_seed([1; 32]);
        let swarm = SwarmKey::from_seed([2; 32]).id();
        let count = len.div_ceil(PIECE_LEN as u64) as u32;
        let closed = |lane, pieces| LaneState {
            lane: Lane(lane),
            pieces,
            open: lane == 0,
        };
        let head = Head {
            lanes: vec![closed(0, 1), closed(1, count)],
            ..Head::new(swarm)
        };
        let head = SignedHead::sign(head, &publisher);
        let key = ContentKey::from_random([3; 32]);
        let seal = |piece: PieceId, bytes: usize| {
            let meta = PieceMeta {
                swarm,
                epoch: 0,
                lane: piece.lane,
                index: piece.index,
                flags: PieceFlags::NONE,
                media_time_us: 0,
            };
            // Zeros: sealed they are as good as any film.
            seal_blocks(&key.lane_key(piece.lane), &publisher, meta, vec![0; bytes])
        };
        let piece_len =
            |index: u32| (len - u64::from(index) * PIECE_LEN as u64).min(PIECE_LEN as u64) as usize;
        let manifest = seal(PieceId::new(Lane(0), 0), 700);
        let pieces = (0..count)
            .map(|index| seal(PieceId::new(Lane(1), index), piece_len(index)))
            .collect();
        Film {
            publisher,
            swarm,
            head,
            manifest,
            pieces,
            len,
            bytes_per_second,
        }
    }

    pub fn piece_count(&self) -> usize {
        self.pieces.len()
    }

    /// Blocks of lane 1.
    pub fn block_count(&self) -> u64 {
        self.len.div_ceil(BLOCK_LEN as u64)
    }

    pub fn sealed(&self, piece: PieceId) -> &Sealed {
        if piece.lane.0 == 0 {
            &self.manifest
        } else {
            &self.pieces[piece.index.0 as usize]
        }
    }

    /// Everything that is shared, the manifest first.
    pub fn ids(&self) -> impl Iterator<Item = PieceId> + use<> {
        let count = self.pieces.len() as u32;
        std::iter::once(PieceId::new(Lane(0), 0))
            .chain((0..count).map(|index| PieceId::new(Lane(1), index)))
    }

    /// All bytes that are shared.
    pub fn bytes(&self) -> u64 {
        self.len + 700
    }

    pub fn block(&self, piece: PieceId, block: BlockIndex) -> VerifiedBlock {
        self.sealed(piece)
            .block(block)
            .expect("only blocks that exist are stored")
    }

    /// What shows the first picture: half a second of film, at most what a start set may hold.
    pub fn start_blocks(&self) -> u64 {
        (self.bytes_per_second / 2)
            .div_ceil(BLOCK_LEN as u64)
            .clamp(1, 16)
            .min(self.block_count())
    }

    pub fn start_set(&self) -> Vec<(PieceId, Mask)> {
        vec![(
            PieceId::new(Lane(1), 0),
            Mask::first_n(self.start_blocks() as usize),
        )]
    }
}
