//! What nodes say to each other over sharded pub/sub. Pure: bytes in, bytes out.
//!
//! `kind (1) || sender's node (16) || swarm (32) || peer (32) || …`. A letter can make a node hand one blob to one of its clients, answer that a
//! peer is not there, or end the session of a peer that joined elsewhere; nothing else.

use baton_signal_protocol::{BLOB_MAX, PeerId, SwarmId};

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
}

/// A Relay's content, which only the peers can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    pub from: PeerId,
    pub to: PeerId,
    pub bytes: Vec<u8>,
}

/// The longest letter.
pub const LETTER_MAX: usize = 1 + 16 + 32 + 32 + 32 + BLOB_MAX;

impl Letter {
    pub fn encode(&self) -> Vec<u8> {
        let (kind, peer) = match &self.what {
            What::Relay(blob) => (0, &blob.from),
            What::Back { blob, full: false } => (1, &blob.from),
            What::Back { blob, full: true } => (2, &blob.from),
            What::Replaced { peer, .. } => (3, peer),
        };
        let mut bytes = vec![kind];
        bytes.extend(self.sender);
        bytes.extend(self.swarm);
        bytes.extend(peer);
        match &self.what {
            What::Relay(blob) | What::Back { blob, .. } => {
                bytes.extend(blob.to);
                bytes.extend(&blob.bytes);
            }
            What::Replaced { joined_unix_s, .. } => bytes.extend(joined_unix_s.to_be_bytes()),
        }
        bytes
    }

    /// `None` for whatever is no letter.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > LETTER_MAX {
            return None;
        }
        let (&kind, rest) = bytes.split_first()?;
        let (&sender, rest) = rest.split_first_chunk()?;
        let (&swarm, rest) = rest.split_first_chunk()?;
        let (&peer, rest) = rest.split_first_chunk()?;
        let blob = || {
            let (&to, bytes) = rest.split_first_chunk()?;
            Some(Blob {
                from: peer,
                to,
                bytes: bytes.to_vec(),
            })
        };
        let what = match kind {
            0 => What::Relay(blob()?),
            1 | 2 => What::Back {
                blob: blob()?,
                full: kind == 2,
            },
            3 => What::Replaced {
                peer,
                joined_unix_s: u64::from_be_bytes(rest.try_into().ok()?),
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
        [What::Relay(blob.clone()), back(false), back(true), replaced]
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
            assert_eq!(Letter::decode(&[&bytes[..], &[0; BLOB_MAX]].concat()), None);
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
