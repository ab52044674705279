//! One swarm engine and its doors: what happens goes in as `Input`, what it puts out is done here, in order.

use crate::ice::Routes;
use crate::inbox::Inbox;
use crate::library::Library;
use crate::link::LinkEvent;
use crate::rtc::{Identity, Rtc, RtcNews, Way};
use crate::signalling::{SignalCommand, SignalEvent, Signalling};
use crate::uplink::{Budget, Share, Uplink};
use crate::worker::{Answer, Job, News, Problem, Worker};
use baton_content::{Header, Mask, PeerId, PeerKey, SwarmKey};
use baton_signal_protocol::{Candidate, Refusal, ServerMessage};
use baton_swarm::{
    Config, ConnId, Demand, Event, Input, Instant, Output, Role, Stats, Stream, Swarm,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant as Clock, MissedTickBehavior, interval, sleep_until};

/// All that a session is made of.
pub struct Setup {
    pub stream: Stream,
    pub role: Role,
    pub config: Config,
    /// What storage claims to hold, by verified headers that it gives again whenever it is asked.
    pub found: Box<dyn Iterator<Item = (Header, Mask)> + Send>,
    pub swarm_key: SwarmKey,
    pub signalling_key: [u8; 32],
    /// Origins of signalling servers, best first.
    pub servers: Vec<String>,
    pub routes: Routes,
    pub uplink: Uplink,
    pub worker: Worker,
    pub answers: mpsc::UnboundedReceiver<Answer>,
    /// What readers wait for; only downloads have one.
    pub library: Option<Arc<Library>>,
    /// Given to the engine before anything else.
    pub first: Vec<Input>,
}

/// What a session is told.
#[derive(Debug)]
pub enum Control {
    /// A reader is at this byte of this file of the manifest.
    Read { reader: u64, entry: usize, at: u64 },
    /// It reads no more.
    ReadNoMore { reader: u64 },
    /// Give another stream the place at the server, and come back for one later.
    StepAside,
    /// Another stream has given up its place: ask for it now.
    ComeNow,
    /// Say goodbye and end.
    Leave,
}

/// How things stand, at most a quarter of a second old.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub stats: Stats,
    /// The server let us in.
    pub joined: bool,
    /// Why it did not.
    pub refusal: Option<Refusal>,
    /// Whom the server named last.
    pub candidates: Vec<Candidate>,
    /// Why the last connection that failed did so, where that is known.
    pub fault: Option<String>,
}

/// A session that runs.
pub struct Handle {
    pub control: mpsc::UnboundedSender<Control>,
    pub snapshot: watch::Receiver<Snapshot>,
    pub news: mpsc::UnboundedReceiver<News>,
    task: tokio::task::JoinHandle<()>,
}

impl Handle {
    /// Leaves politely, and waits for that, but not for long.
    pub async fn leave(self) {
        // A session that has ended needs no telling.
        let _ = self.control.send(Control::Leave);
        let _ = tokio::time::timeout(LEAVE_PATIENCE, self.task).await;
    }

    /// Ends at once, without a word, as a power cut would.
    pub fn kill(self) {
        self.task.abort();
    }
}

/// Starts a session on the current tokio runtime.
pub fn start(setup: Setup) -> Handle {
    let (control, controls) = mpsc::unbounded_channel();
    let (snapshots, snapshot) = watch::channel(Snapshot::default());
    let (news_out, news) = mpsc::unbounded_channel();
    let task =
        tokio::spawn(async move { Session::new(setup, snapshots, news_out).run(controls).await });
    Handle {
        control,
        snapshot,
        news,
        task,
    }
}

struct Session {
    swarm: Swarm,
    rtc: Rtc,
    zero: Clock,
    worker: Worker,
    answers: mpsc::UnboundedReceiver<Answer>,
    links: mpsc::UnboundedReceiver<(ConnId, LinkEvent)>,
    signals: mpsc::UnboundedReceiver<SignalEvent>,
    server: mpsc::UnboundedSender<SignalCommand>,
    library: Option<Arc<Library>>,
    readers: BTreeMap<u64, (usize, u64)>,
    share: Share,
    budget: Budget,
    /// No server takes us any more.
    refused: Option<Refusal>,
    ticks: u64,
    now: Snapshot,
    snapshots: watch::Sender<Snapshot>,
    news: mpsc::UnboundedSender<News>,
}

impl Session {
    fn new(
        setup: Setup,
        snapshots: watch::Sender<Snapshot>,
        news: mpsc::UnboundedSender<News>,
    ) -> Session {
        let peer_seed = crate::random();
        let peer_key = PeerKey::from_seed(peer_seed);
        let identity = Identity {
            swarm: setup.stream.swarm.0,
            signalling_key: setup.signalling_key,
            peer_seed,
            peer: peer_key.id(),
        };
        let connections_max = usize::from(setup.config.peers_max) * 2;
        let (inbox, links) = Inbox::new();
        let rtc = Rtc::new(identity, setup.routes, connections_max, inbox);
        let (server, commands) = mpsc::unbounded_channel();
        let (signal_events, signals) = mpsc::unbounded_channel();
        let signalling = Signalling::new(
            setup.servers,
            setup.swarm_key,
            peer_key.clone(),
            commands,
            signal_events,
        );
        tokio::spawn(signalling.run());
        let seed = u64::from_le_bytes(crate::random());
        let mut share = setup.uplink.share();
        let budget = share.tick(0);
        let config = Config {
            upload_bytes_per_second: budget.bytes_per_second,
            upload_paused: budget.paused,
            ..setup.config
        };
        let zero = Clock::now();
        let mut swarm = Swarm::new(
            setup.stream,
            Vec::new(),
            setup.role,
            config,
            peer_key,
            seed,
            Instant(0),
            crate::unix_s(),
        );
        // One by one: the hashes of all of a large film need not be in memory together.
        for (header, mask) in setup.found {
            let piece = header.id();
            swarm.handle_input(Instant(0), Input::Found { header, mask });
            swarm.handle_input(Instant(0), Input::HeaderKept { piece });
        }
        for input in setup.first {
            swarm.handle_input(Instant(0), input);
        }
        Session {
            swarm,
            rtc,
            zero,
            worker: setup.worker,
            answers: setup.answers,
            links,
            signals,
            server,
            library: setup.library,
            readers: BTreeMap::new(),
            share,
            budget,
            refused: None,
            ticks: 0,
            now: Snapshot::default(),
            snapshots,
            news,
        }
    }

    async fn run(mut self, mut controls: mpsc::UnboundedReceiver<Control>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // No player is attached: the background need not wait for one.
        self.input(Input::Demanded(Vec::new()));
        loop {
            self.drain();
            let wake = self
                .swarm
                .poll_timeout()
                .map(|at| self.zero + Duration::from_micros(at.0));
            tokio::select! {
                event = self.links.recv(), if !self.worker.is_full() => {
                    let Some((conn, event)) = event else { return };
                    self.link_event(conn, event);
                    // What came together is taken in together.
                    for _ in 0..BATCH {
                        let Ok((conn, event)) = self.links.try_recv() else { break };
                        self.link_event(conn, event);
                    }
                }
                answer = self.answers.recv() => match answer {
                    Some(Answer::Inputs(inputs)) => inputs.into_iter().for_each(|input| self.input(input)),
                    Some(Answer::News(news)) => self.tell(news),
                    None => return,
                },
                event = self.signals.recv() => match event {
                    Some(event) => self.signal_event(event),
                    None => return,
                },
                control = controls.recv() => match control {
                    Some(Control::Leave) | None => return self.leave().await,
                    Some(control) => self.control(control),
                },
                () = sleep_until(wake.unwrap_or(self.zero)), if wake.is_some() => self.input(Input::TimedOut),
                _ = tick.tick() => self.tick(),
            }
        }
    }

    async fn leave(&mut self) {
        self.input(Input::Leaving);
        self.drain();
        self.rtc.close_all();
        let _ = self.server.send(SignalCommand::Leave);
        self.worker.send(Job::Stop);
        // Goodbyes are on their way; each connection's task takes no longer than this to see them off.
        tokio::time::sleep(GOODBYE).await;
        // The disk's thread ends when it has written out what was only noted.
        while self.answers.recv().await.is_some() {}
    }

    fn time(&self) -> Instant {
        Instant(u64::try_from(self.zero.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn input(&mut self, input: Input) {
        let now = self.time();
        self.swarm.handle_input(now, input);
    }

    fn link_event(&mut self, conn: ConnId, event: LinkEvent) {
        match event {
            LinkEvent::Received(channel, bytes, _room) => self.input(Input::Received {
                conn,
                channel,
                bytes,
            }),
            LinkEvent::Credit(credit) => self.input(Input::Writable { conn, credit }),
            event => {
                let news = self.rtc.handle(conn, event);
                self.rtc_news(news);
            }
        }
    }

    fn rtc_news(&mut self, news: Vec<RtcNews>) {
        for news in news {
            match news {
                RtcNews::Connected {
                    conn,
                    peer,
                    binding,
                    path,
                } => {
                    self.input(Input::Connected {
                        conn,
                        peer,
                        binding,
                        path,
                    });
                }
                RtcNews::Disconnected { conn, peer } => {
                    self.input(Input::Disconnected { conn });
                    self.tell(News::Left { peer, reason: None });
                }
                RtcNews::Failed { peer } => self.input(Input::ConnectFailed { peer }),
                RtcNews::Carry { to, frame } => {
                    let _ = self.server.send(SignalCommand::Carry { to: to.0, frame });
                }
                RtcNews::Received {
                    conn,
                    channel,
                    bytes,
                } => self.input(Input::Received {
                    conn,
                    channel,
                    bytes,
                }),
                RtcNews::Credit { conn, credit } => self.input(Input::Writable { conn, credit }),
                RtcNews::Fault(fault) => self.now.fault = Some(fault),
                RtcNews::Signal { to, blob, way } => {
                    if self.now.joined && way == Way::Any {
                        let _ = self.server.send(SignalCommand::Relay { to: to.0, blob });
                    } else {
                        self.input(Input::Signal {
                            to,
                            blob: blob.into(),
                        });
                    }
                }
            }
        }
    }

    fn signal_event(&mut self, event: SignalEvent) {
        match event {
            SignalEvent::Server(ServerMessage::Welcome {
                ice, candidates, ..
            }) => {
                self.now.joined = true;
                self.now.refusal = None;
                self.rtc.set_ice(ice);
                self.candidates(candidates);
            }
            SignalEvent::Server(ServerMessage::Candidates(candidates)) => {
                self.candidates(candidates)
            }
            SignalEvent::Server(ServerMessage::Relay { from, blob }) => {
                let news = self.rtc.handle_blob(PeerId(from), &blob, Way::Any);
                self.rtc_news(news);
            }
            SignalEvent::Server(ServerMessage::Gone { to }) => {
                let news = self.rtc.gone(PeerId(to));
                self.rtc_news(news);
            }
            SignalEvent::Server(ServerMessage::Carries { .. }) => self.rtc.allow_carrying(),
            SignalEvent::Server(ServerMessage::Carried { from, frame }) => {
                let news = self.rtc.handle_frame(from, &frame);
                self.rtc_news(news);
            }
            SignalEvent::Server(_) => {}
            SignalEvent::Lost(refusal) => {
                self.now.joined = false;
                self.now.refusal = refusal;
                self.lost_server();
            }
            SignalEvent::Refused(refusal) => {
                self.now.joined = false;
                self.now.refusal = Some(refusal);
                self.refused = Some(refusal);
                self.lost_server();
            }
        }
    }

    fn lost_server(&mut self) {
        let news = self.rtc.lost_server();
        self.rtc_news(news);
    }

    fn candidates(&mut self, candidates: Vec<Candidate>) {
        self.input(Input::Candidates(
            candidates
                .iter()
                .map(|candidate| PeerId(candidate.peer))
                .collect(),
        ));
        if !candidates.is_empty() {
            self.now.candidates = candidates;
        }
    }

    fn control(&mut self, control: Control) {
        match control {
            Control::Read { reader, entry, at } => {
                if self.readers.len() < READERS_MAX || self.readers.contains_key(&reader) {
                    self.readers.insert(reader, (entry, at));
                }
                self.demand();
            }
            Control::ReadNoMore { reader } => {
                self.readers.remove(&reader);
                self.demand();
            }
            Control::StepAside => {
                let _ = self.server.send(SignalCommand::StepAside);
            }
            Control::ComeNow => {
                let _ = self.server.send(SignalCommand::ComeNow);
            }
            Control::Leave => {}
        }
    }

    /// What the readers wait for, nearest first, each with the time when a player would miss it.
    fn demand(&mut self) {
        let now = self.time();
        let mut demands = Vec::new();
        let manifest = self
            .library
            .as_ref()
            .and_then(|library| Some((library.clone(), library.manifest()?)));
        if let Some((library, manifest)) = manifest {
            for (entry, at) in self.readers.values() {
                let Some(entry) = manifest.entries.get(*entry) else {
                    continue;
                };
                let mut from = *at;
                while from < entry.size.min(at + READ_AHEAD_BYTES) {
                    let deadline = now.after((from - at) * 1_000_000 / READ_BYTES_PER_SECOND);
                    let missing = library.missing(entry, from..from + DEMAND_BYTES);
                    demands.extend(missing.into_iter().map(|(piece, mask)| Demand {
                        piece,
                        mask,
                        deadline,
                    }));
                    from += DEMAND_BYTES;
                }
            }
        }
        if let Some(library) = &self.library {
            // What an earlier run left of it need not be fetched, but it must be verified before a reader sees it.
            let mut wanted: Vec<_> = demands.iter().map(|d| (d.deadline, d.piece)).collect();
            wanted.sort();
            wanted.dedup_by_key(|(_, piece)| *piece);
            library.want(wanted.into_iter().map(|(_, piece)| piece).collect());
        }
        self.input(Input::Demanded(demands));
    }

    /// Does everything that the engine wants done, until it wants nothing more.
    fn drain(&mut self) {
        while let Some(output) = self.swarm.poll_output() {
            match output {
                Output::Send {
                    conn,
                    channel,
                    bytes,
                } => {
                    let news = self.rtc.send(conn, channel, bytes);
                    self.rtc_news(news);
                }
                Output::Connect { peer } => {
                    let news = self.rtc.connect(peer);
                    self.rtc_news(news);
                }
                Output::Disconnect { conn, reason } => {
                    if let Some(peer) = self.rtc.close(conn) {
                        let reason = Some(reason);
                        self.tell(News::Left { peer, reason });
                    }
                }
                Output::Signal { from, blob } => {
                    let news = self.rtc.handle_blob(from, &blob, Way::Neighbour);
                    self.rtc_news(news);
                }
                Output::Report {
                    completeness_permille,
                    free_slots,
                } => {
                    let _ = self.server.send(SignalCommand::Report {
                        completeness_permille,
                        free_slots,
                    });
                }
                Output::Event(event) => self.event(event),
                Output::Load { piece, mask } => self.worker.load(piece, mask),
                Output::CancelLoad { piece, mask } => self.worker.cancel_load(piece, mask),
                output => self.worker.send(Job::Act(output)),
            }
        }
    }

    fn event(&mut self, event: Event) {
        match &event {
            Event::Fraud { .. } => self.tell(News::Problem(Problem::Fraud)),
            Event::Expired => self.tell(News::Problem(Problem::Expired)),
            Event::ManifestTooLong => self.tell(News::Problem(Problem::ManifestTooLong)),
            Event::Complete => self.publish(),
            _ => {}
        }
        self.worker.send(Job::Event(event));
    }

    fn tick(&mut self) {
        self.ticks += 1;
        let news = self.rtc.tick(self.time().0 / 1000);
        self.rtc_news(news);
        if self.ticks.is_multiple_of(CLOCK_TICKS) {
            self.input(Input::Clock {
                unix_now_s: crate::unix_s(),
            });
            // Whoever has few neighbours asks for more; the engine picks.
            if self.now.joined && self.now.stats.peers.len() < NEIGHBOURS_FEW {
                let _ = self.server.send(SignalCommand::More);
            }
        }
        self.publish();
        let budget = self.share.tick(self.now.stats.sent_bytes);
        if budget != self.budget {
            self.budget = budget;
            self.input(Input::Budget {
                upload_bytes_per_second: budget.bytes_per_second,
                paused: budget.paused,
            });
        }
        // Those who are connected may give all of it without a server.
        if self.now.stats.peers.is_empty()
            && let Some(refusal) = self.refused.take()
        {
            self.tell(News::Problem(Problem::Refused(refusal)));
        }
    }

    fn publish(&mut self) {
        self.now.stats = self.swarm.stats();
        self.snapshots.send_replace(self.now.clone());
    }

    fn tell(&self, news: News) {
        // Nobody may be listening: a keeper's sessions speak by their snapshots.
        let _ = self.news.send(news);
    }
}

/// Messages taken in before the engine's outputs are done.
const BATCH: usize = 8;
/// How old numbers may be.
const TICK: Duration = Duration::from_millis(250);
/// Ticks between two looks at the wall clock.
const CLOCK_TICKS: u64 = 20;
/// With fewer neighbours than this the server is asked for more.
const NEIGHBOURS_FEW: usize = 4;
/// Readers at once: players, their ranges, and a folder's worth of DLNA boxes.
const READERS_MAX: usize = 64;
/// How far a reader's wishes go before it: half a minute of a film at 4 Mbit/s.
const READ_AHEAD_BYTES: u64 = 16 << 20;
/// How fast a reader is thought to read, for deadlines: a film of 16 Mbit/s.
const READ_BYTES_PER_SECOND: u64 = 2_000_000;
/// Bytes of one demand (the engine asks for fine ones).
const DEMAND_BYTES: u64 = 64 * 1024;
/// How long the goodbyes get.
const GOODBYE: Duration = Duration::from_millis(400);
/// How long leaving may take, with a disk that is behind.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);
