//! Records of a log that outlives a crash: `kind 1 | length 4 | payload | first 4 bytes of BLAKE3 of all before`, numbers
//! little-endian. The first one that is not whole is where the log ends; what kinds there are is the log's own affair.

use crate::{Lane, PieceId};

/// Bytes of a record before its payload.
pub const RECORD_HEAD_LEN: usize = 5;
const CHECK_LEN: usize = 4;

/// A record that is whole and what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub kind: u8,
    pub payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record that these bytes begin with; `None` where the log ends or is torn, or the payload would be longer than `payload_max`.
    pub fn first(bytes: &'a [u8], payload_max: usize) -> Option<Record<'a>> {
        let (head, rest) = bytes.split_first_chunk::<RECORD_HEAD_LEN>()?;
        let [kind, len @ ..] = *head;
        let len = u32::from_le_bytes(len) as usize;
        if len > payload_max {
            return None;
        }
        let (payload, rest) = rest.split_at_checked(len)?;
        let stored = rest.first_chunk::<CHECK_LEN>()?;
        let record = Record { kind, payload };
        (check(&bytes[..RECORD_HEAD_LEN + len]) == *stored).then_some(record)
    }

    /// Bytes in the log.
    pub fn log_len(&self) -> usize {
        RECORD_HEAD_LEN + self.payload.len() + CHECK_LEN
    }

    /// The place that the payload begins with, as [`push_piece_record`] wrote it, and what follows.
    pub fn piece(&self) -> Option<(PieceId, &'a [u8])> {
        split_piece(self.payload)
    }
}

/// Lane 2, index 4, and what follows them.
pub fn split_piece(bytes: &[u8]) -> Option<(PieceId, &[u8])> {
    let (lane, rest) = bytes.split_first_chunk::<2>()?;
    let (index, rest) = rest.split_first_chunk::<4>()?;
    let lane = Lane(u16::from_le_bytes(*lane));
    Some((PieceId::new(lane, u32::from_le_bytes(*index)), rest))
}

/// Appends a record whose payload is these parts.
pub fn push_record(log: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let start = log.len();
    let len: usize = parts.iter().map(|part| part.len()).sum();
    log.push(kind);
    log.extend((len as u32).to_le_bytes());
    for part in parts {
        log.extend_from_slice(part);
    }
    let check = check(&log[start..]);
    log.extend(check);
}

/// Appends a record that speaks of a piece: `lane 2 | index 4 | rest`.
pub fn push_piece_record(log: &mut Vec<u8>, kind: u8, piece: PieceId, rest: &[u8]) {
    let (lane, index) = (piece.lane.0.to_le_bytes(), piece.index.0.to_le_bytes());
    push_record(log, kind, &[&lane, &index, rest]);
}

fn check(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let [a, b, c, d, ..] = *blake3::hash(bytes).as_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_torn_or_changed_anywhere_is_no_record() {
        let mut log = Vec::new();
        push_piece_record(&mut log, 3, PieceId::new(Lane(1), 70_000), b"here");
        let first = log.len();
        push_record(&mut log, 5, &[b"and ", b"there"]);
        let record = Record::first(&log, 10).expect("it is whole");
        assert_eq!((record.kind, record.log_len()), (3, first));
        assert_eq!(
            record.piece(),
            Some((PieceId::new(Lane(1), 70_000), &b"here"[..]))
        );
        let next = Record::first(&log[first..], 9).expect("it is whole");
        assert_eq!(
            next,
            Record {
                kind: 5,
                payload: b"and there"
            }
        );
        assert_eq!(Record::first(&log[first..], 8), None, "too long");
        for len in 0..first {
            assert_eq!(Record::first(&log[..len], 10), None, "cut after {len}");
        }
        for at in 0..first {
            let mut changed = log.clone();
            changed[at] ^= 1;
            assert_eq!(Record::first(&changed, 10), None, "changed at {at}");
        }
    }
}
