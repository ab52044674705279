//! Who is in which swarm, in this process's memory.
//!
//! Invariant: a peer is in a room once; its place in `members`, `index`, `near` and `areas` agree. No method waits: each takes one lock for a few microseconds.

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use baton_signal_protocol::{PeerId, Refusal, Report, ServerMessage, SwarmId};
use bytes::Bytes;
use tokio::sync::Notify;

use crate::geo::Area;
use crate::metrics::Metrics;
use crate::queue::{Full, Load, Queue};
use crate::ranking::{Place, SAMPLE_MAX, Seen, Spot};

/// All rooms of this server.
pub struct Rooms {
    /// Split so that busy swarms do not wait for each other.
    shards: [Mutex<HashMap<SwarmId, Room>>; SHARDS],
    hasher: RandomState,
    metrics: Arc<Metrics>,
    swarm_peers_max: usize,
}

/// The peers of one swarm.
#[derive(Default)]
struct Room {
    index: HashMap<PeerId, usize>,
    members: Vec<Member>,
    near: BTreeSet<(Place, PeerId)>,
    /// Only who is in a country that is known.
    areas: BTreeSet<(Area, PeerId)>,
}

/// A peer that joined.
pub struct Member {
    pub peer: PeerId,
    pub spot: Spot,
    /// The time that its Join was signed for.
    pub joined_unix_s: u64,
    pub completeness_permille: u16,
    pub free_slots: u8,
    pub line: Line,
}

/// The way to a client's session.
#[derive(Clone)]
pub struct Line {
    /// Of this connection; never used again.
    pub connection: u64,
    pub queue: Arc<Queue>,
    pub hangup: Arc<Hangup>,
}

/// Tells a session from outside that its peer is connected elsewhere now.
#[derive(Default)]
pub struct Hangup {
    replaced: AtomicBool,
    notify: Notify,
}

/// What became of a Relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Queued,
    /// Nobody of that id in the sender's swarm.
    Gone,
    /// Too much waits for it already, from this sender or in all. It stays.
    Full,
}

impl Rooms {
    pub fn new(metrics: Arc<Metrics>, swarm_peers_max: usize) -> Self {
        Self {
            shards: Default::default(),
            hasher: RandomState::new(),
            metrics,
            swarm_peers_max,
        }
    }

    /// Lets a peer in and shows it some others.
    ///
    /// The same PeerId again takes the place of the earlier one, which hears [`Refusal::Replaced`], but only with a later Join: a
    /// recorded one does not throw out who made it.
    pub fn join(&self, swarm: SwarmId, member: Member) -> Result<Vec<Seen>, Refusal> {
        let mut shard = self.shard(&swarm);
        let is_new_swarm = !shard.contains_key(&swarm);
        let room = shard.entry(swarm).or_default();
        let (peer, spot) = (member.peer, member.spot);
        match room.get(&peer) {
            Some(there) if member.joined_unix_s <= there.joined_unix_s => {
                return Err(Refusal::Replayed);
            }
            Some(there) => {
                there.line.hangup.replaced();
                room.remove(&peer);
                self.metrics.peers.add(-1);
            }
            None if room.members.len() >= self.swarm_peers_max => return Err(Refusal::SwarmFull),
            None => {}
        }
        room.insert(member);
        self.metrics.peers.add(1);
        self.metrics.swarms.add(i64::from(is_new_swarm));
        Ok(room.sample(peer, &spot, &mut fastrand::Rng::new()))
    }

    /// Where a peer is and some others, by chance different ones in a big swarm. `None` if it is not here.
    pub fn more(&self, swarm: &SwarmId, peer: &PeerId) -> Option<(Spot, Vec<Seen>)> {
        let shard = self.shard(swarm);
        let room = shard.get(swarm)?;
        let spot = room.get(peer)?.spot;
        Some((spot, room.sample(*peer, &spot, &mut fastrand::Rng::new())))
    }

    /// Who is here: its member as `f` sees it.
    pub fn look<T>(
        &self,
        swarm: &SwarmId,
        peer: &PeerId,
        f: impl FnOnce(&Member) -> T,
    ) -> Option<T> {
        let shard = self.shard(swarm);
        shard.get(swarm)?.get(peer).map(f)
    }

    /// Everybody. Takes the locks one after the other.
    pub fn everybody(&self) -> Vec<(SwarmId, PeerId)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().expect("nobody panics while holding a room");
            for (swarm, room) in shard.iter() {
                all.extend(room.members.iter().map(|member| (*swarm, member.peer)));
            }
        }
        all
    }

    /// Ends the session of a peer that joined elsewhere, later than at `joined_unix_s` or at that second.
    pub fn replaced(&self, swarm: &SwarmId, peer: &PeerId, joined_unix_s: u64) {
        self.look(swarm, peer, |member| {
            if member.joined_unix_s <= joined_unix_s {
                member.line.hangup.replaced();
            }
        });
    }

    /// Hands a blob from one member of a swarm to another.
    pub fn relay(&self, swarm: &SwarmId, from: PeerId, to: &PeerId, blob: Vec<u8>) -> Delivery {
        let frame = ServerMessage::Relay { from, blob }.encode();
        self.deliver(swarm, from, to, frame.into())
    }

    /// Puts `frame` into `to`'s queue. A full queue costs the sender this frame and `to` nothing: whether it reads shows when it is written to.
    pub fn deliver(&self, swarm: &SwarmId, from: PeerId, to: &PeerId, frame: Bytes) -> Delivery {
        self.hand(swarm, from, to, Load::Blob, frame)
    }

    /// Hands a frame of a carried connection from one member of a swarm to another.
    pub fn carry(&self, swarm: &SwarmId, from: PeerId, to: &PeerId, frame: Vec<u8>) -> Delivery {
        let message = ServerMessage::Carried { from, frame }.encode();
        self.hand(swarm, from, to, Load::Carried, message.into())
    }

    fn hand(
        &self,
        swarm: &SwarmId,
        from: PeerId,
        to: &PeerId,
        load: Load,
        frame: Bytes,
    ) -> Delivery {
        let shard = self.shard(swarm);
        let Some(member) = shard.get(swarm).and_then(|room| room.get(to)) else {
            return Delivery::Gone;
        };
        match member.line.queue.push(from, load, frame) {
            Ok(()) => Delivery::Queued,
            Err(Full) => Delivery::Full,
        }
    }

    pub fn report(&self, swarm: &SwarmId, peer: &PeerId, report: Report) {
        let mut shard = self.shard(swarm);
        if let Some(member) = shard.get_mut(swarm).and_then(|room| room.get_mut(peer)) {
            member.completeness_permille = report.completeness_permille;
            member.free_slots = report.free_slots;
        }
    }

    /// Forgets the peer, if it is still the one of this connection: then it says where that was.
    pub fn leave(&self, swarm: &SwarmId, peer: &PeerId, connection: u64) -> Option<Spot> {
        let mut shard = self.shard(swarm);
        let Entry::Occupied(mut entry) = shard.entry(*swarm) else {
            return None;
        };
        let room = entry.get_mut();
        let left = room
            .get(peer)
            .filter(|member| member.line.connection == connection)
            .map(|member| member.spot);
        if left.is_some() {
            room.remove(peer);
            self.metrics.peers.add(-1);
        }
        if room.members.is_empty() {
            entry.remove();
            self.metrics.swarms.add(-1);
        }
        left
    }

    fn shard(&self, swarm: &SwarmId) -> MutexGuard<'_, HashMap<SwarmId, Room>> {
        let at = self.hasher.hash_one(swarm) as usize % SHARDS;
        self.shards[at]
            .lock()
            .expect("nobody panics while holding a room")
    }
}

impl Room {
    fn get(&self, peer: &PeerId) -> Option<&Member> {
        self.index.get(peer).map(|&at| &self.members[at])
    }

    fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Member> {
        self.index.get(peer).map(|&at| &mut self.members[at])
    }

    fn insert(&mut self, member: Member) {
        self.index.insert(member.peer, self.members.len());
        self.near.insert((member.spot.place, member.peer));
        if let Some(area) = member.spot.geo.area() {
            self.areas.insert((area, member.peer));
        }
        self.members.push(member);
    }

    fn remove(&mut self, peer: &PeerId) {
        let at = self
            .index
            .remove(peer)
            .expect("only who is here is removed");
        let member = self.members.swap_remove(at);
        self.near.remove(&(member.spot.place, member.peer));
        if let Some(area) = member.spot.geo.area() {
            self.areas.remove(&(area, member.peer));
        }
        if let Some(moved) = self.members.get(at) {
            self.index.insert(moved.peer, at);
        }
    }

    /// At most [`SAMPLE_MAX`] others: some of those nearby from a random point on, and anybody.
    fn sample(&self, peer: PeerId, spot: &Spot, random: &mut fastrand::Rng) -> Vec<Seen> {
        if self.members.len() <= SAMPLE_MAX {
            return self
                .members
                .iter()
                .filter(|member| member.peer != peer)
                .map(Member::seen)
                .collect();
        }
        let mut chosen = BTreeSet::new();
        let start: PeerId = std::array::from_fn(|_| random.u8(..));
        let (place, (first, last)) = (spot.place, spot.place.prefix());
        let street = runs(&self.near, (first, place, last), start, NEAR_MAX);
        let countrymen = spot.geo.area().map(|area| {
            let (first, last) = area.country();
            runs(&self.areas, (first, area, last), start, AREA_MAX)
        });
        let near = street.into_iter().chain(countrymen.unwrap_or_default());
        for near in near.filter(|near| *near != peer) {
            chosen.insert(self.index[&near]);
        }
        let own = self.index.get(&peer).copied();
        // Draws that hit somebody twice are lost, so a sample can be a few short. That costs less than making sure.
        for _ in chosen.len()..SAMPLE_MAX {
            let at = random.usize(..self.members.len());
            if Some(at) != own {
                chosen.insert(at);
            }
        }
        chosen
            .into_iter()
            .take(SAMPLE_MAX)
            .map(|at| self.members[at].seen())
            .collect()
    }
}

/// Some of a sorted set around a point: `max` from the point on, as many before it in the same place, as many from all the run's beginning.
fn runs<T: Ord + Copy>(
    set: &BTreeSet<(T, PeerId)>,
    (first, here, last): (T, T, T),
    start: PeerId,
    max: usize,
) -> Vec<PeerId> {
    let from_start = set.range((here, start)..=(last, [255; 32])).take(max);
    let before = set.range((here, [0; 32])..(here, start)).take(max);
    let lower = set.range((first, [0; 32])..(here, [0; 32])).take(max);
    let all = from_start.chain(before).chain(lower);
    all.map(|(_, peer)| *peer).collect()
}

impl Member {
    pub fn seen(&self) -> Seen {
        Seen {
            peer: self.peer,
            spot: self.spot,
            completeness_permille: self.completeness_permille,
            free_slots: self.free_slots,
        }
    }
}

impl Hangup {
    pub fn replaced(&self) {
        self.replaced.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// Waits until the session is over. For one waiter.
    pub async fn wait(&self) -> Refusal {
        while !self.replaced.load(Ordering::Acquire) {
            self.notify.notified().await;
        }
        Refusal::Replaced
    }
}

const SHARDS: usize = 16;
/// How much of a sample may be from nearby, from each of three directions.
const NEAR_MAX: usize = 8;
/// The same for the network or city, and the country.
const AREA_MAX: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::Geo;
    use crate::ranking::rank;

    const SWARM: SwarmId = [1; 32];

    fn rooms() -> Rooms {
        Rooms::new(Arc::new(Metrics::new()), 1000)
    }

    fn member(number: u16, address: &str, joined_unix_s: u64) -> (Member, Arc<Queue>) {
        let share = crate::queue::Share {
            in_all: 4,
            per_sender: 2,
        };
        let queue = Arc::new(Queue::new(share, crate::queue::Budget::new(1 << 20)));
        let inbox = queue.clone();
        let line = Line {
            connection: u64::from(number) * 10 + joined_unix_s,
            queue,
            hangup: Arc::default(),
        };
        let spot = Spot {
            place: Place::of(address.parse().unwrap()),
            geo: Geo::default(),
        };
        let member = Member {
            peer: peer(number),
            spot,
            joined_unix_s,
            completeness_permille: 0,
            free_slots: 1,
            line,
        };
        (member, inbox)
    }

    fn peer(number: u16) -> PeerId {
        let mut peer = [7; 32];
        peer[..2].copy_from_slice(&number.to_be_bytes());
        peer
    }

    #[test]
    fn a_frame_reaches_only_the_swarm_it_was_sent_in() {
        let rooms = rooms();
        let (alice, inbox) = member(1, "192.0.2.1", 0);
        rooms.join(SWARM, alice).unwrap();
        assert_eq!(
            rooms.deliver(&[2; 32], peer(9), &peer(1), Bytes::from_static(b"x")),
            Delivery::Gone
        );
        assert_eq!(
            rooms.deliver(&SWARM, peer(9), &peer(2), Bytes::from_static(b"x")),
            Delivery::Gone
        );
        assert_eq!(
            rooms.deliver(&SWARM, peer(9), &peer(1), Bytes::from_static(b"x")),
            Delivery::Queued
        );
        assert_eq!(inbox.take().frames, ["x"]);
    }

    #[test]
    fn a_full_queue_costs_the_sender_its_frame_and_the_peer_nothing() {
        let rooms = rooms();
        let (alice, inbox) = member(1, "192.0.2.1", 0);
        rooms.join(SWARM, alice).unwrap();
        let say = |from| rooms.deliver(&SWARM, peer(from), &peer(1), Bytes::new());
        assert_eq!(
            [say(2), say(2), say(2)],
            [Delivery::Queued, Delivery::Queued, Delivery::Full]
        );
        assert_eq!(say(3), Delivery::Queued, "others have room");
        assert_eq!(inbox.take().frames.len(), 3);
        assert_eq!(say(2), Delivery::Queued);
    }

    #[tokio::test]
    async fn the_same_peer_again_replaces_itself_but_a_recorded_join_does_not() {
        let rooms = rooms();
        let (first, _a) = member(1, "192.0.2.1", 5);
        let (hangup, connection) = (first.line.hangup.clone(), first.line.connection);
        rooms.join(SWARM, first).unwrap();
        assert_eq!(
            rooms.join(SWARM, member(1, "203.0.113.1", 5).0),
            Err(Refusal::Replayed)
        );
        assert_eq!(
            rooms.join(SWARM, member(1, "203.0.113.1", 4).0),
            Err(Refusal::Replayed)
        );
        let (second, inbox) = member(1, "192.0.2.9", 6);
        rooms.join(SWARM, second).unwrap();
        assert_eq!(hangup.wait().await, Refusal::Replaced);
        rooms.leave(&SWARM, &peer(1), connection);
        assert_eq!(
            rooms.deliver(&SWARM, peer(9), &peer(1), Bytes::from_static(b"x")),
            Delivery::Queued,
            "the late goodbye of the first changes nothing"
        );
        assert_eq!(inbox.take().frames, ["x"]);
        assert_eq!(rooms.metrics.peers.get(), 1);
    }

    #[test]
    fn an_empty_room_is_gone() {
        let rooms = rooms();
        let (alice, _inbox) = member(1, "192.0.2.1", 0);
        let connection = alice.line.connection;
        rooms.join(SWARM, alice).unwrap();
        rooms.leave(&SWARM, &peer(1), connection);
        rooms.leave(&SWARM, &peer(1), connection);
        assert!(rooms.shard(&SWARM).is_empty());
        assert_eq!(
            (rooms.metrics.peers.get(), rooms.metrics.swarms.get()),
            (0, 0)
        );
    }

    #[test]
    fn a_newcomer_in_a_big_swarm_hears_of_its_neighbours_and_others_hear_of_different_peers() {
        let rooms = rooms();
        let mut inboxes = Vec::new();
        for number in 0..500 {
            let (member, inbox) = member(
                number,
                &format!("203.0.{}.{}", number / 200, number % 200),
                0,
            );
            inboxes.push(inbox);
            rooms.join(SWARM, member).unwrap();
        }
        let (neighbour, inbox) = member(900, "192.0.2.50", 0);
        inboxes.push(inbox);
        rooms.join(SWARM, neighbour).unwrap();
        let (newcomer, inbox) = member(901, "192.0.2.1", 0);
        inboxes.push(inbox);
        let spot = newcomer.spot;
        let ranked = |sample| rank(spot, sample, &mut fastrand::Rng::new());
        let named = ranked(rooms.join(SWARM, newcomer).unwrap());
        assert_eq!(named[0].peer, peer(900));
        assert_eq!(named.len(), 16);
        assert!(
            named.iter().all(|it| it.peer != peer(901)),
            "nobody is named to itself"
        );
        let again = ranked(rooms.more(&SWARM, &peer(901)).unwrap().1);
        assert_ne!(named, again);
    }

    #[test]
    fn a_full_swarm_refuses_newcomers_and_leaves_no_empty_room() {
        let rooms = Rooms::new(Arc::new(Metrics::new()), 1);
        let (alice, _a) = member(1, "192.0.2.1", 0);
        rooms.join(SWARM, alice).unwrap();
        assert_eq!(
            rooms.join(SWARM, member(2, "192.0.2.2", 0).0),
            Err(Refusal::SwarmFull)
        );
    }

    #[test]
    fn reports_change_what_others_hear() {
        let rooms = rooms();
        let (alice, _a) = member(1, "192.0.2.1", 0);
        let (bob, _b) = member(2, "192.0.2.1", 0);
        rooms.join(SWARM, alice).unwrap();
        rooms.report(
            &SWARM,
            &peer(1),
            Report {
                completeness_permille: 700,
                free_slots: 3,
                spare_upload_kbit: 0,
            },
        );
        let named = rooms.join(SWARM, bob).unwrap();
        assert_eq!(
            (named[0].completeness_permille, named[0].free_slots),
            (700, 3)
        );
    }
}
