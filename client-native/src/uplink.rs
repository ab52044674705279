//! One process's upload: `--upload` and `--total` are for all of its sessions together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The limits, and what was sent so far.
#[derive(Clone, Debug, Default)]
pub struct Uplink(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    bytes_per_second: Option<u64>,
    total: Option<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sent: u64,
    next: u64,
    /// Ticks since each session sent something.
    quiet_ticks: BTreeMap<u64, u32>,
}

/// One session's part of the uplink.
#[derive(Debug)]
pub struct Share {
    uplink: Uplink,
    id: u64,
    sent: u64,
}

/// What a session may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub bytes_per_second: Option<u64>,
    /// The total is spent.
    pub paused: bool,
}

impl Uplink {
    /// `None`: no limit.
    pub fn new(bytes_per_second: Option<u64>, total: Option<u64>) -> Uplink {
        Uplink(Arc::new(Shared {
            bytes_per_second,
            total,
            state: Mutex::default(),
        }))
    }

    /// A part for one more session.
    pub fn share(&self) -> Share {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        state.quiet_ticks.insert(id, QUIET_TICKS);
        drop(state);
        Share {
            uplink: self.clone(),
            id,
            sent: 0,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers only: a panic elsewhere leaves nothing half done.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Notes what the session has sent in all, and says what it may send until the next tick.
    ///
    /// Whoever is busy gets an even part. Whoever is not is given what it would have if it began, so that it can.
    pub fn tick(&mut self, sent: u64) -> Budget {
        let mut state = self.uplink.state();
        let fresh = sent.saturating_sub(self.sent);
        self.sent = sent;
        state.sent += fresh;
        let quiet = state.quiet_ticks.entry(self.id).or_insert(QUIET_TICKS);
        *quiet = if fresh > 0 {
            0
        } else {
            quiet.saturating_add(1)
        };
        let is_busy = *quiet < QUIET_TICKS;
        let busy = state.quiet_ticks.values().filter(|q| **q < QUIET_TICKS);
        let parts = busy.count() as u64 + u64::from(!is_busy);
        let limits = &self.uplink.0;
        Budget {
            bytes_per_second: limits
                .bytes_per_second
                .map(|rate| (rate / parts.max(1)).max(1)),
            paused: limits.total.is_some_and(|total| state.sent >= total),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.uplink.state().quiet_ticks.remove(&self.id);
    }
}

/// A session that sent nothing for so many ticks (two seconds) leaves its part to the others.
const QUIET_TICKS: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_shared_by_those_who_use_it() {
        let uplink = Uplink::new(Some(1000), None);
        let (mut one, mut two) = (uplink.share(), uplink.share());
        let rate = |budget: Budget| budget.bytes_per_second;
        assert_eq!(rate(one.tick(100)), Some(1000), "alone");
        assert_eq!(rate(two.tick(0)), Some(500), "what it would have");
        two.tick(100);
        assert_eq!(rate(one.tick(200)), Some(500));
        for _ in 0..QUIET_TICKS {
            two.tick(100);
        }
        assert_eq!(rate(one.tick(300)), Some(1000), "the other is quiet");
        two.tick(200);
        drop(two);
        assert_eq!(rate(one.tick(400)), Some(1000), "the other is gone");
    }

    #[test]
    fn the_total_is_everybodys() {
        let uplink = Uplink::new(None, Some(1000));
        let (mut one, mut two) = (uplink.share(), uplink.share());
        assert!(!one.tick(600).paused);
        assert!(two.tick(400).paused && one.tick(600).paused);
        assert!(uplink.share().tick(0).paused, "for whoever comes later too");
    }
}
