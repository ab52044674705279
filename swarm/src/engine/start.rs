//! The start set: what shows a newcomer the first picture, given by one peer before anything was asked for.

use super::{Swarm, Timer};
use crate::bits::lowest;
use crate::config;
use crate::face::{ConnId, Role};
use crate::peer::Manner;
use crate::picker;
use crate::timer::Instant;
use crate::wire::{self, Message, Part, piece_id};
use baton_content::{BLOCK_LEN, Mask, PieceId};

impl Swarm {
    /// A newcomer asks one peer at a time, and no further one while it waits for an answer.
    pub(super) fn wants_start_set(&self) -> bool {
        let has_manifest = self
            .pieces
            .ids()
            .take_while(|id| id.lane.0 == 0)
            .any(|id| self.pieces.get(id).is_some_and(|piece| piece.is_whole()));
        let waits = self.start_wait.is_some_and(|(_, until)| self.now < until);
        self.role != Role::Publisher && !waits && !has_manifest
    }

    /// Asks a peer whose Hello is here, if it has anything and was not asked before.
    pub(super) fn want_start(&mut self, conn: ConnId) -> bool {
        let can = |peer: &crate::peer::Peer| {
            !peer.start_asked && picker::is_open(peer) && peer.has.mask(piece_id(0, 0)) != 0
        };
        let asks = self.peers.get(&conn).is_some_and(can);
        if asks {
            self.wait_for_start(conn);
            self.send(conn, &Message::WantStart);
        }
        asks
    }

    /// A peer was asked. The time for an answer began with the first that was: who answers with nothing must not win time for the next.
    pub(super) fn wait_for_start(&mut self, conn: ConnId) {
        let recent = |since: &Instant| self.now.since(*since) < config::START_SET_AGAIN_US;
        let since = self.start_since.filter(recent).unwrap_or(self.now);
        self.start_since = Some(since);
        let until = since.after(config::START_SET_PATIENCE_US);
        self.start_wait = Some((conn, until));
        if until > self.now {
            self.timers.set_earlier(Timer::Fetch, until);
        }
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.start_asked = true;
            peer.start_due = true;
        }
    }

    /// Whoever was asked has nothing or is gone: the next one.
    pub(super) fn ask_another_for_start(&mut self) {
        self.start_wait = None;
        if self.stopped.is_some() {
            return;
        }
        for conn in self.up().collect::<Vec<_>>() {
            if self.wants_start_set() && self.want_start(conn) {
                return;
            }
        }
    }

    /// The start set comes: take its blocks for requested.
    pub(super) fn start_set_comes(&mut self, conn: ConnId, parts: &[Part]) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        if !std::mem::take(&mut peer.start_due) {
            return;
        }
        if self.start_wait.is_some_and(|(asked, _)| asked == conn) {
            self.start_wait = None;
            if parts.is_empty() {
                self.ask_another_for_start();
            }
        }
        let mut budget = (config::START_SET_BYTES_MAX as u32 / baton_content::BLOCK_LEN as u32) * 2;
        for part in parts {
            let missing = self
                .pieces
                .get(part.piece())
                .map_or(0, |piece| piece.missing());
            let mask = crate::bits::lowest(missing & part.mask, budget);
            budget -= mask.count_ones();
            if !self.pieces.is_known(part.piece())
                && let Some(peer) = self.peers.get_mut(&conn)
            {
                peer.down.unseen.insert(part.piece());
            }
            self.owe(conn, part.piece(), mask, true);
        }
        self.retry_pending(conn);
        self.must_fetch = true;
    }

    pub(super) fn start_set(&mut self, set: Vec<(PieceId, Mask)>) {
        self.start_set = set;
        self.start_set.truncate(64);
        self.prepare_start_set();
        self.must_serve = true;
    }

    /// A publisher seals what the first visitor will need before that visitor is there.
    pub(super) fn prepare_start_set(&mut self) {
        if self.role != Role::Publisher || self.stopped.is_some() {
            return;
        }
        let pieces: Vec<PieceId> = self.start_pieces().map(|(piece, _)| piece).collect();
        for piece in pieces {
            self.seal(piece, None);
        }
    }

    /// Lane 0 (its newest pieces, if it is long), then what the session named.
    fn start_pieces(&self) -> impl Iterator<Item = (PieceId, u64)> + '_ {
        let count = self
            .pieces
            .lanes()
            .find(|(lane, _)| lane.0 == 0)
            .map_or(0, |(_, count)| count);
        let manifest =
            (count.saturating_sub(4)..count).map(|index| (wire::piece_id(0, index), u64::MAX));
        manifest.chain(self.start_set.iter().map(|&(piece, mask)| (piece, mask.0)))
    }

    /// Answers a newcomer at once with the start set, as far as it is here and not there.
    pub(super) fn give_start_set(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get(&conn) else {
            return;
        };
        let mut budget = (config::START_SET_BYTES_MAX / BLOCK_LEN as u64) as u32;
        let mut parts = Vec::new();
        let granted = peer.up.grant > 0;
        for (piece, mask) in self.start_pieces().filter(|_| granted) {
            let full = self.pieces.full(piece);
            // Of a piece that is not sealed yet nobody knows the length: one block is a whole manifest nearly always.
            let full = if piece.lane.0 == 0 && full == u64::MAX && !self.pieces.is_known(piece) {
                1
            } else {
                full
            };
            let mask = lowest(
                mask & full & self.offered(piece) & !peer.has.mask(piece),
                budget,
            );
            budget -= mask.count_ones();
            if mask != 0 {
                parts.push((piece, mask));
            }
        }
        let message = Message::StartSet(
            parts
                .iter()
                .map(|&(piece, mask)| Part::new(piece, Mask(mask)))
                .collect(),
        );
        self.send(conn, &message);
        let peer = self.peers.get_mut(&conn).expect("looked at above");
        for (piece, mask) in parts {
            peer.up.ask(
                piece,
                mask,
                Manner {
                    urgent: true,
                    pushed: true,
                    ..Manner::default()
                },
            );
        }
        self.must_serve = true;
    }
}
