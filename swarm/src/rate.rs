//! How fast: what plots show, what windows are sized by, and what an upload limit lets through. Integers only.

use crate::timer::Instant;

const SLOT_US: u64 = 250_000;
const SLOTS: u64 = 8;

/// Bytes per second over about the last two seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rate {
    slots: [u64; SLOTS as usize],
    newest: u64,
    first: Option<Instant>,
}

impl Rate {
    pub(crate) fn add(&mut self, now: Instant, bytes: u64) {
        self.first.get_or_insert(now);
        let slot = now.0 / SLOT_US;
        for passed in self.newest + 1..=slot.min(self.newest + SLOTS) {
            self.slots[(passed % SLOTS) as usize] = 0;
        }
        if slot > self.newest + SLOTS {
            self.slots = [0; SLOTS as usize];
        }
        self.newest = self.newest.max(slot);
        self.slots[(slot % SLOTS) as usize] += bytes;
    }

    pub(crate) fn bytes_per_second(&self, now: Instant) -> u64 {
        let Some(first) = self.first else { return 0 };
        let oldest = (now.0 / SLOT_US + 1).saturating_sub(SLOTS);
        let bytes: u64 = (oldest..=self.newest.min(oldest + SLOTS))
            .filter(|&slot| slot + SLOTS > self.newest)
            .map(|slot| self.slots[(slot % SLOTS) as usize])
            .sum();
        let span = now
            .0
            .saturating_sub((oldest * SLOT_US).max(first.0))
            .max(SLOT_US);
        bytes.saturating_mul(1_000_000) / span
    }
}

/// What a connection delivers while it is kept busy: idle time does not count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Goodput {
    bytes: u64,
    busy_us: u64,
    last: Option<Instant>,
    per_second: Option<u64>,
    /// The sample holds time in which there was nothing more to carry.
    limited: bool,
}

/// A sample needs this much busy time.
const SAMPLE_US: u64 = 100_000;

impl Goodput {
    /// Something was delivered; the connection has owed us something since the last news, or since `busy_since` if that is later.
    /// `limited`: nothing more is waiting to be carried, so that this measures what was asked for and not what the link carries; it
    /// may raise the measure, not lower it (as BBR's application-limited samples, draft-ietf-ccwg-bbr).
    pub(crate) fn add(&mut self, now: Instant, busy_since: Instant, bytes: u64, limited: bool) {
        self.limited |= limited;
        let from = self.last.map_or(busy_since, |last| last.max(busy_since));
        self.busy_us += now.since(from);
        self.bytes += bytes;
        self.last = Some(now);
        if self.busy_us >= SAMPLE_US {
            let sample = self.bytes.saturating_mul(1_000_000) / self.busy_us;
            // Quick to believe more, slow to believe less.
            self.per_second = Some(self.per_second.map_or(sample, |old| {
                if sample > old {
                    (old + sample) / 2
                } else if self.limited {
                    old
                } else {
                    (old * 3 + sample) / 4
                }
            }));
            self.bytes = 0;
            self.busy_us = 0;
            self.limited = false;
        }
    }

    pub(crate) fn bytes_per_second(&self) -> Option<u64> {
        self.per_second
    }
}

/// A token bucket in bytes (or whatever is counted).
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    per_second: u64,
    burst: u64,
    /// In millionths, so that slow rates and short steps lose nothing.
    millionths: u128,
    last: Instant,
}

impl Bucket {
    pub(crate) fn new(per_second: u64, burst: u64, now: Instant) -> Self {
        Bucket {
            per_second,
            burst,
            millionths: u128::from(burst) * 1_000_000,
            last: now,
        }
    }

    fn refill(&mut self, now: Instant) {
        let gained = u128::from(self.per_second) * u128::from(now.since(self.last));
        self.millionths = (self.millionths + gained).min(u128::from(self.burst) * 1_000_000);
        self.last = self.last.max(now);
    }

    /// Takes `amount` if it is there.
    pub(crate) fn take(&mut self, now: Instant, amount: u64) -> bool {
        self.refill(now);
        let wanted = u128::from(amount) * 1_000_000;
        let there = self.millionths >= wanted;
        if there {
            self.millionths -= wanted;
        }
        there
    }

    /// When `amount` will be there: later than `now`, unless it is there.
    pub(crate) fn ready_at(&self, now: Instant, amount: u64) -> Instant {
        let wanted = u128::from(amount.min(self.burst)) * 1_000_000;
        let missing = wanted.saturating_sub(self.millionths);
        let us = missing.div_ceil(u128::from(self.per_second.max(1)));
        now.max(self.last).after(us.min(60_000_000) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_flow_is_measured_and_forgotten() {
        let mut rate = Rate::default();
        for ms in 0..3000 {
            rate.add(Instant(ms * 1000), 1000);
        }
        let measured = rate.bytes_per_second(Instant(3_000_000));
        assert!((900_000..1_100_000).contains(&measured), "{measured}");
        assert_eq!(rate.bytes_per_second(Instant(9_000_000)), 0);
    }

    #[test]
    fn idle_time_does_not_lower_goodput() {
        let mut goodput = Goodput::default();
        for second in 0..10 {
            let start = Instant(second * 1_000_000);
            for step in 1..=10 {
                goodput.add(start.after(step * 10_000), start, 10_000, false);
            }
        }
        assert_eq!(goodput.bytes_per_second(), Some(1_000_000));
    }

    #[test]
    fn a_flow_that_runs_out_of_bytes_says_nothing_about_its_link() {
        let mut goodput = Goodput::default();
        let mut trickle = |from_s: u64, bytes, limited| {
            for step in 1..=100 {
                let at = Instant(from_s * 1_000_000).after(step * 10_000);
                goodput.add(at, Instant(from_s * 1_000_000), bytes, limited);
            }
            goodput.bytes_per_second()
        };
        assert_eq!(trickle(0, 100_000, false), Some(10_000_000));
        assert_eq!(trickle(1, 1_000, true), Some(10_000_000));
        assert!(
            trickle(2, 200_000, true) > Some(15_000_000),
            "more is believed"
        );
        assert!(
            trickle(3, 1_000, false) < Some(2_000_000),
            "a slow link too"
        );
    }

    #[test]
    fn a_bucket_lets_its_rate_through() {
        let mut bucket = Bucket::new(1_000_000, 50_000, Instant(0));
        let mut passed = 0;
        let mut now = Instant(0);
        while now < Instant(10_000_000) {
            if bucket.take(now, 49_172) {
                passed += 49_172;
            } else {
                let next = bucket.ready_at(now, 49_172);
                assert!(next > now);
                now = next;
            }
        }
        assert!((9_950_000..=10_100_000).contains(&passed), "{passed}");
    }
}
