//! RIFF: names in `LIST INFO`, or an ID3 tag in a chunk of its own; both may stand behind the sound.

use super::{AHEAD, Steps, Tags, id3, keep_utf8};
use crate::error::Path;
use crate::source::{Source, Stop};

/// Longer lists hold no names, bytes.
const LIST_MAX: u64 = 64 << 10;

pub(super) fn read(source: &Source, tags: &mut Tags) -> Result<(), Stop> {
    let (mut at, mut steps) = (12, Steps::new());
    while steps.take() {
        let head = source.peek(at, 12, AHEAD)?;
        let &[a, b, c, d, s0, s1, s2, s3, ..] = &head[..] else { break };
        let (body, size) = (at + 8, u64::from(u32::from_le_bytes([s0, s1, s2, s3])));
        // Chunks lie at even places.
        at = body + size + (size & 1);
        match &[a, b, c, d] {
            b"id3 " | b"ID3 " => id3::read(source, body, tags)?,
            b"LIST" if head.get(8..12) == Some(b"INFO") && size <= LIST_MAX => {
                let end = (body + size).min(source.len);
                list(&source.get(body + 4..end.max(body + 4), Path::root())?, tags);
            }
            _ => {}
        }
    }
    Ok(())
}

fn list(mut rest: &[u8], tags: &mut Tags) {
    while let Some((name, more)) = rest.split_first_chunk::<4>()
        && let Some((size, more)) = more.split_first_chunk()
    {
        let size = u32::from_le_bytes(*size) as usize;
        let Some(value) = more.get(..size) else { return };
        match name {
            b"INAM" => keep_utf8(&mut tags.title, value),
            b"IART" => keep_utf8(&mut tags.artist, value),
            b"IPRD" => keep_utf8(&mut tags.album, value),
            _ => {}
        }
        rest = more.get(size + (size & 1)..).unwrap_or_default();
    }
}
