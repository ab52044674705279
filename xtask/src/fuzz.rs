//! `cargo xtask fuzz [TARGET] [--rounds N]`: hostile bytes for the parsers, for longer than `cargo xtask test` does it.
//!
//! The fuzz bodies are plain functions, and a seeded mutator drives them on stable Rust: a round that fails is named by
//! its seed, and its file is written. (libFuzzer would need nightly.)

use crate::run;
use anyhow::{Context, Result, bail};

/// What there is, and what the names of its seed files end in.
const TARGETS: [(&str, &str); 6] = [
    ("mp4", "mp4,mov"),
    ("mkv", "mkv,webm"),
    ("ts", "ts"),
    ("sound", "mp3,aac,flac,opus,ogg,wav"),
    ("subtitles", ""),
    (MESSAGES, ""),
];
/// What clients and servers say to each other (signal-protocol).
const MESSAGES: &str = "messages";
const ROUNDS: &str = "3000";

pub fn fuzz(arguments: &[String]) -> Result<()> {
    let (mut rounds, mut wanted) = (ROUNDS.to_string(), Vec::new());
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => rounds = words.next().context("--rounds needs a number")?.clone(),
            name => match TARGETS.iter().find(|(target, _)| *target == name) {
                Some(target) => wanted.push(*target),
                None => bail!(
                    "no such target: {name}; there are {}",
                    TARGETS.map(|t| t.0).join(" ")
                ),
            },
        }
    }
    if wanted.is_empty() {
        wanted.extend(TARGETS);
    }
    // Other mutants in every run; the seed is printed, so that a run can be had again.
    let seed = std::env::var("FUZZ_SEED").unwrap_or_else(|_| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |t| t.as_secs()).to_string()
    });
    for (name, endings) in wanted {
        println!("{name}: {rounds} rounds, FUZZ_SEED={seed}");
        let (package, test) = match name {
            MESSAGES => ("baton-signal-protocol", "mutated_messages"),
            "subtitles" => ("baton-media", "mutated_subtitles"),
            _ => ("baton-media", "mutated_files"),
        };
        run::run(
            run::cargo_test(package, "hostile")
                .arg(test)
                .env("FUZZ_ROUNDS", &rounds)
                .env("FUZZ_SEED", &seed)
                .env("FUZZ_ENDINGS", endings),
        )?;
    }
    Ok(())
}
