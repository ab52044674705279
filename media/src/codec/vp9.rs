//! VP9: `vpcC` from a key frame's uncompressed header (VP9 bitstream §6.2) and the codec string (VP9-ISOBMFF).

use super::bits::Bits;
use bytes::Bytes;

/// `frames_per_second` only chooses the level, which WebM does not store.
pub(crate) fn vpcc_from_frame(frame: &[u8], width: u32, height: u32, frames_per_second: f64) -> Option<Bytes> {
    let mut bits = Bits::new(frame);
    if bits.read(2)? != 2 {
        return None;
    }
    let profile = bits.read(1)? | bits.read(1)? << 1;
    if profile == 3 {
        bits.skip(1)?;
    }
    // show_existing_frame, then frame_type: 0 is a key frame.
    if bits.flag()? || bits.flag()? {
        return None;
    }
    bits.skip(2)?;
    if bits.read(24)? != 0x49_83_42 {
        return None;
    }
    let depth = match profile {
        2 | 3 => 10 + 2 * bits.read(1)?,
        _ => 8,
    };
    let space = bits.read(3)?;
    let (mut chroma, mut full) = (1, 0);
    if space == 7 {
        (chroma, full) = (3, 1);
    } else {
        full |= bits.read(1)?;
        if profile & 1 == 1 {
            chroma = match (bits.flag()?, bits.flag()?) {
                (false, false) => 3,
                (true, false) => 2,
                // 4:4:0 has no number of its own in vpcC; (1,1) is 4:2:0.
                _ => 1,
            };
        }
    }
    // color_space to ISO/IEC 23001-8 numbers.
    let (primaries, transfer, matrix) = match space {
        1 => (5, 6, 5),
        2 => (1, 1, 1),
        3 => (6, 6, 6),
        4 => (7, 7, 7),
        5 => (9, if depth > 8 { 16 } else { 14 }, 9),
        7 => (1, 13, 0),
        _ => (2, 2, 2),
    };
    let level = level(width, height, frames_per_second);
    let packed = (depth << 4 | chroma << 1 | full) as u8;
    Some(Bytes::from(vec![profile as u8, level, packed, primaries, transfer, matrix, 0, 0]))
}

/// VP9 levels: the first whose picture size and luma rate suffice.
fn level(width: u32, height: u32, frames_per_second: f64) -> u8 {
    const LEVELS: [(u8, u64, u64); 14] = [
        (10, 829_440, 36_864),
        (11, 2_764_800, 73_728),
        (20, 4_608_000, 122_880),
        (21, 9_216_000, 245_760),
        (30, 20_736_000, 552_960),
        (31, 36_864_000, 983_040),
        (40, 83_558_400, 2_228_224),
        (41, 160_432_128, 2_228_224),
        (50, 311_951_360, 8_912_896),
        (51, 588_251_136, 8_912_896),
        (52, 1_176_502_272, 8_912_896),
        (60, 1_176_502_272, 35_651_584),
        (61, 2_353_004_544, 35_651_584),
        (62, 4_706_009_088, 35_651_584),
    ];
    let size = u64::from(width) * u64::from(height);
    let rate = (size as f64 * frames_per_second) as u64;
    LEVELS.iter().find(|(_, max_rate, max_size)| rate <= *max_rate && size <= *max_size).map_or(62, |l| l.0)
}

/// The short form where all that it leaves out has its default (4:2:0, BT.709 or unspecified, limited range).
pub(super) fn string(config: &[u8]) -> String {
    let at = |i: usize| config.get(i).copied().unwrap_or(0);
    let (depth, chroma, full) = (at(2) >> 4, at(2) >> 1 & 7, at(2) & 1);
    let mut out = format!("vp09.{:02}.{:02}.{:02}", at(0), at(1), depth);
    let usual = |v: u8| v == 1 || v == 2 || v == 0;
    if chroma > 1 || full != 0 || !(usual(at(3)) && usual(at(4)) && usual(at(5))) {
        out += &format!(".{chroma:02}.{:02}.{:02}.{:02}.{full:02}", at(3), at(4), at(5));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_frame_gives_the_record() {
        // frame_marker 2, profile 0, key frame, shown; sync code; color_space 2, limited range.
        let frame = [0x82, 0x49, 0x83, 0x42, 0x40, 0x00];
        let vpcc = vpcc_from_frame(&frame, 854, 480, 24.0).unwrap();
        assert_eq!(&vpcc[..], [0, 30, 0x82, 1, 1, 1, 0, 0]);
        assert_eq!(string(&vpcc), "vp09.00.30.08");
        assert_eq!(string(&[2, 51, 0xa2, 9, 16, 9, 0, 0]), "vp09.02.51.10.01.09.16.09.00");
        assert!(vpcc_from_frame(&[0x86], 1, 1, 1.0).is_none());
    }
}
