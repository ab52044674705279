//! `webtorrent-cli` on the same loopback: a tracker, a seeder and whoever downloads, each a process of its own.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Prints MB/s from the start of the downloading program to its end, or that it is not installed.
pub fn webtorrent(bytes: u64) -> Result<()> {
    let name = "webtorrent-cli, 1 to 1";
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("webtorrent");
    if !packages.join("node_modules/webtorrent-cli").is_dir() {
        println!("{name:38}   not here");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let film = folder.path().join("film.bin");
    crate::stage::write_film(&film, bytes)?;
    let node = Node {
        packages,
        folder: folder.path().into(),
    };
    let port = free_port()?;
    let announce = format!("http://127.0.0.1:{port}/announce");
    let create = ["create", "film.bin", "-a", &announce, "-o", "film.torrent"];
    let made = node.webtorrent(&create).status().context("node")?;
    if !made.success() {
        bail!("webtorrent-cli made no torrent: {made}");
    }
    let mut tracker = node.run("node_modules/bittorrent-tracker/bin/cmd.js");
    let at = [
        "--http",
        "-p",
        &port.to_string(),
        "--http-hostname",
        "127.0.0.1",
    ]
    .map(String::from);
    let mut tracker = Ended(tracker.args(at).stdout(Stdio::null()).spawn()?);
    let seed = ["seed", "film.bin", "-a", &announce, "--keep-seeding"];
    let mut seeder = Ended(node.webtorrent(&seed).stdout(Stdio::piped()).spawn()?);
    seeds(&mut seeder.0)?;
    let before = crate::children_cpu_s() + process_cpu_s(seeder.0.id())?;
    let began = Instant::now();
    let get = ["download", "film.torrent", "-o", "out", "--quiet"];
    let got = node.webtorrent(&get).stdout(Stdio::null()).status()?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu_s = crate::children_cpu_s() + process_cpu_s(seeder.0.id())? - before;
    let copy = std::fs::metadata(folder.path().join("out/film.bin")).map_or(0, |it| it.len());
    if !got.success() || copy != bytes {
        bail!("webtorrent-cli got {copy} bytes of {bytes}: {got}");
    }
    let megabytes = bytes as f64 / 1e6;
    println!(
        "{name:38} {:>9.1} {:>16.2}   (over TCP, with its start)",
        megabytes / seconds,
        cpu_s * 100.0 / megabytes
    );
    tracker.0.kill()?;
    Ok(())
}

struct Node {
    packages: PathBuf,
    folder: PathBuf,
}

impl Node {
    fn run(&self, script: &str) -> Command {
        let mut node = Command::new("node");
        let hook = self.packages.join("without-webrtc.mjs");
        node.arg("--import")
            .arg(hook)
            .arg(self.packages.join(script))
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        node
    }

    fn webtorrent(&self, words: &[&str]) -> Command {
        let mut command = self.run("node_modules/webtorrent-cli/bin/cmd.js");
        command.args(words);
        command
    }
}

/// Waits until the seeder has looked through its file and serves it: its screen says so.
fn seeds(seeder: &mut Child) -> Result<()> {
    let mut screen = BufReader::new(seeder.stdout.take().context("it is piped")?);
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut line = Vec::new();
    while Instant::now() < deadline {
        line.clear();
        if screen.read_until(b'\n', &mut line)? == 0 {
            bail!("the seeder of webtorrent-cli ended");
        }
        if String::from_utf8_lossy(&line).contains("eeding") {
            // It goes on drawing: somebody must look.
            std::thread::spawn(move || std::io::copy(&mut screen, &mut std::io::sink()));
            return Ok(());
        }
    }
    bail!("webtorrent-cli does not seed")
}

fn process_cpu_s(process: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // After the name, which may hold anything: fields 14 and 15 of proc(5), in ticks of 10 ms.
    let rest = stat.rsplit_once(')').context("proc(5)")?.1;
    let ticks = rest.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.filter_map(|n| n.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A process that ends with us.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
