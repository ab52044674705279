//! One connection's task: makes the RTCPeerConnection, reads both channels, writes what it is told.
//!
//! Back-pressure both ways. Out: the `webrtc` crate's `send` queues without end, so the engine gets credit for what left
//! `outstanding_bytes()` only. In: a message waits for the session's bounded inbox, and meanwhile the crate's own
//! event queue and then SCTP's receive window fill, which slows the sender down.

use baton_signal_protocol::{IceCandidate, IceServer};
use baton_swarm::{Channel, ConnId, Path};
use bytes::{Bytes, BytesMut};
use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::transport::RTCDtlsRole;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceCandidateInit, RTCIceCandidateType, RTCIceServer, RTCIceTransportPolicy,
    RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCSessionDescription, SettingEngineBuilder,
};

/// Which ways a connection may take.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Local addresses to use, unspecified ones for every interface of their family.
    pub bind: Vec<IpAddr>,
    /// Which ports of these; any without it.
    pub ports: Option<Ports>,
    /// Addresses at which the same ports are reached from outside.
    pub public: Vec<IpAddr>,
    /// Through a TURN server and no other way: nobody but it learns our address.
    pub relay_only: bool,
}

/// The ports that a firewall or a container passes on: each connection takes the next one that is free.
#[derive(Clone, Debug)]
pub struct Ports {
    first: u16,
    count: u32,
    next: Arc<AtomicU32>,
}

impl Ports {
    pub fn new(range: RangeInclusive<u16>) -> Ports {
        let (first, last) = (*range.start(), *range.end());
        Ports {
            first,
            count: u32::from(last.saturating_sub(first)) + 1,
            next: Arc::default(),
        }
    }

    /// One that is free at all of these addresses; the crate binds it a moment later.
    fn take(&self, bind: &[IpAddr]) -> Option<u16> {
        let free = |port: &u16| bind.iter().all(|ip| UdpSocket::bind((*ip, *port)).is_ok());
        let one = |_| {
            // No other connection of this process tries the same one meanwhile.
            let place = self.next.fetch_add(1, Ordering::Relaxed) % self.count;
            self.first + u16::try_from(place).unwrap_or(0)
        };
        (0..self.count).map(one).find(free)
    }
}

/// What to make.
pub struct Setup {
    pub conn: ConnId,
    /// The SDP of the offer to answer; `None` to make one.
    pub offer: Option<String>,
    pub ice: Vec<IceServer>,
    pub routes: Routes,
    pub commands: mpsc::UnboundedReceiver<Command>,
    pub events: mpsc::Sender<(ConnId, LinkEvent)>,
}

/// What to do.
pub enum Command {
    /// The answer's SDP.
    Answer(String),
    /// Further addresses of the other side.
    Candidates(Vec<IceCandidate>),
    Send(Channel, Bytes),
    /// Close after a moment, so that what was sent last arrives.
    Close,
}

/// What happened.
#[derive(Debug)]
pub enum LinkEvent {
    /// Our description is set; this is its SDP.
    Described(String),
    /// One more local candidate.
    Candidate(String),
    /// Both channels are open.
    Opened(Path),
    Received(Channel, Bytes),
    /// Bytes in all that may be sent, as `Input::Writable` counts them.
    Credit(u64),
    /// A channel closed, the transport failed, or the handshake took too long: the fault in words, if there was one.
    Gone(Option<String>),
}

/// Starts the task.
pub fn spawn(setup: Setup) {
    tokio::spawn(async move {
        let (conn, events) = (setup.conn, setup.events.clone());
        let fault = run(setup).await.err().map(|fault| fault.to_string());
        let _ = events.send((conn, LinkEvent::Gone(fault))).await;
    });
}

struct Handler {
    conn: ConnId,
    events: mpsc::Sender<(ConnId, LinkEvent)>,
    failed: std::sync::Mutex<Option<oneshot::Sender<()>>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Ok(init) = event.candidate.to_json() {
            let (conn, events) = (self.conn, self.events.clone());
            // The crate's driver calls this: it must not wait for our inbox. A host has some ten candidates.
            tokio::spawn(async move {
                let _ = events
                    .send((conn, LinkEvent::Candidate(init.candidate)))
                    .await;
            });
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if matches!(
            state,
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed
        ) && let Ok(mut failed) = self.failed.lock()
            && let Some(failed) = failed.take()
        {
            let _ = failed.send(());
        }
    }
}

/// Everything that `?` passes up ends the connection; whose fault it was cannot be told from here.
type Ended = Box<dyn std::error::Error + Send + Sync>;

async fn run(setup: Setup) -> Result<(), Ended> {
    let Setup {
        conn,
        offer,
        ice,
        routes,
        mut commands,
        events,
    } = setup;
    let deadline = Instant::now() + HANDSHAKE;
    let (failed_tx, mut failed) = oneshot::channel();
    let handler = Handler {
        conn,
        events: events.clone(),
        failed: std::sync::Mutex::new(Some(failed_tx)),
    };
    let pc: Arc<dyn PeerConnection> = Arc::new(build(&ice, &routes, handler).await?);
    let closer = Closer(Some(pc.clone()));
    let control = channel(&*pc, "control", 0, true).await?;
    // What we send here is ordered, though the other side's is not (each side chooses for what it sends): the crate's SCTP sends
    // everything unordered before anything ordered, and headers that wait behind a megabyte of their blocks cost every
    // third block twice.
    let data = channel(&*pc, "data", 1, true).await?;

    let mut remote_known = offer.is_some();
    // Our answers are passive, and a passive side speaks second: see `heard` below.
    let mut passive = offer.is_some();
    let local = match offer {
        Some(sdp) => {
            pc.set_remote_description(RTCSessionDescription::offer(sdp)?)
                .await?;
            pc.create_answer(None).await?
        }
        None => pc.create_offer(None).await?,
    };
    let sdp = local.sdp.clone();
    events.send((conn, LinkEvent::Described(sdp))).await?;
    pc.set_local_description(local).await?;

    let (opened_tx, mut opened) = mpsc::channel(2);
    let (heard_tx, mut heard) = mpsc::channel(1);
    let mut readers = tokio::task::JoinSet::new();
    // Messages of a channel that opened first wait until the engine knows of the connection.
    let (announce, announced) = tokio::sync::watch::channel(false);
    for (kind, channel) in [(Channel::Control, &control), (Channel::Data, &data)] {
        readers.spawn(read(
            conn,
            kind,
            channel.clone(),
            opened_tx.clone(),
            heard_tx.clone(),
            announced.clone(),
            events.clone(),
        ));
    }
    drop((opened_tx, heard_tx));

    let mut early = Vec::new();
    let mut open_channels = 0;
    while open_channels < 2 {
        tokio::select! {
            command = timeout_at(deadline, commands.recv()) => match command? {
                Some(Command::Answer(sdp)) => {
                    passive = sdp.contains("a=setup:active");
                    pc.set_remote_description(RTCSessionDescription::answer(sdp)?).await?;
                    remote_known = true;
                    add_candidates(&*pc, std::mem::take(&mut early)).await;
                }
                Some(Command::Candidates(more)) if remote_known => add_candidates(&*pc, more).await,
                Some(Command::Candidates(more)) => early.extend(more),
                Some(Command::Send(..)) => {}
                Some(Command::Close) | None => return Ok(()),
            },
            one = opened.recv() => {
                one.ok_or("a channel closed before it opened")?;
                open_channels += 1;
            }
            _ = &mut failed => return Ok(()),
        }
    }
    if passive {
        // The crate at the other end loses what comes in one burst with the packet that connects it (its channels know of no
        // association yet). The active side may speak at once, because we were connected first; what it says shows that it is, too.
        tokio::select! {
            _ = timeout_at(deadline, heard.recv()) => {}
            _ = &mut failed => return Ok(()),
        }
    }
    let path = match routes.relay_only {
        true => Path::Relay,
        false => find_path(&*pc).await,
    };
    events.send((conn, LinkEvent::Opened(path))).await?;
    let _ = announce.send(true);
    let ended = pump(
        conn,
        &mut commands,
        &*pc,
        &[control, data],
        &events,
        &mut failed,
        &mut readers,
    )
    .await;
    closer.close().await;
    ended
}

/// Writes until it is told to stop, or somebody else did.
async fn pump(
    conn: ConnId,
    commands: &mut mpsc::UnboundedReceiver<Command>,
    pc: &dyn PeerConnection,
    channels: &[Arc<dyn DataChannel>; 2],
    events: &mpsc::Sender<(ConnId, LinkEvent)>,
    failed: &mut oneshot::Receiver<()>,
    readers: &mut tokio::task::JoinSet<()>,
) -> Result<(), Ended> {
    let (mut sent, mut left, mut reported) = (0u64, 0u64, 0u64);
    let mut waiting = true;
    let mut look_again = Instant::now();
    // A place in the session's inbox for the next report, and what to say there.
    let mut place = None;
    let mut credit = 0;
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Send(channel, bytes)) => {
                    sent += bytes.len() as u64;
                    channels[usize::from(channel == Channel::Data)].send(BytesMut::from(bytes)).await?;
                    waiting = true;
                    if sent - left <= OUTSTANDING_MAX {
                        continue;
                    }
                }
                Some(Command::Candidates(more)) => {
                    add_candidates(pc, more).await;
                    continue;
                }
                Some(Command::Answer(_)) => continue,
                Some(Command::Close) | None => {
                    drain(channels).await;
                    return Ok(());
                }
            },
            permit = async { place.as_mut().expect("guarded").await }, if place.is_some() => {
                place = None;
                reported = credit;
                let permit: mpsc::OwnedPermit<_> = permit?;
                permit.send((conn, LinkEvent::Credit(credit)));
                continue;
            }
            () = sleep_until(look_again), if waiting => {}
            _ = readers.join_next() => return Ok(()),
            _ = &mut *failed => return Ok(()),
        }
        look_again = Instant::now() + CREDIT_INTERVAL;
        let outstanding = outstanding(channels).await?;
        if outstanding > OUTSTANDING_MAX {
            return Err("the other side takes nothing of what is sent".into());
        }
        left = sent.saturating_sub(outstanding);
        waiting = outstanding > 0;
        // Absolute: what was sent, less what still waits, plus the window. A later report says all that an earlier one did.
        credit = credit.max(left + SEND_WINDOW);
        if place.is_none() && credit >= reported + SEND_WINDOW / 8 {
            // Waited for beside everything else: a full inbox must keep us neither from sending nor from reporting.
            place = Some(Box::pin(events.clone().reserve_owned()));
        }
    }
}

async fn read(
    conn: ConnId,
    kind: Channel,
    channel: Arc<dyn DataChannel>,
    opened: mpsc::Sender<()>,
    heard: mpsc::Sender<()>,
    mut announced: tokio::sync::watch::Receiver<bool>,
    events: mpsc::Sender<(ConnId, LinkEvent)>,
) {
    while let Some(event) = channel.poll().await {
        match event {
            DataChannelEvent::OnOpen if opened.send(()).await.is_err() => return,
            DataChannelEvent::OnMessage(message) => {
                // A second one need not be told.
                let _ = heard.try_send(());
                if announced.wait_for(|announced| *announced).await.is_err() {
                    return;
                }
                // A text message is nothing that Baton speaks: as an empty one, the engine refuses it with the reason.
                let bytes = if message.is_string {
                    Bytes::new()
                } else {
                    message.data.freeze()
                };
                if events
                    .send((conn, LinkEvent::Received(kind, bytes)))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            DataChannelEvent::OnClose | DataChannelEvent::OnClosing => return,
            _ => {}
        }
    }
}

async fn build(
    ice: &[IceServer],
    routes: &Routes,
    handler: Handler,
) -> Result<impl PeerConnection + use<>, Ended> {
    let servers = ice.iter().map(|server| RTCIceServer {
        urls: server.urls.clone(),
        username: server.username.clone().unwrap_or_default(),
        credential: server.credential.clone().unwrap_or_default(),
    });
    let configuration = RTCConfigurationBuilder::new()
        .with_ice_servers(servers.collect())
        .with_ice_transport_policy(match routes.relay_only {
            true => RTCIceTransportPolicy::Relay,
            false => RTCIceTransportPolicy::All,
        })
        .build();
    let bind = &routes.bind;
    let port = match &routes.ports {
        Some(ports) => ports.take(bind).ok_or("none of --udp-ports is free")?,
        None => 0,
    };
    // Candidates are addresses, never mDNS names: a browser that hides its own still reaches ours.
    let settings = SettingEngineBuilder::new()
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_answering_dtls_role(RTCDtlsRole::Server)
        .with_ice_timeouts(Some(SILENT), Some(GONE), Some(KEEPALIVE))
        .with_include_loopback_candidate(bind.iter().any(IpAddr::is_loopback));
    Ok(PeerConnectionBuilder::new()
        .with_configuration(configuration)
        .with_setting_engine(settings.build())
        .with_handler(Arc::new(handler))
        .with_udp_addrs(bind.iter().map(|ip| SocketAddr::new(*ip, port)).collect())
        .build()
        .await?)
}

async fn channel(
    pc: &dyn PeerConnection,
    label: &str,
    id: u16,
    ordered: bool,
) -> Result<Arc<dyn DataChannel>, Ended> {
    let init = RTCDataChannelInit {
        ordered,
        negotiated: Some(id),
        ..Default::default()
    };
    Ok(pc.create_data_channel(label, Some(init)).await?)
}

/// A candidate that cannot be used (a family that we lack, say) costs only itself.
async fn add_candidates(pc: &dyn PeerConnection, candidates: Vec<IceCandidate>) {
    for candidate in candidates {
        let init = RTCIceCandidateInit {
            candidate: candidate.to_line(),
            sdp_mid: Some("0".into()),
            sdp_mline_index: Some(0),
            ..Default::default()
        };
        let _ = pc.add_ice_candidate(init).await;
    }
}

async fn outstanding(channels: &[Arc<dyn DataChannel>; 2]) -> Result<u64, Ended> {
    let [control, data] = channels;
    Ok((control.outstanding_bytes().await? + data.outstanding_bytes().await?) as u64)
}

/// Waits until what was sent is acknowledged, but not for long.
async fn drain(channels: &[Arc<dyn DataChannel>; 2]) {
    let deadline = Instant::now() + LINGER;
    while Instant::now() < deadline && outstanding(channels).await.is_ok_and(|bytes| bytes > 0) {
        sleep_until(Instant::now() + CREDIT_INTERVAL).await;
    }
}

/// Whether the chosen pair is relayed, at either end. (The crate's statistics name candidates in pairs otherwise than alone.)
async fn find_path(pc: &dyn PeerConnection) -> Path {
    let Some(sctp) = pc.sctp().await else {
        return Path::Direct;
    };
    let ice = sctp.transport().ice_transport();
    let Ok(Some(pair)) = ice.get_selected_candidate_pair().await else {
        return Path::Direct;
    };
    let relayed = [pair.local(), pair.remote()]
        .into_iter()
        .any(|candidate| candidate.typ == RTCIceCandidateType::Relay);
    if relayed { Path::Relay } else { Path::Direct }
}

/// Closes the connection however its task ends.
struct Closer(Option<Arc<dyn PeerConnection>>);

impl Closer {
    async fn close(mut self) {
        if let Some(pc) = self.0.take() {
            let _ = pc.close().await;
        }
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        if let (Some(pc), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                let _ = pc.close().await;
            });
        }
    }
}

/// How much may wait in a connection's channels, bytes: a fast path stays busy, and a cancel still matters.
const SEND_WINDOW: u64 = 1 << 20;
/// How much may wait all the same: control messages ask for no credit. Whoever lets so much pile up does not listen.
const OUTSTANDING_MAX: u64 = 8 << 20;
/// How often to look at what has left while something waits: 1 MiB per 4 ms are 250 MB/s.
const CREDIT_INTERVAL: Duration = Duration::from_millis(4);
/// How long a connection may take to open: as in the browser.
const HANDSHAKE: Duration = Duration::from_secs(12);
/// Nothing came for so long: browsers ask for consent about every five seconds (RFC 7675).
const SILENT: Duration = Duration::from_secs(6);
/// And then for so long again: the other side is gone, and what it was given is free for others.
const GONE: Duration = Duration::from_secs(4);
/// How often to say that we are here when nothing else is sent.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// How long a closing connection may go on delivering.
const LINGER: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    struct Side {
        commands: mpsc::UnboundedSender<Command>,
        events: mpsc::Receiver<(ConnId, LinkEvent)>,
    }

    fn side(offer: Option<String>) -> Side {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (out, events) = mpsc::channel(16);
        spawn(Setup {
            conn: ConnId(1),
            offer,
            ice: Vec::new(),
            routes: Routes {
                bind: vec![IpAddr::from([127, 0, 0, 1])],
                ..Routes::default()
            },
            commands: inbox,
            events: out,
        });
        Side { commands, events }
    }

    fn pass_on(event: &LinkEvent, to: &Side) {
        if let LinkEvent::Candidate(line) = event
            && let Ok(Some(candidate)) = IceCandidate::parse(line)
        {
            // One that has ended shows by its own event.
            let _ = to.commands.send(Command::Candidates(vec![candidate]));
        }
    }

    /// Two sides of which the first has sent a first message, and the second has it.
    async fn connected() -> (Side, Side) {
        let mut offerer = side(None);
        let (mut sdp, mut early) = (None, Vec::new());
        while sdp.is_none() {
            match offerer.events.recv().await.expect("it runs").1 {
                LinkEvent::Described(text) => sdp = Some(text),
                event => early.push(event),
            }
        }
        let mut answerer = side(sdp);
        early.iter().for_each(|event| pass_on(event, &answerer));
        loop {
            tokio::select! {
                event = offerer.events.recv() => match event.expect("it runs").1 {
                    LinkEvent::Opened(_) => {
                        let hello = Bytes::from_static(b"hello");
                        let _ = offerer.commands.send(Command::Send(Channel::Control, hello));
                    }
                    LinkEvent::Gone(fault) => panic!("{fault:?}"),
                    event => pass_on(&event, &answerer),
                },
                event = answerer.events.recv() => match event.expect("it runs").1 {
                    LinkEvent::Described(text) => {
                        let _ = offerer.commands.send(Command::Answer(text));
                    }
                    LinkEvent::Received(..) => return (offerer, answerer),
                    LinkEvent::Gone(fault) => panic!("{fault:?}"),
                    event => pass_on(&event, &offerer),
                },
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_takes_nothing_of_what_is_sent_is_let_go() {
        // From here on nobody takes what the other side hears: its windows fill.
        let (mut talker, _deaf) = connected().await;
        let message = Bytes::from(vec![7; 60_000]);
        for _ in 0..600 {
            let _ = talker
                .commands
                .send(Command::Send(Channel::Control, message.clone()));
        }
        let fault = loop {
            if let (_, LinkEvent::Gone(fault)) = talker.events.recv().await.expect("it runs") {
                break fault;
            }
        };
        assert_eq!(
            fault.as_deref(),
            Some("the other side takes nothing of what is sent")
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn credit_comes_though_the_inbox_was_full() {
        let (mut talker, mut listener) = connected().await;
        let message = Bytes::from(vec![7; 60_000]);
        let mut sent = 5;
        for _ in 0..10 {
            let both = [&talker, &listener];
            for side in both {
                // Both ways: what comes fills the inbox that the credit must go through.
                let _ = side
                    .commands
                    .send(Command::Send(Channel::Data, message.clone()));
            }
            sent += message.len() as u64;
        }
        let drain = tokio::spawn(async move { while listener.events.recv().await.is_some() {} });
        let mut credit = 0;
        // Reports come in steps of an eighth of the window.
        while credit + SEND_WINDOW / 8 <= sent + SEND_WINDOW {
            match talker.events.recv().await.expect("it runs").1 {
                LinkEvent::Credit(now) => credit = now,
                LinkEvent::Gone(fault) => panic!("{fault:?}"),
                _ => {}
            }
        }
        drain.abort();
    }
}
