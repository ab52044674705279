//! Any container in, MediaSource-ready segments out, without IO.
//!
//! The driver makes a [`Media`] with the file's length, fetches what [`Media::demands`] names (in any order, in
//! pieces of any size), hands it to [`Media::handle_bytes`] and drains [`Media::poll_output`] until `None`:
//!
//! 1. `Ready(Info)` comes once, when the container's index is known. The first video and the first audio track are
//!    selected and production starts at once; if MediaSource refuses a track's `mime`, call [`Media::select`] with
//!    the others, and ignore what still comes for a track without a SourceBuffer.
//! 2. `Init` once per selected track (make the SourceBuffer with the track's `mime`, append), then `Segment`s in
//!    decode order, starting at a sync sample. All times are microseconds of presentation and begin at 0.
//! 3. [`Media::seek`] raises the generation by one: drop what is still queued of older generations and call
//!    `SourceBuffer.abort()` before appending the first segment of the new one. Init segments need not be repeated.
//! 4. [`Media::set_playhead`] says what is playing and how far to produce. Without it nothing past the first ten
//!    seconds after the start (or after a seek) is produced.
//!
//! Subtitles come as `Cue`s, which no generation outdates: a track's number and a cue's times say all, and a seek may
//! repeat some. Where they lie among the samples (Matroska) those of all tracks come; elsewhere [`Media::select`] asks.
//!
//! `Failed` and `Unsupported` are final. `EndOfTrack` comes once per track and generation.
//!
//! MP3 where [`Support::mp3_in_mp4`] is false is put out as bare frames (`audio/mpeg`): its `Init` is empty, and because
//! such frames carry no times the driver sets `SourceBuffer.timestampOffset` to the first segment's `start_us` in each
//! generation. Everything else carries its own times.
//!
//! What is read and written, and why, is in docs/media.md.

mod cache;
mod codec;
mod decode;
mod demux;
mod error;
mod formats;
#[doc(hidden)]
pub mod fuzz;
mod inflate;
mod media;
mod mkv;
mod mp4;
mod mux;
mod order;
mod probe;
mod producer;
mod shape;
mod sound;
mod source;
mod tags;
mod text;
mod ts;
mod types;

pub use decode::{Decoded, SoundDecoder};
pub use error::{Fault, MediaError, Path, Place};
pub use media::Media;
pub use tags::{Cover, TagReader, Tags};
pub use text::{Cue, parse_subtitles};
pub use types::{Chapter, Container, Demand, Info, Kind, Output, Picture, Reason, Still, Support, Track, TrackId};
