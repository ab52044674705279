//! Engines among each other in virtual time. Every run follows from its seed.

mod common;

use common::film::Film;
use common::{Link, SECOND, World};

const MB: u64 = 1_000_000;

/// One publisher, one viewer on a fast link.
fn pair(len: usize, seed: u64) -> World {
    let mut world = World::new(Film::new(len), seed);
    let publisher = world.publisher(Link::new(20 * MB, 20 * MB, 1_000));
    let viewer = world.viewer(Link::new(20 * MB, 20 * MB, 1_000));
    world.introduce(viewer, &[publisher]);
    world
}

#[test]
fn a_viewer_gets_everything_from_a_publisher() {
    let mut world = pair(5_000_000, 1);
    assert!(world.run_until(20 * SECOND, World::all_complete), "{:#?}", world.stats(1));
    assert!(world.has_everything(1));
    let stats = world.stats(1);
    println!("{} us, {stats:#?}", world.now);
    assert_eq!(stats.rejected_blocks, 0);
    assert!(world.copies(0) < 1.01, "{}", world.copies(0));
}
