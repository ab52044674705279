//! Who is near, by databases of places (`--geo`), over real sockets.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use baton_signal_protocol::*;
use baton_signal_server::{Config, Running, Server};
use baton_tests::http::get;
use baton_tests::mmdb::{Value, database};
use baton_tests::signalling::{Client, Identity, server, unix_s};

use Value::{Double, Map, Number, Single, Text};

fn city(country: &'static str, number: u32, latitude: f64, longitude: f64) -> Value {
    Map(vec![
        ("country", Map(vec![("iso_code", Text(country))])),
        ("city", Map(vec![("geoname_id", Number(number))])),
        (
            "location",
            Map(vec![
                ("latitude", Double(latitude)),
                ("longitude", Double(longitude)),
            ]),
        ),
    ])
}

/// In the words of other databases.
fn flat(country: &'static str, latitude: f32, longitude: f32) -> Value {
    Map(vec![
        ("country_code", Text(country)),
        ("city", Text("a name")),
        ("latitude", Single(latitude)),
        ("longitude", Single(longitude)),
    ])
}

/// Munich, Berlin, Paris and Tokyo.
fn cities() -> Vec<u8> {
    database(&[
        ("198.51.1.0", 24, city("DE", 1, 48.1, 11.6)),
        ("198.51.2.0", 24, city("DE", 2, 52.5, 13.4)),
        ("198.51.3.0", 24, flat("FR", 48.9, 2.4)),
        ("198.51.4.0", 24, city("JP", 4, 35.7, 139.7)),
        ("198.51.5.0", 24, city("DE", 2, 52.5, 13.4)),
    ])
}

fn networks() -> Vec<u8> {
    let asn = |number| Map(vec![("autonomous_system_number", Number(number))]);
    database(&[
        ("198.51.1.0", 24, asn(64500)),
        ("198.51.4.0", 24, asn(64500)),
        ("198.51.5.0", 24, asn(64500)),
    ])
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    let new = folder.join("new");
    std::fs::write(&new, bytes).expect("a file");
    std::fs::rename(new, &path).expect("it replaces the old one");
    path
}

async fn knowing(files: Vec<std::path::PathBuf>) -> Running {
    server(|config| {
        config.geo = files;
        config.geo_reload = Duration::from_millis(50);
        config.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        config.limits.messages_burst = 10_000_000;
    })
    .await
}

async fn join(node: SocketAddr, peer: u8, address: &str) -> (Client, Vec<Candidate>) {
    let header = [("x-forwarded-for", address)];
    let client = Client::connect_with(node, &header).await.expect("let in");
    let joined = client.enter(&Identity::new(1, peer), unix_s()).await;
    joined.expect("a Welcome")
}

fn order(candidates: &[Candidate], peers: &[u8]) -> Vec<u8> {
    let number = |it: &Candidate| {
        let of = |peer: &&u8| Identity::new(1, **peer).peer_id() == it.peer;
        *peers.iter().find(of).expect("somebody we know")
    };
    candidates.iter().map(number).collect()
}

#[tokio::test]
async fn network_city_country_and_distance_decide_who_is_named_first_and_peers_learn_the_country_alone()
 {
    let folder = tempfile::tempdir().expect("a folder");
    let files = vec![
        write(folder.path(), "city.mmdb", &cities()),
        write(folder.path(), "asn.mmdb", &networks()),
    ];
    let server = knowing(files).await;
    let mut all = Vec::new();
    // Tokyo (the newcomer's network, but abroad), Paris, Munich (network), Berlin (city), the next house, nowhere.
    for (peer, address) in [
        (1, "198.51.4.1"),
        (2, "198.51.3.1"),
        (3, "198.51.1.1"),
        (4, "198.51.2.1"),
        (5, "198.51.5.99"),
        (6, "203.0.113.1"),
    ] {
        all.push(join(server.address(), peer, address).await);
    }
    let (_newcomer, met) = join(server.address(), 7, "198.51.5.1").await;
    assert_eq!(order(&met, &[1, 2, 3, 4, 5, 6]), [5, 3, 4, 2, 1, 6]);
    let regions: Vec<Option<&str>> = met.iter().map(|it| it.region.as_deref()).collect();
    let known = ["DE", "DE", "DE", "FR", "JP"].map(Some);
    assert_eq!(regions, [&known[..], &[None]].concat());
}

#[tokio::test]
async fn a_new_database_is_taken_over_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let only = |country| {
        let record = Map(vec![("country_code", Text(country))]);
        database(&[("198.51.0.0", 16, record)])
    };
    let file = write(folder.path(), "country.mmdb", &only("DE"));
    let server = knowing(vec![file]).await;
    let metric = async |name: &str| {
        let text = String::from_utf8(get(server.address(), "/metrics").await.body).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse::<u32>().unwrap()
    };
    let region = async |peer| {
        let (mut client, _) = join(server.address(), peer, "198.51.1.1").await;
        let (mut other, met) = join(server.address(), peer + 1, "203.0.113.1").await;
        for client in [&mut client, &mut other] {
            client.say(&ClientMessage::Leave).await;
            while client.frame().await.is_some() {}
        }
        met[0].region.clone().unwrap()
    };
    assert_eq!(region(1).await, "DE");
    let good = only("FR");
    let mut cyclic = good.clone();
    // The root's right side leads back to the root.
    cyclic[4..8].fill(0);
    let broken = [
        b"no database at all".to_vec(),
        good[..good.len() - 40].to_vec(),
        good[100..].to_vec(),
        cyclic,
        Vec::new(),
    ];
    for (at, bytes) in broken.iter().enumerate() {
        write(folder.path(), "country.mmdb", bytes);
        while metric("baton_geo_refused_total").await < at as u32 + 1 {}
        assert_eq!(region(10 + 2 * at as u8).await, "DE");
    }
    write(folder.path(), "country.mmdb", &good);
    while metric("baton_geo_reloads_total").await < 1 {}
    assert_eq!(region(30).await, "FR");
    assert_eq!(metric("baton_geo_refused_total").await, 5);
}

#[tokio::test]
async fn at_start_a_broken_database_is_refused_with_option_file_and_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    for (file, why) in [
        (write(folder.path(), "a.mmdb", b"nonsense"), "a.mmdb"),
        (folder.path().join("nowhere.mmdb"), "nowhere.mmdb"),
        (folder.path().to_owned(), "no file"),
    ] {
        let mut config = Config::local();
        config.geo = vec![file];
        let Err(error) = Server::bind(config).await else {
            panic!("{why} was taken")
        };
        let error = format!("{error:#}");
        assert!(error.contains("--geo") && error.contains(why), "{error}");
    }
}
