//! A small signalling client that does what it is told, good or bad.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use baton_signal_protocol::{
    Candidate, ClientMessage, Join, PeerId, Refusal, SUBPROTOCOL, ServerMessage, SwarmId,
};
use baton_signal_server::{Config, Running, Server};
use ed25519_dalek::{Signer, SigningKey};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A real server on a free port of this computer.
pub async fn server(change: impl FnOnce(&mut Config)) -> Running {
    let mut config = Config::local();
    change(&mut config);
    Server::bind(config).await.expect("a free port").start()
}

/// Who joins what.
#[derive(Clone)]
pub struct Identity {
    pub swarm: SigningKey,
    pub peer: SigningKey,
}

impl Identity {
    pub fn new(swarm: u8, peer: u8) -> Self {
        Self {
            swarm: SigningKey::from_bytes(&[swarm; 32]),
            peer: SigningKey::from_bytes(&[peer; 32]),
        }
    }

    pub fn swarm_id(&self) -> SwarmId {
        self.swarm.verifying_key().to_bytes()
    }

    pub fn peer_id(&self) -> PeerId {
        self.peer.verifying_key().to_bytes()
    }

    pub fn join(&self, host: &str, unix_s: u64) -> Join {
        let (swarm, peer) = (
            |b: &[u8]| self.swarm.sign(b).to_bytes(),
            |b: &[u8]| self.peer.sign(b).to_bytes(),
        );
        let mut join = Join::new(host, unix_s, self.swarm_id(), self.peer_id(), swarm, peer);
        join.completeness_permille = 1000;
        join.free_slots = 4;
        join
    }
}

pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub address: SocketAddr,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &[])
            .await
            .expect("the server lets us in")
    }

    pub async fn connect_with(
        address: SocketAddr,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Error> {
        let mut request = format!("ws://{address}/ws").into_client_request()?;
        request.headers_mut().insert(
            "sec-websocket-protocol",
            SUBPROTOCOL.parse().expect("a token"),
        );
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(*name, value.parse().expect("a header value"));
        }
        let (socket, _) = connect_async(request).await?;
        Ok(Self { socket, address })
    }

    /// Connects and joins; returns whom the server names.
    pub async fn join(address: SocketAddr, identity: &Identity) -> (Self, Vec<Candidate>) {
        Self::connect(address)
            .await
            .enter(identity, unix_s())
            .await
            .unwrap_or_else(|other| panic!("instead of Welcome: {other:?}"))
    }

    /// Joins on this connection with a Join of that second; what else than Welcome came, if so.
    pub async fn enter(
        mut self,
        identity: &Identity,
        unix_s: u64,
    ) -> Result<(Self, Vec<Candidate>), ServerMessage> {
        let host = self.address.to_string();
        self.say(&ClientMessage::Join(identity.join(&host, unix_s)))
            .await;
        match self.hear().await {
            ServerMessage::Welcome { candidates, .. } => Ok((self, candidates)),
            other => Err(other),
        }
    }

    /// Asks for candidates. Whatever else comes first is lost.
    pub async fn more(&mut self) -> Vec<Candidate> {
        self.say(&ClientMessage::More).await;
        loop {
            if let ServerMessage::Candidates(candidates) = self.hear().await {
                return candidates;
            }
        }
    }

    /// Asks for candidates again and again, until they are as they should be.
    pub async fn more_until(&mut self, good: impl Fn(&[Candidate]) -> bool) -> Vec<Candidate> {
        loop {
            let candidates = self.more().await;
            if good(&candidates) {
                return candidates;
            }
        }
    }

    pub async fn say(&mut self, message: &ClientMessage) {
        self.send(Message::Binary(message.encode().into())).await;
    }

    /// Sends even what is no message. Errors are for `hear` to find.
    pub async fn send(&mut self, message: Message) {
        let _ = self.socket.send(message).await;
    }

    pub async fn relay(&mut self, to: PeerId, blob: &[u8]) {
        self.say(&ClientMessage::Relay {
            to,
            blob: blob.to_vec(),
        })
        .await;
    }

    /// The next message but Alive.
    pub async fn hear(&mut self) -> ServerMessage {
        loop {
            match self.next().await {
                Some(ServerMessage::Alive) => {}
                Some(message) => return message,
                None => panic!("the server closed"),
            }
        }
    }

    /// Reads until the server refuses and closes; the close code comes along.
    pub async fn refusal(&mut self) -> (Refusal, Option<u32>, u64, u16) {
        let mut refusal = None;
        loop {
            match self.frame().await {
                Some(Message::Binary(bytes)) => {
                    if let Ok(ServerMessage::Refused {
                        reason,
                        retry_ms,
                        server_unix_s,
                    }) = ServerMessage::decode(&bytes)
                    {
                        refusal = Some((reason, retry_ms, server_unix_s));
                    }
                }
                Some(Message::Close(frame)) => {
                    let (reason, retry_ms, server_unix_s) =
                        refusal.expect("a reason before the close");
                    return (
                        reason,
                        retry_ms,
                        server_unix_s,
                        frame.map_or(0, |frame| frame.code.into()),
                    );
                }
                Some(_) => {}
                None => panic!("closed without a close frame, after {refusal:?}"),
            }
        }
    }

    async fn next(&mut self) -> Option<ServerMessage> {
        loop {
            match self.frame().await? {
                Message::Binary(bytes) => {
                    return Some(
                        ServerMessage::decode(&bytes).expect("the server speaks the protocol"),
                    );
                }
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// The next frame; `None` at the end.
    pub async fn frame(&mut self) -> Option<Message> {
        timeout(PATIENCE, self.socket.next())
            .await
            .expect("the server says something")
            .and_then(Result::ok)
    }
}

pub fn unix_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// Far more than anything here takes, so that only a hang runs into it.
pub const PATIENCE: Duration = Duration::from_secs(30);
