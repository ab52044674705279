//! Connections to peers: offers and answers as sealed blobs, SDP from a template, two negotiated channels.
//!
//! A foreign SDP is never applied: what a blob carries is checked field by field, and the description is built here.

use crate::bridge::{Binding, HOT_CREDIT, HOT_RECEIVED, StreamNumber};
use crate::door::{self, Handler};
use baton_signal_protocol::blob::{self, Route};
use baton_signal_protocol::{Description, IceCandidate, IceServer, Signal};
use gloo_timers::callback::Timeout;
use js_sys::Array;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    MessageEvent, RtcConfiguration, RtcDataChannel, RtcDataChannelInit, RtcDataChannelState,
    RtcDataChannelType, RtcIceCandidateInit, RtcIceServer, RtcPeerConnection,
    RtcPeerConnectionIceEvent, RtcPeerConnectionState, RtcSdpType, RtcSessionDescriptionInit,
    Worker,
};

/// A peer's id, as the signalling protocol spells it.
pub type PeerBytes = [u8; 32];

/// What happens on a connection.
pub enum RtcEvent {
    /// Our description is set; this is its SDP.
    Described(String),
    /// One more local candidate.
    Candidate(String),
    /// A channel opened.
    Opened,
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
}

/// All connections of one stream.
pub struct Rtc {
    stream: StreamNumber,
    worker: Worker,
    identity: Identity,
    ice: Vec<IceServer>,
    connections: BTreeMap<u64, Connection>,
    by_peer: BTreeMap<PeerBytes, u64>,
    next_conn: u64,
    /// Made before anybody is known: its certificate is ready when the first peer is.
    spare: Option<Raw>,
    emit: Rc<dyn Fn(u64, RtcEvent)>,
}

/// An RTCPeerConnection with its two channels, not yet with anybody.
struct Raw {
    pc: RtcPeerConnection,
    control: RtcDataChannel,
    data: RtcDataChannel,
    /// Its offer, where one is on its way. A second one would have another mid than the template's.
    offer: Option<js_sys::Promise>,
}

impl Raw {
    /// `None` where the browser refuses one more.
    fn new(ice: &[IceServer]) -> Option<Raw> {
        let pc = RtcPeerConnection::new_with_configuration(&configuration(ice)).ok()?;
        let control = channel(&pc, "control", 0, true);
        let data = channel(&pc, "data", 1, false);
        Some(Raw {
            pc,
            control,
            data,
            offer: None,
        })
    }
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
        Rtc {
            stream,
            worker,
            identity,
            ice: Vec::new(),
            connections: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            next_conn: 1,
            spare: None,
            emit,
        }
    }

    /// Makes the first connection before its peer is known: making the certificate takes as long as a round trip.
    pub fn warm_up(&mut self) {
        self.spare = Raw::new(&self.ice);
        if let Some(spare) = &mut self.spare {
            spare.offer = Some(spare.pc.create_offer());
        }
    }

    /// STUN and TURN servers for connections made from now on.
    pub fn set_ice(&mut self, ice: Vec<IceServer>) {
        if let Some(spare) = &self.spare
            && !ice.is_empty()
            && reconfigure(&spare.pc, &configuration(&ice)).is_err()
        {
            self.spare = None;
        }
        self.ice = ice;
    }

    /// How many connections are open or being made.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// `(direct, relay)` among the open ones.
    pub fn path_counts(&self) -> (u32, u32) {
        let open = self.connections.values().filter(|c| c.connected);
        let relay = open.clone().filter(|c| c.relayed.get()).count() as u32;
        (open.count() as u32 - relay, relay)
    }

    /// Whether this connection goes through a relay.
    pub fn relayed(&self, conn: u64) -> bool {
        self.connections.get(&conn).is_some_and(|c| c.relayed.get())
    }

    /// Starts a connection to a peer. One that is there, or on its way, is left alone.
    pub fn connect(&mut self, peer: PeerBytes) -> Vec<RtcNews> {
        if self.by_peer.contains_key(&peer) || peer == self.identity.peer {
            return Vec::new();
        }
        match self.open(peer, door::random(), None) {
            Some(conn) => {
                self.describe(conn);
                Vec::new()
            }
            None => vec![RtcNews::Failed { peer }],
        }
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
            .map(|conn| self.connections[conn].offer_nonce());
        match blob::open(&route, &id.signalling_key, session.as_ref(), bytes) {
            Ok(Signal::Offer(offer)) => return self.offered(from, offer),
            Ok(Signal::Answer { description, .. }) => self.answered(from, description),
            Ok(Signal::Candidates { candidates, .. }) => self.more_candidates(from, candidates),
            Err(_) => {}
        }
        Vec::new()
    }

    /// The server does not know this peer any more.
    pub fn gone(&mut self, peer: PeerBytes) -> Vec<RtcNews> {
        match self.by_peer.get(&peer) {
            Some(&conn) if !self.connections[&conn].connected => self.lost(conn),
            _ => Vec::new(),
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
            RtcEvent::Gone | RtcEvent::Failed => self.lost(conn),
        }
    }

    /// Puts a message on a channel.
    pub fn send(&mut self, conn: u64, channel: u32, buffer: &js_sys::ArrayBuffer) -> Vec<RtcNews> {
        let Some(connection) = self.connections.get(&conn) else {
            return Vec::new();
        };
        match connection.flow.send(channel, buffer) {
            Ok(()) => Vec::new(),
            Err(_) => self.lost(conn),
        }
    }

    /// Closes a connection once what is queued has had time to leave.
    pub fn close(&mut self, conn: u64) {
        let Some(connection) = self.connections.remove(&conn) else {
            return;
        };
        self.by_peer.remove(&connection.peer);
        Timeout::new(LINGER_MS, move || connection.pc.close()).forget();
    }

    /// Closes everything this instant, without a word: there is no time for one.
    pub fn hang_up(&mut self) {
        self.by_peer.clear();
        for (_, connection) in std::mem::take(&mut self.connections) {
            connection.pc.close();
        }
    }

    /// Closes everything.
    pub fn close_all(&mut self) {
        if let Some(spare) = self.spare.take() {
            spare.pc.close();
        }
        for conn in self.connections.keys().copied().collect::<Vec<_>>() {
            self.close(conn);
        }
    }

    fn lost(&mut self, conn: u64) -> Vec<RtcNews> {
        let Some(connection) = self.connections.remove(&conn) else {
            return Vec::new();
        };
        self.by_peer.remove(&connection.peer);
        connection.pc.close();
        vec![match connection.connected {
            true => RtcNews::Disconnected { conn },
            false => RtcNews::Failed {
                peer: connection.peer,
            },
        }]
    }

    /// Glare: of two offers that cross, the one of the smaller PeerId stands.
    fn offered(&mut self, from: PeerBytes, offer: Description) -> Vec<RtcNews> {
        let mut news = Vec::new();
        if let Some(&conn) = self.by_peer.get(&from) {
            let connection = &self.connections[&conn];
            if connection
                .remote
                .as_ref()
                .is_some_and(|remote| remote.session_nonce == offer.session_nonce)
            {
                return news; // The same offer again, by another way.
            }
            if !connection.connected && connection.offerer && self.identity.peer < from {
                return news;
            }
            if connection.connected {
                news.extend(self.lost(conn)); // It came back before we noticed that it was gone.
            } else if let Some(old) = self.connections.remove(&conn) {
                self.by_peer.remove(&from);
                old.pc.close();
            }
        }
        if self.connections.len() < CONNECTIONS_MAX
            && let Some(conn) = self.open(from, door::random(), Some(offer))
        {
            self.describe(conn);
        }
        news
    }

    fn answered(&mut self, from: PeerBytes, answer: Description) {
        let Some(connection) = self
            .by_peer
            .get(&from)
            .and_then(|conn| self.connections.get_mut(conn))
        else {
            return;
        };
        if !connection.offerer || connection.remote.is_some() {
            return;
        }
        let Ok(sdp) = answer.to_remote_sdp() else {
            return;
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
            pc,
            control,
            data,
            offer,
        } = self.take_raw(remote.is_some())?;
        let conn = self.next_conn;
        self.next_conn += 1;
        let flow = Rc::new(Flow::new(
            self.stream,
            conn,
            self.worker.clone(),
            control,
            data,
        ));
        let handlers = self.listen(conn, &pc, &flow);
        let emit = self.emit.clone();
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
            _deadline: Some(Timeout::new(HANDSHAKE_MS, move || {
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
        spare.or_else(|| Raw::new(&self.ice))
    }

    fn listen(&self, conn: u64, pc: &RtcPeerConnection, flow: &Rc<Flow>) -> Vec<Handler> {
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
        for (number, channel) in [&flow.control, &flow.data].into_iter().enumerate() {
            let emit = self.emit.clone();
            handlers.push(Handler::new(channel, "open", move |_| {
                emit(conn, RtcEvent::Opened)
            }));
            let emit = self.emit.clone();
            handlers.push(Handler::new(channel, "close", move |_| {
                emit(conn, RtcEvent::Gone)
            }));
            let receiver = flow.clone();
            handlers.push(Handler::new(channel, "message", move |event| {
                receiver.received(number as u32, event.unchecked_into::<MessageEvent>().data());
            }));
            let drained = flow.clone();
            handlers.push(Handler::new(channel, "bufferedamountlow", move |_| {
                drained.report_credit()
            }));
        }
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
            match describe(&pc, offer, remote).await {
                Ok(sdp) => emit(conn, RtcEvent::Described(sdp)),
                Err(_) => emit(conn, RtcEvent::Failed),
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
        let mut news = self.signal(conn, &signal);
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
        self.signal(
            conn,
            &Signal::Candidates {
                offer_nonce,
                candidates,
                last: false,
            },
        )
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
    flow: Rc<Flow>,
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
    /// Both channels are open: from here on the worker hears of it.
    fn opened(&mut self) -> Option<RtcNews> {
        let (Some(local), Some(remote)) = (&self.local, &self.remote) else {
            return None;
        };
        if self.connected || !self.flow.open() {
            return None;
        }
        self.connected = true;
        self._deadline = None;
        let binding = Binding {
            local_nonce: self.local_nonce,
            remote_nonce: remote.session_nonce,
            local_fingerprint: local.fingerprint,
            remote_fingerprint: remote.fingerprint,
            offerer: self.offerer,
        };
        spawn_local(find_path(self.pc.clone(), self.relayed.clone()));
        Some(RtcNews::Connected {
            conn: self.conn,
            peer: self.peer,
            binding,
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

/// A connection's two channels, what has been sent on them, and how much more may be.
///
/// Messages are passed to the worker by transfer from the very callback that brings them, past every borrow.
struct Flow {
    stream: StreamNumber,
    conn: u64,
    worker: Worker,
    control: RtcDataChannel,
    data: RtcDataChannel,
    /// The worker has been told of the connection; until then messages wait in `early`.
    announced: Cell<bool>,
    early: RefCell<Vec<(u32, JsValue)>>,
    /// Messages for a channel that is not open yet.
    sent: Cell<f64>,
    credit_reported: Cell<f64>,
}

impl Flow {
    fn new(
        stream: StreamNumber,
        conn: u64,
        worker: Worker,
        control: RtcDataChannel,
        data: RtcDataChannel,
    ) -> Flow {
        for channel in [&control, &data] {
            channel.set_binary_type(RtcDataChannelType::Arraybuffer);
            channel.set_buffered_amount_low_threshold(SEND_WINDOW / 2);
        }
        Flow {
            stream,
            conn,
            worker,
            control,
            data,
            announced: Cell::new(false),
            early: RefCell::default(),
            sent: Cell::new(0.0),
            credit_reported: Cell::new(0.0),
        }
    }

    fn open(&self) -> bool {
        [&self.control, &self.data]
            .iter()
            .all(|c| c.ready_state() == RtcDataChannelState::Open)
    }

    fn received(&self, channel: u32, data: JsValue) {
        // A text message is nothing that Baton speaks: as an empty one, the engine refuses it with the reason.
        let data = match data.is_instance_of::<js_sys::ArrayBuffer>() {
            true => data,
            false => js_sys::ArrayBuffer::new(0).into(),
        };
        if !self.announced.get() {
            let mut early = self.early.borrow_mut();
            if early.len() < EARLY_MESSAGES_MAX {
                early.push((channel, data));
            }
            return;
        }
        self.forward(channel, data);
    }

    fn forward(&self, channel: u32, data: JsValue) {
        let message = door::array(&[
            HOT_RECEIVED.into(),
            self.stream.into(),
            (self.conn as f64).into(),
            channel.into(),
            data.clone(),
        ]);
        let _ = self
            .worker
            .post_message_with_transfer(&message, &Array::of1(&data));
    }

    fn announce(&self) {
        self.announced.set(true);
        for (channel, data) in self.early.take() {
            self.forward(channel, data);
        }
        self.report_credit();
    }

    fn send(&self, channel: u32, buffer: &js_sys::ArrayBuffer) -> Result<(), JsValue> {
        let target = if channel == 0 {
            &self.control
        } else {
            &self.data
        };
        target.send_with_array_buffer(buffer)?;
        self.sent
            .set(self.sent.get() + f64::from(buffer.byte_length()));
        Ok(())
    }

    /// Absolute: what was sent, less what still waits, plus the window. A lost report is made good by the next.
    fn report_credit(&self) {
        let waiting =
            f64::from(self.control.buffered_amount()) + f64::from(self.data.buffered_amount());
        let credit = self.sent.get() - waiting + f64::from(SEND_WINDOW);
        if credit < self.credit_reported.get() + f64::from(SEND_WINDOW / 8) {
            return;
        }
        self.credit_reported.set(credit);
        let message = door::array(&[
            HOT_CREDIT.into(),
            self.stream.into(),
            (self.conn as f64).into(),
            credit.into(),
        ]);
        let _ = self.worker.post_message(&message);
    }
}

impl Rtc {
    /// Tells the worker's side of a connection that it may have what came, and what it may send.
    ///
    /// Called after the worker has been told that the connection stands, so that nothing overtakes that news.
    pub fn announce(&self, conn: u64) {
        if let Some(connection) = self.connections.get(&conn) {
            connection.flow.announce();
        }
    }

    /// After a batch of sends: says how much more may come.
    pub fn report_credit(&self, conn: u64) {
        if let Some(connection) = self.connections.get(&conn) {
            connection.flow.report_credit();
        }
    }
}

fn channel(pc: &RtcPeerConnection, label: &str, id: u16, ordered: bool) -> RtcDataChannel {
    let init = RtcDataChannelInit::new();
    init.set_negotiated(true);
    init.set_id(id);
    init.set_ordered(ordered);
    pc.create_data_channel_with_data_channel_dict(label, &init)
}

fn configuration(servers: &[IceServer]) -> RtcConfiguration {
    let list = Array::new();
    for server in servers {
        let entry = RtcIceServer::new();
        entry.set_urls(&server.urls.iter().map(JsValue::from).collect::<Array>());
        if let Some(username) = &server.username {
            entry.set_username(username);
        }
        if let Some(credential) = &server.credential {
            entry.set_credential(credential);
        }
        list.push(&entry);
    }
    let configuration = RtcConfiguration::new();
    configuration.set_ice_servers(&list);
    configuration
}

/// `setConfiguration` with its argument, which web-sys leaves out.
fn reconfigure(pc: &RtcPeerConnection, configuration: &RtcConfiguration) -> Result<(), JsValue> {
    let set: js_sys::Function = js_sys::Reflect::get(pc, &"setConfiguration".into())?.dyn_into()?;
    set.call1(pc, configuration).map(|_| ())
}

/// Sets our description and returns its SDP; `remote` is the offer's SDP where we answer.
async fn describe(
    pc: &RtcPeerConnection,
    offer: Option<js_sys::Promise>,
    remote: Option<String>,
) -> Result<String, JsValue> {
    let (kind, created) = match remote {
        Some(offer) => {
            set_remote(pc, RtcSdpType::Offer, &offer).await?;
            (
                RtcSdpType::Answer,
                JsFuture::from(pc.create_answer()).await?,
            )
        }
        None => (
            RtcSdpType::Offer,
            JsFuture::from(offer.unwrap_or_else(|| pc.create_offer())).await?,
        ),
    };
    let text = js_sys::Reflect::get(&created, &"sdp".into())?
        .as_string()
        .unwrap_or_default();
    let local = RtcSessionDescriptionInit::new(kind);
    local.set_sdp(&text);
    JsFuture::from(pc.set_local_description(&local)).await?;
    Ok(text)
}

async fn set_remote(pc: &RtcPeerConnection, kind: RtcSdpType, sdp: &str) -> Result<(), JsValue> {
    let remote = RtcSessionDescriptionInit::new(kind);
    remote.set_sdp(sdp);
    JsFuture::from(pc.set_remote_description(&remote))
        .await
        .map(|_| ())
}

/// A candidate that the browser does not take (a family it lacks, say) costs only itself.
async fn add_candidates(pc: &RtcPeerConnection, candidates: &[IceCandidate]) {
    for candidate in candidates {
        let init = RtcIceCandidateInit::new(&candidate.to_line());
        init.set_sdp_mid(Some("0"));
        init.set_sdp_m_line_index(Some(0));
        let _ =
            JsFuture::from(pc.add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(&init))).await;
    }
}

/// Looks up whether the chosen candidate pair is relayed (webrtc-stats, `candidate-pair` and `local-candidate`).
async fn find_path(pc: RtcPeerConnection, relayed: Rc<Cell<bool>>) {
    let Ok(report) = JsFuture::from(pc.get_stats()).await else {
        return;
    };
    let report: js_sys::Map = report.unchecked_into();
    let text = |entry: &JsValue, key: &str| {
        js_sys::Reflect::get(entry, &key.into())
            .ok()
            .and_then(|v| v.as_string())
    };
    let mut local = None;
    report.for_each(&mut |entry, _| {
        if text(&entry, "type").as_deref() == Some("candidate-pair")
            && text(&entry, "state").as_deref() == Some("succeeded")
        {
            local = text(&entry, "localCandidateId");
        }
    });
    let Some(local) = local else { return };
    let candidate = report.get(&local.into());
    if !candidate.is_undefined() {
        relayed.set(text(&candidate, "candidateType").as_deref() == Some("relay"));
    }
}

/// How much may wait in a connection's channels, bytes. Chromium throws at 16 MiB and Firefox swallows without end;
/// half a megabyte keeps a fast path busy and lets a cancel still matter.
const SEND_WINDOW: u32 = 1 << 20;
/// How long a connection may take to open, milliseconds: ICE's own patience is longer than a person's.
const HANDSHAKE_MS: u32 = 12_000;
/// How long a closing connection lives on, milliseconds: closing right after the queue drains loses the last messages.
const LINGER_MS: u32 = 300;
/// Connections per stream, open and opening. The swarm asks for fewer; this bounds what others can make us open.
const CONNECTIONS_MAX: usize = 48;
/// Candidates per peer. Real hosts have about ten.
const CANDIDATES_MAX: usize = 40;
/// Messages kept between a channel's opening and the connection's announcement.
const EARLY_MESSAGES_MAX: usize = 64;
