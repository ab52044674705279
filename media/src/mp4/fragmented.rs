//! A file of fragments: each `moof` describes the samples of the `mdat` that follows.

use super::boxes::{Body, id, top_box};
use super::fragment::{self, Run, RunEntry, TrackState};
use super::index::{self, INDEX_MAX};
use super::moov::Movie;
use super::progressive::{BUCKET_US, GAP, SETTLE_US, zero_us};
use crate::cache::merged;
use crate::demux::{Ahead, Demuxer, Horizon, Sample, Stream, Timeline, sort_by_time, ticks, us};
use crate::error::{Fault, Path};
use crate::probe::{NEAR_BYTES, Probe};
use crate::source::{Source, Stop};
use crate::{Container, Kind};
use std::collections::{BTreeMap, VecDeque};

/// A `moof` of ten seconds has some 20 KB.
const MOOF_MAX: u64 = 16 << 20;
/// Asked for where a `moof` is expected: usually all of it.
const MOOF_AHEAD: u64 = 16 << 10;
/// Fragments looked at for the first samples of all tracks before we start without the missing ones.
const FIRST_FRAGMENTS: usize = 16;
/// Walking through so many fragments is better than searching on.
const WALK: u64 = 24;
/// Fragments walked through for a seek's target at most.
const WALK_MAX: usize = 4096;
/// Runs that wait for the other track. A track that is this far ahead makes the film wait for nothing.
const RUNS_MAX: usize = 4096;
/// How much is searched at a time for the next `moof`.
const SCAN: u64 = 64 << 10;
/// Where a recording without a duration is searched for its last fragment.
const TAIL_MAX: u64 = 8 << 20;

pub(super) struct Fragmented {
    streams: Vec<Stream>,
    tracks: Vec<Track>,
    states: Vec<TrackState>,
    /// The first top-level box after `moov`.
    first: u64,
    first_moof: u64,
    /// The next top-level box to look at.
    at: u64,
    /// Microseconds of presentation → byte of a fragment's first box.
    index: BTreeMap<i64, u64>,
    /// `sidx` or `mfra` was read: every fragment (or every one with a sync sample) is in `index`.
    indexed: bool,
    duration_us: Option<u64>,
    /// Size of the first fragment.
    fragment_bytes: u64,
    seeking: Option<Seeking>,
    extras: Extras,
}

#[derive(Default)]
struct Track {
    shift: i64,
    runs: VecDeque<Run>,
    /// Samples that end before this are passed over (sound before a seek's target).
    skip_until: i64,
    /// Pictures before this one are passed over: decoding starts there.
    skip_to_dts: Option<i64>,
}

struct Seeking {
    time_us: u64,
    /// How much before the target a sync sample is looked for.
    back_us: i64,
    probe: Option<Probe>,
    /// The fragment to look at; it is tried earlier and earlier until it has a sync sample.
    at: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Extras {
    MfraSize,
    Mfra(u64),
    /// Searching backwards from here for the last fragment.
    Last(u64),
    Done,
}

impl Fragmented {
    pub(super) fn open(source: &Source, movie: Movie, first: u64) -> Result<Fragmented, Stop> {
        let mut states = Vec::new();
        let mut tracks = Vec::new();
        let mut streams = Vec::new();
        for track in movie.tracks {
            states.push(TrackState { number: track.number, defaults: track.defaults, dts: 0 });
            tracks.push(Track { shift: track.edit.map_or(0, |e| e.empty - e.media_time), ..Track::default() });
            streams.push(track.stream);
        }
        let mut media = Fragmented {
            streams,
            tracks,
            states,
            first,
            first_moof: first,
            at: first,
            index: BTreeMap::new(),
            indexed: false,
            duration_us: movie.duration_us,
            fragment_bytes: 0,
            seeking: None,
            extras: Extras::MfraSize,
        };
        media.read_start(source)?;
        Ok(media)
    }

    /// Reads up to the first samples of all tracks, for the film's zero.
    fn read_start(&mut self, source: &Source) -> Result<(), Stop> {
        let mut places = Vec::new();
        for count in 0..FIRST_FRAGMENTS {
            let waiting = |m: &Fragmented| m.streams.iter().zip(&m.tracks).any(|(s, t)| s.codec.is_some() && t.runs.is_empty());
            if !waiting(self) || !self.read_fragment(source, Some(&mut places))? {
                break;
            }
            if count == 0 {
                self.first_moof = self.index.values().next().copied().unwrap_or(self.first);
                let ends = self.tracks.iter().flat_map(|t| t.runs.iter()).map(Run::end);
                self.fragment_bytes = ends.max().unwrap_or(0).saturating_sub(self.first_moof);
            }
        }
        if self.tracks.iter().all(|t| t.runs.is_empty()) {
            return Err(Path::root().child(id(b"moof")).error(Fault::Missing, self.at.min(source.len)).into());
        }
        for (stream, track) in self.streams.iter_mut().zip(&self.tracks) {
            match first_entry(track) {
                Some(entry) => {
                    let pts = entry.pts.saturating_add(track.shift);
                    let heard = track.runs.iter().flat_map(|r| r.clone()).find(|e| {
                        e.pts.saturating_add(track.shift).saturating_add(i64::from(e.duration)) > 0
                    });
                    let audio = heard.map_or(pts, |e| e.pts.saturating_add(track.shift));
                    let first_pts = if stream.kind == Kind::Audio { audio } else { pts };
                    stream.timeline = Timeline { first_dts: entry.dts, first_pts, preroll: None };
                }
                // Nothing to play in it.
                None => stream.codec = None,
            }
        }
        let zero = zero_us(&self.streams);
        for (stream, track) in self.streams.iter_mut().zip(&mut self.tracks) {
            let zero = ticks(zero, stream.timescale);
            track.shift = track.shift.saturating_sub(zero);
            stream.timeline.first_pts = stream.timeline.first_pts.saturating_sub(zero);
        }
        self.index.clear();
        self.index.insert(0, self.first_moof);
        for (time, at) in places {
            self.note(time - zero, at);
        }
        if let Some(end) = self.duration_us.filter(|_| zero > 0) {
            // mehd and sidx count from the source's own zero.
            self.duration_us = (end as i64 > zero).then(|| end - zero as u64);
        }
        Ok(())
    }

    fn note(&mut self, time_us: i64, at: u64) {
        if self.index.len() < INDEX_MAX {
            self.index.entry(time_us).or_insert(at);
        }
    }

    /// Reads on to the next `moof` and queues its runs; `false` at the end of the file. Fragments that `sidx` names
    /// are added to `places` while the film's zero is not known.
    fn read_fragment(&mut self, source: &Source, mut places: Option<&mut index::Places>) -> Result<bool, Stop> {
        loop {
            let found = match top_box(source, self.at, MOOF_AHEAD) {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(false),
                Err(Stop::Broken(_)) => {
                    if !self.resync(source)? {
                        return Ok(false);
                    }
                    continue;
                }
                Err(stop) => return Err(stop),
            };
            let path = Path::root().child(found.kind);
            if found.kind == id(b"sidx") && places.is_some() && found.end - found.body <= MOOF_MAX {
                if let Ok(data) = body(source, found.body, found.end, path)? {
                    if let Ok((named, end)) = index::sidx(data, found.end) {
                        self.indexed = !named.is_empty();
                        self.duration_us = self.duration_us.or(u64::try_from(end).ok().filter(|end| *end > 0));
                        places.iter_mut().for_each(|p| p.extend(named.iter().take(INDEX_MAX)));
                    }
                }
            } else if found.kind == id(b"moof") {
                if found.end > source.len {
                    self.at = source.len;
                    return Ok(false);
                }
                if found.end - found.body > MOOF_MAX {
                    return Err(path.error(Fault::TooLarge, found.start).into());
                }
                let data = Body::new(source.get(found.body..found.end, path)?, found.body, path);
                match fragment::parse(data, found.start, &mut self.states) {
                    Ok(runs) => self.queue(runs, found.start),
                    // A broken fragment is left out; the next one is whole again.
                    Err(_) => {
                        self.at = found.end;
                        continue;
                    }
                }
                self.at = found.end;
                return Ok(true);
            } else if !known_box(found.kind) {
                if !self.resync(source)? {
                    return Ok(false);
                }
                continue;
            }
            self.at = found.end;
        }
    }

    fn queue(&mut self, runs: Vec<(usize, Run)>, start: u64) {
        let lead = self.streams.iter().position(|s| s.kind == Kind::Video && s.codec.is_some()).unwrap_or(0);
        for (slot, run) in runs {
            if slot == lead {
                if let Some(first) = run.peek() {
                    let time = us(first.pts.saturating_add(self.tracks[slot].shift), self.streams[slot].timescale);
                    self.note(time, start);
                }
            }
            self.tracks[slot].runs.push_back(run);
        }
    }

    /// After something that is no box: the next `moof` that looks real.
    fn resync(&mut self, source: &Source) -> Result<bool, Stop> {
        match find_moof(source, self.at + 1, source.len)? {
            Some(at) => {
                self.at = at;
                Ok(true)
            }
            None => {
                self.at = source.len;
                Ok(false)
            }
        }
    }

    /// The next sample that is to be put out, passing over those that a seek left behind.
    fn front(&mut self, slot: usize, len: u64) -> Option<RunEntry> {
        let track = self.tracks.get_mut(slot)?;
        while let Some(run) = track.runs.front_mut() {
            while let Some(entry) = run.peek() {
                let end = entry.pts.saturating_add(track.shift).saturating_add(i64::from(entry.duration));
                let early = track.skip_to_dts.is_some_and(|dts| entry.dts < dts) || end <= track.skip_until;
                let lost = entry.offset.saturating_add(u64::from(entry.size)) > len;
                if !early && !lost {
                    return Some(entry);
                }
                run.next();
            }
            track.runs.pop_front();
        }
        None
    }

    /// The last sync sample in the queued runs of `slot` that is shown at or before `time`.
    fn sync_before(&self, slot: usize, time: i64) -> Option<RunEntry> {
        let track = &self.tracks[slot];
        let entries = track.runs.iter().flat_map(|run| run.clone());
        entries.filter(|e| e.sync && e.pts.saturating_add(track.shift) <= time).last()
    }

    fn go_to(&mut self, at: u64) {
        self.at = at;
        for (track, state) in self.tracks.iter_mut().zip(&mut self.states) {
            track.runs.clear();
            (track.skip_until, track.skip_to_dts) = (i64::MIN, None);
            state.dts = 0;
        }
    }

    fn step_seek(&mut self, source: &Source, selected: &[usize], seeking: &mut Seeking) -> Result<(), Stop> {
        let time_us = seeking.time_us as i64;
        let at = match seeking.at {
            Some(at) => at,
            None => {
                let at = self.find_fragment(source, time_us - seeking.back_us, &mut seeking.probe)?;
                seeking.at = Some(at);
                at
            }
        };
        self.go_to(at);
        for &slot in selected.iter().filter(|s| self.streams[**s].kind == Kind::Audio) {
            self.tracks[slot].skip_until = ticks(time_us - SETTLE_US, self.streams[slot].timescale);
        }
        let lead = selected.iter().copied().find(|&s| self.streams[s].kind == Kind::Video);
        let Some(lead) = lead else { return Ok(()) };
        if self.walk_to(source, selected, lead, ticks(time_us, self.streams[lead].timescale))? {
            return Ok(());
        }
        // No sync sample between there and the target: further back.
        seeking.at = match self.index.values().copied().filter(|place| *place < at).max() {
            Some(earlier) if self.indexed => Some(earlier),
            Some(_) if at > self.first_moof => None,
            _ => return Ok(()),
        };
        (seeking.back_us, seeking.probe) = ((seeking.back_us * 3).max(4_000_000), None);
        self.step_seek(source, selected, seeking)
    }

    /// Walks on, from header to header, until the leading track has passed `target`; it begins at its last sync sample
    /// before that. `false` if there was none.
    fn walk_to(&mut self, source: &Source, selected: &[usize], lead: usize, target: i64) -> Result<bool, Stop> {
        let mut found = false;
        for _ in 0..WALK_MAX {
            if !self.read_fragment(source, None)? {
                break;
            }
            if let Some(sync) = self.sync_before(lead, target) {
                self.tracks[lead].skip_to_dts = Some(sync.dts);
                found = true;
            }
            let last = self.tracks[lead].runs.back().and_then(|run| run.clone().last());
            let passed = last.is_some_and(|e| e.pts.saturating_add(self.tracks[lead].shift) > target);
            if passed || (found && self.indexed) {
                break;
            }
            // Forgets what will not be put out.
            if !found {
                self.tracks[lead].runs.clear();
            }
            for &slot in selected {
                self.front(slot, source.len);
            }
        }
        Ok(found)
    }

    /// A fragment that begins at or before the time.
    fn find_fragment(&self, source: &Source, time_us: i64, probe: &mut Option<Probe>) -> Result<u64, Stop> {
        let low = self.index.range(..=time_us).next_back().map_or((self.first_moof, 0), |(t, at)| (*at, *t));
        if self.indexed {
            return Ok(low.0);
        }
        let end = self.duration_us.map_or(i64::MAX, |d| d as i64);
        let high = self.index.range(time_us + 1..).next().map_or((source.len, end), |(t, at)| (*at, *t));
        let probe = probe.get_or_insert_with(|| {
            // Walking from fragment to fragment costs a block each, searching for one half a fragment.
            Probe::new(time_us, low, high, (self.fragment_bytes.saturating_mul(WALK)).max(NEAR_BYTES))
        });
        probe.run(|from, to| self.timed_moof(source, from, to)).map(|found| found.0)
    }

    /// The first fragment that begins in `from..to` and its time.
    fn timed_moof(&self, source: &Source, mut from: u64, to: u64) -> Result<Option<(u64, i64)>, Stop> {
        while let Some(at) = find_moof(source, from, to)? {
            if let Some(found) = top_box(source, at, MOOF_AHEAD)?.filter(|f| f.end <= source.len && f.end - f.body <= MOOF_MAX) {
                let path = Path::root().child(found.kind);
                let data = Body::new(source.get(found.body..found.end, path)?, found.body, path);
                let mut states = self.states.clone();
                if let Ok(runs) = fragment::parse(data, at, &mut states) {
                    let time = |slot: usize, run: &Run| {
                        let entry = run.peek()?;
                        Some(us(entry.pts.saturating_add(self.tracks[slot].shift), self.streams[slot].timescale))
                    };
                    if let Some(time) = runs.iter().filter_map(|(slot, run)| time(*slot, run)).min() {
                        return Ok(Some((at, time)));
                    }
                }
            }
            from = at + 1;
        }
        Ok(None)
    }

    fn step_extras(&mut self, source: &Source) -> Result<(), Stop> {
        match self.extras {
            Extras::Done => {}
            _ if self.indexed && self.duration_us.is_some() => self.extras = Extras::Done,
            Extras::MfraSize => {
                // mfro (§8.8.11): the last four bytes are the size of mfra.
                let tail = source.peek(source.len.saturating_sub(16), 16, 16)?;
                let size = tail.last_chunk::<4>().map_or(0, |b| u64::from(u32::from_be_bytes(*b)));
                let is_mfro = tail.get(4..8) == Some(b"mfro");
                let usual = self.fragment_bytes.clamp(SCAN, TAIL_MAX / 2);
                self.extras = match is_mfro && size >= 32 && size <= MOOF_MAX.min(source.len) {
                    true => Extras::Mfra(source.len - size),
                    false if self.duration_us.is_none() => Extras::Last(source.len.saturating_sub(usual).max(self.first)),
                    false => Extras::Done,
                };
            }
            Extras::Mfra(at) => {
                let path = Path::root().child(id(b"mfra"));
                let data = Body::new(source.get(at + 8..source.len, path)?, at + 8, path);
                let lead = self.streams.iter().position(|s| s.kind == Kind::Video && s.codec.is_some()).unwrap_or(0);
                if let Ok(places) = index::mfra(data, self.states[lead].number, self.streams[lead].timescale) {
                    self.indexed = !places.is_empty();
                    let shift_us = us(self.tracks[lead].shift, self.streams[lead].timescale);
                    for (time, at) in places {
                        self.note(time + shift_us, at);
                    }
                }
                self.extras = match self.duration_us {
                    // The last place is the last fragment with a sync sample: what ends last comes from there on.
                    None => Extras::Last(self.index.values().next_back().copied().unwrap_or(at).min(at)),
                    Some(_) => Extras::Done,
                };
            }
            Extras::Last(from) => self.find_end(source, from)?,
        }
        Ok(())
    }

    /// The end of the last fragment in the file's tail, for a recording that does not say how long it is.
    fn find_end(&mut self, source: &Source, from: u64) -> Result<(), Stop> {
        let mut end = None;
        let mut at = find_moof(source, from, source.len)?.unwrap_or(source.len);
        while let Some(found) = top_box(source, at, MOOF_AHEAD).or_else(ended)? {
            if found.kind == id(b"moof") && found.end <= source.len && found.end - found.body <= MOOF_MAX {
                let path = Path::root().child(found.kind);
                let data = Body::new(source.get(found.body..found.end, path)?, found.body, path);
                let mut states = self.states.clone();
                if fragment::parse(data, found.start, &mut states).is_ok() {
                    let ends = states.iter().zip(&self.tracks).zip(&self.streams).filter(|((state, _), _)| state.dts > 0);
                    let latest = ends.map(|((state, track), stream)| us(state.dts.saturating_add(track.shift), stream.timescale));
                    end = end.max(latest.max());
                }
            }
            at = found.end;
        }
        let searched = source.len - from;
        match end {
            Some(end) => {
                self.duration_us = Some(end.max(0) as u64);
                self.extras = Extras::Done;
            }
            None if searched >= TAIL_MAX || from <= self.first => self.extras = Extras::Done,
            None => self.extras = Extras::Last(source.len.saturating_sub(searched * 2).max(self.first)),
        }
        Ok(())
    }
}

/// Missing bytes stop a walk, broken ones end it.
fn ended<T>(stop: Stop) -> Result<Option<T>, Stop> {
    match stop {
        Stop::Broken(_) => Ok(None),
        stop => Err(stop),
    }
}

fn first_entry(track: &Track) -> Option<RunEntry> {
    let mut entries = track.runs.iter().flat_map(|run| run.clone());
    entries.clone().find(|e| e.sync).or_else(|| entries.next())
}

/// All of a box if it is in the file: a box cut off by the file's end is `Ok(Err(()))`.
fn body(source: &Source, from: u64, to: u64, path: Path) -> Result<Result<Body, ()>, Stop> {
    match source.get(from..to, path) {
        Ok(data) => Ok(Ok(Body::new(data, from, path))),
        Err(Stop::Broken(_)) => Ok(Err(())),
        Err(stop) => Err(stop),
    }
}

fn known_box(kind: u32) -> bool {
    matches!(
        &kind.to_be_bytes(),
        b"mdat" | b"free" | b"skip" | b"styp" | b"ftyp" | b"moov" | b"sidx" | b"ssix" | b"prft" | b"emsg" | b"mfra"
            | b"uuid" | b"meta" | b"udta" | b"pdin" | b"wide"
    )
}

/// The first place in `from..to` where a `moof` of sensible size with an `mfhd` in it begins.
fn find_moof(source: &Source, from: u64, to: u64) -> Result<Option<u64>, Stop> {
    let mut at = from;
    while at < to {
        // Sixteen bytes more, so that a header across the border is seen.
        let window = source.peek(at, SCAN + 16, SCAN + 16)?;
        let hit = window.windows(16).position(|w| &w[4..8] == b"moof" && &w[12..16] == b"mfhd");
        match hit.filter(|hit| at + (*hit as u64) < to) {
            Some(hit) => return Ok(Some(at + hit as u64)),
            None => at += SCAN,
        }
    }
    Ok(None)
}

impl Demuxer for Fragmented {
    fn container(&self) -> Container {
        Container::FragmentedMp4
    }

    fn streams(&self) -> &[Stream] {
        &self.streams
    }

    fn duration_us(&self) -> Option<u64> {
        self.duration_us
    }

    fn seek(&mut self, source: &Source, selected: &[usize], time_us: u64) -> Result<(), Stop> {
        let mut seeking = match self.seeking.take().filter(|s| s.time_us == time_us) {
            Some(seeking) => seeking,
            None => Seeking { time_us, back_us: 0, probe: None, at: None },
        };
        // The index may be at the end: worth one look before searching.
        while !self.indexed && matches!(self.extras, Extras::MfraSize | Extras::Mfra(_)) && time_us > 0 {
            if let Err(stop) = self.step_extras(source) {
                self.seeking = Some(seeking);
                return Err(stop);
            }
        }
        let done = self.step_seek(source, selected, &mut seeking);
        if done.is_err() {
            self.seeking = Some(seeking);
        }
        done
    }

    fn next(&mut self, source: &Source, slot: usize) -> Result<Option<Sample>, Stop> {
        loop {
            if let Some(entry) = self.front(slot, source.len) {
                let path = Path::root().child(id(b"mdat"));
                let data = source.get(entry.offset..entry.offset + u64::from(entry.size), path)?;
                let track = &mut self.tracks[slot];
                if let Some(run) = track.runs.front_mut() {
                    run.next();
                }
                return Ok(Some(Sample {
                    dts: entry.dts,
                    pts: entry.pts.saturating_add(track.shift),
                    duration: entry.duration,
                    sync: entry.sync,
                    data,
                }));
            }
            if self.tracks.iter().any(|t| t.runs.len() > RUNS_MAX) || !self.read_fragment(source, None)? {
                return Ok(None);
            }
        }
    }

    fn ahead(&self, source: &Source, selected: &[usize], horizon: Horizon) -> Vec<Ahead> {
        let mut known: Vec<Ahead> = Vec::new();
        let mut reached_us = u64::MAX;
        for &slot in selected {
            let (Some(stream), Some(track)) = (self.streams.get(slot), self.tracks.get(slot)) else { continue };
            let mut last = 0;
            for entry in track.runs.iter().flat_map(|run| run.clone()) {
                let time_us = us(entry.dts.saturating_add(track.shift), stream.timescale).max(0) as u64;
                last = time_us;
                let end = entry.pts.saturating_add(track.shift).saturating_add(i64::from(entry.duration));
                if track.skip_to_dts.is_some_and(|dts| entry.dts < dts) || end <= track.skip_until {
                    continue;
                }
                let range = entry.offset..entry.offset.saturating_add(u64::from(entry.size));
                if time_us >= horizon.until_us || range.end > source.len {
                    break;
                }
                known.push(Ahead { range, time_us });
            }
            reached_us = reached_us.min(last);
        }
        sort_by_time(&mut known);
        let mut out: Vec<Ahead> = Vec::new();
        let mut bytes = 0;
        for bucket in known.chunk_by(|a, b| a.time_us / BUCKET_US == b.time_us / BUCKET_US) {
            let time_us = bucket[0].time_us;
            for range in merged(bucket.iter().map(|a| a.range.clone()).collect(), GAP) {
                bytes += range.end - range.start;
                out.push(Ahead { range, time_us });
            }
            if bytes >= horizon.bytes {
                return out;
            }
        }
        // What is not known yet comes in the order of the file, at the film's mean rate.
        let start = out.iter().map(|a| a.range.end).max().unwrap_or(0).max(self.at);
        let start_us = if reached_us == u64::MAX { 0 } else { reached_us };
        sequential(source, start, start_us, self.duration_us, horizon, horizon.bytes - bytes, &mut out);
        out
    }

    fn extras(&mut self, source: &Source) -> Result<(), Stop> {
        while self.extras != Extras::Done {
            self.step_extras(source)?;
        }
        Ok(())
    }
}

/// Look-ahead without knowing where samples lie: the file from `start` on, which is due at `start_us`.
pub(crate) fn sequential(
    source: &Source,
    start: u64,
    start_us: u64,
    duration_us: Option<u64>,
    horizon: Horizon,
    bytes: u64,
    out: &mut Vec<Ahead>,
) {
    // Without a duration 1 MB/s: only the order of the demands depends on it.
    let rate = match duration_us {
        Some(duration) if duration > 0 => (u128::from(source.len) * 1_000_000 / u128::from(duration)).clamp(4_000, 20_000_000) as u64,
        _ => 1_000_000,
    };
    let step = (rate * BUCKET_US / 1_000_000).max(GAP);
    let end = source.len.min(start.saturating_add(bytes));
    let (mut at, mut time_us) = (start, start_us);
    while at < end && time_us < horizon.until_us {
        let next = end.min(at + step);
        out.push(Ahead { range: at..next, time_us });
        time_us = start_us + (next - start) * 1_000_000 / rate;
        at = next;
    }
}
