//! The movie box (ISO/IEC 14496-12 §8.2): tracks, their edits, and the defaults for fragments.

use super::boxes::{Body, id};
use super::stsd;
use super::table::SampleTable;
use crate::demux::{About, Stream, rescale};
use crate::text::short_text;
use crate::{Chapter, Kind, MediaError};

/// Tracks that we look at; films have a handful, this many is a mistake or an attack.
const TRACKS_MAX: usize = 64;

pub(super) struct Movie {
    pub tracks: Vec<TrackBox>,
    /// In microseconds, where `mvhd` or `mehd` says it.
    pub duration_us: Option<u64>,
    pub fragmented: bool,
    /// A track was left out because its samples are encrypted.
    pub encrypted: bool,
    pub about: About,
    /// The text track that names the chapters (QuickTime), where nothing else does.
    pub chapters: Option<TrackBox>,
}

pub(super) struct TrackBox {
    pub number: u32,
    pub stream: Stream,
    pub table: SampleTable,
    pub edit: Option<Edit>,
    pub defaults: Defaults,
}

/// The first edit that shows something (§8.6.6), in the track's ticks. Later ones are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// Empty time before it.
    pub empty: i64,
    pub media_time: i64,
    /// 0: to the end.
    pub duration: i64,
}

/// `trex` (§8.8.3).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Defaults {
    pub duration: u32,
    pub size: u32,
    pub flags: u32,
}

impl Movie {
    pub(super) fn parse(mut moov: Body) -> Result<Movie, MediaError> {
        let mut mvhd = moov.need(id(b"mvhd"))?;
        let (version, _) = mvhd.full()?;
        mvhd.skip(if version == 1 { 16 } else { 8 })?;
        let timescale = mvhd.u32()?.max(1);
        let mut duration = known(mvhd.sized(version)?, version);
        let mvex = moov.find(id(b"mvex"))?;
        if let Some(mut mehd) = mvex.as_ref().and_then(|m| m.find(id(b"mehd")).ok()?) {
            let (version, _) = mehd.full()?;
            duration = known(mehd.sized(version)?, version).or(duration);
        }
        let mut movie = Movie {
            tracks: Vec::new(),
            duration_us: duration.map(|d| rescale(d as i64, timescale, 1_000_000) as u64),
            fragmented: mvex.is_some(),
            encrypted: false,
            about: about(&moov),
            chapters: None,
        };
        let mut chapter_tracks = Vec::new();
        // One broken track does not cost the others; it is named only if nothing else plays.
        let mut first_error = None;
        while let Some((kind, body)) = moov.child()? {
            if kind != id(b"trak") || movie.tracks.len() >= TRACKS_MAX {
                continue;
            }
            match track(&body, timescale) {
                Ok(Some(mut track)) => {
                    movie.encrypted |= stsd::is_encrypted(&track.stream.codec_name);
                    track.defaults = defaults(mvex.as_ref(), track.number);
                    chapter_tracks.extend(chapter_references(&body));
                    movie.tracks.push(track);
                }
                Ok(None) => {}
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        // QuickTime keeps the chapters' names in a text track: it is no subtitle.
        let is_text = |t: &mut TrackBox| t.stream.kind == Kind::Text && chapter_tracks.contains(&t.number);
        let names: Vec<TrackBox> = movie.tracks.extract_if(.., is_text).collect();
        if movie.about.chapters.is_empty() {
            movie.chapters = names.into_iter().next();
        }
        match first_error {
            Some(error) if !movie.tracks.iter().any(|t| t.stream.codec.is_some()) => Err(error),
            _ => Ok(movie),
        }
    }
}

/// All ones and zero both mean "not known".
fn known(duration: u64, version: u8) -> Option<u64> {
    let unknown = if version == 1 { u64::MAX } else { u64::from(u32::MAX) };
    (duration != 0 && duration != unknown && duration < 1 << 62).then_some(duration)
}

/// `None` for tracks of no kind that we know.
fn track(trak: &Body, movie_timescale: u32) -> Result<Option<TrackBox>, MediaError> {
    let mut tkhd = trak.need(id(b"tkhd"))?;
    let (version, flags) = tkhd.full()?;
    tkhd.skip(if version == 1 { 16 } else { 8 })?;
    let number = tkhd.u32()?;
    tkhd.skip(if version == 1 { 12 } else { 8 } + 16)?;
    let mut matrix = [0; 9];
    for value in &mut matrix {
        *value = tkhd.u32()?;
    }
    let mdia = trak.need(id(b"mdia"))?;
    let mut hdlr = mdia.need(id(b"hdlr"))?;
    hdlr.skip(8)?;
    let kind = match &hdlr.u32()?.to_be_bytes() {
        b"vide" => Kind::Video,
        b"soun" => Kind::Audio,
        b"text" | b"sbtl" | b"subt" | b"clcp" | b"subp" => Kind::Text,
        _ => return Ok(None),
    };
    let mut mdhd = mdia.need(id(b"mdhd"))?;
    let (version, _) = mdhd.full()?;
    mdhd.skip(if version == 1 { 16 } else { 8 })?;
    let timescale = mdhd.u32()?.max(1);
    mdhd.sized(version)?;
    let language = mdhd.u16()?;
    let mut stream = Stream::new(kind, timescale);
    stream.default = flags & 1 != 0;
    stream.matrix = (kind == Kind::Video && matrix[8] != 0).then_some(matrix);
    stream.language = language_code(language);
    stream.name = trak.at(&[b"udta", b"name"]).and_then(|mut name| short_text(&name.rest()));
    let stbl = mdia.need(id(b"minf"))?.need(id(b"stbl"))?;
    stsd::describe(&mut stbl.need(id(b"stsd"))?, &mut stream)?;
    Ok(Some(TrackBox {
        number,
        table: SampleTable::parse(&stbl, stream.pcm.map(|pcm| pcm.frame_bytes()))?,
        edit: edit(trak, movie_timescale, timescale)?,
        stream,
        defaults: Defaults::default(),
    }))
}

/// The tracks that a `tref` names as holding the chapters.
fn chapter_references(trak: &Body) -> Vec<u32> {
    let numbers = trak.at(&[b"tref", b"chap"]).map(|mut chap| chap.rest()).unwrap_or_default();
    numbers.chunks_exact(4).map(|n| u32::from_be_bytes([n[0], n[1], n[2], n[3]])).take(TRACKS_MAX).collect()
}

/// Title (iTunes) and chapters (Nero); neither is worth an error.
#[inline(never)]
fn about(moov: &Body) -> About {
    let title = moov.at(&[b"udta", b"meta"]).and_then(|mut meta| {
        meta.full().ok()?;
        let mut data = meta.at(&[b"ilst", b"\xa9nam", b"data"])?;
        data.skip(8).ok()?;
        short_text(&data.rest())
    });
    let mut chapters = Vec::new();
    if let Some(chpl) = moov.at(&[b"udta", b"chpl"]) {
        // What was read before an error stays.
        let _ = read_chapters(chpl, &mut chapters);
    }
    About { title, chapters, unfinished: false }
}

/// Times in 100 ns, names of at most 255 bytes.
fn read_chapters(mut chpl: Body, out: &mut Vec<Chapter>) -> Result<(), MediaError> {
    if chpl.full()?.0 > 0 {
        chpl.u32()?;
    }
    for _ in 0..chpl.u8()? {
        let start_us = chpl.u64()? / 10;
        let len = usize::from(chpl.u8()?);
        out.push(Chapter { start_us, title: short_text(&chpl.take(len)?).unwrap_or_default() });
    }
    Ok(())
}

/// Three letters of five bits (§8.4.2); QuickTime's numbers below 0x400 say nothing useful here.
fn language_code(packed: u16) -> Option<String> {
    let letters = [packed >> 10 & 31, packed >> 5 & 31, packed & 31];
    if packed < 0x400 || letters.iter().any(|l| !(1..=26).contains(l)) {
        return None;
    }
    let code: String = letters.iter().map(|l| char::from(0x60 + *l as u8)).collect();
    (code != "und").then_some(code)
}

fn edit(trak: &Body, movie_timescale: u32, timescale: u32) -> Result<Option<Edit>, MediaError> {
    let Some(mut elst) = trak.at(&[b"edts", b"elst"]) else { return Ok(None) };
    let (version, _) = elst.full()?;
    let mut empty = 0u64;
    for _ in 0..elst.u32()? {
        let duration = elst.sized(version)?;
        let media_time = if version == 1 { elst.u64()? as i64 } else { i64::from(elst.u32()? as i32) };
        elst.u32()?;
        if media_time < 0 {
            empty = empty.saturating_add(duration);
            continue;
        }
        // A century of ticks at most: what follows adds without overflow.
        let clamp = |v: u64| v.min(1 << 48) as i64;
        return Ok(Some(Edit {
            empty: rescale(clamp(empty), movie_timescale, timescale),
            media_time: media_time.min(1 << 48),
            duration: rescale(clamp(duration), movie_timescale, timescale),
        }));
    }
    Ok(None)
}

fn defaults(mvex: Option<&Body>, number: u32) -> Defaults {
    let read = |mut trex: Body| -> Result<Option<Defaults>, MediaError> {
        trex.full()?;
        if trex.u32()? != number {
            return Ok(None);
        }
        trex.u32()?;
        Ok(Some(Defaults { duration: trex.u32()?, size: trex.u32()?, flags: trex.u32()? }))
    };
    let Some(mut inside) = mvex.cloned() else { return Defaults::default() };
    while let Ok(Some((kind, body))) = inside.child() {
        if kind == id(b"trex")
            && let Ok(Some(found)) = read(body)
        {
            return found;
        }
    }
    Defaults::default()
}
