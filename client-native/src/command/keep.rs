//! `baton keep`: serves what it cannot read, until it is stopped.

use super::turns::{self, Seat, Stand};
use super::{TurnedAway, fatal, net, stopped};
use crate::args;
use crate::exit::{self, Exit};
use crate::peer;
use crate::session::{Control, Handle};
use crate::show::{self, Show};
use crate::space::{Space, free_bytes};
use crate::worker::{News, Problem};
use baton_content::{LinkError, Ticket};
use baton_signal_protocol::Refusal;
use indicatif::HumanBytes;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TryRecvError;

/// One stream that is kept.
struct Kept {
    swarm: String,
    session: Handle,
    turned_away: TurnedAway,
    seat: Seat,
    /// Since when.
    since: Instant,
}

impl Kept {
    fn new(swarm: String, session: Handle) -> Kept {
        Kept {
            swarm,
            session,
            turned_away: TurnedAway::default(),
            seat: Seat::Away,
            since: Instant::now(),
        }
    }

    /// How it stands with its server now.
    fn stand(&mut self, now: Instant) -> Stand {
        let state = self.session.snapshot.borrow();
        let seat = match (state.joined, state.refusal) {
            (true, _) => Seat::Taken,
            (false, Some(Refusal::AddressSwarms)) => Seat::Waits,
            (false, _) => Seat::Away,
        };
        // One that asks again and is refused again has waited all the while.
        if seat != self.seat && !(self.seat == Seat::Waits && seat == Seat::Away) {
            (self.seat, self.since) = (seat, now);
        }
        Stand {
            seat,
            since: self.since,
            whole: state.stats.completeness_permille == 1000,
            peers: state.stats.peers.len(),
        }
    }
}

pub async fn run(args: args::Keep, show: &mut Show) -> Result<(), Exit> {
    let (tickets, all) = tickets(&args.tickets, show)?;
    let space = Arc::new(Space::new(args.space));
    let net = net(&args.net);
    let named: Vec<_> = tickets.iter().map(|ticket| ticket.swarm.id()).collect();
    space.count_strays(&args.dir, &named, !all);
    let mut kept = Vec::new();
    let mut ends = Vec::new();
    for ticket in &tickets {
        let swarm = ticket.swarm.id().to_string();
        match peer::keep(ticket, &args.dir, &space, &net) {
            Ok(session) => {
                show.note(
                    &format!("keeping {swarm}"),
                    &json!({"event": "keeping", "swarm": swarm}),
                );
                kept.push(Kept::new(swarm, session));
            }
            Err(exit) => {
                over(&swarm, &exit, show);
                ends.push(exit);
            }
        }
    }
    let end = stopped();
    tokio::pin!(end);
    let mut tick = tokio::time::interval(REPORT);
    let mut waiting = false;
    let result = loop {
        if kept.is_empty() {
            break Err(worst(ends));
        }
        tokio::select! {
            () = &mut end => break Ok(()),
            _ = tick.tick() => {}
        }
        space.look_again(free_bytes(&args.dir));
        let mut going = Vec::new();
        for mut stream in std::mem::take(&mut kept) {
            let end = news(&mut stream, show);
            report(&mut stream, &space, show);
            match end {
                None => going.push(stream),
                Some(exit) => {
                    over(&stream.swarm, &exit, show);
                    ends.push(exit);
                    stream.session.leave().await;
                }
            }
        }
        kept = going;
        take_turns(&mut kept, &mut waiting, show);
    };
    let leaving = kept.into_iter().map(|stream| stream.session.leave());
    futures_util::future::join_all(leaving).await;
    result
}

/// What a session said since the last look; why it is over, if it is.
fn news(stream: &mut Kept, show: &Show) -> Option<Exit> {
    loop {
        match stream.session.news.try_recv() {
            Ok(News::Problem(problem)) => {
                let is_end = matches!(
                    problem,
                    Problem::Expired
                        | Problem::Fraud
                        | Problem::ManifestTooLong
                        | Problem::Refused(_)
                );
                if is_end {
                    return fatal(&News::Problem(problem));
                }
                let (swarm, reason) = (&stream.swarm, problem.to_string());
                show.note(
                    &format!("{swarm}: {reason}"),
                    &json!({"event": "problem", "swarm": swarm, "reason": reason}),
                );
            }
            Ok(_) => {}
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => {
                return Some(Exit::new(exit::OTHER, "its session ended"));
            }
        }
    }
}

/// Where a server takes fewer streams from this address than are kept, they take turns. Says how many wait.
fn take_turns(kept: &mut [Kept], told: &mut bool, show: &Show) {
    let now = Instant::now();
    let stands: Vec<Stand> = kept.iter_mut().map(|stream| stream.stand(now)).collect();
    let waiting = stands.iter().filter(|it| it.seat == Seat::Waits).count();
    // Without a server nobody has a place, and nobody knows of one.
    let away = stands.iter().any(|it| it.seat == Seat::Away);
    if (waiting > 0) != *told && (waiting > 0 || !away) {
        *told = waiting > 0;
        let minutes = turns::TURN.as_secs() / 60;
        let line = match waiting {
            0 => "every stream has its place at the server".into(),
            _ => format!(
                "{waiting} of {} streams wait for a place at the server, which takes no more from this address: those that nobody uses make room after \
                 {minutes} minutes (a second --server would take the others at once)",
                kept.len()
            ),
        };
        show.note(
            &line,
            &json!({"event": "turns", "waiting": waiting, "of": kept.len()}),
        );
    }
    if let Some((goes, comes)) = turns::next(&stands, now) {
        // A session that has ended needs no telling.
        let _ = kept[goes].session.control.send(Control::StepAside);
        let mut leaving = kept[goes].session.snapshot.clone();
        let control = kept[comes].session.control.clone();
        tokio::spawn(async move {
            // Whoever asks before the place is free is refused, and waits for minutes.
            let _ = leaving.wait_for(|now| !now.joined).await;
            let _ = control.send(Control::ComeNow);
        });
    }
}

fn report(stream: &mut Kept, space: &Space, show: &Show) {
    let swarm = &stream.swarm;
    let now = stream.session.snapshot.borrow().clone();
    // Of streams that take turns, people are told all at once.
    if show.json() || now.refusal != Some(Refusal::AddressSwarms) {
        stream.turned_away.tell(&now, swarm, show);
    }
    let mut event = show::progress(&now);
    event["swarm"] = json!(swarm);
    event["used_bytes"] = json!(space.used());
    let line = format!(
        "{}…  {} kept, {}, {} sent{}",
        &swarm[..8],
        HumanBytes(now.stats.have_bytes),
        show::peers_in_words(now.stats.peers.len()),
        HumanBytes(now.stats.sent_bytes),
        show::confirmed(&now.stats),
    );
    if show.json() || std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        show.note(&line, &event);
    }
}

fn over(swarm: &str, exit: &Exit, show: &Show) {
    show.note(
        &format!("{swarm} is over: {exit}"),
        &json!({"event": "over", "swarm": swarm, "reason": exit.reason}),
    );
}

/// How it ends when every stream has: by what is least expected of them.
fn worst(ends: Vec<Exit>) -> Exit {
    let expected = [exit::OVER, exit::WRONG, exit::SERVER];
    let place = |end: &Exit| expected.iter().position(|code| *code == end.code);
    let worst = ends
        .iter()
        .map(|end| (place(end).unwrap_or(usize::MAX), end.code));
    match worst.max() {
        Some((_, exit::OVER)) | None => Exit::new(exit::OVER, "every stream is over"),
        Some((_, code)) => {
            let reason = ends.into_iter().find(|end| end.code == code);
            let reason = reason.map_or_else(String::new, |end| end.reason);
            Exit::new(code, format!("every stream is over: {reason}"))
        }
    }
}

/// Tickets, or files of them, one per line; what follows a `#` sign and a blank is a comment. One that is none is told, and not all is lost with it;
/// with them, whether there was none of that kind.
fn tickets(texts: &[String], show: &Show) -> Result<(Vec<Ticket>, bool), Exit> {
    let mut tickets: Vec<Ticket> = Vec::new();
    let mut fault = None;
    for text in texts {
        let lines = std::fs::read_to_string(text).unwrap_or_else(|_| text.clone());
        for line in lines
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with("# "))
        {
            let ticket = match Ticket::parse(line) {
                Ok(ticket) => ticket,
                Err(error) => {
                    let exit = not_a_ticket(line, &error);
                    show.note(
                        &exit.reason,
                        &json!({"event": "problem", "reason": exit.reason}),
                    );
                    fault.get_or_insert(exit);
                    continue;
                }
            };
            if !tickets
                .iter()
                .any(|known| known.swarm.id() == ticket.swarm.id())
            {
                tickets.push(ticket);
            }
        }
    }
    if tickets.is_empty() {
        return Err(fault.unwrap_or_else(|| Exit::new(exit::USAGE, "there is no ticket")));
    }
    Ok((tickets, fault.is_none()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use crate::signalling::tests::answering;
    use baton_content::{Link, PublisherKey, Secret};
    use baton_signal_protocol::ServerMessage;
    use clap::Parser;

    /// It takes half a second.
    const PATIENCE: Duration = Duration::from_secs(120);

    fn ticket(n: u8) -> String {
        let publisher = PublisherKey::from_seed([n; 32]).id();
        Link::new(publisher, Secret([n; 16])).ticket().encode()
    }

    /// The address of a server that refuses everybody for good.
    async fn refusing() -> String {
        answering(ServerMessage::Refused {
            reason: Refusal::Version,
            retry_ms: None,
            server_unix_s: 0,
        })
        .await
    }

    async fn keep(tickets: &[&str], more: &[&str]) -> Exit {
        let line = [&["baton", "--json", "keep"], tickets, more].concat();
        let Command::Keep(args) = Cli::parse_from(line).command else {
            panic!("it is another command");
        };
        let mut show = Show::new(true, false);
        let end = run(args, &mut show);
        let end = tokio::time::timeout(PATIENCE, end).await;
        end.expect("it ends").expect_err("nobody stops it")
    }

    #[tokio::test]
    async fn it_ends_when_every_server_refuses_for_good_and_with_that_code() {
        let server = refusing().await;
        let dir = tempfile::tempdir().expect("a temporary folder");
        let place = dir.path().to_string_lossy().into_owned();
        let exit = keep(&[&ticket(1)], &["--server", &server, "--dir", &place]).await;
        assert_eq!(exit.code, exit::SERVER, "{exit}");
    }

    #[tokio::test]
    async fn what_is_no_ticket_or_cannot_be_kept_does_not_end_the_others() {
        let server = refusing().await;
        let dir = tempfile::tempdir().expect("a temporary folder");
        let place = dir.path().to_string_lossy().into_owned();
        let folder = dir.path().join(swarm_of(&ticket(2)));
        std::fs::create_dir(&folder).expect("it is ours");
        std::fs::write(folder.join("index"), "something else than an index").expect("it is ours");
        let tickets = [&ticket(1)[..], "nonsense", &ticket(2)];
        let exit = keep(&tickets, &["--server", &server, "--dir", &place]).await;
        // The first was asked for at the server; the last has a file in its way.
        assert_eq!(exit.code, exit::FILE, "{exit}");
        assert!(dir.path().join(swarm_of(&ticket(1))).is_dir());
        let exit = keep(&["nonsense"], &["--server", &server, "--dir", &place]).await;
        assert_eq!(exit.code, exit::USAGE, "{exit}");
    }

    fn swarm_of(ticket: &str) -> String {
        let ticket = Ticket::parse(ticket).expect("our own");
        ticket.swarm.id().to_string()
    }

    #[test]
    fn fraud_counts_more_than_an_end_that_was_expected() {
        let exits = |codes: &[u8]| codes.iter().map(|code| Exit::new(*code, "why")).collect();
        assert_eq!(worst(exits(&[exit::OVER, exit::OVER])).code, exit::OVER);
        assert_eq!(worst(exits(&[exit::OVER, exit::WRONG])).code, exit::WRONG);
        let all = [exit::SERVER, exit::FILE, exit::WRONG];
        assert_eq!(worst(exits(&all)).code, exit::FILE);
    }
}
