//! What the slow, the silent and the lying cost everybody else: each has a bound.

mod common;

use baton_content::{Lane, Mask, PieceId};
use baton_swarm::wire::{Ack, Have, Introduce, Message, Part, Refusal, Reject, Want};
use baton_swarm::{Channel, Config, Demand, Event, Flood, Input, Instant, Output, Reason, Role};
use bytes::Bytes;
use common::film::Film;
use common::puppet::{Puppet, Stage, dropped, heard, pieces};
use common::{Link, SECOND, World};

/// 20 Mbit/s up, 50 down, 30 ms round trip.
fn home() -> Link {
    Link::new(2_500_000, 6_250_000, 7_500)
}

fn piece(index: u32) -> PieceId {
    PieceId::new(Lane(1), index)
}

fn wanted(outputs: &[Output], puppet: &Puppet) -> Vec<Want> {
    let of = |message| match message {
        Message::Request(wants) => wants,
        _ => Vec::new(),
    };
    heard(outputs, puppet).into_iter().flat_map(of).collect()
}

fn demand(piece: PieceId, mask: u64, deadline_us: u64) -> Demand {
    Demand {
        piece,
        mask: Mask(mask),
        deadline: Instant(deadline_us),
    }
}

/// A viewer that has everything behind a poor uplink, and a publisher with a good one.
#[test]
fn a_slow_seeder_does_not_set_the_pace() {
    for (up, limit_s) in [(50_000, 12), (200_000, 12)] {
        let mut world = World::new(Film::new(12 << 20), 41);
        let publisher = world.publisher(home());
        let slow = world.viewer_with(
            Link::new(up, 1_000_000, 7_500),
            Config::default(),
            &(0..12).collect::<Vec<_>>(),
        );
        world.introduce(slow, &[publisher]);
        world.run_for(SECOND);
        let viewer = world.viewer(home());
        world.introduce(viewer, &[publisher, slow]);
        let end = world.now + 60 * SECOND;
        let came = world.now;
        assert!(world.run_until(end, World::all_complete));
        let took = world.now - came;
        println!(
            "{up} B/s beside 2.5 MB/s: all after {} ms, {:.2} copies",
            took / 1000,
            world.copies(publisher)
        );
        assert!(took < limit_s * SECOND, "{up}: {took}");
    }
}

#[test]
fn nobody_gets_a_relay_thrown_out_by_what_it_passes_on() {
    let mut world = World::new(Film::new(1 << 20), 42);
    let fast = Link::new(20_000_000, 20_000_000, 1_000);
    let relay = world.viewer(fast);
    let target = world.viewer(fast);
    let senders: Vec<usize> = (0..4).map(|_| world.viewer(fast)).collect();
    for &node in senders.iter().chain([&target]) {
        for &other in &senders {
            world.apart.insert((node.min(other), node.max(other)));
        }
        world.introduce(node, &[relay]);
    }
    world.run_for(SECOND);
    let to = world.nodes[target].id;
    for round in 0..30 {
        for &sender in &senders {
            let blob = Bytes::from(vec![round; 100]);
            world.input(sender, Input::Signal { to, blob });
        }
        world.run_for(10_000);
    }
    world.run_for(SECOND);
    let came = world.nodes[target].signals.len();
    assert!(
        (16..=40).contains(&came),
        "some come through, not all: {came}"
    );
    assert_eq!(
        world.stats(target).peers.len(),
        1,
        "the relay is still there"
    );
    let blamed = |(_, event): &(u64, Event)| matches!(event, Event::PeerRefused { .. });
    assert!(
        world
            .nodes
            .iter()
            .all(|node| !node.events.iter().any(blamed))
    );
}

#[test]
fn introductions_of_others_beyond_the_limit_are_dropped_and_the_senders_own_refused() {
    let mut stage = Stage::new(Film::new(2 << 20), Role::Viewer);
    let puppet = Puppet::new(1);
    stage.join(&puppet, pieces(2));
    let me = baton_content::PeerKey::from_seed([50; 32]).id();
    let introduce = |from: [u8; 32]| {
        Message::Introduce(Introduce {
            from,
            to: me.0,
            blob: vec![0; 100],
        })
    };
    let mut signals = 0;
    for n in 0..100 {
        let outputs = stage.say(&puppet, &introduce([n; 32]));
        assert_eq!(dropped(&outputs, &puppet), None);
        let signal = |output: &&Output| matches!(output, Output::Signal { .. });
        signals += outputs.iter().filter(signal).count();
    }
    assert_eq!(signals, 32, "the relay is exhausted");
    let end = dropped(&stage.say(&puppet, &introduce(puppet.id().0)), &puppet);
    assert_eq!(end, Some(Reason::Flood(Flood::Introductions)));
}

/// It takes what it can get, says something ever so often, and never acknowledges a byte.
#[test]
fn who_never_acknowledges_gets_little_and_keeps_nobody_waiting() {
    let film = || Film::new(8 << 20);
    let mut stage = Stage::new(film(), Role::Publisher);
    for index in 0..8 {
        let header = stage.film.sealed(piece(index)).header().clone();
        stage.input(Input::Sealed { header });
    }
    let takers: Vec<Puppet> = (1..=8).map(Puppet::new).collect();
    let want = |index| Want {
        lane: 1,
        index,
        mask: u64::MAX,
        flags: 2,
        root8: None,
    };
    for taker in &takers {
        stage.join(taker, Have::default());
        let credit = u64::MAX;
        stage.input(Input::Writable {
            conn: taker.conn,
            credit,
        });
        stage.say(
            taker,
            &Message::Request(vec![want(u32::from(taker.conn.0 as u8) % 8)]),
        );
    }
    let mut sent = 0;
    let mut answered = 0;
    let mut serve = |stage: &mut Stage, outputs: Vec<Output>| {
        for (conn, bytes) in stage.read_and_sent(outputs) {
            sent += bytes.len();
            answered += usize::from(conn.0 == 20);
        }
    };
    let said = std::mem::take(&mut stage.said);
    serve(&mut stage, said);
    for n in 0..40 {
        for taker in &takers {
            let outputs = stage.say(taker, &Message::Ping(n));
            serve(&mut stage, outputs);
        }
        let outputs = stage.wait(50_000);
        serve(&mut stage, outputs);
    }
    // Two seconds later: an honest visitor comes.
    let honest = Puppet {
        conn: baton_swarm::ConnId(20),
        ..Puppet::new(20)
    };
    let mut outputs = stage.join(&honest, Have::default());
    outputs.extend(stage.say(&honest, &Message::Request(vec![want(0)])));
    serve(&mut stage, outputs);
    for _ in 0..4 {
        let outputs = stage.wait(5_000);
        serve(&mut stage, outputs);
    }
    assert!(
        answered >= 4,
        "{answered} messages: not only the one that starved peers get"
    );
    assert!(sent < 9 * 400 * 1024, "{sent} bytes for nothing");
    // And in the end they go, however much they talk.
    let mut gone = std::collections::BTreeSet::new();
    for n in 0..250 {
        for taker in &takers {
            let mut outputs = stage.say(taker, &Message::Ping(n));
            outputs.extend(stage.wait(13_000));
            for output in outputs {
                if let Output::Disconnect { conn, reason } = output {
                    assert_eq!(reason, Reason::Silent);
                    gone.insert(conn);
                }
            }
        }
    }
    assert!(
        takers.iter().all(|taker| gone.contains(&taker.conn)),
        "{gone:?}"
    );
}

/// The time that a peer says it got a block message at goes into the round trip, and that into how much is sent ahead.
#[test]
fn a_faked_round_trip_does_not_fill_the_pipe() {
    let mut stage = Stage::new(Film::new(64 << 20), Role::Publisher);
    for index in 0..64 {
        let header = stage.film.sealed(piece(index)).header().clone();
        stage.input(Input::Sealed { header });
    }
    let liar = Puppet::new(1);
    stage.join(&liar, Have::default());
    stage.input(Input::Writable {
        conn: liar.conn,
        credit: u64::MAX,
    });
    let (mut sent, mut acked) = (0u64, 0u64);
    let mut most = 0;
    for round in 0..400u32 {
        let index = round % 60;
        let mut todo = stage.say(
            &liar,
            &Message::Request(vec![Want {
                lane: 1,
                index,
                mask: u64::MAX,
                flags: 2,
                root8: None,
            }]),
        );
        todo.extend(stage.wait(20_000));
        let messages = stage.read_and_sent(todo).into_iter();
        sent += messages.map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        most = most.max(sent - acked);
        // It is told a little of what it got, as of 19 seconds ago.
        acked = sent.min(acked + 20_000);
        let echo_us = (stage.now as u32).wrapping_sub(19_000_000);
        let ack = Ack {
            echo_us,
            hold_us: 0,
            bytes: acked,
        };
        stage.say(&liar, &Message::Ack(ack));
    }
    println!("{most} bytes under way at 1 MB/s");
    assert!(most < 3 << 20, "{most}");
}

#[test]
fn what_nobody_can_give_does_not_stop_the_background() {
    let mut world = World::new(Film::new(8 << 20), 43);
    let half = world.viewer_with(home(), Config::default(), &[0, 1, 2, 3]);
    let viewer = world.viewer(home());
    world.introduce(viewer, &[half]);
    // Its player waits at a place that nobody here has.
    world.run_for(200_000);
    world.input(viewer, Input::Demanded(vec![demand(piece(6), 0xff, 0)]));
    world.run_for(8 * SECOND);
    let permille = world.stats(viewer).completeness_permille;
    assert!(
        permille > 400,
        "{permille}: what is here comes all the same"
    );
}

#[test]
fn empty_start_sets_do_not_keep_a_newcomer_waiting() {
    let mut stage = Stage::new(Film::new(2 << 20), Role::Viewer);
    let liars = [Puppet::new(1), Puppet::new(2)];
    for puppet in &liars {
        stage.connect(puppet);
        let mut hello = stage.good_hello(puppet, pieces(2));
        hello.grant = 64;
        stage.say(puppet, &Message::Hello(Box::new(hello)));
    }
    let mut asked = 0;
    for _ in 0..20 {
        for puppet in &liars {
            stage.wait(50_000);
            stage.say(puppet, &Message::StartSet(vec![]));
        }
    }
    for puppet in &liars {
        let asks = |message: &Message| {
            matches!(message, Message::WantStart)
                || matches!(message, Message::Hello(hello) if hello.start_set)
        };
        let asked_of_it = heard(&stage.said, puppet)
            .iter()
            .filter(|message| asks(message))
            .count();
        assert!(asked_of_it <= 1, "each is asked once");
        asked += asked_of_it;
        let wants = wanted(&stage.said, puppet);
        assert!(!wants.is_empty(), "and then the film is asked for");
    }
    assert_eq!(asked, 2);
}

/// Whoever was asked first has nothing: the next one is asked with WantStart, and its answer is taken for requested.
#[test]
fn the_start_set_comes_from_whoever_has_it() {
    let mut stage = Stage::new(Film::new(2 << 20), Role::Viewer);
    let (empty, full) = (Puppet::new(1), Puppet::new(2));
    stage.connect(&empty);
    let mut hello = stage.good_hello(&empty, Have::default());
    hello.head = None;
    stage.say(&empty, &Message::Hello(Box::new(hello)));
    stage.connect(&full);
    let hello = stage.good_hello(&full, pieces(2));
    let outputs = stage.say(&full, &Message::Hello(Box::new(hello)));
    assert!(
        !heard(&outputs, &full).contains(&Message::WantStart),
        "one at a time"
    );
    let outputs = stage.say(&empty, &Message::StartSet(vec![]));
    assert!(heard(&outputs, &full).contains(&Message::WantStart));
    let part = Part {
        lane: 1,
        index: 0,
        mask: 0b111,
    };
    stage.say(&full, &Message::StartSet(vec![part]));
    let header = stage.film.sealed(piece(0)).header().bytes().to_vec();
    stage.say(&full, &Message::Header(header));
    let sealed = stage.film.sealed(piece(0));
    let parts = Mask(0b111)
        .iter()
        .map(|block| (block.0, sealed.block(block).expect("there").bytes().clone()));
    let message = baton_swarm::wire::encode_blocks(piece(0), 0, parts);
    let outputs = stage.raw(&full, Channel::Data, message);
    let delivered = outputs
        .iter()
        .filter(|output| matches!(output, Output::Deliver(_)))
        .count();
    assert_eq!(delivered, 3);
    // And whoever is asked with WantStart answers.
    let mut publisher = Stage::new(Film::new(2 << 20), Role::Publisher);
    publisher.input(Input::StartSet(publisher.film.start_set()));
    let visitor = Puppet::new(3);
    publisher.join(&visitor, Have::default());
    let outputs = publisher.say(&visitor, &Message::WantStart);
    let answered =
        |message: &Message| matches!(message, Message::StartSet(parts) if parts.len() == 2);
    assert!(
        heard(&outputs, &visitor).iter().any(answered),
        "{outputs:?}"
    );
}

#[test]
fn two_demands_are_fetched_in_the_order_of_their_deadlines() {
    let mut stage = Stage::new(Film::new(4 << 20), Role::Viewer);
    let puppet = Puppet::new(1);
    stage.join(&puppet, pieces(4));
    let far = |seconds: u64| 2_000 + seconds * SECOND;
    let outputs = stage.input(Input::Demanded(vec![
        demand(piece(3), 0xf, far(9)),
        demand(piece(2), 0xf, far(6)),
        demand(piece(1), 0xf, 0),
    ]));
    let order: Vec<u32> = wanted(&outputs, &puppet)
        .iter()
        .filter(|want| want.lane == 1)
        .map(|want| want.index)
        .collect();
    assert_eq!(order[0], 1, "{order:?}");
    // Once the urgent ones are here, the others follow, nearest first.
    let header = stage.film.sealed(piece(1)).header().bytes().to_vec();
    stage.say(&puppet, &Message::Header(header));
    let sealed = stage.film.sealed(piece(1)).clone();
    let mut later = order;
    for block in 0..4 {
        let bytes = sealed
            .block(baton_content::BlockIndex(block))
            .expect("there")
            .bytes()
            .clone();
        let message =
            baton_swarm::wire::encode_blocks(piece(1), 0, std::iter::once((block, bytes)));
        later.extend(
            wanted(&stage.raw(&puppet, Channel::Data, message), &puppet)
                .iter()
                .map(|want| want.index),
        );
    }
    for _ in 0..10 {
        later.extend(
            wanted(&stage.wait(300_000), &puppet)
                .iter()
                .map(|want| want.index),
        );
    }
    let place = |index| later.iter().position(|&at| at == index).expect("asked for");
    assert!(place(1) < place(2) && place(2) < place(3), "{later:?}");
}

/// A piece that its publisher cannot seal is asked for again, less and less often, however urgent it is; others go on.
#[test]
fn a_refused_block_is_asked_for_again_with_longer_and_longer_pauses() {
    let mut stage = Stage::new(Film::new(4 << 20), Role::Viewer);
    let puppet = Puppet::new(1);
    stage.join(&puppet, pieces(4));
    let manifest = stage.film.sealed(PieceId::new(Lane(0), 0)).clone();
    stage.say(
        &puppet,
        &Message::Header(manifest.header().bytes().to_vec()),
    );
    let blocks = manifest
        .blocks()
        .map(|block| (block.block().0, block.bytes().clone()));
    let message = baton_swarm::wire::encode_blocks(manifest.header().id(), 0, blocks);
    stage.raw(&puppet, Channel::Data, message);
    let mut asked = 0;
    let mut others = 0;
    let mut outputs = stage.input(Input::Demanded(vec![demand(piece(2), 0xf, 0)]));
    for _ in 0..3_000 {
        let wants = wanted(&outputs, &puppet);
        outputs = stage.wait(10_000);
        for want in wants {
            if want.lane == 1 && want.index == 2 {
                asked += 1;
                let reject = Reject {
                    piece: piece(2),
                    mask: Mask(want.mask),
                    refusal: Refusal::SealFailed,
                };
                outputs.extend(stage.say(&puppet, &Message::Reject(reject)));
            } else if want.lane == 1 {
                others += 1;
            }
        }
        outputs.extend(stage.say(&puppet, &Message::Grant(64)));
    }
    assert!((3..=8).contains(&asked), "{asked} times in half a minute");
    assert!(others > 0, "the background goes on");
}

#[test]
fn a_publisher_that_cannot_seal_tells_whoever_waits_for_the_piece() {
    let mut stage = Stage::new(Film::new(4 << 20), Role::Publisher);
    let puppet = Puppet::new(1);
    stage.join(&puppet, Have::default());
    let want = Want {
        lane: 1,
        index: 3,
        mask: 0b11,
        flags: 0,
        root8: None,
    };
    let outputs = stage.say(&puppet, &Message::Request(vec![want]));
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::Seal { piece: at } if *at == piece(3)))
    );
    let outputs = stage.input(Input::SealFailed { piece: piece(3) });
    let told = Reject {
        piece: piece(3),
        mask: Mask(0b11),
        refusal: Refusal::SealFailed,
    };
    assert!(heard(&outputs, &puppet).contains(&Message::Reject(told)));
    assert!(outputs.iter().any(
        |output| matches!(output, Output::Event(Event::SealFailed { piece: at }) if *at == piece(3))
    ));
}
