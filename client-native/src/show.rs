//! What people (or, with `--json`, machines) see of a session.

use crate::session::Snapshot;
use baton_swarm::{Path, Role};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// One command's voice. Results go to standard output, everything else to standard error.
pub struct Show {
    json: bool,
    /// Standard output carries a film: whatever is said goes to standard error.
    apart: bool,
    bar: Option<ProgressBar>,
    last: Option<Instant>,
}

impl Show {
    pub fn new(json: bool, apart: bool) -> Show {
        Show {
            json,
            apart,
            bar: None,
            last: None,
        }
    }

    pub fn json(&self) -> bool {
        self.json
    }

    /// A result: a line for people, or an event for machines.
    pub fn result(&self, line: &str, event: &Value) {
        let text = if self.json {
            event.to_string()
        } else {
            line.to_string()
        };
        if self.apart {
            return complain(&text);
        }
        let mut out = std::io::stdout().lock();
        // A closed pipe is the reader's wish; the work goes on.
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    /// Something worth saying that is no result.
    pub fn note(&self, line: &str, event: &Value) {
        match (&self.bar, self.json) {
            (_, true) => self.result("", event),
            (Some(bar), false) => bar.println(line),
            (None, false) => complain(line),
        }
    }

    /// How far it is. Bars on a terminal; with `--json` once a second.
    pub fn progress(&mut self, snapshot: &Snapshot, size: u64, seeding: bool) {
        if self.json {
            if self.last.is_none_or(|last| last.elapsed() >= JSON_INTERVAL) {
                self.last = Some(Instant::now());
                self.result("", &progress(snapshot));
            }
            return;
        }
        if !std::io::stderr().is_terminal() {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let template = if seeding {
                "{spinner} {msg}"
            } else {
                "{bar:30} {percent:>3} % {msg}"
            };
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(1).with_style(style)
        });
        let stats = &snapshot.stats;
        let sum =
            |rate: fn(&baton_swarm::PeerStats) -> u64| stats.peers.iter().map(rate).sum::<u64>();
        let (down, up) = (
            sum(|p| p.down_bytes_per_second),
            sum(|p| p.up_bytes_per_second),
        );
        let copies = if size > 0 {
            stats.sent_bytes as f64 / size as f64
        } else {
            0.0
        };
        bar.set_length(1000);
        bar.set_position(u64::from(stats.completeness_permille));
        bar.set_message(if seeding {
            format!(
                "{} ({} have all)  ↑ {}/s  {} sent{}, {copies:.1} copies{}",
                peers_in_words(stats.peers.len()),
                stats.complete_peers,
                HumanBytes(up),
                HumanBytes(stats.sent_bytes),
                confirmed(stats),
                away(snapshot),
            )
        } else {
            format!(
                "{} of {}  ↓ {}/s  ↑ {}/s  {}{}{}",
                HumanBytes(stats.have_bytes),
                HumanBytes(size),
                HumanBytes(down),
                HumanBytes(up),
                peers_in_words(stats.peers.len()),
                if stats.completeness_permille == 1000 {
                    "  checking it once more"
                } else {
                    ""
                },
                away(snapshot),
            )
        });
        bar.tick();
    }

    /// Something takes a while, and there is no saying how long. On a terminal only.
    pub fn wait_for(&mut self, what: &'static str) {
        if !self.json && std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner().with_message(what);
            bar.enable_steady_tick(SPIN);
            self.bar = Some(bar);
        }
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// A line on standard error; whoever closed that wants none.
pub fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// What others signed of it; short, because it stands in a line with more.
pub fn confirmed(stats: &baton_swarm::Stats) -> String {
    match stats.confirmed_by {
        0 => String::new(),
        by => format!(" ({} confirmed by {by})", HumanBytes(stats.confirmed_bytes)),
    }
}

fn away(snapshot: &Snapshot) -> &'static str {
    if snapshot.joined {
        ""
    } else {
        "  (looking for the server)"
    }
}

/// A snapshot for machines.
pub fn progress(snapshot: &Snapshot) -> Value {
    let stats = &snapshot.stats;
    json!({
        "event": "progress",
        "joined": snapshot.joined,
        "complete": f64::from(stats.completeness_permille) / 1000.0,
        "have_bytes": stats.have_bytes,
        "received_bytes": stats.received_bytes,
        "sent_bytes": stats.sent_bytes,
        "confirmed_bytes": stats.confirmed_bytes,
        "confirmed_by": stats.confirmed_by,
        "verified_blocks": stats.verified_blocks,
        "rejected_blocks": stats.rejected_blocks,
        "duplicate_bytes": stats.duplicate_bytes,
        "hedged_bytes": stats.hedged_bytes,
        "wire_sent_bytes": stats.wire_sent_bytes,
        "wire_received_bytes": stats.wire_received_bytes,
        "from_viewers_bytes": stats.received_from_viewers_bytes,
        "others": f64::from(stats.others_union_permille) / 1000.0,
        "complete_peers": stats.complete_peers,
        "peers": peers(snapshot),
    })
}

/// The connected peers for machines.
pub fn peers(snapshot: &Snapshot) -> Vec<Value> {
    let region = |id: &[u8; 32]| {
        snapshot
            .candidates
            .iter()
            .find(|c| c.peer == *id)
            .and_then(|c| c.region.clone())
    };
    let peer = |p: &baton_swarm::PeerStats| {
        json!({
            "id": p.id.to_string(),
            "role": role(p.role, p.complete_permille),
            "rtt_ms": p.rtt_us.map(|us| us as f64 / 1000.0),
            "down_bps": p.down_bytes_per_second,
            "up_bps": p.up_bytes_per_second,
            "received": p.received_bytes,
            "sent": p.sent_bytes,
            "complete": f64::from(p.complete_permille) / 1000.0,
            "path": match p.path { Path::Direct => "direct", Path::Relay => "relay", Path::Local => "local" },
            "region": region(&p.id.0),
        })
    };
    snapshot.stats.peers.iter().map(peer).collect()
}

/// The word for what a peer is.
pub fn role(role: Role, complete_permille: u16) -> &'static str {
    match role {
        Role::Publisher => "publisher",
        Role::Keeper => "keeper",
        Role::Viewer if complete_permille == 1000 => "seeder",
        Role::Viewer => "viewer",
    }
}

/// `1 peer`, `2 peers`.
pub fn peers_in_words(count: usize) -> String {
    format!("{count} peer{}", if count == 1 { "" } else { "s" })
}

/// A QR code in half blocks; `None` for what is too long for one.
pub fn qr(text: &str) -> Option<String> {
    let code = qrcode::QrCode::with_error_correction_level(text, qrcode::EcLevel::L).ok()?;
    let width = code.width();
    // Dark on the terminal's light: drawn inverted, as most terminals are dark, with the quiet zone that readers need.
    let light = |x: usize, y: usize| {
        let inside = (QUIET..QUIET + width).contains(&x) && (QUIET..QUIET + width).contains(&y);
        !(inside && code[(x - QUIET, y - QUIET)] == qrcode::Color::Dark)
    };
    let mut drawn = String::new();
    for y in (0..width + 2 * QUIET).step_by(2) {
        for x in 0..width + 2 * QUIET {
            drawn.push(match (light(x, y), light(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        drawn.push('\n');
    }
    Some(drawn)
}

/// Modules of white around a code (ISO/IEC 18004 asks for four; readers take two).
const QUIET: usize = 2;
/// How fast what waits turns.
const SPIN: Duration = Duration::from_millis(120);
/// How often machines are told.
const JSON_INTERVAL: Duration = Duration::from_secs(1);
