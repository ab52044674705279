//! Looking into files that are shared: what a player needs first, the plain hash, the type.

use baton_media::{Media, Support};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a player should fetch first, and how long the film is.
#[derive(Default)]
pub struct Probe {
    pub start: Vec<Range<u64>>,
    pub duration_us: Option<u64>,
}

/// Lets the media engine look for its index, as a player would; a file that is no film costs one read.
pub fn probe(file: &File, name: &str, size: u64) -> Probe {
    let mut media = Media::new(size, Some(name), Support::default());
    let mut read = 0;
    while media.start_ranges().is_none() && read < PROBE_BYTES_MAX {
        while let Some(output) = media.poll_output() {
            if matches!(
                output,
                baton_media::Output::Failed(_) | baton_media::Output::Unsupported { .. }
            ) {
                return Probe::default();
            }
        }
        let demands = media.demands();
        if media.start_ranges().is_some() || demands.is_empty() {
            break;
        }
        for demand in demands.into_iter().take(4) {
            let end = demand.range.end.min(demand.range.start + PROBE_READ_BYTES);
            let mut bytes = vec![0; (end - demand.range.start) as usize];
            if file.read_exact_at(&mut bytes, demand.range.start).is_err() {
                return Probe::default();
            }
            read += end - demand.range.start;
            media.handle_bytes(demand.range.start, bytes.into());
        }
    }
    while media.poll_output().is_some() {}
    let duration_us = media.info().and_then(|info| info.duration_us);
    Probe {
        start: media.start_ranges().unwrap_or_default(),
        duration_us,
    }
}

/// Plain BLAKE3 of a whole file, in the background: while peers are being served it goes at a walk.
pub fn hash(
    file: &File,
    size: u64,
    served_ms: &AtomicU64,
    started: Instant,
) -> std::io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; HASH_READ_BYTES];
    let mut at = 0;
    while at < size {
        let now_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let served = served_ms.load(Ordering::Relaxed);
        if served > 0 && now_ms.saturating_sub(served) < BUSY_MS {
            std::thread::sleep(HASH_PAUSE);
        }
        let len = buffer
            .len()
            .min(usize::try_from(size - at).unwrap_or(usize::MAX));
        file.read_exact_at(&mut buffer[..len], at)?;
        hasher.update(&buffer[..len]);
        at += len as u64;
    }
    Ok(*hasher.finalize().as_bytes())
}

/// The type of a file by its name, for browsers that are to play it.
pub fn mime(name: &str) -> Option<&'static str> {
    let extension = name.rsplit_once('.')?.1.to_ascii_lowercase();
    TYPES
        .iter()
        .find(|(known, _)| *known == extension)
        .map(|(_, mime)| *mime)
}

const TYPES: [(&str, &str); 16] = [
    ("mp4", "video/mp4"),
    ("m4v", "video/mp4"),
    ("mov", "video/quicktime"),
    ("webm", "video/webm"),
    ("mkv", "video/x-matroska"),
    ("m4a", "audio/mp4"),
    ("mp3", "audio/mpeg"),
    ("flac", "audio/flac"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("wav", "audio/wav"),
    ("jpg", "image/jpeg"),
    ("png", "image/png"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("zip", "application/zip"),
];
/// What may be read to find the index. A moov of three hours is 10 MB.
const PROBE_BYTES_MAX: u64 = 64 << 20;
/// One read while probing.
const PROBE_READ_BYTES: u64 = 4 << 20;
/// One read while hashing.
const HASH_READ_BYTES: usize = 1 << 20;
/// A file that was read for a peer within this time is being served, milliseconds.
const BUSY_MS: u64 = 1000;
/// The pause between two background reads while peers are served: 20 MB/s at most.
const HASH_PAUSE: Duration = Duration::from_millis(50);
