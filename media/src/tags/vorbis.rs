//! Vorbis comments and FLAC's pictures (RFC 9639 §8.8), in FLAC files and in Ogg.

use super::{AHEAD, COVER_MAX, Steps, Tags, keep_utf8};
use crate::error::Path;
use crate::source::{Source, Stop};
use bytes::{Buf, Bytes};

/// What a picture costs in base64, and what is beside it, bytes.
const PACKET_MAX: usize = 12 << 20;

pub(super) fn read_flac(source: &Source, tags: &mut Tags) -> Result<(), Stop> {
    let (mut at, mut steps) = (4, Steps::new());
    while steps.take() {
        let head = source.peek(at, 4, AHEAD)?;
        let Some(&[kind, a, b, c]) = head.first_chunk() else { break };
        let (body, size) = (at + 4, u64::from(u32::from_be_bytes([0, a, b, c])));
        at = body + size;
        if at <= source.len {
            match kind & 0x7f {
                4 if size <= PACKET_MAX as u64 => comments(source.get(body..at, Path::root())?, tags),
                6 if size <= COVER_MAX + AHEAD => {
                    let start = source.peek(body, 4, AHEAD)?;
                    if tags.cover.is_none() || is_front(&start) {
                        picture(source.get(body..at, Path::root())?, tags);
                    }
                }
                _ => {}
            }
        }
        if kind & 0x80 != 0 {
            break;
        }
    }
    Ok(())
}

/// The second packet of the first stream, whatever its codec.
pub(super) fn read_ogg(source: &Source, tags: &mut Tags) -> Result<(), Stop> {
    let (mut at, mut steps) = (0, Steps::new());
    let mut serial = None;
    let (mut packet, mut number) = (Vec::new(), 0);
    while steps.take() && packet.len() < PACKET_MAX {
        let head = source.peek(at, 27 + 255, AHEAD)?;
        let (Some(head), Some(lacing)) = (head.get(..27), head.get(27..)) else { break };
        if !head.starts_with(b"OggS") {
            break;
        }
        let Some(lacing) = lacing.get(..usize::from(head[26])) else { break };
        let body = at + 27 + lacing.len() as u64;
        let size: u64 = lacing.iter().map(|len| u64::from(*len)).sum();
        at = body + size;
        let of = &head[14..18];
        if *serial.get_or_insert_with(|| of.to_vec()) != of {
            continue;
        }
        let mut data = &source.get(body..at.min(source.len), Path::root())?[..];
        for len in lacing {
            let Some((part, rest)) = data.split_at_checked(usize::from(*len)) else { return Ok(()) };
            data = rest;
            if number == 1 {
                packet.extend_from_slice(part);
            }
            if *len < 255 {
                number += 1;
            }
            if number == 2 {
                let packet = Bytes::from(packet);
                // Vorbis, Opus and FLAC each begin theirs in their own way.
                let skip = match () {
                    () if packet.starts_with(b"\x03vorbis") => 7,
                    () if packet.starts_with(b"OpusTags") => 8,
                    () if packet.first().is_some_and(|b| b & 0x7f == 4) => 4,
                    () => return Ok(()),
                };
                comments(packet.slice(skip.min(packet.len())..), tags);
                return Ok(());
            }
        }
    }
    Ok(())
}

fn comments(mut block: Bytes, tags: &mut Tags) {
    let mut steps = Steps::new();
    let Some(_vendor) = counted(&mut block) else { return };
    let Some(count) = block.try_get_u32_le().ok() else { return };
    for _ in 0..count {
        let Some(comment) = counted(&mut block).filter(|_| steps.take()) else { return };
        let Some(end) = comment.iter().position(|b| *b == b'=') else { continue };
        let (name, value) = (&comment[..end], comment.slice(end + 1..));
        if name.eq_ignore_ascii_case(b"METADATA_BLOCK_PICTURE") {
            picture(base64(&value), tags);
        } else if let Some(field) = tags.named(&String::from_utf8_lossy(name)) {
            keep_utf8(field, &value);
        }
    }
}

fn counted(block: &mut Bytes) -> Option<Bytes> {
    let len = block.try_get_u32_le().ok()? as usize;
    (len <= block.len()).then(|| block.split_to(len))
}

/// Whether the picture that begins so is the front cover.
fn is_front(block: &[u8]) -> bool {
    block.starts_with(&[0, 0, 0, 3])
}

/// What it shows, its type, a description, four numbers, the image: lengths before each.
fn picture(mut block: Bytes, tags: &mut Tags) {
    let is_front = is_front(&block);
    let mut part = |skip: usize| {
        let len = block.get(skip..skip + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize)?;
        block.advance(skip + 4);
        (len <= block.len()).then(|| block.split_to(len))
    };
    let image = part(4).and_then(|_kind| part(0)).and_then(|_description| part(16));
    if let Some(image) = image {
        tags.picture(image, is_front);
    }
}

/// RFC 4648 §4; what is no letter of it is passed over.
fn base64(text: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for letter in text {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted_text(text: &[u8]) -> Vec<u8> {
        [&(text.len() as u32).to_le_bytes()[..], text].concat()
    }

    #[test]
    fn base64_is_read_as_it_is_written() {
        assert_eq!(&base64(b"")[..], b"");
        assert_eq!(&base64(b"Zg==")[..], b"f");
        assert_eq!(&base64(b"Zm9v\nYmFy")[..], b"foobar");
    }

    #[test]
    fn of_several_pictures_only_those_are_fetched_that_may_be_the_cover() {
        let block = |shows: u8, last: bool, size: usize| {
            let image = [b"\xff\xd8\xff\xe0", &vec![shows; size][..]].concat();
            let mut body = vec![0, 0, 0, shows];
            body.extend([0; 24]);
            body.extend((image.len() as u32).to_be_bytes());
            body.extend(image);
            let size = (body.len() as u32).to_be_bytes();
            [&[if last { 0x86 } else { 6 }, size[1], size[2], size[3]], &body[..]].concat()
        };
        // Another picture, the front cover, a third one, and one that is too large.
        let blocks =
            [block(4, false, 300_000), block(3, false, 300_000), block(4, false, 3 << 20), block(3, true, 9 << 20)];
        let file = Bytes::from([&b"fLaC"[..], &blocks.concat()].concat());
        let mut reader = super::super::TagReader::new(file.len() as u64);
        let mut handed = 0;
        let found = loop {
            let range = match reader.poll() {
                Ok(tags) => break tags,
                Err(range) => range,
            };
            handed += range.end - range.start;
            reader.handle_bytes(range.start, file.slice(range.start as usize..range.end as usize));
        };
        assert_eq!(found.cover.and_then(|cover| cover.bytes.last().copied()), Some(3));
        assert!(handed < 800_000, "{handed}");
    }

    #[test]
    fn names_are_found_whatever_their_case_and_the_first_one_counts() {
        let mut tags = Tags::default();
        let fields = [&b"Title=One"[..], b"TITLE=Two", b"artist=\xc3\x84", b"no equals sign"];
        let mut block = counted_text(b"vendor");
        block.extend(4u32.to_le_bytes());
        fields.iter().for_each(|it| block.extend(counted_text(it)));
        comments(block.into(), &mut tags);
        assert_eq!((tags.title.as_deref(), tags.artist.as_deref()), (Some("One"), Some("Ä")));
    }

    #[test]
    fn lengths_that_lie_are_no_comments() {
        let mut tags = Tags::default();
        comments(Bytes::from_static(b"\xff\xff\xff\xffx"), &mut tags);
        comments([&counted_text(b"")[..], &[0xff; 4], b"\x05\0\0\0ab"].concat().into(), &mut tags);
        picture(Bytes::from_static(b"\0\0\0\x03\xff\xff\xff\xff"), &mut tags);
        assert_eq!(tags, Tags::default());
    }
}
