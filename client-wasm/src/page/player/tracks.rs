//! Which sound and which subtitles: the person's choice among the film's tracks, and cues on their way to the element.
//!
//! Subtitles are the element's own text tracks, so that whoever draws controls finds them where browsers have them; setting
//! their `mode` is choosing them. Another sound track is a jump to where the film is, for that SourceBuffer alone.

use super::{Player, PlayerNews};
use crate::bridge::{Track, TrackKind};
use crate::door::{self, Handler, set};
use js_sys::{Array, JsString, Map, Reflect};
use wasm_bindgen::prelude::*;
use web_sys::{
    HtmlVideoElement, MediaSourceReadyState, TextTrack, TextTrackKind, TextTrackMode, VttCue,
};

/// A subtitle, as the worker sends it.
pub struct Cue {
    pub track: u32,
    pub start_s: f64,
    pub end_s: f64,
    pub text: String,
    /// It belongs to the top of the picture.
    pub top: bool,
}

/// What the film is made of, as JavaScript sees it, and its subtitles.
#[derive(Default)]
pub struct Tracks {
    /// `Film` of web/src/api.ts, without what only the page knows.
    film: Option<JsValue>,
    texts: Vec<Text>,
    _change: Option<Handler>,
}

struct Text {
    id: u32,
    track: TextTrack,
    /// All its cues, by time and text: after a jump some come again. A `Map` of JavaScript, whose code is there anyway.
    cues: Map,
}

impl Tracks {
    fn list(&self) -> Array {
        let list = self.film.as_ref().map(|film| get(film, "tracks"));
        list.map_or_else(Array::new, JsCast::unchecked_into)
    }

    /// The subtitles that are shown, or that somebody listens to.
    fn wanted(&self) -> impl Iterator<Item = u32> {
        let on = |text: &&Text| text.track.mode() != TextTrackMode::Disabled;
        self.texts.iter().filter(on).map(|text| text.id)
    }

    /// A text track cannot be taken away from its element, but emptied.
    pub fn clear(&mut self) {
        for text in self.texts.drain(..) {
            text.cues
                .for_each(&mut |cue, _| drop(text.track.remove_cue(cue.unchecked_ref())));
            text.track.set_mode(TextTrackMode::Disabled);
        }
        *self = Tracks::default();
    }

    fn add(&mut self, video: &HtmlVideoElement, track: &JsValue, shown: bool) {
        let word = |key: &str| get(track, key).as_string().unwrap_or_default();
        let text = video.add_text_track_with_label_and_language(
            TextTrackKind::Subtitles,
            &word("title"),
            &word("language"),
        );
        text.set_mode(if shown {
            TextTrackMode::Showing
        } else {
            TextTrackMode::Disabled
        });
        let id = get(track, "id").as_f64().unwrap_or(-1.0) as u32;
        self.texts.push(Text {
            id,
            track: text,
            cues: Map::new(),
        });
    }
}

impl Player {
    /// The film's tracks are known.
    pub fn film(&mut self, film: JsValue) {
        self.tracks.clear();
        self.tracks.film = Some(film);
        let list = self.tracks.list();
        let spoken = list.iter().find(|t| get(t, "kind") == "audio");
        let spoken = spoken.map(|sound| get(&sound, "language"));
        for track in list {
            if get(&track, "kind") == "subtitles" && get(&track, "playable").is_truthy() {
                // Foreign words in a film that is otherwise understood: shown unasked.
                let language = Some(get(&track, "language"));
                let shown = get(&track, "forced").is_truthy() && language == spoken;
                self.tracks.add(&self.video, &track, shown);
            }
        }
        if let Some(list) = self
            .video
            .text_tracks()
            .filter(|_| !self.tracks.texts.is_empty())
        {
            let emit = self.emit.clone();
            let on_change = move |_| emit(super::VideoEvent::Texts);
            self.tracks._change = Some(Handler::new(&list, "change", on_change));
        }
    }

    pub fn chapters(&mut self, chapters: &JsValue) {
        if let Some(film) = &self.tracks.film {
            set(film, "chapters", chapters);
        }
    }

    pub fn cue(&mut self, cue: Cue) {
        let Some(text) = self.tracks.texts.iter_mut().find(|t| t.id == cue.track) else {
            return;
        };
        let key: JsValue = JsString::from(cue.text.as_str())
            .concat(&cue.start_s.into())
            .into();
        if text.cues.size() >= CUES_MAX || text.cues.has(&key) {
            return;
        }
        if let Ok(made) = VttCue::new(cue.start_s, cue.end_s, &cue.text) {
            if cue.top {
                // Through Reflect: a number, where the type says "auto" too.
                let _ = Reflect::set(&made, &"line".into(), &0.into());
            }
            text.track.add_cue(&made);
            text.cues.set(&key, &made);
        }
    }

    /// `Film`, with what is chosen now.
    pub fn film_object(&self) -> JsValue {
        let Some(film) = &self.tracks.film else {
            return JsValue::NULL;
        };
        let chosen = self.selection();
        for track in self.tracks.list() {
            let id = get(&track, "id").as_f64().unwrap_or(-1.0) as u32;
            let known = self
                .info
                .iter()
                .flat_map(|info| &info.tracks)
                .find(|t| t.id == id);
            set(&track, "selected", chosen.contains(&id));
            if let Some(known) = known.filter(|t| t.kind != TrackKind::Text) {
                set(&track, "playable", self.plays(known));
            }
        }
        film.clone()
    }

    pub(super) fn plays(&self, track: &Track) -> bool {
        !track.mime.is_empty() && self.takes(&track.mime)
    }

    /// Everything that the media engine has to produce.
    pub(super) fn selection(&self) -> Vec<u32> {
        self.buffers
            .iter()
            .map(|b| b.track.id)
            .chain(self.tracks.wanted())
            .collect()
    }

    pub(super) fn select_news(&self) -> PlayerNews {
        PlayerNews::Select {
            tracks: self.selection(),
            generation: self.generation,
        }
    }

    /// Shows these subtitles, or none. The element tells of the change, and [`Player::handle`] passes it on.
    pub fn choose_subtitles(&mut self, id: Option<u32>) {
        for text in &self.tracks.texts {
            let shown = Some(text.id) == id;
            text.track.set_mode(if shown {
                TextTrackMode::Showing
            } else {
                TextTrackMode::Disabled
            });
        }
    }

    /// Goes on with this sound track.
    pub fn choose_sound(&mut self, id: u32) -> Vec<PlayerNews> {
        let track = self
            .info
            .iter()
            .flat_map(|info| &info.tracks)
            .find(|t| t.id == id);
        let Some(track) = track
            .filter(|t| t.kind == TrackKind::Audio && self.plays(t))
            .cloned()
        else {
            return Vec::new();
        };
        let open = self.source.ready_state() == MediaSourceReadyState::Open;
        let Some(buffer) = self
            .buffers
            .iter_mut()
            .find(|b| b.track.kind == TrackKind::Audio)
        else {
            return Vec::new();
        };
        if buffer.track.id == id || self.broken {
            return Vec::new();
        }
        if open {
            let _ = buffer.buffer.abort();
        }
        if buffer.track.mime != track.mime
            && let Err(error) = buffer.buffer.change_type(&track.mime)
        {
            return self.fail(&door::message(&error));
        }
        buffer.track = track;
        buffer.queue.clear();
        (buffer.flush, buffer.placed, buffer.appending_init) = (true, None, false);
        buffer.ended = false;
        // The picture goes on where it is.
        self.generation += 1;
        buffer.since = self.generation;
        // What stops now is no stall: somebody asked for it.
        self.waiting = true;
        self.playhead_sent = (-1.0, -1.0);
        let mut news = self.playhead();
        news.push(self.select_news());
        news.extend(self.pump());
        news
    }
}

fn get(object: &JsValue, key: &str) -> JsValue {
    Reflect::get(object, &key.into()).unwrap_or(JsValue::UNDEFINED)
}

/// Cues of one track: more than any film has, karaoke included.
const CUES_MAX: u32 = 50_000;
