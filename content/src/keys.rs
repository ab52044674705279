//! The keys of a stream and what the link's secret derives (docs/protocol.md section 2).
//!
//! Keys are made from seeds that the caller draws from a cryptographic source of randomness; nothing here
//! draws any. `Debug` never shows a secret.

use core::fmt;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::id::{PeerId, PublisherId, SwarmId};
use crate::slot::SlotKey;

/// Bytes of an ed25519 signature.
pub const SIGNATURE_LEN: usize = 64;

macro_rules! signing_key {
    ($(#[$doc:meta])* $name:ident -> $id:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(SigningKey);

        impl $name {
            /// The key of a 32-byte ed25519 seed (RFC 8032 section 5.1.5).
            pub fn from_seed(seed: [u8; 32]) -> Self {
                $name(SigningKey::from_bytes(&seed))
            }

            /// The seed that this key was made from: what to keep in order to have it again. Secret.
            pub fn seed(&self) -> &[u8; 32] {
                self.0.as_bytes()
            }

            /// The public key.
            pub fn id(&self) -> $id {
                $id(self.0.verifying_key().to_bytes())
            }

            /// Signs `message`; the same message always gets the same signature (RFC 8032).
            pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
                self.0.sign(message).to_bytes()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), " of {:?}"), self.id())
            }
        }
    };
}

signing_key! {
    /// Signs the head and the piece headers of a stream. Drawn at random, never derived from the link.
    PublisherKey -> PublisherId
}
signing_key! {
    /// Signs what one peer says in one stream.
    PeerKey -> PeerId
}
signing_key! {
    /// Proves to a signalling server that a peer holds the link (or a keeper ticket). Derived from the link.
    SwarmKey -> SwarmId
}

/// Whether `signature` over `message` is by the key `id`.
///
/// `verify_strict`: small-order keys and malleable signatures are refused, so that everybody agrees on what is
/// valid, and an id that is no point of the curve verifies nothing.
pub fn verify(id: &[u8; 32], message: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool {
    VerifyingKey::from_bytes(id).is_ok_and(|key| {
        key.verify_strict(message, &Signature::from_bytes(signature))
            .is_ok()
    })
}

/// The 16 secret bytes of a link: who has them and the publisher's public key can read the stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; 16]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a link derives: everything to join, to signal and to open the content key.
#[derive(Clone)]
pub struct StreamKeys {
    /// Its public key is the [`SwarmId`]; Join is signed with it.
    pub swarm: SwarmKey,
    /// Seals offers and answers between peers, so that the server that passes them on reads nothing.
    pub signalling: [u8; 32],
    /// Opens the link slot of the head.
    pub link_slot: SlotKey,
}

impl StreamKeys {
    /// BLAKE3 `derive_key` of publisher's public key and secret, one context string per key.
    pub fn derive(publisher: &PublisherId, secret: &Secret) -> Self {
        let derive = |context| derive_key(context, &[&publisher.0, &secret.0]);
        StreamKeys {
            swarm: SwarmKey::from_seed(derive(SWARM_KEY_CONTEXT)),
            signalling: derive(SIGNALLING_KEY_CONTEXT),
            link_slot: SlotKey::from_bytes(derive(LINK_SLOT_KEY_CONTEXT)),
        }
    }
}

impl fmt::Debug for StreamKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamKeys({:?}, ..)", self.swarm.id())
    }
}

/// BLAKE3 `derive_key` over the concatenation of `parts`, all of which have fixed lengths.
pub(crate) fn derive_key(context: &'static str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

const SWARM_KEY_CONTEXT: &str = "baton 2026-11 swarm key v1";
const SIGNALLING_KEY_CONTEXT: &str = "baton 2026-11 signalling key v1";
const LINK_SLOT_KEY_CONTEXT: &str = "baton 2026-11 link slot key v1";
