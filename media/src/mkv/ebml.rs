//! EBML (RFC 8794): elements and the numbers in them.

use crate::MediaError;
use crate::error::{Fault, Path};
use crate::source::{Source, Stop};
use crate::text::short_text;
use bytes::Bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub id: u32,
    pub start: u64,
    pub body: u64,
    /// `None`: unknown size.
    pub end: Option<u64>,
}

/// The element header at `at`; `None` at `limit`. `ahead` bytes are asked for if it is not here.
pub(crate) fn element(source: &Source, at: u64, limit: u64, ahead: u64) -> Result<Option<Element>, Stop> {
    let limit = limit.min(source.len);
    if at >= limit {
        return Ok(None);
    }
    let head = source.peek(at, 12, ahead)?;
    let head = &head[..head.len().min((limit - at) as usize)];
    match header(head) {
        Some((id, size, len)) => {
            let body = at + len as u64;
            Ok(Some(Element { id, start: at, body, end: size.map(|s| body.saturating_add(s)) }))
        }
        None => Err(Path::root().error(Fault::BadValue, at).into()),
    }
}

/// Id, size and length of the header.
pub(crate) fn header(data: &[u8]) -> Option<(u32, Option<u64>, usize)> {
    let first = *data.first()?;
    let id_len = first.leading_zeros() as usize + 1;
    if id_len > 4 {
        return None;
    }
    let id = data.get(..id_len)?.iter().fold(0u32, |v, b| v << 8 | u32::from(*b));
    let (size, size_len) = vint(data.get(id_len..)?)?;
    Some((id, size, id_len + size_len))
}

/// A variable-size integer and its length; all ones mean unknown.
pub(crate) fn vint(data: &[u8]) -> Option<(Option<u64>, usize)> {
    let first = *data.first()?;
    let len = first.leading_zeros() as usize + 1;
    if len > 8 {
        return None;
    }
    let bytes = data.get(..len)?;
    let mask = (1u64 << (7 * len)) - 1;
    let value = bytes.iter().fold(0u64, |v, b| v << 8 | u64::from(*b)) & mask;
    Some(((value != mask).then_some(value), len))
}

/// The inside of an element that was read whole.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    data: Bytes,
    pos: usize,
    base: u64,
    path: Path,
}

impl Body {
    pub(crate) fn new(data: Bytes, base: u64, path: Path) -> Body {
        Body { data, pos: 0, base, path }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn error(&self, fault: Fault) -> MediaError {
        self.path.error(fault, self.base + self.pos as u64)
    }

    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }

    #[inline(never)]
    pub(crate) fn bytes(&self) -> Bytes {
        self.data.clone()
    }

    #[inline(never)]
    pub(crate) fn child(&mut self) -> Result<Option<(u32, Body)>, MediaError> {
        let rest = &self.data[self.pos..];
        if rest.is_empty() {
            return Ok(None);
        }
        let Some((id, size, len)) = header(rest) else { return Err(self.error(Fault::BadValue)) };
        let left = (rest.len() - len) as u64;
        let size = size.unwrap_or(left);
        let path = self.path.child(id);
        if size > left {
            return Err(path.error(Fault::BadSize, self.base + self.pos as u64));
        }
        let from = self.pos + len;
        self.pos = from + size as usize;
        let body = Body { data: self.data.slice(from..self.pos), pos: 0, base: self.base + from as u64, path };
        Ok(Some((id, body)))
    }

    /// Unsigned, big-endian, 0 to 8 bytes.
    #[inline(never)]
    pub(crate) fn number(&self) -> Result<u64, MediaError> {
        match self.data.len() {
            0..=8 => Ok(self.data.iter().fold(0, |v, b| v << 8 | u64::from(*b))),
            _ => Err(self.error(Fault::BadSize)),
        }
    }

    #[inline(never)]
    pub(crate) fn float(&self) -> Result<f64, MediaError> {
        match &self.data[..] {
            [] => Ok(0.0),
            [a, b, c, d] => Ok(f64::from(f32::from_be_bytes([*a, *b, *c, *d]))),
            &[a, b, c, d, e, f, g, h] => Ok(f64::from_be_bytes([a, b, c, d, e, f, g, h])),
            _ => Err(self.error(Fault::BadSize)),
        }
    }

    pub(crate) fn text(&self) -> String {
        short_text(&self.data).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_known_and_unknown_are_read() {
        assert_eq!(header(&[0x1a, 0x45, 0xdf, 0xa3, 0x9f]), Some((0x1a45_dfa3, Some(31), 5)));
        assert_eq!(header(&[0xa3, 0x40, 0x02]), Some((0xa3, Some(2), 3)));
        assert_eq!(header(&[0x18, 0x53, 0x80, 0x67, 0x01, 255, 255, 255, 255, 255, 255, 255]).unwrap().1, None);
        assert_eq!(header(&[0x18, 0x53, 0x80, 0x67, 0xff]).unwrap().1, None);
        assert_eq!(header(&[0x08, 0, 0, 0, 0]), None);
        assert_eq!(vint(&[]), None);
    }
}
