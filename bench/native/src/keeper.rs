//! A keeper in a process of its own, so that its memory is its alone, and many viewers who get everything from it.

use crate::stage::Stage;
use anyhow::{Context, Result, anyhow, bail};
use baton_client_native::peer::{self, Net};
use baton_client_native::session::Handle;
use baton_client_native::{Space, Uplink};
use baton_content::Ticket;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::interval;

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

/// So many viewers at once, who pass nothing on, each of a film of so many bytes. The most that the keeper held, bytes.
///
/// They come one after the other and as fast as they get in. Says all the while how many have come, how many of them fetch, and what the keeper
/// holds, and gives up after [`PATIENCE`].
pub async fn serves(viewers: usize, bytes: u64) -> Result<u64> {
    let stage = Stage::new().await?;
    let mut published = stage.publish(bytes)?;
    let mut link = published.link.clone();
    link.add_server(&stage.net.servers[0])?;
    let keeper = Command::new(std::env::current_exe()?)
        .args([MODE, &link.ticket().encode()])
        .arg(stage.folder.path().join("kept"))
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
        ..stage.net.clone()
    };
    println!(
        "a film of {} MB; the keeper holds {} MB before they come",
        bytes / 1_000_000,
        memory(keeper.0.id(), "VmRSS")? / 1_000_000
    );
    println!(
        "{:>8} {:>8} {:>10} {:>12} {:>10} {:>14}",
        "second", "viewers", "fetching", "MB carried", "MB held", "most until now"
    );
    let meter = crate::Meter::start();
    let mut crowd = Crowd::default();
    let (mut look, mut tell) = (interval(LOOK), interval(TELL));
    let mut coming: Option<Handle> = None;
    while crowd.whole < viewers {
        if meter.began.elapsed() > PATIENCE {
            bail!("{} of {viewers} got everything in time", crowd.whole);
        }
        if coming.is_none() && crowd.sessions.len() < viewers {
            coming = Some(stage.viewer(&url, crowd.sessions.len(), &only_takes)?);
        }
        tokio::select! {
            _ = look.tick() => crowd.look(keeper.0.id())?,
            _ = tell.tick() => crowd.tell(meter.began),
            // A hundred handshakes at once are a test of something else.
            connected = connected(&mut coming), if coming.is_some() => {
                connected?;
                crowd.sessions.extend(coming.take());
                crowd.look(keeper.0.id())?;
                if crowd.sessions.len() == viewers {
                    println!("all have come:");
                    crowd.tell(meter.began);
                }
            }
        }
    }
    crowd.tell(meter.began);
    let name = format!("a keeper to {viewers} viewers, in all");
    meter.print(&name, bytes * viewers as u64);
    println!(
        "{:38} {:>9}",
        "  fetching at once, at most", crowd.fetching_most
    );
    let peak = memory(keeper.0.id(), "VmHWM")?;
    // Each compares its copy with the publisher's hash.
    for session in crowd.sessions {
        crate::finished(session).await?;
    }
    Ok(peak)
}

async fn connected(coming: &mut Option<Handle>) -> Result<()> {
    if let Some(session) = coming {
        let mut snapshot = session.snapshot.clone();
        snapshot.wait_for(|now| !now.stats.peers.is_empty()).await?;
    }
    Ok(())
}

/// Those who have come.
#[derive(Default)]
struct Crowd {
    sessions: Vec<Handle>,
    whole: usize,
    carried: u64,
    fetching_most: usize,
    held: u64,
    held_most: u64,
}

impl Crowd {
    fn look(&mut self, keeper: u32) -> Result<()> {
        (self.whole, self.carried) = (0, 0);
        for session in &self.sessions {
            let now = session.snapshot.borrow();
            self.whole += usize::from(now.stats.completeness_permille == 1000);
            self.carried += now.stats.received_bytes;
        }
        self.fetching_most = self.fetching_most.max(self.sessions.len() - self.whole);
        self.held = memory(keeper, "VmRSS")?;
        self.held_most = self.held_most.max(self.held);
        Ok(())
    }

    fn tell(&self, began: Instant) {
        println!(
            "{:>8.0} {:>8} {:>10} {:>12} {:>10} {:>14}",
            began.elapsed().as_secs_f64(),
            self.sessions.len(),
            self.sessions.len() - self.whole,
            self.carried / 1_000_000,
            self.held / 1_000_000,
            self.held_most / 1_000_000
        );
    }
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

/// How often memory is looked at. Between two looks Linux itself notes the most (`VmHWM`).
const LOOK: Duration = Duration::from_millis(250);
/// How often a line is printed.
const TELL: Duration = Duration::from_secs(5);
/// Ten times what a quiet machine takes.
const PATIENCE: Duration = Duration::from_secs(1500);
