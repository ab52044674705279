//! The telephone's end: it finds a television by a code or a scanned token, and commands one that it knows.

use std::collections::VecDeque;

use baton_signal_protocol::message::Finding;
use baton_signal_protocol::{ClientMessage, PeerId};
use serde::{Deserialize, Serialize};

use crate::line::{Kind, Line, News, RoomSeed, public, tv_seed};
use crate::secret::{Meeting, PairKey, Pake, Session, Side, public_of};
use crate::tv::Grant;
use crate::words::{NAME_MAX, cut};
use crate::{Chance, Code, Command, Failure, Output, Report};

pub struct Phone {
    chance: Chance,
    label: String,
    line: Line,
    me: [u8; 32],
    step: Step,
    /// When the step, or the last try in it, began.
    since_ms: f64,
    out: VecDeque<Output>,
}

/// A television that a telephone knows: what it keeps of it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Known {
    room: RoomSeed,
    key: [u8; 32],
}

/// What the television's QR code carries behind the page's address.
pub struct Token {
    pub room: RoomSeed,
    /// X25519.
    pub key: [u8; 32],
}

enum Step {
    /// Asks the server whose code this is.
    Finding(Code),
    /// In the pairing room with the code.
    Proving {
        room: RoomSeed,
        code: Code,
        pake: Option<Pake>,
    },
    /// In the pairing room with a scanned key.
    Scanned(Token),
    /// We have shown our proof and wait for the grant.
    Granted {
        room: RoomSeed,
        key: PairKey,
    },
    /// Paired: in the television's own room.
    Linked(Link),
    Over,
}

struct Link {
    known: Known,
    nonce: [u8; 16],
    session: Option<Session>,
    /// Whether it was last said that the television hears us.
    told: Option<bool>,
    heard_ms: f64,
    said_ms: f64,
}

impl Phone {
    /// Pairs by what a person typed. `None`: that is no code.
    pub fn with_code(
        seed: &[u8; 32],
        host: &str,
        text: &str,
        label: &str,
        now_ms: f64,
    ) -> Option<Self> {
        let code = Code::parse(text)?;
        Some(Self::new(seed, host, label, Step::Finding(code), now_ms))
    }

    /// Pairs by what a camera read. `None`: that is no token.
    pub fn with_token(
        seed: &[u8; 32],
        host: &str,
        token: &str,
        label: &str,
        now_ms: f64,
    ) -> Option<Self> {
        let token = Token::parse(token)?;
        let room = token.room;
        let mut phone = Self::new(seed, host, label, Step::Scanned(token), now_ms);
        phone.line.set_room(&room, &phone.me);
        Some(phone)
    }

    /// Commands a television by the bytes of an earlier [`Output::Paired`]. `None`: they are none.
    pub fn with_known(
        seed: &[u8; 32],
        host: &str,
        bytes: &[u8],
        label: &str,
        now_ms: f64,
    ) -> Option<Self> {
        let known: Known = postcard::from_bytes(bytes).ok()?;
        let mut phone = Self::new(seed, host, label, Step::Over, now_ms);
        phone.enter(known, now_ms);
        Some(phone)
    }

    fn new(seed: &[u8; 32], host: &str, label: &str, step: Step, now_ms: f64) -> Self {
        let mut chance = Chance::new(seed);
        let me = chance.bytes();
        let mut label = label.to_owned();
        cut(&mut label, NAME_MAX);
        let mut line = Line::new(0, host);
        let dial = line.dial(now_ms);
        Self {
            chance,
            label,
            line,
            me,
            step,
            since_ms: now_ms,
            out: VecDeque::from([dial]),
        }
    }

    fn enter(&mut self, known: Known, now_ms: f64) {
        self.line.set_room(&known.room, &self.me);
        self.step = Step::Linked(Link {
            known,
            nonce: [0; 16],
            session: None,
            told: None,
            heard_ms: now_ms,
            said_ms: now_ms,
        });
        self.since_ms = now_ms;
    }

    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    pub fn opened(&mut self, now_ms: f64) {
        self.line.opened(now_ms);
        let first = match &self.step {
            Step::Finding(code) => self.line.say(&ClientMessage::Find { name: code.name }),
            Step::Over => return,
            _ => self.line.join(now_ms),
        };
        self.out.push_back(first);
    }

    pub fn closed(&mut self, now_ms: f64) {
        self.line.closed(now_ms);
        self.lost();
    }

    pub fn received(&mut self, bytes: &[u8], now_ms: f64) {
        match self.line.received(bytes, now_ms, &mut self.out) {
            Some(News::Found(finding)) => self.found(finding, now_ms),
            Some(News::Up(_)) => self.up(now_ms),
            Some(News::Relay { from, blob }) if Some(from) == self.tv() => {
                self.heard(&blob, now_ms)
            }
            Some(News::Gone(_)) => match self.step {
                Step::Linked(_) => self.lost(),
                _ => self.fail(Failure::Nobody),
            },
            _ => {}
        }
    }

    /// Once a second or so.
    pub fn tick(&mut self, now_ms: f64) {
        let act = self.line.tick(now_ms);
        self.out.extend(act);
        match &mut self.step {
            Step::Linked(link) => {
                let silent = now_ms > link.heard_ms + SILENT_MS;
                if !self.line.is_open() {
                    return;
                }
                if link.session.is_none() || silent {
                    if silent {
                        self.lost();
                    }
                    if now_ms > self.since_ms + HELLO_MS {
                        self.hello(now_ms);
                    }
                } else if now_ms > link.said_ms + LOOK_MS {
                    self.command(&Command::Look, now_ms);
                }
            }
            Step::Over => {}
            _ if now_ms > self.since_ms + PAIRING_MS || self.line.failures() > 2 => {
                self.fail(Failure::Lost)
            }
            _ => {}
        }
    }

    /// Says something to the television. False: it does not hear us at the moment.
    pub fn command(&mut self, command: &Command, now_ms: f64) -> bool {
        let (Some(tv), Step::Linked(link)) = (self.tv(), &mut self.step) else {
            return false;
        };
        let (Some(session), Some(plain)) = (&mut link.session, command.encode()) else {
            return false;
        };
        link.said_ms = now_ms;
        let sealed = session.seal(&plain);
        self.out
            .push_back(self.line.relay(tv, Kind::Word, &[&sealed]));
        true
    }

    fn tv(&self) -> Option<PeerId> {
        let room = match &self.step {
            Step::Finding(_) | Step::Over => return None,
            Step::Proving { room, .. } | Step::Granted { room, .. } => room,
            Step::Scanned(token) => &token.room,
            Step::Linked(link) => &link.known.room,
        };
        Some(public(&tv_seed(room)))
    }

    fn meeting(&self, room: &RoomSeed) -> Meeting {
        Meeting {
            room: public(room),
            phone: public(&self.me),
            tv: public(&tv_seed(room)),
        }
    }

    fn found(&mut self, finding: Finding, now_ms: f64) {
        let Step::Finding(code) = self.step else {
            return;
        };
        match finding {
            Finding::Here(room) => {
                self.line.set_room(&room, &self.me);
                self.step = Step::Proving {
                    room,
                    code,
                    pake: None,
                };
                let join = self.line.join(now_ms);
                self.out.push_back(join);
            }
            Finding::Nobody => self.fail(Failure::Nobody),
            Finding::TooMany => self.fail(Failure::TooMany),
        }
    }

    fn up(&mut self, now_ms: f64) {
        let Some(tv) = self.tv() else { return };
        match &self.step {
            Step::Proving {
                room,
                code,
                pake: None,
            } => {
                let (room, code) = (*room, *code);
                let (pake, message) = self.meeting(&room).start_phone(code, &mut self.chance);
                self.out
                    .push_back(self.line.relay(tv, Kind::PakeA, &[&message]));
                self.step = Step::Proving {
                    room,
                    code,
                    pake: Some(pake),
                };
            }
            Step::Scanned(token) => {
                let (room, theirs) = (token.room, token.key);
                let secret = self.chance.bytes();
                let ours = public_of(secret);
                let Some(key) = self.meeting(&room).scan_key(secret, theirs, &ours) else {
                    return self.fail(Failure::Wrong);
                };
                let proof = key.proof(Side::Phone);
                self.out
                    .push_back(self.line.relay(tv, Kind::Scan, &[&ours, &proof]));
                self.step = Step::Granted { room, key };
            }
            // The line broke in the middle: only a new run can tell.
            Step::Proving { .. } | Step::Granted { .. } => self.fail(Failure::Lost),
            Step::Linked(_) => self.hello(now_ms),
            Step::Finding(_) | Step::Over => {}
        }
    }

    fn hello(&mut self, now_ms: f64) {
        let nonce = self.chance.bytes();
        let (Some(tv), Step::Linked(link)) = (self.tv(), &mut self.step) else {
            return;
        };
        link.nonce = nonce;
        link.session = None;
        let id = PairKey(link.known.key).id();
        self.since_ms = now_ms;
        self.out
            .push_back(self.line.relay(tv, Kind::Hello, &[&id, &nonce]));
    }

    fn heard(&mut self, blob: &[u8], now_ms: f64) {
        match (Kind::of(blob), &mut self.step) {
            (Some((Kind::PakeB, rest)), Step::Proving { room, pake, .. }) => {
                let room = *room;
                let Some(pake) = pake.take() else { return };
                self.compare(room, pake, rest, now_ms);
            }
            (Some((Kind::Grant, sealed)), Step::Granted { key, .. }) => {
                let key = *key;
                let grant = key.open_grant(sealed);
                if let Some(grant) = grant.and_then(|it| postcard::from_bytes::<Grant>(&it).ok()) {
                    self.granted(key, grant, now_ms);
                }
            }
            (Some((Kind::Ready, nonce)), Step::Linked(link)) => {
                let Ok(theirs) = <&[u8; 16]>::try_from(nonce) else {
                    return;
                };
                // One answer to each hello: another would begin another session.
                if link.session.is_none() {
                    let key = PairKey(link.known.key);
                    link.session = Some(key.session(Side::Phone, &link.nonce, theirs));
                    link.heard_ms = now_ms;
                    let label = self.label.clone();
                    self.command(&Command::Greet { label }, now_ms);
                }
            }
            (Some((Kind::Word, sealed)), Step::Linked(link)) => {
                let opened = link.session.as_mut().and_then(|it| it.open(sealed));
                match opened {
                    Some(plain) => self.reported(&plain, now_ms),
                    // Something was left out, or is of a session that is over.
                    None if link.session.as_ref().is_some_and(Session::is_proven) => {
                        self.hello(now_ms)
                    }
                    None => {}
                }
            }
            (Some((Kind::Lost | Kind::Here, _)), Step::Linked(_)) => self.hello(now_ms),
            (Some((Kind::Unknown, _)), Step::Linked(_)) => self.out.push_back(Output::Failed {
                why: Failure::Wrong,
            }),
            _ => {}
        }
    }

    fn compare(&mut self, room: RoomSeed, pake: Pake, rest: &[u8], now_ms: f64) {
        let key = rest.split_last_chunk::<32>().and_then(|(message, proof)| {
            let key = self.meeting(&room).pake_key(pake, message)?;
            key.is_proof(Side::Tv, proof).then_some(key)
        });
        let (Some(key), Some(tv)) = (key, self.tv()) else {
            return self.fail(Failure::Wrong);
        };
        let proof = key.proof(Side::Phone);
        self.out
            .push_back(self.line.relay(tv, Kind::Confirm, &[&proof]));
        self.step = Step::Granted { room, key };
        self.since_ms = now_ms;
    }

    fn granted(&mut self, key: PairKey, grant: Grant, now_ms: f64) {
        let known = Known {
            room: grant.room,
            key: key.0,
        };
        let bytes = postcard::to_allocvec(&known).expect("plain fields");
        self.out.push_back(Output::Paired {
            bytes,
            name: grant.name,
        });
        self.enter(known, now_ms);
        let dial = self.line.dial(now_ms);
        self.out.push_back(dial);
    }

    fn reported(&mut self, plain: &[u8], now_ms: f64) {
        if let Step::Linked(link) = &mut self.step {
            link.heard_ms = now_ms;
            if link.told != Some(true) {
                link.told = Some(true);
                self.out.push_back(Output::Linked { yes: true });
            }
        }
        if let Some(report) = Report::decode(plain) {
            self.out.push_back(Output::Report { report });
        }
    }

    /// The television does not hear us; we go on trying.
    fn lost(&mut self) {
        if let Step::Linked(link) = &mut self.step {
            link.session = None;
            if link.told != Some(false) {
                link.told = Some(false);
                self.out.push_back(Output::Linked { yes: false });
            }
        }
    }

    fn fail(&mut self, why: Failure) {
        self.step = Step::Over;
        self.out.push_back(self.line.hang_up());
        self.out.push_back(Output::Failed { why });
    }
}

impl Token {
    /// Letters for the fragment of an address: `room || key` in base64url, 86 characters.
    pub fn encode(&self) -> String {
        let bits = [self.room, self.key].concat();
        bits.chunks(3).fold(String::new(), |mut text, three| {
            let value = three
                .iter()
                .fold(0u32, |value, &byte| value << 8 | u32::from(byte))
                << (8 * (3 - three.len()));
            for i in 0..=three.len() {
                text.push(char::from(LETTERS[(value >> (18 - 6 * i)) as usize & 63]));
            }
            text
        })
    }

    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 86 {
            return None;
        }
        let mut bytes = Vec::with_capacity(66);
        for four in text.as_bytes().chunks(4) {
            let mut value = 0u32;
            for letter in four {
                value = value << 6 | LETTERS.iter().position(|it| it == letter)? as u32;
            }
            value <<= 6 * (4 - four.len());
            bytes.extend_from_slice(&value.to_be_bytes()[1..four.len()]);
        }
        let (room, key) = bytes.split_at(32);
        Some(Self {
            room: room.try_into().ok()?,
            key: key.try_into().ok()?,
        })
    }
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Pairing takes a second; a person waits no longer than this.
const PAIRING_MS: f64 = 20_000.0;
/// How often a silent television is tried.
const HELLO_MS: f64 = 3000.0;
/// How often we show that we are there.
const LOOK_MS: f64 = 4000.0;
/// A television answers each look.
const SILENT_MS: f64 = 12_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_from_its_letters() {
        let token = Token {
            room: core::array::from_fn(|i| (i * 37) as u8),
            key: core::array::from_fn(|i| (i * 91 + 5) as u8),
        };
        let text = token.encode();
        let back = Token::parse(&text).unwrap();
        assert!(text.len() == 86 && back.room == token.room && back.key == token.key);
        assert!(
            Token::parse(&text[1..]).is_none() && Token::parse(&text.replace('A', "!")).is_none()
        );
    }
}
