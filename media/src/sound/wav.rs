//! WAV and RF64 (EBU Tech 3306): raw samples. No browser takes them by MediaSource, so they leave as FLAC frames,
//! stored as they are: larger by a few bytes per 4096 samples, and exact.

use super::{Frame, Frames, SoundFile, stream};
use crate::codec::Codec;
use crate::codec::pcm::{FlacWriter, Pcm, SampleFormat};
use crate::demux::Demuxer;
use crate::error::{Fault, Path};
use crate::source::{Source, Stop};
use crate::{Container, Reason};

/// Asked for at once.
const AHEAD: u64 = 64 << 10;
/// Chunks looked at before `data`.
const CHUNKS_MAX: usize = 256;

pub(crate) fn sniff(head: &[u8]) -> bool {
    (head.starts_with(b"RIFF") || head.starts_with(b"RF64")) && head.get(8..12) == Some(b"WAVE")
}

struct Wav {
    pcm: Pcm,
    writer: FlacWriter,
    first: u64,
    end: u64,
}

pub(crate) fn open(source: &Source) -> Result<Box<dyn Demuxer>, Stop> {
    let path = Path::root();
    let (mut at, mut pcm, mut wide_data) = (12, None, None);
    for _ in 0..CHUNKS_MAX {
        let head = source.peek(at, 8, AHEAD)?;
        let Some(&[a, b, c, d, s0, s1, s2, s3]) = head.first_chunk() else { break };
        let size = u64::from(u32::from_le_bytes([s0, s1, s2, s3]));
        let body = at + 8;
        match &[a, b, c, d] {
            b"fmt " => {
                pcm = Some(
                    format(&source.get(body..body + size.min(40), path)?)
                        .ok_or(Stop::Refuse(Reason::NoPlayableTrack))?,
                )
            }
            b"ds64" => {
                let sizes = source.get(body..body + 16, path)?;
                wide_data = sizes[8..16].first_chunk::<8>().map(|b| u64::from_le_bytes(*b));
            }
            b"data" => {
                let pcm = pcm.ok_or_else(|| path.error(Fault::Missing, at))?;
                // Recorders that were cut off leave 0 or all ones.
                let said = if size == u64::from(u32::MAX) { wide_data.unwrap_or(0) } else { size };
                let end = if said == 0 { source.len } else { body.saturating_add(said).min(source.len) };
                return finish(pcm, body, end);
            }
            _ => {}
        }
        at = body + size + size % 2;
    }
    Err(path.error(Fault::Missing, at.min(source.len)).into())
}

fn finish(pcm: Pcm, first: u64, end: u64) -> Result<Box<dyn Demuxer>, Stop> {
    let writer = FlacWriter::new(pcm).ok_or(Stop::Refuse(Reason::NoPlayableTrack))?;
    let mut track = stream(pcm.sample_rate, pcm.channels);
    track.sample_bits = writer.bits();
    track.codec = Some(Codec::Flac { config: writer.config() });
    let samples = (end.saturating_sub(first) / u64::from(pcm.frame_bytes())) as i64;
    Ok(Box::new(SoundFile::new(Wav { pcm, writer, first, end }, Container::Wav, track, first, 0, Some(samples))))
}

/// WAVEFORMATEX.
fn format(fmt: &[u8]) -> Option<Pcm> {
    let u16_at = |i: usize| fmt.get(i..i + 2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    let channels = u32::from(u16_at(2)?);
    let sample_rate = u32::from_le_bytes(fmt.get(4..8)?.try_into().ok()?);
    let bits = u16_at(14)?;
    // WAVE_FORMAT_EXTENSIBLE: the real tag begins its GUID.
    let tag = if u16_at(0)? == 0xfffe { u16_at(24)? } else { u16_at(0)? };
    let format = match (tag, bits) {
        (1, 8) => SampleFormat::U8,
        (1, 16) => SampleFormat::S16,
        (1, 24) => SampleFormat::S24,
        (1, 32) => SampleFormat::S32,
        (6, 8) => SampleFormat::ALaw,
        (7, 8) => SampleFormat::MuLaw,
        (3, 32) => SampleFormat::F32,
        (3, 64) => SampleFormat::F64,
        _ => return None,
    };
    Some(Pcm { format, big_endian: false, channels, sample_rate })
}

impl Frames for Wav {
    fn frame(&mut self, source: &Source, at: u64) -> Result<Option<Frame>, Stop> {
        let unit = u64::from(self.pcm.frame_bytes());
        let samples = ((self.end.saturating_sub(at)) / unit).min(u64::from(FlacWriter::BLOCK));
        if samples == 0 {
            return Ok(None);
        }
        let position = (at - self.first) / unit;
        let bytes = source.get(at..at + samples * unit, Path::root())?;
        let data = self.writer.frame(&bytes, position / u64::from(FlacWriter::BLOCK));
        Ok(Some(Frame { data, samples: samples as u32, next: at + samples * unit, position: Some(position as i64) }))
    }

    fn place(&mut self, _: &Source, position: i64) -> Result<(u64, i64), Stop> {
        // Frame numbers count blocks of equal length: only multiples of it are places.
        let position = position.max(0) / i64::from(FlacWriter::BLOCK) * i64::from(FlacWriter::BLOCK);
        let bytes = (position as u64).saturating_mul(u64::from(self.pcm.frame_bytes()));
        Ok((self.first.saturating_add(bytes).min(self.end), position))
    }
}
