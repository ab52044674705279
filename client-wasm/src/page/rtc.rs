//! Connections to peers: offers and answers as sealed blobs, SDP from a template, two negotiated channels. Where none can be made, and the server
//! allows it, the server carries what the two say.
//!
//! A foreign SDP is never applied: what a blob carries is checked field by field, and the description is built here.

use super::raw::{
    Raw, add_candidates, configuration, describe, find_path, reconfigure, set_remote,
};
use super::{tell_credit, tell_received};
use crate::bridge::{Binding, HOT_CHANNELS, StreamNumber};
use crate::door::{self, Handler};
use crate::flow::{Flow, FlowNews};
use baton_signal_protocol::blob::{self, CarryTerms, Route};
use baton_signal_protocol::carriage::{Chance, Us};
use baton_signal_protocol::{
    Carriage, CarriageEvent, Description, IceCandidate, IceServer, Offers, Signal,
};
use baton_sorted::SortedMap;
use gloo_timers::callback::Timeout;
use js_sys::Array;
use std::cell::Cell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_sys::{
    RtcDataChannel, RtcPeerConnection, RtcPeerConnectionIceEvent, RtcPeerConnectionState,
    RtcSdpType, Worker,
};

/// A peer's id, as the signalling protocol spells it.
pub type PeerBytes = [u8; 32];

/// What happens on a connection.
pub enum RtcEvent {
    /// Our description is being set; this is its SDP.
    Described(String),
    /// One more local candidate.
    Candidate(String),
    /// A channel that is on the page opened.
    Opened,
    /// Both channels are open; the worker has them.
    Connected,
    /// A channel closed, or the transport failed.
    Gone,
    /// A step of the handshake threw, or took too long.
    Failed,
}

/// What the page has to do about it.
pub enum RtcNews {
    Signal {
        to: PeerBytes,
        blob: Vec<u8>,
    },
    /// The worker has the channels of this connection and now knows what both sides agreed on.
    Agreed {
        conn: u64,
        peer: PeerBytes,
        binding: Binding,
    },
    Connected {
        conn: u64,
        peer: PeerBytes,
        binding: Binding,
    },
    Disconnected {
        conn: u64,
    },
    Failed {
        peer: PeerBytes,
    },
    /// Have the server carry this frame.
    Carry {
        to: PeerBytes,
        frame: Vec<u8>,
    },
    /// A message came through the server.
    Received {
        conn: u64,
        channel: u8,
        bytes: Vec<u8>,
    },
    /// How many bytes in all may be sent through the server.
    Credit {
        conn: u64,
        credit: u64,
    },
}

/// All connections of one stream.
pub struct Rtc {
    stream: StreamNumber,
    worker: Worker,
    identity: Identity,
    ice: Vec<IceServer>,
    connections: SortedMap<u64, Connection>,
    by_peer: SortedMap<PeerBytes, u64>,
    next_conn: u64,
    offers: Offers,
    carriage: Carriage,
    /// Peers that only the server led to: others need not be tried again.
    unreachable: Vec<PeerBytes>,
    /// Made before anybody is known: its certificate is ready when the first peer is.
    spare: Option<Raw>,
    /// Whether channels move to the worker; an engine that refused once is not asked again.
    moves: Cell<bool>,
    emit: Rc<dyn Fn(u64, RtcEvent)>,
}

/// Who we are in this swarm, and the key that blobs are sealed with.
pub struct Identity {
    pub swarm: [u8; 32],
    pub signalling_key: [u8; 32],
    pub peer_seed: [u8; 32],
    pub peer: PeerBytes,
}

impl Rtc {
    /// No connections yet.
    pub fn new(
        stream: StreamNumber,
        worker: Worker,
        identity: Identity,
        emit: Rc<dyn Fn(u64, RtcEvent)>,
    ) -> Rtc {
        let carriage = Carriage::new(Us {
            swarm: identity.swarm,
            signalling_key: identity.signalling_key,
            peer_seed: identity.peer_seed,
            peer: identity.peer,
        });
        Rtc {
            stream,
            worker,
            identity,
            carriage,
            unreachable: Vec::new(),
            ice: Vec::new(),
            connections: SortedMap::new(),
            by_peer: SortedMap::new(),
            next_conn: 1,
            offers: Offers::default(),
            spare: None,
            moves: Cell::new(true),
            emit,
        }
    }

    /// Makes the first connection before its peer is known: making the certificate takes as long as a round trip.
    pub fn warm_up(&mut self) {
        self.spare = self.make_raw();
        if let Some(spare) = &mut self.spare {
            spare.offer = Some(spare.pc.create_offer());
        }
    }

    /// Numbers its connections from here on: what the engine still hears of earlier ones is not of these.
    pub fn number_from(&mut self, conn: u64) {
        self.next_conn = conn;
    }

    /// STUN and TURN servers for connections made from now on.
    pub fn set_ice(&mut self, ice: Vec<IceServer>) {
        if let Some(spare) = &self.spare
            && !ice.is_empty()
            && reconfigure(&spare.pc, &configuration(&ice)).is_err()
        {
            self.drop_spare();
        }
        self.ice = ice;
    }

    /// How many connections are open or being made.
    pub fn len(&self) -> usize {
        self.connections.len() + self.carriage.count().0
    }

    /// Whether a connection is being made.
    pub fn opening(&self) -> bool {
        let (all, open) = self.carriage.count();
        all > open || self.connections.values().any(|c| !c.connected)
    }

    /// `(direct, relay)` among the open ones.
    pub fn path_counts(&self) -> (u32, u32) {
        let open = self.connections.values().filter(|c| c.connected);
        let relay = open.clone().filter(|c| c.relayed.get()).count() as u32;
        let carried = self.carriage.count().1 as u32;
        (open.count() as u32 - relay, relay + carried)
    }

    /// Whether this connection goes through a relay.
    pub fn relayed(&self, conn: u64) -> bool {
        let carried = self.carriage.is_open(conn);
        carried || self.connections.get(&conn).is_some_and(|c| c.relayed.get())
    }

    /// Starts a connection to a peer. One that is there, or on its way, is left alone.
    pub fn connect(&mut self, peer: PeerBytes) -> Vec<RtcNews> {
        let known = self.by_peer.contains_key(&peer) || self.carriage.has(&peer);
        if known || peer == self.identity.peer {
            return Vec::new();
        }
        if self.carriage.allowed() && self.unreachable.contains(&peer) {
            return self.ask_to_carry(peer);
        }
        match self.open(peer, door::random(), None) {
            Some(conn) => {
                self.describe(conn);
                Vec::new()
            }
            None => self.ask_to_carry(peer),
        }
    }

    /// The server carries, if need be.
    pub fn allow_carrying(&mut self) {
        self.carriage.allow();
    }

    /// The server is gone, and what it carried with it.
    pub fn lost_server(&mut self) -> Vec<RtcNews> {
        news_of(self.carriage.lost_server())
    }

    /// A frame that the server carried.
    pub fn handle_frame(&mut self, from: PeerBytes, frame: &[u8]) -> Vec<RtcNews> {
        news_of(self.carriage.handle_frame(from, frame))
    }

    /// Gives up what nobody answers.
    pub fn tick(&mut self) -> Vec<RtcNews> {
        news_of(self.carriage.tick(door::now_ms() as u64))
    }

    /// The last resort; a failure like any other where the server does not carry.
    fn ask_to_carry(&mut self, peer: PeerBytes) -> Vec<RtcNews> {
        let conn = self.number();
        let now_ms = door::now_ms() as u64;
        news_of(self.carriage.ask(peer, conn, &chance(), now_ms))
    }

    fn offered_to_carry(&mut self, from: PeerBytes, offer: CarryTerms) -> Vec<RtcNews> {
        if !self.carriage.would_take(from, &offer) {
            return Vec::new();
        }
        // Whatever we had did not reach it.
        let mut news = self.make_way(from);
        self.remember_unreachable(from);
        let conn = self.number();
        news.extend(news_of(self.carriage.offered(from, offer, conn, &chance())));
        news
    }

    fn remember_unreachable(&mut self, peer: PeerBytes) {
        if self.unreachable.len() < UNREACHABLE_MAX && !self.unreachable.contains(&peer) {
            self.unreachable.push(peer);
        }
    }

    fn number(&mut self) -> u64 {
        let conn = self.next_conn;
        self.next_conn += 1;
        conn
    }

    /// Takes a blob in. One that does not open, or belongs to nothing, is dropped: the server may send what it likes.
    pub fn handle_blob(&mut self, from: PeerBytes, bytes: &[u8]) -> Vec<RtcNews> {
        let id = &self.identity;
        let route = Route {
            swarm: id.swarm,
            from,
            to: id.peer,
        };
        let session = self
            .by_peer
            .get(&from)
            .map(|conn| self.connections[conn].offer_nonce())
            .or_else(|| self.carriage.offer_nonce(&from));
        match blob::open(&route, &id.signalling_key, session.as_ref(), bytes) {
            Ok(Signal::Offer(offer)) => return self.offered(from, offer),
            Ok(Signal::Answer { description, .. }) => return self.answered(from, description),
            Ok(Signal::Candidates { candidates, .. }) => self.more_candidates(from, candidates),
            Ok(Signal::CarryOffer(offer)) => return self.offered_to_carry(from, offer),
            Ok(Signal::CarryAnswer { terms, .. }) => {
                let news = news_of(self.carriage.answered(from, terms));
                self.remember_unreachable(from);
                return news;
            }
            Err(_) => {}
        }
        Vec::new()
    }

    /// The server does not know this peer any more.
    pub fn gone(&mut self, peer: PeerBytes) -> Vec<RtcNews> {
        match self.by_peer.get(&peer) {
            Some(&conn) if !self.connections[&conn].connected => self.lost(conn),
            Some(_) => Vec::new(),
            None => news_of(self.carriage.gone(&peer)),
        }
    }

    /// Takes in what happened on a connection.
    pub fn handle(&mut self, conn: u64, event: RtcEvent) -> Vec<RtcNews> {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Vec::new();
        };
        match event {
            RtcEvent::Described(text) => self.described(conn, &text),
            RtcEvent::Candidate(line) => self.found_candidate(conn, &line),
            RtcEvent::Opened => connection.opened().into_iter().collect(),
            RtcEvent::Connected => {
                connection.connected();
                Vec::new()
            }
            RtcEvent::Gone | RtcEvent::Failed => self.gave_up(conn),
        }
    }

    /// Puts a message on a channel.
    pub fn send(&mut self, conn: u64, channel: u32, buffer: &js_sys::ArrayBuffer) -> Vec<RtcNews> {
        if self.carriage.is_open(conn) {
            let message = door::bytes(buffer);
            return news_of(self.carriage.send(conn, channel as u8, message));
        }
        let flow = self.connections.get(&conn).and_then(|c| c.flow.as_ref());
        match flow.map(|flow| flow.send(channel, buffer)) {
            Some(Err(_)) => self.lost(conn),
            _ => Vec::new(),
        }
    }

    /// Closes a connection once what is queued has had time to leave.
    pub fn close(&mut self, conn: u64) {
        self.carriage.close(conn);
        let Some(connection) = self.connections.remove(&conn) else {
            return;
        };
        self.by_peer.remove(&connection.peer);
        Timeout::new(LINGER_MS, move || connection.pc.close()).forget();
    }

    /// Looks up which way each open connection goes.
    pub fn find_paths(&self) {
        for connection in self.connections.values().filter(|c| c.connected) {
            spawn_local(find_path(connection.pc.clone(), connection.relayed.clone()));
        }
    }

    /// Unclosed it would count against the browser's limit until it is collected.
    fn drop_spare(&mut self) {
        if let Some(spare) = self.spare.take() {
            spare.pc.close();
        }
    }

    /// Closes everything this instant, without a word: there is no time for one.
    pub fn hang_up(&mut self) {
        self.drop_spare();
        self.by_peer.clear();
        for (_, connection) in std::mem::take(&mut self.connections) {
            connection.pc.close();
        }
    }

    /// Closes everything, for the engine to know it at once.
    pub fn drop_all(&mut self) -> Vec<RtcNews> {
        self.drop_spare();
        let conns: Vec<u64> = self.connections.keys().copied().collect();
        let lost = conns.into_iter().flat_map(|conn| self.lost(conn));
        let mut news: Vec<RtcNews> = lost.collect();
        news.extend(self.lost_server());
        news
    }

    /// Closes everything.
    pub fn close_all(&mut self) {
        self.drop_spare();
        for conn in self.connections.keys().copied().collect::<Vec<_>>() {
            self.close(conn);
        }
    }

    /// A connection that we began and that came to nothing: the server may carry what it would have.
    fn gave_up(&mut self, conn: u64) -> Vec<RtcNews> {
        let ours = |c: &&Connection| c.offerer && !c.connected;
        let peer = self.connections.get(&conn).filter(ours).map(|c| c.peer);
        let mut news = self.lost(conn);
        if let Some(peer) = peer
            && self.carriage.allowed()
        {
            news.retain(|news| !matches!(news, RtcNews::Failed { .. }));
            news.extend(self.ask_to_carry(peer));
        }
        news
    }

    fn lost(&mut self, conn: u64) -> Vec<RtcNews> {
        let Some(connection) = self.connections.remove(&conn) else {
            return Vec::new();
        };
        self.by_peer.remove(&connection.peer);
        connection.pc.close();
        let mut news = Vec::new();
        // The worker may have seen channels open that we have not heard of yet.
        if connection.connected || connection.flow.is_none() {
            news.push(RtcNews::Disconnected { conn });
        }
        if !connection.connected {
            news.push(RtcNews::Failed {
                peer: connection.peer,
            });
        }
        news
    }

    /// Glare: of two offers that cross, the one of the smaller PeerId stands.
    fn offered(&mut self, from: PeerBytes, offer: Description) -> Vec<RtcNews> {
        let mut news = Vec::new();
        // The same again, by another way or from a server that replays it.
        if !self.offers.is_new(from, offer.session_nonce) {
            return news;
        }
        if let Some(connection) = self.by_peer.get(&from).map(|c| &self.connections[c])
            && !connection.connected
            && connection.offerer
            && self.identity.peer < from
        {
            return news;
        }
        news.extend(self.make_way(from));
        news.extend(news_of(self.carriage.give_way(&from)));
        if self.connections.len() < CONNECTIONS_MAX
            && let Some(conn) = self.open(from, door::random(), Some(offer))
        {
            self.describe(conn);
        } else {
            news.push(RtcNews::Failed { peer: from });
        }
        news
    }

    /// Ends whatever connection there is, for the one that this peer offers.
    fn make_way(&mut self, from: PeerBytes) -> Vec<RtcNews> {
        let Some(&conn) = self.by_peer.get(&from) else {
            return Vec::new();
        };
        if self.connections[&conn].connected {
            return self.lost(conn); // It came back before we noticed that it was gone.
        }
        if let Some(old) = self.connections.remove(&conn) {
            self.by_peer.remove(&from);
            old.pc.close();
        }
        vec![RtcNews::Disconnected { conn }]
    }

    fn answered(&mut self, from: PeerBytes, answer: Description) -> Vec<RtcNews> {
        let Some(connection) = self
            .by_peer
            .get(&from)
            .and_then(|conn| self.connections.get_mut(conn))
        else {
            return Vec::new();
        };
        if !connection.offerer || connection.remote.is_some() {
            return Vec::new();
        }
        let Ok(sdp) = answer.to_remote_sdp() else {
            return Vec::new();
        };
        connection.remote = Some(answer);
        let (conn, pc) = (connection.conn, connection.pc.clone());
        let candidates = std::mem::take(&mut connection.early);
        let emit = self.emit.clone();
        spawn_local(async move {
            match set_remote(&pc, RtcSdpType::Answer, &sdp).await {
                Ok(()) => add_candidates(&pc, &candidates).await,
                Err(_) => emit(conn, RtcEvent::Failed),
            }
        });
        connection.agreed().into_iter().collect()
    }

    fn more_candidates(&mut self, from: PeerBytes, more: Vec<IceCandidate>) {
        let Some(connection) = self
            .by_peer
            .get(&from)
            .and_then(|conn| self.connections.get_mut(conn))
        else {
            return;
        };
        if connection.candidates_seen + more.len() > CANDIDATES_MAX {
            return;
        }
        connection.candidates_seen += more.len();
        // An answerer's remote description is being set while it describes itself: what comes meanwhile waits for it.
        if connection.remote.is_some() && (connection.offerer || connection.local.is_some()) {
            let pc = connection.pc.clone();
            spawn_local(async move { add_candidates(&pc, &more).await });
        } else {
            connection.early.extend(more);
        }
    }

    /// Makes the RTCPeerConnection and its channels; `None` where the browser refuses one more.
    fn open(
        &mut self,
        peer: PeerBytes,
        local_nonce: [u8; 16],
        remote: Option<Description>,
    ) -> Option<u64> {
        let Raw {
            conn,
            pc,
            channels,
            offer,
        } = self.take_raw(remote.is_some())?;
        let flow = channels.map(|(control, data)| self.flow(conn, control, data));
        let handlers = self.listen(conn, &pc);
        let emit = self.emit.clone();
        // With a last resort at hand a person need not wait for what may still come.
        let patience_ms = match self.carriage.allowed() && remote.is_none() {
            true => HANDSHAKE_BEFORE_CARRYING_MS,
            false => HANDSHAKE_MS,
        };
        let connection = Connection {
            conn,
            peer,
            pc,
            flow,
            offerer: remote.is_none(),
            offer,
            local_nonce,
            local: None,
            remote,
            early: Vec::new(),
            found: Vec::new(),
            candidates_seen: 0,
            connected: false,
            relayed: Rc::default(),
            _handlers: handlers,
            _deadline: Some(Timeout::new(patience_ms, move || {
                emit(conn, RtcEvent::Failed)
            })),
        };
        self.connections.insert(conn, connection);
        self.by_peer.insert(peer, conn);
        Some(conn)
    }

    /// The spare one for an offer of ours; an answer needs one that has not begun to offer.
    fn take_raw(&mut self, answering: bool) -> Option<Raw> {
        let spare = if answering { None } else { self.spare.take() };
        spare.or_else(|| self.make_raw())
    }

    fn make_raw(&mut self) -> Option<Raw> {
        let conn = self.number();
        Raw::new(&self.ice, conn, |control, data| {
            let moved = self.moves.get() && self.hand_over(conn, control, data).is_ok();
            self.moves.set(moved);
            moved
        })
    }

    fn hand_over(
        &self,
        conn: u64,
        control: &RtcDataChannel,
        data: &RtcDataChannel,
    ) -> Result<(), JsValue> {
        let message = door::array(&[
            HOT_CHANNELS.into(),
            self.stream.into(),
            (conn as f64).into(),
            control.into(),
            data.into(),
        ]);
        self.worker
            .post_message_with_transfer(&message, &Array::of2(control, data))
    }

    /// Channels that stay on the page: their messages go on to the worker by transfer.
    fn flow(&self, conn: u64, control: RtcDataChannel, data: RtcDataChannel) -> Rc<Flow> {
        let (stream, worker, emit) = (self.stream, self.worker.clone(), self.emit.clone());
        Flow::new(control, data, move |news| match news {
            FlowNews::Received(channel, data) => {
                tell_received(&worker, stream, conn, channel, &data)
            }
            FlowNews::Credit(credit) => tell_credit(&worker, stream, conn, credit),
            FlowNews::Opened => emit(conn, RtcEvent::Opened),
            FlowNews::Gone => emit(conn, RtcEvent::Gone),
        })
    }

    fn listen(&self, conn: u64, pc: &RtcPeerConnection) -> Vec<Handler> {
        let mut handlers = Vec::new();
        let emit = self.emit.clone();
        handlers.push(Handler::new(pc, "icecandidate", move |event| {
            if let Some(candidate) = event
                .unchecked_into::<RtcPeerConnectionIceEvent>()
                .candidate()
            {
                emit(conn, RtcEvent::Candidate(candidate.candidate()));
            }
        }));
        let emit = self.emit.clone();
        let watched = pc.clone();
        handlers.push(Handler::new(pc, "connectionstatechange", move |_| {
            if matches!(
                watched.connection_state(),
                RtcPeerConnectionState::Failed | RtcPeerConnectionState::Closed
            ) {
                emit(conn, RtcEvent::Gone);
            }
        }));
        handlers
    }

    /// Offers or answers, whichever this connection is for.
    fn describe(&mut self, conn: u64) {
        let connection = self
            .connections
            .get_mut(&conn)
            .expect("opened by the caller");
        let offer = connection.offer.take();
        let pc = connection.pc.clone();
        let remote = connection
            .remote
            .as_ref()
            .map(|offer| offer.to_remote_sdp().expect("opened blobs are valid"));
        let emit = self.emit.clone();
        spawn_local(async move {
            let said = emit.clone();
            let described = move |sdp| said(conn, RtcEvent::Described(sdp));
            if describe(&pc, offer, remote, described).await.is_err() {
                emit(conn, RtcEvent::Failed);
            }
        });
    }

    fn described(&mut self, conn: u64, text: &str) -> Vec<RtcNews> {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Vec::new();
        };
        let Ok(description) = Description::from_local_sdp(text, connection.local_nonce) else {
            return self.lost(conn);
        };
        connection.local = Some(description.clone());
        let signal = match connection.offerer {
            true => Signal::Offer(description),
            false => Signal::Answer {
                offer_nonce: connection.offer_nonce(),
                description,
            },
        };
        if !connection.offerer {
            let (pc, early) = (connection.pc.clone(), std::mem::take(&mut connection.early));
            spawn_local(async move { add_candidates(&pc, &early).await });
        }
        let agreed = connection.agreed();
        let mut news = self.signal(conn, &signal);
        news.extend(agreed);
        news.extend(self.flush_candidates(conn));
        news
    }

    fn found_candidate(&mut self, conn: u64, line: &str) -> Vec<RtcNews> {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Vec::new();
        };
        let Ok(Some(candidate)) = IceCandidate::parse(line) else {
            return Vec::new();
        };
        if connection.found.len() < CANDIDATES_MAX {
            connection.found.push(candidate);
        }
        self.flush_candidates(conn)
    }

    /// Sends the candidates found since the last time; none before our description, which they would overtake.
    fn flush_candidates(&mut self, conn: u64) -> Vec<RtcNews> {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Vec::new();
        };
        let Some(local) = &connection.local else {
            return Vec::new();
        };
        let mut candidates = std::mem::take(&mut connection.found);
        candidates.retain(|candidate| !local.candidates.contains(candidate));
        if candidates.is_empty() {
            return Vec::new();
        }
        let offer_nonce = connection.offer_nonce();
        let some = |candidates: &[IceCandidate]| Signal::Candidates {
            offer_nonce,
            candidates: candidates.to_vec(),
            last: false,
        };
        let signals: Vec<Signal> = candidates.chunks(PER_SIGNAL_MAX).map(some).collect();
        signals
            .iter()
            .flat_map(|signal| self.signal(conn, signal))
            .collect()
    }

    /// A signal that our own limits refuse (a browser with fifty addresses) is not sent.
    fn signal(&self, conn: u64, signal: &Signal) -> Vec<RtcNews> {
        let id = &self.identity;
        let to = self.connections[&conn].peer;
        match blob::seal(
            &id.swarm,
            &to,
            &id.signalling_key,
            &id.peer_seed,
            door::random(),
            signal,
        ) {
            Ok(blob) => vec![RtcNews::Signal { to, blob }],
            Err(_) => Vec::new(),
        }
    }
}

/// One RTCPeerConnection from the first offer to its end.
struct Connection {
    conn: u64,
    peer: PeerBytes,
    pc: RtcPeerConnection,
    /// `None` where the worker has the channels.
    flow: Option<Rc<Flow>>,
    offerer: bool,
    offer: Option<js_sys::Promise>,
    local_nonce: [u8; 16],
    local: Option<Description>,
    remote: Option<Description>,
    /// Theirs, before our browser can take them.
    early: Vec<IceCandidate>,
    /// Ours, not yet sent.
    found: Vec<IceCandidate>,
    candidates_seen: usize,
    connected: bool,
    relayed: Rc<Cell<bool>>,
    _handlers: Vec<Handler>,
    _deadline: Option<Timeout>,
}

impl Connection {
    /// A channel on the page opened; with both, the worker hears of the connection.
    fn opened(&mut self) -> Option<RtcNews> {
        let binding = self.binding()?;
        if self.connected || !self.flow.as_ref()?.is_open() {
            return None;
        }
        self.connected();
        Some(RtcNews::Connected {
            conn: self.conn,
            peer: self.peer,
            binding,
        })
    }

    /// What the worker must know to take the connection for open when its channels are.
    fn agreed(&self) -> Option<RtcNews> {
        let (binding, None) = (self.binding()?, &self.flow) else {
            return None;
        };
        Some(RtcNews::Agreed {
            conn: self.conn,
            peer: self.peer,
            binding,
        })
    }

    fn connected(&mut self) {
        self.connected = true;
        self._deadline = None;
        spawn_local(find_path(self.pc.clone(), self.relayed.clone()));
    }

    /// `None` until both descriptions are known.
    fn binding(&self) -> Option<Binding> {
        let (local, remote) = (self.local.as_ref()?, self.remote.as_ref()?);
        Some(Binding {
            local_nonce: self.local_nonce,
            remote_nonce: remote.session_nonce,
            local_fingerprint: local.fingerprint,
            remote_fingerprint: remote.fingerprint,
            offerer: self.offerer,
        })
    }

    /// The nonce of the offer that began this session, which names it.
    fn offer_nonce(&self) -> [u8; 16] {
        match &self.remote {
            Some(offer) if !self.offerer => offer.session_nonce,
            _ => self.local_nonce,
        }
    }
}

impl Rtc {
    /// Tells the worker's side of a connection that it may have what came, and what it may send.
    ///
    /// Called after the worker has been told that the connection stands, so that nothing overtakes that news.
    pub fn announce(&self, conn: u64) {
        if let Some(flow) = self.connections.get(&conn).and_then(|c| c.flow.as_ref()) {
            flow.announce();
        }
    }

    /// After a batch of sends: says how much more may come.
    pub fn report_credit(&self, conn: u64) {
        if let Some(flow) = self.connections.get(&conn).and_then(|c| c.flow.as_ref()) {
            flow.report_credit();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(flow) = &self.flow {
            flow.forget();
        }
    }
}

fn chance() -> Chance {
    Chance {
        session_nonce: door::random(),
        secret: door::random(),
        blob_nonce: door::random(),
    }
}

/// What the page has to do about carried connections.
fn news_of(events: Vec<CarriageEvent>) -> Vec<RtcNews> {
    let news = |event| match event {
        CarriageEvent::Signal { to, blob } => RtcNews::Signal { to, blob },
        CarriageEvent::Frame { to, frame } => RtcNews::Carry { to, frame },
        CarriageEvent::Connected(it) => RtcNews::Connected {
            conn: it.conn,
            peer: it.peer,
            binding: Binding {
                local_nonce: it.local.session_nonce,
                remote_nonce: it.remote.session_nonce,
                local_fingerprint: it.local.key,
                remote_fingerprint: it.remote.key,
                offerer: it.offerer,
            },
        },
        CarriageEvent::Received {
            conn,
            channel,
            bytes,
        } => RtcNews::Received {
            conn,
            channel,
            bytes,
        },
        CarriageEvent::Credit { conn, credit } => RtcNews::Credit { conn, credit },
        CarriageEvent::Disconnected { conn, .. } => RtcNews::Disconnected { conn },
        CarriageEvent::Failed { peer } => RtcNews::Failed { peer },
    };
    events.into_iter().map(news).collect()
}

/// How long a connection of ours may take where the server would carry what it is for, milliseconds: TURN over TCP through a proxy takes three seconds.
const HANDSHAKE_BEFORE_CARRYING_MS: u32 = 6000;
/// Peers remembered for that only the server led to them; a stream connects to fewer.
const UNREACHABLE_MAX: usize = 64;
/// How long a connection may take to open, milliseconds: ICE's own patience is longer than a person's.
const HANDSHAKE_MS: u32 = 12_000;
/// How long a closing connection lives on, milliseconds: closing right after the queue drains loses the last messages.
const LINGER_MS: u32 = 300;
/// Connections per stream, open and opening. The swarm asks for fewer; this bounds what others can make us open.
const CONNECTIONS_MAX: usize = 48;
/// Candidates per peer. Real hosts have about ten.
const CANDIDATES_MAX: usize = 40;
/// Candidates in one blob (signal-protocol's limit).
const PER_SIGNAL_MAX: usize = baton_signal_protocol::description::CANDIDATES_MAX;
