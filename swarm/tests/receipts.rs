//! Who gave whom how much: what is signed and shown, what it is worth, and what liars gain and cost.

mod common;

use baton_content::{Lane, PeerId, PeerKey, PieceId, verify_signature};
use baton_swarm::wire::{
    self, Ack, Have, Message, Part, Receipt, Signature, Want, receipt_statement,
};
use baton_swarm::{Channel, Config, Flood, Input, Output, Reason, Role};
use bytes::Bytes;
use common::film::Film;
use common::puppet::{Puppet, Stage, dropped, heard, pieces, refused};
use common::{Link, SECOND, World};
use std::collections::VecDeque;

const PIECES: u32 = 8;
const FILM: u64 = (PIECES as u64) << 20;

fn me() -> PeerId {
    PeerKey::from_seed([50; 32]).id()
}

/// What `receiver` signs for `giver`.
fn signed(stage: &Stage, giver: PeerId, receiver: &Puppet, bytes: u64) -> Receipt {
    let statement = receipt_statement(&stage.film.swarm, &giver, &receiver.id(), bytes);
    Receipt {
        receiver: receiver.id().0,
        bytes,
        signature: Signature::new(&receiver.key.sign(&statement)),
    }
}

fn show(stage: &mut Stage, puppet: &Puppet, receipts: Vec<Receipt>) -> Vec<Output> {
    stage.say(puppet, &Message::Receipts(receipts))
}

fn receipts(outputs: &[Output], puppet: &Puppet) -> Vec<Receipt> {
    let of = |message| match message {
        Message::Receipts(receipts) => receipts,
        _ => Vec::new(),
    };
    heard(outputs, puppet).into_iter().flat_map(of).collect()
}

/// A puppet that has everything gives all that it is asked for, until it is asked for nothing for a while.
fn give_all(stage: &mut Stage, puppet: &Puppet, mut outputs: Vec<Output>) {
    let mut quiet = 0;
    while quiet < 20 {
        quiet += 1;
        let mut next = stage.wait(SECOND / 10);
        for message in heard(&outputs, puppet) {
            let Message::Request(wants) = message else {
                continue;
            };
            quiet = 0;
            for want in wants {
                let piece = PieceId::new(Lane(want.lane), want.index);
                let sealed = stage.film.sealed(piece);
                let header = sealed.header().bytes().to_vec();
                let blocks: Vec<_> = baton_content::Mask(want.mask & sealed.header().full_mask().0)
                    .iter()
                    .map(|block| (block.0, sealed.block(block).expect("there").bytes().clone()))
                    .collect();
                next.extend(stage.say(puppet, &Message::Header(header)));
                for run in blocks.chunks(3) {
                    let bytes = wire::encode_blocks(piece, 0, run.iter().cloned());
                    next.extend(stage.raw(puppet, Channel::Data, bytes));
                }
            }
        }
        outputs = next;
    }
}

/// A viewer that got everything from `giver`.
fn seeder(giver: &Puppet) -> Stage {
    let mut stage = Stage::new(Film::new(FILM as usize), Role::Viewer);
    let outputs = stage.join(giver, pieces(PIECES));
    give_all(&mut stage, giver, outputs);
    assert_eq!(stage.swarm.stats().completeness_permille, 1000);
    stage
}

/// Puppets that take as much as they get, through one uplink of 1 MB/s that carries one block message after another. They sign for it every
/// five seconds, but for the silent ones.
struct Takers<'a> {
    stage: Stage,
    puppets: Vec<&'a Puppet>,
    silent: Vec<usize>,
    /// Messages on the uplink: for whom.
    line: VecDeque<(usize, Bytes)>,
    /// Bytes and blocks.
    taken: Vec<u64>,
    blocks: Vec<u32>,
}

impl<'a> Takers<'a> {
    fn new(stage: Stage, puppets: &[&'a Puppet]) -> Self {
        let mut takers = Takers {
            stage,
            puppets: puppets.to_vec(),
            silent: Vec::new(),
            line: VecDeque::new(),
            taken: vec![0; puppets.len()],
            blocks: vec![0; puppets.len()],
        };
        for (at, puppet) in puppets.iter().enumerate() {
            let (conn, credit) = (puppet.conn, u64::MAX / 2);
            let outputs = takers.stage.input(Input::Writable { conn, credit });
            takers.carry(outputs);
            takers.ask(at);
        }
        takers
    }

    /// Each asks for two pieces of its own in turn, over and over: nobody's wishes are in another's way, and it always waits for something.
    fn ask(&mut self, at: usize) {
        let index = at as u32 * 2 + (self.blocks[at] + 32) / 64 % 2;
        let (lane, mask) = (1, u64::MAX);
        let gone = Part { lane, index, mask };
        let want = Want {
            lane,
            index,
            mask,
            flags: 0,
            root8: None,
        };
        for message in [Message::DontHave(vec![gone]), Message::Request(vec![want])] {
            self.say(at, &message);
        }
    }

    fn say(&mut self, at: usize, message: &Message) {
        let outputs = self.stage.say(self.puppets[at], message);
        assert_eq!(dropped(&outputs, self.puppets[at]), None);
        self.carry(outputs);
    }

    fn carry(&mut self, outputs: Vec<Output>) {
        // A sign of life for each Ping, and not at once a Pong: they would be in the same house.
        let pinged = |puppet: &&&Puppet| {
            let said = heard(&outputs, puppet);
            said.iter().any(|it| matches!(it, Message::Ping(_)))
        };
        let pinged: Vec<&Puppet> = self.puppets.iter().filter(pinged).copied().collect();
        for puppet in pinged {
            self.stage.say(puppet, &Message::Ping(1));
        }
        for (conn, bytes) in self.stage.read_and_sent(outputs) {
            let of = |puppet: &&Puppet| puppet.conn == conn;
            let at = self.puppets.iter().position(of).expect("one of them");
            self.line.push_back((at, bytes));
        }
    }

    /// How many bytes each got in this time.
    fn run(&mut self, seconds: u64) -> Vec<u64> {
        let before = self.taken.clone();
        let end = self.stage.now + seconds * SECOND;
        let mut sign_at = self.stage.now + 5 * SECOND;
        while self.stage.now < end {
            let Some((at, bytes)) = self.line.pop_front() else {
                let outputs = self.stage.wait(SECOND / 100);
                self.carry(outputs);
                continue;
            };
            self.stage.now += bytes.len() as u64;
            self.arrived(at, &bytes);
            if self.stage.now >= sign_at {
                sign_at += 5 * SECOND;
                self.sign();
            }
        }
        let got = self.taken.iter().zip(before);
        got.map(|(now, before)| now - before).collect()
    }

    fn arrived(&mut self, at: usize, bytes: &Bytes) {
        let Ok(Message::Blocks(blocks)) = Message::decode(bytes, true) else {
            panic!("not a block message")
        };
        self.taken[at] += bytes.len() as u64;
        let ack = Ack {
            echo_us: blocks.sent_us,
            hold_us: 0,
            bytes: self.taken[at],
        };
        self.say(at, &Message::Ack(ack));
        let half = self.blocks[at] / 32;
        self.blocks[at] += blocks.mask.0.count_ones();
        if half.is_multiple_of(2) && self.blocks[at] / 32 > half {
            self.ask(at);
        }
    }

    fn sign(&mut self) {
        for at in 0..self.puppets.len() {
            if self.silent.contains(&at) {
                continue;
            }
            let receipt = signed(&self.stage, me(), self.puppets[at], self.taken[at]);
            self.say(at, &Message::Receipts(vec![receipt]));
        }
    }
}

/// Nobody, or each of these, is a giver of whom three others are not: one uplink, twenty seconds.
fn shares(takers: &mut Takers) -> Vec<f64> {
    let got = takers.run(20);
    let mean = got.iter().sum::<u64>() as f64 / got.len() as f64;
    got.iter().map(|it| *it as f64 / mean).collect()
}

#[test]
fn what_came_is_signed_for_whoever_gave_it() {
    let giver = Puppet::new(1);
    let mut stage = Stage::new(Film::new(FILM as usize), Role::Viewer);
    let outputs = stage.join(&giver, pieces(PIECES));
    give_all(&mut stage, &giver, outputs);
    let outputs = stage.wait(6 * SECOND);
    let receipts = receipts(&outputs, &giver);
    let [receipt] = receipts[..] else {
        panic!("{receipts:?}")
    };
    let bytes = stage.swarm.stats().received_bytes;
    assert_eq!((receipt.receiver, receipt.bytes), (me().0, bytes));
    let statement = receipt_statement(&stage.film.swarm, &giver.id(), &me(), bytes);
    assert!(verify_signature(
        &me().0,
        &statement,
        &receipt.signature.bytes()
    ));
    stage.say(&giver, &Message::Ping(1));
    let outputs = stage.wait(6 * SECOND);
    assert_eq!(self::receipts(&outputs, &giver), [], "no news, no receipt");
}

#[test]
fn who_leaves_signs_first() {
    let giver = Puppet::new(1);
    let mut stage = seeder(&giver);
    let outputs = stage.input(Input::Leaving);
    let said = heard(&outputs, &giver);
    assert!(
        matches!(said[..], [Message::Receipts(_), Message::Goodbye]),
        "{said:?}"
    );
}

#[test]
fn a_receipt_is_shown_to_who_may_have_met_its_signer() {
    let (giver, taker, third) = (Puppet::new(1), Puppet::new(2), Puppet::new(3));
    let mut stage = seeder(&giver);
    stage.join(&taker, Have::default());
    let mut takers = Takers::new(stage, &[&taker]);
    takers.run(6);
    takers.sign();
    let mut stage = takers.stage;
    let stats = stage.swarm.stats();
    assert_eq!(stats.confirmed_by, 1);
    assert!((4 << 20..=stats.sent_bytes + 10_000).contains(&stats.confirmed_bytes));
    stage.join(&third, Have::default());
    let outputs = stage.wait(7 * SECOND);
    let shown = receipts(&outputs, &third);
    let [receipt] = shown[..] else {
        panic!("{shown:?}")
    };
    assert_eq!(receipt.receiver, taker.id().0);
    assert_eq!(receipt, signed(&stage, me(), &taker, receipt.bytes));
    assert_eq!(receipts(&outputs, &taker), [], "it knows what it signed");
}

#[test]
fn receipts_of_those_who_gave_to_us_raise_their_giver() {
    let giver = Puppet::new(1);
    let (known, plain, other) = (Puppet::new(2), Puppet::new(3), Puppet::new(4));
    let mut stage = seeder(&giver);
    for puppet in [&known, &plain, &other] {
        stage.join(puppet, Have::default());
    }
    let receipt = signed(&stage, known.id(), &giver, 64 << 20);
    show(&mut stage, &known, vec![receipt]);
    let shares = shares(&mut Takers::new(stage, &[&known, &plain, &other]));
    assert!(shares[0] > 1.3 && shares[0] < 1.7, "{shares:?}");
    assert!(shares[1] > 0.4 && shares[2] > 0.4, "{shares:?}");
}

/// Nobody of them is known to have given anything to us or to anybody else.
#[test]
fn strangers_and_sybils_who_vouch_for_each_other_gain_nothing() {
    let giver = Puppet::new(1);
    let (a, b, plain) = (Puppet::new(2), Puppet::new(3), Puppet::new(4));
    let stranger = Puppet::new(9);
    let mut stage = seeder(&giver);
    for puppet in [&a, &b, &plain] {
        stage.join(puppet, Have::default());
    }
    let mut takers = Takers::new(stage, &[&a, &b, &plain]);
    // They took as much as anybody, and say that they gave each other a thousand times that.
    takers.run(10);
    for (giver, receiver) in [(&a, &b), (&b, &a), (&a, &stranger), (&b, &stranger)] {
        let receipt = signed(&takers.stage, giver.id(), receiver, 1 << 40);
        let outputs = show(&mut takers.stage, giver, vec![receipt]);
        takers.carry(outputs);
    }
    let shares = shares(&mut takers);
    assert!(
        shares[0] < 1.2 && shares[1] < 1.2 && shares[2] > 0.8,
        "{shares:?}"
    );
}

/// One real giver, many whom it calls givers.
#[test]
fn nobody_can_lend_more_than_it_gave() {
    let giver = Puppet::new(1);
    let friends = [Puppet::new(2), Puppet::new(3), Puppet::new(4)];
    let mut stage = seeder(&giver);
    for friend in &friends {
        stage.join(friend, Have::default());
        let receipt = signed(&stage, friend.id(), &giver, 1 << 40);
        show(&mut stage, friend, vec![receipt]);
    }
    let friends: Vec<&Puppet> = friends.iter().collect();
    let shares = shares(&mut Takers::new(stage, &friends));
    assert!(shares[0] > 1.3, "{shares:?}");
    assert!(shares[1] < 1.1 && shares[2] < 1.1, "{shares:?}");
}

/// What it brings to us: nothing, for all that others say.
#[test]
fn our_own_experience_has_the_last_word() {
    let giver = Puppet::new(1);
    let (liar, plain) = (Puppet::new(2), Puppet::new(3));
    let mut stage = Stage::new(Film::new(FILM as usize), Role::Viewer);
    // The liar is asked first, owes, and brings nothing.
    stage.join(&liar, pieces(PIECES));
    stage.wait(4 * SECOND);
    let outputs = stage.join(&giver, pieces(PIECES));
    give_all(&mut stage, &giver, outputs);
    for _ in 0..8 {
        let outputs = stage.wait(SECOND);
        give_all(&mut stage, &giver, outputs);
    }
    assert_eq!(stage.swarm.stats().completeness_permille, 1000);
    stage.join(&plain, Have::default());
    let receipt = signed(&stage, liar.id(), &giver, 64 << 20);
    assert_eq!(
        dropped(&show(&mut stage, &liar, vec![receipt]), &liar),
        None
    );
    let mut takers = Takers::new(stage, &[&liar, &plain]);
    takers.run(20);
    let shares = shares(&mut takers);
    assert!(shares[0] < 0.2, "{shares:?}");
}

#[test]
fn who_pauses_gets_a_start_and_then_what_is_left() {
    let giver = Puppet::new(1);
    let (rider, plain) = (Puppet::new(2), Puppet::new(3));
    let mut stage = seeder(&giver);
    stage.join(&plain, Have::default());
    stage.join(&rider, Have::default());
    stage.say(&rider, &Message::Grant(0));
    let mut takers = Takers::new(stage, &[&rider, &plain]);
    let start = takers.run(6);
    assert!(start[0] > 1_000_000, "a newcomer as any: {start:?}");
    takers.run(10);
    let got = takers.run(20);
    assert!(got[0] < got[1] / 10, "{got:?}");
    // Nobody else wants anything: all of it is left.
    let outputs = takers.stage.input(Input::Disconnected { conn: plain.conn });
    takers.line.retain(|(at, _)| *at == 0);
    takers.carry(outputs);
    let got = takers.run(10);
    assert!(got[0] > 8_000_000, "{got:?}");
}

#[test]
fn who_refuses_to_sign_gets_what_is_left() {
    let giver = Puppet::new(1);
    let (refuser, plain) = (Puppet::new(2), Puppet::new(3));
    let mut stage = seeder(&giver);
    stage.join(&plain, Have::default());
    stage.join(&refuser, Have::default());
    let mut takers = Takers::new(stage, &[&refuser, &plain]);
    takers.silent = vec![0];
    let before = takers.run(20);
    assert!(before[0] > before[1] / 2, "{before:?}");
    takers.run(50);
    let got = takers.run(20);
    assert!(got[0] < got[1] / 10, "{got:?}");
    takers.silent = Vec::new();
    takers.run(15);
    let shares = shares(&mut takers);
    assert!(shares[0] > 0.9, "it signs again: {shares:?}");
}

#[test]
fn a_newcomer_is_served_among_givers() {
    let giver = Puppet::new(1);
    let (a, b, newcomer) = (Puppet::new(2), Puppet::new(3), Puppet::new(4));
    let mut stage = seeder(&giver);
    for puppet in [&a, &b, &newcomer] {
        stage.join(puppet, Have::default());
    }
    for puppet in [&a, &b] {
        let receipt = signed(&stage, puppet.id(), &giver, FILM / 2);
        show(&mut stage, puppet, vec![receipt]);
    }
    let shares = shares(&mut Takers::new(stage, &[&a, &b, &newcomer]));
    // A turn in five is 0.6; between equals it is 0.5 to 1.5, by how turns and messages fall together.
    assert!(shares[2] > 0.3, "{shares:?}");
}

#[test]
fn a_receipt_that_is_not_its_receivers_costs_the_connection() {
    let giver = Puppet::new(1);
    type Forged = fn(&Stage, &Puppet, &Puppet) -> Receipt;
    let cases: [(&str, Forged); 5] = [
        ("signed by the one who shows it", |stage, giver, liar| {
            Receipt {
                receiver: giver.id().0,
                ..signed(stage, liar.id(), liar, 1000)
            }
        }),
        ("more than was signed", |stage, giver, liar| Receipt {
            bytes: 2000,
            ..signed(stage, liar.id(), giver, 1000)
        }),
        ("for another giver", |stage, giver, _| {
            signed(stage, Puppet::new(7).id(), giver, 1000)
        }),
        ("of another stream", |_, giver, liar| {
            let swarm = baton_content::SwarmId([9; 32]);
            let statement = receipt_statement(&swarm, &liar.id(), &giver.id(), 1000);
            Receipt {
                receiver: giver.id().0,
                bytes: 1000,
                signature: Signature::new(&giver.key.sign(&statement)),
            }
        }),
        ("its own for us, of another giver", |stage, giver, liar| {
            signed(stage, giver.id(), liar, 1000)
        }),
    ];
    for (what, forged) in cases {
        let liar = Puppet::new(2);
        let mut stage = seeder(&giver);
        stage.join(&liar, Have::default());
        let receipt = forged(&stage, &giver, &liar);
        let outputs = show(&mut stage, &liar, vec![receipt]);
        assert_eq!(dropped(&outputs, &liar), Some(Reason::BadReceipt), "{what}");
        assert_eq!(refused(&outputs), vec![liar.id()], "{what}");
        assert_eq!(dropped(&outputs, &giver), None, "{what}");
        assert_eq!(stage.swarm.stats().confirmed_by, 0, "{what}");
    }
}

/// Whoever passes on what others signed must not be held to blame by those who did not meet them.
#[test]
fn nothing_is_checked_of_strangers_and_later_kinds_are_skipped() {
    let (giver, honest) = (Puppet::new(1), Puppet::new(2));
    let mut stage = seeder(&giver);
    stage.join(&honest, Have::default());
    let unknown = Receipt {
        receiver: Puppet::new(9).id().0,
        bytes: 5000,
        signature: Signature::new(&[1; 64]),
    };
    assert_eq!(
        dropped(&show(&mut stage, &honest, vec![unknown]), &honest),
        None
    );
    let later = Bytes::from_static(&[1, 20, 1, 2, 3]);
    let outputs = stage.raw(&honest, Channel::Control, later);
    assert_eq!(dropped(&outputs, &honest), None);
}

#[test]
fn a_flood_of_receipts_costs_a_bounded_number_of_checks_and_the_connection() {
    let (giver, liar) = (Puppet::new(1), Puppet::new(2));
    let mut stage = seeder(&giver);
    stage.join(&liar, Have::default());
    // Each is good, and news: nothing is dearer.
    let mut taken = 0;
    let reason = loop {
        let receipt = signed(&stage, liar.id(), &giver, 1000 + taken);
        let outputs = show(&mut stage, &liar, vec![receipt]);
        if let Some(reason) = dropped(&outputs, &liar) {
            break reason;
        }
        taken += 1;
        assert!(taken < 100, "no end of it");
    };
    assert_eq!(reason, Reason::Flood(Flood::Receipts));
    assert_eq!(taken, 32);
    // All at once: none.
    let liar = Puppet::new(3);
    stage.join(&liar, Have::default());
    let many = (1..=33).map(|n| signed(&stage, liar.id(), &giver, n));
    let outputs = {
        let many = many.collect();
        show(&mut stage, &liar, many)
    };
    assert_eq!(
        dropped(&outputs, &liar),
        Some(Reason::Flood(Flood::Receipts))
    );
}

#[test]
fn generosity_confirms_no_more_than_was_given() {
    let (giver, taker) = (Puppet::new(1), Puppet::new(2));
    let mut stage = seeder(&giver);
    stage.join(&taker, Have::default());
    let receipt = signed(&stage, me(), &taker, u64::MAX);
    assert_eq!(
        dropped(&show(&mut stage, &taker, vec![receipt]), &taker),
        None
    );
    assert_eq!(stage.swarm.stats().confirmed_bytes, 0);
    let mut takers = Takers::new(stage, &[&taker]);
    takers.silent = vec![0];
    takers.run(2);
    let stats = takers.stage.swarm.stats();
    assert_eq!(stats.confirmed_by, 1);
    assert!(stats.confirmed_bytes > 0 && stats.confirmed_bytes <= takers.taken[0]);
}

#[test]
fn who_comes_again_is_remembered() {
    let giver = Puppet::new(1);
    let mut stage = seeder(&giver);
    stage.wait(6 * SECOND);
    stage.say(&giver, &Message::Goodbye);
    let (known, plain) = (Puppet::new(2), Puppet::new(3));
    stage.join(&known, Have::default());
    stage.join(&plain, Have::default());
    // Of whoever went, what it gave still counts.
    let receipt = signed(&stage, known.id(), &giver, 64 << 20);
    show(&mut stage, &known, vec![receipt]);
    let shares = shares(&mut Takers::new(stage, &[&known, &plain]));
    assert!(shares[0] > 1.2, "{shares:?}");
}

/// In virtual time: three who pass on and three who do not, and uplinks that are just enough for the former.
#[test]
fn who_gives_has_the_film_sooner_than_who_only_takes() {
    let mut world = World::new(Film::new(16 << 20), 60);
    let publisher = world.publisher(Link::new(1_000_000, 6_250_000, 7_500));
    let home = Link::new(250_000, 6_250_000, 7_500);
    let givers: Vec<usize> = (0..3).map(|_| world.viewer(home)).collect();
    let paused = Config {
        upload_paused: true,
        ..Config::default()
    };
    let riders: Vec<usize> = (0..3)
        .map(|_| world.viewer_with(home, paused.clone(), &[]))
        .collect();
    for &node in givers.iter().chain(&riders) {
        world.introduce(node, &[publisher]);
    }
    let done = |world: &World| givers.iter().all(|node| world.has_everything(*node));
    assert!(world.run_until(120 * SECOND, done));
    let got = |rider: &usize| world.stats(*rider).received_bytes;
    let got: Vec<u64> = riders.iter().map(got).collect();
    assert!(got.iter().all(|got| *got < 14 << 20), "{got:?}");
    world.run_for(10 * SECOND);
    let stats = world.stats(publisher);
    assert!(stats.confirmed_by == 6 && stats.confirmed_bytes > stats.sent_bytes / 2);
    // And in the end everybody has it.
    assert!(world.run_until(300 * SECOND, World::all_complete));
}
