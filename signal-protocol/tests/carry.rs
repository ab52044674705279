//! Carried connections: what the server between two peers can and cannot do, and that what goes in comes out.

use baton_signal_protocol::blob::{self, CarryTerms, Route, Signal};
use baton_signal_protocol::carriage::{Chance, Us};
use baton_signal_protocol::carry::{Agreement, FrameError, Link, MESSAGE_MAX, WINDOW, public_of};
use baton_signal_protocol::{Carriage, CarriageEvent, FRAME_MAX, PeerId};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use std::collections::VecDeque;

const SWARM: [u8; 32] = [7; 32];
const KEY: [u8; 32] = [8; 32];

fn terms(seed: u8) -> CarryTerms {
    CarryTerms {
        session_nonce: [seed; 16],
        key: public_of([seed; 32]),
    }
}

/// Offerer and answerer.
fn pair() -> (Link, Link) {
    pair_with(&KEY)
}

fn pair_with(signalling_key: &[u8; 32]) -> (Link, Link) {
    let (offer, answer) = (terms(1), terms(2));
    let agreement = Agreement {
        offer: &offer,
        answer: &answer,
        signalling_key,
        names: [&SWARM, &[3; 32], &[4; 32]],
    };
    (
        Link::new(&agreement, true, [1; 32]).unwrap(),
        Link::new(&agreement, false, [2; 32]).unwrap(),
    )
}

/// Carries all there is to carry, both ways; what came out at each.
fn settle(a: &mut Link, b: &mut Link) -> [Vec<(u8, Vec<u8>)>; 2] {
    let mut out = [Vec::new(), Vec::new()];
    loop {
        let (from_a, from_b) = (a.poll(), b.poll());
        if from_a.is_none() && from_b.is_none() {
            return out;
        }
        if let Some(frame) = from_a {
            out[1].extend(b.handle(&frame).unwrap());
        }
        if let Some(frame) = from_b {
            out[0].extend(a.handle(&frame).unwrap());
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn a_frame_has_golden_bytes() {
    let (mut a, _) = pair();
    a.push(1, b"film".to_vec());
    assert_eq!(
        hex(&a.poll().unwrap()),
        concat!(
            "0101010101010101",
            "0000000000000000",
            "1d248b5173b6ef6893456841fc0c070d6e0a04f184"
        )
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn messages_come_out_whole_and_in_order(
        lengths in prop::collection::vec((0u8..2, 0usize..=MESSAGE_MAX), 1..6),
    ) {
        let (mut a, mut b) = pair();
        let messages: Vec<(u8, Vec<u8>)> = lengths
            .into_iter()
            .enumerate()
            .map(|(n, (channel, len))| (channel, vec![n as u8; len]))
            .collect();
        for (channel, message) in &messages {
            a.push(*channel, message.clone());
            b.push(*channel, message.clone());
        }
        let [at_a, at_b] = settle(&mut a, &mut b);
        prop_assert_eq!(&at_b, &messages);
        prop_assert_eq!(&at_a, &messages);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (_, mut b) = pair();
        prop_assert_eq!(b.handle(&bytes), Err(FrameError::Foreign));
        // Of this session, at least.
        let own = [&[1; 8][..], &[0; 8], &bytes].concat();
        prop_assert_eq!(b.handle(&own), Err(FrameError::Foreign));
    }
}

#[test]
fn no_more_is_under_way_than_the_window() {
    let (mut a, mut b) = pair();
    a.push(1, vec![0; MESSAGE_MAX]);
    for _ in 0..20 {
        a.push(1, vec![0; MESSAGE_MAX]);
    }
    let mut frames: VecDeque<Vec<u8>> = std::iter::from_fn(|| a.poll()).collect();
    assert_eq!(frames.len(), WINDOW as usize);
    assert!(frames.iter().all(|frame| frame.len() <= FRAME_MAX));
    for _ in 0..WINDOW / 4 {
        assert_eq!(b.handle(&frames.pop_front().unwrap()).err(), None);
    }
    a.handle(&b.poll().unwrap()).unwrap();
    assert_eq!(std::iter::from_fn(|| a.poll()).count(), WINDOW as usize / 4);
}

#[test]
fn what_waits_is_bounded_by_the_credit() {
    let (mut a, mut b) = pair();
    let first = a.credit().unwrap();
    assert_eq!(first, 256 * 1024);
    assert_eq!(a.credit(), None);
    for _ in 0..4 {
        a.push(1, vec![0; MESSAGE_MAX]);
    }
    settle(&mut a, &mut b);
    assert_eq!(a.credit(), Some(2 * first));
}

#[test]
fn a_server_that_alters_repeats_or_invents_frames_is_not_heard() {
    let (mut a, mut b) = pair();
    a.push(0, b"one".to_vec());
    a.push(0, b"two".to_vec());
    let (one, two) = (a.poll().unwrap(), a.poll().unwrap());
    for at in 0..one.len() {
        let mut altered = one.clone();
        altered[at] ^= 1;
        assert_eq!(b.handle(&altered), Err(FrameError::Foreign), "byte {at}");
    }
    assert_eq!(b.handle(&one), Ok(Some((0, b"one".to_vec()))));
    assert_eq!(b.handle(&one), Err(FrameError::Foreign), "replayed");
    assert_eq!(a.handle(&one), Err(FrameError::Foreign), "sent back");
    assert_eq!(b.handle(&two), Ok(Some((0, b"two".to_vec()))));
}

#[test]
fn a_frame_left_out_or_moved_forward_ends_the_connection() {
    let (mut a, mut b) = pair();
    a.push(0, b"one".to_vec());
    a.push(0, b"two".to_vec());
    let (_, two) = (a.poll().unwrap(), a.poll().unwrap());
    assert_eq!(b.handle(&two), Err(FrameError::Gap));
}

#[test]
fn who_has_the_link_but_neither_secret_reads_and_writes_no_frame() {
    let (mut a, mut b) = pair();
    // The signalling key, all that was said aloud, and a secret of one's own in place of either.
    let (offer, answer) = (terms(1), terms(2));
    for offered in [true, false] {
        let agreement = Agreement {
            offer: &offer,
            answer: &answer,
            signalling_key: &KEY,
            names: [&SWARM, &[3; 32], &[4; 32]],
        };
        let mut spy = Link::new(&agreement, offered, [9; 32]).unwrap();
        a.push(0, b"secret".to_vec());
        assert_eq!(spy.handle(&a.poll().unwrap()), Err(FrameError::Foreign));
        spy.push(0, b"forged".to_vec());
        assert_eq!(b.handle(&spy.poll().unwrap()), Err(FrameError::Foreign));
    }
    let (mut other, _) = pair_with(&[9; 32]);
    other.push(0, b"of another stream".to_vec());
    assert_eq!(b.handle(&other.poll().unwrap()), Err(FrameError::Foreign));
}

#[test]
fn a_key_that_gives_everybody_the_same_secret_is_refused() {
    let (offer, mut answer) = (terms(1), terms(2));
    answer.key = [0; 32];
    let agreement = Agreement {
        offer: &offer,
        answer: &answer,
        signalling_key: &KEY,
        names: [&SWARM, &[3; 32], &[4; 32]],
    };
    assert!(Link::new(&agreement, true, [1; 32]).is_none());
}

// ── whole carriages ──

struct Side {
    carriage: Carriage,
    peer: PeerId,
    events: Vec<CarriageEvent>,
    conns: u64,
}

fn side(seed: u8) -> Side {
    let peer = SigningKey::from_bytes(&[seed; 32])
        .verifying_key()
        .to_bytes();
    let mut carriage = Carriage::new(Us {
        swarm: SWARM,
        signalling_key: KEY,
        peer_seed: [seed; 32],
        peer,
    });
    carriage.allow();
    Side {
        carriage,
        peer,
        events: Vec::new(),
        conns: 0,
    }
}

impl Side {
    fn chance(&mut self) -> Chance {
        self.conns += 1;
        let n = self.peer[0] ^ self.conns as u8;
        Chance {
            session_nonce: [n; 16],
            secret: [n; 32],
            blob_nonce: [n; 24],
        }
    }

    fn ask(&mut self, peer: PeerId) {
        let chance = self.chance();
        let events = self.carriage.ask(peer, self.conns, &chance, 0);
        self.events.extend(events);
    }

    fn hear(&mut self, from: PeerId, event: &CarriageEvent) {
        let events = match event {
            CarriageEvent::Signal { blob, .. } => self.signal(from, blob),
            CarriageEvent::Frame { frame, .. } => self.carriage.handle_frame(from, frame),
            _ => return,
        };
        self.events.extend(events);
    }

    fn signal(&mut self, from: PeerId, bytes: &[u8]) -> Vec<CarriageEvent> {
        let route = Route {
            swarm: SWARM,
            from,
            to: self.peer,
        };
        let session = self.carriage.offer_nonce(&from);
        match blob::open(&route, &KEY, session.as_ref(), bytes) {
            Ok(Signal::CarryOffer(offer)) if self.carriage.would_take(from, &offer) => {
                let chance = self.chance();
                self.carriage.offered(from, offer, self.conns, &chance)
            }
            Ok(Signal::CarryAnswer { terms, .. }) => self.carriage.answered(from, terms),
            _ => Vec::new(),
        }
    }

    fn connected(&self) -> Vec<bool> {
        let offerer = |event: &CarriageEvent| match event {
            CarriageEvent::Connected(it) => Some(it.offerer),
            _ => None,
        };
        self.events.iter().filter_map(offerer).collect()
    }

    fn received(&self) -> Vec<Vec<u8>> {
        let bytes = |event: &CarriageEvent| match event {
            CarriageEvent::Received { bytes, .. } => Some(bytes.clone()),
            _ => None,
        };
        self.events.iter().filter_map(bytes).collect()
    }
}

/// Carries everything between two until nothing is left to carry.
fn talk(a: &mut Side, b: &mut Side) {
    let (mut at_a, mut at_b) = (0, 0);
    while at_a < a.events.len() || at_b < b.events.len() {
        if let Some(event) = a.events.get(at_a).cloned() {
            at_a += 1;
            b.hear(a.peer, &event);
        }
        if let Some(event) = b.events.get(at_b).cloned() {
            at_b += 1;
            a.hear(b.peer, &event);
        }
    }
}

#[test]
fn two_who_cannot_connect_are_carried() {
    let (mut a, mut b) = (side(1), side(2));
    a.ask(b.peer);
    talk(&mut a, &mut b);
    assert_eq!((a.connected(), b.connected()), (vec![true], vec![false]));
    let events = a.carriage.send(1, 1, vec![5; 50_000]);
    a.events = events;
    b.events.clear();
    talk(&mut a, &mut b);
    assert_eq!(b.received(), [vec![5; 50_000]]);
    assert!(b.carriage.is_open(1));
    assert_eq!(b.carriage.count(), (1, 1));
}

#[test]
fn of_two_offers_that_cross_one_stands() {
    let (mut a, mut b) = (side(1), side(2));
    a.ask(b.peer);
    b.ask(a.peer);
    talk(&mut a, &mut b);
    let smaller = a.peer < b.peer;
    assert_eq!(
        (a.connected(), b.connected()),
        (vec![smaller], vec![!smaller])
    );
}

#[test]
fn an_offer_that_is_replayed_ends_no_connection() {
    let (mut a, mut b) = (side(1), side(2));
    a.ask(b.peer);
    let offer = a.events[0].clone();
    talk(&mut a, &mut b);
    b.events.clear();
    b.hear(a.peer, &offer);
    assert_eq!(b.events, []);
}

#[test]
fn nobody_answers_and_the_offer_is_given_up() {
    let (mut a, b) = (side(1), side(2));
    a.ask(b.peer);
    assert_eq!(a.carriage.tick(5000), []);
    assert_eq!(
        a.carriage.tick(5001),
        [CarriageEvent::Failed { peer: b.peer }]
    );
}

#[test]
fn a_lost_frame_a_lost_peer_and_a_lost_server_end_it() {
    for how in 0..3 {
        let (mut a, mut b) = (side(1), side(2));
        a.ask(b.peer);
        talk(&mut a, &mut b);
        let ended = match how {
            0 => a.carriage.gone(&b.peer),
            1 => a.carriage.lost_server(),
            _ => {
                b.carriage.send(1, 0, vec![1]);
                let later = b.carriage.send(1, 0, vec![2]);
                let CarriageEvent::Frame { frame, .. } = &later[0] else {
                    panic!("{later:?}");
                };
                a.carriage.handle_frame(b.peer, frame)
            }
        };
        let (conn, peer) = (1, b.peer);
        assert_eq!(ended, [CarriageEvent::Disconnected { conn, peer }]);
        assert_eq!(a.carriage.count(), (0, 0));
    }
}

#[test]
fn where_the_server_does_not_carry_nothing_is_offered_or_taken() {
    let (mut a, mut b) = (side(1), side(2));
    a.carriage.lost_server();
    a.ask(b.peer);
    assert_eq!(a.events, [CarriageEvent::Failed { peer: b.peer }]);
    b.carriage.lost_server();
    let mut c = side(3);
    c.ask(b.peer);
    talk(&mut c, &mut b);
    assert_eq!(b.events, []);
}

#[test]
fn only_so_many_are_carried_at_once() {
    let mut a = side(1);
    for seed in 2..8 {
        a.ask(side(seed).peer);
    }
    let failed = a
        .events
        .iter()
        .filter(|it| matches!(it, CarriageEvent::Failed { .. }));
    assert_eq!(failed.count(), 2);
}
