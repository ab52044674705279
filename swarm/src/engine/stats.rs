//! Numbers, computed when asked for.

use super::Swarm;
use crate::bits::Bits;
use crate::face::{PeerStats, Role, Stats};
use crate::peer::{Account, Peer};
use crate::picker;
use baton_content::{Lane, MANIFEST_LANE, PieceId, PieceIndex};

impl Swarm {
    /// Numbers for plots, pages and tests. Costs some microseconds per thousand pieces and peer.
    pub fn stats(&self) -> Stats {
        let up = || {
            let others = self.peers.values().filter(|peer| !peer.is_local());
            others.filter(|peer| peer.is_up())
        };
        let of_gone = self.accounts.iter().map(|(_, account)| account);
        let accounts = of_gone.chain(self.peers.values().map(|peer| &peer.account));
        let (confirmed_bytes, confirmed_by) = accounts
            .map(Account::confirmed)
            .filter(|bytes| *bytes > 0)
            .fold(self.counters.forgotten, |(sum, by), it| (sum + it, by + 1));
        let complete =
            |peer: &&Peer| !peer.is_publisher() && picker::is_open(peer) && self.has_all(peer);
        Stats {
            peers: up().map(|peer| self.peer_stats(peer)).collect(),
            verified_blocks: self.counters.verified_blocks,
            rejected_blocks: self.counters.rejected_blocks,
            hedged_bytes: self.counters.hedged_bytes,
            duplicate_bytes: self.counters.duplicate_bytes,
            have_bytes: self.pieces.have_bytes(),
            completeness_permille: self.completeness_permille(),
            others_union_permille: self.others_union_permille(),
            complete_peers: up().filter(complete).count() as u32,
            missing_reachable: self.missing_reachable(),
            paused_peers: up().filter(|peer| self.pauses_what_we_miss(peer)).count() as u32,
            sent_bytes: self.counters.sent_bytes,
            confirmed_bytes,
            confirmed_by,
            received_bytes: self.counters.received_bytes,
            received_from_viewers_bytes: self.counters.received_from_viewers_bytes,
            wire_sent_bytes: self.counters.wire_sent_bytes,
            wire_received_bytes: self.counters.wire_received_bytes,
            blocks_in_flight: self.pieces.in_flight(),
        }
    }

    fn peer_stats(&self, peer: &Peer) -> PeerStats {
        PeerStats {
            id: peer.id,
            conn: peer.conn,
            role: peer.role.unwrap_or(Role::Viewer),
            rtt_us: peer.rtt.smoothed_us(),
            down_bytes_per_second: peer.down.rate.bytes_per_second(self.now),
            up_bytes_per_second: peer.up.rate.bytes_per_second(self.now),
            received_bytes: peer.down.received,
            sent_bytes: peer.up.sent,
            complete_permille: self.peer_permille(peer),
            paused: !picker::is_open(peer),
            path: peer.path,
        }
    }

    fn peer_permille(&self, peer: &Peer) -> u16 {
        if self.has_all(peer) {
            return 1000;
        }
        let parts = peer
            .has
            .parts()
            .filter(|(piece, _)| piece.lane != MANIFEST_LANE);
        let blocks: u64 = parts.map(|(piece, mask)| self.in_blocks(piece, mask)).sum();
        self.permille(u64::from(peer.has.full_data_count()) * 64 + blocks)
    }

    /// Blocks of a part, counted so that a whole piece is 64.
    fn in_blocks(&self, piece: PieceId, mask: u64) -> u64 {
        let full = self.pieces.full(piece);
        if mask & full == full {
            64
        } else {
            u64::from((mask & full).count_ones())
        }
    }

    /// Of the data: a film of four pieces is not a fifth here when only its manifest is.
    fn permille(&self, blocks: u64) -> u16 {
        let all: u64 = self
            .data_lanes()
            .map(|(_, count)| u64::from(count) * 64)
            .sum();
        if all > 0 && blocks >= all {
            1000
        } else {
            (blocks * 999 / all.max(1)) as u16
        }
    }

    fn data_lanes(&self) -> impl Iterator<Item = (Lane, u32)> + '_ {
        self.pieces
            .lanes()
            .filter(|&(lane, _)| lane != MANIFEST_LANE)
    }

    /// What the others would have together if we and the publisher left.
    fn others_union_permille(&self) -> u16 {
        let viewers: Vec<&Peer> = self
            .peers
            .values()
            .filter(|peer| picker::is_open(peer) && !peer.is_publisher() && !peer.is_local())
            .collect();
        if viewers.iter().any(|peer| self.has_all(peer)) {
            return 1000;
        }
        let blocks = self
            .data_lanes()
            .map(|(lane, count)| self.union_blocks(&viewers, lane, count))
            .sum();
        self.permille(blocks)
    }

    /// Whether whoever is connected and passes on has all that is missing. Ends at the first block that nobody has.
    fn missing_reachable(&self) -> bool {
        if self.role == Role::Publisher || self.pieces.total() == 0 {
            return self.role == Role::Publisher;
        }
        let open: Vec<&Peer> = self
            .peers
            .values()
            .filter(|peer| picker::is_open(peer))
            .collect();
        let at_somebody = |piece: PieceId, lacking: u64| {
            let mut rest = lacking;
            for peer in &open {
                rest &= !peer.has.mask(piece);
                if rest == 0 {
                    return true;
                }
            }
            false
        };
        self.pieces.all_whole()
            || self
                .pieces
                .lacking()
                .all(|(piece, mask)| at_somebody(piece, mask))
    }

    fn pauses_what_we_miss(&self, peer: &Peer) -> bool {
        let helps = |(piece, lacking): (PieceId, u64)| peer.has.mask(piece) & lacking != 0;
        let missing = self.role != Role::Publisher && !self.pieces.all_whole();
        missing && !picker::is_open(peer) && self.pieces.lacking().any(helps)
    }

    fn union_blocks(&self, viewers: &[&Peer], lane: Lane, count: u32) -> u64 {
        let mut blocks = 0;
        for at in 0..(count as usize).div_ceil(64) {
            let word = |of: fn(&crate::have::HaveMap, Lane) -> Option<&Bits>| {
                viewers
                    .iter()
                    .filter_map(|peer| of(&peer.has, lane))
                    .fold(0, |all, bits| all | bits.word(at))
            };
            let full = word(crate::have::HaveMap::full);
            blocks += u64::from(full.count_ones()) * 64;
            for bit in crate::bits::ones(word(crate::have::HaveMap::any) & !full) {
                let piece = PieceId {
                    lane,
                    index: PieceIndex(at as u32 * 64 + bit),
                };
                let mask = viewers
                    .iter()
                    .fold(0, |all, peer| all | peer.has.mask(piece));
                blocks += self.in_blocks(piece, mask);
            }
        }
        blocks
    }
}
