//! The running server: its sockets, what all sessions share, and its end.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::assets::Assets;
use crate::bus::Bus;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::http::{self, TcpPeer};
use crate::limits::{
    Account, Addresses, Bucket, HTTP_HEAD_MAX, HTTP_HEADER_TIMEOUT_S, HTTP_HEADERS_MAX,
    HTTP_LIFETIME_S, HTTP2_SEND_BUFFER, HTTP2_STREAMS_MAX, Place, READ_BURST, READ_PER_MESSAGE,
    Rate, SWEEP,
};
use crate::metered::Metered;
use crate::metrics::Metrics;
use crate::names::Names;
use crate::places::Places;
use crate::proxy::is_trusted;
use crate::queue::Budget;
use crate::rooms::Rooms;
use crate::tls::{self, Tls};
use crate::turn::credential::Secret;
use crate::turn::{Ices, Turn};

/// What all sessions share.
pub struct App {
    pub config: Config,
    pub bus: Bus,
    pub names: Names,
    pub addresses: Addresses,
    pub metrics: Arc<Metrics>,
    pub assets: Assets,
    pub sessions: Sessions,
    pub ices: Ices,
    pub places: Arc<Places>,
    /// What may be carried now, of all clients together.
    pub toll: Mutex<Bucket>,
    /// What waits for all clients together.
    pub queued: Arc<Budget>,
    connections: AtomicU64,
}

/// A server that has its ports but serves nobody yet.
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    metrics_listener: Option<TcpListener>,
    turn: Option<Turn>,
    tls: Option<Tls>,
}

/// A server at work. Dropping it stops it without goodbye.
pub struct Running {
    address: SocketAddr,
    app: Arc<App>,
    accepting: Vec<JoinHandle<()>>,
    /// What ends only with the process: the relay, whoever looks at the certificate or the places, the link to other nodes.
    others: Vec<JoinHandle<()>>,
}

/// What is open, WebSockets above all, and whether it is to close.
pub struct Sessions {
    closing: watch::Sender<bool>,
    count: Arc<Count>,
    /// Plain HTTP connections.
    http: Arc<Count>,
}

/// One open WebSocket or HTTP connection.
pub struct Open(Arc<Count>);

#[derive(Default)]
struct Count {
    open: AtomicUsize,
    none: Notify,
}

impl Server {
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        config.check().map_err(anyhow::Error::msg)?;
        let assets = match &config.web {
            Some(directory) => Assets::from_directory(directory)?,
            None => Assets::built_in(),
        };
        let assets = match config.hosts.first() {
            Some(host) => assets.at_host(host),
            None => assets,
        };
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("--listen {}", config.listen))?;
        let metrics_listener = match config.metrics_listen {
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .with_context(|| format!("--metrics-listen {address}"))?,
            ),
            None => None,
        };
        let tls = Tls::load(&config)?;
        let secret = Secret::new(config.turn.turn_secret.as_deref());
        let turn = Turn::bind(&config, secret.clone()).await?;
        let places = Arc::new(Places::load(&config.geo)?);
        let metrics = Arc::new(Metrics::new());
        let rooms = Rooms::new(metrics.clone(), config.limits.swarm_peers_max);
        let bus = if config.cluster.cluster.is_empty() {
            Bus::Memory(Box::new(rooms))
        } else {
            // Redis over TLS takes the process's, and must not find two to choose from.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let settings = config.cluster_settings()?;
            Bus::Cluster(Arc::new(Cluster::new(rooms, settings, metrics.clone())))
        };
        let app = App {
            places,
            ices: Ices::new(config.ice.clone(), turn.as_ref(), secret),
            names: Names::new(bus.cluster(), metrics.clone()),
            bus,
            addresses: Addresses::default(),
            metrics,
            assets,
            sessions: Sessions {
                closing: watch::Sender::new(false),
                count: Arc::default(),
                http: Arc::default(),
            },
            queued: Budget::new(config.limits.queue_bytes),
            toll: Mutex::new(Bucket::full(config.relay.relay_rate, Instant::now())),
            connections: AtomicU64::new(0),
            config,
        };
        Ok(Self {
            app: Arc::new(app),
            listener,
            metrics_listener,
            turn,
            tls,
        })
    }

    /// The address with the real port.
    pub fn address(&self) -> SocketAddr {
        self.listener
            .local_addr()
            .expect("a listener has an address")
    }

    /// Where metrics are, if they have an address of their own.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_listener
            .as_ref()
            .map(|listener| listener.local_addr().expect("a listener has an address"))
    }

    /// What stands before the address in a browser.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Where STUN and TURN are, if they are here.
    pub fn turn_address(&self) -> Option<SocketAddr> {
        self.turn.as_ref().map(Turn::address)
    }

    pub fn start(self) -> Running {
        let address = self.address();
        let mut accepting = vec![tokio::spawn(accept(
            self.listener,
            http::public(self.app.clone()),
            self.tls.as_ref().map(Tls::acceptor),
            self.app.clone(),
        ))];
        if let Some(listener) = self.metrics_listener {
            accepting.push(tokio::spawn(accept(
                listener,
                http::admin(self.app.clone()),
                None,
                self.app.clone(),
            )));
        }
        let relay = self
            .turn
            .map(|turn| tokio::spawn(turn.run(self.app.clone())));
        let certificate = self.tls.map(|tls| tokio::spawn(tls.keep_fresh()));
        let link = match &self.app.bus {
            Bus::Memory(_) => None,
            Bus::Cluster(cluster) => Some(tokio::spawn(cluster.clone().run())),
        };
        let app = &self.app;
        let places = (!app.places.is_empty()).then(|| {
            let every = app.config.geo_reload;
            tokio::spawn(app.places.clone().keep_fresh(every, app.metrics.clone()))
        });
        let addresses = app.addresses.clone();
        let sweep = tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                addresses.sweep(Instant::now());
            }
        });
        let others = [relay, certificate, link, places, Some(sweep)]
            .into_iter()
            .flatten()
            .collect();
        Running {
            address,
            app: self.app,
            accepting,
            others,
        }
    }
}

impl Running {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resolves when a part of the server has ended, which none should before it is shut down: a defect, after which it is better to start anew
    /// than to go on without.
    pub async fn defect(&mut self) {
        let parts = self.accepting.iter_mut().chain(&mut self.others);
        let _ = futures_util::future::select_all(parts).await;
    }

    /// Stops: no new connections, GoingAway to every client, and at most the grace period for their goodbyes and for downloads under way. hyper's
    /// own graceful shutdown knows nothing of upgraded connections (axum#3003).
    pub async fn shut_down(mut self) {
        self.app.sessions.closing.send_replace(true);
        for task in self.accepting.drain(..) {
            let _ = task.await;
        }
        let grace = self.app.config.limits.grace;
        let _ = tokio::time::timeout(grace, self.app.sessions.all_closed()).await;
        self.app.bus.close().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in self.accepting.iter().chain(&self.others) {
            task.abort();
        }
        self.app.sessions.closing.send_replace(true);
    }
}

impl App {
    /// A number that no other connection of this process has or will have.
    pub fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }
}

impl Sessions {
    /// `None` once the server is stopping.
    pub fn open(&self) -> Option<Open> {
        if self.is_closing() {
            return None;
        }
        Some(self.count.open())
    }

    pub fn count(&self) -> usize {
        self.count.open.load(Ordering::Acquire)
    }

    pub fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Resolves when the server is to stop.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    async fn all_closed(&self) {
        self.count.zero().await;
        self.http.zero().await;
    }
}

impl Count {
    fn open(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::AcqRel);
        Open(self.clone())
    }

    async fn zero(&self) {
        loop {
            let none = self.none.notified();
            if self.open.load(Ordering::Acquire) == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

/// Asks the system for as many files as all connections at once need, each socket being one; how many are missing.
pub fn raise_file_limit(config: &Config) -> u64 {
    let limits = &config.limits;
    let relays = match config.turn.turn_listen {
        // A socket for the relay, and one for a client that comes over TCP.
        Some(_) => 2 * config.turn.turn_allocations_max,
        None => 0,
    };
    let wanted =
        (limits.connections_max + limits.http_connections_max + relays + OTHER_FILES) as u64;
    wanted.saturating_sub(files_allowed(wanted))
}

#[cfg(unix)]
fn files_allowed(wanted: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointers are good for the calls. Where it fails, the limit stays as it was.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return wanted;
        }
        if limit.rlim_cur < wanted {
            let before = limit.rlim_cur;
            limit.rlim_cur = limit.rlim_max.min(wanted);
            if libc::setrlimit(libc::RLIMIT_NOFILE, &limit) != 0 {
                return before;
            }
        }
    }
    limit.rlim_cur
}

#[cfg(not(unix))]
fn files_allowed(wanted: u64) -> u64 {
    wanted
}

/// Files besides connections: listeners, databases, Redis, what is read now and then, and refused connections on their way out.
const OTHER_FILES: usize = 256;

async fn accept(listener: TcpListener, router: Router, tls: Option<TlsAcceptor>, app: Arc<App>) {
    let room = Arc::new(Semaphore::new(app.config.limits.http_connections_max));
    let mut closing = app.sessions.watch();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        let Ok((stream, peer)) = accepted else {
            // Out of file descriptors, most likely: some will be closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Beyond a limit a connection is closed at once: better than to let all wait for those who never finish.
        let Some(place) = HttpPlace::take(&app, &room, peer.ip()) else {
            app.metrics.http_connections_refused_total.add(1);
            if tls.is_none() {
                let _ = stream.try_write(BUSY);
            }
            continue;
        };
        // Offers and answers are small and each is waited for.
        let _ = stream.set_nodelay(true);
        let (router, tls, closing) = (router.clone(), tls.clone(), app.sessions.watch());
        let stream = Metered::new(stream, reading(&app.config));
        tokio::spawn(async move {
            match tls {
                None => serve(stream, peer, http1(), router, closing).await,
                Some(tls) => {
                    let patience = Duration::from_secs(HTTP_HEADER_TIMEOUT_S);
                    let handshake = tokio::time::timeout(patience, tls.accept(stream));
                    if let Ok(Ok(stream)) = handshake.await {
                        let protocol = match stream.get_ref().1.alpn_protocol() {
                            // The handshake was all that the authority wanted (RFC 8737 §3).
                            Some(tls::PROOF) => None,
                            Some(tls::H2) => Some(http2()),
                            _ => Some(http1()),
                        };
                        if let Some(protocol) = protocol {
                            serve(stream, peer, protocol, router, closing).await;
                        }
                    }
                }
            }
            drop(place);
        });
    }
}

/// How fast a connection is read: as fast as its messages may come, and what it may have carried, which is twice as many bytes at most when
/// they come in the shortest frames.
fn reading(config: &Config) -> Rate {
    let limits = &config.limits;
    let messages = limits.messages_per_second.saturating_mul(READ_PER_MESSAGE);
    let carried = match config.relay.relay {
        true => config.relay.relay_client_rate.saturating_mul(2),
        false => 0,
    };
    Rate {
        per_second: messages.saturating_add(carried),
        burst: READ_BURST.saturating_add(carried),
    }
}

/// What a connection hears for which there is no place, if it goes that far.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 15\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What a plain HTTP connection takes up, in all and of its address's share; given back on drop.
struct HttpPlace {
    app: Arc<App>,
    _open: Open,
    _in_all: OwnedSemaphorePermit,
    _of_address: Option<Place>,
}

impl HttpPlace {
    fn take(app: &Arc<App>, room: &Arc<Semaphore>, peer: IpAddr) -> Option<Self> {
        let in_all = room.clone().try_acquire_owned().ok()?;
        let of_address = if is_trusted(peer, &app.config.trusted_proxies) {
            None
        } else {
            let max = app.config.limits.http_connections_per_address;
            Some(app.addresses.connect(peer, Account::Http, max).ok()?)
        };
        app.metrics.http_connections.add(1);
        Some(Self {
            app: app.clone(),
            _open: app.sessions.http.open(),
            _in_all: in_all,
            _of_address: of_address,
        })
    }
}

impl Drop for HttpPlace {
    fn drop(&mut self) {
        self.app.metrics.http_connections.add(-1);
    }
}

type Protocol = auto::Builder<TokioExecutor>;

fn http1() -> Protocol {
    let mut protocol = Protocol::new(TokioExecutor::new()).http1_only();
    protocol
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HTTP_HEADER_TIMEOUT_S))
        .max_headers(HTTP_HEADERS_MAX)
        .max_buf_size(HTTP_HEAD_MAX);
    protocol
}

/// For pages and assets. WebSockets stay with HTTP/1.1 (no RFC 8441): a session must not share a connection, and its end, with others.
fn http2() -> Protocol {
    let mut protocol = Protocol::new(TokioExecutor::new()).http2_only();
    protocol
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(HTTP_HEADER_TIMEOUT_S))
        .keep_alive_timeout(Duration::from_secs(HTTP_HEADER_TIMEOUT_S))
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_send_buf_size(HTTP2_SEND_BUFFER)
        .max_header_list_size(HTTP_HEAD_MAX as u32);
    protocol
}

/// One TCP connection, until it ends or becomes a WebSocket.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    protocol: Protocol,
    router: Router,
    mut closing: watch::Receiver<bool>,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(TcpPeer(peer.ip()));
        router.call(request)
    });
    let connection = protocol.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let lifetime = tokio::time::sleep(Duration::from_secs(HTTP_LIFETIME_S));
    tokio::pin!(lifetime);
    tokio::select! {
        // Whatever went wrong was the client's affair.
        _ = connection.as_mut() => return,
        () = lifetime => return,
        _ = closing.wait_for(|closing| *closing) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_is_noticed_and_none_does_by_itself() {
        let server = Server::bind(Config::local()).await.expect("a free port");
        let mut running = server.start();
        let soon = Duration::from_millis(50);
        let ended = tokio::time::timeout(soon, running.defect()).await;
        assert!(ended.is_err());
        running.others[0].abort();
        running.defect().await;
    }
}
