//! Connections: coming, proving themselves, going.

use super::{Swarm, Timer};
use crate::config;
use crate::face::{Binding, ConnId, Event, Output, Path, Reason, Role};
use crate::have;
use crate::peer::{Peer, Standing};
use crate::picker;
use crate::timer::Instant;
use crate::wire::{Hello, Message, Signature, hello_statement};
use baton_content::{PeerId, verify_signature};

impl Reason {
    /// Whether it is the peer's own doing and it should not come back.
    fn is_fault(self) -> bool {
        match self {
            Reason::Malformed(_) | Reason::OutOfTurn | Reason::BadHead | Reason::BadHeader => true,
            Reason::Poison(..) | Reason::FalseEvidence | Reason::BadReceipt | Reason::Flood(_) => {
                true
            }
            Reason::Goodbye
            | Reason::Duplicate
            | Reason::Full
            | Reason::Useless
            | Reason::Silent => false,
            Reason::BadHello | Reason::Banned | Reason::Fraud => false,
            Reason::Expired | Reason::ManifestTooLong => false,
        }
    }
}

impl Role {
    fn to_wire(self) -> u8 {
        match self {
            Role::Publisher => 0,
            Role::Viewer => 1,
            Role::Keeper => 2,
        }
    }

    /// Roles of later versions count as viewers.
    fn from_wire(byte: u8) -> Role {
        match byte {
            0 => Role::Publisher,
            2 => Role::Keeper,
            _ => Role::Viewer,
        }
    }
}

impl Swarm {
    pub(super) fn connected(&mut self, conn: ConnId, id: PeerId, binding: Binding, path: Path) {
        self.directory.connected(&id);
        let refusal = if let Some(reason) = self.stopped {
            Some(reason)
        } else if self.directory.is_banned(&id) || id == self.me {
            Some(Reason::Banned)
        } else if self.loses_to_existing(id, &binding) {
            Some(Reason::Duplicate)
        } else if self.peers.len() >= usize::from(self.config.peers_max)
            && !self.by_id.contains_key(&id)
            && path != Path::Local
            && !self.make_room(id)
        {
            Some(Reason::Full)
        } else {
            None
        };
        if let Some(reason) = refusal {
            self.out.push_back(Output::Disconnect { conn, reason });
            return;
        }
        if let Some(&old) = self.by_id.get(&id) {
            self.forget(old, Some(Reason::Duplicate));
            self.directory.connected(&id);
        }
        let mut peer = Peer::new(conn, id, binding, path, &self.config, self.now);
        self.open_account(&mut peer);
        self.peers.insert(conn, peer);
        self.by_id.insert(id, conn);
        self.say_hello(conn);
        self.timers
            .set(Timer::Ping(conn), self.now.after(config::HELLO_TIMEOUT_US));
    }

    /// All places are taken: whoever only takes leaves its own to anybody else.
    fn make_room(&mut self, id: PeerId) -> bool {
        let known = self.account_of_gone(&id);
        if known.given >= config::NEWCOMER_BYTES && known.received == 0 {
            return false;
        }
        let last = |peer: &&Peer| peer.standing == Standing::Last;
        let gone = self.peers.values().find(last).map(|peer| peer.conn);
        if let Some(conn) = gone {
            self.forget(conn, Some(Reason::Useless));
        }
        gone.is_some()
    }

    /// Two peers that connected with each other at once keep the connection that the smaller PeerId offered; otherwise the newer one is
    /// the living one.
    fn loses_to_existing(&self, id: PeerId, binding: &Binding) -> bool {
        let smaller_offers = |binding: &Binding| binding.offerer == (self.me < id);
        let existing = self.by_id.get(&id).and_then(|conn| self.peers.get(conn));
        existing.is_some_and(|peer| smaller_offers(&peer.binding) && !smaller_offers(binding))
    }

    fn say_hello(&mut self, conn: ConnId) {
        let peer = self.peers.get(&conn).expect("it has just connected");
        let statement = hello_statement(&self.swarm, &self.me, &peer.id, &peer.binding);
        let start_set = self.wants_start_set();
        let mut haves = have::announce(self.pieces.ids(), |piece| self.offered(piece)).into_iter();
        let grant = self.first_grant(self.peers[&conn].is_local());
        let hello = Hello {
            peer: self.me.0,
            signature: Signature::new(&self.key.sign(&statement)),
            features: 0,
            role: self.role.to_wire(),
            head: self.head.as_ref().map(|head| head.bytes().to_vec()),
            have: haves.next().unwrap_or_default(),
            grant,
            start_set,
        };
        if start_set {
            self.wait_for_start(conn);
        }
        self.send(conn, &Message::Hello(Box::new(hello)));
        for more in haves {
            self.send(conn, &Message::Have(more));
        }
        let revision = self.head.as_ref().map_or(0, |head| head.head().revision);
        let peer = self.peers.get_mut(&conn).expect("it has just connected");
        peer.up.grant = grant;
        peer.head_revision = revision;
    }

    pub(super) fn hello(&mut self, conn: ConnId, hello: Hello) -> Result<(), Reason> {
        let peer = self.peers.get(&conn).ok_or(Reason::BadHello)?;
        if peer.is_up() {
            return Err(Reason::OutOfTurn);
        }
        let statement = hello_statement(&self.swarm, &peer.id, &self.me, &peer.binding.swapped());
        if hello.peer != peer.id.0
            || !verify_signature(&peer.id.0, &statement, &hello.signature.bytes())
        {
            return Err(Reason::BadHello);
        }
        let role = Role::from_wire(hello.role);
        let id = peer.id;
        if let Some(bytes) = hello.head {
            self.foreign_head(conn, bytes)?;
        }
        let peer = self.peers.get_mut(&conn).ok_or(Reason::Fraud)?;
        peer.role = Some(role);
        peer.down.grant = u32::from(hello.grant);
        self.event(Event::PeerJoined { conn, peer: id });
        self.learn_have(conn, hello.have)?;
        // Nobody knows the way better than these two messages did, and the first round trip is worth knowing at once.
        self.timers.cancel(Timer::Ping(conn));
        self.ping(conn);
        self.uplink.came(self.now);
        if self.wants_start_set() {
            self.want_start(conn);
        }
        if hello.start_set {
            self.give_start_set(conn);
        }
        self.catch_up(conn);
        self.tell_needs();
        self.retry_pending(conn);
        self.look_at_standing(conn);
        if hello.grant == 0 {
            self.connect_more();
        }
        self.timers
            .set_earlier(Timer::Neighbours, self.now.after(200_000));
        self.must_fetch = true;
        Ok(())
    }

    /// Drops a connection (with a reason: and tells the driver), and hands what it owed to others.
    pub(super) fn forget(&mut self, conn: ConnId, reason: Option<Reason>) {
        let Some(peer) = self.peers.remove(&conn) else {
            return;
        };
        self.by_id.remove(&peer.id);
        if !peer.needs.is_empty() {
            self.demands = self.all_demands();
        }
        for timer in [Timer::Have(conn), Timer::Ack(conn), Timer::Ping(conn)] {
            self.timers.cancel(timer);
        }
        for (&piece, owed) in &peer.down.owed {
            self.pieces.release(piece, owed.mask);
        }
        for piece in peer.has.full_pieces() {
            self.pieces.count_copy(piece, false);
        }
        self.pending_bytes -= peer.down.pending_bytes;
        self.asks.remove(&conn);
        for (&piece, &mask) in &peer.up.loading {
            self.cancel_load(piece, mask);
        }
        if self.start_wait.is_some_and(|(asked, _)| asked == conn) {
            self.ask_another_for_start();
        }
        if !(peer.is_up() && reason.is_some_and(Reason::is_fault)) {
            self.keep_account(&peer);
        }
        self.unblame(peer.id);
        let jitter = self.rng.next();
        self.directory.failed(peer.id, self.now, jitter);
        if let Some(reason) = reason {
            if reason.is_fault() && peer.is_up() {
                self.directory.ban(peer.id);
            }
            if reason.is_fault() || reason == Reason::BadHello {
                self.event(Event::PeerRefused {
                    peer: peer.id,
                    reason,
                });
            }
            self.out.push_back(Output::Disconnect { conn, reason });
        }
        self.timers.set_earlier(
            Timer::Neighbours,
            self.now.after(config::NEIGHBOURS_INTERVAL_US),
        );
        self.moisten();
        self.must_serve = true;
        self.connect_more();
    }

    pub(super) fn candidates(&mut self, peers: Vec<PeerId>) {
        self.directory.rank(peers);
        self.connect_more();
    }

    pub(super) fn connect_failed(&mut self, peer: PeerId) {
        let jitter = self.rng.next();
        self.directory.failed(peer, self.now, jitter);
        self.unblame(peer);
        self.connect_more();
    }

    /// Connections that count towards those that are wanted. While we miss something, those who give nothing do not: a newcomer among
    /// people who have all paused would never meet the one who gives.
    fn counted(&self) -> usize {
        let misses = !self.pieces.all_whole();
        let gives = |peer: &&Peer| {
            !peer.is_local()
                && !peer.is_missing(self.now)
                && (!misses || !peer.is_up() || picker::is_useful(peer))
        };
        self.peers.values().filter(gives).count()
    }

    /// Tries candidates until there are as many connections as wanted.
    pub(super) fn connect_more(&mut self) {
        if self.stopped.is_some() {
            return;
        }
        let jitter = self.rng.next();
        self.directory.expire(self.now, jitter);
        let last = self
            .peers
            .values()
            .filter(|peer| peer.standing == Standing::Last);
        let most = usize::from(self.config.peers_max) + last.count();
        let wanted = usize::from(self.config.peers_wanted).min(most);
        let counted = self.counted();
        while counted + self.directory.connecting() < wanted
            && self.peers.len() + self.directory.connecting() < most
            && self.directory.connecting() < usize::from(self.config.connecting_max)
        {
            let by_id = &self.by_id;
            let Some(peer) = self
                .directory
                .next(self.now, |peer| by_id.contains_key(peer))
            else {
                break;
            };
            self.out.push_back(Output::Connect { peer });
        }
        let by_id = &self.by_id;
        match self.directory.next_at(|peer| by_id.contains_key(peer)) {
            Some(at) if counted < wanted && self.peers.len() < most => self
                .timers
                .set(Timer::Connect, at.max(self.now.after(100_000))),
            _ => self.timers.cancel(Timer::Connect),
        }
    }

    /// Measures the round trip, and gives up on who is silent.
    pub(super) fn ping(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get(&conn) else {
            return;
        };
        let silent = |since: Instant| self.now.since(since) >= config::SILENT_US;
        if !peer.is_up() || silent(peer.heard_at) || peer.up.oldest_unacked().is_some_and(silent) {
            return self.forget(conn, Some(Reason::Silent));
        }
        let (id, connected_at) = (peer.id, peer.connected_at);
        if peer.is_missing(self.now) {
            self.connect_more();
        }
        if self.now.since(connected_at) >= config::PROVED_US {
            self.directory.proved(id);
        }
        self.ask_sign(conn);
        let jitter = self.rng.below(config::PING_INTERVAL_US / 5);
        self.timers.set(
            Timer::Ping(conn),
            self.now.after(config::PING_INTERVAL_US + jitter),
        );
    }

    pub(super) fn ask_sign(&mut self, conn: ConnId) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.expect_sign(self.now);
            self.send(conn, &Message::Ping(self.now.0 as u32));
        }
    }

    /// Somebody is sent to this peer: if it was not heard for a while, it may be gone without a word.
    pub(super) fn wake(&mut self, conn: ConnId) {
        let quiet = |peer: &crate::peer::Peer| {
            peer.mute_at().is_none() && self.now.since(peer.heard_at) >= config::QUIET_US
        };
        if self.peers.get(&conn).is_some_and(quiet) {
            self.ask_sign(conn);
        }
    }

    pub(super) fn pong(&mut self, conn: ConnId, echo: u32) {
        let sample = (self.now.0 as u32).wrapping_sub(echo);
        if let Some(peer) = self.peers.get_mut(&conn)
            && u64::from(sample) < config::SILENT_US
        {
            peer.rtt.add(self.now, u64::from(sample));
            let (_, queued_us) = peer.rtt.queued(sample.into());
            if !peer.is_near() {
                self.uplink.saw(self.now, queued_us);
            }
        }
    }
}
