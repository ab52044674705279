//! Sound that MediaSource does not take but a decoder does: it leaves as FLAC of two channels, frame by frame.

use crate::codec::Codec;
use crate::codec::pcm::{FlacWriter, Pcm, SampleFormat};
use crate::demux::{About, Ahead, Demuxer, Horizon, Sample, Stream, rescale};
use crate::source::{Source, Stop};
use crate::{Container, TrackId};
use bytes::Bytes;

/// What decodes AC-3 and E-AC-3 (ETSI TS 102 366): the driver has it, where the platform does not.
pub trait SoundDecoder {
    /// One frame of a track, in order. `fresh`: it does not follow the one before. `enhanced`: E-AC-3.
    fn decode(&mut self, track: TrackId, enhanced: bool, fresh: bool, frame: &[u8]) -> Decoded;
}

/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Left and right in turn, 16 bits each, little-endian.
    Samples(Vec<u8>),
    /// Not yet: [`Media::wake`](crate::Media::wake) tells when to ask again.
    Wait,
    /// It is broken: silence takes its place.
    Broken,
}

/// A demuxer whose AC-3 and E-AC-3 tracks come out as FLAC.
pub(crate) struct Decoding {
    inner: Box<dyn Demuxer>,
    streams: Vec<Stream>,
    tracks: Vec<Option<Track>>,
    decoder: Box<dyn SoundDecoder>,
}

struct Track {
    enhanced: bool,
    writer: FlacWriter,
    fresh: bool,
    /// Read, and not decoded yet.
    held: Option<Sample>,
}

const CHANNELS: u32 = 2;
/// Of an E-AC-3 sample, so that it has no more frames.
const BLOCKS: usize = 6;

impl Decoding {
    /// Around what has such tracks; anything else stays as it is.
    pub(crate) fn around(inner: Box<dyn Demuxer>, decoder: Box<dyn SoundDecoder>) -> Box<dyn Demuxer> {
        let mut streams = inner.streams().to_vec();
        let tracks: Vec<Option<Track>> = streams.iter_mut().map(Track::of).collect();
        if tracks.iter().all(Option::is_none) {
            return inner;
        }
        Box::new(Decoding { inner, streams, tracks, decoder })
    }
}

impl Track {
    fn of(stream: &mut Stream) -> Option<Track> {
        let enhanced = match stream.codec {
            Some(Codec::Ac3 { .. }) => false,
            Some(Codec::Eac3 { .. }) => true,
            _ => return None,
        };
        let format = SampleFormat::S16;
        let pcm = Pcm { format, big_endian: false, channels: CHANNELS, sample_rate: stream.sample_rate };
        let writer = FlacWriter::new(pcm)?;
        stream.codec = Some(Codec::Flac { config: writer.config() });
        (stream.channels, stream.sample_bits) = (CHANNELS, writer.bits());
        Some(Track { enhanced, writer, fresh: true, held: None })
    }

    /// The sample with its sound decoded; `None`: the decoder is not ready.
    fn decoded(
        &mut self,
        decoder: &mut dyn SoundDecoder,
        slot: usize,
        stream: &Stream,
        sample: &Sample,
    ) -> Option<Sample> {
        let unit = self.writer.frame_bytes() as usize;
        let frames = if self.enhanced { frames(&sample.data) } else { vec![&sample.data[..]] };
        let (mut raw, mut fresh) = (Vec::new(), self.fresh);
        for frame in &frames {
            match decoder.decode(TrackId(slot as u32), self.enhanced, fresh, frame) {
                Decoded::Wait => return None,
                Decoded::Samples(samples) if samples.len() >= unit => raw.extend(samples),
                _ => {
                    let samples = rescale(i64::from(sample.duration), stream.timescale, stream.sample_rate);
                    // The file says how long it is: no more than a frame of ours holds is made of that.
                    let samples = (samples / frames.len() as i64).clamp(1, i64::from(FlacWriter::BLOCK));
                    raw.resize(raw.len() + samples as usize * unit, 0);
                }
            }
            fresh = false;
        }
        self.fresh = false;
        // What is from before the film's beginning is not only said to be: Chromium plays all samples of a frame.
        let early = rescale(sample.pts.min(0).saturating_neg(), stream.timescale, stream.sample_rate);
        let early = (early as usize).saturating_mul(unit);
        if early < raw.len() {
            raw.drain(..early);
        }
        let most = FlacWriter::BLOCK as usize * unit;
        let data: Bytes = self.writer.frame(&raw[..raw.len().min(most)], 0);
        Some(Sample { data, ..sample.clone() })
    }
}

/// The frames of an E-AC-3 sample, each with those that depend on it. A sample is six blocks of sound, a frame one to six (ETSI TS 102 366,
/// annexes E and F); the decoder gives the samples of one frame only.
fn frames(data: &[u8]) -> Vec<&[u8]> {
    let (mut out, mut from, mut at) = (Vec::new(), 0, 0);
    while let Some(&[0x0b, 0x77, a, b, _, version, ..]) = data.get(at..)
        && version >> 3 > 10
        && out.len() + 1 < BLOCKS
    {
        let (depends, program) = (a >> 6 == 1, a >> 3 & 7);
        if at > from && !depends && program == 0 {
            out.push(&data[from..at]);
            from = at;
        }
        at += 2 * (usize::from(a & 7) << 8 | usize::from(b)) + 2;
    }
    out.push(&data[from..]);
    out
}

impl Demuxer for Decoding {
    fn container(&self) -> Container {
        self.inner.container()
    }

    fn streams(&self) -> &[Stream] {
        &self.streams
    }

    fn duration_us(&self) -> Option<u64> {
        self.inner.duration_us()
    }

    fn seek(&mut self, source: &Source, selected: &[usize], time_us: u64) -> Result<(), Stop> {
        for slot in selected {
            if let Some(Some(track)) = self.tracks.get_mut(*slot) {
                (track.fresh, track.held) = (true, None);
            }
        }
        self.inner.seek(source, selected, time_us)
    }

    fn next(&mut self, source: &Source, slot: usize) -> Result<Option<Sample>, Stop> {
        let (Some(Some(track)), Some(stream)) = (self.tracks.get_mut(slot), self.streams.get(slot)) else {
            return self.inner.next(source, slot);
        };
        let sample = match track.held.take() {
            Some(held) => held,
            None => match self.inner.next(source, slot)? {
                Some(sample) => sample,
                None => return Ok(None),
            },
        };
        let decoded = track.decoded(&mut *self.decoder, slot, stream, &sample);
        if decoded.is_none() {
            track.held = Some(sample);
            return Err(Stop::Idle);
        }
        Ok(decoded)
    }

    fn ahead(&self, source: &Source, selected: &[usize], horizon: Horizon) -> Vec<Ahead> {
        self.inner.ahead(source, selected, horizon)
    }

    fn about(&self) -> Option<&About> {
        self.inner.about()
    }

    fn texts_in_passing(&self) -> bool {
        self.inner.texts_in_passing()
    }

    fn fork(&self) -> Option<Box<dyn Demuxer>> {
        self.inner.fork()
    }

    fn extras(&mut self, source: &Source) -> Result<(), Stop> {
        self.inner.extras(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    struct Broken;

    impl SoundDecoder for Broken {
        fn decode(&mut self, _: TrackId, _: bool, _: bool, _: &[u8]) -> Decoded {
            Decoded::Broken
        }
    }

    #[test]
    fn an_enhanced_sample_is_cut_before_each_frame_that_depends_on_none() {
        let frame = |kind: u8, program: u8| [0x0b, 0x77, kind << 6 | program << 3, 3, 0, 16 << 3, 0, 0];
        let sample = [frame(0, 0), frame(1, 0), frame(0, 1), frame(0, 0), frame(1, 0)].concat();
        assert_eq!(frames(&sample), [&sample[..24], &sample[24..]]);
        // What is no frame, or one of AC-3, or none as long as it says, stays whole.
        for whole in [&b""[..], b"\x0b\x77", b"\x0b\x77\0\x03\0\x40\0\0\x0b\x77\0\0\0\x80", &sample[..13], &sample[1..]]
        {
            assert_eq!(frames(whole), [whole]);
        }
        assert_eq!(frames(&frame(0, 0).repeat(1000)).len(), BLOCKS);
    }

    #[test]
    fn a_broken_frame_costs_no_more_than_a_block_however_long_it_says_it_is() {
        let mut stream = Stream::new(Kind::Audio, 1);
        (stream.codec, stream.sample_rate) = (Some(Codec::Ac3 { config: Bytes::new() }), 48_000);
        let mut track = Track::of(&mut stream).expect("AC-3");
        let sample = Sample { dts: 0, pts: 0, duration: u32::MAX, sync: true, data: Bytes::from_static(b"no AC-3") };
        let silent = track.decoded(&mut Broken, 0, &stream, &sample).expect("no waiting");
        let most = FlacWriter::BLOCK * track.writer.frame_bytes() + 64;
        assert!(silent.data.len() <= most as usize, "{}", silent.data.len());
    }
}
