//! What came of a run: one number per question (docs/simulation.md#metrics), the bounds they must meet, and the courses for plots.

use crate::node::{Node, QUEUE_STEP_US};
use crate::scenario::{Habit, Scenario};
use crate::theory;
use crate::world::World;
use baton_content::BLOCK_LEN;
use std::collections::BTreeMap;

/// Who stays shorter than this need not have seen a picture.
const PATIENCE_US: u64 = 30_000_000;

/// Metrics by name.
pub type Metrics = BTreeMap<&'static str, f64>;

/// A moment of a run, for progress and plots.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub at_s: u64,
    pub peers: u64,
    pub stalled: u64,
    pub complete: u64,
    /// Copies that the publisher sent until now.
    pub copies: f64,
    pub received: u64,
    pub cross_region: u64,
    pub inputs: u64,
}

impl Sample {
    pub fn of(world: &World) -> Sample {
        let mut sample = Sample {
            at_s: world.now / 1_000_000,
            ..Sample::default()
        };
        for node in world.nodes() {
            sample.peers += u64::from(node.is_here());
            sample.stalled += u64::from(
                node.is_here()
                    && node
                        .player
                        .as_ref()
                        .is_some_and(|player| player.is_stalled()),
            );
            sample.complete += u64::from(node.is_here() && node.counts.complete_at.is_some());
            sample.received += node.counts.received;
            sample.cross_region += node.counts.cross_region;
            sample.inputs += node.counts.inputs;
        }
        let publisher = world.nodes().next().expect("the publisher is first");
        sample.copies = publisher.counts.sent as f64 / world.shared.film.bytes() as f64;
        sample
    }
}

/// All that is kept of a run.
pub struct Outcome {
    pub label: String,
    pub seed: u64,
    pub metrics: Metrics,
    pub samples: Vec<Sample>,
    /// Of all honest viewers, sorted, in milliseconds.
    pub startups_ms: Vec<f64>,
    pub digest: u64,
}

impl Outcome {
    /// Of a world that was closed.
    pub fn of(world: &World, label: &str, samples: Vec<Sample>) -> Outcome {
        let mut metrics = Metrics::new();
        let startups_ms = viewing(world, &mut metrics);
        giving(world, &mut metrics);
        metrics.insert("own_queue_p95_ms", own_queue_p95_ms(world));
        nearness(world, &mut metrics);
        overlay(world, &mut metrics);
        distribution(world, &mut metrics);
        Outcome {
            label: label.into(),
            seed: world.shared.seed,
            metrics,
            samples,
            startups_ms,
            digest: world.digest(),
        }
    }

    /// Adds how it differs from the baseline: in stalls, and in what the byte-weighted round trip is.
    pub fn compare(&mut self, baseline: &Outcome) {
        let excess =
            self.metrics["stall_minutes_permille"] - baseline.metrics["stall_minutes_permille"];
        self.metrics.insert("stalls_over_baseline", excess);
    }

    /// Every bound that is not met, as a sentence.
    pub fn missed(&self, plan: &Scenario) -> Vec<String> {
        let mut missed = Vec::new();
        let above = plan.at_most.iter().map(|(name, bound)| (name, bound, true));
        let below = plan
            .at_least
            .iter()
            .map(|(name, bound)| (name, bound, false));
        for (name, &bound, is_most) in above.chain(below) {
            let Some(&value) = self.metrics.get(&name[..]) else {
                // A comparison that this run is itself the measure of.
                if name != "stalls_over_baseline" {
                    missed.push(format!("{name} is no metric"));
                }
                continue;
            };
            if is_most && value > bound {
                missed.push(format!("{name} is {value:.2}, at most {bound} is allowed"));
            } else if !is_most && value < bound {
                missed.push(format!("{name} is {value:.2}, at least {bound} is asked"));
            }
        }
        missed
    }
}

fn viewers(world: &World) -> impl Iterator<Item = &Node> {
    world
        .nodes()
        .skip(1)
        .filter(|node| node.is_honest() && node.counts.joined_at.is_some())
}

/// What viewers see.
fn viewing(world: &World, metrics: &mut Metrics) -> Vec<f64> {
    let (mut startups, mut over, mut seeks) = (Vec::new(), Vec::new(), Vec::new());
    let (mut unseen, mut minutes, mut stalled_minutes, mut stalls, mut stalled_us) =
        (0u64, 0, 0, 0, 0);
    let (mut staying, mut complete) = (0u64, 0u64);
    for node in viewers(world) {
        let left_at = node.counts.left_at.expect("the world was closed");
        let joined_at = node.counts.joined_at.expect("viewers came");
        if left_at == world.now {
            staying += 1;
            complete += u64::from(node.counts.complete_at.is_some());
        }
        let Some(player) = &node.player else { continue };
        match player.startup_us() {
            Some(us) => {
                startups.push(us as f64 / 1000.0);
                over.push(us.saturating_sub(least_startup_us(world, node.index)) as f64 / 1000.0);
            }
            None if left_at - joined_at >= PATIENCE_US => unseen += 1,
            None => {}
        }
        let (all, bad) = player.minutes(left_at);
        minutes += all;
        stalled_minutes += bad;
        stalls += u64::from(player.stalls);
        stalled_us += player.stalled_us;
        seeks.extend(player.seeks_us.iter().map(|us| *us as f64 / 1000.0));
    }
    for list in [&mut startups, &mut over, &mut seeks] {
        list.sort_by(f64::total_cmp);
    }
    metrics.insert("viewers", viewers(world).count() as f64);
    metrics.insert("startup_p50_ms", part(&startups, 0.5));
    metrics.insert("startup_p95_ms", part(&startups, 0.95));
    metrics.insert("startup_over_least_p95_ms", part(&over, 0.95));
    metrics.insert("unseen", unseen as f64);
    metrics.insert("stalls", stalls as f64);
    metrics.insert("stalled_s", stalled_us as f64 / 1e6);
    metrics.insert(
        "stall_minutes_permille",
        share(stalled_minutes, minutes) * 1000.0,
    );
    metrics.insert("seek_p95_ms", part(&seeks, 0.95));
    metrics.insert("complete_percent", share(complete, staying) * 100.0);
    metrics.insert("fluid_wait_ms", fluid_wait_ms(world));
    startups
}

/// What the link itself takes: to the server and back; an offer there, an answer back, three and a half round trips and a Hello each way; and
/// the bytes through the downlink.
fn least_startup_us(world: &World, node: u32) -> u64 {
    let (shared, film) = (&world.shared, &world.shared.film);
    let bytes = film.start_blocks() * BLOCK_LEN as u64;
    let transfer = bytes * 1_000_000 / shared.spots[node as usize].down;
    4 * shared.to_server_us(node)
        + 2 * shared.to_server_us(0)
        + 10 * shared.one_way_us(node, 0)
        + transfer
}

fn fluid_wait_ms(world: &World) -> f64 {
    let shared = &world.shared;
    let mut joins: Vec<u64> = shared.spots[1..].iter().map(|spot| spot.joins_at).collect();
    joins.sort_unstable();
    let mean_up =
        shared.spots[1..].iter().map(|spot| spot.up).sum::<u64>() / joins.len().max(1) as u64;
    let bytes = shared.film.start_blocks() * BLOCK_LEN as u64;
    theory::crowd_wait_ms(&joins, bytes, shared.spots[0].up, mean_up)
}

/// Who gave what.
fn giving(world: &World, metrics: &mut Metrics) {
    let publisher = world.nodes().next().expect("the publisher is first");
    let sent = publisher
        .counts
        .stats
        .as_ref()
        .map_or(0, |stats| stats.sent_bytes);
    metrics.insert("copies", sent as f64 / world.shared.film.bytes() as f64);
    let (mut received, mut from_viewers, mut twice, mut wrong, mut wire) = (0, 0, 0, 0, 0);
    for node in viewers(world) {
        let stats = node.counts.stats.as_ref().expect("the world was closed");
        received += stats.received_bytes;
        from_viewers += stats.received_from_viewers_bytes;
        twice += stats.duplicate_bytes;
        wrong += stats.rejected_blocks * BLOCK_LEN as u64;
        wire += stats.wire_received_bytes;
    }
    metrics.insert(
        "from_viewers_percent",
        share(from_viewers, received) * 100.0,
    );
    metrics.insert("twice_percent", share(twice, received) * 100.0);
    metrics.insert("wrong_percent", share(wrong, received) * 100.0);
    metrics.insert("wasted_percent", share(twice + wrong, received) * 100.0);
    metrics.insert(
        "overhead_percent",
        share(wire.saturating_sub(received + twice + wrong), received) * 100.0,
    );
    metrics.insert("lost_blocks", world.lost_blocks() as f64);
}

/// How far bytes went, beside an oracle that knows all places and a server that knows none.
fn nearness(world: &World, metrics: &mut Metrics) {
    /// Neighbours that an engine looks for.
    const NEIGHBOURS: usize = 12;
    let shared = &world.shared;
    let (mut received, mut cross, mut rtt, mut oracle, mut random) = (0u64, 0u64, 0u64, 0u64, 0u64);
    let mut far = 0u64;
    let all: Vec<u32> = viewers(world).map(|node| node.index).collect();
    // Of a crowd of thousands a few hundred say as much.
    let step = all.len().div_ceil(500).max(1);
    for node in viewers(world).step_by(step) {
        let mut ways: Vec<u64> = all
            .iter()
            .filter(|other| **other != node.index)
            .map(|other| 2 * shared.one_way_us(node.index, *other) / 1000)
            .collect();
        ways.sort_unstable();
        let bytes = node.counts.received;
        received += bytes;
        cross += node.counts.cross_region;
        rtt += node.counts.byte_rtt_ms;
        let half = ways.get(ways.len() / 2).copied().unwrap_or(0);
        let way = |other: u32| 2 * shared.one_way_us(node.index, other) / 1000;
        let from = node.counts.received_from.iter();
        far += from
            .filter(|(other, _)| way(**other) > half)
            .map(|(_, bytes)| bytes)
            .sum::<u64>();
        let near = &ways[..NEIGHBOURS.min(ways.len())];
        oracle += bytes * near.iter().sum::<u64>() / near.len().max(1) as u64;
        random += bytes * ways.iter().sum::<u64>() / ways.len().max(1) as u64;
    }
    metrics.insert("cross_region_percent", share(cross, received) * 100.0);
    metrics.insert("far_percent", share(far, received) * 100.0);
    metrics.insert("rtt_ms", share(rtt, received));
    metrics.insert("rtt_oracle_ms", share(oracle, received));
    metrics.insert("rtt_random_ms", share(random, received));
    metrics.insert("rtt_over_oracle", share(rtt, oracle));
    metrics.insert("rtt_over_random", share(rtt, random));
}

/// Whether all hung together, and how many neighbours they had.
fn overlay(world: &World, metrics: &mut Metrics) {
    let seen = &world.overlay;
    let isolated = seen.isolated_s.values().max().copied().unwrap_or(0);
    metrics.insert("components_max", seen.components_max as f64);
    metrics.insert("isolated_s", isolated as f64);
    metrics.insert(
        "few_neighbours_permille",
        share(seen.few, seen.settled) * 1000.0,
    );
    metrics.insert("neighbours_beyond", seen.beyond_max as f64);
}

/// What those who have everything, and give on, add to their own uplinks.
fn own_queue_p95_ms(world: &World) -> f64 {
    let mut all: Vec<u64> = Vec::new();
    for node in viewers(world) {
        all.resize(all.len().max(node.counts.queue.len()), 0);
        (all.iter_mut().zip(&node.counts.queue)).for_each(|(all, ms)| *all += ms);
    }
    let total: u64 = all.iter().sum();
    let mut below = 0;
    let p95 = all.iter().position(|ms| {
        below += ms;
        below * 20 >= total * 19
    });
    p95.map_or(0.0, |step| {
        (step as u64 + 1) as f64 * (QUEUE_STEP_US / 1000) as f64
    })
}

/// From the publisher's first moment until the last of those who stayed had everything, beside the fluid bound.
fn distribution(world: &World, metrics: &mut Metrics) {
    let shared = &world.shared;
    let stayed: Vec<&Node> = viewers(world)
        .filter(|node| node.counts.left_at == Some(world.now))
        .collect();
    let Some(last) = stayed
        .iter()
        .map(|node| node.counts.complete_at)
        .max()
        .flatten()
    else {
        return;
    };
    if stayed.iter().any(|node| node.counts.complete_at.is_none()) {
        return;
    }
    let first = shared.spots[1..]
        .iter()
        .map(|spot| spot.joins_at)
        .min()
        .unwrap_or(0);
    let spots = || stayed.iter().map(|node| &shared.spots[node.index as usize]);
    let ups: Vec<u64> = spots()
        .filter(|spot| spot.habit != Habit::FreeRider)
        .map(|spot| spot.up)
        .collect();
    let down_least = spots().map(|spot| spot.down).min().unwrap_or(1);
    let fluid = theory::distribution_s(shared.film.bytes(), shared.spots[0].up, down_least, &ups);
    let took = last.saturating_sub(first) as f64 / 1e6;
    metrics.insert("distribution_s", took);
    metrics.insert("fluid_s", fluid);
    metrics.insert("distribution_over_fluid", took / fluid);
}

/// The value below which so much of a sorted list lies; 0 of an empty one.
pub fn part(sorted: &[f64], share: f64) -> f64 {
    match sorted.len() {
        0 => 0.0,
        len => sorted[((len as f64 * share) as usize).min(len - 1)],
    }
}

fn share(some: u64, all: u64) -> f64 {
    some as f64 / all.max(1) as f64
}
