//! `cargo xtask fuzz [TARGET] [--rounds N]`: hostile bytes for the parsers, for longer than `cargo xtask test` does it.
//! `cargo xtask fuzz --libfuzzer SECONDS [media|tags|subtitles|messages]`: the same bodies, led by what they have reached (fuzz/).
//!
//! The fuzz bodies are plain functions, and a seeded mutator drives them: a round that fails is named by its seed, and its file is written.
//! libFuzzer needs no nightly either: how it looks into a program is a pass of LLVM's that stable compilers have, and only its sanitizers,
//! which code without `unsafe` has little use for, are not to be had.

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

/// Programs of fuzz/, and what the names of their seed files begin with.
const BODIES: [(&str, Option<&str>); 4] = [
    ("media", Some("tiny")),
    ("tags", Some("tiny")),
    ("subtitles", None),
    (MESSAGES, None),
];
/// What cargo-fuzz gives the compiler, less its sanitizers.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
     -Cllvm-args=-simplifycfg-branch-fold-threshold=0 -Cdebug-assertions=yes --cfg fuzzing";

/// What was found goes on from run to run: target/fuzz/corpus. A file that makes a body fail is left in target/fuzz, with its name printed.
fn libfuzzer(arguments: &[String]) -> Result<()> {
    let (seconds, names) = arguments
        .split_first()
        .context("--libfuzzer needs a number of seconds")?;
    let seconds: u32 = seconds.parse().context("--libfuzzer SECONDS")?;
    let known = BODIES.map(|(name, _)| name);
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("no such body: {name}; there are {}", known.join(" "));
    }
    let folder = run::root().join("target/fuzz");
    // With a target of its own, so that build scripts and macros are not looked into.
    let host = host()?;
    let mut build = run::cargo();
    build
        .args(["build", "--quiet", "--release", "--package", "baton-fuzz"])
        .args(["--bins", "--target", &host, "--target-dir"])
        .arg(&folder)
        .env("RUSTFLAGS", COVERAGE);
    run::run(&mut build)?;
    // The seeds are what the tests make with ffmpeg.
    let clips = run::target().join("tmp/media-clips");
    for (name, prefix) in BODIES {
        if !names.is_empty() && !names.iter().any(|it| it == name) {
            continue;
        }
        let corpus = folder.join("corpus").join(name);
        std::fs::create_dir_all(&corpus)?;
        if let Some(prefix) = prefix {
            if !clips.is_dir() {
                run::run(run::cargo_test("baton-media", "hostile").arg("mutated_files"))?;
            }
            for clip in std::fs::read_dir(&clips)? {
                let clip = clip?;
                if clip.file_name().to_string_lossy().starts_with(prefix) {
                    std::fs::copy(clip.path(), corpus.join(clip.file_name()))?;
                }
            }
        }
        println!("{name}: {seconds} s");
        let program = folder
            .join(&host)
            .join("release")
            .join(format!("fuzz_{name}"));
        let mut fuzz = run::command(&program.to_string_lossy());
        fuzz.arg(format!("-max_total_time={seconds}"))
            .args([
                "-timeout=20",
                "-rss_limit_mb=1024",
                "-max_len=65536",
                "-print_final_stats=1",
            ])
            .arg(format!("-artifact_prefix={}/", folder.display()))
            .arg(&corpus);
        run::run(&mut fuzz)?;
    }
    Ok(())
}

/// What the compiler compiles for by itself.
fn host() -> Result<String> {
    let told = run::command("rustc").arg("-vV").output()?;
    let text = String::from_utf8(told.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}

pub fn fuzz(arguments: &[String]) -> Result<()> {
    if let [word, rest @ ..] = arguments
        && word == "--libfuzzer"
    {
        return libfuzzer(rest);
    }
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
