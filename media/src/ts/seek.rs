//! Seeking in a transport stream: searching times in its packets.

use super::packet::{self, Packet};
use super::{RATE, Transport};
use crate::Kind;
use crate::demux::{ticks, us};
use crate::mp4::SETTLE_US;
use crate::probe::{NEAR_BYTES, Probe};
use crate::source::{Source, Stop};

/// Where the end is searched for the last time.
pub(super) const TAIL: u64 = 256 << 10;
const TAIL_MAX: u64 = 8 << 20;

#[derive(Clone)]
pub(super) struct Seeking {
    time_us: u64,
    back_us: i64,
    probe: Option<Probe>,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Find,
    Read { from: u64, sync: Option<u64> },
}

impl Transport {
    pub(super) fn seek_to(&mut self, source: &Source, selected: &[usize], time_us: u64) -> Result<(), Stop> {
        let mut seeking = match self.seeking.take().filter(|s| s.time_us == time_us && self.selected == selected) {
            Some(seeking) => seeking,
            None => Seeking { time_us, back_us: 0, probe: None, state: State::Find },
        };
        self.selected = selected.to_vec();
        let done = self.step_seek(source, &mut seeking);
        if done.is_err() {
            self.seeking = Some(seeking);
        }
        done
    }

    fn lead(&self) -> usize {
        let video = self.selected.iter().copied().find(|s| self.streams[*s].kind == Kind::Video);
        video.or(self.selected.first().copied()).unwrap_or(0)
    }

    fn step_seek(&mut self, source: &Source, seeking: &mut Seeking) -> Result<(), Stop> {
        let first = self.layout.first;
        if seeking.time_us == 0 || self.tracks.is_empty() {
            self.go_to(first);
            return Ok(());
        }
        loop {
            match seeking.state {
                State::Find => {
                    let target = seeking.time_us as i64 - seeking.back_us;
                    let from = if target <= 0 { first } else { self.find(source, target, &mut seeking.probe)? };
                    self.start_at(from, seeking.time_us);
                    seeking.state = State::Read { from, sync: None };
                }
                State::Read { from, mut sync } => {
                    let done = self.read_to_target(source, seeking.time_us as i64, &mut sync);
                    seeking.state = State::Read { from, sync };
                    done?;
                    if sync.is_some() || from <= first {
                        return Ok(());
                    }
                    seeking.back_us = (seeking.back_us * 3).max(4_000_000);
                    (seeking.state, seeking.probe) = (State::Find, None);
                }
            }
        }
    }

    fn start_at(&mut self, at: u64, time_us: u64) {
        self.go_to(at);
        for (stream, track) in self.streams.iter().zip(&mut self.tracks) {
            if stream.kind == Kind::Audio {
                track.skip_until = ticks(time_us as i64 - SETTLE_US, stream.timescale);
            }
        }
    }

    /// A packet from which on the leading stream's times are at or before the target.
    fn find(&mut self, source: &Source, target_us: i64, probe: &mut Option<Probe>) -> Result<u64, Stop> {
        let end = self.duration_us.map_or(i64::MAX, |d| d as i64);
        let low = (self.layout.first, 0);
        let mut search = probe.take().unwrap_or_else(|| Probe::new(target_us, low, (source.len, end), NEAR_BYTES));
        let pid = self.tracks[self.lead()].entry.pid;
        let found = search.run(|from, to| {
            let stamp = self.timed(source, pid, from, to)?;
            Ok(stamp.map(|(at, pts)| (at, us(pts, RATE))))
        });
        if found.is_err() {
            *probe = Some(search);
        }
        found.map(|(at, _)| at)
    }

    /// The first packet in `from..to` that begins a timed PES packet of `pid`.
    fn timed(&mut self, source: &Source, pid: u16, from: u64, to: u64) -> Result<Option<(u64, i64)>, Stop> {
        let mut at = self.layout.align(from);
        while at < to {
            let Some(data) = packet::window(source, self.layout, at)? else { break };
            let times = |p: &Packet| packet::pes(&p.payload).and_then(|(pts, _, _)| pts);
            if let Some(pts) = packet::parse(&data).filter(|p| p.start && p.pid == pid).as_ref().and_then(times) {
                return Ok(Some((at, self.near(pts))));
            }
            at += self.layout.stride;
        }
        Ok(None)
    }

    /// Reads until the leading stream has passed the target; it begins at its last sync sample before that.
    fn read_to_target(&mut self, source: &Source, time_us: i64, sync: &mut Option<u64>) -> Result<(), Stop> {
        let lead = self.lead();
        let target = ticks(time_us, self.streams[lead].timescale);
        if self.streams[lead].kind == Kind::Audio {
            *sync = Some(0);
            return Ok(());
        }
        loop {
            let ready = &mut self.tracks[lead].ready;
            // Decode times never pass presentation times, so a later one ends the search.
            let past = ready.back().is_some_and(|s| s.dts > target);
            if let Some(last) = ready.iter().rposition(|s| s.sync && s.pts <= target) {
                *sync = Some(1);
                ready.drain(..last);
            }
            if past || self.ended || ready.len() > super::WAIT_SAMPLES {
                return Ok(());
            }
            let before = ready.len();
            while self.tracks[lead].ready.len() == before && !self.ended {
                self.read_packet(source)?;
            }
        }
    }

    /// The last time in the file's tail is how long it is.
    pub(super) fn find_end(&mut self, source: &Source) -> Result<(), Stop> {
        while self.duration_us.is_none() && self.tail > 0 {
            let pid = self.tracks[self.lead()].entry.pid;
            let (mut at, mut last) = (source.len.saturating_sub(self.tail).max(self.layout.first), None);
            while let Some((found, pts)) = self.timed(source, pid, at, source.len)? {
                last = last.max(Some(pts));
                at = found + 1;
            }
            let whole = self.tail >= source.len || self.tail >= TAIL_MAX;
            self.duration_us = last.map(|pts| us(pts, RATE).max(1) as u64);
            self.tail = if whole || last.is_some() { 0 } else { self.tail * 4 };
        }
        Ok(())
    }
}
