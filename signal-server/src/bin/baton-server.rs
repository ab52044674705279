//! `baton-server`: flags and variables in, a server until SIGTERM or SIGINT.

use std::io::Write;

use anyhow::Context;
use baton_signal_server::{Config, Server};
use clap::Parser;

fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(run(config))
}

async fn run(config: Config) -> anyhow::Result<()> {
    // Listened for before anybody is told that we are here.
    let stop = stop_signal()?;
    let server = Server::bind(config).await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on http://{}", server.address())?;
    if let Some(address) = server.metrics_address() {
        writeln!(stdout, "metrics on http://{address}/metrics")?;
    }
    stdout.flush()?;
    let running = server.start();
    stop.await;
    eprintln!("stopping: clients are told to come back");
    running.shut_down().await;
    Ok(())
}

/// SIGTERM from whoever runs us, SIGINT from the keyboard. Both count from this call on.
#[cfg(unix)]
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
