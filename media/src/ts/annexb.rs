//! Pictures from a byte stream (ISO/IEC 14496-10 annex B) to samples with lengths, parameter sets kept apart.

use crate::codec::{Codec, avc_config, hevc_config, sps_size};
use bytes::{BufMut, Bytes, BytesMut};

/// Parameter sets remembered per kind; a picture refers to few.
const SETS_MAX: usize = 16;

/// The parameter sets of one stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Sets {
    hevc: bool,
    vps: Vec<Bytes>,
    sps: Vec<Bytes>,
    pps: Vec<Bytes>,
}

/// What the configuration gives: codec, width, height, pixel aspect.
pub(super) type Described = (Codec, u32, u32, (u32, u32));

impl Sets {
    pub(super) fn new(hevc: bool) -> Sets {
        Sets { hevc, ..Sets::default() }
    }

    pub(super) fn describe(&self) -> Option<Described> {
        if self.hevc {
            let (config, width, height) = hevc_config(&self.vps, &self.sps, &self.pps)?;
            return Some((Codec::Hevc { config, in_band: false }, width, height, (1, 1)));
        }
        let config = avc_config(&self.sps, &self.pps).filter(|_| !self.pps.is_empty())?;
        let (width, height, aspect) = sps_size(self.sps.first()?)?;
        Some((Codec::Avc { config, in_band: false }, width, height, aspect))
    }

    /// One access unit: its sample, and whether decoding can start there. Parameter sets that the first configuration
    /// has are left out, changed ones stay in the sample.
    pub(super) fn sample(&mut self, data: &[u8], learn: bool) -> (Bytes, bool) {
        let mut out = BytesMut::with_capacity(data.len() + 32);
        let mut sync = false;
        for nal in nals(data) {
            let Some(&head) = nal.first() else { continue };
            let kind = if self.hevc { head >> 1 & 63 } else { head & 31 };
            let list = match (self.hevc, kind) {
                (true, 32) => Some(&mut self.vps),
                (true, 33) | (false, 7) => Some(&mut self.sps),
                (true, 34) | (false, 8) => Some(&mut self.pps),
                _ => None,
            };
            if let Some(list) = list {
                if list.iter().any(|set| set == nal) {
                    continue;
                }
                if learn && list.len() < SETS_MAX {
                    list.push(Bytes::copy_from_slice(nal));
                    continue;
                }
            }
            // Access unit delimiters and filler say nothing in MP4.
            if matches!((self.hevc, kind), (true, 35 | 38) | (false, 9 | 12)) {
                continue;
            }
            sync |= match self.hevc {
                true => (16..=21).contains(&kind),
                false => kind == 5 || (kind == 6 && has_recovery_point(nal)),
            };
            out.put_u32(nal.len() as u32);
            out.put_slice(nal);
        }
        (out.freeze(), sync)
    }
}

/// SEI payload 6 (§D.1.8): broadcasts start pictures there and have no IDR.
fn has_recovery_point(nal: &[u8]) -> bool {
    let mut rest = &nal[1..];
    while rest.len() > 2 {
        let kind = rest[0];
        let size = usize::from(rest[1]);
        if kind == 6 {
            return true;
        }
        if kind == 255 || size == 255 {
            return false;
        }
        match rest.get(2 + size..) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    false
}

/// The NAL units between start codes, trailing zeros removed.
fn nals(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = next_start(data, 0);
    std::iter::from_fn(move || {
        let (_, from) = at?;
        at = next_start(data, from);
        let to = at.map_or(data.len(), |(start, _)| start);
        let nal = &data[from..to];
        let used = nal.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
        Some(&nal[..used])
    })
}

/// Where the next 00 00 01 begins, and what follows it.
fn next_start(data: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    while at + 3 <= data.len() {
        match data[at + 2] {
            0 => at += 1,
            1 if data[at] == 0 && data[at + 1] == 0 => return Some((at, at + 3)),
            _ => at += 3,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_codes_become_lengths_and_delimiters_vanish() {
        let data = [0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x65, 1, 2, 0, 0, 3, 0, 0, 0, 1, 0x41, 7];
        let (sample, sync) = Sets::new(false).sample(&data, true);
        assert!(sync);
        assert_eq!(&sample[..], [0, 0, 0, 6, 0x65, 1, 2, 0, 0, 3, 0, 0, 0, 2, 0x41, 7]);
    }
}
