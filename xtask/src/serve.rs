//! `cargo xtask serve`: build, then become the server.

use crate::{build, run};
use anyhow::{Context, Result, bail};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

struct Options {
    port: u16,
    lan: bool,
}

pub fn serve(arguments: &[String]) -> Result<()> {
    let options = parse(arguments)?;
    let server = build::everything(build::Profile::Dev)?;
    println!("Open http://localhost:{} (Ctrl-C ends it)", options.port);
    let address = if options.lan {
        Ipv4Addr::UNSPECIFIED
    } else {
        Ipv4Addr::LOCALHOST
    };
    if options.lan {
        println!("On a phone or another computer in this network type one of these:");
        let addresses = lan_addresses();
        for address in &addresses {
            println!("  http://{address}:{}", options.port);
        }
        if let Some(address) = addresses.first() {
            println!("On a TV: http://{address}:{}/tv", options.port);
        }
    }
    let mut server = run::command(&server.to_string_lossy());
    server
        .arg("--listen")
        .arg(format!("{address}:{}", options.port));
    become_it(&mut server)
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options {
        port: 8080,
        lan: false,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--lan" => options.lan = true,
            "--port" => {
                let port = arguments.next().context("--port needs a number")?;
                options.port = port
                    .parse()
                    .with_context(|| format!("not a port: {port}"))?;
            }
            other => bail!("`cargo xtask serve` takes --port N and --lan, not {other}"),
        }
    }
    Ok(options)
}

/// On Unix the server takes our place, so that Ctrl-C and the exit code are its own.
#[cfg(unix)]
fn become_it(server: &mut std::process::Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    Err(server.exec()).context("cannot start the server")
}

#[cfg(not(unix))]
fn become_it(server: &mut std::process::Command) -> Result<()> {
    run::run(server)
}

/// This machine's IPv4 addresses, the one that leads out first.
fn lan_addresses() -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = outgoing_address().into_iter().collect();
    // Linux only; elsewhere the outgoing address has to do.
    let others = run::output(run::command("hostname").arg("-I")).unwrap_or_default();
    for address in others
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
    {
        if matches!(address, IpAddr::V4(_)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// The address from which the default route would be taken; nothing is sent (192.0.2.1 is for documentation, RFC 5737).
fn outgoing_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified() && !address.is_loopback()).then_some(address)
}
