//! Giving: requests in, seals and loads, blocks out. One message for each in turn, urgent ones first.

use super::{Swarm, Timer};
use crate::bits::lowest;
use crate::config::{self, HEADER_AGAIN_BLOCKS};
use crate::face::{Channel, ConnId, Event, Flood, Output, Reason, Role};
use crate::peer::{Manner, Peer, Standing};
use crate::timer::Instant;
use crate::wire::{
    self, Ack, FLAG_HEADER, FLAG_INSIST, FLAG_NEED, FLAG_SOON, FLAG_URGENT, Message, Part, Refusal,
    Want,
};
use baton_content::{BLOCK_LEN, Header, Mask, PeerId, PieceId, VerifiedBlock};
use baton_sorted::SortedMap;

/// A peer's first delivered bytes after which it gets the full grant.
pub(super) const PROVEN_BYTES: u64 = 256 * 1024;
impl Swarm {
    pub(super) fn first_grant(&self, local: bool) -> u16 {
        if self.upload_paused && !local {
            0
        } else {
            self.config.grant_new_blocks
        }
    }

    /// After a pause began or ended.
    pub(super) fn regrant(&mut self) {
        for conn in self.peers.keys().copied().collect::<Vec<_>>() {
            let grant = self.first_grant(self.peers[&conn].is_local());
            self.grant(conn, grant);
            if grant == 0 {
                self.choke(conn);
            }
        }
    }

    fn grant(&mut self, conn: ConnId, blocks: u16) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        if peer.up.grant != blocks {
            peer.up.grant = blocks;
            self.send(conn, &Message::Grant(blocks));
        }
    }

    /// Refuses everything that a peer waits for.
    fn choke(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        let mut parts: SortedMap<PieceId, u64> = peer
            .up
            .asked
            .iter()
            .map(|(piece, asked)| (*piece, asked.mask))
            .collect();
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

    pub(super) fn requested(&mut self, conn: ConnId, wants: &[Want]) -> Result<(), Reason> {
        let local = self.peers.get(&conn).is_some_and(Peer::is_local);
        if local && wants.iter().any(|want| want.flags & FLAG_NEED != 0) {
            return self.needs(conn, wants);
        }
        for want in wants {
            let piece = wire::piece_id(want.lane, want.index);
            let manner = Manner {
                urgent: want.flags & FLAG_URGENT != 0,
                soon: want.flags & FLAG_SOON != 0,
                firm: want.flags & FLAG_INSIST != 0,
                pushed: false,
            };
            let own_root8 = self.pieces.get(piece).and_then(|piece| piece.root8());
            if let (Some(root8), Some(own)) = (want.root8, own_root8)
                && root8 != own
            {
                // One of the two shows the publisher's fraud. Ours goes to it, with its signature; it answers with both.
                let peer = self.peers.get_mut(&conn).ok_or(Reason::Goodbye)?;
                if !peer.vain.take(self.now, HEADER_AGAIN_BLOCKS.into()) {
                    return Err(Reason::Flood(Flood::Requests));
                }
                self.tell_header(conn, piece);
                continue;
            }
            let full = self.pieces.full(piece);
            let offered = self.offered(piece) & full;
            let peer = self.peers.get_mut(&conn).ok_or(Reason::Goodbye)?;
            if want.root8.is_some() && own_root8.is_some() {
                peer.up.needs_header(piece);
            }
            let beyond = want.mask & !full != 0;
            let here = want.mask & full & offered;
            // What is asked for again, more urgently, is not counted twice.
            let new = here & !peer.up.asked.get(&piece).map_or(0, |asked| asked.mask);
            let room = u32::from(peer.up.grant).saturating_sub(peer.up.waiting_blocks());
            let refused = new & !lowest(new, room);
            let missing = want.mask & full & !offered;
            peer.up.ask(piece, here & !refused, manner);
            let again = want.flags & FLAG_HEADER != 0;
            let price = if again { HEADER_AGAIN_BLOCKS } else { 0 };
            let vain = u64::from(refused.count_ones() + missing.count_ones() + price);
            if !peer.vain.take(self.now, vain) {
                return Err(Reason::Flood(Flood::Requests));
            }
            if again {
                self.tell_header_again(conn, piece);
            }
            if beyond {
                self.tell_header(conn, piece);
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

    /// What is being read already is read in vain: a Request and a Cancel, over and over, must not buy any number of reads.
    pub(super) fn cancelled(&mut self, conn: ConnId, parts: &[Part]) -> Result<(), Reason> {
        let mut vain = 0;
        for part in parts {
            vain += self.withdraw(conn, part.piece(), part.mask);
        }
        self.must_serve = true;
        let peer = self.peers.get_mut(&conn).ok_or(Reason::Goodbye)?;
        if peer.vain.take(self.now, u64::from(vain)) {
            Ok(())
        } else {
            Err(Reason::Flood(Flood::Requests))
        }
    }

    /// Takes blocks off everything that leads to a peer. How many of them were read, or being read, for it.
    fn withdraw(&mut self, conn: ConnId, piece: PieceId, mask: u64) -> u32 {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return 0;
        };
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
        dropped.count_ones()
    }

    /// Nobody needs a load any more, unless somebody else does.
    pub(super) fn cancel_load(&mut self, piece: PieceId, mask: u64) {
        let elsewhere = self.peers.values().fold(0, |all, peer| {
            all | peer.up.loading.get(&piece).copied().unwrap_or(0)
        });
        let unneeded = mask & !elsewhere;
        if unneeded != 0 {
            self.out.push_back(Output::CancelLoad {
                piece,
                mask: Mask(unneeded),
            });
        }
    }

    pub(super) fn writable(&mut self, conn: ConnId, credit: u64) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.up.credit = peer.up.credit.max(credit);
            self.must_serve = true;
        }
    }

    pub(super) fn acked(&mut self, conn: ConnId, ack: Ack) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        let sample = (self.now.0 as u32)
            .wrapping_sub(ack.echo_us)
            .wrapping_sub(ack.hold_us);
        let sane = u64::from(sample) < config::SILENT_US;
        if sane {
            peer.rtt.add(self.now, u64::from(sample));
        }
        let delay = (sane && !peer.is_near()).then(|| peer.rtt.queued(sample.into()));
        let new = peer.up.take_ack(ack.bytes);
        let busy_since = peer.up.busy_since;
        let limited = peer.up.waiting_blocks() == 0;
        peer.up.goodput.add(self.now, busy_since, new, limited);
        let proven = peer.up.acked >= PROVEN_BYTES && peer.up.grant != 0;
        // The uplink's measure shares it between peers: taken for more than it carries, it let a seeder load what others had meanwhile
        // (4.6 copies instead of 3.4 in scenarios/tiny.toml).
        if let Some(peer) = self.peers.get_mut(&conn)
            && !peer.is_local()
        {
            let before = peer.account.given;
            peer.account.given += new;
            let no_newcomer =
                before < config::NEWCOMER_BYTES && peer.account.given >= config::NEWCOMER_BYTES;
            let busy_since = self.uplink.busy_since;
            self.uplink.goodput.add(self.now, busy_since, new, false);
            if no_newcomer {
                self.look_at_standing(conn);
            }
        }
        if let Some(delay) = delay {
            let took = u64::from(sample) + u64::from(ack.hold_us);
            let sent = Instant(self.now.0.saturating_sub(took));
            self.uplink.acked(self.now, sent, delay, new);
        }
        if proven {
            let grant = self.config.grant_blocks;
            self.grant(conn, grant);
        }
        self.must_serve = true;
    }

    /// Seals a piece unless that is done or under way. `cause`: who asked for it.
    pub(super) fn seal(&mut self, piece: PieceId, cause: Option<PeerId>) {
        if self.pieces.contains(piece)
            && !self.pieces.is_known(piece)
            && !self.sealing.contains_key(&piece)
        {
            self.sealing.insert(piece, cause);
            self.out.push_back(Output::Seal { piece });
        }
    }

    pub(super) fn sealed(&mut self, header: Header) {
        let piece = header.id();
        self.sealing.remove(&piece);
        if let Some(known) = self.pieces.get(piece).and_then(|piece| piece.core()) {
            debug_assert!(known.core() == header.core(), "one writer per signing key");
            return;
        }
        self.learn_header(&header);
        self.pieces.add_have(piece, u64::MAX);
        let beyond = !header.full_mask().0;
        for conn in self.peers.keys().copied().collect::<Vec<_>>() {
            let peer = self.peers.get_mut(&conn).expect("listed");
            if peer.up.unask(piece, beyond) != 0 {
                // It would wait for blocks that there are not.
                self.tell_header(conn, piece);
            }
        }
        self.must_serve = true;
    }

    pub(super) fn seal_failed(&mut self, piece: PieceId) {
        self.sealing.remove(&piece);
        for conn in self.peers.keys().copied().collect::<Vec<_>>() {
            let asked = self.peers[&conn]
                .up
                .asked
                .get(&piece)
                .map_or(0, |asked| asked.mask);
            if asked != 0 {
                self.withdraw(conn, piece, asked);
                self.reject(conn, piece, asked, Refusal::SealFailed);
            }
        }
        self.event(Event::SealFailed { piece });
        self.must_serve = true;
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
        if self.stopped.is_some() {
            return;
        }
        let now = self.now;
        let paused = self.upload_paused;
        let busy = |peer: &crate::peer::Peer| {
            peer.up.waiting_blocks() > 0 && !peer.is_lost(now) && (peer.is_local() || !paused)
        };
        let of = |standing: Standing| {
            let busy = self.peers.values().filter(|peer| busy(peer));
            busy.filter(move |peer| peer.standing == standing)
                .map(|peer| peer.conn)
        };
        let mut conns: Vec<ConnId> = of(Standing::Usual).collect();
        // Twice: a turn more in each round.
        for _ in 0..2 {
            conns.extend(of(Standing::Gives));
        }
        let mut rest: Vec<ConnId> = of(Standing::Last).collect();
        for list in [&mut conns, &mut rest] {
            let turn = self.turn % (list.len() as u64).max(1);
            list.rotate_left(turn as usize);
        }
        self.turn += 1;
        self.send_ready(&conns);
        self.send_ready(&rest);
        self.load_ahead(&conns, true);
        // While anybody else lacks something, one message at a time, and none while anything goes to the others: in a crowd they ask for little at a
        // time, and what is on its way to those who only take is in the way of what they ask for next.
        let others = self.peers.values().filter(|peer| {
            let takes = peer.is_up() && !peer.is_lost(now) && !peer.is_local();
            takes && peer.standing != Standing::Last
        });
        let idle = |peer: &Peer| peer.under_way() == 0 && peer.up.waiting_blocks() == 0;
        let (lack, all_idle) = others.fold((false, true), |(lack, all), peer| {
            (lack || !peer.has_all, all && idle(peer))
        });
        if !lack {
            self.load_ahead(&rest, false);
        } else if all_idle
            && rest.iter().all(|conn| self.peers[conn].under_way() == 0)
            && let Some(next) = rest.first()
        {
            self.load_ahead(&[*next], false);
        }
        self.look_for_mutes();
    }

    /// Somebody's silence may free the uplink for others: looks again when it lasts too long.
    fn look_for_mutes(&mut self) {
        let of = |peer: &crate::peer::Peer| peer.mute_at().into_iter().chain(peer.deaf_at());
        let due = self.peers.values().flat_map(of);
        if let Some(at) = due.filter(|at| *at > self.now).min() {
            self.timers.set(Timer::Mute, at);
        }
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
        let uplink_is_slow = self.yields_slowly();
        let Some(peer) = self.peers.get_mut(&conn) else {
            return false;
        };
        let most = peer.blocks_per_message(uplink_is_slow);
        let queue = if urgent {
            &peer.up.ready_urgent
        } else {
            &peer.up.ready
        };
        let Some(first) = queue.front() else {
            return false;
        };
        let piece = first.piece();
        let mut mask = 0u64;
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
            && !peer.is_local()
            && !bucket.take(self.now, len)
        {
            let at = bucket.ready_at(self.now, len);
            self.timers
                .set(Timer::Tokens, at.max(self.now.after(1_000)));
            return false;
        }
        let blocks: Vec<VerifiedBlock> = if urgent {
            peer.up.ready_urgent.drain(..count).collect()
        } else {
            peer.up.ready.drain(..count).collect()
        };
        self.send_blocks(conn, piece, &blocks);
        true
    }

    fn send_blocks(&mut self, conn: ConnId, piece: PieceId, blocks: &[VerifiedBlock]) {
        self.tell_header_of(conn, blocks[0].header());
        let parts = blocks
            .iter()
            .map(|block| (block.block().0, block.bytes().clone()));
        let bytes = wire::encode_blocks(piece, self.now.0 as u32, parts);
        let payload = (bytes.len() - wire::BLOCK_HEAD_LEN) as u64;
        let peer = self.peers.get_mut(&conn).expect("the caller looked");
        if peer.up.block_bytes == peer.up.acked {
            peer.up.busy_since = self.now;
            if self
                .peers
                .values()
                .all(|peer| peer.up.block_bytes == peer.up.acked)
            {
                self.uplink.busy_since = self.now;
            }
        }
        let peer = self.peers.get_mut(&conn).expect("the caller looked");
        peer.expect_sign(self.now);
        let mask = blocks.iter().fold(0, |all, it| all | 1 << it.block().0);
        peer.up
            .sent_message(self.now, bytes.len() as u64, piece, mask);
        peer.up.sent += payload;
        peer.up.rate.add(self.now, payload);
        if !peer.is_local() {
            self.counters.sent_bytes += payload;
        }
        self.send_bytes(conn, Channel::Data, bytes);
    }
}
