//! What was wrong with a file, and where.

use std::fmt;

/// A broken or hostile file: what, in which box or element, at which byte. Boxed, because every read may return one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} in {} at byte {}", self.0.fault, self.0.path, self.0.offset)]
pub struct MediaError(Box<Place>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub fault: Fault,
    pub path: Path,
    /// From the beginning of the file.
    pub offset: u64,
}

impl std::ops::Deref for MediaError {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("ends too early")]
    Truncated,
    #[error("a size that does not fit its parent")]
    BadSize,
    #[error("a value that the format forbids")]
    BadValue,
    #[error("a required part is missing")]
    Missing,
    #[error("larger than we read")]
    TooLarge,
    #[error("more entries than we read")]
    TooMany,
}

/// How deep a path is remembered; ISO boxes that we read nest 8 deep (`moov/trak/mdia/minf/stbl/stsd/mp4a/esds`).
const DEPTH: usize = 8;

/// Box types or EBML element ids from the outside in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path {
    parts: [u32; DEPTH],
    len: u8,
}

impl Path {
    pub(crate) const fn root() -> Path {
        Path { parts: [0; DEPTH], len: 0 }
    }

    /// The path one level further in; past [`DEPTH`] the outer levels stay and the inner are left out.
    #[must_use]
    #[inline(never)]
    pub(crate) fn child(mut self, id: u32) -> Path {
        if let Some(slot) = self.parts.get_mut(usize::from(self.len)) {
            *slot = id;
            self.len += 1;
        }
        self
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn error(self, fault: Fault, offset: u64) -> MediaError {
        MediaError(Box::new(Place { fault, path: self, offset }))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len == 0 {
            return f.write_str("the file");
        }
        for (i, part) in self.parts.iter().take(usize::from(self.len)).enumerate() {
            if i > 0 {
                f.write_str("/")?;
            }
            let text = part.to_be_bytes();
            if text.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
                for b in text {
                    write!(f, "{}", char::from(b))?;
                }
            } else {
                write!(f, "{part:X}")?;
            }
        }
        Ok(())
    }
}
