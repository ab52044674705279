//! What a Matroska file says before its first cluster: Info, Tracks, where the Cues are (RFC 9559 §5.1).

use super::ebml::{Body, element};
use super::ids::*;
use crate::codec::pcm::{Pcm, SampleFormat};
use crate::codec::{AacConfig, AvcConfig, Codec, HevcConfig, dops_from_head, flac_info};
use crate::demux::{About, Stream};
use crate::error::{Fault, Path};
use crate::inflate::zlib;
use crate::source::{Source, Stop};
use crate::text::{Format, short_text};
use crate::{Chapter, Kind, MediaError};
use bytes::Bytes;

/// The first read: usually all headers and the beginning of the first cluster.
const HEAD: u64 = 64 << 10;
/// Larger headers are refused; attachments and tags are skipped, not read.
pub(super) const HEADER_MAX: u64 = 16 << 20;
/// Elements looked at before the first cluster.
const TOP_MAX: usize = 1024;
const TRACKS_MAX: usize = 64;
/// A name of 60 letters in ten languages for each of a hundred chapters are 60 KB.
pub(super) const CHAPTERS_MAX: u64 = 1 << 20;
const CHAPTERS_COUNT_MAX: usize = 1000;
/// What one packed frame may unpack to: far above any sound frame or subtitle, and pictures are never packed.
const UNPACKED_MAX: usize = 4 << 20;

pub(super) struct Header {
    pub webm: bool,
    pub segment: u64,
    /// Past the segment's end, or the file's where its size is unknown.
    pub end: u64,
    /// Nanoseconds per tick.
    pub scale: u64,
    pub duration_us: Option<u64>,
    pub tracks: Vec<TrackEntry>,
    pub first_cluster: u64,
    pub cues: Option<u64>,
    /// Where chapters are that were not read yet.
    pub chapters_at: Option<u64>,
    pub about: About,
    pub encrypted: bool,
}

#[derive(Clone, Debug)]
pub(super) struct TrackEntry {
    pub number: u64,
    pub stream: Stream,
    pub default_duration_ns: Option<u64>,
    pub codec_delay_ns: u64,
    pub packing: Packing,
    /// Pictures that may precede one in decode order and follow it in display order.
    pub reorder: u32,
    /// Samples per sound frame where that never changes.
    pub frame_samples: Option<u32>,
    /// The configuration has to come from the first frame.
    pub wants_frame: Option<FromFrame>,
}

/// What was done to each frame (RFC 9559 §5.1.4.1.31).
#[derive(Clone, Debug, Default)]
pub(super) enum Packing {
    #[default]
    None,
    /// These bytes were taken off its front.
    Stripped(Bytes),
    Zlib,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FromFrame {
    Vp9,
    Ac3,
    Eac3,
}

impl TrackEntry {
    /// A frame as the decoder wants it. One that cannot be unpacked stays as it is: the decoder passes it over.
    pub(super) fn unpack(&self, data: Bytes) -> Bytes {
        match &self.packing {
            Packing::None => data,
            Packing::Stripped(prefix) => [&prefix[..], &data].concat().into(),
            Packing::Zlib => zlib(&data, UNPACKED_MAX).map_or(data, Bytes::from),
        }
    }
}

pub(super) fn sniff(head: &[u8]) -> bool {
    head.starts_with(&EBML.to_be_bytes())
}

pub(super) fn read(source: &Source) -> Result<Header, Stop> {
    let root = Path::root();
    let ebml = element(source, 0, source.len, HEAD)?.filter(|e| e.id == EBML);
    let ebml = ebml.ok_or_else(|| root.child(EBML).error(Fault::Missing, 0))?;
    let end = ebml.end.unwrap_or(u64::MAX);
    if end - ebml.body > 4096 {
        return Err(root.child(EBML).error(Fault::TooLarge, 0).into());
    }
    let mut inside = Body::new(source.get(ebml.body..end, root.child(EBML))?, ebml.body, root.child(EBML));
    let mut webm = false;
    while let Some((id, body)) = inside.child()? {
        webm |= id == DOC_TYPE && body.text() == "webm";
    }
    let segment = element(source, end, source.len, HEAD)?.filter(|e| e.id == SEGMENT);
    let segment = segment.ok_or_else(|| root.child(SEGMENT).error(Fault::Missing, end))?;
    let mut header = Header {
        webm,
        segment: segment.body,
        end: segment.end.unwrap_or(source.len).min(source.len),
        scale: 1_000_000,
        duration_us: None,
        tracks: Vec::new(),
        first_cluster: 0,
        cues: None,
        chapters_at: None,
        about: About::default(),
        encrypted: false,
    };
    header.read_top(source)?;
    Ok(header)
}

impl Header {
    fn read_top(&mut self, source: &Source) -> Result<(), Stop> {
        let path = Path::root().child(SEGMENT);
        let (mut at, mut seeks, mut ticks, mut tracks_seen) = (self.segment, Vec::new(), None, false);
        let (mut cluster, mut chapters_seen) = (None, false);
        for _ in 0..TOP_MAX {
            let Some(found) = element(source, at, self.end, HEAD)? else { break };
            if found.id == CLUSTER {
                cluster = Some(found.start);
                if tracks_seen {
                    break;
                }
                // Tracks after the clusters: only a SeekHead finds them.
                match seeks.iter().find(|(id, at)| *id == TRACKS && *at > found.start) {
                    Some((_, place)) => at = *place,
                    None => break,
                }
                continue;
            }
            let Some(end) = found.end else {
                return Err(path.child(found.id).error(Fault::BadSize, found.start).into());
            };
            match found.id {
                // Large ones (they may hold a book) are left where they are.
                CHAPTERS if end - found.body <= CHAPTERS_MAX => {
                    let path = path.child(CHAPTERS);
                    let body = Body::new(source.get(found.body..end, path)?, found.body, path);
                    let _ = chapters(body, &mut self.about.chapters);
                    chapters_seen = true;
                }
                SEEK_HEAD | INFO | TRACKS => {
                    if end - found.body > HEADER_MAX {
                        return Err(path.child(found.id).error(Fault::TooLarge, found.start).into());
                    }
                    let body =
                        Body::new(source.get(found.body..end, path.child(found.id))?, found.body, path.child(found.id));
                    match found.id {
                        // A broken SeekHead costs only the Cues.
                        SEEK_HEAD => drop(self.seek_head(body, &mut seeks)),
                        INFO => self.info(body, &mut ticks)?,
                        _ => {
                            self.tracks(body)?;
                            tracks_seen = true;
                            if cluster.is_some() {
                                break;
                            }
                        }
                    }
                }
                CUES => self.cues = Some(found.start),
                _ => {}
            }
            at = end;
        }
        if !tracks_seen {
            return Err(path.child(TRACKS).error(Fault::Missing, at.min(source.len)).into());
        }
        self.first_cluster = cluster.ok_or_else(|| path.child(CLUSTER).error(Fault::Missing, at.min(source.len)))?;
        let named = |wanted: u32| seeks.iter().find(|(id, _)| *id == wanted).map(|(_, at)| *at);
        self.cues = self.cues.or(named(CUES));
        self.chapters_at = named(CHAPTERS).filter(|_| !chapters_seen);
        self.about.unfinished = self.chapters_at.is_some();
        self.duration_us =
            ticks.filter(|t: &f64| t.is_finite() && *t > 0.0).map(|t| (t * self.scale as f64 / 1000.0) as u64);
        for track in &mut self.tracks {
            track.stream.timeline = Default::default();
        }
        Ok(())
    }

    fn seek_head(&self, mut body: Body, seeks: &mut Vec<(u32, u64)>) -> Result<(), MediaError> {
        while let Some((id, mut seek)) = body.child()? {
            if id != SEEK || seeks.len() > 64 {
                continue;
            }
            let (mut target, mut at) = (0, None);
            while let Some((id, value)) = seek.child()? {
                match id {
                    SEEK_ID => target = value.number()? as u32,
                    SEEK_POSITION => at = Some(self.segment.saturating_add(value.number()?)),
                    _ => {}
                }
            }
            seeks.extend(at.filter(|at| *at < self.end).map(|at| (target, at)));
        }
        Ok(())
    }

    fn info(&mut self, mut body: Body, ticks: &mut Option<f64>) -> Result<(), MediaError> {
        while let Some((id, value)) = body.child()? {
            match id {
                // A second per tick is more than any writer uses.
                TIMESTAMP_SCALE => self.scale = value.number()?.clamp(1, 1_000_000_000),
                DURATION => *ticks = Some(value.float()?),
                TITLE => self.about.title = short_text(&value.bytes()),
                _ => {}
            }
        }
        Ok(())
    }

    fn tracks(&mut self, mut body: Body) -> Result<(), MediaError> {
        let mut first_error = None;
        while let Some((id, entry)) = body.child()? {
            if id != TRACK_ENTRY || self.tracks.len() >= TRACKS_MAX {
                continue;
            }
            match track(entry, &mut self.encrypted) {
                Ok(Some(track)) => self.tracks.push(track),
                Ok(None) => {}
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        match first_error {
            Some(error) if self.tracks.is_empty() => Err(error),
            _ => Ok(()),
        }
    }
}

fn track(mut entry: Body, encrypted: &mut bool) -> Result<Option<TrackEntry>, MediaError> {
    let mut out = TrackEntry {
        number: 0,
        // Pictures are timed in microseconds, sound in samples.
        stream: Stream::new(Kind::Text, 1_000_000),
        default_duration_ns: None,
        codec_delay_ns: 0,
        packing: Packing::None,
        reorder: 0,
        frame_samples: None,
        wants_frame: None,
    };
    let mut bits = 16;
    let (mut codec_id, mut private, mut readable) = (String::new(), Bytes::new(), true);
    out.stream.language = Some("eng".into());
    while let Some((id, value)) = entry.child()? {
        let stream = &mut out.stream;
        match id {
            TRACK_NUMBER => out.number = value.number()?,
            TRACK_TYPE => {
                stream.kind = match value.number()? {
                    1 => Kind::Video,
                    2 => Kind::Audio,
                    17 => Kind::Text,
                    _ => return Ok(None),
                }
            }
            FLAG_DEFAULT => stream.default = value.number()? != 0,
            FLAG_FORCED => stream.forced = value.number()? != 0,
            DEFAULT_DURATION => {
                out.default_duration_ns = Some(value.number()?).filter(|d| (1..10_000_000_000).contains(d))
            }
            NAME => stream.name = Some(value.text()),
            LANGUAGE | LANGUAGE_BCP47 => stream.language = Some(value.text()).filter(|l| l != "und" && !l.is_empty()),
            CODEC_ID => codec_id = value.text(),
            CODEC_PRIVATE => private = value.bytes(),
            CODEC_DELAY => out.codec_delay_ns = value.number()?.min(10_000_000_000),
            VIDEO => video(value, stream)?,
            AUDIO => audio(value, stream, &mut bits)?,
            CONTENT_ENCODINGS => readable = encodings(value, &mut out.packing, encrypted)?,
            _ => {}
        }
    }
    out.stream.codec_name = codec_id.clone();
    if readable {
        out.stream.text = text(&codec_id).filter(|_| out.stream.kind == Kind::Text);
        codec(&codec_id, private, &mut out);
        // What is packed cannot be cut into frames before it is here.
        if let Some((format, big_endian)) = raw(&codec_id, bits).filter(|_| matches!(out.packing, Packing::None)) {
            let Stream { channels, sample_rate, .. } = out.stream;
            out.stream.set_pcm(Pcm { format, big_endian, channels, sample_rate });
        }
    }
    if out.stream.kind == Kind::Audio {
        out.stream.timescale = out.stream.sample_rate.max(1);
        if out.stream.sample_rate == 0 {
            out.stream.codec = None;
        }
    }
    let kind = out.stream.kind;
    out.stream.codec = out.stream.codec.filter(|c| c.kind() == kind);
    Ok(Some(out))
}

fn video(mut body: Body, stream: &mut Stream) -> Result<(), MediaError> {
    let (mut shown, mut unit) = ((0, 0), 0);
    while let Some((id, value)) = body.child()? {
        let number = || value.number().map(|n| n.min(65_535) as u32);
        match id {
            PIXEL_WIDTH => stream.width = number()?,
            PIXEL_HEIGHT => stream.height = number()?,
            DISPLAY_WIDTH => shown.0 = number()?,
            DISPLAY_HEIGHT => shown.1 = number()?,
            DISPLAY_UNIT => unit = number()?,
            _ => {}
        }
    }
    // Pixels, centimetres, inches or a ratio: the shape is the same.
    if unit <= 3 && shown.0 > 0 && shown.1 > 0 {
        let (across, down) = (shown.0 * stream.height, shown.1.saturating_mul(stream.width));
        let common = divisor(across, down).max(1);
        if across > 0 && down > 0 {
            stream.pixel_aspect = (across / common, down / common);
        }
    }
    Ok(())
}

fn divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { divisor(b, a % b) }
}

fn audio(mut body: Body, stream: &mut Stream, bits: &mut u64) -> Result<(), MediaError> {
    let (mut rate, mut output) = (8000.0, None);
    stream.channels = 1;
    while let Some((id, value)) = body.child()? {
        match id {
            SAMPLING_FREQUENCY => rate = value.float()?,
            OUTPUT_SAMPLING_FREQUENCY => output = Some(value.float()?),
            BIT_DEPTH => *bits = value.number()?,
            CHANNELS => stream.channels = value.number()?.min(255) as u32,
            _ => {}
        }
    }
    let rate = output.unwrap_or(rate);
    stream.sample_rate = if (1.0..=768_000.0).contains(&rate) { rate as u32 } else { 0 };
    Ok(())
}

/// Whether we can undo them: one that is neither bzlib nor lzo (nobody writes those) nor over the CodecPrivate alone.
fn encodings(mut body: Body, packing: &mut Packing, encrypted: &mut bool) -> Result<bool, MediaError> {
    let (mut readable, mut count) = (true, 0);
    while let Some((id, mut encoding)) = body.child()? {
        if id != CONTENT_ENCODING {
            continue;
        }
        count += 1;
        while let Some((id, mut value)) = encoding.child()? {
            if id == CONTENT_ENCODING_SCOPE {
                readable &= value.number()? == 1;
            }
            if id == CONTENT_ENCRYPTION {
                (*encrypted, readable) = (true, false);
            }
            if id != CONTENT_COMPRESSION {
                continue;
            }
            let (mut algorithm, mut settings) = (0, Bytes::new());
            while let Some((id, setting)) = value.child()? {
                match id {
                    CONTENT_COMP_ALGO => algorithm = setting.number()?,
                    CONTENT_COMP_SETTINGS => settings = setting.bytes(),
                    _ => {}
                }
            }
            *packing = if algorithm == 3 { Packing::Stripped(settings) } else { Packing::Zlib };
            readable &= algorithm == 3 || algorithm == 0;
        }
    }
    Ok(readable && count <= 1)
}

/// RFC 9559's registry of subtitle codecs, and what WebM calls them.
fn text(id: &str) -> Option<Format> {
    Some(match id {
        "S_TEXT/UTF8" | "S_TEXT/ASCII" => Format::Srt,
        "S_TEXT/ASS" | "S_TEXT/SSA" | "S_ASS" | "S_SSA" => Format::Ass,
        "S_TEXT/WEBVTT" => Format::WebVtt,
        "D_WEBVTT/SUBTITLES" | "D_WEBVTT/CAPTIONS" => Format::WebmVtt,
        _ => return None,
    })
}

/// The first edition's chapters that people see. Times count as the file counts, in microseconds.
pub(super) fn chapters(mut body: Body, out: &mut Vec<Chapter>) -> Result<(), MediaError> {
    while let Some((id, mut edition)) = body.child()? {
        if id != EDITION_ENTRY || !out.is_empty() {
            continue;
        }
        while let Some((id, mut atom)) = edition.child()? {
            if id != CHAPTER_ATOM || out.len() >= CHAPTERS_COUNT_MAX {
                continue;
            }
            let (mut start_us, mut title, mut hidden) = (0, String::new(), false);
            while let Some((id, mut value)) = atom.child()? {
                match id {
                    CHAPTER_TIME_START => start_us = value.number()? / 1000,
                    CHAPTER_FLAG_HIDDEN => hidden = value.number()? != 0,
                    CHAPTER_DISPLAY if title.is_empty() => {
                        while let Some((id, value)) = value.child()? {
                            if id == CHAP_STRING {
                                title = value.text();
                            }
                        }
                    }
                    _ => {}
                }
            }
            if !hidden {
                out.push(Chapter { start_us, title });
            }
        }
    }
    Ok(())
}

/// Codec mappings: RFC 9559's codec registry and the codecs' own pages.
fn codec(id: &str, private: Bytes, out: &mut TrackEntry) {
    let codec = match id {
        "V_MPEG4/ISO/AVC" => AvcConfig::parse(&private).map(|avc| {
            out.reorder = avc.reorder;
            Codec::Avc { config: private, in_band: false }
        }),
        "V_MPEGH/ISO/HEVC" => HevcConfig::parse(&private).map(|hevc| {
            out.reorder = hevc.reorder;
            // Parameter sets may also come in the samples (`hev1`), which MediaSource takes under either name.
            Codec::Hevc { config: private, in_band: false }
        }),
        "V_AV1" => (private.len() >= 4).then_some(Codec::Av1 { config: private }),
        "V_VP9" => {
            out.wants_frame = Some(FromFrame::Vp9);
            None
        }
        "V_VP8" => Some(Codec::Vp8),
        "A_OPUS" => {
            out.stream.sample_rate = 48_000;
            dops_from_head(&private).map(|config| Codec::Opus { config })
        }
        "A_VORBIS" => (!private.is_empty()).then_some(Codec::Vorbis { config: private }),
        "A_FLAC" => flac(&private, out),
        "A_MPEG/L3" => {
            out.frame_samples = Some(if out.stream.sample_rate >= 32_000 { 1152 } else { 576 });
            Some(Codec::Mp3)
        }
        "A_AC3" => {
            (out.wants_frame, out.frame_samples) = (Some(FromFrame::Ac3), Some(1536));
            None
        }
        "A_EAC3" => {
            out.wants_frame = Some(FromFrame::Eac3);
            None
        }
        id if id.starts_with("A_AAC") => aac(id, private, out),
        _ => None,
    };
    out.stream.codec = codec;
}

/// Raw sound, and whether its bytes come highest first.
fn raw(id: &str, bits: u64) -> Option<(SampleFormat, bool)> {
    Some(match (id, bits) {
        ("A_PCM/INT/LIT" | "A_PCM/INT/BIG", 8) => (SampleFormat::U8, false),
        ("A_PCM/INT/LIT" | "A_PCM/INT/BIG", 16) => (SampleFormat::S16, id.ends_with('G')),
        ("A_PCM/INT/LIT" | "A_PCM/INT/BIG", 24) => (SampleFormat::S24, id.ends_with('G')),
        ("A_PCM/INT/LIT" | "A_PCM/INT/BIG", 32) => (SampleFormat::S32, id.ends_with('G')),
        ("A_PCM/FLOAT/IEEE", 32) => (SampleFormat::F32, false),
        ("A_PCM/FLOAT/IEEE", 64) => (SampleFormat::F64, false),
        _ => return None,
    })
}

fn flac(private: &Bytes, out: &mut TrackEntry) -> Option<Codec> {
    let blocks = private.strip_prefix(b"fLaC").unwrap_or(private);
    let info = flac_info(blocks.get(4..)?)?;
    (out.stream.sample_rate, out.stream.channels) = (info.sample_rate, info.channels);
    out.stream.sample_bits = info.sample_bits;
    out.frame_samples = Some(info.max_block).filter(|_| info.same_blocks);
    // STREAMINFO alone, marked as the last block.
    let mut config = blocks.get(..38)?.to_vec();
    config[0] = 0x80;
    Some(Codec::Flac { config: config.into() })
}

/// With AudioSpecificConfig, or from the old ids that name the profile instead (`A_AAC/MPEG4/LC/SBR`).
fn aac(id: &str, private: Bytes, out: &mut TrackEntry) -> Option<Codec> {
    let mut config = private;
    if config.is_empty() {
        let index = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000];
        let rate = if id.ends_with("SBR") { out.stream.sample_rate / 2 } else { out.stream.sample_rate };
        let index = index.iter().position(|r| *r == rate)? as u8;
        let object = if id.contains("/MAIN") { 1 } else { 2 };
        config = Bytes::copy_from_slice(&AacConfig::lc(object, index, out.stream.channels.min(15) as u8));
    }
    let aac = AacConfig::parse(&config).filter(|_| config.len() <= 64)?;
    // SBR that only the container mentions doubles the rate.
    let implicit = u64::from(out.stream.sample_rate) == 2 * u64::from(aac.sample_rate);
    out.frame_samples = Some(if implicit { aac.frame_samples * 2 } else { aac.frame_samples });
    if !implicit {
        out.stream.sample_rate = aac.sample_rate;
    }
    if aac.channels > 0 {
        out.stream.channels = aac.channels;
    }
    Some(Codec::Aac { config })
}
