//! MPEG audio frame headers (ISO/IEC 11172-3 §2.4.1.3, 13818-3) and ADTS headers (ISO/IEC 13818-7 §6.2).

/// One frame of MP3, MP2 or ADTS as its header tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub sample_rate: u32,
    pub channels: u32,
    pub samples: u32,
    /// The whole frame in bytes, header included.
    pub size: u32,
    /// The header's own bytes (ADTS: to be left out in MP4).
    pub header: u32,
}

/// Layer III only.
pub(crate) fn mp3_header(data: &[u8]) -> Option<FrameHeader> {
    let head: &[u8; 4] = data.first_chunk()?;
    if head[0] != 0xff || head[1] & 0xe0 != 0xe0 || head[1] >> 1 & 3 != 1 {
        return None;
    }
    const RATES: [u32; 3] = [44_100, 48_000, 32_000];
    const V1: [u32; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const V2: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    // 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5.
    let version = head[1] >> 3 & 3;
    let rate = *RATES.get(usize::from(head[2] >> 2 & 3))?;
    let sample_rate = match version {
        3 => rate,
        2 => rate / 2,
        0 => rate / 4,
        _ => return None,
    };
    let table = if version == 3 { V1 } else { V2 };
    let kilobits = *table.get(usize::from(head[2] >> 4))?;
    let padding = u32::from(head[2] >> 1 & 1);
    let samples = if version == 3 { 1152 } else { 576 };
    let size = samples / 8 * kilobits * 1000 / sample_rate + padding;
    let channels = if head[3] >> 6 == 3 { 1 } else { 2 };
    (kilobits > 0).then_some(FrameHeader { sample_rate, channels, samples, size, header: 0 })
}

/// With the two bytes of AudioSpecificConfig that say the same.
pub(crate) fn adts_header(data: &[u8]) -> Option<(FrameHeader, [u8; 2])> {
    let head: &[u8; 7] = data.first_chunk()?;
    if head[0] != 0xff || head[1] & 0xf6 != 0xf0 {
        return None;
    }
    const RATES: [u32; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
    let (object, rate_index) = ((head[2] >> 6) + 1, head[2] >> 2 & 15);
    let sample_rate = *RATES.get(usize::from(rate_index))?;
    let channels = (head[2] & 1) << 2 | head[3] >> 6;
    let size = u32::from(head[3] & 3) << 11 | u32::from(head[4]) << 3 | u32::from(head[5]) >> 5;
    let header = if head[1] & 1 == 1 { 7 } else { 9 };
    let blocks = u32::from(head[6] & 3) + 1;
    let config = super::AacConfig::lc(object, rate_index, channels);
    let frame = FrameHeader { sample_rate, channels: u32::from(channels), samples: 1024 * blocks, size, header };
    (size > header && blocks == 1).then_some((frame, config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_give_size_and_length() {
        let mp3 = mp3_header(&[0xff, 0xfb, 0x90, 0x64]).unwrap();
        assert_eq!((mp3.sample_rate, mp3.channels, mp3.samples, mp3.size), (44_100, 2, 1152, 417));
        let (adts, config) = adts_header(&[0xff, 0xf1, 0x4c, 0x80, 0x2e, 0x7f, 0xfc]).unwrap();
        assert_eq!((adts.sample_rate, adts.size, adts.header, config), (48_000, 371, 7, [0x11, 0x90]));
        assert!(mp3_header(&[0xff, 0xfb, 0xf0, 0]).is_none() && adts_header(&[0xff; 7]).is_none());
    }
}
