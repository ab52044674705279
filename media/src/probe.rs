//! Finding a place in time in a file that has no index: halving, guided by what byte rate the file has had so far.

use crate::source::Stop;

/// Steps are a network round trip each; after this many the best place so far must do.
const STEPS_MAX: u32 = 20;
/// Close enough to read on from.
const NEAR_US: i64 = 3_000_000;
pub(crate) const NEAR_BYTES: u64 = 512 << 10;

/// A search in progress. It holds no bytes: after `Need` the same step is done again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    target_us: i64,
    /// Begins at or before the target.
    low: (u64, i64),
    /// Begins after it, or is the end; the time is a guess where the file does not tell it.
    high: (u64, i64),
    /// A range this short is not searched any further.
    near: u64,
    halve: bool,
    steps: u32,
}

impl Probe {
    pub(crate) fn new(target_us: i64, low: (u64, i64), high: (u64, i64), near: u64) -> Probe {
        Probe { target_us, low, high, near, halve: false, steps: 0 }
    }

    /// The place to read on from, with its time. `find(from, to)` gives the first place in `from..to` that has a
    /// time of its own.
    pub(crate) fn run(
        &mut self,
        mut find: impl FnMut(u64, u64) -> Result<Option<(u64, i64)>, Stop>,
    ) -> Result<(u64, i64), Stop> {
        loop {
            let (low, high) = (self.low, self.high);
            if self.steps >= STEPS_MAX || high.0.saturating_sub(low.0) <= self.near || self.target_us - low.1 <= NEAR_US
            {
                return Ok(low);
            }
            let at = self.middle();
            match find(at, high.0)? {
                Some((place, time)) if time <= self.target_us && place > low.0 => self.low = (place, time),
                Some((_, time)) => self.high = (at, time.min(high.1)),
                None => self.high = (at, high.1),
            }
            self.steps += 1;
            self.halve = !self.halve;
        }
    }

    /// Where the target would be at an even rate, a little early; every other time the middle.
    fn middle(&self) -> u64 {
        let (low, high) = (self.low, self.high);
        let bytes = high.0 - low.0;
        let time = (high.1 - low.1).max(1) as u128;
        let share = if self.halve || high.1 == i64::MAX {
            bytes / 2
        } else {
            let want = (self.target_us - low.1 - NEAR_US / 2).max(0) as u128;
            (u128::from(bytes) * want.min(time) / time) as u64
        };
        low.0 + share.clamp(bytes / 64 + 1, bytes - bytes / 64 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_searched_in_a_few_steps() {
        // A place every 2 s and 1 MB, but the second half of the file has twice the rate.
        let time = |at: u64| if at < 500_000_000 { at as i64 * 2 } else { at as i64 + 500_000_000 };
        for target in [0i64, 30_000_000, 700_000_000, 1_400_000_000] {
            let mut probe = Probe::new(target, (0, 0), (1_000_000_000, 1_500_000_000), NEAR_BYTES);
            let mut steps = 0;
            let (place, at) = probe
                .run(|from, to| {
                    steps += 1;
                    let place = from.div_ceil(1_000_000) * 1_000_000;
                    Ok((place < to).then(|| (place, time(place))))
                })
                .unwrap();
            assert!(at <= target && target - at <= 4_000_000, "{target}: {place} {at}");
            assert!(steps <= 8, "{steps}");
        }
    }
}
