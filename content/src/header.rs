//! The piece header: what lets anybody verify each block of a piece alone (docs/protocol.md section 4).
//!
//! `core 120 | signature 64 | hashes of the blocks, 32 each`. The core is signed; the hashes are not, they
//! recompute the root that is. A piece of one block has no hashes: its root is the hash of that block.

use bytes::Bytes;
use core::fmt;
use std::sync::Arc;
use thiserror::Error;

use crate::id::{BlockIndex, Lane, Mask, PieceId, PieceIndex, PublisherId, Root8, SwarmId};
use crate::keys::{self, PublisherKey, SIGNATURE_LEN};
use crate::read::Reader;
use crate::{BLOCK_LEN, PIECE_LEN, PIECES_PER_LANE_MAX, tree};

/// What the publisher signs of a piece. All there is to know of it without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Core {
    pub flags: PieceFlags,
    pub lane: Lane,
    pub index: PieceIndex,
    /// Bytes of the piece, 1..=[`PIECE_LEN`].
    pub len: u32,
    /// The key epoch that it is sealed in.
    pub epoch: u32,
    /// When its first sample is shown, in microseconds from the start; 0 where that means nothing.
    pub media_time_us: i64,
    pub swarm: SwarmId,
    /// XChaCha20's.
    pub nonce: [u8; 24],
    /// BLAKE3 of the sealed bytes.
    pub root: [u8; 32],
}

/// What a piece begins with. Bits that a reader does not know it keeps and ignores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PieceFlags(pub u16);

impl PieceFlags {
    pub const NONE: PieceFlags = PieceFlags(0);
    /// The piece begins a fragment (live) or a record (manifest).
    pub const FRAGMENT_START: PieceFlags = PieceFlags(1);
    /// Decoding can start at this piece.
    pub const RANDOM_ACCESS: PieceFlags = PieceFlags(2);

    pub fn contains(self, other: PieceFlags) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn or(self, other: PieceFlags) -> PieceFlags {
        PieceFlags(self.0 | other.0)
    }
}

impl Core {
    pub fn id(&self) -> PieceId {
        PieceId {
            lane: self.lane,
            index: self.index,
        }
    }

    /// The bytes that are signed.
    pub fn to_bytes(&self) -> [u8; CORE_LEN] {
        let mut bytes = [0; CORE_LEN];
        bytes[0..8].copy_from_slice(&CORE_FORMAT);
        bytes[8..10].copy_from_slice(&self.flags.0.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.lane.0.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.index.0.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.len.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.media_time_us.to_le_bytes());
        bytes[32..64].copy_from_slice(&self.swarm.0);
        bytes[64..88].copy_from_slice(&self.nonce);
        bytes[88..120].copy_from_slice(&self.root);
        bytes
    }

    fn read(bytes: &[u8; CORE_LEN]) -> Result<Core, HeaderError> {
        let mut reader = Reader::new(bytes);
        if reader.array() != Some(CORE_FORMAT) {
            return Err(HeaderError::UnknownFormat);
        }
        let core =
            Core::read_fields(&mut reader).expect("the array is as long as the fields together");
        if core.index.0 >= PIECES_PER_LANE_MAX {
            return Err(HeaderError::Index {
                index: core.index.0,
            });
        }
        if core.len == 0 || core.len as usize > PIECE_LEN {
            return Err(HeaderError::PieceLength {
                piece: core.id(),
                len: core.len,
            });
        }
        Ok(core)
    }

    fn read_fields(reader: &mut Reader<'_>) -> Option<Core> {
        Some(Core {
            flags: PieceFlags(reader.u16()?),
            lane: Lane(reader.u16()?),
            index: PieceIndex(reader.u32()?),
            len: reader.u32()?,
            epoch: reader.u32()?,
            media_time_us: reader.u64()?.cast_signed(),
            swarm: SwarmId(reader.array()?),
            nonce: reader.array()?,
            root: reader.array()?,
        })
    }
}

/// A core whose signature holds, without the hashes: what [`fraud_proof`] compares, and what is kept of a piece whose blocks nobody checks
/// at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedCore {
    core: Core,
    signature: [u8; SIGNATURE_LEN],
}

impl SignedCore {
    /// Reads [`SIGNED_CORE_LEN`] bytes: core and signature.
    pub fn parse(
        bytes: &[u8],
        publisher: &PublisherId,
        swarm: &SwarmId,
    ) -> Result<SignedCore, HeaderError> {
        let signed: &[u8; SIGNED_CORE_LEN] = bytes
            .try_into()
            .map_err(|_| HeaderError::Length { len: bytes.len() })?;
        let core = read_core(signed, swarm)?;
        check_signature(signed, &core, publisher)?;
        Ok(SignedCore::of(core, signed))
    }

    fn of(core: Core, signed: &[u8; SIGNED_CORE_LEN]) -> SignedCore {
        let (_, signature) = signed
            .split_last_chunk()
            .expect("a signed core ends with a signature");
        let signature = *signature;
        SignedCore { core, signature }
    }

    pub fn core(&self) -> &Core {
        &self.core
    }

    /// Core and signature, as on the wire.
    pub fn to_bytes(&self) -> [u8; SIGNED_CORE_LEN] {
        let mut bytes = [0; SIGNED_CORE_LEN];
        bytes[..CORE_LEN].copy_from_slice(&self.core.to_bytes());
        bytes[CORE_LEN..].copy_from_slice(&self.signature);
        bytes
    }

    /// The header, once its hashes are known again; `None` if they do not make the signed root.
    pub(crate) fn with_hashes(&self, hashes: &[[u8; 32]]) -> Option<Header> {
        let fits = match hashes {
            [] => hash_count(self.core.len) == 0,
            _ => hashes.len() == hash_count(self.core.len) && tree::root(hashes) == self.core.root,
        };
        fits.then(|| {
            let bytes = [&self.to_bytes()[..], hashes.as_flattened()].concat();
            let core = self.core;
            Header(Arc::new(Inner {
                core,
                bytes: bytes.into(),
            }))
        })
    }
}

/// The piece for which a publisher signed two different cores, if these two prove it.
pub fn fraud_proof(one: &SignedCore, other: &SignedCore) -> Option<PieceId> {
    (one.core.id() == other.core.id() && one.core != other.core).then(|| one.core.id())
}

/// A piece header that holds: signed by the publisher, and the hashes of its blocks recompute the signed root.
///
/// Only [`Header::parse`] and sealing make one. Cheap to clone.
#[derive(Clone)]
pub struct Header(Arc<Inner>);

/// What a verified header is known by when it is read again: a hash over all of it. Only a header makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark([u8; 32]);

struct Inner {
    core: Core,
    /// Core, signature and block hashes, as on the wire.
    bytes: Bytes,
}

impl Header {
    /// Reads and verifies the header of a piece of `swarm`, signed by `publisher`.
    pub fn parse(
        bytes: Bytes,
        publisher: &PublisherId,
        swarm: &SwarmId,
    ) -> Result<Header, HeaderError> {
        let wrong_length = HeaderError::Length { len: bytes.len() };
        let (signed, hashes) = bytes
            .split_first_chunk::<SIGNED_CORE_LEN>()
            .ok_or(wrong_length)?;
        let core = read_core(signed, swarm)?;
        let (hashes, rest) = hashes.as_chunks::<32>();
        if !rest.is_empty() || hashes.len() != hash_count(core.len) {
            return Err(wrong_length);
        }
        // The root first: it is the cheaper of the two, and hashes are the easier to forge.
        if !hashes.is_empty() && tree::root(hashes) != core.root {
            return Err(HeaderError::Root { piece: core.id() });
        }
        check_signature(signed, &core, publisher)?;
        // A copy, because a slice would keep the whole message alive that it came in.
        Ok(Header(Arc::new(Inner {
            core,
            bytes: Bytes::copy_from_slice(&bytes),
        })))
    }

    /// Reads again what was verified before, by its [`Header::mark`]: a signature need not be checked twice.
    pub fn parse_marked(bytes: Bytes, mark: &Mark) -> Option<Header> {
        if blake3::hash(&bytes) != mark.0 {
            return None;
        }
        let core = Core::read(bytes.first_chunk()?).ok()?;
        Some(Header(Arc::new(Inner { core, bytes })))
    }

    /// What this header is known by when it is read again.
    pub fn mark(&self) -> Mark {
        Mark(*blake3::hash(&self.0.bytes).as_bytes())
    }

    /// Signs a core over the block hashes that its root was computed from.
    pub(crate) fn sign(core: Core, hashes: &[[u8; 32]], key: &PublisherKey) -> Header {
        debug_assert_eq!(hashes.len(), hash_count(core.len));
        let signed = core.to_bytes();
        let mut bytes = Vec::with_capacity(SIGNED_CORE_LEN + 32 * hashes.len());
        bytes.extend(signed);
        bytes.extend(key.sign(&signed));
        bytes.extend(hashes.as_flattened());
        Header(Arc::new(Inner {
            core,
            bytes: bytes.into(),
        }))
    }

    /// What goes over the wire and to the disk.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    pub fn core(&self) -> &Core {
        &self.0.core
    }

    /// Core and signature: what proves fraud together with another.
    pub fn core_bytes(&self) -> Bytes {
        self.0.bytes.slice(..SIGNED_CORE_LEN)
    }

    /// What is left of it without the hashes.
    pub fn signed_core(&self) -> SignedCore {
        let signed = self.0.bytes.first_chunk();
        SignedCore::of(self.0.core, signed.expect("a header begins with its core"))
    }

    pub fn id(&self) -> PieceId {
        self.0.core.id()
    }

    /// Bytes of the piece, 1..=[`PIECE_LEN`].
    #[expect(clippy::len_without_is_empty, reason = "no piece is empty")]
    pub fn len(&self) -> usize {
        self.0.core.len as usize
    }

    /// Blocks of the piece, 1..=64.
    pub fn block_count(&self) -> usize {
        self.len().div_ceil(BLOCK_LEN)
    }

    /// Bytes of a block; 0 for one that the piece does not have.
    pub fn block_len(&self, block: BlockIndex) -> usize {
        self.len()
            .saturating_sub(usize::from(block.0) * BLOCK_LEN)
            .min(BLOCK_LEN)
    }

    /// All blocks of the piece.
    pub fn full_mask(&self) -> Mask {
        Mask::first_n(self.block_count())
    }

    pub fn root(&self) -> &[u8; 32] {
        &self.0.core.root
    }

    pub fn root8(&self) -> Root8 {
        let [a, b, c, d, e, f, g, h, ..] = self.0.core.root;
        Root8([a, b, c, d, e, f, g, h])
    }

    /// The hashes of the blocks: chaining values of the piece's BLAKE3 tree. Empty for a piece of one block.
    pub fn block_hashes(&self) -> &[[u8; 32]] {
        self.0.bytes[SIGNED_CORE_LEN..].as_chunks().0
    }

    /// Whether both are of the same core (their hashes are the same then, too).
    pub fn same_core(&self, other: &Header) -> bool {
        self.0.core == other.0.core
    }
}

impl PartialEq for Header {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for Header {}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Root8([a, b, c, d, ..]) = self.root8();
        write!(
            f,
            "Header({}, {} bytes, root {a:02x}{b:02x}{c:02x}{d:02x}..)",
            self.id(),
            self.len()
        )
    }
}

fn read_core(signed: &[u8; SIGNED_CORE_LEN], swarm: &SwarmId) -> Result<Core, HeaderError> {
    let core = Core::read(
        signed
            .first_chunk()
            .expect("a signed core begins with a core"),
    )?;
    if core.swarm != *swarm {
        return Err(HeaderError::OtherSwarm { piece: core.id() });
    }
    Ok(core)
}

fn check_signature(
    signed: &[u8; SIGNED_CORE_LEN],
    core: &Core,
    publisher: &PublisherId,
) -> Result<(), HeaderError> {
    let (message, signature) = signed
        .split_last_chunk()
        .expect("a signed core ends with a signature");
    if keys::verify(&publisher.0, message, signature) {
        Ok(())
    } else {
        Err(HeaderError::Signature { piece: core.id() })
    }
}

/// How many hashes stand beside the core of a piece of `len` bytes.
fn hash_count(len: u32) -> usize {
    match (len as usize).div_ceil(BLOCK_LEN) {
        1 => 0,
        count => count,
    }
}

/// Why bytes are not the header of a piece of this stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    #[error("a header of {len} bytes has a length that does not fit its contents")]
    Length { len: usize },
    #[error("the header is of a format that this Baton does not know")]
    UnknownFormat,
    #[error("piece index {index} is beyond what a lane can have")]
    Index { index: u32 },
    #[error("piece {piece} claims {len} bytes")]
    PieceLength { piece: PieceId, len: u32 },
    #[error("piece {piece} belongs to another swarm")]
    OtherSwarm { piece: PieceId },
    #[error("piece {piece}: the hashes of the blocks do not make the root")]
    Root { piece: PieceId },
    #[error("piece {piece}: the publisher did not sign this")]
    Signature { piece: PieceId },
}

/// What a core begins with.
const CORE_FORMAT: [u8; 8] = *b"batonpc1";
/// Bytes that are signed.
pub const CORE_LEN: usize = 120;
/// Core and signature.
pub const SIGNED_CORE_LEN: usize = CORE_LEN + SIGNATURE_LEN;
/// Bytes of the longest header: that of a piece of 64 blocks.
pub const HEADER_LEN_MAX: usize = SIGNED_CORE_LEN + 64 * 32;
