//! A film of five pictures, played once for nobody while the first connection is being made.
//!
//! V8 compiles each function when it is first called, and from a film's first bytes to its first segment there are some four hundred:
//! 15 ms in which the person waits. Before the first bytes the worker has nothing to do at all. What comes of it is thrown away.

use baton_media::{Media, Output, Support};
use bytes::Bytes;

/// Does it. Engines without SIMD compile everything at once when they load it: they need none.
pub fn rehearse() {
    let film = Bytes::from_static(FILM);
    let mut media = Media::new(film.len() as u64, Some("a.mp4"), Support::default());
    media.set_playhead(0, 1_000_000);
    for _ in 0..ROUNDS_MAX {
        let demands = media.demands();
        if demands.is_empty() {
            return;
        }
        for demand in demands {
            let range =
                demand.range.start as usize..demand.range.end.min(film.len() as u64) as usize;
            media.handle_bytes(demand.range.start, film.slice(range));
        }
        while let Some(output) = media.poll_output() {
            if let Output::Ready(info) = output {
                let all: Vec<_> = info.tracks.iter().map(|track| track.id).collect();
                media.select(&all);
            }
        }
    }
}

/// Black, 16 by 16, and its silence (ffmpeg's color and anullsrc; H.264 and AAC).
const FILM: &[u8] = include_bytes!("rehearsal.mp4");
/// It takes three.
const ROUNDS_MAX: usize = 8;
