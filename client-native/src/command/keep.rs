//! `baton keep`: serves what it cannot read, until it is stopped.

use super::{net, stopped};
use crate::args;
use crate::exit::{self, Exit};
use crate::peer;
use crate::show::{self, Show};
use crate::space::Space;
use crate::worker::{News, Problem};
use baton_content::{LinkError, Ticket};
use indicatif::HumanBytes;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::TryRecvError;

pub async fn run(args: args::Keep, show: &mut Show) -> Result<(), Exit> {
    let tickets = tickets(&args.tickets)?;
    let space = Arc::new(Space::new(args.space));
    let net = net(&args.net);
    let named: Vec<_> = tickets.iter().map(|ticket| ticket.swarm.id()).collect();
    space.count_strays(&args.dir, &named);
    let mut sessions = Vec::new();
    for ticket in &tickets {
        let swarm = ticket.swarm.id().to_string();
        sessions.push(Some((
            swarm.clone(),
            peer::keep(ticket, &args.dir, &space, &net)?,
        )));
        show.note(
            &format!("keeping {swarm}"),
            &json!({"event": "keeping", "swarm": swarm}),
        );
    }
    let end = stopped();
    tokio::pin!(end);
    let mut failed = false;
    let mut tick = tokio::time::interval(REPORT);
    let result = loop {
        tokio::select! {
            () = &mut end => break Ok(()),
            _ = tick.tick() => {}
        }
        for place in &mut sessions {
            let Some((swarm, session)) = place else {
                continue;
            };
            let mut over = None;
            loop {
                match session.news.try_recv() {
                    Ok(News::Problem(Problem::Expired)) => over = Some("it has expired"),
                    Ok(News::Problem(Problem::Fraud)) => {
                        over = Some("its publisher signed two truths");
                    }
                    Ok(News::Problem(problem)) => show.note(
                        &format!("{swarm}: {problem}"),
                        &json!({"event": "problem", "swarm": swarm, "reason": problem.to_string()}),
                    ),
                    Ok(_) => {}
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        failed = true;
                        over = over.or(Some("its session ended"));
                        break;
                    }
                }
            }
            let now = session.snapshot.borrow().clone();
            let mut event = show::progress(&now);
            event["swarm"] = json!(swarm);
            event["used_bytes"] = json!(space.used());
            let line = format!(
                "{}…  {} kept, {} peers, {} sent",
                &swarm[..8],
                HumanBytes(now.stats.have_bytes),
                now.stats.peers.len(),
                HumanBytes(now.stats.sent_bytes),
            );
            if show.json() || std::io::IsTerminal::is_terminal(&std::io::stderr()) {
                show.note(&line, &event);
            }
            if let Some(reason) = over {
                show.note(
                    &format!("{swarm} is over: {reason}"),
                    &json!({"event": "over", "swarm": swarm, "reason": reason}),
                );
                if let Some((_, session)) = place.take() {
                    session.leave().await;
                }
            }
        }
        if sessions.iter().all(Option::is_none) {
            break Err(match failed {
                true => Exit::new(exit::OTHER, "a session ended"),
                false => Exit::new(exit::OVER, "every stream is over"),
            });
        }
    };
    let leaving = sessions
        .into_iter()
        .flatten()
        .map(|(_, session)| session.leave());
    futures_util::future::join_all(leaving).await;
    result
}

/// Tickets, or files of them, one per line; what follows a `#` sign and a blank is a comment.
fn tickets(texts: &[String]) -> Result<Vec<Ticket>, Exit> {
    let mut tickets = Vec::new();
    for text in texts {
        let lines = std::fs::read_to_string(text).unwrap_or_else(|_| text.clone());
        for line in lines
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with("# "))
        {
            let ticket = Ticket::parse(line).map_err(|error| not_a_ticket(line, &error))?;
            if !tickets
                .iter()
                .any(|known: &Ticket| known.swarm.id() == ticket.swarm.id())
            {
                tickets.push(ticket);
            }
        }
    }
    if tickets.is_empty() {
        return Err(Exit::new(exit::USAGE, "there is no ticket"));
    }
    Ok(tickets)
}

/// What was meant as a ticket; all of a real one stays untold.
fn not_a_ticket(text: &str, error: &LinkError) -> Exit {
    let shown: String = text.chars().take(SHOWN_CHARS).collect();
    let reason = match error {
        LinkError::IsALink => "is a link, not a ticket: `baton seed --ticket` prints both".into(),
        LinkError::NotALink => "is no ticket, nor a file with tickets that can be read".into(),
        LinkError::Mistyped => "is mistyped or incomplete: its checksum does not fit".into(),
        error => format!("is no ticket that this baton knows: {error}"),
    };
    Exit::new(exit::USAGE, format!("\"{shown}\" {reason}"))
}

/// Of a ticket with a typing error: enough to know which.
const SHOWN_CHARS: usize = 16;
/// How often it says how things stand.
const REPORT: Duration = Duration::from_secs(5);
