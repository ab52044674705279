//! The door: reads scenarios/*.toml, runs them, shows how far it is, prints a table, writes plots.
//!
//! `cargo xtask sim` names everything; see docs/simulation.md.

use anyhow::{Context, Result, bail, ensure};
use baton_sim::outcome::{Outcome, Sample};
use baton_sim::plot::{self, Line};
use baton_sim::scenario::{Run, Scenario};
use baton_sim::world::World;
use std::io::{IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

const USAGE: &str = "\
usage: cargo xtask sim [SCENARIO...] [options]

Runs scenarios/SCENARIO.toml, all of them without a name; exits with 1 when one misses a bound. Plots go to target/sim.

  --seed N      this seed instead of the scenario's own
  --peers N     another number of viewers (bounds are printed, not judged)
  --check N     check an engine's invariants after every N of its inputs (default 4096; 1 checks every block's bytes too)
  --threads N   default: as many as the machine has; one seed is one run with any number
  --watch N     print every message from and to peer N (0 is the publisher)
  --list        names and what they show
";

struct Options {
    names: Vec<String>,
    seed: Option<u64>,
    peers: Option<u64>,
    check: u64,
    threads: usize,
    watch: Option<u32>,
}

fn main() -> Result<ExitCode> {
    let Some(options) = parse(std::env::args().skip(1))? else {
        return Ok(ExitCode::SUCCESS);
    };
    let mut all_met = true;
    let mut table = Vec::new();
    for name in &options.names {
        let mut scenario = read(name)?;
        if let Some(peers) = options.peers {
            scenario = scenario.with_peers(peers);
        }
        let seeds = options
            .seed
            .map_or(scenario.seeds.clone(), |seed| vec![seed]);
        for seed in seeds {
            let outcomes = run_all(name, &scenario, seed, &options)?;
            for outcome in &outcomes {
                let missed = outcome.missed(&scenario);
                let judged = options.peers.is_none() && outcome.label != "baseline";
                all_met &= missed.is_empty() || !judged;
                table.push(rows(name, outcome, if judged { &missed } else { &[] }));
            }
            draw(name, seed, &outcomes)?;
        }
    }
    print!("{HEAD}{}", table.concat());
    println!(
        "{}",
        if all_met {
            "all bounds met"
        } else {
            "SOME BOUNDS MISSED"
        }
    );
    Ok(if all_met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Options>> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    let mut options = Options {
        names: Vec::new(),
        seed: None,
        peers: None,
        check: 4096,
        threads,
        watch: None,
    };
    while let Some(word) = words.next() {
        let mut number = || -> Result<u64> {
            let text = words
                .next()
                .with_context(|| format!("{word} needs a number"))?;
            text.parse().with_context(|| format!("{word} {text}"))
        };
        match word.as_str() {
            "--seed" => options.seed = Some(number()?),
            "--peers" => options.peers = Some(number()?),
            "--check" => options.check = number()?.max(1),
            "--threads" => options.threads = number()?.max(1) as usize,
            "--watch" => options.watch = Some(number()? as u32),
            "--list" => {
                for name in names()? {
                    println!("{name:<16} {}", read(&name)?.about);
                }
                return Ok(None);
            }
            "--help" | "-h" => {
                print!("{USAGE}");
                return Ok(None);
            }
            flag if flag.starts_with('-') => bail!("no such option: {flag}\n\n{USAGE}"),
            name => options.names.push(name.into()),
        }
    }
    if options.names.is_empty() {
        options.names = names()?;
    }
    Ok(Some(options))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("sim lies in the repository")
}

fn names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root().join("scenarios")).context("scenarios/")? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "toml") {
            names.extend(
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned()),
            );
        }
    }
    names.sort();
    Ok(names)
}

fn read(name: &str) -> Result<Scenario> {
    let path = root().join("scenarios").join(name).with_extension("toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    toml::from_str(&text).with_context(|| path.display().to_string())
}

fn run_all(name: &str, scenario: &Scenario, seed: u64, options: &Options) -> Result<Vec<Outcome>> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for run in scenario.runs() {
        let go = AssertUnwindSafe(|| run_one(name, &run, seed, options));
        let Ok(mut outcome) = catch_unwind(go) else {
            bail!(
                "an invariant broke. It breaks again with:\n  git checkout {}\n  cargo xtask sim {name} --seed {seed} --check {}{}",
                commit(),
                options.check,
                options
                    .peers
                    .map_or(String::new(), |peers| format!(" --peers {peers}"))
            );
        };
        if let Some(baseline) = outcomes
            .first()
            .filter(|outcome| outcome.label == "baseline")
        {
            outcome.compare(baseline);
        }
        outcomes.push(outcome);
    }
    ensure!(!outcomes.is_empty(), "{name} has no run");
    Ok(outcomes)
}

fn commit() -> String {
    let output = Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .current_dir(root())
        .output();
    output.map_or("?".into(), |output| {
        String::from_utf8_lossy(&output.stdout).trim().into()
    })
}

fn run_one(name: &str, run: &Run, seed: u64, options: &Options) -> Outcome {
    let started = Instant::now();
    let mut world = World::new(run, seed, options.threads, options.check);
    world.shared.watch = options
        .watch
        .map(|node| (node, (|line| println!("{line}")) as fn(String)));
    let mut samples = vec![Sample::default()];
    let mut shown = Instant::now();
    let what = [name, &run.label].join(if run.label.is_empty() { "" } else { ", " });
    for second in 1..=run.plan.seconds {
        world.run_until(second * 1_000_000);
        let sample = Sample::of(&world);
        samples.push(sample);
        let over = run.plan.until_complete && world.is_over();
        let pause = if std::io::stderr().is_terminal() {
            0.5
        } else {
            20.0
        };
        if shown.elapsed().as_secs_f64() > pause || over || second == run.plan.seconds {
            shown = Instant::now();
            progress(&what, seed, run, &sample, started);
        }
        if over {
            break;
        }
    }
    eprintln!();
    world.close();
    let mut outcome = Outcome::of(&world, &run.label, samples);
    outcome
        .metrics
        .insert("wall_s", started.elapsed().as_secs_f64());
    outcome
}

fn progress(what: &str, seed: u64, run: &Run, sample: &Sample, started: Instant) {
    let line = format!(
        "{what} seed {seed}: {:>4} of {} s, {} peers, {} complete, {} stalled, {:.2} copies, {} M inputs, {:.0} s",
        sample.at_s,
        run.plan.seconds,
        sample.peers,
        sample.complete,
        sample.stalled,
        sample.copies,
        sample.inputs / 1_000_000,
        started.elapsed().as_secs_f64()
    );
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{line}");
    } else {
        eprintln!("{line}");
    }
    let _ = std::io::stderr().flush();
}

const HEAD: &str = "\
scenario          seed viewers copies  from  start  start  over  fluid  stall  stalls  seek   twice wrong+ cross   rtt  oracle random  whole  time/  wall
                                      peers   p50    p95 least   wait minutes          p95          twice region                            fluid
                                          %    ms     ms  p95 ms   ms      ‰          ms       %     %      %    ms     ms     ms     %            s
";

fn rows(name: &str, outcome: &Outcome, missed: &[String]) -> String {
    let m = |name: &str| outcome.metrics.get(name).copied().unwrap_or(f64::NAN);
    let mut text = format!(
        "{name:<17} {:>4} {:>7.0} {:>6.2} {:>5.1} {:>6.0} {:>6.0} {:>6.0} {:>5.0} {:>7.1} {:>6.0} {:>6.0} {:>6.2} {:>5.2} {:>6.1} {:>6.0} {:>6.0} {:>6.0} {:>6.1} {:>6.2} {:>5.0}",
        outcome.seed,
        m("viewers"),
        m("copies"),
        m("from_viewers_percent"),
        m("startup_p50_ms"),
        m("startup_p95_ms"),
        m("startup_over_least_p95_ms"),
        m("fluid_wait_ms"),
        m("stall_minutes_permille"),
        m("stalls"),
        m("seek_p95_ms"),
        m("twice_percent"),
        m("wasted_percent"),
        m("cross_region_percent"),
        m("rtt_ms"),
        m("rtt_oracle_ms"),
        m("rtt_random_ms"),
        m("complete_percent"),
        m("distribution_over_fluid"),
        m("wall_s"),
    );
    let mut notes = vec![outcome.label.clone()];
    notes.extend((m("lost_blocks") > 0.0).then(|| format!("{} blocks lost", m("lost_blocks"))));
    notes.extend(
        (m("own_queue_p95_ms") > 0.0).then(|| format!("own queue {} ms", m("own_queue_p95_ms"))),
    );
    notes.push(format!("{:.1} % from far", m("far_percent")));
    notes.extend((m("components_max") > 1.0).then(|| format!("{} parts", m("components_max"))));
    notes.extend((m("unseen") > 0.0).then(|| format!("{} never saw a picture", m("unseen"))));
    notes.retain(|note| !note.is_empty());
    if !notes.is_empty() {
        text += &format!("  {}", notes.join("; "));
    }
    text.push('\n');
    missed
        .iter()
        .for_each(|bound| text += &format!("    MISSED: {bound}\n"));
    text
}

fn draw(name: &str, seed: u64, outcomes: &[Outcome]) -> Result<()> {
    let folder = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => root().join(target),
        None => root().join("target"),
    };
    let folder = folder.join("sim");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let course = |of: &dyn Fn(&Sample) -> f64| -> Vec<Line> {
        let line = |outcome: &Outcome| Line {
            name: outcome.label.clone(),
            points: outcome
                .samples
                .iter()
                .map(|sample| (sample.at_s as f64, of(sample)))
                .collect(),
        };
        outcomes.iter().map(line).collect()
    };
    let startups = outcomes.iter().map(|outcome| Line {
        name: outcome.label.clone(),
        points: share_below(&outcome.startups_ms),
    });
    let plots = [
        (
            "startup",
            "startup delay",
            "seconds",
            "share of viewers, %",
            startups.collect(),
        ),
        (
            "stalls",
            "viewers who stand still",
            "seconds",
            "share, %",
            course(&|s| 100.0 * s.stalled as f64 / s.peers.max(1) as f64),
        ),
        (
            "copies",
            "copies from the publisher",
            "seconds",
            "copies",
            course(&|s| s.copies),
        ),
        (
            "regions",
            "bytes from another region",
            "seconds",
            "GB",
            course(&|s| s.cross_region as f64 / 1e9),
        ),
    ];
    for (kind, title, x, y, lines) in plots {
        let path: PathBuf = folder.join(format!("{name}-{seed}-{kind}.svg"));
        let title = format!("{name}, seed {seed}: {title}");
        std::fs::write(&path, plot::svg(&title, x, y, &lines))
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn share_below(sorted_ms: &[f64]) -> Vec<(f64, f64)> {
    let count = sorted_ms.len().max(1) as f64;
    sorted_ms
        .iter()
        .enumerate()
        .map(|(at, ms)| (ms / 1000.0, 100.0 * (at + 1) as f64 / count))
        .collect()
}
