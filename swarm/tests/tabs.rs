//! Tabs of one browser: one of them is in the swarm, the others have nobody but that one.

mod common;

use baton_content::{Lane, Mask, PIECE_LEN, PieceId};
use baton_swarm::wire::{FLAG_NEED, Have, Message, Want};
use baton_swarm::{Config, Demand, Input, Instant, Output, Role};
use common::film::Film;
use common::puppet::{Puppet, Stage, dropped};
use common::{Link, SECOND, World};

const MB: u64 = 1_000_000;

fn fast() -> Link {
    Link::new(20 * MB, 20 * MB, 1_000)
}

/// A publisher, a tab that watches, and another one of the same browser.
fn two_tabs(len: usize, seed: u64, leader: Config) -> World {
    let mut world = World::new(Film::new(len), seed);
    let publisher = world.publisher(fast());
    let first = world.add(Role::Viewer, fast(), leader, Vec::new());
    let second = world.viewer(fast());
    world.tabs.insert((first, second));
    world.introduce(first, &[publisher]);
    world.introduce(second, &[first]);
    world
}

#[test]
fn a_second_tab_has_everything_from_the_first_and_nobody_hears_of_it() {
    let mut world = two_tabs(5_000_000, 1, Config::default());
    assert!(world.run_until(10 * SECOND, World::all_complete));
    world.run_for(10 * SECOND);
    assert!(world.has_everything(2));
    let (publisher, first, second) = (world.stats(0), world.stats(1), world.stats(2));
    assert_eq!(publisher.sent_bytes, world.film.bytes() as u64, "one copy");
    assert_eq!(publisher.peers.len(), 1);
    assert_eq!(publisher.complete_peers, 1);
    assert_eq!((first.peers.len(), first.sent_bytes), (1, 0));
    assert_eq!(first.complete_peers, 0, "it goes when the browser does");
    assert_eq!((second.peers.len(), second.received_bytes), (0, 0));
    assert_eq!(second.received_from_viewers_bytes, 0);
    assert!(second.missing_reachable);
}

#[test]
fn a_pause_and_a_limit_are_not_for_tabs() {
    for paused in [true, false] {
        let mut world = two_tabs(3_000_000, 2, Config::default());
        let budget = Input::Budget {
            upload_bytes_per_second: Some(1_000),
            paused,
        };
        world.input(1, budget);
        assert!(world.run_until(10 * SECOND, World::all_complete));
    }
}

#[test]
fn what_a_tab_needs_is_fetched_before_all_else_by_the_one_that_leads() {
    let leader = Config {
        background: false,
        ..Config::default()
    };
    let mut world = two_tabs(40_000_000, 3, leader);
    let needed = PieceId::new(Lane(1), 33);
    let demand = Demand {
        piece: needed,
        mask: Mask(0xf0),
        deadline: Instant(0),
    };
    world.run_for(SECOND);
    assert!(world.nodes[2].swarm.have(needed).is_empty());
    world.input(2, Input::Demanded(vec![demand]));
    let here = |world: &World| world.nodes[2].swarm.have(needed).0 == 0xf0;
    assert!(world.run_until(world.now + SECOND, here));
    let first = world.stats(1);
    assert!(first.have_bytes < 2_000_000, "and nothing else: {first:?}");
    // A tab that closes needs nothing any more.
    let other = Demand {
        piece: PieceId::new(Lane(1), 20),
        ..demand
    };
    world.input(
        0,
        Input::Budget {
            upload_bytes_per_second: None,
            paused: true,
        },
    );
    world.run_for(SECOND);
    world.input(2, Input::Demanded(vec![other]));
    world.run_for(SECOND);
    world.leave(2, true);
    world.run_for(SECOND);
    world.input(
        0,
        Input::Budget {
            upload_bytes_per_second: None,
            paused: false,
        },
    );
    world.run_for(5 * SECOND);
    assert!(world.nodes[1].swarm.have(other.piece).is_empty());
}

#[test]
fn a_publisher_leaves_nothing_to_its_own_other_tab() {
    let mut world = World::new(Film::new(6_000_000), 4);
    let publisher = world.publisher(fast());
    let tab = world.viewer(fast());
    world.tabs.insert((publisher, tab));
    world.introduce(tab, &[publisher]);
    assert!(world.run_until(10 * SECOND, |world| world.has_everything(tab)));
    let visitors = [world.viewer(fast()), world.viewer(fast())];
    for visitor in visitors {
        world.apart.insert((tab, visitor));
        world.introduce(visitor, &[publisher]);
    }
    assert!(world.run_until(20 * SECOND, World::all_complete));
    let stats = world.stats(publisher);
    assert_eq!(stats.peers.len(), 2);
    let bytes = world.film.bytes() as u64;
    assert!((bytes..3 * bytes).contains(&stats.sent_bytes), "{stats:?}");
    for visitor in visitors {
        assert!(
            world
                .stats(visitor)
                .peers
                .iter()
                .all(|peer| peer.id != world.nodes[tab].id)
        );
    }
}

#[test]
fn a_peer_cannot_pass_for_a_tab() {
    let mut stage = Stage::new(Film::new(4 << 20), Role::Publisher);
    let puppet = Puppet::new(1);
    stage.join(&puppet, Have::default());
    let want = Want {
        lane: 1,
        index: 0,
        mask: 1,
        // The flag means nothing between others: it is a request like any other.
        flags: FLAG_NEED,
        root8: None,
    };
    let outputs = stage.say(&puppet, &Message::Request(vec![want]));
    assert_eq!(dropped(&outputs, &puppet), None);
    let sealed =
        |output: &Output| matches!(output, Output::Seal { piece } if piece.lane == Lane(1));
    assert!(outputs.iter().any(sealed));
}

/// A jump needs all from the last sync sample on; the leading tab's own film stalls meanwhile, on a link that is slower than it.
#[test]
fn a_jump_of_a_second_tab_does_not_wait_for_a_film_that_stalls() {
    for seed in 0..4 {
        let mut world = two_tabs(11 * MB as usize, seed, Config::default());
        let budget = Input::Budget {
            upload_bytes_per_second: Some(250_000),
            paused: false,
        };
        world.input(0, budget);
        for tab in [1, 2] {
            world.play(tab, 366_000);
        }
        world.run_for((3 + seed) * SECOND);
        world.nodes[2].player = None;
        let before = world.stats(1).have_bytes;
        let needed: Vec<PieceId> = (7..10).map(|index| PieceId::new(Lane(1), index)).collect();
        let missing = |world: &World| -> Vec<(PieceId, Mask)> {
            let lacks = |piece| Mask(u64::MAX).without(world.nodes[2].swarm.have(piece));
            let all = needed.iter().map(|&piece| (piece, lacks(piece)));
            all.filter(|(_, mask)| !mask.is_empty()).collect()
        };
        let mut told = Vec::new();
        while !missing(&world).is_empty() {
            let now = missing(&world);
            if now != told {
                let demand = |&(piece, mask): &(PieceId, Mask)| Demand {
                    piece,
                    mask,
                    deadline: Instant(world.now),
                };
                let demands = now.iter().map(demand).collect();
                world.input(2, Input::Demanded(demands));
                told = now;
            }
            world.run_for(20_000);
            assert!(world.now < 60 * SECOND, "seed {seed}");
        }
        let fetched = world.stats(1).have_bytes - before;
        let least = needed.len() as u64 * PIECE_LEN as u64;
        assert!(fetched < least + 500_000, "seed {seed}: {fetched}");
    }
}
