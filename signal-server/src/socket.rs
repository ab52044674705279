//! One client's session: Join first, then whatever it says until one of us ends it.
//!
//! One task per socket reads, answers and writes, so nothing here is shared but the room. What others send to this client waits in a bounded
//! queue, of which each sender has a share; a client that cannot be written to is dropped.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use baton_signal_protocol::{
    ClientMessage, DecodeError, Join, JoinError, PeerId, Refusal, ServerMessage, SwarmId,
};
use bytes::Bytes;
use futures_util::SinkExt;
use tokio::sync::watch;
use tokio::time::{interval, timeout};
use tungstenite::error::Error as WebSocketError;

use crate::config::Relay;
use crate::limits::{Account, Bucket, LINGERING_PER_ADDRESS, Place, Rate, carry_cost};
use crate::metrics::{refusal_name, unix_s};
use crate::names;
use crate::queue::{Queue, Share, Taken};
use crate::ranking::{self, Spot};
use crate::rooms::{Delivery, Hangup, Line, Member};
use crate::server::{App, Open};

/// What the HTTP door knows of a client.
pub struct Guest {
    pub address: IpAddr,
    /// The names under which this server was or may be reached; a Join is signed for one of them.
    pub hosts: Vec<String>,
    pub _open: Open,
}

/// Runs a session from the upgrade to its end.
pub async fn serve(socket: WebSocket, app: Arc<App>, guest: Guest) {
    app.metrics.connections_total.add(1);
    app.metrics.connections.add(1);
    let _counted = Counted(app.clone());
    let limits = &app.config.limits;
    let connection = app.next_connection();
    tracing::debug!(
        connection,
        address = app.config.log.address(guest.address),
        "connected"
    );
    let mut session = Session {
        socket,
        connection,
        bucket: Bucket::full(limits.messages_burst, Instant::now()),
        heard: Instant::now(),
        hangup: Arc::default(),
        toll: Toll {
            bucket: Bucket::full(app.config.relay.relay_client_rate, Instant::now()),
            bytes: 0,
            paused_until: None,
        },
        app: app.clone(),
    };
    // Given back when the socket is closed, not when the session is over: lingering counts.
    let mut place = None;
    let end = match session.run(&guest, &mut place).await {
        Err(end) => end,
        Ok(never) => match never {},
    };
    // A connection beyond the limits gets one of a few places to read why.
    if place.is_none() {
        place = app
            .addresses
            .connect(guest.address, Account::Lingering, LINGERING_PER_ADDRESS)
            .ok();
    }
    let linger = if place.is_some() {
        limits.linger
    } else {
        Duration::ZERO
    };
    session.finish(end, linger).await;
}

struct Session {
    socket: WebSocket,
    /// What names the session in the log, and its member in the room.
    connection: u64,
    app: Arc<App>,
    bucket: Bucket,
    /// When the client last showed that it is there.
    heard: Instant,
    hangup: Arc<Hangup>,
    /// What this client has others carry.
    toll: Toll,
}

/// What one client may have carried, and when it is read again if it had more.
struct Toll {
    bucket: Bucket,
    bytes: u64,
    paused_until: Option<tokio::time::Instant>,
}

/// How a session ends.
enum End {
    /// The client is gone or said goodbye.
    Closed,
    Refused(Refusal),
    /// Refused, and what follows cannot be read any more.
    Unreadable(Refusal),
    GoingAway,
}

enum Never {}

/// A peer's place in its room; given up on drop.
struct Membership {
    app: Arc<App>,
    swarm: SwarmId,
    peer: PeerId,
    connection: u64,
}

struct Counted(Arc<App>);

impl Session {
    async fn run(&mut self, guest: &Guest, place: &mut Option<Place>) -> Result<Never, End> {
        let limits = self.app.config.limits.clone();
        if self.app.sessions.count() > limits.connections_max {
            return Err(End::Refused(Refusal::ServerFull));
        }
        let place = place.insert(
            self.app
                .addresses
                .connect(
                    guest.address,
                    Account::Socket,
                    limits.connections_per_address,
                )
                .map_err(End::Refused)?,
        );
        let arrivals = Rate {
            per_second: limits.joins_per_second,
            burst: limits.joins_burst,
        };
        self.app
            .addresses
            .arrive(guest.address, arrivals, Instant::now())
            .map_err(End::Refused)?;
        let mut closing = self.app.sessions.watch();
        let join = tokio::select! {
            join = timeout(limits.join_timeout, self.await_join(guest.address)) =>
                join.unwrap_or(Err(End::Refused(Refusal::Idle)))?,
            () = closed(&mut closing) => return Err(End::GoingAway),
        };
        let (membership, queue) = self.join(join, guest, place).await?;

        let mut keepalive = interval(limits.keepalive);
        keepalive.reset();
        loop {
            let hangup = self.hangup.clone();
            let pause = self.toll.paused_until;
            tokio::select! {
                // Whoever has more carried than its share is read again when that is paid; what is for it goes on meanwhile.
                () = until(pause), if pause.is_some() => self.resume(),
                message = self.receive(), if pause.is_none() => self.handle(message?, &membership, guest.address).await?,
                taken = queue.frames() => self.send_all(taken).await?,
                _ = keepalive.tick() => self.keep_alive(limits.keepalive).await?,
                reason = hangup.wait() => return Err(End::Refused(reason)),
                () = closed(&mut closing) => return Err(End::GoingAway),
            }
        }
    }

    async fn await_join(&mut self, address: IpAddr) -> Result<Join, End> {
        loop {
            match self.receive().await? {
                ClientMessage::Join(join) => return Ok(join),
                ClientMessage::Leave => return Err(End::Closed),
                // Who it joins depends on what is found.
                ClientMessage::Find { name } => self.find(name, address).await?,
                _ => return Err(End::Refused(Refusal::Order)),
            }
        }
    }

    async fn find(&mut self, name: u16, address: IpAddr) -> Result<(), End> {
        let found = self.app.names.find(name, address, Instant::now()).await;
        self.say(&ServerMessage::Found(found)).await
    }

    /// Checks the Join, enters the room and says Welcome, all in one turn.
    async fn join(
        &mut self,
        join: Join,
        guest: &Guest,
        place: &mut Place,
    ) -> Result<(Membership, Arc<Queue>), End> {
        let began = Instant::now();
        verify(&join, &guest.hosts).map_err(End::Refused)?;
        let limits = &self.app.config.limits;
        place
            .enter(join.swarm, limits.swarms_per_address)
            .map_err(End::Refused)?;
        let share = Share {
            in_all: limits.queue_messages,
            per_sender: limits.queue_messages_per_sender,
        };
        let queue = Arc::new(Queue::new(share, self.app.queued.clone()));
        let connection = self.connection;
        let member = Member {
            peer: join.peer,
            spot: Spot {
                place: ranking::Place::of(guest.address),
                geo: self.app.places.look_up(guest.address),
            },
            joined_unix_s: join.unix_s,
            completeness_permille: join.completeness_permille,
            free_slots: join.free_slots,
            line: Line {
                connection,
                queue: queue.clone(),
                hangup: self.hangup.clone(),
            },
        };
        let candidates = self
            .app
            .bus
            .join(join.swarm, member)
            .await
            .map_err(End::Refused)?;
        let membership = Membership {
            app: self.app.clone(),
            swarm: join.swarm,
            peer: join.peer,
            connection,
        };
        let ice = self.app.ices.for_peer(&join.swarm, &join.peer);
        let keepalive_s = limits.keepalive.as_secs() as u16;
        self.say(&ServerMessage::Welcome {
            ice,
            candidates,
            keepalive_s,
        })
        .await?;
        let relay = &self.app.config.relay;
        if relay.relay {
            let bytes_per_second = relay.relay_client_rate;
            self.say(&ServerMessage::Carries { bytes_per_second })
                .await?;
        }
        self.app.metrics.joined(began.elapsed());
        let log = &self.app.config.log;
        tracing::debug!(
            connection,
            address = log.address(guest.address),
            swarm = log.id(&join.swarm),
            peer = log.id(&join.peer),
            "joined"
        );
        Ok((membership, queue))
    }

    /// The client's next message. Safe to drop and call again.
    async fn receive(&mut self) -> Result<ClientMessage, End> {
        loop {
            let received = self.socket.recv().await;
            self.heard = Instant::now();
            let message = match received {
                None | Some(Ok(Message::Close(_))) => return Err(End::Closed),
                Some(Err(error)) => return Err(unreadable(&error)),
                Some(Ok(message)) => message,
            };
            let limits = &self.app.config.limits;
            if !self.is_carry(&message)
                && !self.bucket.take(
                    limits.messages_per_second,
                    limits.messages_burst,
                    self.heard,
                )
            {
                return Err(End::Refused(Refusal::TooFast));
            }
            match message {
                Message::Binary(bytes) => {
                    self.app.metrics.messages_received_total.add(1);
                    self.app
                        .metrics
                        .bytes_received_total
                        .add(bytes.len() as u64);
                    return ClientMessage::decode(&bytes)
                        .map_err(|error| End::Refused(refusal_for(error)));
                }
                Message::Text(_) => return Err(End::Refused(Refusal::NotBinary)),
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) => {}
            }
        }
    }

    async fn handle(
        &mut self,
        message: ClientMessage,
        membership: &Membership,
        address: IpAddr,
    ) -> Result<(), End> {
        let Membership {
            swarm,
            peer,
            connection,
            ..
        } = membership;
        match message {
            ClientMessage::Relay { to, blob } => {
                let metrics = &self.app.metrics;
                match self.app.bus.deliver(swarm, *peer, to, blob) {
                    Delivery::Queued => metrics.relays_total.add(1),
                    Delivery::Gone => {
                        metrics.relays_gone_total.add(1);
                        self.say(&ServerMessage::Gone { to }).await?;
                    }
                    // For the sender it is the same: this did not arrive, try again later.
                    Delivery::Full => {
                        metrics.relays_dropped_total.add(1);
                        self.say(&ServerMessage::Gone { to }).await?;
                    }
                }
            }
            ClientMessage::Carry { to, frame } => {
                self.carry(membership, address, to, frame).await?
            }
            ClientMessage::More => {
                let candidates = self.app.bus.more(swarm, peer).await;
                self.say(&ServerMessage::Candidates(candidates)).await?;
            }
            ClientMessage::Report(report) => self.app.bus.report(swarm, peer, report),
            ClientMessage::Name { ticket } => {
                let names = &self.app.names;
                let name = names
                    .name(ticket, *connection, address, Instant::now())
                    .await;
                let lasts_s = names::LASTS.as_secs() as u16;
                self.say(&ServerMessage::Named { name, lasts_s }).await?;
            }
            ClientMessage::Find { name } => self.find(name, address).await?,
            ClientMessage::Leave => return Err(End::Closed),
            ClientMessage::Join(_) => return Err(End::Refused(Refusal::Order)),
        }
        Ok(())
    }

    /// Frames have an account of their own, in bytes.
    fn is_carry(&self, message: &Message) -> bool {
        self.app.config.relay.relay
            && matches!(message, Message::Binary(bytes) if bytes.first() == Some(&ClientMessage::CARRY))
    }

    /// Hands a frame on, and makes its sender wait as long as it takes to pay for it.
    async fn carry(
        &mut self,
        membership: &Membership,
        address: IpAddr,
        to: PeerId,
        frame: Vec<u8>,
    ) -> Result<(), End> {
        let (app, config) = (self.app.clone(), self.app.config.relay.clone());
        if !config.relay {
            return Err(End::Refused(Refusal::Malformed));
        }
        let len = frame.len();
        let paid = self.pay(&config, address, len, Instant::now());
        self.toll.bytes += len as u64;
        let (swarm, from) = (&membership.swarm, membership.peer);
        let delivery = match paid && self.toll.bytes <= config.relay_client_bytes {
            true => app.bus.carry(swarm, from, to, frame),
            false => Delivery::Full,
        };
        if delivery == Delivery::Queued {
            app.metrics.carried_frames_total.add(1);
            app.metrics.carried_bytes_total.add(len as u64);
            return Ok(());
        }
        app.metrics.carried_dropped_total.add(1);
        // A frame that is lost ends the connection that it is of.
        self.say(&ServerMessage::Gone { to }).await
    }

    /// Counts a frame to its sender, to the sender's address and to all together; whether it may go. What would keep its sender waiting for
    /// too long does not: so no debt grows, and the rates hold whatever the number of senders.
    fn pay(&mut self, config: &Relay, address: IpAddr, len: usize, now: Instant) -> bool {
        let cost = carry_cost(len);
        let own = Rate::even(config.relay_client_rate);
        let theirs = Rate::even(config.relay_address_rate);
        let all = Rate::even(config.relay_rate);
        let app = &self.app;
        let together = || {
            let mut toll = app.toll.lock().expect("nobody panics while counting");
            toll.owe(cost, all, CARRY_PAUSE_MAX, now)
        };
        let pause = self
            .toll
            .bucket
            .owe(cost, own, CARRY_PAUSE_MAX, now)
            .and_then(|pause| {
                let more = app
                    .addresses
                    .owe(address, cost, theirs, CARRY_PAUSE_MAX, now)?;
                Some(pause.max(more))
            })
            .and_then(|pause| Some(pause.max(together()?)));
        if pause != Some(Duration::ZERO) {
            let until = now + pause.unwrap_or(CARRY_PAUSE_MAX);
            self.toll.paused_until = Some(tokio::time::Instant::from_std(until));
        }
        pause.is_some()
    }

    fn resume(&mut self) {
        self.toll.paused_until = None;
        // It may have shown itself meanwhile.
        self.heard = Instant::now();
    }

    /// Shows the client that we are there, and makes it (its browser, that is) show the same.
    async fn keep_alive(&mut self, keepalive: Duration) -> Result<(), End> {
        if self.heard.elapsed() > keepalive * 5 / 2 {
            return Err(End::Refused(Refusal::Idle));
        }
        let ping = Message::Ping(Bytes::new());
        self.write(async |socket| {
            socket.feed(ping).await?;
            socket
                .send(Message::Binary(ServerMessage::Alive.encode().into()))
                .await
        })
        .await
    }

    async fn say(&mut self, message: &ServerMessage) -> Result<(), End> {
        let frame = Bytes::from(message.encode());
        self.count_sent(&frame);
        self.write(async |socket| socket.send(Message::Binary(frame)).await)
            .await
    }

    /// Sends all that waits, in one go.
    async fn send_all(&mut self, taken: Taken) -> Result<(), End> {
        taken.frames.iter().for_each(|frame| self.count_sent(frame));
        self.write(async |socket| {
            for frame in &taken.frames {
                socket.feed(Message::Binary(frame.clone())).await?;
            }
            socket.flush().await
        })
        .await
    }

    /// One write, which may take no longer than the limit, and ends early when its peer connected elsewhere.
    async fn write(
        &mut self,
        what: impl AsyncFnOnce(&mut WebSocket) -> Result<(), axum::Error>,
    ) -> Result<(), End> {
        let patience = self.app.config.limits.send_timeout;
        tokio::select! {
            written = timeout(patience, what(&mut self.socket)) => match written {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(End::Closed),
                Err(_) => Err(End::Refused(Refusal::TooSlow)),
            },
            reason = self.hangup.wait() => Err(End::Refused(reason)),
        }
    }

    fn count_sent(&self, frame: &Bytes) {
        self.app.metrics.messages_sent_total.add(1);
        self.app.metrics.bytes_sent_total.add(frame.len() as u64);
    }

    /// Says why, if there is a reason, closes, and reads on for `linger`: unread data would turn the close into a reset, which destroys
    /// what was said on its way (RFC 9293 §3.6.1).
    async fn finish(mut self, end: End, linger: Duration) {
        let limits = self.app.config.limits.clone();
        let (last_words, code, why, linger) = match end {
            End::Closed => {
                tracing::debug!(connection = self.connection, "closed");
                let _ = timeout(linger, self.socket.close()).await;
                return;
            }
            End::Refused(reason) | End::Unreadable(reason) => {
                self.app.metrics.refused(reason);
                let name = refusal_name(reason);
                tracing::debug!(connection = self.connection, reason = name, "refused");
                (refused(reason), close_code_for(reason), name, linger)
            }
            End::GoingAway => {
                let message = ServerMessage::GoingAway {
                    retry_ms: fastrand::u32(500..3000),
                };
                (message, close_code::AWAY, "going-away", limits.grace)
            }
        };
        let close = Message::Close(Some(CloseFrame {
            code,
            reason: why.into(),
        }));
        // Polled once even without time to linger: what fits into the kernel's buffer is said.
        let said = timeout(linger, async {
            self.socket
                .feed(Message::Binary(last_words.encode().into()))
                .await?;
            self.socket.send(close).await
        });
        if !matches!(said.await, Ok(Ok(()))) {
            return;
        }
        let until_closed = async {
            match end {
                // There may be megabytes of a message that we do not want.
                End::Unreadable(_) => std::future::pending().await,
                _ => self.read_off().await,
            }
        };
        let _ = timeout(linger, until_closed).await;
    }

    /// Reads what was under way, until the client closes. That is a burst at most; who sends more is not worth reading to.
    async fn read_off(&mut self) {
        let limits = self.app.config.limits.clone();
        let mut bucket = Bucket::full(limits.messages_burst, Instant::now());
        while let Some(Ok(_)) = self.socket.recv().await {
            if !bucket.take(
                limits.messages_per_second,
                limits.messages_burst,
                Instant::now(),
            ) {
                return;
            }
        }
    }
}

/// The clock is compared first: a Join of a computer whose clock is wrong is otherwise fine.
fn verify(join: &Join, hosts: &[String]) -> Result<(), Refusal> {
    let now = unix_s();
    let mut refusal = Refusal::Signature;
    for host in hosts {
        match join.verify(host, now) {
            Ok(()) => return Ok(()),
            Err(JoinError::Version(_)) => refusal = Refusal::Version,
            Err(JoinError::Clock) => refusal = Refusal::Clock,
            Err(JoinError::SwarmSignature | JoinError::PeerSignature) => {}
        }
    }
    Err(refusal)
}

fn refusal_for(error: DecodeError) -> Refusal {
    match error {
        DecodeError::Version(_) => Refusal::Version,
        DecodeError::TooLarge { .. } | DecodeError::Blob(_) | DecodeError::Frame(_) => {
            Refusal::TooLarge
        }
        DecodeError::Empty | DecodeError::UnknownKind(_) | DecodeError::Fields(_) => {
            Refusal::Malformed
        }
    }
}

fn unreadable(error: &axum::Error) -> End {
    match error
        .source()
        .and_then(|source| source.downcast_ref::<WebSocketError>())
    {
        Some(WebSocketError::Capacity(_)) => End::Unreadable(Refusal::TooLarge),
        Some(WebSocketError::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        )) => End::Closed,
        Some(WebSocketError::Protocol(_) | WebSocketError::Utf8(_)) => {
            End::Unreadable(Refusal::Malformed)
        }
        _ => End::Closed,
    }
}

fn refused(reason: Refusal) -> ServerMessage {
    ServerMessage::Refused {
        reason,
        retry_ms: retry_ms(reason),
        server_unix_s: unix_s(),
    }
}

/// When it makes sense to come back. What many meet at once is spread out.
fn retry_ms(reason: Refusal) -> Option<u32> {
    match reason {
        Refusal::Clock => Some(0),
        Refusal::TooSlow | Refusal::Idle => Some(500),
        Refusal::Replayed => Some(1000),
        Refusal::TooFast => Some(fastrand::u32(10_000..15_000)),
        Refusal::AddressConnections
        | Refusal::AddressSwarms
        | Refusal::SwarmFull
        | Refusal::ServerFull => Some(fastrand::u32(30_000..60_000)),
        Refusal::Version
        | Refusal::Signature
        | Refusal::Malformed
        | Refusal::TooLarge
        | Refusal::NotBinary
        | Refusal::Order
        | Refusal::Replaced => None,
    }
}

/// RFC 6455 §7.4.1.
fn close_code_for(reason: Refusal) -> u16 {
    match reason {
        Refusal::TooLarge => close_code::SIZE,
        Refusal::NotBinary => close_code::UNSUPPORTED,
        Refusal::Malformed => close_code::PROTOCOL,
        Refusal::ServerFull
        | Refusal::AddressConnections
        | Refusal::AddressSwarms
        | Refusal::SwarmFull => close_code::AGAIN,
        _ => close_code::POLICY,
    }
}

async fn until(when: Option<tokio::time::Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error means that the server is gone altogether.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// The longest time for which a client is not read, whatever others have carried: half of what a client waits for its writes.
const CARRY_PAUSE_MAX: Duration = Duration::from_secs(5);

impl Drop for Membership {
    fn drop(&mut self) {
        self.app.bus.leave(&self.swarm, &self.peer, self.connection);
        self.app.names.forget(self.connection);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.connections.add(-1);
    }
}
