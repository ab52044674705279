//! The link to Redis: made, kept, lost and made again, and all that goes over it on its own account.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::time::{Duration, Instant};

use baton_signal_protocol::{PeerId, SwarmId};
use futures_util::future::join_all;
use redis::{ErrorKind, IntoConnectionInfo, PushInfo, PushKind, RedisError, RedisResult, Value};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::cluster::letter::{Blob, LETTER_MAX, What};
use crate::cluster::presence::{NodeId, Presence, name_key};
use crate::cluster::store::{Entered, KEPT, Store};
use crate::cluster::{BLOBS_MAX, Cluster, FRAMES_MAX, Ghost, Left, Live, POSTS_MAX, Post, Up};
use crate::rooms::Member;

impl Cluster {
    /// Keeps the link, for as long as it is polled. Dropped, it leaves the lease to run out, as a node that is killed does.
    pub async fn run(self: Arc<Self>) {
        let _down = Down(self.clone());
        let mut pause = PAUSE_MIN;
        let mut last_node = None;
        // Of what kind the reason was that the operator heard last, while the node is alone.
        let mut said = None;
        loop {
            let why = match self.connect(last_node).await {
                Ok((up, posts)) => {
                    pause = PAUSE_MIN;
                    last_node = Some(up.node);
                    self.set(Some(up.clone()));
                    // From here on joins tell Redis themselves. Those who are here already are news to it.
                    self.tell_all();
                    said = None;
                    tracing::info!("this node has joined the cluster");
                    let why = tokio::select! {
                        why = self.keep_lease(&up) => why,
                        () = self.tell(&up) => None,
                        () = self.refresh() => None,
                        () = self.post(&up, posts) => None,
                        () = up.lost.notified() => None,
                    };
                    self.set(None);
                    why.or_else(|| up.failed())
                }
                Err(error) => Some(error),
            };
            let kind = why.as_ref().map_or(ErrorKind::Io, RedisError::kind);
            // Not each attempt is news; that it fails for another reason now is.
            if said != Some(kind) {
                said = Some(kind);
                let reason = why.map_or_else(
                    || "the connection or the lease was lost".to_owned(),
                    |error| reason(&error, &self.settings.urls),
                );
                tracing::warn!(reason, "without Redis: this node carries on alone");
            }
            sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Gives the lease back, so that nobody is sent to peers of a node that stops.
    pub async fn close(&self) {
        let Some(up) = self.up() else { return };
        let goodbye = async {
            // Who left just now, one by one: others go on believing in a lease until they look again.
            self.tell_news(&up).await;
            let _ = up.store.give_up(&up.node).await;
        };
        let _ = timeout(CLOSE_PATIENCE, goodbye).await;
    }

    /// A lease of its own for each connection: what hung on the last one is void, so that nothing of it needs mending.
    async fn connect(
        self: &Arc<Self>,
        last_node: Option<NodeId>,
    ) -> RedisResult<(Arc<Up>, mpsc::Receiver<Post>)> {
        let lost = Arc::new(Notify::new());
        let me: Weak<Self> = Arc::downgrade(self);
        let listen = move |push: PushInfo| {
            if let Some(cluster) = me.upgrade()
                && push.kind == PushKind::SMessage
            {
                cluster.receive(payload(&push.data));
            }
            Ok::<(), ()>(())
        };
        let authority = self.settings.authority.as_deref();
        let urls = &self.settings.urls;
        let store = Store::connect(urls, authority, listen, lost.clone()).await?;
        if let Some(last) = last_node {
            store.give_up(&last).await?;
        }
        let node = new_node();
        store.subscribe(&node).await?;
        let (_, live) = store.lease(&node, self.settings.lease).await?;
        let (posts, waiting) = mpsc::channel(POSTS_MAX);
        let up = Up {
            store,
            node,
            before: last_node,
            live: RwLock::new(Live {
                nodes: live,
                question: 0,
            }),
            questions: AtomicU64::new(0),
            asked: Mutex::new(Instant::now()),
            posts,
            blobs: Arc::new(Semaphore::new(BLOBS_MAX)),
            frames: Arc::new(Semaphore::new(FRAMES_MAX)),
            routes: Mutex::default(),
            failed: Mutex::default(),
            lost,
        };
        Ok((Arc::new(up), waiting))
    }

    fn set(&self, up: Option<Arc<Up>>) {
        let is_up = up.is_some();
        *self.news() = Default::default();
        *self.up.write().expect("nobody panics while holding it") = up;
        self.metrics.cluster_connected.set(i64::from(is_up));
        if !is_up {
            self.metrics.cluster_nodes.set(0);
        }
    }

    /// Ends when the lease is lost: then Redis forgot us, and others have forgotten our peers. With the error, if there was one.
    async fn keep_lease(&self, up: &Up) -> Option<RedisError> {
        let mut beat = interval(self.settings.lease / 3);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            let question = up.question();
            match up.store.lease(&up.node, self.settings.lease).await {
                Ok((true, live)) => {
                    self.metrics.cluster_nodes.set(live.len() as i64);
                    up.answered(question, live);
                }
                Ok((false, _)) => return None,
                Err(error) => return Some(error),
            }
        }
    }

    /// Writes the news, in turns. Never ends.
    async fn tell(&self, up: &Up) {
        let mut turn = interval(TURN);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turn.tick().await;
            self.tell_news(up).await;
        }
    }

    async fn tell_news(&self, up: &Up) {
        let news = std::mem::take(&mut *self.news());
        for left in news.left.chunks(AT_ONCE) {
            join_all(left.iter().map(|left| self.tell_left(up, left))).await;
        }
        for ghosts in news.ghosts.chunks(AT_ONCE) {
            join_all(ghosts.iter().map(|ghost| self.bury(up, ghost))).await;
        }
        for freed in news.freed.chunks(AT_ONCE) {
            join_all(freed.iter().map(|freed| self.tell_freed(up, freed))).await;
        }
        let told: Vec<_> = news.told.into_iter().collect();
        for told in told.chunks(AT_ONCE) {
            join_all(told.iter().map(|it| self.tell_of(up, &it.0, it.1))).await;
        }
    }

    async fn tell_left(&self, up: &Up, left: &Left) {
        let field = up.field(left.connection);
        up.heard(up.store.close(&left.spot, &field).await);
        // It may have joined here again meanwhile.
        if self.rooms.look(&left.swarm, &left.peer, |_| ()).is_none() {
            let Left {
                swarm, peer, spot, ..
            } = left;
            up.heard(up.store.forget(swarm, peer, spot, &up.node).await);
        }
    }

    async fn tell_freed(&self, up: &Up, (name, connection): &(u16, u64)) {
        let owner = up.field(*connection);
        up.heard(up.store.free_name(&name_key(*name), &owner).await);
    }

    async fn bury(&self, up: &Up, ghost: &Ghost) {
        let Ghost {
            swarm, peer, spot, ..
        } = ghost;
        match &ghost.presence {
            Some(dead) => {
                up.heard(up.store.forget(swarm, peer, &dead.spot, &dead.node).await);
            }
            None => {
                self.metrics.cluster_invalid_total.add(1);
                up.heard(up.store.clear(swarm, peer).await);
                let nobody = NodeId::default();
                up.heard(up.store.forget(swarm, peer, spot, &nobody).await);
            }
        }
    }

    /// Writes who is here as it is now; to its address's account too if that may not know.
    async fn tell_of(&self, up: &Up, (swarm, peer): &(SwarmId, PeerId), is_new: bool) {
        let look = |member: &Member| (Presence::of(member, up.node), member.line.connection);
        let Some((presence, connection)) = self.rooms.look(swarm, peer, look) else {
            return;
        };
        if is_new {
            let unlimited = (usize::MAX, usize::MAX);
            self.open(up, &presence.spot, connection, swarm, unlimited)
                .await;
        }
        if let Some(Entered::Earlier(other)) = self.announce(up, swarm, peer, &presence).await {
            // While we were alone it joined elsewhere.
            self.rooms.replaced(swarm, peer, other.joined_unix_s);
        }
    }

    /// Keeps Redis from forgetting whom nobody writes of, and mends what it lost. Never ends.
    async fn refresh(&self) {
        loop {
            sleep(KEPT / 3).await;
            self.tell_all();
        }
    }

    fn tell_all(&self) {
        let everybody = self.rooms.everybody().into_iter();
        self.news().told.extend(everybody.map(|peer| (peer, true)));
    }

    /// Sends what goes to other nodes, in the order in which it came. Never ends.
    async fn post(&self, up: &Up, mut posts: mpsc::Receiver<Post>) {
        let mut batch = Vec::with_capacity(AT_ONCE);
        while posts.recv_many(&mut batch, AT_ONCE).await > 0 {
            let routed = join_all(batch.drain(..).map(|post| self.route(up, post))).await;
            // Commands go out in the order in which they are first polled.
            join_all(routed.into_iter().flatten().map(|it| self.send(up, it))).await;
        }
    }

    async fn route(&self, up: &Up, post: Post) -> Option<Routed> {
        match post {
            Post::To(node, letter, room) => Some(Routed {
                node,
                swarm: letter.swarm,
                what: letter.what,
                _room: room,
            }),
            Post::Blob {
                swarm,
                blob,
                not,
                room,
            } => {
                let node = self.node_of(up, (swarm, blob.to)).await;
                let Some(node) = node.filter(|node| Some(*node) != not) else {
                    self.gone(&swarm, &blob);
                    return None;
                };
                Some(Routed {
                    node,
                    swarm,
                    what: What::Relay(blob),
                    _room: Some(room),
                })
            }
            Post::Frame { swarm, frame, room } => {
                let Some(node) = self.node_of(up, (swarm, frame.to)).await else {
                    self.frame_lost(&swarm, frame.from, frame.to);
                    return None;
                };
                Some(Routed {
                    node,
                    swarm,
                    what: What::Carry(frame),
                    _room: Some(room),
                })
            }
        }
    }

    /// Which other node a peer is at.
    async fn node_of(&self, up: &Up, peer: (SwarmId, PeerId)) -> Option<NodeId> {
        let node = match up.route(&peer) {
            Some(node) => node,
            None => {
                let node = self.find(up, &peer).await?;
                if node != up.node {
                    up.learn(peer, node);
                }
                node
            }
        };
        (node != up.node).then_some(node)
    }

    async fn find(&self, up: &Up, (swarm, peer): &(SwarmId, PeerId)) -> Option<NodeId> {
        let presence = up.heard(up.store.find(swarm, peer).await)??;
        up.is_live(&presence.node).await.then_some(presence.node)
    }

    async fn send(&self, up: &Up, routed: Routed) {
        let Routed {
            node, swarm, what, ..
        } = routed;
        let letter = up.letter(&swarm, what);
        let heard = up.heard(up.store.publish(&node, &letter.encode()).await);
        self.metrics.cluster_letters_sent_total.add(1);
        if heard == Some(true) {
            return;
        }
        match &letter.what {
            What::Relay(blob) => {
                up.unlearn(&swarm, &blob.to);
                self.gone(&swarm, blob);
            }
            What::Carry(Blob { from, to, .. }) => {
                up.unlearn(&swarm, to);
                self.frame_lost(&swarm, *from, *to);
            }
            What::Back { .. } | What::Replaced { .. } | What::Lost { .. } => {}
        }
    }
}

/// A letter and where it goes.
struct Routed {
    node: NodeId,
    swarm: SwarmId,
    what: What,
    /// A blob's or a frame's, until it is sent.
    _room: Option<OwnedSemaphorePermit>,
}

/// Without the link nobody may believe that it is there.
struct Down(Arc<Cluster>);

impl Drop for Down {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

/// The last part of a pushed message; empty if it is none, or longer than any letter.
fn payload(data: &[Value]) -> &[u8] {
    match data.last() {
        Some(Value::BulkString(bytes)) if bytes.len() <= LETTER_MAX => bytes,
        _ => &[],
    }
}

/// What an error says, without what nobody should read in a log.
fn reason(error: &RedisError, urls: &[String]) -> String {
    let mut text = error.to_string();
    // With a command that it does not know Redis repeats what came with it, a password perhaps, and perhaps cut off.
    if let Some(at) = text.find(", with args") {
        text.truncate(at);
    }
    for url in urls {
        let settings = url.as_str().into_connection_info().ok();
        let decoded = settings.and_then(|it| it.redis_settings().password().map(str::to_owned));
        let written = url
            .rsplit_once('@')
            .and_then(|it| it.0.rsplit(':').next())
            .map(str::to_owned);
        for secret in [decoded, written].into_iter().flatten() {
            if !secret.is_empty() {
                text = text.replace(&secret, "…");
            }
        }
    }
    let readable = text.chars().filter(|it| !it.is_control());
    readable.take(REASON_MAX).collect()
}

/// Nobody guesses it, and no two are the same.
fn new_node() -> NodeId {
    let mut node = NodeId::default();
    getrandom::fill(&mut node).expect("the system has randomness");
    node
}

/// How often news are written: what is known a fifth of a second later is known soon enough.
const TURN: Duration = Duration::from_millis(200);
/// Commands under way at one time.
const AT_ONCE: usize = 32;
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Redis is back for seconds at most before we notice.
const PAUSE_MAX: Duration = Duration::from_secs(2);
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
/// Characters of what Redis says of itself that are logged.
const REASON_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_reason_tells_a_password() {
        let urls = ["redis://me:p%40ss@10.0.0.1:1", "redis://:other@10.0.0.1:2"];
        let urls = urls.map(str::to_owned);
        let said = |detail: &str| {
            let error = (ErrorKind::Extension, "it said", detail.to_owned()).into();
            reason(&error, &urls)
        };
        let old =
            said("ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'me' 'p@");
        assert!(old.ends_with("unknown command 'HELLO'"), "{old}");
        for secret in ["p@ss", "p%40ss", "other"] {
            let text = said(&format!("no way to {secret}\nat all {secret}"));
            assert!(text.contains("no way to …at all …"), "{text}");
        }
        assert!(said(&"x".repeat(10_000)).len() <= REASON_MAX);
    }
}
