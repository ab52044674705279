//! Messages in. Whoever sends one that cannot be is dropped, with the reason; nobody else notices.

use super::{Swarm, Timer};
use crate::config;
use crate::face::{Channel, ConnId, Flood, Output, Reason, Role};
use crate::peer::Peer;
use crate::pieces::Check;
use crate::wire::{Ack, Blocks, Message, Part, Refusal, Reject};
use baton_content::{BLOCK_LEN, BlockIndex, Header, Mask, PieceId};
use bytes::Bytes;

impl Swarm {
    pub(super) fn received(&mut self, conn: ConnId, channel: Channel, bytes: Bytes) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        peer.heard(self.now);
        peer.wire_received += bytes.len() as u64;
        self.counters.wire_received_bytes += bytes.len() as u64;
        let data = channel == Channel::Data;
        let cost = bytes.len().div_ceil(config::MESSAGE_UNIT_BYTES).max(1) as u64;
        let in_time = data || peer.messages.take(self.now, cost);
        let result = match Message::decode(&bytes, data) {
            _ if !in_time => Err(Reason::Flood(Flood::Messages)),
            Err(error) => Err(Reason::Malformed(error)),
            // Blocks may overtake the Hello; they wait with those that overtook their header.
            Ok(Message::Blocks(blocks)) => self.blocks(conn, blocks, bytes.len()),
            Ok(Message::Hello(hello)) => self.hello(conn, *hello),
            Ok(_) if !self.peers[&conn].is_up() => Err(Reason::OutOfTurn),
            Ok(message) => self.message(conn, message),
        };
        if let Err(reason) = result {
            self.forget(conn, Some(reason));
        }
    }

    fn message(&mut self, conn: ConnId, message: Message) -> Result<(), Reason> {
        match message {
            Message::Hello(_) | Message::Blocks(_) | Message::Unknown(_) => {}
            Message::Head(bytes) => self.foreign_head(conn, bytes)?,
            Message::Have(have) => self.learn_have(conn, have)?,
            Message::DontHave(parts) => self.learn_dont_have(conn, &parts),
            Message::Request(wants) => self.requested(conn, &wants)?,
            Message::Cancel(parts) => self.cancelled(conn, &parts)?,
            Message::Header(bytes) => self.foreign_header(conn, bytes)?,
            Message::Ack(ack) => self.acked(conn, ack),
            Message::Grant(blocks) => self.granted(conn, blocks),
            Message::Reject(reject) => self.rejected(conn, reject),
            Message::Fraud(a, b) => self.evidence(&a, &b)?,
            Message::Introduce(introduce) => self.introduced(conn, introduce)?,
            Message::Goodbye => self.forget(conn, Some(Reason::Goodbye)),
            Message::StartSet(parts) => self.start_set_comes(conn, &parts),
            Message::WantStart => self.give_start_set(conn),
            Message::Ping(number) => self.send(conn, &Message::Pong(number)),
            Message::Pong(number) => self.pong(conn, number),
            Message::Neighbours(ids) => self.learn_neighbours(conn, ids),
            Message::Receipts(receipts) => self.learn_receipts(conn, &receipts)?,
        }
        Ok(())
    }

    fn blocks(&mut self, conn: ConnId, blocks: Blocks, message_len: usize) -> Result<(), Reason> {
        let peer = self.peers.get_mut(&conn).expect("the caller looked");
        peer.down.echo = Some((blocks.sent_us, self.now));
        peer.down.block_bytes += message_len as u64;
        if peer.down.block_bytes - peer.down.acked_bytes >= config::ACK_BYTES {
            self.ack(conn);
        } else {
            self.timers
                .set_earlier(Timer::Ack(conn), self.now.after(config::ACK_INTERVAL_US));
        }
        let peer = self.peers.get_mut(&conn).expect("the caller looked");
        if self.role == Role::Publisher || self.stopped.is_some() {
            return self.unasked(conn, blocks.bytes.len());
        }
        let expected =
            peer.start_due || peer.down.owed_mask(blocks.piece) & blocks.mask.0 == blocks.mask.0;
        match self.pieces.check(blocks.piece) {
            Some(check) if peer.is_up() => {
                if expected && is_of_another_truth(peer, &check, blocks.iter()) {
                    return self.keep_pending(conn, &blocks);
                }
                self.accept(conn, blocks.piece, &check, blocks.iter())
            }
            _ if expected => self.keep_pending(conn, &blocks),
            _ => self.unasked(conn, blocks.bytes.len()),
        }
    }

    /// Blocks that overtook their header wait for it, within limits. What does not fit is asked for again.
    fn keep_pending(&mut self, conn: ConnId, blocks: &Blocks) -> Result<(), Reason> {
        let piece = blocks.piece;
        let mut unasked = 0;
        let mut released = false;
        let peer = self.peers.get_mut(&conn).expect("the caller looked");
        for (block, bytes) in blocks.iter() {
            let len = bytes.len();
            let waits = peer.down.pending.get(&piece);
            let again = waits.is_some_and(|waits| waits.contains_key(&block));
            let fits = peer.down.pending_bytes + BLOCK_LEN <= config::PENDING_PEER_BYTES_MAX
                && self.pending_bytes + BLOCK_LEN <= config::PENDING_BYTES_MAX;
            if fits && !again {
                peer.down.pending_bytes += BLOCK_LEN;
                self.pending_bytes += BLOCK_LEN;
                let waits = peer.down.pending.entry(piece).or_default();
                waits.insert(block, bytes);
                continue;
            }
            let lost = if again {
                0
            } else {
                peer.down.settle(piece, 1 << block)
            };
            self.pieces.release(piece, lost);
            self.counters.duplicate_bytes += len as u64;
            unasked += if lost == 0 { len } else { 0 };
            released |= lost != 0;
        }
        if released {
            // Asked for again, it must not count as on its way.
            self.ack(conn);
            self.moisten();
        }
        self.unasked(conn, unasked)
    }

    /// Takes the waiting blocks of one piece whose header is known by now.
    fn retry_piece(&mut self, conn: ConnId, piece: PieceId) {
        let Some(check) = self.pieces.check(piece) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        let waits = peer.down.pending.get(&piece).into_iter().flatten();
        if is_of_another_truth(peer, &check, waits.map(|(b, bytes)| (*b, bytes))) {
            return;
        }
        let waits = peer.down.pending.remove(&piece).unwrap_or_default();
        peer.down.pending_bytes -= waits.len() * BLOCK_LEN;
        self.pending_bytes -= waits.len() * BLOCK_LEN;
        if let Err(reason) = self.accept(conn, piece, &check, waits.into_iter()) {
            self.forget(conn, Some(reason));
        }
    }

    /// The same of all peers.
    pub(super) fn retry_all(&mut self, piece: PieceId) {
        for conn in self.peers.keys().copied().collect::<Vec<_>>() {
            self.retry_piece(conn, piece);
        }
    }

    /// The same for all pieces.
    pub(super) fn retry_pending(&mut self, conn: ConnId) {
        let pieces = |peer: &Peer| peer.down.pending.keys().copied().collect();
        let pieces: Vec<PieceId> = self.peers.get(&conn).map_or(Vec::new(), pieces);
        for piece in pieces {
            self.retry_piece(conn, piece);
        }
    }

    /// Verifies blocks and takes them; the first wrong one costs its sender the connection.
    fn accept(
        &mut self,
        conn: ConnId,
        piece: PieceId,
        check: &Check,
        blocks: impl Iterator<Item = (u8, Bytes)>,
    ) -> Result<(), Reason> {
        let mut news = 0;
        let mut result = Ok(());
        for (block, bytes) in blocks {
            let bit = 1u64 << block;
            let len = bytes.len() as u64;
            let peer = self.peers.get_mut(&conn).ok_or(Reason::Goodbye)?;
            let busy_since = peer.down.busy_since;
            let owed = peer.down.settle(piece, bit) != 0;
            let had = self
                .pieces
                .get(piece)
                .is_some_and(|piece| piece.have & bit != 0);
            if had {
                self.counters.duplicate_bytes += len;
            }
            if !owed && (had || !peer.start_due) {
                result = self.unasked(conn, bytes.len());
            }
            let Check::By(header) = check else { continue };
            if had || result.is_err() {
                continue;
            }
            match header.verify(BlockIndex(block), bytes) {
                Err(_) => {
                    self.counters.rejected_blocks += 1;
                    // Put back what was owed: `forget` releases only what still is.
                    if owed {
                        self.pieces.release(piece, bit);
                    }
                    result = Err(Reason::Poison(piece.lane.0, piece.index.0, block));
                    break;
                }
                Ok(verified) => {
                    let peer = self
                        .peers
                        .get_mut(&conn)
                        .expect("it was there a moment ago");
                    let limited = peer.down.owed_blocks == 0;
                    peer.down.goodput.add(self.now, busy_since, len, limited);
                    peer.down.rate.add(self.now, len);
                    peer.down.received += len;
                    self.directory.proved(peer.id);
                    peer.down.delivered_at = Some(self.now);
                    peer.down.stalled = false;
                    if !peer.is_local() {
                        self.counters.received_bytes += len;
                        peer.account.received += len;
                    }
                    if !peer.is_publisher() && !peer.is_local() {
                        self.counters.received_from_viewers_bytes += len;
                    }
                    self.counters.verified_blocks += 1;
                    news |= bit;
                    self.out.push_back(Output::Store {
                        block: verified.clone(),
                    });
                    if self.role != Role::Keeper {
                        self.out.push_back(Output::Deliver(verified));
                    }
                }
            }
        }
        if news != 0 {
            self.take_news(Some(conn), piece, news);
        }
        result
    }

    /// Blocks that storage held all along, as if they had come now.
    pub(super) fn found(&mut self, header: &Header, mask: u64) {
        let piece = header.id();
        if self.stopped.is_some() || !self.pieces.contains(piece) {
            return;
        }
        if let Some(known) = self.pieces.get(piece).and_then(|piece| piece.core())
            && known.core() != header.core()
        {
            return self.fraud(piece, &known, &header.signed_core());
        }
        self.learn_header(header);
        if self.stopped.is_some() {
            return;
        }
        let had = self.pieces.get(piece).map_or(0, |piece| piece.have);
        let news = mask & header.full_mask().0 & !had;
        if news != 0 {
            self.take_news(None, piece, news);
        }
    }

    /// Blocks are here: nobody else need send them, and the neighbours may know.
    fn take_news(&mut self, from: Option<ConnId>, piece: PieceId, mask: u64) {
        let twice = self
            .pieces
            .get(piece)
            .map_or(0, |piece| piece.hedged & mask);
        self.pieces.add_have(piece, mask);
        let others: Vec<(ConnId, u64)> = if twice == 0 && !self.owed_elsewhere(piece, mask) {
            Vec::new()
        } else {
            let of = |peer: &Peer| (peer.conn, peer.down.owed_mask(piece) & mask);
            self.peers
                .values()
                .map(of)
                .filter(|(conn, owed)| Some(*conn) != from && *owed != 0)
                .collect()
        };
        for (conn, owed) in others {
            self.cancel(conn, piece, owed);
        }
        for peer in self.peers.values_mut() {
            peer.news.insert(piece);
        }
        self.schedule_news();
        self.must_fetch = true;
        self.after_progress();
    }

    /// Blocks that arrived unasked may be owed by another peer without being hedged.
    fn owed_elsewhere(&self, piece: PieceId, mask: u64) -> bool {
        self.peers
            .values()
            .any(|peer| peer.down.owed_mask(piece) & mask != 0)
    }

    /// Bytes that nobody asked for (any more).
    fn unasked(&mut self, conn: ConnId, len: usize) -> Result<(), Reason> {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return Ok(());
        };
        let left = peer.down.unasked_room.checked_sub(len as u64);
        peer.down.unasked_room = left.ok_or(Reason::Flood(Flood::Blocks))?;
        Ok(())
    }

    fn foreign_header(&mut self, conn: ConnId, bytes: Vec<u8>) -> Result<(), Reason> {
        let bytes = Bytes::from(bytes);
        if let Some(piece) = self.known_header(&bytes) {
            self.see(conn, piece);
            self.retry_piece(conn, piece);
            return Ok(());
        }
        let header =
            Header::parse(bytes, &self.publisher, &self.swarm).map_err(|_| Reason::BadHeader)?;
        let piece = header.id();
        self.see(conn, piece);
        if let Some(known) = self.pieces.get(piece).and_then(|piece| piece.core()) {
            if known.core() != header.core() {
                self.fraud(piece, &known, &header.signed_core());
                return Ok(());
            }
            if !self.pieces.lacks_hashes(piece) {
                return self.checked_in_vain(conn);
            }
            // Storage is still looking for it.
            self.pieces.restore(&header);
            self.retry_all(piece);
            return Ok(());
        }
        // Also for what was cancelled meanwhile: its sender holds the header for told and will not send it again.
        if !self.pieces.contains(piece) {
            return self.checked_in_vain(conn);
        }
        self.learn_header(&header);
        self.retry_piece(conn, piece);
        Ok(())
    }

    /// Its own header of a piece came: from now on its blocks are to fit ours.
    fn see(&mut self, conn: ConnId, piece: PieceId) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.down.unseen.remove(&piece);
        }
    }

    /// A signature was checked and told nothing new: that is more work than most messages are.
    pub(super) fn checked_in_vain(&mut self, conn: ConnId) -> Result<(), Reason> {
        let peer = self.peers.get_mut(&conn).ok_or(Reason::Goodbye)?;
        if peer.messages.take(self.now, config::CHECK_MESSAGES) {
            Ok(())
        } else {
            Err(Reason::Flood(Flood::Messages))
        }
    }

    /// The piece of which these are the very bytes of a header that was verified before.
    fn known_header(&self, bytes: &[u8]) -> Option<PieceId> {
        // Lane and index stand at bytes 10 to 15 of the core (docs/protocol.md section 4).
        let Some([l0, l1, i0, i1, i2, i3]) = bytes.get(10..16) else {
            return None;
        };
        let piece = crate::wire::piece_id(
            u16::from_le_bytes([*l0, *l1]),
            u32::from_le_bytes([*i0, *i1, *i2, *i3]),
        );
        let known = self.pieces.get(piece)?;
        let same = match self.pieces.header(piece) {
            Some(header) => header.bytes() == bytes,
            // The signed core is enough where the hashes have nothing to check.
            None => known.is_whole() && bytes.starts_with(&known.core()?.to_bytes()),
        };
        same.then_some(piece)
    }

    /// A verified header: blocks beyond the piece's end are no longer expected of anybody.
    pub(super) fn learn_header(&mut self, header: &Header) {
        let piece = header.id();
        if !self.pieces.set_header(header) {
            return;
        }
        self.lost_headers.remove(&piece);
        self.check_manifests();
        let beyond = !header.full_mask().0;
        for peer in self.peers.values_mut() {
            peer.down.settle(piece, beyond);
            crate::peer::take_bits(&mut peer.down.insist, piece, beyond);
        }
    }

    /// What follows when blocks are here: perhaps all is.
    pub(super) fn after_progress(&mut self) {
        let complete = self.is_complete();
        if complete && !self.told_complete {
            self.event(crate::face::Event::Complete);
        }
        self.told_complete = complete;
        self.schedule_report();
    }

    pub(super) fn ack(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        let Some((echo_us, at)) = peer.down.echo.take() else {
            return;
        };
        let ack = Ack {
            echo_us,
            hold_us: self.now.since(at) as u32,
            bytes: peer.down.block_bytes,
        };
        peer.down.acked_bytes = peer.down.block_bytes;
        self.timers.cancel(Timer::Ack(conn));
        self.send(conn, &Message::Ack(ack));
    }

    fn granted(&mut self, conn: ConnId, blocks: u16) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        let old = std::mem::replace(&mut peer.down.grant, u32::from(blocks));
        if old == peer.down.grant {
            return;
        }
        peer.down.refused.retain(|_, refused| refused.seal);
        peer.down.dry = false;
        self.must_fetch = true;
        if blocks == 0 {
            let id = peer.id;
            self.unblame(id);
            self.connect_more();
        }
        if (blocks == 0) != (old == 0) {
            self.look_at_standing(conn);
            self.moisten();
        }
    }

    fn rejected(&mut self, conn: ConnId, reject: Reject) {
        let Reject {
            piece,
            mask,
            refusal,
        } = reject;
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        let urgent = peer
            .down
            .owed
            .get(&piece)
            .is_some_and(|owed| owed.urgent & mask.0 != 0);
        // A header that it had would have come before this.
        peer.down.unseen.remove(&piece);
        let settled = peer.down.settle(piece, mask.0);
        if settled == 0 {
            return;
        }
        self.pieces.release(piece, settled);
        let peer = self
            .peers
            .get_mut(&conn)
            .expect("it was there a moment ago");
        match refusal {
            Refusal::AskPeer(other) => self.left_to(conn, piece, settled, urgent, other),
            Refusal::NotHere => {
                let rest = peer.has.mask(piece) & !mask.0;
                if peer.has.set_part(piece, rest) {
                    self.pieces.count_copy(piece, false);
                }
            }
            Refusal::Choked => peer.down.refuse(self.now, piece, settled, false),
            Refusal::SealFailed => peer.down.refuse(self.now, piece, settled, true),
        }
        self.moisten();
    }

    pub(super) fn lose(&mut self, piece: PieceId, mask: u64, evicted: bool) {
        let lost = self.pieces.lose(piece, mask, evicted);
        if lost == 0 {
            return;
        }
        self.told_complete = self.is_complete();
        let message = Message::DontHave(vec![Part::new(piece, Mask(lost))]);
        for conn in self.peers.keys().copied().collect::<Vec<_>>() {
            self.send(conn, &message);
        }
        self.moisten();
        self.schedule_report();
    }
}

/// Whether blocks that do not fit our header may fit another one that their sender was given: we asked for them before we had any, and its
/// own has not come yet. Then it is not to blame, and that header is the evidence against the publisher.
fn is_of_another_truth(
    peer: &Peer,
    check: &Check,
    mut blocks: impl Iterator<Item = (u8, impl AsRef<[u8]>)>,
) -> bool {
    let Check::By(header) = check else {
        return false;
    };
    peer.down.unseen.contains(&header.id())
        && blocks.any(|(block, bytes)| header.check(BlockIndex(block), bytes.as_ref()).is_err())
}
