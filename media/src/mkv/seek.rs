//! Seeking: by Cues where there are any, by searching clusters where not.

use super::Matroska;
use super::cluster::{cluster_ticks, find_cluster};
use super::ebml::{Body, element};
use super::header::{HEADER_MAX, Header};
use super::ids::*;
use crate::demux::ticks;
use crate::error::{Fault, Path};
use crate::mp4::SETTLE_US;
use crate::probe::{NEAR_BYTES, Probe};
use crate::source::{Source, Stop};
use crate::{Kind, MediaError};
use std::collections::BTreeMap;

/// Places kept: one per second for two days.
const INDEX_MAX: usize = 200_000;
/// Cues that are further apart than this leave some out (or end before the film does): between them is searched.
/// Twice what encoders leave between key frames unless told otherwise.
const CUED_US: i64 = 20_000_000;
/// Where a recording without a duration is searched for its last cluster.
const TAIL: u64 = 256 << 10;
const TAIL_MAX: u64 = 16 << 20;

#[derive(Clone)]
pub(super) struct Index {
    /// Microseconds as the file counts → byte of a cluster.
    places: BTreeMap<i64, u64>,
    pub first_cluster: u64,
    /// Where Cues are said to be and were not read yet.
    cues: Option<u64>,
    segment: u64,
    pub zero_us: i64,
    /// The Cues name sync samples, so no search is needed.
    cued: bool,
    tail: u64,
}

#[derive(Clone)]
pub(super) struct Seeking {
    time_us: u64,
    /// How much before the target a sync sample is looked for.
    back_us: i64,
    probe: Option<Probe>,
    /// The Cues led here: no later sync sample is worth looking for.
    cued: bool,
    state: State,
}

#[derive(Clone)]
enum State {
    Find,
    /// Reading on from a cluster for the last sync sample before the target.
    Read {
        from: u64,
        found: bool,
    },
}

impl Index {
    pub(super) fn new(header: &Header) -> Index {
        Index {
            places: BTreeMap::new(),
            first_cluster: header.first_cluster,
            cues: header.cues,
            segment: header.segment,
            zero_us: 0,
            cued: false,
            tail: TAIL,
        }
    }

    pub(super) fn note(&mut self, time_us: i64, at: u64) {
        if self.places.len() < INDEX_MAX {
            self.places.entry(time_us).or_insert(at);
        }
    }

    fn before(&self, time_us: i64) -> (u64, i64) {
        self.places.range(..=time_us).next_back().map_or((self.first_cluster, self.zero_us), |(t, at)| (*at, *t))
    }
}

impl Matroska {
    pub(super) fn seek_to(&mut self, source: &Source, selected: &[usize], time_us: u64) -> Result<(), Stop> {
        let mut seeking = match self.seeking.take().filter(|s| s.time_us == time_us && self.selected == selected) {
            Some(seeking) => seeking,
            None => Seeking { time_us, back_us: 0, probe: None, cued: false, state: State::Find },
        };
        self.selected = selected.to_vec();
        let done = self.step_seek(source, &mut seeking);
        if done.is_err() {
            self.seeking = Some(seeking);
        }
        done
    }

    fn step_seek(&mut self, source: &Source, seeking: &mut Seeking) -> Result<(), Stop> {
        if seeking.time_us == 0 {
            self.start_at(self.index.first_cluster, i64::MIN);
            return Ok(());
        }
        self.read_cues(source)?;
        loop {
            match seeking.state {
                State::Find => {
                    let from = self.find_place(source, seeking)?;
                    self.start_at(from, seeking.time_us as i64 - SETTLE_US);
                    seeking.state = State::Read { from, found: false };
                }
                State::Read { from, mut found } => {
                    let done = self.read_to_target(source, seeking.time_us as i64, seeking.cued, &mut found);
                    seeking.state = State::Read { from, found };
                    done?;
                    if found || from <= self.index.first_cluster {
                        return Ok(());
                    }
                    // No sync sample between here and the target: further back.
                    seeking.back_us = (seeking.back_us * 3).max(4_000_000);
                    (seeking.state, seeking.probe) = (State::Find, None);
                }
            }
        }
    }

    fn start_at(&mut self, at: u64, sound_from_us: i64) {
        self.reader.go_to(at);
        self.ended = false;
        for track in &mut self.tracks {
            track.restart();
            if track.entry.stream.kind == Kind::Audio && sound_from_us > 0 {
                track.skip_until = ticks(sound_from_us, track.entry.stream.timescale);
            }
        }
    }

    fn find_place(&self, source: &Source, seeking: &mut Seeking) -> Result<u64, Stop> {
        let target = seeking.time_us as i64 + self.index.zero_us - seeking.back_us;
        let low = self.index.before(target);
        if target <= self.index.zero_us {
            return Ok(self.index.first_cluster);
        }
        let end = self.duration_us.map_or(i64::MAX, |d| d as i64);
        let high = self.index.places.range(target + 1..).next().map_or((self.reader.end(), end), |(t, at)| (*at, *t));
        seeking.cued = self.index.cued && high.1.saturating_sub(low.1) <= CUED_US;
        if seeking.cued {
            return Ok(low.0);
        }
        let scale = self.reader.scale as i64;
        let limit = self.reader.end();
        let probe = seeking.probe.get_or_insert_with(|| Probe::new(target, low, high, NEAR_BYTES));
        let found = probe.run(|from, to| {
            let mut from = from;
            while let Some(at) = find_cluster(source, from, to)? {
                if let Some(ticks) = cluster_ticks(source, at, limit)? {
                    return Ok(Some((at, (ticks as i64).saturating_mul(scale) / 1000)));
                }
                from = at + 1;
            }
            Ok(None)
        })?;
        Ok(found.0)
    }

    /// Reads until the leading track has passed the target, and lets it begin at its last sync sample before that.
    /// Where Cues led here, the first sync sample is the one.
    fn read_to_target(&mut self, source: &Source, time_us: i64, cued: bool, found: &mut bool) -> Result<(), Stop> {
        let lead = self.selected.iter().copied().find(|s| self.streams[*s].kind == Kind::Video);
        let Some(lead) = lead else {
            *found = true;
            return Ok(());
        };
        let target = ticks(time_us, self.streams[lead].timescale);
        loop {
            let clock = &self.tracks[lead].clock;
            // Reordered pictures: one that is due later may come before the one that is due.
            let past = clock.waiting().filter(|f| f.pts > target).count();
            let enough = past > self.tracks[lead].entry.reorder as usize;
            if enough || self.ended || (cued && *found) || clock.len() > super::WAIT_FRAMES {
                return Ok(());
            }
            let before = clock.len();
            self.read_block(source)?;
            let track = &mut self.tracks[lead];
            let last = track.clock.waiting().last().copied().filter(|_| track.clock.len() > before);
            if let Some(sync) = last.filter(|f| f.sync && f.pts <= target) {
                *found = true;
                if track.clock.len() > 1 {
                    track.clock.reset();
                    track.clock.push(sync);
                }
            }
        }
    }

    /// Reads the Cues if they are known and were not read yet. Broken ones are as good as none.
    pub(super) fn read_cues(&mut self, source: &Source) -> Result<(), Stop> {
        let Some(at) = self.index.cues else { return Ok(()) };
        let end = self.reader.end();
        let cues = match element(source, at, end, 64 << 10) {
            Ok(found) => found.filter(|e| e.id == CUES),
            Err(Stop::Broken(_)) => None,
            Err(stop) => return Err(stop),
        };
        if let Some((cues, cues_end)) = cues.and_then(|c| Some((c, c.end?)))
            && cues_end <= source.len
            && cues_end - cues.body <= HEADER_MAX
        {
            let path = Path::root().child(SEGMENT).child(CUES);
            let body = Body::new(source.get(cues.body..cues_end, path)?, cues.body, path);
            let _ = self.parse_cues(body);
        }
        self.index.cues = None;
        Ok(())
    }

    fn parse_cues(&mut self, mut body: Body) -> Result<(), MediaError> {
        let lead = self.streams.iter().position(|s| s.kind == Kind::Video && s.codec.is_some());
        let lead = lead.and_then(|slot| self.tracks.get(slot)).map(|t| t.entry.number);
        while let Some((id, mut point)) = body.child()? {
            if id != CUE_POINT {
                continue;
            }
            let mut time = 0;
            while let Some((id, mut value)) = point.child()? {
                match id {
                    CUE_TIME => time = value.number()?.min(1 << 40),
                    CUE_TRACK_POSITIONS => {
                        let (mut track, mut at) = (0, None);
                        while let Some((id, value)) = value.child()? {
                            match id {
                                CUE_TRACK => track = value.number()?,
                                CUE_CLUSTER_POSITION => at = Some(self.index.segment.saturating_add(value.number()?)),
                                _ => {}
                            }
                        }
                        let at = at.filter(|at| *at < self.reader.end() && lead.is_none_or(|lead| lead == track));
                        if let Some(at) = at {
                            self.index.note((time as i64).saturating_mul(self.reader.scale as i64) / 1000, at);
                            self.index.cued = true;
                        }
                    }
                    _ => {}
                }
            }
        }
        match body.len() {
            0 => Err(body.error(Fault::Missing)),
            _ => Ok(()),
        }
    }

    /// The time of the last block in the file's tail, for a recording that does not say how long it is.
    pub(super) fn find_end(&mut self, source: &Source) -> Result<(), Stop> {
        let end = self.reader.end();
        while self.index.tail > 0 {
            let mut at = end.saturating_sub(self.index.tail).max(self.index.first_cluster);
            let mut latest = None;
            while let Some(cluster) = find_cluster(source, at, end)? {
                let mut reader = self.reader.clone();
                reader.go_to(cluster);
                while let Some(block) = reader.next(source)? {
                    latest = latest.max(Some(block.time_ns(reader.scale) / 1000));
                }
                at = end;
            }
            if let Some(latest) = latest {
                self.duration_us = Some(latest.max(1) as u64);
                self.index.tail = 0;
            } else {
                let whole = self.index.tail >= end - self.index.first_cluster || self.index.tail >= TAIL_MAX;
                self.index.tail = if whole { 0 } else { self.index.tail * 4 };
            }
        }
        Ok(())
    }
}
