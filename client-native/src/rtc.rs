//! Connections to peers: offers and answers as sealed blobs, SDP from a template, two negotiated channels.
//!
//! The same rules as in the browser (client-wasm/src/page/rtc.rs): a foreign SDP is never applied, glare is won by the smaller
//! PeerId, and what belongs to another session is dropped. One task per connection (`link.rs`) owns what blocks.

use crate::ice::Routes;
use crate::inbox::Inbox;
use crate::link::{self, Command, LinkEvent};
use baton_content::PeerId;
use baton_signal_protocol::blob::{self, CarryTerms, Route};
use baton_signal_protocol::carriage::{Chance, Us};
use baton_signal_protocol::{
    Address, CandidateKind, Carriage, CarriageEvent, Description, IceCandidate, IceServer, Offers,
    Signal,
};
use baton_swarm::{Binding, Channel, ConnId, Path};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::IpAddr;
use tokio::sync::mpsc;

/// What the session has to do about what happened.
#[derive(Debug)]
pub enum RtcNews {
    /// Send this blob.
    Signal { to: PeerId, blob: Vec<u8>, way: Way },
    /// Both channels are open.
    Connected {
        conn: ConnId,
        peer: PeerId,
        binding: Binding,
        path: Path,
    },
    /// It ended.
    Disconnected { conn: ConnId, peer: PeerId },
    /// It never came to be.
    Failed { peer: PeerId },
    /// Have the server carry this frame.
    Carry { to: PeerId, frame: Vec<u8> },
    /// A message came through the server.
    Received {
        conn: ConnId,
        channel: Channel,
        bytes: Bytes,
    },
    /// How many bytes in all may be sent through the server.
    Credit { conn: ConnId, credit: u64 },
    /// Why a connection ended, where the fault lay here or on the way.
    Fault(String),
}

/// How blobs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through the server, or while it is away through a neighbour.
    Any,
    /// Through a neighbour, as the other's offer came: its server may not be ours.
    Neighbour,
}

/// Who we are in this swarm, and the key that blobs are sealed with.
#[derive(Clone)]
pub struct Identity {
    pub swarm: [u8; 32],
    pub signalling_key: [u8; 32],
    pub peer_seed: [u8; 32],
    pub peer: PeerId,
}

/// All connections of one stream.
pub struct Rtc {
    identity: Identity,
    ice: Vec<IceServer>,
    routes: Routes,
    connections: BTreeMap<ConnId, Connection>,
    by_peer: BTreeMap<PeerId, ConnId>,
    next_conn: u64,
    connections_max: usize,
    offers: Offers,
    carriage: Carriage,
    /// The session's clock as of its last tick.
    now_ms: u64,
    inbox: Inbox,
}

/// One connection from the first offer to its end.
struct Connection {
    peer: PeerId,
    way: Way,
    commands: mpsc::UnboundedSender<Command>,
    offerer: bool,
    local_nonce: [u8; 16],
    local: Option<Description>,
    remote: Option<Description>,
    /// Ours, not yet sent.
    found: Vec<IceCandidate>,
    candidates_seen: usize,
    connected: bool,
}

impl Connection {
    /// The nonce of the offer that began this session, which names it.
    fn offer_nonce(&self) -> [u8; 16] {
        match &self.remote {
            Some(offer) if !self.offerer => offer.session_nonce,
            _ => self.local_nonce,
        }
    }
}

impl Rtc {
    /// No connections yet.
    pub fn new(identity: Identity, routes: Routes, connections_max: usize, inbox: Inbox) -> Rtc {
        let carriage = Carriage::new(Us {
            swarm: identity.swarm,
            signalling_key: identity.signalling_key,
            peer_seed: identity.peer_seed,
            peer: identity.peer.0,
        });
        let (connections, by_peer) = (BTreeMap::new(), BTreeMap::new());
        Rtc {
            identity,
            ice: Vec::new(),
            routes,
            connections,
            by_peer,
            next_conn: 1,
            connections_max,
            offers: Offers::default(),
            carriage,
            now_ms: 0,
            inbox,
        }
    }

    /// STUN and TURN servers for connections made from now on.
    pub fn set_ice(&mut self, ice: Vec<IceServer>) {
        self.ice = ice;
    }

    /// Starts a connection to a peer. One that is there, or on its way, is left alone.
    pub fn connect(&mut self, peer: PeerId) -> Vec<RtcNews> {
        let known = self.by_peer.contains_key(&peer) || self.carriage.has(&peer.0);
        if known || peer == self.identity.peer {
            return Vec::new();
        }
        if self.connections.len() >= self.connections_max {
            return vec![RtcNews::Failed { peer }];
        }
        self.open(peer, None, Way::Any);
        Vec::new()
    }

    /// Takes a blob in. One that does not open, or belongs to nothing, is dropped: the server may send what it likes.
    pub fn handle_blob(&mut self, from: PeerId, bytes: &[u8], way: Way) -> Vec<RtcNews> {
        let id = &self.identity;
        let route = Route {
            swarm: id.swarm,
            from: from.0,
            to: id.peer.0,
        };
        let session = self
            .by_peer
            .get(&from)
            .and_then(|c| self.connections.get(c))
            .map(Connection::offer_nonce)
            .or_else(|| self.carriage.offer_nonce(&from.0));
        match blob::open(&route, &id.signalling_key, session.as_ref(), bytes) {
            Ok(Signal::Offer(offer)) => return self.offered(from, offer, way),
            Ok(Signal::Answer { description, .. }) => self.answered(from, description),
            Ok(Signal::Candidates { candidates, .. }) => self.more_candidates(from, candidates),
            Ok(Signal::CarryOffer(offer)) => return self.offered_to_carry(from, offer),
            Ok(Signal::CarryAnswer { terms, .. }) => {
                return news_of(self.carriage.answered(from.0, terms));
            }
            Err(_) => {}
        }
        Vec::new()
    }

    /// The server does not know this peer any more.
    pub fn gone(&mut self, peer: PeerId) -> Vec<RtcNews> {
        match self.by_peer.get(&peer).copied() {
            Some(conn) if self.connections.get(&conn).is_some_and(|c| !c.connected) => {
                self.lost(conn)
            }
            Some(_) => Vec::new(),
            None => news_of(self.carriage.gone(&peer.0)),
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
    pub fn handle_frame(&mut self, from: [u8; 32], frame: &[u8]) -> Vec<RtcNews> {
        news_of(self.carriage.handle_frame(from, frame))
    }

    /// Gives up what nobody answers.
    pub fn tick(&mut self, now_ms: u64) -> Vec<RtcNews> {
        self.now_ms = now_ms;
        news_of(self.carriage.tick(now_ms))
    }

    fn ask_to_carry(&mut self, peer: PeerId) -> Vec<RtcNews> {
        let conn = self.number().0;
        news_of(self.carriage.ask(peer.0, conn, &chance(), self.now_ms))
    }

    fn offered_to_carry(&mut self, from: PeerId, offer: CarryTerms) -> Vec<RtcNews> {
        if !self.carriage.would_take(from.0, &offer) {
            return Vec::new();
        }
        // Whatever we had did not reach it.
        let mut news = self.make_way(from);
        let conn = self.number().0;
        news.extend(news_of(self.carriage.offered(
            from.0,
            offer,
            conn,
            &chance(),
        )));
        news
    }

    fn number(&mut self) -> ConnId {
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        conn
    }

    /// Takes in what happened on a connection; messages and credit go to the engine without passing here.
    pub fn handle(&mut self, conn: ConnId, event: LinkEvent) -> Vec<RtcNews> {
        match event {
            LinkEvent::Described(sdp) => self.described(conn, &sdp),
            LinkEvent::Candidate(line) => self.found_candidate(conn, &line),
            LinkEvent::Opened(path) => self.opened(conn, path),
            LinkEvent::Gone(fault) => {
                let mut news = self.gave_up(conn);
                // One that was given up by us is no news.
                news.extend(fault.filter(|_| !news.is_empty()).map(RtcNews::Fault));
                news
            }
            LinkEvent::Received(..) | LinkEvent::Credit(_) => Vec::new(),
        }
    }

    /// Puts a message on a channel. The queue is bounded by the credit that the engine was given.
    pub fn send(&mut self, conn: ConnId, channel: Channel, bytes: Bytes) -> Vec<RtcNews> {
        if self.carriage.is_open(conn.0) {
            let channel = u8::from(channel == Channel::Data);
            return news_of(self.carriage.send(conn.0, channel, bytes.into()));
        }
        if let Some(connection) = self.connections.get(&conn) {
            // A task that has ended says so by its own event.
            let _ = connection.commands.send(Command::Send(channel, bytes));
        }
        Vec::new()
    }

    /// Closes a connection once what is queued has had time to leave. Whose it was.
    pub fn close(&mut self, conn: ConnId) -> Option<PeerId> {
        if let Some(peer) = self.carriage.close(conn.0) {
            return Some(PeerId(peer));
        }
        let connection = self.connections.remove(&conn)?;
        self.by_peer.remove(&connection.peer);
        let _ = connection.commands.send(Command::Close);
        Some(connection.peer)
    }

    /// Closes everything.
    pub fn close_all(&mut self) {
        for conn in self.connections.keys().copied().collect::<Vec<_>>() {
            self.close(conn);
        }
    }

    /// A connection that we began and that came to nothing: the server may carry what it would have.
    fn gave_up(&mut self, conn: ConnId) -> Vec<RtcNews> {
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

    /// Ends whatever connection there is, for the one that this peer offers.
    fn make_way(&mut self, from: PeerId) -> Vec<RtcNews> {
        let Some(&conn) = self.by_peer.get(&from) else {
            return Vec::new();
        };
        if self.connections.get(&conn).is_some_and(|c| c.connected) {
            return self.lost(conn); // It came back before we noticed that it was gone.
        }
        self.close(conn);
        Vec::new()
    }

    fn lost(&mut self, conn: ConnId) -> Vec<RtcNews> {
        let Some(connection) = self.connections.remove(&conn) else {
            return Vec::new();
        };
        self.by_peer.remove(&connection.peer);
        let _ = connection.commands.send(Command::Close);
        vec![match connection.connected {
            true => RtcNews::Disconnected {
                conn,
                peer: connection.peer,
            },
            false => RtcNews::Failed {
                peer: connection.peer,
            },
        }]
    }

    /// Glare: of two offers that cross, the one of the smaller PeerId stands.
    fn offered(&mut self, from: PeerId, offer: Description, way: Way) -> Vec<RtcNews> {
        let mut news = Vec::new();
        // The same offer again, by another way or replayed, counts for nothing.
        if !self.offers.is_new(from.0, offer.session_nonce) {
            return news;
        }
        if let Some(&conn) = self.by_peer.get(&from)
            && let Some(connection) = self.connections.get(&conn)
            && !connection.connected
            && connection.offerer
            && self.identity.peer < from
        {
            return news;
        }
        news.extend(self.make_way(from));
        news.extend(news_of(self.carriage.give_way(&from.0)));
        if self.connections.len() < self.connections_max {
            self.open(from, Some(offer), way);
        } else {
            news.push(RtcNews::Failed { peer: from });
        }
        news
    }

    fn answered(&mut self, from: PeerId, answer: Description) {
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
        let _ = connection.commands.send(Command::Answer(sdp));
    }

    fn more_candidates(&mut self, from: PeerId, more: Vec<IceCandidate>) {
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
        let _ = connection.commands.send(Command::Candidates(more));
    }

    fn open(&mut self, peer: PeerId, remote: Option<Description>, way: Way) {
        let conn = self.number();
        let (commands, inbox) = mpsc::unbounded_channel();
        // An opened blob is valid, so its SDP can be made.
        let offer = remote.as_ref().and_then(|offer| offer.to_remote_sdp().ok());
        link::spawn(link::Setup {
            offer,
            ice: self.ice.clone(),
            routes: self.routes.clone(),
            commands: inbox,
            inbox: self.inbox.entrance(conn),
        });
        let connection = Connection {
            peer,
            way,
            commands,
            offerer: remote.is_none(),
            local_nonce: crate::random(),
            local: None,
            remote,
            found: Vec::new(),
            candidates_seen: 0,
            connected: false,
        };
        self.connections.insert(conn, connection);
        self.by_peer.insert(peer, conn);
    }

    fn described(&mut self, conn: ConnId, text: &str) -> Vec<RtcNews> {
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
        let mut news = self.signal(conn, &signal);
        news.extend(self.flush_candidates(conn));
        news
    }

    fn found_candidate(&mut self, conn: ConnId, line: &str) -> Vec<RtcNews> {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Vec::new();
        };
        let Ok(Some(candidate)) = IceCandidate::parse(line) else {
            return Vec::new();
        };
        let outside = outside(&candidate, &self.routes.public);
        for candidate in outside.into_iter().chain([candidate]) {
            if connection.found.len() < CANDIDATES_MAX && !connection.found.contains(&candidate) {
                connection.found.push(candidate);
            }
        }
        self.flush_candidates(conn)
    }

    /// Sends the candidates found since the last time; none before our description, which they would overtake.
    fn flush_candidates(&mut self, conn: ConnId) -> Vec<RtcNews> {
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

    fn opened(&mut self, conn: ConnId, path: Path) -> Vec<RtcNews> {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Vec::new();
        };
        let (Some(local), Some(remote)) = (&connection.local, &connection.remote) else {
            return Vec::new();
        };
        connection.connected = true;
        let binding = Binding {
            local_nonce: connection.local_nonce,
            remote_nonce: remote.session_nonce,
            local_fingerprint: local.fingerprint,
            remote_fingerprint: remote.fingerprint,
            offerer: connection.offerer,
        };
        vec![RtcNews::Connected {
            conn,
            peer: connection.peer,
            binding,
            path,
        }]
    }

    /// A signal that our own limits refuse (a host with fifty addresses) is not sent.
    fn signal(&self, conn: ConnId, signal: &Signal) -> Vec<RtcNews> {
        let id = &self.identity;
        let Some(connection) = self.connections.get(&conn) else {
            return Vec::new();
        };
        let (to, way) = (connection.peer, connection.way);
        match blob::seal(
            &id.swarm,
            &to.0,
            &id.signalling_key,
            &id.peer_seed,
            crate::random(),
            signal,
        ) {
            Ok(blob) => vec![RtcNews::Signal { to, blob, way }],
            Err(_) => Vec::new(),
        }
    }
}

fn chance() -> Chance {
    Chance {
        session_nonce: crate::random(),
        secret: crate::random(),
        blob_nonce: crate::random(),
    }
}

/// What the session has to do about carried connections.
fn news_of(events: Vec<CarriageEvent>) -> Vec<RtcNews> {
    let news = |event| match event {
        CarriageEvent::Signal { to, blob } => RtcNews::Signal {
            to: PeerId(to),
            blob,
            way: Way::Any,
        },
        CarriageEvent::Frame { to, frame } => RtcNews::Carry {
            to: PeerId(to),
            frame,
        },
        CarriageEvent::Connected(it) => RtcNews::Connected {
            conn: ConnId(it.conn),
            peer: PeerId(it.peer),
            binding: Binding {
                local_nonce: it.local.session_nonce,
                remote_nonce: it.remote.session_nonce,
                local_fingerprint: it.local.key,
                remote_fingerprint: it.remote.key,
                offerer: it.offerer,
            },
            path: Path::Relay,
        },
        CarriageEvent::Received {
            conn,
            channel,
            bytes,
        } => RtcNews::Received {
            conn: ConnId(conn),
            channel: match channel {
                0 => Channel::Control,
                _ => Channel::Data,
            },
            bytes: bytes.into(),
        },
        CarriageEvent::Credit { conn, credit } => RtcNews::Credit {
            conn: ConnId(conn),
            credit,
        },
        CarriageEvent::Disconnected { conn, peer } => RtcNews::Disconnected {
            conn: ConnId(conn),
            peer: PeerId(peer),
        },
        CarriageEvent::Failed { peer } => RtcNews::Failed { peer: PeerId(peer) },
    };
    events.into_iter().map(news).collect()
}

/// The same port at the addresses where a machine is reached whose own ones are not (a container's).
///
/// Checks that come in there arrive at the local candidate: the other side needs to know no more than where to send them.
fn outside(local: &IceCandidate, public: &[IpAddr]) -> Vec<IceCandidate> {
    let own = match local.address {
        Address::V4(octets) if local.kind == CandidateKind::Host => IpAddr::from(octets),
        Address::V6(octets) if local.kind == CandidateKind::Host => IpAddr::from(octets),
        _ => return Vec::new(),
    };
    let same_family = |ip: &&IpAddr| ip.is_ipv4() == own.is_ipv4() && !own.is_loopback();
    let at = |ip: &IpAddr| {
        let mut candidate = local.clone();
        candidate.address = match ip {
            IpAddr::V4(ip) => Address::V4(ip.octets()),
            IpAddr::V6(ip) => Address::V6(ip.octets()),
        };
        candidate
    };
    public.iter().filter(same_family).map(at).collect()
}

/// Candidates per peer. Real hosts have about ten.
const CANDIDATES_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(line: &str) -> IceCandidate {
        let parsed = IceCandidate::parse(line).expect("a candidate");
        parsed.expect("one of use")
    }

    #[test]
    fn a_container_is_offered_where_its_host_is_reached() {
        let public = [
            IpAddr::from([203, 0, 113, 5]),
            "2001:db8::5".parse().expect("an address"),
        ];
        let inside = candidate("candidate:1 1 udp 2130706431 172.17.0.2 40001 typ host");
        let outside = outside(&inside, &public);
        let expected = candidate("candidate:1 1 udp 2130706431 203.0.113.5 40001 typ host");
        assert_eq!(outside, [expected]);
    }

    #[test]
    fn what_a_server_saw_and_loopback_are_reached_nowhere_else() {
        let public = [IpAddr::from([203, 0, 113, 5])];
        for line in [
            "candidate:1 1 udp 1677729535 198.51.100.7 40001 typ srflx raddr 172.17.0.2 rport 40001",
            "candidate:1 1 udp 2130706431 127.0.0.1 40001 typ host",
        ] {
            assert!(outside(&candidate(line), &public).is_empty(), "{line}");
        }
    }
}
