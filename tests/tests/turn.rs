//! The server's own relay, over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use baton_signal_server::{Config, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// Asks by TCP where it comes from; whether there was an answer before the connection ended.
async fn is_answered(stream: &mut TcpStream) -> bool {
    // STUN's Binding (RFC 8489).
    let question = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    let mut answer = [0; 20];
    let asked = async {
        stream.write_all(&question).await?;
        stream.read_exact(&mut answer).await?;
        // The rest of it: its length is in the head.
        let len = usize::from(u16::from_be_bytes([answer[2], answer[3]]));
        stream.read_exact(&mut vec![0; len]).await
    };
    let asked = timeout(PATIENCE, asked).await.expect("an answer or an end");
    asked.is_ok() && answer[..2] == [1, 1]
}

async fn connect(relay: SocketAddr) -> TcpStream {
    TcpStream::connect(relay).await.expect("it listens")
}

#[tokio::test]
async fn one_address_has_no_more_connections_to_the_relay_than_its_share() {
    let mut config = Config::local();
    config.turn.turn_listen = Some("127.0.0.1:0".parse().expect("an address"));
    config.turn.turn_allocations_per_address = 2;
    let server = Server::bind(config).await.expect("free ports");
    let relay = server.turn_address().expect("it relays");
    let _running = server.start();
    let (mut one, mut two) = (connect(relay).await, connect(relay).await);
    assert!(is_answered(&mut one).await && is_answered(&mut two).await);
    assert!(!is_answered(&mut connect(relay).await).await);
    assert!(is_answered(&mut one).await && is_answered(&mut two).await);
    drop(one);
    // Its place can be had again, as soon as the server has noticed.
    while !is_answered(&mut connect(relay).await).await {}
    assert!(is_answered(&mut two).await);
}
