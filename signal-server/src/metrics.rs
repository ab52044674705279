//! What the server counts, as Prometheus text. No label names a swarm, a peer or an address.

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use baton_signal_protocol::Refusal;

/// All counters of one server.
pub struct Metrics {
    pub connections: Gauge,
    pub peers: Gauge,
    pub swarms: Gauge,
    pub connections_total: Counter,
    pub joins_total: Counter,
    pub messages_received_total: Counter,
    pub bytes_received_total: Counter,
    pub messages_sent_total: Counter,
    pub bytes_sent_total: Counter,
    pub relays_total: Counter,
    pub relays_gone_total: Counter,
    pub join_microseconds_total: Counter,
    pub http_requests_total: Counter,
    pub origins_refused_total: Counter,
    refusals: [Counter; REFUSALS.len()],
    started_unix_s: u64,
}

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

    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

impl Metrics {
    pub fn new() -> Self {
        Self {
            connections: Gauge::default(),
            peers: Gauge::default(),
            swarms: Gauge::default(),
            connections_total: Counter::default(),
            joins_total: Counter::default(),
            messages_received_total: Counter::default(),
            bytes_received_total: Counter::default(),
            messages_sent_total: Counter::default(),
            bytes_sent_total: Counter::default(),
            relays_total: Counter::default(),
            relays_gone_total: Counter::default(),
            join_microseconds_total: Counter::default(),
            http_requests_total: Counter::default(),
            origins_refused_total: Counter::default(),
            refusals: Default::default(),
            started_unix_s: unix_s(),
        }
    }

    pub fn refused(&self, reason: Refusal) {
        self.refusals[reason as usize].add(1);
    }

    pub fn joined(&self, took: Duration) {
        self.joins_total.add(1);
        self.join_microseconds_total.add(took.as_micros() as u64);
    }

    /// The Prometheus text format, version 0.0.4. docs/signalling.md has the table.
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(4096);
        let mut one = |name: &str, kind: &str, help: &str, value: f64| {
            writeln!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
            )
            .expect("writing to a string");
        };
        let gauge = |gauge: &Gauge| gauge.get() as f64;
        let counter = |counter: &Counter| counter.0.load(Relaxed) as f64;
        one(
            "baton_connections",
            "gauge",
            "WebSockets open now.",
            gauge(&self.connections),
        );
        one(
            "baton_peers",
            "gauge",
            "Peers that joined and are here.",
            gauge(&self.peers),
        );
        one(
            "baton_swarms",
            "gauge",
            "Swarms with at least one peer.",
            gauge(&self.swarms),
        );
        one(
            "baton_connections_total",
            "counter",
            "WebSockets accepted.",
            counter(&self.connections_total),
        );
        one(
            "baton_joins_total",
            "counter",
            "Joins that were welcomed.",
            counter(&self.joins_total),
        );
        one(
            "baton_join_seconds_total",
            "counter",
            "Time from Join to Welcome, summed.",
            counter(&self.join_microseconds_total) / 1e6,
        );
        one(
            "baton_messages_received_total",
            "counter",
            "Messages from clients.",
            counter(&self.messages_received_total),
        );
        one(
            "baton_received_bytes_total",
            "counter",
            "Bytes of messages from clients.",
            counter(&self.bytes_received_total),
        );
        one(
            "baton_messages_sent_total",
            "counter",
            "Messages to clients.",
            counter(&self.messages_sent_total),
        );
        one(
            "baton_sent_bytes_total",
            "counter",
            "Bytes of messages to clients.",
            counter(&self.bytes_sent_total),
        );
        one(
            "baton_relays_total",
            "counter",
            "Blobs handed to a peer.",
            counter(&self.relays_total),
        );
        one(
            "baton_relays_gone_total",
            "counter",
            "Blobs for a peer that is not here.",
            counter(&self.relays_gone_total),
        );
        one(
            "baton_http_requests_total",
            "counter",
            "HTTP requests, upgrades included.",
            counter(&self.http_requests_total),
        );
        one(
            "baton_origins_refused_total",
            "counter",
            "WebSockets refused for their Origin.",
            counter(&self.origins_refused_total),
        );
        one(
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
                counter(count)
            )
            .expect("writing to a string");
        }
        text
    }
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
}
