//! The small words: who, which piece, which block. All are plain values; serde writes their raw bytes.

use core::fmt;
use serde::{Deserialize, Serialize};

use crate::{BLOCKS_PER_PIECE, text};

macro_rules! key_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The raw bytes of the public key.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        /// The first four bytes in hexadecimal: enough to tell peers apart in a log.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let [a, b, c, d, ..] = self.0;
                write!(f, concat!(stringify!($name), "({:02x}{:02x}{:02x}{:02x}..)"), a, b, c, d)
            }
        }

        /// The whole id in base64url without padding, 43 characters.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&text::encode(&self.0))
            }
        }
    };
}

key_id! {
    /// One swarm: all that a signalling server learns of a stream. An ed25519 public key derived from the link.
    SwarmId
}
key_id! {
    /// One peer in one stream. An ed25519 public key that the peer made up for this stream alone.
    PeerId
}
key_id! {
    /// Who made the stream. The ed25519 public key that its head and its piece headers are signed with.
    PublisherId
}

/// One append-only sequence of pieces: 0 is the manifest, 1.. is data.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Lane(pub u16);

/// The place of a piece in its lane, from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct PieceIndex(pub u32);

/// The place of a block in its piece, 0..=63.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct BlockIndex(pub u8);

/// One piece of a stream.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct PieceId {
    pub lane: Lane,
    pub index: PieceIndex,
}

impl PieceId {
    pub fn new(lane: Lane, index: u32) -> Self {
        PieceId {
            lane,
            index: PieceIndex(index),
        }
    }
}

impl fmt::Display for PieceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.lane.0, self.index.0)
    }
}

/// The first eight bytes of a piece's root: which of two contradicting cores a request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Root8(pub [u8; 8]);

/// Which blocks of one piece: bit 0 is block 0.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mask(pub u64);

impl Mask {
    pub const EMPTY: Mask = Mask(0);

    /// The first `count` blocks; all 64 from 64 up.
    pub fn first_n(count: usize) -> Mask {
        if count >= BLOCKS_PER_PIECE {
            Mask(u64::MAX)
        } else {
            Mask((1 << count) - 1)
        }
    }

    /// One block; empty for an index that no piece has.
    pub fn of(block: BlockIndex) -> Mask {
        Mask(1u64.checked_shl(u32::from(block.0)).unwrap_or(0))
    }

    /// Blocks `from..to` (`to` not included).
    pub fn range(from: usize, to: usize) -> Mask {
        Mask::first_n(to).without(Mask::first_n(from))
    }

    pub fn contains(self, block: BlockIndex) -> bool {
        !self.and(Mask::of(block)).is_empty()
    }

    pub fn contains_all(self, other: Mask) -> bool {
        other.without(self).is_empty()
    }

    pub fn insert(&mut self, block: BlockIndex) {
        self.0 |= Mask::of(block).0;
    }

    pub fn remove(&mut self, block: BlockIndex) {
        self.0 &= !Mask::of(block).0;
    }

    pub fn and(self, other: Mask) -> Mask {
        Mask(self.0 & other.0)
    }

    pub fn or(self, other: Mask) -> Mask {
        Mask(self.0 | other.0)
    }

    /// The blocks that are here and not in `other`.
    pub fn without(self, other: Mask) -> Mask {
        Mask(self.0 & !other.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many blocks.
    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The lowest block.
    pub fn first(self) -> Option<BlockIndex> {
        (self.0 != 0).then(|| BlockIndex(self.0.trailing_zeros() as u8))
    }

    /// The blocks in ascending order.
    pub fn iter(self) -> impl Iterator<Item = BlockIndex> + Clone {
        let mut rest = self;
        core::iter::from_fn(move || {
            let block = rest.first()?;
            rest.remove(block);
            Some(block)
        })
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({:#x})", self.0)
    }
}

impl FromIterator<BlockIndex> for Mask {
    fn from_iter<I: IntoIterator<Item = BlockIndex>>(blocks: I) -> Self {
        blocks
            .into_iter()
            .fold(Mask::EMPTY, |mask, block| mask.or(Mask::of(block)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(mask: Mask) -> BTreeSet<u8> {
        (0..=u8::MAX)
            .filter(|block| mask.contains(BlockIndex(*block)))
            .collect()
    }

    proptest! {
        #[test]
        fn a_mask_is_a_set_of_blocks(a: u64, b: u64, block: u8, from in 0usize..70, to in 0usize..70) {
            let (a, b, block) = (Mask(a), Mask(b), BlockIndex(block));
            prop_assert_eq!(set(a.and(b)), &set(a) & &set(b));
            prop_assert_eq!(set(a.or(b)), &set(a) | &set(b));
            prop_assert_eq!(set(a.without(b)), &set(a) - &set(b));
            prop_assert_eq!(a.contains_all(b), set(a).is_superset(&set(b)));
            prop_assert_eq!(a.count(), set(a).len());
            prop_assert_eq!(a.first().map(|block| block.0), set(a).first().copied());
            prop_assert_eq!(a.iter().map(|block| block.0).collect::<BTreeSet<_>>(), set(a));
            prop_assert_eq!(a.iter().collect::<Mask>(), a);
            prop_assert_eq!(set(Mask::range(from, to)), (from..to.min(64)).map(|block| block as u8).collect());
            let (mut with, mut less) = (a, a);
            with.insert(block);
            less.remove(block);
            prop_assert_eq!(with.contains(block), block.0 < 64);
            prop_assert!(!less.contains(block));
        }
    }

    #[test]
    fn ids_print_short_for_logs_and_whole_for_people() {
        let peer = PeerId([0xAB; 32]);
        assert_eq!(format!("{peer:?}"), "PeerId(abababab..)");
        assert_eq!(peer.to_string().len(), 43);
        assert_eq!(PieceId::new(Lane(1), 7).to_string(), "1/7");
    }
}
