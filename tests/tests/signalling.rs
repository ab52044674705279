//! Clients meet and talk through a real server, over real sockets.

use baton_signal_protocol::blob::{Route, open, seal};
use baton_signal_protocol::*;
use baton_tests::signalling::{Client, Identity, server, unix_s};
use baton_tests::tap::Tap;

#[tokio::test]
async fn two_peers_meet_and_talk_both_ways() {
    let server = server(|_| ()).await;
    let (alice, bob) = (Identity::new(1, 10), Identity::new(1, 11));
    let (mut a, nobody) = Client::join(server.address(), &alice).await;
    assert_eq!(nobody, []);
    let (mut b, met) = Client::join(server.address(), &bob).await;
    assert_eq!(
        met,
        [Candidate {
            peer: alice.peer_id(),
            region: None,
            completeness_permille: 1000,
            free_slots: 4
        }]
    );

    b.relay(alice.peer_id(), b"offer").await;
    assert_eq!(
        a.hear().await,
        ServerMessage::Relay {
            from: bob.peer_id(),
            blob: b"offer".to_vec()
        }
    );
    a.relay(bob.peer_id(), b"answer").await;
    assert_eq!(
        b.hear().await,
        ServerMessage::Relay {
            from: alice.peer_id(),
            blob: b"answer".to_vec()
        }
    );
}

#[tokio::test]
async fn the_welcome_names_the_ice_servers() {
    let server = server(|config| config.ice = vec!["stun:192.0.2.1:3478".parse().unwrap()]).await;
    let mut client = Client::connect(server.address()).await;
    client
        .say(&ClientMessage::Join(
            Identity::new(1, 1).join(&server.address().to_string(), unix_s()),
        ))
        .await;
    let stun = IceServer {
        urls: vec!["stun:192.0.2.1:3478".into()],
        username: None,
        credential: None,
    };
    assert_eq!(
        client.hear().await,
        ServerMessage::Welcome {
            ice: vec![stun],
            candidates: vec![],
            keepalive_s: 25
        }
    );
}

#[tokio::test]
async fn reports_and_more_keep_the_picture_fresh() {
    let server = server(|_| ()).await;
    let (alice, bob) = (Identity::new(1, 10), Identity::new(1, 11));
    let (mut a, _) = Client::join(server.address(), &alice).await;
    let (mut b, _) = Client::join(server.address(), &bob).await;
    a.say(&ClientMessage::Report(Report {
        completeness_permille: 250,
        free_slots: 1,
        spare_upload_kbit: 900,
    }))
    .await;
    // Alice's own More comes back only after her Report was taken in.
    a.say(&ClientMessage::More).await;
    assert!(
        matches!(a.hear().await, ServerMessage::Candidates(named) if named[0].peer == bob.peer_id())
    );
    b.say(&ClientMessage::More).await;
    let picture = Candidate {
        peer: alice.peer_id(),
        region: None,
        completeness_permille: 250,
        free_slots: 1,
    };
    assert_eq!(b.hear().await, ServerMessage::Candidates(vec![picture]));
}

#[tokio::test]
async fn who_left_is_gone_and_nobody_is_told_unasked() {
    let server = server(|_| ()).await;
    let (alice, bob) = (Identity::new(1, 10), Identity::new(1, 11));
    let (mut a, _) = Client::join(server.address(), &alice).await;
    let (mut b, _) = Client::join(server.address(), &bob).await;
    a.say(&ClientMessage::Leave).await;
    while a.frame().await.is_some() {}
    b.relay(alice.peer_id(), b"hello?").await;
    assert_eq!(
        b.hear().await,
        ServerMessage::Gone {
            to: alice.peer_id()
        },
        "the first and only word about her"
    );
    b.say(&ClientMessage::More).await;
    assert_eq!(b.hear().await, ServerMessage::Candidates(vec![]));
}

#[tokio::test]
async fn a_relay_never_leaves_its_swarm() {
    let server = server(|_| ()).await;
    let (alice, bob, mallory) = (
        Identity::new(1, 10),
        Identity::new(1, 11),
        Identity::new(2, 12),
    );
    let (mut a, _) = Client::join(server.address(), &alice).await;
    let (mut b, _) = Client::join(server.address(), &bob).await;
    let (mut m, met) = Client::join(server.address(), &mallory).await;
    assert_eq!(met, [], "and nobody of another swarm is named");
    m.relay(alice.peer_id(), b"let me in").await;
    assert_eq!(
        m.hear().await,
        ServerMessage::Gone {
            to: alice.peer_id()
        }
    );
    b.relay(alice.peer_id(), b"hi").await;
    assert_eq!(
        a.hear().await,
        ServerMessage::Relay {
            from: bob.peer_id(),
            blob: b"hi".to_vec()
        },
        "the first thing she hears"
    );
}

/// Joins with `join` and returns why that was refused.
async fn refused(address: std::net::SocketAddr, join: Join) -> (Refusal, Option<u32>, u64) {
    let mut client = Client::connect(address).await;
    client.say(&ClientMessage::Join(join)).await;
    let (reason, retry_ms, server_unix_s, _) = client.refusal().await;
    (reason, retry_ms, server_unix_s)
}

#[tokio::test]
async fn a_join_that_is_not_signed_by_the_swarm_key_is_refused() {
    let server = server(|_| ()).await;
    let (alice, mallory) = (Identity::new(1, 10), Identity::new(66, 67));
    let host = server.address().to_string();
    // The swarm's id as it may stand in a log, and keys of Mallory's own.
    let mut from_log = mallory.join(&host, unix_s());
    from_log.swarm = alice.swarm_id();
    assert_eq!(
        refused(server.address(), from_log).await.0,
        Refusal::Signature
    );
    // A signature that was made for another PeerId.
    let mut recorded = alice.join(&host, unix_s());
    recorded.peer = mallory.peer_id();
    assert_eq!(
        refused(server.address(), recorded).await.0,
        Refusal::Signature
    );
}

#[tokio::test]
async fn a_holder_of_the_link_cannot_join_as_somebody_else() {
    let server = server(|_| ()).await;
    let (alice, bob) = (Identity::new(1, 10), Identity::new(1, 11));
    let host = server.address().to_string();
    let (mut a, _) = Client::join(server.address(), &alice).await;
    let (mut b, _) = Client::join(server.address(), &bob).await;
    let mut impostor = Identity {
        swarm: bob.swarm.clone(),
        peer: bob.peer.clone(),
    }
    .join(&host, unix_s() + 5);
    impostor.peer = alice.peer_id();
    assert_eq!(
        refused(server.address(), impostor).await.0,
        Refusal::Signature
    );
    b.relay(alice.peer_id(), b"still you?").await;
    assert!(matches!(a.hear().await, ServerMessage::Relay { .. }));
}

#[tokio::test]
async fn a_join_signed_for_another_host_is_refused() {
    let server = server(|config| config.hosts = vec!["baton.example".into()]).await;
    let alice = Identity::new(1, 10);
    // Another server got this and brings it here, under whatever Host header it likes.
    assert_eq!(
        refused(server.address(), alice.join("evil.example", unix_s()))
            .await
            .0,
        Refusal::Signature
    );
    assert_eq!(
        refused(
            server.address(),
            alice.join(&server.address().to_string(), unix_s())
        )
        .await
        .0,
        Refusal::Signature
    );
    let mut client = Client::connect(server.address()).await;
    client
        .say(&ClientMessage::Join(alice.join("Baton.Example", unix_s())))
        .await;
    assert!(matches!(client.hear().await, ServerMessage::Welcome { .. }));
}

#[tokio::test]
async fn a_wrong_clock_is_told_the_time_and_gets_in_with_it() {
    let server = server(|_| ()).await;
    let alice = Identity::new(1, 10);
    let host = server.address().to_string();
    for wrong in [unix_s() - 86_400, unix_s() + 86_400, 0, u64::MAX] {
        let (reason, retry_ms, server_unix_s) =
            refused(server.address(), alice.join(&host, wrong)).await;
        assert_eq!((reason, retry_ms), (Refusal::Clock, Some(0)));
        assert!(server_unix_s.abs_diff(unix_s()) < 60);
        let mut client = Client::connect(server.address()).await;
        client
            .say(&ClientMessage::Join(alice.join(&host, server_unix_s)))
            .await;
        assert!(matches!(client.hear().await, ServerMessage::Welcome { .. }));
        client.say(&ClientMessage::Leave).await;
        while client.frame().await.is_some() {}
    }
}

#[tokio::test]
async fn the_same_peer_again_replaces_itself_but_a_recorded_join_does_not() {
    let server = server(|_| ()).await;
    let (alice, bob) = (Identity::new(1, 10), Identity::new(1, 11));
    let host = server.address().to_string();
    let first = alice.join(&host, unix_s());
    let mut before = Client::connect(server.address()).await;
    before.say(&ClientMessage::Join(first)).await;
    assert!(matches!(before.hear().await, ServerMessage::Welcome { .. }));
    let (reason, retry_ms, server_unix_s) = refused(server.address(), first).await;
    assert_eq!((reason, retry_ms), (Refusal::Replayed, Some(1000)));
    assert!(server_unix_s.abs_diff(unix_s()) < 60);

    let mut after = Client::connect(server.address()).await;
    after
        .say(&ClientMessage::Join(alice.join(&host, first.unix_s + 1)))
        .await;
    assert!(matches!(after.hear().await, ServerMessage::Welcome { .. }));
    assert_eq!(before.refusal().await.0, Refusal::Replaced);
    let (mut b, _) = Client::join(server.address(), &bob).await;
    b.relay(alice.peer_id(), b"hi").await;
    assert!(matches!(after.hear().await, ServerMessage::Relay { .. }));
}

/// The unit of the browser test that watches a whole film: what a server sees of two peers who find each other.
#[tokio::test]
async fn what_the_server_receives_holds_nothing_it_could_use() {
    let server = server(|_| ()).await;
    let tap = Tap::before(server.address()).await;
    let (alice, bob) = (Identity::new(1, 10), Identity::new(1, 11));
    let signalling_key = *b"the signalling key, 32 bytes....";
    let description = |setup| Description {
        session_nonce: *b"a session nonce.",
        ufrag: "UfragOfAlice".into(),
        pwd: "PasswordOfAliceForThisSession".into(),
        fingerprint: *b"the fingerprint of a certificate",
        setup,
        candidates: vec![
            IceCandidate::parse("candidate:77 1 udp 2113937151 198.51.100.77 40777 typ host")
                .unwrap()
                .unwrap(),
        ],
    };
    // Both go through the tap; the name they connect to is the tap's.
    let (mut a, _) = Client::join(tap.address, &alice).await;
    let (mut b, _) = Client::join(tap.address, &bob).await;
    let offer = Signal::Offer(description(Setup::ActPass));
    let blob = seal(
        &alice.swarm_id(),
        &bob.peer_id(),
        &signalling_key,
        &[10; 32],
        [1; 24],
        &offer,
    )
    .unwrap();
    a.relay(bob.peer_id(), &blob).await;
    let ServerMessage::Relay { from, blob } = b.hear().await else {
        panic!("not a relay")
    };
    let route = Route {
        swarm: alice.swarm_id(),
        from,
        to: bob.peer_id(),
    };
    assert_eq!(open(&route, &signalling_key, None, &blob).unwrap(), offer);
    let answer = Signal::Answer {
        offer_nonce: *b"a session nonce.",
        description: description(Setup::Active),
    };
    let blob = seal(
        &alice.swarm_id(),
        &alice.peer_id(),
        &signalling_key,
        &[11; 32],
        [2; 24],
        &answer,
    )
    .unwrap();
    b.relay(alice.peer_id(), &blob).await;
    let ServerMessage::Relay { from, blob } = a.hear().await else {
        panic!("not a relay")
    };
    let route = Route {
        swarm: alice.swarm_id(),
        from,
        to: alice.peer_id(),
    };
    assert_eq!(
        open(&route, &signalling_key, Some(b"a session nonce."), &blob).unwrap(),
        answer
    );

    let received = tap.received();
    let holds = |part: &[u8]| received.windows(part.len()).any(|window| window == part);
    assert!(
        holds(&alice.swarm_id()) && holds(&bob.peer_id()),
        "the tap sees what a server may see"
    );
    let secrets: [&[u8]; 14] = [
        &signalling_key,
        &[1; 32],
        &[10; 32],
        &[11; 32],
        b"UfragOfAlice",
        b"PasswordOfAlice",
        b"the fingerprint of a certificate",
        b"74:68:65:20",
        b"a session nonce.",
        b"198.51.100.77",
        &[198, 51, 100, 77],
        b"40777",
        // Two bytes alone are in random ones now and then.
        b"\r\na=",
        b"candidate",
    ];
    for secret in secrets {
        assert!(!holds(secret), "{secret:02x?}");
    }
}
