//! Time as numbers, and timers that can be moved and cancelled.

use baton_sorted::{SortedMap, SortedSet};

/// A moment: microseconds since the driver's zero. The engine never reads a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// The moment `us` microseconds later.
    pub const fn after(self, us: u64) -> Self {
        Instant(self.0.saturating_add(us))
    }

    /// Microseconds since `earlier`; 0 if that is later.
    pub const fn since(self, earlier: Instant) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What waits for its time, each at most once. `T` orders ties, so that one seed gives one run.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    by_time: SortedSet<(Instant, T)>,
    by_name: SortedMap<T, Instant>,
}

impl<T: Ord + Copy> Timers<T> {
    pub(crate) fn new() -> Self {
        Timers {
            by_time: SortedSet::new(),
            by_name: SortedMap::new(),
        }
    }

    /// Sets `name` to go off at `at`, wherever it stood before.
    pub(crate) fn set(&mut self, name: T, at: Instant) {
        self.cancel(name);
        self.by_name.insert(name, at);
        self.by_time.insert((at, name));
    }

    /// Sets `name` to go off at `at` unless it goes off earlier anyway.
    pub(crate) fn set_earlier(&mut self, name: T, at: Instant) {
        if self.by_name.get(&name).is_none_or(|&old| at < old) {
            self.set(name, at);
        }
    }

    pub(crate) fn is_set(&self, name: T) -> bool {
        self.by_name.contains_key(&name)
    }

    pub(crate) fn cancel(&mut self, name: T) {
        if let Some(old) = self.by_name.remove(&name) {
            self.by_time.remove(&(old, name));
        }
    }

    /// When the next one goes off.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|&(at, _)| at)
    }

    /// Takes one that is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<T> {
        let &(at, name) = self.by_time.first()?;
        if at > now {
            return None;
        }
        self.cancel(name);
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_moves_and_is_cancelled() {
        let mut timers = Timers::new();
        timers.set('a', Instant(10));
        timers.set('b', Instant(5));
        timers.set('a', Instant(3));
        timers.set_earlier('a', Instant(7));
        assert_eq!(timers.next(), Some(Instant(3)));
        timers.cancel('a');
        assert!(!timers.is_set('a'));
        assert_eq!(timers.pop(Instant(4)), None);
        assert_eq!(timers.pop(Instant(5)), Some('b'));
        assert_eq!(timers.next(), None);
    }
}
