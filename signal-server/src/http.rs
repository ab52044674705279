//! The doors by path: pages and assets, `/ws`, health and metrics.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{Router, get};
use baton_signal_protocol::SUBPROTOCOL;

use crate::headers::{Kind, is_listed, secure, share};
use crate::limits::{READ_BUFFER, message_max};
use crate::proxy::client_address;
use crate::server::App;
use crate::socket::{self, Guest};

/// The address at the other end of the TCP connection.
#[derive(Clone, Copy)]
pub struct TcpPeer(pub IpAddr);

/// Everything on the public port.
pub fn public(app: Arc<App>) -> Router {
    let mut router = Router::new()
        .route("/ws", get(websocket))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz));
    if app.config.metrics_listen.is_none() {
        router = router.route("/metrics", get(metrics));
    }
    router.fallback(asset).with_state(app)
}

/// What the operator alone sees, on an address of its own.
pub fn admin(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(app)
}

async fn websocket(
    State(app): State<Arc<App>>,
    Extension(TcpPeer(peer)): Extension<TcpPeer>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response<Body> {
    app.metrics.http_requests_total.add(1);
    let hosts = own_names(&app, &headers);
    if !is_welcome(
        headers.get(header::ORIGIN),
        &hosts,
        &app.config.allow_origins,
    ) {
        app.metrics.origins_refused_total.add(1);
        return (
            StatusCode::FORBIDDEN,
            "This Origin may not use this server (--allow-origin).\n",
        )
            .into_response();
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let Some(open) = app.sessions.open() else {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            [(header::RETRY_AFTER, "5")],
            "Stopping.\n",
        )
            .into_response();
    };
    let forwarded_for = headers.get_all("x-forwarded-for").iter();
    let address = client_address(
        peer,
        &app.config.trusted_proxies,
        forwarded_for.map(HeaderValue::as_bytes),
    );
    let longest = message_max(app.config.relay.relay);
    upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(longest)
        .max_frame_size(longest)
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(READ_BUFFER)
        .on_upgrade(move |socket| {
            socket::serve(
                socket,
                app,
                Guest {
                    address,
                    hosts,
                    _open: open,
                },
            )
        })
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    if app.sessions.is_closing() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        app.metrics.render(),
    )
}

async fn asset(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    app.metrics.http_requests_total.add(1);
    let headers = request.headers();
    let (kind, mut response) = if matches!(*request.method(), Method::GET | Method::HEAD) {
        find(&app, request.uri().path(), headers)
    } else {
        let allow = [(header::ALLOW, HeaderValue::from_static("GET, HEAD"))];
        (
            Kind::Plain,
            (StatusCode::METHOD_NOT_ALLOWED, allow).into_response(),
        )
    };
    secure(
        response.headers_mut(),
        kind,
        headers.get(header::USER_AGENT),
    );
    if kind == Kind::Shared {
        share(
            response.headers_mut(),
            headers.get(header::ORIGIN),
            &app.config.allow_origins,
        );
    }
    response
}

fn find(app: &App, path: &str, request: &HeaderMap) -> (Kind, Response<Body>) {
    let name = path.trim_start_matches('/');
    let (kind, name) = match name {
        "" | "index.html" => (Kind::Page, "index.html"),
        "embed" | "embed/" | "embed.html" => (Kind::Embed, "embed.html"),
        "tv" | "tv/" | "tv.html" => (Kind::Page, "tv.html"),
        "client.js" | "client.d.ts" => (Kind::Shared, name),
        _ if name.starts_with("assets/") => (Kind::Shared, name),
        _ if app.assets.get(name).is_some() => (Kind::Plain, name),
        // A route inside the app; a name with a dot would have been a file.
        _ if !name
            .rsplit('/')
            .next()
            .is_some_and(|last| last.contains('.')) =>
        {
            (Kind::Page, "index.html")
        }
        _ => (Kind::Plain, name),
    };
    match app.assets.get(name) {
        Some(file) => (kind, file.respond(request)),
        None if matches!(kind, Kind::Page | Kind::Embed) => (kind, not_built()),
        None => (
            Kind::Plain,
            (StatusCode::NOT_FOUND, "Not found.\n").into_response(),
        ),
    }
}

fn not_built() -> Response<Body> {
    let page = "<!doctype html><html lang=en><meta charset=utf-8><title>Baton</title><p>The signalling server runs, but the web app \
                is not built into it. <code>cargo xtask serve</code> builds both.\n";
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (StatusCode::SERVICE_UNAVAILABLE, headers, page).into_response()
}

/// The names that this server answers to: those it was told, else the one it was called by.
fn own_names(app: &App, headers: &HeaderMap) -> Vec<String> {
    if !app.config.hosts.is_empty() {
        return app
            .config
            .hosts
            .iter()
            .map(|host| host.to_ascii_lowercase())
            .collect();
    }
    headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .map(|host| vec![host.to_ascii_lowercase()])
        .unwrap_or_default()
}

/// Pages of this server's own, programs (which send no Origin), and who is on the list.
fn is_welcome(origin: Option<&HeaderValue>, hosts: &[String], allowed: &[String]) -> bool {
    let Some(origin) = origin else { return true };
    if is_listed(origin, allowed) {
        return true;
    }
    let Some((scheme, authority)) = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
    else {
        return false;
    };
    let default_port = if scheme.eq_ignore_ascii_case("https") {
        ":443"
    } else {
        ":80"
    };
    let bare = |host: &str| {
        host.strip_suffix(default_port)
            .unwrap_or(host)
            .to_ascii_lowercase()
    };
    hosts.iter().any(|host| bare(host) == bare(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(origin: Option<&str>, host: &str, allowed: &[&str]) -> bool {
        let allowed: Vec<String> = allowed.iter().map(|it| it.to_string()).collect();
        is_welcome(
            origin.map(|it| it.parse().unwrap()).as_ref(),
            &[host.to_owned()],
            &allowed,
        )
    }

    #[test]
    fn a_websocket_is_for_own_pages_programs_and_listed_origins() {
        assert!(welcome(None, "baton.example", &[]));
        assert!(welcome(Some("https://baton.example"), "baton.example", &[]));
        assert!(welcome(
            Some("https://Baton.Example"),
            "baton.example:443",
            &[]
        ));
        assert!(welcome(
            Some("http://192.168.1.5:8080"),
            "192.168.1.5:8080",
            &[]
        ));
        assert!(welcome(
            Some("https://friend.example"),
            "baton.example",
            &["https://friend.example"]
        ));
        assert!(welcome(
            Some("https://anybody.example"),
            "baton.example",
            &["*"]
        ));
    }

    #[test]
    fn a_websocket_is_for_nobody_else() {
        assert!(!welcome(Some("https://evil.example"), "baton.example", &[]));
        assert!(!welcome(
            Some("https://baton.example.evil.example"),
            "baton.example",
            &[]
        ));
        assert!(!welcome(
            Some("https://baton.example:8443"),
            "baton.example",
            &[]
        ));
        assert!(!welcome(Some("null"), "baton.example", &[]));
        assert!(!welcome(
            Some(""),
            "baton.example",
            &["https://friend.example"]
        ));
    }
}
