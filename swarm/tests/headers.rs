//! Headers that only storage has: told, waited for, fetched again; and that nobody buys many loads.

mod common;

use baton_content::{
    Header, Lane, Mask, PieceFlags, PieceId, PieceIndex, PieceMeta, SignedHead, seal,
};
use baton_swarm::wire::{self, FLAG_HEADER, Have, Message, Refusal, Want};
use baton_swarm::{Channel, Config, Demand, Flood, Input, Instant, Output, Reason, Role};
use common::film::Film;
use common::puppet::{Puppet, Stage, dropped, heard};
use common::{Link, SECOND, World};

fn piece(index: u32) -> PieceId {
    PieceId::new(Lane(1), index)
}

fn want(index: u32, mask: u64) -> Want {
    Want {
        lane: 1,
        index,
        mask,
        flags: 0,
        root8: None,
    }
}

/// A viewer that has these pieces, whose headers are only in its storage.
fn holder(film: Film, count: u32) -> Stage {
    let mut stage = Stage::new(film, Role::Viewer);
    let head = stage.film.head.clone();
    stage.input(Input::Head(head));
    for index in 0..count {
        let header = stage.film.sealed(piece(index)).header().clone();
        let mask = header.full_mask();
        stage.input(Input::Found { header, mask });
        let piece = piece(index);
        stage.input(Input::HeaderKept { piece });
    }
    stage
}

fn loads(outputs: &[Output]) -> Vec<PieceId> {
    let of = |output: &Output| match output {
        Output::LoadHeader { piece } => Some(*piece),
        _ => None,
    };
    outputs.iter().filter_map(of).collect()
}

fn loaded(stage: &mut Stage, piece: PieceId) -> Vec<Output> {
    let header = stage.film.sealed(piece).header().clone();
    stage.input(Input::HeaderLoaded { header })
}

fn wants(outputs: &[Output], puppet: &Puppet) -> Vec<Want> {
    let of = |message| match message {
        Message::Request(wants) => wants,
        _ => Vec::new(),
    };
    heard(outputs, puppet).into_iter().flat_map(of).collect()
}

/// All of the film.
fn all() -> Have {
    Have {
        ranges: vec![wire::Range {
            lane: 1,
            first: 0,
            count: 4,
        }],
        parts: vec![],
    }
}

#[test]
fn a_refusal_waits_for_the_header_that_goes_before_it() {
    let mut stage = holder(Film::new(4 << 20), 2);
    let puppet = Puppet::new(1);
    stage.join(&puppet, Have::default());
    stage.input(Input::Budget {
        upload_bytes_per_second: None,
        paused: true,
    });
    let outputs = stage.say(&puppet, &Message::Request(vec![want(1, 3)]));
    assert_eq!(loads(&outputs), [piece(1)]);
    assert_eq!(heard(&outputs, &puppet), []);
    let again = stage.say(&puppet, &Message::Request(vec![want(1, 4)]));
    assert_eq!(loads(&again), [], "one load is under way");
    let told = heard(&loaded(&mut stage, piece(1)), &puppet);
    let header = stage.film.sealed(piece(1)).header().bytes().to_vec();
    let [
        Message::Header(bytes),
        Message::Reject(a),
        Message::Reject(b),
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(*bytes, header);
    assert_eq!((a.mask, b.mask), (Mask(3), Mask(4)));
    assert_eq!((a.refusal, b.refusal), (Refusal::Choked, Refusal::Choked));
}

#[test]
fn a_header_that_is_lost_drops_the_piece_and_whoever_waited_is_refused() {
    let mut stage = holder(Film::new(4 << 20), 2);
    let (puppet, seeder) = (Puppet::new(1), Puppet::new(2));
    stage.join(&puppet, Have::default());
    stage.input(Input::Budget {
        upload_bytes_per_second: None,
        paused: true,
    });
    stage.say(&puppet, &Message::Request(vec![want(1, 3)]));
    let piece = piece(1);
    let outputs = stage.input(Input::HeaderFailed { piece });
    let told = heard(&outputs, &puppet);
    let refused = |message: &Message| matches!(message, Message::Reject(_));
    let lost = |message: &Message| matches!(message, Message::DontHave(_));
    assert!(
        told.iter().any(refused) && told.iter().any(lost),
        "{told:?}"
    );
    assert_eq!(stage.swarm.have(piece), Mask::EMPTY);
    // It is fetched again, with its header.
    stage.join(&seeder, all());
    stage.input(Input::Demanded(vec![Demand {
        piece,
        mask: Mask(u64::MAX),
        deadline: Instant(0),
    }]));
    stage.wait(100_000);
    let asked = wants(&stage.said, &seeder);
    let again = |want: &&Want| want.index == 1;
    let again: Vec<&Want> = asked.iter().filter(again).collect();
    assert!(again.len() > 1 && again.iter().all(|want| want.root8.is_none()));
    let flagged = again.iter().filter(|want| want.flags & FLAG_HEADER != 0);
    assert_eq!(flagged.count(), 1, "it is asked for once");
    // Who was refused without it is told it now.
    let header = stage.film.sealed(piece).header().bytes().to_vec();
    stage.say(&seeder, &Message::Header(header.clone()));
    let outputs = stage.say(&puppet, &Message::Request(vec![want(1, 3)]));
    let told = heard(&outputs, &puppet);
    assert!(told.contains(&Message::Header(header)), "{told:?}");
}

#[test]
fn blocks_that_come_before_their_header_is_loaded_are_kept_and_checked_then() {
    let mut stage = holder(Film::new(4 << 20), 2);
    let seeder = Puppet::new(2);
    stage.join(&seeder, all());
    let piece = piece(1);
    stage.input(Input::Evicted {
        piece,
        mask: Mask(u64::MAX),
    });
    stage.said.clear();
    stage.input(Input::Demanded(vec![Demand {
        piece,
        mask: Mask(1),
        deadline: Instant(0),
    }]));
    assert_eq!(loads(&stage.said), [piece], "asked once, with the request");
    let asked = wants(&stage.said, &seeder);
    assert!(
        asked
            .iter()
            .any(|want| want.index == 1 && want.mask & 1 != 0)
    );
    let block = stage.film.sealed(piece).block(baton_content::BlockIndex(0));
    let bytes = block.expect("it has one").bytes().clone();
    let message = wire::encode_blocks(piece, 0, std::iter::once((0, bytes)));
    let outputs = stage.raw(&seeder, Channel::Data, message);
    assert_eq!(dropped(&outputs, &seeder), None);
    assert_eq!(
        stage.swarm.have(piece),
        Mask::EMPTY,
        "nothing is taken unchecked"
    );
    loaded(&mut stage, piece);
    assert_eq!(stage.swarm.have(piece), Mask(1));
}

#[test]
fn a_peer_is_told_a_lost_header_again_and_pays_for_it() {
    let mut stage = holder(Film::new(4 << 20), 2);
    let puppet = Puppet::new(1);
    stage.join(&puppet, Have::default());
    let again = Want {
        flags: FLAG_HEADER,
        mask: 0,
        ..want(1, 0)
    };
    let mut told = 0;
    let mut end = None;
    for _ in 0..20_000 {
        let mut outputs = stage.say(&puppet, &Message::Request(vec![again]));
        for piece in loads(&outputs) {
            outputs.extend(loaded(&mut stage, piece));
        }
        let header = |message: &&Message| matches!(message, Message::Header(_));
        told += heard(&outputs, &puppet).iter().filter(header).count();
        end = dropped(&outputs, &puppet);
        if end.is_some() {
            break;
        }
    }
    assert!(matches!(end, Some(Reason::Flood(_))), "{end:?}");
    assert!((2..=1_100).contains(&told), "{told}");
}

#[test]
fn a_flood_of_requests_for_headers_buys_few_loads_at_a_time_and_each_once() {
    let count = 300;
    let mut film = Film::new(1 << 20);
    let mut head = film.head.head().clone();
    head.lanes[1].pieces = count;
    film.head = SignedHead::sign(head, &film.publisher);
    let mut stage = holder(film, 0);
    let headers: Vec<Header> = (0..count).map(|index| short(&stage.film, index)).collect();
    for header in headers.iter().cloned() {
        let (piece, mask) = (header.id(), header.full_mask());
        stage.input(Input::Found { header, mask });
        stage.input(Input::HeaderKept { piece });
    }
    let puppet = Puppet::new(1);
    stage.join(&puppet, Have::default());
    let other_root = |index| Want {
        root8: Some([9; 8]),
        ..want(index, 1)
    };
    let mut under_way: Vec<PieceId> = Vec::new();
    for index in 0..count {
        let outputs = stage.say(&puppet, &Message::Request(vec![other_root(index)]));
        under_way.extend(loads(&outputs));
    }
    assert_eq!(under_way.len(), 16);
    let mut loaded_in_all = 0;
    while let Some(piece) = under_way.pop() {
        loaded_in_all += 1;
        let header = headers[piece.index.0 as usize].clone();
        under_way.extend(loads(&stage.input(Input::HeaderLoaded { header })));
    }
    assert_eq!(loaded_in_all, 64, "what waits for one peer is bounded");
    for index in 0..64 {
        let outputs = stage.say(&puppet, &Message::Request(vec![other_root(index)]));
        assert_eq!(loads(&outputs), [], "it was told");
    }
    assert!(!matches!(
        dropped(&stage.said, &puppet),
        Some(Reason::Flood(Flood::Blocks))
    ));
}

/// The header of a piece of one byte.
fn short(film: &Film, index: u32) -> Header {
    let meta = PieceMeta {
        swarm: film.swarm,
        epoch: 0,
        lane: Lane(1),
        index: PieceIndex(index),
        flags: PieceFlags::NONE,
        media_time_us: 0,
    };
    seal(&film.key.lane_key(Lane(1)), &film.publisher, meta, &mut [7])
}

#[test]
fn a_crowd_whose_headers_are_all_in_storage_has_the_film_as_soon() {
    let mut world = World::new(Film::new(6 << 20), 9);
    world.headers_lost_every = Some(1_000);
    let publisher = world.publisher(Link::new(2_500_000, 5_000_000, 10_000));
    let first = world.viewer(Link::new(2_500_000, 5_000_000, 10_000));
    world.introduce(first, &[publisher]);
    let end = world.now + 60 * SECOND;
    assert!(world.run_until(end, World::all_complete));
    world.leave(publisher, true);
    // Nobody but a viewer is left, and it has dropped something meanwhile.
    let visitor = world.add(
        Role::Viewer,
        Link::new(2_500_000, 5_000_000, 10_000),
        Config::default(),
        Vec::new(),
    );
    world.introduce(visitor, &[first]);
    let end = world.now + 60 * SECOND;
    assert!(world.run_until(end, World::all_complete));
    assert!(world.has_everything(visitor));
}
