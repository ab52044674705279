//! Sample descriptions (ISO/IEC 14496-12 §8.5.2, 14496-14, 14496-15, QuickTime sound): what codec, what size.

use super::boxes::{Body, id};
use crate::codec::pcm::{Pcm, SampleFormat};
use crate::codec::{AacConfig, Codec, flac_info};
use crate::demux::Stream;
use crate::error::Fault;
use crate::text::Format;
use crate::{Kind, MediaError};
use bytes::Bytes;

/// What the first sample description says. Others are rare (edits of several cameras) and not read.
pub(super) fn describe(stsd: &mut Body, stream: &mut Stream) -> Result<(), MediaError> {
    stsd.full()?;
    stsd.u32()?;
    let Some((kind, mut entry)) = stsd.child()? else {
        return Err(stsd.error(Fault::Missing));
    };
    stream.codec_name = name_of(kind);
    match stream.kind {
        Kind::Video => video(kind, &mut entry, stream),
        Kind::Audio => audio(kind, &mut entry, stream),
        Kind::Text => {
            stream.text = match &kind.to_be_bytes() {
                b"tx3g" => {
                    entry.skip(8)?;
                    // Some or all samples are forced: shown to everybody.
                    stream.forced = entry.u32()? >> 30 != 0;
                    Some(Format::Tx3g)
                }
                b"text" => Some(Format::Tx3g),
                b"wvtt" => Some(Format::Wvtt),
                _ => None,
            };
            Ok(())
        }
    }
}

pub(super) fn is_encrypted(name: &str) -> bool {
    name == "encv" || name == "enca"
}

fn name_of(kind: u32) -> String {
    kind.to_be_bytes().iter().map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '.' }).collect()
}

fn video(kind: u32, entry: &mut Body, stream: &mut Stream) -> Result<(), MediaError> {
    entry.skip(24)?;
    stream.width = u32::from(entry.u16()?);
    stream.height = u32::from(entry.u16()?);
    entry.skip(50)?;
    if let Ok(Some(mut pasp)) = entry.find(id(b"pasp")) {
        let aspect = (pasp.u32()?, pasp.u32()?);
        if aspect.0 > 0 && aspect.1 > 0 {
            stream.pixel_aspect = aspect;
        }
    }
    if let Ok(Some(mut colr)) = entry.find(id(b"colr")) {
        stream.colour = colour(colr.rest());
    }
    let config = |kind: &[u8; 4]| entry.need(id(kind)).map(|mut b| b.rest());
    stream.codec = match &kind.to_be_bytes() {
        b"avc1" | b"avc3" => Some(Codec::Avc { config: config(b"avcC")?, in_band: kind == id(b"avc3") }),
        // Dolby Vision over a plain base layer plays as that.
        b"dvh1" | b"dvhe" => entry.find(id(b"hvcC"))?.map(|mut b| Codec::Hevc { config: b.rest(), in_band: false }),
        b"dva1" | b"dvav" => entry.find(id(b"avcC"))?.map(|mut b| Codec::Avc { config: b.rest(), in_band: false }),
        b"hvc1" | b"hev1" => Some(Codec::Hevc { config: config(b"hvcC")?, in_band: kind == id(b"hev1") }),
        b"av01" => Some(Codec::Av1 { config: config(b"av1C")? }),
        b"vp09" => {
            let mut vpcc = entry.need(id(b"vpcC"))?;
            vpcc.full()?;
            Some(Codec::Vp9 { config: vpcc.rest() })
        }
        b"vp08" => Some(Codec::Vp8),
        _ => None,
    };
    Ok(())
}

/// `colr` for the output: only coded points, QuickTime's `nclc` written as ISO's `nclx`.
fn colour(payload: Bytes) -> Option<Bytes> {
    match payload.get(..4)? {
        b"nclx" => payload.get(..11).map(Bytes::copy_from_slice),
        b"nclc" => {
            let mut out = b"nclx".to_vec();
            out.extend_from_slice(payload.get(4..10)?);
            out.push(0);
            Some(out.into())
        }
        _ => None,
    }
}

fn audio(kind: u32, entry: &mut Body, stream: &mut Stream) -> Result<(), MediaError> {
    entry.skip(8)?;
    let version = entry.u16()?;
    entry.skip(6)?;
    stream.channels = u32::from(entry.u16()?);
    let mut bits = u32::from(entry.u16()?);
    let mut lpcm_flags = 0;
    entry.skip(4)?;
    stream.sample_rate = entry.u32()? >> 16;
    let plain = entry.clone();
    // QuickTime's longer descriptions; ISO files may say version 1 without the extra fields.
    match version {
        1 => entry.skip(16)?,
        2 => {
            entry.skip(4)?;
            let rate = f64::from_bits(entry.u64()?);
            stream.sample_rate = if rate.is_finite() { rate as u32 } else { 0 };
            stream.channels = entry.u32()?;
            entry.skip(4)?;
            (bits, lpcm_flags) = (entry.u32()?, entry.u32()?);
            entry.skip(8)?;
        }
        _ => {}
    }
    let config = |kind: &[u8; 4]| find_config(entry, kind).or_else(|| find_config(&plain, kind));
    let missing = |kind: &[u8; 4]| entry.path.child(id(kind)).error(Fault::Missing, entry.offset());
    stream.codec = match &kind.to_be_bytes() {
        b"mp4a" => {
            let esds = config(b"esds").ok_or_else(|| missing(b"esds"))?;
            let (codec, object) = esds_codec(esds)?;
            // The MP4 registration authority's number for DTS, which people are to be told of.
            if matches!(object, 0xa9..=0xac) {
                stream.codec_name = "dts".into();
            }
            codec
        }
        b".mp3" => Some(Codec::Mp3),
        b"Opus" => Some(Codec::Opus { config: config(b"dOps").ok_or_else(|| missing(b"dOps"))?.rest() }),
        b"fLaC" => {
            let mut dfla = config(b"dfLa").ok_or_else(|| missing(b"dfLa"))?;
            dfla.full()?;
            Some(Codec::Flac { config: dfla.rest() })
        }
        b"ac-3" => config(b"dac3").map(|mut b| Codec::Ac3 { config: b.rest() }),
        b"ec-3" => config(b"dec3").map(|mut b| Codec::Eac3 { config: b.rest() }),
        _ => None,
    };
    match &stream.codec {
        Some(Codec::Aac { config }) => {
            if let Some(aac) = AacConfig::parse(config) {
                stream.sample_rate = aac.sample_rate;
                if aac.channels > 0 {
                    stream.channels = aac.channels;
                }
            }
        }
        Some(Codec::Opus { .. }) => stream.sample_rate = 48_000,
        None => {
            let little = config(b"enda").and_then(|mut enda| enda.u16().ok()) == Some(1);
            let iso = config(b"pcmC").and_then(|mut pcm| pcm.full().ok().and(pcm.u16().ok()));
            if let Some((format, big_endian)) = raw(&kind.to_be_bytes(), bits, lpcm_flags, little, iso) {
                let (channels, sample_rate) = (stream.channels, stream.sample_rate);
                stream.set_pcm(Pcm { format, big_endian, channels, sample_rate });
            }
        }
        Some(Codec::Flac { config }) => {
            if let Some(info) = config.get(4..).and_then(flac_info) {
                (stream.sample_rate, stream.channels) = (info.sample_rate, info.channels);
                stream.sample_bits = info.sample_bits;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Raw sound, and whether its bytes come highest first: QuickTime's codes ("Sound Sample Descriptions"), the flags of its `lpcm`, and
/// ISO/IEC 23003-5's `pcmC` (flags and bits).
fn raw(kind: &[u8; 4], bits: u32, lpcm: u32, little: bool, iso: Option<u16>) -> Option<(SampleFormat, bool)> {
    use SampleFormat::{ALaw, F32, F64, MuLaw, S8, S16, S24, S32, U8};
    let signed = |bits| match bits {
        8 => Some(S8),
        16 => Some(S16),
        24 => Some(S24),
        32 => Some(S32),
        _ => None,
    };
    let float = |bits| match bits {
        32 => Some(F32),
        64 => Some(F64),
        _ => None,
    };
    let iso_bits = u32::from(iso.unwrap_or(0) & 0xff);
    let iso_big = iso.unwrap_or(0) & 0x100 == 0;
    Some(match kind {
        b"raw " => (U8, true),
        b"NONE" if bits == 8 => (U8, true),
        b"NONE" | b"twos" => (signed(bits)?, true),
        b"sowt" => (signed(bits)?, false),
        b"in24" => (S24, !little),
        b"in32" => (S32, !little),
        b"alaw" => (ALaw, false),
        b"ulaw" => (MuLaw, false),
        b"fl32" => (F32, !little),
        b"fl64" => (F64, !little),
        b"lpcm" if lpcm & 1 != 0 => (float(bits)?, lpcm & 2 != 0),
        b"lpcm" => (if lpcm & 4 == 0 && bits == 8 { U8 } else { signed(bits)? }, lpcm & 2 != 0),
        b"ipcm" => (signed(iso_bits)?, iso_big),
        b"fpcm" => (float(iso_bits)?, iso_big),
        _ => return None,
    })
}

/// The configuration box, also inside QuickTime's `wave`.
fn find_config(entry: &Body, kind: &[u8; 4]) -> Option<Body> {
    if let Ok(Some(found)) = entry.find(id(kind)) {
        return Some(found);
    }
    entry.find(id(b"wave")).ok()??.find(id(kind)).ok()?
}

/// Elementary stream descriptors (ISO/IEC 14496-1 §7.2.6): object type, and what the decoder needs.
fn esds_codec(mut esds: Body) -> Result<(Option<Codec>, u8), MediaError> {
    esds.full()?;
    let mut object = 0;
    let mut config = Bytes::new();
    while esds.left() >= 2 {
        let tag = esds.u8()?;
        let len = descriptor_len(&mut esds)?;
        match tag {
            // Descend: what follows the fixed fields are descriptors again.
            3 => {
                esds.skip(2)?;
                let flags = esds.u8()?;
                esds.skip(if flags & 0x80 != 0 { 2 } else { 0 })?;
                if flags & 0x40 != 0 {
                    let url = usize::from(esds.u8()?);
                    esds.skip(url)?;
                }
                esds.skip(if flags & 0x20 != 0 { 2 } else { 0 })?;
            }
            4 => {
                object = esds.u8()?;
                esds.skip(12)?;
            }
            5 => {
                config = esds.take(len.min(esds.left()))?;
                break;
            }
            _ => esds.skip(len.min(esds.left()))?,
        }
    }
    let codec = match object {
        0x40 | 0x66..=0x68 => match AacConfig::parse(&config) {
            Some(_) if config.len() <= 64 => Some(Codec::Aac { config }),
            _ => return Err(esds.error(Fault::BadValue)),
        },
        0x69 | 0x6b => Some(Codec::Mp3),
        _ => None,
    };
    Ok((codec, object))
}

/// Seven bits per byte, at most four bytes.
fn descriptor_len(body: &mut Body) -> Result<usize, MediaError> {
    let mut len = 0usize;
    for _ in 0..4 {
        let byte = body.u8()?;
        len = len << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Ok(len)
}
