//! AAC: AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1).

use super::bits::Bits;

const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AacConfig {
    /// 2 LC, 5 SBR, 29 PS: as in the codec string.
    pub object_type: u32,
    /// What is heard: after SBR, where it is signalled.
    pub sample_rate: u32,
    pub channels: u32,
    /// One frame at `sample_rate`.
    pub frame_samples: u32,
}

impl AacConfig {
    pub(crate) fn parse(config: &[u8]) -> Option<AacConfig> {
        let mut bits = Bits::new(config);
        let object_type = object_type(&mut bits)?;
        let core_rate = rate(&mut bits)?;
        let channels = bits.read(4)?;
        let (mut sample_rate, mut core_type) = (core_rate, object_type);
        if object_type == 5 || object_type == 29 {
            sample_rate = rate(&mut bits)?;
            core_type = self::object_type(&mut bits)?;
        }
        // GASpecificConfig's first bit: frames of 960 samples.
        let short = matches!(core_type, 1..=4 | 6 | 7 | 17 | 19..=23) && bits.flag().unwrap_or(false);
        let core_frame: u64 = if short { 960 } else { 1024 };
        if sample_rate == 0 || core_rate == 0 {
            return None;
        }
        Some(AacConfig {
            object_type,
            sample_rate,
            channels: match channels {
                7 => 8,
                n => n,
            },
            frame_samples: (core_frame * u64::from(sample_rate) / u64::from(core_rate)) as u32,
        })
    }

    /// The two bytes for a plain ADTS stream.
    pub(crate) fn lc(object_type: u8, rate_index: u8, channels: u8) -> [u8; 2] {
        let bits = u16::from(object_type) << 11 | u16::from(rate_index) << 7 | u16::from(channels) << 3;
        bits.to_be_bytes()
    }
}

fn object_type(bits: &mut Bits) -> Option<u32> {
    match bits.read(5)? {
        31 => Some(32 + bits.read(6)?),
        plain => Some(plain),
    }
}

fn rate(bits: &mut Bits) -> Option<u32> {
    match bits.read(4)? {
        15 => bits.read(24),
        index => RATES.get(index as usize).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_explicit_sbr_configs_are_told_apart() {
        let lc = AacConfig::parse(&[0x11, 0x90]).unwrap();
        assert_eq!((lc.object_type, lc.sample_rate, lc.channels, lc.frame_samples), (2, 48_000, 2, 1024));
        let he = AacConfig::parse(&[0x2b, 0x11, 0x88, 0x00]).unwrap();
        assert_eq!((he.object_type, he.sample_rate, he.frame_samples), (5, 48_000, 2048));
        assert_eq!(AacConfig::parse(&AacConfig::lc(2, 4, 2)).unwrap().sample_rate, 44_100);
    }
}
