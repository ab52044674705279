//! What the server does with clients that misbehave, and that nobody else notices.

use std::net::SocketAddr;
use std::time::Duration;

use baton_signal_protocol::*;
use baton_signal_server::{Config, Running};
use baton_tests::http::{get, request};
use baton_tests::signalling::{Client, Identity, PATIENCE, server, unix_s};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Two peers who go on talking whatever others do.
struct Bystanders {
    alice: (Client, PeerId),
    bob: (Client, PeerId),
}

impl Bystanders {
    async fn meet(server: &Running) -> Self {
        let (alice, bob) = (Identity::new(200, 201), Identity::new(200, 202));
        let a = Client::join(server.address(), &alice).await.0;
        let b = Client::join(server.address(), &bob).await.0;
        Self {
            alice: (a, alice.peer_id()),
            bob: (b, bob.peer_id()),
        }
    }

    async fn are_undisturbed(&mut self) {
        self.alice.0.relay(self.bob.1, b"ping").await;
        assert_eq!(
            self.bob.0.hear().await,
            ServerMessage::Relay {
                from: self.alice.1,
                blob: b"ping".to_vec()
            }
        );
        self.bob.0.relay(self.alice.1, b"pong").await;
        assert_eq!(
            self.alice.0.hear().await,
            ServerMessage::Relay {
                from: self.bob.1,
                blob: b"pong".to_vec()
            }
        );
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused_with_its_reason_and_disturbs_nobody() {
    let server = server(|_| ()).await;
    let mut bystanders = Bystanders::meet(&server).await;
    let join = |peer: u8| {
        ClientMessage::Join(Identity::new(1, peer).join(&server.address().to_string(), unix_s()))
            .encode()
    };
    let binary = |bytes: Vec<u8>| Message::Binary(bytes.into());
    let relay = |len| {
        ClientMessage::Relay {
            to: [0; 32],
            blob: vec![0; len],
        }
        .encode()
    };
    let mut other_version = join(1);
    other_version[1] = 9;
    let cases: [(&str, Vec<Message>, Refusal, u16); 14] = [
        (
            "text",
            vec![Message::text("{\"join\":true}")],
            Refusal::NotBinary,
            1003,
        ),
        (
            "text after joining",
            vec![binary(join(2)), Message::text("hi")],
            Refusal::NotBinary,
            1003,
        ),
        ("nothing", vec![binary(vec![])], Refusal::Malformed, 1002),
        (
            "garbage",
            vec![binary(vec![0xff; 100])],
            Refusal::Malformed,
            1002,
        ),
        (
            "a join cut off",
            vec![binary(join(3)[..150].to_vec())],
            Refusal::Malformed,
            1002,
        ),
        (
            "garbage after joining",
            vec![binary(join(4)), binary(vec![1, 2, 3])],
            Refusal::Malformed,
            1002,
        ),
        (
            "another version",
            vec![binary(other_version)],
            Refusal::Version,
            1008,
        ),
        (
            "a relay before joining",
            vec![binary(relay(10))],
            Refusal::Order,
            1008,
        ),
        (
            "more before joining",
            vec![binary(vec![2])],
            Refusal::Order,
            1008,
        ),
        (
            "a second join",
            vec![binary(join(5)), binary(join(5))],
            Refusal::Order,
            1008,
        ),
        (
            "a blob that is too long",
            vec![binary(join(6)), binary(relay(BLOB_MAX + 1))],
            Refusal::TooLarge,
            1009,
        ),
        (
            "a message that is too long",
            vec![binary(join(7)), binary(vec![1; CLIENT_MESSAGE_MAX + 1])],
            Refusal::TooLarge,
            1009,
        ),
        (
            "a megabyte before joining",
            vec![binary(vec![0; 1 << 20])],
            Refusal::TooLarge,
            1009,
        ),
        (
            "a length that lies",
            vec![
                binary(join(8)),
                binary([vec![1; 33], vec![0xff; 9], vec![1]].concat()),
            ],
            Refusal::Malformed,
            1002,
        ),
    ];
    for (what, messages, reason, code) in cases {
        let mut client = Client::connect(server.address()).await;
        for message in messages {
            client.send(message).await;
        }
        let (refused, _, _, closed) = client.refusal().await;
        assert_eq!((refused, closed), (reason, code), "{what}");
        bystanders.are_undisturbed().await;
    }
}

/// A WebSocket as raw bytes, after its upgrade.
async fn raw_socket(address: SocketAddr) -> TcpStream {
    upgraded(address, "").await.0
}

/// A WebSocket whose frames are written by hand, asked for with these headers too; and the answer.
async fn upgraded(address: SocketAddr, headers: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let upgrade = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{headers}\r\n"
    );
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    (stream, String::from_utf8(head).unwrap())
}

/// Reads to the end of a raw socket: the refusal and the close code, if they came.
async fn last_words(stream: &mut TcpStream) -> (Option<Refusal>, Option<u16>) {
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("it ends");
    let (mut reason, mut code, mut rest) = (None, None, &answer[..]);
    // The server's frames are short and not masked.
    while let [kind, len, more @ ..] = rest {
        let (payload, after) = more.split_at(usize::from(*len));
        match (kind, ServerMessage::decode(payload)) {
            (0x82, Ok(ServerMessage::Refused { reason: why, .. })) => reason = Some(why),
            (0x88, _) => {
                code = payload
                    .first_chunk()
                    .map(|bytes| u16::from_be_bytes(*bytes))
            }
            _ => {}
        }
        rest = after;
    }
    (reason, code)
}

#[tokio::test]
async fn frames_that_break_the_websocket_protocol_are_refused_and_disturb_nobody() {
    let server = server(|_| ()).await;
    let mut bystanders = Bystanders::meet(&server).await;
    let malformed = (Some(Refusal::Malformed), Some(1002));
    let too_large = (Some(Refusal::TooLarge), Some(1009));
    let cases: [(&str, &[u8], _); 6] = [
        ("not masked", b"\x82\x03abc", malformed),
        ("a reserved opcode", b"\x83\x80\0\0\0\0", malformed),
        (
            "reserved bits, as a compressed frame has",
            b"\xf2\x80\0\0\0\0",
            malformed,
        ),
        ("a continuation of nothing", b"\x80\x80\0\0\0\0", malformed),
        (
            "nine exabytes",
            b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
            too_large,
        ),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n", malformed),
    ];
    let broken = cases.map(|(what, frame, expected)| {
        let address = server.address();
        tokio::spawn(async move {
            let mut stream = raw_socket(address).await;
            stream.write_all(frame).await.unwrap();
            assert_eq!(last_words(&mut stream).await, expected, "{what}");
        })
    });
    bystanders.are_undisturbed().await;
    for connection in broken {
        connection.await.unwrap();
    }
    bystanders.are_undisturbed().await;
}

#[tokio::test]
async fn no_compression_is_agreed_however_much_it_is_asked_for() {
    let server = server(|_| ()).await;
    let asked = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
    let (_socket, head) = upgraded(server.address(), asked).await;
    assert!(!head.to_lowercase().contains("extensions"), "{head}");
}

#[tokio::test]
async fn one_address_gets_no_more_than_its_share_of_plain_connections() {
    let server = server(|config| {
        config.limits.http_connections_per_address = 3;
        config.trusted_proxies = vec!["127.0.0.2".parse().unwrap()];
    })
    .await;
    let connect = async |from: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        socket.connect(server.address()).await.unwrap()
    };
    let is_served = async |stream: &mut TcpStream| {
        let _ = stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            .await;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.is_ok() && status == *b"HTTP/1.1 200"
    };
    // Held open, half a request each.
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = connect("127.0.0.1").await;
        assert!(is_served(&mut stream).await);
        held.push(stream);
    }
    assert!(!is_served(&mut connect("127.0.0.1").await).await);
    assert!(
        is_served(&mut connect("127.0.0.3").await).await,
        "others have theirs"
    );
    let mut through_proxy = Vec::new();
    for _ in 0..4 {
        let mut stream = connect("127.0.0.2").await;
        assert!(is_served(&mut stream).await, "a proxy is not one visitor");
        through_proxy.push(stream);
    }
    // A WebSocket is no plain connection any more.
    held.clear();
    while !is_served(&mut connect("127.0.0.1").await).await {}
    let mut sockets = Vec::new();
    for peer in 1..=5 {
        sockets.push(Client::join(server.address(), &Identity::new(1, peer)).await);
    }
}

#[tokio::test]
async fn beyond_all_places_a_connection_hears_when_to_come_back() {
    let server = server(|config| config.limits.http_connections_max = 1).await;
    let mut first = TcpStream::connect(server.address()).await.unwrap();
    first
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(first.read_u8().await.unwrap(), b'H');
    let mut second = TcpStream::connect(server.address()).await.unwrap();
    let mut answer = String::new();
    second.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: "),
        "{answer}"
    );
}

#[tokio::test]
async fn an_address_opens_so_many_websockets_a_second_and_goes_on_later() {
    let server = server(|config| {
        config.limits.joins_burst = 5;
        config.limits.joins_per_second = 1;
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let connect = async |from: &str| {
        let client = Client::connect_with(server.address(), &[("x-forwarded-for", from)]).await;
        client.expect("the upgrade is never refused")
    };
    // Each leaves at once: not that many are open is refused, but that they come so fast.
    let identity = Identity::new(1, 1);
    let refused = loop {
        let mut client = connect("192.0.2.1").await;
        let join = identity.join(&server.address().to_string(), unix_s());
        client.say(&ClientMessage::Join(join)).await;
        match client.hear().await {
            ServerMessage::Refused {
                reason: Refusal::Replayed,
                ..
            }
            | ServerMessage::Welcome { .. } => {}
            other => break other,
        }
    };
    let ServerMessage::Refused {
        reason, retry_ms, ..
    } = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(reason, Refusal::TooFast);
    assert!(retry_ms.is_some());
    let other = connect("192.0.2.2")
        .await
        .enter(&Identity::new(1, 2), unix_s())
        .await;
    assert!(other.is_ok());
}

#[tokio::test]
async fn parts_of_messages_are_read_no_faster_than_messages_and_disturb_nobody() {
    let server = server(|config| config.limits.messages_per_second = 1).await;
    let mut bystanders = Bystanders::meet(&server).await;
    let mut stream = raw_socket(server.address()).await;
    // A message that never ends, in parts of nothing.
    stream.write_all(b"\x02\x80\0\0\0\0").await.unwrap();
    let parts = b"\0\x80\0\0\0\0".repeat(10_000);
    let (mut sent, patience) = (0, Duration::from_secs(5));
    loop {
        let more = stream.write(&parts[sent % 6..]);
        let Ok(count) = tokio::time::timeout(patience, more).await else {
            break;
        };
        sent += count.expect("nothing is wrong with what is sent");
        // What the kernel takes and what is read at once are far less.
        assert!(sent < 16 << 20, "all of it is read");
    }
    bystanders.are_undisturbed().await;
}

#[tokio::test]
async fn who_is_refused_a_place_may_read_why_but_not_sit_there_by_the_hundred() {
    let server = server(|config| {
        config.limits.connections_per_address = 1;
        config.limits.linger = Duration::from_secs(3600);
    })
    .await;
    let mut bystander = Client::join(server.address(), &Identity::new(1, 1)).await.0;
    // These read why and stay; the server waits for their goodbyes.
    let mut sitting = Vec::new();
    for _ in 0..16 {
        let mut stream = raw_socket(server.address()).await;
        let mut first = [0; 2];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(first[0], 0x82, "a reason");
        sitting.push(stream);
    }
    // These do not say goodbye either, and are closed all the same, with their reason.
    for _ in 0..4 {
        let mut stream = raw_socket(server.address()).await;
        let expected = (Some(Refusal::AddressConnections), Some(1013));
        assert_eq!(last_words(&mut stream).await, expected);
    }
    bystander.say(&ClientMessage::More).await;
    assert!(matches!(
        bystander.hear().await,
        ServerMessage::Candidates(_)
    ));
}

#[tokio::test]
async fn who_floods_on_after_a_refusal_is_not_read_for_ever() {
    let server = server(|config| {
        config.limits.messages_burst = 100;
        config.limits.messages_per_second = 1;
        config.limits.linger = Duration::from_secs(3600);
    })
    .await;
    let mut stream = raw_socket(server.address()).await;
    let ping = b"\x89\x80\0\0\0\0";
    let flooding = async { while stream.write_all(ping).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, flooding)
        .await
        .expect("the server closes");
}

#[tokio::test]
async fn a_flood_is_cut_off_and_disturbs_nobody() {
    let server = server(|config| {
        (
            config.limits.messages_burst,
            config.limits.messages_per_second,
        ) = (100, 10)
    })
    .await;
    let mut bystanders = Bystanders::meet(&server).await;
    let (mut flooder, _) = Client::join(server.address(), &Identity::new(1, 1)).await;
    for _ in 0..150 {
        flooder
            .say(&ClientMessage::Report(Report {
                completeness_permille: 1,
                free_slots: 1,
                spare_upload_kbit: 1,
            }))
            .await;
    }
    let (reason, retry_ms, _, code) = flooder.refusal().await;
    assert_eq!((reason, code), (Refusal::TooFast, 1008));
    assert!(retry_ms.is_some_and(|ms| (10_000..15_000).contains(&ms)));
    bystanders.are_undisturbed().await;

    let (mut pinger, _) = Client::join(server.address(), &Identity::new(1, 2)).await;
    for _ in 0..150 {
        pinger.send(Message::Ping(vec![].into())).await;
    }
    assert_eq!(
        pinger.refusal().await.0,
        Refusal::TooFast,
        "pings are messages too"
    );
    bystanders.are_undisturbed().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_and_its_sender_goes_on() {
    let server = server(|config| {
        (
            config.limits.messages_burst,
            config.limits.messages_per_second,
        ) = (1_000_000, 1_000_000);
        config.limits.send_timeout = Duration::from_millis(100);
    })
    .await;
    let mut bystanders = Bystanders::meet(&server).await;
    let (sleeper, sender) = (Identity::new(1, 1), Identity::new(1, 2));
    let (_asleep, _) = Client::join(server.address(), &sleeper).await;
    let (mut awake, _) = Client::join(server.address(), &sender).await;
    let blob = [7; BLOB_MAX];
    // The kernel's buffers hold a few megabytes; then a write takes too long.
    loop {
        for _ in 0..16 {
            awake.relay(sleeper.peer_id(), &blob).await;
        }
        awake.say(&ClientMessage::More).await;
        let named = loop {
            match awake.hear().await {
                ServerMessage::Candidates(named) => break named,
                other => assert!(matches!(other, ServerMessage::Gone { .. })),
            }
        };
        if named.is_empty() {
            break;
        }
    }
    bystanders.are_undisturbed().await;
    let metrics = String::from_utf8(get(server.address(), "/metrics").await.body).unwrap();
    assert!(
        metrics.contains("baton_peers 3\n") && metrics.contains("reason=\"too-slow\"} 1\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_burst_at_one_peer_costs_the_sender_its_own_messages_and_its_victim_nothing() {
    let server = server(|config| {
        config.limits.messages_burst = 100_000;
        config.limits.messages_per_second = 100_000;
        config.limits.queue_messages = 64;
        config.limits.queue_messages_per_sender = 8;
    })
    .await;
    let (victim, flooder, friend) = (
        Identity::new(1, 1),
        Identity::new(1, 2),
        Identity::new(1, 3),
    );
    let (mut v, _) = Client::join(server.address(), &victim).await;
    let (mut f, _) = Client::join(server.address(), &flooder).await;
    let (mut friendly, _) = Client::join(server.address(), &friend).await;
    // The victim does not read meanwhile, until its queue is at the flooder's limit.
    let mut dropped = 0;
    while dropped == 0 {
        for _ in 0..64 {
            f.relay(victim.peer_id(), &[7; BLOB_MAX]).await;
        }
        f.say(&ClientMessage::More).await;
        loop {
            match f.hear().await {
                ServerMessage::Gone { .. } => dropped += 1,
                ServerMessage::Candidates(named) => {
                    assert!(
                        named.iter().any(|it| it.peer == victim.peer_id()),
                        "it stays"
                    );
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    friendly.relay(victim.peer_id(), b"hello").await;
    friendly.say(&ClientMessage::More).await;
    assert!(
        matches!(friendly.hear().await, ServerMessage::Candidates(_)),
        "others are heard in spite of the flood"
    );
    let hello = ServerMessage::Relay {
        from: friend.peer_id(),
        blob: b"hello".to_vec(),
    };
    while v.hear().await != hello {}
    v.relay(friend.peer_id(), b"well").await;
    assert!(matches!(friendly.hear().await, ServerMessage::Relay { .. }));
}

#[tokio::test]
async fn who_does_not_join_is_sent_away() {
    let server = server(|config| config.limits.join_timeout = Duration::from_millis(100)).await;
    let mut idle = Client::connect(server.address()).await;
    assert_eq!(idle.refusal().await.0, Refusal::Idle);
}

#[tokio::test]
async fn who_shows_no_sign_of_life_is_forgotten() {
    let server = server(|config| config.limits.keepalive = Duration::from_millis(200)).await;
    let (dead, alive) = (Identity::new(1, 1), Identity::new(1, 2));
    // Open, but nobody reads and so nobody answers a ping.
    let (_half_open, _) = Client::join(server.address(), &dead).await;
    let (mut living, met) = Client::join(server.address(), &alive).await;
    assert_eq!(met.len(), 1);
    loop {
        // Reading answers the server's pings, and nothing but Alive comes of itself.
        assert!(matches!(
            living.frame().await,
            Some(Message::Ping(_) | Message::Binary(_))
        ));
        living.say(&ClientMessage::More).await;
        let named = loop {
            match living.frame().await.expect("the living stay") {
                Message::Binary(bytes) => match ServerMessage::decode(&bytes).unwrap() {
                    ServerMessage::Candidates(named) => break named,
                    other => assert_eq!(other, ServerMessage::Alive),
                },
                other => assert!(matches!(other, Message::Ping(_))),
            }
        };
        if named.is_empty() {
            break;
        }
    }
}

#[tokio::test]
async fn one_address_gets_no_more_than_its_share() {
    let server = server(|config| {
        (
            config.limits.connections_per_address,
            config.limits.swarms_per_address,
        ) = (3, 2)
    })
    .await;
    let _first = Client::join(server.address(), &Identity::new(1, 1)).await;
    let second = Client::join(server.address(), &Identity::new(2, 2)).await;
    let mut third = Client::connect(server.address()).await;
    let (reason, retry_ms, _, code) = Client::connect(server.address()).await.refusal().await;
    assert_eq!((reason, code), (Refusal::AddressConnections, 1013));
    assert!(retry_ms.is_some_and(|ms| ms >= 30_000));
    third
        .say(&ClientMessage::Join(
            Identity::new(3, 3).join(&server.address().to_string(), unix_s()),
        ))
        .await;
    assert_eq!(third.refusal().await.0, Refusal::AddressSwarms);
    drop(third);

    let (mut leaving, _) = second;
    leaving.say(&ClientMessage::Leave).await;
    while leaving.frame().await.is_some() {}
    // What was given back can be had again.
    Client::join(server.address(), &Identity::new(3, 3)).await;
}

#[tokio::test]
async fn a_full_server_and_a_full_swarm_say_so() {
    let server =
        server(|config| (config.limits.connections_max, config.limits.swarm_peers_max) = (3, 1))
            .await;
    let _first = Client::join(server.address(), &Identity::new(1, 1)).await;
    let mut second = Client::connect(server.address()).await;
    second
        .say(&ClientMessage::Join(
            Identity::new(1, 2).join(&server.address().to_string(), unix_s()),
        ))
        .await;
    assert_eq!(second.refusal().await.0, Refusal::SwarmFull);
    let _third = Client::connect(server.address()).await;
    let mut fourth = Client::connect(server.address()).await;
    assert_eq!(fourth.refusal().await.0, Refusal::ServerFull);
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_and_nobody_else() {
    let trusting = server(|config| {
        config.limits.connections_per_address = 1;
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let from = async |address: &str| {
        Client::connect_with(trusting.address(), &[("x-forwarded-for", address)])
            .await
            .unwrap()
    };
    let _first = from("203.0.113.1").await;
    assert_eq!(
        from("192.0.2.9, 203.0.113.1").await.refusal().await.0,
        Refusal::AddressConnections
    );
    let _second = from("203.0.113.2").await;

    let wary = server(|config| config.limits.connections_per_address = 1).await;
    let from = async |address: &str| {
        Client::connect_with(wary.address(), &[("x-forwarded-for", address)])
            .await
            .unwrap()
    };
    let _first = from("203.0.113.1").await;
    assert_eq!(
        from("203.0.113.2").await.refusal().await.0,
        Refusal::AddressConnections
    );
}

#[tokio::test]
async fn foreign_pages_may_not_use_the_websocket() {
    let server =
        server(|config: &mut Config| config.allow_origins = vec!["https://friend.example".into()])
            .await;
    let own = format!("http://{}", server.address());
    for welcome in [own.as_str(), "https://friend.example"] {
        assert!(
            Client::connect_with(server.address(), &[("origin", welcome)])
                .await
                .is_ok(),
            "{welcome}"
        );
    }
    for foreign in [
        "https://evil.example",
        "null",
        "http://127.0.0.1",
        "https://friend.example.evil.example",
    ] {
        match Client::connect_with(server.address(), &[("origin", foreign)]).await {
            Err(Error::Http(answer)) => assert_eq!(answer.status(), 403, "{foreign}"),
            Err(other) => panic!("{foreign}: {other}"),
            Ok(_) => panic!("{foreign} was let in"),
        }
    }
}

#[tokio::test]
async fn a_download_under_way_is_finished_before_the_server_stops() {
    const SIZE: usize = 32 << 20;
    let web = tempfile::tempdir().unwrap();
    std::fs::write(web.path().join("index.html"), "page").unwrap();
    std::fs::write(web.path().join("large.bin"), vec![7; SIZE]).unwrap();
    let server = server(|config| {
        config.web = Some(web.path().to_owned());
        config.limits.grace = Duration::from_secs(60);
    })
    .await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let request = "GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    // More than what lies in the kernel's buffers is still to come.
    stream.read_u8().await.unwrap();
    let mut stopping = tokio::spawn(server.shut_down());
    let soon = Duration::from_millis(200);
    assert!(tokio::time::timeout(soon, &mut stopping).await.is_err());
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() > SIZE, "{}", rest.len());
    stopping.await.unwrap();
}

#[tokio::test]
async fn who_carries_nothing_reads_no_message_longer_than_a_blob() {
    for (relay, longest) in [(false, BLOB_MAX + 1024), (true, CLIENT_MESSAGE_MAX)] {
        let server = server(|config| config.relay.relay = relay).await;
        // What later versions add is passed over.
        let mut find = ClientMessage::Find { name: 1 }.encode();
        find.resize(longest, 0);
        let mut client = Client::connect(server.address()).await;
        client.send(Message::Binary(find.clone().into())).await;
        assert!(matches!(client.hear().await, ServerMessage::Found(_)));
        find.push(0);
        client.send(Message::Binary(find.into())).await;
        assert_eq!(client.refusal().await.0, Refusal::TooLarge);
    }
}

#[tokio::test]
async fn a_stopping_server_says_goodbye_and_when_to_come_back() {
    let server = server(|_| ()).await;
    let address = server.address();
    let (mut client, _) = Client::join(address, &Identity::new(1, 1)).await;
    let mut guest = Client::connect(address).await;
    let stopping = tokio::spawn(server.shut_down());
    for client in [&mut client, &mut guest] {
        assert!(matches!(
            client.hear().await,
            ServerMessage::GoingAway {
                retry_ms: 500..3000
            }
        ));
        assert!(
            matches!(client.frame().await, Some(Message::Close(Some(frame))) if u16::from(frame.code) == 1001)
        );
        assert!(client.frame().await.is_none());
    }
    stopping.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_client_that_does_not_say_goodbye_cannot_keep_the_server_from_stopping() {
    let server = server(|config| config.limits.grace = Duration::from_millis(200)).await;
    let (_silent, _) = Client::join(server.address(), &Identity::new(1, 1)).await;
    tokio::time::timeout(PATIENCE, server.shut_down())
        .await
        .expect("within the grace period");
}

#[tokio::test]
async fn a_slow_or_endless_request_gets_an_answer_or_an_end() {
    let server = server(|_| ()).await;
    let mut bystanders = Bystanders::meet(&server).await;
    let long = "a".repeat(20_000);
    assert!(matches!(
        request(server.address(), "GET", &format!("/{long}"), &[])
            .await
            .status,
        400..=431
    ));
    assert!(matches!(
        request(server.address(), "GET", "/", &[("x-long", long.as_str())])
            .await
            .status,
        400..=431
    ));
    let many = vec![("x-many", "1"); 200];
    assert!(matches!(
        request(server.address(), "GET", "/", &many).await.status,
        400..=431
    ));
    assert_eq!(get(server.address(), "/ws").await.status, 400);
    assert_eq!(
        request(server.address(), "POST", "/", &[("content-length", "0")])
            .await
            .status,
        405
    );
    // Half a request, and then nothing: the bystanders do not wait for it.
    let mut half = TcpStream::connect(server.address()).await.unwrap();
    half.write_all(b"GET / HT").await.unwrap();
    bystanders.are_undisturbed().await;
}
