//! The bytes of the file that are here. Invariant: the kept runs never overlap; nothing is merged by copying.

use baton_sorted::SortedMap;
use bytes::{Bytes, BytesMut};
use std::ops::Range;

#[derive(Default)]
pub(crate) struct Cache {
    /// By their first byte's place in the file.
    runs: SortedMap<u64, Bytes>,
    held: usize,
}

impl Cache {
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Keeps what of `bytes` is not here yet.
    pub(crate) fn insert(&mut self, offset: u64, bytes: &Bytes) {
        let range = offset..offset.saturating_add(bytes.len() as u64);
        for gap in self.missing(range) {
            let from = (gap.start - offset) as usize;
            let run = bytes.slice(from..from + (gap.end - gap.start) as usize);
            self.held += run.len();
            self.runs.insert(gap.start, run);
        }
    }

    /// The parts of `range` that are not here, in order.
    pub(crate) fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        while at < range.end {
            match self.run_at(at) {
                Some((start, run)) => at = start + run.len() as u64,
                None => {
                    let end = self.runs.range(at..range.end).next().map_or(range.end, |(start, _)| *start);
                    gaps.push(at..end);
                    at = end;
                }
            }
        }
        gaps
    }

    pub(crate) fn has(&self, range: &Range<u64>) -> bool {
        self.reach(range.start, range.end) >= range.end
    }

    /// Where the unbroken bytes from `at` end, looking no further than `limit`; `at` itself when there are none.
    pub(crate) fn reach(&self, mut at: u64, limit: u64) -> u64 {
        while at < limit {
            match self.run_at(at) {
                Some((start, run)) => at = start + run.len() as u64,
                None => return at,
            }
        }
        at.min(limit)
    }

    /// All of `range`, or `None`. Copies only where it spans several runs.
    pub(crate) fn get(&self, range: Range<u64>) -> Option<Bytes> {
        if range.is_empty() {
            return Some(Bytes::new());
        }
        let (start, run) = self.run_at(range.start)?;
        let from = (range.start - start) as usize;
        let want = (range.end - range.start) as usize;
        if run.len() - from >= want {
            return Some(run.slice(from..from + want));
        }
        if self.reach(range.start, range.end) < range.end {
            return None;
        }
        let mut all = BytesMut::with_capacity(want);
        let mut at = range.start;
        while at < range.end {
            let (start, run) = self.run_at(at)?;
            let from = (at - start) as usize;
            let to = run.len().min(from + (range.end - at) as usize);
            all.extend_from_slice(&run[from..to]);
            at += (to - from) as u64;
        }
        Some(all.freeze())
    }

    /// What is here from `at` on in one piece.
    pub(crate) fn run_from(&self, at: u64) -> Option<Bytes> {
        let (start, run) = self.run_at(at)?;
        Some(run.slice((at - start) as usize..))
    }

    /// Drops what is in no wanted range, and of these the last ones, until no more than `cap` bytes are held. `wanted` is in order of
    /// urgency.
    pub(crate) fn shrink(&mut self, cap: usize, wanted: &[Range<u64>]) {
        let mut old = std::mem::take(&mut self.runs);
        self.held = 0;
        for range in wanted {
            let first = old.range(..=range.start).next_back().map_or(range.start, |(start, _)| *start);
            let keys: Vec<u64> = old.range(first..range.end).map(|(start, _)| *start).collect();
            for key in keys {
                let Some(run) = old.remove(&key) else { continue };
                if key + run.len() as u64 <= range.start {
                    old.insert(key, run);
                } else if self.held + run.len() <= cap {
                    self.held += run.len();
                    self.runs.insert(key, run);
                }
            }
        }
    }

    fn run_at(&self, at: u64) -> Option<(u64, &Bytes)> {
        let (start, run) = self.runs.range(..=at).next_back()?;
        (at - start < run.len() as u64).then_some((*start, run))
    }
}

/// `ranges` sorted, with those that touch or leave at most `gap` bytes between them made one.
pub(crate) fn merged(mut ranges: Vec<Range<u64>>, gap: u64) -> Vec<Range<u64>> {
    baton_sorted::sort_by_key(&mut ranges, |r| (r.start, 0));
    let mut out: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap) => last.end = last.end.max(range.end),
            _ => out.push(range),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_any_order_become_one_range() {
        let all: Vec<u8> = (0..=255).collect();
        let all = Bytes::from(all);
        let mut cache = Cache::default();
        for start in [200usize, 0, 100, 90, 50, 150] {
            let end = (start + 60).min(256);
            cache.insert(start as u64, &all.slice(start..end));
        }
        assert_eq!(cache.held(), 256);
        assert_eq!(cache.get(0..256).as_deref(), Some(&all[..]));
        assert_eq!(cache.get(95..205).as_deref(), Some(&all[95..205]));
        assert!(cache.get(0..257).is_none());
        assert_eq!(cache.missing(250..300), vec![256..300]);
    }

    #[test]
    fn what_is_wanted_soonest_survives_the_cap() {
        let block = Bytes::from(vec![7; 100]);
        let mut cache = Cache::default();
        for i in 0..10 {
            cache.insert(i * 100, &block);
        }
        cache.shrink(300, &[450..560, 0..50]);
        assert_eq!(cache.held(), 300);
        assert!(cache.has(&(400..600)) && cache.has(&(0..100)) && !cache.has(&(100..101)));
    }

    #[test]
    fn small_gaps_are_merged_away() {
        assert_eq!(merged(vec![50..60, 0..10, 10..20, 31..40], 10), vec![0..20, 31..60]);
    }
}
