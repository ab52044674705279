//! The signalling socket: joins, comes back by itself with jitter, and carries sealed blobs.
//!
//! One task; the session writes to it and hears from it. Several servers (a link may name more than one) are tried in turn.

use baton_content::{PeerKey, SwarmKey};
use baton_signal_protocol::{
    ClientMessage, DecodeError, Join, Refusal, Report, SERVER_MESSAGE_MAX, SUBPROTOCOL,
    ServerMessage,
};
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// What the session hears.
#[derive(Debug)]
pub enum SignalEvent {
    /// A Welcome, candidates, a blob, or that somebody is gone.
    Server(ServerMessage),
    /// The socket is gone; the task goes on trying. The reason, where the server gave one.
    Lost(Option<Refusal>),
    /// Every server said not to come back; the task waits for the end.
    Refused(Refusal),
}

/// What the session says.
#[derive(Debug)]
pub enum SignalCommand {
    Relay {
        to: [u8; 32],
        blob: Vec<u8>,
    },
    /// Have the server carry a frame. It is of no use to a later one.
    Carry {
        to: [u8; 32],
        frame: Vec<u8>,
    },
    More,
    Report {
        completeness_permille: u16,
        free_slots: u8,
    },
    /// Leave for as long as if the server took no more streams from this address.
    StepAside,
    /// Wait no longer.
    ComeNow,
    /// Say goodbye and end.
    Leave,
}

/// One swarm's place at its servers.
pub struct Signalling {
    /// Origins, `http(s)://host[:port]`.
    pub servers: Vec<String>,
    pub swarm: SwarmKey,
    pub peer: PeerKey,
    pub commands: mpsc::UnboundedReceiver<SignalCommand>,
    pub events: mpsc::UnboundedSender<SignalEvent>,
    report: Report,
    clock_offset_s: i64,
    outbox: Vec<ClientMessage>,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How one connection to a server ended.
enum End {
    /// The session wants no more.
    Left,
    /// Come back after this long; `None` means by the usual backoff.
    Lost {
        refusal: Option<Refusal>,
        retry: Option<Duration>,
        joined: bool,
    },
    /// This server must not be asked again.
    Refused(Refusal),
}

impl Signalling {
    pub fn new(
        servers: Vec<String>,
        swarm: SwarmKey,
        peer: PeerKey,
        commands: mpsc::UnboundedReceiver<SignalCommand>,
        events: mpsc::UnboundedSender<SignalEvent>,
    ) -> Signalling {
        let report = Report {
            completeness_permille: 0,
            free_slots: 0,
            spare_upload_kbit: 0,
        };
        Signalling {
            servers,
            swarm,
            peer,
            commands,
            events,
            report,
            clock_offset_s: 0,
            outbox: Vec::new(),
        }
    }

    /// Runs until told to leave, or until the session is gone.
    pub async fn run(mut self) {
        let mut attempt = 0u32;
        let mut place = 0;
        loop {
            place %= self.servers.len().max(1);
            let Some(origin) = self.servers.get(place).cloned() else {
                return;
            };
            let (refusal, retry) = match self.once(&origin).await {
                End::Left => return,
                End::Refused(refusal) => {
                    self.servers.remove(place);
                    if self.servers.is_empty() {
                        return self.give_up(refusal).await;
                    }
                    (Some(refusal), Some(Duration::ZERO))
                }
                End::Lost {
                    refusal,
                    retry,
                    joined,
                } => {
                    if joined {
                        attempt = 0;
                    } else {
                        place += 1;
                    }
                    // One that has no room says so at once, and another one may have some.
                    let another = !joined && place < self.servers.len();
                    let at_once = another && refusal.is_some();
                    (refusal, if at_once { Some(Duration::ZERO) } else { retry })
                }
            };
            if self.events.send(SignalEvent::Lost(refusal)).is_err() {
                return;
            }
            // Full jitter on an exponential backoff, so that a server that comes back is not trampled.
            let ceiling = RETRY_MAX.min(RETRY_FIRST * (1 << attempt.min(6)));
            let wait = retry.map_or(ceiling / 2 + jitter(ceiling / 2), |wait| {
                wait.min(RETRY_REFUSED) + jitter(RETRY_FIRST / 2)
            });
            attempt += 1;
            if self.wait(wait).await {
                return;
            }
        }
    }

    /// Nobody takes us: says so, and waits for the end.
    async fn give_up(&mut self, refusal: Refusal) {
        if self.events.send(SignalEvent::Refused(refusal)).is_err() {
            return;
        }
        while !matches!(
            self.commands.recv().await,
            None | Some(SignalCommand::Leave)
        ) {}
    }

    /// Waits for the next attempt; true when told to leave.
    async fn wait(&mut self, wait: Duration) -> bool {
        let until = tokio::time::Instant::now() + wait;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return false,
                command = self.commands.recv() => match command {
                    None | Some(SignalCommand::Leave) => return true,
                    Some(SignalCommand::ComeNow) => return false,
                    Some(SignalCommand::Carry { .. }) => {}
                    Some(command) => {
                        if let Some(message) = self.message(command) && self.outbox.len() < OUTBOX_MAX {
                            self.outbox.push(message);
                        }
                    }
                },
            }
        }
    }

    async fn once(&mut self, origin: &str) -> End {
        let lost = |joined| End::Lost {
            refusal: None,
            retry: None,
            joined,
        };
        let Some((mut socket, host)) = connect(origin).await else {
            return lost(false);
        };
        if send(&mut socket, &ClientMessage::Join(self.join(&host)))
            .await
            .is_err()
        {
            return lost(false);
        }
        let mut patience = CONNECT_PATIENCE;
        let mut heard_at = Instant::now();
        let mut joined = false;
        loop {
            tokio::select! {
                // A socket that stands but says nothing for twice its keepalive is a lost one.
                heard = timeout_at(heard_at + patience, socket.next()) => {
                    heard_at = Instant::now();
                    let message = match heard {
                        Ok(Some(Ok(Message::Binary(bytes)))) => match ServerMessage::decode(&bytes) {
                            Ok(message) => message,
                            Err(DecodeError::UnknownKind(_)) => continue,
                            Err(_) => return lost(joined),
                        },
                        Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
                        _ => return lost(joined),
                    };
                    match message {
                        ServerMessage::Refused { reason: Refusal::Clock, server_unix_s, .. } => {
                            self.clock_offset_s = (server_unix_s as i64).wrapping_sub(crate::unix_s() as i64);
                            return End::Lost { refusal: None, retry: Some(Duration::ZERO), joined };
                        }
                        ServerMessage::Refused { reason, retry_ms: None, .. } => return End::Refused(reason),
                        ServerMessage::Refused { reason, retry_ms: Some(ms), .. } => {
                            let retry = Some(Duration::from_millis(ms.into()));
                            return End::Lost { refusal: Some(reason), retry, joined };
                        }
                        ServerMessage::GoingAway { retry_ms } => {
                            let retry = Some(Duration::from_millis(retry_ms.into()));
                            return End::Lost { refusal: None, retry, joined };
                        }
                        ServerMessage::Alive => {}
                        message => {
                            if let ServerMessage::Welcome { keepalive_s, .. } = &message {
                                patience = Duration::from_secs(u64::from(*keepalive_s).max(1) * 2);
                                joined = true;
                                for waiting in std::mem::take(&mut self.outbox) {
                                    if send(&mut socket, &waiting).await.is_err() {
                                        return lost(true);
                                    }
                                }
                            }
                            if self.events.send(SignalEvent::Server(message)).is_err() {
                                return End::Left;
                            }
                        }
                    }
                }
                command = self.commands.recv() => {
                    let goes = match &command {
                        None | Some(SignalCommand::Leave) => Some(End::Left),
                        Some(SignalCommand::StepAside) => Some(End::Lost {
                            refusal: Some(Refusal::AddressSwarms),
                            retry: Some(ASIDE + jitter(ASIDE)),
                            joined: true,
                        }),
                        Some(_) => None,
                    };
                    if let Some(end) = goes {
                        let _ = send(&mut socket, &ClientMessage::Leave).await;
                        let _ = timeout(LEAVE_PATIENCE, socket.close(None)).await;
                        return end;
                    }
                    let Some(message) = command.map(|command| self.message(command)) else { continue };
                    let Some(message) = message else { continue };
                    if !joined && matches!(message, ClientMessage::Carry { .. }) {
                        continue;
                    }
                    if !joined {
                        self.outbox.truncate(OUTBOX_MAX);
                        self.outbox.push(message);
                    } else if send(&mut socket, &message).await.is_err() {
                        return lost(true);
                    }
                }
            }
        }
    }

    /// What a command says on the wire; `None` for a report that changes nothing.
    fn message(&mut self, command: SignalCommand) -> Option<ClientMessage> {
        Some(match command {
            SignalCommand::Relay { to, blob } => ClientMessage::Relay { to, blob },
            SignalCommand::Carry { to, frame } => ClientMessage::Carry { to, frame },
            SignalCommand::More => ClientMessage::More,
            SignalCommand::Report {
                completeness_permille,
                free_slots,
            } => {
                let report = Report {
                    completeness_permille,
                    free_slots,
                    spare_upload_kbit: 0,
                };
                if report == self.report {
                    return None;
                }
                self.report = report;
                ClientMessage::Report(report)
            }
            SignalCommand::Leave => ClientMessage::Leave,
            SignalCommand::StepAside | SignalCommand::ComeNow => return None,
        })
    }

    fn join(&self, host: &str) -> Join {
        let unix_s = crate::unix_s().saturating_add_signed(self.clock_offset_s);
        let (swarm, peer) = (self.swarm.id().0, self.peer.id().0);
        let mut join = Join::new(
            host,
            unix_s,
            swarm,
            peer,
            |bytes| self.swarm.sign(bytes),
            |bytes| self.peer.sign(bytes),
        );
        join.completeness_permille = self.report.completeness_permille;
        join.free_slots = self.report.free_slots;
        join
    }
}

/// Opens the socket; with it, the host as the Host header names it, which the Join signs.
async fn connect(origin: &str) -> Option<(Socket, String)> {
    let origin = origin.trim_end_matches('/').replacen("http", "ws", 1);
    let (scheme, host) = origin.split_once("://")?;
    let default_port = if scheme == "wss" { ":443" } else { ":80" };
    let host = host.strip_suffix(default_port).unwrap_or(host).to_string();
    let mut request = format!("{scheme}://{host}/ws").into_client_request().ok()?;
    request
        .headers_mut()
        .insert("sec-websocket-protocol", SUBPROTOCOL.parse().ok()?);
    let limits = WebSocketConfig::default()
        .max_message_size(Some(SERVER_MESSAGE_MAX))
        .max_frame_size(Some(SERVER_MESSAGE_MAX));
    let connecting = connect_async_with_config(request, Some(limits), true);
    let (socket, _) = timeout(CONNECT_PATIENCE, connecting).await.ok()?.ok()?;
    Some((socket, host))
}

async fn send(socket: &mut Socket, message: &ClientMessage) -> Result<(), ()> {
    let sending = socket.send(Message::Binary(message.encode().into()));
    timeout(CONNECT_PATIENCE, sending)
        .await
        .map_err(|_| ())?
        .map_err(|_| ())
}

/// Between nothing and `most`.
fn jitter(most: Duration) -> Duration {
    most.mul_f64(f64::from(u16::from_le_bytes(crate::random())) / 65536.0)
}

/// First wait after a loss; doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// Longest wait: a person still sees it come back.
const RETRY_MAX: Duration = Duration::from_secs(20);
/// Whoever stepped aside asks again after this long, and up to twice that: as a server says to whom it has no room for.
const ASIDE: Duration = Duration::from_secs(30);
/// Longest wait that a refusal may impose.
const RETRY_REFUSED: Duration = Duration::from_secs(300);
/// How long a server may take to accept a socket, or a message.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for the end of a socket that we leave.
const LEAVE_PATIENCE: Duration = Duration::from_millis(500);
/// Messages kept for a server that is away. Offers older than a few seconds are useless anyway.
const OUTBOX_MAX: usize = 32;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_hdr_async;
    use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

    struct Client {
        commands: mpsc::UnboundedSender<SignalCommand>,
        events: mpsc::UnboundedReceiver<SignalEvent>,
    }

    fn client(servers: Vec<String>) -> Client {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (out, events) = mpsc::unbounded_channel();
        let (swarm, peer) = (SwarmKey::from_seed([1; 32]), PeerKey::from_seed([2; 32]));
        tokio::spawn(Signalling::new(servers, swarm, peer, inbox, out).run());
        Client { commands, events }
    }

    /// A server that answers each Join with one message, and never says anything again.
    pub(crate) async fn answering(message: ServerMessage) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it has one");
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                #[allow(clippy::result_large_err)] // The crate's own type.
                let named = |_: &Request, mut response: Response| {
                    let name = SUBPROTOCOL.parse().expect("a token");
                    response
                        .headers_mut()
                        .insert("sec-websocket-protocol", name);
                    Ok(response)
                };
                let mut socket = accept_hdr_async(stream, named).await.expect("a WebSocket");
                socket.next().await.expect("a Join").expect("a Join");
                let answer = Message::Binary(message.encode().into());
                socket.send(answer).await.expect("it listens");
                open.push(socket);
            }
        });
        format!("http://{address}")
    }

    fn welcome() -> ServerMessage {
        ServerMessage::Welcome {
            ice: Vec::new(),
            candidates: Vec::new(),
            keepalive_s: 1,
        }
    }

    #[tokio::test]
    async fn a_silent_server_is_a_lost_one_however_much_there_is_to_say() {
        let mut client = client(vec![answering(welcome()).await]);
        let mut chatter = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                _ = chatter.tick() => {
                    client.commands.send(SignalCommand::More).expect("it runs");
                }
                event = client.events.recv() => match event.expect("it runs") {
                    SignalEvent::Lost(None) => return,
                    SignalEvent::Server(_) => {}
                    event => panic!("{event:?}"),
                },
            }
        }
    }

    #[tokio::test]
    async fn a_server_that_refuses_for_good_is_left_for_the_next() {
        let refused = ServerMessage::Refused {
            reason: Refusal::Version,
            retry_ms: None,
            server_unix_s: 0,
        };
        let (no, yes) = (answering(refused.clone()).await, answering(welcome()).await);
        let mut with_two = client(vec![no.clone(), yes]);
        let first = with_two.events.recv().await;
        assert!(
            matches!(first, Some(SignalEvent::Lost(Some(Refusal::Version)))),
            "{first:?}"
        );
        let then = with_two.events.recv().await;
        assert!(
            matches!(
                then,
                Some(SignalEvent::Server(ServerMessage::Welcome { .. }))
            ),
            "{then:?}"
        );
        // The same where the refusal is not for good: it need not be waited for.
        let full = answering(ServerMessage::Refused {
            reason: Refusal::AddressSwarms,
            retry_ms: Some(250_000),
            server_unix_s: 0,
        });
        let mut with_full = client(vec![full.await, answering(welcome()).await]);
        let first = with_full.events.recv().await;
        assert!(
            matches!(first, Some(SignalEvent::Lost(Some(Refusal::AddressSwarms)))),
            "{first:?}"
        );
        let then = tokio::time::timeout(CONNECT_PATIENCE * 6, with_full.events.recv()).await;
        assert!(
            matches!(
                then,
                Ok(Some(SignalEvent::Server(ServerMessage::Welcome { .. })))
            ),
            "{then:?}"
        );
        let mut with_one = client(vec![no]);
        let only = with_one.events.recv().await;
        assert!(
            matches!(only, Some(SignalEvent::Refused(Refusal::Version))),
            "{only:?}"
        );
    }
}
