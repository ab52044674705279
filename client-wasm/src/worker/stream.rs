//! One engine and what drives it: a publisher's file or a viewer's store and film.

use super::carrier::Carriers;
use super::opfs::{self, Folder};
use super::publisher::{Publisher, PublisherEvent};
use super::store::Limits;
use super::viewer::Viewer;
use super::{Door, WorkerEvent, now};
use crate::bridge::{
    self, HOT_SEND, Means, PeerRole, PeerStats, Problem, ProblemCode, ShareSpec, Stats,
    StreamNumber, TAB_CONNS, ToPage, ToWorker,
};
use crate::door;
use crate::flow::FlowNews;
use baton_content::Link;
use baton_swarm::{
    Binding, Channel, Config, ConnId, Event, Input, Instant, Output, Path, Role, Stream, Swarm,
};
use gloo_timers::callback::Timeout;
use js_sys::Array;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_sys::RtcDataChannel;

/// One engine and what drives it.
pub struct WorkerStream {
    number: StreamNumber,
    door: Door,
    swarm: Swarm,
    side: Side,
    /// Connections whose channels are here.
    carriers: Carriers,
    /// Sends of this turn, which go to the page in one message.
    sends: Vec<JsValue>,
    transfer: Array,
    reported: Stats,
    /// The engine has said Goodbye to all.
    left: bool,
    /// News since the first connection, while it is not known yet what the disk holds.
    held: Option<Vec<Input>>,
}

/// What the disk has to say.
pub enum StorageEvent {
    /// The stream's folder, if there is such a thing.
    Opened(Option<Folder>),
    /// Time to look at more of what it holds.
    Find,
    /// It was waited for long enough.
    Late,
}

enum Side {
    Publisher(Box<Publisher>),
    Viewer(Box<Viewer>),
}

impl WorkerStream {
    /// Publishes files.
    pub fn share(
        number: StreamNumber,
        door: Door,
        peer_seed: [u8; 32],
        spec: ShareSpec,
        files: Vec<web_sys::File>,
        keep: bool,
        now: Instant,
    ) -> WorkerStream {
        let publisher = Publisher::new(number, door.clone(), spec, files);
        let waits = publisher.waits();
        let stream = Stream {
            publisher: publisher.id(),
            swarm: publisher.swarm_id(),
            // Of a share that goes on, the head that counts is on disk.
            head: (!waits).then(|| publisher.head().clone()),
        };
        let swarm = stream.swarm;
        let side = (Role::Publisher, Side::Publisher(Box::new(publisher)));
        let config = Config::default();
        let mut made = WorkerStream::new(number, door, stream, side, config, peer_seed, now);
        if keep {
            made.open_folder(swarm, waits);
        }
        made
    }

    /// Fetches what a link names. The page has checked the link already.
    pub fn open(
        number: StreamNumber,
        door: Door,
        peer_seed: [u8; 32],
        fragment: &str,
        means: Means,
        now: Instant,
    ) -> WorkerStream {
        let link = Link::parse(fragment).expect("the page parsed this very link");
        let keys = link.keys();
        let stream = Stream {
            publisher: link.publisher,
            swarm: keys.swarm.id(),
            head: None,
        };
        let ids = (link.publisher, keys.swarm.id());
        let (limits, config) = if means.small {
            (Limits::television(), Config::television())
        } else {
            (Limits::default(), Config::default())
        };
        let viewer = Viewer::new(number, door.clone(), ids, keys.link_slot, limits);
        let side = (Role::Viewer, Side::Viewer(Box::new(viewer)));
        let mut made = WorkerStream::new(number, door, stream, side, config, peer_seed, now);
        if means.keep {
            made.open_folder(ids.1, true);
        }
        made
    }

    fn new(
        number: StreamNumber,
        door: Door,
        stream: Stream,
        (role, side): (Role, Side),
        config: Config,
        peer_seed: [u8; 32],
        now: Instant,
    ) -> WorkerStream {
        let key = baton_content::PeerKey::from_seed(peer_seed);
        let seed = u64::from_le_bytes(door::random());
        let swarm = Swarm::new(
            stream,
            Vec::new(),
            role,
            config,
            key,
            seed,
            now,
            door::unix_s(),
        );
        WorkerStream {
            number,
            carriers: Carriers::new(number, door.clone()),
            door,
            swarm,
            side,
            sends: Vec::new(),
            transfer: Array::new(),
            reported: Stats::default(),
            left: false,
            held: None,
        }
    }

    /// Opens what an earlier visit left behind, while everything else goes on. Only a connection waits for it a moment: what is here
    /// must not be asked for.
    fn open_folder(&mut self, swarm: baton_content::SwarmId, holds: bool) {
        self.held = holds.then(Vec::new);
        let (number, door) = (self.number, self.door.clone());
        let shared = matches!(self.side, Side::Publisher(_));
        spawn_local(async move {
            let folder = opfs::open(swarm, shared).await;
            let event = StorageEvent::Opened(folder);
            door.emit(WorkerEvent::Storage(number, event));
        });
    }

    /// The disk has something to say.
    pub fn storage_event(&mut self, event: StorageEvent) {
        let viewer = match &mut self.side {
            Side::Viewer(viewer) => viewer,
            Side::Publisher(publisher) => {
                // Who goes on with a share must know what was signed, however long that takes.
                let StorageEvent::Opened(folder) = event else {
                    return;
                };
                for input in publisher.opened(folder) {
                    self.swarm.handle_input(now(), input);
                }
                self.let_in();
                return self.leave_if_failed();
            }
        };
        let mut inputs = match event {
            StorageEvent::Opened(Some(folder)) => viewer.opened(folder),
            StorageEvent::Find => Vec::new(),
            StorageEvent::Opened(None) | StorageEvent::Late => return self.let_in(),
        };
        let found = viewer.find();
        let more = !found.is_empty();
        inputs.extend(found);
        for input in inputs {
            self.swarm.handle_input(now(), input);
        }
        match more {
            true => self.later(0, StorageEvent::Find),
            false => self.let_in(),
        }
    }

    fn later(&self, wait_ms: u32, event: StorageEvent) {
        let (number, door) = (self.number, self.door.clone());
        let emit = move || door.emit(WorkerEvent::Storage(number, event));
        Timeout::new(wait_ms, emit).forget();
    }

    /// Whoever waited is let in.
    fn let_in(&mut self) {
        for input in self.held.take().into_iter().flatten() {
            self.swarm.handle_input(now(), input);
        }
    }

    /// Gives the engine news.
    pub fn input(&mut self, input: Input) {
        if let Some(held) = &mut self.held
            && (!held.is_empty() || matches!(input, Input::Connected { .. }))
        {
            held.push(input);
            if held.len() == 1 {
                self.later(PATIENCE_MS, StorageEvent::Late);
            }
            return;
        }
        self.swarm.handle_input(now(), input);
    }

    /// Nothing more comes: what waits to be written is written.
    pub fn close(&mut self) {
        if let Side::Viewer(viewer) = &mut self.side {
            viewer.close();
        }
    }

    /// When the engine wants to be woken.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.swarm.poll_timeout()
    }

    /// The time may have come.
    pub fn wake(&mut self, now: Instant) {
        if self.swarm.poll_timeout().is_some_and(|at| at <= now) {
            self.swarm.handle_input(now, Input::TimedOut);
        }
    }

    /// Where the viewer is.
    pub fn playhead(&mut self, at_s: f64, until_s: f64) {
        if let Side::Viewer(viewer) = &mut self.side {
            viewer.playhead(at_s, until_s);
        }
    }

    /// A cold message for this stream.
    pub fn handle_page(&mut self, news: ToWorker) {
        match news {
            ToWorker::Candidates { peers, .. } => {
                self.input(Input::Candidates(
                    peers.into_iter().map(baton_content::PeerId).collect(),
                ));
            }
            ToWorker::Agreed {
                conn,
                peer,
                binding,
                ..
            } => {
                self.carriers.agreed(conn, peer, binding);
                self.opened(conn);
            }
            ToWorker::Connected {
                conn,
                peer,
                binding,
                ..
            } => self.connected(conn, peer, binding),
            ToWorker::Disconnected { conn, .. } => {
                self.carriers.remove(conn);
                self.input(Input::Disconnected { conn: ConnId(conn) })
            }
            ToWorker::ConnectFailed { peer, .. } => {
                self.input(Input::ConnectFailed {
                    peer: baton_content::PeerId(peer),
                });
            }
            ToWorker::Introduce { to, blob, .. } => {
                self.input(Input::Signal {
                    to: baton_content::PeerId(to),
                    blob: blob.into(),
                });
            }
            ToWorker::Upload {
                paused,
                bytes_per_second,
                ..
            } => {
                self.input(Input::Budget {
                    upload_bytes_per_second: bytes_per_second,
                    paused,
                });
            }
            other => {
                if let Side::Viewer(viewer) = &mut self.side {
                    viewer.handle_page(other);
                }
            }
        }
    }

    fn connected(&mut self, conn: u64, peer: [u8; 32], binding: bridge::Binding) {
        if let Side::Publisher(publisher) = &self.side {
            publisher.somebody_came();
        }
        self.input(Input::Connected {
            conn: ConnId(conn),
            peer: baton_content::PeerId(peer),
            binding: Binding {
                local_nonce: binding.local_nonce,
                remote_nonce: binding.remote_nonce,
                local_fingerprint: binding.local_fingerprint,
                remote_fingerprint: binding.remote_fingerprint,
                offerer: binding.offerer,
            },
            path: match conn < TAB_CONNS {
                true => Path::Direct,
                false => Path::Local,
            },
        });
    }

    /// The page made a connection and gave us its channels.
    pub fn channels(&mut self, conn: u64, control: RtcDataChannel, data: RtcDataChannel) {
        self.carriers.add(conn, control, data);
    }

    /// Whose channels they are: another tab's, whose connection has nothing to prove but who that is. `offerer`: it is there for us.
    pub fn tab(&mut self, conn: u64, peer: &[u8], nonce: &[u8], offerer: bool) {
        let (Ok(peer), Ok(nonce)) = (peer.try_into(), nonce.try_into()) else {
            return;
        };
        if let (true, Side::Viewer(viewer)) = (offerer, &mut self.side) {
            viewer.be_lean();
        }
        let binding = bridge::Binding {
            local_nonce: nonce,
            remote_nonce: nonce,
            local_fingerprint: [0; 32],
            remote_fingerprint: [0; 32],
            offerer,
        };
        self.carriers.agreed(conn, peer, binding);
        self.opened(conn);
    }

    /// Something happened on channels that are here.
    pub fn flow(&mut self, conn: u64, news: FlowNews) {
        match news {
            FlowNews::Opened => self.opened(conn),
            FlowNews::Gone => self.gone(conn),
            FlowNews::Credit(credit) => self.input(Input::Writable {
                conn: ConnId(conn),
                credit: credit as u64,
            }),
            FlowNews::Received(channel, data) => self.input(Input::Received {
                conn: ConnId(conn),
                channel: channel_of(channel),
                bytes: door::bytes(&data).into(),
            }),
        }
    }

    fn opened(&mut self, conn: u64) {
        if let Some((peer, binding)) = self.carriers.connected(conn) {
            self.connected(conn, peer, binding);
            self.carriers.announce(conn);
            let stream = self.number;
            self.door.tell(&ToPage::Opened { stream, conn });
        }
    }

    fn gone(&mut self, conn: u64) {
        if self.carriers.has(conn) {
            self.carriers.remove(conn);
            self.input(Input::Disconnected { conn: ConnId(conn) });
            let stream = self.number;
            self.door.tell(&ToPage::Gone { stream, conn });
        }
    }

    /// The film has more to do than one turn is good for.
    pub fn film_again(&mut self) {
        if let Side::Viewer(viewer) = &mut self.side {
            viewer.film_again();
        }
    }

    /// Something that the publisher waited for is there.
    pub fn publisher_event(&mut self, event: PublisherEvent) {
        if let Side::Publisher(publisher) = &mut self.side {
            for input in publisher.handle(event) {
                self.swarm.handle_input(now(), input);
            }
        }
        self.leave_if_failed();
    }

    /// A publisher whose file is not what it was can serve nobody: whoever waits for it looks elsewhere at once.
    fn leave_if_failed(&mut self) {
        if let Side::Publisher(publisher) = &self.side
            && publisher.failed()
            && !self.left
        {
            self.left = true;
            self.input(Input::Leaving);
        }
    }

    /// Does everything that the engine wants done, until it wants nothing more.
    pub fn drain(&mut self) {
        loop {
            while let Some(output) = self.swarm.poll_output() {
                self.act(output);
            }
            let Side::Viewer(viewer) = &mut self.side else {
                break;
            };
            let inputs = viewer.pump(now());
            if inputs.is_empty() {
                break;
            }
            for input in inputs {
                self.swarm.handle_input(now(), input);
            }
        }
        self.flush_sends();
    }

    /// Numbers for the page, if they changed.
    pub fn tick(&mut self) {
        if let Side::Viewer(viewer) = &mut self.side {
            viewer.tick();
        }
        // The engine's clock stands still between inputs: without this, rates would stay up after the last byte.
        self.input(Input::Clock {
            unix_now_s: door::unix_s(),
        });
        let stats = self.stats();
        if stats != self.reported {
            self.reported = stats.clone();
            self.door.tell(&ToPage::Stats {
                stream: self.number,
                stats: Box::new(stats),
            });
        }
    }

    fn act(&mut self, output: Output) {
        let stream = self.number;
        match output {
            Output::Send {
                conn,
                channel,
                bytes,
            } => {
                let channel = u32::from(channel == Channel::Data);
                if self.carriers.has(conn.0) {
                    if !self.carriers.send(conn.0, channel, &bytes) {
                        self.gone(conn.0);
                    }
                    return;
                }
                let buffer = door::buffer(&bytes);
                self.transfer.push(&buffer);
                self.sends
                    .extend([(conn.0 as f64).into(), channel.into(), buffer]);
            }
            Output::Connect { peer } => self.door.tell(&ToPage::Connect {
                stream,
                peer: peer.0,
            }),
            Output::Disconnect { conn, .. } => {
                // What was said last goes out before the connection does.
                self.flush_sends();
                self.carriers.remove(conn.0);
                self.door.tell(&ToPage::Disconnect {
                    stream,
                    conn: conn.0,
                });
            }
            Output::Signal { from, blob } => {
                self.door.tell(&ToPage::Introduced {
                    stream,
                    from: from.0,
                    blob: blob.to_vec(),
                });
            }
            Output::Report {
                completeness_permille,
                free_slots,
            } => {
                self.door.tell(&ToPage::Report {
                    stream,
                    completeness_permille,
                    free_slots,
                });
            }
            Output::Event(event) => self.event(event),
            Output::CancelLoad { .. } => {}
            output => {
                let inputs = match &mut self.side {
                    Side::Publisher(publisher) => publisher.act(output),
                    Side::Viewer(viewer) => viewer.act(output),
                };
                for input in inputs {
                    self.swarm.handle_input(now(), input);
                }
                self.leave_if_failed();
            }
        }
    }

    fn event(&mut self, event: Event) {
        let problem = |code| Some(Problem { code, detail: None });
        match event {
            Event::HeadChanged(head) => {
                if let Side::Viewer(viewer) = &mut self.side {
                    viewer.head(head);
                }
            }
            Event::PeerJoined { .. } | Event::Complete => {
                if let (Event::Complete, Side::Viewer(viewer)) = (&event, &mut self.side) {
                    viewer.complete();
                }
                self.tick();
            }
            Event::Fraud { .. } => self.problem(problem(ProblemCode::Fraud)),
            Event::Expired => self.problem(problem(ProblemCode::Expired)),
            Event::ManifestTooLong => self.problem(problem(ProblemCode::MediaBroken)),
            Event::PeerRefused { .. } | Event::SealFailed { .. } => {}
        }
    }

    fn problem(&mut self, problem: Option<Problem>) {
        self.door.tell(&ToPage::Problem {
            stream: self.number,
            problem,
        });
    }

    fn flush_sends(&mut self) {
        self.carriers.report_credit();
        if self.sends.is_empty() {
            return;
        }
        let mut message = vec![HOT_SEND.into(), self.number.into()];
        message.append(&mut self.sends);
        let transfer = std::mem::replace(&mut self.transfer, Array::new());
        self.door.post(&message, &transfer);
    }

    fn stats(&self) -> Stats {
        let s = self.swarm.stats();
        let peers = s.peers.iter().map(|p| PeerStats {
            id: p.id.0,
            conn: p.conn.0,
            role: match p.role {
                Role::Publisher => PeerRole::Publisher,
                Role::Keeper => PeerRole::Keeper,
                Role::Viewer if p.complete_permille == 1000 => PeerRole::Seeder,
                Role::Viewer => PeerRole::Viewer,
            },
            rtt_us: p.rtt_us,
            down_bytes_per_second: p.down_bytes_per_second,
            up_bytes_per_second: p.up_bytes_per_second,
            received: p.received_bytes,
            sent: p.sent_bytes,
            complete_permille: p.complete_permille,
        });
        let mut stats = Stats {
            have_permille: s.completeness_permille,
            bytes_verified: s.have_bytes,
            bytes_received: s.received_bytes,
            bytes_sent: s.sent_bytes,
            bytes_confirmed: s.confirmed_bytes,
            confirmed_by: s.confirmed_by,
            verified_blocks: s.verified_blocks,
            rejected_blocks: s.rejected_blocks,
            from_viewers: s.received_from_viewers_bytes,
            others_permille: s.others_union_permille,
            complete_peers: s.complete_peers,
            missing_reachable: s.missing_reachable,
            paused_peers: s.paused_peers,
            peers: peers.collect(),
            ..Stats::default()
        };
        match &self.side {
            Side::Publisher(publisher) => publisher.add_stats(&mut stats),
            Side::Viewer(viewer) => viewer.add_stats(&mut stats),
        }
        stats
    }
}

/// The channel of this number (docs/protocol-wire.md).
pub fn channel_of(number: u32) -> Channel {
    match number {
        0 => Channel::Control,
        _ => Channel::Data,
    }
}

/// How long a connection waits for the disk, milliseconds: opening takes 10 to 50, a thousand claims 150.
const PATIENCE_MS: u32 = 400;
