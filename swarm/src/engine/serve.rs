//! Giving: requests in, seals and loads, blocks out. One message for each in turn, urgent ones first.
//!
//! A seeder in a crowd gives everything once before it gives any of it twice: what another peer has or is about to get from here is
//! left to that peer (`AskPeer`), unless it is urgent or was left to others in vain. It is decided when a block's turn comes, not when it
//! is asked for, so that viewers who ask for the same film in the same order get different parts of it and trade.

use super::{Swarm, Timer};
use crate::bits::lowest;
use crate::config;
use crate::face::{Channel, ConnId, Event, Flood, Output, Reason, Role};
use crate::peer::{Asked, Manner};
use crate::wire::{self, Ack, FLAG_INSIST, FLAG_SOON, FLAG_URGENT, Message, Part, Refusal, Reject, Want};
use baton_content::{BLOCK_LEN, Header, Mask, PieceId, VerifiedBlock};
use std::collections::BTreeMap;

/// A peer's first delivered bytes after which it gets the full grant.
const PROVEN_BYTES: u64 = 256 * 1024;
/// Entries looked at in one queue per turn: those before wait for a seal.
const LOOKS: usize = 32;

/// In which order runs are chosen: urgent ones that nobody else can give, then those that will soon be played, so that the film moves on
/// even through a narrow uplink; then urgent ones and soon ones that somebody else has too; then the rest.
#[derive(Clone, Copy)]
enum Class {
    First,
    Soon,
    Again,
    SoonAgain,
    Rest,
}

impl Class {
    fn queue(self) -> usize {
        match self {
            Class::First | Class::Again => 0,
            Class::Soon | Class::SoonAgain => 1,
            Class::Rest => 2,
        }
    }

    fn of(self, asked: &Asked) -> u64 {
        match self {
            Class::First | Class::Again => asked.urgent,
            Class::Soon | Class::SoonAgain => asked.soon,
            Class::Rest => asked.mask & !asked.urgent & !asked.soon,
        }
    }
}

/// Refusals of one turn, joined per piece.
type Refusals = BTreeMap<(ConnId, PieceId, Option<ConnId>), u64>;

impl Swarm {
    pub(super) fn first_grant(&self) -> u16 {
        if self.upload_paused { 0 } else { self.config.grant_new_blocks }
    }

    /// After a pause began or ended.
    pub(super) fn regrant(&mut self) {
        for conn in self.peers.keys().copied().collect::<Vec<_>>() {
            let grant = self.first_grant();
            self.grant(conn, grant);
            if grant == 0 {
                self.choke(conn);
            }
        }
    }

    fn grant(&mut self, conn: ConnId, blocks: u16) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if peer.up.grant != blocks {
            peer.up.grant = blocks;
            self.send(conn, &Message::Grant(blocks));
        }
    }

    /// Refuses everything that a peer waits for.
    fn choke(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let mut parts: BTreeMap<PieceId, u64> = peer.up.asked.iter().map(|(piece, asked)| (*piece, asked.mask)).collect();
        for (&piece, &mask) in &peer.up.loading {
            *parts.entry(piece).or_default() |= mask;
        }
        for block in peer.up.ready.iter().chain(&peer.up.ready_urgent) {
            *parts.entry(block.piece()).or_default() |= 1 << block.block().0;
        }
        for (piece, mask) in parts {
            self.withdraw(conn, piece, mask);
            self.reject(conn, piece, mask, Refusal::Choked);
        }
    }

    fn reject(&mut self, conn: ConnId, piece: PieceId, mask: u64, refusal: Refusal) {
        self.send(conn, &Message::Reject(Reject { piece, mask: Mask(mask), refusal }));
    }

    pub(super) fn requested(&mut self, conn: ConnId, wants: &[Want]) -> Result<(), Reason> {
        for want in wants {
            let piece = wire::piece_id(want.lane, want.index);
            let manner = Manner {
                urgent: want.flags & FLAG_URGENT != 0,
                soon: want.flags & FLAG_SOON != 0,
                firm: want.flags & FLAG_INSIST != 0,
                pushed: false,
            };
            let header = self.pieces.header(piece).cloned();
            if let (Some(root8), Some(header)) = (want.root8, &header)
                && root8 != header.root8().0
            {
                self.answer_other_root(conn, header);
                continue;
            }
            let full = header.as_ref().map_or(u64::MAX, |header| header.full_mask().0);
            let offered = self.offered(piece) & full;
            let peer = self.peers.get_mut(&conn).ok_or(Reason::Goodbye)?;
            if want.root8.is_some() && header.is_some() {
                peer.up.needs_header(piece);
            }
            let here = want.mask & full & offered;
            // What is asked for again, more urgently, is not counted twice.
            let new = here & !peer.up.asked.get(&piece).map_or(0, |asked| asked.mask);
            let room = u32::from(peer.up.grant).saturating_sub(peer.up.waiting_blocks());
            let refused = new & !lowest(new, room);
            let missing = want.mask & full & !offered;
            peer.up.ask(piece, here & !refused, manner);
            let vain = u64::from(refused.count_ones() + missing.count_ones());
            if !peer.vain.take(self.now, vain) {
                return Err(Reason::Flood(Flood::Requests));
            }
            if missing != 0 {
                self.reject(conn, piece, missing, Refusal::NotHere);
            }
            if refused != 0 {
                self.reject(conn, piece, refused, Refusal::Choked);
            }
        }
        self.must_serve = true;
        Ok(())
    }

    /// The peer holds a header with another root: one of the two shows the publisher's fraud. Ours goes to it, with its signature; it
    /// answers with both. Once per piece, so that a small request does not buy many headers.
    fn answer_other_root(&mut self, conn: ConnId, header: &Header) {
        let first = self.peers.get_mut(&conn).is_some_and(|peer| peer.up.needs_header(header.id()));
        if first {
            self.send(conn, &Message::Header(header.bytes().to_vec()));
        }
    }

    pub(super) fn cancelled(&mut self, conn: ConnId, parts: &[Part]) {
        for part in parts {
            self.withdraw(conn, part.piece(), part.mask);
        }
        self.must_serve = true;
    }

    /// Takes blocks off everything that leads to a peer.
    fn withdraw(&mut self, conn: ConnId, piece: PieceId, mask: u64) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.up.unask(piece, mask);
        let (loading, _) = peer.up.unload(piece, mask);
        let mut dropped = loading;
        for queue in [&mut peer.up.ready, &mut peer.up.ready_urgent] {
            queue.retain(|block| {
                let hit = block.piece() == piece && mask >> block.block().0 & 1 == 1;
                dropped |= if hit { 1 << block.block().0 } else { 0 };
                !hit
            });
        }
        crate::peer::take_bits(&mut peer.up.given, piece, dropped);
        self.cancel_load(piece, loading);
    }

    /// Nobody needs a load any more, unless somebody else does.
    pub(super) fn cancel_load(&mut self, piece: PieceId, mask: u64) {
        let elsewhere = self.peers.values().fold(0, |all, peer| all | peer.up.loading.get(&piece).copied().unwrap_or(0));
        let unneeded = mask & !elsewhere;
        if unneeded != 0 {
            self.out.push_back(Output::CancelLoad { piece, mask: Mask(unneeded) });
        }
    }

    pub(super) fn writable(&mut self, conn: ConnId, credit: u64) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.up.credit = peer.up.credit.max(credit);
            self.must_serve = true;
        }
    }

    pub(super) fn acked(&mut self, conn: ConnId, ack: Ack) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let sample = (self.now.0 as u32).wrapping_sub(ack.echo_us).wrapping_sub(ack.hold_us);
        if u64::from(sample) < config::SILENT_US {
            peer.rtt.add(self.now, u64::from(sample));
        }
        let acked = ack.bytes.min(peer.up.block_bytes);
        let new = acked.saturating_sub(peer.up.acked);
        peer.up.acked += new;
        let busy_since = peer.up.busy_since;
        peer.up.goodput.add(self.now, busy_since, new);
        self.uplink.add(self.now, self.uplink_busy_since, new);
        if peer.up.acked >= PROVEN_BYTES && peer.up.grant != 0 {
            let grant = self.config.grant_blocks;
            self.grant(conn, grant);
        }
        self.must_serve = true;
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
            self.seal(piece);
        }
    }

    /// Lane 0 (its newest pieces, if it is long), then what the session named.
    fn start_pieces(&self) -> impl Iterator<Item = (PieceId, u64)> + '_ {
        let count = self.pieces.lanes().find(|(lane, _)| lane.0 == 0).map_or(0, |(_, count)| count);
        let manifest = (count.saturating_sub(4)..count).map(|index| (wire::piece_id(0, index), u64::MAX));
        manifest.chain(self.start_set.iter().map(|&(piece, mask)| (piece, mask.0)))
    }

    /// Answers a newcomer at once with the start set, as far as it is here and not there.
    pub(super) fn give_start_set(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get(&conn) else { return };
        let mut budget = (config::START_SET_BYTES_MAX / BLOCK_LEN as u64) as u32;
        let mut parts = Vec::new();
        let granted = peer.up.grant > 0;
        for (piece, mask) in self.start_pieces().filter(|_| granted) {
            let full = self.pieces.header(piece).map_or(u64::MAX, |header| header.full_mask().0);
            // Of a piece that is not sealed yet nobody knows the length: one block is a whole manifest nearly always.
            let full = if piece.lane.0 == 0 && full == u64::MAX && self.pieces.header(piece).is_none() { 1 } else { full };
            let mask = lowest(mask & full & self.offered(piece) & !peer.has.mask(piece), budget);
            budget -= mask.count_ones();
            if mask != 0 {
                parts.push((piece, mask));
            }
        }
        let message = Message::StartSet(parts.iter().map(|&(piece, mask)| Part::new(piece, Mask(mask))).collect());
        self.send(conn, &message);
        let peer = self.peers.get_mut(&conn).expect("looked at above");
        for (piece, mask) in parts {
            peer.up.ask(piece, mask, Manner { urgent: true, pushed: true, ..Manner::default() });
        }
        self.must_serve = true;
    }

    /// Seals a piece unless that is done or under way.
    fn seal(&mut self, piece: PieceId) {
        if self.pieces.contains(piece) && self.pieces.header(piece).is_none() && self.sealing.insert(piece) {
            self.out.push_back(Output::Seal { piece });
        }
    }

    pub(super) fn sealed(&mut self, header: Header) {
        let piece = header.id();
        self.sealing.remove(&piece);
        if let Some(known) = self.pieces.header(piece) {
            debug_assert!(known.same_core(&header), "one writer per signing key");
            return;
        }
        self.learn_header(&header);
        self.pieces.add_have(piece, u64::MAX);
        let beyond = !header.full_mask().0;
        for peer in self.peers.values_mut() {
            peer.up.unask(piece, beyond);
        }
        self.must_serve = true;
    }

    pub(super) fn seal_failed(&mut self, piece: PieceId) {
        self.sealing.remove(&piece);
        for conn in self.peers.keys().copied().collect::<Vec<_>>() {
            let asked = self.peers[&conn].up.asked.get(&piece).map_or(0, |asked| asked.mask);
            if asked != 0 {
                self.withdraw(conn, piece, asked);
                self.reject(conn, piece, asked, Refusal::SealFailed);
            }
        }
        self.event(Event::SealFailed { piece });
    }

    pub(super) fn load_failed(&mut self, piece: PieceId, mask: u64) {
        for conn in self.peers.keys().copied().collect::<Vec<_>>() {
            let peer = self.peers.get_mut(&conn).expect("listed");
            let (hit, _) = peer.up.unload(piece, mask);
            if hit != 0 {
                crate::peer::take_bits(&mut peer.up.given, piece, hit);
                self.reject(conn, piece, hit, Refusal::NotHere);
            }
        }
        if self.role != Role::Publisher {
            self.lose(piece, mask, false);
        }
        self.must_serve = true;
    }

    /// A block is here for everybody who waits for it.
    pub(super) fn loaded(&mut self, block: VerifiedBlock) {
        let (piece, bit) = (block.piece(), 1u64 << block.block().0);
        for peer in self.peers.values_mut() {
            let (hit, urgent) = peer.up.unload(piece, bit);
            if urgent != 0 {
                peer.up.ready_urgent.push_back(block.clone());
            } else if hit != 0 {
                peer.up.ready.push_back(block.clone());
            }
        }
        self.must_serve = true;
    }

    /// Loads what may soon be sent, and sends what may be sent now.
    pub(super) fn serve(&mut self) {
        if self.stopped.is_some() || self.upload_paused {
            return;
        }
        let busy = |peer: &crate::peer::Peer| peer.up.waiting_blocks() > 0;
        let mut conns: Vec<ConnId> = self.peers.values().filter(|peer| busy(peer)).map(|peer| peer.conn).collect();
        if conns.is_empty() {
            return;
        }
        let turn = (self.turn % conns.len() as u64) as usize;
        self.turn += 1;
        conns.rotate_left(turn);
        self.send_ready(&conns);
        self.load_ahead(&conns);
    }

    fn load_ahead(&mut self, conns: &[ConnId]) {
        let mut loads: Vec<(PieceId, u64)> = Vec::new();
        let mut refusals = Refusals::new();
        let mut room = self.uplink_room();
        for class in [Class::First, Class::Soon, Class::Again, Class::SoonAgain, Class::Rest] {
            let mut progress = true;
            while progress {
                progress = false;
                for &conn in conns {
                    if room > 0
                        && let Some((piece, mask)) = self.next_run(conn, class, &mut refusals)
                    {
                        self.load(conn, piece, mask, matches!(class, Class::First | Class::Again), &mut loads);
                        self.tell_other_askers(conn, piece, mask, &mut refusals);
                        room = room.saturating_sub(u64::from(mask.count_ones()) * BLOCK_LEN as u64);
                        progress = true;
                    }
                }
            }
        }
        for (piece, mask) in loads {
            self.out.push_back(Output::Load { piece, mask: Mask(mask) });
        }
        for ((conn, piece, other), mask) in refusals {
            let other = other.and_then(|other| self.peers.get(&other)).map(|peer| peer.id);
            self.reject(conn, piece, mask, other.map_or(Refusal::NotHere, Refusal::AskPeer));
        }
    }

    /// How many more bytes the uplink as a whole takes: what it carries in a quarter of a second, and a quarter more. What is chosen
    /// later is chosen better, and a slow uplink must not queue for seconds.
    fn uplink_room(&self) -> u64 {
        let under_way = |peer: &crate::peer::Peer| {
            peer.up.block_bytes - peer.up.acked + peer.up.ahead_blocks() as u64 * BLOCK_LEN as u64
        };
        let total: u64 = self.peers.values().map(under_way).sum();
        let rtt_us = self.peers.values().map(|peer| peer.rtt.least_us()).max().unwrap_or(0).min(300_000);
        let most = match self.uplink.bytes_per_second() {
            Some(rate) => (rate.saturating_mul(rtt_us + 250_000) / 1_000_000 * 5 / 4).max(64 * 1024),
            None => 1 << 20,
        };
        most.saturating_sub(total)
    }

    /// Blocks go to one peer: the others who wait for the same learn at once whom to ask.
    fn tell_other_askers(&mut self, conn: ConnId, piece: PieceId, mask: u64, refusals: &mut Refusals) {
        if !self.is_seeder() {
            return;
        }
        for peer in self.peers.values_mut().filter(|peer| peer.conn != conn) {
            let Some(asked) = peer.up.asked.get(&piece) else { continue };
            let theirs = asked.mask & mask & !asked.firm & !asked.pushed;
            if theirs != 0 {
                peer.up.unask(piece, theirs);
                *refusals.entry((peer.conn, piece, Some(conn))).or_default() |= theirs;
            }
        }
    }

    fn load(&mut self, conn: ConnId, piece: PieceId, mask: u64, urgent: bool, loads: &mut Vec<(PieceId, u64)>) {
        let elsewhere = self.peers.values().fold(0, |all, peer| all | peer.up.loading.get(&piece).copied().unwrap_or(0));
        let up = &mut self.peers.get_mut(&conn).expect("the caller looked").up;
        *up.loading.entry(piece).or_default() |= mask;
        up.loading_blocks += mask.count_ones();
        if urgent {
            *up.loading_urgent.entry(piece).or_default() |= mask;
        }
        *up.given.entry(piece).or_default() |= mask;
        let new = mask & !elsewhere;
        match loads.iter_mut().rev().take(4).find(|(at, _)| *at == piece) {
            _ if new == 0 => {}
            Some((_, all)) => *all |= new,
            None => loads.push((piece, new)),
        }
    }

    /// Up to three blocks of the next piece in a peer's queue that can be loaded. What cannot or should not be given is refused.
    fn next_run(&mut self, conn: ConnId, class: Class, refusals: &mut Refusals) -> Option<(PieceId, u64)> {
        let mut at = 0;
        loop {
            let peer = self.peers.get(&conn)?;
            let ahead = (peer.up.under_way_max(peer.rtt.least_us()) / BLOCK_LEN as u64).clamp(6, config::LOAD_AHEAD_BLOCKS as u64);
            if peer.up.ahead_blocks() as u64 >= ahead || at >= LOOKS {
                return None;
            }
            let piece = *peer.up.queues[class.queue()].get(at)?;
            let mask = class.of(&peer.up.asked.get(&piece).copied().unwrap_or_default());
            let (first, again) = self.leave_to_others(conn, piece, mask, refusals);
            let run = match class {
                Class::First | Class::Soon => first,
                Class::Again | Class::SoonAgain => again,
                Class::Rest => first | again,
            };
            if first | again == 0 {
                self.peers.get_mut(&conn)?.up.queues[class.queue()].remove(at);
                continue;
            }
            if run == 0 || self.waits_for_seal(conn, piece) {
                at += 1;
                continue;
            }
            let run = lowest(run, config::BLOCKS_PER_MESSAGE as u32);
            self.peers.get_mut(&conn)?.up.unask(piece, run);
            return Some((piece, run));
        }
    }

    /// Whether a publisher must seal the piece first; sees to it, so far as the peer's share of cold seals goes.
    fn waits_for_seal(&mut self, conn: ConnId, piece: PieceId) -> bool {
        if self.role != Role::Publisher || self.pieces.header(piece).is_some() {
            return false;
        }
        let cold = self.peers[&conn].up.asked.keys().filter(|piece| self.sealing.contains(piece)).count();
        if cold < config::COLD_SEALS_PER_PEER {
            self.seal(piece);
        }
        true
    }

    /// Refuses what is not here, and what somebody else has or is about to have and that is not asked for with emphasis. What is left:
    /// what nobody else has, and what is given again all the same.
    fn leave_to_others(&mut self, conn: ConnId, piece: PieceId, mask: u64, refusals: &mut Refusals) -> (u64, u64) {
        let gone = mask & !self.offered(piece);
        let asked = self.peers.get(&conn).and_then(|peer| peer.up.asked.get(&piece)).copied().unwrap_or_default();
        let mut left = mask & !gone;
        let mut again = 0;
        let mut leave = |swarm: &mut Swarm, other: Option<ConnId>, mask: u64| {
            *refusals.entry((conn, piece, other)).or_default() |= mask;
            swarm.peers.get_mut(&conn).expect("the caller looked").up.unask(piece, mask);
        };
        if gone != 0 {
            leave(self, None, gone);
        }
        if left == 0 || !self.is_seeder() {
            return (left, 0);
        }
        let takes = |peer: &&crate::peer::Peer| peer.conn != conn && peer.is_up();
        let holds = |peer: &crate::peer::Peer| peer.has.mask(piece) | peer.up.given.get(&piece).copied().unwrap_or(0);
        let holders: Vec<(ConnId, u64)> = self.peers.values().filter(takes).map(|peer| (peer.conn, holds(peer))).collect();
        for (other, holds) in holders {
            let theirs = left & holds & !asked.pushed;
            again |= theirs & asked.firm;
            if theirs & !asked.firm != 0 {
                leave(self, Some(other), theirs & !asked.firm);
            }
            left &= !theirs;
        }
        (left, again)
    }

    /// Whether this peer is where everything comes from: the publisher, or whoever has all of it when nobody else in sight does. Two
    /// such peers would leave everything to each other.
    fn is_seeder(&self) -> bool {
        let is_source = |peer: &crate::peer::Peer| peer.is_up() && (peer.is_publisher() || self.has_all(peer));
        self.role == Role::Publisher || self.pieces.all_whole() && !self.peers.values().any(is_source)
    }

    /// Sends while there is credit: three blocks a message, each peer in turn, urgent ones of all peers first.
    fn send_ready(&mut self, conns: &[ConnId]) {
        for urgent in [true, false] {
            let mut progress = true;
            while progress {
                progress = false;
                for &conn in conns {
                    progress |= self.send_run(conn, urgent);
                }
            }
        }
    }

    /// One message of up to three blocks of one piece. Whether there was one.
    fn send_run(&mut self, conn: ConnId, urgent: bool) -> bool {
        let Some(peer) = self.peers.get_mut(&conn) else { return false };
        let queue = if urgent { &peer.up.ready_urgent } else { &peer.up.ready };
        let Some(first) = queue.front() else { return false };
        let piece = first.piece();
        let mut mask = 0u64;
        let most = peer.up.blocks_per_message();
        for block in queue.iter().take(most) {
            let bit = 1u64 << block.block().0;
            if block.piece() != piece || mask >= bit {
                break;
            }
            mask |= bit;
        }
        let count = mask.count_ones() as usize;
        let more_to_come = peer.up.loading.get(&piece).is_some_and(|mask| *mask != 0);
        let under_way = peer.up.block_bytes > peer.up.acked;
        if count < most && count == queue.len() && more_to_come && under_way {
            return false;
        }
        let len = (wire::BLOCK_HEAD_LEN + count * BLOCK_LEN) as u64;
        if !peer.up.may_send(peer.rtt.least_us(), len) {
            return false;
        }
        if let Some(bucket) = &mut self.upload_limit
            && !bucket.take(self.now, len)
        {
            let at = bucket.ready_at(self.now, len);
            self.timers.set(Timer::Tokens, at.max(self.now.after(1_000)));
            return false;
        }
        let blocks: Vec<VerifiedBlock> = if urgent { peer.up.ready_urgent.drain(..count).collect() } else { peer.up.ready.drain(..count).collect() };
        self.send_blocks(conn, piece, &blocks);
        true
    }

    fn send_blocks(&mut self, conn: ConnId, piece: PieceId, blocks: &[VerifiedBlock]) {
        let peer = self.peers.get_mut(&conn).expect("the caller looked");
        if peer.up.needs_header(piece) {
            let header = blocks[0].header().bytes().to_vec();
            self.send(conn, &Message::Header(header));
        }
        let parts = blocks.iter().map(|block| (block.block().0, block.bytes().clone()));
        let bytes = wire::encode_blocks(piece, self.now.0 as u32, parts);
        let payload = (bytes.len() - wire::BLOCK_HEAD_LEN) as u64;
        let peer = self.peers.get_mut(&conn).expect("the caller looked");
        if peer.up.block_bytes == peer.up.acked {
            peer.up.busy_since = self.now;
            if self.peers.values().all(|peer| peer.up.block_bytes == peer.up.acked) {
                self.uplink_busy_since = self.now;
            }
        }
        let peer = self.peers.get_mut(&conn).expect("the caller looked");
        peer.up.block_bytes += bytes.len() as u64;
        peer.up.sent += payload;
        peer.up.rate.add(self.now, payload);
        self.counters.sent_bytes += payload;
        self.send_bytes(conn, Channel::Data, bytes);
    }
}
