//! One socket to the signalling server, as an end of a remote control needs it: join a room, say something to somebody there, come back when it breaks.

use baton_signal_protocol::message::Finding;
use baton_signal_protocol::{ClientMessage, Join, PeerId, Refusal, ServerMessage};
use ed25519_dalek::{Signer, SigningKey};

use crate::Output;
use crate::secret::derive;

/// The seed of a room's swarm key. Who has it may join, and knows which PeerId the television has there; that is all.
pub type RoomSeed = [u8; 32];

/// What comes in on a line.
#[derive(Debug, PartialEq)]
pub(crate) enum News {
    /// We are in the room, and so are these.
    Up(Vec<PeerId>),
    Relay {
        from: PeerId,
        blob: Vec<u8>,
    },
    Gone(PeerId),
    Named {
        name: Option<u16>,
        lasts_ms: f64,
    },
    Found(Finding),
}

pub(crate) struct Line {
    number: u8,
    host: String,
    room: Option<Room>,
    state: State,
    /// What the server's clock says more than ours, seconds: televisions' clocks are often wrong.
    clock_ahead_s: i64,
    failures: u32,
}

struct Room {
    swarm: SigningKey,
    peer: SigningKey,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Dial again at this time; infinity: not by ourselves.
    Down {
        again_ms: f64,
    },
    Dialled {
        since_ms: f64,
    },
    Open {
        heard_ms: f64,
        patience_ms: f64,
    },
}

/// Where the television is in a room: everybody there can derive it.
pub(crate) fn tv_seed(room: &RoomSeed) -> [u8; 32] {
    derive("baton remote 1 tv peer", &[room])
}

pub(crate) fn public(seed: &[u8; 32]) -> [u8; 32] {
    SigningKey::from_bytes(seed).verifying_key().to_bytes()
}

impl Line {
    pub fn new(number: u8, host: &str) -> Self {
        Self {
            number,
            host: host.to_owned(),
            room: None,
            state: State::Down {
                again_ms: f64::INFINITY,
            },
            clock_ahead_s: 0,
            failures: 0,
        }
    }

    /// Which room is joined once the line is open, and as whom.
    pub fn set_room(&mut self, room: &RoomSeed, peer_seed: &[u8; 32]) {
        self.room = Some(Room {
            swarm: SigningKey::from_bytes(room),
            peer: SigningKey::from_bytes(peer_seed),
        });
    }

    pub fn dial(&mut self, now_ms: f64) -> Output {
        self.state = State::Dialled { since_ms: now_ms };
        Output::Dial { line: self.number }
    }

    pub fn hang_up(&mut self) -> Output {
        self.state = State::Down {
            again_ms: f64::INFINITY,
        };
        Output::Hangup { line: self.number }
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// How often in a row it did not come up.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The socket is open. What to say first is the caller's affair: [`Line::join`], or [`ClientMessage::Find`].
    pub fn opened(&mut self, now_ms: f64) {
        self.state = State::Open {
            heard_ms: now_ms,
            patience_ms: FIRST_PATIENCE_MS,
        };
    }

    pub fn join(&self, now_ms: f64) -> Output {
        let room = self.room.as_ref().expect("a line joins when it has a room");
        let unix_s = (now_ms / 1000.0) as i64 + self.clock_ahead_s;
        let join = Join::new(
            &self.host,
            unix_s.max(0) as u64,
            room.swarm.verifying_key().to_bytes(),
            room.peer.verifying_key().to_bytes(),
            |bytes| room.swarm.sign(bytes).to_bytes(),
            |bytes| room.peer.sign(bytes).to_bytes(),
        );
        self.say(&ClientMessage::Join(join))
    }

    pub fn say(&self, message: &ClientMessage) -> Output {
        Output::Send {
            line: self.number,
            bytes: message.encode(),
        }
    }

    pub fn relay(&self, to: PeerId, kind: Kind, rest: &[&[u8]]) -> Output {
        let blob = [&[kind as u8][..], &rest.concat()].concat();
        self.say(&ClientMessage::Relay { to, blob })
    }

    /// The socket is closed, or never opened.
    pub fn closed(&mut self, now_ms: f64) {
        if self.state
            == (State::Down {
                again_ms: f64::INFINITY,
            })
        {
            return;
        }
        if !matches!(self.state, State::Down { .. }) {
            self.fail(now_ms);
        }
    }

    fn fail(&mut self, now_ms: f64) {
        self.failures += 1;
        // 1, 2, 4 … 32 s; spread by who we are, so that a whole house does not come back in one instant.
        let spread = self
            .room
            .as_ref()
            .map_or(0, |it| it.peer.verifying_key().to_bytes()[0]);
        let pause_ms = 1000.0 * f64::from(1u32 << self.failures.min(6)) / 2.0;
        self.state = State::Down {
            again_ms: now_ms + pause_ms * (0.75 + f64::from(spread) / 512.0),
        };
    }

    /// What the clock asks for: dialling again, or giving up a socket on which nothing comes.
    pub fn tick(&mut self, now_ms: f64) -> Option<Output> {
        match self.state {
            State::Down { again_ms } if now_ms >= again_ms => Some(self.dial(now_ms)),
            State::Dialled { since_ms } if now_ms > since_ms + FIRST_PATIENCE_MS => {
                self.fail(now_ms);
                Some(Output::Hangup { line: self.number })
            }
            State::Open {
                heard_ms,
                patience_ms,
            } if now_ms > heard_ms + patience_ms => {
                self.fail(now_ms);
                Some(Output::Hangup { line: self.number })
            }
            _ => None,
        }
    }

    /// Reads what the server says; what concerns the line alone is done here.
    pub fn received(
        &mut self,
        bytes: &[u8],
        now_ms: f64,
        out: &mut impl Extend<Output>,
    ) -> Option<News> {
        let State::Open { patience_ms, .. } = self.state else {
            return None;
        };
        self.state = State::Open {
            heard_ms: now_ms,
            patience_ms,
        };
        match ServerMessage::decode(bytes).ok()? {
            ServerMessage::Welcome {
                candidates,
                keepalive_s,
                ..
            } => {
                self.failures = 0;
                self.state = State::Open {
                    heard_ms: now_ms,
                    patience_ms: 2000.0 * f64::from(keepalive_s.max(1)),
                };
                Some(News::Up(candidates.iter().map(|it| it.peer).collect()))
            }
            ServerMessage::Relay { from, blob } => Some(News::Relay { from, blob }),
            ServerMessage::Gone { to } => Some(News::Gone(to)),
            ServerMessage::Named { name, lasts_s } => Some(News::Named {
                name,
                lasts_ms: f64::from(lasts_s) * 1000.0,
            }),
            ServerMessage::Found(finding) => Some(News::Found(finding)),
            ServerMessage::Refused {
                reason: Refusal::Clock,
                server_unix_s,
                ..
            } => {
                self.clock_ahead_s = server_unix_s as i64 - (now_ms / 1000.0) as i64;
                out.extend([Output::Hangup { line: self.number }, self.dial(now_ms)]);
                None
            }
            // The same television in another tab, which came later: two that take turns help nobody.
            ServerMessage::Refused {
                reason: Refusal::Replaced,
                ..
            } => {
                out.extend([self.hang_up()]);
                None
            }
            ServerMessage::Refused { .. } | ServerMessage::GoingAway { .. } => {
                self.fail(now_ms);
                out.extend([Output::Hangup { line: self.number }]);
                None
            }
            // What a phone says fits into blobs.
            ServerMessage::Candidates(_)
            | ServerMessage::Alive
            | ServerMessage::Carries { .. }
            | ServerMessage::Carried { .. } => None,
        }
    }
}

/// The first byte of a blob between a telephone and a television. Beyond what peers of a stream say (signalling.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Phone: the first half of SPAKE2 (33 bytes).
    PakeA = 32,
    /// Tv: the second half (33) and its proof (32).
    PakeB = 33,
    /// Phone: its proof (32).
    Confirm = 34,
    /// Phone: its X25519 key (32) and its proof (32), by the key from the QR code.
    Scan = 35,
    /// Tv: nonce (24) and the sealed [`crate::tv::Grant`].
    Grant = 36,
    /// Phone: PairId (16) and a nonce (16): let us begin a session.
    Hello = 37,
    /// Tv: the other nonce (16).
    Ready = 38,
    /// Both: a sealed word.
    Word = 39,
    /// Tv: that was no word of our session; begin another.
    Lost = 40,
    /// Tv: I am here (again).
    Here = 41,
    /// Tv: no telephone of this PairId is known here.
    Unknown = 42,
}

impl Kind {
    /// The kind of a blob and what follows; `None` for what later versions say.
    pub fn of(blob: &[u8]) -> Option<(Self, &[u8])> {
        let (&first, rest) = blob.split_first()?;
        let kinds = [
            Self::PakeA,
            Self::PakeB,
            Self::Confirm,
            Self::Scan,
            Self::Grant,
            Self::Hello,
            Self::Ready,
            Self::Word,
            Self::Lost,
            Self::Here,
            Self::Unknown,
        ];
        let kind = kinds.into_iter().find(|&kind| kind as u8 == first)?;
        Some((kind, rest))
    }
}

/// How long a socket may take to open, and the server to say Welcome.
const FIRST_PATIENCE_MS: f64 = 15_000.0;
