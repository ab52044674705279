//! The commands: each runs until it is done, or until it is stopped.

mod get;
mod info;
mod keep;
mod seed;
mod turns;
mod watch;

use crate::args::{self, Cli, Command};
use crate::exit::{self, Exit};
use crate::ice::Ports;
use crate::peer::Net;
use crate::session::Snapshot;
use crate::show::Show;
use crate::uplink::Uplink;
use crate::worker::{News, Problem};
use baton_signal_protocol::Refusal;
use tokio::signal::unix::{SignalKind, signal};

/// Runs what the command line says.
pub async fn run(cli: Cli) -> Result<(), Exit> {
    let apart = matches!(&cli.command, Command::Get(args) if args.stdout);
    let mut show = Show::new(cli.json, apart);
    let result = match cli.command {
        Command::Seed(args) if args.watch => watch::run(args, &mut show).await,
        Command::Seed(args) => seed::run(args, &mut show).await,
        Command::Get(args) => get::run(args, &mut show).await,
        Command::Keep(args) => keep::run(args, &mut show).await,
        Command::Info(args) => info::run(args, &mut show).await,
    };
    show.finish();
    if let Err(exit) = &result
        && cli.json
    {
        show.result(
            "",
            &serde_json::json!({"event": "error", "code": exit.code, "reason": exit.reason}),
        );
    }
    result
}

fn net(args: &args::Net) -> Net {
    Net {
        servers: args.server.clone(),
        uplink: Uplink::new(args.upload, args.total),
        bind: args.bind.clone(),
        ports: args.udp_ports.clone().map(Ports::new),
        public: args.public_ip.clone(),
        relay_only: args.relay,
        peers_wanted: None,
    }
}

/// Waits for Ctrl-C or SIGTERM.
async fn stopped() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminated) => {
                terminated.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

/// What a server says of a stream that it does not take now.
#[derive(Default)]
struct TurnedAway {
    told: Option<Refusal>,
}

impl TurnedAway {
    /// Says once that nobody finds us there, and why; it is tried again all the while.
    fn tell(&mut self, now: &Snapshot, what: &str, show: &Show) {
        if let Some(refusal) = now.refusal.filter(|_| !now.joined)
            && let Some(reason) = passing(refusal)
            && self.told != Some(refusal)
        {
            show.note(
                &format!("{what}: nobody finds it now, for {reason}; trying again"),
                &serde_json::json!({"event": "refused", "what": what, "refusal": format!("{refusal:?}"), "reason": reason}),
            );
            self.told = Some(refusal);
        }
        if now.joined {
            self.told = None;
        }
    }
}

/// What a server may take back by itself, in words; `None` for what it will say again.
fn passing(refusal: Refusal) -> Option<&'static str> {
    Some(match refusal {
        Refusal::AddressSwarms => {
            "the server takes no more streams from this address (name a second one with --server, or share fewer at a time)"
        }
        Refusal::AddressConnections => "the server takes no more connections from this address",
        Refusal::SwarmFull => "the server takes no more peers for this stream",
        Refusal::ServerFull => "the server is full",
        _ => return None,
    })
}

/// Why nothing came, as far as that is known.
fn nobody(now: &Snapshot, reason: &str) -> Exit {
    match (now.joined, now.refusal, &now.fault) {
        (_, Some(refusal), _) => {
            let words = passing(refusal).map(Into::into);
            let words = words.unwrap_or_else(|| format!("the server refused: {refusal:?}"));
            Exit::new(exit::SERVER, words)
        }
        (false, None, _) => Exit::new(exit::SERVER, "no server could be reached"),
        (true, None, Some(fault)) => Exit::new(
            exit::NOBODY,
            format!("{reason}; the last connection failed: {fault}"),
        ),
        (true, None, None) => Exit::new(exit::NOBODY, reason),
    }
}

/// Machines are told who went; people see it in the number of peers.
fn left(news: &News, show: &Show) {
    if let News::Left { peer, reason } = news
        && show.json()
    {
        let reason = reason.map_or_else(|| "lost".into(), |reason| reason.to_string());
        let event =
            serde_json::json!({"event": "left", "peer": peer.to_string(), "reason": reason});
        show.note("", &event);
    }
}

/// How a session's end is told to the shell; `None` for news that end nothing.
fn fatal(news: &News) -> Option<Exit> {
    let News::Problem(problem) = news else {
        return None;
    };
    let code = match problem {
        Problem::FileChanged(_) | Problem::FileUnreadable(_) | Problem::CannotWrite(_) => {
            exit::FILE
        }
        Problem::NotOpened | Problem::Expired => exit::OVER,
        Problem::BadManifest
        | Problem::ManifestTooLong
        | Problem::WrongHash(_)
        | Problem::Fraud => exit::WRONG,
        Problem::Refused(_) => exit::SERVER,
    };
    Some(Exit::new(code, problem.to_string()))
}
