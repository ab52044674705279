//! The signalling socket: joins, comes back by itself with jitter, and carries sealed blobs.

use crate::door::{self, Handler};
use baton_content::keys::{PeerKey, SwarmKey};
use baton_signal_protocol::{
    ClientMessage, DecodeError, Join, Refusal, Report, SUBPROTOCOL, ServerMessage,
};
use gloo_timers::callback::Timeout;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::Closure;
use web_sys::{BinaryType, MessageEvent, WebSocket};

/// What happens to the socket.
pub enum SocketEvent {
    Opened,
    Message(Vec<u8>),
    Closed,
    Retry,
}

/// What the page has to do about it.
pub enum News {
    /// The server let us in, or sent something for us.
    Server(ServerMessage),
    /// The server will not have us; there is no use in knocking again as we are.
    Refused(Refusal),
}

/// One swarm's place at the signalling server.
pub struct Signalling {
    url: String,
    host: String,
    swarm: SwarmKey,
    peer: PeerKey,
    emit: std::rc::Rc<dyn Fn(SocketEvent)>,
    socket: Option<WebSocket>,
    handlers: Vec<Handler>,
    attempt: u32,
    retry: Option<Timeout>,
    retry_at_ms: f64,
    joined: bool,
    lost_since_ms: Option<f64>,
    clock_offset_s: i64,
    report: Report,
    keepalive: Option<Timeout>,
    keepalive_ms: u32,
    outbox: Vec<([u8; 32], Vec<u8>)>,
}

impl Signalling {
    /// Opens the socket. `server` is an `http(s)://` or `ws(s)://` origin; `early` is a socket to it that the page's script
    /// opened while the WASM was still loading.
    pub fn new(
        server: &str,
        swarm: SwarmKey,
        peer: PeerKey,
        early: Option<WebSocket>,
        emit: std::rc::Rc<dyn Fn(SocketEvent)>,
    ) -> Signalling {
        let origin = server.trim_end_matches('/').replacen("http", "ws", 1);
        let host = origin
            .split("://")
            .nth(1)
            .unwrap_or_default()
            .split('/')
            .next()
            .unwrap_or_default()
            .to_string();
        let mut signalling = Signalling {
            url: format!("{origin}/ws"),
            host,
            swarm,
            peer,
            emit,
            socket: None,
            handlers: Vec::new(),
            attempt: 0,
            retry: None,
            retry_at_ms: 0.0,
            joined: false,
            lost_since_ms: Some(door::now_ms()),
            clock_offset_s: 0,
            report: Report {
                completeness_permille: 0,
                free_slots: 0,
                spare_upload_kbit: 0,
            },
            keepalive: None,
            keepalive_ms: 0,
            outbox: Vec::new(),
        };
        match early.filter(|socket| socket.ready_state() <= WebSocket::OPEN) {
            Some(socket) => signalling.adopt(socket),
            None => signalling.open(),
        }
        signalling
    }

    /// Whether the server has let us in and the socket stands.
    pub fn joined(&self) -> bool {
        self.joined
    }

    /// Milliseconds since the server was lost, `None` while it is here.
    pub fn lost_for_ms(&self) -> Option<f64> {
        self.lost_since_ms.map(|since| door::now_ms() - since)
    }

    /// Seconds until the next attempt.
    pub fn retry_in_s(&self) -> f64 {
        ((self.retry_at_ms - door::now_ms()) / 1000.0).max(0.0)
    }

    /// Takes what happened in, and says what came of it.
    pub fn handle(&mut self, event: SocketEvent) -> Option<News> {
        match event {
            SocketEvent::Opened => self.join(),
            SocketEvent::Message(bytes) => return self.received(&bytes),
            SocketEvent::Closed => self.lost(None),
            SocketEvent::Retry => self.open(),
        }
        None
    }

    /// Sends a sealed blob to a peer through the server. `Err` gives it back where the server is gone.
    pub fn relay(&mut self, to: [u8; 32], blob: Vec<u8>) -> Result<(), Vec<u8>> {
        if self.joined {
            self.send(&ClientMessage::Relay {
                to,
                blob: blob.clone(),
            });
            return Ok(());
        }
        if self.outbox.len() < OUTBOX_MAX {
            self.outbox.push((to, blob.clone()));
        }
        Err(blob)
    }

    /// Has the server carry a frame. One that it cannot take any more ends the connection with it.
    pub fn carry(&mut self, to: [u8; 32], frame: Vec<u8>) {
        if self.joined {
            self.send(&ClientMessage::Carry { to, frame });
        }
    }

    /// Asks for more candidates.
    pub fn more(&self) {
        if self.joined {
            self.send(&ClientMessage::More);
        }
    }

    /// Tells the server how much of the stream we have.
    pub fn report(&mut self, completeness_permille: u16, free_slots: u8) {
        let report = Report {
            completeness_permille,
            free_slots,
            spare_upload_kbit: 0,
        };
        if self.joined && report != self.report {
            self.send(&ClientMessage::Report(report));
        }
        self.report = report;
    }

    /// Leaves for good.
    pub fn leave(&mut self) {
        self.send(&ClientMessage::Leave);
        self.retry = None;
        self.keepalive = None;
        self.joined = false;
        self.handlers.clear();
        if let Some(socket) = self.socket.take() {
            close_once_open(socket);
        }
    }

    fn open(&mut self) {
        self.retry = None;
        self.drop_socket();
        match WebSocket::new_with_str(&self.url, SUBPROTOCOL) {
            Ok(socket) => self.adopt(socket),
            Err(_) => self.lost(None),
        }
    }

    fn adopt(&mut self, socket: WebSocket) {
        socket.set_binary_type(BinaryType::Arraybuffer);
        let emit = |event: fn() -> SocketEvent| {
            let emit = self.emit.clone();
            move |_| emit(event())
        };
        self.handlers
            .push(Handler::new(&socket, "open", emit(|| SocketEvent::Opened)));
        self.handlers
            .push(Handler::new(&socket, "close", emit(|| SocketEvent::Closed)));
        let message = self.emit.clone();
        self.handlers
            .push(Handler::new(&socket, "message", move |event| {
                let data = event.unchecked_into::<MessageEvent>().data();
                // The server speaks binary only; a text frame is somebody else's.
                if data.is_instance_of::<js_sys::ArrayBuffer>() {
                    message(SocketEvent::Message(door::bytes(&data)));
                }
            }));
        let open = socket.ready_state() == WebSocket::OPEN;
        self.socket = Some(socket);
        let emit = self.emit.clone();
        self.keepalive = Some(Timeout::new(WELCOME_MS, move || emit(SocketEvent::Closed)));
        if open {
            self.join();
        }
    }

    fn join(&mut self) {
        let unix_s = door::unix_s().saturating_add_signed(self.clock_offset_s);
        let (swarm, peer) = (self.swarm.id().0, self.peer.id().0);
        let mut join = Join::new(
            &self.host,
            unix_s,
            swarm,
            peer,
            |bytes| self.swarm.sign(bytes),
            |bytes| self.peer.sign(bytes),
        );
        join.completeness_permille = self.report.completeness_permille;
        join.free_slots = self.report.free_slots;
        self.send(&ClientMessage::Join(join));
    }

    fn received(&mut self, bytes: &[u8]) -> Option<News> {
        self.heard();
        let message = match ServerMessage::decode(bytes) {
            Ok(message) => message,
            Err(DecodeError::UnknownKind(_)) => return None,
            // A server that talks nonsense is treated as one that is gone: we come back later.
            Err(_) => {
                self.lost(None);
                return None;
            }
        };
        match message {
            ServerMessage::Refused {
                reason: Refusal::Clock,
                server_unix_s,
                ..
            } => {
                self.clock_offset_s = (server_unix_s as i64).wrapping_sub(door::unix_s() as i64);
                self.lost(Some(0));
                None
            }
            ServerMessage::Refused {
                reason, retry_ms, ..
            } => {
                // Without a retry time there is none, but a server may be replaced: look again every few minutes.
                self.lost(Some(retry_ms.unwrap_or(RETRY_REFUSED_MS)));
                Some(News::Refused(reason))
            }
            ServerMessage::GoingAway { retry_ms } => {
                self.lost(Some(retry_ms));
                None
            }
            message => {
                if let ServerMessage::Welcome { keepalive_s, .. } = message {
                    self.welcomed(keepalive_s);
                }
                Some(News::Server(message))
            }
        }
    }

    /// A socket that stands but says nothing for twice its keepalive is a lost one; until the Welcome, for [`WELCOME_MS`].
    fn heard(&mut self) {
        if self.joined {
            let emit = self.emit.clone();
            let lost = move || emit(SocketEvent::Closed);
            self.keepalive = (self.keepalive_ms > 0).then(|| Timeout::new(self.keepalive_ms, lost));
        }
    }

    fn welcomed(&mut self, keepalive_s: u16) {
        self.keepalive_ms = u32::from(keepalive_s) * 2000;
        self.joined = true;
        self.heard();
        self.attempt = 0;
        self.lost_since_ms = None;
        for (to, blob) in std::mem::take(&mut self.outbox) {
            self.send(&ClientMessage::Relay { to, blob });
        }
    }

    /// Full jitter on an exponential backoff, so that a server that comes back is not trampled.
    fn lost(&mut self, retry_ms: Option<u32>) {
        self.drop_socket();
        self.keepalive = None;
        self.joined = false;
        self.lost_since_ms.get_or_insert_with(door::now_ms);
        let (least, spread) = pause_ms(retry_ms, self.attempt);
        let wait = least + door::jitter(spread);
        self.attempt = self.attempt.saturating_add(1);
        self.retry_at_ms = door::now_ms() + f64::from(wait);
        let emit = self.emit.clone();
        self.retry = Some(Timeout::new(wait, move || emit(SocketEvent::Retry)));
    }

    fn send(&self, message: &ClientMessage) {
        if let Some(socket) = &self.socket
            && socket.ready_state() == WebSocket::OPEN
        {
            // A socket that closes meanwhile says so by its own event.
            let _ = socket.send_with_u8_array(&message.encode());
        }
    }

    fn drop_socket(&mut self) {
        self.handlers.clear();
        if let Some(socket) = self.socket.take() {
            let _ = socket.close();
        }
    }
}

/// Browsers complain on the console about a socket that is closed before it stands.
fn close_once_open(socket: WebSocket) {
    if socket.ready_state() != WebSocket::CONNECTING {
        let _ = socket.close();
        return;
    }
    let opened = socket.clone();
    let close = Closure::once_into_js(move || {
        let _ = opened.close();
    });
    socket.set_onopen(Some(close.unchecked_ref()));
}

/// The least wait and how much chance adds, milliseconds. A server that says at each attempt to come back at once (a clock that it never
/// believes, a node that is always going away) is heard twice; from then on the wait grows as if it had said nothing.
fn pause_ms(retry_ms: Option<u32>, attempt: u32) -> (u32, u32) {
    let ceiling = (RETRY_FIRST_MS << attempt.min(6)).min(RETRY_MAX_MS);
    match retry_ms {
        Some(ms) if attempt < PATIENT_FROM => (ms.min(RETRY_REFUSED_MS), 250),
        Some(ms) => (ms.min(RETRY_REFUSED_MS).max(ceiling / 2), ceiling / 2),
        None => (ceiling / 2, ceiling / 2),
    }
}

/// How long a server may take to welcome us, milliseconds. What accepts and stays silent (a proxy without its server, a hotel's
/// network) is tried again.
const WELCOME_MS: u32 = 10_000;
/// Attempts without a welcome from which on the server's own word may only lengthen the wait.
const PATIENT_FROM: u32 = 2;
/// First wait after a loss, milliseconds; doubled each time.
const RETRY_FIRST_MS: u32 = 500;
/// Longest wait, milliseconds: a person still sees it come back.
const RETRY_MAX_MS: u32 = 20_000;
/// Longest wait that a refusal may impose, milliseconds.
const RETRY_REFUSED_MS: u32 = 300_000;
/// Blobs kept for a server that is away. Offers older than a few seconds are useless anyway.
const OUTBOX_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_says_come_back_at_once_is_not_hammered() {
        assert_eq!(pause_ms(Some(0), 0), (0, 250));
        assert_eq!(pause_ms(Some(0), 1), (0, 250));
        assert_eq!(pause_ms(Some(0), 2), (1000, 1000));
        assert_eq!(pause_ms(Some(0), 40), (10_000, 10_000));
        assert_eq!(pause_ms(Some(60_000), 40).0, 60_000);
        assert_eq!(pause_ms(Some(u32::MAX), 0).0, RETRY_REFUSED_MS);
        assert_eq!(pause_ms(None, 0), (250, 250));
    }
}
