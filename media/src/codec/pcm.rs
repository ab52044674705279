//! Raw samples in FLAC frames (RFC 9639), stored uncompressed: the one form of PCM that MediaSource takes.

use bytes::{BufMut, Bytes, BytesMut};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SampleFormat {
    U8,
    S8,
    S16,
    S24,
    S32,
    F32,
    F64,
    /// ITU-T G.711: 16 bits in 8, as telephones and old recorders have it.
    ALaw,
    MuLaw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pcm {
    pub format: SampleFormat,
    pub big_endian: bool,
    pub channels: u32,
    pub sample_rate: u32,
}

impl Pcm {
    fn sample_bytes(self) -> u32 {
        match self.format {
            SampleFormat::U8 | SampleFormat::S8 | SampleFormat::ALaw | SampleFormat::MuLaw => 1,
            SampleFormat::S16 => 2,
            SampleFormat::S24 => 3,
            SampleFormat::S32 | SampleFormat::F32 => 4,
            SampleFormat::F64 => 8,
        }
    }

    /// One sample of every channel.
    pub(crate) fn frame_bytes(self) -> u32 {
        self.sample_bytes() * self.channels
    }

    /// What FLAC holds of it: 24 bits of wider ones, which is more than anybody hears.
    fn bits(self) -> u32 {
        match self.format {
            SampleFormat::U8 | SampleFormat::S8 => 8,
            SampleFormat::S16 | SampleFormat::ALaw | SampleFormat::MuLaw => 16,
            _ => 24,
        }
    }

    fn value(self, raw: &[u8]) -> i32 {
        let mut le = [0u8; 8];
        le[..raw.len()].copy_from_slice(raw);
        if self.big_endian {
            le[..raw.len()].reverse();
        }
        let low = i32::from_le_bytes([le[0], le[1], le[2], le[3]]);
        let full = |v: f64| (v.clamp(-1.0, 1.0) * 8_388_607.0) as i32;
        match self.format {
            SampleFormat::U8 => i32::from(le[0]) - 128,
            SampleFormat::S8 => i32::from(le[0] as i8),
            SampleFormat::S16 => i32::from(low as i16),
            SampleFormat::S24 => low << 8 >> 8,
            SampleFormat::S32 => low >> 8,
            SampleFormat::F32 => full(f64::from(f32::from_le_bytes([le[0], le[1], le[2], le[3]]))),
            SampleFormat::F64 => full(f64::from_le_bytes(le)),
            SampleFormat::ALaw => {
                let code = i32::from(le[0] ^ 0x55);
                let (step, segment) = ((code & 15) << 4 | 8, code >> 4 & 7);
                let size = if segment > 0 { (step | 0x100) << (segment - 1) } else { step };
                if code & 0x80 != 0 { size } else { -size }
            }
            SampleFormat::MuLaw => {
                let code = i32::from(!le[0]);
                let size = (((code & 15) << 3 | 0x84) << (code >> 4 & 7)) - 0x84;
                if code & 0x80 != 0 { -size } else { size }
            }
        }
    }
}

/// Writes frames of [`FlacWriter::BLOCK`] samples at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlacWriter {
    pcm: Pcm,
}

impl FlacWriter {
    pub(crate) const BLOCK: u32 = 4096;

    /// `None` where FLAC has no room for it: at most 8 channels and 655 kHz.
    pub(crate) fn new(pcm: Pcm) -> Option<FlacWriter> {
        ((1..=8).contains(&pcm.channels) && (1..=655_350).contains(&pcm.sample_rate)).then_some(FlacWriter { pcm })
    }

    pub(crate) fn frame_bytes(&self) -> u32 {
        self.pcm.frame_bytes()
    }

    pub(crate) fn bits(&self) -> u32 {
        self.pcm.bits()
    }

    /// STREAMINFO as the last metadata block (§8.2); length and checksum unknown.
    #[inline(never)]
    pub(crate) fn config(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(38);
        out.put_slice(&[0x80, 0, 0, 34]);
        out.put_u16(Self::BLOCK as u16);
        out.put_u16(Self::BLOCK as u16);
        out.put_slice(&[0; 6]);
        let packed = self.pcm.sample_rate << 12 | (self.pcm.channels - 1) << 9 | (self.bits() - 1) << 4;
        out.put_u32(packed);
        out.put_slice(&[0; 20]);
        out.freeze()
    }

    /// One frame (§9) with the given number; `raw` holds whole samples of all channels.
    #[inline(never)]
    pub(crate) fn frame(&self, raw: &[u8], number: u64) -> Bytes {
        let unit = self.pcm.frame_bytes() as usize;
        let samples = raw.len() / unit;
        let mut out = BytesMut::with_capacity(raw.len() + 64);
        out.put_slice(&[0xff, 0xf8]);
        // Length in 16 bits; the sample rate is STREAMINFO's.
        out.put_u8(0x70);
        let bits_code = match self.bits() {
            8 => 1,
            16 => 4,
            _ => 6,
        };
        out.put_u8(((self.pcm.channels as u8 - 1) << 4) | bits_code << 1);
        put_number(&mut out, number);
        out.put_u16(samples.saturating_sub(1) as u16);
        let crc = crc8(&out);
        out.put_u8(crc);
        let width = self.pcm.sample_bytes() as usize;
        for channel in 0..self.pcm.channels as usize {
            // A verbatim subframe.
            out.put_u8(0x02);
            for sample in raw.chunks_exact(unit) {
                let value = self.pcm.value(&sample[channel * width..(channel + 1) * width]);
                match self.bits() {
                    8 => out.put_u8(value as u8),
                    16 => out.put_u16(value as u16),
                    _ => out.put_slice(&value.to_be_bytes()[1..]),
                }
            }
        }
        let crc = crc16(&out);
        out.put_u16(crc);
        out.freeze()
    }
}

/// How many samples a frame of ours holds: those have their length in 16 bits and a number below 128.
pub(super) fn own_samples(frame: &[u8]) -> Option<u32> {
    let &[0xff, 0xf8, 0x70, _, 0..0x80, high, low, ..] = frame else { return None };
    Some(u32::from(u16::from_be_bytes([high, low])) + 1)
}

/// A frame of constant subframes (§9.2.1) for a stream with this configuration, as long as its blocks. Its number is
/// 0: nobody counts in MP4.
pub(super) fn silent_frame(config: &[u8]) -> Option<(Bytes, u32)> {
    let info = super::flac_info(config.get(4..)?)?;
    let code = match info.sample_bits {
        8 => 1,
        12 => 2,
        16 => 4,
        20 => 5,
        24 => 6,
        32 => 7,
        _ => return None,
    };
    let block = info.max_block.clamp(16, 65_535);
    let mut out = BytesMut::with_capacity(64);
    out.put_slice(&[0xff, 0xf8, 0x70, (info.channels as u8 - 1) << 4 | code << 1, 0]);
    out.put_u16((block - 1) as u16);
    let crc = crc8(&out);
    out.put_u8(crc);
    // A zero byte of type "constant" and the value of each channel, without gaps between them.
    let bits = info.channels * (8 + info.sample_bits);
    out.put_bytes(0, bits.div_ceil(8) as usize);
    let crc = crc16(&out);
    out.put_u16(crc);
    Some((out.freeze(), block))
}

/// §9.1.5: UTF-8 stretched to 36 bits.
fn put_number(out: &mut BytesMut, value: u64) {
    if value < 0x80 {
        return out.put_u8(value as u8);
    }
    let bits = 64 - value.leading_zeros();
    // With `more` bytes of six bits each the first has `6 - more` left.
    let more = (1..6).find(|more| bits <= 6 * more + (6 - more)).unwrap_or(6);
    let lead = !(0xffu32 >> (more + 1)) as u8;
    out.put_u8(lead | (value >> (6 * more)) as u8);
    for i in (0..more).rev() {
        out.put_u8(0x80 | (value >> (6 * i) & 0x3f) as u8);
    }
}

pub(crate) fn crc8(data: &[u8]) -> u8 {
    data.iter().fold(0, |crc, byte| (0..8).fold(crc ^ byte, |c, _| if c & 0x80 != 0 { c << 1 ^ 7 } else { c << 1 }))
}

const CRC16: [u16; 256] = {
    let mut table = [0u16; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { crc << 1 ^ 0x8005 } else { crc << 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

pub(crate) fn crc16(data: &[u8]) -> u16 {
    data.iter().fold(0, |crc, byte| crc << 8 ^ CRC16[usize::from((crc >> 8) as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: u64) -> Vec<u8> {
        let mut out = BytesMut::new();
        put_number(&mut out, value);
        out.to_vec()
    }

    #[test]
    fn frame_numbers_are_coded_like_utf_8() {
        assert_eq!(number(0x7f), [0x7f]);
        assert_eq!(number(0x80), "\u{80}".as_bytes());
        assert_eq!(number(0x7ff), "\u{7ff}".as_bytes());
        assert_eq!(number(0x800), "\u{800}".as_bytes());
        assert_eq!(number(0xffff), "\u{ffff}".as_bytes());
        assert_eq!(number(0x10000), "\u{10000}".as_bytes());
        assert_eq!(number(0x3ff_ffff), [0xfb, 0xbf, 0xbf, 0xbf, 0xbf]);
        assert_eq!(number(0x7fff_ffff), [0xfd, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf]);
    }
}
