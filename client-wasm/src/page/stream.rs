//! One stream as the page has it: socket, connections, player, and the last numbers from the worker.

use super::player::{Cue, Player, PlayerNews, Segment, VideoEvent};
use super::problems::{self, Alone, Around};
use super::rtc::{Identity, PeerBytes, Rtc, RtcEvent, RtcNews};
use super::signalling::{News, Signalling, SocketEvent};
use super::{Emitter, PageEvent, tell, tell_credit, tell_playhead, tell_received};
use crate::bridge::{Info, Meta, Problem, ProblemCode, Stats, StreamNumber, ToWorker};
use crate::door;
use crate::inbox::Call;
use baton_content::keys::{PeerKey, StreamKeys};
use baton_signal_protocol::{Candidate, Refusal, ServerMessage};
use baton_sorted::SortedMap;
use js_sys::{ArrayBuffer, Function};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{HtmlVideoElement, WebSocket, Worker};

/// Whose side of the stream this page is on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Share,
    View,
}

/// One stream as the page has it.
pub struct PageStream {
    pub side: Side,
    number: StreamNumber,
    worker: Worker,
    emitter: Rc<Emitter>,
    /// `None` where the link is none, after the last goodbye, and while another tab is in the swarm for this one.
    network: Option<Network>,
    /// What a network is made of; `None`: the link is none, there is only a problem to show.
    base: Option<Base>,
    /// What the server was told of us last, or would have been.
    reported: (u16, u8),
    /// How often it joined.
    joins: u64,
    /// Attachments that the worker has not heard of yet.
    attaching: u32,
    small: bool,
    player: Option<Player>,
    /// When the person began to wait, milliseconds of the page's clock.
    began_ms: f64,
    pub(super) worker_stats: Stats,
    pub(super) meta: Option<Meta>,
    worker_problem: Option<Problem>,
    player_problem: Option<Problem>,
    player_note: Option<Problem>,
    /// Somebody wants to see it and there is nothing to show it with.
    no_player: bool,
    /// The page plays it without us.
    released: bool,
    refused: Option<Refusal>,
    welcomed: bool,
    alone: Alone,
    asked_more_ms: f64,
    asked_paths_ms: f64,
    pub(super) regions: SortedMap<PeerBytes, String>,
    pub paused: bool,
    /// No Share or View of it is referred to any more.
    pub forgotten: bool,
    upload_bytes_per_second: Option<u64>,
    closed_ms: Option<f64>,
    /// Since when we say goodbye: closed, or a share that can serve nobody.
    leaving_ms: Option<f64>,
    waiting: Waiting,
    onchange: Option<Function>,
    changed: bool,
    shown: (&'static str, Option<&'static str>),
    notified_ms: f64,
}

/// Whether it is about what plays, not about the stream.
fn is_of_film(problem: &Problem) -> bool {
    matches!(
        problem.code,
        ProblemCode::UnsupportedMedia | ProblemCode::MediaBroken
    )
}

/// What a stream begins with.
pub struct Opening {
    pub side: Side,
    pub number: StreamNumber,
    /// Origin of the signalling server.
    pub server: String,
    pub keys: StreamKeys,
    pub peer_seed: [u8; 32],
    /// When the person began to wait, milliseconds of the page's clock.
    pub began_ms: f64,
    /// A socket to `server` that is open or opening.
    pub early: Option<WebSocket>,
    /// This machine has little of everything ([`crate::bridge::Means`]).
    pub small: bool,
    /// Another tab is in the swarm: see [`PageStream::lead`].
    pub apart: bool,
}

struct Base {
    server: String,
    keys: StreamKeys,
    peer_seed: [u8; 32],
    /// As in [`Opening`], until it is used.
    early: Option<WebSocket>,
}

struct Network {
    signalling: Signalling,
    rtc: Rtc,
}

/// Promises not settled yet.
#[derive(Default)]
struct Waiting {
    meta: Vec<(Function, Function)>,
    complete: Vec<(Function, Function)>,
    reads: SortedMap<u32, (Function, Function)>,
    next_read: u32,
    stills: SortedMap<u32, Function>,
    next_still: u32,
}

impl PageStream {
    /// A stream whose link is good; joins at once.
    pub fn new(opening: Opening, worker: Worker, emitter: Rc<Emitter>) -> PageStream {
        let Opening {
            side,
            number,
            server,
            keys,
            peer_seed,
            began_ms,
            early,
            small,
            apart,
        } = opening;
        let base = Base {
            server,
            keys,
            peer_seed,
            early,
        };
        let mut stream = PageStream {
            base: Some(base),
            small,
            ..PageStream::blank(side, number, worker, emitter, began_ms)
        };
        if !apart {
            stream.join();
        }
        stream
    }

    /// Becomes the tab that is in the swarm for all tabs of this browser, or no longer is.
    pub fn lead(&mut self, leads: bool) {
        if leads {
            return self.join();
        }
        if let Some(network) = &mut self.network {
            network.signalling.leave();
            let news = network.rtc.drop_all();
            self.handle_rtc(news);
        }
        self.network = None;
        self.welcomed = false;
        self.refused = None;
    }

    /// This stream's number, and who we are in its swarm.
    pub fn seat(&self) -> JsValue {
        let seed = self.base.as_ref().map_or([0; 32], |base| base.peer_seed);
        let peer = door::buffer(&PeerKey::from_seed(seed).id().0);
        door::array(&[self.number.into(), peer]).into()
    }

    fn join(&mut self) {
        let (Some(base), None, None) = (&mut self.base, &self.network, self.leaving_ms) else {
            return;
        };
        let (number, emitter) = (self.number, &self.emitter);
        let (keys, peer_seed) = (base.keys.clone(), base.peer_seed);
        let peer = PeerKey::from_seed(peer_seed);
        let identity = Identity {
            swarm: keys.swarm.id().0,
            signalling_key: keys.signalling,
            peer_seed,
            peer: peer.id().0,
        };
        let socket = emitter.clone();
        let mut signalling = Signalling::new(
            &base.server,
            keys.swarm,
            peer,
            base.early.take(),
            Rc::new(move |event| socket.push(PageEvent::Socket(number, event))),
        );
        let channel = emitter.clone();
        signalling.report(self.reported.0, self.reported.1);
        let mut rtc = Rtc::new(
            number,
            self.worker.clone(),
            identity,
            Rc::new(move |conn, event| channel.push(PageEvent::Rtc(number, conn, event))),
        );
        rtc.number_from((self.joins << 20) + 1);
        self.joins += 1;
        if self.side == Side::View {
            rtc.warm_up();
        }
        self.network = Some(Network { signalling, rtc });
    }

    /// A stream whose link is none.
    pub fn broken(
        number: StreamNumber,
        worker: Worker,
        emitter: Rc<Emitter>,
        problem: Problem,
    ) -> PageStream {
        let blank = PageStream::blank(Side::View, number, worker, emitter, 0.0);
        PageStream {
            worker_problem: Some(problem),
            ..blank
        }
    }

    fn blank(
        side: Side,
        number: StreamNumber,
        worker: Worker,
        emitter: Rc<Emitter>,
        began_ms: f64,
    ) -> PageStream {
        PageStream {
            side,
            number,
            worker,
            emitter,
            network: None,
            base: None,
            reported: (0, 0),
            joins: 0,
            small: false,
            player: None,
            attaching: 0,
            began_ms,
            worker_stats: Stats::default(),
            meta: None,
            worker_problem: None,
            player_problem: None,
            player_note: None,
            no_player: false,
            released: false,
            refused: None,
            welcomed: false,
            alone: Alone::default(),
            asked_more_ms: 0.0,
            asked_paths_ms: 0.0,
            regions: SortedMap::new(),
            paused: false,
            forgotten: false,
            upload_bytes_per_second: None,
            closed_ms: None,
            leaving_ms: None,
            waiting: Waiting::default(),
            onchange: None,
            changed: true,
            shown: ("", None),
            notified_ms: 0.0,
        }
    }

    // ── news from the doors ──

    pub fn socket(&mut self, event: SocketEvent) {
        let Some(network) = &mut self.network else {
            return;
        };
        match network.signalling.handle(event) {
            Some(News::Server(message)) => self.handle_server(message),
            Some(News::Refused(reason)) => self.refused = Some(reason),
            None => {}
        }
        if let Some(network) = &mut self.network
            && !network.signalling.joined()
        {
            let news = network.rtc.lost_server();
            self.handle_rtc(news);
        }
    }

    fn handle_server(&mut self, message: ServerMessage) {
        let Some(network) = &mut self.network else {
            return;
        };
        match message {
            ServerMessage::Welcome {
                ice, candidates, ..
            } => {
                network.rtc.set_ice(ice);
                self.refused = None;
                let begins = self.side == Side::View && !self.welcomed;
                self.welcomed = true;
                // The first one is whom the engine asks for first, too; but the worker comes up some 20 ms after the page.
                if let Some(nearest) = candidates.first().filter(|_| begins) {
                    self.connect(nearest.peer);
                }
                self.candidates(candidates);
            }
            ServerMessage::Candidates(candidates) => self.candidates(candidates),
            ServerMessage::Relay { from, blob } => self.blob(from, &blob),
            ServerMessage::Carries { .. } => network.rtc.allow_carrying(),
            ServerMessage::Carried { from, frame } => {
                let news = network.rtc.handle_frame(from, &frame);
                self.handle_rtc(news);
            }
            ServerMessage::Gone { to } => {
                let news = network.rtc.gone(to);
                self.handle_rtc(news);
            }
            // Alive has been heard by the socket's own timer; the others never come here.
            _ => {}
        }
    }

    fn candidates(&mut self, candidates: Vec<Candidate>) {
        for candidate in &candidates {
            if let Some(region) = &candidate.region
                && self.regions.len() < REGIONS_MAX
            {
                self.regions.insert(candidate.peer, region.clone());
            }
        }
        let peers = candidates.into_iter().map(|c| c.peer).collect();
        tell(
            &self.worker,
            &ToWorker::Candidates {
                stream: self.number,
                peers,
            },
        );
    }

    pub fn rtc(&mut self, conn: u64, event: RtcEvent) {
        let Some(network) = &mut self.network else {
            return;
        };
        let news = network.rtc.handle(conn, event);
        self.handle_rtc(news);
    }

    pub fn connect(&mut self, peer: PeerBytes) {
        let Some(network) = &mut self.network else {
            return;
        };
        let news = network.rtc.connect(peer);
        self.handle_rtc(news);
    }

    pub fn disconnect(&mut self, conn: u64) {
        if let Some(network) = &mut self.network {
            network.rtc.close(conn);
        }
    }

    pub fn blob(&mut self, from: PeerBytes, blob: &[u8]) {
        let Some(network) = &mut self.network else {
            return;
        };
        let news = network.rtc.handle_blob(from, blob);
        self.handle_rtc(news);
    }

    pub fn send(&mut self, sends: Vec<(u64, u32, ArrayBuffer)>) {
        let Some(network) = &mut self.network else {
            return;
        };
        let mut news = Vec::new();
        for (conn, channel, buffer) in &sends {
            news.extend(network.rtc.send(*conn, *channel, buffer));
        }
        let mut told = 0;
        for (conn, ..) in sends {
            if conn != told {
                network.rtc.report_credit(conn);
                told = conn;
            }
        }
        self.handle_rtc(news);
    }

    fn handle_rtc(&mut self, news: Vec<RtcNews>) {
        let (stream, Some(network)) = (self.number, &mut self.network) else {
            return;
        };
        for news in news {
            match news {
                RtcNews::Signal { to, blob } => {
                    if let Err(blob) = network.signalling.relay(to, blob) {
                        tell(&self.worker, &ToWorker::Introduce { stream, to, blob });
                    }
                }
                RtcNews::Agreed {
                    conn,
                    peer,
                    binding,
                } => tell(
                    &self.worker,
                    &ToWorker::Agreed {
                        stream,
                        conn,
                        peer,
                        binding,
                    },
                ),
                RtcNews::Connected {
                    conn,
                    peer,
                    binding,
                } => {
                    tell(
                        &self.worker,
                        &ToWorker::Connected {
                            stream,
                            conn,
                            peer,
                            binding,
                        },
                    );
                    network.rtc.announce(conn);
                }
                RtcNews::Disconnected { conn } => {
                    tell(&self.worker, &ToWorker::Disconnected { stream, conn })
                }
                RtcNews::Failed { peer } => {
                    tell(&self.worker, &ToWorker::ConnectFailed { stream, peer })
                }
                RtcNews::Carry { to, frame } => network.signalling.carry(to, frame),
                RtcNews::Received {
                    conn,
                    channel,
                    bytes,
                } => {
                    let data = door::buffer(&bytes);
                    tell_received(&self.worker, stream, conn, channel.into(), &data)
                }
                RtcNews::Credit { conn, credit } => {
                    tell_credit(&self.worker, stream, conn, credit as f64)
                }
            }
        }
    }

    pub fn report(&mut self, completeness_permille: u16, free_slots: u8) {
        self.reported = (completeness_permille, free_slots);
        if let Some(network) = &mut self.network {
            network.signalling.report(completeness_permille, free_slots);
        }
    }

    // ── the film ──

    /// Shows a film in this element: this file of the stream, or the first that can be played.
    pub fn attach(&mut self, video: HtmlVideoElement, file: Option<u32>) {
        let (number, emitter) = (self.number, self.emitter.clone());
        if let Some(mut old) = self.player.take() {
            old.close();
        }
        let emit = Rc::new(move |event| emitter.push(PageEvent::Video(number, event)));
        self.player_problem = None;
        self.player_note = None;
        self.released = false;
        if self.worker_problem.as_ref().is_some_and(is_of_film) {
            self.worker_problem = None;
        }
        match Player::new(video, self.began_ms, self.small, emit) {
            Some(player) => {
                let mp3_in_mp4 = player.takes("audio/mp4; codecs=\"mp3\"");
                let ac3 = player.takes("audio/mp4; codecs=\"ac-3\"");
                self.player = Some(player);
                self.attaching += 1;
                tell(
                    &self.worker,
                    &ToWorker::Attach {
                        stream: number,
                        file,
                        mp3_in_mp4,
                        ac3,
                    },
                );
            }
            None => {
                self.no_player = true;
                self.miss_player();
            }
        }
    }

    /// The worker knows of it: what comes now is of that film, and so is what is wrong with it.
    pub fn attached(&mut self) {
        self.attaching -= 1;
        self.changed = true;
    }

    /// The page plays the file by itself. Why we do not stays said.
    pub fn release(&mut self) {
        if let Some(mut player) = self.player.take() {
            player.close();
        }
        self.released = true;
        self.changed = true;
        tell(
            &self.worker,
            &ToWorker::Release {
                stream: self.number,
            },
        );
    }

    /// Whether what the worker sends is still of the film before.
    pub fn is_attaching(&self) -> bool {
        self.attaching > 0
    }

    /// Without MediaSource a film cannot be seen here; everything can be downloaded.
    fn miss_player(&mut self) {
        if self.no_player && self.meta.as_ref().is_some_and(|meta| meta.playable) {
            self.player_problem = Some(Problem {
                code: ProblemCode::UnsupportedMedia,
                detail: Some("MediaSource".into()),
            });
        }
    }

    pub fn video(&mut self, event: VideoEvent) {
        self.play(|player| player.handle(event));
    }

    pub fn segment(&mut self, segment: Segment) {
        self.play(|player| player.append(segment));
    }

    pub fn ready(&mut self, info: Info) {
        self.play(|player| player.ready(info));
    }

    /// What the film is made of, for JavaScript to see.
    pub fn film(&mut self, film: JsValue) {
        if let Some(player) = &mut self.player {
            player.film(film);
        }
        self.changed = true;
    }

    pub fn chapters(&mut self, chapters: &JsValue) {
        if let Some(player) = &mut self.player {
            player.chapters(chapters);
        }
        self.changed = true;
    }

    pub fn cue(&mut self, cue: Cue) {
        if let Some(player) = &mut self.player {
            player.cue(cue);
        }
    }

    pub fn film_object(&self) -> JsValue {
        self.player
            .as_ref()
            .map_or(JsValue::NULL, Player::film_object)
    }

    /// `sound`: another sound track; otherwise subtitles, `None` for none.
    pub fn select(&mut self, sound: bool, id: Option<u32>) {
        self.play(|player| match (sound, id) {
            (true, Some(id)) => player.choose_sound(id),
            (true, None) => Vec::new(),
            (false, id) => {
                player.choose_subtitles(id);
                Vec::new()
            }
        });
        self.changed = true;
    }

    pub fn duration(&mut self, duration_us: u64) {
        self.play(|player| player.duration(duration_us));
    }

    pub fn track_ended(&mut self, track: u32, generation: u32) {
        self.play(|player| player.track_ended(track, generation));
    }

    fn play(&mut self, f: impl FnOnce(&mut Player) -> Vec<PlayerNews>) {
        let (stream, Some(player)) = (self.number, &mut self.player) else {
            return;
        };
        for news in f(player) {
            match news {
                PlayerNews::Seek { to_s, generation } => {
                    tell(
                        &self.worker,
                        &ToWorker::Seek {
                            stream,
                            to_s,
                            generation,
                        },
                    );
                }
                PlayerNews::Shown => tell(&self.worker, &ToWorker::Shown { stream }),
                PlayerNews::Playhead { at_s, until_s } => {
                    tell_playhead(&self.worker, stream, at_s, until_s)
                }
                PlayerNews::Select { tracks, generation } => {
                    tell(
                        &self.worker,
                        &ToWorker::Select {
                            stream,
                            tracks,
                            generation,
                        },
                    );
                }
                PlayerNews::Unsupported(mimes) => {
                    self.player_problem = Some(Problem {
                        code: ProblemCode::UnsupportedMedia,
                        detail: Some(mimes),
                    });
                }
                PlayerNews::NoSound(codecs) => {
                    self.player_note = Some(Problem {
                        code: ProblemCode::NoSound,
                        detail: Some(codecs),
                    });
                }
                PlayerNews::Broken(what) => {
                    self.player_problem = Some(Problem {
                        code: ProblemCode::MediaBroken,
                        detail: Some(what),
                    });
                }
            }
        }
    }

    // ── news from the worker ──

    pub fn meta(&mut self, meta: Meta) {
        self.meta = Some(meta);
        self.changed = true;
        self.miss_player();
    }

    pub fn stats(&mut self, stats: Stats) {
        self.changed = true;
        self.worker_stats = stats;
        self.look_around();
    }

    fn look_around(&mut self) {
        let stats = &self.worker_stats;
        let around = Around {
            welcomed: self.welcomed,
            peers: stats.peers.len(),
            reachable: stats.missing_reachable,
            received: stats.bytes_received,
        };
        self.alone.look(door::now_ms(), &around);
    }

    pub fn problem(&mut self, problem: Option<Problem>) {
        if self.is_attaching() && problem.as_ref().is_some_and(is_of_film) {
            return;
        }
        self.worker_problem = problem;
        let code = self.worker_problem.as_ref().map(|p| p.code);
        if matches!(
            code,
            Some(ProblemCode::FileChanged | ProblemCode::FileUnreadable)
        ) {
            self.leave();
        }
        self.reject_if_over();
    }

    /// The engine is gone: nothing moves any more, and nobody is to wait for it.
    pub fn engine_stopped(&mut self, why: &str) {
        if self.closed_ms.is_some() {
            return;
        }
        self.worker_problem = Some(Problem {
            code: ProblemCode::EngineStopped,
            detail: Some(why.into()),
        });
        self.leave();
        self.reject_if_over();
    }

    /// Says goodbye to server and peers; [`PageStream::tick`] hangs up once that has had time to be heard.
    fn leave(&mut self) {
        self.leaving_ms.get_or_insert_with(door::now_ms);
        if let Some(network) = &mut self.network {
            network.signalling.leave();
        }
    }

    /// The answer to [`PageStream::read`]: bytes, or what went wrong.
    pub fn read_done(&mut self, request: u32, answer: &JsValue) {
        let Some((resolve, reject)) = self.waiting.reads.remove(&request) else {
            return;
        };
        // A promise's functions never call back into us.
        let _ = match answer.as_string() {
            None => resolve.call1(&JsValue::NULL, answer),
            Some(text) => reject.call1(&JsValue::NULL, &js_sys::Error::new(&text)),
        };
    }

    /// The answer to [`PageStream::ask_still`].
    pub fn still(&mut self, request: u32, still: &JsValue) {
        if let Some(resolve) = self.waiting.stills.remove(&request) {
            // A promise's functions never call back into us.
            let _ = resolve.call1(&JsValue::NULL, still);
        }
    }

    // ── what a person asks ──

    pub fn set_onchange(&mut self, f: Option<Function>) {
        self.onchange = f;
    }

    pub fn onchange(&self) -> Option<Function> {
        self.onchange.clone()
    }

    pub fn when_meta(&mut self, resolve: Function, reject: Function) {
        self.waiting.meta.push((resolve, reject));
        self.reject_if_over();
    }

    pub fn when_complete(&mut self, resolve: Function, reject: Function) {
        self.waiting.complete.push((resolve, reject));
        self.reject_if_over();
    }

    /// Resolves with a piece of a file, as `ToWorker::Read` says.
    pub fn read(
        &mut self,
        (reader, file, piece): (u32, u32, u32),
        resolve: Function,
        reject: Function,
    ) {
        if let Some(why) = self.over()
            && (self.closed_ms.is_some() || !self.worker_stats.complete)
        {
            let _ = reject.call1(&JsValue::NULL, &js_sys::Error::new(&why));
            return;
        }
        let request = self.waiting.next_read;
        self.waiting.next_read += 1;
        self.waiting.reads.insert(request, (resolve, reject));
        tell(
            &self.worker,
            &ToWorker::Read {
                stream: self.number,
                request,
                reader,
                file,
                piece,
            },
        );
    }

    /// Resolves with what can be seen by itself at a place, or `null`.
    pub fn ask_still(&mut self, at_s: f64, resolve: Function) {
        let over = self.over().is_some();
        let waiting = &mut self.waiting;
        if over || self.player.is_none() || waiting.stills.len() >= STILLS_MAX {
            let _ = resolve.call1(&JsValue::NULL, &JsValue::NULL);
            return;
        }
        let request = waiting.next_still;
        waiting.next_still += 1;
        waiting.stills.insert(request, resolve);
        let stream = self.number;
        let ask = ToWorker::Still {
            stream,
            request,
            at_s,
        };
        tell(&self.worker, &ask);
    }

    /// What is `None` stays as it was; a rate of `Some(None)` is no bound of ours.
    pub fn set_upload(&mut self, paused: Option<bool>, bytes_per_second: Option<Option<u64>>) {
        self.paused = paused.unwrap_or(self.paused);
        self.upload_bytes_per_second = bytes_per_second.unwrap_or(self.upload_bytes_per_second);
        let (paused, bytes_per_second) = (self.paused, self.upload_bytes_per_second);
        tell(
            &self.worker,
            &ToWorker::Upload {
                stream: self.number,
                paused,
                bytes_per_second,
            },
        );
    }

    pub fn close(&mut self) {
        self.closed_ms.get_or_insert_with(door::now_ms);
        tell(
            &self.worker,
            &ToWorker::Close {
                stream: self.number,
            },
        );
        self.leave();
        if let Some(player) = &mut self.player {
            player.close();
        }
        self.reject_if_over();
    }

    /// Why nothing more will ever come, if so.
    fn over(&self) -> Option<String> {
        if self.closed_ms.is_some() {
            return Some("closed".into());
        }
        let problem = self.worker_problem.as_ref()?;
        let for_good = matches!(
            problem.code,
            ProblemCode::Fraud | ProblemCode::Expired | ProblemCode::EngineStopped
        );
        (for_good || self.base.is_none()).then(|| problem.code.name().into())
    }

    /// What is not here when a stream ends never comes. What is here is still told.
    fn reject_if_over(&mut self) {
        let Some(why) = self.over() else {
            return;
        };
        let (closed, whole) = (self.closed_ms.is_some(), self.worker_stats.complete);
        let waiting = &mut self.waiting;
        for resolve in std::mem::take(&mut waiting.stills).into_values() {
            let _ = resolve.call1(&JsValue::NULL, &JsValue::NULL);
        }
        let meta = (self.meta.is_none()).then(|| std::mem::take(&mut waiting.meta));
        let complete = (!whole).then(|| std::mem::take(&mut waiting.complete));
        let reads = (closed || !whole).then(|| std::mem::take(&mut waiting.reads));
        let reads = reads.into_iter().flat_map(SortedMap::into_values);
        for (_, reject) in meta.into_iter().chain(complete).flatten().chain(reads) {
            // A promise's functions never call back into us.
            let _ = reject.call1(&JsValue::NULL, &js_sys::Error::new(&why));
        }
    }

    /// The page goes away this instant: whoever is connected hears it at once instead of after fifteen seconds of silence.
    pub fn hang_up(&mut self) {
        if let Some(network) = &mut self.network {
            network.signalling.leave();
            network.rtc.hang_up();
        }
    }

    // ── what the page shows ──

    /// Where things stand, in the words of the TypeScript face.
    pub fn phase(&self) -> &'static str {
        let joined = self.network.as_ref().is_some_and(|n| n.signalling.joined());
        match self.side {
            _ if self.leaving_ms.is_some() => "stopped",
            Side::Share => "sharing",
            Side::View if self.worker_stats.complete => "complete",
            Side::View if self.released || self.startup_ms().is_some() => "playing",
            Side::View if !self.worker_stats.peers.is_empty() => "fetching",
            Side::View if self.network.is_none() && self.base.is_some() => "fetching",
            Side::View if self.network.as_ref().is_some_and(|n| n.rtc.len() > 0) => "connecting",
            Side::View if joined => "looking",
            Side::View => "starting",
        }
    }

    /// What a person should know, the gravest first.
    pub fn current_problem(&self) -> Option<(Problem, Option<f64>)> {
        let network = self.network.as_ref();
        problems::choose(&problems::Facts {
            fatal: self
                .worker_problem
                .as_ref()
                .or(self.player_problem.as_ref()),
            refused: self.refused,
            lost_for_ms: network.and_then(|n| n.signalling.lost_for_ms()),
            retry_s: network.map_or(0.0, |n| n.signalling.retry_in_s()),
            alone_for_ms: self.alone.for_ms(door::now_ms()),
            note: self.player_note.as_ref(),
            connecting: network.is_some_and(|n| n.rtc.opening()),
            paused: self.worker_stats.paused_peers > 0,
            done: self.side == Side::Share || self.worker_stats.complete,
            closed: self.closed_ms.is_some(),
        })
    }

    pub fn startup_ms(&self) -> Option<f64> {
        self.player.as_ref().and_then(Player::startup_ms)
    }

    pub fn stalls(&self) -> u32 {
        self.player.as_ref().map_or(0, Player::stalls)
    }

    pub fn path_counts(&self) -> (u32, u32) {
        self.network
            .as_ref()
            .map_or((0, 0), |n| n.rtc.path_counts())
    }

    pub fn relayed(&self, conn: u64) -> bool {
        self.network.as_ref().is_some_and(|n| n.rtc.relayed(conn))
    }

    /// Twice a second: asks for more candidates while nobody who helps is here, and ends what outlived its goodbyes.
    pub fn tick(&mut self) {
        let now = door::now_ms();
        self.look_around();
        if self
            .leaving_ms
            .is_some_and(|since| now - since > GOODBYES_MS)
            && let Some(mut network) = self.network.take()
        {
            network.rtc.close_all();
        }
        let lonely = self.side == Side::View
            && !self.worker_stats.complete
            && self.alone.for_ms(now).is_some()
            && self.leaving_ms.is_none();
        if let Some(network) = &mut self.network
            && now - self.asked_paths_ms > ASK_PATHS_MS
        {
            self.asked_paths_ms = now;
            network.rtc.find_paths();
        }
        if let Some(network) = &mut self.network {
            let news = network.rtc.tick();
            self.handle_rtc(news);
        }
        if let Some(network) = &mut self.network
            && lonely
            && network.signalling.joined()
            && now - self.asked_more_ms > ASK_MORE_MS
        {
            self.asked_more_ms = now;
            network.signalling.more();
        }
    }

    /// Whether there is nothing left to do for it.
    pub fn ended(&self) -> bool {
        self.closed_ms.is_some() && self.network.is_none()
    }

    /// Settles promises and calls `onchange`, at most four times a second unless phase or problem changed.
    pub fn notice(&mut self, calls: &mut Vec<Call>) {
        if let Some(meta) = &self.meta {
            for (resolve, _) in self.waiting.meta.drain(..) {
                let meta = super::stats::meta_object(meta);
                calls.push(Box::new(move || drop(resolve.call1(&JsValue::NULL, &meta))));
            }
        }
        if self.worker_stats.complete {
            for (resolve, _) in self.waiting.complete.drain(..) {
                calls.push(Box::new(move || drop(resolve.call0(&JsValue::NULL))));
            }
        }
        let shown = (
            self.phase(),
            self.current_problem().map(|(p, _)| p.code.name()),
        );
        let now = door::now_ms();
        if shown != self.shown || (self.changed && now - self.notified_ms >= NOTIFY_MS) {
            self.shown = shown;
            self.changed = false;
            self.notified_ms = now;
            if let Some(f) = self.onchange.clone() {
                calls.push(Box::new(move || drop(f.call0(&JsValue::NULL))));
            }
        }
    }
}

/// Regions remembered per stream.
const REGIONS_MAX: usize = 512;
/// Stills that are asked for at one time.
const STILLS_MAX: usize = 8;
/// How long the goodbyes of a closed stream may take, milliseconds.
const GOODBYES_MS: f64 = 1000.0;
/// How often somebody who is alone asks the server for company, milliseconds.
const ASK_MORE_MS: f64 = 5000.0;
/// How often it is asked which way a connection goes, milliseconds: ICE may change it at any time.
const ASK_PATHS_MS: f64 = 5000.0;
/// Shortest time between two calls of `onchange` for numbers alone, milliseconds.
const NOTIFY_MS: f64 = 240.0;
