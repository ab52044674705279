//! Transport packets, program tables and PES headers (ISO/IEC 13818-1 §2.4).

use crate::source::{Source, Stop};
use bytes::Bytes;

/// Where packets lie: 188 bytes each, in `.m2ts` behind four bytes of arrival time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub stride: u64,
    /// From the file's beginning to the first sync byte.
    pub first: u64,
}

const SYNC: u8 = 0x47;

impl Layout {
    /// From the first bytes: five sync bytes in a row.
    pub(super) fn detect(head: &[u8]) -> Option<Layout> {
        [188usize, 192, 204].into_iter().find_map(|stride| {
            let found = (0..stride).find(|first| (0..5).all(|i| head.get(first + i * stride) == Some(&SYNC)))?;
            Some(Layout { stride: stride as u64, first: found as u64 })
        })
    }

    /// The first packet that begins at or after `at`.
    pub(super) fn align(self, at: u64) -> u64 {
        let past = at.saturating_sub(self.first);
        self.first + past.div_ceil(self.stride) * self.stride
    }
}

/// One packet's payload.
pub(super) struct Packet {
    pub pid: u16,
    /// A PES packet or a table begins here.
    pub start: bool,
    pub random_access: bool,
    pub payload: Bytes,
}

/// Reads the packet at `at`; `None` for one that is damaged, scrambled or empty.
pub(super) fn parse(data: &Bytes) -> Option<Packet> {
    let head: &[u8; 4] = data.first_chunk()?;
    if head[0] != SYNC || head[1] & 0x80 != 0 || head[3] & 0xc0 != 0 {
        return None;
    }
    let mut from = 4;
    let mut random_access = false;
    if head[3] & 0x20 != 0 {
        let len = usize::from(*data.get(4)?);
        random_access = len > 0 && data.get(5)? & 0x40 != 0;
        from = 5 + len;
    }
    if head[3] & 0x10 == 0 || from >= 188 {
        return None;
    }
    Some(Packet {
        pid: u16::from(head[1] & 0x1f) << 8 | u16::from(head[2]),
        start: head[1] & 0x40 != 0,
        random_access,
        payload: data.slice(from..188.min(data.len())),
    })
}

/// The next whole packets that are here, at most 350: some 64 KiB.
pub(super) fn window(source: &Source, layout: Layout, at: u64) -> Result<Option<Bytes>, Stop> {
    if at + 188 > source.len {
        return Ok(None);
    }
    source.peek(at, 188, layout.stride * 350).map(Some)
}

/// A table section from its first packet's payload: what is between pointer and checksum.
fn section(payload: &[u8], table: u8) -> Option<&[u8]> {
    let section = payload.get(1 + usize::from(*payload.first()?)..)?;
    if *section.first()? != table {
        return None;
    }
    let len = usize::from(section.get(1)? & 15) << 8 | usize::from(*section.get(2)?);
    section.get(8..(3 + len).checked_sub(4)?.min(section.len()))
}

/// The first program's map (§2.4.4.3).
pub(super) fn program_map_pid(payload: &[u8]) -> Option<u16> {
    let entries = section(payload, 0)?.chunks_exact(4);
    entries.filter(|e| e[0] != 0 || e[1] != 0).map(|e| u16::from(e[2] & 0x1f) << 8 | u16::from(e[3])).next()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub kind: StreamKind,
    pub pid: u16,
    pub language: Option<[u8; 3]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamKind {
    Avc,
    Hevc,
    Aac,
    Mpeg,
    Ac3,
    Eac3,
    Other(u8),
}

/// The streams of a program (§2.4.4.8). A map that spans packets is read as far as the first one goes.
pub(super) fn program_map(payload: &[u8]) -> Option<Vec<Entry>> {
    let body = section(payload, 2)?;
    let mut at = 4 + (usize::from(body.get(2)? & 15) << 8 | usize::from(*body.get(3)?));
    let mut out = Vec::new();
    while let Some(head) = body.get(at..at + 5) {
        let info_len = usize::from(head[3] & 15) << 8 | usize::from(head[4]);
        let info = body.get(at + 5..(at + 5 + info_len).min(body.len())).unwrap_or(&[]);
        let mut kind = match head[0] {
            0x1b => StreamKind::Avc,
            0x24 => StreamKind::Hevc,
            0x0f => StreamKind::Aac,
            0x03 | 0x04 => StreamKind::Mpeg,
            0x81 => StreamKind::Ac3,
            0x84 | 0x87 => StreamKind::Eac3,
            other => StreamKind::Other(other),
        };
        let mut language = None;
        let mut rest = info;
        while let [tag, len, more @ ..] = rest {
            let (data, after) = more.split_at(usize::from(*len).min(more.len()));
            match (tag, data) {
                (0x0a, [a, b, c, ..]) => language = Some([*a, *b, *c]),
                // DVB says AC-3 in private data by descriptor.
                (0x6a, _) if head[0] == 6 => kind = StreamKind::Ac3,
                (0x7a, _) if head[0] == 6 => kind = StreamKind::Eac3,
                (0x05, b"HEVC") if head[0] == 6 => kind = StreamKind::Hevc,
                (0x05, b"AC-3") if head[0] == 6 => kind = StreamKind::Ac3,
                // Teletext and subtitles.
                (0x56 | 0x59, _) if head[0] == 6 => kind = StreamKind::Other(0),
                _ => {}
            }
            rest = after;
        }
        out.push(Entry { kind, pid: u16::from(head[1] & 0x1f) << 8 | u16::from(head[2]), language });
        at += 5 + info_len;
    }
    Some(out)
}

/// Presentation and decode time (90 kHz, 33 bits) of a PES packet, and where its payload begins (§2.4.3.6).
pub(super) fn pes(payload: &[u8]) -> Option<(Option<u64>, Option<u64>, usize)> {
    let head: &[u8; 9] = payload.first_chunk()?;
    if head[..3] != [0, 0, 1] || head[6] & 0xc0 != 0x80 {
        return None;
    }
    let stamp = |at: usize| {
        let b: &[u8; 5] = payload.get(at..)?.first_chunk()?;
        let high = u64::from(b[0] >> 1 & 7) << 30;
        Some(high | u64::from(b[1]) << 22 | u64::from(b[2] >> 1) << 15 | u64::from(b[3]) << 7 | u64::from(b[4] >> 1))
    };
    let pts = if head[7] & 0x80 != 0 { stamp(9) } else { None };
    let dts = if head[7] & 0xc0 == 0xc0 { stamp(14) } else { pts };
    let start = 9 + usize::from(head[8]);
    (start <= payload.len()).then_some((pts, dts, start))
}
