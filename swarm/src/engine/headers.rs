//! Headers that only storage has. A piece that is whole here keeps its core alone (`Input::HeaderKept`); its block hashes are loaded when a
//! peer must be told them, or when blocks are fetched anew because some were lost.
//!
//! Nobody buys many loads: a peer is told each header once, a few wait per peer and are loaded at a time, and two that wait for one header
//! wait for one load.

use super::Swarm;
use crate::config::{HEADER_LOADS_MAX, UNTOLD_HEADERS_MAX, UNTOLD_REJECTS_MAX};
use crate::face::{ConnId, Output, Role};
use crate::wire::{Message, Refusal, Reject};
use baton_content::{Header, Mask, PieceId};

impl Swarm {
    /// Sends our header of a piece, once per peer, so that small requests do not buy many headers.
    pub(super) fn tell_header(&mut self, conn: ConnId, piece: PieceId) {
        let bytes = self
            .pieces
            .header(piece)
            .map(|header| header.bytes().to_vec());
        let known = self.pieces.is_known(piece);
        let Some(peer) = self.peers.get_mut(&conn).filter(|_| known) else {
            return;
        };
        match bytes {
            Some(bytes) => {
                if peer.up.needs_header(piece) {
                    self.send(conn, &Message::Header(bytes));
                }
            }
            // Beyond what may wait it comes with the piece's first block.
            None if peer.up.untold.len() >= UNTOLD_HEADERS_MAX => {}
            None => {
                if peer.up.needs_header(piece) {
                    peer.up.untold.insert(piece, Vec::new());
                    self.load_headers();
                }
            }
        }
    }

    /// With the header, if the peer has not got it from us: only from that it learns which of the blocks it asked for there are.
    pub(super) fn reject(&mut self, conn: ConnId, piece: PieceId, mask: u64, refusal: Refusal) {
        self.tell_header(conn, piece);
        let reject = Reject {
            piece,
            mask: Mask(mask),
            refusal,
        };
        if let Some(peer) = self.peers.get_mut(&conn)
            && let Some(waits) = peer.up.untold.get_mut(&piece)
            && waits.len() < UNTOLD_REJECTS_MAX
        {
            return waits.push(reject);
        }
        self.send(conn, &Message::Reject(reject));
    }

    /// A peer that lost a header has it again, at the price of some blocks asked for in vain.
    pub(super) fn tell_header_again(&mut self, conn: ConnId, piece: PieceId) {
        if let Some(peer) = self.peers.get_mut(&conn)
            && !peer.up.untold.contains_key(&piece)
        {
            peer.up.forget_header(piece);
            self.tell_header(conn, piece);
        }
    }

    /// Before blocks can be checked: this load waits for nobody's.
    pub(super) fn want_hashes(&mut self, piece: PieceId) {
        if self.pieces.lacks_hashes(piece) && self.header_loads.insert(piece) {
            self.out.push_back(Output::LoadHeader { piece });
        }
    }

    /// Loads what peers wait for, so many at a time.
    fn load_headers(&mut self) {
        let untold = self.peers.values().flat_map(|peer| peer.up.untold.keys());
        for &piece in untold {
            if self.header_loads.len() >= HEADER_LOADS_MAX {
                return;
            }
            if self.header_loads.insert(piece) {
                self.out.push_back(Output::LoadHeader { piece });
            }
        }
    }

    pub(super) fn header_loaded(&mut self, header: &Header) {
        let piece = header.id();
        if !self.header_loads.remove(&piece) {
            return;
        }
        let is_ours = |core: baton_content::SignedCore| core == header.signed_core();
        if !self
            .pieces
            .get(piece)
            .and_then(|p| p.core())
            .is_some_and(is_ours)
        {
            self.lose_header(piece);
        } else {
            self.pieces.restore(header);
            self.tell_untold(piece, Some(header));
            self.retry_all(piece);
        }
        self.load_headers();
    }

    /// What cannot be checked is not here.
    pub(super) fn header_failed(&mut self, piece: PieceId) {
        if self.header_loads.remove(&piece) {
            self.lose_header(piece);
            self.load_headers();
        }
    }

    fn lose_header(&mut self, piece: PieceId) {
        self.tell_untold(piece, None);
        // A publisher's driver says itself that its file is gone. A header that came from a peer meanwhile is as good.
        if self.role == Role::Publisher || self.pieces.header(piece).is_some() {
            return;
        }
        self.lose(piece, u64::MAX, false);
        for conn in self.peers.keys().copied().collect::<Vec<_>>() {
            let owed = self.peers[&conn].down.owed_mask(piece);
            if owed != 0 {
                self.cancel(conn, piece, owed);
            }
        }
        self.pieces.unknow(piece);
        self.lost_headers.insert(piece);
        // Each may have told it to us before, and is asked for it once more.
        for peer in self.peers.values_mut() {
            peer.down.unseen.remove(&piece);
        }
        self.must_fetch = true;
    }

    /// The header, and the refusals that waited for it.
    fn tell_untold(&mut self, piece: PieceId, header: Option<&Header>) {
        for conn in self.peers.keys().copied().collect::<Vec<_>>() {
            let peer = self.peers.get_mut(&conn).expect("listed");
            let Some(rejects) = peer.up.untold.remove(&piece) else {
                continue;
            };
            match header {
                Some(header) => self.send(conn, &Message::Header(header.bytes().to_vec())),
                // Once it is here again, the peer is told.
                None => peer.up.forget_header(piece),
            }
            for reject in rejects {
                self.send(conn, &Message::Reject(reject));
            }
        }
    }

    /// Blocks leave, and their header with them if the peer has not got it. It goes before them and before what waited for it.
    pub(super) fn tell_header_of(&mut self, conn: ConnId, header: &Header) {
        let piece = header.id();
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        let untold = peer.up.untold.remove(&piece);
        if untold.is_some() || peer.up.needs_header(piece) {
            self.send(conn, &Message::Header(header.bytes().to_vec()));
        }
        for reject in untold.into_iter().flatten() {
            self.send(conn, &Message::Reject(reject));
        }
    }
}
