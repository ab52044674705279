//! The engine: what is open, what is produced, what is demanded.

use crate::cache::{Cache, merged};
use crate::decode::{Decoding, SoundDecoder};
use crate::demux::{Ahead, Demuxer, Horizon, Stream, sort_by_time, us};
use crate::producer::Producer;
use crate::source::{Source, Stop};
use crate::text::{Format, SAMPLE_MAX, texts};
use crate::{Cue, Demand, Info, Kind, Output, Picture, Reason, Still, Support, Track, TrackId, formats};
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;

/// Bytes of samples that are kept at most. Half a minute at 9 Mbit/s; televisions have little memory, and the driver
/// keeps everything on disk anyway.
const CACHE_MAX: usize = 32 << 20;
/// While a file is being opened its index must fit: `moov` may have 64 MiB.
const OPENING_MAX: usize = 96 << 20;
/// Of the cache, what look-ahead may fill: the rest is for what comes unasked.
const AHEAD_BYTES: u64 = 24 << 20;
/// Held by who has little memory before what was put out is dropped: a few segments of 8 Mbit/s.
const LITTLE_BYTES: usize = 4 << 20;
/// And how much more comes before the next look.
const TRIM_STEP: usize = 1 << 20;
/// How far ahead of the playhead bytes are demanded.
const AHEAD_US: u64 = 30_000_000;
/// What is produced without being told.
const PRODUCE_US: u64 = 10_000_000;
/// Indexes at the end of the file help seeking only, so they may take this long.
const EXTRAS_US: u64 = 4_000_000;
/// Subtitles may come this much after the picture: they never keep it waiting.
const TEXTS_US: u64 = 2_000_000;
/// Put out in one turn, so that a file full of empty subtitles costs no memory.
const CUES_AT_ONCE: usize = 64;
/// Pictures that are passed over in search of one that can be shown by itself.
const STILL_SAMPLES: usize = 1024;
/// How much of the beginning is offered as start ranges.
const START_US: u64 = 500_000;

/// One file being played.
pub struct Media {
    len: u64,
    support: Support,
    name_hint: Option<String>,
    cache: Cache,
    state: State,
    info: Option<Info>,
    outputs: VecDeque<Output>,
    producers: Vec<Producer>,
    texts: Vec<Text>,
    chapters_told: bool,
    generation: u32,
    playhead_us: u64,
    produce_until_us: u64,
    /// The most that is demanded ahead of what was put out.
    ahead_bytes: u64,
    /// Beyond it what was put out already is dropped.
    trim_at: usize,
    /// Where the demuxer has to go before anything is produced.
    seek_to: Option<u64>,
    /// Something happened since the last turn that led nowhere.
    fresh: bool,
    /// What the last turn stopped at: range and when it is due.
    needs: Vec<Ahead>,
    plan: Vec<Ahead>,
    plan_stale: bool,
    start_ranges: Option<Vec<Range<u64>>>,
    /// A look at a still that lacks bytes: its place, and the copy of the demuxer that searches for it.
    look: Option<(u64, Box<dyn Demuxer>)>,
    decoder: Option<Box<dyn SoundDecoder>>,
}

/// A subtitle track on its way out.
struct Text {
    slot: usize,
    format: Format,
    /// Cues that begin before this were put out.
    reached_us: u64,
    ended: bool,
}

enum State {
    Opening,
    Open(Box<dyn Demuxer>),
    Over,
}

impl Media {
    /// `len` is the file's length in bytes; the name only helps where the first bytes do not tell the format.
    pub fn new(len: u64, name_hint: Option<&str>, support: Support) -> Media {
        Media {
            len,
            support,
            name_hint: name_hint.map(str::to_ascii_lowercase),
            cache: Cache::default(),
            state: State::Opening,
            info: None,
            outputs: VecDeque::new(),
            producers: Vec::new(),
            texts: Vec::new(),
            chapters_told: false,
            generation: 0,
            playhead_us: 0,
            produce_until_us: PRODUCE_US,
            ahead_bytes: AHEAD_BYTES,
            trim_at: CACHE_MAX,
            seek_to: None,
            fresh: true,
            needs: Vec::new(),
            plan: Vec::new(),
            plan_stale: true,
            start_ranges: None,
            look: None,
            decoder: None,
        }
    }

    /// Sound that this decodes leaves as FLAC. To be given before any bytes.
    pub fn set_decoder(&mut self, decoder: Box<dyn SoundDecoder>) {
        self.decoder = Some(decoder);
    }

    /// What the decoder waited for is here.
    pub fn wake(&mut self) {
        self.fresh = true;
    }

    /// Takes bytes of the file, in any order, any number of times. At most 32 MiB are kept (96 MiB while the index is
    /// read); what had to be dropped is demanded again. The slices are kept as they are: give ones that do not hold
    /// much larger buffers alive.
    pub fn handle_bytes(&mut self, offset: u64, bytes: Bytes) {
        let inside = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
        if matches!(self.state, State::Over) || inside == 0 {
            return;
        }
        self.cache.insert(offset, &bytes.slice(..inside));
        self.fresh = true;
        let opening = matches!(self.state, State::Opening);
        let (cap, trim_at) = if opening { (OPENING_MAX, OPENING_MAX) } else { (CACHE_MAX, self.trim_at) };
        if self.cache.held() > trim_at {
            self.refresh_plan();
            let wanted: Vec<Range<u64>> = self.needs.iter().chain(&self.plan).map(|a| a.range.clone()).collect();
            self.cache.shrink(cap, &wanted);
            if !opening {
                // Where all of it is wanted, not again with each block.
                self.trim_at = self.little().max(self.cache.held() + TRIM_STEP).min(CACHE_MAX);
            }
        }
    }

    /// Produces these tracks from now on; unknown and unplayable ones are ignored. A video or sound track that is added
    /// starts a new generation at the playhead, in which the others go on where they are: a decoder in the middle of pictures that came again
    /// from their sync sample would wait for the next one. Leaving one out starts none, nor do subtitles.
    pub fn select(&mut self, tracks: &[TrackId]) {
        self.select_texts(tracks);
        let State::Open(demuxer) = &self.state else { return };
        let mut slots: Vec<usize> = Vec::new();
        for slot in tracks.iter().map(|t| t.0 as usize) {
            if !slots.contains(&slot) && demuxer.streams().get(slot).is_some_and(|s| s.codec.is_some()) {
                slots.push(slot);
            }
        }
        let mut added = false;
        self.producers.retain(|p| slots.contains(&p.slot));
        for slot in slots {
            if self.producers.iter().any(|p| p.slot == slot) {
                continue;
            }
            let stream = &demuxer.streams()[slot];
            if let Some(codec) = &stream.codec {
                let mut producer = Producer::new(slot, stream, codec, codec.packing(self.support));
                producer.restart(self.playhead_us);
                self.outputs.push_back(producer.init());
                self.producers.push(producer);
                added = true;
            }
        }
        (self.fresh, self.plan_stale) = (true, true);
        if added {
            self.go_back();
        }
    }

    /// From the playhead on for what is new.
    fn go_back(&mut self) {
        let (before, playhead) = (self.generation, self.playhead_us);
        let producers = &mut self.producers;
        let goes_on = |it: TrackId| producers.iter().any(|p| p.track() == it);
        self.outputs.retain_mut(|output| match output {
            Output::Segment { track, generation, .. } | Output::EndOfTrack { track, generation }
                if *generation == before =>
            {
                *generation = before + 1;
                goes_on(*track)
            }
            _ => true,
        });
        self.generation += 1;
        for producer in producers.iter_mut() {
            producer.repeat();
        }
        self.restart_at(playhead);
    }

    fn restart_at(&mut self, time_us: u64) {
        self.seek_to = Some(time_us);
        for text in &mut self.texts {
            (text.reached_us, text.ended) = (time_us, false);
        }
        (self.fresh, self.plan_stale) = (true, true);
        self.needs.clear();
    }

    fn select_texts(&mut self, tracks: &[TrackId]) {
        let State::Open(demuxer) = &mut self.state else { return };
        if demuxer.texts_in_passing() {
            return;
        }
        self.texts.retain(|t| tracks.contains(&TrackId(t.slot as u32)));
        let source = Source::new(&self.cache, self.len);
        for slot in tracks.iter().map(|t| t.0 as usize) {
            let format = demuxer.streams().get(slot).and_then(|s| s.text);
            // Where subtitles do not come in passing each track is sought alone.
            if let Some(format) = format.filter(|_| self.texts.iter().all(|t| t.slot != slot))
                && demuxer.seek(&source, &[slot], self.playhead_us).is_ok()
            {
                self.texts.push(Text { slot, format, reached_us: self.playhead_us, ended: false });
            }
        }
        self.fresh = true;
    }

    /// Goes on from the sync sample at or before `time_us`, in a new generation. The playhead is then `time_us`.
    pub fn seek(&mut self, time_us: u64) {
        let end = self.info.as_ref().and_then(|i| i.duration_us).unwrap_or(u64::MAX >> 1);
        let time_us = time_us.min(end);
        self.generation += 1;
        self.playhead_us = time_us;
        self.produce_until_us = time_us + PRODUCE_US;
        for producer in &mut self.producers {
            producer.restart(time_us);
        }
        self.restart_at(time_us);
    }

    /// Demands no more than so many bytes ahead of what was put out, and drops what was put out sooner: for who has little memory. Below
    /// the usual 24 MiB.
    pub fn set_ahead(&mut self, bytes: u64) {
        self.ahead_bytes = bytes.min(AHEAD_BYTES);
        self.trim_at = self.little();
        (self.fresh, self.plan_stale) = (true, true);
    }

    /// How much is held without a look at what of it is still wanted.
    fn little(&self) -> usize {
        if self.ahead_bytes < AHEAD_BYTES { LITTLE_BYTES } else { CACHE_MAX }
    }

    /// What plays now and how far ahead segments are wanted.
    pub fn set_playhead(&mut self, time_us: u64, produce_until_us: u64) {
        // A step this small changes no demand worth telling.
        self.plan_stale |= time_us.abs_diff(self.playhead_us) > 250_000;
        self.fresh |= produce_until_us != self.produce_until_us || self.plan_stale;
        self.playhead_us = time_us;
        self.produce_until_us = produce_until_us;
    }

    /// The bytes that are missing, most urgent first, at most 30 s ahead of the playhead and no more than the cache
    /// can hold.
    pub fn demands(&mut self) -> Vec<Demand> {
        if self.fresh {
            // Brings `needs` up to date; what it produces waits to be polled.
            while self.outputs.len() < 64 && self.turn() {}
        }
        self.refresh_plan();
        let mut claimed: Vec<Range<u64>> = Vec::new();
        let mut out = Vec::new();
        for ahead in self.needs.iter().chain(&self.plan) {
            let in_us = ahead.time_us.saturating_sub(self.playhead_us);
            for range in self.cache.missing(ahead.range.clone()) {
                for range in without(range, &claimed) {
                    out.push(Ahead { range: range.clone(), time_us: in_us });
                    claimed.push(range);
                }
            }
            if claimed.len() > 64 {
                claimed = merged(claimed, 0);
            }
        }
        sort_by_time(&mut out);
        out.into_iter().map(|a| Demand { range: a.range, in_us: a.time_us }).collect()
    }

    /// In order, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        while self.outputs.is_empty() && self.turn() {}
        self.outputs.pop_front()
    }

    /// The last picture at or before `time_us` that can be shown by itself, if its bytes are here. Neither what is produced nor what is
    /// demanded changes by it: who wants what is missing gives it (`handle_bytes`) and asks again, for the same place.
    pub fn still(&mut self, time_us: u64) -> Still {
        let State::Open(demuxer) = &self.state else { return Still::None };
        let Some(producer) = self.producers.iter().find(|p| p.is_video()) else { return Still::None };
        // One copy for all that one look reads: an index may have a hundred thousand entries.
        let look = self.look.take().filter(|(at, _)| *at == time_us).map(|(_, copy)| copy);
        let Some(mut demuxer) = look.or_else(|| demuxer.fork()) else { return Still::None };
        let source = Source::new(&self.cache, self.len);
        let found = demuxer.seek(&source, &[producer.slot], time_us).and_then(|()| {
            for _ in 0..STILL_SAMPLES {
                match demuxer.next(&source, producer.slot)? {
                    Some(sample) if !sample.sync => {}
                    sample => return Ok(sample),
                }
            }
            Ok(None)
        });
        match found {
            Ok(sample) => sample
                .and_then(|it| producer.still(it))
                .map_or(Still::None, |(at_us, bytes)| Still::Here(Picture { track: producer.track(), at_us, bytes })),
            Err(Stop::Need(range)) => {
                self.look = Some((time_us, demuxer));
                Still::Missing(range)
            }
            Err(_) => Still::None,
        }
    }

    /// Once the index is known: the ranges that show the first picture, index first.
    pub fn start_ranges(&self) -> Option<Vec<Range<u64>>> {
        self.start_ranges.clone()
    }

    pub fn info(&self) -> Option<&Info> {
        self.info.as_ref()
    }

    /// The current generation: 0 at first, +1 per seek.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// One step; `false` when nothing more can be done without news.
    fn turn(&mut self) -> bool {
        if !self.fresh {
            return false;
        }
        let state = std::mem::replace(&mut self.state, State::Over);
        let (state, went_on) = match state {
            State::Opening => self.turn_opening(),
            State::Open(demuxer) => self.turn_open(demuxer),
            State::Over => (State::Over, false),
        };
        self.state = state;
        self.fresh = went_on;
        went_on
    }

    fn turn_opening(&mut self) -> (State, bool) {
        if self.needs.iter().any(|need| !self.cache.has(&need.range)) {
            return (State::Opening, false);
        }
        self.needs.clear();
        let source = Source::new(&self.cache, self.len);
        match formats::open(&source, self.name_hint.as_deref()) {
            Ok(demuxer) => {
                let touched = source.touched.take();
                self.opened(demuxer, merged(touched, 4096))
            }
            Err(Stop::Need(range)) => {
                self.needs.push(Ahead { range, time_us: 0 });
                (State::Opening, false)
            }
            Err(Stop::Broken(error)) => self.over(Output::Failed(error)),
            Err(Stop::Refuse(reason)) => self.over(Output::Unsupported { reason }),
            Err(Stop::Idle) => self.over(Output::Unsupported { reason: Reason::NotMedia }),
        }
    }

    fn over(&mut self, last: Output) -> (State, bool) {
        self.outputs.push_back(last);
        self.producers.clear();
        (self.cache, self.look) = (Cache::default(), None);
        (State::Over, true)
    }

    fn opened(&mut self, mut demuxer: Box<dyn Demuxer>, index: Vec<Range<u64>>) -> (State, bool) {
        if let Some(decoder) = self.decoder.take() {
            demuxer = Decoding::around(demuxer, decoder);
        }
        let info = describe(&*demuxer, self.support);
        let first = |kind: Kind| {
            let playable = |t: &&Track| t.kind == kind && t.playable();
            let preferred = |t: &&Track| demuxer.streams().get(t.id.0 as usize).is_some_and(|s| s.default);
            info.tracks.iter().filter(playable).find(preferred).or(info.tracks.iter().find(playable)).map(|t| t.id)
        };
        let chosen: Vec<TrackId> = [first(Kind::Video), first(Kind::Audio)].into_iter().flatten().collect();
        if chosen.is_empty() {
            return self.over(Output::Unsupported { reason: Reason::NoPlayableTrack });
        }
        let slots: Vec<usize> = chosen.iter().map(|t| t.0 as usize).collect();
        let source = Source::new(&self.cache, self.len);
        // At the beginning nothing needs to be searched; an error shows again when samples are read.
        let _ = demuxer.seek(&source, &slots, 0);
        let beginning = demuxer.ahead(&source, &slots, Horizon { until_us: START_US, bytes: AHEAD_BYTES });
        let mut ranges = index;
        for range in beginning.into_iter().map(|a| a.range) {
            let new = without(range, &ranges);
            ranges.extend(new);
        }
        self.start_ranges = Some(ranges);
        self.outputs.push_back(Output::Ready(info.clone()));
        self.info = Some(info);
        if demuxer.texts_in_passing() {
            let text = |(slot, stream): (usize, &Stream)| {
                Some(Text { slot, format: stream.text?, reached_us: 0, ended: false })
            };
            self.texts = demuxer.streams().iter().enumerate().filter_map(text).collect();
        }
        self.state = State::Open(demuxer);
        let (generation, seek_to, until) = (self.generation, self.seek_to, self.produce_until_us);
        self.select(&chosen);
        // Choosing the first tracks is no seek.
        (self.generation, self.produce_until_us) = (generation, until);
        self.seek_to = seek_to.or(Some(0));
        self.playhead_us = seek_to.unwrap_or(0);
        (std::mem::replace(&mut self.state, State::Over), true)
    }

    fn turn_open(&mut self, mut demuxer: Box<dyn Demuxer>) -> (State, bool) {
        self.needs.clear();
        let source = Source::new(&self.cache, self.len);
        let texts = self.texts.iter().map(|t| t.slot);
        // What is over must not be read for again, with nobody to take it.
        let open = self.producers.iter().filter(|p| !p.ended);
        let slots: Vec<usize> = open.map(|p| p.slot).chain(texts).collect();
        if let Some(time_us) = self.seek_to {
            match demuxer.seek(&source, &slots, time_us) {
                Ok(()) => (self.seek_to, self.plan_stale) = (None, true),
                Err(Stop::Need(range)) => {
                    self.needs.push(Ahead { range, time_us: 0 });
                    return (State::Open(demuxer), false);
                }
                Err(Stop::Broken(error)) => return self.over(Output::Failed(error)),
                Err(_) => return (State::Open(demuxer), false),
            }
        }
        // The track that is furthest behind goes first. Few tracks: no sort.
        for i in 1..self.producers.len() {
            for j in (1..=i).rev() {
                if self.producers[j].reached_us < self.producers[j - 1].reached_us {
                    self.producers.swap(j, j - 1);
                }
            }
        }
        for i in 0..self.producers.len() {
            match self.pump(&mut *demuxer, i) {
                Ok(true) => {
                    self.plan_stale = true;
                    return (State::Open(demuxer), true);
                }
                Ok(false) => {}
                Err(error) => return self.over(Output::Failed(error)),
            }
        }
        if self.pump_texts(&mut *demuxer) {
            return (State::Open(demuxer), true);
        }
        let source = Source::new(&self.cache, self.len);
        // An error there would only have helped seeking.
        if let Err(Stop::Need(range)) = demuxer.extras(&source) {
            self.needs.push(Ahead { range, time_us: self.playhead_us.saturating_add(EXTRAS_US) });
        }
        let known = demuxer.duration_us();
        let mut told = false;
        if let Some(about) = demuxer.about().filter(|a| !a.unfinished && !self.chapters_told) {
            self.chapters_told = true;
            if !about.chapters.is_empty() {
                self.outputs.push_back(Output::Chapters(about.chapters.clone()));
                told = true;
            }
        }
        if let (Some(info), Some(duration)) = (&mut self.info, known)
            && info.duration_us != known
        {
            info.duration_us = known;
            self.outputs.push_back(Output::Duration(duration));
            told = true;
        }
        (State::Open(demuxer), told)
    }

    /// Moves one track on until it gives an output (`true`), needs bytes, or has produced enough.
    fn pump(&mut self, demuxer: &mut dyn Demuxer, index: usize) -> Result<bool, crate::MediaError> {
        let source = Source::new(&self.cache, self.len);
        let has_video = self.producers.iter().any(Producer::is_video);
        let film_end = demuxer.duration_us().filter(|_| has_video).map_or(0, |end| end as i64);
        let producer = &mut self.producers[index];
        let generation = self.generation;
        if producer.ended {
            return Ok(false);
        }
        loop {
            if producer.reached_us >= self.produce_until_us as i64 && !producer.repeats() {
                let out = producer.flush(generation);
                self.outputs.extend(out.iter().cloned());
                return Ok(out.is_some());
            }
            let next = if producer.is_silent() { Ok(None) } else { demuxer.next(&source, producer.slot) };
            match next {
                Ok(Some(sample)) => {
                    if let Some(segment) = producer.take(sample, generation) {
                        self.outputs.push_back(segment);
                        return Ok(true);
                    }
                }
                Ok(None) => {
                    if let Some(taken) = producer.take_silence(film_end, generation) {
                        match taken {
                            Some(segment) => {
                                self.outputs.push_back(segment);
                                return Ok(true);
                            }
                            None => continue,
                        }
                    }
                    self.outputs.extend(producer.finish(generation));
                    producer.ended = true;
                    self.outputs.push_back(Output::EndOfTrack { track: producer.track(), generation });
                    return Ok(true);
                }
                Err(Stop::Broken(error)) => {
                    self.outputs.extend(producer.finish(generation));
                    return Err(error);
                }
                Err(stop) => {
                    if let Stop::Need(range) = stop {
                        self.needs.push(Ahead { range, time_us: producer.reached_us.max(0) as u64 });
                    }
                    if !producer.is_worth_flushing(self.playhead_us) {
                        return Ok(false);
                    }
                    let out = producer.flush(generation);
                    self.outputs.extend(out.iter().cloned());
                    return Ok(out.is_some());
                }
            }
        }
    }

    /// Puts out the subtitles that can be had; whether there were any.
    fn pump_texts(&mut self, demuxer: &mut dyn Demuxer) -> bool {
        let source = Source::new(&self.cache, self.len);
        let in_passing = demuxer.texts_in_passing();
        let mut went_on = false;
        for text in &mut self.texts {
            for _ in 0..CUES_AT_ONCE {
                if text.ended || (!in_passing && text.reached_us >= self.produce_until_us) {
                    break;
                }
                match demuxer.next(&source, text.slot) {
                    Ok(Some(sample)) => {
                        went_on = true;
                        let scale = demuxer.streams().get(text.slot).map_or(1, |s| s.timescale);
                        let end = sample.pts.saturating_add(i64::from(sample.duration));
                        let at = |ticks: i64| us(ticks, scale).max(0) as u64;
                        let (start_us, end_us) = (at(sample.pts), at(end));
                        text.reached_us = text.reached_us.max(end_us);
                        if start_us < end_us && sample.data.len() <= SAMPLE_MAX {
                            for cue in texts(text.format, &sample.data) {
                                let cue = Cue { start_us, end_us, ..cue };
                                self.outputs.push_back(Output::Cue { track: TrackId(text.slot as u32), cue });
                            }
                        }
                    }
                    Err(Stop::Need(range)) => {
                        let time_us = text.reached_us.max(self.playhead_us.saturating_add(TEXTS_US));
                        self.needs.push(Ahead { range, time_us });
                        break;
                    }
                    Err(Stop::Idle) => break,
                    _ => text.ended = true,
                }
            }
        }
        went_on
    }

    fn refresh_plan(&mut self) {
        let State::Open(demuxer) = &self.state else {
            self.plan.clear();
            return;
        };
        if !self.plan_stale {
            return;
        }
        self.plan_stale = false;
        self.plan.clear();
        if self.seek_to.is_none() {
            let slots: Vec<usize> =
                self.producers.iter().filter(|p| !p.ended && !p.is_silent()).map(|p| p.slot).collect();
            let horizon = Horizon { until_us: self.playhead_us.saturating_add(AHEAD_US), bytes: self.ahead_bytes };
            let source = Source::new(&self.cache, self.len);
            self.plan = demuxer.ahead(&source, &slots, horizon);
        }
    }
}

fn describe(demuxer: &dyn Demuxer, support: Support) -> Info {
    let tracks = demuxer.streams().iter().enumerate().map(|(i, stream)| Track {
        id: TrackId(i as u32),
        kind: stream.kind,
        mime: stream.codec.as_ref().map_or(String::new(), |c| c.mime(support)),
        codec: stream.codec.as_ref().map_or_else(|| stream.codec_name.clone(), |c| c.string()),
        width: stream.width,
        height: stream.height,
        channels: stream.channels,
        sample_rate: stream.sample_rate,
        language: stream.language.clone(),
        name: stream.name.clone(),
        default: stream.default,
        forced: stream.forced,
        cues: stream.text.is_some(),
    });
    Info {
        container: demuxer.container(),
        tracks: tracks.collect(),
        title: demuxer.about().and_then(|a| a.title.clone()),
        duration_us: demuxer.duration_us(),
    }
}

/// The parts of `range` that lie in none of `taken`.
fn without(range: Range<u64>, taken: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut left = vec![range];
    for other in taken {
        if !left.iter().any(|r| r.start < other.end && other.start < r.end) {
            continue;
        }
        left = left
            .into_iter()
            .flat_map(|r| [r.start..r.end.min(other.start), r.start.max(other.end)..r.end])
            .filter(|r| r.start < r.end)
            .collect();
    }
    left
}
