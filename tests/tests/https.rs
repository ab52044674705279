//! The server with certificate files of its own.

use std::path::Path;

use baton_signal_protocol::{ClientMessage, SUBPROTOCOL, ServerMessage};
use baton_signal_server::Running;
use baton_tests::http::get;
use baton_tests::signalling::{Identity, PATIENCE, server, unix_s};
use baton_tests::tls;
use futures_util::{SinkExt, StreamExt};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Puts a new certificate for `localhost` into the folder's files, and returns it.
fn renew(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).expect("a file");
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).expect("a file");
    made.cert.der().clone()
}

async fn https(folder: &Path) -> Running {
    server(|config| {
        config.tls_cert = Some(folder.join("cert.pem"));
        config.tls_key = Some(folder.join("key.pem"));
        config.tls_reload = std::time::Duration::from_millis(20);
    })
    .await
}

/// A client that trusts this certificate alone.
async fn connect(
    server: &Running,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_speaking(server, trusted, &[]).await
}

/// The same that knows these protocols (ALPN).
async fn connect_speaking(
    server: &Running,
    trusted: &CertificateDer<'static>,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    tls::connect_speaking(server.address().port(), "localhost", &roots, protocols).await
}

#[tokio::test]
async fn pages_and_signalling_work_over_https() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = renew(folder.path());
    let server = https(folder.path()).await;
    let stream = connect(&server, &certificate).await.expect("TLS");
    let answer = tls::get(stream, "localhost", "/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 200"));

    let stream = connect(&server, &certificate).await.expect("TLS");
    let mut request = "wss://localhost/ws".into_client_request().expect("a URL");
    let headers = request.headers_mut();
    headers.insert(
        "sec-websocket-protocol",
        SUBPROTOCOL.parse().expect("a token"),
    );
    headers.insert("origin", "https://localhost".parse().expect("an origin"));
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .expect("our own page is welcome");
    let join = ClientMessage::Join(Identity::new(1, 1).join("localhost", unix_s()));
    socket
        .send(Message::Binary(join.encode().into()))
        .await
        .expect("sent");
    let heard = socket.next().await.expect("an answer").expect("a frame");
    let welcome = ServerMessage::decode(&heard.into_data()).expect("a message");
    assert!(matches!(welcome, ServerMessage::Welcome { .. }));
}

#[tokio::test]
async fn who_knows_http2_gets_pages_by_it_and_signalling_stays_with_http1() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = renew(folder.path());
    let server = https(folder.path()).await;
    let chosen =
        |stream: &TlsStream<TcpStream>| stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    let both: [&[u8]; 2] = [b"h2", b"http/1.1"];
    let stream = connect_speaking(&server, &certificate, &both).await;
    let stream = stream.expect("TLS");
    assert_eq!(chosen(&stream).as_deref(), Some(&b"h2"[..]));
    let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut get = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = http::Request::get(format!("https://localhost{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let (answer, _) = client.send_request(request, true).expect("sent");
        answer.await.expect("an answer")
    };
    let health = get("/healthz", &[]).await;
    assert_eq!(health.status(), 200);
    assert_eq!(health.version(), http::Version::HTTP_2);
    let page = get("/", &[("accept-encoding", "br")]).await;
    assert!(page.headers().contains_key("content-security-policy"));
    let refused = get("/ws", &[("sec-websocket-version", "13")]).await;
    assert!(refused.status().is_client_error(), "{}", refused.status());

    let only: [&[u8]; 1] = [b"http/1.1"];
    let stream = connect_speaking(&server, &certificate, &only).await;
    let stream = stream.expect("TLS");
    assert_eq!(chosen(&stream).as_deref(), Some(&b"http/1.1"[..]));
    let request = "wss://localhost/ws".into_client_request().expect("a URL");
    assert!(
        tokio_tungstenite::client_async(request, stream)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_new_certificate_is_taken_over_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = renew(folder.path());
    let server = https(folder.path()).await;
    let mut open = connect(&server, &first).await.expect("TLS");
    let second = renew(folder.path());
    let taken_over = async { while connect(&server, &second).await.is_err() {} };
    tokio::time::timeout(PATIENCE, taken_over)
        .await
        .expect("it is seen");
    assert!(connect(&server, &first).await.is_err());

    // The certificate of one pair and the key of another, and then no certificate at all.
    let key = std::fs::read(folder.path().join("key.pem")).expect("a key");
    let third = renew(folder.path());
    let _ = third;
    std::fs::write(folder.path().join("key.pem"), &key).expect("a file");
    std::fs::write(folder.path().join("cert.pem"), "nonsense").expect("a file");
    assert!(connect(&server, &second).await.is_ok());
    let fourth = renew(folder.path());
    let taken_over = async { while connect(&server, &fourth).await.is_err() {} };
    tokio::time::timeout(PATIENCE, taken_over)
        .await
        .expect("it recovers");
    open.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("what was open goes on");
    let mut first_byte = [0];
    open.read_exact(&mut first_byte).await.expect("an answer");
}

#[tokio::test]
async fn who_does_not_speak_tls_disturbs_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = renew(folder.path());
    let server = https(folder.path()).await;
    let mut plain = TcpStream::connect(server.address())
        .await
        .expect("a connection");
    plain
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .await
        .expect("sent");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "nothing in clear");
    let _silent = TcpStream::connect(server.address())
        .await
        .expect("a connection");
    assert!(connect(&server, &certificate).await.is_ok());
}

#[tokio::test]
async fn files_that_are_no_pair_are_refused_at_start_and_metrics_stay_plain() {
    let folder = tempfile::tempdir().expect("a folder");
    renew(folder.path());
    let key = std::fs::read(folder.path().join("key.pem")).expect("a key");
    renew(folder.path());
    let with = |folder: &Path| {
        let mut config = baton_signal_server::Config::local();
        config.tls_cert = Some(folder.join("cert.pem"));
        config.tls_key = Some(folder.join("key.pem"));
        config.metrics_listen = Some("127.0.0.1:0".parse().expect("an address"));
        config
    };
    let good = baton_signal_server::Server::bind(with(folder.path())).await;
    let good = good.expect("a pair");
    let metrics = good.metrics_address().expect("metrics of their own");
    let _running = good.start();
    assert_eq!(get(metrics, "/healthz").await.status, 200);
    std::fs::write(folder.path().join("key.pem"), key).expect("a file");
    let refused = baton_signal_server::Server::bind(with(folder.path())).await;
    let why = format!("{:#}", refused.err().expect("no pair"));
    assert!(why.contains("--tls-cert"), "{why}");
}
