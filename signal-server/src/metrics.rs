//! What the server counts, as Prometheus text. No label names a swarm, a peer or an address.

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use baton_signal_protocol::Refusal;

#[derive(Default)]
pub struct Counter(AtomicU64);

#[derive(Default)]
pub struct Gauge(AtomicI64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
}

impl Gauge {
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub fn set(&self, n: i64) {
        self.0.store(n, Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// What a metric's type is called in Prometheus text, and how its value is read.
trait Metric {
    const TYPE: &'static str;
    fn value(&self) -> f64;
}

impl Metric for Counter {
    const TYPE: &'static str = "counter";
    fn value(&self) -> f64 {
        self.0.load(Relaxed) as f64
    }
}

impl Metric for Gauge {
    const TYPE: &'static str = "gauge";
    fn value(&self) -> f64 {
        self.get() as f64
    }
}

/// A struct of metrics and its Prometheus text, from one table: field, type, name, divisor, help.
macro_rules! metrics {
    ($($field:ident: $type:ident, $name:literal / $divisor:literal, $help:literal;)*) => {
        /// All counters of one server.
        pub struct Metrics {
            $(pub $field: $type,)*
            refusals: [Counter; REFUSALS.len()],
            started_unix_s: u64,
        }

        impl Metrics {
            pub fn new() -> Self {
                Self {
                    $($field: $type::default(),)*
                    refusals: Default::default(),
                    started_unix_s: unix_s(),
                }
            }

            fn render_table(&self, text: &mut String) {
                $(one(text, $name, $type::TYPE, $help, self.$field.value() / f64::from($divisor));)*
            }
        }
    };
}

metrics! {
    connections: Gauge, "baton_connections" / 1, "WebSockets open now.";
    peers: Gauge, "baton_peers" / 1, "Peers that joined and are here.";
    swarms: Gauge, "baton_swarms" / 1, "Swarms with at least one peer.";
    connections_total: Counter, "baton_connections_total" / 1, "WebSockets accepted.";
    joins_total: Counter, "baton_joins_total" / 1, "Joins that were welcomed.";
    join_microseconds_total: Counter, "baton_join_seconds_total" / 1_000_000, "Time from Join to Welcome, summed.";
    messages_received_total: Counter, "baton_messages_received_total" / 1, "Messages from clients.";
    bytes_received_total: Counter, "baton_received_bytes_total" / 1, "Bytes of messages from clients.";
    messages_sent_total: Counter, "baton_messages_sent_total" / 1, "Messages to clients.";
    bytes_sent_total: Counter, "baton_sent_bytes_total" / 1, "Bytes of messages to clients.";
    relays_total: Counter, "baton_relays_total" / 1, "Blobs handed to a peer.";
    relays_gone_total: Counter, "baton_relays_gone_total" / 1, "Blobs for a peer that is not here.";
    relays_dropped_total: Counter, "baton_relays_dropped_total" / 1, "Blobs for a peer for whom too much waits.";
    carried_frames_total: Counter, "baton_carried_frames_total" / 1, "Frames of carried connections handed to a peer, or sent on to another node.";
    carried_bytes_total: Counter, "baton_carried_bytes_total" / 1, "Bytes of those.";
    carried_dropped_total: Counter, "baton_carried_dropped_total" / 1, "Frames not handed on: for a peer that is not here or for whom too much waits, or beyond --relay-client-bytes.";
    http_connections: Gauge, "baton_http_connections" / 1, "Plain HTTP connections open now.";
    http_connections_refused_total: Counter, "baton_http_connections_refused_total" / 1, "Connections closed unheard: too many in all or from one address.";
    http_requests_total: Counter, "baton_http_requests_total" / 1, "HTTP requests, upgrades included.";
    turn_allocations: Gauge, "baton_turn_allocations" / 1, "Relays that are open now.";
    turn_allocations_total: Counter, "baton_turn_allocations_total" / 1, "Relays opened.";
    turn_refusals_total: Counter, "baton_turn_refusals_total" / 1, "Requests for relays refused: quotas, filtered addresses, expired credentials.";
    turn_bytes_total: Counter, "baton_turn_bytes_total" / 1, "Bytes relayed, either way.";
    turn_dropped_bytes_total: Counter, "baton_turn_dropped_bytes_total" / 1, "Bytes not relayed: over a user's rate or the server's.";
    names: Gauge, "baton_names" / 1, "Short names of devices that wait to be paired.";
    names_total: Counter, "baton_names_total" / 1, "Short names given.";
    names_found_total: Counter, "baton_names_found_total" / 1, "Short names that somebody asked for, and that led to a device.";
    names_unknown_total: Counter, "baton_names_unknown_total" / 1, "Short names that somebody asked for, and that nobody has.";
    names_refused_total: Counter, "baton_names_refused_total" / 1, "Questions about short names not answered: too many from one address, or none free.";
    cluster_connected: Gauge, "baton_cluster_connected" / 1, "1 while Redis is there, 0 while this node carries on alone.";
    cluster_nodes: Gauge, "baton_cluster_nodes" / 1, "Nodes with a lease, this one included.";
    cluster_letters_sent_total: Counter, "baton_cluster_letters_sent_total" / 1, "Messages to other nodes.";
    cluster_letters_received_total: Counter, "baton_cluster_letters_received_total" / 1, "Messages from other nodes.";
    cluster_invalid_total: Counter, "baton_cluster_invalid_total" / 1, "What Redis held or other nodes said that no node would.";
    geo_reloads_total: Counter, "baton_geo_reloads_total" / 1, "New databases of places taken over.";
    geo_refused_total: Counter, "baton_geo_refused_total" / 1, "New databases of places that were no good; the old ones stay.";
    origins_refused_total: Counter, "baton_origins_refused_total" / 1, "WebSockets refused for their Origin.";
}

impl Metrics {
    pub fn refused(&self, reason: Refusal) {
        self.refusals[reason as usize].add(1);
    }

    pub fn joined(&self, took: Duration) {
        self.joins_total.add(1);
        self.join_microseconds_total.add(took.as_micros() as u64);
    }

    /// The Prometheus text format, version 0.0.4. docs/signalling.md has the table.
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(8192);
        self.render_table(&mut text);
        one(
            &mut text,
            "process_start_time_seconds",
            "gauge",
            "When the server started, in seconds since 1970.",
            self.started_unix_s as f64,
        );
        text.push_str("# HELP baton_refusals_total Clients refused, by reason.\n# TYPE baton_refusals_total counter\n");
        for (reason, count) in REFUSALS.iter().zip(&self.refusals) {
            writeln!(
                text,
                "baton_refusals_total{{reason=\"{}\"}} {}",
                refusal_name(*reason),
                count.value()
            )
            .expect("writing to a string");
        }
        text
    }
}

fn one(text: &mut String, name: &str, kind: &str, help: &str, value: f64) {
    writeln!(
        text,
        "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
    )
    .expect("writing to a string");
}

/// What a refusal is called in metrics and in the close frame.
pub fn refusal_name(reason: Refusal) -> &'static str {
    match reason {
        Refusal::Version => "version",
        Refusal::Clock => "clock",
        Refusal::Signature => "signature",
        Refusal::Malformed => "malformed",
        Refusal::TooLarge => "too-large",
        Refusal::NotBinary => "not-binary",
        Refusal::Order => "order",
        Refusal::TooFast => "too-fast",
        Refusal::AddressConnections => "address-connections",
        Refusal::AddressSwarms => "address-swarms",
        Refusal::SwarmFull => "swarm-full",
        Refusal::ServerFull => "server-full",
        Refusal::Replaced => "replaced",
        Refusal::Replayed => "replayed",
        Refusal::TooSlow => "too-slow",
        Refusal::Idle => "idle",
    }
}

/// In the order of their numbers.
const REFUSALS: [Refusal; 16] = [
    Refusal::Version,
    Refusal::Clock,
    Refusal::Signature,
    Refusal::Malformed,
    Refusal::TooLarge,
    Refusal::NotBinary,
    Refusal::Order,
    Refusal::TooFast,
    Refusal::AddressConnections,
    Refusal::AddressSwarms,
    Refusal::SwarmFull,
    Refusal::ServerFull,
    Refusal::Replaced,
    Refusal::Replayed,
    Refusal::TooSlow,
    Refusal::Idle,
];

pub fn unix_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_counts_under_its_own_name() {
        for (number, reason) in REFUSALS.iter().enumerate() {
            assert_eq!(*reason as usize, number);
        }
        let metrics = Metrics::new();
        metrics.refused(Refusal::Idle);
        assert!(
            metrics
                .render()
                .contains("baton_refusals_total{reason=\"idle\"} 1\n")
        );
        assert!(
            metrics
                .render()
                .contains("baton_refusals_total{reason=\"version\"} 0\n")
        );
    }

    /// `(name, type)` of each metric, as the documentation's table has them.
    fn documented() -> Vec<(String, String)> {
        let row = |line: &str| {
            let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
            let name = cells.next()?.strip_suffix('`')?;
            (name.starts_with("baton_") || name.starts_with("process_"))
                .then(|| (name.to_owned(), cells.next().unwrap_or_default().to_owned()))
        };
        include_str!("../../docs/signalling.md")
            .lines()
            .filter_map(row)
            .collect()
    }

    #[test]
    fn the_dashboard_shows_every_metric_and_none_that_is_not_there() {
        let dashboard = include_str!("../../deploy/grafana/baton.json");
        let is_name = |word: &&str| word.starts_with("baton_") || word.starts_with("process_");
        let shown: std::collections::BTreeSet<String> = dashboard
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(is_name)
            .map(str::to_owned)
            .collect();
        let documented = documented().into_iter().map(|(name, _)| name).collect();
        assert_eq!(shown, documented);
    }

    #[test]
    fn every_metric_is_in_the_documentation_and_nothing_else_is() {
        let text = Metrics::new().render();
        let mut rendered: Vec<(String, String)> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
            .collect();
        let mut documented = documented();
        rendered.sort();
        documented.sort();
        assert_eq!(rendered, documented);
    }
}
