//! ISO/IEC 14496-12 §4.2: boxes and the numbers in them, read with their place in the file.

use crate::MediaError;
use crate::error::{Fault, Path};
use crate::source::{Source, Stop};
use bytes::Bytes;

pub(crate) const fn id(kind: &[u8; 4]) -> u32 {
    u32::from_be_bytes(*kind)
}

/// A box at the top level of the file: only its header was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopBox {
    pub kind: u32,
    pub start: u64,
    pub body: u64,
    /// Past its last byte as it says; may lie past the end of a truncated file.
    pub end: u64,
}

/// The header at `at`; `None` at the end of the file. `ahead` bytes are asked for if it is not here.
pub(crate) fn top_box(source: &Source, at: u64, ahead: u64) -> Result<Option<TopBox>, Stop> {
    if source.len.saturating_sub(at) < 8 {
        return Ok(None);
    }
    let head = source.peek(at, 16, ahead)?;
    let word = |i: usize| head.get(i..i + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    let kind = word(4);
    let path = Path::root().child(kind);
    let (body, end) = match word(0) {
        0 => (at + 8, source.len),
        1 if head.len() < 16 => return Err(path.error(Fault::Truncated, at).into()),
        1 => (at + 16, at.saturating_add(u64::from(word(8)) << 32 | u64::from(word(12)))),
        size => (at + 8, at + u64::from(size)),
    };
    if end < body {
        return Err(path.error(Fault::BadSize, at).into());
    }
    Ok(Some(TopBox { kind, start: at, body, end }))
}

/// The inside of a box, read from the front. Every read past its end is an error that names the place.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    data: Bytes,
    pos: usize,
    /// Where `data` begins in the file.
    base: u64,
    pub path: Path,
}

impl Body {
    pub(crate) fn new(data: Bytes, base: u64, path: Path) -> Body {
        Body { data, pos: 0, base, path }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.base + self.pos as u64
    }

    pub(crate) fn left(&self) -> usize {
        self.data.len() - self.pos
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn error(&self, fault: Fault) -> MediaError {
        self.path.error(fault, self.offset())
    }

    #[inline(never)]
    pub(crate) fn take(&mut self, len: usize) -> Result<Bytes, MediaError> {
        if len > self.left() {
            return Err(self.error(Fault::Truncated));
        }
        let out = self.data.slice(self.pos..self.pos + len);
        self.pos += len;
        Ok(out)
    }

    /// `count` entries of `size` bytes each.
    #[inline(never)]
    pub(crate) fn table(&mut self, count: u32, size: usize) -> Result<Bytes, MediaError> {
        match (count as usize).checked_mul(size) {
            Some(len) => self.take(len),
            None => Err(self.error(Fault::TooLarge)),
        }
    }

    pub(crate) fn rest(&mut self) -> Bytes {
        let out = self.data.slice(self.pos..);
        self.pos = self.data.len();
        out
    }

    #[inline(never)]
    pub(crate) fn skip(&mut self, len: usize) -> Result<(), MediaError> {
        if len > self.left() {
            return Err(self.error(Fault::Truncated));
        }
        self.pos += len;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MediaError> {
        match self.data[self.pos..].first_chunk::<N>() {
            Some(bytes) => {
                self.pos += N;
                Ok(*bytes)
            }
            None => Err(self.error(Fault::Truncated)),
        }
    }

    #[inline(never)]
    pub(crate) fn u8(&mut self) -> Result<u8, MediaError> {
        self.array::<1>().map(|b| b[0])
    }

    #[inline(never)]
    pub(crate) fn u16(&mut self) -> Result<u16, MediaError> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline(never)]
    pub(crate) fn u32(&mut self) -> Result<u32, MediaError> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline(never)]
    pub(crate) fn u64(&mut self) -> Result<u64, MediaError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Version and flags of a full box.
    #[inline(never)]
    pub(crate) fn full(&mut self) -> Result<(u8, u32), MediaError> {
        let word = self.u32()?;
        Ok(((word >> 24) as u8, word & 0xff_ffff))
    }

    /// 64 bits in version 1, 32 before.
    #[inline(never)]
    pub(crate) fn sized(&mut self, version: u8) -> Result<u64, MediaError> {
        if version == 1 { self.u64() } else { self.u32().map(u64::from) }
    }

    /// The next box inside; `None` at the end. A few stray bytes at the end (QuickTime's zero terminator) are no box.
    #[inline(never)]
    pub(crate) fn child(&mut self) -> Result<Option<(u32, Body)>, MediaError> {
        if self.left() < 8 {
            self.pos = self.data.len();
            return Ok(None);
        }
        let start = self.pos;
        let size = self.u32()? as usize;
        let kind = self.u32()?;
        let path = self.path.child(kind);
        let len = match size {
            0 => self.left(),
            1 => usize::try_from(self.u64()?).ok().and_then(|s| s.checked_sub(16)).unwrap_or(usize::MAX),
            size => size.checked_sub(8).unwrap_or(usize::MAX),
        };
        if len > self.left() {
            return Err(path.error(Fault::BadSize, self.base + start as u64));
        }
        let base = self.offset();
        Ok(Some((kind, Body { data: self.take(len)?, pos: 0, base, path })))
    }

    /// The first child of a kind, from here on; leaves this body where it is.
    #[inline(never)]
    pub(crate) fn find(&self, kind: u32) -> Result<Option<Body>, MediaError> {
        let mut inside = self.clone();
        while let Some((found, body)) = inside.child()? {
            if found == kind {
                return Ok(Some(body));
            }
        }
        Ok(None)
    }

    /// A box further in, for what may be missing and is not worth an error.
    #[inline(never)]
    pub(crate) fn at(&self, path: &[&[u8; 4]]) -> Option<Body> {
        let mut inside = self.clone();
        for kind in path {
            inside = inside.find(id(kind)).ok()??;
        }
        Some(inside)
    }

    /// As `find`, but the box must be there.
    #[inline(never)]
    pub(crate) fn need(&self, kind: u32) -> Result<Body, MediaError> {
        self.find(kind)?.ok_or_else(|| self.path.child(kind).error(Fault::Missing, self.base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_box_and_the_byte() {
        let data = Bytes::from_static(b"\0\0\0\x10stbl\0\0\0\xffstsz");
        let mut body = Body::new(data, 1000, Path::root().child(id(b"minf")));
        let (_, stbl) = body.child().unwrap().unwrap();
        let error = stbl.need(id(b"stsz")).unwrap_err();
        assert_eq!(error.to_string(), "a size that does not fit its parent in minf/stbl/stsz at byte 1008");
    }
}
