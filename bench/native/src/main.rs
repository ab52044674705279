//! `cargo xtask bench native [MEGABYTES]`: native peers beside a bare `webrtc` channel, on loopback, in one process.
//!
//! Prints MB/s and CPU-seconds per 100 MB, so that figures of a busy machine can be compared with each other.

mod bare;

use anyhow::{Context, Result, anyhow};
use baton_client_native::peer::{self, Destination, Net};
use baton_client_native::session::Handle;
use baton_client_native::{News, Source};
use baton_signal_server::{Config, Server};
use std::path::Path;
use std::time::Instant;

fn main() -> Result<()> {
    let megabytes = match std::env::args().nth(1) {
        Some(word) => word.parse().context("bench native [MEGABYTES]")?,
        None => 200,
    };
    // The first provider that is named is the process's; a second naming changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(megabytes))
}

async fn run(megabytes: u64) -> Result<()> {
    println!("{:32} {:>9} {:>16}", "", "MB/s", "CPU-s per 100 MB");
    for round in 1..=ROUNDS {
        println!("round {round}");
        let bytes = megabytes * 1_000_000;
        let meter = Meter::start();
        bare::carry(bytes).await?;
        meter.print("bare webrtc channel", bytes);
        swarm(1, bytes).await?;
        swarm(20, bytes / 10).await?;
    }
    println!(
        "peak memory of this process: {} MB",
        peak_bytes() / 1_000_000
    );
    Ok(())
}

/// One publisher and so many viewers at once, each of which gets everything.
async fn swarm(viewers: usize, bytes: u64) -> Result<()> {
    let server = Server::bind(Config::local()).await?.start();
    let net = Net {
        servers: vec![format!("http://{}", server.address())],
        ..Net::default()
    };
    let folder = tempfile::tempdir()?;
    let film = folder.path().join("film.bin");
    write_film(&film, bytes)?;
    let source = Source {
        name: "film.bin".into(),
        path: film,
    };
    let published =
        peer::publish(&[source], None, None, 0, &net).map_err(|exit| anyhow!("{exit}"))?;
    let meter = Meter::start();
    let mut all = tokio::task::JoinSet::new();
    for viewer in 0..viewers {
        let to = Destination::At(folder.path().join(format!("copy-{viewer}.bin")));
        let (session, _library) =
            peer::fetch(&published.url, to, &net).map_err(|exit| anyhow!("{exit}"))?;
        all.spawn(finished(session));
    }
    let mut sessions = Vec::new();
    while let Some(session) = all.join_next().await {
        sessions.push(session??);
    }
    meter.print(
        &format!("publisher to {viewers} at once, in all"),
        bytes * viewers as u64,
    );
    let sent = published.session.snapshot.borrow().stats.sent_bytes;
    println!(
        "{:32} {:>9.2}",
        "  copies sent by the publisher",
        sent as f64 / bytes as f64
    );
    for session in sessions {
        session.leave().await;
    }
    published.session.leave().await;
    Ok(())
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

/// Bytes that do not compress and that no two places share.
fn write_film(path: &Path, bytes: u64) -> Result<()> {
    use std::io::Write;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..bytes / 8 {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes())?;
    }
    Ok(file.flush()?)
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

    fn print(&self, name: &str, bytes: u64) {
        let megabytes = bytes as f64 / 1e6;
        let rate = megabytes / self.began.elapsed().as_secs_f64();
        println!(
            "{name:32} {rate:>9.1} {:>16.2}",
            (cpu_s() - self.cpu_s) * 100.0 / megabytes
        );
    }
}

fn usage() -> libc::rusage {
    // SAFETY: all zeros is a valid rusage, and the pointer is good for the call.
    unsafe {
        let mut usage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    }
}

fn cpu_s() -> f64 {
    let usage = usage();
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn peak_bytes() -> u64 {
    usage().ru_maxrss as u64 * 1024
}

/// The systems alternate: what else the machine does hits all of them.
const ROUNDS: usize = 3;
