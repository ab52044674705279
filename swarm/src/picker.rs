//! The picker: which block, from whom. Pure looks at the tables; the engine asks.
//!
//! Order: nearest deadline first; beyond the urgent window what the seeder can give only once and others cannot give at all; in the
//! background the rarest piece first (BEP 3), from a random place on so that viewers have different ones to trade.

use crate::bits::ones;
use crate::config;
use crate::face::ConnId;
use crate::peer::Peer;
use crate::pieces::{Pieces, SHELVES};
use baton_content::{PieceId, PieceIndex};
use baton_sorted::SortedMap;

pub(crate) type Peers = SortedMap<ConnId, Peer>;

/// How near a deadline must be for its block to be urgent: three times what the way through another viewer takes (seeder to viewer,
/// its Have, our Request, the block), within limits.
pub(crate) fn urgent_window_us(peers: &Peers) -> u64 {
    let rtt = |peer: &Peer| peer.rtt.smoothed_us().unwrap_or(50_000).min(500_000);
    let longest = peers
        .values()
        .filter(|peer| peer.is_up())
        .map(rtt)
        .max()
        .unwrap_or(0);
    (3 * (2 * longest + config::HAVE_INTERVAL_US))
        .clamp(config::URGENT_MIN_US, config::URGENT_MAX_US)
}

/// Whether a peer may be asked for anything at all.
pub(crate) fn is_open(peer: &Peer) -> bool {
    peer.is_up() && peer.down.grant > 0
}

/// Whether a peer can be counted on for what it has.
pub(crate) fn is_useful(peer: &Peer) -> bool {
    is_open(peer) && !peer.down.stalled
}

/// Blocks of a piece that are left to others, so that the publisher need not send them: they have them, may be asked for more, and are
/// not so much slower than the publisher that sparing it would set the pace of one slow viewer for everybody.
fn others_have(peers: &Peers, source: &Peer, piece: PieceId, missing: u64, within_us: u64) -> u64 {
    let mut mask = 0;
    let mut rate = 0;
    for peer in peers.values() {
        if peer.conn == source.conn || peer.is_source() || !is_useful(peer) {
            continue;
        }
        let theirs = missing & peer.has.mask(piece) & !peer.down.put_off_mask(piece);
        if theirs != 0 && is_in_time(peer, source, within_us) {
            mask |= theirs;
            rate += peer.down.hopeful_bytes_per_second();
        }
    }
    if rate.saturating_mul(config::SPARE_FACTOR) >= source.down.bytes_per_second() {
        mask
    } else {
        0
    }
}

/// Whether a peer delivers within a time, or at least not much later than the publisher would.
fn is_in_time(peer: &Peer, source: &Peer, within_us: u64) -> bool {
    let expected = |peer: &Peer| peer.down.expected_us(peer.rtt.least_us(), 0);
    expected(peer) <= within_us.max(config::SPARE_FACTOR * expected(source))
}

/// Whether what a seeder left to `other` may be waited for.
pub(crate) fn may_wait_for(other: &Peer, source: &Peer) -> bool {
    let rate = other.down.hopeful_bytes_per_second();
    is_in_time(other, source, config::SPARE_US)
        && rate.saturating_mul(config::SPARE_FACTOR) >= source.down.bytes_per_second()
}

/// What may be asked of a peer out of `missing` when there is no hurry: a publisher is spared what others have and bring within the
/// time, and nobody is asked for what it just left to somebody else or refused.
pub(crate) fn unhurried(
    peers: &Peers,
    peer: &Peer,
    piece: PieceId,
    missing: u64,
    within_us: u64,
) -> u64 {
    let mut useful = missing & peer.has.mask(piece);
    if useful != 0 {
        useful &= !peer.down.put_off_mask(piece);
    }
    if useful != 0 && peer.is_source() {
        useful &= !others_have(peers, peer, piece, useful, within_us);
    }
    useful
}

/// What an urgent request may ask of a peer: never what it refused, and not what it has just left to somebody else, unless there is no
/// time for that. A publisher is spared what others have: who are late in a crowd would all have the same of it, and nobody what is new.
pub(crate) fn urgent_from(
    peers: &Peers,
    peer: &Peer,
    piece: PieceId,
    missing: u64,
    no_time: bool,
) -> u64 {
    let put_off = if no_time {
        peer.down.refused_mask(piece)
    } else {
        peer.down.put_off_mask(piece)
    };
    let mut useful = missing & peer.has.mask(piece) & !peer.down.owed_mask(piece) & !put_off;
    if useful != 0 && peer.is_source() {
        useful &= !others_have(peers, peer, piece, useful, 0);
    }
    useful
}

/// Whether a peer that can be counted on has any of these blocks, or owes them: waiting for them is not in vain.
pub(crate) fn helps(peer: &Peer, piece: PieceId, mask: u64) -> bool {
    let gives = peer.has.mask(piece) & !peer.down.refused_mask(piece) | peer.down.owed_mask(piece);
    is_useful(peer) && gives & mask != 0
}

/// Who is expected to deliver some of `missing` soonest, `except` not asked.
pub(crate) fn soonest(
    peers: &Peers,
    piece: PieceId,
    missing: u64,
    except: Option<ConnId>,
    no_time: bool,
) -> Option<ConnId> {
    let score = |peer: &Peer| {
        let expected = peer.down.expected_urgent_us(peer.rtt.least_us(), 0);
        let unproven = if peer.down.received == 0 { 2 } else { 1 };
        let stalled = if peer.down.stalled { 8 } else { unproven };
        // A little later from a viewer is better than from the publisher, whose bytes everybody needs.
        let spared = if peer.is_source() {
            expected / 2 + 50_000
        } else {
            0
        };
        expected * stalled + spared
    };
    let can = |peer: &&Peer| {
        Some(peer.conn) != except
            && is_open(peer)
            && peer.down.owed_blocks < peer.down.grant
            && urgent_from(peers, peer, piece, missing, no_time) != 0
    };
    peers
        .values()
        .filter(can)
        .min_by_key(|peer| (score(peer), peer.conn))
        .map(|peer| peer.conn)
}

/// Pieces looked at before a search gives up until something changes: keeps a search short when a peer has much of little use.
const LOOKS_MAX: u32 = 256;

/// The rarest wanted piece of which a peer can give blocks, and those blocks. `start` shifts where the search begins.
pub(crate) fn rarest(
    pieces: &Pieces,
    peers: &Peers,
    peer: &Peer,
    start: u64,
) -> Option<(PieceId, u64)> {
    let mut looks = 0;
    for shelf in 0..SHELVES {
        for (lane, count) in pieces.lanes() {
            let (Some(shelf), Some(any)) = (pieces.shelf(lane, shelf), peer.has.any(lane)) else {
                continue;
            };
            let words = (count as usize).div_ceil(64);
            for step in 0..words {
                // Before it becomes a usize: on wasm32 that is the low half, and native must choose the same.
                let at = (step + (start % words as u64) as usize) % words;
                let candidates = shelf.word(at) & any.word(at);
                for bit in rotated(candidates, start) {
                    let piece = PieceId {
                        lane,
                        index: PieceIndex(at as u32 * 64 + bit),
                    };
                    let useful =
                        unhurried(peers, peer, piece, pieces.wanted(piece), config::SPARE_US);
                    if useful != 0 {
                        return Some((piece, useful));
                    }
                    looks += 1;
                    if looks >= LOOKS_MAX {
                        return None;
                    }
                }
            }
        }
    }
    None
}

/// The ones of a word from a shifted place on.
fn rotated(word: u64, start: u64) -> impl Iterator<Item = u32> {
    let shift = (start >> 32) as u32 % 64;
    ones(word.rotate_right(shift)).map(move |bit| (bit + shift) % 64)
}
