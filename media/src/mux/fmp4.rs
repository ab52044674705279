//! Fragmented MP4, one track per file (ISO/IEC 14496-12 §8.8; the ISO BMFF byte stream format of MSE).

use super::OutSample;
use crate::Kind;
use crate::codec::{AacConfig, Codec};
use crate::demux::Stream;
use bytes::Bytes;

const TRACK_ID: u32 = 1;
const UNITY: [u32; 9] = [0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x4000_0000];
/// `sample_depends_on` 2: needs no other.
const SYNC_FLAGS: u32 = 0x0200_0000;
/// `sample_depends_on` 1, `sample_is_non_sync_sample`.
const DELTA_FLAGS: u32 = 0x0101_0000;

pub(crate) fn init(stream: &Stream, codec: &Codec) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    boxed(&mut out, b"ftyp", |b| {
        put(b, b"iso5\0\0\x02\0iso5iso6mp41");
    });
    boxed(&mut out, b"moov", |b| {
        full(b, b"mvhd", 0, 0, |b| {
            put32(b, &[0, 0, stream.timescale, 0, 0x10000, 0x0100_0000, 0, 0]);
            put32(b, &UNITY);
            put32(b, &[0, 0, 0, 0, 0, 0, TRACK_ID + 1]);
        });
        boxed(b, b"trak", |b| track(b, stream, codec));
        boxed(b, b"mvex", |b| full(b, b"trex", 0, 0, |b| put32(b, &[TRACK_ID, 1, 0, 0, 0])));
    });
    out.into()
}

fn track(b: &mut Vec<u8>, stream: &Stream, codec: &Codec) {
    let video = stream.kind == Kind::Video;
    full(b, b"tkhd", 0, 3, |b| {
        put32(b, &[0, 0, TRACK_ID, 0, 0, 0, 0, 0, if video { 0 } else { 0x0100_0000 }]);
        put32(b, &stream.matrix.unwrap_or(UNITY));
        let (across, down) = stream.pixel_aspect;
        let shown = u64::from(stream.width) * u64::from(across.max(1)) / u64::from(down.max(1));
        put32(b, &[(shown.min(0xffff) as u32) << 16, stream.height.min(0xffff) << 16]);
    });
    boxed(b, b"mdia", |b| {
        full(b, b"mdhd", 0, 0, |b| put32(b, &[0, 0, stream.timescale, 0, 0x55c4_0000]));
        full(b, b"hdlr", 0, 0, |b| {
            put32(b, &[0]);
            put(b, if video { b"vide" } else { b"soun" });
            put32(b, &[0, 0, 0]);
            b.push(0);
        });
        boxed(b, b"minf", |b| {
            if video {
                full(b, b"vmhd", 0, 1, |b| put32(b, &[0, 0]));
            } else {
                full(b, b"smhd", 0, 0, |b| put32(b, &[0]));
            }
            boxed(b, b"dinf", |b| {
                full(b, b"dref", 0, 0, |b| {
                    put32(b, &[1]);
                    full(b, b"url ", 0, 1, |_| {});
                });
            });
            boxed(b, b"stbl", |b| {
                full(b, b"stsd", 0, 0, |b| {
                    put32(b, &[1]);
                    entry(b, stream, codec);
                });
                full(b, b"stts", 0, 0, |b| put32(b, &[0]));
                full(b, b"stsc", 0, 0, |b| put32(b, &[0]));
                full(b, b"stsz", 0, 0, |b| put32(b, &[0, 0]));
                full(b, b"stco", 0, 0, |b| put32(b, &[0]));
            });
        });
    });
}

/// The sample entry with its configuration box.
fn entry(b: &mut Vec<u8>, stream: &Stream, codec: &Codec) {
    match codec {
        Codec::Avc { config, in_band } => {
            video(b, if *in_band { b"avc3" } else { b"avc1" }, stream, |b| boxed(b, b"avcC", |b| put(b, config)));
        }
        Codec::Hevc { config, in_band } => {
            video(b, if *in_band { b"hev1" } else { b"hvc1" }, stream, |b| boxed(b, b"hvcC", |b| put(b, config)));
        }
        Codec::Av1 { config } => video(b, b"av01", stream, |b| boxed(b, b"av1C", |b| put(b, config))),
        Codec::Vp9 { config } => {
            video(b, b"vp09", stream, |b| full(b, b"vpcC", 1, 0, |b| put(b, config)));
        }
        Codec::Vp8 => video(b, b"vp08", stream, |b| {
            full(b, b"vpcC", 1, 0, |b| put(b, &[0, 0, 0x82, 2, 2, 2, 0, 0]));
        }),
        Codec::Aac { config } => audio(b, b"mp4a", stream, |b| full(b, b"esds", 0, 0, |b| esds(b, config))),
        Codec::Mp3 => audio(b, b".mp3", stream, |_| {}),
        Codec::Opus { config } => audio(b, b"Opus", stream, |b| boxed(b, b"dOps", |b| put(b, config))),
        Codec::Flac { config } => {
            audio(b, b"fLaC", stream, |b| full(b, b"dfLa", 0, 0, |b| put(b, config)));
        }
        Codec::Ac3 { config } => audio(b, b"ac-3", stream, |b| boxed(b, b"dac3", |b| put(b, config))),
        Codec::Eac3 { config } => audio(b, b"ec-3", stream, |b| boxed(b, b"dec3", |b| put(b, config))),
        // Never packed in MP4 (`Codec::packing`).
        Codec::Vorbis { .. } => {}
    }
}

fn video(b: &mut Vec<u8>, kind: &[u8; 4], stream: &Stream, config: impl FnOnce(&mut Vec<u8>)) {
    boxed(b, kind, |b| {
        put32(b, &[0, 1, 0, 0, 0, 0]);
        put32(b, &[stream.width.min(0xffff) << 16 | stream.height.min(0xffff), 0x0048_0000, 0x0048_0000, 0]);
        put(b, &[0, 1]);
        b.extend_from_slice(&[0; 32]);
        put(b, &[0, 0x18, 0xff, 0xff]);
        config(b);
        if stream.pixel_aspect.0 != stream.pixel_aspect.1 {
            boxed(b, b"pasp", |b| put32(b, &[stream.pixel_aspect.0, stream.pixel_aspect.1]));
        }
        if let Some(colour) = &stream.colour {
            boxed(b, b"colr", |b| put(b, colour));
        }
    });
}

fn audio(b: &mut Vec<u8>, kind: &[u8; 4], stream: &Stream, config: impl FnOnce(&mut Vec<u8>)) {
    boxed(b, kind, |b| {
        // 16.16, so that rates above 65535 Hz are left to the configuration (§12.2.3.2).
        let rate = if stream.sample_rate > 0xffff { 0 } else { stream.sample_rate << 16 };
        put32(b, &[0, 1, 0, 0, stream.channels.clamp(1, 0xffff) << 16 | stream.sample_bits, 0, rate]);
        config(b);
    });
}

/// ES_Descriptor (ISO/IEC 14496-1 §7.2.6.5) around an AudioSpecificConfig.
fn esds(b: &mut Vec<u8>, config: &[u8]) {
    // Configs longer than this are no AAC (`AacConfig` needs 2 to about 40 bytes); the lengths stay one byte.
    let config = &config[..config.len().min(64)];
    let len = config.len() as u8;
    put(b, &[3, 23 + len, 0, TRACK_ID as u8, 0, 4, 15 + len, 0x40, 0x15, 0, 0, 0]);
    put32(b, &[0, 0]);
    put(b, &[5, len]);
    put(b, config);
    put(b, &[6, 1, 2]);
    debug_assert!(AacConfig::parse(config).is_some());
}

/// One `moof` and `mdat`.
pub(crate) fn segment(sequence: u32, samples: &[OutSample]) -> Bytes {
    let payload: usize = samples.iter().map(|s| s.data.len()).sum();
    let video = samples.iter().any(|s| !s.sync || s.pts != s.dts);
    let mut out = Vec::with_capacity(payload + samples.len() * 16 + 128);
    let mut data_offset_at = 0;
    boxed(&mut out, b"moof", |b| {
        full(b, b"mfhd", 0, 0, |b| put32(b, &[sequence]));
        boxed(b, b"traf", |b| {
            // default-base-is-moof; sound needs no more than the defaults say.
            full(b, b"tfhd", 0, 0x02_0020, |b| put32(b, &[TRACK_ID, SYNC_FLAGS]));
            full(b, b"tfdt", 1, 0, |b| put(b, &samples.first().map_or(0, |s| s.dts).to_be_bytes()));
            full(b, b"trun", 1, if video { 0xf01 } else { 0x301 }, |b| {
                put32(b, &[samples.len() as u32]);
                data_offset_at = b.len();
                put32(b, &[0]);
                for s in samples {
                    put32(b, &[s.duration, s.data.len() as u32]);
                    if video {
                        // Signed (version 1): a picture may be shown "before" it is decoded, as only order counts here.
                        let shown_after = (s.pts as i64 - s.dts as i64) as i32;
                        put32(b, &[if s.sync { SYNC_FLAGS } else { DELTA_FLAGS }, shown_after as u32]);
                    }
                }
            });
        });
    });
    let data_offset = (out.len() + 8) as u32;
    out[data_offset_at..data_offset_at + 4].copy_from_slice(&data_offset.to_be_bytes());
    boxed(&mut out, b"mdat", |b| samples.iter().for_each(|s| put(b, &s.data)));
    out.into()
}

// Not inlined: dozens of copies of these would be most of this file's WASM.
#[inline(never)]
fn put(b: &mut Vec<u8>, bytes: &[u8]) {
    b.extend_from_slice(bytes);
}

#[inline(never)]
fn put32(b: &mut Vec<u8>, values: &[u32]) {
    for value in values {
        put(b, &value.to_be_bytes());
    }
}

#[inline(never)]
fn begin(b: &mut Vec<u8>, kind: &[u8; 4]) -> usize {
    put(b, &[0; 4]);
    put(b, kind);
    b.len() - 8
}

#[inline(never)]
fn end(b: &mut [u8], start: usize) {
    let size = (b.len() - start) as u32;
    b[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

fn boxed(b: &mut Vec<u8>, kind: &[u8; 4], body: impl FnOnce(&mut Vec<u8>)) {
    let start = begin(b, kind);
    body(b);
    end(b, start);
}

fn full(b: &mut Vec<u8>, kind: &[u8; 4], version: u8, flags: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = begin(b, kind);
    put32(b, &[u32::from(version) << 24 | flags]);
    body(b);
    end(b, start);
}
