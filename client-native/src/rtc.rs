//! Connections to peers: offers and answers as sealed blobs, SDP from a template, two negotiated channels.
//!
//! The same rules as in the browser (client-wasm/src/page/rtc.rs): a foreign SDP is never applied, glare is won by the smaller
//! PeerId, and what belongs to another session is dropped. One task per connection (`link.rs`) owns what blocks.

use crate::ice::Routes;
use crate::inbox::Inbox;
use crate::link::{self, Command, LinkEvent};
use baton_content::PeerId;
use baton_signal_protocol::blob::{self, Route};
use baton_signal_protocol::{
    Address, CandidateKind, Description, IceCandidate, IceServer, Offers, Signal,
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
            inbox,
        }
    }

    /// STUN and TURN servers for connections made from now on.
    pub fn set_ice(&mut self, ice: Vec<IceServer>) {
        self.ice = ice;
    }

    /// Starts a connection to a peer. One that is there, or on its way, is left alone.
    pub fn connect(&mut self, peer: PeerId) -> Vec<RtcNews> {
        if self.by_peer.contains_key(&peer) || peer == self.identity.peer {
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
            .map(Connection::offer_nonce);
        match blob::open(&route, &id.signalling_key, session.as_ref(), bytes) {
            Ok(Signal::Offer(offer)) => return self.offered(from, offer, way),
            Ok(Signal::Answer { description, .. }) => self.answered(from, description),
            Ok(Signal::Candidates { candidates, .. }) => self.more_candidates(from, candidates),
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
            _ => Vec::new(),
        }
    }

    /// Takes in what happened on a connection; messages and credit go to the engine without passing here.
    pub fn handle(&mut self, conn: ConnId, event: LinkEvent) -> Vec<RtcNews> {
        match event {
            LinkEvent::Described(sdp) => self.described(conn, &sdp),
            LinkEvent::Candidate(line) => self.found_candidate(conn, &line),
            LinkEvent::Opened(path) => self.opened(conn, path),
            LinkEvent::Gone(fault) => {
                let mut news = self.lost(conn);
                // One that was given up by us is no news.
                news.extend(fault.filter(|_| !news.is_empty()).map(RtcNews::Fault));
                news
            }
            LinkEvent::Received(..) | LinkEvent::Credit(_) => Vec::new(),
        }
    }

    /// Puts a message on a channel. The queue is bounded by the credit that the engine was given.
    pub fn send(&self, conn: ConnId, channel: Channel, bytes: Bytes) {
        if let Some(connection) = self.connections.get(&conn) {
            // A task that has ended says so by its own event.
            let _ = connection.commands.send(Command::Send(channel, bytes));
        }
    }

    /// Closes a connection once what is queued has had time to leave. Whose it was.
    pub fn close(&mut self, conn: ConnId) -> Option<PeerId> {
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
        {
            if !connection.connected && connection.offerer && self.identity.peer < from {
                return news;
            }
            if connection.connected {
                news.extend(self.lost(conn)); // It came back before we noticed that it was gone.
            } else {
                self.close(conn);
            }
        }
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
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
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
