//! The head: the small signed state of a stream, in clear so that keepers obey it too (docs/protocol.md section 3).

use bytes::Bytes;
use thiserror::Error;

use crate::id::{Lane, PublisherId, SwarmId};
use crate::keys::{self, PublisherKey, SIGNATURE_LEN};
use crate::read::Reader;
use crate::slot::{ContentKey, KeySlot, SLOT_LINK, SlotError, SlotKey};
use crate::{MANIFEST_LANE, PIECES_PER_LANE_MAX};

/// What the publisher says of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The swarm that this is the head of.
    pub swarm: SwarmId,
    /// Grows by at least one with each head; the highest wins.
    pub revision: u64,
    /// [`SignedHead::hash`] of the head before this one; zeros in the first.
    pub previous: [u8; 32],
    /// In ascending order of lane. A lane that is not listed has no pieces yet.
    pub lanes: Vec<LaneState>,
    /// Nothing will ever be added: no lane is open.
    pub ended: bool,
    /// When to forget the stream, in seconds since 1970; 0 is never.
    pub expires_unix_s: u64,
    /// The publisher's clock when it signed, in milliseconds since 1970; 0 when it does not say.
    pub clock_unix_ms: u64,
    /// The key epoch that new pieces are sealed in.
    pub epoch: u32,
    pub slots: Vec<KeySlot>,
}

/// How far one lane has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneState {
    pub lane: Lane,
    /// Pieces that exist so far; when the lane is not open, all there will be.
    pub pieces: u32,
    /// More pieces may come.
    pub open: bool,
}

impl Head {
    /// The first head of a stream: no pieces yet, never expires, no slots. Set the rest before signing.
    pub fn new(swarm: SwarmId) -> Self {
        Head {
            swarm,
            revision: 1,
            previous: [0; 32],
            lanes: Vec::new(),
            ended: false,
            expires_unix_s: 0,
            clock_unix_ms: 0,
            epoch: 0,
            slots: Vec::new(),
        }
    }

    pub fn lane(&self, lane: Lane) -> Option<&LaneState> {
        let place = self
            .lanes
            .binary_search_by_key(&lane, |state| state.lane)
            .ok()?;
        self.lanes.get(place)
    }

    /// Pieces of a lane so far; 0 for a lane that the head does not list.
    pub fn pieces(&self, lane: Lane) -> u32 {
        self.lane(lane).map_or(0, |state| state.pieces)
    }

    /// Whether the lane may still grow: it is open, or not listed yet in a stream that has not ended.
    pub fn is_open(&self, lane: Lane) -> bool {
        self.lane(lane).map_or(!self.ended, |state| state.open)
    }

    /// Whether everything that the stream consists of is known to be final.
    pub fn is_final(&self) -> bool {
        self.ended || (!self.is_open(MANIFEST_LANE) && self.lanes.iter().all(|state| !state.open))
    }

    /// Whether the stream is past its expiry. At the very second it is.
    pub fn is_expired(&self, unix_s: u64) -> bool {
        self.expires_unix_s != 0 && unix_s >= self.expires_unix_s
    }

    /// The content key of the current epoch.
    pub fn content_key(&self, slot_key: &SlotKey) -> Result<ContentKey, SlotError> {
        self.content_key_of(slot_key, self.epoch)
    }

    /// The content key of an epoch: of several link slots the first that opens.
    pub fn content_key_of(&self, slot_key: &SlotKey, epoch: u32) -> Result<ContentKey, SlotError> {
        let mut result = Err(SlotError::NoSlot { epoch });
        for slot in self
            .slots
            .iter()
            .filter(|slot| slot.kind == SLOT_LINK && slot.epoch == epoch)
        {
            result = slot.open(slot_key);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// What is signed. Refuses what [`SignedHead::parse`] would refuse.
    fn to_bytes(&self) -> Result<Vec<u8>, HeadError> {
        self.check()?;
        let mut bytes = Vec::with_capacity(HEAD_LEN_MAX);
        bytes.extend(HEAD_FORMAT);
        bytes.extend(self.revision.to_le_bytes());
        bytes.extend(self.previous);
        bytes.extend(self.swarm.0);
        bytes.extend(self.expires_unix_s.to_le_bytes());
        bytes.extend(self.clock_unix_ms.to_le_bytes());
        bytes.extend(self.epoch.to_le_bytes());
        bytes.extend([
            u8::from(self.ended),
            self.lanes.len() as u8,
            self.slots.len() as u8,
            0,
        ]);
        for state in &self.lanes {
            bytes.extend(state.lane.0.to_le_bytes());
            bytes.extend([u8::from(state.open), 0]);
            bytes.extend(state.pieces.to_le_bytes());
        }
        for slot in &self.slots {
            bytes.extend([slot.kind, slot.payload.len() as u8]);
            bytes.extend(slot.epoch.to_le_bytes());
            bytes.extend(&slot.payload);
        }
        Ok(bytes)
    }

    fn read(bytes: &[u8]) -> Result<Head, HeadError> {
        let mut reader = Reader::new(bytes);
        if reader.array().ok_or(HeadError::Length)? != HEAD_FORMAT {
            return Err(HeadError::UnknownFormat);
        }
        let head = Head::read_fields(&mut reader)?;
        if !reader.rest().is_empty() {
            return Err(HeadError::Length);
        }
        head.check()?;
        Ok(head)
    }

    fn read_fields(reader: &mut Reader<'_>) -> Result<Head, HeadError> {
        let short = HeadError::Length;
        let revision = reader.u64().ok_or(short)?;
        let previous = reader.array().ok_or(short)?;
        let swarm = SwarmId(reader.array().ok_or(short)?);
        let expires_unix_s = reader.u64().ok_or(short)?;
        let clock_unix_ms = reader.u64().ok_or(short)?;
        let epoch = reader.u32().ok_or(short)?;
        let [ended, lane_count, slot_count, reserved] = reader.array().ok_or(short)?;
        if reserved != 0 {
            return Err(HeadError::Reserved);
        }
        let lanes = (0..lane_count)
            .map(|_| read_lane(reader))
            .collect::<Result<_, _>>()?;
        let slots = (0..slot_count)
            .map(|_| read_slot(reader))
            .collect::<Result<_, _>>()?;
        let ended = read_bool(ended)?;
        Ok(Head {
            swarm,
            revision,
            previous,
            lanes,
            ended,
            expires_unix_s,
            clock_unix_ms,
            epoch,
            slots,
        })
    }

    fn check(&self) -> Result<(), HeadError> {
        if self.lanes.len() > LANES_MAX {
            return Err(HeadError::TooManyLanes);
        }
        if self.slots.len() > SLOTS_MAX {
            return Err(HeadError::TooManySlots);
        }
        if self
            .slots
            .iter()
            .any(|slot| slot.payload.len() > usize::from(u8::MAX))
        {
            return Err(HeadError::SlotTooLong);
        }
        if self
            .lanes
            .windows(2)
            .any(|pair| pair[0].lane >= pair[1].lane)
        {
            return Err(HeadError::LaneOrder);
        }
        for state in &self.lanes {
            if state.pieces > PIECES_PER_LANE_MAX {
                return Err(HeadError::TooManyPieces { lane: state.lane });
            }
            if self.ended && state.open {
                return Err(HeadError::OpenAfterEnd { lane: state.lane });
            }
        }
        Ok(())
    }
}

fn read_lane(reader: &mut Reader<'_>) -> Result<LaneState, HeadError> {
    let lane = Lane(reader.u16().ok_or(HeadError::Length)?);
    let [open, reserved] = reader.array().ok_or(HeadError::Length)?;
    let pieces = reader.u32().ok_or(HeadError::Length)?;
    if reserved != 0 {
        return Err(HeadError::Reserved);
    }
    Ok(LaneState {
        lane,
        pieces,
        open: read_bool(open)?,
    })
}

fn read_slot(reader: &mut Reader<'_>) -> Result<KeySlot, HeadError> {
    let [kind, len] = reader.array().ok_or(HeadError::Length)?;
    let epoch = reader.u32().ok_or(HeadError::Length)?;
    let payload = reader
        .slice(usize::from(len))
        .ok_or(HeadError::Length)?
        .to_vec();
    Ok(KeySlot {
        kind,
        epoch,
        payload,
    })
}

fn read_bool(byte: u8) -> Result<bool, HeadError> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(HeadError::Reserved),
    }
}

/// A head whose signature holds: only [`sign`](SignedHead::sign) and [`parse`](SignedHead::parse) make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    head: Head,
    bytes: Bytes,
}

impl SignedHead {
    /// Signs a head.
    ///
    /// Panics when the head breaks a limit of this module: [`Head::lanes`] out of order or open after the end, too
    /// many lanes, slots or pieces.
    pub fn sign(head: Head, key: &PublisherKey) -> SignedHead {
        let mut bytes = head
            .to_bytes()
            .expect("a publisher keeps its head within the limits of this module");
        bytes.extend(key.sign(&bytes));
        SignedHead {
            head,
            bytes: bytes.into(),
        }
    }

    /// Reads the head of `swarm` as signed by `publisher`.
    pub fn parse(
        bytes: Bytes,
        publisher: &PublisherId,
        swarm: &SwarmId,
    ) -> Result<SignedHead, HeadError> {
        if bytes.len() > HEAD_LEN_MAX {
            return Err(HeadError::TooLong);
        }
        let (signed, signature) = bytes
            .split_last_chunk::<SIGNATURE_LEN>()
            .ok_or(HeadError::Length)?;
        let head = Head::read(signed)?;
        if head.swarm != *swarm {
            return Err(HeadError::OtherSwarm);
        }
        if !keys::verify(&publisher.0, signed, signature) {
            return Err(HeadError::Signature);
        }
        // A copy, because a slice would keep the whole message alive that it came in.
        Ok(SignedHead {
            head,
            bytes: Bytes::copy_from_slice(&bytes),
        })
    }

    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What goes over the wire and to the disk, signature last.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// BLAKE3 of [`bytes`](SignedHead::bytes): what the next head names as its previous one.
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.bytes).as_bytes()
    }

    /// Whether this head replaces `other`: its revision is higher. Among equal revisions the one we have stays.
    pub fn supersedes(&self, other: &SignedHead) -> bool {
        self.head.revision > other.head.revision
    }

    /// The head to sign next: as this one, one revision on. Set what is different and the clock.
    pub fn next(&self) -> Head {
        Head {
            revision: self.head.revision + 1,
            previous: self.hash(),
            ..self.head.clone()
        }
    }
}

/// Why bytes are not a head of this stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeadError {
    #[error("the head has a length that does not fit its contents")]
    Length,
    #[error("the head is longer than {HEAD_LEN_MAX} bytes")]
    TooLong,
    #[error("the head is of a format that this Baton does not know")]
    UnknownFormat,
    #[error("the head sets bits that must be zero")]
    Reserved,
    #[error("the head has more than {LANES_MAX} lanes")]
    TooManyLanes,
    #[error("the head has more than {SLOTS_MAX} key slots")]
    TooManySlots,
    #[error("a key slot is longer than 255 bytes")]
    SlotTooLong,
    #[error("the lanes are not in ascending order")]
    LaneOrder,
    #[error("lane {} has more than {PIECES_PER_LANE_MAX} pieces", lane.0)]
    TooManyPieces { lane: Lane },
    #[error("the stream has ended but lane {} is open", lane.0)]
    OpenAfterEnd { lane: Lane },
    #[error("the head belongs to another swarm")]
    OtherSwarm,
    #[error("the publisher did not sign this head")]
    Signature,
}

/// What a head begins with.
const HEAD_FORMAT: [u8; 8] = *b"batonhd1";
/// Renditions and tracks of one stream; a head of this many is still about 600 bytes.
pub const LANES_MAX: usize = 64;
/// Link, passwords, invites, and the epochs that are still readable.
pub const SLOTS_MAX: usize = 32;
/// Bytes before the lanes.
const HEAD_FIXED_LEN: usize = 104;
/// Bytes of the longest head: fixed part, lanes, slots with full payloads, signature. It rides in a message of 64 KiB.
pub const HEAD_LEN_MAX: usize =
    HEAD_FIXED_LEN + LANES_MAX * 8 + SLOTS_MAX * (6 + 255) + SIGNATURE_LEN;
