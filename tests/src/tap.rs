//! A tap on the wire: everything that clients send to a server, as bytes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A TCP proxy that keeps what goes towards the server, one recording per connection.
pub struct Tap {
    pub address: SocketAddr,
    recordings: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tap {
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let recordings: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let all = recordings.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = {
                    let mut all = all.lock().expect("no panic");
                    all.push(Vec::new());
                    all.len() - 1
                };
                tokio::spawn(pass(client, server, number, all.clone()));
            }
        });
        Self {
            address,
            recordings,
        }
    }

    /// All that the server was sent: HTTP heads as they are, WebSocket frames without their masks.
    pub fn received(&self) -> Vec<u8> {
        self.recordings
            .lock()
            .expect("no panic")
            .iter()
            .flat_map(|raw| unmasked(raw))
            .collect()
    }
}

async fn pass(client: TcpStream, server: SocketAddr, number: usize, all: Arc<Mutex<Vec<Vec<u8>>>>) {
    let server = TcpStream::connect(server)
        .await
        .expect("the server is there");
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let up = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(len @ 1..) = from_client.read(&mut buffer).await {
            all.lock().expect("no panic")[number].extend_from_slice(&buffer[..len]);
            if to_server.write_all(&buffer[..len]).await.is_err() {
                break;
            }
        }
        let _ = to_server.shutdown().await;
    };
    let down = async {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::join!(up, down);
}

/// RFC 6455 §5.2: header and payload of each frame, the payload with its mask taken off.
fn unmasked(raw: &[u8]) -> Vec<u8> {
    let Some(head_end) = raw
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| at + 4)
    else {
        return raw.to_vec();
    };
    let (mut plain, mut rest) = (raw[..head_end].to_vec(), &raw[head_end..]);
    if !plain
        .to_ascii_lowercase()
        .windows(18)
        .any(|window| window == b"upgrade: websocket")
    {
        return raw.to_vec();
    }
    while rest.len() >= 6 {
        let (len, at) = match rest[1] & 0x7f {
            126 => (usize::from(u16::from_be_bytes([rest[2], rest[3]])), 4),
            127 => panic!("no client here sends more than 64 KiB"),
            short => (usize::from(short), 2),
        };
        let mask: [u8; 4] = rest[at..at + 4].try_into().expect("four bytes");
        let payload = &rest[at + 4..(at + 4 + len).min(rest.len())];
        plain.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        rest = &rest[at + 4 + payload.len()..];
    }
    plain
}
