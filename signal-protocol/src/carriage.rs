//! All carried connections of one stream: who offers, who answers, what comes of it. Driven by its callers, browsers and programs alike.
//!
//! The rules are those of other connections: of two offers that cross, the one of the smaller PeerId stands; an offer counts once; a peer has
//! one connection.

use alloc::vec::Vec;

use baton_sorted::SortedMap;

use crate::blob::{self, CarryTerms, Signal};
use crate::carry::{Agreement, FrameError, Link, public_of};
use crate::{Offers, PeerId, SwarmId};

/// What to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CarriageEvent {
    /// Relay this blob.
    Signal { to: PeerId, blob: Vec<u8> },
    /// Carry this frame.
    Frame { to: PeerId, frame: Vec<u8> },
    /// A connection as good as one with two open channels.
    Connected(Carried),
    /// A message came, on channel 0 (control) or 1 (data).
    Received {
        conn: u64,
        channel: u8,
        bytes: Vec<u8>,
    },
    /// How many bytes in all may be sent.
    Credit { conn: u64, credit: u64 },
    /// It ended.
    Disconnected { conn: u64, peer: PeerId },
    /// It never came to be.
    Failed { peer: PeerId },
}

/// A connection, and what its first messages prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    pub conn: u64,
    pub peer: PeerId,
    pub local: CarryTerms,
    pub remote: CarryTerms,
    pub offerer: bool,
}

/// Who we are, and the key that blobs are sealed with.
pub struct Us {
    pub swarm: SwarmId,
    pub signalling_key: [u8; 32],
    pub peer_seed: [u8; 32],
    pub peer: PeerId,
}

/// What one offer or answer needs of chance.
#[derive(Clone, Copy)]
pub struct Chance {
    pub session_nonce: [u8; 16],
    pub secret: [u8; 32],
    pub blob_nonce: [u8; 24],
}

/// The carried connections of one stream.
pub struct Carriage {
    us: Us,
    allowed: bool,
    sessions: SortedMap<PeerId, Session>,
    offers: Offers,
}

struct Session {
    conn: u64,
    /// Names it in its answer.
    offer_nonce: [u8; 16],
    state: State,
}

enum State {
    Asked {
        terms: CarryTerms,
        secret: [u8; 32],
        since_ms: u64,
    },
    Open(Link),
}

impl Carriage {
    pub fn new(us: Us) -> Carriage {
        Carriage {
            us,
            allowed: false,
            sessions: SortedMap::new(),
            offers: Offers::default(),
        }
    }

    /// The server carries.
    pub fn allow(&mut self) {
        self.allowed = true;
    }

    pub fn allowed(&self) -> bool {
        self.allowed
    }

    /// Whether there is a session with this peer, open or asked for.
    pub fn has(&self, peer: &PeerId) -> bool {
        self.sessions.contains_key(peer)
    }

    /// Whether this connection is a carried one that stands.
    pub fn is_open(&self, conn: u64) -> bool {
        self.find(conn)
            .is_some_and(|peer| matches!(self.sessions[&peer].state, State::Open(_)))
    }

    /// How many there are, and how many of them stand.
    pub fn count(&self) -> (usize, usize) {
        let open = |it: &&Session| matches!(it.state, State::Open(_));
        let all = self.sessions.len();
        (all, self.sessions.values().filter(open).count())
    }

    /// The nonce of the offer that began the session with this peer.
    pub fn offer_nonce(&self, peer: &PeerId) -> Option<[u8; 16]> {
        self.sessions.get(peer).map(|it| it.offer_nonce)
    }

    /// Offers a carried connection to a peer that cannot be reached otherwise.
    pub fn ask(
        &mut self,
        peer: PeerId,
        conn: u64,
        chance: &Chance,
        now_ms: u64,
    ) -> Vec<CarriageEvent> {
        if !self.allowed || self.sessions.len() >= SESSIONS_MAX || self.has(&peer) {
            return vec_of(CarriageEvent::Failed { peer });
        }
        let terms = chance.terms();
        let state = State::Asked {
            terms,
            secret: chance.secret,
            since_ms: now_ms,
        };
        let session = Session {
            conn,
            offer_nonce: terms.session_nonce,
            state,
        };
        self.sessions.insert(peer, session);
        vec_of(self.signal(peer, chance, &Signal::CarryOffer(terms)))
    }

    /// Whether an offer would be taken now: it is new, and none of ours stands against it.
    pub fn would_take(&mut self, from: PeerId, offer: &CarryTerms) -> bool {
        if !self.allowed || !self.offers.is_new(from, offer.session_nonce) {
            return false;
        }
        match self.sessions.get(&from) {
            // Of two offers that cross, the smaller one's stands.
            Some(session) => !matches!(session.state, State::Asked { .. }) || self.us.peer > from,
            None => self.sessions.len() < SESSIONS_MAX,
        }
    }

    /// Takes an offer that [`would_take`](Self::would_take) says yes to.
    pub fn offered(
        &mut self,
        from: PeerId,
        offer: CarryTerms,
        conn: u64,
        chance: &Chance,
    ) -> Vec<CarriageEvent> {
        // It came back before we noticed that it was gone.
        let mut events = self.end(&from, false);
        let local = chance.terms();
        let Some(link) = self.link(from, &offer, &local, false, chance.secret) else {
            return events;
        };
        let answer = Signal::CarryAnswer {
            offer_nonce: offer.session_nonce,
            terms: local,
        };
        let session = Session {
            conn,
            offer_nonce: offer.session_nonce,
            state: State::Open(link),
        };
        self.sessions.insert(from, session);
        events.push(self.signal(from, chance, &answer));
        events.push(CarriageEvent::Connected(Carried {
            conn,
            peer: from,
            local,
            remote: offer,
            offerer: false,
        }));
        events.extend(self.turn(&from));
        events
    }

    /// The answer to our offer.
    pub fn answered(&mut self, from: PeerId, answer: CarryTerms) -> Vec<CarriageEvent> {
        let Some(session) = self.sessions.get(&from) else {
            return Vec::new();
        };
        let State::Asked { terms, secret, .. } = session.state else {
            return Vec::new();
        };
        let conn = session.conn;
        let Some(link) = self.link(from, &terms, &answer, true, secret) else {
            return self.end(&from, true);
        };
        let session = self.sessions.get_mut(&from).expect("found above");
        session.state = State::Open(link);
        let mut events = vec_of(CarriageEvent::Connected(Carried {
            conn,
            peer: from,
            local: terms,
            remote: answer,
            offerer: true,
        }));
        events.extend(self.turn(&from));
        events
    }

    /// A frame came. What does not open means nothing; what shows that others are lost ends the connection.
    pub fn handle_frame(&mut self, from: PeerId, frame: &[u8]) -> Vec<CarriageEvent> {
        let Some(session) = self.sessions.get_mut(&from) else {
            return Vec::new();
        };
        let State::Open(link) = &mut session.state else {
            return Vec::new();
        };
        let conn = session.conn;
        let mut events = match link.handle(frame) {
            Ok(Some((channel, bytes))) => vec_of(CarriageEvent::Received {
                conn,
                channel,
                bytes,
            }),
            Ok(None) => Vec::new(),
            Err(FrameError::Foreign) => return Vec::new(),
            Err(FrameError::Gap | FrameError::Broken) => return self.end(&from, true),
        };
        events.extend(self.turn(&from));
        events
    }

    /// Sends a message on one of its channels.
    pub fn send(&mut self, conn: u64, channel: u8, message: Vec<u8>) -> Vec<CarriageEvent> {
        let Some(peer) = self.find(conn) else {
            return Vec::new();
        };
        if let Some(Session {
            state: State::Open(link),
            ..
        }) = self.sessions.get_mut(&peer)
        {
            link.push(channel, message);
        }
        self.turn(&peer)
    }

    /// The server could not hand something to this peer.
    pub fn gone(&mut self, peer: &PeerId) -> Vec<CarriageEvent> {
        self.end(peer, true)
    }

    /// The server is gone, and with it what it carried.
    pub fn lost_server(&mut self) -> Vec<CarriageEvent> {
        self.allowed = false;
        let peers: Vec<PeerId> = self.sessions.keys().copied().collect();
        peers.iter().flat_map(|peer| self.end(peer, true)).collect()
    }

    /// Ends a connection of ours without news. Whose it was.
    pub fn close(&mut self, conn: u64) -> Option<PeerId> {
        let peer = self.find(conn)?;
        self.sessions.remove(&peer);
        Some(peer)
    }

    /// Ends this peer's, for another kind of connection to it.
    pub fn give_way(&mut self, peer: &PeerId) -> Vec<CarriageEvent> {
        self.end(peer, false)
    }

    /// Gives up offers that nobody answered.
    pub fn tick(&mut self, now_ms: u64) -> Vec<CarriageEvent> {
        let late = |(peer, session): (&PeerId, &Session)| match session.state {
            State::Asked { since_ms, .. } => {
                (now_ms.saturating_sub(since_ms) > ANSWER_MS).then_some(*peer)
            }
            State::Open(_) => None,
        };
        let late: Vec<PeerId> = self.sessions.iter().filter_map(late).collect();
        late.iter().flat_map(|peer| self.end(peer, true)).collect()
    }

    fn find(&self, conn: u64) -> Option<PeerId> {
        let of = |(peer, session): (&PeerId, &Session)| (session.conn == conn).then_some(*peer);
        self.sessions.iter().find_map(of)
    }

    /// What a link has to send and to tell.
    fn turn(&mut self, peer: &PeerId) -> Vec<CarriageEvent> {
        let mut events = Vec::new();
        let Some(Session {
            conn,
            state: State::Open(link),
            ..
        }) = self.sessions.get_mut(peer)
        else {
            return events;
        };
        while let Some(frame) = link.poll() {
            events.push(CarriageEvent::Frame { to: *peer, frame });
        }
        if let Some(credit) = link.credit() {
            events.push(CarriageEvent::Credit {
                conn: *conn,
                credit,
            });
        }
        events
    }

    fn end(&mut self, peer: &PeerId, tell_failure: bool) -> Vec<CarriageEvent> {
        let Some(session) = self.sessions.remove(peer) else {
            return Vec::new();
        };
        match session.state {
            State::Open(_) => vec_of(CarriageEvent::Disconnected {
                conn: session.conn,
                peer: *peer,
            }),
            State::Asked { .. } if tell_failure => vec_of(CarriageEvent::Failed { peer: *peer }),
            State::Asked { .. } => Vec::new(),
        }
    }

    fn link(
        &self,
        peer: PeerId,
        offer: &CarryTerms,
        answer: &CarryTerms,
        offered: bool,
        secret: [u8; 32],
    ) -> Option<Link> {
        let (offerer, answerer) = match offered {
            true => (&self.us.peer, &peer),
            false => (&peer, &self.us.peer),
        };
        let agreement = Agreement {
            offer,
            answer,
            signalling_key: &self.us.signalling_key,
            names: [&self.us.swarm, offerer, answerer],
        };
        Link::new(&agreement, offered, secret)
    }

    fn signal(&self, to: PeerId, chance: &Chance, signal: &Signal) -> CarriageEvent {
        let us = &self.us;
        let (swarm, key, seed) = (&us.swarm, &us.signalling_key, &us.peer_seed);
        let blob = blob::seal(swarm, &to, key, seed, chance.blob_nonce, signal)
            .expect("terms have no limits to break");
        CarriageEvent::Signal { to, blob }
    }
}

impl Chance {
    fn terms(&self) -> CarryTerms {
        CarryTerms {
            session_nonce: self.session_nonce,
            key: public_of(self.secret),
        }
    }
}

fn vec_of(event: CarriageEvent) -> Vec<CarriageEvent> {
    [event].into()
}

/// Carried connections of one stream: with [`WINDOW`](crate::carry::WINDOW) frames of each a server holds a megabyte for a client that reads slowly.
const SESSIONS_MAX: usize = 4;
/// How long an answer may take, milliseconds: two passes through a server that stands.
const ANSWER_MS: u64 = 5000;
