//! Second opinions beside ffprobe's: what two demuxers of other people read of the same file.

use matroska_demuxer::{Frame, MatroskaFile, TrackType};
use shiguredo_mp4::TrackKind;
use shiguredo_mp4::demux::{DemuxError, Fmp4FileDemuxer, Input, Mp4FileDemuxer, RequiredInput, Sample};
use std::io::Cursor;
use std::path::Path;

/// One sample as another demuxer sees it.
#[derive(Debug)]
pub struct Seen {
    /// When it is shown, seconds, edits and delays left aside.
    pub at_s: f64,
    pub size: u64,
    /// `None` where that demuxer does not say.
    pub key: Option<bool>,
    /// As ffprobe writes it.
    pub hash: String,
}

/// The samples of the first track of its kind, by the demuxer for this ending; `None` where there is none for it.
pub fn opinion(path: &Path, video: bool, fragmented: bool) -> Option<Result<Vec<Seen>, String>> {
    let file = std::fs::read(path).expect("a readable clip");
    match path.extension()?.to_str()? {
        "mp4" | "m4a" | "mov" if fragmented => Some(fragments(&file, video)),
        "mp4" | "m4a" | "mov" => Some(mp4(&file, video)),
        "mkv" | "mka" | "webm" => Some(matroska(&file, video)),
        _ => None,
    }
}

fn mp4(file: &[u8], video: bool) -> Result<Vec<Seen>, String> {
    let mut demuxer = Mp4FileDemuxer::new();
    while let Some(wanted) = demuxer.required_input() {
        demuxer.handle_input(give(file, wanted)?);
    }
    let track = first(demuxer.tracks().map_err(told)?, video)?;
    let mut all = Vec::new();
    while let Some(sample) = demuxer.next_sample().map_err(told)? {
        all.extend((sample.track.track_id == track).then(|| seen(file, &sample)));
    }
    Ok(all)
}

fn fragments(file: &[u8], video: bool) -> Result<Vec<Seen>, String> {
    let mut demuxer = Fmp4FileDemuxer::new();
    let (mut track, mut all) = (None, Vec::new());
    loop {
        match demuxer.next_sample() {
            Ok(Some(sample)) => {
                all.extend((Some(sample.track.track_id) == track).then(|| seen(file, &sample)));
            }
            Ok(None) => return Ok(all),
            Err(DemuxError::InputRequired(wanted)) => demuxer.handle_input(give(file, wanted)?),
            Err(error) => return Err(told(error)),
        }
        if track.is_none() {
            track = demuxer.tracks().ok().and_then(|tracks| first(tracks, video).ok());
        }
    }
}

/// What it wants and what follows: it takes more than it asks for.
fn give(file: &[u8], wanted: RequiredInput) -> Result<Input<'_>, String> {
    let data = file.get(wanted.position as usize..).ok_or("it reads beyond the end")?;
    let data = &data[..wanted.size.map_or(data.len(), |size| size.min(data.len()))];
    Ok(wanted.to_input(data))
}

fn first(tracks: &[shiguredo_mp4::demux::TrackInfo], video: bool) -> Result<u32, String> {
    let kind = if video { TrackKind::Video } else { TrackKind::Audio };
    let track = tracks.iter().find(|track| track.kind == kind);
    track.map(|track| track.track_id).ok_or_else(|| "it sees no such track".into())
}

fn seen(file: &[u8], sample: &Sample) -> Seen {
    let at = sample.timestamp as i64 + sample.composition_time_offset.unwrap_or(0);
    let data = &file[sample.data_offset as usize..][..sample.data_size];
    Seen {
        at_s: at as f64 / f64::from(sample.track.timescale.get()),
        size: data.len() as u64,
        key: Some(sample.keyframe),
        hash: crc32(data),
    }
}

fn matroska(file: &[u8], video: bool) -> Result<Vec<Seen>, String> {
    let mut demuxer = MatroskaFile::open(Cursor::new(file)).map_err(told)?;
    let kind = if video { TrackType::Video } else { TrackType::Audio };
    let track = demuxer.tracks().iter().find(|track| track.track_type() == kind);
    let track = track.ok_or("it sees no such track")?.track_number().get();
    let tick_s = demuxer.info().timestamp_scale().get() as f64 / 1e9;
    let (mut frame, mut all) = (Frame::default(), Vec::new());
    while demuxer.next_frame(&mut frame).map_err(told)? {
        if frame.track == track {
            all.push(Seen {
                at_s: frame.timestamp as f64 * tick_s,
                size: frame.data.len() as u64,
                key: frame.is_keyframe,
                hash: crc32(&frame.data),
            });
        }
    }
    Ok(all)
}

fn told(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

/// ffprobe's `CRC32:…` (IEEE 802.3, bit by bit: these are clips).
fn crc32(bytes: &[u8]) -> String {
    let step = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step));
    format!("CRC32:{:08x}", !crc)
}
