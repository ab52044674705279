//! `cargo xtask test`: set-up, then the stages, then one line with the sum.

use crate::report::Totals;
use crate::{browsers, build, deny, engines, npm, run, wasm};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// Cheap ones first, so that a typo shows before the browsers start.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// Format and clippy.
    Lint,
    /// Unit, property, virtual-time and real-socket tests.
    Native,
    /// Both WASM builds in Node, and what Node says to our golden vectors.
    Wasm,
    /// Types and unit tests of the web app.
    Web,
    /// Real browsers.
    Browsers,
}

const STAGES: [(&str, Stage); 5] = [
    ("lint", Stage::Lint),
    ("native", Stage::Native),
    ("wasm", Stage::Wasm),
    ("web", Stage::Web),
    ("browsers", Stage::Browsers),
];

impl Stage {
    fn needs_build(self) -> bool {
        matches!(self, Self::Wasm | Self::Web | Self::Browsers)
    }

    /// Whether it needs what a bare machine has not: ffmpeg (media's oracle), redis-server, pebble, pulseaudio or browsers.
    fn needs_programs(self) -> bool {
        matches!(self, Self::Native | Self::Browsers)
    }
}

/// Runs the stages named, or all; what follows `--` goes to the browsers' test runner.
///
/// The last line printed is `N passed, N failed`; the exit code is 0 only when nothing failed.
pub fn test(arguments: &[String]) -> Result<ExitCode> {
    let (stages, runner_arguments) = parse(arguments)?;
    let mut lines = Vec::new();
    // Before the first stage: a machine that lacks them should fail in a second, not in ten minutes.
    if stages.iter().any(|(_, stage)| stage.needs_programs()) {
        let started = Instant::now();
        browsers::ensure()?;
        lines.push(minutes("set-up", started));
    }
    let mut sum = Totals::default();
    let mut built = true;
    if stages.iter().any(|(_, stage)| stage.needs_build()) {
        let started = Instant::now();
        built = build::everything(build::Profile::Dev)
            .inspect_err(|error| eprintln!("error: {error:#}"))
            .is_ok();
        lines.push(minutes("build", started));
        sum += if built {
            Totals::default()
        } else {
            Totals::FAILED
        };
    }
    for (name, stage) in stages {
        let started = Instant::now();
        let totals = if stage.needs_build() && !built {
            Totals::FAILED
        } else {
            eprintln!("── {name}");
            work(stage, runner_arguments).unwrap_or_else(|error| {
                eprintln!("error: {error:#}");
                Totals::FAILED
            })
        };
        lines.push(format!(
            "{}  {} passed, {} failed",
            minutes(name, started),
            totals.passed,
            totals.failed
        ));
        sum += totals;
    }
    println!("\n{}", lines.join("\n"));
    println!("{} passed, {} failed", sum.passed, sum.failed);
    Ok(if sum.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A line of the table at the end: what took so long.
fn minutes(name: &str, since: Instant) -> String {
    format!(
        "{name:<10} {:>5.1} min",
        since.elapsed().as_secs_f64() / 60.0
    )
}

type Named = (&'static str, Stage);

fn parse(arguments: &[String]) -> Result<(Vec<Named>, &[String])> {
    let end = arguments
        .iter()
        .position(|argument| argument == "--")
        .unwrap_or(arguments.len());
    let rest = arguments.get(end + 1..).unwrap_or_default();
    let names = &arguments[..end];
    for name in names {
        if !STAGES.iter().any(|(known, _)| known == name) {
            bail!(
                "no such stage: {name}; there are {}",
                STAGES.map(|(name, _)| name).join(", ")
            );
        }
    }
    let chosen = STAGES
        .into_iter()
        .filter(|(name, _)| names.is_empty() || names.iter().any(|it| it == name));
    Ok((chosen.collect(), rest))
}

fn work(stage: Stage, runner_arguments: &[String]) -> Result<Totals> {
    match stage {
        Stage::Lint => lint(),
        Stage::Native => native(),
        Stage::Wasm => {
            let folder = run::root().join("playwright");
            npm::install(&folder)?;
            node_tests(&folder.join("node"))
        }
        Stage::Web => web(),
        Stage::Browsers => in_browsers(runner_arguments),
    }
}

/// Each check counts as one test.
fn lint() -> Result<Totals> {
    wasm::add_target()?;
    let mut totals = Totals::default();
    let mut check = |component: &str, arguments: &[&str]| -> Result<()> {
        component_here(component)?;
        let passed = run::run(run::cargo().args(arguments))
            .inspect_err(|error| eprintln!("error: {error:#}"))
            .is_ok();
        totals += if passed {
            Totals::PASSED
        } else {
            Totals::FAILED
        };
        Ok(())
    };
    check("rustfmt", &["fmt", "--all", "--check"])?;
    let clippy = [
        &["clippy", "--quiet", "--all-targets"],
        &build::NATIVE[..],
        &["--", "-D", "warnings"],
    ]
    .concat();
    check("clippy", &clippy)?;
    let client = [
        "clippy",
        "--quiet",
        "--package",
        "baton-client-wasm",
        "--package",
        "baton-remote-wasm",
        "--package",
        "baton-media-wasm",
        "--package",
        "baton-ac3-wasm",
        "--package",
        "baton-remux-wasm",
        "--target",
        wasm::TARGET,
    ];
    check("clippy", &[&client[..], &["--", "-D", "warnings"]].concat())?;
    totals += match deny::licences() {
        Ok(()) => Totals::PASSED,
        Err(error) => {
            eprintln!("error: {error:#}");
            Totals::FAILED
        }
    };
    Ok(totals)
}

/// A minimal toolchain has neither rustfmt nor clippy.
fn component_here(component: &str) -> Result<()> {
    let program = if component == "clippy" {
        "cargo-clippy"
    } else {
        "rustfmt"
    };
    if run::command(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return Ok(());
    }
    run::run(run::command("rustup").args(["component", "add", component]))
}

fn native() -> Result<Totals> {
    let mut totals = cargo_test(&build::NATIVE)?;
    // Apart, so that this program's dependencies keep the features with which it was just compiled.
    totals += cargo_test(&["--package", "xtask"])?;
    Ok(totals)
}

fn cargo_test(packages: &[&str]) -> Result<Totals> {
    let (output, success) = tee(run::cargo()
        .args(["test", "--quiet", "--no-fail-fast"])
        .args(packages))?;
    Ok(Totals::of_cargo(&output).judged(success))
}

/// `node --test` on the `*.test.mjs` of a folder.
fn node_tests(folder: &Path) -> Result<Totals> {
    let tests = run::names_of(folder, "mjs")?
        .into_iter()
        .filter(|name| name.ends_with(".test"));
    let files = tests.map(|name| folder.join(format!("{name}.mjs")));
    let (output, success) = tee(run::command("node")
        .args(["--test", "--test-reporter=spec"])
        .args(files))?;
    Ok(Totals::of_node(&output).judged(success))
}

/// Types (one test), then unit tests where there are some.
fn web() -> Result<Totals> {
    let web = run::root().join("web");
    let package = match std::fs::read_to_string(web.join("package.json")) {
        Ok(package) => package,
        Err(_) => return Ok(Totals::default()),
    };
    npm::install(&web)?;
    let package: serde_json::Value = serde_json::from_str(&package).context("web/package.json")?;
    let mut totals = Totals::default();
    if package["scripts"]["check"].is_string() {
        let (_, success) = tee(&mut npm::script(&web, "check"))?;
        totals += if success {
            Totals::PASSED
        } else {
            Totals::FAILED
        };
    }
    if package["scripts"]["test"].is_string() {
        let (output, success) = tee(&mut npm::script(&web, "test"))?;
        totals += Totals::of_vitest(&output).judged(success);
    }
    Ok(totals)
}

/// `cargo xtask media-matrix [-- …]`: every kind of film in both browsers. What follows goes to the browsers' test runner.
pub fn media_matrix(arguments: &[String]) -> Result<ExitCode> {
    build::everything(build::Profile::Dev)?;
    // Half a minute for each film and browser on two slow cores, and patience.
    let fixed = ["tests/matrix.spec.ts", "--global-timeout=7200000"].map(str::to_owned);
    let rest = arguments.iter().filter(|word| *word != "--").cloned();
    let arguments: Vec<String> = fixed.into_iter().chain(rest).collect();
    let totals = in_browsers_with(&arguments, &[("BATON_MATRIX", "all")])?;
    println!("{} passed, {} failed", totals.passed, totals.failed);
    Ok(if totals.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn in_browsers(arguments: &[String]) -> Result<Totals> {
    in_browsers_with(arguments, &[])
}

/// The types of the tests themselves (one test), then Playwright.
fn in_browsers_with(arguments: &[String], variables: &[(&str, &str)]) -> Result<Totals> {
    let folder = run::root().join("playwright");
    let browsers = browsers::ensure()?;
    engines::ensure()?;
    npm::install(&folder)?;
    let (_, success) = tee(&mut npm::script(&folder, "check"))?;
    let mut totals = if success {
        Totals::PASSED
    } else {
        Totals::FAILED
    };
    let report = folder.join("report/results.json");
    let _ = std::fs::remove_file(&report);
    let mut runner = browsers.to(run::command("node"));
    runner
        .arg("node_modules/@playwright/test/cli.js")
        .arg("test")
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(&folder);
    let (_, success) = tee(&mut runner)?;
    totals += Totals::of_playwright(&report)
        .unwrap_or_default()
        .judged(success);
    Ok(totals)
}

/// Runs a command, shows what it prints on standard output as it comes, and returns that.
fn tee(command: &mut Command) -> Result<(String, bool)> {
    let name = command.get_program().to_string_lossy().into_owned();
    command
        .env("NO_COLOR", "1")
        .env_remove("FORCE_COLOR")
        .stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let mut output = BufReader::new(child.stdout.take().expect("piped above"));
    let (mut text, mut line) = (String::new(), Vec::new());
    while output.read_until(b'\n', &mut line)? > 0 {
        std::io::stdout().write_all(&line)?;
        text.push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok((text, child.wait()?.success()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Option<(Vec<&'static str>, usize)> {
        let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
        let (stages, rest) = parse(&words).ok()?;
        Some((
            stages.into_iter().map(|(name, _)| name).collect(),
            rest.len(),
        ))
    }

    #[test]
    fn without_a_name_every_stage_runs() {
        assert_eq!(
            parsed(&[]),
            Some((vec!["lint", "native", "wasm", "web", "browsers"], 0))
        );
    }

    #[test]
    fn stages_run_in_their_own_order_and_the_rest_goes_to_the_runner() {
        assert_eq!(
            parsed(&["browsers", "lint", "--", "--grep", "seek"]),
            Some((vec!["lint", "browsers"], 2))
        );
        assert_eq!(parsed(&["nonsense"]), None);
    }
}
