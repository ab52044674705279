//! HEVC: configuration record, codec string (ISO/IEC 14496-15 annex E), reorder depth and size from the SPS
//! (ITU-T H.265 §7.3.2.2).

use super::bits::{Bits, unescape};
use bytes::Bytes;
use std::fmt::Write;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HevcConfig {
    pub reorder: u32,
}

impl HevcConfig {
    pub(crate) fn parse(hvcc: &[u8]) -> Option<HevcConfig> {
        hvcc.get(22)?;
        let reorder = parameter_set(hvcc, 33).and_then(sps).map(|s| s.reorder);
        Some(HevcConfig { reorder: reorder.unwrap_or(16) })
    }
}

/// The first NAL unit of `kind` in `hvcC`.
fn parameter_set(hvcc: &[u8], kind: u8) -> Option<&[u8]> {
    let arrays = *hvcc.get(22)?;
    let mut at = 23;
    for _ in 0..arrays {
        let nal_kind = hvcc.get(at)? & 63;
        let count = u16::from_be_bytes([*hvcc.get(at + 1)?, *hvcc.get(at + 2)?]);
        at += 3;
        for _ in 0..count {
            let len = usize::from(u16::from_be_bytes([*hvcc.get(at)?, *hvcc.get(at + 1)?]));
            let nal = hvcc.get(at + 2..at + 2 + len)?;
            if nal_kind == kind {
                return Some(nal);
            }
            at += 2 + len;
        }
    }
    None
}

/// `hvc1.[A-C]P.compatibility.TierLevel.constraints`, trailing zero constraint bytes left out.
pub(super) fn string(hvcc: &[u8], in_band: bool) -> String {
    let at = |i: usize| hvcc.get(i).copied().unwrap_or(0);
    let space = ["", "A", "B", "C"][usize::from(at(1) >> 6)];
    let compatibility = u32::from_be_bytes([at(2), at(3), at(4), at(5)]).reverse_bits();
    let tier = if at(1) & 0x20 != 0 { 'H' } else { 'L' };
    let mut out = String::from(if in_band { "hev1" } else { "hvc1" });
    let _ = write!(out, ".{space}{}.{compatibility:X}.{tier}{}", at(1) & 31, at(12));
    let constraints: Vec<u8> = (6..12).map(at).collect();
    let used = constraints.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
    for byte in &constraints[..used] {
        let _ = write!(out, ".{byte:X}");
    }
    out
}

pub(crate) struct Sps {
    pub width: u32,
    pub height: u32,
    pub reorder: u32,
    chroma: u32,
    luma_depth: u32,
    chroma_depth: u32,
    layers: u32,
    nested: bool,
    /// The twelve bytes of general profile, tier and level.
    profile: [u8; 12],
}

fn sps(nal: &[u8]) -> Option<Sps> {
    let data = unescape(nal.get(2..)?);
    let mut bits = Bits::new(&data);
    bits.skip(4)?;
    let layers = bits.read(3)?;
    let nested = bits.flag()?;
    let mut profile = [0; 12];
    profile.copy_from_slice(data.get(1..13)?);
    bits.skip(96)?;
    sub_layer_levels(&mut bits, layers)?;
    bits.ue()?;
    let chroma = bits.ue()?;
    if chroma == 3 {
        bits.skip(1)?;
    }
    let (mut width, mut height) = (bits.ue()?, bits.ue()?);
    if bits.flag()? {
        let unit_x = if chroma == 1 || chroma == 2 { 2 } else { 1 };
        let unit_y = if chroma == 1 { 2 } else { 1 };
        let (left, right, top, bottom) = (bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?);
        width = width.saturating_sub(left.saturating_add(right).saturating_mul(unit_x));
        height = height.saturating_sub(top.saturating_add(bottom).saturating_mul(unit_y));
    }
    let (luma_depth, chroma_depth) = (bits.ue()?, bits.ue()?);
    bits.ue()?;
    let all = bits.flag()?;
    let mut reorder = 0;
    for _ in if all { 0 } else { layers }..=layers {
        bits.ue()?;
        reorder = bits.ue()?;
        bits.ue()?;
    }
    Some(Sps {
        width,
        height,
        reorder: reorder.min(16),
        chroma: chroma.min(3),
        luma_depth: luma_depth.min(7),
        chroma_depth: chroma_depth.min(7),
        layers,
        nested,
        profile,
    })
}

/// §7.3.3 for the sub-layers.
fn sub_layer_levels(bits: &mut Bits, layers: u32) -> Option<()> {
    let mut present = Vec::new();
    for _ in 0..layers {
        present.push((bits.flag()?, bits.flag()?));
    }
    if layers > 0 {
        bits.skip(2 * (8 - layers as usize))?;
    }
    for (profile, level) in present {
        bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
    }
    Some(())
}

/// `hvcC` for the given parameter sets, and the coded size.
pub(crate) fn hevc_config(vps: &[Bytes], sps_nals: &[Bytes], pps: &[Bytes]) -> Option<(Bytes, u32, u32)> {
    let info = sps(sps_nals.first()?)?;
    let mut out = vec![1];
    out.extend_from_slice(&info.profile);
    out.extend_from_slice(&[0xf0, 0, 0xfc, 0xfc | info.chroma as u8, 0xf8 | info.luma_depth as u8]);
    out.extend_from_slice(&[0xf8 | info.chroma_depth as u8, 0, 0]);
    out.push((info.layers as u8 + 1) << 3 | u8::from(info.nested) << 2 | 3);
    out.push(3);
    for (kind, nals) in [(32, vps), (33, sps_nals), (34, pps)] {
        out.push(0x80 | kind);
        out.extend_from_slice(&u16::try_from(nals.len()).ok()?.to_be_bytes());
        for nal in nals {
            out.extend_from_slice(&u16::try_from(nal.len()).ok()?.to_be_bytes());
            out.extend_from_slice(nal);
        }
    }
    Some((out.into(), info.width, info.height))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_string_of_a_main_profile_record() {
        let hvcc = [1, 0x01, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93];
        assert_eq!(super::string(&hvcc, false), "hvc1.1.6.L93.90");
        let main10 = [1, 0x22, 0x20, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 153];
        assert_eq!(super::string(&main10, true), "hev1.2.4.H153.B0");
    }
}
