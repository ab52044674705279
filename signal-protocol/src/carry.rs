//! A connection that the signalling server carries, frame by frame, where the network lets two peers make none: sealed end to end, in order,
//! with a window.
//!
//! Both keys come of X25519 between two keys that live as long as the session and are signed by the PeerIds (in a CarryOffer and its answer), with
//! the signalling key and both nonces: neither the server, nor whoever holds the link, nor both together can read or write a frame.
//!
//! A frame is `session (8) || number u64 little-endian (8) || XChaCha20-Poly1305(kind (1) || …)`; docs/signalling.md has the bytes.
//! Invariant: a frame is taken once, and only as the next one; at most [`WINDOW`] frames with parts of messages are under way.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use curve25519_dalek::montgomery::MontgomeryPoint;

use crate::FRAME_MAX;
use crate::blob::CarryTerms;

/// What both sides agreed on by an offer and its answer.
pub struct Agreement<'a> {
    pub offer: &'a CarryTerms,
    pub answer: &'a CarryTerms,
    pub signalling_key: &'a [u8; 32],
    /// Swarm, who offered, who answered.
    pub names: [&'a [u8; 32]; 3],
}

/// One side of a carried connection.
pub struct Link {
    session: [u8; 8],
    ours: XChaCha20Poly1305,
    theirs: XChaCha20Poly1305,
    /// The number of our next frame, and of theirs.
    next_ours: u64,
    next_theirs: u64,
    /// Messages that wait, the first of them perhaps sent in part.
    waiting: VecDeque<(u8, Vec<u8>)>,
    /// Bytes of the first that have left.
    begun: usize,
    /// Frames with parts: sent, and of those taken there.
    parts_sent: u64,
    parts_taken: u64,
    /// The same the other way: received, and of those told.
    parts_received: u64,
    parts_told: u64,
    /// Bytes of messages that have left.
    left: u64,
    credit_told: u64,
    /// A message of theirs that is not whole yet.
    coming: Option<(u8, Vec<u8>)>,
}

/// Why a frame is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Of another session, taken already, or not sealed by the other side. It means nothing: anybody who carries can bring such.
    #[error("not the next frame of this session")]
    Foreign,
    /// Frames before it are lost: nothing that follows can be read.
    #[error("frames are missing")]
    Gap,
    /// The other side breaks the rules.
    #[error("a frame that nobody may send")]
    Broken,
}

/// The public half of a session's key.
pub fn public_of(secret: [u8; 32]) -> [u8; 32] {
    MontgomeryPoint::mul_base_clamped(secret).0
}

impl Link {
    /// The side whose key's secret half is `secret`; `None` if the other's key gives the same secret to everybody (RFC 7748 §6.1).
    pub fn new(agreement: &Agreement, offered: bool, secret: [u8; 32]) -> Option<Link> {
        let Agreement { offer, answer, .. } = agreement;
        let theirs = if offered { answer.key } else { offer.key };
        let shared = MontgomeryPoint(theirs).mul_clamped(secret).0;
        if shared == [0; 32] {
            return None;
        }
        let key = |context| {
            let mut hasher = blake3::Hasher::new_derive_key(context);
            hasher.update(&shared);
            hasher.update(agreement.signalling_key);
            for terms in [offer, answer] {
                hasher.update(&terms.session_nonce);
                hasher.update(&terms.key);
            }
            for name in agreement.names {
                hasher.update(name);
            }
            XChaCha20Poly1305::new(&(*hasher.finalize().as_bytes()).into())
        };
        let (from_offerer, from_answerer) = (key(FROM_OFFERER), key(FROM_ANSWERER));
        let (ours, theirs) = match offered {
            true => (from_offerer, from_answerer),
            false => (from_answerer, from_offerer),
        };
        let session = offer.session_nonce[..8].try_into().expect("8 of 16 bytes");
        Some(Link {
            session,
            ours,
            theirs,
            next_ours: 0,
            next_theirs: 0,
            waiting: VecDeque::new(),
            begun: 0,
            parts_sent: 0,
            parts_taken: 0,
            parts_received: 0,
            parts_told: 0,
            left: 0,
            credit_told: 0,
            coming: None,
        })
    }

    /// A message for a channel (0 control, 1 data); at most [`MESSAGE_MAX`] bytes. How much waits here is bounded by [`Link::credit`].
    pub fn push(&mut self, channel: u8, message: Vec<u8>) {
        self.waiting.push_back((channel & 1, message));
    }

    /// The next frame to send, if there is one that may be sent.
    pub fn poll(&mut self) -> Option<Vec<u8>> {
        if self.parts_received - self.parts_told >= TELL_EVERY {
            self.parts_told = self.parts_received;
            return Some(self.seal(KIND_TAKEN, &self.parts_told.to_le_bytes()));
        }
        if self.parts_sent - self.parts_taken >= WINDOW {
            return None;
        }
        let (channel, message) = self.waiting.pop_front()?;
        let end = message.len().min(self.begun + PART_MAX);
        let last = end == message.len();
        let kind = channel | if last { LAST } else { 0 };
        let frame = self.seal(kind, &message[self.begun..end]);
        self.parts_sent += 1;
        self.left += (end - self.begun) as u64;
        self.begun = if last { 0 } else { end };
        if !last {
            self.waiting.push_front((channel, message));
        }
        Some(frame)
    }

    /// Takes a frame in; with its last part comes a message and its channel.
    pub fn handle(&mut self, frame: &[u8]) -> Result<Option<(u8, Vec<u8>)>, FrameError> {
        let (number, plain) = self.open(frame)?;
        if number != self.next_theirs {
            return Err(FrameError::Gap);
        }
        self.next_theirs += 1;
        let (&kind, rest) = plain.split_first().ok_or(FrameError::Broken)?;
        match kind {
            KIND_TAKEN => self.taken(rest).map(|()| None),
            0..=3 => self.part(kind & 1, rest, kind & LAST != 0),
            _ => Err(FrameError::Broken),
        }
    }

    /// How many bytes in all may be pushed, if that is worth telling: what has left and [`SEND_WINDOW`].
    pub fn credit(&mut self) -> Option<u64> {
        let credit = self.left + SEND_WINDOW;
        if credit < self.credit_told + SEND_WINDOW / 8 {
            return None;
        }
        self.credit_told = credit;
        Some(credit)
    }

    fn taken(&mut self, count: &[u8]) -> Result<(), FrameError> {
        let count = u64::from_le_bytes(count.try_into().map_err(|_| FrameError::Broken)?);
        if !(self.parts_taken..=self.parts_sent).contains(&count) {
            return Err(FrameError::Broken);
        }
        self.parts_taken = count;
        Ok(())
    }

    fn part(
        &mut self,
        channel: u8,
        part: &[u8],
        last: bool,
    ) -> Result<Option<(u8, Vec<u8>)>, FrameError> {
        self.parts_received += 1;
        let (of, mut message) = self.coming.take().unwrap_or((channel, Vec::new()));
        if of != channel || message.len() + part.len() > MESSAGE_MAX {
            return Err(FrameError::Broken);
        }
        message.extend_from_slice(part);
        if last {
            return Ok(Some((channel, message)));
        }
        self.coming = Some((channel, message));
        Ok(None)
    }

    fn seal(&mut self, kind: u8, rest: &[u8]) -> Vec<u8> {
        let number = self.next_ours;
        self.next_ours += 1;
        let mut inner = Vec::with_capacity(1 + rest.len() + TAG_LEN);
        inner.push(kind);
        inner.extend_from_slice(rest);
        self.ours
            .encrypt_in_place(&nonce(number).into(), &[], &mut inner)
            .expect("a vector grows and a frame is short");
        [&self.session[..], &number.to_le_bytes(), &inner].concat()
    }

    fn open(&self, frame: &[u8]) -> Result<(u64, Vec<u8>), FrameError> {
        let (session, rest) = frame.split_first_chunk::<8>().ok_or(FrameError::Foreign)?;
        let (number, sealed) = rest.split_first_chunk::<8>().ok_or(FrameError::Foreign)?;
        let number = u64::from_le_bytes(*number);
        if *session != self.session || number < self.next_theirs {
            return Err(FrameError::Foreign);
        }
        let mut plain = sealed.to_vec();
        self.theirs
            .decrypt_in_place(&nonce(number).into(), &[], &mut plain)
            .map_err(|_| FrameError::Foreign)?;
        Ok((number, plain))
    }
}

fn nonce(number: u64) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    nonce
}

/// Frames with parts of messages that may be under way: a quarter of a megabyte, which a server holds for a client that reads slowly.
pub const WINDOW: u64 = 16;
/// The longest message; the swarm's own limit.
pub const MESSAGE_MAX: usize = 64 * 1024;
/// Bytes that may wait here: a round trip's worth at what servers carry.
const SEND_WINDOW: u64 = 256 * 1024;
/// After how many parts the other side hears that they were taken.
const TELL_EVERY: u64 = WINDOW / 4;
const PART_MAX: usize = FRAME_MAX - 8 - 8 - 1 - TAG_LEN;
const TAG_LEN: usize = 16;
/// Set in the kind of a message's last part; below it, the channel.
const LAST: u8 = 2;
const KIND_TAKEN: u8 = 4;
const FROM_OFFERER: &str = "baton carry 1 from offerer";
const FROM_ANSWERER: &str = "baton carry 1 from answerer";
