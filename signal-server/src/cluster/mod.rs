//! Many nodes as one: who is where is in Redis, what peers say to each other goes from node to node through it.
//!
//! Each node is whole: its own rooms come first, and without Redis it carries on with them alone. Redis holds copies, made anew whenever a
//! node connects to it. They hang on the lease of that one connection: when it ends, in whatever way, they count no more.
//!
//! Invariants: nothing that Redis or another node says is believed further than `presence` and `letter` can decode it; a letter reaches only
//! members of its swarm; no lock is held across an await; every queue to Redis is bounded; blobs and frames from one peer to another stay in order
//! (a frame that overtakes the answer that its connection begins with is lost on its receiver).

mod letter;
mod link;
mod names;
mod presence;
mod store;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::{Duration, Instant};

use baton_signal_protocol::{Candidate, PeerId, Refusal, Report, ServerMessage, SwarmId};
use bytes::Bytes;
use redis::{ErrorKind, RedisError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use crate::cluster::letter::{Blob, Letter, What};
use crate::cluster::presence::{NodeId, Presence};
use crate::cluster::store::{Entered, Found, Opened, Store};
use crate::limits::{CARRY_COST_MIN, carry_cost};
use crate::metrics::Metrics;
use crate::ranking::{SAMPLE_MAX, Seen, Spot, rank};
use crate::rooms::{Delivery, Member, Rooms};

pub use crate::cluster::names::Question;

/// What an operator sets of it.
pub struct Settings {
    /// One Redis, or some nodes of a Redis Cluster.
    pub urls: Vec<String>,
    pub lease: Duration,
    pub connections_per_address: usize,
    pub swarms_per_address: usize,
    pub swarm_peers_max: usize,
    /// Whether frames of carried connections are for clients of this node.
    pub carries: bool,
    /// Who may have signed the certificate of `rediss://`, in PEM; without it, those whom browsers trust.
    pub authority: Option<Vec<u8>>,
}

pub struct Cluster {
    rooms: Rooms,
    settings: Settings,
    metrics: Arc<Metrics>,
    /// `None` while Redis cannot be reached.
    up: RwLock<Option<Arc<Up>>>,
    news: Mutex<News>,
}

/// A connection to Redis, with all that is only true while it lasts.
struct Up {
    store: Store,
    node: NodeId,
    /// What this node was called on its last connection: what hangs on that is ours, and no other node's.
    before: Option<NodeId>,
    live: RwLock<Live>,
    /// How often we asked who lives.
    questions: AtomicU64,
    asked: Mutex<Instant>,
    posts: mpsc::Sender<Post>,
    /// Room for blobs among the posts, by their number.
    blobs: Arc<Semaphore>,
    /// Room for frames among them, by their bytes.
    frames: Arc<Semaphore>,
    /// Where peers of other nodes were found; wrong ones come back.
    routes: Mutex<HashMap<(SwarmId, PeerId), NodeId>>,
    /// Why the link is to be given up, if a command said so.
    failed: Mutex<Option<RedisError>>,
    lost: Arc<Notify>,
}

/// Who had a lease when we last asked, this node too.
#[derive(Default)]
struct Live {
    nodes: HashSet<NodeId>,
    /// The number of the question that this answers. An answer that is overtaken by a later one must not take a new node for a dead one.
    question: u64,
}

impl Live {
    /// Takes an answer over, unless a later question was answered already.
    fn answered(&mut self, question: u64, nodes: HashSet<NodeId>) {
        if question > self.question {
            *self = Self { nodes, question };
        }
    }
}

/// What is to go to another node.
enum Post {
    /// To whichever node the receiver is at, but not to `not`, where it was not.
    Blob {
        swarm: SwarmId,
        blob: Blob,
        not: Option<NodeId>,
        /// Given back when it is sent.
        room: OwnedSemaphorePermit,
    },
    Frame {
        swarm: SwarmId,
        frame: Blob,
        /// The same.
        room: OwnedSemaphorePermit,
    },
    /// With the room of the blob in it, if it has one.
    To(NodeId, Letter, Option<OwnedSemaphorePermit>),
}

/// What Redis does not know yet. It is written in turns: what changes often is written once.
#[derive(Default)]
struct News {
    /// Who is here; with `true`, its address's account does not know either. That costs Redis a look at all connections of the address, which a
    /// Report, five times a second of each, must not.
    told: HashMap<(SwarmId, PeerId), bool>,
    left: Vec<Left>,
    ghosts: Vec<Ghost>,
    /// Names that connections had.
    freed: Vec<(u16, u64)>,
}

/// A peer that is not here any more.
struct Left {
    swarm: SwarmId,
    peer: PeerId,
    spot: Spot,
    connection: u64,
}

/// Something in Redis that is nobody: it hangs on no lease, or is no presence at all.
struct Ghost {
    swarm: SwarmId,
    peer: PeerId,
    /// Where it was found, for the cells.
    spot: Spot,
    presence: Option<Presence>,
}

impl Cluster {
    pub fn new(rooms: Rooms, settings: Settings, metrics: Arc<Metrics>) -> Self {
        Self {
            rooms,
            settings,
            metrics,
            up: RwLock::default(),
            news: Mutex::default(),
        }
    }

    /// As [`Rooms::join`], with the peers, the limits and the Joins of all nodes.
    pub async fn join(&self, swarm: SwarmId, member: Member) -> Result<Vec<Candidate>, Refusal> {
        let (peer, spot, connection) = (member.peer, member.spot, member.line.connection);
        let mut presence = Presence::of(&member, NodeId::default());
        let local = self.rooms.join(swarm, member)?;
        // Only now: whoever connects to Redis later finds the member in its room.
        let Some(up) = self.up() else {
            return Ok(rank(spot, local, &mut fastrand::Rng::new()));
        };
        presence.node = up.node;
        match self.enter(&up, &swarm, &peer, &presence, connection).await {
            Ok(()) => Ok(self.candidates(&up, &swarm, &peer, &spot, local).await),
            Err(refusal) => {
                self.leave(&swarm, &peer, connection);
                Err(refusal)
            }
        }
    }

    pub async fn more(&self, swarm: &SwarmId, peer: &PeerId) -> Vec<Candidate> {
        let Some((spot, local)) = self.rooms.more(swarm, peer) else {
            return Vec::new();
        };
        match self.up() {
            Some(up) => self.candidates(&up, swarm, peer, &spot, local).await,
            None => rank(spot, local, &mut fastrand::Rng::new()),
        }
    }

    /// `Queued` for a peer at another node means on its way: if it does not arrive, the sender hears Gone later.
    pub fn deliver(&self, swarm: &SwarmId, from: PeerId, to: PeerId, blob: Vec<u8>) -> Delivery {
        let here = self.rooms.look(swarm, &to, |_| ()).is_some();
        match self.up() {
            Some(up) if !here => {
                let Ok(room) = up.blobs.clone().try_acquire_owned() else {
                    return Delivery::Full;
                };
                let blob = Blob {
                    from,
                    to,
                    bytes: blob,
                };
                up.post(Post::Blob {
                    swarm: *swarm,
                    blob,
                    not: None,
                    room,
                })
            }
            _ => self.rooms.relay(swarm, from, &to, blob),
        }
    }

    /// `Queued` for a peer at another node means on its way, as for blobs.
    pub fn carry(&self, swarm: &SwarmId, from: PeerId, to: PeerId, frame: Vec<u8>) -> Delivery {
        let here = self.rooms.look(swarm, &to, |_| ()).is_some();
        let Some(up) = self.up().filter(|_| !here) else {
            return self.rooms.carry(swarm, from, &to, frame);
        };
        let cost = carry_cost(frame.len());
        let Ok(room) = up.frames.clone().try_acquire_many_owned(cost) else {
            return Delivery::Full;
        };
        let frame = Blob {
            from,
            to,
            bytes: frame,
        };
        up.post(Post::Frame {
            swarm: *swarm,
            frame,
            room,
        })
    }

    pub fn report(&self, swarm: &SwarmId, peer: &PeerId, report: Report) {
        self.rooms.report(swarm, peer, report);
        if self.up().is_some() {
            self.news().told.entry((*swarm, *peer)).or_insert(false);
        }
    }

    pub fn leave(&self, swarm: &SwarmId, peer: &PeerId, connection: u64) {
        let Some(spot) = self.rooms.leave(swarm, peer, connection) else {
            return;
        };
        let Some(up) = self.up() else { return };
        let mut news = self.news();
        if news.left.len() < NEWS_MAX {
            news.left.push(Left {
                swarm: *swarm,
                peer: *peer,
                spot,
                connection,
            });
        } else {
            // Redis is far behind. A new lease forgets all that it does not know.
            up.lost.notify_one();
        }
    }

    /// Tells Redis and through it all nodes that a peer is here. Without an answer it counts as welcome.
    async fn enter(
        &self,
        up: &Up,
        swarm: &SwarmId,
        peer: &PeerId,
        presence: &Presence,
        connection: u64,
    ) -> Result<(), Refusal> {
        let limits = (
            self.settings.connections_per_address,
            self.settings.swarms_per_address,
        );
        let opened = self
            .open(up, &presence.spot, connection, swarm, limits)
            .await;
        match opened {
            Some(Opened::TooManyConnections) => return Err(Refusal::AddressConnections),
            Some(Opened::TooManySwarms) => return Err(Refusal::AddressSwarms),
            Some(Opened::Taken) | None => {}
        }
        match self.announce(up, swarm, peer, presence).await {
            Some(Entered::Earlier(_)) => Err(Refusal::Replayed),
            Some(Entered::Full) => Err(Refusal::SwarmFull),
            Some(Entered::Here(_)) if opened.is_some() => Ok(()),
            Some(Entered::Here(_)) | None => {
                self.news().told.insert((*swarm, *peer), true);
                Ok(())
            }
        }
    }

    async fn open(
        &self,
        up: &Up,
        spot: &Spot,
        connection: u64,
        swarm: &SwarmId,
        limits: (usize, usize),
    ) -> Option<Opened> {
        let live = up.live();
        let field = up.field(connection);
        up.heard(up.store.open(spot, &field, swarm, limits, &live).await)
    }

    /// `None` if Redis did not answer.
    async fn announce(
        &self,
        up: &Up,
        swarm: &SwarmId,
        peer: &PeerId,
        presence: &Presence,
    ) -> Option<Entered> {
        let max = self.settings.swarm_peers_max;
        let enter = |dead| up.store.enter(swarm, peer, presence, max, dead);
        let entered = match up.heard(enter(up.before).await)? {
            Entered::Earlier(old) if !up.is_live(&old.node).await => {
                up.heard(enter(Some(old.node)).await)?
            }
            entered => entered,
        };
        if let Entered::Here(Some(old)) = &entered
            && old.node != up.node
        {
            let what = What::Replaced {
                peer: *peer,
                joined_unix_s: presence.joined_unix_s,
            };
            // If it is lost, the two are there until the earlier one's client hears from nobody.
            let _ = up
                .posts
                .try_send(Post::To(old.node, up.letter(swarm, what), None));
        }
        Some(entered)
    }

    /// Peers of all nodes, ranked; as far as Redis names none, those of this node.
    async fn candidates(
        &self,
        up: &Up,
        swarm: &SwarmId,
        peer: &PeerId,
        spot: &Spot,
        local: Vec<Seen>,
    ) -> Vec<Candidate> {
        let found = up.heard(up.store.sample(swarm, spot).await);
        let mut sample = self
            .living(up, swarm, spot, found.unwrap_or_default())
            .await;
        sample.extend(local);
        let mut named = BTreeSet::from([*peer]);
        sample.retain(|seen| named.insert(seen.peer));
        sample.truncate(SAMPLE_MAX);
        rank(*spot, sample, &mut fastrand::Rng::new())
    }

    /// Those found who hang on a lease, and of this node's those who are here. The others are forgotten.
    async fn living(&self, up: &Up, swarm: &SwarmId, spot: &Spot, found: Vec<Found>) -> Vec<Seen> {
        let unknown = |live: &HashSet<NodeId>| {
            let node = |(_, presence): &Found| presence.map(|it| it.node);
            found
                .iter()
                .filter_map(node)
                .any(|node| !live.contains(&node))
        };
        let mut live = up.live();
        let mut is_sure = true;
        if unknown(&live) {
            is_sure = up.ask_who_lives().await;
            live = up.live();
        }
        let (mut seen, mut ghosts) = (Vec::new(), Vec::new());
        for (peer, presence) in found {
            match presence {
                Some(it) if it.node == up.node => {
                    seen.extend(self.rooms.look(swarm, &peer, Member::seen));
                }
                Some(it) if live.contains(&it.node) => seen.push(it.seen(peer)),
                Some(_) if !is_sure => {}
                presence => ghosts.push(Ghost {
                    swarm: *swarm,
                    peer,
                    spot: *spot,
                    presence,
                }),
            }
        }
        let mut news = self.news();
        let room = GHOSTS_MAX.saturating_sub(news.ghosts.len());
        news.ghosts.extend(ghosts.into_iter().take(room));
        seen
    }

    /// What another node, or whoever can write to Redis, said.
    fn receive(&self, payload: &[u8]) {
        self.metrics.cluster_letters_received_total.add(1);
        let Some((letter, up)) = Letter::decode(payload).zip(self.up()) else {
            self.metrics.cluster_invalid_total.add(1);
            return;
        };
        let Letter {
            sender,
            swarm,
            what,
        } = letter;
        let is_here = |peer: &PeerId| self.rooms.look(&swarm, peer, |_| ()).is_some();
        match what {
            // Nobody else speaks for who is here.
            What::Relay(blob) if is_here(&blob.from) => self.metrics.cluster_invalid_total.add(1),
            What::Relay(blob) => {
                up.learn((swarm, blob.from), sender);
                self.hand_over(&up, sender, swarm, blob);
            }
            What::Back { blob, .. } if !is_here(&blob.from) => {}
            What::Back { blob, full: true } => self.gone(&swarm, &blob),
            What::Back { blob, full: false } => {
                up.unlearn(&swarm, &blob.to);
                let Ok(room) = up.blobs.clone().try_acquire_owned() else {
                    self.gone(&swarm, &blob);
                    return;
                };
                let post = Post::Blob {
                    swarm,
                    blob,
                    not: Some(sender),
                    room,
                };
                if let Err(mpsc::error::TrySendError::Full(Post::Blob { blob, .. })) =
                    up.posts.try_send(post)
                {
                    self.gone(&swarm, &blob);
                }
            }
            What::Replaced {
                peer,
                joined_unix_s,
            } => self.rooms.replaced(&swarm, &peer, joined_unix_s),
            What::Carry(frame) if is_here(&frame.from) => {
                self.metrics.cluster_invalid_total.add(1);
            }
            What::Carry(frame) => {
                up.learn((swarm, frame.from), sender);
                self.hand_frame_over(&up, sender, swarm, frame);
            }
            What::Lost { from, .. } if !is_here(&from) => {}
            What::Lost { from, to } => {
                up.unlearn(&swarm, &to);
                self.frame_lost(&swarm, from, to);
            }
        }
    }

    fn hand_frame_over(&self, up: &Up, sender: NodeId, swarm: SwarmId, frame: Blob) {
        let Blob { from, to, bytes } = frame;
        let delivery = match self.settings.carries {
            true => self.rooms.carry(&swarm, from, &to, bytes),
            // Its clients never heard that anything is carried.
            false => Delivery::Gone,
        };
        if delivery != Delivery::Queued {
            let letter = up.letter(&swarm, What::Lost { from, to });
            // If this is lost too, the receiver ends the connection: the next frame shows it that one is missing.
            let _ = up.posts.try_send(Post::To(sender, letter, None));
        }
    }

    /// Tells the sender of a frame that the connection has ended.
    fn frame_lost(&self, swarm: &SwarmId, from: PeerId, to: PeerId) {
        self.metrics.carried_dropped_total.add(1);
        let gone = Bytes::from(ServerMessage::Gone { to }.encode());
        self.rooms.deliver(swarm, to, &from, gone);
    }

    fn hand_over(&self, up: &Up, sender: NodeId, swarm: SwarmId, blob: Blob) {
        let delivery = self
            .rooms
            .relay(&swarm, blob.from, &blob.to, blob.bytes.clone());
        if delivery != Delivery::Queued {
            // Lost if the way is blocked: the sender then waits for an answer in vain, as with any lost packet.
            let Ok(room) = up.blobs.clone().try_acquire_owned() else {
                self.metrics.relays_dropped_total.add(1);
                return;
            };
            let full = delivery == Delivery::Full;
            let letter = up.letter(&swarm, What::Back { blob, full });
            let _ = up.posts.try_send(Post::To(sender, letter, Some(room)));
        }
    }

    /// Tells the sender that its blob did not arrive.
    fn gone(&self, swarm: &SwarmId, blob: &Blob) {
        self.metrics.relays_gone_total.add(1);
        let frame = Bytes::from(ServerMessage::Gone { to: blob.to }.encode());
        self.rooms.deliver(swarm, blob.to, &blob.from, frame);
    }

    fn up(&self) -> Option<Arc<Up>> {
        self.up
            .read()
            .expect("nobody panics while holding it")
            .clone()
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().expect("nobody panics while holding it")
    }
}

impl Up {
    fn live(&self) -> HashSet<NodeId> {
        self.live
            .read()
            .expect("nobody panics while holding it")
            .nodes
            .clone()
    }

    /// Numbers a question of who lives, before it is asked.
    fn question(&self) -> u64 {
        self.questions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes an answer over, unless a later question was answered already.
    fn answered(&self, question: u64, nodes: HashSet<NodeId>) {
        let mut live = self.live.write().expect("nobody panics while holding it");
        live.answered(question, nodes);
    }

    /// Whether a node has a lease, asked anew if it seems not.
    async fn is_live(&self, node: &NodeId) -> bool {
        let knows = || {
            let live = self.live.read().expect("nobody panics while holding it");
            live.nodes.contains(node)
        };
        // Without an answer, rather believe it.
        knows() || !self.ask_who_lives().await || knows()
    }

    /// True if the answer is fresh. Not more often than every [`ASK_PAUSE`]: junk in Redis must not make us ask for each peer.
    async fn ask_who_lives(&self) -> bool {
        {
            let mut asked = self.asked.lock().expect("nobody panics while holding it");
            if asked.elapsed() < ASK_PAUSE {
                return false;
            }
            *asked = Instant::now();
        }
        let question = self.question();
        match self.heard(self.store.who_lives().await) {
            Some(live) => {
                self.answered(question, live);
                true
            }
            None => false,
        }
    }

    /// An answer, if there is one. If Redis cannot be reached the link is told.
    fn heard<T>(&self, answer: Result<T, RedisError>) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                // It answered, and not what we expected of it: wrong data under a key, say. That is not the end.
                let answered = matches!(
                    error.kind(),
                    ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType
                );
                if !answered {
                    *self.failure() = Some(error);
                    self.lost.notify_one();
                }
                None
            }
        }
    }

    /// Why the link was given up, as far as a command knows.
    fn failed(&self) -> Option<RedisError> {
        self.failure().take()
    }

    fn failure(&self) -> MutexGuard<'_, Option<RedisError>> {
        self.failed.lock().expect("nobody panics while holding it")
    }

    fn letter(&self, swarm: &SwarmId, what: What) -> Letter {
        Letter {
            sender: self.node,
            swarm: *swarm,
            what,
        }
    }

    fn post(&self, post: Post) -> Delivery {
        match self.posts.try_send(post) {
            Ok(()) => Delivery::Queued,
            Err(_) => Delivery::Full,
        }
    }

    fn field(&self, connection: u64) -> [u8; 24] {
        let mut field = [0; 24];
        field[..16].copy_from_slice(&self.node);
        field[16..].copy_from_slice(&connection.to_be_bytes());
        field
    }

    fn route(&self, to: &(SwarmId, PeerId)) -> Option<NodeId> {
        self.routes().get(to).copied()
    }

    fn learn(&self, peer: (SwarmId, PeerId), node: NodeId) {
        let mut routes = self.routes();
        if routes.len() >= ROUTES_MAX {
            routes.clear();
        }
        routes.insert(peer, node);
    }

    fn unlearn(&self, swarm: &SwarmId, peer: &PeerId) {
        self.routes().remove(&(*swarm, *peer));
    }

    fn routes(&self) -> MutexGuard<'_, HashMap<(SwarmId, PeerId), NodeId>> {
        self.routes.lock().expect("nobody panics while holding it")
    }
}

/// Departures that Redis does not know yet; more than connections of a node by default.
const NEWS_MAX: usize = 65_536;
/// Ghosts to be forgotten; those beyond are met again.
const GHOSTS_MAX: usize = 1024;
/// Peers of other nodes whose place is remembered: 80 bytes each. Beyond, all are looked up again.
const ROUTES_MAX: usize = 32_768;
/// Blobs on their way to other nodes, at most 4 KiB each, those that go back where they came from counted too.
const BLOBS_MAX: usize = 4096;
/// Bytes of frames on their way to other nodes, each counted as its sender pays for it: what 64 carried connections have under way, and
/// more than a second of all senders together by default. By number, short frames of a single sender could have taken all the room.
const FRAMES_MAX: usize = 16 << 20;
/// All of them, and letters of our own beside them.
const POSTS_MAX: usize = BLOBS_MAX + FRAMES_MAX / CARRY_COST_MIN;
const ASK_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_was_overtaken_takes_no_new_node_for_a_dead_one() {
        let (old, new): (NodeId, NodeId) = ([1; 16], [2; 16]);
        let mut live = Live::default();
        // Asked second, after a node came; answered first.
        live.answered(2, HashSet::from([old, new]));
        live.answered(1, HashSet::from([old]));
        assert_eq!(live.nodes, HashSet::from([old, new]));
        live.answered(3, HashSet::from([new]));
        assert_eq!(live.nodes, HashSet::from([new]));
    }
}
