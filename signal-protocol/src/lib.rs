//! The words that the signalling server and its clients share. Pure: no clock, socket nor randomness.
//!
//! - [`ClientMessage`] and [`ServerMessage`] travel over one WebSocket per swarm, binary frames, subprotocol [`SUBPROTOCOL`].
//! - [`join`] is what a [`Join`] signs: the swarm key shows that the link is known, the peer key that the PeerId is one's own.
//! - [`blob`] is what two peers say to each other through a server that must not understand it.
//! - [`carriage`] is what takes the place of a connection between two peers where the network lets none be made.
//! - [`sdp`] turns a browser's SDP into a [`Description`] and a `Description` back into an SDP made here.
//!
//! The bytes are normative in docs/signalling.md. Fields are only ever appended and bytes after the last known field are
//! ignored; anything else needs another [`VERSION`].
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod blob;
pub mod carriage;
pub mod carry;
pub mod description;
pub mod join;
pub mod message;
pub mod offers;
pub mod sdp;

pub use blob::{BlobError, Kind, Signal};
pub use carriage::{Carriage, CarriageEvent, Carried};
pub use description::{
    Address, CandidateKind, Description, DescriptionError, IceCandidate, Setup, TcpType, Transport,
};
pub use join::{Join, JoinError, join_bytes};
pub use message::{
    Candidate, ClientMessage, DecodeError, Finding, IceServer, Refusal, Report, ServerMessage,
    Signature, Ticket,
};
pub use offers::Offers;

/// The public key of a stream's swarm key pair: all of a stream that the server sees.
pub type SwarmId = [u8; 32];
/// The public key of one participant, per stream.
pub type PeerId = [u8; 32];

/// What this crate speaks; the first byte after a Join's kind.
pub const VERSION: u8 = 1;
/// The WebSocket subprotocol that clients offer and the server picks.
pub const SUBPROTOCOL: &str = "baton.1";

/// The longest message a server takes: a Relay of the longest blob fits four times over, and a socket can make the server
/// hold no more than this for a message that is not complete.
pub const CLIENT_MESSAGE_MAX: usize = 16 * 1024;
/// The longest message a client takes: a Welcome of 16 candidates and 16 ICE servers is below 16 KiB.
pub const SERVER_MESSAGE_MAX: usize = 64 * 1024;
/// The longest blob: a [`Description`] with all its candidates is below 3 KiB.
pub const BLOB_MAX: usize = 4096;
/// The longest frame of a [carried connection](carry): with what stands around it a client message still has room for it.
pub const FRAME_MAX: usize = 16_300;
/// How far a Join's time may be from the server's, either way. Long enough for clocks nobody sets, short enough that a Join read off
/// a plain-HTTP network soon opens nothing.
pub const JOIN_CLOCK_TOLERANCE_S: u64 = 600;
/// Short names are below this: three characters of five bits.
pub const NAMES: u16 = 1 << 15;
