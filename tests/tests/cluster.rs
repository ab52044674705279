//! Many nodes as one (`--cluster`): a real redis-server, real nodes, real sockets.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use baton_remote::{Command as Word, Failure, Output};
use baton_signal_protocol::message::Finding;
use baton_signal_protocol::*;
use baton_signal_server::{Config, Running, Server};
use baton_tests::carrier::{Carrier, carried_both_ways, carry, join as join_carrying};
use baton_tests::http::{get, metric, until_metric};
use baton_tests::mmdb::{Value, database};
use baton_tests::native::{PATIENCE, Peer, be_a_peer, film, link_of};
use baton_tests::redis::{Answer, Redis, Seal, counted_way};
use baton_tests::remote::{by_code, code_of, linked, now_ms, paired, tv};
use baton_tests::signalling::{Client, Identity, server, unix_s};
use baton_tests::while_working;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// In a process of its own it names the Redis of a node to be.
const NODE: &str = "BATON_TEST_NODE";

#[test]
#[ignore = "becomes a peer or a node of the other tests"]
fn a_process_of_the_other_tests() {
    let Ok(url) = std::env::var(NODE) else {
        return be_a_peer();
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let node = server(|config| in_cluster(config, &url)).await;
        println!("\nnode at {}", node.address());
        std::future::pending::<()>().await;
    });
}

/// Short enough to wait for once, long enough for a busy machine.
const LEASE: Duration = Duration::from_secs(10);

fn in_cluster(config: &mut Config, url: &str) {
    config.cluster.cluster = url.split(' ').map(str::to_owned).collect();
    config.cluster.cluster_lease = LEASE;
    // Tests ask again and again until something is so.
    config.limits.messages_burst = 10_000_000;
    config.limits.messages_per_second = 1_000_000;
}

async fn node(url: &str) -> Running {
    server(|config| in_cluster(config, url)).await
}

/// Three nodes that know of each other.
async fn three(url: &str) -> [Running; 3] {
    let nodes = [node(url).await, node(url).await, node(url).await];
    for node in &nodes {
        until_metric(node.address(), "baton_cluster_nodes", 3.0).await;
    }
    nodes
}

/// A node that can be killed as by a power cut.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(url: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "a_process_of_the_other_tests"])
            .args(["--ignored", "--nocapture"])
            .env(NODE, url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program runs again");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let address = out
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("node at ")?.parse().ok())
            .expect("it says where it is");
        Self { child, address }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn names(candidates: &[Candidate], who: &Identity) -> bool {
    candidates.iter().any(|it| it.peer == who.peer_id())
}

/// A blob goes there and another one comes back.
async fn talk(a: (&mut Client, &Identity), b: (&mut Client, &Identity)) {
    let heard = |from: &Identity, blob: &[u8]| ServerMessage::Relay {
        from: from.peer_id(),
        blob: blob.to_vec(),
    };
    a.0.relay(b.1.peer_id(), b"offer").await;
    assert_eq!(b.0.hear().await, heard(a.1, b"offer"));
    b.0.relay(a.1.peer_id(), b"answer").await;
    assert_eq!(a.0.hear().await, heard(b.1, b"answer"));
}

async fn meet_and_part_on(url: &str) {
    let nodes = three(url).await;
    let [a, b, c] = [10, 11, 12].map(|peer| Identity::new(1, peer));
    let stranger = Identity::new(2, 13);
    let (mut at_a, _) = Client::join(nodes[0].address(), &a).await;
    let (mut at_b, _) = Client::join(nodes[1].address(), &b).await;
    let (mut at_c, met) = Client::join(nodes[2].address(), &c).await;
    assert!(names(&met, &a) && names(&met, &b) && met.len() == 2);
    assert_eq!((met[0].completeness_permille, met[0].free_slots), (1000, 4));
    talk((&mut at_a, &a), (&mut at_b, &b)).await;
    talk((&mut at_c, &c), (&mut at_a, &a)).await;
    talk((&mut at_b, &b), (&mut at_c, &c)).await;

    let (mut outside, met) = Client::join(nodes[1].address(), &stranger).await;
    assert_eq!(met, [], "another swarm is another world");
    outside.relay(a.peer_id(), b"let me in").await;
    assert_eq!(
        outside.hear().await,
        ServerMessage::Gone { to: a.peer_id() }
    );

    let report = Report {
        completeness_permille: 250,
        free_slots: 1,
        spare_upload_kbit: 0,
    };
    at_a.say(&ClientMessage::Report(report)).await;
    at_c.more_until(|named| {
        let a = named.iter().find(|it| it.peer == a.peer_id());
        a.is_some_and(|it| it.completeness_permille == 250)
    })
    .await;
    at_a.say(&ClientMessage::Leave).await;
    at_c.more_until(|named| !names(named, &a) && names(named, &b))
        .await;
    at_c.relay(a.peer_id(), b"hello?").await;
    assert_eq!(at_c.hear().await, ServerMessage::Gone { to: a.peer_id() });
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_on_three_nodes_meet_talk_and_part() {
    let redis = Redis::start();
    meet_and_part_on(&redis.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_on_three_nodes_meet_talk_and_part_over_a_redis_cluster_of_three() {
    let shards = Redis::three_shards();
    // One address is enough to find the others.
    meet_and_part_on(&shards[1].url()).await;
}

/// A node that takes this authority's word for who Redis is.
async fn sealed_node(urls: &str, seal: &Seal, authority: Option<&str>) -> Running {
    server(|config| {
        in_cluster(config, urls);
        config.cluster.cluster_ca = authority.map(|file| seal.file(file));
    })
    .await
}

async fn meet_over_tls(urls: &str, seal: &Seal) {
    let one = sealed_node(urls, seal, Some("ca.pem")).await;
    let two = sealed_node(urls, seal, Some("ca.pem")).await;
    for node in [&one, &two] {
        until_metric(node.address(), "baton_cluster_nodes", 2.0).await;
    }
    let (a, b) = (Identity::new(1, 10), Identity::new(1, 11));
    let (mut at_one, _) = Client::join(one.address(), &a).await;
    let (mut at_two, met) = Client::join(two.address(), &b).await;
    assert!(names(&met, &a));
    talk((&mut at_one, &a), (&mut at_two, &b)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_meet_in_a_redis_behind_tls_and_in_none_that_somebody_else_vouches_for() {
    let seal = Seal::new();
    let redis = Redis::sealed(&seal);
    meet_over_tls(&redis.sealed_url(), &seal).await;

    // Those whom browsers trust did not sign it. By its fourth attempt the first ones have failed.
    let (way, mut attempts) = counted_way(&redis.sealed_url()).await;
    let stranger = sealed_node(&way, &seal, None).await;
    attempts.wait_for(|it| *it >= 4).await.expect("it counts");
    assert_eq!(
        metric(stranger.address(), "baton_cluster_connected").await,
        0.0
    );
    let (a, c) = (Identity::new(1, 10), Identity::new(1, 12));
    let (_, met) = Client::join(stranger.address(), &c).await;
    assert!(!names(&met, &a));
}

#[tokio::test]
async fn a_file_of_authorities_that_has_none_is_refused_at_start() {
    let seal = Seal::new();
    let mut config = Config::local();
    config.cluster.cluster = vec!["rediss://127.0.0.1:1".into()];
    config.cluster.cluster_ca = Some(seal.file("key.pem"));
    let error = Server::bind(config).await.err().expect("it cannot start");
    assert!(format!("{error:#}").contains("--cluster-ca"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_house_comes_first_whichever_node_it_is_at() {
    let redis = Redis::start();
    let url = redis.url();
    let trusting = || {
        server(|config| {
            in_cluster(config, &url);
            config.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        })
    };
    let (one, two) = (trusting().await, trusting().await);
    until_metric(one.address(), "baton_cluster_nodes", 2.0).await;
    until_metric(two.address(), "baton_cluster_nodes", 2.0).await;
    let join = async |node: &Running, peer: u8, address: &str| {
        let header = [("x-forwarded-for", address)];
        let client = Client::connect_with(node.address(), &header).await;
        let client = client.expect("it lets us in");
        let joined = client.enter(&Identity::new(1, peer), unix_s()).await;
        joined.expect("a Welcome")
    };
    let mut crowd = Vec::new();
    for peer in 0..100 {
        crowd.push(join(&two, peer, &format!("203.0.{peer}.1")).await);
    }
    let _house = join(&one, 200, "192.0.2.1").await;
    let _street = join(&one, 201, "192.0.2.77").await;
    let (mut newcomer, met) = join(&two, 202, "192.0.2.1").await;
    let first_two = [&met[0], &met[1]].map(|it| it.peer);
    assert_eq!(
        first_two,
        [200, 201].map(|peer| Identity::new(1, peer).peer_id())
    );
    assert_eq!(met.len(), 16);
    let again = newcomer.more().await;
    assert_ne!(met, again, "others of the crowd, by chance");
}

/// Network 64500 in Germany at two places, another network there, and France.
fn places() -> Vec<u8> {
    let of = |country, network| {
        Value::Map(vec![
            ("country_code", Value::Text(country)),
            ("autonomous_system_number", Value::Number(network)),
        ])
    };
    database(&[
        ("198.51.1.0", 24, of("DE", 64500)),
        ("198.51.2.0", 24, of("DE", 64500)),
        ("198.51.3.0", 24, of("DE", 64501)),
        ("203.0.0.0", 16, of("FR", 64500)),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_near_comes_first_whichever_node_it_is_at() {
    let redis = Redis::start();
    let url = redis.url();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("places.mmdb");
    std::fs::write(&file, places()).expect("a file");
    let knowing = || {
        server(|config| {
            in_cluster(config, &url);
            config.geo = vec![file.clone()];
            config.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        })
    };
    let nodes = [knowing().await, knowing().await, knowing().await];
    for node in &nodes {
        until_metric(node.address(), "baton_cluster_nodes", 3.0).await;
    }
    let join = async |node: &Running, peer: u8, address: &str| {
        let header = [("x-forwarded-for", address)];
        let client = Client::connect_with(node.address(), &header).await;
        let client = client.expect("it lets us in");
        let joined = client.enter(&Identity::new(1, peer), unix_s()).await;
        joined.expect("a Welcome")
    };
    // So many that by chance alone hardly anybody would hear of the two.
    let mut crowd = Vec::new();
    for peer in 0..150 {
        let node = &nodes[usize::from(peer % 2)];
        crowd.push(join(node, peer, &format!("203.0.{peer}.1")).await);
    }
    let _same_country = join(&nodes[0], 200, "198.51.3.1").await;
    let _same_network = join(&nodes[1], 201, "198.51.2.1").await;
    let (mut newcomer, met) = join(&nodes[2], 202, "198.51.1.1").await;
    for met in [met, newcomer.more().await] {
        let near = [201, 200].map(|peer| Identity::new(1, peer).peer_id());
        assert_eq!([met[0].peer, met[1].peer], near);
        let regions = met.iter().map(|it| it.region.as_deref());
        let expected = [&["DE"; 2][..], &["FR"; 14]].concat();
        assert!(regions.eq(expected.into_iter().map(Some)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swarm_is_full_at_all_nodes_together() {
    let redis = Redis::start();
    let url = redis.url();
    let small = || {
        server(|config| {
            in_cluster(config, &url);
            config.limits.swarm_peers_max = 3;
        })
    };
    let nodes = [small().await, small().await, small().await];
    for node in &nodes {
        until_metric(node.address(), "baton_cluster_nodes", 3.0).await;
    }
    let mut members = Vec::new();
    for (node, peer) in nodes.iter().zip(1..) {
        members.push(
            Client::join(node.address(), &Identity::new(1, peer))
                .await
                .0,
        );
    }
    let late = Identity::new(1, 4);
    for node in &nodes {
        let client = Client::connect(node.address()).await;
        match client.enter(&late, unix_s()).await {
            Err(ServerMessage::Refused { reason, .. }) => assert_eq!(reason, Refusal::SwarmFull),
            other => panic!("{:?}", other.map(|(_, met)| met)),
        }
    }
    // Another swarm has room, and this one when somebody has left.
    let _other = Client::join(nodes[0].address(), &Identity::new(2, 4)).await;
    members[1].say(&ClientMessage::Leave).await;
    loop {
        let client = Client::connect(nodes[0].address()).await;
        if client.enter(&late, unix_s()).await.is_ok() {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_without_warning_is_forgotten_and_its_clients_join_elsewhere_at_once() {
    let redis = Redis::start();
    let url = redis.url();
    let (one, three) = (node(&url).await, node(&url).await);
    let mut two = Process::start(&url);
    for node in [one.address(), two.address, three.address()] {
        until_metric(node, "baton_cluster_nodes", 3.0).await;
    }
    let [a, b, c] = [10, 11, 12].map(|peer| Identity::new(1, peer));
    let (mut at_one, _) = Client::join(one.address(), &a).await;
    let joined_at = unix_s();
    let doomed = async |who| {
        let client = Client::connect(two.address).await;
        client.enter(who, joined_at).await.expect("a Welcome").0
    };
    let (_lost_b, _lost_c) = (doomed(&b).await, doomed(&c).await);
    at_one
        .more_until(|named| names(named, &b) && names(named, &c))
        .await;
    two.kill();

    // Long before the lease is over: whoever lost its node is back as soon as it has another.
    let client = Client::connect(three.address()).await;
    let (mut at_three, met) = client.enter(&b, joined_at + 1).await.expect("a Welcome");
    assert!(names(&met, &a));
    talk((&mut at_one, &a), (&mut at_three, &b)).await;
    // And who does not come back is named no longer than the lease.
    at_one
        .more_until(|named| names(named, &b) && !names(named, &c))
        .await;
    until_metric(one.address(), "baton_cluster_nodes", 2.0).await;
    at_one.relay(c.peer_id(), b"hello?").await;
    assert_eq!(at_one.hear().await, ServerMessage::Gone { to: c.peer_id() });
    until_metric(three.address(), "baton_cluster_nodes", 2.0).await;
    // A recorded Join of it opens nothing that a later one would not, but the dead do not stand in its way.
    let client = Client::connect(three.address()).await;
    client.enter(&c, joined_at).await.expect("a Welcome");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_node_carries_on_alone_and_finds_the_others_when_it_returns() {
    let mut redis = Redis::start();
    let nodes = three(&redis.url()).await;
    let [a, b, c, d] = [10, 11, 12, 13].map(|peer| Identity::new(1, peer));
    let (mut at_a, _) = Client::join(nodes[0].address(), &a).await;
    let (mut at_b, _) = Client::join(nodes[1].address(), &b).await;
    talk((&mut at_a, &a), (&mut at_b, &b)).await;
    redis.kill();
    for node in &nodes {
        until_metric(node.address(), "baton_cluster_connected", 0.0).await;
    }
    let (mut beside_a, met) = Client::join(nodes[0].address(), &c).await;
    assert!(names(&met, &a) && met.len() == 1);
    talk((&mut beside_a, &c), (&mut at_a, &a)).await;
    let (_beside_c, met) = Client::join(nodes[2].address(), &d).await;
    assert_eq!(met, []);
    at_a.relay(b.peer_id(), b"hello?").await;
    assert_eq!(at_a.hear().await, ServerMessage::Gone { to: b.peer_id() });
    assert_eq!(get(nodes[0].address(), "/readyz").await.status, 200);

    redis.start_again();
    at_b.more_until(|named| [&a, &c, &d].iter().all(|who| names(named, who)))
        .await;
    talk((&mut at_b, &b), (&mut beside_a, &c)).await;
    // A flush is as good as a restart.
    redis.ask(&["FLUSHALL"]);
    at_b.more_until(|named| [&a, &c, &d].iter().all(|who| names(named, who)))
        .await;
    at_a.more_until(|named| names(named, &b)).await;
    talk((&mut at_a, &a), (&mut at_b, &b)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_before_its_redis_finds_it() {
    let mut redis = Redis::start();
    redis.kill();
    let nodes = [node(&redis.url()).await, node(&redis.url()).await];
    let (a, b) = (Identity::new(1, 10), Identity::new(1, 11));
    let (mut at_a, _) = Client::join(nodes[0].address(), &a).await;
    let (_at_b, _) = Client::join(nodes[1].address(), &b).await;
    redis.start_again();
    at_a.more_until(|named| names(named, &b)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_at_another_node_takes_its_own_place_and_a_recorded_join_does_not() {
    let redis = Redis::start();
    let nodes = three(&redis.url()).await;
    let (alice, bob) = (Identity::new(1, 10), Identity::new(1, 11));
    let now = unix_s();
    let client = Client::connect(nodes[0].address()).await;
    let (mut first, _) = client.enter(&alice, now).await.expect("a Welcome");
    for recorded in [now, now - 1] {
        let client = Client::connect(nodes[1].address()).await;
        match client.enter(&alice, recorded).await {
            Err(ServerMessage::Refused { reason, .. }) => assert_eq!(reason, Refusal::Replayed),
            other => panic!("{:?}", other.map(|(_, met)| met)),
        }
    }
    let client = Client::connect(nodes[1].address()).await;
    let (mut second, _) = client.enter(&alice, now + 1).await.expect("a Welcome");
    assert_eq!(first.refusal().await.0, Refusal::Replaced);
    let (mut at_c, met) = Client::join(nodes[2].address(), &bob).await;
    assert!(names(&met, &alice) && met.len() == 1);
    talk((&mut at_c, &bob), (&mut second, &alice)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_one_account_at_all_nodes() {
    let redis = Redis::start();
    let url = redis.url();
    let strict = || {
        server(|config| {
            in_cluster(config, &url);
            config.limits.connections_per_address = 3;
            config.limits.swarms_per_address = 2;
        })
    };
    let nodes = [strict().await, strict().await, strict().await];
    for node in &nodes {
        until_metric(node.address(), "baton_cluster_nodes", 3.0).await;
    }
    let refused = async |node: &Running, who: Identity| {
        let client = Client::connect(node.address()).await;
        match client.enter(&who, unix_s()).await {
            Err(ServerMessage::Refused { reason, .. }) => reason,
            other => panic!("{:?}", other.map(|(_, met)| met)),
        }
    };
    let _one = Client::join(nodes[0].address(), &Identity::new(1, 1)).await;
    let (mut two, _) = Client::join(nodes[1].address(), &Identity::new(2, 2)).await;
    assert_eq!(
        refused(&nodes[2], Identity::new(3, 3)).await,
        Refusal::AddressSwarms
    );
    let _three = Client::join(nodes[2].address(), &Identity::new(2, 3)).await;
    assert_eq!(
        refused(&nodes[0], Identity::new(1, 4)).await,
        Refusal::AddressConnections
    );
    // What was given back can be had again, as soon as Redis knows.
    two.say(&ClientMessage::Leave).await;
    loop {
        let client = Client::connect(nodes[0].address()).await;
        if client.enter(&Identity::new(1, 4), unix_s()).await.is_ok() {
            break;
        }
    }
}

/// How often Redis was told to do this, by scripts too.
fn calls(redis: &Redis, command: &str) -> u64 {
    let Answer::Text(text) = redis.ask(&["INFO", "commandstats"]) else {
        panic!("no statistics");
    };
    let text = String::from_utf8(text).expect("text");
    let begin = format!("cmdstat_{command}:calls=");
    let line = text.lines().find_map(|line| line.strip_prefix(&begin));
    let count = line.and_then(|rest| rest.split(',').next()?.parse().ok());
    count.unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_costs_redis_no_look_at_all_connections_of_its_address() {
    let redis = Redis::start();
    let nodes = three(&redis.url()).await;
    let (a, b) = (Identity::new(1, 10), Identity::new(1, 11));
    let (mut at_a, _) = Client::join(nodes[0].address(), &a).await;
    let (mut at_b, _) = Client::join(nodes[1].address(), &b).await;
    let before = calls(&redis, "hgetall");
    assert_eq!(before, 2, "each Join looks once");
    for completeness_permille in 1..=5 {
        let report = Report {
            completeness_permille,
            free_slots: 1,
            spare_upload_kbit: 0,
        };
        at_a.say(&ClientMessage::Report(report)).await;
        at_b.more_until(|named| named[0].completeness_permille == completeness_permille)
            .await;
    }
    assert_eq!(calls(&redis, "hgetall"), before);
}

/// The keys that begin and end so.
fn keys_like(redis: &Redis, begin: &str, is_cell: bool) -> Vec<Vec<u8>> {
    let mut keys = redis.keys();
    keys.retain(|key| key.starts_with(begin.as_bytes()) && key.ends_with(b"}") != is_cell);
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_node_wrote_is_dropped_and_disturbs_nobody() {
    let redis = Redis::start();
    let nodes = three(&redis.url()).await;
    let [a, b, victim] = [10, 11, 12].map(|peer| Identity::new(1, peer));
    let (mut at_a, _) = Client::join(nodes[0].address(), &a).await;
    let (mut at_b, _) = Client::join(nodes[1].address(), &b).await;
    let world = keys_like(&redis, "baton:{", false).remove(0);
    let cell = keys_like(&redis, "baton:{", true).remove(0);

    // Peers who are none: garbage, too long, of a node that never was, named by half an id.
    let genuine = match redis.ask(&[&b"HGET"[..], &world, &a.peer_id()]) {
        Answer::Text(value) => value,
        other => panic!("{other:?}"),
    };
    let mut lies: Vec<(Vec<u8>, Vec<u8>)> = vec![
        (vec![1; 32], b"garbage".to_vec()),
        (vec![2; 32], vec![0xff; 100_000]),
        (vec![3; 5], genuine.clone()),
        (vec![4; 32], vec![0xff; genuine.len()]),
    ];
    let mut foreign = genuine.clone();
    foreign[1..17].fill(9);
    lies.push((victim.peer_id().to_vec(), foreign));
    for (name, value) in &lies {
        redis.ask(&[&b"HSET"[..], &world, name, value]);
        redis.ask(&[&b"HSET"[..], &cell, name, b""]);
    }
    for (node, peer) in nodes.iter().zip(97..) {
        let mut client = Client::join(node.address(), &Identity::new(1, peer))
            .await
            .0;
        // Whoever asked before is gone as soon as Redis knows.
        client
            .more_until(|named| names(named, &a) && names(named, &b) && named.len() == 2)
            .await;
        client.say(&ClientMessage::Leave).await;
    }
    at_a.relay(victim.peer_id(), b"?").await;
    let gone = ServerMessage::Gone {
        to: victim.peer_id(),
    };
    assert_eq!(at_a.hear().await, gone);
    // What can be a peer's name is cleaned away; half an id is nobody's, and only passed over.
    loop {
        at_a.more().await;
        if redis.ask(&[&b"HLEN"[..], &world]) == Answer::Number(3) {
            break;
        }
    }

    // Letters of nobody, and one in the name of somebody who is here.
    let channels = match redis.ask(&["PUBSUB", "SHARDCHANNELS"]) {
        Answer::List(channels) => channels,
        other => panic!("{other:?}"),
    };
    assert_eq!(channels.len(), 3);
    let forged = [
        &[0][..],
        &[8; 16],
        &a.swarm_id(),
        &b.peer_id(),
        &a.peer_id(),
        b"forged",
    ]
    .concat();
    let mut replaced = forged[..81].to_vec();
    replaced[0] = 3;
    let mut lost = forged[..100].to_vec();
    lost[0] = 5;
    for channel in &channels {
        let Answer::Text(channel) = channel else {
            panic!("{channel:?}")
        };
        for letter in [
            &b""[..],
            &[7; 3],
            &[0xff; 200],
            &vec![0; 1 << 20],
            &replaced,
            &lost,
        ] {
            redis.ask(&[&b"SPUBLISH"[..], channel, letter]);
        }
    }
    for node in &nodes {
        while metric(node.address(), "baton_cluster_invalid_total").await < 6.0 {}
    }
    talk((&mut at_a, &a), (&mut at_b, &b)).await;

    // The wrong kind of thing under a swarm's name: the swarm has its local peers, the rest of the server everything.
    redis.ask(&[&b"SET"[..], &world, b"not a hash"]);
    let (mut beside_a, met) = Client::join(nodes[0].address(), &victim).await;
    assert!(names(&met, &a));
    talk((&mut beside_a, &victim), (&mut at_a, &a)).await;
    let others = [20, 21].map(|peer| Identity::new(2, peer));
    let (mut first, _) = Client::join(nodes[0].address(), &others[0]).await;
    let (mut second, _) = Client::join(nodes[1].address(), &others[1]).await;
    talk((&mut first, &others[0]), (&mut second, &others[1])).await;
    redis.ask(&[&b"DEL"[..], &world]);
    // All that was lost, lease included, is told again.
    redis.ask(&["FLUSHALL"]);
    at_b.more_until(|named| names(named, &a) && names(named, &victim))
        .await;
}

/// Another way to a Redis, on which nothing gets there while it is held; what comes from there does.
async fn way_to_hold(url: &str) -> (String, watch::Sender<bool>) {
    let (_, address) = url.split_once("://").expect("an address");
    let address = address.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it has one").port();
    let (hold, held) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let (address, mut held) = (address.clone(), held.clone());
            tokio::spawn(async move {
                let to = TcpStream::connect(address).await?;
                let ((mut asked, mut told), (mut answered, mut asks)) =
                    (from.into_split(), to.into_split());
                tokio::spawn(async move { tokio::io::copy(&mut answered, &mut told).await });
                let mut buffer = vec![0; 1 << 16];
                loop {
                    let len = asked.read(&mut buffer).await?;
                    let _ = held.wait_for(|held| !held).await;
                    if len == 0 {
                        return std::io::Result::Ok(());
                    }
                    asks.write_all(&buffer[..len]).await?;
                }
            });
        }
    });
    (format!("redis://127.0.0.1:{port}"), hold)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_back_to_another_node_has_no_more_room_than_other_blobs() {
    let redis = Redis::start();
    let (way, hold) = way_to_hold(&redis.url()).await;
    let node = node(&way).await;
    let address = node.address();
    until_metric(address, "baton_cluster_nodes", 1.0).await;
    let channel = match redis.ask(&["PUBSUB", "SHARDCHANNELS"]) {
        Answer::List(channels) => channels.into_iter().next(),
        other => panic!("{other:?}"),
    };
    let Some(Answer::Text(channel)) = channel else {
        panic!("it listens nowhere")
    };
    hold.send_replace(true);
    // Twice as many as there is room for, for somebody who is not here: each is to go back.
    let letter = [&[0][..], &[8; 16], &[1; 32], &[2; 32], &[3; 32], b"blob"].concat();
    let script = b"for i = 1, 8192 do redis.call('SPUBLISH', KEYS[1], ARGV[1]) end";
    redis.ask(&[b"EVAL", &script[..], b"1", &channel, &letter]);
    let received = async || metric(address, "baton_cluster_letters_received_total").await;
    let connected = async || metric(address, "baton_cluster_connected").await;
    while received().await < 8192.0 && connected().await == 1.0 {}
    assert!(metric(address, "baton_relays_dropped_total").await > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_takes_its_peers_along_at_once() {
    let redis = Redis::start();
    let url = redis.url();
    let long = || {
        server(|config| {
            in_cluster(config, &url);
            config.cluster.cluster_lease = Duration::from_secs(3600);
        })
    };
    let (one, two) = (long().await, long().await);
    until_metric(one.address(), "baton_cluster_connected", 1.0).await;
    until_metric(two.address(), "baton_cluster_connected", 1.0).await;
    let (a, b) = (Identity::new(1, 10), Identity::new(1, 11));
    let (mut at_one, _) = Client::join(one.address(), &a).await;
    let (mut at_two, _) = Client::join(two.address(), &b).await;
    let stopping = tokio::spawn(two.shut_down());
    assert!(matches!(
        at_two.hear().await,
        ServerMessage::GoingAway { .. }
    ));
    while at_two.frame().await.is_some() {}
    stopping.await.expect("it stops");
    at_one.more_until(|named| named.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_goes_from_a_publisher_at_one_node_to_a_viewer_at_another() {
    let redis = Redis::start();
    let nodes = three(&redis.url()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = film(3 << 20);
    std::fs::write(folder.path().join("film.bin"), &bytes).expect("a film");
    let [here, there] = [&nodes[0], &nodes[1]].map(|node| format!("http://{}", node.address()));
    let seed = ["seed", "film.bin", "--server", &here];
    let mut publisher = Peer::start(folder.path(), &seed);
    let link = link_of(&mut publisher).0.replace(&here, &there);
    assert!(link.starts_with(&there));
    let mut viewer = Peer::start(folder.path(), &["get", &link, "-o", "copy.bin"]);
    viewer.wait("done", PATIENCE);
    assert_eq!(viewer.end(), Some(0));
    assert!(std::fs::read(folder.path().join("copy.bin")).expect("the copy") == bytes);
    assert!(metric(nodes[0].address(), "baton_cluster_letters_received_total").await >= 1.0);
}

#[tokio::test]
async fn a_node_whose_redis_never_was_is_a_node() {
    let mut config = Config::local();
    config.cluster.cluster = vec!["redis://127.0.0.1:1".into()];
    let node = Server::bind(config).await.expect("it starts alone").start();
    let (a, b) = (Identity::new(1, 10), Identity::new(1, 11));
    let (_a, _) = Client::join(node.address(), &a).await;
    let (_b, met) = Client::join(node.address(), &b).await;
    assert!(names(&met, &a));
}

// ── carried connections ──

async fn carrying_node(url: &str) -> Running {
    server(|config| {
        in_cluster(config, url);
        config.relay.relay = true;
    })
    .await
}

/// Three nodes that carry and know of each other.
async fn three_carrying(url: &str) -> [Running; 3] {
    let nodes = [(); 3].map(|()| carrying_node(url));
    let nodes: [Running; 3] = {
        let [one, two, three] = nodes;
        [one.await, two.await, three.await]
    };
    for node in &nodes {
        until_metric(node.address(), "baton_cluster_nodes", 3.0).await;
    }
    nodes
}

async fn carried_between_nodes(url: &str) {
    let nodes = three_carrying(url).await;
    let mut alice = Carrier::join(&nodes[0], 1).await;
    let mut bob = Carrier::join(&nodes[1], 2).await;
    let mut carol = Carrier::join(&nodes[2], 3).await;
    let mut dave = Carrier::join(&nodes[0], 4).await;
    // Two films at one time, over all three nodes, each in its order.
    tokio::join!(
        carried_both_ways(&mut alice, &mut bob),
        carried_both_ways(&mut carol, &mut dave)
    );
    for node in &nodes {
        assert_eq!(
            metric(node.address(), "baton_carried_dropped_total").await,
            0.0
        );
        assert!(metric(node.address(), "baton_carried_bytes_total").await > 980_000.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn megabytes_are_carried_between_viewers_at_different_nodes_in_their_order() {
    let redis = Redis::start();
    carried_between_nodes(&redis.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn megabytes_are_carried_over_a_redis_cluster_of_three_in_their_order() {
    let shards = Redis::three_shards();
    carried_between_nodes(&shards[0].url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_frame_does_not_arrive_at_another_node_hears_of_it() {
    let redis = Redis::start();
    let url = redis.url();
    let [one, two, _three] = three_carrying(&url).await;
    let [a, b, c, deaf] = [10, 11, 12, 13].map(|peer| Identity::new(1, peer));
    let mut alice = join_carrying(&one, &a).await;
    let gone = |who: &Identity| ServerMessage::Gone { to: who.peer_id() };
    // Who left; and who never was.
    let mut bob = join_carrying(&two, &b).await;
    carry(&mut alice, b.peer_id(), b"frame").await;
    let carried = ServerMessage::Carried {
        from: a.peer_id(),
        frame: b"frame".to_vec(),
    };
    assert_eq!(bob.hear().await, carried);
    bob.say(&ClientMessage::Leave).await;
    alice.more_until(|named| !names(named, &b)).await;
    for who in [&b, &c] {
        carry(&mut alice, who.peer_id(), b"frame").await;
        assert_eq!(alice.hear().await, gone(who));
    }

    // Who is of another swarm.
    let outside = Identity::new(2, 14);
    let mut other = join_carrying(&two, &outside).await;
    carry(&mut alice, outside.peer_id(), b"frame").await;
    assert_eq!(alice.hear().await, gone(&outside));
    other.more().await;

    // Who is at a node that carries nothing.
    let quiet = node(&url).await;
    let (mut carol, _) = Client::join(quiet.address(), &c).await;
    alice.more_until(|named| names(named, &c)).await;
    carry(&mut alice, c.peer_id(), b"frame").await;
    assert_eq!(alice.hear().await, gone(&c));
    talk((&mut alice, &a), (&mut carol, &c)).await;

    // Who does not read; others of its node hear what they should meanwhile.
    let silent = join_carrying(&two, &deaf).await;
    let mut beside = join_carrying(&two, &b).await;
    alice
        .more_until(|named| names(named, &deaf) && names(named, &b))
        .await;
    loop {
        for _ in 0..64 {
            carry(&mut alice, deaf.peer_id(), &[0; FRAME_MAX]).await;
        }
        alice.say(&ClientMessage::More).await;
        let heard = alice.hear().await;
        if !matches!(heard, ServerMessage::Candidates(_)) {
            assert_eq!(heard, gone(&deaf));
            break;
        }
    }
    alice.relay(b.peer_id(), b"word").await;
    let word = ServerMessage::Relay {
        from: a.peer_id(),
        blob: b"word".to_vec(),
    };
    assert_eq!(beside.hear().await, word);
    drop(silent);
}

// ── codes ──

/// Asks a node for a name of this ticket.
async fn name(client: &mut Client, ticket: Ticket) -> Option<u16> {
    client.say(&ClientMessage::Name { ticket }).await;
    match client.hear().await {
        ServerMessage::Named { name, lasts_s: 120 } => name,
        other => panic!("{other:?}"),
    }
}

async fn find(client: &mut Client, name: u16) -> Finding {
    client.say(&ClientMessage::Find { name }).await;
    match client.hear().await {
        ServerMessage::Found(found) => found,
        other => panic!("{other:?}"),
    }
}

fn key_of(name: u16) -> String {
    format!("baton:name:{name}")
}

async fn pair_over_two_nodes(url: &str, stored: impl Fn() -> Vec<u8>) {
    let nodes = three(url).await;
    let mut tv = tv(nodes[0].address(), 1, &[]);
    let (code, token) = tv.until(code_of).await;
    let mut phone = by_code(nodes[1].address(), 2, &code);
    while_working!(tv, phone.until(paired)).expect("the right code");
    while_working!(tv, phone.until(linked));
    let link = "https://baton.example/#AbCdEfGhIjKlMnOpQrStUvWxYz0123456789abcdefgh";
    let open = Word::Open {
        link: link.to_owned(),
        at_ms: 61_000,
    };
    assert!(phone.end.command(&open, now_ms()));
    let command = |output: &Output| match output {
        Output::Command { command, .. } if *command != Word::Look => Some(command.clone()),
        _ => None,
    };
    assert_eq!(while_working!(phone, tv.until(command)), open);
    // Redis has no more of it than a node: the name, and what it leads to.
    let stored = stored();
    for secret in [link, &code, &token, "Anna's phone", "Television"] {
        let found = stored
            .windows(secret.len())
            .any(|it| it == secret.as_bytes());
        assert!(!found, "{secret}");
    }
}

/// All keys and values.
fn all_of(redis: &Redis) -> Vec<u8> {
    let value = |key: &Vec<u8>| match redis.ask(&[&b"HGETALL"[..], key]) {
        Answer::List(fields) => format!("{fields:?}").into_bytes(),
        _ => Vec::new(),
    };
    let keys = redis.keys();
    keys.iter()
        .flat_map(|key| [key.clone(), value(key)].concat())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_shown_at_one_node_pairs_a_phone_at_another_and_redis_sees_neither_code_nor_link() {
    let redis = Redis::start();
    pair_over_two_nodes(&redis.url(), || all_of(&redis)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_work_over_a_redis_cluster_of_three() {
    let shards = Redis::three_shards();
    let stored = || shards.iter().flat_map(all_of).collect();
    pair_over_two_nodes(&shards[2].url(), stored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_found_three_times_at_all_nodes_together_and_for_two_minutes() {
    let redis = Redis::start();
    let nodes = three(&redis.url()).await;
    let ticket = [5; 32];
    let (mut owner, _) = Client::join(nodes[0].address(), &Identity::new(1, 10)).await;
    let mut seekers = Vec::new();
    for node in &nodes {
        seekers.push(Client::connect(node.address()).await);
    }
    let first = name(&mut owner, ticket).await.expect("a name");
    for seeker in &mut seekers {
        assert_eq!(find(seeker, first).await, Finding::Here(ticket));
    }
    for seeker in &mut seekers {
        assert_eq!(find(seeker, first).await, Finding::Nobody);
    }

    // Two minutes, and no question makes it longer.
    let second = name(&mut owner, ticket).await.expect("a name");
    assert_eq!(find(&mut seekers[1], second).await, Finding::Here(ticket));
    match redis.ask(&["PTTL", &key_of(second)]) {
        Answer::Number(left) => assert!((60_000..=120_000).contains(&left), "{left} ms"),
        other => panic!("{other:?}"),
    }
    redis.ask(&["PEXPIRE", &key_of(second), "0"]);
    assert_eq!(find(&mut seekers[2], second).await, Finding::Nobody);

    // It goes with its connection, wherever that is.
    let third = name(&mut owner, ticket).await.expect("a name");
    drop(owner);
    while redis.ask(&["EXISTS", &key_of(third)]) == Answer::Number(1) {}
    assert_eq!(find(&mut seekers[1], third).await, Finding::Nobody);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_tries_names_at_one_node_after_another_is_stopped_at_all_of_them() {
    let redis = Redis::start();
    let nodes = three(&redis.url()).await;
    let (mut owner, _) = Client::join(nodes[0].address(), &Identity::new(1, 10)).await;
    let taken = name(&mut owner, [5; 32]).await.expect("a name");
    let free = (taken + 1) % NAMES;
    for n in 0..20 {
        let mut guesser = Client::connect(nodes[n % 3].address()).await;
        assert_eq!(find(&mut guesser, free).await, Finding::Nobody);
    }
    for node in &nodes {
        let mut guesser = Client::connect(node.address()).await;
        assert_eq!(find(&mut guesser, taken).await, Finding::TooMany);
    }
    // Names are counted apart: 100 for an address, of which one is given.
    let (mut other, _) = Client::join(nodes[1].address(), &Identity::new(2, 11)).await;
    for _ in 0..99 {
        assert!(name(&mut other, [6; 32]).await.is_some());
    }
    assert_eq!(name(&mut owner, [5; 32]).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_a_code_works_at_its_own_node_and_what_nobody_wrote_is_no_name() {
    let mut redis = Redis::start();
    let nodes = three(&redis.url()).await;
    // Whatever lies under a name that is no ticket leads nowhere and breaks nothing.
    for (name, value) in [(1, "short"), (2, ""), (3, &"x".repeat(100_000))] {
        redis.ask(&["HSET", &key_of(name), "ticket", value, "finds", "3"]);
    }
    redis.ask(&["SET", &key_of(4), "no hash"]);
    redis.ask(&[
        "HSET",
        &key_of(5),
        "ticket",
        &"t".repeat(32),
        "finds",
        "many",
    ]);
    let mut seeker = Client::connect(nodes[1].address()).await;
    for name in 1..=5 {
        assert_eq!(find(&mut seeker, name).await, Finding::Nobody);
    }
    redis.kill();
    for node in &nodes {
        until_metric(node.address(), "baton_cluster_connected", 0.0).await;
    }
    let mut tv = tv(nodes[0].address(), 1, &[]);
    let (code, _) = tv.until(code_of).await;
    let mut far = by_code(nodes[1].address(), 2, &code);
    assert_eq!(while_working!(tv, far.until(paired)), Err(Failure::Nobody));
    let mut near = by_code(nodes[0].address(), 3, &code);
    assert!(while_working!(tv, near.until(paired)).is_ok());
}
