//! What a stream is: links, keys, heads, piece headers, sealing and verification.
//!
//! Pure: no clock, no disk, no socket, no source of randomness. Seeds, nonces and the time are
//! arguments. The byte layouts are normative in docs/protocol.md and fixed by golden vectors in
//! content/tests; whatever is signed has a fixed layout, postcard is used for the manifest only.
//!
//! The walk of one block through this crate: the publisher's [`seal()`] makes sealed bytes and a
//! [`Header`]; anybody who has the header turns bytes into a [`VerifiedBlock`] with
//! [`Header::verify`]; who also has the link opens it with [`LaneKey::apply`].
//!
//! For whoever wires this up:
//! - A link is made by [`Link::new`] and [`Link::add_server`] (which checks the origin), so that [`Link::encode`]
//!   cannot fail. [`Link::parse`] takes a fragment, with or without `#`, or a whole link.
//! - A [`Head`] names its swarm ([`SignedHead::parse`] checks it) and the publisher's clock. The next one begins
//!   with [`SignedHead::next`].
//! - [`seal_blocks`] gives the blocks of a fresh piece as [`VerifiedBlock`]s without hashing them again; what is
//!   sealed again from disk goes through [`LaneKey::apply`] and [`Header::verify`].
//! - An [`Entry`] names its lane, too. A piece of lane 0 says which part of which manifest it is, so
//!   [`Manifest::from_lane`] takes those that are there, in any order.

pub mod head;
pub mod header;
pub mod id;
pub mod keys;
pub mod layout;
pub mod link;
pub mod manifest;
pub mod path;
mod read;
pub mod record;
pub mod seal;
pub mod slot;
mod text;
pub mod ticket;
mod tree;
pub mod verify;

pub use head::{Head, HeadError, LaneState, SignedHead};
pub use header::{Core, Header, HeaderError, Mark, PieceFlags, SignedCore, fraud_proof};
pub use id::{BlockIndex, Lane, Mask, PeerId, PieceId, PieceIndex, PublisherId, Root8, SwarmId};
pub use keys::{PeerKey, PublisherKey, Secret, StreamKeys, SwarmKey, verify as verify_signature};
pub use link::{Link, LinkError};
pub use manifest::{ByteRange, Entry, Kind, Manifest, ManifestError, Poster};
pub use seal::{LaneKey, PieceMeta, Sealed, seal, seal_blocks};
pub use slot::{ContentKey, KeySlot, SlotError, SlotKey};
pub use ticket::Ticket;
pub use verify::{BlockError, VerifiedBlock};

/// Bytes of a block: the unit of requesting, verifying and blame. The last block of a piece may be shorter.
///
/// 16 KiB is 16 BLAKE3 chunks: the hashes of a piece's blocks are 0.2 % of it, and a data channel message
/// of 64 KiB carries three blocks.
pub const BLOCK_LEN: usize = 16 * 1024;

/// Bytes of a full piece: the unit that the publisher signs.
pub const PIECE_LEN: usize = 1 << 20;

/// Blocks of a full piece; which of them a peer has fits a `u64`.
pub const BLOCKS_PER_PIECE: usize = PIECE_LEN / BLOCK_LEN;

/// Pieces that one lane can have.
///
/// 16 Mi pieces are 16 TiB of film or 48 days of live fragments of 250 ms; a have-map of that many is still
/// only 2 MiB, so a dishonest head cannot make a peer allocate more.
pub const PIECES_PER_LANE_MAX: u32 = 1 << 24;

/// Lane 0 carries the manifest.
pub const MANIFEST_LANE: Lane = Lane(0);

/// The lane that the bytes of a shared file go to, unless the manifest says otherwise.
pub const DATA_LANE: Lane = Lane(1);
