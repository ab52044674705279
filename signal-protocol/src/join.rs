//! The Join: what it signs and how the server checks it.

use alloc::vec::Vec;

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use crate::message::Signature;
use crate::{JOIN_CLOCK_TOLERANCE_S, PeerId, SwarmId, VERSION};

/// The first message on a socket: who, into which swarm, and proof of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// [`VERSION`].
    pub version: u8,
    pub swarm: SwarmId,
    pub peer: PeerId,
    /// The client's clock, in seconds since 1970.
    pub unix_s: u64,
    /// By the swarm key over [`join_bytes`]: only who holds the link (or a keeper ticket) can make it.
    pub swarm_signature: Signature,
    /// By the peer key over the same bytes: nobody takes another's PeerId, and with it its place.
    pub peer_signature: Signature,
    /// As in a Report.
    pub completeness_permille: u16,
    /// As in a Report.
    pub free_slots: u8,
}

/// Why a Join is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    #[error("signalling version {0} instead of {VERSION}")]
    Version(u8),
    #[error("the client's clock is more than {JOIN_CLOCK_TOLERANCE_S} s from the server's")]
    Clock,
    #[error("not signed by the swarm key")]
    SwarmSignature,
    #[error("not signed by the peer key")]
    PeerSignature,
}

/// What both keys sign: `"baton join 1" || len(host) as u8 || host || unix_s as u64 LE || swarm || peer`.
///
/// `host` is what the client connects to, as in a URL and the Host header: name or address, with `:port` unless it is the
/// scheme's default (`location.host` in a browser). Letters are lowered here; beyond 255 bytes it is cut, which no name is.
pub fn join_bytes(host: &str, unix_s: u64, swarm: &SwarmId, peer: &PeerId) -> Vec<u8> {
    let host = host.as_bytes();
    let host = &host[..host.len().min(255)];
    let mut bytes = Vec::with_capacity(DOMAIN.len() + 1 + host.len() + 8 + 64);
    bytes.extend_from_slice(DOMAIN);
    bytes.push(host.len() as u8);
    bytes.extend(host.iter().map(u8::to_ascii_lowercase));
    bytes.extend_from_slice(&unix_s.to_le_bytes());
    bytes.extend_from_slice(swarm);
    bytes.extend_from_slice(peer);
    bytes
}

impl Join {
    /// The signer's side. `sign_swarm` and `sign_peer` are given [`join_bytes`].
    pub fn new(
        host: &str,
        unix_s: u64,
        swarm: SwarmId,
        peer: PeerId,
        sign_swarm: impl FnOnce(&[u8]) -> [u8; 64],
        sign_peer: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Self {
        let bytes = join_bytes(host, unix_s, &swarm, &peer);
        Self {
            version: VERSION,
            swarm,
            peer,
            unix_s,
            swarm_signature: Signature(sign_swarm(&bytes)),
            peer_signature: Signature(sign_peer(&bytes)),
            completeness_permille: 0,
            free_slots: 0,
        }
    }

    /// The server's side. `host` is the name that this server answers to.
    pub fn verify(&self, host: &str, server_unix_s: u64) -> Result<(), JoinError> {
        if self.version != VERSION {
            return Err(JoinError::Version(self.version));
        }
        if self.unix_s.abs_diff(server_unix_s) > JOIN_CLOCK_TOLERANCE_S {
            return Err(JoinError::Clock);
        }
        let bytes = join_bytes(host, self.unix_s, &self.swarm, &self.peer);
        if !verify(&self.swarm, &bytes, &self.swarm_signature.0) {
            return Err(JoinError::SwarmSignature);
        }
        if !verify(&self.peer, &bytes, &self.peer_signature.0) {
            return Err(JoinError::PeerSignature);
        }
        Ok(())
    }
}

pub(crate) fn verify(key: &[u8; 32], bytes: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| {
        key.verify_strict(bytes, &ed25519_dalek::Signature::from_bytes(signature))
            .is_ok()
    })
}

const DOMAIN: &[u8] = b"baton join 1";
