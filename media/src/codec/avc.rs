//! H.264: the decoder configuration record and the little of the SPS that we need (ISO/IEC 14496-10 §7.3.2.1.1).

use super::bits::{Bits, unescape};
use bytes::Bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AvcConfig {
    /// How many pictures at most precede one in decode order and follow it in display order.
    pub reorder: u32,
}

impl AvcConfig {
    /// Reads `avcC`. Without a readable SPS the largest reorder depth is assumed.
    pub(crate) fn parse(avcc: &[u8]) -> Option<AvcConfig> {
        let count = avcc.get(5)? & 31;
        let mut reorder = None;
        if count > 0 {
            let len = usize::from(u16::from_be_bytes([*avcc.get(6)?, *avcc.get(7)?]));
            reorder = avcc.get(8..8 + len).and_then(sps).map(|s| s.reorder);
        }
        Some(AvcConfig { reorder: reorder.unwrap_or(16) })
    }
}

pub(crate) struct Sps {
    pub width: u32,
    pub height: u32,
    pub pixel_aspect: (u32, u32),
    pub reorder: u32,
}

/// Coded size after cropping, pixel aspect.
pub(crate) fn sps_size(nal: &[u8]) -> Option<(u32, u32, (u32, u32))> {
    sps(nal).map(|s| (s.width, s.height, s.pixel_aspect))
}

/// `avcC` for the given parameter sets (NAL units without start codes), lengths of four bytes.
pub(crate) fn avc_config(sps: &[Bytes], pps: &[Bytes]) -> Option<Bytes> {
    let first = sps.first().filter(|s| s.len() >= 4)?;
    let mut out = vec![1, first[1], first[2], first[3], 0xff, 0xe0 | sps.len().min(31) as u8];
    for nal in sps.iter().take(31) {
        out.extend_from_slice(&u16::try_from(nal.len()).ok()?.to_be_bytes());
        out.extend_from_slice(nal);
    }
    out.push(pps.len().min(255) as u8);
    for nal in pps.iter().take(255) {
        out.extend_from_slice(&u16::try_from(nal.len()).ok()?.to_be_bytes());
        out.extend_from_slice(nal);
    }
    if matches!(first[1], 100 | 110 | 122 | 144) {
        let (chroma, luma_depth, chroma_depth) = chroma_format(first)?;
        out.extend_from_slice(&[0xfc | chroma as u8, 0xf8 | luma_depth as u8, 0xf8 | chroma_depth as u8, 0]);
    }
    Some(out.into())
}

const HIGH_PROFILES: [u32; 12] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134];

fn chroma_format(nal: &[u8]) -> Option<(u32, u32, u32)> {
    let data = unescape(nal.get(4..)?);
    let mut bits = Bits::new(&data);
    bits.ue()?;
    let chroma = bits.ue()?;
    if chroma == 3 {
        bits.skip(1)?;
    }
    Some((chroma.min(3), bits.ue()?.min(7), bits.ue()?.min(7)))
}

fn sps(nal: &[u8]) -> Option<Sps> {
    let data = unescape(nal.get(1..)?);
    let mut bits = Bits::new(&data);
    let profile = bits.read(8)?;
    let constraints = bits.read(8)?;
    let level = bits.read(8)?;
    bits.ue()?;
    let mut chroma = 1;
    if HIGH_PROFILES.contains(&profile) {
        chroma = bits.ue()?;
        if chroma == 3 {
            bits.skip(1)?;
        }
        bits.ue()?;
        bits.ue()?;
        bits.skip(1)?;
        if bits.flag()? {
            for i in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.flag()? {
                    scaling_list(&mut bits, if i < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.ue()?;
    let order_type = bits.ue()?;
    if order_type == 0 {
        bits.ue()?;
    } else if order_type == 1 {
        bits.skip(1)?;
        bits.se()?;
        bits.se()?;
        for _ in 0..bits.ue()?.min(255) {
            bits.se()?;
        }
    }
    bits.ue()?;
    bits.skip(1)?;
    let width_mbs = bits.ue()?.checked_add(1)?;
    let height_units = bits.ue()?.checked_add(1)?;
    let frames_only = bits.flag()?;
    if !frames_only {
        bits.skip(1)?;
    }
    bits.skip(1)?;
    let height_mbs = height_units.checked_mul(if frames_only { 1 } else { 2 })?;
    let (mut width, mut height) = (width_mbs.checked_mul(16)?, height_mbs.checked_mul(16)?);
    if bits.flag()? {
        let unit_x = if chroma == 1 || chroma == 2 { 2 } else { 1 };
        let unit_y = if chroma == 1 { 2 } else { 1 } * if frames_only { 1 } else { 2 };
        let (left, right, top, bottom) = (bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?);
        width = width.saturating_sub(left.saturating_add(right).saturating_mul(unit_x));
        height = height.saturating_sub(top.saturating_add(bottom).saturating_mul(unit_y));
    }
    let mut pixel_aspect = (1, 1);
    let mut stated = None;
    if bits.flag()? {
        // A VUI that we cannot read to its end says nothing about reordering.
        stated = vui(&mut bits, &mut pixel_aspect);
    }
    let intra_only = constraints & 0x10 != 0 && matches!(profile, 44 | 86 | 100 | 110 | 122 | 244);
    let reorder = match stated {
        Some(depth) => depth.min(16),
        None if profile == 66 || order_type == 2 || intra_only => 0,
        None => dpb_frames(level, constraints & 0x10 != 0 && profile < 100, width_mbs, height_mbs),
    };
    Some(Sps { width, height, pixel_aspect, reorder })
}

fn scaling_list(bits: &mut Bits, size: u32) -> Option<()> {
    let (mut last, mut next) = (8i32, 8i32);
    for _ in 0..size {
        if next != 0 {
            next = (last.wrapping_add(bits.se()?)).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

/// §E.1.1 up to `max_num_reorder_frames`.
fn vui(bits: &mut Bits, pixel_aspect: &mut (u32, u32)) -> Option<u32> {
    const ASPECTS: [(u32, u32); 17] = [
        (1, 1),
        (1, 1),
        (12, 11),
        (10, 11),
        (16, 11),
        (40, 33),
        (24, 11),
        (20, 11),
        (32, 11),
        (80, 33),
        (18, 11),
        (15, 11),
        (64, 33),
        (160, 99),
        (4, 3),
        (3, 2),
        (2, 1),
    ];
    if bits.flag()? {
        let idc = bits.read(8)?;
        let aspect = match ASPECTS.get(idc as usize) {
            Some(aspect) => *aspect,
            None if idc == 255 => (bits.read(16)?, bits.read(16)?),
            None => (1, 1),
        };
        if aspect.0 > 0 && aspect.1 > 0 {
            *pixel_aspect = aspect;
        }
    }
    if bits.flag()? {
        bits.skip(1)?;
    }
    if bits.flag()? {
        bits.skip(4)?;
        if bits.flag()? {
            bits.skip(24)?;
        }
    }
    if bits.flag()? {
        bits.ue()?;
        bits.ue()?;
    }
    if bits.flag()? {
        bits.skip(65)?;
    }
    let nal_hrd = bits.flag()?;
    if nal_hrd {
        hrd(bits)?;
    }
    let vcl_hrd = bits.flag()?;
    if vcl_hrd {
        hrd(bits)?;
    }
    if nal_hrd || vcl_hrd {
        bits.skip(1)?;
    }
    bits.skip(1)?;
    if !bits.flag()? {
        return None;
    }
    bits.skip(1)?;
    for _ in 0..4 {
        bits.ue()?;
    }
    bits.ue()
}

fn hrd(bits: &mut Bits) -> Option<()> {
    let count = bits.ue()?.min(31) + 1;
    bits.skip(8)?;
    for _ in 0..count {
        bits.ue()?;
        bits.ue()?;
        bits.skip(1)?;
    }
    bits.skip(20)
}

/// Table A-1, MaxDpbMbs: the most pictures that can wait for display.
fn dpb_frames(level: u32, level_1b: bool, width_mbs: u32, height_mbs: u32) -> u32 {
    let mbs: u32 = match level {
        11 if level_1b => 396,
        ..=10 => 396,
        11 => 900,
        12 | 13 | 20 => 2376,
        21 => 4752,
        22 | 30 => 8100,
        31 => 18_000,
        32 => 20_480,
        40 | 41 => 32_768,
        42 => 34_816,
        50 => 110_400,
        51 | 52 => 184_320,
        _ => 696_320,
    };
    (mbs / width_mbs.saturating_mul(height_mbs).max(1)).clamp(1, 16)
}
