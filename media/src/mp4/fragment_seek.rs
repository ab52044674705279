//! Finding a fragment: by `sidx`, by `mfra`, by searching for `moof`s; and the end of a recording without a duration.

use super::boxes::{Body, id, top_box};
use super::fragment::{self, Run, RunEntry};
use super::fragmented::{Extras, Fragmented, MOOF_AHEAD, MOOF_MAX, Seeking};
use super::index;
use super::progressive::SETTLE_US;
use crate::Kind;
use crate::demux::{ticks, us};
use crate::error::Path;
use crate::probe::{NEAR_BYTES, Probe};
use crate::source::{Source, Stop};

/// Walking through so many fragments is better than searching on.
const WALK: u64 = 24;
/// Fragments walked through for a seek's target at most.
const WALK_MAX: usize = 4096;
/// How much is searched at a time for the next `moof`.
const SCAN: u64 = 64 << 10;
/// Where a recording without a duration is searched for its last fragment.
const TAIL_MAX: u64 = 8 << 20;

impl Fragmented {
    /// The last sync sample in the queued runs of `slot` that is shown at or before `time`.
    fn sync_before(&self, slot: usize, time: i64) -> Option<RunEntry> {
        let track = &self.tracks[slot];
        let entries = track.runs.iter().flat_map(|run| run.clone());
        entries.filter(|e| e.sync && e.pts.saturating_add(track.shift) <= time).last()
    }

    pub(super) fn step_seek(&mut self, source: &Source, selected: &[usize], seeking: &mut Seeking) -> Result<(), Stop> {
        let time_us = seeking.time_us as i64;
        while !self.try_at(source, selected, seeking, time_us)? {}
        Ok(())
    }

    /// Walks to the target from one fragment. `false` where that began too late; `seeking` then says where to begin next.
    fn try_at(
        &mut self,
        source: &Source,
        selected: &[usize],
        seeking: &mut Seeking,
        time_us: i64,
    ) -> Result<bool, Stop> {
        let at = match seeking.at {
            Some(at) => at,
            None => {
                let from = time_us.saturating_sub(seeking.back_us);
                let at = self.find_fragment(source, from, &mut seeking.probe)?;
                seeking.at = Some(at);
                at
            }
        };
        self.go_to(at);
        for &slot in selected.iter().filter(|s| self.streams[**s].kind == Kind::Audio) {
            self.tracks[slot].skip_until = ticks(time_us - SETTLE_US, self.streams[slot].timescale);
        }
        let lead = selected.iter().copied().find(|&s| self.streams[s].kind == Kind::Video);
        let Some(lead) = lead else { return Ok(true) };
        if self.walk_to(source, selected, lead, ticks(time_us, self.streams[lead].timescale))? {
            return Ok(true);
        }
        // No sync sample between there and the target: further back.
        seeking.at = match self.index.values().copied().filter(|place| *place < at).max() {
            Some(earlier) if self.indexed => Some(earlier),
            Some(_) if at > self.first_moof => None,
            _ => return Ok(true),
        };
        // Back from where this try began: the target may lie hours beyond the end.
        let began = self.index.iter().find(|(_, place)| **place == at).map_or(time_us, |(time, _)| *time);
        seeking.step_us = seeking.step_us.saturating_mul(3).max(4_000_000);
        seeking.back_us = seeking.back_us.max(time_us.saturating_sub(began)).saturating_add(seeking.step_us);
        seeking.probe = None;
        Ok(false)
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
            if let Some(found) =
                top_box(source, at, MOOF_AHEAD)?.filter(|f| f.end <= source.len && f.end - f.body <= MOOF_MAX)
            {
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

    pub(super) fn step_extras(&mut self, source: &Source) -> Result<(), Stop> {
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
                    false if self.duration_us.is_none() => {
                        Extras::Last(source.len.saturating_sub(usual).max(self.first))
                    }
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
                    let ends =
                        states.iter().zip(&self.tracks).zip(&self.streams).filter(|((state, _), _)| state.dts > 0);
                    let latest = ends
                        .map(|((state, track), stream)| us(state.dts.saturating_add(track.shift), stream.timescale));
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

/// The first place in `from..to` where a `moof` of sensible size with an `mfhd` in it begins.
pub(super) fn find_moof(source: &Source, from: u64, to: u64) -> Result<Option<u64>, Stop> {
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
