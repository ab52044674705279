//! A signalling server in the wrong hands: it was given the signalling key and does with relayed blobs what it likes.
//!
//! Everything but relays goes on to a real server, so joining and candidates are as ever.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use baton_signal_protocol::blob::Kind;
use baton_signal_protocol::{ClientMessage, PeerId, SUBPROTOCOL, ServerMessage, SwarmId};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use ed25519_dalek::{Signer, SigningKey};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

/// A blob on its way.
#[derive(Clone, PartialEq, Eq)]
pub struct Post {
    pub from: PeerId,
    pub to: PeerId,
    pub blob: Vec<u8>,
}

/// What comes of a blob: whatever is delivered in its place, in order. The second argument is all that was sent before.
pub type Attack = dyn Fn(&Post, &[Post]) -> Vec<Post> + Send + Sync;

pub struct Middle {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    attack: Box<Attack>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lines: BTreeMap<PeerId, mpsc::UnboundedSender<ServerMessage>>,
    sent: Vec<Post>,
}

impl Middle {
    pub async fn before(
        server: SocketAddr,
        attack: impl Fn(&Post, &[Post]) -> Vec<Post> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            server,
            attack: Box::new(attack),
            state: Mutex::default(),
        });
        let middle = Self {
            address,
            shared: shared.clone(),
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, address, shared.clone()));
            }
        });
        middle
    }

    /// All blobs that clients sent, as they sent them.
    pub fn sent(&self) -> Vec<Post> {
        self.shared.state().sent.clone()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    fn relay(&self, post: Post) {
        let mut state = self.state();
        let deliveries = (self.attack)(&post, &state.sent);
        state.sent.push(post);
        for Post { from, to, blob } in deliveries {
            if let Some(line) = state.lines.get(&to) {
                let _ = line.send(ServerMessage::Relay { from, blob });
            }
        }
    }
}

async fn pass(client: TcpStream, own: SocketAddr, shared: Arc<Shared>) {
    #[expect(clippy::result_large_err, reason = "tungstenite's own type")]
    let select = |_: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let protocol = SUBPROTOCOL.parse().expect("a token");
        response
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        Ok(response)
    };
    let Ok(mut client) = tokio_tungstenite::accept_hdr_async(client, select).await else {
        return;
    };
    // Joins are signed for the name that the client knows.
    let mut request = format!("ws://{}/ws", shared.server)
        .into_client_request()
        .expect("a URL");
    let headers = request.headers_mut();
    headers.insert("host", own.to_string().parse().expect("a host"));
    let protocol = SUBPROTOCOL.parse().expect("a token");
    headers.insert("sec-websocket-protocol", protocol);
    let (mut server, _) = tokio_tungstenite::connect_async(request)
        .await
        .expect("the server is there");
    let (line, mut posts) = mpsc::unbounded_channel();
    let mut me = None;
    loop {
        let done = tokio::select! {
            said = client.next() => match said {
                Some(Ok(Message::Binary(bytes))) => match (ClientMessage::decode(&bytes), me) {
                    (Ok(ClientMessage::Relay { to, blob }), Some(from)) => {
                        shared.relay(Post { from, to, blob });
                        false
                    }
                    (message, _) => {
                        if let Ok(ClientMessage::Join(join)) = message {
                            me = Some(join.peer);
                            shared.state().lines.insert(join.peer, line.clone());
                        }
                        server.send(Message::Binary(bytes)).await.is_err()
                    }
                },
                Some(Ok(other)) => server.send(other).await.is_err(),
                _ => true,
            },
            said = server.next() => match said {
                Some(Ok(message)) => client.send(message).await.is_err(),
                _ => true,
            },
            Some(message) = posts.recv() => {
                client.send(Message::Binary(message.encode().into())).await.is_err()
            }
        };
        if done {
            return;
        }
    }
}

/// What the holder of the signalling key sees in a blob, and can seal again.
#[derive(Clone)]
pub struct Opened {
    pub kind: u8,
    nonce: [u8; 24],
    signature: [u8; 64],
    pub body: Vec<u8>,
}

/// The keys of whoever runs this server.
#[derive(Clone)]
pub struct Mallory {
    pub swarm: SwarmId,
    pub signalling_key: [u8; 32],
}

impl Mallory {
    pub fn open(&self, post: &Post) -> Opened {
        let kind = post.blob[0];
        let nonce: [u8; 24] = post.blob[1..25].try_into().expect("24 bytes");
        let mut inner = post.blob[25..].to_vec();
        XChaCha20Poly1305::new((&self.signalling_key).into())
            .decrypt_in_place((&nonce).into(), &self.associated(kind, post), &mut inner)
            .expect("clients seal under the signalling key");
        let (signature, body) = inner.split_first_chunk().expect("signed");
        Opened {
            kind,
            nonce,
            signature: *signature,
            body: body.to_vec(),
        }
    }

    /// The blob with another fingerprint in it: once with the signature that it had, once signed by a key of Mallory's own.
    ///
    /// Nothing for a blob that has no fingerprint.
    pub fn swap_fingerprint(&self, post: &Post) -> Vec<Post> {
        let mut opened = self.open(post);
        let mut at = match opened.kind {
            kind if kind == Kind::Offer as u8 => 16,
            kind if kind == Kind::Answer as u8 => 32,
            _ => return Vec::new(),
        };
        // ufrag and pwd, with their lengths before them.
        for _ in 0..2 {
            at += 1 + usize::from(opened.body[at]);
        }
        opened.body[at..at + 32].copy_from_slice(b"Mallory's certificate's SHA-256.");
        let mut signed = opened.clone();
        let what = [
            &self.associated(opened.kind, post)[..],
            &opened.nonce,
            &opened.body,
        ];
        signed.signature = SigningKey::from_bytes(&[0x66; 32])
            .sign(&what.concat())
            .to_bytes();
        [opened, signed]
            .iter()
            .map(|opened| self.seal(post, opened))
            .collect()
    }

    fn seal(&self, post: &Post, opened: &Opened) -> Post {
        let mut inner = [&opened.signature[..], &opened.body].concat();
        XChaCha20Poly1305::new((&self.signalling_key).into())
            .encrypt_in_place(
                (&opened.nonce).into(),
                &self.associated(opened.kind, post),
                &mut inner,
            )
            .expect("a vector grows");
        Post {
            blob: [&[opened.kind][..], &opened.nonce, &inner].concat(),
            ..post.clone()
        }
    }

    fn associated(&self, kind: u8, post: &Post) -> Vec<u8> {
        [
            b"baton blob 1",
            &[kind][..],
            &self.swarm,
            &post.from,
            &post.to,
        ]
        .concat()
    }
}
