//! The engine: one peer's part in one swarm. Inputs go to the part that they concern; afterwards what can be asked for is asked for
//! (`fetch`) and what can be sent is sent (`serve`).
//!
//! Invariants: every block here was verified; a block is in exactly one of have, in flight, wanted, unwanted ([`Pieces`]); what a peer
//! owes or waits for is bounded by grants; ordered maps and one seeded generator only, so that one seed is one run.

mod accounts;
mod choose;
mod connect;
mod fetch;
mod gossip;
mod headers;
mod patience;
mod receive;
mod serve;
mod start;
mod stats;

use crate::config::{self, Config};
use crate::directory::Directory;
use crate::face::{Channel, ConnId, Demand, Event, Input, Output, Reason, Role, Stream};
use crate::peer::{Account, Peer};
use crate::pieces::Pieces;
use crate::rate::Bucket;
use crate::rng::Rng;
use crate::timer::{Instant, Timers};
use crate::uplink::Uplink;
use crate::wire::{Message, Want};
use baton_content::manifest::MANIFEST_LANE_LEN_MAX;
use baton_content::{Header, Mask, PeerId, PeerKey, PieceId, PublisherId, SignedHead, SwarmId};
use baton_sorted::{SortedMap, SortedSet};
use bytes::Bytes;
use std::collections::VecDeque;

/// What waits for its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// News to one neighbour.
    Have(ConnId),
    Ack(ConnId),
    /// Round trip, and whether anybody is there.
    Ping(ConnId),
    /// Late blocks, demands that become urgent, patience that ends.
    Fetch,
    /// A look that was put off.
    FetchAgain,
    /// The upload limit lets something through.
    Tokens,
    /// Somebody who owes a sign of life.
    Mute,
    /// Another attempt to connect.
    Connect,
    Report,
    Neighbours,
}

/// Sums over all connections so far.
#[derive(Clone, Debug, Default)]
struct Counters {
    verified_blocks: u64,
    rejected_blocks: u64,
    hedged_bytes: u64,
    duplicate_bytes: u64,
    sent_bytes: u64,
    received_bytes: u64,
    received_from_viewers_bytes: u64,
    /// What was confirmed by those who are forgotten, and how many they were.
    forgotten: (u64, u32),
    wire_sent_bytes: u64,
    wire_received_bytes: u64,
}

/// One peer's part in one swarm. See the crate's page for the loop around it.
#[derive(Debug)]
pub struct Swarm {
    publisher: PublisherId,
    swarm: SwarmId,
    key: PeerKey,
    me: PeerId,
    role: Role,
    config: Config,
    rng: Rng,
    now: Instant,
    unix_now_s: u64,
    head: Option<SignedHead>,
    pieces: Pieces,
    peers: SortedMap<ConnId, Peer>,
    by_id: SortedMap<PeerId, ConnId>,
    /// Of those who went.
    accounts: Vec<(PeerId, Account)>,
    directory: Directory,
    out: VecDeque<Output>,
    timers: Timers<Timer>,
    /// When something of a piece was last given that nobody had.
    spreading: SortedMap<PieceId, Instant>,
    /// Blocks that may now be given again though new ones are asked for.
    again_share: u32,
    /// What our own player wants.
    own_demands: Vec<Demand>,
    /// That, and what the tabs need that have nobody but us. Nearest deadline first.
    demands: Vec<Demand>,
    /// When the player last jumped or began.
    jumped_at: Instant,
    /// Nothing is fetched in the background before this: the player speaks first.
    background_from: Option<Instant>,
    /// Nor before this: see `Input::Focus`.
    focus_until: Instant,
    start_set: Vec<(PieceId, Mask)>,
    /// Who was asked for the start set last, and until when an answer is waited for.
    start_wait: Option<(ConnId, Instant)>,
    /// When the first of those was asked: all of them together are waited for no longer than one.
    start_since: Option<Instant>,
    /// Requests of this turn, sent together.
    asks: SortedMap<ConnId, Vec<Want>>,
    /// What is being sealed, and for whom it was begun; `None`: for the start set.
    sealing: SortedMap<PieceId, Option<PeerId>>,
    /// Headers that storage was asked for.
    header_loads: SortedSet<PieceId>,
    /// Whose header storage lost: a peer that told it must tell it again.
    lost_headers: SortedSet<PieceId>,
    pending_bytes: usize,
    uplink: Uplink,
    upload_limit: Option<Bucket>,
    upload_paused: bool,
    /// Whose turn it is to be served first.
    turn: u64,
    /// When what time alone changes was looked after last.
    ticked_at: Instant,
    must_fetch: bool,
    /// How often it may be looked what to ask for.
    fetches: Bucket,
    must_serve: bool,
    told_complete: bool,
    reported: Option<(u16, u8)>,
    neighbours_said: Vec<PeerId>,
    neighbours_said_at: Instant,
    counters: Counters,
    /// Why nothing is exchanged any more.
    stopped: Option<Reason>,
}

impl Swarm {
    /// A peer that knows nobody yet. `have` is what its store holds, by verified headers; a publisher need only name what it has
    /// sealed before. `seed` decides ties and jitter. `now` is the driver's clock, `unix_now_s` the wall's.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        stream: Stream,
        have: Vec<(Header, Mask)>,
        role: Role,
        config: Config,
        key: PeerKey,
        seed: u64,
        now: Instant,
        unix_now_s: u64,
    ) -> Self {
        let me = key.id();
        let most = config::REQUESTED_BLOCKS_MAX as u16;
        let config = Config {
            grant_blocks: config.grant_blocks.min(most),
            grant_new_blocks: config.grant_new_blocks.min(most),
            ..config
        };
        let mut swarm = Swarm {
            publisher: stream.publisher,
            swarm: stream.swarm,
            key,
            me,
            role,
            rng: Rng::new(seed),
            now,
            unix_now_s,
            head: None,
            pieces: Pieces::new(config.background && role != Role::Publisher),
            peers: SortedMap::new(),
            by_id: SortedMap::new(),
            accounts: Vec::new(),
            directory: Directory::new(me),
            out: VecDeque::new(),
            timers: Timers::new(),
            spreading: SortedMap::new(),
            again_share: 0,
            own_demands: Vec::new(),
            demands: Vec::new(),
            jumped_at: now,
            background_from: None,
            focus_until: now,
            start_set: Vec::new(),
            start_wait: None,
            start_since: None,
            asks: SortedMap::new(),
            sealing: SortedMap::new(),
            header_loads: SortedSet::new(),
            lost_headers: SortedSet::new(),
            pending_bytes: 0,
            uplink: Uplink::new(now),
            upload_limit: config.upload_bytes_per_second.map(|rate| limit(rate, now)),
            upload_paused: config.upload_paused,
            turn: 0,
            ticked_at: now,
            must_fetch: false,
            fetches: Bucket::new(config::FETCHES_PER_SECOND, config::FETCHES_BURST, now),
            must_serve: false,
            told_complete: false,
            reported: None,
            neighbours_said: Vec::new(),
            neighbours_said_at: Instant::default(),
            counters: Counters::default(),
            stopped: None,
            config,
        };
        if let Some(head) = stream.head {
            swarm.adopt_head(head, None);
        }
        for (header, mask) in have {
            swarm.pieces.set_header(&header);
            swarm.pieces.add_have(header.id(), mask.0);
        }
        swarm.check_manifests();
        swarm.told_complete = swarm.is_complete();
        swarm
    }

    /// Takes news in.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Connected {
                conn,
                peer,
                binding,
                path,
            } => self.connected(conn, peer, binding, path),
            Input::Received {
                conn,
                channel,
                bytes,
            } => self.received(conn, channel, bytes),
            Input::Writable { conn, credit } => self.writable(conn, credit),
            Input::Disconnected { conn } => self.forget(conn, None),
            Input::ConnectFailed { peer } => self.connect_failed(peer),
            Input::Candidates(peers) => self.candidates(peers),
            Input::Signal { to, blob } => self.introduce(to, blob),
            Input::Demanded(demands) => self.demanded(demands),
            Input::Focus { until } => {
                self.focus_until = until;
                self.moisten();
            }
            Input::Head(head) => self.adopt_head(head, None),
            Input::StartSet(set) => self.start_set(set),
            Input::Sealed { header } => self.sealed(header),
            Input::SealFailed { piece } => self.seal_failed(piece),
            Input::HeaderKept { piece } => self.pieces.keep(piece),
            Input::HeaderLoaded { header } => self.header_loaded(&header),
            Input::HeaderFailed { piece } => self.header_failed(piece),
            Input::Found { header, mask } => self.found(&header, mask.0),
            Input::Loaded { block } => self.loaded(block),
            Input::LoadFailed { piece, mask } => self.load_failed(piece, mask.0),
            Input::Stored { .. } => {}
            Input::StoreFailed { piece, mask } => self.lose(piece, mask.0, false),
            Input::Evicted { piece, mask } => self.lose(piece, mask.0, true),
            Input::Budget {
                upload_bytes_per_second,
                paused,
            } => self.budget(upload_bytes_per_second, paused),
            Input::Clock { unix_now_s } => self.clock(unix_now_s),
            Input::TimedOut => {}
            Input::Leaving => self.stop(Reason::Goodbye),
        }
        while let Some(timer) = self.timers.pop(self.now) {
            self.timed_out(timer);
        }
        if self.must_fetch && self.may_fetch() {
            self.must_fetch = false;
            self.fetch();
        }
        if std::mem::take(&mut self.must_serve) {
            self.serve();
        }
    }

    /// Whoever talks much must not make us look through everything as often. What is put off is done when the timer goes off.
    fn may_fetch(&mut self) -> bool {
        let may = self.fetches.take(self.now, 1);
        if !may {
            let at = self.fetches.ready_at(self.now, 1);
            self.timers.set(Timer::FetchAgain, at);
        }
        may
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to give `Input::TimedOut`, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The highest head known.
    pub fn head(&self) -> Option<&SignedHead> {
        self.head.as_ref()
    }

    /// Which blocks of a piece are here.
    pub fn have(&self, piece: PieceId) -> Mask {
        Mask(self.pieces.get(piece).map_or(0, |piece| piece.have))
    }

    /// The header of a piece, if all of it is in memory.
    pub fn header(&self, piece: PieceId) -> Option<&Header> {
        self.pieces.header(piece)
    }

    /// Checks what must always be true; for tests. Panics when it is not.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        let mut owed: SortedMap<PieceId, (u64, u64)> = SortedMap::new();
        for peer in self.peers.values() {
            let blocks: u32 = peer
                .down
                .owed
                .values()
                .map(|owed| owed.mask.count_ones())
                .sum();
            assert_eq!(blocks, peer.down.owed_blocks, "owed blocks are counted");
            assert!(
                peer.down.owed_blocks <= u32::from(u16::MAX),
                "owed blocks are bounded"
            );
            assert!(
                peer.down.pending_bytes <= config::PENDING_PEER_BYTES_MAX,
                "pending bytes are bounded"
            );
            let pending: usize = peer.down.pending.values().map(SortedMap::len).sum();
            assert_eq!(
                pending * baton_content::BLOCK_LEN,
                peer.down.pending_bytes,
                "pending blocks are counted, each as a whole one"
            );
            assert!(
                peer.up.waiting_blocks() <= config::REQUESTED_BLOCKS_MAX + 64,
                "requests are bounded"
            );
            let asked: u32 = peer
                .up
                .asked
                .values()
                .map(|asked| asked.mask.count_ones())
                .sum();
            assert_eq!(asked, peer.up.asked_blocks, "asked blocks are counted");
            assert!(
                peer.up.untold.len() <= config::UNTOLD_HEADERS_MAX,
                "headers waited for are bounded"
            );
            for (&piece, entry) in &peer.down.owed {
                let (once, twice) = owed.entry(piece).or_default();
                assert_eq!(*twice & entry.mask, 0, "no block is asked of three");
                *twice |= *once & entry.mask;
                *once |= entry.mask;
            }
        }
        assert!(
            self.pending_bytes <= config::PENDING_BYTES_MAX,
            "pending bytes are bounded in all"
        );
        for id in self.pieces.ids() {
            let piece = self.pieces.get(id).expect("listed");
            let (once, twice) = owed.get(&id).copied().unwrap_or_default();
            assert_eq!(
                piece.have & piece.in_flight,
                0,
                "a block is had or in flight, {id}"
            );
            assert_eq!(
                (piece.in_flight, piece.hedged),
                (once & !piece.have, twice & !piece.have),
                "in flight is what is owed, {id}"
            );
            assert_eq!(once & piece.have, 0, "nothing had is owed, {id}");
        }
    }

    fn timed_out(&mut self, timer: Timer) {
        match timer {
            Timer::Have(conn) => self.tell_news(conn),
            Timer::Ack(conn) => self.ack(conn),
            Timer::Ping(conn) => {
                self.ping(conn);
                self.settle_account(conn);
            }
            Timer::Fetch => self.tick(),
            Timer::Tokens | Timer::Mute => self.must_serve = true,
            Timer::FetchAgain => {}
            Timer::Connect => self.connect_more(),
            Timer::Report => self.report(),
            Timer::Neighbours => self.tell_neighbours(),
        }
    }

    /// Sends a control message.
    fn send(&mut self, conn: ConnId, message: &Message) {
        self.send_bytes(conn, Channel::Control, message.encode());
    }

    fn send_bytes(&mut self, conn: ConnId, channel: Channel, bytes: Bytes) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.up.wire_sent += bytes.len() as u64;
            self.counters.wire_sent_bytes += bytes.len() as u64;
            self.out.push_back(Output::Send {
                conn,
                channel,
                bytes,
            });
        }
    }

    fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    /// Connections whose Hello was accepted.
    fn up(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.peers
            .values()
            .filter(|peer| peer.is_up())
            .map(|peer| peer.conn)
    }

    /// Whether everything that the head names is here and no data lane grows.
    fn is_complete(&self) -> bool {
        let closed = |head: &SignedHead| {
            head.head()
                .lanes
                .iter()
                .all(|state| state.lane.0 == 0 || !state.open)
        };
        let whole = self.role == Role::Publisher || self.pieces.all_whole();
        whole && self.pieces.total() > 0 && self.head.as_ref().is_some_and(closed)
    }

    /// Whether a peer has all pieces that the head names.
    fn has_all(&self, peer: &Peer) -> bool {
        self.pieces.total() > 0 && peer.has.full_count() >= self.pieces.total()
    }

    fn look_who_has_all(&mut self) {
        let total = self.pieces.total();
        for peer in self.peers.values_mut() {
            peer.has_all = total > 0 && peer.has.full_count() >= total;
        }
    }

    /// What is here or can be made: all ones for whole pieces.
    fn offered(&self, piece: PieceId) -> u64 {
        match self.pieces.get(piece) {
            None => 0,
            Some(_) if self.role == Role::Publisher => u64::MAX,
            Some(piece) => piece.told(),
        }
    }

    fn budget(&mut self, upload_bytes_per_second: Option<u64>, paused: bool) {
        self.upload_limit = upload_bytes_per_second.map(|rate| limit(rate, self.now));
        let changed = paused != self.upload_paused;
        self.upload_paused = paused;
        if changed {
            self.regrant();
        }
        self.must_serve = true;
    }

    fn clock(&mut self, unix_now_s: u64) {
        self.unix_now_s = unix_now_s;
        self.check_expiry();
    }

    fn check_expiry(&mut self) {
        if self.stopped.is_none()
            && self
                .head
                .as_ref()
                .is_some_and(|head| head.head().is_expired(self.unix_now_s))
        {
            self.event(Event::Expired);
            self.stop(Reason::Expired);
        }
    }

    /// What every viewer and keeper keeps whole has a limit. The publisher signed more than that: no peer is to blame.
    fn check_manifests(&mut self) {
        let most = MANIFEST_LANE_LEN_MAX as u64;
        if self.stopped.is_none()
            && self.role != Role::Publisher
            && self.pieces.manifest_bytes() > most
        {
            self.event(Event::ManifestTooLong);
            self.stop(Reason::ManifestTooLong);
        }
    }

    /// Ends everything: nothing is fetched, served or accepted from now on.
    fn stop(&mut self, reason: Reason) {
        self.stopped = Some(reason);
        for conn in self.up().collect::<Vec<_>>() {
            self.give_receipt(conn);
        }
        for conn in self.peers.keys().copied().collect::<Vec<_>>() {
            self.send(conn, &Message::Goodbye);
            self.forget(conn, Some(reason));
        }
        self.timers = Timers::new();
    }
}

/// A quarter of a second of burst, and no less than one message.
fn limit(rate: u64, now: Instant) -> Bucket {
    Bucket::new(rate, (rate / 4).max(64 * 1024), now)
}
