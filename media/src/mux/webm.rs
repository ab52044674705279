//! WebM, one track per file (the WebM byte stream format of MSE), for what MediaSource takes in no other form.

use super::OutSample;
use crate::Kind;
use crate::codec::Codec;
use crate::demux::{Stream, us};
use bytes::Bytes;

const TRACK: u8 = 1;
/// A block's time is a signed 16-bit distance from its cluster's, in milliseconds.
const CLUSTER_MS_MAX: u64 = 30_000;

pub(crate) fn init(stream: &Stream, codec: &Codec) -> Bytes {
    let mut out = Vec::with_capacity(512);
    master(&mut out, &[0x1a, 0x45, 0xdf, 0xa3], |b| {
        number(b, &[0x42, 0x86], 1);
        number(b, &[0x42, 0xf7], 1);
        number(b, &[0x42, 0xf2], 4);
        number(b, &[0x42, 0xf3], 8);
        binary(b, &[0x42, 0x82], b"webm");
        number(b, &[0x42, 0x87], 4);
        number(b, &[0x42, 0x85], 2);
    });
    // Segment of unknown size.
    out.extend_from_slice(&[0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    master(&mut out, &[0x15, 0x49, 0xa9, 0x66], |b| {
        number(b, &[0x2a, 0xd7, 0xb1], 1_000_000);
        binary(b, &[0x4d, 0x80], b"baton");
        binary(b, &[0x57, 0x41], b"baton");
    });
    master(&mut out, &[0x16, 0x54, 0xae, 0x6b], |b| {
        master(b, &[0xae], |b| {
            number(b, &[0xd7], u64::from(TRACK));
            number(b, &[0x73, 0xc5], u64::from(TRACK));
            number(b, &[0x9c], 0);
            number(b, &[0x83], if stream.kind == Kind::Video { 1 } else { 2 });
            match codec {
                Codec::Vp8 => binary(b, &[0x86], b"V_VP8"),
                Codec::Vorbis { config } => {
                    binary(b, &[0x86], b"A_VORBIS");
                    binary(b, &[0x63, 0xa2], config);
                }
                // Everything else goes into MP4 (`Codec::packing`).
                _ => {}
            }
            if stream.kind == Kind::Video {
                master(b, &[0xe0], |b| {
                    number(b, &[0xb0], u64::from(stream.width));
                    number(b, &[0xba], u64::from(stream.height));
                    let (across, down) = stream.pixel_aspect;
                    if across != down {
                        let shown = u64::from(stream.width) * u64::from(across) / u64::from(down.max(1));
                        number(b, &[0x54, 0xb0], shown.max(1));
                        number(b, &[0x54, 0xba], u64::from(stream.height));
                    }
                });
            } else {
                master(b, &[0xe1], |b| {
                    binary(b, &[0xb5], &f64::from(stream.sample_rate).to_be_bytes());
                    number(b, &[0x9f], u64::from(stream.channels.max(1)));
                });
            }
        });
    });
    out.into()
}

/// Clusters of known size. The last block of each carries its duration: MediaSource would guess it otherwise.
pub(crate) fn segment(stream: &Stream, samples: &[OutSample]) -> Bytes {
    let ms = |ticks: u64| (us(ticks as i64, stream.timescale) as u64 + 500) / 1000;
    let payload: usize = samples.iter().map(|s| s.data.len() + 16).sum();
    let mut out = Vec::with_capacity(payload + 64);
    let mut rest = samples;
    while let Some(first) = rest.first() {
        let start = ms(first.pts);
        let fits = |s: &&OutSample| ms(s.pts).abs_diff(start) < CLUSTER_MS_MAX;
        let (cluster, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        rest = later;
        master(&mut out, &[0x1f, 0x43, 0xb6, 0x75], |b| {
            number(b, &[0xe7], start);
            for (i, sample) in cluster.iter().enumerate() {
                let at = (ms(sample.pts) as i64 - start as i64) as i16;
                let flags = if sample.sync { 0x80 } else { 0 };
                if i + 1 < cluster.len() {
                    element(b, &[0xa3], 4 + sample.data.len());
                    block(b, at, flags, &sample.data);
                } else {
                    master(b, &[0xa0], |b| {
                        element(b, &[0xa1], 4 + sample.data.len());
                        block(b, at, 0, &sample.data);
                        let end = ms(sample.pts + u64::from(sample.duration));
                        number(b, &[0x9b], end.saturating_sub(ms(sample.pts)));
                        if !sample.sync {
                            // Any reference marks it as no key frame: one millisecond back.
                            b.extend_from_slice(&[0xfb, 0x81, 0xff]);
                        }
                    });
                }
            }
        });
    }
    out.into()
}

fn block(b: &mut Vec<u8>, at: i16, flags: u8, data: &[u8]) {
    b.push(0x80 | TRACK);
    b.extend_from_slice(&at.to_be_bytes());
    b.push(flags);
    b.extend_from_slice(data);
}

/// Id and size, the latter always in eight bytes.
#[inline(never)]
fn element(b: &mut Vec<u8>, id: &[u8], size: usize) {
    b.extend_from_slice(id);
    b.extend_from_slice(&(size as u64 | 1 << 56).to_be_bytes());
}

#[inline(never)]
fn binary(b: &mut Vec<u8>, id: &[u8], data: &[u8]) {
    element(b, id, data.len());
    b.extend_from_slice(data);
}

#[inline(never)]
fn number(b: &mut Vec<u8>, id: &[u8], value: u64) {
    binary(b, id, &value.to_be_bytes());
}

fn master(b: &mut Vec<u8>, id: &[u8], body: impl FnOnce(&mut Vec<u8>)) {
    b.extend_from_slice(id);
    let start = b.len();
    b.extend_from_slice(&[0; 8]);
    body(b);
    let size = (b.len() - start - 8) as u64;
    b[start..start + 8].copy_from_slice(&(size | 1 << 56).to_be_bytes());
}
