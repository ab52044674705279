//! `cargo xtask bench native [MEGABYTES] [--minutes N | --keeper VIEWERS | --beside]`: native peers beside a bare `webrtc` channel, on loopback.
//!
//! Prints MB/s and CPU-seconds per 100 MB, so that figures of a busy machine can be compared with each other, then what issue 7 asks
//! for and whether it is so. With `--minutes`, one transfer goes on for so long, memory is printed each minute, and growth is a failure.
//! With `--keeper`, only that row is measured; with `--beside`, only curl from nginx and webtorrent-cli.

mod bare;
mod ceiling;
mod keeper;
mod rival;
mod soak;
mod stage;

use crate::stage::Stage;
use anyhow::{Context, Result, anyhow};
use baton_client_native::News;
use baton_client_native::session::{Handle, Snapshot};
use std::path::Path;
use std::time::Instant;

fn main() -> Result<()> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    // The first provider that is named is the process's; a second naming changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    baton_client_native::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    if let [mode, ticket, folder] = words.as_slice()
        && mode == keeper::MODE
    {
        return runtime.block_on(keeper::be_one(ticket, Path::new(folder)));
    }
    let minutes = take_number(&mut words, "--minutes")?;
    let viewers = take_number(&mut words, "--keeper")?;
    let beside = words.iter().position(|word| word == "--beside");
    let only_beside = beside.map(|at| words.remove(at)).is_some();
    let megabytes = match words.first() {
        Some(word) => Some(word.parse().context("bench native [MEGABYTES]")?),
        None => None,
    };
    let bytes = |usual: u64| megabytes.unwrap_or(usual) * 1_000_000;
    runtime.block_on(async {
        match (minutes, viewers) {
            (Some(minutes), _) => soak::run(minutes).await,
            (None, Some(viewers)) => {
                keeper_row(usize::try_from(viewers)?, bytes(KEPT_MEGABYTES)).await
            }
            (None, None) if only_beside => {
                println!(
                    "load {}\n{:38} {:>9} {:>16}",
                    load(),
                    "",
                    "MB/s",
                    "CPU-s per 100 MB"
                );
                rows_beside(bytes(MEGABYTES))
            }
            (None, None) => run(bytes(MEGABYTES)).await,
        }
    })
}

/// The number behind a flag, which is taken out of the words.
fn take_number(words: &mut Vec<String>, flag: &'static str) -> Result<Option<u64>> {
    let Some(at) = words.iter().position(|word| word == flag) else {
        return Ok(None);
    };
    let number = words.get(at + 1).and_then(|word| word.parse().ok());
    words.drain(at..(at + 2).min(words.len()));
    Ok(Some(number.with_context(|| format!("{flag} NUMBER"))?))
}

async fn run(bytes: u64) -> Result<()> {
    println!("load {}", load());
    println!("{:38} {:>9} {:>16}", "", "MB/s", "CPU-s per 100 MB");
    let [mut one, mut twenty, mut one_roomy, mut twenty_roomy] = [(); 4].map(|()| Vec::new());
    for round in 1..=ROUNDS {
        println!("round {round}");
        let meter = Meter::start();
        bare::carry(bytes, false).await?;
        let bare = meter.print("bare webrtc channel", bytes);
        let meter = Meter::start();
        bare::carry(bytes, true).await?;
        let roomy = meter.print("the same with sockets like ours", bytes);
        let (one_now, twenty_now) = (swarm(1, bytes).await?, swarm(20, bytes / 10).await?);
        one.push(one_now / bare);
        one_roomy.push(one_now / roomy);
        twenty.push(twenty_now / bare);
        twenty_roomy.push(twenty_now / roomy);
    }
    rows_beside(bytes)?;
    keeper_row(100, KEPT_MEGABYTES * 1_000_000).await?;
    println!("\nload {}", load());
    verdict("native to native, of a bare channel", median(one), 0.9);
    verdict("  with sockets like ours", median(one_roomy), 0.9);
    verdict("20 at once in all, of a bare channel", median(twenty), 1.0);
    verdict("  with sockets like ours", median(twenty_roomy), 1.0);
    Ok(())
}

/// What else carries a film over loopback: the ceiling, and the rival.
fn rows_beside(bytes: u64) -> Result<()> {
    ceiling::curl_from_nginx(bytes)?;
    if let Err(error) = rival::webtorrent(bytes) {
        println!("webtorrent-cli: {error:#}");
    }
    Ok(())
}

/// What a keeper holds that serves so many.
async fn keeper_row(viewers: usize, bytes: u64) -> Result<()> {
    let peak = keeper::serves(viewers, bytes).await?;
    let fits = if peak < KEEPER_BYTES_MAX { "yes" } else { "NO" };
    println!(
        "{:38} {:>9} MB  wanted below {} MB: {fits}",
        format!("a keeper serving {viewers} viewers, VmHWM"),
        peak / 1_000_000,
        KEEPER_BYTES_MAX / 1_000_000
    );
    Ok(())
}

fn verdict(name: &str, ratio: f64, wanted: f64) {
    let fits = if ratio >= wanted { "yes" } else { "NO" };
    println!("{name:38} {ratio:>9.2}     wanted {wanted:.2}: {fits}");
}

fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// One publisher and so many viewers at once, each of which gets everything. MB/s in all.
async fn swarm(viewers: usize, bytes: u64) -> Result<f64> {
    let stage = Stage::new().await?;
    let published = stage.publish(bytes)?;
    let meter = Meter::start();
    let mut all = tokio::task::JoinSet::new();
    for viewer in 0..viewers {
        let mut session = stage.viewer(&published.url, viewer, &stage.net)?;
        all.spawn(async move {
            // As the bare channel's: to the last byte. Hashing and the disk come after it.
            let complete = |now: &Snapshot| now.stats.completeness_permille == 1000;
            session.snapshot.wait_for(complete).await?;
            anyhow::Ok(session)
        });
    }
    let mut sessions = Vec::new();
    while let Some(session) = all.join_next().await {
        sessions.push(session??);
    }
    let rate = meter.print(
        &format!("publisher to {viewers} at once, in all"),
        bytes * viewers as u64,
    );
    let mut done = Vec::new();
    for session in sessions {
        done.push(finished(session).await?);
    }
    let sessions = done;
    let sent = published.session.snapshot.borrow().stats.sent_bytes;
    println!(
        "{:38} {:>9.2}",
        "  copies sent by the publisher",
        sent as f64 / bytes as f64
    );
    for session in sessions {
        session.leave().await;
    }
    published.session.leave().await;
    Ok(rate)
}

async fn finished(mut session: Handle) -> Result<Handle> {
    loop {
        match session.news.recv().await {
            Some(News::Finished) => return Ok(session),
            Some(News::Problem(problem)) => return Err(anyhow!("{problem}")),
            Some(_) => {}
            None => return Err(anyhow!("a session ended")),
        }
    }
}

/// Wall clock and processor time since it was started.
struct Meter {
    began: Instant,
    cpu_s: f64,
}

impl Meter {
    fn start() -> Meter {
        Meter {
            began: Instant::now(),
            cpu_s: cpu_s(),
        }
    }

    /// Says and returns MB/s.
    fn print(&self, name: &str, bytes: u64) -> f64 {
        let megabytes = bytes as f64 / 1e6;
        let rate = megabytes / self.began.elapsed().as_secs_f64();
        println!(
            "{name:38} {rate:>9.1} {:>16.2}",
            (cpu_s() - self.cpu_s) * 100.0 / megabytes
        );
        rate
    }
}

/// What else the machine did, for whoever reads the figures.
fn load() -> String {
    std::fs::read_to_string("/proc/loadavg")
        .map_or_else(|_| "unknown".into(), |it| it.trim().into())
}

fn usage(of: libc::c_int) -> libc::rusage {
    // SAFETY: all zeros is a valid rusage, and the pointer is good for the call.
    unsafe {
        let mut usage = std::mem::zeroed();
        libc::getrusage(of, &mut usage);
        usage
    }
}

fn cpu_s() -> f64 {
    cpu_s_of(libc::RUSAGE_SELF)
}

/// Processor time of child processes that have ended.
fn children_cpu_s() -> f64 {
    cpu_s_of(libc::RUSAGE_CHILDREN)
}

fn cpu_s_of(of: libc::c_int) -> f64 {
    let usage = usage(of);
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// The systems alternate: what else the machine does hits all of them.
const ROUNDS: usize = 3;
/// What is carried where nothing is said.
const MEGABYTES: u64 = 200;
/// The film that a keeper serves to a hundred: they take it for minutes, so that all are there before the first has it.
const KEPT_MEGABYTES: u64 = 100;
/// What a keeper may hold while it serves a hundred (issue 7).
const KEEPER_BYTES_MAX: u64 = 300_000_000;
