//! What crosses the crate's face: tracks, demands, outputs.

use crate::{Cue, MediaError};
use bytes::Bytes;
use std::ops::Range;

/// What this browser's MediaSource takes where browsers differ; the driver asks `isTypeSupported` once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Support {
    /// `audio/mp4; codecs="mp3"` (Firefox). When false, MP3 sound is put out as `audio/mpeg` (Chromium).
    pub mp3_in_mp4: bool,
}

/// A track's number within one [`Media`]: the position in [`Info::tracks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Video,
    Audio,
    /// Subtitles: what is put out are [`Output::Cue`]s.
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    Mp4,
    FragmentedMp4,
    WebM,
    Matroska,
    Mp3,
    Flac,
    Wav,
    Ogg,
    Adts,
    MpegTs,
}

/// One track as the person choosing it and MediaSource see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    pub id: TrackId,
    pub kind: Kind,
    /// The type of what we put out, for `addSourceBuffer`, e.g. `video/mp4; codecs="avc1.64001E"`.
    /// Empty when no browser could play it (then it cannot be selected).
    pub mime: String,
    /// RFC 6381 codec string, or the container's own name for a codec that we do not put out.
    pub codec: String,
    /// Coded size in pixels; 0 for sound.
    pub width: u32,
    pub height: u32,
    /// 0 for video.
    pub channels: u32,
    /// In Hz; 0 for video.
    pub sample_rate: u32,
    /// ISO 639-2 or BCP 47 as the file has it; `None` when unknown ("und").
    pub language: Option<String>,
    /// The track's own name, where the container has one.
    pub name: Option<String>,
    /// The file marks it as one to play unless told otherwise.
    pub default: bool,
    /// Subtitles for foreign words only, to be shown unasked.
    pub forced: bool,
    /// Subtitles that we can read.
    pub cues: bool,
}

impl Track {
    /// Whether there is a form of this track that MediaSource could take.
    pub fn playable(&self) -> bool {
        !self.mime.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub container: Container,
    pub tracks: Vec<Track>,
    /// The film's own title, where the container has one.
    pub title: Option<String>,
    /// `None` while unknown (files written by a live recorder); [`Output::Duration`] may follow.
    pub duration_us: Option<u64>,
}

/// Where a chapter begins, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chapter {
    pub start_us: u64,
    /// Empty where it has no name.
    pub title: String,
}

/// Bytes that the player needs, and how soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    pub range: Range<u64>,
    /// From now, assuming that playback goes on at rate 1; 0 is now.
    pub in_us: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Ready(Info),
    /// The duration became known, or better known, after `Ready`.
    Duration(u64),
    Init {
        track: TrackId,
        bytes: Bytes,
    },
    /// One media segment: append as it is.
    Segment {
        track: TrackId,
        bytes: Bytes,
        /// Presentation times of its earliest and past its latest sample.
        start_us: u64,
        end_us: u64,
        /// Its first sample is a sync sample.
        random_access: bool,
        /// 0 at first, +1 per seek.
        generation: u32,
    },
    /// A subtitle, any time before it is due.
    Cue {
        track: TrackId,
        cue: Cue,
    },
    /// In order of time; once, when they are known.
    Chapters(Vec<Chapter>),
    /// No segment follows for this track in this generation. All selected tracks: `endOfStream()`.
    EndOfTrack {
        track: TrackId,
        generation: u32,
    },
    /// Nothing is broken, but this is nothing that we can put out.
    Unsupported {
        reason: Reason,
    },
    Failed(MediaError),
}

/// What can be had of a picture by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Still {
    Here(Picture),
    /// These bytes are needed first. Any of them may be missing.
    Missing(Range<u64>),
    /// There is none: no film, no pictures, or a place that cannot be read.
    None,
}

/// One picture that is shown without any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    pub track: TrackId,
    /// When the film shows it.
    pub at_us: u64,
    /// A film of its own, one second long: init segment and a segment that begins at 0.
    pub bytes: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not a container that we read (a zip, a PDF, an empty file).
    NotMedia,
    /// A container that we read, without a video or audio track in a codec that any browser plays.
    NoPlayableTrack,
    Encrypted,
}
