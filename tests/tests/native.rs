//! Native peers over real sockets and the real server.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use baton_content::{Link, SlotKey};
use baton_tests::native::{PATIENCE, Peer, be_a_peer, film, half_file, link_of, spoil};
use baton_tests::signalling::server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
#[ignore = "becomes a peer of the other tests"]
fn a_process_of_the_other_tests() {
    be_a_peer();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_killed_in_the_middle_goes_on_where_it_was_but_for_what_the_disk_spoilt() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = film(6 << 20);
    std::fs::write(folder.path().join("film.bin"), &bytes).expect("a film");
    let seed = ["seed", "film.bin", "--server", &origin, "--upload", "2M"];
    let mut publisher = Peer::start(folder.path(), &seed);
    let (link, _) = link_of(&mut publisher);

    let get = ["get", &link, "-o", "copy.bin", "--timeout", "200s"];
    let mut first = Peer::start(folder.path(), &get);
    first.wait_until(PATIENCE, |e| e["have_bytes"].as_u64() > Some(1 << 20));
    first.kill();
    let part = half_file(folder.path());
    let half = std::fs::metadata(&part).expect("the half file");
    assert_eq!(half.len(), bytes.len() as u64);
    assert!(half.blocks() * 512 >= half.len(), "its room is taken");
    // The first piece was in by then; the disk spoils some of it meanwhile.
    spoil(&part, 40_000);

    let mut second = Peer::start(folder.path(), &get);
    let done = second.wait("done", PATIENCE);
    assert_eq!(second.end(), Some(0));
    let received = done["received_bytes"].as_u64().expect("a number");
    assert!(received < bytes.len() as u64, "{received} came again");
    assert!(std::fs::read(folder.path().join("copy.bin")).expect("the copy") == bytes);
    let left = std::fs::read_dir(folder.path())
        .expect("the folder")
        .flatten();
    let names: Vec<_> = left
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        !names
            .iter()
            .any(|n| n.contains("index") || n.contains("part")),
        "{names:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_replaces_the_publisher_and_nothing_it_holds_or_logs_decrypts() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = film(3 << 20);
    std::fs::write(folder.path().join("film.bin"), &bytes).expect("a film");
    let seed = [
        "seed", "film.bin", "--server", &origin, "--ticket", "--key", "film.key",
    ];
    let mut publisher = Peer::start(folder.path(), &seed);
    let (link, ticket) = link_of(&mut publisher);
    publisher.wait("hashed", PATIENCE);

    let kept = tempfile::tempdir().expect("the keeper's folder");
    let mut keeper = Peer::start(kept.path(), &["keep", &ticket, "--dir", "kept"]);
    keeper.wait_until(PATIENCE, |e| e["complete"].as_f64() == Some(1.0));
    publisher.kill();
    // It must come back from its own disk alone.
    keeper.kill();
    let mut keeper = Peer::start(kept.path(), &["keep", &ticket, "--dir", "kept"]);

    let mut viewer = Peer::start(
        folder.path(),
        &["get", &link, "-o", "copy.bin", "--timeout", "200s"],
    );
    viewer.wait("done", PATIENCE);
    assert_eq!(viewer.end(), Some(0));
    assert!(std::fs::read(folder.path().join("copy.bin")).expect("the copy") == bytes);

    keeper.news();
    let parsed = Link::parse(&link).expect("our own link");
    let keys = parsed.keys();
    let mut held = ticket.clone().into_bytes();
    held.extend(format!("{:?}", keeper.log).into_bytes());
    read_all(kept.path(), &mut held);
    assert!(held.len() > bytes.len(), "it holds the film");
    let contains = |needle: &[u8]| held.windows(needle.len()).any(|window| window == needle);
    assert!(!contains(b"plaintext of a film"));
    assert!(!contains(b"film.bin"), "not even the name");
    assert!(!contains(&parsed.secret.0));
    assert!(!contains(keys.link_slot.as_bytes()));
    assert!(!contains(
        link.split('#').nth(1).expect("a fragment").as_bytes()
    ));
    // The keys that it does hold open nothing of the head's.
    let head = head_of(kept.path(), &parsed);
    for key in [
        *keys.swarm.seed(),
        keys.signalling,
        parsed.publisher.0,
        keys.swarm.id().0,
    ] {
        assert!(head.head().content_key(&SlotKey::from_bytes(key)).is_err());
    }
    assert!(
        head.head().content_key(&keys.link_slot).is_ok(),
        "the link does"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_keeper_makes_room_and_stays_within_it() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["one.bin", "two.bin"] {
        std::fs::write(folder.path().join(name), film(2 << 20)).expect("a film");
    }
    let seed = |name: &'static str, key: &'static str| {
        let seed = ["seed", name, "--server", &origin, "--ticket", "--key", key];
        Peer::start(folder.path(), &seed)
    };
    let mut one = seed("one.bin", "one.key");
    let mut two = seed("two.bin", "two.key");
    let tickets = [link_of(&mut one).1, link_of(&mut two).1];
    // One after the other: of two that fill it at once, either may find that it would have to make room for itself.
    two.kill();
    let keep = [
        "keep",
        &tickets[0],
        &tickets[1],
        "--space",
        "3M",
        "--dir",
        "kept",
    ];
    let mut keeper = Peer::start(folder.path(), &keep);
    let all = |e: &serde_json::Value| e["received_bytes"].as_u64() >= Some(2 << 20);
    let first = keeper.wait_until(PATIENCE, all);
    let _two = seed("two.bin", "two.key");
    let last = keeper.wait_until(PATIENCE, |e| all(e) && e["swarm"] != first["swarm"]);
    let used = last["used_bytes"].as_u64().expect("a number");
    assert!((1 << 20..=3 << 20).contains(&used), "{used} bytes are kept");
}

/// The keeper's persisted head.
fn head_of(folder: &Path, link: &Link) -> baton_content::SignedHead {
    let swarm = link.keys().swarm.id();
    let path = folder.join("kept").join(swarm.to_string()).join("index");
    // The lock goes with the process that held it; a copy has none.
    let copy = folder.join("copy-of-index");
    std::fs::copy(path, &copy).expect("the index");
    let index =
        baton_client_native::index::Index::open(&copy, &link.publisher, &swarm).expect("an index");
    index.head().expect("a head").clone()
}

fn read_all(folder: &Path, into: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        into.extend(entry.path().to_string_lossy().as_bytes());
        if entry.path().is_dir() {
            read_all(&entry.path(), into);
        } else {
            into.extend(std::fs::read(entry.path()).expect("a file"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_gets_the_end_of_a_film_before_its_middle() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = film(8 << 20);
    std::fs::write(folder.path().join("film.mp4"), &bytes).expect("a film");
    let seed = ["seed", "film.mp4", "--server", &origin, "--upload", "1M"];
    let mut publisher = Peer::start(folder.path(), &seed);
    let (link, _) = link_of(&mut publisher);
    let mut viewer = Peer::start(folder.path(), &["get", &link, "--serve", "127.0.0.1:0"]);
    let url = viewer.wait("serving", PATIENCE)["url"]
        .as_str()
        .expect("a URL")
        .to_string();
    let address = url
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_string();

    let mut stream = tokio::net::TcpStream::connect(&address)
        .await
        .expect("it listens");
    let request = format!(
        "GET /film.mp4 HTTP/1.1\r\nHost: {address}\r\nRange: bytes=-1000\r\nConnection: close\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    let text = String::from_utf8_lossy(&answer);
    assert!(
        text.starts_with("HTTP/1.1 206"),
        "{}",
        text.lines().next().unwrap_or_default()
    );
    assert!(text.contains("content-type: video/mp4"));
    assert!(answer.ends_with(&bytes[bytes.len() - 1000..]));
    viewer.news();
    let complete = viewer
        .log
        .iter()
        .filter_map(|e| e["complete"].as_f64())
        .fold(0.0, f64::max);
    assert!(complete < 1.0, "it came first");
}

#[test]
fn what_is_no_link_is_told_so_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut peer = Peer::start(folder.path(), &["get", "https://host/#nonsense"]);
    let error = peer.wait("error", PATIENCE);
    assert_eq!(error["code"], 2);
    assert_eq!(peer.end(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gives_the_same_link_and_refuses_another_film() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("film.bin"), film(100_000)).expect("a film");
    let seed = ["seed", "film.bin", "--server", &origin, "--key", "film.key"];
    let mut publisher = Peer::start(folder.path(), &seed);
    let (link, _) = link_of(&mut publisher);
    publisher.wait("hashed", PATIENCE);
    publisher.kill();
    let mut publisher = Peer::start(folder.path(), &seed);
    assert_eq!(link_of(&mut publisher).0, link);
    publisher.kill();
    std::fs::write(folder.path().join("film.bin"), film(100_001)).expect("another film");
    let mut publisher = Peer::start(folder.path(), &seed);
    assert_eq!(publisher.wait("error", PATIENCE)["code"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_arrives_as_it_was() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let album = folder.path().join("album");
    std::fs::create_dir_all(album.join("side b")).expect("a folder");
    let files = [
        ("one.mp3", 1_500_000),
        ("side b/two.mp3", 20_000),
        ("empty.txt", 0),
    ];
    for (name, len) in files {
        std::fs::write(album.join(name), film(len)).expect("a file");
    }
    let mut publisher = Peer::start(folder.path(), &["seed", "album", "--server", &origin]);
    let (link, _) = link_of(&mut publisher);
    let mut viewer = Peer::start(
        folder.path(),
        &["get", &link, "-o", "copy", "--timeout", "200s"],
    );
    viewer.wait("done", PATIENCE);
    assert_eq!(viewer.end(), Some(0));
    for (name, len) in files {
        let copy = std::fs::read(folder.path().join("copy").join(name)).expect("it came");
        assert!(copy == film(len), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_folder_shares_what_appears_in_it_and_writes_feeds() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let films = folder.path().join("films");
    std::fs::create_dir(&films).expect("a folder");
    std::fs::write(films.join("notes.txt"), "no film").expect("a file");
    let watch = ["seed", "--watch", "films", "--server", &origin];
    let mut publisher = Peer::start(folder.path(), &watch);
    std::fs::write(films.join("a & b.mp4"), film(50_000)).expect("a film");
    let (link, _) = link_of(&mut publisher);
    let feeds = publisher.wait("feeds", PATIENCE);
    assert_eq!(feeds["items"], 1);
    let rss = std::fs::read_to_string(films.join("feed.xml")).expect("a feed");
    let enclosure = format!(r#"<enclosure url="{link}" length="50000" type="video/mp4"/>"#);
    assert!(
        rss.contains(&enclosure) && rss.contains("<title>a &amp; b.mp4</title>"),
        "{rss}"
    );
    let json = std::fs::read_to_string(films.join("feed.json")).expect("a feed");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["items"][0]["attachments"][0]["url"], link.as_str());

    let get = ["get", &link, "-o", "copy.mp4", "--timeout", "200s"];
    let mut viewer = Peer::start(folder.path(), &get);
    viewer.wait("done", PATIENCE);
    assert!(std::fs::read(folder.path().join("copy.mp4")).expect("the copy") == film(50_000));
    std::fs::remove_file(films.join("a & b.mp4")).expect("it was there");
    assert_eq!(publisher.wait("feeds", PATIENCE)["items"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_pauses_is_not_shared_before_whoever_writes_it_is_done() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let films = folder.path().join("films");
    std::fs::create_dir(&films).expect("a folder");
    let whole = film(300_000);
    let mut copying = std::fs::File::create(films.join("film.mp4")).expect("ours");
    copying.write_all(&whole[..100_000]).expect("some of it");
    let watch = ["seed", "--watch", "films", "--server", &origin];
    let mut publisher = Peer::start(folder.path(), &watch);
    publisher.wait("waiting", PATIENCE);
    copying.write_all(&whole[100_000..]).expect("the rest");
    drop(copying);
    let link = publisher.wait("link", PATIENCE);
    assert_eq!(link["size"], 300_000);
    assert_eq!(publisher.wait("feeds", PATIENCE)["items"], 1);
    let told = publisher
        .log
        .iter()
        .filter(|event| event["event"] == "waiting");
    assert_eq!(told.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_whose_copying_paused_gets_a_link_that_gives_all_of_it() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let films = folder.path().join("films");
    std::fs::create_dir(&films).expect("a folder");
    let (whole, path) = (film(300_000), films.join("film.mp4"));
    std::fs::write(&path, &whole[..100_000]).expect("some of it");
    let watch = [
        "seed", "--watch", "films", "--server", &origin, "--key", "keys",
    ];
    let mut publisher = Peer::start(folder.path(), &watch);
    let (first, _) = link_of(&mut publisher);
    publisher.wait("feeds", PATIENCE);
    std::fs::write(&path, &whole).expect("all of it");
    assert_eq!(publisher.wait("feeds", PATIENCE)["items"], 0, "a dead link");
    let (second, _) = link_of(&mut publisher);
    assert_ne!(first, second);
    assert_eq!(publisher.wait("feeds", PATIENCE)["items"], 1);
    let rss = std::fs::read_to_string(films.join("feed.xml")).expect("a feed");
    assert!(rss.contains(&second) && !rss.contains(&first), "{rss}");
    let mut viewer = Peer::start(folder.path(), &["get", &second, "-o", "copy.mp4"]);
    viewer.wait("done", PATIENCE);
    assert!(std::fs::read(folder.path().join("copy.mp4")).expect("the copy") == whole);
    // The next run has the same link for the same film.
    publisher.kill();
    let mut publisher = Peer::start(folder.path(), &watch);
    assert_eq!(link_of(&mut publisher).0, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_peers_finish_while_one_dies_each_second_and_the_publisher_too() {
    swarm_survives(8, 3).await;
}

/// Sixty processor seconds without optimisation, so it runs when it is asked for: `cargo xtask soak`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes on two cores"]
async fn thirty_peers_finish_while_one_dies_each_second_and_the_publisher_too() {
    swarm_survives(30, 30).await;
}

/// Each second a viewer is killed and started again on what its disk has; once somebody has a copy, the publisher is
/// killed for good. Everybody completes, and every byte is right.
///
/// However slow the machine is: it fails when nobody got anything for [`PATIENCE`].
async fn swarm_survives(count: usize, kills: usize) {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = film(2 << 20);
    std::fs::write(folder.path().join("film.bin"), &bytes).expect("a film");
    let seed = ["seed", "film.bin", "--server", &origin, "--upload", "700K"];
    let mut publisher = Some(Peer::start(folder.path(), &seed));
    let (link, _) = link_of(publisher.as_mut().expect("just started"));
    let start = |n: usize| {
        let output = format!("copy-{n}.bin");
        Peer::start(folder.path(), &["get", &link, "-o", &output, "--seed"])
    };
    let mut peers: Vec<Peer> = (0..count).map(start).collect();
    let mut done = vec![false; count];
    let mut had = vec![0; count];
    let began = Instant::now();
    let mut last_news = began;
    let (mut killed, mut next_kill) = (0, began + Duration::from_secs(2));
    while !done.iter().all(|done| *done) {
        for (n, peer) in peers.iter_mut().enumerate() {
            for event in peer.news() {
                done[n] |= event["event"] == "done";
                let has = event["have_bytes"].as_u64().unwrap_or(0);
                if has > had[n] || event["event"] == "done" {
                    (had[n], last_news) = (has.max(had[n]), Instant::now());
                }
                assert_ne!(event["event"], "error", "peer {n}: {event}");
                // On its disk, that is: what somebody has in memory only dies with the next one who is killed.
                if done[n] {
                    publisher = None;
                }
            }
        }
        if Instant::now() >= next_kill && killed < kills {
            next_kill += Duration::from_secs(1);
            // One that is not done yet, if there is one.
            let victim = (0..count)
                .map(|n| (n + killed * 7) % count)
                .find(|n| !done[*n]);
            if let Some(victim) = victim {
                peers[victim].kill();
                peers[victim] = start(victim);
                killed += 1;
            }
        }
        if last_news.elapsed() > PATIENCE {
            let missing: Vec<_> = (0..count).filter(|n| !done[*n]).collect();
            let last: Vec<_> = missing
                .iter()
                .map(|n| peers[*n].log.last().cloned())
                .collect();
            panic!("{missing:?} are not done: {last:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(publisher.is_none(), "the publisher was killed on the way");
    assert!(killed > 0, "somebody was killed on the way");
    for n in 0..count {
        let copy = std::fs::read(folder.path().join(format!("copy-{n}.bin"))).expect("a copy");
        assert!(copy == bytes, "copy {n} is right");
    }
    println!(
        "{count} peers, {killed} killed, {:.1} s",
        began.elapsed().as_secs_f64()
    );
}
