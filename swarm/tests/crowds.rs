//! Several viewers: they take little from the seeder, nearly everything from each other, and never stall while the bandwidth exists.
//! Each test prints copies sent by the seeder, startup and stalls: `cargo test -p baton-swarm --test crowds -- --nocapture`.

mod common;

use baton_swarm::{Config, Input};
use common::film::Film;
use common::{Link, SECOND, World};

/// 30 seconds of 480p, as tests/media/big-buck-bunny-480p-30s.mp4.
const SHORT: usize = 4_139_823;
const RATE: u64 = 138_000;

struct Crowd {
    viewers: usize,
    len: usize,
    rate: u64,
    seeder_up: u64,
    viewer_up: u64,
    latency_us: u64,
    stagger_us: u64,
    seed: u64,
}

struct Outcome {
    copies: f64,
    stalls: u32,
    stalled_us: u64,
    slowest_startup_us: u64,
    from_viewers: f64,
    duplicate_share: f64,
    all_after_us: u64,
}

fn run(name: &str, crowd: &Crowd) -> Outcome {
    let mut world = World::new(Film::new(crowd.len), crowd.seed);
    world.publisher(Link::new(
        crowd.seeder_up,
        crowd.seeder_up,
        crowd.latency_us,
    ));
    for n in 1..=crowd.viewers {
        let viewer = world.viewer(Link::new(
            crowd.viewer_up,
            crowd.viewer_up * 2,
            crowd.latency_us,
        ));
        let others: Vec<usize> = (0..viewer).collect();
        world.play(viewer, crowd.rate);
        world.introduce(viewer, &others);
        if n < crowd.viewers {
            world.run_for(crowd.stagger_us);
        }
    }
    let film_us = crowd.len as u64 * SECOND / crowd.rate;
    let end = world.now + 3 * film_us + 20 * SECOND;
    let over = |world: &World| {
        world.all_complete()
            && world.nodes.iter().all(|node| {
                node.player
                    .as_ref()
                    .is_none_or(|player| player.finished_at.is_some())
            })
    };
    let done = world.run_until(end, over);
    let mut outcome = Outcome {
        copies: world.copies(0),
        stalls: 0,
        stalled_us: 0,
        slowest_startup_us: 0,
        from_viewers: 0.0,
        duplicate_share: 0.0,
        all_after_us: 0,
    };
    let (mut received, mut from_viewers, mut duplicate, mut hedged) = (0, 0, 0, 0);
    for node in 1..world.nodes.len() {
        let player = world.nodes[node].player.as_ref().expect("all play");
        outcome.stalls += player.stalls;
        outcome.stalled_us += player.stalled_us;
        outcome.slowest_startup_us = outcome
            .slowest_startup_us
            .max(player.startup_us().unwrap_or(u64::MAX));
        let stats = world.stats(node);
        received += stats.received_bytes;
        from_viewers += stats.received_from_viewers_bytes;
        duplicate += stats.duplicate_bytes;
        hedged += stats.hedged_bytes;
    }
    outcome.from_viewers = from_viewers as f64 / received as f64;
    outcome.duplicate_share = duplicate as f64 / received as f64;
    let last = world
        .nodes
        .iter()
        .filter_map(|node| node.complete_at)
        .max()
        .unwrap_or(0);
    outcome.all_after_us = last;
    println!(
        "{name:32} seed {}  copies {:.2}  from viewers {:.0} %  twice {:.1} (asked {:.1}) %  startup {} ms  stalls {} ({} ms)  all after {} ms{}",
        crowd.seed,
        outcome.copies,
        outcome.from_viewers * 100.0,
        outcome.duplicate_share * 100.0,
        hedged as f64 * 100.0 / received as f64,
        outcome.slowest_startup_us / 1000,
        outcome.stalls,
        outcome.stalled_us / 1000,
        last / 1000,
        if done { "" } else { "  NOT DONE" },
    );
    if std::env::var("STALLS").is_ok() {
        for node in 1..world.nodes.len() {
            println!(
                "  {node}: {:?}",
                world.nodes[node]
                    .player
                    .as_ref()
                    .expect("all play")
                    .stalled_at
            );
        }
    }
    assert!(done, "{name}: everybody sees and has all of it");
    outcome
}

/// An unoptimised build takes thirty times as long: it sees one seed and the short film only.
const QUICK: bool = cfg!(debug_assertions);

fn seeds() -> std::ops::RangeInclusive<u64> {
    1..=if QUICK { 1 } else { 3 }
}

fn four() -> Crowd {
    Crowd {
        viewers: 4,
        len: SHORT,
        rate: RATE,
        seeder_up: 10 * RATE,
        viewer_up: 10 * RATE,
        latency_us: 10_000,
        stagger_us: 0,
        seed: 1,
    }
}

fn big(crowd: Crowd) -> Crowd {
    Crowd {
        len: 32 << 20,
        rate: 1 << 20,
        seeder_up: 10 << 20,
        viewer_up: 10 << 20,
        ..crowd
    }
}

fn links(factor_tenths: u64, crowd: Crowd) -> Crowd {
    Crowd {
        seeder_up: factor_tenths * RATE / 10,
        viewer_up: factor_tenths * RATE / 10,
        ..crowd
    }
}

#[test]
fn four_at_once_take_little_more_than_one_copy_and_never_stall() {
    for seed in seeds() {
        for factor in [5, 10, 20, 60] {
            let outcome = run(
                &format!("4 at once, {factor}x"),
                &links(factor * 10, Crowd { seed, ..four() }),
            );
            assert!(outcome.copies <= 1.25, "{}", outcome.copies);
            assert_eq!(outcome.stalls, 0);
        }
        for (name, latency_us) in [("1 ms", 500), ("100 ms", 25_000)] {
            let outcome = run(
                &format!("4 at once, 10x, {name}"),
                &Crowd {
                    latency_us,
                    seed,
                    ..four()
                },
            );
            assert!(outcome.copies <= 1.25, "{}", outcome.copies);
            assert_eq!(outcome.stalls, 0);
        }
        if !QUICK {
            let outcome = run("4 at once, 32 MB, 10x", &big(Crowd { seed, ..four() }));
            assert!(outcome.copies <= 1.1, "{}", outcome.copies);
        }
    }
}

#[test]
fn four_at_once_on_narrow_links_still_take_little_more_than_one_copy() {
    for seed in seeds() {
        for tenths in [13, 20, 30] {
            let outcome = run(
                &format!("4 at once, {:.1}x", tenths as f64 / 10.0),
                &links(tenths, Crowd { seed, ..four() }),
            );
            assert!(outcome.copies <= 1.5, "{}", outcome.copies);
        }
    }
}

#[test]
fn eight_at_once_take_less_than_one_and_a_half_copies() {
    for seed in seeds() {
        for (name, crowd) in [
            ("10x", four()),
            ("20x", links(200, four())),
            ("32 MB", big(four())),
        ]
        .into_iter()
        .take(if QUICK { 1 } else { 3 })
        {
            let outcome = run(
                &format!("8 at once, {name}"),
                &Crowd {
                    viewers: 8,
                    seed,
                    ..crowd
                },
            );
            assert!(outcome.copies <= 1.4, "{}", outcome.copies);
            assert!(outcome.from_viewers > 0.8);
        }
    }
}

#[test]
fn viewers_who_come_one_after_another_are_served_by_those_before() {
    for seed in seeds() {
        for (name, stagger_us, crowd) in [
            ("5 s apart, 10x", 5 * SECOND, four()),
            (
                "10 s apart, 20/50 Mbit",
                10 * SECOND,
                Crowd {
                    seeder_up: 2_500_000,
                    viewer_up: 2_500_000,
                    latency_us: 7_500,
                    ..four()
                },
            ),
            ("2 s apart, 5x", 2 * SECOND, links(50, four())),
        ] {
            let outcome = run(
                &format!("6, {name}"),
                &Crowd {
                    viewers: 6,
                    stagger_us,
                    seed,
                    ..crowd
                },
            );
            assert!(outcome.copies <= 1.3, "{}", outcome.copies);
            assert_eq!(outcome.stalls, 0);
        }
    }
}

/// Prints what goes on in one run: `WATCH=4,10 cargo test … trace -- --ignored --nocapture` (viewers, links in film rates).
#[test]
#[ignore]
fn trace() {
    let watch = std::env::var("WATCH").unwrap_or("4,10".into());
    let (viewers, factor) = watch.split_once(',').expect("viewers,factor");
    let up = factor.parse::<u64>().expect("a number") * RATE;
    let mut crowd = Crowd {
        viewers: viewers.parse().expect("a number"),
        seeder_up: up,
        viewer_up: up,
        ..four()
    };
    if std::env::var("BIG").is_ok() {
        crowd = Crowd {
            len: 32 << 20,
            rate: 1 << 20,
            seeder_up: 10 << 20,
            viewer_up: 10 << 20,
            ..crowd
        };
    }
    let mut world = World::new(Film::new(crowd.len), crowd.seed);
    world.trace = true;
    world.publisher(Link::new(
        crowd.seeder_up,
        crowd.seeder_up,
        crowd.latency_us,
    ));
    for _ in 1..=crowd.viewers {
        let viewer = world.viewer(Link::new(
            crowd.viewer_up,
            crowd.viewer_up * 2,
            crowd.latency_us,
        ));
        let others: Vec<usize> = (0..viewer).collect();
        world.play(viewer, crowd.rate);
        world.introduce(viewer, &others);
    }
    world.run_until(10 * SECOND, World::all_complete);
    for node in 1..world.nodes.len() {
        for piece in world.film.piece_ids(1) {
            let has = |node: usize| {
                world.nodes[node].store.get(&piece).map_or(0u64, |blocks| {
                    blocks.keys().map(|block| 1u64 << block).sum()
                })
            };
            let missing = world.film.sealed(piece).header().full_mask().0 & !has(node);
            if missing != 0 {
                let others: Vec<(usize, u64)> = (1..world.nodes.len())
                    .map(|other| (other, has(other) & missing))
                    .collect();
                println!("MISSING at {node}: {piece} {missing:#x} {missing} others {others:x?}");
            }
        }
    }
}

fn pause(world: &mut World, node: usize) {
    world.input(
        node,
        Input::Budget {
            upload_bytes_per_second: None,
            paused: true,
        },
    );
}

/// A hundred people on metered links, and one that gives: found in a benchmark of a keeper, whose viewers had each other and nothing.
#[test]
fn whoever_has_only_neighbours_who_give_nothing_looks_for_another() {
    let link = Link::new(2_500_000, 6_250_000, 7_500);
    let mut world = World::new(Film::new(SHORT), 41);
    let publisher = world.publisher(link);
    let few = Config {
        peers_wanted: 2,
        ..Config::default()
    };
    let paused: Vec<usize> = (0..4)
        .map(|_| {
            let viewer = world.viewer(link);
            pause(&mut world, viewer);
            viewer
        })
        .collect();
    let newcomer = world.viewer_with(link, few, &[]);
    let others = [&paused[..], &[publisher]].concat();
    world.introduce(newcomer, &others);
    let whole = |world: &World| world.has_everything(newcomer);
    assert!(world.run_until(30 * SECOND, whole));
}

/// On a fast network nobody waits for an uplink, and each block that was left to somebody in vain shows as two seconds.
#[test]
fn nothing_is_left_to_those_who_have_paused() {
    let link = Link::new(125_000_000, 125_000_000, 500);
    let mut world = World::new(Film::new(SHORT), 42);
    let publisher = world.publisher(link);
    for _ in 0..8 {
        let viewer = world.viewer(link);
        pause(&mut world, viewer);
        world.introduce(viewer, &[publisher]);
    }
    let end = world.now + 60 * SECOND;
    assert!(world.run_until(end, World::all_complete));
    let took = world.now;
    println!("eight who have paused, complete after {} ms", took / 1000);
    assert!(took < 2 * SECOND);
}

/// A slow processor and little memory (docs/tv.md): few neighbours, nothing fetched that does not play, and little passed on, but some.
#[test]
fn a_television_has_eight_neighbours_fetches_what_it_plays_and_passes_on_what_it_can_spare() {
    let link = Link::new(12_500_000, 12_500_000, 500);
    let mut world = World::new(Film::new(64 << 20), 43);
    let publisher = world.publisher(link);
    let tv = world.viewer_with(link, Config::television(), &[]);
    world.introduce(tv, &[publisher]);
    world.play(tv, 1_000_000);
    world.run_for(10 * SECOND);
    // This player asks for half a minute ahead.
    let here = world.stats(tv).have_bytes;
    assert!((35_000_000..45_000_000).contains(&here), "{here}");

    pause(&mut world, publisher);
    for _ in 0..12 {
        let viewer = world.viewer(link);
        world.introduce(viewer, &[tv]);
    }
    world.run_for(SECOND);
    let before = world.stats(tv).sent_bytes;
    world.run_for(10 * SECOND);
    assert_eq!(world.stats(tv).peers.len(), 8);
    let sent = world.stats(tv).sent_bytes - before;
    assert!((3_000_000..5_500_000).contains(&sent), "{sent}");
}

/// Everybody is late and wants the same: what is new must go out all the same, or nobody ever has anything to pass on.
#[test]
fn a_late_crowd_is_given_what_is_new() {
    let mut all_after_us = Vec::new();
    for seed in 1..=2 {
        let outcome = run(
            "14 at once, 2x, viewers 1.5x",
            &Crowd {
                viewers: 14,
                len: 6_000_000,
                rate: RATE,
                seeder_up: 2 * RATE,
                viewer_up: RATE * 3 / 2,
                latency_us: 20_000,
                stagger_us: 300_000,
                seed,
            },
        );
        assert!(outcome.copies < 1.7, "{}", outcome.copies);
        assert!(outcome.stalls < 230, "{}", outcome.stalls);
        all_after_us.push(outcome.all_after_us);
    }
    // Each 49.5 s and more while uplinks stood idle because slower neighbours owed what they could have given.
    let mean_us = all_after_us.iter().sum::<u64>() / 2;
    assert!(mean_us < 48 * SECOND, "{all_after_us:?}");
}
