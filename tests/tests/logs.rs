//! What the server writes down of a real session: joins, blobs, refusals, relays; and that nobody is named in it unless the operator asks.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use baton_signal_protocol::{ClientMessage, IceServer, Refusal, ServerMessage};
use baton_signal_server::log::{Format, Level, Log};
use baton_tests::http::until_metric;
use baton_tests::mmdb::{Value, database};
use baton_tests::redis::{Redis, counted_way};
use baton_tests::signalling::{Client, Identity, PATIENCE, server, unix_s};
use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Everything that was written.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics with it").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A STUN client that asks for a relay, as RFC 8489 and 8656 have it.
struct Asking {
    socket: UdpSocket,
    username: String,
    password: String,
    nonce: Vec<u8>,
    transaction: u8,
}

impl Asking {
    async fn at(ice: &[IceServer]) -> Self {
        let turn = ice.iter().find(|it| it.credential.is_some());
        let turn = turn.expect("the server relays");
        let address: SocketAddr = turn.urls[0]
            .trim_start_matches("turn:")
            .split('?')
            .next()
            .and_then(|it| it.parse().ok())
            .expect("an address");
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        socket.connect(address).await.expect("loopback");
        Self {
            socket,
            username: turn.username.clone().expect("a user name"),
            password: turn.credential.clone().expect("a password"),
            nonce: Vec::new(),
            transaction: 0,
        }
    }

    /// Asks for a relay of this transport; whether there is one.
    async fn allocate(&mut self, transport: u8) -> bool {
        self.transaction += 1;
        let mut raw = vec![0, 3, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        raw.extend([self.transaction; 12]);
        attribute(&mut raw, 0x0019, &[transport, 0, 0, 0]);
        if !self.nonce.is_empty() {
            attribute(&mut raw, 0x0006, self.username.as_bytes());
            attribute(&mut raw, 0x0014, b"baton");
            attribute(&mut raw, 0x0015, &self.nonce);
            self.sign(&mut raw);
        }
        self.socket.send(&raw).await.expect("loopback");
        let mut answer = [0; 2048];
        let received = timeout(PATIENCE, self.socket.recv(&mut answer)).await;
        let len = received.expect("an answer").expect("loopback");
        self.learn_nonce(&answer[20..len]);
        answer[..2] == [1, 3]
    }

    fn sign(&self, raw: &mut Vec<u8>) {
        let words = format!("{}:baton:{}", self.username, self.password);
        let mut mac = Hmac::<Sha1>::new_from_slice(&Md5::digest(words)).expect("any length");
        // The length that is signed counts the signature already.
        let len = (raw.len() - 20 + 24) as u16;
        raw[2..4].copy_from_slice(&len.to_be_bytes());
        mac.update(raw);
        attribute(raw, 0x0008, &mac.finalize().into_bytes());
    }

    fn learn_nonce(&mut self, mut attributes: &[u8]) {
        while let [k0, k1, l0, l1, rest @ ..] = attributes {
            let len = usize::from(u16::from_be_bytes([*l0, *l1]));
            if [*k0, *k1] == [0x00, 0x15] {
                self.nonce = rest[..len].to_vec();
            }
            attributes = &rest[len.next_multiple_of(4).min(rest.len())..];
        }
    }
}

fn attribute(raw: &mut Vec<u8>, kind: u16, value: &[u8]) {
    raw.extend(kind.to_be_bytes());
    raw.extend((value.len() as u16).to_be_bytes());
    raw.extend(value);
    raw.resize(raw.len().next_multiple_of(4), 0);
    let len = (raw.len() - 20) as u16;
    raw[2..4].copy_from_slice(&len.to_be_bytes());
}

/// Two peers meet, one is refused, one gets a relay and one not; what was written of it. All on this thread, whose lines alone are taken.
async fn logged(log: Log) -> (String, [Identity; 2]) {
    let lines = Lines::default();
    let writer = lines.clone();
    let _taken = tracing::subscriber::set_default(log.subscriber(move || writer.clone()));
    let server = server(|config| {
        config.log = log;
        config.turn.turn_listen = Some("127.0.0.1:0".parse().expect("an address"));
    })
    .await;
    let (alice, bob) = (Identity::new(1, 2), Identity::new(1, 3));
    let mut a = Client::connect(server.address()).await;
    let join = alice.join(&server.address().to_string(), unix_s());
    a.say(&ClientMessage::Join(join)).await;
    let ServerMessage::Welcome { ice, .. } = a.hear().await else {
        panic!("no Welcome");
    };
    let (mut b, _) = Client::join(server.address(), &bob).await;
    a.relay(bob.peer_id(), b"an offer").await;
    assert!(matches!(b.hear().await, ServerMessage::Relay { .. }));

    let mut asking = Asking::at(&ice).await;
    assert!(!asking.allocate(17).await, "who is that?");
    assert!(!asking.allocate(6).await, "TCP is not relayed");
    assert!(asking.allocate(17).await);

    let mut wrong = bob.join("another.example", unix_s());
    wrong.peer = alice.peer_id();
    let mut c = Client::connect(server.address()).await;
    c.say(&ClientMessage::Join(wrong)).await;
    assert_eq!(c.refusal().await.0, Refusal::Signature);
    b.say(&ClientMessage::Leave).await;
    while b.frame().await.is_some() {}
    let text = lines.0.lock().expect("nobody panics with it").clone();
    (String::from_utf8(text).expect("text"), [alice, bob])
}

fn hex(id: &[u8; 32]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What was logged must be there, or to be free of names would be no merit.
const SAID: [&str; 6] = [
    "connected",
    "joined",
    "refused",
    "closed",
    "relay opened",
    "relay refused",
];

#[tokio::test]
async fn no_line_of_the_log_holds_an_address_or_an_id_unless_the_operator_asks() {
    for log_format in [Format::Text, Format::Json] {
        let (text, peers) = logged(Log {
            log: Level::Debug,
            log_format,
            log_addresses: false,
        })
        .await;
        for said in SAID {
            assert!(text.contains(said), "no {said:?} in {text}");
        }
        assert!(!text.contains("127.0.0.1"), "{text}");
        for id in peers.iter().flat_map(|it| [it.swarm_id(), it.peer_id()]) {
            // As hex of either case from its second byte on, or as Rust writes a list.
            assert!(!text.to_lowercase().contains(&hex(&id)[2..10]), "{text}");
            assert!(!text.contains(&format!("{}, {}, {}", id[0], id[1], id[2])));
        }
    }
}

#[tokio::test]
async fn asked_for_they_are_in_the_lines_which_programs_can_read() {
    let (text, [alice, _]) = logged(Log {
        log: Level::Debug,
        log_format: Format::Json,
        log_addresses: true,
    })
    .await;
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("one object per line"))
        .collect();
    let joined = lines.iter().find(|it| it["message"] == "joined");
    let joined = joined.expect("Alice joined first");
    assert_eq!(joined["address"], "127.0.0.1");
    assert_eq!(joined["swarm"], hex(&alice.swarm_id()));
    assert_eq!(joined["peer"], hex(&alice.peer_id()));
    let opened = lines.iter().find(|it| it["message"] == "relay opened");
    assert_eq!(opened.expect("a relay")["client"], "127.0.0.1");
}

#[tokio::test]
async fn sessions_are_not_logged_unless_the_operator_asks() {
    let (text, _) = logged(Log {
        log: Level::Info,
        log_format: Format::Text,
        log_addresses: false,
    })
    .await;
    assert_eq!(text, "");
}

/// Level and message of each line, and the reasons beside them.
fn said(lines: &Lines) -> (Vec<(String, String)>, Vec<String>) {
    let text = lines.0.lock().expect("nobody panics with it").clone();
    let text = String::from_utf8(text).expect("text");
    let (mut words, mut reasons) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("an object");
        let field = |name: &str| line[name].as_str().map(str::to_owned);
        words.push((
            field("level").expect("a level"),
            field("message").expect("a message"),
        ));
        reasons.extend(field("reason"));
    }
    (words, reasons)
}

fn lines_of_operators() -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = Log {
        log: Level::Info,
        log_format: Format::Json,
        log_addresses: false,
    };
    let taken = tracing::subscriber::set_default(log.subscriber(move || writer.clone()));
    (lines, taken)
}

async fn until_connected(node: SocketAddr) {
    until_metric(node, "baton_cluster_connected", 1.0).await;
}

fn alone() -> (String, String) {
    let message = "without Redis: this node carries on alone";
    ("WARN".to_owned(), message.to_owned())
}

fn joined() -> (String, String) {
    let message = "this node has joined the cluster";
    ("INFO".to_owned(), message.to_owned())
}

#[tokio::test]
async fn a_node_without_its_redis_says_once_that_it_is_alone_and_once_that_it_is_not_any_more() {
    let (lines, _taken) = lines_of_operators();
    let mut redis = Redis::start();
    let (way, mut attempts) = counted_way(&redis.url()).await;
    let node = server(|config| config.cluster.cluster = vec![way]).await;
    until_connected(node.address()).await;
    assert_eq!(said(&lines).0, [joined()]);
    redis.kill();
    attempts.wait_for(|it| *it >= 5).await.expect("it counts");
    assert_eq!(said(&lines).0, [joined(), alone()]);
    redis.start_again();
    until_connected(node.address()).await;
    assert_eq!(said(&lines).0, [joined(), alone(), joined()]);
}

#[tokio::test]
async fn why_a_node_is_alone_is_said_and_no_password_with_it() {
    let locked = Redis::start_with(&["--requirepass", "sesame"]);
    // As Redis before version 7: it repeats what it does not understand.
    let old = Redis::start_with(&["--rename-command", "HELLO", "of-later"]);
    let older = Redis::start_with(&["--rename-command", "SSUBSCRIBE", "of-later"]);
    let mut nobody = Redis::start();
    nobody.kill();
    for (redis, why) in [
        (&locked, "WRONGPASS"),
        (&old, "HELLO"),
        // What it repeats is no text, and so no error that could be read.
        (&older, ""),
        (&nobody, ""),
    ] {
        let (lines, _taken) = lines_of_operators();
        let (way, mut attempts) = counted_way(&redis.url()).await;
        let url = way.replace("://", "://:wrong@");
        let _node = server(|config| config.cluster.cluster = vec![url]).await;
        attempts.wait_for(|it| *it >= 4).await.expect("it counts");
        let (words, reasons) = said(&lines);
        assert_eq!((words.as_slice(), reasons.len()), (&[alone()][..], 1));
        assert!(reasons[0].contains(why), "{reasons:?}");
        assert!(!reasons[0].contains("wrong"), "{reasons:?}");
    }
}

#[tokio::test]
async fn a_database_of_places_that_is_no_good_is_a_line_like_any_other() {
    let (lines, _taken) = lines_of_operators();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("places.mmdb");
    let write = |bytes: &[u8]| {
        let new = folder.path().join("new");
        std::fs::write(&new, bytes).expect("a file");
        std::fs::rename(new, &file).expect("it replaces the old one");
    };
    let good = |country| {
        let record = Value::Map(vec![("country_code", Value::Text(country))]);
        database(&[("198.51.0.0", 16, record)])
    };
    write(&good("DE"));
    let server = server(|config| {
        config.geo = vec![file.clone()];
        config.geo_reload = Duration::from_millis(50);
    })
    .await;
    write(b"no database at all");
    until_metric(server.address(), "baton_geo_refused_total", 1.0).await;
    write(&good("FR"));
    until_metric(server.address(), "baton_geo_reloads_total", 1.0).await;
    let line = |level: &str, message: &str| (level.to_owned(), message.to_owned());
    let expected = [
        line("WARN", "the old database of places stays"),
        line("INFO", "the new database of places is in use"),
    ];
    assert_eq!(said(&lines).0, expected);
}
