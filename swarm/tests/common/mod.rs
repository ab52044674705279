//! A world for engines: one event queue, links with latency and rates, drivers that seal, load and store in memory with real crypto.
//!
//! Everything follows from the seed. Uplinks serve their connections in turn, message by message, as data channels on one link roughly
//! do; credit is what left the send buffer plus its size, as a driver computes it from `bufferedAmount`.
#![allow(dead_code)]

pub mod film;
mod net;
pub mod player;
pub mod puppet;

use baton_content::{Mask, PeerId, PeerKey, PieceId, VerifiedBlock};
use baton_swarm::{
    Channel, Config, ConnId, Event, Input, Instant, Output, Reason, Role, Stats, Stream, Swarm,
};
use bytes::Bytes;
use film::Film;
use net::Wire;
use player::Player;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub const SECOND: u64 = 1_000_000;

/// One end of a link to the world.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub up: u64,
    pub down: u64,
    /// One way to the middle of the world.
    pub latency_us: u64,
}

impl Link {
    pub fn new(up: u64, down: u64, latency_us: u64) -> Link {
        Link {
            up,
            down,
            latency_us,
        }
    }
}

/// What a node does to what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    Honest,
    /// Spoils one byte of every block message.
    Poison,
    /// Never sends a block.
    Withhold,
}

/// What went into an engine and a digest of what came out.
#[derive(Default)]
pub struct Record {
    pub inputs: Vec<(Instant, Input)>,
    pub digests: Vec<u64>,
}

pub struct Node {
    pub swarm: Swarm,
    pub id: PeerId,
    pub link: Link,
    pub alive: bool,
    pub habit: Habit,
    pub store: BTreeMap<PieceId, BTreeMap<u8, VerifiedBlock>>,
    pub player: Option<Player>,
    pub events: Vec<(u64, Event)>,
    pub disconnects: Vec<(u64, ConnId, Reason)>,
    pub signals: Vec<(PeerId, Bytes)>,
    pub delivered: u64,
    pub delivered_twice: u64,
    pub complete_at: Option<u64>,
    pub joined_at: u64,
    /// When recording: what went in, and a digest of what came out.
    pub record: Option<Record>,
    source: Option<Rc<Film>>,
    wires: BTreeMap<ConnId, Wire>,
    turn: u64,
    up_busy: bool,
    up_free_at: u64,
    down_free_at: u64,
    wakes_at: Option<u64>,
    next_conn: u64,
    outputs: u64,
}

enum What {
    Input(usize, Input),
    UplinkFree(usize),
    Arrive {
        node: usize,
        conn: ConnId,
        channel: Channel,
        bytes: Bytes,
    },
    Deliver {
        node: usize,
        conn: ConnId,
        channel: Channel,
        bytes: Bytes,
    },
    Link {
        from: usize,
        to: PeerId,
    },
    Wake(usize),
    Play(usize),
    Seal(usize, PieceId),
    Load(usize, PieceId, Mask),
    LoadHeader(usize, PieceId),
}

pub struct World {
    pub now: u64,
    pub nodes: Vec<Node>,
    pub film: Rc<Film>,
    pub seed: u64,
    /// Control messages are late by up to this, so that blocks overtake them.
    pub control_jitter_us: u64,
    /// What leaves a node leaves in the order in which it was sent, as through a router, and not connections in turn.
    pub router: bool,
    pub seal_us: u64,
    pub load_us: u64,
    /// Storage keeps headers, and of those asked of viewers' it has lost every so many.
    pub headers_lost_every: Option<u64>,
    /// How often storage was asked for a header.
    pub header_loads: u64,
    /// Pairs that cannot meet.
    pub apart: BTreeSet<(usize, usize)>,
    /// Pairs that are tabs of one browser.
    pub tabs: BTreeSet<(usize, usize)>,
    /// Check the engines' invariants after every so many inputs.
    pub check_every: u64,
    /// Print every message as it is sent.
    pub trace: bool,
    /// Nodes that are added from now on keep a record.
    pub recording: bool,
    queue: BTreeMap<(u64, u64), What>,
    seq: u64,
    rng: u64,
    steps: u64,
}

impl World {
    pub fn new(film: impl Into<Rc<Film>>, seed: u64) -> World {
        World {
            now: 0,
            nodes: Vec::new(),
            film: film.into(),
            seed,
            control_jitter_us: 0,
            router: false,
            seal_us: 3_000,
            load_us: 500,
            headers_lost_every: None,
            header_loads: 0,
            apart: BTreeSet::new(),
            tabs: BTreeSet::new(),
            check_every: 64,
            trace: false,
            recording: false,
            queue: BTreeMap::new(),
            seq: 0,
            rng: seed ^ 0x5eed,
            steps: 0,
        }
    }

    pub fn random(&mut self, below: u64) -> u64 {
        self.rng = self
            .rng
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.rng >> 33) % below.max(1)
    }

    pub fn publisher(&mut self, link: Link) -> usize {
        let film = self.film.clone();
        let node = self.add(Role::Publisher, link, Config::default(), Vec::new());
        self.nodes[node].source = Some(film.clone());
        self.input(node, Input::StartSet(film.start_set()));
        node
    }

    pub fn viewer(&mut self, link: Link) -> usize {
        self.add(Role::Viewer, link, Config::default(), Vec::new())
    }

    /// A viewer whose store holds some pieces of lane 1 and the manifest already.
    pub fn viewer_with(&mut self, link: Link, config: Config, pieces: &[u32]) -> usize {
        let film = self.film.clone();
        let mut ids = film.piece_ids(0);
        if pieces.is_empty() {
            ids.clear();
        }
        ids.extend(
            pieces
                .iter()
                .map(|&index| PieceId::new(baton_content::Lane(1), index)),
        );
        self.add(Role::Viewer, link, config, ids)
    }

    pub fn add(&mut self, role: Role, link: Link, config: Config, pieces: Vec<PieceId>) -> usize {
        let index = self.nodes.len();
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&(self.seed << 16 | index as u64).to_le_bytes());
        let key = PeerKey::from_seed(seed);
        let id = key.id();
        let knows_head = role == Role::Publisher || !pieces.is_empty();
        let stream = Stream {
            publisher: self.film.publisher.id(),
            swarm: self.film.swarm,
            head: knows_head.then(|| self.film.head.clone()),
        };
        let mut store = BTreeMap::new();
        let mut have = Vec::new();
        for piece in pieces {
            let sealed = self.film.sealed(piece);
            have.push((sealed.header().clone(), sealed.header().full_mask()));
            store.insert(
                piece,
                sealed
                    .blocks()
                    .map(|block| (block.block().0, block))
                    .collect(),
            );
        }
        let swarm = Swarm::new(
            stream,
            have,
            role,
            config,
            key,
            self.seed * 1000 + index as u64,
            Instant(self.now),
            1_800_000_000,
        );
        let kept: Vec<PieceId> = store.keys().copied().collect();
        let complete = role != Role::Publisher && swarm.stats().completeness_permille == 1000;
        self.nodes.push(Node {
            swarm,
            id,
            link,
            alive: true,
            habit: Habit::Honest,
            store,
            player: None,
            events: Vec::new(),
            disconnects: Vec::new(),
            signals: Vec::new(),
            delivered: 0,
            delivered_twice: 0,
            complete_at: complete.then_some(self.now),
            joined_at: self.now,
            record: self.recording.then(Record::default),
            source: None,
            wires: BTreeMap::new(),
            turn: 0,
            up_busy: false,
            up_free_at: 0,
            down_free_at: 0,
            wakes_at: None,
            next_conn: 1,
            outputs: 0,
        });
        for piece in kept {
            self.keep_header(index, piece);
        }
        index
    }

    fn keep_header(&mut self, node: usize, piece: PieceId) {
        if self.headers_lost_every.is_some() {
            self.at(self.now, What::Input(node, Input::HeaderKept { piece }));
        }
    }

    /// Gives a node a player that starts as soon as the manifest is there.
    pub fn play(&mut self, node: usize, bytes_per_second: u64) {
        let film = self.film.clone();
        self.nodes[node].player = Some(Player::new(film, bytes_per_second, self.now));
        self.at(self.now, What::Play(node));
    }

    /// Tells a node about the others, best first; it connects with them.
    pub fn introduce(&mut self, node: usize, others: &[usize]) {
        let ids = others.iter().map(|&other| self.nodes[other].id).collect();
        self.input(node, Input::Candidates(ids));
    }

    /// The page is closed; `politely`, or by pulling the plug.
    pub fn leave(&mut self, node: usize, politely: bool) {
        if politely {
            self.input(node, Input::Leaving);
            // What was said still goes out.
            self.run_for(100_000);
        }
        self.nodes[node].alive = false;
        let wires = std::mem::take(&mut self.nodes[node].wires);
        if politely {
            for wire in wires.values() {
                self.at(
                    self.now,
                    What::Input(
                        wire.remote,
                        Input::Disconnected {
                            conn: wire.remote_conn,
                        },
                    ),
                );
            }
        }
    }

    /// Cuts everything that a dead node was connected with, as a browser notices after some seconds.
    pub fn notice_death(&mut self, node: usize) {
        for other in 0..self.nodes.len() {
            let conns: Vec<ConnId> = self.nodes[other]
                .wires
                .iter()
                .filter(|(_, wire)| wire.remote == node)
                .map(|(conn, _)| *conn)
                .collect();
            for conn in conns {
                self.nodes[other].wires.remove(&conn);
                self.input(other, Input::Disconnected { conn });
            }
        }
    }

    fn at(&mut self, time: u64, what: What) {
        self.seq += 1;
        self.queue.insert((time.max(self.now), self.seq), what);
    }

    pub fn later(&mut self, after_us: u64, node: usize, input: Input) {
        self.at(self.now + after_us, What::Input(node, input));
    }

    pub fn run_for(&mut self, us: u64) {
        let end = self.now + us;
        self.run_until(end, |_| false);
        self.now = end;
    }

    /// Runs until `done` or the time; whether it was done.
    pub fn run_until(&mut self, end: u64, done: impl Fn(&World) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            let Some((&(time, seq), _)) = self.queue.first_key_value() else {
                return false;
            };
            if time > end {
                return false;
            }
            let what = self.queue.remove(&(time, seq)).expect("just seen");
            self.now = time;
            self.step(what);
        }
    }

    pub fn all_complete(&self) -> bool {
        self.nodes
            .iter()
            .all(|node| !node.alive || node.complete_at.is_some() || node.source.is_some())
    }

    fn step(&mut self, what: What) {
        match what {
            What::Input(node, input) => self.input(node, input),
            What::UplinkFree(node) => {
                self.nodes[node].up_busy = false;
                self.uplink(node);
            }
            What::Arrive {
                node,
                conn,
                channel,
                bytes,
            } => {
                let n = &mut self.nodes[node];
                let done = n.down_free_at.max(self.now) + bytes.len() as u64 * SECOND / n.link.down;
                n.down_free_at = done;
                self.at(
                    done,
                    What::Deliver {
                        node,
                        conn,
                        channel,
                        bytes,
                    },
                );
            }
            What::Deliver {
                node,
                conn,
                channel,
                bytes,
            } => {
                if self.nodes[node].wires.contains_key(&conn) {
                    self.input(
                        node,
                        Input::Received {
                            conn,
                            channel,
                            bytes,
                        },
                    );
                }
            }
            What::Link { from, to } => self.link(from, to),
            What::Wake(node) => {
                if self.nodes[node].wakes_at.is_some_and(|at| at <= self.now) {
                    self.nodes[node].wakes_at = None;
                    self.input(node, Input::TimedOut);
                }
            }
            What::Play(node) => self.player_turn(node),
            What::Seal(node, piece) => {
                let header = self.film.sealed(piece).header().clone();
                self.input(node, Input::Sealed { header });
                self.keep_header(node, piece);
            }
            What::Load(node, piece, mask) => self.load(node, piece, mask),
            What::LoadHeader(node, piece) => self.load_header(node, piece),
        }
    }

    fn load_header(&mut self, node: usize, piece: PieceId) {
        self.header_loads += 1;
        let every = self.headers_lost_every.expect("it said that they are kept");
        let is_publisher = self.nodes[node].source.is_some();
        if !is_publisher && self.header_loads.is_multiple_of(every) {
            self.nodes[node].store.remove(&piece);
            return self.input(node, Input::HeaderFailed { piece });
        }
        let header = self.film.sealed(piece).header().clone();
        self.input(node, Input::HeaderLoaded { header });
    }

    fn load(&mut self, node: usize, piece: PieceId, mask: Mask) {
        for block in mask.iter() {
            let found = match &self.nodes[node].source {
                Some(film) => film.sealed(piece).block(block),
                None => self.nodes[node]
                    .store
                    .get(&piece)
                    .and_then(|blocks| blocks.get(&block.0))
                    .cloned(),
            };
            let input = match found {
                Some(block) => Input::Loaded { block },
                None => Input::LoadFailed {
                    piece,
                    mask: Mask::of(block),
                },
            };
            self.input(node, input);
        }
    }

    pub fn input(&mut self, node: usize, input: Input) {
        if !self.nodes[node].alive {
            return;
        }
        self.steps += 1;
        let now = Instant(self.now);
        let n = &mut self.nodes[node];
        if let Some(record) = &mut n.record {
            record.inputs.push((now, input.clone()));
        }
        n.swarm.handle_input(now, input);
        if self.steps.is_multiple_of(self.check_every) {
            n.swarm.check_invariants();
        }
        let mut outputs = Vec::new();
        while let Some(output) = n.swarm.poll_output() {
            if let Some(record) = &mut n.record {
                record.digests.push(digest(&output));
            }
            outputs.push(output);
        }
        n.outputs += outputs.len() as u64;
        for output in outputs {
            self.output(node, output);
        }
        self.schedule_wake(node);
    }

    fn schedule_wake(&mut self, node: usize) {
        let Some(at) = self.nodes[node].swarm.poll_timeout() else {
            return;
        };
        assert!(at.0 > self.now, "a timer that is due was not handled");
        if self.nodes[node]
            .wakes_at
            .is_none_or(|old| at.0 < old || old < self.now)
        {
            self.nodes[node].wakes_at = Some(at.0);
            self.at(at.0, What::Wake(node));
        }
    }

    fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Send {
                conn,
                channel,
                bytes,
            } => self.send(node, conn, channel, bytes),
            Output::Connect { peer } => {
                let delay = 4 * self.nodes[node].link.latency_us + self.random(5_000) + 20_000;
                self.at(
                    self.now + delay,
                    What::Link {
                        from: node,
                        to: peer,
                    },
                );
            }
            Output::Disconnect { conn, reason } => {
                self.nodes[node].disconnects.push((self.now, conn, reason));
                // The wire stays until what was said is out; the other side hears of the end a little later.
                if let Some(wire) = self.nodes[node].wires.get(&conn) {
                    let (remote, remote_conn) = (wire.remote, wire.remote_conn);
                    self.at(
                        self.now + 200_000,
                        What::Input(remote, Input::Disconnected { conn: remote_conn }),
                    );
                }
            }
            Output::Signal { from, blob } => self.nodes[node].signals.push((from, blob)),
            Output::Report { .. } | Output::CancelLoad { .. } => {}
            Output::Seal { piece } => self.at(self.now + self.seal_us, What::Seal(node, piece)),
            Output::Load { piece, mask } => {
                self.at(self.now + self.load_us, What::Load(node, piece, mask))
            }
            Output::LoadHeader { piece } => {
                self.at(self.now + self.load_us, What::LoadHeader(node, piece))
            }
            Output::Store { block } => {
                let piece = block.piece();
                let mask = Mask::of(block.block());
                let old = self.nodes[node]
                    .store
                    .entry(piece)
                    .or_default()
                    .insert(block.block().0, block);
                self.nodes[node].delivered_twice += u64::from(old.is_some());
                self.at(self.now, What::Input(node, Input::Stored { piece, mask }));
                self.keep_header(node, piece);
            }
            Output::Deliver(block) => {
                self.film.check(&block);
                if block.piece().lane.0 == 0 {
                    // The session reads the manifest and knows the start set.
                    self.at(
                        self.now,
                        What::Input(node, Input::StartSet(self.film.start_set())),
                    );
                    if self.nodes[node].player.is_none() {
                        self.at(self.now, What::Input(node, Input::Demanded(Vec::new())));
                    }
                }
                self.nodes[node].delivered += block.bytes().len() as u64;
                if let Some(player) = &mut self.nodes[node].player {
                    player.take(&block);
                    if player.wants_attention() {
                        self.at(self.now, What::Play(node));
                    }
                }
            }
            Output::Event(event) => {
                if matches!(event, Event::Complete) {
                    self.nodes[node].complete_at.get_or_insert(self.now);
                }
                self.nodes[node].events.push((self.now, event));
            }
        }
    }

    fn player_turn(&mut self, node: usize) {
        let now = self.now;
        let Some(player) = &mut self.nodes[node].player else {
            return;
        };
        let (demands, again) = player.turn(now);
        if let Some(demands) = demands {
            self.input(node, Input::Demanded(demands));
        }
        if let Some(again) = again {
            self.at(again, What::Play(node));
        }
    }

    pub fn stats(&self, node: usize) -> Stats {
        self.nodes[node].swarm.stats()
    }

    /// How many copies of the film's bytes a node has sent.
    pub fn copies(&self, node: usize) -> f64 {
        self.stats(node).sent_bytes as f64 / self.film.bytes() as f64
    }

    /// Outputs of a node so far: for tests that nothing spins.
    pub fn outputs(&self, node: usize) -> u64 {
        self.nodes[node].outputs
    }

    pub fn has_everything(&self, node: usize) -> bool {
        let film = &self.film;
        [0, 1]
            .iter()
            .flat_map(|&lane| film.piece_ids(lane))
            .all(|piece| {
                let blocks = film.sealed(piece).header().block_count();
                self.nodes[node]
                    .store
                    .get(&piece)
                    .is_some_and(|have| have.len() == blocks)
            })
    }
}

/// One number for what an output says: the same on every machine and with every compiler.
pub fn digest(output: &Output) -> u64 {
    let mut hasher = blake3::Hasher::new();
    let mut add = |part: &[u8]| {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    match output {
        Output::Send {
            conn,
            channel,
            bytes,
        } => {
            add(&[0, *channel as u8]);
            add(&conn.0.to_le_bytes());
            add(bytes);
        }
        Output::Store { block } | Output::Deliver(block) => {
            let stored = matches!(output, Output::Store { .. });
            add(&[1, u8::from(stored), block.block().0]);
            add(&block.piece().lane.0.to_le_bytes());
            add(&block.piece().index.0.to_le_bytes());
            add(block.bytes());
        }
        other => add(format!("{other:?}").as_bytes()),
    }
    let hash = hasher.finalize();
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight bytes"))
}
