//! `cargo xtask bench [NAME …]`: a release build, then bench/run.mjs, which measures and prints.

use crate::{browsers, build, engines, npm, run, wasm};
use anyhow::Result;
use std::path::PathBuf;

/// Names and options are bench/run.mjs's own; `--help` lists them.
pub fn bench(arguments: &[String]) -> Result<()> {
    if let Some(("native", rest)) = arguments
        .split_first()
        .map(|(name, rest)| (name.as_str(), rest))
    {
        return native(rest);
    }
    if let [name, rest @ ..] = arguments
        && name == "signal"
    {
        return signal(rest);
    }
    if arguments == ["media"] {
        return media();
    }
    if arguments == ["tv"] {
        return tv();
    }
    let folder = run::root().join("bench");
    let script = folder.join("run.mjs");
    if arguments
        .iter()
        .any(|word| word == "--help" || word == "-h")
    {
        npm::install(&folder)?;
        return run::run(run::command("node").arg(script).arg("--help"));
    }
    let names = cases(arguments);
    // Of all cases only this one needs the media engine alone, and nothing else.
    let only_remux = !names.is_empty() && names.iter().all(|it| *it == "remux");
    if !only_remux {
        server_to_measure()?;
        run::stage("wire", wire)?;
    }
    if names.is_empty() || names.contains(&"remux") {
        run::stage("remux", wasm::build_to_measure)?;
    }
    npm::install(&folder)?;
    let browsers = browsers::ensure()?;
    run::run(
        browsers
            .to(run::command("node"))
            .env("BATON_WIRE", wire_program())
            .arg(script)
            .args(arguments),
    )
}

/// The cases that are named. Every option of run.mjs has one value.
fn cases(arguments: &[String]) -> Vec<&str> {
    let (mut names, mut words) = (Vec::new(), arguments.iter());
    while let Some(word) = words.next() {
        match word.starts_with('-') {
            true => drop(words.next()),
            false => names.push(word.as_str()),
        }
    }
    names
}

/// Native peers need no browser. The rival is measured where its packages can be had.
pub fn native(arguments: &[String]) -> Result<()> {
    if let Err(error) = npm::install(&run::root().join("bench/native/webtorrent")) {
        eprintln!("without webtorrent-cli: {error:#}");
    }
    program("baton-bench-native", arguments)
}

/// The signalling server beside WebTorrent's trackers, where those can be had.
fn signal(arguments: &[String]) -> Result<()> {
    server_to_measure()?;
    if let Err(error) = npm::install(&run::root().join("bench/signal/rivals")) {
        eprintln!("without bittorrent-tracker: {error:#}");
    }
    if let Err(error) = run::stage("aquatic_ws", aquatic) {
        eprintln!("without aquatic_ws: {error:#}");
    }
    program("baton-bench-signal", arguments)
}

/// Whether a server gives back the memory that clients of all kinds cost it.
pub fn server_soak(minutes: &str) -> Result<()> {
    server_to_measure()?;
    program("baton-bench-signal", &["soak".into(), minutes.into()])
}

/// A release build, unless `BATON_SERVER` names one that is to be measured as it is.
fn server_to_measure() -> Result<()> {
    if std::env::var_os("BATON_SERVER").is_none() {
        build::everything(build::Profile::Release)?;
    }
    Ok(())
}

/// Runs a program of bench/ with these words.
fn program(package: &str, words: &[String]) -> Result<()> {
    let mut cargo = run::cargo();
    cargo.args(["run", "--quiet", "--release", "--package", package, "--"]);
    run::run(cargo.args(words))
}

/// Ten minutes the first time.
fn aquatic() -> Result<bool> {
    let folder = run::root().join("target/rivals");
    if folder.join("bin/aquatic_ws").is_file() {
        return Ok(false);
    }
    let mut install = run::cargo();
    install
        .args([
            "install",
            "--quiet",
            "aquatic_ws",
            "--version",
            "=0.9.0",
            "--root",
        ])
        .arg(&folder)
        .arg("--target-dir")
        .arg(folder.join("build"));
    run::run(&mut install)?;
    Ok(true)
}

/// What a 1080p film of 8 Mbit/s costs Chromium 79, by thread (docs/tv.md).
fn tv() -> Result<()> {
    server_to_measure()?;
    engines::ensure()?;
    let folder = run::root().join("playwright");
    npm::install(&folder)?;
    run::run(
        browsers::ensure()?
            .to(run::command("node"))
            .args(["node_modules/@playwright/test/cli.js", "test"])
            .args(["tests/tv_bench.spec.ts", "--project=chromium"])
            .env("BATON_BENCH_TV", "1")
            .current_dir(folder),
    )
}

/// How fast the media engine turns files into segments, natively: 127 MB of film in each container.
fn media() -> Result<()> {
    let folder = run::target().join("media-bench");
    std::fs::create_dir_all(&folder)?;
    let film = run::root().join("tests/media/big-buck-bunny-480p-30s.mp4");
    let fragments = "-movflags +frag_keyframe+empty_moov+default_base_moof";
    for (name, options) in [
        ("film.mp4", ""),
        ("fragments.mp4", fragments),
        ("film.mkv", ""),
        ("film.ts", ""),
    ] {
        let path = folder.join(name);
        if !path.is_file() {
            let mut make = run::command("ffmpeg");
            make.args(["-v", "error", "-stream_loop", "29", "-i"])
                .arg(&film);
            run::run(
                make.args(["-c", "copy"])
                    .args(options.split_whitespace())
                    .arg(&path),
            )?;
        }
        run::run(
            run::cargo()
                .args([
                    "run",
                    "--quiet",
                    "--release",
                    "--package",
                    "baton-media",
                    "--example",
                    "remux",
                    "--",
                ])
                .arg(&path)
                .env("DRY", "1"),
        )?;
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// The slow network of the shaped figures. Cargo knows by itself whether there is anything to do.
fn wire() -> Result<bool> {
    run::run(run::cargo().args(["build", "--quiet", "--release", "--package", "baton-wire"]))?;
    Ok(true)
}

fn wire_program() -> PathBuf {
    run::target().join("release/baton-wire")
}
