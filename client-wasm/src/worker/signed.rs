//! What a publisher has signed: the headers of some thousand pieces, and of the rest what is signed of them.

use baton_content::{Header, PieceId, SignedCore};
use baton_sorted::SortedMap;
use std::collections::VecDeque;

/// Headers made before anybody asks: the first 4 GB of a file, 9 MB of memory. As many are kept whole.
pub const HEADERS_MAX: usize = 4096;

/// Signed pieces. Of the one that has been here longest the hashes go when there are too many.
#[derive(Default)]
pub struct Signed {
    pieces: SortedMap<PieceId, Known>,
    whole: VecDeque<PieceId>,
    slimmed: Vec<PieceId>,
}

enum Known {
    All(Header),
    Core(Box<SignedCore>),
}

impl Signed {
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    pub fn contains(&self, piece: PieceId) -> bool {
        self.pieces.contains_key(&piece)
    }

    pub fn core(&self, piece: PieceId) -> Option<SignedCore> {
        Some(match self.pieces.get(&piece)? {
            Known::All(header) => header.signed_core(),
            Known::Core(core) => **core,
        })
    }

    /// A header that is here with its hashes.
    pub fn header(&self, piece: PieceId) -> Option<&Header> {
        match self.pieces.get(&piece)? {
            Known::All(header) => Some(header),
            Known::Core(_) => None,
        }
    }

    /// All headers that are here with their hashes.
    pub fn headers(&self) -> Vec<Header> {
        let piece = |piece: &PieceId| self.header(*piece).cloned();
        self.whole.iter().filter_map(piece).collect()
    }

    pub fn insert(&mut self, header: &Header) {
        let piece = header.id();
        if self.pieces.contains_key(&piece) {
            return;
        }
        self.pieces.insert(piece, Known::All(header.clone()));
        self.whole.push_back(piece);
        if self.whole.len() > HEADERS_MAX
            && let Some(oldest) = self.whole.pop_front()
            && let Some(core) = self.core(oldest)
        {
            self.pieces.insert(oldest, Known::Core(Box::new(core)));
            self.slimmed.push(oldest);
        }
    }

    /// Pieces whose hashes are found again only when their bytes are read, told once.
    pub fn take_slimmed(&mut self) -> Vec<PieceId> {
        std::mem::take(&mut self.slimmed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_content::{
        ContentKey, DATA_LANE, PieceFlags, PieceIndex, PieceMeta, PublisherKey, SwarmId, seal,
    };

    #[test]
    fn of_many_headers_the_oldest_keep_their_cores_alone() {
        let (key, publisher) = (
            ContentKey::from_random([3; 32]).lane_key(DATA_LANE),
            PublisherKey::from_seed([1; 32]),
        );
        let header = |index| {
            let meta = PieceMeta {
                swarm: SwarmId([7; 32]),
                epoch: 0,
                lane: DATA_LANE,
                index: PieceIndex(index),
                flags: PieceFlags::NONE,
                media_time_us: 0,
            };
            seal(&key, &publisher, meta, &mut [1])
        };
        let mut signed = Signed::default();
        for index in 0..HEADERS_MAX as u32 + 3 {
            signed.insert(&header(index));
        }
        let first: Vec<PieceId> = (0..3).map(|index| PieceId::new(DATA_LANE, index)).collect();
        assert_eq!(signed.take_slimmed(), first);
        assert_eq!(signed.headers().len(), HEADERS_MAX);
        assert_eq!(signed.len(), HEADERS_MAX + 3);
        assert!(signed.header(first[2]).is_none());
        assert_eq!(signed.core(first[2]), Some(header(2).signed_core()));
        assert!(signed.header(PieceId::new(DATA_LANE, 3)).is_some());
        signed.insert(&header(2));
        assert!(signed.take_slimmed().is_empty(), "it is known");
    }
}
