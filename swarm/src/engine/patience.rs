//! Waiting for others: blocks that a seeder left to somebody else, and peers that owe and do not deliver.

use super::Swarm;
use crate::config;
use crate::face::ConnId;
use crate::peer::Withheld;
use crate::picker;
use baton_content::{BLOCK_LEN, PeerId, PieceId};

impl Swarm {
    /// Not to be asked of this peer for a while, unless urgently.
    pub(super) fn withhold(
        &mut self,
        conn: ConnId,
        piece: PieceId,
        mask: u64,
        left_to: Option<PeerId>,
        for_us: u64,
    ) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        if mask == 0 {
            return;
        }
        let until = self.now.after(for_us);
        let held = peer
            .down
            .withheld
            .entry((piece, left_to))
            .or_insert(Withheld { mask: 0, until });
        held.mask |= mask;
        held.until = held.until.max(until);
    }

    /// A seeder left blocks to somebody else. If that one is out of reach, the seeder is asked again with emphasis.
    pub(super) fn left_to(
        &mut self,
        conn: ConnId,
        piece: PieceId,
        mask: u64,
        urgent: bool,
        other: PeerId,
    ) {
        let known = self
            .by_id
            .get(&other)
            .and_then(|other| self.peers.get(other));
        let reachable = known.is_some_and(picker::is_useful);
        // Two that leave the same to each other would go on like that; and who is here but chokes us or is stalled will not help.
        let left_back = known.is_some_and(|peer| peer.down.put_off_mask(piece) & mask != 0);
        let source = self.peers.get(&conn);
        let slow = known
            .zip(source)
            .is_some_and(|(peer, source)| !picker::may_wait_for(peer, source));
        let in_crowd = self.peers.len() >= config::CROWD_PEERS;
        let in_vain = known.is_some() && !reachable
            || known.is_none() && !in_crowd && self.directory.is_failing(&other);
        if left_back || in_vain || slow || other == self.me || self.directory.is_banned(&other) {
            let peer = self.peers.get_mut(&conn).expect("it has just spoken");
            *peer.down.insist.entry(piece).or_default() |= mask;
            return;
        }
        // A neighbour gets more time than somebody who has yet to be met; and in a crowd, where not everybody can be met, it comes
        // through others.
        let patience = match (urgent, reachable) {
            (true, _) => config::URGENT_PATIENCE_US,
            (false, _) if reachable || in_crowd => 5 * config::ASK_PEER_PATIENCE_US,
            (false, _) => config::ASK_PEER_PATIENCE_US,
        };
        self.withhold(conn, piece, mask, Some(other), patience);
        if !reachable {
            self.heard_of(conn, other);
            self.connect_more();
        }
    }

    /// What was left to this peer is not to be had there: ask the seeders again, with emphasis.
    pub(super) fn unblame(&mut self, other: PeerId) {
        for peer in self.peers.values_mut() {
            let mine = |(key, held): (&(PieceId, Option<PeerId>), &Withheld)| {
                (key.1 == Some(other)).then_some((key.0, held.mask))
            };
            let freed: Vec<(PieceId, u64)> = peer.down.withheld.iter().filter_map(mine).collect();
            for (piece, mask) in freed {
                peer.down.withheld.remove(&(piece, Some(other)));
                *peer.down.insist.entry(piece).or_default() |= mask;
                peer.down.dry = false;
            }
        }
        self.must_fetch = true;
    }

    /// Something changed that may make anybody worth asking again.
    pub(super) fn moisten(&mut self) {
        for peer in self.peers.values_mut() {
            peer.down.dry = false;
        }
        self.must_fetch = true;
    }

    /// Looks after what time alone changes.
    pub(super) fn tick(&mut self) {
        let now = self.now;
        self.ticked_at = now;
        for peer in self.peers.values_mut() {
            let insist = &mut peer.down.insist;
            peer.down.withheld.retain(|(piece, left_to), held| {
                if held.until <= now && left_to.is_some() {
                    *insist.entry(*piece).or_default() |= held.mask;
                }
                held.until > now
            });
            peer.down.end_refusals(now);
        }
        self.take_back_from_stalled();
        self.moisten();
    }

    /// Who owes for too long and delivers nothing loses its blocks to others that have them.
    fn take_back_from_stalled(&mut self) {
        let now = self.now;
        let last = |peer: &crate::peer::Peer| {
            peer.down
                .delivered_at
                .map_or(peer.down.busy_since, |at| at.max(peer.down.busy_since))
        };
        // Who has many to serve sends to each of them seldom.
        let seldom = |peer: &crate::peer::Peer| {
            let message = 3 * (config::BLOCKS_PER_MESSAGE * BLOCK_LEN) as u64;
            let rate = peer.down.goodput.bytes_per_second().unwrap_or(u64::MAX);
            (message * 1_000_000 / rate.max(1)).min(config::STALLED_SLOW_US)
        };
        let patience = |peer: &crate::peer::Peer| match peer.down.received {
            0 => config::STALLED_NEW_US + 2 * peer.rtt.least_us(),
            _ if peer.down.owed.values().any(|owed| owed.urgent != 0) => {
                (config::STALLED_URGENT_US + 2 * peer.rtt.least_us()).max(seldom(peer))
            }
            _ => config::STALLED_US.max(seldom(peer)),
        };
        let is_stalled = |peer: &&crate::peer::Peer| {
            peer.down.owed_blocks > 0 && now.since(last(peer)) >= patience(peer)
        };
        let stalled: Vec<ConnId> = self
            .peers
            .values()
            .filter(is_stalled)
            .map(|peer| peer.conn)
            .collect();
        for conn in stalled {
            let elsewhere = |piece: &PieceId| {
                let able = |peer: &&crate::peer::Peer| peer.conn != conn && picker::is_useful(peer);
                self.peers
                    .values()
                    .filter(able)
                    .fold(0, |mask, peer| mask | peer.has.mask(*piece))
            };
            let owed = self.peers[&conn].down.owed.iter();
            let parts: Vec<(PieceId, u64)> = owed
                .map(|(piece, owed)| (*piece, owed.mask & elsewhere(piece)))
                .filter(|(_, mask)| *mask != 0)
                .collect();
            let peer = self.peers.get_mut(&conn).expect("listed");
            peer.down.stalled = true;
            let id = peer.id;
            self.unblame(id);
            self.cancel_all(conn, parts);
        }
    }
}
