//! A world: peers and a server on event queues from one seed, run by as many threads as there are.
//!
//! Nothing reaches another peer sooner than [`Shared::lookahead_us`]. So all that happens in a window of that length at one peer is
//! independent of what happens in it at another: peers are run one after the other, or side by side, and meet when it ends. One seed is one run
//! whatever the number of threads (`the_number_of_threads_changes_nothing`).

use crate::event::{Event, What};
use crate::film::Film;
use crate::node::Node;
use crate::overlay::Overlay;
use crate::places::{self, CITIES};
use crate::rng::Rng;
use crate::scenario::{Group, Habit, Run, Scenario};
use crate::server::{self, Server};
use baton_content::{PeerId, PeerKey};
use baton_swarm::Config;
use std::collections::{BTreeMap, BinaryHeap};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};

const SECOND: u64 = 1_000_000;
/// The server's own access link, one way.
const SERVER_ACCESS_US: u64 = 1_000;

/// What is fixed about one peer.
#[derive(Clone, Debug)]
pub struct Spot {
    pub id: PeerId,
    pub group: usize,
    pub city: usize,
    /// Bytes per second.
    pub up: u64,
    pub down: u64,
    pub access_us: u64,
    pub queue_us: u64,
    pub loss_ppm: u64,
    pub nat: Nat,
    pub joins_at: u64,
    pub leaves_at: Option<u64>,
    pub habit: Habit,
    pub watches: bool,
    pub has_all: bool,
    pub seek_every_us: Option<u64>,
    pub peers: Option<[u16; 2]>,
    pub break_every_us: Option<u64>,
    pub sleep_every_us: Option<u64>,
}

/// How a peer's address translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    Open,
    /// Lets in whom it wrote to, from one port.
    Ordinary,
    /// Another port for everybody: meets only open addresses.
    Symmetric,
}

/// What all peers know and none changes.
pub struct Shared {
    pub seed: u64,
    pub plan: Scenario,
    pub film: Film,
    pub spots: Vec<Spot>,
    pub by_id: BTreeMap<PeerId, u32>,
    /// The server's number, after all peers.
    pub server: u32,
    pub check_every: u64,
    /// Whose messages are told, and to whom.
    pub watch: Option<(u32, fn(String))>,
    server_city: usize,
    ways: Vec<u64>,
}

impl Shared {
    pub fn key(&self, node: u32) -> PeerKey {
        key(self.seed, node)
    }

    fn way(&self, a: usize, b: usize) -> u64 {
        self.ways[a * CITIES.len() + b]
    }

    /// One way between two peers, in microseconds.
    pub fn one_way_us(&self, a: u32, b: u32) -> u64 {
        let (a, b) = (&self.spots[a as usize], &self.spots[b as usize]);
        a.access_us + self.way(a.city, b.city) + b.access_us
    }

    pub fn to_server_us(&self, node: u32) -> u64 {
        let spot = &self.spots[node as usize];
        spot.access_us + self.way(spot.city, self.server_city) + SERVER_ACCESS_US
    }

    pub fn has_server(&self, now: u64) -> bool {
        self.plan
            .server
            .gone_at_s
            .is_none_or(|at| now < at * SECOND)
    }

    pub fn loss_ppm(&self, a: u32, b: u32) -> u64 {
        self.spots[a as usize].loss_ppm + self.spots[b as usize].loss_ppm
    }

    /// How two peers reach each other: one way in microseconds, and whether through the relay. `None`: not at all.
    pub fn path(&self, a: u32, b: u32, now: u64) -> Option<(u64, bool)> {
        if self.is_split(a, b, now) {
            return None;
        }
        let nats = [self.spots[a as usize].nat, self.spots[b as usize].nat];
        if nats.contains(&Nat::Open) || !nats.contains(&Nat::Symmetric) {
            return Some((self.one_way_us(a, b), false));
        }
        let relays = self.plan.server.relay && self.has_server(now);
        relays.then(|| (self.to_server_us(a) + self.to_server_us(b), true))
    }

    /// How many connections it may have.
    pub fn peers_max(&self, node: u32) -> usize {
        let peers = self.spots[node as usize].peers;
        peers
            .map_or(Config::default().peers_max, |[_, most]| most)
            .into()
    }

    fn is_split(&self, a: u32, b: u32, now: u64) -> bool {
        self.plan.partition.as_ref().is_some_and(|partition| {
            let inside = |node: u32| {
                let city = &CITIES[self.spots[node as usize].city];
                [city.region, city.country, city.name].contains(&&partition.region[..])
            };
            (partition.from_s * SECOND..partition.until_s * SECOND).contains(&now)
                && inside(a) != inside(b)
        })
    }

    /// When something that would arrive at `at` does: after the partition that holds it up.
    pub fn after_partition(&self, a: u32, b: u32, at: u64) -> u64 {
        match &self.plan.partition {
            Some(partition) if self.is_split(a, b, at) => partition.until_s * SECOND + at % SECOND,
            _ => at,
        }
    }

    /// No event reaches another peer sooner.
    fn lookahead_us(&self) -> u64 {
        let access = self
            .spots
            .iter()
            .map(|spot| spot.access_us)
            .min()
            .unwrap_or(0);
        access + SERVER_ACCESS_US.min(access) + 300
    }
}

fn key(seed: u64, node: u32) -> PeerKey {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..12].copy_from_slice(&node.to_le_bytes());
    PeerKey::from_seed(bytes)
}

/// Draws every peer of a plan.
fn draw(run: &Run, seed: u64) -> Vec<Spot> {
    let plan = &run.plan;
    let end = plan.seconds * SECOND;
    let mut spots = vec![Spot {
        id: key(seed, 0).id(),
        group: usize::MAX,
        city: places::named(&plan.publisher.city),
        up: plan.publisher.up_kbit * 125,
        down: plan.publisher.up_kbit * 250,
        access_us: plan.publisher.latency_ms.max(1) * 1000,
        queue_us: 100_000,
        loss_ppm: 100,
        nat: Nat::Ordinary,
        joins_at: 0,
        leaves_at: run.leaves_at_s.map(|at| at * SECOND),
        habit: Habit::Honest,
        watches: false,
        has_all: false,
        seek_every_us: None,
        peers: None,
        break_every_us: None,
        sleep_every_us: None,
    }];
    for (number, group) in plan.crowd.iter().enumerate() {
        let mut rng = Rng::new(seed, number as u64 + 1);
        for _ in 0..group.count {
            let spot = draw_one(group, number, &mut rng, key(seed, spots.len() as u32).id());
            spots.push(spot);
        }
    }
    for spot in &mut spots {
        spot.leaves_at = spot.leaves_at.filter(|at| *at < end);
    }
    spots
}

fn draw_one(group: &Group, number: usize, rng: &mut Rng, id: PeerId) -> Spot {
    // A moment after the publisher, so that there is a swarm to join.
    let joins_at = group.from_s * SECOND + 100_000 + rng.below(group.over_s * SECOND + 1);
    let stay = group
        .stay_median_s
        .map(|median| rng.exponential(median * SECOND) + SECOND);
    let nat = match rng.below(group.nat.iter().sum()) {
        at if at < group.nat[0] => Nat::Open,
        at if at < group.nat[0] + group.nat[1] => Nat::Ordinary,
        _ => Nat::Symmetric,
    };
    let range = |[low, high]: [u64; 2], unit: u64| [low * unit, high * unit];
    Spot {
        id,
        group: number,
        city: places::draw(&group.places, rng),
        up: rng.within(range(group.up_kbit, 125)),
        down: rng.within(range(group.down_kbit, 125)),
        access_us: rng.within(range(group.latency_ms, 1000)).max(1000),
        queue_us: group.queue_ms * 1000,
        loss_ppm: group.loss_ppm,
        nat,
        joins_at,
        leaves_at: stay.map(|stay| joins_at + stay),
        habit: group.habit,
        watches: !group.only_fetch && group.habit != Habit::Liar,
        has_all: group.has_all,
        seek_every_us: group.seek_every_s.map(|every| every * SECOND),
        peers: group.peers,
        break_every_us: group.break_every_s.map(|every| every * SECOND),
        sleep_every_us: group.sleep_every_s.map(|every| every * SECOND),
    }
}

/// Peers that one thread runs.
struct Part {
    /// Number of the part and of parts: node `n` is in part `n % parts`.
    place: usize,
    parts: usize,
    nodes: Vec<Node>,
    /// In part 0.
    server: Option<(Server, BinaryHeap<Event>, u64)>,
}

impl Part {
    fn next_at(&self) -> u64 {
        let server = self
            .server
            .as_ref()
            .and_then(|(_, heap, _)| heap.peek())
            .map_or(u64::MAX, |event| event.time);
        self.nodes
            .iter()
            .map(Node::next_at)
            .min()
            .unwrap_or(u64::MAX)
            .min(server)
    }

    fn take(&mut self, events: Vec<(u32, Event)>, shared: &Shared) {
        for (to, event) in events {
            match &mut self.server {
                Some((_, heap, _)) if to == shared.server => heap.push(event),
                _ => self.nodes[to as usize / self.parts].push(event),
            }
        }
    }

    fn run(&mut self, end: u64, shared: &Shared, boxes: &[Mutex<Vec<(u32, Event)>>]) {
        let mut outs: Vec<Vec<(u32, Event)>> = boxes.iter().map(|_| Vec::new()).collect();
        let part_of = |to: u32| {
            if to == shared.server {
                0
            } else {
                to as usize % self.parts
            }
        };
        for node in &mut self.nodes {
            node.run(end, shared);
            for (to, event) in node.out.drain(..) {
                debug_assert!(event.time >= end, "nothing is faster than the lookahead");
                outs[part_of(to)].push((to, event));
            }
        }
        if let Some((server, heap, seq)) = &mut self.server {
            let mut out = Vec::new();
            while heap.peek().is_some_and(|event| event.time < end) {
                let event = heap.pop().expect("just seen");
                if let What::Server(message) = event.what {
                    let answers = server.handle(event.from, message, shared);
                    server::send(answers, event.time, seq, shared, &mut out);
                }
            }
            out.into_iter()
                .for_each(|(to, event)| outs[part_of(to)].push((to, event)));
        }
        for (out, into) in outs.into_iter().zip(boxes) {
            if !out.is_empty() {
                into.lock().expect("no thread panics with it").extend(out);
            }
        }
        let _ = self.place;
    }
}

/// One run.
pub struct World {
    pub shared: Shared,
    pub now: u64,
    pub overlay: Overlay,
    parts: Vec<Part>,
}

impl World {
    /// `check_every`: after so many inputs of a peer its engine's invariants are checked.
    pub fn new(run: &Run, seed: u64, threads: usize, check_every: u64) -> World {
        let plan = run.plan.clone();
        let spots = draw(run, seed);
        let count = CITIES.len();
        let ways = (0..count * count)
            .map(|at| places::one_way_us(at / count, at % count))
            .collect();
        let shared = Shared {
            seed,
            film: Film::new(plan.film.seconds, plan.film.kbit * 125),
            by_id: spots
                .iter()
                .enumerate()
                .map(|(at, spot)| (spot.id, at as u32))
                .collect(),
            server: spots.len() as u32,
            spots,
            check_every,
            watch: None,
            server_city: places::named(&plan.server.city),
            ways,
            plan,
        };
        let threads = threads.clamp(1, shared.spots.len());
        let part = |place: usize| Part {
            place,
            parts: threads,
            nodes: (place..shared.spots.len())
                .step_by(threads)
                .map(|at| Node::new(at as u32, &shared))
                .collect(),
            server: (place == 0).then(|| (Server::new(seed), BinaryHeap::new(), 0)),
        };
        let parts = (0..threads).map(part).collect();
        World {
            shared,
            now: 0,
            overlay: Overlay::default(),
            parts,
        }
    }

    /// Everything before `end`. A panic in an engine or a check comes out here.
    pub fn run_until(&mut self, end: u64) {
        let (shared, lookahead) = (&self.shared, self.shared.lookahead_us());
        let parts = self.parts.len();
        let boxes: Vec<Mutex<Vec<(u32, Event)>>> = (0..parts).map(|_| Mutex::default()).collect();
        let next: Vec<AtomicU64> = (0..parts).map(|_| AtomicU64::new(0)).collect();
        let (barrier, failure) = (Barrier::new(parts), Mutex::new(None));
        let work = |part: &mut Part| {
            loop {
                let came = std::mem::take(
                    &mut *boxes[part.place].lock().expect("no thread panics with it"),
                );
                part.take(came, shared);
                next[part.place].store(part.next_at(), Ordering::Relaxed);
                barrier.wait();
                let start = next
                    .iter()
                    .map(|at| at.load(Ordering::Relaxed))
                    .min()
                    .expect("there is a part");
                if start >= end || failure.lock().expect("only set").is_some() {
                    return;
                }
                let window_end = (start + lookahead).min(end);
                // A thread that is gone would leave the others waiting for ever.
                if let Err(panic) =
                    catch_unwind(AssertUnwindSafe(|| part.run(window_end, shared, &boxes)))
                {
                    failure.lock().expect("only set").get_or_insert(panic);
                }
                barrier.wait();
            }
        };
        let (first, rest) = self.parts.split_first_mut().expect("there is a part");
        std::thread::scope(|scope| {
            for part in rest {
                scope.spawn(|| work(part));
            }
            work(first);
        });
        if let Some(panic) = failure.into_inner().expect("all threads are done") {
            resume_unwind(panic);
        }
        self.now = end;
        let mut overlay = std::mem::take(&mut self.overlay);
        let most = |node: &Node| self.shared.peers_max(node.index);
        overlay.look(end, self.nodes().map(|node| (node, most(node))));
        self.overlay = overlay;
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        (0..self.shared.spots.len())
            .map(|at| &self.parts[at % self.parts.len()].nodes[at / self.parts.len()])
    }

    /// Whether nobody comes any more and every honest viewer that is here has and has seen everything.
    pub fn is_over(&self) -> bool {
        let over = |node: &Node| {
            let seen = node
                .player
                .as_ref()
                .is_none_or(|player| player.finished_at.is_some());
            let came = node.counts.joined_at.is_some();
            came && (!node.is_here() || node.counts.complete_at.is_some() && seen)
        };
        self.nodes()
            .skip(1)
            .filter(|node| node.is_honest())
            .all(over)
    }

    /// Counts what is left to count.
    pub fn close(&mut self) {
        let now = self.now;
        for node in self.parts.iter_mut().flat_map(|part| &mut part.nodes) {
            node.close(now);
        }
    }

    /// One number for the whole run.
    pub fn digest(&self) -> u64 {
        self.nodes()
            .fold(0, |all, node| all.rotate_left(7) ^ node.counts.digest)
    }

    /// Blocks of lane 1 that nobody who is here has.
    pub fn lost_blocks(&self) -> u64 {
        let mut all = vec![0u64; self.shared.film.piece_count()];
        for node in self
            .nodes()
            .filter(|node| node.is_here() && node.is_honest())
        {
            all.iter_mut()
                .zip(&node.masks)
                .for_each(|(all, mask)| *all |= mask);
        }
        let film = &self.shared.film;
        let full = film
            .ids()
            .skip(1)
            .map(|piece| film.sealed(piece).header().full_mask().0);
        full.zip(all)
            .map(|(full, had)| u64::from((full & !had).count_ones()))
            .sum()
    }
}
