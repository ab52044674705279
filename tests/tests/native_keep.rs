//! What `baton keep` promises (docs/cli.md), over real sockets and the real server.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use baton_client_native::Space;
use baton_client_native::peer::{self, Net};
use baton_client_native::session::{Control, Snapshot};
use baton_content::{Link, PublisherKey, Secret};
use baton_signal_protocol::Refusal;
use baton_tests::native::{PATIENCE, Peer, be_a_peer, film, link_of};
use baton_tests::signalling::server;
use serde_json::Value;
use tokio::time::timeout;

#[test]
#[ignore = "becomes a peer of the other tests"]
fn a_process_of_the_other_tests() {
    be_a_peer();
}

/// A publisher, its link and its ticket.
fn publish(folder: &Path, origin: &str, name: &str, len: usize) -> (Peer, String, String) {
    std::fs::write(folder.join(name), film(len)).expect("a film");
    let seed = ["seed", name, "--server", origin, "--ticket"];
    let mut publisher = Peer::start(folder, &seed);
    let (link, ticket) = link_of(&mut publisher);
    (publisher, link, ticket)
}

/// Bytes that a keeper has of each of its streams, by the last that it said.
fn kept(log: &[Value]) -> BTreeMap<String, u64> {
    let progress = log.iter().filter(|event| event["event"] == "progress");
    progress
        .filter_map(|event| {
            Some((
                event["swarm"].as_str()?.into(),
                event["have_bytes"].as_u64()?,
            ))
        })
        .collect()
}

fn swarm_of(link: &str) -> String {
    let link = baton_content::Link::parse(link).expect("our own link");
    link.keys().swarm.id().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_that_was_served_longest_ago_makes_room() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let (one, link_one, ticket_one) = publish(folder.path(), &origin, "one.bin", 3 << 20);
    let (two, link_two, ticket_two) = publish(folder.path(), &origin, "two.bin", 3 << 20);
    let keep = [
        "keep",
        &ticket_one,
        &ticket_two,
        "--space",
        "8M",
        "--dir",
        "kept",
    ];
    let mut keeper = Peer::start(folder.path(), &keep);
    let all = |log: &[Value], of: &str| kept(log).get(&swarm_of(of)) >= Some(&(3 << 20));
    while !(all(&keeper.log, &link_one) && all(&keeper.log, &link_two)) {
        keeper.wait("progress", PATIENCE);
    }
    drop((one, two));
    // The first is served by the keeper alone, so the second was served longer ago.
    let get = ["get", &link_one, "-o", "copy.bin"];
    let mut viewer = Peer::start(folder.path(), &get);
    viewer.wait("done", PATIENCE);
    keeper.interrupt();
    assert_eq!(keeper.end(), Some(0), "stopped by the person");
    // It remembers that; a third stream comes, and there is room for two.
    let (_three, link_three, ticket_three) = publish(folder.path(), &origin, "three.bin", 3 << 20);
    let more = [&keep[..3], &[&ticket_three], &keep[3..]].concat();
    let mut keeper = Peer::start(folder.path(), &more);
    while !all(&keeper.log, &link_three) {
        keeper.wait("progress", PATIENCE);
    }
    let round = |keeper: &mut Peer| {
        keeper.wait_until(PATIENCE, |e| e["swarm"] == swarm_of(&link_three));
        keeper.log.last().cloned().expect("just said")
    };
    round(&mut keeper);
    let used = round(&mut keeper)["used_bytes"].as_u64().expect("a number");
    let kept = kept(&keeper.log);
    assert!(kept[&swarm_of(&link_one)] >= 3 << 20, "{kept:?}");
    assert!(kept[&swarm_of(&link_two)] < 3 << 20, "{kept:?}");
    // No more was dropped than had to be: the margin of a sixteenth, and the rest of a piece.
    assert!((6 << 20..=8 << 20).contains(&used), "{used} bytes are kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_larger_than_the_space_is_not_fetched_in_vain() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let (mut publisher, _, ticket) = publish(folder.path(), &origin, "film.bin", 40 << 20);
    let keep = ["keep", &ticket, "--space", "3M", "--dir", "kept"];
    // It keeps two of the three megabytes at least, and then nothing comes any more.
    let settled = |keeper: &mut Peer| {
        let mut last = 0;
        loop {
            let event = keeper.wait("progress", PATIENCE);
            let number = |name: &str| event[name].as_u64().expect("a number");
            let (received, used) = (number("received_bytes"), number("used_bytes"));
            assert!(used <= 3 << 20, "{used} bytes are kept");
            if received == last && received > 0 && used >= 2 << 20 {
                return;
            }
            last = received;
        }
    };
    let mut keeper = Peer::start(folder.path(), &keep);
    settled(&mut keeper);
    keeper.kill();
    let mut keeper = Peer::start(folder.path(), &keep);
    settled(&mut keeper);
    publisher.wait("progress", PATIENCE);
    let sent = publisher.wait("progress", PATIENCE)["sent_bytes"].as_u64();
    assert!(sent < Some(35 << 20), "{sent:?} bytes were sent for 3 MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_expires_is_deleted() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("film.bin"), film(1 << 20)).expect("a film");
    let seed = [
        "seed", "film.bin", "--server", &origin, "--ticket", "--key", "film.key",
    ];
    let mut publisher = Peer::start(folder.path(), &seed);
    let (link, ticket) = link_of(&mut publisher);
    let mut keeper = Peer::start(folder.path(), &["keep", &ticket, "--dir", "kept"]);
    keeper.wait_until(PATIENCE, |event| event["complete"].as_f64() == Some(1.0));
    let place = folder.path().join("kept").join(swarm_of(&link));
    assert!(place.join("index").exists());
    // The same link gets an end: a head of its own says so.
    publisher.kill();
    let mut publisher = Peer::start(folder.path(), &[&seed[..], &["--expires", "5s"]].concat());
    assert_eq!(link_of(&mut publisher).0, link);
    keeper.wait("over", PATIENCE);
    assert_eq!(keeper.end(), Some(7));
    assert!(!place.exists(), "nothing of it is left");
    assert_eq!(publisher.end(), Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_names_any_more_counts_and_goes_first() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let (_one, link_one, ticket_one) = publish(folder.path(), &origin, "one.bin", 2 << 20);
    let (_two, _, ticket_two) = publish(folder.path(), &origin, "two.bin", 2 << 20);
    let keep = |ticket| ["keep", ticket, "--space", "3M", "--dir", "kept"];
    let mut keeper = Peer::start(folder.path(), &keep(&ticket_one));
    keeper.wait_until(PATIENCE, |event| event["complete"].as_f64() == Some(1.0));
    keeper.kill();
    let stray = folder.path().join("kept").join(swarm_of(&link_one));
    assert!(stray.exists());
    let mut keeper = Peer::start(folder.path(), &keep(&ticket_two));
    let whole = keeper.wait_until(PATIENCE, |event| event["complete"].as_f64() == Some(1.0));
    assert!(whole["used_bytes"].as_u64() <= Some(3 << 20));
    assert!(!stray.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_steps_aside_leaves_its_place_to_one_that_waits() {
    let server = server(|config| config.limits.swarms_per_address = 1).await;
    let net = Net {
        servers: vec![format!("http://{}", server.address())],
        ..Net::default()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let space = Arc::new(Space::new(1 << 20));
    let keep = |n: u8| {
        let publisher = PublisherKey::from_seed([n; 32]).id();
        let ticket = Link::new(publisher, Secret([n; 16])).ticket();
        peer::keep(&ticket, folder.path(), &space, &net).expect("a ticket")
    };
    let mut one = keep(1);
    let joined = timeout(PATIENCE, one.snapshot.wait_for(|now| now.joined)).await;
    joined.expect("in time").expect("it runs");
    let mut two = keep(2);
    let waits = |now: &Snapshot| now.refusal == Some(Refusal::AddressSwarms);
    let waiting = timeout(PATIENCE, two.snapshot.wait_for(waits)).await;
    waiting.expect("in time").expect("it runs");
    one.control.send(Control::StepAside).expect("it runs");
    let left = timeout(PATIENCE, one.snapshot.wait_for(|now| !now.joined)).await;
    left.expect("in time").expect("it runs");
    two.control.send(Control::ComeNow).expect("it runs");
    let joined = timeout(PATIENCE, two.snapshot.wait_for(|now| now.joined)).await;
    joined.expect("in time").expect("it runs");
    let waiting = timeout(
        PATIENCE,
        one.snapshot.wait_for(|now| !now.joined && waits(now)),
    )
    .await;
    waiting.expect("in time").expect("it runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_beyond_what_a_server_takes_from_one_address_are_said_to_be() {
    let server = server(|config| config.limits.swarms_per_address = 1).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let films = folder.path().join("films");
    std::fs::create_dir(&films).expect("a folder");
    for name in ["one.mp4", "two.mp4"] {
        std::fs::write(films.join(name), film(50_000)).expect("a film");
    }
    let watch = ["seed", "--watch", "films", "--server", &origin, "--ticket"];
    let mut publisher = Peer::start(folder.path(), &watch);
    let tickets = [link_of(&mut publisher).1, link_of(&mut publisher).1];
    let refused = publisher.wait("refused", PATIENCE);
    assert_eq!(refused["refusal"], "AddressSwarms");
    let name = refused["what"].as_str().expect("a name");
    assert!(["one.mp4", "two.mp4"].contains(&name), "{name}");
    publisher.kill();
    let keep = ["keep", &tickets[0], &tickets[1], "--dir", "kept"];
    let mut keeper = Peer::start(folder.path(), &keep);
    let refused = keeper.wait("refused", PATIENCE);
    assert_eq!(refused["refusal"], "AddressSwarms");
    keeper.interrupt();
    assert_eq!(
        keeper.end(),
        Some(0),
        "it goes on trying until it is stopped"
    );
    assert!(
        folder
            .path()
            .join("kept")
            .read_dir()
            .expect("a folder")
            .count()
            == 2
    );
}
