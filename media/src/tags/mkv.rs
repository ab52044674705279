//! Matroska (RFC 9559): the title in Info, names in Tags, a picture among the Attachments.

use super::{AHEAD, COVER_MAX, Steps, Tags, keep_utf8, picture_type};
use crate::error::Path;
use crate::mkv::ebml::{Body, Element, element};
use crate::mkv::ids;
use crate::source::{Source, Stop};
use std::ops::Range;

const ATTACHED_FILE: u32 = 0x61a7;
const FILE_NAME: u32 = 0x466e;
const FILE_DATA: u32 = 0x465c;
const TAG: u32 = 0x7373;
const TARGETS: u32 = 0x63c0;
const TAG_TRACK_UID: u32 = 0x63c5;
const SIMPLE_TAG: u32 = 0x67c8;
const TAG_NAME: u32 = 0x45a3;
const TAG_STRING: u32 = 0x4487;
/// Info, Tags and SeekHead of real files have a few KB.
const PART_MAX: u64 = 1 << 20;
/// Places that SeekHeads name and that are gone to.
const PLACES_MAX: usize = 16;

pub(super) fn read(source: &Source, tags: &mut Tags) -> Result<(), Stop> {
    let mut steps = Steps::new();
    let mut walk = Walk { source, steps: &mut steps, at: 0..source.len };
    let Some(segment) = walk.find(ids::SEGMENT)? else { return Ok(()) };
    walk.at = inside(&segment, source.len);
    let limit = walk.at.end;
    let (mut seen, mut places) = (Vec::new(), Vec::new());
    while let Some(found) = walk.next()? {
        // What follows is film.
        if found.id == ids::CLUSTER {
            break;
        }
        seen.push(found.start);
        part(source, walk.steps, &found, &segment, &mut places, tags)?;
        if found.end.is_none() {
            break;
        }
    }
    let mut i = 0;
    while let Some(at) = places.get(i).copied().filter(|_| i < PLACES_MAX) {
        i += 1;
        if seen.contains(&at) {
            continue;
        }
        seen.push(at);
        if let Some(found) = element(source, at, limit, AHEAD)? {
            part(source, &mut steps, &found, &segment, &mut places, tags)?;
        }
    }
    Ok(())
}

struct Walk<'a, 'b> {
    source: &'a Source<'a>,
    steps: &'b mut Steps,
    at: Range<u64>,
}

impl Walk<'_, '_> {
    fn next(&mut self) -> Result<Option<Element>, Stop> {
        if !self.steps.take() {
            return Ok(None);
        }
        let found = element(self.source, self.at.start, self.at.end, AHEAD)?;
        if let Some(found) = &found {
            self.at.start = found.end.unwrap_or(self.at.end);
        }
        Ok(found)
    }

    fn find(&mut self, id: u32) -> Result<Option<Element>, Stop> {
        while let Some(found) = self.next()? {
            if found.id == id {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

fn inside(found: &Element, limit: u64) -> Range<u64> {
    found.body..found.end.unwrap_or(limit).min(limit)
}

fn part(
    source: &Source,
    steps: &mut Steps,
    found: &Element,
    segment: &Element,
    places: &mut Vec<u64>,
    tags: &mut Tags,
) -> Result<(), Stop> {
    match found.id {
        ids::SEEK_HEAD => {
            let mut head = whole(source, found)?;
            while let Some((id, mut seek)) = head.child()? {
                let (mut what, mut place) = (0, None);
                while id == ids::SEEK
                    && let Some((id, value)) = seek.child()?
                {
                    match id {
                        ids::SEEK_ID => what = value.number()? as u32,
                        ids::SEEK_POSITION => place = Some(segment.body.saturating_add(value.number()?)),
                        _ => {}
                    }
                }
                if matches!(what, ids::SEEK_HEAD | ids::INFO | ids::TAGS | ids::ATTACHMENTS) {
                    places.extend(place);
                }
            }
        }
        ids::INFO => {
            let mut info = whole(source, found)?;
            while let Some((id, value)) = info.child()? {
                if id == ids::TITLE {
                    keep_utf8(&mut tags.title, &value.bytes());
                }
            }
        }
        ids::TAGS => {
            let mut all = whole(source, found)?;
            while let Some((id, tag)) = all.child()? {
                if id == TAG {
                    of_the_whole(tag, tags)?;
                }
            }
        }
        ids::ATTACHMENTS => attachments(source, steps, inside(found, source.len), tags)?,
        _ => {}
    }
    Ok(())
}

fn whole(source: &Source, found: &Element) -> Result<Body, Stop> {
    let range = inside(found, source.len);
    let range = range.start..range.end.min(range.start + PART_MAX);
    let base = range.start;
    let path = Path::root().child(found.id);
    Ok(Body::new(source.get(range, path)?, base, path))
}

/// One tag, unless it is of a single track.
fn of_the_whole(mut tag: Body, tags: &mut Tags) -> Result<(), Stop> {
    while let Some((id, mut value)) = tag.child()? {
        let (mut name, mut text) = (None, None);
        while matches!(id, TARGETS | SIMPLE_TAG)
            && let Some((id, field)) = value.child()?
        {
            match id {
                TAG_TRACK_UID => return Ok(()),
                TAG_NAME => name = Some(field.text()),
                TAG_STRING => text = Some(field.bytes()),
                _ => {}
            }
        }
        if let (Some(name), Some(text)) = (name, text)
            && let Some(field) = tags.named(&name)
        {
            keep_utf8(field, &text);
        }
    }
    Ok(())
}

/// Pictures are told by their bytes; one that is called `cover` comes before others (RFC 9559 §5.1.6: cover art is named so).
fn attachments(source: &Source, steps: &mut Steps, within: Range<u64>, tags: &mut Tags) -> Result<(), Stop> {
    let mut files = Walk { source, steps, at: within };
    while let Some(file) = files.find(ATTACHED_FILE)? {
        let mut fields = Walk { source, steps: files.steps, at: inside(&file, source.len) };
        let (mut is_cover, mut data) = (false, None);
        while let Some(field) = fields.next()? {
            let range = inside(&field, fields.at.end);
            match field.id {
                FILE_NAME => {
                    let name = source.peek(range.start, (range.end - range.start).min(6), AHEAD)?;
                    is_cover = name.get(..6).is_some_and(|name| name.eq_ignore_ascii_case(b"cover."));
                }
                FILE_DATA => data = Some(range),
                _ => {}
            }
        }
        // A font of many megabytes is not fetched to find out that it is none.
        if let Some(range) = data.filter(|it| it.end - it.start <= COVER_MAX) {
            let start = source.peek(range.start, (range.end - range.start).min(12), AHEAD)?;
            if picture_type(&start).is_some() && (is_cover || tags.cover.is_none()) {
                tags.picture(source.get(range, Path::root().child(FILE_DATA))?, is_cover);
            }
        }
    }
    Ok(())
}
