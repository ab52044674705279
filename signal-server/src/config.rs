//! What an operator can set: flags and `BATON_*` variables, each with its default.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use baton_signal_protocol::IceServer;
use clap::Parser;
use redis::IntoConnectionInfo;

use crate::cluster;
use crate::log::Log;
use crate::proxy::Network;
use crate::tls;

/// Baton's signalling server. It brings viewers together, serves the web app, and cannot read what they share.
#[derive(Clone, Debug, Parser)]
#[command(name = "baton-server", version)]
pub struct Config {
    /// Address and port to listen on; port 0 takes any free one.
    #[arg(long, env = "BATON_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Serve /metrics here instead of on the public port.
    #[arg(long, env = "BATON_METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,

    /// The name (with :port unless it is the default one) that people type to come here. Repeatable. With it, Joins signed for other
    /// names are refused; without it, whatever the Host header says counts.
    #[arg(
        long = "host",
        env = "BATON_HOST",
        value_delimiter = ',',
        value_name = "NAME[:PORT]",
        value_parser = parse_host
    )]
    pub hosts: Vec<String>,

    /// Outside STUN or TURN server that clients shall use: `stun:HOST:PORT`, `turn:HOST:PORT,USER,PASSWORD`, or `turn:HOST:PORT` for a coturn whose
    /// static-auth-secret is --turn-secret. Repeatable (in the variable: separated by spaces).
    #[arg(
        long = "ice",
        env = "BATON_ICE",
        value_delimiter = ' ',
        value_name = "URL",
        hide_env_values = true
    )]
    pub ice: Vec<Ice>,

    /// Another site that may use this server and import /client.js, as `https://example.com`; `*` for all. Repeatable.
    #[arg(long = "allow-origin", env = "BATON_ALLOW_ORIGIN", value_delimiter = ',', value_name = "ORIGIN", value_parser = parse_origin)]
    pub allow_origins: Vec<String>,

    /// A reverse proxy (address or ADDRESS/BITS) whose X-Forwarded-For is believed. Repeatable.
    #[arg(
        long = "trusted-proxy",
        env = "BATON_TRUSTED_PROXY",
        value_delimiter = ',',
        value_name = "ADDRESS[/BITS]"
    )]
    pub trusted_proxies: Vec<Network>,

    /// Where addresses are, so that near peers meet first: a country, city or ASN database in MaxMind's format (.mmdb). Repeatable; each fills in what those before it
    /// do not know. Without it, only addresses alike are near.
    #[arg(
        long = "geo",
        env = "BATON_GEO",
        value_delimiter = ',',
        value_name = "FILE"
    )]
    pub geo: Vec<PathBuf>,

    /// Seconds between two looks at whether these files have changed.
    #[arg(long, env = "BATON_GEO_RELOAD", default_value = "60", value_name = "SECONDS", value_parser = parse_seconds)]
    pub geo_reload: Duration,

    /// Serve HTTPS at --listen with this certificate chain (PEM); needs --tls-key. Without it a reverse proxy is expected to do that.
    #[arg(
        long,
        env = "BATON_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert (PEM).
    #[arg(
        long,
        env = "BATON_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,

    /// Seconds between two looks at whether these files have changed.
    #[arg(long, env = "BATON_TLS_RELOAD", default_value = "60", value_name = "SECONDS", value_parser = parse_seconds)]
    pub tls_reload: Duration,

    /// Serve the web app from this directory instead of the one that is built in.
    #[arg(long, env = "BATON_WEB", value_name = "DIRECTORY")]
    pub web: Option<PathBuf>,

    /// Read options from this file, which --print-config writes; flags and variables count before it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Write all options with their values and what they mean, as a file for --config, and end.
    #[arg(long)]
    pub print_config: bool,

    /// Ask the server that listens at --listen how it is, instead of being one: exit code 0 if it is well. For container health checks.
    #[arg(long)]
    pub check_health: bool,

    #[command(flatten)]
    pub acme: Acme,

    #[command(flatten)]
    pub cluster: Cluster,

    #[command(flatten)]
    pub turn: Turn,

    #[command(flatten)]
    pub relay: Relay,

    #[command(flatten)]
    pub log: Log,

    #[command(flatten)]
    pub limits: Limits,
}

/// A certificate from an authority that gives them by itself.
#[derive(Clone, Debug, clap::Args)]
pub struct Acme {
    /// Serve HTTPS at --listen with a certificate for this name, asked for from an authority (ACME) and renewed in time; whoever sets it agrees to the
    /// authority's terms. The name must lead here, port 443 to --listen. Repeatable. Needs --acme-store.
    #[arg(long = "acme-domain", id = "acme_domain", env = "BATON_ACME_DOMAIN", value_delimiter = ',', value_name = "NAME", value_parser = parse_domain, requires = "acme_store", conflicts_with = "tls_cert")]
    pub domains: Vec<String>,

    /// Where the account and the certificate are kept; must outlive the server, as authorities give a name only a few certificates a week.
    #[arg(
        long = "acme-store",
        id = "acme_store",
        env = "BATON_ACME_STORE",
        value_name = "DIRECTORY"
    )]
    pub store: Option<PathBuf>,

    /// Where the authority may write to.
    #[arg(
        long = "acme-email",
        id = "acme_email",
        requires = "acme_domain",
        env = "BATON_ACME_EMAIL",
        value_name = "ADDRESS"
    )]
    pub email: Option<String>,

    /// The authority's directory (RFC 8555); the default is Let's Encrypt's.
    #[arg(long = "acme-url", id = "acme_url", env = "BATON_ACME_URL", value_name = "URL", default_value = LETS_ENCRYPT, value_parser = parse_https)]
    pub url: String,

    /// Who signed the authority's own certificate (PEM), for an authority of one's own. Without it, those whom browsers trust.
    #[arg(
        long = "acme-ca",
        id = "acme_ca",
        requires = "acme_domain",
        env = "BATON_ACME_CA",
        value_name = "FILE"
    )]
    pub ca: Option<PathBuf>,
}

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Other nodes that serve the same people.
#[derive(Clone, Debug, clap::Args)]
pub struct Cluster {
    /// Be one of many nodes that meet in this Redis (7 or later) or Valkey, as redis://[USER:PASSWORD@]HOST:PORT, or rediss:// for TLS. For a Redis Cluster some of its
    /// nodes; repeatable. While it cannot be reached the node carries on alone.
    #[arg(long = "cluster", env = "BATON_CLUSTER", value_delimiter = ',', value_name = "URL", value_parser = parse_redis, hide_env_values = true)]
    pub cluster: Vec<String>,

    /// Seconds for which others believe in this node's peers after it was last heard of.
    #[arg(long, env = "BATON_CLUSTER_LEASE", default_value = "10", value_name = "SECONDS", value_parser = parse_seconds)]
    pub cluster_lease: Duration,

    /// Who signed the certificate of rediss:// (PEM). Without it, those whom browsers trust.
    #[arg(
        long,
        env = "BATON_CLUSTER_CA",
        value_name = "FILE",
        requires = "cluster"
    )]
    pub cluster_ca: Option<PathBuf>,
}

/// STUN and TURN: addresses found and packets relayed for peers who cannot reach each other.
#[derive(Clone, Debug, clap::Args)]
pub struct Turn {
    /// Serve STUN and TURN at this address, over UDP and TCP; 3478 is the usual port. Without it there is neither.
    #[arg(long, env = "BATON_TURN_LISTEN", value_name = "ADDRESS:PORT")]
    pub turn_listen: Option<SocketAddr>,

    /// The address at which clients and peers reach --turn-listen, if that listens everywhere or stands behind address translation.
    #[arg(long, env = "BATON_TURN_PUBLIC_ADDRESS", value_name = "ADDRESS")]
    pub turn_public_address: Option<IpAddr>,

    /// UDP ports for relays, as 49152-65535; without it, whatever the system gives. The firewall must let them through.
    #[arg(long, env = "BATON_TURN_RELAY_PORTS", value_name = "FIRST-LAST")]
    pub turn_relay_ports: Option<Ports>,

    /// What credentials are made with; the same as an outside coturn's static-auth-secret, or as other nodes'. Without it one is made at start.
    #[arg(
        long,
        env = "BATON_TURN_SECRET",
        value_name = "SECRET",
        value_parser = parse_secret,
        hide_env_values = true
    )]
    pub turn_secret: Option<String>,

    /// A network (ADDRESS or ADDRESS/BITS) that relays may reach although it is not the open internet. Repeatable.
    #[arg(
        long = "turn-allow-peer",
        env = "BATON_TURN_ALLOW_PEER",
        value_delimiter = ',',
        value_name = "ADDRESS[/BITS]"
    )]
    pub turn_allow_peers: Vec<Network>,

    /// Relays in all. Each has a socket and 10 KB.
    #[arg(
        long,
        env = "BATON_TURN_ALLOCATIONS_MAX",
        default_value_t = 2048,
        value_name = "COUNT",
        value_parser = parse_count
    )]
    pub turn_allocations_max: usize,

    /// Relays of one peer; a browser asks for one per neighbour and transport.
    #[arg(
        long,
        env = "BATON_TURN_ALLOCATIONS_PER_USER",
        default_value_t = 64,
        value_name = "COUNT",
        value_parser = parse_count
    )]
    pub turn_allocations_per_user: usize,

    /// Relays, and TCP connections to the relay, of one address (IPv6: one /64).
    #[arg(
        long,
        env = "BATON_TURN_ALLOCATIONS_PER_ADDRESS",
        default_value_t = 512,
        value_name = "COUNT",
        value_parser = parse_count
    )]
    pub turn_allocations_per_address: usize,

    /// Bytes per second relayed for one peer, both ways together. The default is a film of 10 Mbit/s.
    #[arg(
        long,
        env = "BATON_TURN_USER_RATE",
        default_value_t = 1_250_000,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(16_384..)
    )]
    pub turn_user_rate: u32,

    /// Bytes per second relayed for one address (IPv6: one /64), both ways together. The default is half of what is relayed in all.
    #[arg(
        long,
        env = "BATON_TURN_ADDRESS_RATE",
        default_value_t = 6_250_000,
        value_name = "BYTES"
    )]
    pub turn_address_rate: u32,

    /// Bytes per second relayed in all, both ways together. The default is 100 Mbit/s.
    #[arg(
        long,
        env = "BATON_TURN_RATE",
        default_value_t = 12_500_000,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(16_384..)
    )]
    pub turn_rate: u32,
}

/// The last resort where neither UDP nor TURN gets through: what peers say goes through their WebSockets, sealed.
#[derive(Clone, Debug, clap::Args)]
pub struct Relay {
    /// Carry what peers say to each other who cannot connect in any other way. Nothing of it can be read here; all of it goes over this server's line twice.
    #[arg(long, env = "BATON_RELAY")]
    pub relay: bool,

    /// Bytes per second carried from one client, lasting. The default is a film of 10 Mbit/s.
    #[arg(long, env = "BATON_RELAY_CLIENT_RATE", default_value_t = 1_250_000, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(16_384..))]
    pub relay_client_rate: u32,

    /// Bytes per second carried for all clients of one address (IPv6: one /64). The default is 50 Mbit/s.
    #[arg(long, env = "BATON_RELAY_ADDRESS_RATE", default_value_t = 6_250_000, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(16_384..))]
    pub relay_address_rate: u32,

    /// Bytes per second carried in all; beyond, frames are refused. The default is 100 Mbit/s.
    #[arg(long, env = "BATON_RELAY_RATE", default_value_t = 12_500_000, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(16_384..))]
    pub relay_rate: u32,

    /// Bytes carried from one connection before it has to do without; the default is a film of two hours for three viewers.
    #[arg(
        long,
        env = "BATON_RELAY_CLIENT_BYTES",
        default_value_t = 27_000_000_000,
        value_name = "BYTES"
    )]
    pub relay_client_bytes: u64,
}

/// A range of ports, both ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub first: u16,
    pub last: u16,
}

impl FromStr for Ports {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let port = |text: &str| text.parse().ok().filter(|port| *port != 0);
        let (first, last) = text.split_once('-').ok_or("expected FIRST-LAST")?;
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err("expected two ports, the lower one first"),
        }
    }
}

/// What clients may take. Each has its reason; docs/signalling.md lists them for clients.
#[derive(Clone, Debug, clap::Args)]
pub struct Limits {
    /// WebSockets in all. An idle one costs about 10 KB.
    #[arg(
        long,
        env = "BATON_CONNECTIONS_MAX",
        default_value_t = 20_000,
        value_name = "COUNT",
        value_parser = parse_count
    )]
    pub connections_max: usize,

    /// WebSockets from one address (IPv6: one /64). A school behind one address watches together.
    #[arg(
        long,
        env = "BATON_CONNECTIONS_PER_ADDRESS",
        default_value_t = 512,
        value_name = "COUNT",
        value_parser = parse_count
    )]
    pub connections_per_address: usize,

    /// WebSockets per second that one address may open, lasting.
    #[arg(
        long,
        env = "BATON_JOINS_PER_SECOND",
        default_value_t = 20,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub joins_per_second: u32,

    /// WebSockets that one address may open at once: a school that comes back after the server was away.
    #[arg(
        long,
        env = "BATON_JOINS_BURST",
        default_value_t = 600,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub joins_burst: u32,

    /// Different swarms at one time from one address.
    #[arg(
        long,
        env = "BATON_SWARMS_PER_ADDRESS",
        default_value_t = 128,
        value_name = "COUNT",
        value_parser = parse_count
    )]
    pub swarms_per_address: usize,

    /// Peers in one swarm.
    #[arg(
        long,
        env = "BATON_SWARM_PEERS_MAX",
        default_value_t = 10_000,
        value_name = "COUNT",
        value_parser = parse_count
    )]
    pub swarm_peers_max: usize,

    /// Messages per second of one client, lasting.
    #[arg(
        long,
        env = "BATON_MESSAGES_PER_SECOND",
        default_value_t = 100,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub messages_per_second: u32,

    /// Messages at once of one client. A publisher answers two hundred newcomers with five messages each.
    #[arg(
        long,
        env = "BATON_MESSAGES_BURST",
        default_value_t = 1_000,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub messages_burst: u32,

    /// Messages that wait for one client that reads slowly; at 4 KiB each this is 1 MiB. What comes beyond is dropped.
    #[arg(
        long,
        env = "BATON_QUEUE_MESSAGES",
        default_value_t = 256,
        value_name = "COUNT",
        value_parser = parse_count
    )]
    pub queue_messages: usize,

    /// Of these, messages of one sender. An offer and its candidates are a dozen.
    #[arg(
        long,
        env = "BATON_QUEUE_MESSAGES_PER_SENDER",
        default_value_t = 32,
        value_name = "COUNT",
        value_parser = parse_count
    )]
    pub queue_messages_per_sender: usize,

    /// Bytes of messages that wait for all clients together; beyond, they are dropped as for one that reads slowly.
    #[arg(
        long,
        env = "BATON_QUEUE_BYTES",
        default_value_t = 256 << 20,
        value_name = "BYTES"
    )]
    pub queue_bytes: usize,

    /// Plain HTTP connections in all. Each costs about 10 KB and lasts for a request, or 15 seconds without one.
    #[arg(
        long,
        env = "BATON_HTTP_CONNECTIONS_MAX",
        default_value_t = 4096,
        value_name = "COUNT",
        value_parser = parse_count
    )]
    pub http_connections_max: usize,

    /// Plain HTTP connections from one address (IPv6: one /64); trusted proxies have no such limit. A browser opens six.
    #[arg(
        long,
        env = "BATON_HTTP_CONNECTIONS_PER_ADDRESS",
        default_value_t = 256,
        value_name = "COUNT",
        value_parser = parse_count
    )]
    pub http_connections_per_address: usize,

    /// Seconds from connecting to Join.
    #[arg(long, env = "BATON_JOIN_TIMEOUT", default_value = "10", value_name = "SECONDS", value_parser = parse_seconds)]
    pub join_timeout: Duration,

    /// Seconds between two signs of life of the server; a client that shows none for two and a half times this is dropped. Proxies close what
    /// is silent for 60.
    #[arg(long, env = "BATON_KEEPALIVE", default_value = "25", value_name = "SECONDS", value_parser = parse_seconds)]
    pub keepalive: Duration,

    /// Seconds that one write to a client may take.
    #[arg(long, env = "BATON_SEND_TIMEOUT", default_value = "10", value_name = "SECONDS", value_parser = parse_seconds)]
    pub send_timeout: Duration,

    /// Seconds that a refused client has for reading why and closing; it takes up its place meanwhile.
    #[arg(long, env = "BATON_LINGER", default_value = "2", value_name = "SECONDS", value_parser = parse_seconds)]
    pub linger: Duration,

    /// Seconds that clients have for closing when the server stops.
    #[arg(long, env = "BATON_GRACE", default_value = "5", value_name = "SECONDS", value_parser = parse_seconds)]
    pub grace: Duration,
}

/// An `--ice` value.
#[derive(Clone, Debug)]
pub struct Ice(pub IceServer);

impl Config {
    /// The defaults, on any free port of this computer. Reads no arguments, but `BATON_*` as ever.
    pub fn local() -> Self {
        Self::parse_from(["baton-server", "--listen", "127.0.0.1:0"])
    }

    /// Whether the port speaks TLS.
    pub fn is_https(&self) -> bool {
        self.tls_cert.is_some() || !self.acme.domains.is_empty()
    }

    /// What the parser cannot see: options that need each other.
    pub fn check(&self) -> Result<(), &'static str> {
        let is_without_key = |ice: &Ice| ice.is_turn() && ice.0.credential.is_none();
        if self.turn.turn_secret.is_none() && self.ice.iter().any(is_without_key) {
            return Err("--ice turn:… without USER,PASSWORD needs --turn-secret");
        }
        if let (Some(listen), Some(public)) = (self.turn.turn_listen, self.turn.turn_public_address)
            && !listen.ip().is_unspecified()
            && listen.is_ipv4() != public.is_ipv4()
        {
            return Err("--turn-public-address is of another family than --turn-listen");
        }
        let is_sealed = |url: &String| url.starts_with(SEALED);
        let Cluster {
            cluster,
            cluster_ca,
            ..
        } = &self.cluster;
        if cluster.iter().any(is_sealed) && !cluster.iter().all(is_sealed) {
            return Err("--cluster: either all redis:// or all rediss://");
        }
        if cluster_ca.is_some() && !cluster.iter().all(is_sealed) {
            return Err("--cluster-ca is for --cluster rediss://…");
        }
        Ok(())
    }

    /// # Errors
    /// A file that cannot be read or is no certificate; with the option's name.
    pub(crate) fn cluster_settings(&self) -> anyhow::Result<cluster::Settings> {
        let authority = self.cluster.cluster_ca.as_deref();
        let authority = authority.map(tls::authority).transpose();
        Ok(cluster::Settings {
            urls: self.cluster.cluster.clone(),
            lease: self.cluster.cluster_lease,
            connections_per_address: self.limits.connections_per_address,
            swarms_per_address: self.limits.swarms_per_address,
            swarm_peers_max: self.limits.swarm_peers_max,
            carries: self.relay.relay,
            authority: authority.context("--cluster-ca")?,
        })
    }
}

impl Ice {
    pub fn is_turn(&self) -> bool {
        self.0.urls.iter().any(|url| url.starts_with("turn"))
    }
}

impl FromStr for Ice {
    type Err = &'static str;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let mut parts = value.splitn(3, ',').map(str::to_owned);
        let url = parts.next().unwrap_or_default();
        let (username, credential) = (parts.next(), parts.next());
        let (scheme, rest) = url
            .split_once(':')
            .ok_or("expected stun:HOST:PORT or turn:HOST:PORT,USER,PASSWORD")?;
        if rest.is_empty() || !url.bytes().all(|b| b.is_ascii_graphic()) || url.len() > 255 {
            return Err("not the URL of a STUN or TURN server");
        }
        match scheme {
            "stun" | "stuns" => Ok(Self(IceServer {
                urls: vec![url],
                username: None,
                credential: None,
            })),
            "turn" | "turns" if credential.is_some() => Ok(Self(IceServer {
                urls: vec![url],
                username,
                credential,
            })),
            // Credentials are made for each client.
            "turn" | "turns" if username.is_none() => Ok(Self(IceServer {
                urls: vec![url],
                username: None,
                credential: None,
            })),
            "turn" | "turns" => {
                Err("a TURN server needs URL,USER,PASSWORD, or URL and --turn-secret")
            }
            _ => Err("only stun:, stuns:, turn: and turns: are ICE servers"),
        }
    }
}

fn parse_origin(value: &str) -> Result<String, &'static str> {
    if value == "*" {
        return Ok(value.to_owned());
    }
    let (scheme, host) = value
        .split_once("://")
        .ok_or("expected an origin like https://example.com, or *")?;
    if matches!(scheme, "http" | "https") && parse_host(host).is_ok() {
        Ok(value.to_ascii_lowercase())
    } else {
        Err("an origin is a scheme, a host and perhaps a port, without a path")
    }
}

/// A name or an address, perhaps with a port, as it stands in a browser's address line behind the scheme.
fn parse_host(value: &str) -> Result<String, &'static str> {
    let uri = value.parse::<axum::http::uri::Authority>().ok();
    let is_bare = uri.is_some_and(|it| {
        let port = value.strip_prefix(it.host()).unwrap_or_default();
        port.is_empty() || it.port_u16().is_some_and(|it| it != 0)
    });
    (is_bare && !value.contains('@'))
        .then(|| value.to_owned())
        .ok_or("expected a name or an address, perhaps with :PORT, and without https://")
}

/// Whoever guesses it is relayed as often as they like.
fn parse_secret(value: &str) -> Result<String, &'static str> {
    if value.len() < SECRET_MIN {
        return Err("a secret has at least 16 characters; `openssl rand -hex 16` makes one");
    }
    Ok(value.to_owned())
}

const SECRET_MIN: usize = 16;

/// Connections, peers or messages: at least one, and no more than tokio's semaphores and memory can hold.
fn parse_count(value: &str) -> Result<usize, &'static str> {
    match value.parse() {
        Ok(count @ 1..=COUNT_MAX) => Ok(count),
        _ => Err("expected a number from 1 to 100000000"),
    }
}

const COUNT_MAX: usize = 100_000_000;

/// Names for which an authority can ask back at port 443: no pattern, no address.
fn parse_domain(value: &str) -> Result<String, &'static str> {
    let label = |label: &str| {
        let inside = label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let ends = !label.starts_with('-') && !label.ends_with('-');
        inside && ends && (1..=63).contains(&label.len())
    };
    let is_address = value.parse::<IpAddr>().is_ok();
    if value.len() <= 253 && !is_address && value.split('.').all(label) {
        Ok(value.to_ascii_lowercase())
    } else {
        Err("expected a name like baton.example, without scheme, port or *")
    }
}

fn parse_https(value: &str) -> Result<String, &'static str> {
    let uri = value.parse::<axum::http::Uri>().ok();
    let is_https = uri.is_some_and(|it| it.scheme_str() == Some("https") && it.host().is_some());
    is_https
        .then(|| value.to_owned())
        .ok_or("expected an https:// URL")
}

fn parse_redis(value: &str) -> Result<String, &'static str> {
    let scheme = value.starts_with("redis://") || value.starts_with(SEALED);
    // What stands behind # would switch certificates off.
    let known = scheme && !value.contains('#') && value.into_connection_info().is_ok();
    known
        .then(|| value.to_owned())
        .ok_or("expected redis://[USER:PASSWORD@]HOST:PORT, or rediss://…")
}

/// Redis over TLS.
const SEALED: &str = "rediss://";

fn parse_seconds(value: &str) -> Result<Duration, &'static str> {
    match value.parse() {
        Ok(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected whole seconds, 1 to 3600"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(arguments: &[&str]) -> String {
        Config::try_parse_from([&["baton-server"], arguments].concat())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_bad_value_is_refused_with_the_name_of_its_option() {
        assert!(refused(&["--listen", "nowhere"]).contains("--listen"));
        assert!(refused(&["--ice", "http://x"]).contains("--ice"));
        assert!(refused(&["--ice", "turn:x:3478,me"]).contains("USER,PASSWORD"));
        assert!(refused(&["--tls-cert", "a.pem"]).contains("--tls-key"));
        let lonely = Config::parse_from(["baton-server", "--ice", "turn:x:3478"]);
        assert!(lonely.check().unwrap_err().contains("--ice"));
        for ports in ["5", "0-9", "9-5", "1-65536"] {
            assert!(refused(&["--turn-relay-ports", ports]).contains("--turn-relay-ports"));
        }
        assert!(refused(&["--allow-origin", "example.com"]).contains("--allow-origin"));
        assert!(
            refused(&["--allow-origin", "https://example.com/path"]).contains("without a path")
        );
        assert!(refused(&["--trusted-proxy", "10.0.0.0/33"]).contains("--trusted-proxy"));
        assert!(refused(&["--cluster", "localhost:6379"]).contains("--cluster"));
        assert!(refused(&["--cluster", "http://localhost"]).contains("--cluster"));
        for name in [
            "*.example.com",
            "https://a.example",
            "192.0.2.1",
            "a..b",
            "a b",
        ] {
            assert!(
                refused(&["--acme-store", "s", "--acme-domain", name]).contains("--acme-domain")
            );
        }
        assert!(refused(&["--acme-domain", "a.example"]).contains("--acme-store"));
        assert!(refused(&["--acme-url", "http://a.example"]).contains("--acme-url"));
        let both = [
            "--acme-domain=a.example",
            "--acme-store=s",
            "--tls-cert=c",
            "--tls-key=k",
        ];
        assert!(refused(&both).contains("--acme-domain"));
        let insecure = "rediss://localhost:6379/#insecure";
        assert!(refused(&["--cluster", insecure]).contains("--cluster"));
        let mixed = ["redis://a:1,rediss://b:1"].map(|urls| ["baton-server", "--cluster", urls]);
        assert!(Config::parse_from(mixed[0]).check().is_err());
        assert!(Config::parse_from(["baton-server"]).check().is_ok());
        let plain = ["--cluster", "redis://a:1", "--cluster-ca", "ca.pem"];
        let plain = Config::parse_from([&["baton-server"][..], &plain].concat());
        assert!(plain.check().unwrap_err().contains("--cluster-ca"));
        assert!(refused(&["--keepalive", "0"]).contains("--keepalive"));
        for (option, value) in [
            ("--host", "https://baton.example/"),
            ("--host", "baton.example:0"),
            ("--host", "me@baton.example"),
            ("--allow-origin", "https://a:b:c"),
            ("--turn-secret", "north"),
            ("--http-connections-max", "18446744073709551615"),
            ("--turn-allocations-max", "0"),
            ("--turn-user-rate", "1000"),
            ("--messages-burst", "0"),
            ("--joins-burst", "0"),
            ("--swarm-peers-max", "0"),
        ] {
            assert!(
                refused(&[option, value]).contains(option),
                "{option} {value}"
            );
        }
        let lonely = refused(&["--acme-email", "a@baton.example"]);
        assert!(lonely.contains("--acme-domain"), "{lonely}");
        let mixed = [
            "baton-server",
            "--turn-listen=192.0.2.1:3478",
            "--turn-public-address=2001:db8::1",
        ];
        let mixed = Config::parse_from(mixed).check().unwrap_err();
        assert!(mixed.contains("--turn-public-address"));
        for host in [
            "baton.example",
            "localhost:8080",
            "192.0.2.1",
            "[2001:db8::1]:8443",
        ] {
            assert_eq!(parse_host(host).as_deref(), Ok(host));
        }
    }

    #[test]
    fn repeated_options_add_up() {
        let config = Config::parse_from([
            "baton-server",
            "--ice",
            "stun:a:1",
            "--ice",
            "turn:b:2?transport=tcp,me,pa,ss",
        ]);
        assert_eq!(config.ice[0].0.urls, ["stun:a:1"]);
        assert_eq!(config.ice[1].0.urls, ["turn:b:2?transport=tcp"]);
        assert_eq!(config.ice[1].0.credential.as_deref(), Some("pa,ss"));
    }
}
