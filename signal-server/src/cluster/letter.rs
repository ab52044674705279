//! What nodes say to each other over sharded pub/sub. Pure: bytes in, bytes out.
//!
//! `kind (1) || sender's node (16) || swarm (32) || peer (32) || …`. A letter can make a node hand one blob or one frame of a carried connection to
//! one of its clients, answer that a peer is not there, or end the session of a peer that joined elsewhere; nothing else.

use baton_signal_protocol::{BLOB_MAX, FRAME_MAX, PeerId, SwarmId};

use crate::cluster::presence::NodeId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The node that sent it, for the answer.
    pub sender: NodeId,
    pub swarm: SwarmId,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Relay(Blob),
    /// The way back of a Relay whose receiver is not at the node that got it, or has too much waiting (`full`).
    Back {
        blob: Blob,
        full: bool,
    },
    /// The peer joined at the sender's node.
    Replaced {
        peer: PeerId,
        joined_unix_s: u64,
    },
    /// A frame of a carried connection.
    Carry(Blob),
    /// Such a frame did not get to its receiver, which ends that connection.
    Lost {
        from: PeerId,
        to: PeerId,
    },
}

/// A Relay's or a Carry's content, which only the peers can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    pub from: PeerId,
    pub to: PeerId,
    pub bytes: Vec<u8>,
}

/// The longest letter: one with a frame.
pub const LETTER_MAX: usize = HEAD + FRAME_MAX;
/// What stands before a blob or frame: kind, node, swarm, and both peers.
const HEAD: usize = 1 + 16 + 32 + 32 + 32;

impl Letter {
    pub fn encode(&self) -> Vec<u8> {
        let (kind, peer) = match &self.what {
            What::Relay(blob) => (0, &blob.from),
            What::Back { blob, full: false } => (1, &blob.from),
            What::Back { blob, full: true } => (2, &blob.from),
            What::Replaced { peer, .. } => (3, peer),
            What::Carry(frame) => (4, &frame.from),
            What::Lost { from, .. } => (5, from),
        };
        let mut bytes = vec![kind];
        bytes.extend(self.sender);
        bytes.extend(self.swarm);
        bytes.extend(peer);
        match &self.what {
            What::Relay(blob) | What::Back { blob, .. } | What::Carry(blob) => {
                bytes.extend(blob.to);
                bytes.extend(&blob.bytes);
            }
            What::Lost { to, .. } => bytes.extend(to),
            What::Replaced { joined_unix_s, .. } => bytes.extend(joined_unix_s.to_be_bytes()),
        }
        bytes
    }

    /// `None` for whatever is no letter.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&kind, rest) = bytes.split_first()?;
        let (&sender, rest) = rest.split_first_chunk()?;
        let (&swarm, rest) = rest.split_first_chunk()?;
        let (&peer, rest) = rest.split_first_chunk()?;
        let blob = |max: usize| {
            let (&to, bytes) = rest.split_first_chunk()?;
            (bytes.len() <= max).then(|| Blob {
                from: peer,
                to,
                bytes: bytes.to_vec(),
            })
        };
        let what = match kind {
            0 => What::Relay(blob(BLOB_MAX)?),
            1 | 2 => What::Back {
                blob: blob(BLOB_MAX)?,
                full: kind == 2,
            },
            3 => What::Replaced {
                peer,
                joined_unix_s: u64::from_be_bytes(rest.try_into().ok()?),
            },
            4 => What::Carry(blob(FRAME_MAX)?),
            5 => What::Lost {
                from: peer,
                to: rest.try_into().ok()?,
            },
            _ => return None,
        };
        Some(Self {
            sender,
            swarm,
            what,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn letters() -> Vec<Letter> {
        let blob = Blob {
            from: [3; 32],
            to: [4; 32],
            bytes: vec![5; BLOB_MAX],
        };
        let replaced = What::Replaced {
            peer: [6; 32],
            joined_unix_s: 1_800_000_000,
        };
        let back = |full| What::Back {
            blob: blob.clone(),
            full,
        };
        let frame = Blob {
            bytes: vec![7; FRAME_MAX],
            ..blob.clone()
        };
        let lost = What::Lost {
            from: [3; 32],
            to: [4; 32],
        };
        let words = [
            What::Relay(blob.clone()),
            back(false),
            back(true),
            replaced,
            What::Carry(frame),
            lost,
        ];
        words
            .map(|what| Letter {
                sender: [1; 16],
                swarm: [2; 32],
                what,
            })
            .to_vec()
    }

    #[test]
    fn letters_read_as_they_were_written() {
        for letter in letters() {
            let bytes = letter.encode();
            assert!(bytes.len() <= LETTER_MAX);
            assert_eq!(Letter::decode(&bytes), Some(letter));
        }
    }

    #[test]
    fn cut_off_and_overlong_letters_are_none() {
        for letter in letters() {
            let bytes = letter.encode();
            assert_eq!(Letter::decode(&bytes[..80]), None);
            assert_eq!(Letter::decode(&[&bytes[..], &[0; 1]].concat()), None);
        }
        assert_eq!(Letter::decode(&[9; 200]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Letter::decode(&bytes);
        }
    }
}
