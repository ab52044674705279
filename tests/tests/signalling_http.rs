//! The web app as the signalling server serves it.

use std::path::PathBuf;

use baton_tests::http::{get, request};
use baton_tests::signalling::{Client, Identity, server};

/// A small web app in a directory of its own, removed on drop.
struct App(PathBuf);

impl App {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("baton-{name}-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("assets")).unwrap();
        for (file, text) in [
            ("index.html", "<!doctype html><title>share</title>"),
            ("embed.html", "<!doctype html><title>embed</title>"),
            ("client.js", "export class Client {}"),
            ("favicon.svg", "<svg/>"),
            ("assets/page-abc.js", "page"),
            ("assets/page-abc.js.br", "(brotli)"),
            ("assets/page-abc.js.gz", "(gzip)"),
            ("assets/engine-abc.wasm", "\0asm"),
        ] {
            std::fs::write(directory.join(file), text).unwrap();
        }
        Self(directory)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn pages_are_found_by_their_routes() {
    let app = App::new("routes");
    let server = server(|config| config.web = Some(app.0.clone())).await;
    for (path, status, part) in [
        ("/", 200, "share"),
        ("/index.html", 200, "share"),
        ("/some/route?with=query", 200, "share"),
        ("/embed", 200, "embed"),
        ("/embed?autoplay=0", 200, "embed"),
        ("/client.js", 200, "Client"),
        ("/favicon.svg", 200, "svg"),
        ("/assets/page-abc.js", 200, "page"),
        ("/assets/gone-123.js", 404, "Not found"),
        ("/nothing.png", 404, "Not found"),
        ("/../Cargo.toml", 404, "Not found"),
        ("/assets/page-abc.js.br", 404, "Not found"),
        ("/healthz", 200, "ok"),
        ("/readyz", 200, "ready"),
    ] {
        let answer = get(server.address(), path).await;
        let body = String::from_utf8_lossy(&answer.body);
        assert!(
            answer.status == status && body.contains(part),
            "{path}: {} {body}",
            answer.status
        );
    }
    let head = request(server.address(), "HEAD", "/", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn compressed_variants_go_to_those_who_take_them() {
    let app = App::new("encodings");
    let server = server(|config| config.web = Some(app.0.clone())).await;
    for (accepted, encoding, body) in [
        ("gzip, deflate, br", "br", "(brotli)"),
        ("gzip", "gzip", "(gzip)"),
        ("identity", "", "page"),
    ] {
        let answer = request(
            server.address(),
            "GET",
            "/assets/page-abc.js",
            &[("Accept-Encoding", accepted)],
        )
        .await;
        assert_eq!(
            (
                answer.header("content-encoding").as_str(),
                answer.body.as_slice()
            ),
            (encoding, body.as_bytes())
        );
        assert_eq!(
            answer.header("cache-control"),
            "public, max-age=31536000, immutable"
        );
        assert!(answer.header("vary").contains("Accept-Encoding"));
        let again = [
            ("Accept-Encoding", accepted),
            ("If-None-Match", &answer.header("etag")),
        ];
        assert_eq!(
            request(server.address(), "GET", "/assets/page-abc.js", &again)
                .await
                .status,
            304
        );
    }
    assert_eq!(
        get(server.address(), "/assets/engine-abc.wasm")
            .await
            .header("content-type"),
        "application/wasm"
    );
    assert_eq!(
        get(server.address(), "/").await.header("cache-control"),
        "no-cache"
    );
    assert_eq!(
        get(server.address(), "/client.js")
            .await
            .header("cache-control"),
        "no-cache"
    );
}

#[tokio::test]
async fn every_answer_says_what_it_may_be_used_for() {
    let app = App::new("headers");
    let server = server(|config| config.web = Some(app.0.clone())).await;
    for path in [
        "/",
        "/embed",
        "/client.js",
        "/assets/page-abc.js",
        "/nothing.png",
    ] {
        let answer = get(server.address(), path).await;
        let policy = answer.header("content-security-policy");
        assert!(
            policy.contains("script-src 'self' 'wasm-unsafe-eval';")
                && !policy.contains("unsafe-inline"),
            "{path}: {policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert!(
            answer
                .header("permissions-policy")
                .contains("geolocation=()")
        );
        let may_be_framed = path == "/embed";
        assert_eq!(policy.contains("frame-ancestors *"), may_be_framed);
        assert_eq!(
            answer.header("x-frame-options"),
            if may_be_framed { "" } else { "DENY" }
        );
    }
    let webos6 = [(
        "User-Agent",
        "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/79.0.3945.79 Safari/537.36",
    )];
    assert!(
        request(server.address(), "GET", "/", &webos6)
            .await
            .header("content-security-policy")
            .contains("'self' 'unsafe-eval';")
    );
}

#[tokio::test]
async fn listed_origins_may_import_the_client_and_others_may_not() {
    let app = App::new("cors");
    let server = server(|config| {
        config.web = Some(app.0.clone());
        config.allow_origins = vec!["https://friend.example".into()];
    })
    .await;
    for path in [
        "/client.js",
        "/assets/page-abc.js",
        "/assets/engine-abc.wasm",
    ] {
        let friend = request(
            server.address(),
            "GET",
            path,
            &[("Origin", "https://friend.example")],
        )
        .await;
        assert_eq!(
            friend.header("access-control-allow-origin"),
            "https://friend.example"
        );
        assert_eq!(
            friend.header("cross-origin-resource-policy"),
            "cross-origin"
        );
        assert!(friend.header("vary").contains("Origin"));
        let stranger = request(
            server.address(),
            "GET",
            path,
            &[("Origin", "https://evil.example")],
        )
        .await;
        assert_eq!(stranger.header("access-control-allow-origin"), "");
    }
    let page = request(
        server.address(),
        "GET",
        "/",
        &[("Origin", "https://friend.example")],
    )
    .await;
    assert_eq!(page.header("access-control-allow-origin"), "");
    assert_eq!(page.header("cross-origin-resource-policy"), "same-origin");
}

#[tokio::test]
async fn without_a_web_app_the_server_says_so_and_signals_all_the_same() {
    let empty = std::env::temp_dir().join(format!("baton-empty-{}", std::process::id()));
    std::fs::create_dir_all(&empty).unwrap();
    let server = server(|config| config.web = Some(empty.clone())).await;
    let answer = get(server.address(), "/").await;
    assert_eq!(answer.status, 503);
    assert!(String::from_utf8_lossy(&answer.body).contains("not built"));
    Client::join(server.address(), &Identity::new(1, 1)).await;
    std::fs::remove_dir(&empty).unwrap();
}

#[tokio::test]
async fn metrics_count_and_name_nobody() {
    let server = server(|_| ()).await;
    let (alice, bob) = (Identity::new(1, 10), Identity::new(1, 11));
    let (mut a, _) = Client::join(server.address(), &alice).await;
    let (mut b, _) = Client::join(server.address(), &bob).await;
    a.relay(bob.peer_id(), b"hi").await;
    b.hear().await;
    let answer = get(server.address(), "/metrics").await;
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = String::from_utf8(answer.body).unwrap();
    for line in [
        "baton_peers 2",
        "baton_swarms 1",
        "baton_connections 2",
        "baton_joins_total 2",
        "baton_messages_received_total 3",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
    }
    let hex: String = alice.swarm_id()[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert!(!text.contains(&hex) && !text.contains("127.0.0.1"));
}

#[tokio::test]
async fn every_metric_is_in_the_table_of_the_docs() {
    let server = server(|_| ()).await;
    let text = String::from_utf8(get(server.address(), "/metrics").await.body).unwrap();
    let docs = include_str!("../../docs/signalling.md");
    for name in text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
    {
        assert!(
            docs.contains(&format!("| `{name}` |")),
            "{name} is not in docs/signalling.md"
        );
    }
}
