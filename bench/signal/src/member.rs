//! A peer in a swarm, in the words of our server or in those of WebTorrent's trackers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use baton_signal_protocol::{Candidate, ClientMessage, Join, SUBPROTOCOL, ServerMessage};
use ed25519_dalek::{Signer, SigningKey};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// What a server understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    Baton,
    Tracker,
}

/// One connection that has joined.
pub struct Member {
    socket: WebSocketStream<TcpStream>,
    words: Words,
    swarm: u32,
    number: u32,
    /// Its name: not made anew while something is measured.
    peer: [u8; 32],
}

impl Member {
    /// Connects and joins, as the peer of that number in the swarm of that number.
    pub async fn join(port: u16, words: Words, swarm: u32, number: u32) -> Result<Member> {
        let mut member = Member {
            socket: connect(port, words, None).await?,
            words,
            swarm,
            number,
            peer: peer_key(swarm, number).verifying_key().to_bytes(),
        };
        match words {
            Words::Baton => {
                let join = signed(port, swarm, number);
                member.enter(&join).await?;
            }
            Words::Tracker => {
                let mut announce = member.announce();
                announce["event"] = "started".into();
                member.say_json(announce).await?;
                // Its answer, by which it is in.
                member.next().await?;
            }
        }
        Ok(member)
    }

    /// Connects, and joins by a Join that was signed before; whom the server named. A proxy that is
    /// trusted says that it comes from `address`.
    pub async fn join_by(
        port: u16,
        swarm: u32,
        number: u32,
        join: &ClientMessage,
        address: &str,
    ) -> Result<(Member, Vec<Candidate>, Duration)> {
        let mut member = Member {
            socket: connect(port, Words::Baton, Some(address)).await?,
            words: Words::Baton,
            swarm,
            number,
            peer: peer_key(swarm, number).verifying_key().to_bytes(),
        };
        let began = std::time::Instant::now();
        let candidates = member.enter(join).await?;
        Ok((member, candidates, began.elapsed()))
    }

    async fn enter(&mut self, join: &ClientMessage) -> Result<Vec<Candidate>> {
        self.send(Message::Binary(join.encode().into())).await?;
        match ServerMessage::decode(&self.next().await?)? {
            ServerMessage::Welcome { candidates, .. } => Ok(candidates),
            other => bail!("instead of Welcome: {other:?}"),
        }
    }

    /// Says something of our own protocol, or bytes that are nothing of it.
    pub async fn say(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.send(Message::Binary(bytes.into())).await
    }

    /// Its name.
    pub fn peer(&self) -> [u8; 32] {
        self.peer
    }

    /// Sends a numbered offer to a neighbour. A tracker picks one by itself: there is only one.
    pub async fn offer(&mut self, to: &Member, number: u64) -> Result<()> {
        self.relay(to, number, true).await
    }

    /// Answers an offer of that number.
    pub async fn answer(&mut self, to: &Member, number: u64) -> Result<()> {
        self.relay(to, number, false).await
    }

    async fn relay(&mut self, to: &Member, number: u64, offer: bool) -> Result<()> {
        match self.words {
            Words::Baton => {
                let mut blob = vec![0x5a; PAYLOAD];
                blob[..8].copy_from_slice(&number.to_le_bytes());
                let relay = ClientMessage::Relay {
                    to: to.peer(),
                    blob,
                };
                self.send(Message::Binary(relay.encode().into())).await
            }
            Words::Tracker => {
                let sdp = "Z".repeat(PAYLOAD);
                let id = format!("{number:020}");
                let mut announce = self.announce();
                if offer {
                    let description = json!({"type": "offer", "sdp": sdp});
                    announce["numwant"] = 1.into();
                    announce["offers"] = json!([{"offer_id": id, "offer": description}]);
                } else {
                    announce["answer"] = json!({"type": "answer", "sdp": sdp});
                    announce["to_peer_id"] = tracker_peer(to.number).into();
                    announce["offer_id"] = id.into();
                }
                self.say_json(announce).await
            }
        }
    }

    /// Waits for the offer or answer of that number; everything else is not listened to.
    pub async fn hear(&mut self, number: u64) -> Result<()> {
        loop {
            let message = self.next().await?;
            let heard = match self.words {
                Words::Baton => match ServerMessage::decode(&message)? {
                    ServerMessage::Relay { blob, .. } => {
                        blob.first_chunk().map(|it| u64::from_le_bytes(*it))
                    }
                    ServerMessage::Alive => None,
                    other => bail!("instead of Relay: {other:?}"),
                },
                Words::Tracker => offer_id(&message),
            };
            if heard == Some(number) {
                return Ok(());
            }
        }
    }

    fn announce(&self) -> serde_json::Value {
        json!({
            "action": "announce",
            "info_hash": format!("{:020}", self.swarm),
            "peer_id": tracker_peer(self.number),
            "uploaded": 0,
            "downloaded": 0,
            "left": 1,
        })
    }

    async fn say_json(&mut self, value: serde_json::Value) -> Result<()> {
        self.send(Message::text(value.to_string())).await
    }

    async fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.socket.send(message).await?)
    }

    async fn next(&mut self) -> Result<Bytes> {
        loop {
            let message = timeout(PATIENCE, self.socket.next())
                .await
                .context("the server says nothing")?
                .context("the server closed")??;
            if message.is_binary() || message.is_text() {
                return Ok(message.into_data());
            }
        }
    }
}

/// A Join that is good for this server now.
pub fn signed(port: u16, swarm: u32, number: u32) -> ClientMessage {
    let (swarm_key, peer_key) = (swarm_key(swarm), peer_key(swarm, number));
    let unix_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    ClientMessage::Join(Join::new(
        &format!("127.0.0.1:{port}"),
        unix_s,
        swarm_key.verifying_key().to_bytes(),
        peer_key.verifying_key().to_bytes(),
        |bytes| swarm_key.sign(bytes).to_bytes(),
        |bytes| peer_key.sign(bytes).to_bytes(),
    ))
}

pub fn swarm_key(swarm: u32) -> SigningKey {
    let mut seed = [1; 32];
    seed[..4].copy_from_slice(&swarm.to_le_bytes());
    SigningKey::from_bytes(&seed)
}

fn peer_key(swarm: u32, number: u32) -> SigningKey {
    let mut seed = [2; 32];
    seed[..4].copy_from_slice(&swarm.to_le_bytes());
    seed[4..8].copy_from_slice(&number.to_le_bytes());
    SigningKey::from_bytes(&seed)
}

async fn connect(
    port: u16,
    words: Words,
    address: Option<&str>,
) -> Result<WebSocketStream<TcpStream>> {
    let (path, protocol) = match words {
        Words::Baton => ("/ws", Some(SUBPROTOCOL)),
        Words::Tracker => ("/", None),
    };
    let mut request = format!("ws://127.0.0.1:{port}{path}").into_client_request()?;
    if let Some(protocol) = protocol {
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", protocol.parse()?);
    }
    if let Some(address) = address {
        let headers = request.headers_mut();
        headers.insert("x-forwarded-for", address.parse()?);
    }
    let stream = timeout(PATIENCE, TcpStream::connect(("127.0.0.1", port))).await??;
    stream.set_nodelay(true)?;
    Ok(timeout(PATIENCE, client_async(request, stream)).await??.0)
}

/// Twenty characters, as trackers want them.
fn tracker_peer(number: u32) -> String {
    format!("-BT0001-{number:012}")
}

/// Without parsing all of it: the load must not cost more than what it loads.
fn offer_id(message: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(message).ok()?;
    let (_, rest) = text.split_once("\"offer_id\":\"")?;
    rest.get(..20)?.parse().ok()
}

/// Bytes of what is relayed: as a sealed description with its candidates.
const PAYLOAD: usize = 700;
const PATIENCE: Duration = Duration::from_secs(30);
