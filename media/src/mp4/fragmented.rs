//! A file of fragments: each `moof` describes the samples of the `mdat` that follows.

use super::boxes::{Body, id, top_box};
use super::fragment::{self, Run, RunEntry, TrackState};
use super::fragment_seek::find_moof;
use super::index::{self, INDEX_MAX};
use super::moov::Movie;
use super::progressive::{BUCKET_US, GAP, zero_us};
use crate::cache::merged;
use crate::demux::{About, Ahead, Demuxer, Horizon, Sample, Stream, Timeline, cost, sort_by_time, ticks, us};
use crate::error::{Fault, Path};
use crate::probe::Probe;
use crate::source::{Source, Stop};
use crate::{Container, Kind};
use std::collections::{BTreeMap, VecDeque};

/// A `moof` of ten seconds has some 20 KB.
pub(super) const MOOF_MAX: u64 = 16 << 20;
/// Asked for where a `moof` is expected: usually all of it.
pub(super) const MOOF_AHEAD: u64 = 16 << 10;
/// Fragments looked at for the first samples of all tracks before we start without the missing ones.
const FIRST_FRAGMENTS: usize = 16;
/// Runs that wait for the other track. A track that is this far ahead makes the film wait for nothing.
const RUNS_MAX: usize = 4096;

#[derive(Clone)]
pub(super) struct Fragmented {
    pub(super) streams: Vec<Stream>,
    pub(super) tracks: Vec<Track>,
    pub(super) states: Vec<TrackState>,
    /// The first top-level box after `moov`.
    pub(super) first: u64,
    pub(super) first_moof: u64,
    /// The next top-level box to look at.
    pub(super) at: u64,
    /// Microseconds of presentation → byte of a fragment's first box.
    pub(super) index: BTreeMap<i64, u64>,
    /// `sidx` or `mfra` was read: every fragment (or every one with a sync sample) is in `index`.
    pub(super) indexed: bool,
    pub(super) duration_us: Option<u64>,
    about: About,
    /// Size of the first fragment.
    pub(super) fragment_bytes: u64,
    pub(super) seeking: Option<Seeking>,
    pub(super) extras: Extras,
}

#[derive(Clone, Default)]
pub(super) struct Track {
    pub(super) shift: i64,
    pub(super) runs: VecDeque<Run>,
    /// Samples that end before this are passed over (sound before a seek's target).
    pub(super) skip_until: i64,
    /// Pictures before this one are passed over: decoding starts there.
    pub(super) skip_to_dts: Option<i64>,
}

#[derive(Clone)]
pub(super) struct Seeking {
    pub time_us: u64,
    /// How much before the target a sync sample is looked for.
    pub back_us: i64,
    /// By how much further back the last try began.
    pub step_us: i64,
    pub probe: Option<Probe>,
    /// The fragment to look at; it is tried earlier and earlier until it has a sync sample.
    pub at: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extras {
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
            about: movie.about,
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
            let waiting =
                |m: &Fragmented| m.streams.iter().zip(&m.tracks).any(|(s, t)| s.codec.is_some() && t.runs.is_empty());
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
                    let heard = track
                        .runs
                        .iter()
                        .flat_map(|r| r.clone())
                        .find(|e| e.pts.saturating_add(track.shift).saturating_add(i64::from(e.duration)) > 0);
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
        self.about.shift(zero);
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

    pub(super) fn note(&mut self, time_us: i64, at: u64) {
        if self.index.len() < INDEX_MAX {
            self.index.entry(time_us).or_insert(at);
        }
    }

    /// Reads on to the next `moof` and queues its runs; `false` at the end of the file. Fragments that `sidx` names
    /// are added to `places` while the film's zero is not known.
    pub(super) fn read_fragment(
        &mut self,
        source: &Source,
        mut places: Option<&mut index::Places>,
    ) -> Result<bool, Stop> {
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
                if let Ok(data) = body(source, found.body, found.end, path)?
                    && let Ok(named) = index::sidx(data, found.end)
                {
                    // DASH segments in one file have one each, for what follows it only; behind one of all is an `mfra` at most.
                    if named.end >= source.len - source.len / 50 && !named.places.is_empty() {
                        self.indexed = true;
                        let end = u64::try_from(named.end_us).ok().filter(|end| *end > 0);
                        self.duration_us = self.duration_us.or(end);
                    }
                    places.iter_mut().for_each(|p| p.extend(named.places.iter().take(INDEX_MAX)));
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
            if slot == lead
                && let Some(first) = run.peek()
            {
                let time = us(first.pts.saturating_add(self.tracks[slot].shift), self.streams[slot].timescale);
                self.note(time, start);
            }
            self.tracks[slot].runs.push_back(run);
        }
    }

    /// After something that is no box: the next `moof` that looks real.
    pub(super) fn resync(&mut self, source: &Source) -> Result<bool, Stop> {
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
    pub(super) fn front(&mut self, slot: usize, len: u64) -> Option<RunEntry> {
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

    pub(super) fn go_to(&mut self, at: u64) {
        self.at = at;
        for (track, state) in self.tracks.iter_mut().zip(&mut self.states) {
            track.runs.clear();
            (track.skip_until, track.skip_to_dts) = (i64::MIN, None);
            state.dts = 0;
        }
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
        b"mdat"
            | b"free"
            | b"skip"
            | b"styp"
            | b"ftyp"
            | b"moov"
            | b"sidx"
            | b"ssix"
            | b"prft"
            | b"emsg"
            | b"mfra"
            | b"uuid"
            | b"meta"
            | b"udta"
            | b"pdin"
            | b"wide"
    )
}

impl Demuxer for Fragmented {
    fn fork(&self) -> Option<Box<dyn Demuxer>> {
        Some(Box::new(self.clone()))
    }

    fn container(&self) -> Container {
        Container::FragmentedMp4
    }

    fn streams(&self) -> &[Stream] {
        &self.streams
    }

    fn duration_us(&self) -> Option<u64> {
        self.duration_us
    }

    fn about(&self) -> Option<&About> {
        Some(&self.about)
    }

    fn texts_in_passing(&self) -> bool {
        true
    }

    fn seek(&mut self, source: &Source, selected: &[usize], time_us: u64) -> Result<(), Stop> {
        let mut seeking = match self.seeking.take().filter(|s| s.time_us == time_us) {
            Some(seeking) => seeking,
            None => Seeking { time_us, back_us: 0, step_us: 0, probe: None, at: None },
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
            if self.streams.get(slot).is_some_and(|s| s.kind == Kind::Text) {
                return Err(Stop::Idle);
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
                bytes += cost(&range);
                out.push(Ahead { range, time_us });
            }
            if bytes >= horizon.bytes {
                return out;
            }
        }
        // What is not known yet comes in the order of the file, at the film's mean rate.
        let start = out.iter().map(|a| a.range.end).max().unwrap_or(0).max(self.at);
        let start_us = if reached_us == u64::MAX { 0 } else { reached_us };
        sequential(source, start, start_us, self.duration_us, horizon, horizon.bytes.saturating_sub(bytes), &mut out);
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
        Some(duration) if duration > 0 => {
            (u128::from(source.len) * 1_000_000 / u128::from(duration)).clamp(4_000, 20_000_000) as u64
        }
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
