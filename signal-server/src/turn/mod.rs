//! STUN and TURN in the server's own process, for peers who cannot reach each other.
//!
//! `relay` decides, this file has the sockets: one task owns the state and hears from all of them.

mod accounts;
mod allocation;
pub mod credential;
mod filter;
mod relay;
mod stun;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use baton_signal_protocol::{IceServer, PeerId, SwarmId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::config::{Config, Ice, Ports};
use crate::limits::Account;
use crate::metrics::unix_s;
use crate::server::App;
use credential::Secret;
use relay::{Client, Output, RelayId, Relays, Settings, Transport};

/// The sockets, bound; nobody is served yet.
pub struct Turn {
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
    ports: Option<Ports>,
    settings: Settings,
}

/// What the sockets tell the task that owns the state.
enum Event {
    FromClient(Client, Vec<u8>),
    Connected(Client, mpsc::Sender<Vec<u8>>),
    Gone(Client),
    FromPeer(RelayId, SocketAddr, Vec<u8>),
}

/// A relay's socket and the task that reads it.
struct Socket(Arc<UdpSocket>, AbortHandle);

impl Turn {
    /// Binds what `--turn-listen` names; `None` without it.
    pub async fn bind(config: &Config, secret: Secret) -> anyhow::Result<Option<Self>> {
        let options = &config.turn;
        let Some(listen) = options.turn_listen else {
            return Ok(None);
        };
        let public = options.turn_public_address.unwrap_or(listen.ip());
        anyhow::ensure!(
            !public.is_unspecified(),
            "--turn-listen {listen} listens everywhere: --turn-public-address must say where clients find it"
        );
        let (udp, tcp) = bind_both(listen)
            .await
            .with_context(|| format!("--turn-listen {listen}"))?;
        Ok(Some(Self {
            udp: Arc::new(udp),
            tcp,
            ports: options.turn_relay_ports,
            settings: Settings {
                secret,
                public,
                allowed_peers: options.turn_allow_peers.clone(),
                is_ours: filter::is_of_this_machine,
                allocations_per_user: options.turn_allocations_per_user,
                allocations_per_address: options.turn_allocations_per_address,
                allocations_max: options.turn_allocations_max,
                user_bytes_per_second: options.turn_user_rate,
                address_bytes_per_second: options.turn_address_rate,
                bytes_per_second: options.turn_rate,
                log: config.log,
            },
        }))
    }

    pub fn address(&self) -> SocketAddr {
        self.udp.local_addr().expect("a socket has an address")
    }

    /// Serves until the server stops for good. Films that run over a relay go on while it drains.
    pub async fn run(self, app: Arc<App>) {
        let (events, mut inbox) = mpsc::channel(EVENTS_MAX);
        let mut accepting = tokio::spawn(accept(self.tcp, events.clone(), app.clone()));
        let mut state = State {
            relays: Relays::new(self.settings, app.metrics.clone(), Instant::now(), unix_s()),
            udp: self.udp.clone(),
            ports: self.ports,
            sockets: BTreeMap::new(),
            lines: BTreeMap::new(),
            events,
        };
        let _stop = Abort(accepting.abort_handle());
        let mut tick = tokio::time::interval(TICK);
        let mut buffer = vec![0; PACKET_MAX];
        loop {
            tokio::select! {
                received = self.udp.recv_from(&mut buffer) => {
                    // An error is some earlier packet's ICMP.
                    if let Ok((len @ ..PACKET_MAX, address)) = received {
                        let client = Client { transport: Transport::Udp, address };
                        state.relays.handle_client(Instant::now(), client, &buffer[..len]);
                    }
                }
                Some(event) = inbox.recv() => state.handle(Instant::now(), event),
                _ = tick.tick() => state.handle_time(Instant::now()),
                // It has no end but a defect, which ends this too: whoever runs the server sees it.
                _ = &mut accepting => return,
            }
            state.work().await;
        }
    }
}

/// What a client is told of relays, ours and others'.
pub struct Ices {
    outside: Vec<Ice>,
    own: Option<SocketAddr>,
    secret: Secret,
}

impl Ices {
    pub fn new(outside: Vec<Ice>, turn: Option<&Turn>, secret: Secret) -> Self {
        let own = turn.map(|turn| SocketAddr::new(turn.settings.public, turn.address().port()));
        Self {
            outside,
            own,
            secret,
        }
    }

    /// As a Welcome names them, with a credential for this peer of this swarm.
    pub fn for_peer(&self, swarm: &SwarmId, peer: &PeerId) -> Vec<IceServer> {
        let made = self.secret.issue(swarm, peer, unix_s());
        let with_made = |urls| IceServer {
            urls,
            username: Some(made.username.clone()),
            credential: Some(made.password.clone()),
        };
        let outside = self.outside.iter().map(|ice| match &ice.0.credential {
            None if ice.is_turn() => with_made(ice.0.urls.clone()),
            _ => ice.0.clone(),
        });
        let own = self.own.into_iter().flat_map(|address| {
            let stun = IceServer {
                urls: vec![format!("stun:{address}")],
                username: None,
                credential: None,
            };
            let urls = ["udp", "tcp"].map(|by| format!("turn:{address}?transport={by}"));
            [stun, with_made(urls.to_vec())]
        });
        outside.chain(own).collect()
    }
}

struct State {
    relays: Relays,
    udp: Arc<UdpSocket>,
    ports: Option<Ports>,
    sockets: BTreeMap<RelayId, Socket>,
    /// Of clients that came by TCP.
    lines: BTreeMap<Client, Line>,
    events: mpsc::Sender<Event>,
}

/// A client's TCP connection, as the task that owns the state has it. Dropped, it is closed.
struct Line {
    queue: mpsc::Sender<Vec<u8>>,
    /// When it had a relay last, or began.
    relayed: Instant,
}

impl State {
    fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::FromClient(client, bytes) => self.relays.handle_client(now, client, &bytes),
            Event::FromPeer(relay, from, bytes) => {
                self.relays.handle_peer(now, relay, from, &bytes);
            }
            Event::Connected(client, queue) => {
                let relayed = now;
                self.lines.insert(client, Line { queue, relayed });
            }
            Event::Gone(client) => {
                self.lines.remove(&client);
                self.relays.handle_gone(client);
            }
        }
    }

    /// Ends what is over, and closes the connections that are here for nothing: one word now and then would keep a place from those who want a relay.
    fn handle_time(&mut self, now: Instant) {
        self.relays.handle_time(now);
        self.lines.retain(|client, line| {
            if self.relays.has_relay(client) {
                line.relayed = now;
            }
            now < line.relayed + IDLE
        });
    }

    /// Does all that is to be done. A packet that cannot be sent is lost, as packets are.
    async fn work(&mut self) {
        loop {
            let outputs = self.relays.take_outputs();
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                match output {
                    Output::Answer { to, bytes } => match to.transport {
                        Transport::Udp => drop(self.udp.send_to(&bytes, to.address).await),
                        Transport::Tcp(_) => {
                            if let Some(line) = self.lines.get(&to) {
                                let _ = line.queue.try_send(bytes);
                            }
                        }
                    },
                    Output::Open(relay) => {
                        let opened = self.open(relay).await.ok();
                        self.relays.handle_opened(relay, opened);
                    }
                    Output::Relay { relay, to, bytes } => {
                        if let Some(Socket(socket, _)) = self.sockets.get(&relay) {
                            let _ = socket.send_to(&bytes, to).await;
                        }
                    }
                    Output::Close(relay) => drop(self.sockets.remove(&relay)),
                }
            }
        }
    }

    /// Opens a relay's socket; returns the address that peers reach it at.
    async fn open(&mut self, relay: RelayId) -> io::Result<SocketAddr> {
        let ip = self.udp.local_addr()?.ip();
        let socket = Arc::new(bind_one(ip, self.ports).await?);
        let port = socket.local_addr()?.port();
        let (reader, events) = (socket.clone(), self.events.clone());
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; PACKET_MAX];
            loop {
                if let Ok((len @ ..PACKET_MAX, from)) = reader.recv_from(&mut buffer).await {
                    let event = Event::FromPeer(relay, from, buffer[..len].to_vec());
                    if events.send(event).await.is_err() {
                        return;
                    }
                }
            }
        });
        self.sockets
            .insert(relay, Socket(socket, reading.abort_handle()));
        Ok(SocketAddr::new(self.relays.public(), port))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.1.abort();
    }
}

struct Abort(AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The same port over UDP and TCP, also where the system chooses it.
async fn bind_both(listen: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = 0;
    loop {
        let udp = UdpSocket::bind(listen).await?;
        tries += 1;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(_) if listen.port() == 0 && tries < PORT_TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

/// A socket on any port, or on one of a range.
async fn bind_one(ip: IpAddr, ports: Option<Ports>) -> io::Result<UdpSocket> {
    let Some(ports) = ports else {
        return UdpSocket::bind((ip, 0)).await;
    };
    let mut error = io::ErrorKind::AddrInUse.into();
    for _ in 0..PORT_TRIES {
        match UdpSocket::bind((ip, fastrand::u16(ports.first..=ports.last))).await {
            Ok(socket) => return Ok(socket),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}

async fn accept(listener: TcpListener, events: mpsc::Sender<Event>, app: Arc<App>) {
    let room = Arc::new(Semaphore::new(app.config.turn.turn_allocations_max));
    loop {
        let Ok((stream, address)) = listener.accept().await else {
            // Out of file descriptors, most likely: some will be closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let max = app.config.turn.turn_allocations_per_address;
        let of_address = app.addresses.connect(address.ip(), Account::Turn, max);
        let (Ok(of_all), Ok(of_address)) = (room.clone().try_acquire_owned(), of_address) else {
            continue;
        };
        let client = Client {
            transport: Transport::Tcp(app.next_connection()),
            address,
        };
        let events = events.clone();
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let (reader, writer) = stream.into_split();
            converse(reader, writer, client, &events).await;
            let _ = events.send(Event::Gone(client)).await;
            drop((of_all, of_address));
        });
    }
}

/// One client's TCP connection, until either side ends it.
async fn converse(
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    client: Client,
    events: &mpsc::Sender<Event>,
) {
    let (line, mut queue) = mpsc::channel::<Vec<u8>>(QUEUE_MAX);
    if events.send(Event::Connected(client, line)).await.is_err() {
        return;
    }
    let reading = async {
        let mut patience = FIRST_WORD;
        while let Ok(Ok(bytes)) = timeout(patience, read_frame(&mut reader)).await {
            patience = SILENCE;
            if events.send(Event::FromClient(client, bytes)).await.is_err() {
                return;
            }
        }
    };
    let writing = async {
        while let Some(mut bytes) = queue.recv().await {
            // On a stream, channel data is padded (RFC 8656 §12.5).
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            let written = timeout(WRITE, writer.write_all(&bytes)).await;
            if !matches!(written, Ok(Ok(()))) {
                return;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
}

/// The next message of a stream: STUN, or channel data without its padding.
async fn read_frame(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    reader.read_exact(&mut frame).await?;
    let len = usize::from(u16::from_be_bytes([frame[2], frame[3]]));
    let (more, padding) = match frame[0] {
        0x00..=0x3F => (16 + len, 0),
        0x40..=0x4F => (len, len.next_multiple_of(4) - len),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    if more > PACKET_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    frame.resize(4 + more + padding, 0);
    reader.read_exact(&mut frame[4..]).await?;
    frame.truncate(4 + more);
    Ok(frame)
}

/// Longest packet, one less: WebRTC keeps to 1,200 bytes of payload, and Ethernet to 1,500. What is longer is dropped, not cut.
const PACKET_MAX: usize = 2048;
/// Packets that wait for the one task; beyond, the kernel's buffers fill and then drop.
const EVENTS_MAX: usize = 1024;
/// Packets that wait for one TCP client; beyond they are dropped, as on a full link.
const QUEUE_MAX: usize = 256;
const TICK: Duration = Duration::from_secs(5);
/// Ports of a range tried before an allocation is refused.
const PORT_TRIES: usize = 32;
/// How long a TCP client may take to say something first, and then at all (it refreshes every ten minutes), and one write to it.
const FIRST_WORD: Duration = Duration::from_secs(15);
const SILENCE: Duration = Duration::from_secs(660);
const WRITE: Duration = Duration::from_secs(10);
/// How long a TCP client may be without a relay: it has asked for one within a few round trips, or gave it back and goes.
const IDLE: Duration = Duration::from_secs(30);
