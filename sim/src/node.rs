//! One peer: a production engine and the driver around it, with the doors replaced by a mask, a latency and a counter.

use crate::event::{Event, Signal, ToServer, What};
use crate::film::BLOCKS;
use crate::link::{SEND_BUFFER, Wire};
use crate::places::CITIES;
use crate::player::Player;
use crate::rng::Rng;
use crate::scenario::{Habit, Word};
use crate::world::Shared;
use baton_content::{BlockIndex, Mask, PeerId, PieceId, VerifiedBlock};
use baton_swarm::wire::{Have, Message, Range};
use baton_swarm::{
    Binding, Channel, Config, ConnId, Event as Told, Input, Instant, Output, Path, Role, Stats,
    Stream, Swarm,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

/// A disk read; a seal; how long a driver waits for an answer to its offer.
const LOAD_US: u64 = 500;
const SEAL_US: u64 = 3_000;
const OFFER_US: u64 = 10_000_000;
/// Certificates, checks and handshakes on a processor that has other things to do.
const SETUP_US: u64 = 30_000;
/// How often the driver looks whether it has enough neighbours, and how many are enough.
const TICK_US: u64 = 10_000_000;
const NEIGHBOURS_FEW: usize = 8;
/// When a browser gives up a connection of which it hears nothing.
const DEATH_US: u64 = 15_000_000;
/// Who has lost its last connection is lost where there is no server: for so long the one that outlived a sleep lives.
const SPARED_US: u64 = 30_000_000;
/// How long a phone sleeps.
const SLEEP_US: u64 = 10_000_000;
/// What waits in an uplink is counted in such steps.
pub const QUEUE_STEP_US: u64 = 5_000;

/// What was counted at one peer.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub joined_at: Option<u64>,
    pub left_at: Option<u64>,
    pub complete_at: Option<u64>,
    /// Block bytes that arrived, and of those: from another region.
    pub received: u64,
    pub cross_region: u64,
    /// Sum of bytes × round trip in milliseconds.
    pub byte_rtt_ms: u64,
    /// The same bytes by who sent them.
    pub received_from: BTreeMap<u32, u64>,
    pub sent: u64,
    pub inputs: u64,
    /// While it has everything and something waits in its router: milliseconds in which a packet would wait so many times `QUEUE_STEP_US`.
    pub queue: Vec<u64>,
    /// One number for everything that went in and out.
    pub digest: u64,
    /// At the end of its stay.
    pub stats: Option<Stats>,
}

/// One peer of the world.
pub struct Node {
    pub index: u32,
    pub player: Option<Player>,
    pub counts: Counts,
    /// Blocks of lane 1.
    pub masks: Vec<u64>,
    swarm: Option<Box<Swarm>>,
    has_manifest: bool,
    habit: Habit,
    heap: BinaryHeap<Event>,
    pub out: Vec<(u32, Event)>,
    seq: u64,
    rng: Rng,
    wires: BTreeMap<ConnId, Wire>,
    /// Connections that will be open.
    opening: BTreeMap<ConnId, (Wire, bool)>,
    offers: BTreeMap<ConnId, (u32, PeerId)>,
    next_conn: u64,
    turn: ConnId,
    turn_at: Option<u64>,
    up_free_at: u64,
    /// Until when its queue was counted.
    queue_seen: u64,
    down_free_at: u64,
    wakes_at: Option<u64>,
    asleep_until: u64,
    outputs: Vec<Output>,
    pending: VecDeque<Input>,
    is_busy: bool,
}

impl Node {
    pub fn new(index: u32, shared: &Shared) -> Node {
        let spot = &shared.spots[index as usize];
        let mut node = Node {
            index,
            player: None,
            counts: Counts::default(),
            masks: Vec::new(),
            swarm: None,
            has_manifest: false,
            habit: spot.habit,
            heap: BinaryHeap::new(),
            out: Vec::new(),
            seq: 0,
            rng: Rng::new(shared.seed, u64::from(index) + 1000),
            wires: BTreeMap::new(),
            opening: BTreeMap::new(),
            offers: BTreeMap::new(),
            next_conn: 1,
            turn: ConnId(0),
            turn_at: None,
            up_free_at: 0,
            queue_seen: 0,
            down_free_at: 0,
            wakes_at: None,
            asleep_until: 0,
            outputs: Vec::new(),
            pending: VecDeque::new(),
            is_busy: false,
        };
        node.at(spot.joins_at, What::Join);
        if let Some(leaves_at) = spot.leaves_at {
            node.at(leaves_at, What::Leave);
        }
        node
    }

    pub fn is_here(&self) -> bool {
        self.swarm.is_some()
    }

    /// Since when it could look for neighbours undisturbed.
    pub fn settles_from(&self) -> u64 {
        self.counts
            .joined_at
            .unwrap_or(u64::MAX)
            .max(self.asleep_until)
    }

    /// Whether it came at least so long ago.
    pub fn came_before(&self, now: u64, us: u64) -> bool {
        self.counts.joined_at.is_some_and(|at| at + us <= now)
    }

    /// With whom it is connected.
    pub fn neighbours(&self) -> BTreeSet<u32> {
        let alive = self.wires.values().filter(|wire| !wire.is_dead);
        alive.map(|wire| wire.remote).collect()
    }

    pub fn is_honest(&self) -> bool {
        self.habit == Habit::Honest
    }

    pub fn next_at(&self) -> u64 {
        self.heap.peek().map_or(u64::MAX, |event| event.time)
    }

    pub fn push(&mut self, event: Event) {
        self.heap.push(event);
    }

    pub fn stats(&self) -> Option<Stats> {
        self.swarm.as_ref().map(|swarm| swarm.stats())
    }

    /// Everything that happens before `end`.
    pub fn run(&mut self, end: u64, shared: &Shared) {
        while let Some(event) = self.heap.peek().filter(|event| event.time < end) {
            let now = event.time;
            let event = self.heap.pop().expect("just seen");
            self.handle(now, event.what, shared);
        }
    }

    fn at(&mut self, time: u64, what: What) {
        self.seq += 1;
        self.heap.push(Event {
            time,
            from: self.index,
            seq: self.seq,
            what,
        });
    }

    fn to(&mut self, to: u32, time: u64, what: What) {
        self.seq += 1;
        self.out.push((
            to,
            Event {
                time,
                from: self.index,
                seq: self.seq,
                what,
            },
        ));
    }

    fn tell_server(&mut self, now: u64, message: ToServer, shared: &Shared) {
        if shared.has_server(now) {
            self.to(
                shared.server,
                now + shared.to_server_us(self.index),
                What::Server(message),
            );
        }
    }

    fn handle(&mut self, now: u64, what: What, shared: &Shared) {
        let is_news = !matches!(what, What::Leave | What::Spared(_) | What::Dead(_));
        if now < self.asleep_until && is_news {
            return self.put_off(now, what);
        }
        match what {
            What::Join => self.join(now, shared),
            What::Leave => self.leave(now, shared),
            What::Seek => self.seek(now, shared),
            What::Tick => self.tick(now, shared),
            What::Arrive {
                conn,
                channel,
                bytes,
            } => self.arrive(now, conn, channel, bytes, shared),
            What::Deliver {
                conn,
                channel,
                bytes,
            } => self.deliver(now, conn, channel, bytes, shared),
            What::Turn => {
                if self.turn_at == Some(now) {
                    self.turn_at = None;
                    self.uplink(now, shared);
                }
            }
            What::Wake => {
                if self.wakes_at == Some(now) {
                    self.wakes_at = None;
                    self.input(now, Input::TimedOut, shared);
                }
            }
            What::Play => self.play(now, shared),
            What::Load { piece, mask } => self.load(now, piece, mask, shared),
            What::Seal(piece) => {
                let header = shared.film.sealed(piece).header().clone();
                self.input(now, Input::Sealed { header }, shared);
            }
            What::Candidates(named) => {
                let peers = named
                    .into_iter()
                    .map(|other| shared.spots[other as usize].id)
                    .collect();
                self.input(now, Input::Candidates(peers), shared);
            }
            What::Signal(signal) => self.signal(now, signal, shared),
            What::Unreachable(other) => {
                let over = self
                    .offers
                    .iter()
                    .find(|(_, (to, _))| *to == other)
                    .map(|(conn, _)| *conn);
                over.into_iter()
                    .for_each(|conn| self.offer_over(now, conn, shared));
            }
            What::OfferOver(conn) => self.offer_over(now, conn, shared),
            What::Open(conn) => self.open(now, conn, shared),
            What::Cut(conn) => {
                self.wires.remove(&conn);
                self.input(now, Input::Disconnected { conn }, shared);
            }
            What::Break => self.break_one(now, shared),
            What::Dead(conn) => self.dead(now, conn),
            What::Spared(conn) => {
                if let Some(wire) = self.wires.get_mut(&conn) {
                    wire.spared_until = now + SPARED_US;
                }
            }
            What::Sleep => {
                self.asleep_until = now + SLEEP_US;
                self.at(self.asleep_until, What::Awake);
            }
            What::Awake => self.awake(now, shared),
            What::Server(_) => unreachable!("the server is no peer"),
        }
    }

    /// Who sleeps finds everything that happened when it wakes.
    fn put_off(&mut self, now: u64, what: What) {
        let until = self.asleep_until;
        if let What::Cut(conn) = what
            && let Some(wire) = self.wires.get_mut(&conn)
        {
            wire.is_dead = true;
        }
        for (at, is_due) in [
            (&mut self.turn_at, matches!(what, What::Turn)),
            (&mut self.wakes_at, matches!(what, What::Wake)),
        ] {
            if is_due && *at == Some(now) {
                *at = Some(until);
            }
        }
        self.at(until, what);
    }

    fn again(&mut self, now: u64, every_us: Option<u64>, what: What) {
        if let Some(every_us) = every_us {
            let pause = self.rng.exponential(every_us);
            self.at(now + pause, what);
        }
    }

    fn break_one(&mut self, now: u64, shared: &Shared) {
        let conns = self.mortal(now);
        if !conns.is_empty() {
            let at = self.rng.below(conns.len() as u64) as usize;
            self.kill(now, conns[at]);
        }
        let every_us = shared.spots[self.index as usize].break_every_us;
        self.again(now, every_us, What::Break);
    }

    fn mortal(&self, now: u64) -> Vec<ConnId> {
        let dies = |(conn, wire): (&ConnId, &Wire)| {
            (!wire.is_dead && wire.spared_until <= now).then_some(*conn)
        };
        self.wires.iter().filter_map(dies).collect()
    }

    /// A connection dies at both ends.
    fn kill(&mut self, now: u64, conn: ConnId) {
        let wire = &self.wires[&conn];
        let (remote, at) = (wire.remote, now + wire.one_way_us);
        let dead = What::Dead(wire.remote_conn);
        self.to(remote, at, dead);
        self.dead(now, conn);
    }

    fn dead(&mut self, now: u64, conn: ConnId) {
        if let Some(wire) = self.wires.get_mut(&conn) {
            wire.is_dead = true;
            self.at(now + DEATH_US, What::Cut(conn));
        }
    }

    /// One connection outlived the sleep.
    fn awake(&mut self, now: u64, shared: &Shared) {
        let mut conns = self.mortal(now);
        if !conns.is_empty() {
            let at = self.rng.below(conns.len() as u64) as usize;
            let kept = conns.remove(at);
            let wire = self.wires.get_mut(&kept).expect("listed");
            wire.spared_until = now + SPARED_US;
            let (remote, at) = (wire.remote, now + wire.one_way_us);
            let spared = What::Spared(wire.remote_conn);
            self.to(remote, at, spared);
        }
        for conn in conns {
            self.kill(now, conn);
        }
        let every_us = shared.spots[self.index as usize].sleep_every_us;
        self.again(now, every_us, What::Sleep);
    }

    fn join(&mut self, now: u64, shared: &Shared) {
        let spot = &shared.spots[self.index as usize];
        let film = &shared.film;
        let role = if self.index == 0 {
            Role::Publisher
        } else {
            Role::Viewer
        };
        let mut have = Vec::new();
        self.masks = vec![0; film.piece_count()];
        if spot.has_all {
            self.has_manifest = true;
            for piece in film.ids() {
                let header = film.sealed(piece).header();
                if piece.lane.0 == 1 {
                    self.masks[piece.index.0 as usize] = header.full_mask().0;
                }
                have.push((header.clone(), header.full_mask()));
            }
        }
        let knows_head = role == Role::Publisher || spot.has_all;
        let stream = Stream {
            publisher: film.publisher.id(),
            swarm: film.swarm,
            head: knows_head.then(|| film.head.clone()),
        };
        let mut config = Config {
            upload_paused: self.habit == Habit::FreeRider,
            ..Config::default()
        };
        if let Some([wanted, most]) = spot.peers {
            (config.peers_wanted, config.peers_max) = (wanted, most);
        }
        let seed = shared.seed * 1_000_003 + u64::from(self.index);
        let swarm = Swarm::new(
            stream,
            have,
            role,
            config,
            shared.key(self.index),
            seed,
            Instant(now),
            1_800_000_000,
        );
        self.swarm = Some(Box::new(swarm));
        self.counts.joined_at = Some(now);
        if spot.watches {
            self.player = Some(Player::new(now));
        }
        if let Some(every) = spot.seek_every_us {
            let first = self.rng.exponential(every);
            self.at(now + first, What::Seek);
        }
        self.again(now, spot.break_every_us, What::Break);
        self.again(now, spot.sleep_every_us, What::Sleep);
        if role == Role::Publisher {
            self.masks.fill(u64::MAX);
            self.input(now, Input::StartSet(film.start_set()), shared);
        }
        self.tell_server(now, ToServer::Join, shared);
        let tick = TICK_US + self.rng.below(TICK_US / 10);
        self.at(now + tick, What::Tick);
    }

    fn leave(&mut self, now: u64, shared: &Shared) {
        self.tell_server(now, ToServer::Leave, shared);
        self.close(now);
        self.input(now, Input::Leaving, shared);
        self.swarm = None;
        self.wires.clear();
        self.opening.clear();
        self.offers.clear();
        self.heap.clear();
    }

    /// Counts what there is to count when a stay or the world ends.
    pub fn close(&mut self, now: u64) {
        if self.is_here() {
            self.counts.stats = self.stats();
            self.counts.left_at = Some(now);
            self.player
                .iter_mut()
                .for_each(|player| player.end_stall(now));
        }
    }

    fn seek(&mut self, now: u64, shared: &Shared) {
        let film = &shared.film;
        let to = self
            .rng
            .below(film.len - film.bytes_per_second.min(film.len - 1));
        if let Some(player) = &mut self.player {
            player.seek(to, now);
        }
        self.look(now);
        if let Some(every) = shared.spots[self.index as usize].seek_every_us {
            let pause = self.rng.exponential(every);
            self.at(now + pause, What::Seek);
        }
    }

    fn tick(&mut self, now: u64, shared: &Shared) {
        if self.wires.len() < NEIGHBOURS_FEW {
            self.tell_server(now, ToServer::More, shared);
        }
        self.at(now + TICK_US, What::Tick);
    }

    /// The player looks at once.
    fn look(&mut self, now: u64) {
        if let Some(player) = &mut self.player {
            player.look_at(now);
            self.at(now, What::Play);
        }
    }

    fn play(&mut self, now: u64, shared: &Shared) {
        let Some(player) = self.player.as_mut().filter(|player| player.is_due(now)) else {
            return;
        };
        let turn = player.turn(now, &self.masks, &shared.film);
        if let Some(at) = turn.again_at {
            self.at(at, What::Play);
        }
        if let Some(demands) = turn.demands {
            self.input(now, Input::Demanded(demands), shared);
        }
    }

    fn load(&mut self, now: u64, piece: PieceId, mask: Mask, shared: &Shared) {
        let full = shared.film.sealed(piece).header().full_mask();
        let here = match piece.lane.0 {
            0 => self.has_manifest || self.index == 0,
            _ => self.masks[piece.index.0 as usize] & mask.0 == mask.0,
        };
        assert!(here, "a Load is of what was stored");
        for block in mask.and(full).iter() {
            let block = shared.film.block(piece, block);
            self.input(now, Input::Loaded { block }, shared);
        }
        let gone = mask.without(full);
        if !gone.is_empty() {
            self.input(now, Input::LoadFailed { piece, mask: gone }, shared);
        }
    }

    // ── connections ──

    fn connect(&mut self, now: u64, peer: PeerId, shared: &Shared) {
        let Some(&to) = shared.by_id.get(&peer) else {
            return self.input(now, Input::ConnectFailed { peer }, shared);
        };
        let conn = self.new_conn();
        self.offers.insert(conn, (to, peer));
        self.at(now + OFFER_US, What::OfferOver(conn));
        let offer = Signal {
            from: self.index,
            conn,
            answers: None,
            opens_at: 0,
        };
        self.send_signal(now, to, offer, shared);
    }

    fn new_conn(&mut self) -> ConnId {
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        conn
    }

    /// Through the server; where that is gone, through a neighbour of both.
    fn send_signal(&mut self, now: u64, to: u32, signal: Signal, shared: &Shared) {
        if shared.has_server(now) {
            self.tell_server(now, ToServer::Relay(to, signal), shared);
        } else {
            let to = shared.spots[to as usize].id;
            self.input(
                now,
                Input::Signal {
                    to,
                    blob: signal.to_blob(),
                },
                shared,
            );
        }
    }

    fn signal(&mut self, now: u64, signal: Signal, shared: &Shared) {
        if !self.is_here() || self.index == signal.from {
            return;
        }
        let Some((one_way_us, relayed)) = shared.path(self.index, signal.from, now) else {
            return;
        };
        let loss = shared.loss_ppm(self.index, signal.from);
        let wire = Wire::new(signal.from, signal.conn, one_way_us, relayed, loss);
        match signal.answers {
            Some(offer) => {
                if self.offers.remove(&offer).is_some() {
                    self.opening.insert(offer, (wire, true));
                    self.at(signal.opens_at.max(now + 1), What::Open(offer));
                }
            }
            // A neighbour carries each blob twice.
            None if self.knows(&signal) => {}
            None => {
                let conn = self.new_conn();
                // The answer's way back, then checks, DTLS and SCTP: three and a half round trips.
                let back = shared.to_server_us(self.index) + shared.to_server_us(signal.from);
                let opens_at = now + back + 7 * one_way_us + SETUP_US;
                self.opening.insert(conn, (wire, false));
                self.at(opens_at, What::Open(conn));
                let answer = Signal {
                    from: self.index,
                    conn,
                    answers: Some(signal.conn),
                    opens_at,
                };
                self.send_signal(now, signal.from, answer, shared);
            }
        }
    }

    fn knows(&self, offer: &Signal) -> bool {
        let same = |wire: &Wire| wire.remote == offer.from && wire.remote_conn == offer.conn;
        self.wires.values().any(same) || self.opening.values().any(|(wire, _)| same(wire))
    }

    fn offer_over(&mut self, now: u64, conn: ConnId, shared: &Shared) {
        if let Some((_, peer)) = self.offers.remove(&conn) {
            self.input(now, Input::ConnectFailed { peer }, shared);
        }
    }

    fn open(&mut self, now: u64, conn: ConnId, shared: &Shared) {
        let Some((mut wire, offerer)) = self.opening.remove(&conn) else {
            return;
        };
        let nonce = |node: u32, conn: ConnId| {
            let mut nonce = [0; 16];
            nonce[..4].copy_from_slice(&node.to_le_bytes());
            nonce[8..].copy_from_slice(&conn.0.to_le_bytes());
            nonce
        };
        let fingerprint = |node: u32| [node as u8; 32];
        let binding = Binding {
            local_nonce: nonce(self.index, conn),
            remote_nonce: nonce(wire.remote, wire.remote_conn),
            local_fingerprint: fingerprint(self.index),
            remote_fingerprint: fingerprint(wire.remote),
            offerer,
        };
        let peer = shared.spots[wire.remote as usize].id;
        let path = if wire.is_relayed {
            Path::Relay
        } else {
            Path::Direct
        };
        wire.told = SEND_BUFFER;
        self.wires.insert(conn, wire);
        self.input(
            now,
            Input::Connected {
                conn,
                peer,
                binding,
                path,
            },
            shared,
        );
        self.input(
            now,
            Input::Writable {
                conn,
                credit: SEND_BUFFER,
            },
            shared,
        );
    }

    fn disconnect(&mut self, now: u64, conn: ConnId, shared: &Shared) {
        if let Some(wire) = self.wires.remove(&conn) {
            let said = self.up_free_at.max(now) + wire.one_way_us + 1_000;
            let at = shared.after_partition(self.index, wire.remote, said);
            if !wire.is_dead {
                self.to(wire.remote, at, What::Cut(wire.remote_conn));
            }
        }
    }

    // ── messages ──

    fn send(&mut self, now: u64, conn: ConnId, channel: Channel, bytes: Bytes, shared: &Shared) {
        assert!(bytes.len() <= 65_536, "a message is at most 64 KiB");
        let bytes = match (self.habit, channel) {
            (Habit::Liar, Channel::Data) => return,
            (Habit::Liar, Channel::Control) => boast(bytes, shared),
            (Habit::Poisoner, Channel::Data) => spoil(&bytes),
            _ => bytes,
        };
        if channel == Channel::Control && is_lost(&bytes, &shared.plan.unheard) {
            return;
        }
        let Some(wire) = self.wires.get_mut(&conn) else {
            return;
        };
        wire.sent += bytes.len() as u64;
        if let Some((_, tell)) = shared
            .watch
            .filter(|(node, _)| [self.index, wire.remote].contains(node))
        {
            tell(told(now, self.index, wire.remote, channel, &bytes));
        }
        if channel == Channel::Data {
            assert!(wire.sent <= wire.told + 64 * 1024, "blocks wait for credit");
            wire.queue.push_back(bytes);
            return self.uplink(now, shared);
        }
        wire.drained += bytes.len() as u64;
        self.transmit(now, conn, channel, bytes, 0, shared);
    }

    /// Lets blocks out, connections in turn, while the router's queue takes more.
    fn uplink(&mut self, now: u64, shared: &Shared) {
        let queue_us = shared.spots[self.index as usize].queue_us;
        loop {
            if self.up_free_at > now + queue_us {
                return self.turn_again(self.up_free_at - queue_us);
            }
            let waits = |(_, wire): &(&ConnId, &Wire)| !wire.queue.is_empty();
            let ready = |item: &(&ConnId, &Wire)| waits(item) && item.1.free_at <= now;
            let after = ConnId(self.turn.0 + 1);
            let next = self
                .wires
                .range(after..)
                .find(ready)
                .or_else(|| self.wires.iter().find(ready));
            let Some((&conn, _)) = next else {
                let soonest = self
                    .wires
                    .iter()
                    .filter(waits)
                    .map(|(_, wire)| wire.free_at)
                    .min();
                return soonest.into_iter().for_each(|at| self.turn_again(at));
            };
            self.turn = conn;
            let wire = self.wires.get_mut(&conn).expect("just seen");
            let bytes = wire.queue.pop_front().expect("not empty");
            let len = bytes.len() as u64;
            wire.drained += len;
            let delay = wire.pass(now, len);
            // As `bufferedamountlow`: not for every message.
            let credit = wire.drained + SEND_BUFFER;
            let tell = wire.queue.is_empty() || credit >= wire.told + SEND_BUFFER / 4;
            self.counts.sent += len;
            self.transmit(now, conn, Channel::Data, bytes, delay, shared);
            if tell && self.wires.get(&conn).is_some_and(|wire| wire.told < credit) {
                self.wires.get_mut(&conn).expect("just seen").told = credit;
                self.input(now, Input::Writable { conn, credit }, shared);
            }
        }
    }

    fn turn_again(&mut self, at: u64) {
        if self.turn_at.is_none_or(|old| at < old) {
            self.turn_at = Some(at);
            self.at(at, What::Turn);
        }
    }

    fn transmit(
        &mut self,
        now: u64,
        conn: ConnId,
        channel: Channel,
        bytes: Bytes,
        delay: u64,
        shared: &Shared,
    ) {
        let len = bytes.len() as u64 + 60;
        self.count_queue(now, shared);
        let up = shared.spots[self.index as usize].up;
        self.up_free_at = self.up_free_at.max(now) + len * 1_000_000 / up;
        let dice = self.rng.number();
        let wire = self.wires.get_mut(&conn).expect("the caller looked");
        let arrives = self.up_free_at + delay + wire.one_way_us + wire.loss_delay(len, dice);
        let (remote, remote_conn) = (wire.remote, wire.remote_conn);
        let arrives = shared.after_partition(self.index, remote, arrives);
        let arrives = wire.in_order(channel, arrives);
        if wire.is_dead {
            return;
        }
        self.to(
            remote,
            arrives,
            What::Arrive {
                conn: remote_conn,
                channel,
                bytes,
            },
        );
    }

    /// Looks once in a millisecond at what waited until now.
    fn count_queue(&mut self, now: u64, shared: &Shared) {
        let from = std::mem::replace(&mut self.queue_seen, now);
        if !shared.spots[self.index as usize].has_all && self.counts.complete_at.is_none() {
            return;
        }
        for at in (from..now.min(self.up_free_at)).step_by(1000) {
            let step = ((self.up_free_at - at) / QUEUE_STEP_US) as usize;
            if self.counts.queue.len() <= step {
                self.counts.queue.resize(step + 1, 0);
            }
            self.counts.queue[step] += 1;
        }
    }

    /// Small messages pass an idle downlink at once; others queue for it.
    fn arrive(&mut self, now: u64, conn: ConnId, channel: Channel, bytes: Bytes, shared: &Shared) {
        let down = shared.spots[self.index as usize].down;
        let took = (bytes.len() as u64 + 60) * 1_000_000 / down;
        let waits = self.down_free_at > now;
        self.down_free_at = self.down_free_at.max(now) + took;
        if channel == Channel::Control && !waits {
            self.deliver(now, conn, channel, bytes, shared);
        } else {
            self.at(
                self.down_free_at,
                What::Deliver {
                    conn,
                    channel,
                    bytes,
                },
            );
        }
    }

    fn deliver(&mut self, now: u64, conn: ConnId, channel: Channel, bytes: Bytes, shared: &Shared) {
        let Some(wire) = self.wires.get(&conn) else {
            return;
        };
        if channel == Channel::Data {
            let len = bytes.len() as u64;
            let region = |node: u32| CITIES[shared.spots[node as usize].city].region;
            self.counts.received += len;
            *self.counts.received_from.entry(wire.remote).or_default() += len;
            self.counts.byte_rtt_ms += len * (2 * wire.one_way_us / 1000);
            self.counts.cross_region += if region(wire.remote) == region(self.index) {
                0
            } else {
                len
            };
        }
        self.input(
            now,
            Input::Received {
                conn,
                channel,
                bytes,
            },
            shared,
        );
    }

    // ── the engine ──

    /// Gives the engine an input, and those that follow from what it puts out, each when the outputs of the one before are done with.
    fn input(&mut self, now: u64, input: Input, shared: &Shared) {
        self.pending.push_back(input);
        if std::mem::replace(&mut self.is_busy, true) {
            return;
        }
        while let Some(input) = self.pending.pop_front() {
            self.step(now, input, shared);
        }
        self.is_busy = false;
    }

    fn step(&mut self, now: u64, input: Input, shared: &Shared) {
        let Some(swarm) = &mut self.swarm else { return };
        swarm.handle_input(Instant(now), input);
        self.counts.inputs += 1;
        if self.counts.inputs.is_multiple_of(shared.check_every) {
            swarm.check_invariants();
        }
        let mut outputs = std::mem::take(&mut self.outputs);
        outputs.extend(std::iter::from_fn(|| swarm.poll_output()));
        let mixed = self.counts.digest.rotate_left(5) ^ now ^ (outputs.len() as u64) << 48;
        self.counts.digest = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.schedule_wake(now);
        for output in outputs.drain(..) {
            self.output(now, output, shared);
        }
        self.outputs = outputs;
    }

    fn schedule_wake(&mut self, now: u64) {
        let Some(Instant(at)) = self.swarm.as_ref().and_then(|swarm| swarm.poll_timeout()) else {
            return;
        };
        assert!(at > now, "a timer that is due was handled");
        if self.wakes_at.is_none_or(|old| at < old) {
            self.wakes_at = Some(at);
            self.at(at, What::Wake);
        }
    }

    fn output(&mut self, now: u64, output: Output, shared: &Shared) {
        match output {
            Output::Send {
                conn,
                channel,
                bytes,
            } => self.send(now, conn, channel, bytes, shared),
            Output::Connect { peer } => self.connect(now, peer, shared),
            Output::Disconnect { conn, .. } => self.disconnect(now, conn, shared),
            Output::Signal { blob, .. } => {
                let signal = Signal::from_blob(&blob).expect("only this world's blobs are carried");
                self.at(now, What::Signal(signal));
            }
            Output::Report {
                completeness_permille,
                free_slots,
            } => self.tell_server(
                now,
                ToServer::Report(completeness_permille, free_slots),
                shared,
            ),
            Output::Seal { piece } => self.at(now + SEAL_US, What::Seal(piece)),
            Output::Load { piece, mask } => self.at(now + LOAD_US, What::Load { piece, mask }),
            Output::CancelLoad { .. } => {}
            Output::LoadHeader { .. } => unreachable!("nobody said that headers are kept"),
            Output::Store { block } => self.store(&block, shared),
            Output::Deliver(block) => self.show(now, &block, shared),
            Output::Event(Told::Complete) => {
                self.counts.complete_at.get_or_insert(now);
            }
            Output::Event(_) => {}
        }
    }

    /// Every block is kept once, and is the film's.
    fn store(&mut self, block: &VerifiedBlock, shared: &Shared) {
        let piece = block.piece();
        let film = shared.film.sealed(piece).header();
        assert!(film.same_core(block.header()), "what is stored is the film");
        if piece.lane.0 == 0 {
            assert!(
                !std::mem::replace(&mut self.has_manifest, true),
                "the manifest is stored once"
            );
            return;
        }
        let mask = &mut self.masks[piece.index.0 as usize];
        let bit = 1u64 << block.block().0;
        assert_eq!(*mask & bit, 0, "a block is stored once");
        *mask |= bit;
    }

    fn show(&mut self, now: u64, block: &VerifiedBlock, shared: &Shared) {
        if shared.check_every == 1 {
            let film = shared.film.block(block.piece(), block.block());
            assert_eq!(block.bytes(), film.bytes(), "what is played is the film");
        }
        let piece = block.piece();
        if piece.lane.0 == 0 {
            // The session reads the manifest and knows the start set; without a player nothing is demanded.
            self.manifest_came(now, shared);
            return;
        }
        let BlockIndex(at) = block.block();
        let number = u64::from(piece.index.0) * BLOCKS + u64::from(at);
        if self
            .player
            .as_ref()
            .is_some_and(|player| player.waits_for(number))
        {
            self.look(now);
        }
    }

    fn manifest_came(&mut self, now: u64, shared: &Shared) {
        match &mut self.player {
            Some(player) => {
                player.manifest_came();
                self.look(now);
            }
            None => self.input(now, Input::Demanded(Vec::new()), shared),
        }
        self.input(now, Input::StartSet(shared.film.start_set()), shared);
    }
}

/// A Hello or Have that claims every piece. What the Hello signs does not contain it.
fn boast(bytes: Bytes, shared: &Shared) -> Bytes {
    match Message::decode(&bytes, false) {
        Ok(Message::Hello(mut hello)) => {
            let count = shared.film.piece_count() as u32;
            let all = |lane, count| Range {
                lane,
                first: 0,
                count,
            };
            hello.head = Some(shared.film.head.bytes().to_vec());
            hello.have = Have {
                ranges: vec![all(0, 1), all(1, count)],
                parts: Vec::new(),
            };
            Message::Hello(hello).encode()
        }
        // It does not refuse either.
        Ok(Message::Reject(_)) => Message::Ping(1).encode(),
        _ => bytes,
    }
}

/// Whether this is a message that nobody hears in this world.
fn is_lost(bytes: &Bytes, unheard: &[Word]) -> bool {
    !unheard.is_empty()
        && match Message::decode(bytes, false) {
            Ok(Message::Neighbours(_)) => unheard.contains(&Word::Neighbours),
            Ok(Message::Introduce(_)) => unheard.contains(&Word::Introduce),
            _ => false,
        }
}

fn spoil(bytes: &Bytes) -> Bytes {
    let mut spoilt = bytes.to_vec();
    *spoilt.last_mut().expect("a block message is not empty") ^= 1;
    spoilt.into()
}

/// One message as a line.
fn told(now: u64, from: u32, to: u32, channel: Channel, bytes: &Bytes) -> String {
    let what = match Message::decode(bytes, channel == Channel::Data) {
        Ok(Message::Blocks(blocks)) => format!("Blocks {} {:#x}", blocks.piece, blocks.mask.0),
        Ok(Message::Header(_)) => "Header".into(),
        Ok(Message::Hello(hello)) => {
            format!("Hello grant {} start_set {}", hello.grant, hello.start_set)
        }
        Ok(message) => format!("{message:?}"),
        Err(error) => format!("{error}"),
    };
    format!(
        "{:>10.3} ms {from:>5} -> {to:<5} {what:.240}",
        now as f64 / 1000.0
    )
}
