//! What a publisher has signed: the headers of some thousand pieces, and of the rest what is signed of them.

use baton_content::{Header, PieceId, SignedCore};
use std::collections::{BTreeMap, VecDeque};

/// Signed pieces. Of the one that has been here longest the hashes go when there are too many.
#[derive(Default)]
pub struct Signed {
    cores: BTreeMap<PieceId, SignedCore>,
    whole: BTreeMap<PieceId, Header>,
    /// Those that are whole, oldest first.
    order: VecDeque<PieceId>,
    slimmed: Vec<PieceId>,
}

impl Signed {
    /// What is signed of a piece.
    pub fn core(&self, piece: PieceId) -> Option<&SignedCore> {
        self.cores.get(&piece)
    }

    /// A header that is here with its hashes.
    pub fn header(&self, piece: PieceId) -> Option<&Header> {
        self.whole.get(&piece)
    }

    /// One that an earlier run signed: of most of them nobody will ask.
    pub fn know(&mut self, header: &Header) {
        self.cores.insert(header.id(), header.signed_core());
    }

    /// One that was signed now, or again.
    pub fn insert(&mut self, header: &Header) {
        let piece = header.id();
        self.cores.insert(piece, header.signed_core());
        if self.whole.insert(piece, header.clone()).is_some() {
            return;
        }
        self.order.push_back(piece);
        if self.order.len() > HEADERS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.whole.remove(&oldest);
            self.slimmed.push(oldest);
        }
    }

    /// Pieces whose hashes are found again only when their bytes are read, told once.
    pub fn take_slimmed(&mut self) -> Vec<PieceId> {
        std::mem::take(&mut self.slimmed)
    }
}

/// Kept whole: 4 GB of a film, those sealed last; 9 MB of memory.
pub const HEADERS_MAX: usize = 4096;
