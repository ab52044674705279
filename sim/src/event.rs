//! What happens, and in which order: by time, then by who caused it, then in the order that it was caused. Nothing else decides, so any
//! number of threads gives the same run.

use baton_content::{Mask, PieceId};
use baton_swarm::{Channel, ConnId};
use bytes::Bytes;
use std::cmp::Ordering;

/// Something that happens to one peer or to the server.
#[derive(Debug)]
pub struct Event {
    pub time: u64,
    pub from: u32,
    pub seq: u64,
    pub what: What,
}

/// Offer or answer, as far as this world needs them. 32 bytes when sealed into a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    pub from: u32,
    /// The sender's connection.
    pub conn: ConnId,
    /// In an answer: the connection that the offer was for.
    pub answers: Option<ConnId>,
    /// In an answer: when both are connected.
    pub opens_at: u64,
}

impl Signal {
    pub fn to_blob(self) -> Bytes {
        let mut blob = Vec::with_capacity(28);
        blob.extend(self.from.to_le_bytes());
        blob.extend(self.conn.0.to_le_bytes());
        blob.extend(self.answers.map_or(0, |conn| conn.0).to_le_bytes());
        blob.extend(self.opens_at.to_le_bytes());
        blob.into()
    }

    pub fn from_blob(blob: &[u8]) -> Option<Signal> {
        let number = |at: usize| Some(u64::from_le_bytes(*blob.get(at..)?.first_chunk()?));
        let answers = number(12)?;
        Some(Signal {
            from: u32::from_le_bytes(*blob.first_chunk()?),
            conn: ConnId(number(4)?),
            answers: (answers != 0).then_some(ConnId(answers)),
            opens_at: number(20)?,
        })
    }
}

/// What peers say to the server.
#[derive(Debug)]
pub enum ToServer {
    Join,
    More,
    Report(u16, u8),
    Relay(u32, Signal),
    Leave,
}

#[derive(Debug)]
pub enum What {
    Join,
    /// Closes the tab.
    Leave,
    Seek,
    /// Asks for more candidates if it has few neighbours.
    Tick,
    /// At the router before the downlink.
    Arrive {
        conn: ConnId,
        channel: Channel,
        bytes: Bytes,
    },
    /// Through the downlink.
    Deliver {
        conn: ConnId,
        channel: Channel,
        bytes: Bytes,
    },
    /// The uplink takes more.
    Turn,
    Wake,
    Play,
    Load {
        piece: PieceId,
        mask: Mask,
    },
    Seal(PieceId),
    Server(ToServer),
    Candidates(Vec<u32>),
    Signal(Signal),
    /// Not in the swarm (any more).
    Unreachable(u32),
    /// An offer that nobody answered.
    OfferOver(ConnId),
    Open(ConnId),
    /// The other side closed the connection, or was not heard for so long that the browser gave up.
    Cut(ConnId),
    /// One of its connections dies.
    Break,
    /// Nothing comes through this connection from now on.
    Dead(ConnId),
    /// It is the last one of somebody who just woke.
    Spared(ConnId),
    Sleep,
    Awake,
}

impl Event {
    fn key(&self) -> (u64, u32, u64) {
        (self.time, self.from, self.seq)
    }
}

/// The earliest is the greatest: `BinaryHeap` gives the greatest first.
impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Event {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_survives_its_blob() {
        let signal = Signal {
            from: 7,
            conn: ConnId(9),
            answers: Some(ConnId(3)),
            opens_at: 1 << 40,
        };
        assert_eq!(Signal::from_blob(&signal.to_blob()), Some(signal));
        assert_eq!(Signal::from_blob(&[0; 3]), None);
    }
}
