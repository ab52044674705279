//! The media engine alone, as the worker has it: bytes of a film in, segments out, each copied across the border.

use baton_media::{Media, Output, Support};
use bytes::Bytes;
use js_sys::Uint8Array;
use std::collections::VecDeque;
use wasm_bindgen::prelude::*;

/// A film being taken apart.
#[wasm_bindgen]
pub struct Remuxer {
    media: Media,
    segments: VecDeque<Bytes>,
    tracks: usize,
    playhead_us: u64,
}

#[wasm_bindgen]
impl Remuxer {
    /// `len`: the film's length in bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(len: f64) -> Remuxer {
        let media = Media::new(len as u64, None, Support { mp3_in_mp4: false });
        Remuxer {
            media,
            segments: VecDeque::new(),
            tracks: 0,
            playhead_us: 0,
        }
    }

    /// Where the next bytes are wanted; the viewer's place moves on as soon as nothing is. `undefined`: all is done.
    pub fn wants(&mut self) -> Option<f64> {
        for _ in 0..100 {
            if let Some(demand) = self.media.demands().first() {
                return Some(demand.range.start as f64);
            }
            self.take();
            if self.tracks == 0 && self.media.info().is_some() {
                return None;
            }
            self.playhead_us += 5_000_000;
            self.media
                .set_playhead(self.playhead_us, self.playhead_us + 10_000_000);
        }
        None
    }

    /// Takes bytes that begin there, and makes of them what can be made.
    pub fn push(&mut self, offset: f64, bytes: Vec<u8>) {
        self.media.handle_bytes(offset as u64, Bytes::from(bytes));
        self.take();
    }

    /// The next segment, on the page's side of the border.
    pub fn pull(&mut self) -> Option<Uint8Array> {
        let segment = self.segments.pop_front()?;
        Some(Uint8Array::from(&segment[..]))
    }

    fn take(&mut self) {
        while let Some(output) = self.media.poll_output() {
            match output {
                Output::Init { bytes, .. } => {
                    self.tracks += 1;
                    self.segments.push_back(bytes);
                }
                Output::Segment { bytes, .. } => self.segments.push_back(bytes),
                Output::EndOfTrack { .. } => self.tracks = self.tracks.saturating_sub(1),
                _ => {}
            }
        }
    }
}
