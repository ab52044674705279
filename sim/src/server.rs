//! The signalling server as docs/signalling.md has it: who is here, whom it names to whom, blobs handed on.
//!
//! A model, not the program: arrows lead from sim to swarm and content only. It names at most 16 of a sample of at most 64, near ones
//! first, then by completeness and free slots, the last four by chance.

use crate::event::{Event, Signal, ToServer, What};
use crate::places::{self, CITIES};
use crate::rng::Rng;
use crate::scenario::Ranking;
use crate::world::Shared;
use std::collections::BTreeMap;

const SAMPLE_MAX: usize = 64;
const NEAR_MAX: usize = 36;
const CANDIDATES_MAX: usize = 16;
const AT_RANDOM: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Member {
    /// Places in the two lists, so that leaving costs the same in a swarm of any size.
    at: usize,
    near_at: usize,
    completeness_permille: u16,
    free_slots: u8,
}

/// The one server of a world.
#[derive(Debug)]
pub struct Server {
    members: BTreeMap<u32, Member>,
    all: Vec<u32>,
    /// By country.
    near: BTreeMap<&'static str, Vec<u32>>,
    rng: Rng,
}

impl Server {
    pub fn new(seed: u64) -> Server {
        Server {
            members: BTreeMap::new(),
            all: Vec::new(),
            near: BTreeMap::new(),
            rng: Rng::new(seed, 0x5e7),
        }
    }

    /// What it answers, to whom.
    pub fn handle(&mut self, from: u32, message: ToServer, shared: &Shared) -> Vec<(u32, What)> {
        match message {
            ToServer::Join => {
                let named = self.rank(from, shared);
                self.join(from, shared);
                vec![(from, What::Candidates(named))]
            }
            ToServer::More => vec![(from, What::Candidates(self.rank(from, shared)))],
            ToServer::Report(completeness_permille, free_slots) => {
                if let Some(member) = self.members.get_mut(&from) {
                    member.completeness_permille = completeness_permille;
                    member.free_slots = free_slots;
                }
                Vec::new()
            }
            ToServer::Leave => {
                self.leave(from, shared);
                Vec::new()
            }
            ToServer::Relay(to, signal) => self.relay(from, to, signal),
        }
    }

    fn relay(&mut self, from: u32, to: u32, signal: Signal) -> Vec<(u32, What)> {
        if self.members.contains_key(&to) {
            vec![(to, What::Signal(signal))]
        } else {
            vec![(from, What::Unreachable(to))]
        }
    }

    fn join(&mut self, node: u32, shared: &Shared) {
        let near = self.near.entry(country(node, shared)).or_default();
        let (at, near_at) = (self.all.len(), near.len());
        self.all.push(node);
        near.push(node);
        let member = Member {
            at,
            near_at,
            completeness_permille: 0,
            free_slots: 24,
        };
        self.members.insert(node, member);
    }

    fn leave(&mut self, node: u32, shared: &Shared) {
        let Some(member) = self.members.remove(&node) else {
            return;
        };
        self.all.swap_remove(member.at);
        if let Some(moved) = self.all.get(member.at) {
            self.members.get_mut(moved).expect("listed").at = member.at;
        }
        let near = self
            .near
            .get_mut(country(node, shared))
            .expect("it was listed there");
        near.swap_remove(member.near_at);
        if let Some(moved) = near.get(member.near_at) {
            self.members.get_mut(moved).expect("listed").near_at = member.near_at;
        }
    }

    fn rank(&mut self, node: u32, shared: &Shared) -> Vec<u32> {
        let mut sample = Vec::new();
        if shared.plan.server.ranking == Ranking::Country {
            sample = self.near_sample(node, shared);
        }
        for _ in 0..SAMPLE_MAX * 2 {
            if sample.len() >= SAMPLE_MAX.min(self.all.len()) || self.all.is_empty() {
                break;
            }
            let other = self.all[self.rng.below(self.all.len() as u64) as usize];
            if other != node && !sample.contains(&other) {
                sample.push(other);
            }
        }
        self.rng.shuffle(&mut sample);
        let score = |other: &u32| std::cmp::Reverse(self.score(node, *other, shared));
        sample.sort_by_cached_key(score);
        if sample.len() > CANDIDATES_MAX {
            for at in CANDIDATES_MAX - AT_RANDOM..CANDIDATES_MAX {
                let other = at + self.rng.below((sample.len() - at) as u64) as usize;
                sample.swap(at, other);
            }
            sample.truncate(CANDIDATES_MAX);
        }
        sample
    }

    fn near_sample(&mut self, node: u32, shared: &Shared) -> Vec<u32> {
        let Some(near) = self.near.get(country(node, shared)) else {
            return Vec::new();
        };
        let mut sample = Vec::new();
        for _ in 0..NEAR_MAX * 2 {
            if near.is_empty() || sample.len() >= NEAR_MAX.min(near.len()) {
                break;
            }
            let other = near[self.rng.below(near.len() as u64) as usize];
            if other != node && !sample.contains(&other) {
                sample.push(other);
            }
        }
        sample
    }

    /// Nearness decides, then how much a peer has and how ready it is.
    fn score(&self, node: u32, other: u32, shared: &Shared) -> u64 {
        let member = &self.members[&other];
        let ready =
            u64::from(member.completeness_permille) + u64::from(member.free_slots.min(8)) * 100;
        let nearness = match shared.plan.server.ranking {
            Ranking::Prefix => 0,
            Ranking::Country => {
                let (a, b) = (
                    shared.spots[node as usize].city,
                    shared.spots[other as usize].city,
                );
                // A database knows a country's middle at best: steps of a thousand kilometres.
                let apart = places::one_way_us(a, b) / 6_600;
                20_u64.saturating_sub(apart)
                    + if CITIES[a].country == CITIES[b].country {
                        5
                    } else {
                        0
                    }
            }
        };
        nearness * 10_000 + ready
    }
}

fn country(node: u32, shared: &Shared) -> &'static str {
    CITIES[shared.spots[node as usize].city].country
}

/// Answers travel like everything else.
pub fn send(
    answers: Vec<(u32, What)>,
    now: u64,
    seq: &mut u64,
    shared: &Shared,
    out: &mut Vec<(u32, Event)>,
) {
    for (to, what) in answers {
        *seq += 1;
        let time = now + shared.to_server_us(to);
        out.push((
            to,
            Event {
                time,
                from: shared.server,
                seq: *seq,
                what,
            },
        ));
    }
}
