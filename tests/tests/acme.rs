//! Certificates that the server gets by itself (`--acme-domain`), from a real authority: Let's Encrypt's Pebble.

use std::path::Path;
use std::time::Duration;

use baton_signal_server::{Running, Server};
use baton_tests::pebble::{Pebble, kept};
use baton_tests::signalling::PATIENCE;
use baton_tests::tls::{connect, connect_speaking, get};
use clap::Parser;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;

const NAME: &str = "baton.example";
const OTHER: &str = "www.baton.example";
const YEAR_S: u64 = 365 * 86_400;
/// Between two looks at the certificate.
const LOOK: Duration = Duration::from_millis(20);

async fn server(pebble: &Pebble, store: &Path, domains: &str) -> Running {
    let listen = format!("127.0.0.1:{}", pebble.port);
    let (url, ca) = (pebble.url(), pebble.authority());
    let words = [
        ["baton-server", "--listen"].map(str::to_owned).to_vec(),
        vec![listen, "--acme-domain".into(), domains.into()],
        vec!["--acme-store".into(), store.display().to_string()],
        vec!["--acme-email".into(), "operator@baton.example".into()],
        vec!["--acme-url".into(), url],
        vec!["--acme-ca".into(), ca.display().to_string()],
    ];
    let config = baton_signal_server::Config::parse_from(words.concat());
    let server = Server::bind(config).await.expect("the port is free");
    assert_eq!(server.scheme(), "https");
    server.start()
}

/// Waits until the server has a certificate for this name by these; which it is.
async fn certificate(port: u16, name: &'static str, root: &RootCertStore) -> Vec<u8> {
    let there = async {
        loop {
            if let Ok(stream) = connect(port, name, root).await {
                let chain = stream.get_ref().1.peer_certificates();
                let own = chain.and_then(<[CertificateDer]>::first).expect("a chain");
                let own = own.to_vec();
                let answer = get(stream, name, "/healthz").await;
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                return own;
            }
            // Not all the time: the authority and the server need the processor.
            tokio::time::sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, there).await.expect("a certificate")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_all_names_is_got_and_kept_over_a_restart() {
    let mut pebble = Pebble::start(YEAR_S);
    let root = pebble.root().await;
    let store = tempfile::tempdir().expect("a folder");
    let names = format!("{NAME},{OTHER}");
    let running = server(&pebble, store.path(), &names).await;
    let first = certificate(pebble.port, NAME, &root).await;
    assert_eq!(certificate(pebble.port, OTHER, &root).await, first);
    let somebody_elses = connect(pebble.port, "elsewhere.example", &root).await;
    assert!(somebody_elses.is_err());
    let files = [kept(store.path(), "pem"), kept(store.path(), "json")].concat();
    assert_eq!(files.len(), 2, "{files:?}");
    #[cfg(unix)]
    for file in &files {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file:?}");
    }
    running.shut_down().await;
    // Nobody is asked: there is a good one.
    pebble.kill();
    let _running = server(&pebble, store.path(), &names).await;
    assert_eq!(certificate(pebble.port, NAME, &root).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_before_it_ends_and_what_is_open_goes_on() {
    // Seconds instead of months.
    let pebble = Pebble::start(12);
    let root = pebble.root().await;
    let store = tempfile::tempdir().expect("a folder");
    let _running = server(&pebble, store.path(), NAME).await;
    let first = certificate(pebble.port, NAME, &root).await;
    let account = std::fs::read(&kept(store.path(), "json")[0]).expect("an account");
    let open = connect(pebble.port, NAME, &root).await.expect("TLS");
    let renewed = async {
        loop {
            let now = certificate(pebble.port, NAME, &root).await;
            if now != first {
                return now;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, renewed).await.expect("a new one");
    assert!(
        get(open, NAME, "/healthz")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let same = std::fs::read(&kept(store.path(), "json")[0]).expect("an account");
    assert_eq!(account, same);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_has_forgotten_us_is_told_anew() {
    let store = tempfile::tempdir().expect("a folder");
    let mut pebble = Pebble::start(YEAR_S);
    let root = pebble.root().await;
    let running = server(&pebble, store.path(), NAME).await;
    let first = certificate(pebble.port, NAME, &root).await;
    running.shut_down().await;
    let account = kept(store.path(), "json").remove(0);
    let before = std::fs::read(&account).expect("an account");
    // It keeps nothing when it ends; and we have lost the certificate.
    pebble.start_again();
    let root = pebble.root().await;
    std::fs::remove_file(&kept(store.path(), "pem")[0]).expect("it was kept");
    let _running = server(&pebble, store.path(), NAME).await;
    assert_ne!(certificate(pebble.port, NAME, &root).await, first);
    assert_ne!(std::fs::read(&account).expect("an account"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_shown_a_proof_who_is_not_asked_for_one() {
    let pebble = Pebble::start(YEAR_S);
    let root = pebble.root().await;
    let store = tempfile::tempdir().expect("a folder");
    let _running = server(&pebble, store.path(), NAME).await;
    let asking = connect_speaking(pebble.port, NAME, &root, &[b"acme-tls/1"]);
    certificate(pebble.port, NAME, &root).await;
    // The order is done: whoever speaks as the authority does gets nothing, not even the certificate.
    let error = asking.await.expect_err("nothing is shown");
    let why = error
        .get_ref()
        .and_then(|it| it.downcast_ref::<rustls::Error>());
    // Its alert: a proof that was shown would be refused by us, as nobody vouches for it.
    assert!(
        matches!(why, Some(rustls::Error::AlertReceived(_))),
        "{error:?}"
    );
    let both: [&[u8]; 2] = [b"acme-tls/1", b"http/1.1"];
    let stream = connect_speaking(pebble.port, NAME, &root, &both).await;
    let answer = get(stream.expect("TLS"), NAME, "/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_to_is_refused_at_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a file");
    std::fs::write(&file, "").expect("a file");
    let config = |store: &Path, ca: &Path| {
        let mut config = baton_signal_server::Config::local();
        config.acme.domains = vec![NAME.into()];
        config.acme.store = Some(store.into());
        config.acme.ca = Some(ca.into());
        config
    };
    let refused = async |config| {
        let error = Server::bind(config).await.err().expect("it cannot start");
        format!("{error:#}")
    };
    let why = refused(config(&file.join("store"), &file)).await;
    assert!(why.contains("--acme-store"), "{why}");
    let why = refused(config(folder.path(), &file)).await;
    assert!(why.contains("--acme-ca"), "{why}");
}
