//! Whom to connect with: candidates in the order that server or storage gave them, pauses after failures, who was thrown out.

use crate::config::{
    BANNED_MAX, CANDIDATES_MAX, FAILURES_KNOWN_MAX, FAILURES_MAX, RETRY_MAX_US, RETRY_MIN_US,
};
use crate::timer::Instant;
use baton_content::PeerId;
use baton_sorted::{SortedMap, SortedSet};
use std::collections::VecDeque;

/// An attempt is given up after this time even if the driver says nothing.
const ATTEMPT_US: u64 = 30_000_000;

#[derive(Debug)]
pub(crate) struct Directory {
    me: PeerId,
    /// Best first.
    ranked: Vec<PeerId>,
    connecting: SortedMap<PeerId, Instant>,
    failures: SortedMap<PeerId, Failure>,
    /// Whom we were connected with, and to some use.
    known: SortedSet<PeerId>,
    banned: SortedSet<PeerId>,
    banned_order: VecDeque<PeerId>,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    times: u32,
    until: Instant,
}

impl Directory {
    pub(crate) fn new(me: PeerId) -> Self {
        Directory {
            me,
            ranked: Vec::new(),
            connecting: SortedMap::new(),
            failures: SortedMap::new(),
            known: SortedSet::new(),
            banned: SortedSet::new(),
            banned_order: VecDeque::new(),
        }
    }

    /// A new ranking by the server; those it lacks stay at its end. Who was given up is tried once more.
    pub(crate) fn rank(&mut self, peers: Vec<PeerId>) {
        for peer in &peers {
            if let Some(failure) = self.failures.get_mut(peer) {
                failure.times = failure.times.min(FAILURES_MAX - 1);
            }
        }
        let old = std::mem::take(&mut self.ranked);
        let mut seen = SortedSet::new();
        self.ranked = peers
            .into_iter()
            .chain(old)
            .filter(|peer| seen.insert(*peer))
            .collect();
        self.bound();
    }

    /// Whether somebody named by a neighbour would be a new candidate: not one that was given up lately.
    pub(crate) fn is_news(&self, peer: &PeerId, now: Instant) -> bool {
        let given_up = self.failures.get(peer).is_some_and(|f| f.until > now);
        *peer != self.me && !given_up && !self.ranked.contains(peer)
    }

    /// A new candidate. In a full list it takes the place of one that could not be reached.
    pub(crate) fn add(&mut self, peer: PeerId) {
        if self.ranked.len() >= CANDIDATES_MAX {
            let failing = |other: &PeerId| self.failures.contains_key(other);
            let Some(at) = self.ranked.iter().rposition(failing) else {
                return;
            };
            let other = self.ranked.remove(at);
            self.failures.remove(&other);
        }
        self.ranked.push(peer);
    }

    fn bound(&mut self) {
        let me = self.me;
        self.ranked.retain(|peer| *peer != me);
        self.ranked.truncate(CANDIDATES_MAX);
        let ranked = &self.ranked;
        self.known.retain(|peer| ranked.contains(peer));
        if self.failures.len() > 2 * CANDIDATES_MAX {
            self.failures.retain(|peer, _| ranked.contains(peer));
        }
    }

    pub(crate) fn ban(&mut self, peer: PeerId) {
        if self.banned.insert(peer) {
            self.banned_order.push_back(peer);
        }
        if self.banned_order.len() > BANNED_MAX
            && let Some(oldest) = self.banned_order.pop_front()
        {
            self.banned.remove(&oldest);
        }
    }

    pub(crate) fn is_banned(&self, peer: &PeerId) -> bool {
        self.banned.contains(peer)
    }

    pub(crate) fn is_connecting(&self, peer: &PeerId) -> bool {
        self.connecting.contains_key(peer)
    }

    pub(crate) fn connecting(&self) -> usize {
        self.connecting.len()
    }

    /// A connection came about. Whether it is of any use is not known yet: a full peer ends it at once.
    pub(crate) fn connected(&mut self, peer: &PeerId) {
        self.connecting.remove(peer);
    }

    /// The peer is there and takes part: its failures are forgotten.
    pub(crate) fn proved(&mut self, peer: PeerId) {
        self.failures.remove(&peer);
        if self.known.len() < CANDIDATES_MAX {
            self.known.insert(peer);
        }
    }

    /// A connection ended or did not come about: a pause, twice as long each time, with jitter of a quarter. In the end it is given up.
    pub(crate) fn failed(&mut self, peer: PeerId, now: Instant, jitter: u64) {
        self.connecting.remove(&peer);
        if !self.ranked.contains(&peer) {
            return;
        }
        let before = self.failures.get(&peer).map_or(0, |failure| failure.times);
        let pause = (RETRY_MIN_US << before.min(5)).min(RETRY_MAX_US);
        let until = now.after(pause + jitter % (pause / 4));
        let times = before + 1;
        self.failures.insert(peer, Failure { times, until });
        let most = if self.known.contains(&peer) {
            FAILURES_KNOWN_MAX
        } else {
            FAILURES_MAX
        };
        if times >= most {
            self.ranked.retain(|other| *other != peer);
        }
    }

    /// Whether the last attempts to reach it failed.
    pub(crate) fn is_failing(&self, peer: &PeerId) -> bool {
        self.failures.contains_key(peer)
    }

    /// Drops attempts of which nothing was heard.
    pub(crate) fn expire(&mut self, now: Instant, jitter: u64) {
        let over: Vec<PeerId> = self
            .connecting
            .iter()
            .filter(|(_, since)| now.since(**since) >= ATTEMPT_US)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in over {
            self.failed(peer, now, jitter);
        }
    }

    /// The best candidate to try now; it is being tried from now on.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        is_connected: impl Fn(&PeerId) -> bool,
    ) -> Option<PeerId> {
        let waits = |peer: &PeerId| {
            self.failures
                .get(peer)
                .is_some_and(|failure| failure.until > now)
        };
        let busy = |peer: &PeerId| {
            self.connecting.contains_key(peer) || self.banned.contains(peer) || is_connected(peer)
        };
        let peer = *self
            .ranked
            .iter()
            .find(|peer| !waits(peer) && !busy(peer))?;
        self.connecting.insert(peer, now);
        Some(peer)
    }

    /// When to look again.
    pub(crate) fn next_at(&self, is_connected: impl Fn(&PeerId) -> bool) -> Option<Instant> {
        let pauses = self
            .failures
            .iter()
            .filter(|(peer, _)| {
                self.ranked.contains(peer)
                    && !self.connecting.contains_key(peer)
                    && !self.banned.contains(peer)
                    && !is_connected(peer)
            })
            .map(|(_, failure)| failure.until);
        let attempts = self
            .connecting
            .values()
            .map(|since| since.after(ATTEMPT_US));
        pauses.chain(attempts).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    #[test]
    fn a_failed_candidate_waits_longer_each_time_and_others_go_first() {
        let mut directory = Directory::new(peer(0));
        directory.rank(vec![peer(1), peer(0), peer(2), peer(1)]);
        let now = Instant(0);
        assert_eq!(directory.next(now, |_| false), Some(peer(1)));
        directory.failed(peer(1), now, 0);
        assert_eq!(directory.next(now, |_| false), Some(peer(2)));
        assert_eq!(directory.next(now, |_| false), None);
        assert_eq!(directory.next_at(|_| false), Some(Instant(RETRY_MIN_US)));
        let later = Instant(RETRY_MIN_US);
        assert_eq!(directory.next(later, |_| false), Some(peer(1)));
        directory.failed(peer(1), later, 0);
        assert_eq!(
            directory.next_at(|_| false),
            Some(later.after(2 * RETRY_MIN_US))
        );
    }

    #[test]
    fn a_candidate_that_never_answers_is_given_up_until_it_is_named_again() {
        let mut directory = Directory::new(peer(0));
        directory.rank(vec![peer(1)]);
        let mut now = Instant(0);
        let mut tried = 0;
        for _ in 0..20 {
            now = now.after(100_000_000);
            if directory.next(now, |_| false) == Some(peer(1)) {
                tried += 1;
                // It answers, and ends the connection at once: it is full.
                directory.connected(&peer(1));
                directory.failed(peer(1), now, 0);
            }
        }
        assert_eq!(tried, FAILURES_MAX);
        assert!(
            directory.is_news(&peer(1), now.after(100_000_000)),
            "a neighbour may name it, later"
        );
        assert_eq!(directory.next_at(|_| false), None);
        directory.rank(vec![peer(1)]);
        now = now.after(100_000_000);
        assert_eq!(directory.next(now, |_| false), Some(peer(1)));
        // One that took part is looked for much longer.
        directory.proved(peer(1));
        for _ in 0..20 {
            directory.failed(peer(1), now, 0);
            now = now.after(100_000_000);
            assert_eq!(directory.next(now, |_| false), Some(peer(1)));
        }
    }

    #[test]
    fn a_full_list_has_room_for_a_new_one_instead_of_one_that_fails() {
        let mut directory = Directory::new(peer(0));
        let number = |n: usize| {
            let mut id = [9; 32];
            id[..8].copy_from_slice(&(n as u64).to_le_bytes());
            PeerId(id)
        };
        directory.rank((0..CANDIDATES_MAX).map(number).collect());
        directory.add(peer(1));
        assert!(directory.is_news(&peer(1), Instant(0)), "nobody failed yet");
        directory.failed(number(7), Instant(0), 0);
        directory.add(peer(1));
        assert!(!directory.is_news(&peer(1), Instant(0)));
        assert_eq!(directory.ranked.len(), CANDIDATES_MAX);
    }

    #[test]
    fn the_list_of_the_banned_is_bounded() {
        let mut directory = Directory::new(peer(0));
        for n in 0..=BANNED_MAX as u64 {
            let mut id = [9; 32];
            id[..8].copy_from_slice(&n.to_le_bytes());
            directory.ban(PeerId(id));
        }
        assert_eq!(directory.banned.len(), BANNED_MAX);
    }
}
