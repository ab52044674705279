//! A server that was given the signalling key comes between real native peers, and gets nowhere.

use std::collections::BTreeMap;
use std::time::Duration;

use baton_content::Link;
use baton_signal_protocol::blob::Kind;
use baton_tests::middle::{Mallory, Middle, Post};
use baton_tests::native::{Peer, be_a_peer};
use baton_tests::signalling::server;

#[test]
#[ignore = "becomes a peer of the other tests"]
fn a_process_of_the_other_tests() {
    be_a_peer();
}

const PATIENCE: Duration = Duration::from_secs(60);
/// The publisher's key, so that the server's owner has the link before anybody else.
const KEY: &str = "film.key";

fn film() -> Vec<u8> {
    (0..2_000_000u32)
        .flat_map(|n| n.to_le_bytes())
        .take(2 << 20)
        .collect()
}

/// A link that was made before, at a server that will not be there any more: publisher and viewers get it from the key file.
async fn link_and_mallory(folder: &std::path::Path) -> Mallory {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    std::fs::write(folder.join("film.bin"), film()).expect("a film");
    let seed = ["seed", "film.bin", "--server", &origin, "--key", KEY];
    let mut publisher = Peer::start(folder, &seed);
    let event = publisher.wait("link", PATIENCE);
    let link = Link::parse(event["link"].as_str().expect("a link")).expect("our own link");
    publisher.wait("hashed", PATIENCE);
    Mallory {
        swarm: link.keys().swarm.id().0,
        signalling_key: link.keys().signalling,
    }
}

fn publish(folder: &std::path::Path, middle: &Middle) -> (Peer, String) {
    let origin = format!("http://{}", middle.address);
    let seed = [
        "seed", "film.bin", "--server", &origin, "--key", KEY, "--upload", "700K",
    ];
    let mut publisher = Peer::start(folder, &seed);
    let link = publisher.wait("link", PATIENCE)["link"]
        .as_str()
        .expect("a link")
        .to_owned();
    (publisher, link)
}

/// Everything that can be done to a blob without its sender's key.
fn lies(mallory: &Mallory, post: &Post, sent: &[Post]) -> Vec<Post> {
    let mut lies = mallory.swap_fingerprint(post);
    for place in [0, 1, 30, post.blob.len() - 1] {
        let mut altered = post.clone();
        altered.blob[place] ^= 1;
        lies.push(altered);
    }
    // To somebody else, and as if from somebody else.
    for other in sent.iter().map(|post| post.from) {
        lies.push(Post {
            to: other,
            ..post.clone()
        });
        lies.push(Post {
            from: other,
            ..post.clone()
        });
    }
    // What was said before, by anybody.
    lies.extend(sent.iter().rev().take(100).cloned());
    lies
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lies_before_every_true_word_disturbs_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let mallory = link_and_mallory(folder.path()).await;
    let real = server(|_| {}).await;
    let liar = mallory.clone();
    let middle = Middle::before(real.address(), move |post, sent| {
        let mut posts = lies(&liar, post, sent);
        posts.extend([post.clone(), post.clone()]);
        posts
    })
    .await;
    let (mut publisher, link) = publish(folder.path(), &middle);
    let get = |name: &str| {
        Peer::start(
            folder.path(),
            &["get", &link, "-o", name, "--timeout", "50s"],
        )
    };
    let mut first = get("first.bin");
    // The second comes while the first is fetching: what it says makes the server repeat what the first has said.
    first.wait_until(PATIENCE, |event| event["have_bytes"].as_u64() > Some(0));
    let mut second = get("second.bin");
    for (viewer, name) in [(&mut first, "first.bin"), (&mut second, "second.bin")] {
        let done = viewer.wait("done", PATIENCE);
        assert_eq!(viewer.end(), Some(0), "{done}");
        assert!(std::fs::read(folder.path().join(name)).expect("the copy") == film());
    }
    publisher.kill();

    // Whoever took a lie or a repetition for an offer would have answered it.
    let mut answers = BTreeMap::new();
    for post in middle.sent() {
        let opened = mallory.open(&post);
        if opened.kind == Kind::Answer as u8 {
            *answers
                .entry((post.from, opened.body[..16].to_vec()))
                .or_insert(0) += 1;
        }
    }
    assert!(answers.len() >= 2, "both connected through this server");
    assert!(answers.values().all(|count| *count == 1), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_server_that_swaps_every_fingerprint_of_an_offer_nobody_connects() {
    assert_eq!(answers_when_swapped(Kind::Offer).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_server_that_swaps_every_fingerprint_of_an_answer_nobody_connects() {
    assert!(answers_when_swapped(Kind::Answer).await > 0);
}

/// A viewer tries and gives up, because all it could have is a connection to the server's owner. How many answers were sent?
async fn answers_when_swapped(kind: Kind) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let mallory = link_and_mallory(folder.path()).await;
    let real = server(|_| {}).await;
    let liar = mallory.clone();
    let middle = Middle::before(real.address(), move |post, _| {
        if post.blob[0] == kind as u8 {
            liar.swap_fingerprint(post)
        } else {
            vec![post.clone()]
        }
    })
    .await;
    let (_publisher, link) = publish(folder.path(), &middle);
    let get = ["get", &link, "-o", "copy.bin", "--timeout", "5s"];
    let mut viewer = Peer::start(folder.path(), &get);
    assert_eq!(viewer.end(), Some(3), "nobody had it in time");
    viewer.news();
    let got = viewer
        .log
        .iter()
        .filter_map(|event| event["received_bytes"].as_u64());
    assert_eq!(got.max().unwrap_or(0), 0);
    let kinds: Vec<u8> = middle.sent().iter().map(|post| post.blob[0]).collect();
    assert!(kinds.contains(&(kind as u8)), "there was one to swap");
    kinds
        .iter()
        .filter(|sent| **sent == Kind::Answer as u8)
        .count()
}
