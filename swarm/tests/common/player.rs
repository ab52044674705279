//! A viewer's player: it demands half a minute ahead, plays at the film's rate, and counts its stalls.

use super::film::Film;
use baton_content::{BLOCK_LEN, Lane, Mask, PIECE_LEN, PieceId, VerifiedBlock};
use baton_swarm::{Demand, Instant};
use std::collections::BTreeSet;
use std::rc::Rc;

const AHEAD_US: u64 = 30_000_000;
const TURN_US: u64 = 50_000;
/// Blocks in one demand: 64 KiB, about as fine as samples are.
const RUN: u64 = 4;

pub struct Player {
    film: Rc<Film>,
    bytes_per_second: u64,
    have: BTreeSet<u64>,
    has_manifest: bool,
    opened_at: u64,
    pub first_picture_at: Option<u64>,
    /// In bytes of lane 1.
    pub position: u64,
    last_turn: u64,
    demanded_at: Option<u64>,
    stalled_since: Option<u64>,
    pub stalls: u32,
    pub stalled_at: Vec<(u64, u64)>,
    pub stalled_us: u64,
    pub finished_at: Option<u64>,
    sought_at: Option<u64>,
    /// How long each seek took.
    pub seeks_us: Vec<u64>,
    scheduled: Option<u64>,
    urgent_news: bool,
}

impl Player {
    pub fn new(film: Rc<Film>, bytes_per_second: u64, now: u64) -> Player {
        Player {
            film,
            bytes_per_second,
            have: BTreeSet::new(),
            has_manifest: false,
            opened_at: now,
            first_picture_at: None,
            position: 0,
            last_turn: now,
            demanded_at: None,
            stalled_since: None,
            stalls: 0,
            stalled_at: Vec::new(),
            stalled_us: 0,
            finished_at: None,
            sought_at: None,
            seeks_us: Vec::new(),
            scheduled: None,
            urgent_news: false,
        }
    }

    pub fn startup_us(&self) -> Option<u64> {
        Some(self.first_picture_at? - self.opened_at)
    }

    /// Jumps to a place; shown when the first two blocks from there are here.
    pub fn seek(&mut self, position: u64, now: u64) {
        self.position = position / BLOCK_LEN as u64 * BLOCK_LEN as u64;
        self.sought_at = Some(now);
        self.stalled_since = None;
        self.demanded_at = None;
    }

    pub fn take(&mut self, block: &VerifiedBlock) {
        if block.piece().lane == Lane(0) {
            self.urgent_news |= !self.has_manifest;
            self.has_manifest = true;
            return;
        }
        let number = u64::from(block.piece().index.0) * (PIECE_LEN / BLOCK_LEN) as u64
            + u64::from(block.block().0);
        self.have.insert(number);
        self.urgent_news |= self.first_picture_at.is_none() || self.sought_at.is_some();
    }

    pub fn wants_attention(&mut self) -> bool {
        std::mem::take(&mut self.urgent_news)
    }

    fn has(&self, from: u64, to: u64) -> bool {
        let to = to.min(self.film.len as u64);
        (from / BLOCK_LEN as u64..to.div_ceil(BLOCK_LEN as u64))
            .all(|number| self.have.contains(&number))
    }

    /// Plays on; new demands if it is time for them, and when to look again.
    pub fn turn(&mut self, now: u64) -> (Option<Vec<Demand>>, Option<u64>) {
        let elapsed = now - self.last_turn;
        self.last_turn = now;
        if self.has_manifest {
            self.play(now, elapsed);
        }
        let due = self.demanded_at.is_none_or(|at| now >= at + 250_000) && self.has_manifest;
        let demands = due.then(|| {
            self.demanded_at = Some(now);
            self.demands(now)
        });
        let again = if self.scheduled.is_none_or(|at| at <= now) && self.finished_at.is_none() {
            self.scheduled = Some(now + TURN_US);
            self.scheduled
        } else {
            None
        };
        (demands, again)
    }

    fn play(&mut self, now: u64, elapsed: u64) {
        let len = self.film.len as u64;
        if self.first_picture_at.is_none() {
            if self.has(0, self.film.start_bytes()) {
                self.first_picture_at = Some(now);
            }
            return;
        }
        if self.finished_at.is_some() {
            return;
        }
        if let Some(since) = self.sought_at {
            if self.has(self.position, self.position + 2 * BLOCK_LEN as u64) {
                self.seeks_us.push(now - since);
                self.sought_at = None;
            }
            return;
        }
        let next = (self.position + elapsed * self.bytes_per_second / 1_000_000).min(len);
        if self.has(self.position, next) {
            self.position = next;
            if let Some(since) = self.stalled_since.take() {
                self.stalled_us += now - since;
                self.stalled_at.push((since / 1000, (now - since) / 1000));
            }
        } else if self.stalled_since.is_none() {
            self.stalls += 1;
            self.stalled_since = Some(now);
        }
        if self.position >= len {
            self.finished_at = Some(now);
        }
    }

    fn demands(&self, now: u64) -> Vec<Demand> {
        let block_us = BLOCK_LEN as u64 * 1_000_000 / self.bytes_per_second;
        let first = self.position / BLOCK_LEN as u64;
        let end = (first + AHEAD_US / block_us + 1)
            .min((self.film.len as u64).div_ceil(BLOCK_LEN as u64));
        let mut demands: Vec<Demand> = Vec::new();
        for number in first..end {
            if self.have.contains(&number) {
                continue;
            }
            let per_piece = (PIECE_LEN / BLOCK_LEN) as u64;
            let piece = PieceId::new(Lane(1), (number / per_piece) as u32);
            let bit = Mask(1 << (number % per_piece));
            let started = self.first_picture_at.is_some();
            let start = !started && number * (BLOCK_LEN as u64) < self.film.start_bytes();
            let run_start = (number / RUN * RUN).max(first);
            let deadline = if start {
                now
            } else {
                now + (run_start - first) * block_us
            };
            match demands.last_mut() {
                Some(last) if last.piece == piece && last.deadline.0 == deadline => {
                    last.mask = last.mask.or(bit)
                }
                _ => demands.push(Demand {
                    piece,
                    mask: bit,
                    deadline: Instant(deadline),
                }),
            }
        }
        demands
    }
}
