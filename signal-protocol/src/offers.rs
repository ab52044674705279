//! Offers heard before: what a server repeats must not cost a client a connection that stands.

use crate::PeerId;
use alloc::collections::VecDeque;
use baton_sorted::SortedMap;

/// The last [`PER_SENDER_MAX`] offers of each of the last [`SENDERS_MAX`] senders.
///
/// Each sender has its own: whoever makes new offers by the hundred pushes out nobody's but its own.
#[derive(Default)]
pub struct Offers {
    senders: SortedMap<PeerId, Sender>,
    /// Counts offers, so that the sender that was silent for longest is known.
    heard: u64,
}

#[derive(Default)]
struct Sender {
    nonces: VecDeque<[u8; 16]>,
    last_heard: u64,
}

impl Offers {
    /// Whether this offer is heard for the first time.
    pub fn is_new(&mut self, from: PeerId, nonce: [u8; 16]) -> bool {
        if self.senders.len() >= SENDERS_MAX && !self.senders.contains_key(&from) {
            self.forget_one();
        }
        self.heard += 1;
        let sender = self.senders.entry(from).or_default();
        sender.last_heard = self.heard;
        if sender.nonces.contains(&nonce) {
            return false;
        }
        if sender.nonces.len() >= PER_SENDER_MAX {
            sender.nonces.pop_front();
        }
        sender.nonces.push_back(nonce);
        true
    }

    fn forget_one(&mut self) {
        let silent = |(id, sender): (&PeerId, &Sender)| (sender.last_heard, *id);
        if let Some((_, id)) = self.senders.iter().map(silent).min() {
            self.senders.remove(&id);
        }
    }
}

/// Offers of one sender, 16 bytes each. A real one makes a new offer when a connection was lost: this is a day of a bad network.
const PER_SENDER_MAX: usize = 64;
/// Senders, a kilobyte each at most. Only who holds the link can be one; a client has a tenth of this in neighbours.
const SENDERS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_counts_once() {
        let mut offers = Offers::default();
        assert!(offers.is_new([1; 32], [1; 16]));
        assert!(offers.is_new([2; 32], [1; 16]), "somebody else's");
        assert!(offers.is_new([1; 32], [2; 16]), "it came back");
        assert!(!offers.is_new([1; 32], [1; 16]), "replayed");
    }

    #[test]
    fn nobody_makes_us_forget_the_offers_of_others_by_making_many() {
        let mut offers = Offers::default();
        assert!(offers.is_new([1; 32], [1; 16]));
        for n in 0..100_000u128 {
            assert!(offers.is_new([3; 32], n.to_le_bytes()));
        }
        assert!(!offers.is_new([1; 32], [1; 16]));
        assert_eq!(offers.senders[&[3; 32]].nonces.len(), PER_SENDER_MAX);
    }

    #[test]
    fn of_too_many_senders_the_one_that_was_silent_for_longest_is_forgotten() {
        let sender = |n: u32| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.to_le_bytes());
            id
        };
        let mut offers = Offers::default();
        for n in 0..SENDERS_MAX as u32 {
            offers.is_new(sender(n), [1; 16]);
        }
        assert!(!offers.is_new(sender(0), [1; 16]), "heard again");
        assert!(offers.is_new(sender(9999), [1; 16]));
        assert_eq!(offers.senders.len(), SENDERS_MAX);
        assert!(!offers.is_new(sender(0), [1; 16]));
        assert!(!offers.senders.contains_key(&sender(1)));
    }
}
