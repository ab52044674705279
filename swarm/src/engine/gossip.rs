//! What neighbours tell each other beside blocks: heads, haves, neighbours, introductions, fraud.

use super::{Swarm, Timer};
use crate::config;
use crate::face::{ConnId, Event, Flood, Output, Reason, Role};
use crate::have;
use crate::timer::Instant;
use crate::wire::{Have, Introduce, Message, Part};
use baton_content::{PeerId, PieceId, SignedCore, SignedHead, fraud_proof};
use bytes::Bytes;

impl Swarm {
    /// A head from a peer. Older ones and the one known cost no signature check.
    pub(super) fn foreign_head(&mut self, conn: ConnId, bytes: Vec<u8>) -> Result<(), Reason> {
        if let Some(known) = &self.head
            && known.bytes()[..] == bytes[..]
        {
            let revision = known.head().revision;
            self.peers
                .get_mut(&conn)
                .ok_or(Reason::Goodbye)?
                .head_revision = revision;
            return Ok(());
        }
        let head = SignedHead::parse(Bytes::from(bytes), &self.publisher, &self.swarm)
            .map_err(|_| Reason::BadHead)?;
        let peer = self.peers.get_mut(&conn).ok_or(Reason::Goodbye)?;
        peer.head_revision = peer.head_revision.max(head.head().revision);
        if self
            .head
            .as_ref()
            .is_some_and(|known| !head.supersedes(known))
        {
            return self.checked_in_vain(conn);
        }
        self.adopt_head(head, Some(conn));
        Ok(())
    }

    /// Takes a head if it is higher than the one known, and passes it on.
    pub(super) fn adopt_head(&mut self, head: SignedHead, from: Option<ConnId>) {
        if self.stopped.is_some()
            || self
                .head
                .as_ref()
                .is_some_and(|known| !head.supersedes(known))
        {
            return;
        }
        let new = self.pieces.grow(head.head());
        self.head = Some(head.clone());
        if from.is_some() {
            self.event(Event::HeadChanged(head.clone()));
        }
        self.check_expiry();
        let message = Message::Head(head.bytes().to_vec());
        let revision = head.head().revision;
        for conn in self.peers.keys().copied().collect::<Vec<_>>() {
            let peer = self.peers.get_mut(&conn).expect("listed");
            if self.role == Role::Publisher {
                peer.news.extend(new.iter().copied());
            }
            if peer.is_publisher() {
                self.grow_publisher(conn, &new);
            }
            let peer = self.peers.get_mut(&conn).expect("listed");
            if peer.head_revision < revision {
                peer.head_revision = revision;
                self.send(conn, &message);
            }
        }
        if self.role == Role::Publisher {
            self.schedule_news();
        }
        self.told_complete &= self.is_complete();
        self.prepare_start_set();
        self.moisten();
    }

    /// A publisher has whatever its head names.
    fn grow_publisher(&mut self, conn: ConnId, new: &[PieceId]) {
        for &piece in new {
            let peer = self.peers.get_mut(&conn).expect("the caller looked");
            if peer.has.add_full(piece) {
                self.pieces.count_copy(piece, true);
            }
        }
    }

    /// After a Hello: what happened since ours was sent.
    pub(super) fn catch_up(&mut self, conn: ConnId) {
        let (Some(head), Some(peer)) = (&self.head, self.peers.get_mut(&conn)) else {
            return;
        };
        let revision = head.head().revision;
        if peer.head_revision < revision {
            peer.head_revision = revision;
            let message = Message::Head(head.bytes().to_vec());
            self.send(conn, &message);
        }
        self.schedule_news();
    }

    /// Pieces beyond the head that we know are ignored: a peer sends its head before what that names. Ranges are a few bytes and
    /// stand for any number of pieces: what is said twice in one message is refused, what was said before costs messages.
    pub(super) fn learn_have(&mut self, conn: ConnId, have: Have) -> Result<(), Reason> {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return Ok(());
        };
        peer.down.dry = false;
        let mut said = 0u64;
        let mut again = 0u64;
        for range in &have.ranges {
            let lane = self.pieces.lane_len(baton_content::Lane(range.lane));
            let end = range.first.saturating_add(range.count).min(lane);
            said += u64::from(end.saturating_sub(range.first));
            if said > u64::from(self.pieces.total()) {
                return Err(Reason::Flood(Flood::Messages));
            }
            for index in range.first..end {
                let piece = crate::wire::piece_id(range.lane, index);
                peer.up.given.remove(&piece);
                if peer.has.add_full(piece) {
                    self.pieces.count_copy(piece, true);
                } else {
                    again += 1;
                }
            }
        }
        if !peer
            .messages
            .take(self.now, again / config::HAVE_AGAIN_PER_MESSAGE)
        {
            return Err(Reason::Flood(Flood::Messages));
        }
        for part in &have.parts {
            if self.pieces.contains(part.piece()) {
                peer.has.add_part(part.piece(), part.mask);
                crate::peer::take_bits(&mut peer.up.given, part.piece(), part.mask);
            }
        }
        self.must_fetch = true;
        Ok(())
    }

    pub(super) fn learn_dont_have(&mut self, conn: ConnId, parts: &[Part]) {
        let mut changed = false;
        for part in parts {
            let piece = part.piece();
            if !self.pieces.contains(piece) {
                continue;
            }
            let Some(peer) = self.peers.get_mut(&conn) else {
                return;
            };
            let full = self.pieces.full(piece);
            changed |= peer.has.mask(piece) & full & part.mask != 0;
            let rest = peer.has.mask(piece) & full & !part.mask;
            if peer.has.set_part(piece, rest) {
                self.pieces.count_copy(piece, false);
            }
            peer.up.forget_given(piece, part.mask);
            let owed = peer.down.settle(piece, part.mask);
            self.pieces.release(piece, owed);
            changed |= owed != 0;
        }
        if changed {
            self.moisten();
        }
    }

    /// Sees to it that everybody with news waiting hears it: soon after a pause, else ten times a second.
    pub(super) fn schedule_news(&mut self) {
        for peer in self.peers.values().filter(|peer| !peer.news.is_empty()) {
            let soon = self.now.after(5_000);
            // A tab that has nobody but us waits for it.
            let at = peer
                .have_sent_at
                .filter(|_| !peer.is_local())
                .map_or(soon, |sent| soon.max(sent.after(config::HAVE_INTERVAL_US)));
            self.timers.set_earlier(Timer::Have(peer.conn), at);
        }
    }

    pub(super) fn tell_news(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        peer.have_sent_at = Some(self.now);
        let news = std::mem::take(&mut peer.news);
        for have in have::announce(news.into_iter(), |piece| self.offered(piece)) {
            self.send(conn, &Message::Have(have));
        }
    }

    pub(super) fn schedule_report(&mut self) {
        if self.reported != Some(self.state_to_report())
            && !self.timers.is_set(Timer::Report)
            && self.stopped.is_none()
        {
            let pause = if self.reported.is_none() || self.told_complete {
                100_000
            } else {
                config::REPORT_INTERVAL_US
            };
            self.timers.set(Timer::Report, self.now.after(pause));
        }
    }

    fn state_to_report(&self) -> (u16, u8) {
        let free = usize::from(self.config.peers_max).saturating_sub(self.peers.len());
        (self.completeness_permille(), free.min(255) as u8)
    }

    pub(super) fn report(&mut self) {
        let state = self.state_to_report();
        if self.reported != Some(state) {
            self.reported = Some(state);
            self.out.push_back(Output::Report {
                completeness_permille: state.0,
                free_slots: state.1,
            });
        }
    }

    pub(super) fn completeness_permille(&self) -> u16 {
        if self.role == Role::Publisher {
            1000
        } else {
            self.pieces.completeness_permille()
        }
    }

    /// Tells whom we are connected with, and so whom we can introduce: newcomers at once, everybody else when it changed, not often.
    pub(super) fn tell_neighbours(&mut self) {
        // Nobody else can reach a tab of this browser.
        let others = self.by_id.iter();
        let ids: Vec<PeerId> = others
            .filter(|(_, conn)| !self.peers[conn].is_local())
            .map(|(id, _)| *id)
            .take(config::NEIGHBOURS_MAX)
            .collect();
        let changed = ids != self.neighbours_said;
        let again_at = self
            .neighbours_said_at
            .after(config::NEIGHBOURS_INTERVAL_US);
        let general = changed && again_at <= self.now;
        let message = Message::Neighbours(ids.iter().map(|id| id.0).collect());
        for conn in self.up().collect::<Vec<_>>() {
            let peer = self.peers.get_mut(&conn).expect("listed");
            let told = std::mem::replace(&mut peer.neighbours_told, true);
            if !peer.is_local() && (!told || general) {
                self.send(conn, &message);
            }
        }
        if general {
            self.neighbours_said = ids;
            self.neighbours_said_at = self.now;
        } else if changed {
            self.timers.set_earlier(Timer::Neighbours, again_at);
        }
        self.schedule_report();
    }

    pub(super) fn learn_neighbours(&mut self, conn: ConnId, ids: Vec<[u8; 32]>) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        peer.neighbours = ids
            .into_iter()
            .take(config::NEIGHBOURS_MAX)
            .map(PeerId)
            .collect();
        for id in peer.neighbours.clone() {
            self.heard_of(conn, id);
        }
        self.connect_more();
    }

    /// A peer named somebody: remembered as a candidate, within what one peer may name.
    pub(super) fn heard_of(&mut self, conn: ConnId, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&conn)
            && self.directory.is_news(&id, self.now)
            && peer.named.take(self.now, 1)
        {
            self.directory.add(id);
        }
    }

    /// Our own blob, through neighbours who know its receiver.
    pub(super) fn introduce(&mut self, to: PeerId, blob: Bytes) {
        if blob.len() > config::BLOB_BYTES_MAX || self.stopped.is_some() {
            return;
        }
        let message = Message::Introduce(Introduce {
            from: self.me.0,
            to: to.0,
            blob: blob.to_vec(),
        });
        let knows = |peer: &&crate::peer::Peer| peer.is_up() && peer.neighbours.contains(&to);
        // Those heard last, and two, in case one of them is about to go; the receiver takes the second for a repetition.
        let mut through: Vec<(Instant, ConnId)> = self
            .peers
            .values()
            .filter(knows)
            .map(|peer| (peer.heard_at, peer.conn))
            .collect();
        baton_sorted::sort(&mut through);
        if through.is_empty() && self.directory.is_connecting(&to) {
            // Nobody can: the next one is tried at once.
            return self.connect_failed(to);
        }
        for &(_, conn) in through.iter().rev().take(2) {
            self.send(conn, &message);
        }
    }

    /// Somebody's blob: ours, or for a neighbour. It goes one step only.
    pub(super) fn introduced(&mut self, conn: ConnId, introduce: Introduce) -> Result<(), Reason> {
        let peer = self.peers.get_mut(&conn).ok_or(Reason::Goodbye)?;
        let (from, to) = (PeerId(introduce.from), PeerId(introduce.to));
        if introduce.blob.len() > config::BLOB_BYTES_MAX {
            return Err(Reason::Flood(Flood::Introductions));
        }
        if !peer.introductions.take(self.now, 1) {
            // Who passes on what others say is not to blame for how much they say.
            return if from == peer.id {
                Err(Reason::Flood(Flood::Introductions))
            } else {
                Ok(())
            };
        }
        if to == self.me {
            // Who brought it can carry the answer, whatever it said last about its neighbours.
            if from != peer.id && !peer.neighbours.contains(&from) {
                peer.neighbours.truncate(config::NEIGHBOURS_MAX - 1);
                peer.neighbours.push(from);
            }
            self.out.push_back(Output::Signal {
                from,
                blob: introduce.blob.into(),
            });
        } else if from == peer.id
            && let Some(&next) = self.by_id.get(&to)
            && let Some(target) = self.peers.get_mut(&next)
            && target.is_up()
            && target.passed_on.take(self.now, 1)
        {
            self.send(next, &Message::Introduce(introduce));
        }
        Ok(())
    }

    /// Two cores that a peer shows: if they prove a fraud we stop, if not it lied.
    pub(super) fn evidence(&mut self, a: &[u8], b: &[u8]) -> Result<(), Reason> {
        let core = |bytes: &[u8]| {
            SignedCore::parse(bytes, &self.publisher, &self.swarm)
                .map_err(|_| Reason::FalseEvidence)
        };
        let (a, b) = (core(a)?, core(b)?);
        let piece = fraud_proof(&a, &b).ok_or(Reason::FalseEvidence)?;
        self.fraud(piece, &a, &b);
        Ok(())
    }

    /// The publisher signed two truths: say so to everybody, and stop. No peer is to blame.
    pub(super) fn fraud(&mut self, piece: PieceId, a: &SignedCore, b: &SignedCore) {
        if self.stopped.is_some() {
            return;
        }
        let message = Message::Fraud(a.to_bytes().to_vec(), b.to_bytes().to_vec());
        for conn in self.peers.keys().copied().collect::<Vec<_>>() {
            self.send(conn, &message);
        }
        self.event(Event::Fraud { piece });
        self.stop(Reason::Fraud);
    }
}
