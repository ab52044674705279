//! One connection's task: makes the RTCPeerConnection, reads both channels, writes what it is told.
//!
//! Back-pressure both ways. Out: the `webrtc` crate's `send` queues without end, so the engine gets credit for what left
//! `outstanding_bytes()` only. In: everything is read at once into the session's inbox, which has its bounds (`inbox.rs`).

use crate::ice::{self, Remote, Routes};
use crate::inbox::{Entrance, Room};
use baton_signal_protocol::{IceCandidate, IceServer};
use baton_swarm::{Channel, Path};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionEventHandler, RTCPeerConnectionIceEvent, RTCPeerConnectionState,
    RTCSessionDescription,
};

/// What to make.
pub struct Setup {
    /// The SDP of the offer to answer; `None` to make one.
    pub offer: Option<String>,
    pub ice: Vec<IceServer>,
    pub routes: Routes,
    pub commands: mpsc::UnboundedReceiver<Command>,
    pub inbox: Entrance,
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
    Received(Channel, Bytes, Room),
    /// Bytes in all that may be sent, as `Input::Writable` counts them.
    Credit(u64),
    /// A channel closed, the transport failed, or the handshake took too long: the fault in words, if there was one.
    Gone(Option<String>),
}

/// Starts the task.
pub fn spawn(setup: Setup) {
    tokio::spawn(async move {
        let inbox = setup.inbox.clone();
        let fault = run(setup).await.err().map(|fault| fault.to_string());
        inbox.tell(LinkEvent::Gone(fault));
    });
}

struct Handler {
    inbox: Entrance,
    failed: std::sync::Mutex<Option<oneshot::Sender<()>>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Ok(init) = event.candidate.to_json() {
            // A host has some ten candidates.
            self.inbox.tell(LinkEvent::Candidate(init.candidate));
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
pub type Ended = Box<dyn std::error::Error + Send + Sync>;

async fn run(setup: Setup) -> Result<(), Ended> {
    let Setup {
        offer,
        ice,
        routes,
        mut commands,
        inbox,
    } = setup;
    let deadline = Instant::now() + HANDSHAKE;
    let (failed_tx, mut failed) = oneshot::channel();
    let handler = Handler {
        inbox: inbox.clone(),
        failed: std::sync::Mutex::new(Some(failed_tx)),
    };
    let pc = ice::build(&ice, &routes, handler).await?;
    let closer = Closer(Some(pc.clone()));
    let control = channel(&*pc, "control", 0, true).await?;
    // What we send here is ordered, though the other side's is not (each side chooses for what it sends): the crate's SCTP sends
    // everything unordered before anything ordered, and headers that wait behind a megabyte of their blocks cost every
    // third block twice.
    let data = channel(&*pc, "data", 1, true).await?;

    let mut remote = Remote::default();
    // Our answers are passive, and a passive side speaks second: see `heard` below.
    let mut passive = offer.is_some();
    let local = match offer {
        Some(sdp) => {
            let offer = RTCSessionDescription::offer(sdp)?;
            remote.describe(&*pc, offer).await?;
            pc.create_answer(None).await?
        }
        None => pc.create_offer(None).await?,
    };
    let sdp = local.sdp.clone();
    inbox.tell(LinkEvent::Described(sdp));
    pc.set_local_description(local).await?;

    let (opened_tx, mut opened) = mpsc::channel(2);
    let (heard_tx, mut heard) = mpsc::channel(1);
    let mut readers = tokio::task::JoinSet::new();
    // Messages of a channel that opened first wait until the engine knows of the connection.
    let (announce, announced) = tokio::sync::watch::channel(false);
    for (kind, channel) in [(Channel::Control, &control), (Channel::Data, &data)] {
        readers.spawn(read(
            kind,
            channel.clone(),
            opened_tx.clone(),
            heard_tx.clone(),
            announced.clone(),
            inbox.clone(),
        ));
    }
    drop((opened_tx, heard_tx));

    let mut open_channels = 0;
    while open_channels < 2 {
        tokio::select! {
            command = timeout_at(deadline, commands.recv()) => match command? {
                Some(Command::Answer(sdp)) => {
                    passive = sdp.contains("a=setup:active");
                    remote.describe(&*pc, RTCSessionDescription::answer(sdp)?).await?;
                }
                Some(Command::Candidates(more)) => remote.add(&*pc, more).await,
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
        false => remote.path(&*pc).await,
    };
    inbox.tell(LinkEvent::Opened(path));
    let _ = announce.send(true);
    let ended = pump(
        &mut commands,
        (&*pc, &mut remote),
        &[control, data],
        &inbox,
        &mut failed,
        &mut readers,
    )
    .await;
    closer.close().await;
    ended
}

/// Writes until it is told to stop, or somebody else did.
async fn pump(
    commands: &mut mpsc::UnboundedReceiver<Command>,
    (pc, remote): (&dyn PeerConnection, &mut Remote),
    channels: &[Arc<dyn DataChannel>; 2],
    inbox: &Entrance,
    failed: &mut oneshot::Receiver<()>,
    readers: &mut tokio::task::JoinSet<Result<(), Ended>>,
) -> Result<(), Ended> {
    let (mut sent, mut left, mut reported) = (0u64, 0u64, 0u64);
    let mut waiting = true;
    let mut look_again = Instant::now();
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
                    remote.add(pc, more).await;
                    continue;
                }
                Some(Command::Answer(_)) => continue,
                Some(Command::Close) | None => {
                    drain(channels).await;
                    return Ok(());
                }
            },
            () = sleep_until(look_again), if waiting => {}
            ended = readers.join_next() => return ended.map_or(Ok(()), |ended| ended?),
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
        let credit = left + SEND_WINDOW;
        if credit >= reported + SEND_WINDOW / 8 {
            reported = credit;
            inbox.tell(LinkEvent::Credit(credit));
        }
    }
}

/// Takes what comes, as fast as it comes.
async fn read(
    kind: Channel,
    channel: Arc<dyn DataChannel>,
    opened: mpsc::Sender<()>,
    heard: mpsc::Sender<()>,
    mut announced: tokio::sync::watch::Receiver<bool>,
    inbox: Entrance,
) -> Result<(), Ended> {
    while let Some(event) = channel.poll().await {
        match event {
            DataChannelEvent::OnOpen if opened.send(()).await.is_err() => return Ok(()),
            DataChannelEvent::OnMessage(message) => {
                // A second one need not be told.
                let _ = heard.try_send(());
                if announced.wait_for(|announced| *announced).await.is_err() {
                    return Ok(());
                }
                // A text message is nothing that Baton speaks: as an empty one, the engine refuses it with the reason.
                let bytes = if message.is_string {
                    Bytes::new()
                } else {
                    message.data.freeze()
                };
                let room = inbox.room(bytes.len()).await?;
                inbox.tell(LinkEvent::Received(kind, bytes, room));
            }
            DataChannelEvent::OnClose | DataChannelEvent::OnClosing => return Ok(()),
            _ => {}
        }
    }
    Ok(())
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
/// How long a closing connection may go on delivering.
const LINGER: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::Inbox;
    use baton_swarm::ConnId;
    use std::net::IpAddr;

    struct Side {
        commands: mpsc::UnboundedSender<Command>,
        events: mpsc::UnboundedReceiver<(ConnId, LinkEvent)>,
    }

    fn side(offer: Option<String>, (inbox, events): InboxOfOne) -> Side {
        let (commands, orders) = mpsc::unbounded_channel();
        spawn(Setup {
            offer,
            ice: Vec::new(),
            routes: Routes {
                bind: vec![IpAddr::from([127, 0, 0, 1])],
                ..Routes::default()
            },
            commands: orders,
            inbox: inbox.entrance(ConnId(1)),
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

    type InboxOfOne = (Inbox, mpsc::UnboundedReceiver<(ConnId, LinkEvent)>);

    /// Two sides of which the first has sent a first message, and the second has it.
    async fn connected() -> (Side, Side) {
        connected_to(Inbox::new()).await
    }

    async fn connected_to(answerers: InboxOfOne) -> (Side, Side) {
        let mut offerer = side(None, Inbox::new());
        let (mut sdp, mut early) = (None, Vec::new());
        while sdp.is_none() {
            match offerer.events.recv().await.expect("it runs").1 {
                LinkEvent::Described(text) => sdp = Some(text),
                event => early.push(event),
            }
        }
        let mut answerer = side(sdp, answerers);
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
        // There is room for little, and nobody takes it: the other side's windows fill.
        let (mut talker, _deaf) = connected_to(Inbox::with_room(100_000)).await;
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

    /// What `connected` has sent: "hello".
    const HELLO: u64 = 5;

    #[tokio::test(flavor = "multi_thread")]
    async fn who_sends_more_than_anybody_asked_for_is_let_go() {
        let (talker, mut busy) = connected().await;
        let message = Bytes::from(vec![7; 60_000]);
        let mut held = Vec::new();
        let fault = loop {
            let send = Command::Send(Channel::Data, message.clone());
            let _ = talker.commands.send(send);
            // It notes what comes, as an engine does that waits for its disk, and goes on to hold it.
            match busy.events.recv().await.expect("it runs").1 {
                LinkEvent::Gone(fault) => break fault,
                event => held.push(event),
            }
        };
        assert_eq!(
            fault.as_deref(),
            Some("it sends more than it was asked for")
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_receiver_slower_than_its_sender_gets_everything_and_holds_what_it_asked_for() {
        let (mut talker, mut listener) = connected().await;
        let message = Bytes::from(vec![7; 60_000]);
        let len = message.len() as u64;
        let (mut sent, mut received, mut credit) = (HELLO, HELLO, SEND_WINDOW);
        while received < 48 << 20 {
            // As an engine does: no more than there is credit for, and no more than was asked for.
            while sent + len <= credit && sent + len <= received + ASKED_FOR {
                let send = Command::Send(Channel::Data, message.clone());
                let _ = talker.commands.send(send);
                sent += len;
            }
            // The other side takes something only when the talker has nothing to tell: it is always the slower one.
            tokio::select! {
                biased;
                event = talker.events.recv() => match event.expect("it runs").1 {
                    LinkEvent::Credit(now) => credit = now,
                    LinkEvent::Gone(fault) => panic!("{fault:?}"),
                    _ => {}
                },
                event = listener.events.recv() => match event.expect("it runs").1 {
                    LinkEvent::Received(_, bytes, _room) => received += bytes.len() as u64,
                    LinkEvent::Gone(fault) => panic!("{fault:?}"),
                    _ => {}
                },
            }
            let queued = credit.saturating_sub(received);
            assert!(
                queued <= ASKED_FOR + 2 * SEND_WINDOW,
                "{queued} at {received}"
            );
        }
    }

    /// What an engine asks one peer for at most (`request_window_max_bytes`).
    const ASKED_FOR: u64 = 8 << 20;
}
