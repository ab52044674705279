//! A keeper in a process of its own, so that its memory is its alone, and many viewers who get everything from it.

use anyhow::{Context, Result, anyhow};
use baton_client_native::peer::{self, Destination, Net};
use baton_client_native::{Source, Space, Uplink};
use baton_content::Ticket;
use baton_signal_server::{Config, Server};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

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

/// So many viewers at once, who pass nothing on. The most that the keeper held, bytes.
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
    let mut keeper = Command::new(std::env::current_exe()?)
        .args([MODE, &link.ticket().encode()])
        .arg(folder.path().join("kept"))
        .spawn()?;
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
    let meter = crate::Meter::start();
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
    }
    let mut sessions = Vec::new();
    while let Some(session) = all.join_next().await {
        sessions.push(session??);
    }
    let name = format!("a keeper to {viewers} viewers, in all");
    meter.print(&name, FILM_BYTES * viewers as u64);
    let peak = memory(keeper.id(), "VmHWM")?;
    keeper.kill()?;
    keeper.wait()?;
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
