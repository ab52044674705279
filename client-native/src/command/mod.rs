//! The commands: each runs until it is done, or until it is stopped.

mod get;
mod info;
mod keep;
mod seed;
mod watch;

use crate::args::{self, Cli, Command};
use crate::exit::{self, Exit};
use crate::peer::Net;
use crate::show::Show;
use crate::worker::{News, Problem};
use tokio::signal::unix::{SignalKind, signal};

/// Runs what the command line says.
pub async fn run(cli: Cli) -> Result<(), Exit> {
    let mut show = Show::new(cli.json);
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
        upload_bytes_per_second: args.upload,
        upload_total: args.total,
        bind: args.bind.clone(),
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

/// How a session's end is told to the shell; `None` for news that end nothing.
fn fatal(news: &News) -> Option<Exit> {
    let News::Problem(problem) = news else {
        return None;
    };
    let code = match problem {
        Problem::FileChanged | Problem::FileUnreadable | Problem::CannotWrite(_) => exit::FILE,
        Problem::NotOpened | Problem::Expired => exit::OVER,
        Problem::BadManifest | Problem::WrongHash(_) | Problem::Fraud => exit::WRONG,
        Problem::Refused(_) => exit::SERVER,
    };
    Some(Exit::new(code, problem.to_string()))
}
