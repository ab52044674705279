//! ID3v2 (id3.org, versions 2.2 to 2.4) before the sound of MP3 and ADTS files.

use super::{AHEAD, COVER_MAX, Steps, Tags, WORDS_MAX, keep};
use crate::error::Path;
use crate::source::{Source, Stop};
use crate::text::utf16;
use bytes::Bytes;

/// The tag at this place, if there is one.
pub(super) fn read(source: &Source, at: u64, tags: &mut Tags) -> Result<(), Stop> {
    let head = source.peek(at, 10, AHEAD)?;
    let &[b'I', b'D', b'3', version, _, flags, a, b, c, d, ..] = &head[..] else { return Ok(()) };
    let size = u64::from(syncsafe([a, b, c, d])).min(source.len.saturating_sub(at + 10));
    if !(2..=4).contains(&version) || size > 2 * COVER_MAX {
        return Ok(());
    }
    let mut body = source.get(at + 10..at + 10 + size, Path::root())?;
    if flags & 0x80 != 0 && version < 4 {
        body = resynchronised(&body);
    }
    frames(version, flags, body, tags);
    Ok(())
}

fn frames(version: u8, flags: u8, body: Bytes, tags: &mut Tags) {
    let mut at = 0;
    let number = |at: usize| body.get(at..at + 4).map_or([0; 4], |b| [b[0], b[1], b[2], b[3]]);
    if flags & 0x40 != 0 && version > 2 {
        at = match version {
            3 => 4usize.saturating_add(u32::from_be_bytes(number(0)) as usize),
            _ => syncsafe(number(0)) as usize,
        };
    }
    let header = if version == 2 { 6 } else { 10 };
    let mut steps = Steps::new();
    while let Some(head) = body.get(at..at.saturating_add(header)) {
        let (name, size) = match version {
            2 => (&head[..3], u32::from_be_bytes([0, head[3], head[4], head[5]])),
            3 => (&head[..4], u32::from_be_bytes(number(at + 4))),
            _ => (&head[..4], syncsafe(number(at + 4))),
        };
        let from = at + header;
        at = from.saturating_add(size as usize);
        // Zeros fill up the rest.
        if name[0] == 0 || at > body.len() || !steps.take() {
            break;
        }
        let mut data = body.slice(from..at);
        if version == 3 && head[9] & 0xc0 != 0 || version == 4 && head[9] & 0x0c != 0 {
            // Compressed or encrypted: nobody writes that.
            continue;
        }
        if version == 4 && head[9] & 1 != 0 {
            data = data.slice(data.len().min(4)..);
        }
        if version == 4 && head[9] & 2 != 0 {
            data = resynchronised(&data);
        }
        // The encoding and a byte order mark, then four bytes a character at most: nothing further on is kept.
        let words = &data[..data.len().min(3 + 4 * WORDS_MAX)];
        match name {
            b"TIT2" | b"TT2" => keep(&mut tags.title, &text(words)),
            b"TPE1" | b"TP1" => keep(&mut tags.artist, &text(words)),
            b"TALB" | b"TAL" => keep(&mut tags.album, &text(words)),
            b"APIC" | b"PIC" => picture(version, &data, tags),
            _ => {}
        }
    }
}

/// Encoding, type of the image (a word, or three letters), what it shows, a description, the image.
fn picture(version: u8, data: &Bytes, tags: &mut Tags) {
    let Some(&encoding) = data.first() else { return };
    let kind = match version {
        2 => 4,
        _ => match data[1..].iter().position(|b| *b == 0) {
            Some(end) => end + 2,
            None => return,
        },
    };
    let Some(shows) = data.get(kind) else { return };
    let from = kind + 1;
    let wide = matches!(encoding, 1 | 2);
    let end = match wide {
        true => data[from..].chunks_exact(2).position(|c| c == [0, 0]).map(|i| from + 2 * i + 2),
        false => data[from..].iter().position(|b| *b == 0).map(|i| from + i + 1),
    };
    if let Some(end) = end {
        // 3: the front cover.
        tags.picture(data.slice(end..), *shows == 3);
    }
}

fn text(data: &[u8]) -> String {
    let Some((encoding, text)) = data.split_first() else { return String::new() };
    match (encoding, text) {
        (1, [0xff, 0xfe, rest @ ..]) => utf16(rest, u16::from_le_bytes),
        (1, [0xfe, 0xff, rest @ ..]) | (2, rest) => utf16(rest, u16::from_be_bytes),
        (3, text) => String::from_utf8_lossy(text).split('\0').next().unwrap_or_default().to_string(),
        (_, text) => text.iter().take_while(|b| **b != 0).map(|b| char::from(*b)).collect(),
    }
}

/// Four times seven bits.
fn syncsafe(bytes: [u8; 4]) -> u32 {
    bytes.iter().fold(0, |value, byte| value << 7 | u32::from(byte & 0x7f))
}

/// Undoes the zero behind each `ff` that keeps tags from looking like sound.
fn resynchronised(data: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(data.len());
    let mut after_ff = false;
    for byte in data {
        if !(after_ff && *byte == 0) {
            out.push(*byte);
        }
        after_ff = *byte == 0xff;
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(version: u8, flags: u8, frames: &[u8]) -> Tags {
        let mut tags = Tags::default();
        super::frames(version, flags, Bytes::copy_from_slice(frames), &mut tags);
        tags
    }

    #[test]
    fn every_version_and_encoding_is_read() {
        let title = |tags: Tags| tags.title.unwrap_or_default();
        assert_eq!(title(tag(2, 0, b"TT2\0\0\x05\0Caf\xe9")), "Café");
        assert_eq!(title(tag(3, 0, b"TIT2\0\0\0\x07\0\0\x01\xff\xfeH\0i\0")), "Hi");
        assert_eq!(title(tag(4, 0, b"TIT2\0\0\0\x06\0\0\x03Caf\xc3\xa9")), "Café");
        // An extended header first, and a data length before the frame.
        assert_eq!(title(tag(4, 0x40, b"\0\0\0\x06\x01\0TIT2\0\0\0\x07\0\x01\0\0\0\x03\x03Hi")), "Hi");
    }

    #[test]
    fn the_front_cover_comes_before_other_pictures() {
        let back = b"APIC\0\0\0\x11\0\0\0image/jpeg\0\x04\0\xff\xd8\xff";
        let front = b"APIC\0\0\0\x12\0\0\0image/png\0\x03\0\x89PNG\r";
        let both = [&back[..], &front[..]].concat();
        assert_eq!(tag(3, 0, &both).cover.unwrap().mime, "image/png");
        assert_eq!(tag(2, 0, b"PIC\0\0\x09\0JPG\x03\0\xff\xd8\xff").cover.unwrap().mime, "image/jpeg");
    }

    #[test]
    fn what_is_cut_off_or_lies_about_its_size_ends() {
        for frames in
            [&b"TIT2\xff\xff\xff\xff\0\0\0"[..], b"APIC\0\0\0\x01\0\0\0", b"APIC\0\0\0\x03\0\0\0ab", b"T", b""]
        {
            assert_eq!(tag(3, 0, frames), Tags::default());
            tag(4, 0x40, frames);
        }
        assert_eq!(&resynchronised(b"\xff\0\xd8\xff\0\0")[..], b"\xff\xd8\xff\0");
    }
}
