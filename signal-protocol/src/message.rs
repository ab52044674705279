//! What a client and the server say to each other: one postcard message per binary WebSocket frame, its kind in the first byte.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{BLOB_MAX, CLIENT_MESSAGE_MAX, FRAME_MAX, Join, PeerId, SERVER_MESSAGE_MAX, VERSION};

/// From a client to the server. Kinds 0–7, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientMessage {
    /// The first message, and never a later one.
    Join(Join),
    /// Hand `blob` (at most [`BLOB_MAX`] bytes) to `to`, who is in the same swarm.
    Relay {
        to: PeerId,
        #[serde(with = "raw")]
        blob: Vec<u8>,
    },
    /// Name some more peers.
    More,
    /// How things stand here; helps the server to name better candidates.
    Report(Report),
    /// Goodbye. The server forgets the peer at once and closes.
    Leave,
    /// Give me a short name under which [`Find`](Self::Find) finds this ticket for a while. A later one takes the place of an earlier one.
    Name { ticket: Ticket },
    /// Which ticket has this name? The only message that may come before Join.
    Find { name: u16 },
    /// Hand a frame (at most [`FRAME_MAX`] bytes) of a [carried connection](crate::carry) to `to`, who is in the same swarm. Only to
    /// a server that said [`Carries`](ServerMessage::Carries).
    Carry {
        to: PeerId,
        #[serde(with = "raw")]
        frame: Vec<u8>,
    },
}

/// From the server to a client. Kinds 0–10, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerMessage {
    /// The answer to a good Join, in the same turn.
    Welcome {
        ice: Vec<IceServer>,
        /// Best first, at most 16.
        candidates: Vec<Candidate>,
        /// The server says something ([`Alive`](Self::Alive) if nothing else) at least this often. A client that heard
        /// nothing for twice this long has lost its server.
        keepalive_s: u16,
    },
    /// The answer to More. May be empty.
    Candidates(Vec<Candidate>),
    /// `blob` came from `from`, who is in the same swarm.
    Relay {
        from: PeerId,
        #[serde(with = "raw")]
        blob: Vec<u8>,
    },
    /// The peer that a Relay was for is not here.
    Gone { to: PeerId },
    /// The server does not do what was asked, and closes the socket.
    Refused {
        reason: Refusal,
        /// When it makes sense to try again; `None`: not without doing something differently.
        retry_ms: Option<u32>,
        /// The server's clock, for a client whose own is wrong ([`Refusal::Clock`]).
        server_unix_s: u64,
    },
    /// The server is about to stop: come back after this long (already jittered). The connections between peers stay.
    GoingAway { retry_ms: u32 },
    /// Nothing new; shows that the server is there.
    Alive,
    /// The answer to Name: below 32,768; `None` if there is none to give at the moment.
    Named { name: Option<u16>, lasts_s: u16 },
    /// The answer to Find.
    Found(Finding),
    /// This server carries connections: how much it takes from one client, in the long run. After Welcome, or never.
    Carries { bytes_per_second: u32 },
    /// `frame` came from `from`, who is in the same swarm.
    Carried {
        from: PeerId,
        #[serde(with = "raw")]
        frame: Vec<u8>,
    },
}

/// What a short name leads to: enough to join the room in which two devices meet to pair (docs/remote.md), and no secret of theirs.
pub type Ticket = [u8; 32];

/// What became of a Find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    Here(Ticket),
    /// No such name; or it has expired, or was found as often as it may be.
    Nobody,
    /// This address asked for too many names.
    TooMany,
}

/// A STUN or TURN server, in the words of RTCIceServer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    pub urls: Vec<String>,
    pub username: Option<String>,
    pub credential: Option<String>,
}

/// A peer worth connecting to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    pub peer: PeerId,
    /// Where it is, coarsely (a country at most), where the server knows.
    pub region: Option<String>,
    /// How much of the stream it says it has, 0..=1000.
    pub completeness_permille: u16,
    /// How many more peers it says it would serve.
    pub free_slots: u8,
}

/// How things stand at a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// 0..=1000; more counts as 1000.
    pub completeness_permille: u16,
    pub free_slots: u8,
    /// Upload that nobody uses, in kbit/s; 0 if unknown.
    pub spare_upload_kbit: u32,
}

/// Why the server said no. Numbers in this order, appended only; a client that meets one it does not know fails to decode it and
/// treats the closed socket as a lost server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// 0: another [`VERSION`].
    Version,
    /// 1: the Join's time is more than ten minutes off; `server_unix_s` says what time it is here.
    Clock,
    /// 2: the Join is not signed by the swarm key and the peer key over this host, its time and its PeerId.
    Signature,
    /// 3: not a message of this protocol.
    Malformed,
    /// 4: longer than the server takes.
    TooLarge,
    /// 5: a text frame.
    NotBinary,
    /// 6: something before Join, or a second Join.
    Order,
    /// 7: too many messages for the time.
    TooFast,
    /// 8: too many connections from this address.
    AddressConnections,
    /// 9: too many different swarms from this address.
    AddressSwarms,
    /// 10: the swarm has as many peers as this server keeps for one.
    SwarmFull,
    /// 11: the server has as many connections as it takes.
    ServerFull,
    /// 12: the same PeerId joined again elsewhere; the newer one stays.
    Replaced,
    /// 13: this PeerId is here already by a Join of the same time or a later one.
    Replayed,
    /// 14: this client does not read what it is sent.
    TooSlow,
    /// 15: no Join in time, or no sign of life.
    Idle,
}

/// An ed25519 signature: 64 bytes on the wire, without a length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the message is {len} bytes long, more than {max}")]
    TooLarge { len: usize, max: usize },
    #[error("an empty message")]
    Empty,
    #[error("message kind {0} is unknown")]
    UnknownKind(u8),
    #[error("signalling version {0} instead of {VERSION}")]
    Version(u8),
    #[error("the blob is {0} bytes long, more than {BLOB_MAX}")]
    Blob(usize),
    #[error("the frame is {0} bytes long, more than {FRAME_MAX}")]
    Frame(usize),
    #[error("the fields of message kind {0} are broken or cut off")]
    Fields(u8),
}

impl ClientMessage {
    /// The first byte of a [`Carry`](Self::Carry): the server accounts for it before it reads it.
    pub const CARRY: u8 = 7;
    const KINDS: u8 = 8;

    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Never panics. Bytes after the last known field are ignored.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let kind = kind(bytes, Self::KINDS, CLIENT_MESSAGE_MAX)?;
        if kind == 0 && bytes.get(1).is_some_and(|&version| version != VERSION) {
            return Err(DecodeError::Version(bytes[1]));
        }
        let message = postcard::take_from_bytes(bytes)
            .map_err(|_| DecodeError::Fields(kind))?
            .0;
        match &message {
            Self::Relay { blob, .. } => blob_len(blob)?,
            Self::Carry { frame, .. } => frame_len(frame)?,
            Self::Join(_)
            | Self::More
            | Self::Report(_)
            | Self::Leave
            | Self::Name { .. }
            | Self::Find { .. } => {}
        }
        Ok(message)
    }
}

impl ServerMessage {
    const KINDS: u8 = 11;

    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Never panics. [`DecodeError::UnknownKind`] is to be skipped: a later server may say more.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let kind = kind(bytes, Self::KINDS, SERVER_MESSAGE_MAX)?;
        let message = postcard::take_from_bytes(bytes)
            .map_err(|_| DecodeError::Fields(kind))?
            .0;
        match &message {
            Self::Relay { blob, .. } => blob_len(blob)?,
            Self::Carried { frame, .. } => frame_len(frame)?,
            _ => {}
        }
        Ok(message)
    }
}

fn encode(message: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(message)
        .expect("our messages hold only lengths and fields that postcard can write")
}

fn kind(bytes: &[u8], kinds: u8, max: usize) -> Result<u8, DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLarge {
            len: bytes.len(),
            max,
        });
    }
    match bytes.first() {
        None => Err(DecodeError::Empty),
        Some(&kind) if kind >= kinds => Err(DecodeError::UnknownKind(kind)),
        Some(&kind) => Ok(kind),
    }
}

fn blob_len(blob: &[u8]) -> Result<(), DecodeError> {
    if blob.len() > BLOB_MAX {
        Err(DecodeError::Blob(blob.len()))
    } else {
        Ok(())
    }
}

fn frame_len(frame: &[u8]) -> Result<(), DecodeError> {
    if frame.len() > FRAME_MAX {
        Err(DecodeError::Frame(frame.len()))
    } else {
        Ok(())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (first, second) = self.0.split_at(32);
        let halves: ([u8; 32], [u8; 32]) = (
            first.try_into().expect("half of 64"),
            second.try_into().expect("half of 64"),
        );
        halves.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (first, second) = <([u8; 32], [u8; 32])>::deserialize(from)?;
        let mut whole = [0; 64];
        whole[..32].copy_from_slice(&first);
        whole[32..].copy_from_slice(&second);
        Ok(Self(whole))
    }
}

/// Bytes as one run (a length and the bytes) instead of element by element: the same encoding, a copy instead of a loop.
pub(crate) mod raw {
    use super::*;

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        from.deserialize_bytes(Bytes)
    }
}
