//! Offers heard before: what a server repeats must not cost a client a connection that stands.

use crate::PeerId;
use alloc::collections::VecDeque;

/// Who offered, and the offer's nonce.
type Offer = (PeerId, [u8; 16]);

/// The last [`OFFERS_MAX`] offers.
#[derive(Default)]
pub struct Offers(VecDeque<Offer>);

impl Offers {
    /// Whether this offer is heard for the first time.
    pub fn is_new(&mut self, from: PeerId, nonce: [u8; 16]) -> bool {
        if self.0.contains(&(from, nonce)) {
            return false;
        }
        if self.0.len() == OFFERS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((from, nonce));
        true
    }
}

/// Offers remembered, 48 bytes each. Only who holds the link can make new ones, and each is for one of few places.
const OFFERS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_counts_once_and_the_memory_of_it_is_bounded() {
        let mut offers = Offers::default();
        assert!(offers.is_new([1; 32], [1; 16]));
        assert!(offers.is_new([2; 32], [1; 16]), "somebody else's");
        assert!(offers.is_new([1; 32], [2; 16]), "it came back");
        assert!(!offers.is_new([1; 32], [1; 16]), "replayed");
        for n in 0..OFFERS_MAX as u128 {
            assert!(offers.is_new([3; 32], n.to_le_bytes()));
        }
        assert_eq!(offers.0.len(), OFFERS_MAX);
    }
}
