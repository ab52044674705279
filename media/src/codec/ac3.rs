//! AC-3 and E-AC-3: `dac3` and `dec3` from a frame's header (ETSI TS 102 366 §4.4, §E.1.2, annex F).

use super::bits::Bits;
use bytes::Bytes;

const RATES: [u32; 3] = [48_000, 44_100, 32_000];
const CHANNELS: [u32; 8] = [2, 1, 2, 3, 3, 4, 4, 5];

/// The `dac3` payload, sample rate and channels.
pub(crate) fn ac3_config(frame: &[u8]) -> Option<(Bytes, u32, u32)> {
    let mut bits = Bits::new(frame);
    if bits.read(16)? != 0x0b77 {
        return None;
    }
    bits.skip(16)?;
    let rate = bits.read(2)?;
    let size_code = bits.read(6)?;
    let id = bits.read(5)?;
    let mode = bits.read(3)?;
    let acmod = bits.read(3)?;
    if acmod & 1 != 0 && acmod != 1 {
        bits.skip(2)?;
    }
    if acmod & 4 != 0 {
        bits.skip(2)?;
    }
    if acmod == 2 {
        bits.skip(2)?;
    }
    let lfe = bits.read(1)?;
    let packed = rate << 22 | id << 17 | mode << 14 | acmod << 11 | lfe << 10 | (size_code >> 1) << 5;
    let config = Bytes::copy_from_slice(&packed.to_be_bytes()[1..]);
    (id <= 10).then_some(())?;
    Some((config, *RATES.get(rate as usize)?, CHANNELS[acmod as usize] + lfe))
}

/// The `dec3` payload for one independent substream, sample rate and channels.
pub(crate) fn eac3_config(frame: &[u8]) -> Option<(Bytes, u32, u32)> {
    let mut bits = Bits::new(frame);
    if bits.read(16)? != 0x0b77 {
        return None;
    }
    bits.skip(5)?;
    let size = bits.read(11)? + 1;
    let rate = bits.read(2)?;
    let (blocks, sample_rate) = match rate {
        3 => (6, RATES.get(bits.read(2)? as usize)? / 2),
        _ => ([1, 2, 3, 6][bits.read(2)? as usize], RATES[rate as usize]),
    };
    let acmod = bits.read(3)?;
    let lfe = bits.read(1)?;
    let id = bits.read(5)?;
    (id > 10 && id <= 16).then_some(())?;
    let kilobits = u64::from(size) * 16 * u64::from(sample_rate) / (blocks * 256) / 1000;
    let head = (kilobits as u32 & 0x1fff) << 3;
    let sub = rate.min(2) << 22 | id << 17 | acmod << 9 | lfe << 8;
    let mut out = vec![(head >> 8) as u8, head as u8];
    out.extend_from_slice(&sub.to_be_bytes()[1..]);
    Some((out.into(), sample_rate, CHANNELS[acmod as usize] + lfe))
}
