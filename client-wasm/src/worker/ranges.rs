//! Which parts of a file are here, as a slider shows them. Pure.

use baton_content::{BLOCK_LEN, Entry, Mask, PieceId};

/// Byte ranges of the file that are here, in order, none touching the next.
pub fn here(entry: &Entry, have: impl Fn(PieceId) -> Mask) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    for piece in entry.pieces() {
        let mask = have(piece);
        if mask.is_empty() {
            continue;
        }
        let Some(bytes) = entry.piece_range(piece) else {
            continue;
        };
        for block in mask.iter() {
            let start = bytes.start + u64::from(block.0) * BLOCK_LEN as u64;
            join(
                &mut ranges,
                (start, (start + BLOCK_LEN as u64).min(bytes.end)),
                0,
            );
        }
    }
    coarse(ranges, entry.size)
}

/// Adds a range at the end; one that begins within `gap` of the last one's end makes that one longer.
fn join(ranges: &mut Vec<(u64, u64)>, (start, end): (u64, u64), gap: u64) {
    match ranges.last_mut() {
        Some(last) if start <= last.1 + gap => last.1 = end,
        _ => ranges.push((start, end)),
    }
}

/// More ranges than a slider has room for lose their smallest holes.
fn coarse(mut ranges: Vec<(u64, u64)>, size: u64) -> Vec<(u64, u64)> {
    let mut gap = size / 1000;
    while ranges.len() > RANGES_MAX {
        let mut fewer = Vec::new();
        for range in ranges {
            join(&mut fewer, range, gap);
        }
        ranges = fewer;
        gap = gap * 2 + 1;
    }
    ranges
}

/// Ranges told. A slider is a few hundred pixels long, and the numbers cross to the page four times a second.
const RANGES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use baton_content::BlockIndex;

    const MIB: u64 = 1 << 20;

    fn blocks(of: impl IntoIterator<Item = u8>) -> Mask {
        let mut mask = Mask::EMPTY;
        of.into_iter().for_each(|b| mask.insert(BlockIndex(b)));
        mask
    }

    #[test]
    fn what_touches_is_one_range_and_a_hole_stays_a_hole() {
        let entry = Entry::new("film.mp4", 3 * MIB + 5);
        let have = |piece: PieceId| match piece.index.0 {
            0 => blocks(60..64),
            1 => blocks(0..2),
            3 => blocks([0]),
            _ => Mask::EMPTY,
        };
        let block = BLOCK_LEN as u64;
        assert_eq!(
            here(&entry, have),
            [
                (MIB - 4 * block, MIB + 2 * block),
                (3 * MIB, 3 * MIB + 5) // The last block is a short one.
            ]
        );
        assert_eq!(here(&entry, |_| Mask::EMPTY), []);
    }

    #[test]
    fn a_checkered_file_is_told_coarsely_and_keeps_its_ends_and_its_large_hole() {
        let entry = Entry::new("film.mp4", 100 * MIB);
        let have = |piece: PieceId| match piece.index.0 {
            40..60 => Mask::EMPTY,
            _ => blocks((0..64).step_by(2)),
        };
        let ranges = here(&entry, have);
        assert!(ranges.len() <= RANGES_MAX, "{ranges:?}");
        assert_eq!(ranges[0].0, 0);
        let inside = |at: u64| ranges.iter().any(|(start, end)| *start <= at && at < *end);
        assert!(inside(20 * MIB) && inside(80 * MIB));
        assert!(!inside(45 * MIB) && !inside(55 * MIB));
    }
}
