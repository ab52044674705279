//! A viewer's player: demands half a minute ahead, plays at the film's rate, counts its stalls to the microsecond.

use crate::film::{BLOCKS, Film};
use baton_content::{BLOCK_LEN, Lane, Mask, PieceId};
use baton_swarm::{Demand, Instant};

const AHEAD_US: u64 = 30_000_000;
/// How often the player looks, as the browser client does.
const TURN_US: u64 = 250_000;
const MINUTE_US: u64 = 60_000_000;

/// What it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was shown since the start or the last jump.
    Starting {
        since: u64,
    },
    /// `from` was shown at `at`.
    Playing {
        from: u64,
        at: u64,
    },
    Stalled {
        since: u64,
    },
    Over,
}

/// A viewer in front of a film.
#[derive(Debug)]
pub struct Player {
    state: State,
    has_manifest: bool,
    started_at: Option<u64>,
    opened_at: u64,
    /// In bytes of lane 1, where playback is or waits.
    position: u64,
    /// The first missing block from the position on.
    edge: u64,
    next_turn: u64,
    demanded_at: Option<u64>,
    said_nothing: bool,
    jumps: u64,
    pub stalls: u32,
    pub stalled_us: u64,
    pub seeks_us: Vec<u64>,
    /// Minutes since it came in which it stalled.
    stalled_minutes: Vec<u64>,
    pub finished_at: Option<u64>,
}

/// What follows from a look.
#[derive(Debug, Default)]
pub struct Turn {
    pub demands: Option<Vec<Demand>>,
    pub again_at: Option<u64>,
}

impl Player {
    pub fn new(now: u64) -> Player {
        Player {
            state: State::Starting { since: now },
            has_manifest: false,
            started_at: None,
            opened_at: now,
            position: 0,
            edge: 0,
            next_turn: now,
            demanded_at: None,
            said_nothing: false,
            jumps: 0,
            stalls: 0,
            stalled_us: 0,
            seeks_us: Vec::new(),
            stalled_minutes: Vec::new(),
            finished_at: None,
        }
    }

    pub fn startup_us(&self) -> Option<u64> {
        Some(self.started_at? - self.opened_at)
    }

    pub fn is_stalled(&self) -> bool {
        matches!(self.state, State::Stalled { .. })
    }

    /// Minutes in front of a running film, and those of them in which it stood still.
    pub fn minutes(&self, now: u64) -> (u64, u64) {
        let Some(started) = self.started_at else {
            return (0, 0);
        };
        let end = self.finished_at.unwrap_or(now);
        (
            (end - started).div_ceil(MINUTE_US).max(1),
            self.stalled_minutes.len() as u64,
        )
    }

    /// Jumps to a place.
    pub fn seek(&mut self, position: u64, now: u64) {
        if self.started_at.is_none() || self.state == State::Over {
            return;
        }
        self.end_stall(now);
        self.position = position / BLOCK_LEN as u64 * BLOCK_LEN as u64;
        self.edge = self.position / BLOCK_LEN as u64;
        self.state = State::Starting { since: now };
        self.demanded_at = None;
        self.said_nothing = false;
        self.jumps += 1;
    }

    pub fn manifest_came(&mut self) {
        self.has_manifest = true;
    }

    /// Whether a block that just came may change what is shown.
    pub fn waits_for(&self, number: u64) -> bool {
        let waits = matches!(self.state, State::Starting { .. } | State::Stalled { .. });
        waits && number >= self.edge && number < self.edge + 2 * BLOCKS
    }

    /// Whether this look is due, or an older one that was called off.
    pub fn is_due(&self, now: u64) -> bool {
        self.next_turn <= now
    }

    /// Looks again at this moment whatever was planned.
    pub fn look_at(&mut self, now: u64) {
        self.next_turn = now;
    }

    /// Looks: plays on, demands if it is time. `masks` says which blocks of lane 1 are here.
    pub fn turn(&mut self, now: u64, masks: &[u64], film: &Film) -> Turn {
        if !self.has_manifest || self.state == State::Over {
            return Turn::default();
        }
        self.play(now, masks, film);
        let due = self.demanded_at.is_none_or(|at| now >= at + TURN_US);
        let demands = due.then(|| {
            self.demanded_at = Some(now);
            self.demands(now, masks, film)
        });
        let said_nothing = demands.as_ref().map_or(self.said_nothing, Vec::is_empty);
        let silent = said_nothing && self.said_nothing;
        self.said_nothing = said_nothing;
        let again_at = (self.state != State::Over).then(|| self.next_look(now, film));
        self.next_turn = again_at.unwrap_or(u64::MAX);
        Turn {
            demands: demands.filter(|_| !silent),
            again_at,
        }
    }

    /// At the next turn, or when what is here has been played, if that is sooner.
    fn next_look(&self, now: u64, film: &Film) -> u64 {
        match self.state {
            State::Playing { from, at } => {
                let until = self.edge_bytes(film).saturating_sub(from);
                (at + until * 1_000_000 / film.bytes_per_second + 1).clamp(now + 1, now + TURN_US)
            }
            _ => now + TURN_US,
        }
    }

    fn edge_bytes(&self, film: &Film) -> u64 {
        (self.edge * BLOCK_LEN as u64).min(film.len)
    }

    fn play(&mut self, now: u64, masks: &[u64], film: &Film) {
        let has = |block: u64| masks[(block / BLOCKS) as usize] >> (block % BLOCKS) & 1 == 1;
        while self.edge < film.block_count() && has(self.edge) {
            self.edge += 1;
        }
        let edge = self.edge_bytes(film);
        match self.state {
            State::Starting { since } => {
                let enough = (self.position + film.bytes_per_second / 2).min(film.len);
                let enough = if self.started_at.is_none() {
                    film.start_blocks() * BLOCK_LEN as u64
                } else {
                    enough
                };
                if edge >= enough.min(film.len) {
                    if self.started_at.is_none() {
                        self.started_at = Some(now);
                    } else {
                        self.seeks_us.push(now - since);
                    }
                    self.state = State::Playing {
                        from: self.position,
                        at: now,
                    };
                }
            }
            State::Playing { from, at } => {
                let position = from + (now - at) * film.bytes_per_second / 1_000_000;
                self.position = position.min(edge);
                if self.position >= film.len {
                    self.state = State::Over;
                    self.finished_at = Some(now);
                } else if position >= edge {
                    self.stalls += 1;
                    self.state = State::Stalled { since: now };
                }
            }
            State::Stalled { since } => {
                if edge >= (self.position + film.bytes_per_second / 2).min(film.len) {
                    self.count_stall(since, now);
                    self.state = State::Playing {
                        from: self.position,
                        at: now,
                    };
                }
            }
            State::Over => {}
        }
    }

    fn count_stall(&mut self, since: u64, now: u64) {
        self.stalled_us += now - since;
        let started = self.started_at.expect("it played");
        for minute in (since - started) / MINUTE_US..=(now - started) / MINUTE_US {
            if self.stalled_minutes.last() != Some(&minute) {
                self.stalled_minutes.push(minute);
            }
        }
    }

    /// The tab is closed, the time is over, or the viewer jumps: a stall that still lasts counts.
    pub fn end_stall(&mut self, now: u64) {
        if let State::Stalled { since } = self.state {
            self.count_stall(since, now);
            self.state = State::Stalled { since: now };
        }
    }

    fn demands(&self, now: u64, masks: &[u64], film: &Film) -> Vec<Demand> {
        let block_us = |blocks: u64| blocks * BLOCK_LEN as u64 * 1_000_000 / film.bytes_per_second;
        // As fine as samples are, but no finer than 50 ms: a demand of 4K holds more.
        let run = (film.bytes_per_second / 20 / BLOCK_LEN as u64).clamp(4, 16);
        let first = self.position / BLOCK_LEN as u64;
        let ahead = AHEAD_US * film.bytes_per_second / 1_000_000 / BLOCK_LEN as u64 + 1;
        let end = (first + ahead).min(film.block_count());
        let start_end = first + film.start_blocks();
        let starting = matches!(self.state, State::Starting { .. });
        let mut demands: Vec<Demand> = Vec::new();
        for number in self.edge.max(first)..end {
            let bit = 1u64 << (number % BLOCKS);
            if masks[(number / BLOCKS) as usize] & bit != 0 {
                continue;
            }
            let piece = PieceId::new(Lane(1), (number / BLOCKS) as u32);
            let deadline = if starting && number < start_end {
                now
            } else {
                now + block_us((number / run * run).max(first) - first)
            };
            match demands.last_mut() {
                Some(last) if last.piece == piece && last.deadline.0 == deadline => {
                    last.mask.0 |= bit
                }
                _ => demands.push(Demand {
                    piece,
                    mask: Mask(bit),
                    deadline: Instant(deadline),
                }),
            }
        }
        demands
    }
}
