//! Randomness from a seed: SplitMix64 (Steele, Lea and Flood 2014), the same on every machine.

/// A stream of numbers for links, places and times; never for keys.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Streams of different `what` are independent, so that one more draw in one place moves nothing elsewhere.
    pub fn new(seed: u64, what: u64) -> Rng {
        let mut rng = Rng(seed ^ what.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        rng.number();
        rng
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(end)) >> 64) as u64
    }

    /// A number of `[low, high]`, both included.
    pub fn within(&mut self, range: [u64; 2]) -> u64 {
        range[0] + self.below(range[1].saturating_sub(range[0]) + 1)
    }

    /// A time that is exponentially distributed with this median.
    pub fn exponential(&mut self, median_us: u64) -> u64 {
        // At least 2^-53, so that the logarithm is finite.
        let uniform = ((self.number() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        (-uniform.log2() * median_us as f64) as u64
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            list.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_stays_are_longer_than_the_median() {
        let mut rng = Rng::new(1, 2);
        let longer = (0..10_000).filter(|_| rng.exponential(300) > 300).count();
        assert!((4_800..5_200).contains(&longer), "{longer}");
    }
}
