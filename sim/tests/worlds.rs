//! Small worlds, every check after every step: what `cargo xtask test` runs of the simulator. The big ones are `cargo xtask sim`.

use baton_sim::outcome::Outcome;
use baton_sim::scenario::{Habit, Scenario, Word};
use baton_sim::world::World;

fn scenario(name: &str) -> Scenario {
    let path = format!("{}/../scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    toml::from_str(&std::fs::read_to_string(&path).expect(&path)).expect(&path)
}

fn run(scenario: &Scenario, seed: u64, threads: usize) -> Outcome {
    let run = scenario.runs().remove(0);
    let mut world = World::new(&run, seed, threads, 1);
    for second in 1..=scenario.seconds {
        world.run_until(second * 1_000_000);
        if scenario.until_complete && world.is_over() {
            break;
        }
    }
    world.close();
    Outcome::of(&world, "", Vec::new())
}

#[test]
fn a_tiny_swarm_meets_its_bounds() {
    let tiny = scenario("tiny");
    let outcome = run(&tiny, 1, 1);
    let missed = outcome.missed(&tiny);
    assert!(missed.is_empty(), "{missed:?}");
}

/// A few peers of everything that the scenarios know, for a few seconds.
fn zoo() -> Scenario {
    let mut zoo = scenario("tiny");
    (zoo.seconds, zoo.film.seconds) = (8, 6);
    zoo.crowd[0].count = 6;
    let mut add = |change: fn(&mut baton_sim::scenario::Group)| {
        let mut group = zoo.crowd[0].clone();
        group.count = 1;
        change(&mut group);
        zoo.crowd.push(group);
    };
    add(|group| group.habit = Habit::Poisoner);
    add(|group| group.habit = Habit::Liar);
    add(|group| group.habit = Habit::FreeRider);
    add(|group| group.nat = [0, 0, 1]);
    add(|group| group.has_all = true);
    add(|group| group.only_fetch = true);
    add(|group| (group.stay_median_s, group.count) = (Some(2), 4));
    add(|group| group.seek_every_s = Some(2));
    zoo.server.gone_at_s = Some(4);
    zoo
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let zoo = zoo();
    let [one, three] = [1, 3].map(|threads| run(&zoo, 7, threads));
    assert_eq!(one.digest, three.digest);
    assert_eq!(one.metrics, three.metrics);
    assert!(one.metrics["viewers"] > 10.0 && one.metrics["startup_p50_ms"] > 0.0);
    assert_ne!(
        one.digest,
        run(&zoo, 8, 1).digest,
        "another seed is another run"
    );
}

/// Ten who lose their connections, one after the other and nearly all at once, when there is no server any more.
fn overlay_without(unheard: &[Word]) -> Outcome {
    let mut plan = scenario("tiny");
    (plan.seconds, plan.until_complete, plan.film.seconds) = (240, false, 2);
    plan.server.gone_at_s = Some(20);
    let group = &mut plan.crowd[0];
    group.count = 10;
    (group.break_every_s, group.sleep_every_s) = (Some(40), Some(120));
    plan.unheard = unheard.to_vec();
    run(&plan, 1, 1)
}

#[test]
fn an_overlay_heals_by_what_neighbours_name_and_carry() {
    let all = overlay_without(&[]).metrics;
    assert_eq!(
        (all["components_max"], all["isolated_s"]),
        (1.0, 0.0),
        "{all:?}"
    );
    for word in [Word::Neighbours, Word::Introduce] {
        let without = overlay_without(&[word]).metrics;
        assert!(without["components_max"] > 1.0, "{word:?}: {without:?}");
        assert!(without["few_neighbours_permille"] > 500.0, "{word:?}");
    }
}

#[test]
fn every_scenario_can_be_read_and_names_only_metrics_that_exist() {
    let metrics = run(&scenario("tiny"), 2, 1).metrics;
    let folder = format!("{}/../scenarios", env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(folder).expect("scenarios/") {
        let path = entry.expect("readable").path();
        let name = path
            .file_stem()
            .expect("files have names")
            .to_string_lossy()
            .into_owned();
        let scenario = scenario(&name);
        assert!(
            !scenario.seeds.is_empty() && !scenario.runs().is_empty(),
            "{name}"
        );
        for bound in scenario.at_most.keys().chain(scenario.at_least.keys()) {
            assert!(
                metrics.contains_key(&bound[..]) || bound == "stalls_over_baseline",
                "{name}: {bound}"
            );
        }
    }
}
