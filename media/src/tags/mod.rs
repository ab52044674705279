//! What a file says of itself: title, artist, album, cover. Apart from the engine, so that whoever only plays carries none of it.

mod id3;
mod mkv;
mod mp4;
mod vorbis;
mod wav;

use crate::cache::Cache;
use crate::source::{Source, Stop};
use crate::{mkv as matroska, mp4 as boxes, sound};
use bytes::Bytes;
use std::ops::Range;

/// The largest picture that is taken, bytes: scans of covers have 5 MB.
const COVER_MAX: u64 = 8 << 20;
/// Fields longer than this are no names.
const WORDS_MAX: usize = 256;
/// Bytes that are held; what is larger is not read.
const HELD_MAX: u64 = 20 << 20;
/// Boxes, elements and chunks that are looked at in one file.
const STEPS_MAX: u32 = 4096;
/// Asked for at once, bytes: one block.
const AHEAD: u64 = 16 << 10;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    pub title: Option<String>,
    pub artist: Option<String>,
    pub album: Option<String>,
    pub cover: Option<Cover>,
}

/// A picture of a type that every browser shows: by its first bytes, whatever the file calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cover {
    pub mime: &'static str,
    pub bytes: Bytes,
}

/// Reads them, without IO: [`poll`](TagReader::poll) says which bytes it needs.
pub struct TagReader {
    len: u64,
    cache: Cache,
}

impl TagReader {
    /// `len` is the file's length in bytes.
    pub fn new(len: u64) -> TagReader {
        TagReader { len, cache: Cache::default() }
    }

    /// Takes bytes of the file, in any order.
    pub fn handle_bytes(&mut self, offset: u64, bytes: Bytes) {
        let inside = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
        self.cache.insert(offset, &bytes.slice(..inside));
    }

    /// What was found, or the bytes to give before it is asked again. What is broken is passed over; a file of another kind has nothing.
    pub fn poll(&self) -> Result<Tags, Range<u64>> {
        let source = Source::new(&self.cache, self.len);
        let mut tags = Tags::default();
        match read(&source, &mut tags) {
            Err(Stop::Need(range)) if self.held_with(&range) <= HELD_MAX => Err(range),
            _ => Ok(tags),
        }
    }

    /// Bytes that are held once all of `range` is here; part of it may be already.
    fn held_with(&self, range: &Range<u64>) -> u64 {
        let missing = self.cache.missing(range.clone());
        self.cache.held() as u64 + missing.iter().map(|gap| gap.end - gap.start).sum::<u64>()
    }
}

fn read(source: &Source, tags: &mut Tags) -> Result<(), Stop> {
    let head = source.peek(0, 1024, AHEAD)?;
    if boxes::sniff(&head) {
        mp4::read(source, tags)
    } else if matroska::sniff(&head) {
        mkv::read(source, tags)
    } else if sound::is_flac(&head) {
        vorbis::read_flac(source, tags)
    } else if sound::is_ogg(&head) {
        vorbis::read_ogg(source, tags)
    } else if sound::is_wav(&head) {
        wav::read(source, tags)
    } else {
        id3::read(source, 0, tags)
    }
}

/// Counts down what is looked at: a file of empty boxes ends too.
struct Steps(u32);

impl Steps {
    fn new() -> Steps {
        Steps(STEPS_MAX)
    }

    /// Whether one more may be looked at.
    fn take(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 > 0
    }
}

impl Tags {
    /// Which field this is, by the names that Vorbis comments, Matroska and QuickTime share.
    fn named(&mut self, name: &str) -> Option<&mut Option<String>> {
        let is = |word: &str| name.eq_ignore_ascii_case(word);
        match () {
            () if is("title") => Some(&mut self.title),
            () if is("artist") => Some(&mut self.artist),
            () if is("album") => Some(&mut self.album),
            () => None,
        }
    }

    /// Keeps a picture if browsers show it; the first one, unless a later one is `better`.
    fn picture(&mut self, bytes: Bytes, better: bool) {
        let Some(mime) = picture_type(&bytes) else { return };
        if bytes.len() as u64 <= COVER_MAX && (better || self.cover.is_none()) {
            self.cover = Some(Cover { mime, bytes });
        }
    }
}

/// The type of a picture that every browser shows, by its first twelve bytes.
fn picture_type(start: &[u8]) -> Option<&'static str> {
    Some(match start {
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        _ => return None,
    })
}

/// The first words of a field are kept.
fn keep(field: &mut Option<String>, text: &str) {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    if field.is_none() && !text.is_empty() {
        *field = Some(text.chars().take(WORDS_MAX).collect());
    }
}

fn keep_utf8(field: &mut Option<String>, text: &[u8]) {
    keep(field, &String::from_utf8_lossy(&text[..text.len().min(4 * WORDS_MAX)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pictures_that_browsers_show_are_covers() {
        let mut tags = Tags::default();
        tags.picture(Bytes::from_static(b"<svg onload=alert(1)>"), false);
        tags.picture(Bytes::from_static(b""), false);
        assert_eq!(tags.cover, None);
        tags.picture(Bytes::from_static(b"\xff\xd8\xff\xe0first"), false);
        tags.picture(Bytes::from_static(b"GIF89a second"), false);
        assert_eq!(tags.cover.as_ref().map(|c| c.mime), Some("image/jpeg"));
        tags.picture(Bytes::from_static(b"RIFF\0\0\0\0WEBPVP8 "), true);
        assert_eq!(tags.cover.map(|c| c.mime), Some("image/webp"));
    }

    #[test]
    fn what_would_be_more_than_may_be_held_is_not_asked_for() {
        // An ID3 tag of 15 MiB, of which the first 9 MiB are here: their bytes do not count twice.
        let mut reader = TagReader::new(40 << 20);
        let head = [&b"ID3\x03\0\0\x07\x40\0\0"[..], &[0; (9 << 20) - 10]].concat();
        reader.handle_bytes(0, head.into());
        assert_eq!(reader.poll(), Err(10..10 + (15 << 20)));
        reader.handle_bytes(30 << 20, vec![0; 6 << 20].into());
        assert_eq!(reader.poll(), Ok(Tags::default()));
    }

    #[test]
    fn a_file_of_another_kind_has_none() {
        let mut reader = TagReader::new(9);
        assert_eq!(reader.poll(), Err(0..9));
        reader.handle_bytes(0, Bytes::from_static(b"no film, and longer than it may be"));
        assert_eq!(reader.poll(), Ok(Tags::default()));
    }
}
