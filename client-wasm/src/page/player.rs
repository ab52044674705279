//! MediaSource: appends segments as they come, evicts what was seen, and says where the viewer is.
//!
//! Invariants: one append at a time per SourceBuffer; a segment of an older generation than its SourceBuffer's (from before a seek, or another
//! sound track's) is never appended, an init segment always; the past is evicted here, because Firefox never does it.

mod tracks;

use crate::bridge::{INIT_GENERATION, Info, Track, TrackKind};
use crate::door::{self, Handler};
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
pub use tracks::Cue;
use tracks::Tracks;
use wasm_bindgen::prelude::*;
use web_sys::{
    HtmlVideoElement, MediaSource, MediaSourceReadyState, SourceBuffer, TimeRanges, Url,
};

/// What happens at the `<video>` and its MediaSource.
#[derive(Clone, Copy)]
pub enum VideoEvent {
    SourceOpen,
    UpdateEnd,
    AppendFailed,
    Seeking,
    Moved,
    Waiting,
    Playing,
    FirstPicture(f64),
    Broken,
    /// Somebody chose subtitles.
    Texts,
}

/// What the page has to do about it.
pub enum PlayerNews {
    /// The person jumped to where nothing is buffered.
    Seek {
        to_s: f64,
        generation: u32,
    },
    /// The picture of the beginning, or of the last jump, is on the screen.
    Shown,
    /// Produce until here, seconds.
    Playhead {
        at_s: f64,
        until_s: f64,
    },
    /// Produce these tracks from now on. What comes of it carries this generation.
    Select {
        tracks: Vec<u32>,
        generation: u32,
    },
    /// Nothing that this browser takes.
    Unsupported(String),
    /// The picture plays; no sound that this browser takes goes with it.
    NoSound(String),
    Broken(String),
}

/// One `<video>` fed through one MediaSource.
pub struct Player {
    video: HtmlVideoElement,
    source: MediaSource,
    /// Its constructor, which knows what may be appended.
    kind: js_sys::Function,
    url: String,
    handlers: Vec<Handler>,
    emit: Rc<dyn Fn(VideoEvent)>,
    info: Option<Info>,
    tracks: Tracks,
    buffers: Vec<Buffer>,
    /// Segments that came before there was a MediaSource to take them.
    early: Vec<Segment>,
    /// One more for each jump that the media engine is told of.
    generation: u32,
    playhead_sent: (f64, f64),
    reach: Reach,
    began_ms: f64,
    startup_ms: Option<f64>,
    waiting: bool,
    stalls: u32,
    broken: bool,
    pictures: Pictures,
}

/// How much of the film is in the SourceBuffers, seconds.
#[derive(Clone, Copy)]
struct Reach {
    ahead_s: f64,
    /// Behind the playhead, for a short step back; what is more goes in steps.
    past_s: f64,
    step_s: f64,
}

/// A segment on its way into a SourceBuffer.
pub struct Segment {
    pub track: u32,
    pub generation: u32,
    /// When its first sample is shown.
    pub start_s: f64,
    pub data: js_sys::ArrayBuffer,
    /// Its first sample is a sync sample.
    pub random_access: bool,
}

struct Buffer {
    track: Track,
    buffer: SourceBuffer,
    queue: VecDeque<Segment>,
    /// What is older than this generation comes too late.
    since: u32,
    /// Where what was appended can be cut, seconds, oldest first: a `remove` takes all that depends on what it takes.
    cuts: VecDeque<f64>,
    ended: bool,
    /// The generation that a format without times of its own was last placed for.
    placed: Option<u32>,
    /// To be emptied before anything else is appended.
    flush: bool,
    /// It is being emptied: what it says to be buffered is on its way out (Firefox takes a moment).
    emptying: bool,
    /// An init segment is being appended: it comes once, so a jump must not undo it.
    appending_init: bool,
    _handlers: Vec<Handler>,
}

impl Player {
    /// Takes the `<video>` over. `began_ms` is when the person began to wait; `small` says that memory is scarce. `None` where there is
    /// no MediaSource.
    pub fn new(
        video: HtmlVideoElement,
        began_ms: f64,
        small: bool,
        emit: Rc<dyn Fn(VideoEvent)>,
    ) -> Option<Player> {
        let (kind, source) = media_source()?;
        // ManagedMediaSource's sourceopen never fires without it.
        let _ = js_sys::Reflect::set(&video, &"disableRemotePlayback".into(), &JsValue::TRUE);
        let url = Url::create_object_url_with_source(&source).ok()?;
        let mut handlers = Vec::new();
        let mut on = |target: &web_sys::EventTarget, name: &'static str, event: VideoEvent| {
            let emit = emit.clone();
            handlers.push(Handler::new(target, name, move |_| emit(event)));
        };
        on(&source, "sourceopen", VideoEvent::SourceOpen);
        on(&video, "seeking", VideoEvent::Seeking);
        on(&video, "timeupdate", VideoEvent::Moved);
        on(&video, "ratechange", VideoEvent::Moved);
        on(&video, "waiting", VideoEvent::Waiting);
        on(&video, "playing", VideoEvent::Playing);
        on(&video, "error", VideoEvent::Broken);
        let pictures = Pictures::new(&video, &mut handlers, emit.clone());
        pictures.watch();
        video.set_src(&url);
        Some(Player {
            video,
            source,
            kind,
            url,
            handlers,
            emit,
            info: None,
            tracks: Tracks::default(),
            buffers: Vec::new(),
            early: Vec::new(),
            generation: 0,
            playhead_sent: (-1.0, -1.0),
            reach: if small { Reach::SMALL } else { Reach::USUAL },
            began_ms,
            startup_ms: None,
            waiting: false,
            stalls: 0,
            broken: false,
            pictures,
        })
    }

    /// Whether this browser plays this type.
    pub fn takes(&self, mime: &str) -> bool {
        // Through the constructor at hand: where only ManagedMediaSource exists, `MediaSource.isTypeSupported` throws.
        let ask = js_sys::Reflect::get(&self.kind, &"isTypeSupported".into());
        ask.ok()
            .and_then(|ask| ask.dyn_into::<js_sys::Function>().ok())
            .and_then(|ask| ask.call1(&self.kind, &mime.into()).ok())
            .is_some_and(|answer| answer.is_truthy())
    }

    /// Milliseconds from the beginning of the wait to the first picture.
    pub fn startup_ms(&self) -> Option<f64> {
        self.startup_ms
    }

    /// How often playing stopped for want of data, after the first picture.
    pub fn stalls(&self) -> u32 {
        self.stalls
    }

    /// The media engine knows what the film is made of.
    pub fn ready(&mut self, info: Info) -> Vec<PlayerNews> {
        self.info = Some(info);
        self.build()
    }

    /// The film's length became better known.
    pub fn duration(&mut self, duration_us: u64) -> Vec<PlayerNews> {
        if let Some(info) = &mut self.info {
            info.duration_us = Some(duration_us);
        }
        self.set_length();
        Vec::new()
    }

    /// Says it to the MediaSource. It must not change while a SourceBuffer is busy, nor shrink below what is buffered; a film whose header
    /// does not tell has no end until then.
    fn set_length(&self) {
        let told = self.info.as_ref().and_then(|info| info.duration_us);
        let Some(told_s) = told.map(|us| us as f64 / 1e6) else {
            return;
        };
        let busy = self.buffers.iter().any(|b| b.buffer.updating());
        let now_s = self.source.duration();
        if busy
            || self.source.ready_state() != MediaSourceReadyState::Open
            || now_s.is_finite() && now_s >= told_s
        {
            return;
        }
        let length_s = self
            .buffers
            .iter()
            .map(Buffer::end_s)
            .fold(told_s, f64::max);
        // Through Reflect: what a setter throws would otherwise pass through our frames and leave the inbox shut for ever.
        let _ = js_sys::Reflect::set(&self.source, &"duration".into(), &length_s.into());
    }

    /// Queues a segment. What comes before the tracks are known is from the film of an element that was ours before.
    pub fn append(&mut self, segment: Segment) -> Vec<PlayerNews> {
        if self.broken || self.info.is_none() {
            return Vec::new();
        }
        if self.buffers.is_empty() && self.early.len() < QUEUE_MAX {
            self.early.push(segment);
            return Vec::new();
        }
        if let Some(buffer) = self
            .buffers
            .iter_mut()
            .find(|b| b.track.id == segment.track && segment.generation >= b.since)
            && buffer.queue.len() < QUEUE_MAX
        {
            buffer.queue.push_back(segment);
        }
        self.pump()
    }

    /// A track has no more segments.
    pub fn track_ended(&mut self, track: u32, generation: u32) -> Vec<PlayerNews> {
        if self.broken {
            return Vec::new();
        }
        let open = |b: &&mut Buffer| b.track.id == track && generation >= b.since;
        if let Some(buffer) = self.buffers.iter_mut().find(open) {
            buffer.ended = true;
        }
        self.pump()
    }

    /// Takes in what happened at the element.
    pub fn handle(&mut self, event: VideoEvent) -> Vec<PlayerNews> {
        if self.broken {
            return Vec::new();
        }
        match event {
            VideoEvent::SourceOpen => self.build(),
            // Before there is a SourceBuffer nothing is selected yet.
            VideoEvent::Texts if self.buffers.is_empty() => Vec::new(),
            VideoEvent::Texts => vec![self.select_news()],
            VideoEvent::UpdateEnd => self.pump(),
            VideoEvent::AppendFailed => self.fail("append-refused"),
            VideoEvent::Seeking => self.seeking(),
            VideoEvent::Moved => {
                let mut news = self.playhead();
                news.extend(self.pump());
                news
            }
            VideoEvent::Waiting => self.stalled(),
            VideoEvent::Playing => {
                self.waiting = false;
                // What has no picture begins when it sounds.
                if self
                    .buffers
                    .iter()
                    .all(|b| b.track.kind != TrackKind::Video)
                {
                    let heard_ms = door::now_ms() - self.began_ms;
                    self.startup_ms.get_or_insert(heard_ms);
                }
                Vec::new()
            }
            // One from before the jump, shown while it was made: the one that is waited for has yet to come.
            VideoEvent::FirstPicture(_) if !self.has_picture_at(self.target_s()) => {
                self.pictures.watch();
                Vec::new()
            }
            VideoEvent::FirstPicture(at_ms) => {
                self.startup_ms.get_or_insert(at_ms - self.began_ms);
                self.playhead_sent = (-1.0, -1.0);
                let mut news = self.playhead();
                news.push(PlayerNews::Shown);
                news
            }
            VideoEvent::Broken => {
                let what = self.video.error().map(|e| e.message()).unwrap_or_default();
                self.fail(&what)
            }
        }
    }

    /// Gives the `<video>` back.
    pub fn close(&mut self) {
        // What is on its way here comes to nobody.
        self.broken = true;
        self.pictures.forget();
        self.handlers.clear();
        self.tracks.clear();
        self.buffers.clear();
        self.early.clear();
        self.video.remove_attribute("src").ok();
        self.video.load();
        let _ = Url::revoke_object_url(&self.url);
    }

    /// Makes the SourceBuffers once both the film and the MediaSource are known.
    fn build(&mut self) -> Vec<PlayerNews> {
        let Some(info) = &self.info else {
            return Vec::new();
        };
        if self.source.ready_state() != MediaSourceReadyState::Open || !self.buffers.is_empty() {
            return Vec::new();
        }
        let of = |kind: TrackKind| info.tracks.iter().filter(move |t| t.kind == kind);
        let first = |kind| of(kind).find(|t| self.plays(t));
        let codecs = |tracks: &mut dyn Iterator<Item = &Track>| {
            let names: Vec<&str> = tracks.map(|t| t.codec.as_str()).collect();
            names.join(", ")
        };
        let (video, audio) = (first(TrackKind::Video), first(TrackKind::Audio));
        let chosen: Vec<Track> = video.into_iter().chain(audio).cloned().collect();
        if chosen.is_empty() || (of(TrackKind::Video).next().is_some() && video.is_none()) {
            let all = codecs(&mut info.tracks.iter());
            self.broken = true;
            return vec![PlayerNews::Unsupported(all)];
        }
        let mute = (audio.is_none() && of(TrackKind::Audio).next().is_some())
            .then(|| PlayerNews::NoSound(codecs(&mut of(TrackKind::Audio))));
        self.set_length();
        let mut news: Vec<PlayerNews> = mute.into_iter().collect();
        for track in chosen {
            match self.source.add_source_buffer(&track.mime) {
                Ok(buffer) => self.add(track, buffer),
                // A film without its sound is better than none.
                Err(_) if track.kind == TrackKind::Audio && !self.buffers.is_empty() => {}
                Err(error) => return self.fail(&door::message(&error)),
            }
        }
        news.push(self.select_news());
        for segment in std::mem::take(&mut self.early) {
            news.extend(self.append(segment));
        }
        // Somebody jumped before there was anything to jump in.
        news.extend(if self.video.current_time() > 0.0 {
            self.seeking()
        } else {
            self.playhead()
        });
        news
    }

    fn add(&mut self, track: Track, buffer: SourceBuffer) {
        let mut handlers = Vec::new();
        for (name, event) in [
            ("updateend", VideoEvent::UpdateEnd),
            ("error", VideoEvent::AppendFailed),
        ] {
            let emit = self.emit.clone();
            handlers.push(Handler::new(&buffer, name, move |_| emit(event)));
        }
        let queue = VecDeque::new();
        self.buffers.push(Buffer {
            track,
            buffer,
            queue,
            since: self.generation,
            cuts: VecDeque::new(),
            ended: false,
            placed: None,
            flush: false,
            emptying: false,
            appending_init: false,
            _handlers: handlers,
        });
    }

    /// Appends, evicts and ends, as far as each SourceBuffer is free.
    fn pump(&mut self) -> Vec<PlayerNews> {
        let at_s = self.video.current_time();
        let Reach { past_s, step_s, .. } = self.reach;
        self.set_length();
        for buffer in &mut self.buffers {
            if buffer.buffer.updating() {
                continue;
            }
            buffer.appending_init = false;
            buffer.emptying = false;
            if buffer.flush {
                buffer.flush = false;
                buffer.cuts.clear();
                if buffer.buffer.remove(0.0, f64::INFINITY).is_ok() {
                    buffer.emptying = true;
                    continue;
                }
            }
            if let Some((from, _)) = buffer.past(at_s, past_s + step_s)
                && let Some(to) = buffer.cut(at_s - past_s).filter(|to| *to > from)
                && buffer.buffer.remove(from, to).is_ok()
            {
                continue;
            }
            let parts = buffer.next_parts();
            let Some(first) = parts.first() else {
                continue;
            };
            buffer.place(first);
            let all = joined(&parts);
            let appended = buffer.buffer.append_buffer_with_array_buffer(&all);
            if parts.len() > 1 {
                door::free(&all);
            }
            match appended {
                Ok(()) => {
                    buffer.appending_init = first.generation == INIT_GENERATION;
                    // The SourceBuffer has copied them.
                    for part in &parts {
                        door::free(&part.data);
                        buffer.can_cut(part);
                    }
                }
                // Full: make room behind the playhead and try again at the next move; the queue waits.
                Err(error) if door::name(&error) == "QuotaExceededError" => {
                    for part in parts.into_iter().rev() {
                        buffer.queue.push_front(part);
                    }
                    if let Some((from, to)) = buffer.past(at_s, KEEP_PAST_MIN_S) {
                        let _ = buffer.buffer.remove(from, to.min(at_s - KEEP_PAST_MIN_S));
                    }
                }
                Err(error) => return self.fail(&door::message(&error)),
            }
        }
        self.skip_gap();
        self.finish();
        Vec::new()
    }

    fn finish(&mut self) {
        let done = |b: &Buffer| b.ended && b.queue.is_empty() && !b.buffer.updating() && !b.flush;
        if !self.buffers.is_empty()
            && self.buffers.iter().all(done)
            && self.source.ready_state() == MediaSourceReadyState::Open
        {
            let _ = self.source.end_of_stream();
        }
    }

    /// A hole of less than [`GAP_S`] (a film whose sound starts late, rounding) is stepped over.
    fn skip_gap(&mut self) {
        let at_s = self.video.current_time();
        let buffered = self.video.buffered();
        if self.video.seeking() && contains(&buffered, at_s) || self.video.ready_state() >= 3 {
            return;
        }
        for i in 0..buffered.length() {
            let start = buffered.start(i).unwrap_or(f64::MAX);
            if start > at_s && start - at_s < GAP_S && !contains(&buffered, at_s) {
                self.video.set_current_time(start + 0.001);
                return;
            }
        }
    }

    fn seeking(&mut self) -> Vec<PlayerNews> {
        let to_s = self.target_s();
        self.waiting = false;
        if self.buffers.is_empty() {
            return Vec::new();
        }
        if self.buffers.iter().all(|b| b.holds(to_s)) {
            return self.playhead();
        }
        self.generation += 1;
        for buffer in &mut self.buffers {
            buffer.queue.retain(|s| s.generation == INIT_GENERATION);
            buffer.since = self.generation;
            buffer.ended = false;
            buffer.flush = true;
            // Also ends an append under way, so that the first bytes of the new place go in at once.
            if self.source.ready_state() == MediaSourceReadyState::Open
                && !buffer.appending_init
                && !buffer.emptying
            {
                let _ = buffer.buffer.abort();
            }
        }
        self.pictures.watch();
        let mut news = self.pump();
        news.push(PlayerNews::Seek {
            to_s,
            generation: self.generation,
        });
        self.playhead_sent = (-1.0, -1.0);
        news.extend(self.playhead());
        news
    }

    /// Where a picture is wanted. At the very end there is none: the last one is what is meant. (A length that is not known is no bound.)
    fn target_s(&self) -> f64 {
        self.video
            .current_time()
            .min(self.source.duration() - END_S)
            .max(0.0)
    }

    fn has_picture_at(&self, at_s: f64) -> bool {
        self.buffers
            .iter()
            .all(|b| b.track.kind != TrackKind::Video || b.holds(at_s))
    }

    fn stalled(&mut self) -> Vec<PlayerNews> {
        if self.startup_ms.is_some()
            && !self.video.seeking()
            && !self.video.ended()
            && !self.waiting
        {
            let near_end = self.source.duration() - self.video.current_time() < 0.3;
            if !near_end {
                self.stalls += 1;
            }
        }
        self.waiting = true;
        self.skip_gap();
        self.playhead()
    }

    /// Tells where the viewer is, when that has changed by enough to matter.
    fn playhead(&mut self) -> Vec<PlayerNews> {
        let at_s = self.video.current_time();
        let until_s = at_s + self.ahead_s();
        if (at_s - self.playhead_sent.0).abs() < PLAYHEAD_STEP_S {
            return Vec::new();
        }
        self.playhead_sent = (at_s, until_s);
        vec![PlayerNews::Playhead { at_s, until_s }]
    }

    /// While there is no picture today's engines get the usual: the decoder of Firefox that was started at a picture which is no sync sample
    /// (web/src/anew.ts) says that it gives up when the next one comes, and waits for ever for less.
    fn ahead_s(&self) -> f64 {
        let none = cfg!(feature = "simd") && self.video.ready_state() < 2;
        if none { Reach::USUAL } else { self.reach }.ahead_s
    }

    fn fail(&mut self, what: &str) -> Vec<PlayerNews> {
        self.broken = true;
        vec![PlayerNews::Broken(what.to_string())]
    }
}

impl Buffer {
    /// What goes into the next append: an init segment with the media that follows it, and whatever else waits, because each append
    /// costs a round of events (30 ms of the first picture, when the init segment goes alone).
    fn next_parts(&mut self) -> Vec<Segment> {
        let mut parts: Vec<Segment> = Vec::new();
        let mut len = 0;
        while let Some(segment) = self.queue.front()
            && (parts.is_empty() || len + segment.data.byte_length() <= APPEND_MAX)
            && (parts.is_empty() || self.track.mime != BARE_MP3)
        {
            let alone =
                segment.generation == INIT_GENERATION && self.queue.len() == 1 && !self.ended;
            if alone {
                break;
            }
            len += segment.data.byte_length();
            parts.extend(self.queue.pop_front());
        }
        parts
    }

    /// The part of the buffer that ends more than `keep_s` before the playhead.
    fn past(&self, at_s: f64, keep_s: f64) -> Option<(f64, f64)> {
        let ranges = self.buffer.buffered().ok()?;
        if ranges.length() == 0 {
            return None;
        }
        let start = ranges.start(0).ok()?;
        (start < at_s - keep_s).then_some((start, at_s))
    }

    fn can_cut(&mut self, segment: &Segment) {
        if segment.random_access && self.cuts.len() < CUTS_MAX {
            self.cuts.push_back(segment.start_s);
        }
    }

    /// The last place to cut before this one.
    fn cut(&mut self, before_s: f64) -> Option<f64> {
        let count = self.cuts.partition_point(|at_s| *at_s <= before_s);
        // A hair before it: what is rounded up would take what begins there.
        self.cuts
            .drain(..count)
            .next_back()
            .map(|at_s| at_s - CUT_S)
    }

    /// Bare MP3 (Chromium's `audio/mpeg`) has no times of its own: each generation says where it begins.
    fn place(&mut self, segment: &Segment) {
        if self.track.mime == BARE_MP3
            && self.placed != Some(segment.generation)
            && segment.data.byte_length() > 0
        {
            self.placed = Some(segment.generation);
            // Through Reflect for what `set_length` says.
            let _ = js_sys::Reflect::set(
                &self.buffer,
                &"timestampOffset".into(),
                &segment.start_s.into(),
            );
        }
    }

    /// Where what is buffered ends; 0 where nothing is.
    fn end_s(&self) -> f64 {
        let end = |ranges: TimeRanges| ranges.end(ranges.length().checked_sub(1)?).ok();
        self.buffer.buffered().ok().and_then(end).unwrap_or(0.0)
    }

    /// Whether a jump there finds what it needs: a track that is all here needs nothing beyond its end (sound is often a little shorter
    /// than its picture).
    fn holds(&self, at_s: f64) -> bool {
        if self.flush || self.emptying {
            return false;
        }
        let over = self.ended && self.queue.is_empty() && at_s >= self.end_s();
        over || self
            .buffer
            .buffered()
            .is_ok_and(|ranges| contains(&ranges, at_s))
    }
}

fn contains(ranges: &TimeRanges, at_s: f64) -> bool {
    (0..ranges.length()).any(|i| {
        ranges.start(i).is_ok_and(|start| start <= at_s + 0.05)
            && ranges.end(i).is_ok_and(|end| at_s < end)
    })
}

/// The bytes of segments one after the other.
fn joined(parts: &[Segment]) -> js_sys::ArrayBuffer {
    if let [one] = parts {
        return one.data.clone();
    }
    let all = js_sys::Uint8Array::new_with_length(parts.iter().map(|p| p.data.byte_length()).sum());
    let mut at = 0;
    for part in parts {
        all.set(&js_sys::Uint8Array::new(&part.data), at);
        at += part.data.byte_length();
    }
    all.buffer()
}

/// MediaSource, or ManagedMediaSource where that is all there is (iPhone).
fn media_source() -> Option<(js_sys::Function, MediaSource)> {
    let global = js_sys::global();
    let get = |name: &str| {
        js_sys::Reflect::get(&global, &name.into())
            .ok()
            .filter(JsValue::is_function)
    };
    let constructor: js_sys::Function = get("MediaSource")
        .or_else(|| get("ManagedMediaSource"))?
        .unchecked_into();
    let source = js_sys::Reflect::construct(&constructor, &js_sys::Array::new()).ok()?;
    Some((constructor, source.unchecked_into()))
}

/// Says when the next picture is on the screen: `requestVideoFrameCallback`, or `loadeddata` and `seeked` where an engine
/// lacks it (Chromium before 83).
struct Pictures {
    video: HtmlVideoElement,
    request: Option<js_sys::Function>,
    /// The callback that is waited for, as the browser numbers it.
    waiting: Cell<Option<f64>>,
    closure: Closure<dyn FnMut(JsValue, JsValue)>,
}

impl Pictures {
    fn new(
        video: &HtmlVideoElement,
        handlers: &mut Vec<Handler>,
        emit: Rc<dyn Fn(VideoEvent)>,
    ) -> Pictures {
        let request = js_sys::Reflect::get(video, &"requestVideoFrameCallback".into());
        let request: Option<js_sys::Function> = request.ok().and_then(|f| f.dyn_into().ok());
        if request.is_none() {
            for name in ["loadeddata", "seeked"] {
                let emit = emit.clone();
                handlers.push(Handler::new(video, name, move |_| {
                    emit(VideoEvent::FirstPicture(door::now_ms()))
                }));
            }
        }
        let closure = Closure::new(move |_, _| emit(VideoEvent::FirstPicture(door::now_ms())));
        Pictures {
            video: video.clone(),
            request,
            waiting: Cell::new(None),
            closure,
        }
    }

    /// Asks for one more callback, instead of the one that is waited for.
    fn watch(&self) {
        self.forget();
        if let Some(request) = &self.request {
            let number = request.call1(&self.video, self.closure.as_ref()).ok();
            self.waiting.set(number.and_then(|n| n.as_f64()));
        }
    }

    /// Waits no longer: the element may show a picture after our closure is gone.
    fn forget(&self) {
        let cancel = js_sys::Reflect::get(&self.video, &"cancelVideoFrameCallback".into());
        if let (Some(number), Ok(cancel)) = (self.waiting.take(), cancel)
            && let Ok(cancel) = cancel.dyn_into::<js_sys::Function>()
        {
            let _ = cancel.call1(&self.video, &number.into());
        }
    }
}

impl Reach {
    /// 25 Mbit/s for twenty seconds ahead is 63 MB, well below the 143 MB at which Chromium's SourceBuffer is full. Evicting in steps keeps
    /// the number of `remove` calls small.
    const USUAL: Reach = Reach {
        ahead_s: 20.0,
        past_s: 20.0,
        step_s: 10.0,
    };
    /// A television: 8 Mbit/s come to 7 MB and what lies between two sync samples. What is farther behind is sealed in the store.
    const SMALL: Reach = Reach {
        ahead_s: 4.0,
        past_s: 2.0,
        step_s: 1.0,
    };
}

/// How much stays when the SourceBuffer is full, seconds. A picture before the playhead's sync sample would be lost below this.
const KEEP_PAST_MIN_S: f64 = 10.0;
/// A jump beyond this much before the end means the end, seconds: the last picture at ten per second.
const END_S: f64 = 0.1;
/// Holes up to this are stepped over, seconds.
const GAP_S: f64 = 0.5;
/// The playhead is told when it moved by this much, seconds.
const PLAYHEAD_STEP_S: f64 = 0.2;
/// Segments waiting for a SourceBuffer. At half a second each this is beyond [`Reach::USUAL`].
const QUEUE_MAX: usize = 512;
/// The most that goes into one append, bytes: half a second of 8 Mbit/s; a jump must not wait for more.
const APPEND_MAX: u32 = 512 * 1024;
/// Places where a SourceBuffer can be cut: two a second, for longer than anything is kept.
const CUTS_MAX: usize = 512;
/// How much earlier it is cut, seconds.
const CUT_S: f64 = 0.001;
/// What MediaSource calls MP3 that is in no container; its appends cannot be joined across generations.
const BARE_MP3: &str = "audio/mpeg";
