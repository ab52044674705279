//! The television's end: it shows a code, knows its telephones, and hears what they want.
//!
//! Invariants: a word is acted upon only if it came through a session whose pair is known here. Nobody but a person at the television, or a
//! telephone that proves it has the code, gives back the three tries.

use std::collections::{BTreeMap, VecDeque};

use baton_signal_protocol::{ClientMessage, PeerId};
use serde::{Deserialize, Serialize};

use crate::line::{Kind, Line, News, RoomSeed, public, tv_seed};
use crate::secret::{Meeting, PairId, PairKey, Session, Side, public_of};
use crate::words::{NAME_MAX, cut};
use crate::{Chance, Code, Command, NoCode, Output, PhoneSeen, Report};

pub struct Tv {
    chance: Chance,
    saved: Saved,
    home: Line,
    meet: Meet,
    talks: BTreeMap<PeerId, Talk>,
    film: Option<Report>,
    out: VecDeque<Output>,
}

/// What a television keeps: who it is and whom it knows.
#[derive(Serialize, Deserialize)]
struct Saved {
    room: RoomSeed,
    name: String,
    phones: Vec<Kept>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    key: [u8; 32],
    label: String,
}

/// What the television gives to a telephone that is paired.
#[derive(Serialize, Deserialize)]
pub(crate) struct Grant {
    pub room: RoomSeed,
    pub name: String,
}

/// The pairing room: there while a code is shown.
struct Meet {
    line: Line,
    shown: bool,
    room: RoomSeed,
    scan_secret: [u8; 32],
    code: Option<Code>,
    until_ms: f64,
    tries: u8,
    /// When the last try was spent.
    spent_ms: f64,
    /// Telephones that have shown no proof yet.
    runs: VecDeque<(PeerId, PairKey)>,
}

/// A telephone that is in our room.
struct Talk {
    pair: PairId,
    /// What it has proved to be in.
    current: Option<Session>,
    /// Begun, maybe by a recording: nothing depends on it yet.
    next: Option<Session>,
    heard_ms: f64,
}

/// The two lines by number.
const HOME: u8 = 0;
const MEET: u8 = 1;

impl Tv {
    /// `saved`: the bytes of the last [`Output::Save`], or none. `name`: what a new television is called.
    pub fn new(seed: &[u8; 32], host: &str, saved: &[u8], name: &str, now_ms: f64) -> Self {
        let mut chance = Chance::new(seed);
        let known = postcard::from_bytes::<Saved>(saved).ok();
        let is_new = known.is_none();
        let saved = known.unwrap_or_else(|| Saved {
            room: chance.bytes(),
            name: name.to_owned(),
            phones: Vec::new(),
        });
        let mut home = Line::new(HOME, host);
        home.set_room(&saved.room, &tv_seed(&saved.room));
        let dial = home.dial(now_ms);
        let mut tv = Self {
            meet: Meet::new(host, &mut chance),
            chance,
            saved,
            home,
            talks: BTreeMap::new(),
            film: None,
            out: VecDeque::from([dial]),
        };
        if is_new {
            tv.save();
        }
        tv.tell_phones();
        tv
    }

    pub fn name(&self) -> &str {
        &self.saved.name
    }

    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// A person wants to pair a telephone: all three tries are there again.
    pub fn show_code(&mut self, now_ms: f64) {
        self.meet.shown = true;
        self.meet.tries = TRIES;
        if self.meet.line.is_open() {
            self.ask_name();
        } else {
            self.out.push_back(self.meet.line.dial(now_ms));
        }
    }

    /// Nobody looks at the code any more, so nobody can pair.
    pub fn hide_code(&mut self) {
        if !self.meet.shown {
            return;
        }
        self.meet.shown = false;
        self.meet.code = None;
        self.meet.runs.clear();
        let again = Meet::fresh(&mut self.chance);
        self.out.push_back(self.meet.line.hang_up());
        (self.meet.room, self.meet.scan_secret) = again;
        self.meet.enter();
    }

    pub fn opened(&mut self, line: u8, now_ms: f64) {
        let line = self.line(line);
        line.opened(now_ms);
        let join = line.join(now_ms);
        self.out.push_back(join);
    }

    pub fn closed(&mut self, line: u8, now_ms: f64) {
        self.line(line).closed(now_ms);
        if line == HOME {
            self.talks.clear();
            self.tell_phones();
        } else if self.meet.shown {
            self.no_code(NoCode::Lost);
        }
    }

    pub fn received(&mut self, line: u8, bytes: &[u8], now_ms: f64) {
        if line == HOME {
            match self.home.received(bytes, now_ms, &mut self.out) {
                Some(News::Up(peers)) => {
                    for peer in peers {
                        self.out.push_back(self.home.relay(peer, Kind::Here, &[]));
                    }
                }
                Some(News::Relay { from, blob }) => self.heard_at_home(from, &blob, now_ms),
                Some(News::Gone(peer)) => self.phone_left(&peer),
                Some(News::Named { .. } | News::Found(_)) | None => {}
            }
        } else {
            match self.meet.line.received(bytes, now_ms, &mut self.out) {
                Some(News::Up(_)) => self.ask_name(),
                Some(News::Named {
                    name: Some(name),
                    lasts_ms,
                }) => self.named(name, now_ms + lasts_ms),
                Some(News::Named { name: None, .. }) => {
                    self.no_code(NoCode::Busy);
                    self.meet.until_ms = now_ms + BUSY_MS;
                }
                Some(News::Relay { from, blob }) => self.heard_at_meeting(from, &blob, now_ms),
                Some(News::Gone(_) | News::Found(_)) | None => {}
            }
        }
    }

    /// Once a second or so.
    pub fn tick(&mut self, now_ms: f64) {
        let acts = [self.home.tick(now_ms), self.meet.line.tick(now_ms)];
        self.out.extend(acts.into_iter().flatten());
        let meet = &mut self.meet;
        if meet.shown && meet.line.is_open() && now_ms >= meet.until_ms && meet.tries > 0 {
            meet.until_ms = f64::INFINITY;
            self.ask_name();
        } else if meet.tries == 0 && meet.code.is_some() && now_ms > meet.spent_ms + PROOF_MS {
            self.no_code(NoCode::Tries);
        }
        let silent = |talk: &Talk| now_ms > talk.heard_ms + SILENT_MS;
        for peer in self.peers(silent) {
            self.phone_left(&peer);
        }
    }

    /// How things stand here: told to every telephone.
    pub fn report(&mut self, report: Report) {
        let report = report.cut();
        if matches!(report, Report::Film(_)) {
            self.film = Some(report.clone());
        }
        for peer in self.peers(|_| true) {
            self.tell(&peer, &report);
        }
    }

    /// Told to the telephone of this id alone.
    pub fn answer(&mut self, id: &str, report: Report) {
        let report = report.cut();
        for peer in self.peers(|talk| hex(&talk.pair) == id) {
            self.tell(&peer, &report);
        }
    }

    pub fn rename(&mut self, name: &str) {
        let mut name = name.trim().to_owned();
        cut(&mut name, NAME_MAX);
        if name.is_empty() {
            return;
        }
        self.saved.name = name.clone();
        self.save();
        self.report(Report::Name { name });
    }

    /// Forgets a telephone: what it has opens nothing here from now on.
    pub fn forget(&mut self, id: &str) {
        let Some(at) = self
            .saved
            .phones
            .iter()
            .position(|it| hex(&PairKey(it.key).id()) == id)
        else {
            return;
        };
        let pair = PairKey(self.saved.phones.remove(at).key).id();
        for peer in self.peers(|talk| talk.pair == pair) {
            self.tell(&peer, &Report::Forgotten);
            self.talks.remove(&peer);
        }
        self.save();
        self.tell_phones();
    }

    /// Those whose talk is such, by themselves: telling them something changes the talks.
    fn peers(&self, is: impl Fn(&Talk) -> bool) -> Vec<PeerId> {
        let those = self.talks.iter().filter(|it| is(it.1));
        those.map(|it| *it.0).collect()
    }

    fn line(&mut self, line: u8) -> &mut Line {
        if line == HOME {
            &mut self.home
        } else {
            &mut self.meet.line
        }
    }

    fn ask_name(&mut self) {
        let ticket = self.meet.room;
        self.out
            .push_back(self.meet.line.say(&ClientMessage::Name { ticket }));
    }

    fn named(&mut self, name: u16, until_ms: f64) {
        if !self.meet.shown || self.meet.tries == 0 {
            return;
        }
        let word = u16::from_le_bytes(self.chance.bytes()) % crate::code::HALF;
        let code = Code { name, word };
        self.meet.code = Some(code);
        self.meet.until_ms = until_ms;
        let token = crate::phone::Token {
            room: self.meet.room,
            key: public_of(self.meet.scan_secret),
        };
        self.out.push_back(Output::Code {
            text: code.to_string(),
            token: token.encode(),
            until_ms,
        });
    }

    fn no_code(&mut self, why: NoCode) {
        self.meet.code = None;
        self.out.push_back(Output::NoCode { why });
    }

    fn heard_at_meeting(&mut self, from: PeerId, blob: &[u8], now_ms: f64) {
        if !self.meet.shown {
            return;
        }
        let meeting = Meeting {
            room: public(&self.meet.room),
            phone: from,
            tv: public(&tv_seed(&self.meet.room)),
        };
        match Kind::of(blob) {
            Some((Kind::PakeA, theirs)) => self.pake(meeting, theirs, now_ms),
            Some((Kind::Confirm, proof)) => {
                let run = self.meet.runs.iter().position(|it| it.0 == from);
                let Some((_, key)) = run.and_then(|at| self.meet.runs.remove(at)) else {
                    return;
                };
                if proof
                    .try_into()
                    .is_ok_and(|proof| key.is_proof(Side::Phone, proof))
                {
                    self.pair(from, key);
                }
            }
            Some((Kind::Scan, rest)) => {
                let Some((public, proof)) = rest.split_first_chunk::<32>() else {
                    return;
                };
                let Some(key) = meeting.scan_key(self.meet.scan_secret, *public, public) else {
                    return;
                };
                if proof
                    .try_into()
                    .is_ok_and(|proof| key.is_proof(Side::Phone, proof))
                {
                    self.pair(from, key);
                }
            }
            _ => {}
        }
    }

    /// A try is spent when it begins: whoever sees that it came to nothing goes away without a word.
    fn pake(&mut self, meeting: Meeting, theirs: &[u8], now_ms: f64) {
        let Some(code) = self.meet.code.filter(|_| self.meet.tries > 0) else {
            return;
        };
        self.meet.tries -= 1;
        self.meet.spent_ms = now_ms;
        let (pake, ours) = meeting.start_tv(code, &mut self.chance);
        let Some(key) = meeting.pake_key(pake, theirs) else {
            return;
        };
        let answer = [&ours[..], &key.proof(Side::Tv)];
        self.out
            .push_back(self.meet.line.relay(meeting.phone, Kind::PakeB, &answer));
        // As many as there are tries.
        if self.meet.runs.len() >= usize::from(TRIES) {
            self.meet.runs.pop_front();
        }
        self.meet.runs.push_back((meeting.phone, key));
    }

    fn pair(&mut self, phone: PeerId, key: PairKey) {
        let grant = Grant {
            room: self.saved.room,
            name: self.saved.name.clone(),
        };
        let grant = postcard::to_allocvec(&grant).expect("plain fields");
        let sealed = key.seal_grant(self.chance.bytes(), &grant);
        self.out
            .push_back(self.meet.line.relay(phone, Kind::Grant, &[&sealed]));
        self.meet.tries = TRIES;
        if self.saved.phones.iter().all(|it| it.key != key.0) {
            // The one that was here longest ago goes.
            if self.saved.phones.len() >= PHONES_MAX {
                self.saved.phones.remove(0);
            }
            self.saved.phones.push(Kept {
                key: key.0,
                label: String::new(),
            });
        }
        self.save();
        self.tell_phones();
        // Its code is used up.
        self.ask_name();
    }

    fn heard_at_home(&mut self, from: PeerId, blob: &[u8], now_ms: f64) {
        match Kind::of(blob) {
            Some((Kind::Hello, rest)) => self.hello(from, rest, now_ms),
            Some((Kind::Word, sealed)) => self.word(from, sealed, now_ms),
            _ => {}
        }
    }

    fn hello(&mut self, from: PeerId, rest: &[u8], now_ms: f64) {
        let Ok(rest) = <&[u8; 32]>::try_from(rest) else {
            return;
        };
        let (pair, nonce) = rest.split_at(16);
        let known = self.saved.phones.iter().map(|it| PairKey(it.key));
        let Some(key) = known.into_iter().find(|key| key.id() == pair) else {
            self.out
                .push_back(self.home.relay(from, Kind::Unknown, &[]));
            return;
        };
        let ours: [u8; 16] = self.chance.bytes();
        let theirs = nonce.try_into().expect("16 of 32 bytes");
        if !self.talks.contains_key(&from) && self.talks.len() >= TALKS_MAX {
            return;
        }
        let talk = self.talks.entry(from).or_insert_with(|| Talk {
            pair: key.id(),
            current: None,
            next: None,
            heard_ms: now_ms,
        });
        talk.pair = key.id();
        talk.next = Some(key.session(Side::Tv, theirs, &ours));
        self.out
            .push_back(self.home.relay(from, Kind::Ready, &[&ours]));
    }

    fn word(&mut self, from: PeerId, sealed: &[u8], now_ms: f64) {
        let opened = self
            .talks
            .get_mut(&from)
            .and_then(|talk| talk.open(sealed, now_ms));
        let Some((plain, is_new)) = opened else {
            self.out.push_back(self.home.relay(from, Kind::Lost, &[]));
            return;
        };
        let pair = self.talks[&from].pair;
        if is_new {
            self.tell_phones();
            self.greet(&from);
            self.out.push_back(Output::Command {
                phone: hex(&pair),
                command: Command::Look,
            });
        }
        match Command::decode(&plain) {
            Some(Command::Greet { label }) => self.label(pair, label),
            Some(Command::Name { name }) => self.rename(&name),
            Some(Command::Forget) => self.forget(&hex(&pair)),
            Some(command) => self.out.push_back(Output::Command {
                phone: hex(&pair),
                command,
            }),
            None => {}
        }
    }

    fn label(&mut self, pair: PairId, label: String) {
        let Some(at) = self
            .saved
            .phones
            .iter()
            .position(|it| PairKey(it.key).id() == pair)
        else {
            return;
        };
        // The last one is who was here last.
        let mut phone = self.saved.phones.remove(at);
        let changed = phone.label != label || at != self.saved.phones.len();
        phone.label = label;
        self.saved.phones.push(phone);
        if changed {
            self.save();
            self.tell_phones();
        }
    }

    /// What does not change by itself. How things stand is asked for ([`Command::Look`]): a position that was true a while ago is none.
    fn greet(&mut self, peer: &PeerId) {
        let name = Report::Name {
            name: self.saved.name.clone(),
        };
        let reports = [Some(name), self.film.clone()];
        reports
            .iter()
            .flatten()
            .for_each(|report| self.tell(peer, report));
    }

    fn tell(&mut self, peer: &PeerId, report: &Report) {
        let Some(session) = self
            .talks
            .get_mut(peer)
            .and_then(|talk| talk.current.as_mut())
        else {
            return;
        };
        let plain = report.encode().expect("cut to fit");
        let sealed = session.seal(&plain);
        self.out
            .push_back(self.home.relay(*peer, Kind::Word, &[&sealed]));
    }

    fn phone_left(&mut self, peer: &PeerId) {
        if self.talks.remove(peer).is_some() {
            self.tell_phones();
        }
    }

    fn tell_phones(&mut self) {
        let list = self.phones();
        self.out.push_back(Output::Phones { list });
    }

    /// The telephones that are known here, those that were here last behind the others.
    pub fn phones(&self) -> Vec<PhoneSeen> {
        let list = self.saved.phones.iter().map(|phone| {
            let pair = PairKey(phone.key).id();
            PhoneSeen {
                id: hex(&pair),
                label: phone.label.clone(),
                here: self
                    .talks
                    .values()
                    .any(|it| it.pair == pair && it.current.is_some()),
            }
        });
        list.collect()
    }

    fn save(&mut self) {
        let bytes = postcard::to_allocvec(&self.saved).expect("plain fields");
        self.out.push_back(Output::Save { bytes });
    }
}

impl Meet {
    fn new(host: &str, chance: &mut Chance) -> Self {
        let (room, scan_secret) = Self::fresh(chance);
        let mut meet = Self {
            line: Line::new(MEET, host),
            shown: false,
            room,
            scan_secret,
            code: None,
            until_ms: f64::INFINITY,
            tries: TRIES,
            spent_ms: 0.0,
            runs: VecDeque::new(),
        };
        meet.enter();
        meet
    }

    fn fresh(chance: &mut Chance) -> (RoomSeed, [u8; 32]) {
        (chance.bytes(), chance.bytes())
    }

    fn enter(&mut self) {
        self.line.set_room(&self.room, &tv_seed(&self.room));
    }
}

impl Talk {
    /// What a word says, and whether it is the first of a new session.
    fn open(&mut self, sealed: &[u8], now_ms: f64) -> Option<(Vec<u8>, bool)> {
        if let Some(plain) = self.current.as_mut().and_then(|it| it.open(sealed)) {
            self.heard_ms = now_ms;
            return Some((plain, false));
        }
        let plain = self.next.as_mut()?.open(sealed)?;
        self.current = self.next.take();
        self.heard_ms = now_ms;
        Some((plain, true))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A slip of the hand or two; then somebody is guessing.
const TRIES: u8 = 3;
/// How long a telephone may take from the television's proof to its own before its try counts as wrong.
const PROOF_MS: f64 = 5_000.0;
/// When to ask a server again that had no name to give.
const BUSY_MS: f64 = 15_000.0;
/// A telephone says something every few seconds ([`Command::Look`]).
const SILENT_MS: f64 = 20_000.0;
/// A household and its guests.
const PHONES_MAX: usize = 16;
/// Each of them in two tabs.
const TALKS_MAX: usize = 32;
