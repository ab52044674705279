//! A set of small numbers, one bit each.

/// Grows with what is set; what is beyond its end is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
    count: u32,
}

impl Bits {
    pub(crate) fn contains(&self, at: u32) -> bool {
        self.word(at as usize / 64) >> (at % 64) & 1 == 1
    }

    /// Whether it was not there before.
    pub(crate) fn insert(&mut self, at: u32) -> bool {
        let word = at as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = !self.contains(at);
        self.words[word] |= 1 << (at % 64);
        self.count += u32::from(new);
        new
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, at: u32) -> bool {
        let old = self.contains(at);
        if old {
            self.words[at as usize / 64] &= !(1 << (at % 64));
            self.count -= 1;
        }
        old
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn word(&self, at: usize) -> u64 {
        self.words.get(at).copied().unwrap_or(0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words
            .iter()
            .enumerate()
            .flat_map(|(at, &word)| ones(word).map(move |bit| at as u32 * 64 + bit))
    }
}

/// The places of the ones in a word, lowest first.
pub(crate) fn ones(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        (word != 0).then(|| {
            let bit = word.trailing_zeros();
            word &= word - 1;
            bit
        })
    })
}

/// The lowest `n` ones of a word.
pub(crate) fn lowest(mut word: u64, n: u32) -> u64 {
    if word.count_ones() <= n {
        return word;
    }
    let mut taken = 0;
    for _ in 0..n {
        taken |= word & word.wrapping_neg();
        word &= word - 1;
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((0u32..300, any::<bool>()), 0..200)) {
            let (mut bits, mut naive) = (Bits::default(), BTreeSet::new());
            for (at, insert) in steps {
                let (a, b) = if insert { (bits.insert(at), naive.insert(at)) } else { (bits.remove(at), naive.remove(&at)) };
                prop_assert_eq!(a, b);
            }
            prop_assert_eq!(bits.count() as usize, naive.len());
            prop_assert!(bits.iter().eq(naive.iter().copied()));
        }

        #[test]
        fn lowest_takes_the_first_ones(word: u64, n in 0u32..70) {
            let naive: u64 = ones(word).take(n as usize).map(|bit| 1u64 << bit).sum();
            prop_assert_eq!(lowest(word, n), naive);
        }
    }
}
