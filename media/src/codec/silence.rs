//! Frames that sound like nothing, for films whose sound begins after the picture, ends before it or has holes: MediaSource would wait
//! for more, and Chromium plays what comes after a hole too early.

use super::opus::packet_samples;
use super::pcm::{own_samples, silent_frame};
use super::{AacConfig, Codec, mp3_header};
use bytes::Bytes;

/// One frame and how many samples it lasts; `None` where we know of none.
pub(crate) fn silence(codec: &Codec, channels: u32) -> Option<(Bytes, u32)> {
    let frame: &'static [u8] = match codec {
        Codec::Aac { config } => {
            let aac = AacConfig::parse(config).filter(|aac| aac.object_type == 2 && aac.frame_samples == 1024)?;
            let frame = aac_frame(aac.channels)?;
            return Some((Bytes::from_static(frame), 1024));
        }
        // 20 ms of CELT, full band (RFC 6716 §3.1).
        Codec::Opus { .. } if channels == 1 => &[0xf8, 0xff, 0xfe],
        Codec::Opus { .. } if channels == 2 => &[0xfc, 0xff, 0xfe],
        Codec::Flac { config } => return silent_frame(config),
        _ => return None,
    };
    Some((Bytes::from_static(frame), 960))
}

/// The same to go before or after this frame, and how many samples the frame itself lasts.
pub(crate) fn silence_beside(codec: &Codec, channels: u32, frame: &Bytes) -> Option<(Bytes, u32, u32)> {
    if let Codec::Mp3 = codec {
        return silent_mp3(frame);
    }
    let (silent, samples) = silence(codec, channels)?;
    let own = match codec {
        Codec::Opus { .. } => packet_samples(frame),
        Codec::Flac { .. } => own_samples(frame).unwrap_or(samples),
        _ => samples,
    };
    (own > 0).then_some((silent, samples, own))
}

/// Its header, without the checksum, and nothing else: no bits of any channel (ISO/IEC 11172-3 §2.4.1.7).
fn silent_mp3(frame: &[u8]) -> Option<(Bytes, u32, u32)> {
    let samples = mp3_header(frame)?.samples;
    let mut out = vec![0; frame.len()];
    out[..4].copy_from_slice(&frame[..4]);
    out[1] |= 1;
    Some((out.into(), samples, samples))
}

/// Raw data blocks whose channels are all zero (ISO/IEC 14496-3 §4.4.2.1), as libfdk writes them.
fn aac_frame(channels: u32) -> Option<&'static [u8]> {
    Some(match channels {
        1 => &[0x00, 0xc8, 0x00, 0x80, 0x23, 0x80],
        2 => &[0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80],
        3 => &[0x00, 0xc8, 0x00, 0x80, 0x20, 0x84, 0x01, 0x26, 0x40, 0x08, 0x64, 0x00, 0x8e],
        6 => &[
            0x00, 0xc8, 0x00, 0x80, 0x20, 0x84, 0x01, 0x26, 0x40, 0x08, 0x64, 0x00, 0x82, 0x30, 0x04, 0x99, 0x00, 0x21,
            0x90, 0x02, 0x00, 0xb2, 0x00, 0x20, 0x08, 0xe0,
        ],
        _ => return None,
    })
}
