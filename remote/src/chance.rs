//! Random bytes out of one seed: the only randomness of this crate.

/// A stream of bytes (BLAKE3 in its extended output) that nobody foretells who does not know the seed.
pub struct Chance(blake3::OutputReader);

impl Chance {
    /// `seed` must be random and used for one `Chance` only.
    pub fn new(seed: &[u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("baton remote 1 chance");
        hasher.update(seed);
        Self(hasher.finalize_xof())
    }

    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes);
        bytes
    }
}

impl rand_core::RngCore for Chance {
    fn next_u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl rand_core::CryptoRng for Chance {}
