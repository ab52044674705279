//! Which blocks a peer has: full pieces as bits, parts as masks.

use crate::bits::Bits;
use crate::wire::{ENTRIES_MAX, Have, Part, Range};
use baton_content::{Lane, MANIFEST_LANE, PieceId, PieceIndex};
use baton_sorted::SortedMap;

/// Whole pieces and parts, per lane.
#[derive(Clone, Debug, Default)]
pub(crate) struct HaveMap {
    lanes: SortedMap<Lane, LaneHave>,
}

#[derive(Clone, Debug, Default)]
struct LaneHave {
    full: Bits,
    /// Pieces with at least one block: what a search looks at.
    any: Bits,
    /// Masks of what is neither whole nor missing, 64 pieces to a shelf. A peer may name a million of them in any order: so
    /// the list of shelves stays short enough to insert into.
    parts: SortedMap<u32, Box<Shelf>>,
}

type Shelf = [u64; 64];

impl LaneHave {
    fn part(&self, index: u32) -> u64 {
        let shelf = self.parts.get(&(index / 64));
        shelf.map_or(0, |masks| masks[index as usize % 64])
    }

    fn set_part(&mut self, index: u32, mask: u64) {
        let (number, place) = (index / 64, index as usize % 64);
        if mask != 0 {
            let shelf = self.parts.entry(number);
            shelf.or_insert_with(|| Box::new([0; 64]))[place] = mask;
        } else if let Some(masks) = self.parts.get_mut(&number) {
            masks[place] = 0;
            if **masks == [0; 64] {
                self.parts.remove(&number);
            }
        }
    }
}

impl HaveMap {
    /// The blocks of one piece; all ones for a full piece, however many blocks it has.
    pub(crate) fn mask(&self, piece: PieceId) -> u64 {
        let Some(lane) = self.lanes.get(&piece.lane) else {
            return 0;
        };
        if lane.full.contains(piece.index.0) {
            u64::MAX
        } else if lane.any.contains(piece.index.0) {
            lane.part(piece.index.0)
        } else {
            0
        }
    }

    /// Whether the piece was not full before.
    pub(crate) fn add_full(&mut self, piece: PieceId) -> bool {
        let lane = self.lanes.entry(piece.lane).or_default();
        lane.set_part(piece.index.0, 0);
        lane.any.insert(piece.index.0);
        lane.full.insert(piece.index.0)
    }

    pub(crate) fn add_part(&mut self, piece: PieceId, mask: u64) {
        let lane = self.lanes.entry(piece.lane).or_default();
        if mask != 0 && !lane.full.contains(piece.index.0) {
            lane.set_part(piece.index.0, lane.part(piece.index.0) | mask);
            lane.any.insert(piece.index.0);
        }
    }

    /// Whether the piece was full before. What stays are the blocks of `rest`.
    pub(crate) fn set_part(&mut self, piece: PieceId, rest: u64) -> bool {
        let lane = self.lanes.entry(piece.lane).or_default();
        let was_full = lane.full.remove(piece.index.0);
        lane.set_part(piece.index.0, 0);
        lane.any.remove(piece.index.0);
        self.add_part(piece, rest);
        was_full
    }

    /// Pieces with at least one block.
    pub(crate) fn any(&self, lane: Lane) -> Option<&Bits> {
        self.lanes.get(&lane).map(|lane| &lane.any)
    }

    pub(crate) fn full(&self, lane: Lane) -> Option<&Bits> {
        self.lanes.get(&lane).map(|lane| &lane.full)
    }

    pub(crate) fn full_count(&self) -> u32 {
        self.lanes.values().map(|lane| lane.full.count()).sum()
    }

    /// Full pieces of the data lanes: all but the manifest.
    pub(crate) fn full_data_count(&self) -> u32 {
        self.lanes
            .iter()
            .filter(|&(&lane, _)| lane != MANIFEST_LANE)
            .map(|(_, lane)| lane.full.count())
            .sum()
    }

    /// Every full piece.
    pub(crate) fn full_pieces(&self) -> impl Iterator<Item = PieceId> + '_ {
        self.lanes.iter().flat_map(|(&lane, have)| {
            have.full.iter().map(move |index| PieceId {
                lane,
                index: PieceIndex(index),
            })
        })
    }

    /// Every part.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (PieceId, u64)> + '_ {
        self.lanes.iter().flat_map(|(&lane, have)| {
            let masks = have
                .parts
                .iter()
                .flat_map(|(&shelf, masks)| (shelf * 64..).zip(masks.iter().copied()));
            let parts = masks.filter(|&(_, mask)| mask != 0);
            parts.map(move |(index, mask)| (PieceId::new(lane, index), mask))
        })
    }
}

/// What is said of `pieces` in as many messages as it takes. `mask` tells all ones for a full piece.
pub(crate) fn announce(
    pieces: impl Iterator<Item = PieceId>,
    mask: impl Fn(PieceId) -> u64,
) -> Vec<Have> {
    let mut messages = Vec::new();
    let mut have = Have::default();
    for piece in pieces {
        let (lane, index) = (piece.lane.0, piece.index.0);
        match mask(piece) {
            0 => continue,
            u64::MAX => match have.ranges.last_mut() {
                Some(last) if last.lane == lane && last.first + last.count == index => {
                    last.count += 1
                }
                _ => have.ranges.push(Range {
                    lane,
                    first: index,
                    count: 1,
                }),
            },
            part => have.parts.push(Part {
                lane,
                index,
                mask: part,
            }),
        }
        if have.ranges.len() + have.parts.len() >= ENTRIES_MAX {
            messages.push(std::mem::take(&mut have));
        }
    }
    if have != Have::default() {
        messages.push(have);
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::piece_id;

    #[test]
    fn full_pieces_are_told_as_ranges_and_parts_as_masks() {
        let mut have = HaveMap::default();
        for index in [0, 1, 2, 5] {
            assert!(have.add_full(piece_id(1, index)));
        }
        have.add_part(piece_id(1, 3), 0b101);
        have.add_part(piece_id(1, 2), 0b1);
        let pieces = (0..7).map(|index| piece_id(1, index));
        let said = announce(pieces, |piece| have.mask(piece));
        let expected = Have {
            ranges: vec![
                Range {
                    lane: 1,
                    first: 0,
                    count: 3,
                },
                Range {
                    lane: 1,
                    first: 5,
                    count: 1,
                },
            ],
            parts: vec![Part {
                lane: 1,
                index: 3,
                mask: 0b101,
            }],
        };
        assert_eq!(said, vec![expected]);
        assert!(have.set_part(piece_id(1, 5), 0));
        assert_eq!(have.mask(piece_id(1, 5)), 0);
        assert_eq!(have.full_count(), 3);
        have.add_full(piece_id(0, 0));
        assert_eq!((have.full_count(), have.full_data_count()), (4, 3));
    }
}
