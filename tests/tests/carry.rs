//! The last resort: what the server carries for peers who cannot connect, for whom, how much of it, and what hostile ones get.

use std::time::{Duration, Instant};

use baton_signal_protocol::*;
use baton_signal_server::{Config, Running};
use baton_tests::carrier::{Carrier, carried_both_ways, carry, join};
use baton_tests::http::get;
use baton_tests::signalling::{Client, Identity, server};

fn carrying(change: impl FnOnce(&mut Config)) -> impl Future<Output = Running> {
    server(|config| {
        config.relay.relay = true;
        change(config);
    })
}

/// Relays a word and hears it: the server goes on as ever.
async fn talk(from: (&mut Client, &Identity), to: (&mut Client, &Identity)) {
    from.0.relay(to.1.peer_id(), b"word").await;
    let word = ServerMessage::Relay {
        from: from.1.peer_id(),
        blob: b"word".to_vec(),
    };
    assert_eq!(to.0.hear().await, word);
}

#[tokio::test]
async fn a_frame_reaches_the_peer_that_it_is_for_and_nobody_else() {
    let server = carrying(|_| ()).await;
    let [a, b, c] = [1, 2, 3].map(|peer| Identity::new(1, peer));
    let mut alice = join(&server, &a).await;
    let mut bob = join(&server, &b).await;
    let mut carol = join(&server, &c).await;
    carry(&mut alice, b.peer_id(), &[5; FRAME_MAX]).await;
    let carried = ServerMessage::Carried {
        from: a.peer_id(),
        frame: vec![5; FRAME_MAX],
    };
    assert_eq!(bob.hear().await, carried);
    talk((&mut bob, &b), (&mut carol, &c)).await;
    let metrics = get(server.address(), "/metrics").await;
    let bytes = format!("\nbaton_carried_bytes_total {FRAME_MAX}\n");
    let text = String::from_utf8_lossy(&metrics.body);
    assert!(text.contains(&bytes), "{text}");
}

#[tokio::test]
async fn a_frame_never_leaves_its_swarm() {
    let server = carrying(|_| ()).await;
    let (a, stranger) = (Identity::new(1, 1), Identity::new(2, 2));
    let mut alice = join(&server, &a).await;
    let mut other = join(&server, &stranger).await;
    let to = stranger.peer_id();
    carry(&mut alice, to, b"frame").await;
    assert_eq!(alice.hear().await, ServerMessage::Gone { to });
    other.more().await;
}

#[tokio::test]
async fn nothing_is_carried_unless_the_operator_allows_it() {
    let server = server(|_| ()).await;
    let (a, b) = (Identity::new(1, 1), Identity::new(1, 2));
    let mut alice = Client::join(server.address(), &a).await.0;
    let mut bob = Client::join(server.address(), &b).await.0;
    // Nobody has heard that it carries: the next that comes is a word.
    talk((&mut alice, &a), (&mut bob, &b)).await;
    carry(&mut alice, b.peer_id(), b"frame").await;
    assert_eq!(alice.refusal().await.0, Refusal::Malformed);
    bob.more().await;
}

#[tokio::test]
async fn a_frame_that_is_too_long_or_comes_before_join_is_refused() {
    let server = carrying(|_| ()).await;
    let a = Identity::new(1, 1);
    let mut alice = join(&server, &a).await;
    carry(&mut alice, a.peer_id(), &[0; FRAME_MAX + 1]).await;
    assert_eq!(alice.refusal().await.0, Refusal::TooLarge);
    let mut nobody = Client::connect(server.address()).await;
    carry(&mut nobody, a.peer_id(), b"frame").await;
    assert_eq!(nobody.refusal().await.0, Refusal::Order);
}

#[tokio::test]
async fn a_client_that_floods_is_slowed_to_its_rate_and_disturbs_nobody() {
    const RATE: u32 = 256 * 1024;
    let server = carrying(|config| config.relay.relay_client_rate = RATE).await;
    let [a, b, c] = [1, 2, 3].map(|peer| Identity::new(1, peer));
    let mut alice = join(&server, &a).await;
    let mut bob = join(&server, &b).await;
    let mut carol = join(&server, &c).await;
    let began = Instant::now();
    let frames = 2 * RATE as usize / FRAME_MAX + 2;
    let flood = async {
        for _ in 0..frames {
            carry(&mut alice, b.peer_id(), &[0; FRAME_MAX]).await;
        }
    };
    let read = async {
        for _ in 0..frames {
            let message = bob.hear().await;
            assert!(matches!(message, ServerMessage::Carried { .. }));
        }
    };
    // Whoever does not flood is not slowed.
    let others = async { carol.more().await };
    tokio::join!(flood, read, others);
    // One second's worth is free; the rest waits for the time that it takes.
    assert!(began.elapsed() >= Duration::from_millis(900));
    alice.more().await;
}

/// Two who carry more than a second's worth between them are held to this rate, in bytes per second.
async fn takes_the_time_of(rate: u32, server: &Running) {
    let [a, b] = [1, 2].map(|peer| Identity::new(1, peer));
    let mut alice = join(server, &a).await;
    let mut bob = join(server, &b).await;
    let began = Instant::now();
    for _ in 0..rate as usize / FRAME_MAX + 1 {
        carry(&mut alice, b.peer_id(), &[0; FRAME_MAX]).await;
        carry(&mut bob, a.peer_id(), &[0; FRAME_MAX]).await;
        for client in [&mut alice, &mut bob] {
            let message = client.hear().await;
            assert!(matches!(message, ServerMessage::Carried { .. }));
        }
    }
    assert!(began.elapsed() >= Duration::from_millis(900));
}

#[tokio::test]
async fn all_together_keep_to_the_rate_of_all() {
    const RATE: u32 = 256 * 1024;
    let server = carrying(|config| config.relay.relay_rate = RATE).await;
    takes_the_time_of(RATE, &server).await;
}

#[tokio::test]
async fn the_clients_of_one_address_keep_to_its_rate() {
    const RATE: u32 = 256 * 1024;
    let server = carrying(|config| config.relay.relay_address_rate = RATE).await;
    takes_the_time_of(RATE, &server).await;
}

#[tokio::test]
async fn what_would_wait_too_long_is_not_carried_however_many_ask() {
    let server = carrying(|config| config.relay.relay_rate = 16_384).await;
    let everybody: Vec<Identity> = (1..=12).map(|peer| Identity::new(1, peer)).collect();
    let mut clients = Vec::new();
    for identity in &everybody {
        clients.push(join(&server, identity).await);
    }
    let first = everybody[0].peer_id();
    for client in &mut clients[1..] {
        carry(client, first, &[0; FRAME_MAX]).await;
    }
    // One second is free and five may be owed: who comes later hears that it did not arrive.
    let mut gone = 0;
    for client in &mut clients[1..] {
        client.say(&ClientMessage::More).await;
        loop {
            match client.hear().await {
                ServerMessage::Gone { to } => {
                    assert_eq!(to, first);
                    gone += 1;
                }
                ServerMessage::Candidates(_) => break,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!((1..=5).contains(&gone), "{gone}");
}

#[tokio::test]
async fn whoever_does_not_read_costs_its_sender_frames_and_nobody_else_anything() {
    let server = carrying(|config| {
        config.relay.relay_client_rate = u32::MAX;
        config.relay.relay_rate = u32::MAX;
        config.relay.relay_address_rate = u32::MAX;
    })
    .await;
    let [a, b, c] = [1, 2, 3].map(|peer| Identity::new(1, peer));
    let mut alice = join(&server, &a).await;
    let deaf = join(&server, &b).await;
    let mut carol = join(&server, &c).await;
    let to = b.peer_id();
    // Until the kernel's buffers are full, and then the server's, which is a few frames.
    let heard = tokio::spawn(async move {
        loop {
            for _ in 0..64 {
                carry(&mut alice, to, &[0; FRAME_MAX]).await;
            }
            alice.say(&ClientMessage::More).await;
            let message = alice.hear().await;
            if !matches!(message, ServerMessage::Candidates(_)) {
                assert_eq!(message, ServerMessage::Gone { to });
                return alice;
            }
        }
    });
    let mut alice = heard.await.expect("Gone");
    carol.relay(a.peer_id(), b"word").await;
    let word = ServerMessage::Relay {
        from: c.peer_id(),
        blob: b"word".to_vec(),
    };
    while alice.hear().await != word {}
    drop(deaf);
}

#[tokio::test]
async fn beyond_its_bytes_a_connection_is_carried_no_further() {
    let server = carrying(|config| config.relay.relay_client_bytes = 2_000).await;
    let [a, b] = [1, 2].map(|peer| Identity::new(1, peer));
    let mut alice = join(&server, &a).await;
    let mut bob = join(&server, &b).await;
    let to = b.peer_id();
    carry(&mut alice, to, &[1; 1500]).await;
    assert!(matches!(bob.hear().await, ServerMessage::Carried { .. }));
    carry(&mut alice, to, &[1; 1500]).await;
    assert_eq!(alice.hear().await, ServerMessage::Gone { to });
    talk((&mut alice, &a), (&mut bob, &b)).await;
}

#[tokio::test]
async fn two_peers_have_megabytes_carried_both_ways() {
    let server = carrying(|_| ()).await;
    let mut alice = Carrier::join(&server, 1).await;
    let mut bob = Carrier::join(&server, 2).await;
    carried_both_ways(&mut alice, &mut bob).await;
}
