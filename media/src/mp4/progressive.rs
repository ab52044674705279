//! A file whose whole sample table is in `moov`: any sample can be read alone.

use super::moov::{Edit, Movie, TrackBox};
use super::table::{Entry, SampleTable, Walk};
use crate::cache::merged;
use crate::demux::{About, Ahead, Demuxer, Horizon, Preroll, Sample, Stream, Timeline, cost, ticks, us};
use crate::error::{Fault, Path};
use crate::source::{Source, Stop};
use crate::text::counted_text;
use crate::{Chapter, Container, Kind, MediaError};

/// Samples up to this far apart are read in one go: at 16 KiB per block, four unneeded blocks cost less than
/// another request.
pub(crate) const GAP: u64 = 64 << 10;
/// Look-ahead is grouped by this much time.
pub(crate) const BUCKET_US: u64 = 500_000;
/// Sound starts this much before the target of a seek, so that the decoder has settled (Opus asks for 80 ms).
pub(crate) const SETTLE_US: i64 = 100_000;
/// How many samples may precede a picture in decode order and follow it in display order (H.264 and HEVC: 16).
const REORDER_MAX: u32 = 17;
/// As many as Nero's list has room for.
const CHAPTERS_MAX: usize = 255;
/// Length and text of a chapter's name: 127 letters in the widest form.
const NAME_MAX: u64 = 258;

#[derive(Clone)]
pub(super) struct Progressive {
    streams: Vec<Stream>,
    tracks: Vec<Track>,
    duration_us: Option<u64>,
    about: About,
    /// While chapters are not known.
    names: Option<Names>,
}

/// The text track that names the chapters, and how far it was read.
#[derive(Clone)]
struct Names {
    table: SampleTable,
    walk: Walk,
    timescale: u32,
    /// From the table's times to the film's.
    shift: i64,
    path: Path,
}

#[derive(Clone)]
struct Track {
    table: SampleTable,
    /// From the table's times to presentation.
    shift: i64,
    first: Walk,
    /// Samples from this one on are past the edit's end.
    end: u32,
    walk: Walk,
    path: Path,
}

impl Progressive {
    pub(super) fn new(movie: Movie, path: Path, moov: u64) -> Result<Progressive, MediaError> {
        let mut streams = Vec::new();
        let mut tracks = Vec::new();
        let mut ends = Vec::new();
        let mut about = movie.about;
        for TrackBox { mut stream, table, edit, .. } in movie.tracks {
            let (track, timeline, end) = Track::new(table, edit, stream.kind, path);
            stream.timeline = timeline;
            if track.table.count == 0 {
                (stream.codec, stream.text) = (None, None);
            }
            if stream.codec.is_some() {
                ends.push(us(end, stream.timescale));
            }
            streams.push(stream);
            tracks.push(track);
        }
        let zero_us = zero_us(&streams);
        for (stream, track) in streams.iter_mut().zip(&mut tracks) {
            let zero = ticks(zero_us, stream.timescale);
            track.shift = track.shift.saturating_sub(zero);
            stream.timeline.first_pts = stream.timeline.first_pts.saturating_sub(zero);
            if let Some(preroll) = &mut stream.timeline.preroll {
                preroll.sync_pts = preroll.sync_pts.saturating_sub(zero);
            }
        }
        if streams.iter().all(|s| s.codec.is_none()) {
            return Err(path.error(Fault::Missing, moov));
        }
        about.shift(zero_us);
        let longest = ends.iter().max().map(|end| end.saturating_sub(zero_us).max(0) as u64);
        let duration_us = longest.filter(|d| *d > 0).or(movie.duration_us);
        let names = movie.chapters.map(|TrackBox { stream: Stream { timescale, .. }, table, edit, .. }| Names {
            walk: table.walk(),
            shift: shift_of(edit).saturating_sub(ticks(zero_us, timescale)),
            table,
            timescale,
            path,
        });
        about.unfinished = names.is_some();
        Ok(Progressive { streams, tracks, duration_us, about, names })
    }
}

/// From a table's times to presentation.
fn shift_of(edit: Option<Edit>) -> i64 {
    edit.map_or(0, |e| e.empty - e.media_time)
}

impl Names {
    /// The next chapter; `None` after the last one.
    fn next(&mut self, source: &Source) -> Result<Option<Chapter>, Stop> {
        let mut walk = self.walk;
        let Some(entry) = walk.next(&self.table) else { return Ok(None) };
        let size = u64::from(entry.size).min(NAME_MAX);
        // They lie together, or each by itself among the sound.
        let data = source.peek(entry.offset, size, GAP)?;
        let name = data.get(..size as usize).ok_or_else(|| self.path.error(Fault::Truncated, entry.offset))?;
        self.walk = walk;
        let start = entry.pts.saturating_add(self.shift);
        Ok(Some(Chapter { start_us: us(start, self.timescale).max(0) as u64, title: counted_text(name) }))
    }
}

/// What time of the source becomes 0: when the first picture is due, or the sound if that is due earlier; sound from
/// before 0 (priming) counts as due at 0.
pub(crate) fn zero_us(streams: &[Stream]) -> i64 {
    let first = |kind: Kind| {
        let playable = streams.iter().filter(|s| s.kind == kind && s.codec.is_some());
        playable.map(|s| us(s.timeline.first_pts, s.timescale)).min()
    };
    match (first(Kind::Video), first(Kind::Audio)) {
        (Some(video), Some(audio)) => video.min(audio.max(0)),
        (Some(video), None) => video,
        (None, Some(audio)) => audio.max(0),
        (None, None) => 0,
    }
}

impl Track {
    /// Also its timeline and when its last sample ends. One walk over the table.
    fn new(table: SampleTable, edit: Option<Edit>, kind: Kind, path: Path) -> (Track, Timeline, i64) {
        let edit_start = edit.map(|e| e.empty);
        let shift = shift_of(edit);
        let edit_end = edit.filter(|e| e.duration > 0).map_or(i64::MAX, |e| e.empty + e.duration);
        let mut track = Track { first: table.walk(), walk: table.walk(), end: 0, table, shift, path };
        let mut walk = track.table.walk();
        let mut first_found = false;
        let mut end_time = 0;
        loop {
            let before = walk;
            let Some(entry) = walk.next(&track.table) else { break };
            let pts = entry.pts.saturating_add(shift);
            // Start at the last sync sample that is not after the edit's start, or else at the first one.
            if entry.sync && (!first_found || edit_start.is_some_and(|start| pts <= start)) {
                (track.first, first_found) = (before, true);
            }
            if pts < edit_end {
                track.end = entry.index + 1;
                end_time = end_time.max(pts.saturating_add(i64::from(entry.duration)));
            }
        }
        if kind != Kind::Video {
            // Sound: every sample is as good; the shaper cuts what is before the edit.
            track.first = track.table.walk();
        }
        track.walk = track.first;
        let timeline = track.timeline(edit_start, kind);
        (track, timeline, end_time.min(edit_end))
    }

    fn timeline(&self, edit_start: Option<i64>, kind: Kind) -> Timeline {
        let mut walk = self.first;
        let Some(sync) = walk.next(&self.table) else { return Timeline::default() };
        let at = |entry: &Entry| entry.pts.saturating_add(self.shift);
        let mut timeline = Timeline { first_dts: sync.dts, first_pts: at(&sync), preroll: None };
        let Some(start) = edit_start else { return timeline };
        if kind == Kind::Audio {
            // The first that is heard: it ends after the edit's start.
            let mut entry = sync;
            while at(&entry).saturating_add(i64::from(entry.duration)) <= start {
                match walk.next(&self.table) {
                    Some(next) => entry = next,
                    None => break,
                }
            }
            timeline.first_pts = if start > 0 { at(&entry).max(start) } else { at(&entry) };
            return timeline;
        }
        if at(&sync) >= start {
            return timeline;
        }
        let mut preroll = Preroll { count: 1, cut_dts: sync.dts, sync_pts: at(&sync) };
        let mut shown = i64::MAX;
        let mut after = 0;
        while after < REORDER_MAX {
            let Some(entry) = walk.next(&self.table) else { break };
            if at(&entry) >= start {
                if after == 0 {
                    preroll.cut_dts = entry.dts;
                }
                shown = shown.min(at(&entry));
                after += 1;
            } else if after == 0 {
                preroll.count += 1;
            }
        }
        if after > 0 {
            timeline.first_pts = shown;
            timeline.preroll = Some(preroll);
        }
        timeline
    }

    /// Moves to the sync sample at or before `time` (presentation), never before the start.
    fn seek(&mut self, time: i64) {
        let mut walk = self.first;
        let mut best = self.first;
        // Pictures shown before `time` may be decoded up to a few samples after the first one shown past it.
        let mut past = 0;
        while past < REORDER_MAX {
            let before = walk;
            let Some(entry) = walk.next(&self.table) else { break };
            if entry.index >= self.end {
                break;
            }
            if entry.pts.saturating_add(self.shift) > time {
                past += 1;
            } else if entry.sync {
                best = before;
            }
        }
        self.walk = best;
    }

    /// The next sample that lies in the file. After one that does not, a sync sample is the next that is of use.
    fn next_in(walk: &mut Walk, table: &SampleTable, end: u32, len: u64) -> Option<Entry> {
        let mut broken = false;
        loop {
            let entry = walk.next(table).filter(|e| e.index < end)?;
            if entry.offset.saturating_add(u64::from(entry.size)) > len {
                broken = true;
            } else if entry.sync || !broken {
                return Some(entry);
            }
        }
    }
}

impl Demuxer for Progressive {
    fn fork(&self) -> Option<Box<dyn Demuxer>> {
        Some(Box::new(self.clone()))
    }

    fn container(&self) -> Container {
        Container::Mp4
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

    fn extras(&mut self, source: &Source) -> Result<(), Stop> {
        while let Some(names) = &mut self.names {
            match names.next(source) {
                Ok(Some(chapter)) if self.about.chapters.len() < CHAPTERS_MAX => self.about.chapters.push(chapter),
                Err(stop @ Stop::Need(_)) => return Err(stop),
                // What was read before an error stays.
                _ => (self.names, self.about.unfinished) = (None, false),
            }
        }
        Ok(())
    }

    fn seek(&mut self, _: &Source, selected: &[usize], time_us: u64) -> Result<(), Stop> {
        for &slot in selected {
            let (Some(stream), Some(track)) = (self.streams.get(slot), self.tracks.get_mut(slot)) else { continue };
            let settle = if stream.kind == Kind::Audio { SETTLE_US } else { 0 };
            track.seek(ticks(time_us as i64 - settle, stream.timescale));
        }
        Ok(())
    }

    fn next(&mut self, source: &Source, slot: usize) -> Result<Option<Sample>, Stop> {
        let Some(track) = self.tracks.get_mut(slot) else { return Ok(None) };
        let mut walk = track.walk;
        let Some(entry) = Track::next_in(&mut walk, &track.table, track.end, source.len) else {
            track.walk = walk;
            return Ok(None);
        };
        let mut data = source.get(entry.offset..entry.offset + u64::from(entry.size), track.path)?;
        if let Some(pcm) = &self.streams[slot].pcm {
            data = pcm.frame(&data, 0);
        }
        track.walk = walk;
        Ok(Some(Sample {
            dts: entry.dts,
            pts: entry.pts.saturating_add(track.shift),
            duration: entry.duration,
            sync: entry.sync,
            data,
        }))
    }

    fn ahead(&self, source: &Source, selected: &[usize], horizon: Horizon) -> Vec<Ahead> {
        let mut out = Vec::new();
        let mut heads: Vec<_> = selected
            .iter()
            .filter_map(|&slot| {
                let (stream, track) = (self.streams.get(slot)?, self.tracks.get(slot)?);
                let mut walk = track.walk;
                let next = Track::next_in(&mut walk, &track.table, track.end, source.len);
                Some((stream, track, walk, next))
            })
            .collect();
        let due = |stream: &Stream, track: &Track, entry: &Entry| {
            us(entry.dts.saturating_add(track.shift), stream.timescale).max(0) as u64
        };
        let mut bytes = 0;
        // One bucket of time after the other, all tracks of a bucket together.
        while bytes < horizon.bytes {
            let earliest = heads.iter().filter_map(|(s, t, _, next)| next.as_ref().map(|e| due(s, t, e))).min();
            let Some(start) = earliest.filter(|start| *start < horizon.until_us) else { break };
            let mut ranges = Vec::new();
            for (stream, track, walk, next) in &mut heads {
                while let Some(entry) = next.filter(|e| due(stream, track, e) < start + BUCKET_US) {
                    ranges.push(entry.offset..entry.offset + u64::from(entry.size));
                    *next = Track::next_in(walk, &track.table, track.end, source.len);
                }
            }
            for range in merged(ranges, GAP) {
                bytes += cost(&range);
                out.push(Ahead { range, time_us: start });
            }
        }
        out
    }
}
