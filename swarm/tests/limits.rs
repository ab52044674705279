//! What one peer can make another one do, remember or read: each has a limit.

mod common;

use baton_content::{Lane, Mask, PeerKey, PieceId, SignedHead};
use baton_swarm::wire::{self, Ack, Have, Message, Part, Range, Want};
use baton_swarm::{
    Channel, Config, ConnId, Demand, Event, Flood, Input, Instant, Output, Reason, Role, Stream,
    Swarm,
};
use bytes::Bytes;
use common::film::Film;
use common::puppet::{Puppet, Stage, dropped, heard};

fn piece(index: u32) -> PieceId {
    PieceId::new(Lane(1), index)
}

fn range(lane: u16, first: u32, count: u32) -> Range {
    Range { lane, first, count }
}

fn pieces(count: u32) -> Have {
    Have {
        ranges: vec![range(0, 0, 1), range(1, 0, count)],
        parts: vec![],
    }
}

fn want(index: u32, mask: u64) -> Want {
    Want {
        lane: 1,
        index,
        mask,
        flags: 2,
        root8: None,
    }
}

fn wanted(outputs: &[Output], puppet: &Puppet) -> Vec<Want> {
    let of = |message| match message {
        Message::Request(wants) => wants,
        _ => Vec::new(),
    };
    heard(outputs, puppet).into_iter().flat_map(of).collect()
}

fn seals(outputs: &[Output]) -> usize {
    let seal = |output: &&Output| matches!(output, Output::Seal { .. });
    outputs.iter().filter(seal).count()
}

/// A film whose head names more pieces than there are.
fn long(mut film: Film, count: u32) -> Film {
    let mut head = film.head.head().clone();
    head.lanes[1].pieces = count;
    film.head = SignedHead::sign(head, &film.publisher);
    film
}

/// The manifest comes, as its holder would send it.
fn give_manifest(stage: &mut Stage, puppet: &Puppet) {
    let manifest = stage.film.sealed(PieceId::new(Lane(0), 0)).clone();
    let header = manifest.header().bytes().to_vec();
    stage.say(puppet, &Message::Header(header));
    let blocks = manifest.blocks();
    let blocks = blocks.map(|block| (block.block().0, block.bytes().clone()));
    let message = wire::encode_blocks(manifest.header().id(), 0, blocks);
    stage.raw(puppet, Channel::Data, message);
}

/// The stage checks after each input that what waits is bounded, and that each block that waits counts as a whole one.
#[test]
fn short_blocks_that_wait_for_their_header_are_few_and_each_waits_once() {
    let mut stage = Stage::new(Film::new(8 << 20), Role::Viewer);
    let puppet = Puppet::new(1);
    stage.connect(&puppet);
    let mut hello = stage.good_hello(&puppet, pieces(8));
    hello.grant = 512;
    stage.say(&puppet, &Message::Hello(Box::new(hello)));
    stage.say(&puppet, &Message::StartSet(vec![]));
    let demand = |index| Demand {
        piece: piece(index),
        mask: Mask(u64::MAX),
        deadline: Instant(0),
    };
    stage.input(Input::Demanded((0..8).map(demand).collect()));
    let said = std::mem::take(&mut stage.said);
    let short = |block| std::iter::once((block, Bytes::from_static(b"x")));
    let wants = wanted(&said, &puppet);
    for want in wants.iter().filter(|want| want.lane == 1) {
        for block in Mask(want.mask).iter() {
            for _ in 0..3 {
                let message = wire::encode_blocks(piece(want.index), 0, short(block.0));
                stage.raw(&puppet, Channel::Data, message);
            }
        }
    }
    // Its header shows what they are.
    let first = wants.iter().find(|want| want.lane == 1).expect("asked for");
    let header = stage.film.sealed(piece(first.index)).header();
    let header = header.bytes().to_vec();
    let outputs = stage.say(&puppet, &Message::Header(header));
    let end = dropped(&outputs, &puppet);
    assert!(matches!(end, Some(Reason::Poison(1, ..))), "{end:?}");
}

#[test]
fn to_cancel_makes_no_room_for_more_seals() {
    let mut stage = Stage::new(long(Film::new(8 << 20), 40), Role::Publisher);
    let puppet = Puppet::new(1);
    stage.join(&puppet, Have::default());
    for index in 0..20 {
        let part = Part {
            lane: 1,
            index,
            mask: u64::MAX,
        };
        stage.say(&puppet, &Message::Request(vec![want(index, 1)]));
        stage.say(&puppet, &Message::Cancel(vec![part]));
    }
    assert_eq!(seals(&stage.said), 1 + 2, "lane 0, and two of its own");
    // Others have theirs, up to what is sealed for all.
    for n in 2..=16 {
        let other = Puppet::new(n);
        stage.join(&other, Have::default());
        let wants = [u32::from(n) * 2, u32::from(n) * 2 + 1].map(|index| want(index, 1));
        stage.say(&other, &Message::Request(wants.to_vec()));
    }
    assert_eq!(seals(&stage.said), 1 + 16);
    // And go on when some are done.
    let before = seals(&stage.said);
    for index in 4..8 {
        let header = stage.film.sealed(piece(index)).header().clone();
        stage.input(Input::Sealed { header });
    }
    assert!(seals(&stage.said) > before);
}

/// A request that becomes urgent crosses its blocks: in a film that was always late each thirtieth came twice.
#[test]
fn what_is_on_its_way_is_not_sent_again() {
    let mut stage = Stage::new(Film::new(2 << 20), Role::Publisher);
    let header = stage.film.sealed(piece(0)).header().clone();
    stage.input(Input::Sealed { header });
    let puppet = Puppet::new(1);
    stage.join(&puppet, Have::default());
    stage.input(Input::Writable {
        conn: puppet.conn,
        credit: u64::MAX,
    });
    let ask = |stage: &mut Stage, flags| {
        let want = Want {
            flags,
            ..want(0, 0b1111)
        };
        let outputs = stage.say(&puppet, &Message::Request(vec![want]));
        let (mut blocks, mut bytes) = (0, 0);
        for (_, message) in stage.read_and_sent(outputs) {
            bytes += message.len() as u64;
            if let Ok(Message::Blocks(message)) = Message::decode(&message, true) {
                blocks += message.mask.0.count_ones();
            }
        }
        (blocks, bytes)
    };
    let (blocks, bytes) = ask(&mut stage, 0);
    assert_eq!(blocks, 4);
    assert_eq!(ask(&mut stage, 1).0, 0, "they are on their way");
    let part = Part {
        lane: 1,
        index: 0,
        mask: 0b11,
    };
    stage.say(&puppet, &Message::DontHave(vec![part]));
    assert_eq!(ask(&mut stage, 1).0, 2, "two were lost");
    // Who has got them and asks again gets them again.
    let bytes = bytes * 2;
    let ack = Ack {
        bytes,
        echo_us: 0,
        hold_us: 0,
    };
    stage.say(&puppet, &Message::Ack(ack));
    assert_eq!(ask(&mut stage, 1).0, 4);
}

#[test]
fn to_request_and_cancel_does_not_buy_any_number_of_reads() {
    let mut stage = Stage::new(Film::new(2 << 20), Role::Publisher);
    let header = stage.film.sealed(piece(0)).header().clone();
    stage.input(Input::Sealed { header });
    let puppet = Puppet::new(1);
    stage.join(&puppet, Have::default());
    let part = Part {
        lane: 1,
        index: 0,
        mask: u64::MAX,
    };
    let mut reads = 0;
    let mut end = None;
    for _ in 0..2_000 {
        let mut outputs = stage.say(&puppet, &Message::Request(vec![want(0, u64::MAX)]));
        outputs.extend(stage.say(&puppet, &Message::Cancel(vec![part])));
        let read = |output: &Output| match output {
            Output::Load { mask, .. } => mask.0.count_ones(),
            _ => 0,
        };
        reads += outputs.iter().map(read).sum::<u32>();
        end = end.or(dropped(&outputs, &puppet));
    }
    assert_eq!(end, Some(Reason::Flood(Flood::Requests)));
    assert!(reads < 9_000, "{reads}");
}

#[test]
fn a_talkative_peer_does_not_make_us_look_as_often() {
    let mut stage = Stage::new(long(Film::new(1 << 20), 1_000), Role::Viewer);
    let puppet = Puppet::new(1);
    stage.connect(&puppet);
    let mut hello = stage.good_hello(&puppet, pieces(0));
    hello.grant = 512;
    stage.say(&puppet, &Message::Hello(Box::new(hello)));
    stage.say(&puppet, &Message::StartSet(vec![]));
    give_manifest(&mut stage, &puppet);
    stage.input(Input::Demanded(vec![]));
    stage.said.clear();
    let blocks = |wants: &[Want]| -> u32 { wants.iter().map(|want| want.mask.count_ones()).sum() };
    let mut answered = 0;
    for index in 0..200 {
        let part = Part {
            lane: 1,
            index,
            mask: 1,
        };
        let have = Have {
            ranges: vec![],
            parts: vec![part],
        };
        answered +=
            usize::from(!wanted(&stage.say(&puppet, &Message::Have(have)), &puppet).is_empty());
    }
    assert!(answered <= 64, "{answered} looks in 200 us");
    for _ in 0..20 {
        stage.wait(2_000);
    }
    let asked = blocks(&wanted(&stage.said, &puppet));
    assert!(asked >= 48, "what was put off is done: {asked}");
}

#[test]
fn old_heads_said_over_and_over_are_refused() {
    let (film, next) = Film::new(1 << 20).with_second_manifest();
    let old = film.head.bytes().to_vec();
    let mut stage = Stage::new(film, Role::Viewer);
    let puppet = Puppet::new(1);
    stage.join(&puppet, pieces(1));
    stage.say(&puppet, &Message::Head(next.bytes().to_vec()));
    let mut say = || dropped(&stage.say(&puppet, &Message::Head(old.clone())), &puppet);
    assert_eq!(say(), None, "once is no flood");
    let times = (0..200).position(|_| say().is_some());
    assert!(
        times.is_some_and(|times| times < 90),
        "{times:?}: each costs a check"
    );
}

#[test]
fn neighbours_are_named_to_newcomers_at_once_and_to_others_every_five_seconds() {
    let mut stage = Stage::new(Film::new(1 << 20), Role::Viewer);
    let first = Puppet::new(1);
    stage.join(&first, Have::default());
    stage.wait(5_100_000);
    stage.said.clear();
    let said = |stage: &Stage, puppet: &Puppet| {
        let names = |message: &&Message| matches!(message, Message::Neighbours(_));
        heard(&stage.said, puppet).iter().filter(names).count()
    };
    for n in 2..=20 {
        let puppet = Puppet::new(n);
        stage.join(&puppet, Have::default());
        stage.wait(250_000);
        assert_eq!(said(&stage, &puppet), 1, "a newcomer learns them at once");
    }
    let times = said(&stage, &first);
    assert!(times <= 2, "{times} times in 5 seconds");
    // In the end everybody knows of everybody; the connections live on.
    for _ in 0..3 {
        stage.wait(2_500_000);
        for n in 1..=20 {
            stage.say(&Puppet::new(n), &Message::Pong(0));
        }
    }
    let last = heard(&stage.said, &first)
        .into_iter()
        .rev()
        .find_map(|message| match message {
            Message::Neighbours(ids) => Some(ids.len()),
            _ => None,
        });
    assert_eq!(last, Some(20));
}

#[test]
fn a_neighbour_names_only_so_many_candidates() {
    let mut stage = Stage::new(Film::new(1 << 20), Role::Viewer);
    let liar = Puppet::new(1);
    stage.join(&liar, Have::default());
    let mut tried = std::collections::BTreeSet::new();
    let mut number = 0u32;
    for _ in 0..100 {
        let id = |n: u32| {
            let mut id = [7; 32];
            id[..4].copy_from_slice(&n.to_le_bytes());
            id
        };
        let ids = (0..32).map(|n| id(number + n)).collect();
        number += 32;
        let mut outputs = stage.say(&liar, &Message::Neighbours(ids));
        while let Some(output) = outputs.pop() {
            if let Output::Connect { peer } = output {
                tried.insert(peer);
                outputs.extend(stage.input(Input::ConnectFailed { peer }));
            }
        }
    }
    assert!(tried.len() <= 64, "{} attempts", tried.len());
}

#[test]
fn who_asked_beyond_the_end_of_a_piece_is_told_where_that_is() {
    let mut stage = Stage::new(Film::new((1 << 20) + 20_000), Role::Publisher);
    let puppet = Puppet::new(1);
    stage.join(&puppet, Have::default());
    // The last piece has two blocks.
    stage.say(&puppet, &Message::Request(vec![want(1, 1 << 40)]));
    let header = stage.film.sealed(piece(1)).header().clone();
    let outputs = stage.input(Input::Sealed {
        header: header.clone(),
    });
    let told = Message::Header(header.bytes().to_vec());
    assert!(heard(&outputs, &puppet).contains(&told));
}

/// It says that it is the publisher, and has half: it is asked like any other viewer.
#[test]
fn to_say_that_one_is_the_publisher_spares_nobody_who_has_not_everything() {
    let mut stage = Stage::new(Film::new(4 << 20), Role::Viewer);
    let (honest, liar) = (Puppet::new(1), Puppet::new(2));
    stage.join(&honest, pieces(2));
    give_manifest(&mut stage, &honest);
    stage.connect(&liar);
    let mut hello = stage.good_hello(&liar, pieces(2));
    hello.role = 0;
    stage.say(&liar, &Message::Hello(Box::new(hello)));
    stage.input(Input::Demanded(vec![]));
    for _ in 0..4 {
        stage.wait(100_000);
    }
    let asked = |puppet| {
        !wanted(&stage.said, puppet)
            .iter()
            .all(|want| want.lane == 0)
    };
    assert!(asked(&honest) && asked(&liar));
    assert_eq!(stage.swarm.stats().complete_peers, 0);
    assert_eq!(liar.conn, ConnId(2));
}

#[test]
fn a_manifest_lane_that_is_longer_than_any_is_given_up_with_its_stream() {
    let film = Film::new(1 << 20).with_long_manifest(34);
    let full = baton_content::manifest::MANIFEST_LANE_LEN_MAX / baton_content::PIECE_LEN;
    let mut stage = Stage::new(film, Role::Keeper);
    let puppet = Puppet::new(1);
    let have = Have {
        ranges: vec![range(0, 0, 34)],
        parts: vec![],
    };
    stage.join(&puppet, have);
    let mut ends = Vec::new();
    for index in 1..34 {
        let header = stage.film.sealed(PieceId::new(Lane(0), index)).header();
        let message = Message::Header(header.bytes().to_vec());
        let outputs = stage.say(&puppet, &message);
        let over = |output: &Output| matches!(output, Output::Event(Event::ManifestTooLong));
        ends.push((outputs.iter().any(over), dropped(&outputs, &puppet)));
    }
    let end = ends.remove(full);
    assert!(ends.iter().all(|end| *end == (false, None)), "{ends:?}");
    assert_eq!(end, (true, Some(Reason::ManifestTooLong)));
    let back = stage.connect(&Puppet::new(2));
    assert_eq!(
        dropped(&back, &Puppet::new(2)),
        Some(Reason::ManifestTooLong)
    );
}

#[test]
fn what_a_store_has_of_a_lane_that_is_too_long_ends_the_stream_too() {
    let film = Film::new(1 << 20).with_long_manifest(34);
    let have = film.piece_ids(0).into_iter().map(|piece| {
        let header = film.sealed(piece).header().clone();
        let mask = header.full_mask();
        (header, mask)
    });
    let mut swarm = Swarm::new(
        Stream {
            publisher: film.publisher.id(),
            swarm: film.swarm,
            head: Some(film.head.clone()),
        },
        have.collect(),
        Role::Keeper,
        Config::default(),
        PeerKey::from_seed([50; 32]),
        1,
        Instant(0),
        0,
    );
    let mut outputs = std::iter::from_fn(|| swarm.poll_output());
    let over = |output: Output| matches!(output, Output::Event(Event::ManifestTooLong));
    assert!(outputs.any(over));
}
