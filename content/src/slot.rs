//! The content key and the slots of the head that it is wrapped in (docs/protocol.md section 3).

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use core::fmt;
use thiserror::Error;

use crate::id::Lane;
use crate::seal::LaneKey;

/// What everything of one epoch is sealed under: 32 random bytes, new at each epoch.
#[derive(Clone, PartialEq, Eq)]
pub struct ContentKey([u8; 32]);

impl ContentKey {
    /// From 32 bytes of a cryptographic source of randomness.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        ContentKey(bytes)
    }

    /// The raw key: what a publisher keeps in order to go on with its stream. Secret.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The keys of one lane.
    pub fn lane_key(&self, lane: Lane) -> LaneKey {
        LaneKey::derive(&self.0, lane)
    }

    /// Wraps the key for whoever has the link. `nonce` is 24 fresh random bytes.
    pub fn wrap(&self, slot_key: &SlotKey, epoch: u32, nonce: [u8; 24]) -> KeySlot {
        let sealed = slot_key
            .cipher()
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: &self.0,
                    aad: &associated_data(SLOT_LINK, epoch),
                },
            )
            .expect("32 bytes are within what the cipher takes");
        let mut payload = nonce.to_vec();
        payload.extend(sealed);
        KeySlot {
            kind: SLOT_LINK,
            epoch,
            payload,
        }
    }
}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentKey(..)")
    }
}

/// What opens a slot of one kind.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotKey([u8; 32]);

impl SlotKey {
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        SlotKey(bytes)
    }

    /// The raw key. Secret.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.0.into())
    }
}

impl fmt::Debug for SlotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlotKey(..)")
    }
}

/// One wrapped content key in the head. Slots of kinds that this version does not know are kept as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySlot {
    /// [`SLOT_LINK`]: payload is nonce 24, sealed key 32, tag 16.
    pub kind: u8,
    /// The epoch whose content key this is.
    pub epoch: u32,
    /// At most 255 bytes.
    pub payload: Vec<u8>,
}

impl KeySlot {
    /// The content key, if this is a link slot and `slot_key` is the right one.
    pub fn open(&self, slot_key: &SlotKey) -> Result<ContentKey, SlotError> {
        if self.kind != SLOT_LINK {
            return Err(SlotError::NoSlot { epoch: self.epoch });
        }
        let (nonce, sealed) = self
            .payload
            .split_first_chunk::<24>()
            .ok_or(SlotError::WrongKey)?;
        let opened = slot_key
            .cipher()
            .decrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: sealed,
                    aad: &associated_data(self.kind, self.epoch),
                },
            )
            .map_err(|_| SlotError::WrongKey)?;
        Ok(ContentKey(
            opened.try_into().map_err(|_| SlotError::WrongKey)?,
        ))
    }
}

/// Why the content key stays closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SlotError {
    #[error("the head has no slot for the link in epoch {epoch}")]
    NoSlot { epoch: u32 },
    #[error("the slot does not open with this link's key")]
    WrongKey,
}

/// `"baton slot v1" | kind 1 | epoch 4 little-endian`.
fn associated_data(kind: u8, epoch: u32) -> [u8; 18] {
    let mut data = [0; 18];
    data[..13].copy_from_slice(b"baton slot v1");
    data[13] = kind;
    data[14..].copy_from_slice(&epoch.to_le_bytes());
    data
}

/// The slot that the link's secret opens.
pub const SLOT_LINK: u8 = 1;
