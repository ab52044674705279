//! A television and telephones on real sockets: what a page does for [`Tv`] and [`Phone`], in Rust.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use baton_remote::{Failure, Output, Phone, Tv};
use baton_signal_protocol::SUBPROTOCOL;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Either end.
pub trait End {
    fn poll(&mut self) -> Option<Output>;
    fn opened(&mut self, line: u8, now_ms: f64);
    fn closed(&mut self, line: u8, now_ms: f64);
    fn received(&mut self, line: u8, bytes: &[u8], now_ms: f64);
    fn tick(&mut self, now_ms: f64);
}

impl End for Tv {
    fn poll(&mut self) -> Option<Output> {
        Tv::poll(self)
    }
    fn opened(&mut self, line: u8, now_ms: f64) {
        Tv::opened(self, line, now_ms);
    }
    fn closed(&mut self, line: u8, now_ms: f64) {
        Tv::closed(self, line, now_ms);
    }
    fn received(&mut self, line: u8, bytes: &[u8], now_ms: f64) {
        Tv::received(self, line, bytes, now_ms);
    }
    fn tick(&mut self, now_ms: f64) {
        Tv::tick(self, now_ms);
    }
}

impl End for Phone {
    fn poll(&mut self) -> Option<Output> {
        Phone::poll(self)
    }
    fn opened(&mut self, _line: u8, now_ms: f64) {
        Phone::opened(self, now_ms);
    }
    fn closed(&mut self, _line: u8, now_ms: f64) {
        Phone::closed(self, now_ms);
    }
    fn received(&mut self, _line: u8, bytes: &[u8], now_ms: f64) {
        Phone::received(self, bytes, now_ms);
    }
    fn tick(&mut self, now_ms: f64) {
        Phone::tick(self, now_ms);
    }
}

type Sink = mpsc::UnboundedSender<Vec<u8>>;

/// An end with its sockets.
pub struct Host<M> {
    pub end: M,
    server: SocketAddr,
    lines: HashMap<u8, (u32, Sink)>,
    dials: u32,
    news: mpsc::UnboundedReceiver<(u8, u32, Option<Vec<u8>>)>,
    tell: mpsc::UnboundedSender<(u8, u32, Option<Vec<u8>>)>,
}

pub fn now_ms() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs_f64()
        * 1000.0
}

impl<M: End> Host<M> {
    pub fn new(end: M, server: SocketAddr) -> Self {
        let (tell, news) = mpsc::unbounded_channel();
        Self {
            end,
            server,
            lines: HashMap::new(),
            dials: 0,
            news,
            tell,
        }
    }

    /// Runs until an output is what is waited for, and gives that back; others that are no socket's affair are thrown away.
    pub async fn until<R>(&mut self, wanted: impl FnMut(&Output) -> Option<R>) -> R {
        tokio::time::timeout(PATIENCE, self.run(wanted))
            .await
            .expect("what is waited for comes")
    }

    /// Goes on working while something else is waited for.
    pub async fn work(&mut self) -> std::convert::Infallible {
        self.run(|_| None).await
    }

    async fn run<R>(&mut self, mut wanted: impl FnMut(&Output) -> Option<R>) -> R {
        let mut clock = tokio::time::interval(Duration::from_millis(200));
        loop {
            while let Some(output) = self.end.poll() {
                match &output {
                    Output::Dial { line } => self.dial(*line).await,
                    Output::Hangup { line } => {
                        self.lines.remove(line);
                    }
                    Output::Send { line, bytes } => {
                        if let Some((_, sink)) = self.lines.get(line) {
                            let _ = sink.send(bytes.clone());
                        }
                    }
                    _ => {}
                }
                if let Some(found) = wanted(&output) {
                    return found;
                }
            }
            tokio::select! {
                news = self.news.recv() => {
                    let (line, dial, bytes) = news.expect("we hold a sender");
                    if self.lines.get(&line).is_none_or(|it| it.0 != dial) {
                        continue;
                    }
                    match bytes {
                        Some(bytes) => self.end.received(line, &bytes, now_ms()),
                        None => self.end.closed(line, now_ms()),
                    }
                }
                _ = clock.tick() => self.end.tick(now_ms()),
            }
        }
    }

    async fn dial(&mut self, line: u8) {
        self.dials += 1;
        let dial = self.dials;
        let mut request = format!("ws://{}/ws", self.server)
            .into_client_request()
            .expect("an address");
        let protocol = SUBPROTOCOL.parse().expect("a token");
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        let (sink, mut outbox) = mpsc::unbounded_channel::<Vec<u8>>();
        self.lines.insert(line, (dial, sink));
        let Ok((mut socket, _)) = connect_async(request).await else {
            self.end.closed(line, now_ms());
            return;
        };
        self.end.opened(line, now_ms());
        let tell = self.tell.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    bytes = outbox.recv() => match bytes {
                        Some(bytes) => { let _ = socket.send(Message::Binary(bytes.into())).await; }
                        None => { let _ = socket.close(None).await; return; }
                    },
                    message = socket.next() => match message {
                        Some(Ok(Message::Binary(bytes))) => { let _ = tell.send((line, dial, Some(bytes.into()))); }
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => { let _ = tell.send((line, dial, None)); return; }
                    },
                }
            }
        });
    }
}

/// Generous: no test is about time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A television that shows a code.
pub fn tv(at: SocketAddr, seed: u8, saved: &[u8]) -> Host<Tv> {
    let mut tv = Tv::new(&[seed; 32], &at.to_string(), saved, "Television", now_ms());
    tv.show_code(now_ms());
    Host::new(tv, at)
}

/// Code and token, once they are shown.
pub fn code_of(output: &Output) -> Option<(String, String)> {
    match output {
        Output::Code { text, token, .. } => Some((text.clone(), token.clone())),
        _ => None,
    }
}

/// A telephone whose person typed this.
pub fn by_code(at: SocketAddr, seed: u8, code: &str) -> Host<Phone> {
    let phone = Phone::with_code(&[seed; 32], &at.to_string(), code, "Anna's phone", now_ms());
    Host::new(phone.expect("a code"), at)
}

pub fn paired(output: &Output) -> Option<Result<Vec<u8>, Failure>> {
    match output {
        Output::Paired { bytes, .. } => Some(Ok(bytes.clone())),
        Output::Failed { why } => Some(Err(*why)),
        _ => None,
    }
}

pub fn linked(output: &Output) -> Option<()> {
    matches!(output, Output::Linked { yes: true }).then_some(())
}

/// Runs one end until its output comes while the other works on.
#[macro_export]
macro_rules! while_working {
    ($other:expr, $waiting:expr) => {
        tokio::select! {
            found = $waiting => found,
            never = $other.work() => match never {},
        }
    };
}
