//! What peers say to each other, byte for byte (docs/protocol-wire.md).
//!
//! Every message begins with a version and a kind byte. Control bodies are postcard; later versions only append fields, so trailing
//! bytes are ignored, and unknown kinds are skipped. A block message has a fixed layout. What is signed (the Hello, a receipt) has one too.

use crate::face::Binding;
use baton_content::{BLOCK_LEN, BLOCKS_PER_PIECE, Mask, PeerId, PieceId, SwarmId};
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// The version that this engine speaks.
pub const VERSION: u8 = 1;
/// Longest message on either channel: what webrtc-rs takes, and as fast as any (docs/measurements.md).
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Bytes before the first block of a block message.
pub const BLOCK_HEAD_LEN: usize = 20;
/// Entries in one Have, DontHave, Request, Cancel or StartSet: at 13 to 22 bytes each they fit one message with room to spare.
pub const ENTRIES_MAX: usize = 1024;
/// Domain of the Hello's signature.
pub const HELLO_CONTEXT: &[u8; 16] = b"baton hello v1\0\0";
/// Length of what the Hello signs.
pub const HELLO_STATEMENT_LEN: usize = 16 + 32 + 1 + 32 + 32 + 16 + 16 + 32 + 32;
/// Domain of a receipt's signature.
pub const RECEIPT_CONTEXT: &[u8; 16] = b"baton receipt v1";
/// Length of what a receipt signs.
pub const RECEIPT_STATEMENT_LEN: usize = 16 + 32 + 32 + 32 + 8;

/// Kind bytes. Those below 64 go over the control channel, the others over the data channel.
mod kind {
    pub const HELLO: u8 = 1;
    pub const HEAD: u8 = 2;
    pub const HAVE: u8 = 3;
    pub const DONT_HAVE: u8 = 4;
    pub const REQUEST: u8 = 5;
    pub const CANCEL: u8 = 6;
    pub const HEADER: u8 = 7;
    pub const ACK: u8 = 8;
    pub const GRANT: u8 = 9;
    pub const REJECT: u8 = 10;
    pub const FRAUD: u8 = 11;
    pub const INTRODUCE: u8 = 12;
    pub const GOODBYE: u8 = 13;
    pub const START_SET: u8 = 14;
    pub const PING: u8 = 15;
    pub const PONG: u8 = 16;
    pub const NEIGHBOURS: u8 = 17;
    pub const WANT_START: u8 = 18;
    pub const RECEIPTS: u8 = 19;
    pub const BLOCK: u8 = 64;
}

/// A message that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum WireError {
    /// Longer than [`MESSAGE_BYTES_MAX`].
    #[error("{0} bytes are too many")]
    TooLong(usize),
    /// No room for version and kind.
    #[error("cut short")]
    Short,
    /// Another version.
    #[error("version {0}")]
    Version(u8),
    /// A body that is no such message.
    #[error("body of kind {0}")]
    Body(u8),
    /// More entries than [`ENTRIES_MAX`].
    #[error("too many entries in kind {0}")]
    TooMany(u8),
    /// A control kind on the data channel or the other way round.
    #[error("kind {0} on the wrong channel")]
    WrongChannel(u8),
    /// A block message whose length does not fit its mask.
    #[error("block message of {0} bytes")]
    BlockLength(usize),
}

/// An ed25519 signature; two halves because serde stops at 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature([u8; 32], [u8; 32]);

impl Signature {
    /// From the 64 bytes.
    pub fn new(bytes: &[u8; 64]) -> Self {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        a.copy_from_slice(&bytes[..32]);
        b.copy_from_slice(&bytes[32..]);
        Signature(a, b)
    }

    /// The 64 bytes.
    pub fn bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.0);
        bytes[32..].copy_from_slice(&self.1);
        bytes
    }
}

/// Full pieces `first..first + count` of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    pub lane: u16,
    pub first: u32,
    pub count: u32,
}

/// Some blocks of one piece: bit i is block i.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub lane: u16,
    pub index: u32,
    pub mask: u64,
}

impl Part {
    pub fn new(piece: PieceId, mask: Mask) -> Self {
        Part {
            lane: piece.lane.0,
            index: piece.index.0,
            mask: mask.0,
        }
    }

    pub fn piece(&self) -> PieceId {
        piece_id(self.lane, self.index)
    }
}

/// The id of a piece from its two numbers.
pub(crate) fn piece_id(lane: u16, index: u32) -> PieceId {
    PieceId {
        lane: baton_content::Lane(lane),
        index: baton_content::PieceIndex(index),
    }
}

/// What is new here: full pieces and parts of pieces, both in addition to what was said before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    pub ranges: Vec<Range>,
    pub parts: Vec<Part>,
}

/// The first message in both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The sender's PeerId, as in the offer or answer.
    pub peer: [u8; 32],
    /// By that PeerId over [`hello_statement`].
    pub signature: Signature,
    /// Feature bits; none are defined yet, unknown ones are ignored.
    pub features: u64,
    /// 0 publisher, 1 viewer, 2 keeper.
    pub role: u8,
    /// The highest signed head known.
    pub head: Option<Vec<u8>>,
    /// What the sender has; more may follow in Have. A publisher has every piece of its head.
    pub have: Have,
    /// The first grant.
    pub grant: u16,
    /// Asks the receiver for the start set. It answers StartSet, perhaps an empty one.
    pub start_set: bool,
}

/// Playback stalls without it within about a second: serve it before others.
pub const FLAG_URGENT: u8 = 1;
/// It was left to another peer in vain, or there is no time for that: serve it, even if it was sent to others already.
pub const FLAG_INSIST: u8 = 2;
/// It is played within some seconds.
pub const FLAG_SOON: u8 = 4;

/// Between two tabs of one browser: no request, but what the sender's player needs and the receiver lacks. Those of one message replace those
/// of the last.
pub const FLAG_NEED: u8 = 8;

/// The sender has lost the header, if it had one: tell it once more.
pub const FLAG_HEADER: u8 = 16;

/// Blocks of one piece to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    pub lane: u16,
    pub index: u32,
    pub mask: u64,
    /// [`FLAG_URGENT`] | [`FLAG_INSIST`] | [`FLAG_SOON`] | [`FLAG_NEED`] | [`FLAG_HEADER`]; unknown bits are ignored.
    pub flags: u8,
    /// First 8 bytes of the root whose header the sender has; without it the header comes too.
    pub root8: Option<[u8; 8]>,
}

/// Why blocks are not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// They are not here.
    NotHere,
    /// No grant, or more than it.
    Choked,
    /// Ask this peer, which has them or is about to.
    AskPeer(PeerId),
    /// The publisher cannot seal the piece.
    SealFailed,
}

/// Blocks that will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    pub piece: PieceId,
    pub mask: Mask,
    pub refusal: Refusal,
}

#[derive(Serialize, Deserialize)]
struct RejectBody {
    part: Part,
    code: u8,
    peer: Option<[u8; 32]>,
}

/// What arrived, to the sender of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// `sent_us` of the newest block message.
    pub echo_us: u32,
    /// How long the Ack waited since.
    pub hold_us: u32,
    /// Bytes of block messages in all.
    pub bytes: u64,
}

/// What a peer says that it got. The giver is no field: it is who hears its own receipt, or who shows another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Who got it, and signs.
    pub receiver: [u8; 32],
    /// Bytes of blocks that verified and were new to the receiver, since the two met first.
    pub bytes: u64,
    /// By the receiver over [`receipt_statement`].
    pub signature: Signature,
}

/// A sealed offer or answer on its way through a neighbour of both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduce {
    pub from: [u8; 32],
    pub to: [u8; 32],
    pub blob: Vec<u8>,
}

/// Blocks of one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks {
    pub piece: PieceId,
    /// Which: 1 to 3 of them, lowest first in `bytes`.
    pub mask: Mask,
    /// Low 32 bits of the sender's microseconds.
    pub sent_us: u32,
    /// 16 KiB each; only the piece's last block may be shorter.
    pub bytes: Bytes,
}

impl Blocks {
    /// The blocks, lowest first. They share the message's memory.
    pub fn iter(&self) -> impl Iterator<Item = (u8, Bytes)> + '_ {
        let mut rest = self.mask.0;
        let mut at = 0;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let block = rest.trailing_zeros() as u8;
            rest &= rest - 1;
            let end = (at + BLOCK_LEN).min(self.bytes.len());
            let bytes = self.bytes.slice(at..end);
            at = end;
            Some((block, bytes))
        })
    }
}

/// Everything that peers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Hello(Box<Hello>),
    /// A signed head.
    Head(Vec<u8>),
    Have(Have),
    /// No longer had.
    DontHave(Vec<Part>),
    Request(Vec<Want>),
    /// No longer wanted.
    Cancel(Vec<Part>),
    /// A piece header.
    Header(Vec<u8>),
    Ack(Ack),
    /// How many requested blocks may wait at the sender of this; 0 = choked.
    Grant(u16),
    Reject(Reject),
    /// Two valid cores for one piece.
    Fraud(Vec<u8>, Vec<u8>),
    Introduce(Introduce),
    Goodbye,
    /// These blocks follow unasked, as the start set: take them for requested.
    StartSet(Vec<Part>),
    /// Answered by Pong with the same number.
    Ping(u32),
    Pong(u32),
    /// Asks for the start set after the Hello: whoever was asked first had nothing.
    WantStart,
    /// Whom the sender is connected with, replacing what it said before.
    Neighbours(Vec<[u8; 32]>),
    /// By the sender: what it got from whom it says this to. By others: what they got from the sender.
    Receipts(Vec<Receipt>),
    Blocks(Blocks),
    /// A kind that this version does not know: skipped.
    Unknown(u8),
}

fn body<T: for<'a> Deserialize<'a>>(kind: u8, bytes: &[u8]) -> Result<T, WireError> {
    postcard::take_from_bytes(bytes)
        .map(|(value, _later_fields)| value)
        .map_err(|_| WireError::Body(kind))
}

fn bounded<T>(kind: u8, entries: Vec<T>) -> Result<Vec<T>, WireError> {
    if entries.len() > ENTRIES_MAX {
        Err(WireError::TooMany(kind))
    } else {
        Ok(entries)
    }
}

fn bounded_have(kind: u8, have: Have) -> Result<Have, WireError> {
    if have.ranges.len() + have.parts.len() > ENTRIES_MAX {
        Err(WireError::TooMany(kind))
    } else {
        Ok(have)
    }
}

impl Message {
    /// Reads one message of the control (`data` false) or data channel.
    pub fn decode(bytes: &Bytes, data: bool) -> Result<Message, WireError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(WireError::TooLong(bytes.len()));
        }
        let [version, kind, rest @ ..] = &bytes[..] else {
            return Err(WireError::Short);
        };
        let kind = *kind;
        if *version != VERSION {
            return Err(WireError::Version(*version));
        }
        if (kind >= 64) != data {
            return Err(WireError::WrongChannel(kind));
        }
        Ok(match kind {
            kind::HELLO => {
                let mut hello: Hello = body(kind, rest)?;
                hello.have = bounded_have(kind, hello.have)?;
                Message::Hello(Box::new(hello))
            }
            kind::HEAD => Message::Head(body(kind, rest)?),
            kind::HAVE => Message::Have(bounded_have(kind, body(kind, rest)?)?),
            kind::DONT_HAVE => Message::DontHave(bounded(kind, body(kind, rest)?)?),
            kind::REQUEST => Message::Request(bounded(kind, body(kind, rest)?)?),
            kind::CANCEL => Message::Cancel(bounded(kind, body(kind, rest)?)?),
            kind::HEADER => Message::Header(body(kind, rest)?),
            kind::ACK => Message::Ack(body(kind, rest)?),
            kind::GRANT => Message::Grant(body(kind, rest)?),
            kind::REJECT => Message::Reject(decode_reject(body(kind, rest)?)),
            kind::FRAUD => {
                let (a, b) = body(kind, rest)?;
                Message::Fraud(a, b)
            }
            kind::INTRODUCE => Message::Introduce(body(kind, rest)?),
            kind::GOODBYE => Message::Goodbye,
            kind::START_SET => Message::StartSet(bounded(kind, body(kind, rest)?)?),
            kind::PING => Message::Ping(body(kind, rest)?),
            kind::PONG => Message::Pong(body(kind, rest)?),
            kind::WANT_START => Message::WantStart,
            kind::NEIGHBOURS => Message::Neighbours(bounded(kind, body(kind, rest)?)?),
            kind::RECEIPTS => Message::Receipts(bounded(kind, body(kind, rest)?)?),
            kind::BLOCK => decode_blocks(bytes)?,
            unknown => Message::Unknown(unknown),
        })
    }

    /// Writes a control message. Blocks are written by [`encode_blocks`].
    pub fn encode(&self) -> Bytes {
        match self {
            Message::Hello(m) => encode(kind::HELLO, m),
            Message::Head(m) => encode(kind::HEAD, m),
            Message::Have(m) => encode(kind::HAVE, m),
            Message::DontHave(m) => encode(kind::DONT_HAVE, m),
            Message::Request(m) => encode(kind::REQUEST, m),
            Message::Cancel(m) => encode(kind::CANCEL, m),
            Message::Header(m) => encode(kind::HEADER, m),
            Message::Ack(m) => encode(kind::ACK, m),
            Message::Grant(m) => encode(kind::GRANT, m),
            Message::Reject(m) => encode(kind::REJECT, &encode_reject(m)),
            Message::Fraud(a, b) => encode(kind::FRAUD, &(a, b)),
            Message::Introduce(m) => encode(kind::INTRODUCE, m),
            Message::Goodbye => encode(kind::GOODBYE, &()),
            Message::StartSet(m) => encode(kind::START_SET, m),
            Message::Ping(m) => encode(kind::PING, m),
            Message::Pong(m) => encode(kind::PONG, m),
            Message::WantStart => encode(kind::WANT_START, &()),
            Message::Neighbours(m) => encode(kind::NEIGHBOURS, m),
            Message::Receipts(m) => encode(kind::RECEIPTS, m),
            Message::Blocks(m) => encode_blocks(m.piece, m.sent_us, m.iter()),
            Message::Unknown(kind) => Bytes::copy_from_slice(&[VERSION, *kind]),
        }
    }
}

fn encode<T: Serialize>(kind: u8, body: &T) -> Bytes {
    let head = vec![VERSION, kind];
    postcard::to_extend(body, head)
        .expect("a Vec takes everything")
        .into()
}

fn decode_reject(body: RejectBody) -> Reject {
    let refusal = match (body.code, body.peer) {
        (1, _) => Refusal::Choked,
        (2, Some(peer)) => Refusal::AskPeer(PeerId(peer)),
        (3, _) => Refusal::SealFailed,
        _ => Refusal::NotHere,
    };
    Reject {
        piece: body.part.piece(),
        mask: Mask(body.part.mask),
        refusal,
    }
}

fn encode_reject(reject: &Reject) -> RejectBody {
    let (code, peer) = match reject.refusal {
        Refusal::NotHere => (0, None),
        Refusal::Choked => (1, None),
        Refusal::AskPeer(peer) => (2, Some(peer.0)),
        Refusal::SealFailed => (3, None),
    };
    RejectBody {
        part: Part::new(reject.piece, reject.mask),
        code,
        peer,
    }
}

/// Writes a block message: version, kind, lane u16, index u32, mask u64, sent_us u32, all little-endian, then the blocks.
pub fn encode_blocks(
    piece: PieceId,
    sent_us: u32,
    blocks: impl Iterator<Item = (u8, Bytes)>,
) -> Bytes {
    let mut out =
        BytesMut::with_capacity(BLOCK_HEAD_LEN + crate::config::BLOCKS_PER_MESSAGE * BLOCK_LEN);
    let mut mask = 0u64;
    out.put_u8(VERSION);
    out.put_u8(kind::BLOCK);
    out.put_u16_le(piece.lane.0);
    out.put_u32_le(piece.index.0);
    out.put_u64_le(0);
    out.put_u32_le(sent_us);
    for (block, bytes) in blocks {
        debug_assert!(mask >> block == 0, "lowest block first");
        mask |= 1 << block;
        out.extend_from_slice(&bytes);
    }
    out[8..16].copy_from_slice(&mask.to_le_bytes());
    out.freeze()
}

fn decode_blocks(message: &Bytes) -> Result<Message, WireError> {
    let bad = WireError::BlockLength(message.len());
    let (head, payload) = message.split_at_checked(BLOCK_HEAD_LEN).ok_or(bad)?;
    let number = |at: usize, len: usize| {
        head[at..at + len]
            .iter()
            .rev()
            .fold(0u64, |n, &byte| n << 8 | u64::from(byte))
    };
    let mask = number(8, 8);
    let count = mask.count_ones() as usize;
    let full = payload.len().div_ceil(BLOCK_LEN);
    if count == 0 || count > crate::config::BLOCKS_PER_MESSAGE || full != count {
        return Err(bad);
    }
    Ok(Message::Blocks(Blocks {
        piece: piece_id(number(2, 2) as u16, number(4, 4) as u32),
        mask: Mask(mask),
        sent_us: number(16, 4) as u32,
        bytes: message.slice(BLOCK_HEAD_LEN..),
    }))
}

const _: () = assert!(BLOCKS_PER_PIECE == 64, "a mask is a u64");
const _: () =
    assert!(BLOCK_HEAD_LEN + crate::config::BLOCKS_PER_MESSAGE * BLOCK_LEN <= MESSAGE_BYTES_MAX);

/// What the Hello signs: context, swarm, the sender's role (0 made the offer, 1 the answer), then sender's and receiver's PeerId,
/// nonce and fingerprint in pairs. The role and the order make a reflected Hello worthless.
pub fn hello_statement(
    swarm: &SwarmId,
    sender: &PeerId,
    receiver: &PeerId,
    binding: &Binding,
) -> [u8; HELLO_STATEMENT_LEN] {
    let parts: [&[u8]; 9] = [
        HELLO_CONTEXT,
        &swarm.0,
        if binding.offerer { &[0] } else { &[1] },
        &sender.0,
        &receiver.0,
        &binding.local_nonce,
        &binding.remote_nonce,
        &binding.local_fingerprint,
        &binding.remote_fingerprint,
    ];
    joined(&parts)
}

/// What a receipt signs: context, swarm, giver, receiver, bytes. So it is worth nothing in another stream, nor for another giver.
pub fn receipt_statement(
    swarm: &SwarmId,
    giver: &PeerId,
    receiver: &PeerId,
    bytes: u64,
) -> [u8; RECEIPT_STATEMENT_LEN] {
    let bytes = bytes.to_le_bytes();
    joined(&[RECEIPT_CONTEXT, &swarm.0, &giver.0, &receiver.0, &bytes])
}

fn joined<const LEN: usize>(parts: &[&[u8]]) -> [u8; LEN] {
    let mut statement = [0; LEN];
    let mut at = 0;
    for part in parts {
        statement[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    statement
}

impl Binding {
    /// The same connection as the other side sees it.
    pub fn swapped(&self) -> Binding {
        Binding {
            local_nonce: self.remote_nonce,
            remote_nonce: self.local_nonce,
            local_fingerprint: self.remote_fingerprint,
            remote_fingerprint: self.local_fingerprint,
            offerer: !self.offerer,
        }
    }
}
