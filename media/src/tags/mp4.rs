//! MP4 and QuickTime: `moov/udta/meta/ilst` as iTunes and ffmpeg write it, with `keys` as phones do, and QuickTime's own `udta` texts.

use super::{AHEAD, COVER_MAX, Steps, Tags, keep_utf8};
use crate::error::Path;
use crate::mp4::boxes::{TopBox, id, top_box};
use crate::source::{Source, Stop};
use bytes::Bytes;
use std::ops::Range;

const MOOV: u32 = id(b"moov");
const UDTA: u32 = id(b"udta");
const META: u32 = id(b"meta");
const ILST: u32 = id(b"ilst");
const KEYS: u32 = id(b"keys");
const DATA: u32 = id(b"data");
const COVR: u32 = id(b"covr");
/// Keys of one file; phones write ten.
const KEYS_MAX: usize = 64;
/// Longer fields are no names, bytes.
const FIELD_MAX: u64 = 4096;

pub(super) fn read(source: &Source, tags: &mut Tags) -> Result<(), Stop> {
    let mut steps = Steps::new();
    let mut walk = Walk { source, steps: &mut steps, at: 0..source.len };
    while let Some(found) = walk.next()? {
        if found.kind == MOOV {
            return movie(source, &mut steps, inside(&found), tags, false);
        }
    }
    Ok(())
}

/// Boxes one after the other; only their headers are read.
struct Walk<'a, 'b> {
    source: &'a Source<'a>,
    steps: &'b mut Steps,
    at: Range<u64>,
}

impl Walk<'_, '_> {
    fn next(&mut self) -> Result<Option<TopBox>, Stop> {
        if self.at.end.saturating_sub(self.at.start) < 8 || !self.steps.take() {
            return Ok(None);
        }
        let Some(mut found) = top_box(self.source, self.at.start, AHEAD)? else { return Ok(None) };
        found.end = found.end.min(self.at.end);
        self.at.start = found.end.max(self.at.start + 8);
        Ok((found.body <= found.end).then_some(found))
    }
}

fn inside(found: &TopBox) -> Range<u64> {
    found.body..found.end
}

/// `in_user`: this is a `udta`, which stands in `moov` only. Without an end to how deep they are the file says how much of the stack goes.
fn movie(source: &Source, steps: &mut Steps, within: Range<u64>, tags: &mut Tags, in_user: bool) -> Result<(), Stop> {
    let mut walk = Walk { source, steps, at: within };
    while let Some(found) = walk.next()? {
        match found.kind {
            UDTA if !in_user => movie(source, walk.steps, inside(&found), tags, true)?,
            META => meta(source, walk.steps, inside(&found), tags)?,
            kind => {
                // QuickTime: length and language before each text; 3GPP: version, flags and language.
                let (name, header) = match &kind.to_be_bytes() {
                    b"\xa9nam" => ("title", 4),
                    b"\xa9ART" => ("artist", 4),
                    b"\xa9alb" => ("album", 4),
                    b"titl" => ("title", 6),
                    b"perf" => ("artist", 6),
                    b"albm" => ("album", 6),
                    _ => continue,
                };
                let text = short(source, inside(&found))?;
                if let (Some(field), Some(text)) = (tags.named(name), text.get(header..)) {
                    keep_utf8(field, text);
                }
            }
        }
    }
    Ok(())
}

/// In ISO files a full box, in QuickTime's a plain one: its first child tells.
fn meta(source: &Source, steps: &mut Steps, mut within: Range<u64>, tags: &mut Tags) -> Result<(), Stop> {
    if source.peek(within.start, 8, AHEAD)?.get(4..8) != Some(b"hdlr") {
        within.start += 4;
    }
    let mut names = Vec::new();
    let mut walk = Walk { source, steps, at: within };
    while let Some(found) = walk.next()? {
        match found.kind {
            KEYS => names = keys(&source.get(found.body..found.end.min(found.body + FIELD_MAX), Path::root())?),
            ILST => list(source, walk.steps, inside(&found), &names, tags)?,
            _ => {}
        }
    }
    Ok(())
}

/// Version, count, then size, namespace and name of each.
fn keys(body: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = body.get(8..).unwrap_or_default();
    while let Some(size) = rest.first_chunk().map(|b| u32::from_be_bytes(*b) as usize)
        && let Some(name) = rest.get(8..size)
        && names.len() < KEYS_MAX
    {
        let name = String::from_utf8_lossy(name).into_owned();
        names.push(name.rsplit('.').next().unwrap_or_default().to_string());
        rest = &rest[size..];
    }
    names
}

fn list(source: &Source, steps: &mut Steps, within: Range<u64>, names: &[String], tags: &mut Tags) -> Result<(), Stop> {
    let mut items = Walk { source, steps, at: within };
    while let Some(item) = items.next()? {
        let name = match &item.kind.to_be_bytes() {
            b"\xa9nam" => "title",
            b"\xa9ART" => "artist",
            b"\xa9alb" => "album",
            b"covr" => "artwork",
            _ => names.get((item.kind as usize).wrapping_sub(1)).map_or("", String::as_str),
        };
        let is_picture = name == "artwork";
        if !is_picture && tags.named(name).is_none() {
            continue;
        }
        let mut parts = Walk { source, steps: items.steps, at: inside(&item) };
        while let Some(data) = parts.next()? {
            // Type and locale before the value.
            let value = data.body.saturating_add(8).min(data.end)..data.end;
            if data.kind != DATA {
                continue;
            }
            if is_picture && tags.cover.is_none() && value.end - value.start <= COVER_MAX {
                tags.picture(source.get(value, Path::root().child(COVR))?, false);
            } else if let Some(field) = tags.named(name) {
                keep_utf8(field, &short(source, value)?);
            }
        }
    }
    Ok(())
}

fn short(source: &Source, range: Range<u64>) -> Result<Bytes, Stop> {
    source.get(range.start..range.end.min(range.start + FIELD_MAX), Path::root())
}

#[cfg(test)]
mod tests {
    use super::super::TagReader;
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    }

    /// What is found, and how many bytes that took, in blocks of 16 KiB.
    fn tags(file: Vec<u8>) -> (Tags, usize) {
        let file = Bytes::from(file);
        let mut reader = TagReader::new(file.len() as u64);
        let mut handed = 0;
        loop {
            let range = match reader.poll() {
                Ok(tags) => return (tags, handed),
                Err(range) => range,
            };
            let (from, to) = (range.start as usize >> 14 << 14, (range.end as usize).next_multiple_of(1 << 14));
            let block = file.slice(from..to.min(file.len()));
            handed += block.len();
            reader.handle_bytes(from as u64, block);
        }
    }

    #[test]
    fn user_data_inside_user_data_is_passed_over() {
        let title = |text: &[u8]| boxed(b"\xa9nam", &[&[0, 1, 0, 0], text].concat());
        let deep = (0..4000).fold(title(b"deep"), |inner, _| boxed(b"udta", &inner));
        let user = boxed(b"udta", &[deep, title(b"here")].concat());
        let file = [boxed(b"ftyp", b"isom\0\0\0\0"), boxed(b"moov", &user)].concat();
        // No more stack than a worker of a browser may have.
        let small = std::thread::Builder::new().stack_size(256 << 10);
        let found = small.spawn(|| tags(file).0).expect("a thread").join().expect("no panic");
        assert_eq!(found.title.as_deref(), Some("here"));
    }

    #[test]
    fn pictures_behind_the_cover_are_not_fetched() {
        let picture = boxed(b"data", &[&[0; 8][..], b"\xff\xd8\xff\xe0", &[7; 1 << 20]].concat());
        let list = boxed(b"ilst", &boxed(b"covr", &[&picture[..]; 4].concat()));
        let meta = boxed(b"meta", &[&[0; 4][..], &boxed(b"hdlr", &[0; 24]), &list].concat());
        let file = [boxed(b"ftyp", b"isom\0\0\0\0"), boxed(b"moov", &boxed(b"udta", &meta))].concat();
        let (found, handed) = tags(file);
        assert_eq!(found.cover.map(|cover| cover.bytes.len()), Some((1 << 20) + 4));
        assert!(handed < (1 << 20) + (256 << 10), "{handed}");
    }
}
