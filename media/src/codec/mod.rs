//! Codecs: their configuration records, RFC 6381 strings and MIME types.

mod aac;
mod ac3;
mod avc;
mod bits;
mod hevc;
mod mpa;
mod opus;
pub(crate) mod pcm;
mod silence;
mod vp9;

pub(crate) use aac::AacConfig;
pub(crate) use ac3::{ac3_config, eac3_config};
pub(crate) use avc::{AvcConfig, avc_config, sps_size};
pub(crate) use hevc::{HevcConfig, hevc_config};
pub(crate) use mpa::{FrameHeader, adts_header, mp3_header};
pub(crate) use opus::{dops_from_head, packet_samples as opus_packet_samples};
pub(crate) use silence::{silence, silence_beside};
pub(crate) use vp9::vpcc_from_frame;

use crate::{Kind, Support};
use bytes::Bytes;
use std::fmt::Write;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// `avcC` (ISO/IEC 14496-15 §5.3.3); `in_band`: parameter sets also in the samples (`avc3`).
    Avc {
        config: Bytes,
        in_band: bool,
    },
    /// `hvcC` (§8.3.3); `in_band`: `hev1`.
    Hevc {
        config: Bytes,
        in_band: bool,
    },
    /// `av1C` (AV1-ISOBMFF §2.3).
    Av1 {
        config: Bytes,
    },
    /// `vpcC` without its version and flags (VP9-ISOBMFF).
    Vp9 {
        config: Bytes,
    },
    Vp8,
    /// AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1).
    Aac {
        config: Bytes,
    },
    Mp3,
    /// `dOps` payload.
    Opus {
        config: Bytes,
    },
    /// FLAC metadata blocks, STREAMINFO first (the payload of `dfLa` after version and flags).
    Flac {
        config: Bytes,
    },
    /// The three headers laced as in Matroska's CodecPrivate.
    Vorbis {
        config: Bytes,
    },
    /// `dac3`, `dec3` payloads (ETSI TS 102 366 annex F).
    Ac3 {
        config: Bytes,
    },
    Eac3 {
        config: Bytes,
    },
}

/// How a stream is packed for MediaSource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Mp4,
    WebM,
    /// Frames as they are, one after the other (`audio/mpeg`).
    Raw,
}

impl Codec {
    pub(crate) fn packing(&self, support: Support) -> Packing {
        match self {
            Codec::Vp8 | Codec::Vorbis { .. } => Packing::WebM,
            Codec::Mp3 if !support.mp3_in_mp4 => Packing::Raw,
            _ => Packing::Mp4,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Codec::Avc { .. } | Codec::Hevc { .. } | Codec::Av1 { .. } | Codec::Vp9 { .. } | Codec::Vp8 => Kind::Video,
            _ => Kind::Audio,
        }
    }

    /// How much of a picture, from its first byte on, is whole NAL units (ISO/IEC 14496-15 §5.3.3.1, §8.3.3.1); all of other codecs' frames.
    /// Chromium refuses all that is appended with a unit that is longer than its picture.
    pub(crate) fn whole_units(&self, data: &[u8]) -> usize {
        let length_size = match self {
            Codec::Avc { config, .. } => config.get(4),
            Codec::Hevc { config, .. } => config.get(21),
            _ => return data.len(),
        };
        let length_size = usize::from(length_size.copied().unwrap_or(3) & 3) + 1;
        let mut at = 0;
        while let Some(length) = data.get(at..at + length_size) {
            let length = length.iter().fold(0, |all, byte| all << 8 | usize::from(*byte));
            match data.len() - at - length_size {
                left if length <= left => at += length_size + length,
                _ => break,
            }
        }
        at
    }

    /// RFC 6381 §3.3 and the codecs' own bindings.
    pub(crate) fn string(&self) -> String {
        match self {
            Codec::Avc { config, in_band } => {
                let at = |i| config.get(i).copied().unwrap_or(0);
                format!("{}.{:02X}{:02X}{:02X}", if *in_band { "avc3" } else { "avc1" }, at(1), at(2), at(3))
            }
            Codec::Hevc { config, in_band } => hevc::string(config, *in_band),
            Codec::Av1 { config } => av1_string(config),
            Codec::Vp9 { config } => vp9::string(config),
            Codec::Vp8 => "vp8".into(),
            Codec::Aac { config } => {
                format!("mp4a.40.{}", AacConfig::parse(config).map_or(2, |c| c.object_type))
            }
            Codec::Mp3 => "mp3".into(),
            Codec::Opus { .. } => "opus".into(),
            Codec::Flac { .. } => "flac".into(),
            Codec::Vorbis { .. } => "vorbis".into(),
            Codec::Ac3 { .. } => "ac-3".into(),
            Codec::Eac3 { .. } => "ec-3".into(),
        }
    }

    /// The type for `addSourceBuffer`.
    pub(crate) fn mime(&self, support: Support) -> String {
        let kind = if self.kind() == Kind::Video { "video" } else { "audio" };
        match self.packing(support) {
            Packing::Mp4 => format!("{kind}/mp4; codecs=\"{}\"", self.string()),
            Packing::WebM => format!("{kind}/webm; codecs=\"{}\"", self.string()),
            Packing::Raw => "audio/mpeg".into(),
        }
    }
}

/// AV1-ISOBMFF §5: `av01.P.LLT.DD`; the optional colour fields are left to the stream.
fn av1_string(config: &[u8]) -> String {
    let at = |i: usize| config.get(i).copied().unwrap_or(0);
    let (profile, level) = (at(1) >> 5, at(1) & 0x1f);
    let tier = if at(2) & 0x80 != 0 { 'H' } else { 'M' };
    let (high, twelve) = (at(2) & 0x40 != 0, at(2) & 0x20 != 0);
    let depth = match (high, twelve && profile == 2) {
        (false, _) => 8,
        (true, false) => 10,
        (true, true) => 12,
    };
    let mut out = String::new();
    let _ = write!(out, "av01.{profile}.{level:02}{tier}.{depth:02}");
    out
}

/// FLAC §8.2 STREAMINFO: sample rate, channels, bits per sample and the largest block in samples.
pub(crate) struct FlacInfo {
    pub sample_rate: u32,
    pub channels: u32,
    pub sample_bits: u32,
    /// Largest block in samples, and whether all are that long.
    pub max_block: u32,
    pub same_blocks: bool,
    pub total_samples: u64,
}

/// `streaminfo` is the 34 bytes after the metadata block header.
pub(crate) fn flac_info(streaminfo: &[u8]) -> Option<FlacInfo> {
    let s: &[u8; 34] = streaminfo.get(..34)?.try_into().ok()?;
    Some(FlacInfo {
        sample_rate: u32::from(s[10]) << 12 | u32::from(s[11]) << 4 | u32::from(s[12]) >> 4,
        channels: u32::from(s[12] >> 1 & 7) + 1,
        sample_bits: (u32::from(s[12] & 1) << 4 | u32::from(s[13] >> 4)) + 1,
        same_blocks: s[..2] == s[2..4],
        max_block: u32::from(s[2]) << 8 | u32::from(s[3]),
        total_samples: u64::from(s[13] & 15) << 32 | u64::from(u32::from_be_bytes([s[14], s[15], s[16], s[17]])),
    })
    .filter(|info| info.sample_rate > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_picture_that_is_cut_off_the_whole_units_count() {
        let avc = |size: u8| Codec::Avc { config: vec![1, 0x64, 0, 0x1e, 0xfc | (size - 1)].into(), in_band: false };
        let two = [0, 0, 0, 2, 0x65, 1, 0, 0, 0, 1, 0x41];
        assert_eq!(avc(4).whole_units(&two), two.len());
        assert_eq!(avc(4).whole_units(&two[..10]), 6);
        assert_eq!(avc(4).whole_units(&two[..8]), 6);
        assert_eq!(avc(4).whole_units(&[0x7f, 0xff, 0xff, 0xff, 0x65]), 0);
        assert_eq!(avc(4).whole_units(&[0, 0, 0, 1, 0x65, 0, 0, 0, 0, 0, 0]), 9);
        assert_eq!(avc(2).whole_units(&[0, 2, 0x65, 1, 0, 1, 0x41]), 7);
        assert_eq!(avc(1).whole_units(&[2, 0x65, 1, 3, 0x41]), 3);
        let mut hvcc = vec![0; 23];
        hvcc[21] = 0xfe;
        assert_eq!(Codec::Hevc { config: hvcc.into(), in_band: false }.whole_units(&[0, 0, 1, 0x40, 0, 0, 2, 1]), 4);
        assert_eq!(Codec::Vp8.whole_units(&two), two.len());
    }

    #[test]
    fn codec_strings_are_those_of_the_registries() {
        let avc = Codec::Avc { config: Bytes::from_static(&[1, 0x64, 0, 0x1e, 0xff]), in_band: false };
        assert_eq!(avc.string(), "avc1.64001E");
        assert_eq!(avc.mime(Support::default()), "video/mp4; codecs=\"avc1.64001E\"");
        let av1 = Codec::Av1 { config: Bytes::from_static(&[0x81, 0x04, 0x0c, 0]) };
        assert_eq!(av1.string(), "av01.0.04M.08");
        let ten = Codec::Av1 { config: Bytes::from_static(&[0x81, 0x0d, 0xcc, 0]) };
        assert_eq!(ten.string(), "av01.0.13H.10");
        let aac = Codec::Aac { config: Bytes::from_static(&[0x12, 0x10]) };
        assert_eq!(aac.string(), "mp4a.40.2");
        assert_eq!(Codec::Mp3.mime(Support::default()), "audio/mpeg");
        assert_eq!(Codec::Mp3.mime(Support { mp3_in_mp4: true }), "audio/mp4; codecs=\"mp3\"");
    }
}
