//! Where swarm and media meet: what the player needs becomes demands, blocks become segments.

use super::decoder::Decoder;
use super::store::Limits;
use super::viewer::{Keys, ViewerStore};
use super::{Door, WorkerEvent, now};
use crate::bridge::{
    self, HOT_CHAPTERS, HOT_CUE, HOT_FILM, HOT_SEGMENT, HOT_STILL, INIT_GENERATION, Problem,
    ProblemCode, StreamNumber, ToPage,
};
use crate::door::{self, set};
use baton_content::{BlockIndex, Entry, Mask, PieceId};
use baton_media::{Chapter, Cue, Kind, Media, Output, Picture, Reason, Still, Support, TrackId};
use baton_sorted::SortedMap;
use baton_swarm::{Demand, Input, Instant};
use bytes::Bytes;
use gloo_timers::callback::Timeout;
use js_sys::{Array, Object};
use std::rc::Rc;
use wasm_bindgen::JsValue;

/// A film being played.
pub struct Film {
    number: StreamNumber,
    door: Door,
    media: Media,
    /// What the publisher found out, for a film that does not say it itself.
    duration_us: Option<u64>,
    /// What the player waits for and is not here.
    missing: SortedMap<PieceId, Mask>,
    /// The page's number for what is produced now, and the media engine's number from which on it counts.
    generation: (u32, u32),
    pace: Pace,
    gait: Gait,
    /// What of the film is opened, microseconds ahead of the playhead: what the player has asked for, and `open_us` more. What is farther
    /// waits sealed.
    opened_ahead_us: u64,
    /// Whether the swarm knows of it.
    focus_told: bool,
    /// Something changed: ask the media engine again.
    stale: bool,
    /// How often in a row a turn ended before the media engine was content.
    turns: u32,
    over: bool,
}

/// How much may be fetched besides what the next picture needs. A transfer at full speed takes all of a small machine, and the page,
/// the decoder and the next jump wait for it.
#[derive(Clone, Copy)]
enum Pace {
    /// A picture is waited for: until it is on the screen, or this time is past, only what it needs is fetched.
    Picture { until: Instant },
    /// It has just been shown: people jump again within a moment, and the page is being drawn. What is on its way then delays the next
    /// picture, so the film is fetched only a few times as fast as it plays.
    Settling { since: Instant },
    /// Everything, in the end.
    Free,
}

impl Pace {
    fn picture() -> Pace {
        Pace::Picture {
            until: now().after(HOLD_US),
        }
    }

    fn settling() -> Pace {
        Pace::Settling { since: now() }
    }

    fn until(self, gait: &Gait) -> Option<Instant> {
        match self {
            Pace::Picture { until } => Some(until),
            Pace::Settling { since } => Some(since.after(gait.settle_us)),
            Pace::Free => None,
        }
    }

    /// How far ahead of the playhead is fetched, microseconds.
    fn ahead_us(self, gait: &Gait, at: Instant) -> u64 {
        match self {
            Pace::Picture { .. } => gait.hold_ahead_us,
            Pace::Settling { since } => gait.settle_ahead_us + gait.settle_speed * at.since(since),
            Pace::Free => u64::MAX,
        }
    }
}

/// The figures of [`Pace`].
struct Gait {
    /// How much of the film is fetched before its picture is on the screen, microseconds: each piece more is decrypted, verified and
    /// appended while the picture is being decoded. It must outlast the round trip that brings what follows.
    hold_ahead_us: u64,
    /// How long the pace stays gentle after a picture, microseconds.
    settle_us: u64,
    /// How much of the film is fetched as soon as the picture is there, microseconds: it must outlast a tick and the longest round trip.
    settle_ahead_us: u64,
    /// And how much more with each second, seconds.
    settle_speed: u64,
    /// How long before the player takes it a block is opened, microseconds: opened it takes as much memory once more. It must outlast some
    /// ticks.
    open_us: u64,
}

impl Gait {
    const USUAL: Gait = Gait {
        hold_ahead_us: 500_000,
        settle_us: 1_000_000,
        settle_ahead_us: 1_000_000,
        settle_speed: 3,
        open_us: u64::MAX,
    };
    /// A television's processor decodes, decrypts and verifies at a third of a desktop's speed: what is on its way takes longer to be
    /// there, and a transfer at full speed takes the decoder's time. Twice as fast as it plays, until twenty seconds are here.
    const SMALL: Gait = Gait {
        hold_ahead_us: 1_500_000,
        settle_us: 20_000_000,
        settle_ahead_us: 3_000_000,
        settle_speed: 1,
        open_us: 2_000_000,
    };
}

impl Film {
    /// Begins at the beginning.
    pub fn new(
        number: StreamNumber,
        door: Door,
        entry: &Entry,
        (mp3_in_mp4, ac3): (bool, bool),
        limits: Limits,
    ) -> Film {
        let mut media = Media::new(entry.size, Some(&entry.path), Support { mp3_in_mp4 });
        if !ac3 {
            let (film, door) = (number, door.clone());
            let wake = Rc::new(move || door.emit(WorkerEvent::Film(film)));
            media.set_decoder(Box::new(Decoder::new(wake)));
        }
        media.set_ahead(limits.ahead);
        let gait = if limits.small {
            Gait::SMALL
        } else {
            Gait::USUAL
        };
        Film {
            number,
            door,
            media,
            duration_us: entry.duration_us,
            missing: SortedMap::new(),
            generation: (0, 0),
            pace: Pace::picture(),
            opened_ahead_us: AHEAD_US.saturating_add(gait.open_us),
            gait,
            focus_told: false,
            stale: true,
            turns: 0,
            over: false,
        }
    }

    /// The person jumped; the page counts what comes from there as `generation`.
    pub fn seek(&mut self, to_s: f64, generation: u32) {
        self.media.seek(micros(to_s));
        self.generation = (generation, self.media.generation());
        self.pace = Pace::picture();
        self.focus_told = false;
        self.stale = true;
    }

    /// The picture is on the screen: read on, gently at first.
    pub fn shown(&mut self) {
        self.set_pace(Pace::settling());
    }

    fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
        self.focus_told = false;
        self.stale = true;
    }

    /// A picture that is never shown (a hidden tab) must not hold up the film.
    pub fn tick(&mut self) {
        if self.turns >= TURNS_MAX {
            self.turns = 0;
            self.stale = true;
        }
        // Whatever was waited for is not waited for any longer.
        if self
            .pace
            .until(&self.gait)
            .is_some_and(|until| now() >= until)
        {
            self.set_pace(Pace::Free);
        }
        self.stale |= matches!(self.pace, Pace::Settling { .. });
    }

    /// What was left to do when the last turn ended.
    pub fn again(&mut self) {
        self.media.wake();
        self.stale = true;
    }

    /// Which tracks to produce from now on; the page counts what comes of it as `generation`.
    pub fn select(&mut self, tracks: &[u32], generation: u32) {
        self.media
            .select(&tracks.iter().map(|t| TrackId(*t)).collect::<Vec<_>>());
        self.generation = (generation, self.media.generation());
        self.stale = true;
    }

    /// Where the viewer is, and until when to produce.
    pub fn playhead(&mut self, at_s: f64, until_s: f64) {
        self.opened_ahead_us = micros(until_s - at_s).saturating_add(self.gait.open_us);
        self.media.set_playhead(micros(at_s), micros(until_s));
        self.stale = true;
    }

    /// Whether a picture is waited for, which nothing should compete with.
    pub fn is_waiting(&self) -> bool {
        matches!(self.pace, Pace::Picture { .. })
    }

    /// A block came: worth a look if the player waits for it.
    pub fn arrived(&mut self, piece: PieceId, block: BlockIndex) {
        self.stale |= self
            .missing
            .get(&piece)
            .is_some_and(|mask| mask.contains(block));
    }

    /// Something is no longer here that was.
    pub fn lost(&mut self) {
        self.stale = true;
    }

    /// Gives the media engine everything that it wants and that is here; what is not becomes the swarm's demands.
    pub fn pump(
        &mut self,
        at: Instant,
        entry: &Entry,
        store: &mut ViewerStore,
        keys: &mut Keys,
    ) -> Vec<Input> {
        if !self.stale || self.over {
            return Vec::new();
        }
        self.stale = false;
        let mut wanted = Vec::new();
        let mut fed = false;
        for _ in 0..ROUNDS_MAX {
            let demands = self.media.demands();
            let soonest = demands.iter().min_by_key(|demand| demand.in_us);
            let at_byte = soonest.map_or(entry.size, |demand| demand.range.start);
            if let Some((piece, _)) = entry.blocks(at_byte..at_byte + 1).next() {
                store.set_need(piece);
            }
            fed = false;
            wanted.clear();
            for demand in &demands {
                if demand.in_us > self.pace.ahead_us(&self.gait, at) {
                    continue;
                }
                let deadline = Instant(at.0 + demand.in_us);
                let sealed = demand.in_us > self.opened_ahead_us;
                for (piece, mask) in entry.blocks(demand.range.clone()) {
                    let have = match sealed {
                        true => store.have(piece),
                        false => self.feed(entry, store, keys, piece, mask),
                    };
                    fed |= !sealed && !have.is_empty();
                    let missing = mask.without(have);
                    if !missing.is_empty() {
                        wanted.push(Demand {
                            piece,
                            mask: missing,
                            deadline,
                        });
                    }
                }
            }
            self.drain();
            if !fed || self.over {
                break;
            }
        }
        self.give_way(fed && !self.over);
        self.missing.clear();
        for demand in &wanted {
            let mask = self.missing.entry(demand.piece).or_insert(Mask::EMPTY);
            *mask = mask.or(demand.mask);
        }
        let mut inputs = Vec::new();
        if !self.focus_told {
            self.focus_told = true;
            inputs.push(Input::Focus {
                until: self.pace.until(&self.gait).unwrap_or(at),
            });
        }
        inputs.push(Input::Demanded(wanted));
        inputs
    }

    /// Tells the page what can be seen by itself at a place. Nothing is fetched for it, and nothing is done while a picture is waited for.
    pub fn tell_still(
        &mut self,
        request: u32,
        at_s: f64,
        entry: &Entry,
        store: &mut ViewerStore,
        keys: &mut Keys,
    ) {
        let mut message: Vec<JsValue> = vec![HOT_STILL.into(), self.number.into(), request.into()];
        let transfer = Array::new();
        if let Some(picture) = self.still(at_s, entry, store, keys) {
            let mime = self.media.info().and_then(|info| {
                let track = info.tracks.iter().find(|it| it.id == picture.track)?;
                Some(track.mime.as_str())
            });
            let buffer = door::buffer(&picture.bytes);
            transfer.push(&buffer);
            message.extend([
                seconds(picture.at_us).into(),
                mime.unwrap_or_default().into(),
                buffer,
            ]);
        }
        self.door.post(&message, &transfer);
        // What it was given may have pushed out something that playing needs.
        self.stale = true;
    }

    fn still(
        &mut self,
        at_s: f64,
        entry: &Entry,
        store: &mut ViewerStore,
        keys: &mut Keys,
    ) -> Option<Picture> {
        if self.over || self.is_waiting() {
            return None;
        }
        for _ in 0..STILL_READS {
            let range = match self.media.still(micros(at_s)) {
                Still::Here(picture) => return Some(picture),
                Still::Missing(range) => range,
                Still::None => return None,
            };
            if range.end - range.start > STILL_BYTES {
                return None;
            }
            for (piece, mask) in entry.blocks(range) {
                let here = store.have(piece).contains_all(mask);
                if !here || self.feed(entry, store, keys, piece, mask) != mask {
                    return None;
                }
            }
        }
        None
    }

    /// Between two turns whatever else came is heard. Whoever is never content (a cache smaller than its appetite) goes on at the tick.
    fn give_way(&mut self, more: bool) {
        self.turns = if more { self.turns + 1 } else { 0 };
        if more && self.turns < TURNS_MAX {
            let (number, door) = (self.number, self.door.clone());
            Timeout::new(0, move || door.emit(WorkerEvent::Film(number))).forget();
        }
    }

    /// Gives the media engine what is here of these blocks, and says which that were.
    fn feed(
        &mut self,
        entry: &Entry,
        store: &mut ViewerStore,
        keys: &mut Keys,
        piece: PieceId,
        mask: Mask,
    ) -> Mask {
        let mut fed = Mask::EMPTY;
        for block in store.read(piece, mask) {
            let index = block.block();
            let (Some(offset), Some(bytes)) = (entry.block_offset(piece, index), keys.open(&block))
            else {
                continue;
            };
            self.media.handle_bytes(offset, Bytes::from(bytes));
            fed.insert(index);
        }
        fed
    }

    fn drain(&mut self) {
        while let Some(output) = self.media.poll_output() {
            match output {
                Output::Ready(mut info) => {
                    info.duration_us = info.duration_us.or(self.duration_us);
                    self.post(HOT_FILM, film_object(&info));
                    let (stream, info) = (self.number, bridged(info));
                    self.door.tell(&ToPage::Ready { stream, info });
                }
                Output::Duration(duration_us) => {
                    self.door.tell(&ToPage::Duration {
                        stream: self.number,
                        duration_us,
                    });
                }
                Output::Init { track, bytes } => {
                    self.segment(track, INIT_GENERATION, 0, false, &bytes);
                }
                Output::Segment {
                    track,
                    bytes,
                    generation,
                    start_us,
                    random_access,
                    ..
                } => {
                    self.segment(track, generation, start_us, random_access, &bytes);
                }
                Output::EndOfTrack { track, generation } if generation >= self.generation.1 => {
                    let (stream, generation) = (self.number, self.generation.0);
                    self.door.tell(&ToPage::TrackEnded {
                        stream,
                        track: track.0,
                        generation,
                    });
                }
                Output::EndOfTrack { .. } => {}
                Output::Cue { track, cue } => self.cue(track, cue),
                Output::Chapters(list) => self.post(HOT_CHAPTERS, chapters_object(list)),
                Output::Unsupported { reason } => {
                    self.end(ProblemCode::UnsupportedMedia, why(reason).into())
                }
                Output::Failed(error) => self.end(ProblemCode::MediaBroken, error.to_string()),
            }
        }
    }

    /// Sends a segment to the page under the page's number, unless it is from before the last jump.
    fn segment(
        &self,
        track: TrackId,
        generation: u32,
        start_us: u64,
        random_access: bool,
        bytes: &[u8],
    ) {
        if generation < self.generation.1 {
            return;
        }
        let number = match generation {
            INIT_GENERATION => INIT_GENERATION,
            _ => self.generation.0,
        };
        let buffer = door::buffer(bytes);
        let message = [
            HOT_SEGMENT.into(),
            self.number.into(),
            track.0.into(),
            number.into(),
            (start_us as f64 / 1e6).into(),
            buffer.clone(),
            random_access.into(),
        ];
        self.door.post(&message, &Array::of1(&buffer));
    }

    fn cue(&self, track: TrackId, cue: Cue) {
        let message = [
            HOT_CUE.into(),
            self.number.into(),
            track.0.into(),
            seconds(cue.start_us).into(),
            seconds(cue.end_us).into(),
            cue.text.into(),
            cue.top.into(),
        ];
        self.door.post(&message, &Array::new());
    }

    /// Sends an object that JavaScript gets to see as it is.
    fn post(&self, kind: u32, object: JsValue) {
        let message = [kind.into(), self.number.into(), object];
        self.door.post(&message, &Array::new());
    }

    fn end(&mut self, code: ProblemCode, detail: String) {
        self.over = true;
        let problem = Some(Problem {
            code,
            detail: Some(detail),
        });
        self.door.tell(&ToPage::Problem {
            stream: self.number,
            problem,
        });
    }
}

/// `Film` of web/src/api.ts.
fn film_object(info: &baton_media::Info) -> JsValue {
    let film: JsValue = Object::new().into();
    set(
        &film,
        "title",
        info.title.as_deref().map_or(JsValue::NULL, JsValue::from),
    );
    let tracks = Array::new();
    for track in &info.tracks {
        let object: JsValue = Object::new().into();
        let kind = match track.kind {
            Kind::Video => "video",
            Kind::Audio => "audio",
            Kind::Text => "subtitles",
        };
        let word = |word: &Option<String>| word.as_deref().map_or(JsValue::NULL, JsValue::from);
        set(&object, "id", track.id.0);
        set(&object, "kind", kind);
        set(&object, "codec", track.codec.as_str());
        set(&object, "language", word(&track.language));
        set(&object, "title", word(&track.name));
        set(&object, "channels", track.channels);
        set(&object, "forced", track.forced);
        // Of sound and pictures the page knows better.
        set(&object, "playable", track.cues);
        tracks.push(&object);
    }
    set(&film, "tracks", tracks);
    set(&film, "chapters", Array::new());
    film
}

fn chapters_object(list: Vec<Chapter>) -> JsValue {
    let chapters = Array::new();
    for chapter in list {
        let object: JsValue = Object::new().into();
        set(&object, "start_s", seconds(chapter.start_us));
        set(&object, "title", chapter.title);
        chapters.push(&object);
    }
    chapters.into()
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// What the player needs to know. It takes the first track that the browser plays: the ones marked as default come first.
fn bridged(info: baton_media::Info) -> bridge::Info {
    let (first, later): (Vec<_>, Vec<_>) = info.tracks.into_iter().partition(|t| t.default);
    let track = |t: baton_media::Track| bridge::Track {
        id: t.id.0,
        kind: match t.kind {
            baton_media::Kind::Video => bridge::TrackKind::Video,
            baton_media::Kind::Audio => bridge::TrackKind::Audio,
            baton_media::Kind::Text => bridge::TrackKind::Text,
        },
        mime: t.mime,
        codec: t.codec,
    };
    bridge::Info {
        tracks: first.into_iter().chain(later).map(track).collect(),
        duration_us: info.duration_us,
    }
}

fn micros(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e6) as u64
}

/// For experts, beside the sentence that a person reads; the pages have the words.
fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::NotMedia => "unknown-container",
        Reason::NoPlayableTrack => "unknown-codecs",
        Reason::Encrypted => "encrypted",
    }
}

/// How far ahead the player asks for the film as long as it has not said so, microseconds.
const AHEAD_US: u64 = 10_000_000;
/// How long the picture may take before reading on matters more, microseconds.
const HOLD_US: u64 = 2_500_000;
/// Times that the media engine is fed in one turn. A film of short fragments without an index takes one for each fragment on
/// the way to a jump.
const ROUNDS_MAX: usize = 32;
/// Turns in a row without a pause: two thousand fragments and more. Beyond it the engine's cache may be smaller than its appetite.
const TURNS_MAX: u32 = 256;
/// Times that one still may ask for bytes: a search through a film without an index takes some twenty.
const STILL_READS: usize = 64;
/// The most bytes that one answer may ask for at once: key frames of the largest films have 2 MB.
const STILL_BYTES: u64 = 4 << 20;
