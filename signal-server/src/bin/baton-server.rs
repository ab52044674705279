//! `baton-server`: flags and variables in, a server until SIGTERM or SIGINT.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use baton_signal_server::tls::provider;
use baton_signal_server::{Config, Server, config_file, raise_file_limit};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

fn main() -> anyhow::Result<()> {
    let (config, printed) =
        config_file::load(std::env::args_os()).unwrap_or_else(|error| error.exit());
    if config.print_config {
        print!("{printed}");
        return Ok(());
    }
    if config.check_health {
        return check_health(&config);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(run(config))
}

async fn run(config: Config) -> anyhow::Result<()> {
    tracing::subscriber::set_global_default(config.log.subscriber(std::io::stderr))
        .context("somebody else logs in this process")?;
    let missing = raise_file_limit(&config);
    if missing > 0 {
        tracing::warn!(
            missing,
            "the system allows fewer open files than all connections at once need"
        );
    }
    // Listened for before anybody is told that we are here.
    let stop = stop_signal()?;
    let host = config.hosts.first().cloned();
    let server = Server::bind(config).await?;
    let mut stdout = std::io::stdout();
    let (scheme, address) = (server.scheme(), server.address());
    writeln!(stdout, "listening on {scheme}://{address}")?;
    if let Some(address) = server.metrics_address() {
        writeln!(stdout, "metrics on http://{address}/metrics")?;
    }
    if let Some(address) = server.turn_address() {
        writeln!(stdout, "STUN and TURN on {address}, UDP and TCP")?;
    }
    if let Some(tv) = tv_address(scheme, address, host.as_deref()) {
        writeln!(stdout, "on a TV open {tv}")?;
    }
    stdout.flush()?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
    let mut running = server.start();
    tokio::select! {
        () = stop => {}
        // Whoever watches over the process starts it anew.
        () = running.defect() => bail!("a part of the server ended by itself"),
    }
    tracing::info!("stopping: clients are told to come back");
    running.shut_down().await;
    Ok(())
}

/// What to type into a television; `None` where no other device gets to this one.
fn tv_address(scheme: &str, address: SocketAddr, host: Option<&str>) -> Option<String> {
    if let Some(host) = host {
        return Some(format!("https://{host}/tv"));
    }
    let mut address = address;
    if address.ip().is_unspecified() {
        // The address from which the default route would be taken; nothing is sent (192.0.2.1 is for documentation, RFC 5737).
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
        address.set_ip(socket.local_addr().ok()?.ip());
    }
    let reachable = !address.ip().is_loopback() && !address.ip().is_unspecified();
    reachable.then(|| format!("{scheme}://{address}/tv"))
}

fn check_health(config: &Config) -> anyhow::Result<()> {
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        let loopback = if address.is_ipv4() {
            IpAddr::from(Ipv4Addr::LOCALHOST)
        } else {
            IpAddr::from(Ipv6Addr::LOCALHOST)
        };
        address.set_ip(loopback);
    }
    let patience = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address, patience)
        .with_context(|| format!("nobody listens at {address}"))?;
    stream.set_read_timeout(Some(patience))?;
    let answer = if config.is_https() {
        let name = ServerName::from(address.ip());
        let client = ClientConnection::new(Arc::new(trusting()), name)?;
        ask(&mut StreamOwned::new(client, stream), address)?
    } else {
        ask(&mut stream, address)?
    };
    anyhow::ensure!(&answer == b"HTTP/1.1 200", "{address} is not well");
    Ok(())
}

fn ask(stream: &mut (impl Read + Write), address: SocketAddr) -> std::io::Result<[u8; 12]> {
    write!(
        stream,
        "GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// TLS that takes any certificate: the question goes to this very machine, whose certificate is for another name.
fn trusting() -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has what the versions need")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth()
}

#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_television_is_told_an_address_that_it_can_reach_or_none() {
        let at = |text: &str, host| tv_address("http", text.parse().unwrap(), host);
        assert_eq!(at("127.0.0.1:8080", None), None);
        let lan = at("192.168.1.5:8080", None);
        assert_eq!(lan.as_deref(), Some("http://192.168.1.5:8080/tv"));
        let named = at("0.0.0.0:8080", Some("baton.example"));
        assert_eq!(named.as_deref(), Some("https://baton.example/tv"));
        // Where this machine has a route at all.
        assert!(at("0.0.0.0:80", None).is_none_or(|it| !it.contains("0.0.0.0")));
    }
}
