//! `baton info`: what is behind a link and who has it; fetches the manifest and nothing else.

use super::{fatal, net, nobody, stopped};
use crate::args;
use crate::exit::{self, Exit};
use crate::peer::{self, Destination};
use crate::show::{self, Show};
use crate::worker::News;
use indicatif::HumanBytes;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

pub async fn run(args: args::Info, show: &mut Show) -> Result<(), Exit> {
    let (mut session, library) = peer::fetch(&args.link, Destination::Nowhere, &net(&args.net))?;
    let deadline = Instant::now() + args.timeout;
    show.wait_for("looking for whoever has it");
    let end = stopped();
    tokio::pin!(end);
    let known = loop {
        tokio::select! {
            () = &mut end => break Err(Exit::new(exit::INTERRUPTED, "stopped")),
            () = sleep_until(deadline) => break Err(nobody(&session.snapshot.borrow(), "nobody who has it is here")),
            news = session.news.recv() => match news {
                Some(News::Manifest) => break Ok(()),
                Some(news) => if let Some(exit) = fatal(&news) { break Err(exit) },
                None => break Err(Exit::new(exit::OTHER, "the session ended")),
            },
        }
    };
    if known.is_ok() {
        // The other peers answer a moment later than the first.
        sleep_until(deadline.min(Instant::now() + LOOK_AROUND)).await;
        show.finish();
        describe(&library, &session, show);
    }
    show.finish();
    session.leave().await;
    known
}

fn describe(library: &crate::Library, session: &crate::session::Handle, show: &Show) {
    let Some(manifest) = library.manifest() else {
        return;
    };
    let now = session.snapshot.borrow();
    let size: u64 = manifest.entries.iter().map(|entry| entry.size).sum();
    let hash = |entry: &baton_content::Entry| {
        entry
            .blake3
            .map(|h| h.iter().map(|b| format!("{b:02x}")).collect::<String>())
    };
    let near: Vec<_> = now
        .candidates
        .iter()
        .map(|c| {
            json!({
                "region": c.region,
                "complete": f64::from(c.completeness_permille) / 1000.0,
                "free_slots": c.free_slots,
            })
        })
        .collect();
    let event = json!({
        "event": "info",
        "title": manifest.title,
        "size": size,
        "files": manifest.entries.iter().map(|entry| json!({
            "path": entry.path,
            "size": entry.size,
            "mime": entry.mime,
            "duration_s": entry.duration_us.map(|us| us as f64 / 1e6),
            "blake3": hash(entry),
        })).collect::<Vec<_>>(),
        "peers": show::peers(&now),
        "near": near,
        "others": f64::from(now.stats.others_union_permille) / 1000.0,
        "complete_peers": now.stats.complete_peers,
    });
    let mut lines = format!("{}  {}\n", manifest.title, HumanBytes(size));
    for entry in &manifest.entries {
        lines += &format!("  {}  {}", entry.path, HumanBytes(entry.size));
        if let Some(hash) = hash(entry) {
            lines += &format!("  blake3 {hash}");
        }
        lines.push('\n');
    }
    for peer in &now.stats.peers {
        let id = peer.id.to_string();
        lines += &format!(
            "  peer {}…  {}  {} %  {}\n",
            &id[..8],
            show::role(peer.role, peer.complete_permille),
            peer.complete_permille / 10,
            peer.rtt_us
                .map_or_else(String::new, |us| format!("{} ms", us / 1000)),
        );
    }
    for candidate in &now.candidates {
        lines += &format!(
            "  near  {}  {} %  {} free places\n",
            candidate.region.as_deref().unwrap_or("somewhere"),
            candidate.completeness_permille / 10,
            candidate.free_slots,
        );
    }
    lines += &format!(
        "{} named by the server; without the publisher there is {} % of it",
        now.candidates.len(),
        now.stats.others_union_permille / 10
    );
    show.result(&lines, &event);
}

/// How long to wait for further peers once the manifest is here.
const LOOK_AROUND: Duration = Duration::from_millis(1500);
