//! A client that speaks TLS and trusts whom it is told to.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// TLS with whoever is at this port, if these may have signed its certificate for that name.
///
/// # Errors
/// When there is no such certificate.
pub async fn connect(
    port: u16,
    name: &'static str,
    trusted: &RootCertStore,
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_speaking(port, name, trusted, &[]).await
}

/// The same as one who knows these protocols (ALPN).
///
/// # Errors
/// When there is no such certificate, or they agree on none of these.
pub async fn connect_speaking(
    port: u16,
    name: &'static str,
    trusted: &RootCertStore,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(trusted.clone())
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from(name).expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// The whole answer.
pub async fn get(mut stream: TlsStream<TcpStream>, host: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    // A server that closes without TLS's goodbye has said all the same.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).expect("text")
}
