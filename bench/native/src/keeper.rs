//! A keeper in a process of its own, so that its memory is its alone, and many viewers who get everything from it.

use anyhow::{Context, Result, anyhow};
use baton_client_native::peer::{self, Destination, Net};
use baton_client_native::{Source, Space, Uplink};
use baton_content::Ticket;
use baton_signal_server::{Config, Server};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first word of the keeper's own process.
pub const MODE: &str = "--be-a-keeper";

/// What that process does, until it is killed.
pub async fn be_one(ticket: &str, folder: &Path) -> Result<()> {
    let ticket = Ticket::parse(ticket)?;
    let space = Arc::new(Space::new(1 << 40));
    let mut kept =
        peer::keep(&ticket, folder, &space, &Net::default()).map_err(|exit| anyhow!("{exit}"))?;
    while kept.news.recv().await.is_some() {}
    Ok(())
}

/// The keeper's process, which ends with the benchmark however that ends.
struct Keeper(Child);

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// So many viewers at once, who pass nothing on. The most that the keeper held, bytes.
///
/// Says how far it is, and gives up after [`PATIENCE`].
pub async fn serves(viewers: usize) -> Result<u64> {
    let server = Server::bind(Config::local()).await?.start();
    let origin = format!("http://{}", server.address());
    let net = Net {
        servers: vec![origin.clone()],
        ..Net::default()
    };
    let folder = tempfile::tempdir()?;
    let film = folder.path().join("film.bin");
    crate::write_film(&film, FILM_BYTES)?;
    let source = Source {
        name: "film.bin".into(),
        path: film,
    };
    let mut published =
        peer::publish(&[source], None, None, 0, &net).map_err(|exit| anyhow!("{exit}"))?;
    let mut link = published.link.clone();
    link.add_server(&origin)?;
    let keeper = Command::new(std::env::current_exe()?)
        .args([MODE, &link.ticket().encode()])
        .arg(folder.path().join("kept"))
        .spawn()?;
    let keeper = Keeper(keeper);
    let snapshot = &mut published.session.snapshot;
    // All of it, the second manifest with the hash included, before the publisher goes.
    snapshot
        .wait_for(|now| now.stats.complete_peers == 1)
        .await?;
    let url = published.url.clone();
    published.session.leave().await;
    let only_takes = Net {
        uplink: Uplink::new(None, Some(0)),
        // The keeper comes first; connections among viewers, all in this process, would be six hundred more.
        peers_wanted: Some(1),
        ..net
    };
    let (meter, began) = (crate::Meter::start(), Instant::now());
    let tell = |what: &str, count: usize| {
        if count.is_multiple_of(TELL_EACH) || count == viewers {
            let held = memory(keeper.0.id(), "VmRSS").unwrap_or(0) / 1_000_000;
            let after = began.elapsed().as_secs_f64();
            println!("  {count:3} viewers {what} after {after:.1} s, the keeper holds {held} MB");
        }
    };
    let serving = async {
        let mut all = tokio::task::JoinSet::new();
        for viewer in 0..viewers {
            let to = Destination::At(folder.path().join(format!("copy-{viewer}.bin")));
            let (mut session, _library) =
                peer::fetch(&url, to, &only_takes).map_err(|exit| anyhow!("{exit}"))?;
            // One after the other: a hundred handshakes at once are a test of something else.
            session
                .snapshot
                .wait_for(|now| !now.stats.peers.is_empty())
                .await?;
            all.spawn(crate::finished(session));
            tell("have come", viewer + 1);
        }
        let mut sessions = Vec::new();
        while let Some(session) = all.join_next().await {
            sessions.push(session??);
            tell("have everything", sessions.len());
        }
        anyhow::Ok(sessions)
    };
    let sessions = tokio::time::timeout(PATIENCE, serving).await;
    let sessions = sessions.context("not all of them got everything in time")??;
    let name = format!("a keeper to {viewers} viewers, in all");
    meter.print(&name, FILM_BYTES * viewers as u64);
    let peak = memory(keeper.0.id(), "VmHWM")?;
    drop(sessions);
    Ok(peak)
}

/// What Linux says of a process: `VmHWM` is the most it held, `VmRSS` what it holds. Bytes.
pub fn memory(process: u32, what: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kilobytes = line
        .and_then(|line| line.trim_start_matches(':').split_whitespace().next())
        .context("Linux says it")?;
    Ok(kilobytes.parse::<u64>()? * 1024)
}

/// Each viewer's film: with a hundred of them a minute's work.
const FILM_BYTES: u64 = 4_000_000;
/// How often progress is told, viewers.
const TELL_EACH: usize = 20;
/// Thirty times what a quiet machine takes.
const PATIENCE: Duration = Duration::from_secs(600);
