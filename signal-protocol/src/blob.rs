//! What two peers say to each other through a server that must not understand it.
//!
//! Layout: `kind (1) || nonce (24) || XChaCha20-Poly1305(signature (64) || body)`. The key is the stream's signalling key, the associated data is
//! `"baton blob 1" || kind || swarm || from || to`, the body is postcard and the signature is the sender's PeerId over
//! `associated data || nonce || body`. The box keeps the server out. The signature keeps everybody else who
//! holds the link from speaking as a PeerId that is not theirs.

use alloc::vec::Vec;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use ed25519_dalek::{Signer, SigningKey};
use serde::{Deserialize, Serialize};

use crate::description::{Description, DescriptionError, IceCandidate, Setup, validate_candidates};
use crate::{BLOB_MAX, PeerId, SwarmId};

/// What a blob says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// "Let us connect": begins a session, which its `session_nonce` names.
    Offer(Description),
    /// The answer to the offer whose `session_nonce` was `offer_nonce`.
    Answer {
        offer_nonce: [u8; 16],
        description: Description,
    },
    /// Further addresses of the sender, in the session that the offer with `offer_nonce` began. Either side sends these.
    Candidates {
        offer_nonce: [u8; 16],
        candidates: Vec<IceCandidate>,
        last: bool,
    },
    /// "Let the server carry what we say": begins a carried session, which its `session_nonce` names.
    CarryOffer(CarryTerms),
    /// The answer to the CarryOffer whose `session_nonce` was `offer_nonce`.
    CarryAnswer {
        offer_nonce: [u8; 16],
        terms: CarryTerms,
    },
}

/// What one side puts into a [carried connection](crate::carry).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarryTerms {
    /// The sender's nonce for this connection; the first message proves it, as a Description's.
    pub session_nonce: [u8; 16],
    /// The public half of an X25519 key made for this connection; the first message proves it in place of a fingerprint.
    pub key: [u8; 32],
}

/// The kind of a blob, its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Offer = 0,
    Answer = 1,
    Candidates = 2,
    CarryOffer = 3,
    CarryAnswer = 4,
}

/// Where a blob is from and whom it is for; as the carrier says it, which the box and the signature then prove or refute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub swarm: SwarmId,
    pub from: PeerId,
    pub to: PeerId,
}

/// Why a blob is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    #[error("a blob of {0} bytes")]
    Length(usize),
    #[error("blob kind {0} is unknown")]
    Kind(u8),
    #[error("sealed under another key, for another route, or altered on the way")]
    Box,
    #[error("not signed by the PeerId that it is said to be from")]
    Signature,
    #[error("the fields of a {0:?} are broken or cut off")]
    Fields(Kind),
    #[error(transparent)]
    Description(#[from] DescriptionError),
    #[error("a {0:?} of another session than the one at hand")]
    OtherSession(Kind),
}

/// Seals `signal` from the owner of `peer_seed` (ed25519, as `SigningKey::from_bytes`) to `to`. `nonce` must be random and used once.
///
/// # Errors
/// [`BlobError::Description`] if `signal` breaks a limit that the receiver would refuse.
pub fn seal(
    swarm: &SwarmId,
    to: &PeerId,
    signalling_key: &[u8; 32],
    peer_seed: &[u8; 32],
    nonce: [u8; 24],
    signal: &Signal,
) -> Result<Vec<u8>, BlobError> {
    signal.validate()?;
    let signer = SigningKey::from_bytes(peer_seed);
    let route = Route {
        swarm: *swarm,
        from: signer.verifying_key().to_bytes(),
        to: *to,
    };
    Ok(seal_signed(
        &route,
        signalling_key,
        nonce,
        signal,
        |bytes| signer.sign(bytes).to_bytes(),
    ))
}

/// Opens a blob that came by `route`.
///
/// `offer_nonce` is the `session_nonce` of the offer that began the session we have with `route.from` (ours or theirs), if there is one. An Answer or
/// Candidates that name another are refused, so nothing replayed from an earlier session is applied.
pub fn open(
    route: &Route,
    signalling_key: &[u8; 32],
    offer_nonce: Option<&[u8; 16]>,
    blob: &[u8],
) -> Result<Signal, BlobError> {
    if !(BLOB_MIN..=BLOB_MAX).contains(&blob.len()) {
        return Err(BlobError::Length(blob.len()));
    }
    let kind = Kind::of(blob[0])?;
    let nonce: [u8; 24] = blob[1..25].try_into().expect("24 bytes");
    let associated = associated_data(kind, route);
    let mut inner = blob[25..].to_vec();
    XChaCha20Poly1305::new(signalling_key.into())
        .decrypt_in_place(&nonce.into(), &associated, &mut inner)
        .map_err(|_| BlobError::Box)?;
    let (signature, body) = inner
        .split_first_chunk::<64>()
        .expect("BLOB_MIN leaves room for it");
    if !crate::join::verify(
        &route.from,
        &signed_bytes(&associated, &nonce, body),
        signature,
    ) {
        return Err(BlobError::Signature);
    }
    let signal = Signal::from_body(kind, body)?;
    signal.validate()?;
    match signal.offer_nonce() {
        Some(named) if offer_nonce != Some(named) => Err(BlobError::OtherSession(kind)),
        _ => Ok(signal),
    }
}

impl Signal {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Offer(_) => Kind::Offer,
            Self::Answer { .. } => Kind::Answer,
            Self::Candidates { .. } => Kind::Candidates,
            Self::CarryOffer(_) => Kind::CarryOffer,
            Self::CarryAnswer { .. } => Kind::CarryAnswer,
        }
    }

    fn offer_nonce(&self) -> Option<&[u8; 16]> {
        match self {
            Self::Offer(_) | Self::CarryOffer(_) => None,
            Self::Answer { offer_nonce, .. }
            | Self::Candidates { offer_nonce, .. }
            | Self::CarryAnswer { offer_nonce, .. } => Some(offer_nonce),
        }
    }

    fn validate(&self) -> Result<(), DescriptionError> {
        match self {
            Self::Offer(description) if description.setup != Setup::ActPass => {
                Err(DescriptionError::Setup)
            }
            Self::Answer { description, .. } if description.setup == Setup::ActPass => {
                Err(DescriptionError::Setup)
            }
            Self::Offer(description) | Self::Answer { description, .. } => description.validate(),
            Self::Candidates { candidates, .. } => validate_candidates(candidates),
            // Any key is one; whether it leads to a secret shows when it is used.
            Self::CarryOffer(_) | Self::CarryAnswer { .. } => Ok(()),
        }
    }

    fn body(&self) -> Vec<u8> {
        match self {
            Self::Offer(description) => postcard::to_allocvec(description),
            Self::Answer {
                offer_nonce,
                description,
            } => postcard::to_allocvec(&(offer_nonce, description)),
            Self::Candidates {
                offer_nonce,
                candidates,
                last,
            } => postcard::to_allocvec(&(offer_nonce, candidates, last)),
            Self::CarryOffer(terms) => postcard::to_allocvec(terms),
            Self::CarryAnswer { offer_nonce, terms } => {
                postcard::to_allocvec(&(offer_nonce, terms))
            }
        }
        .expect("plain fields of known length")
    }

    fn from_body(kind: Kind, body: &[u8]) -> Result<Self, BlobError> {
        let fields = |_| BlobError::Fields(kind);
        Ok(match kind {
            Kind::Offer => Self::Offer(take(body).map_err(fields)?),
            Kind::Answer => {
                let (offer_nonce, description) = take(body).map_err(fields)?;
                Self::Answer {
                    offer_nonce,
                    description,
                }
            }
            Kind::Candidates => {
                let (offer_nonce, candidates, last) = take(body).map_err(fields)?;
                Self::Candidates {
                    offer_nonce,
                    candidates,
                    last,
                }
            }
            Kind::CarryOffer => Self::CarryOffer(take(body).map_err(fields)?),
            Kind::CarryAnswer => {
                let (offer_nonce, terms) = take(body).map_err(fields)?;
                Self::CarryAnswer { offer_nonce, terms }
            }
        })
    }
}

/// Bytes after the last known field are ignored: fields are only appended.
fn take<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, postcard::Error> {
    postcard::take_from_bytes(body).map(|(value, _)| value)
}

impl Kind {
    fn of(byte: u8) -> Result<Self, BlobError> {
        match byte {
            0 => Ok(Self::Offer),
            1 => Ok(Self::Answer),
            2 => Ok(Self::Candidates),
            3 => Ok(Self::CarryOffer),
            4 => Ok(Self::CarryAnswer),
            other => Err(BlobError::Kind(other)),
        }
    }
}

fn seal_signed(
    route: &Route,
    signalling_key: &[u8; 32],
    nonce: [u8; 24],
    signal: &Signal,
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> Vec<u8> {
    let kind = signal.kind();
    let associated = associated_data(kind, route);
    let body = signal.body();
    let mut inner = Vec::with_capacity(64 + body.len() + TAG_LEN);
    inner.extend_from_slice(&sign(&signed_bytes(&associated, &nonce, &body)));
    inner.extend_from_slice(&body);
    XChaCha20Poly1305::new(signalling_key.into())
        .encrypt_in_place(&nonce.into(), &associated, &mut inner)
        .expect("a vector grows and the body is short");
    let mut blob = Vec::with_capacity(25 + inner.len());
    blob.push(kind as u8);
    blob.extend_from_slice(&nonce);
    blob.extend_from_slice(&inner);
    blob
}

fn associated_data(kind: Kind, route: &Route) -> Vec<u8> {
    [DOMAIN, &[kind as u8], &route.swarm, &route.from, &route.to].concat()
}

fn signed_bytes(associated: &[u8], nonce: &[u8; 24], body: &[u8]) -> Vec<u8> {
    [associated, nonce, body].concat()
}

const DOMAIN: &[u8] = b"baton blob 1";
const TAG_LEN: usize = 16;
/// Kind, nonce, signature and tag.
const BLOB_MIN: usize = 1 + 24 + 64 + TAG_LEN;
