//! One side of a WebRTC connection, as data: what an SDP says that matters, and nothing else.
//!
//! Invariant: a `Description` or `IceCandidate` that [`validate`](Description::validate) accepts can be written into an SDP
//! without escaping; no field holds a space, CR, LF or anything outside its grammar (RFC 8839).

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// What an offer or an answer says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The sender's nonce for this connection; names it in answers, candidates and the first channel message.
    pub session_nonce: [u8; 16],
    /// ICE user name fragment, 4..=[`UFRAG_MAX`] ice-chars.
    pub ufrag: String,
    /// ICE password, 22..=[`PWD_MAX`] ice-chars.
    pub pwd: String,
    /// SHA-256 of the sender's DTLS certificate.
    pub fingerprint: [u8; 32],
    /// `ActPass` in an offer, `Active` or `Passive` in an answer.
    pub setup: Setup,
    /// At most [`CANDIDATES_MAX`]; more may follow in a [`Signal::Candidates`](crate::Signal::Candidates).
    pub candidates: Vec<IceCandidate>,
}

/// Which side begins the DTLS handshake (RFC 8842).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setup {
    ActPass,
    Active,
    Passive,
}

/// One address where a side may be reached (RFC 8839 §5.1), component 1. The related address is left out on purpose: it tells the other side an
/// address that it has no use for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceCandidate {
    /// 1..=32 ice-chars.
    pub foundation: String,
    pub transport: Transport,
    pub priority: u32,
    pub address: Address,
    pub port: u16,
    pub kind: CandidateKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    Udp,
    Tcp(TcpType),
}

/// RFC 6544 §4.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TcpType {
    Active,
    Passive,
    SimultaneousOpen,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Address {
    V4(Ipv4Octets),
    V6(Ipv6Octets),
    /// `name.local`, stored without the `.local`: 1..=[`MDNS_MAX`] of `0-9 a-z A-Z -`.
    Mdns(String),
}

pub type Ipv4Octets = [u8; 4];
pub type Ipv6Octets = [u8; 16];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CandidateKind {
    Host,
    ServerReflexive,
    PeerReflexive,
    Relay,
}

/// Chromium sends 4 ice-chars, Firefox 8; RFC 8839 would allow 256.
pub const UFRAG_MAX: usize = 64;
/// Chromium sends 24 ice-chars, Firefox 32; RFC 8839 would allow 256.
pub const PWD_MAX: usize = 128;
/// Several interfaces, two address families, STUN and TURN over both transports: a real host stays below this, and a hostile one cannot make
/// us send checks to more addresses.
pub const CANDIDATES_MAX: usize = 24;
/// Browsers use UUIDs (36); a DNS label ends at 63.
pub const MDNS_MAX: usize = 63;
const FOUNDATION_MAX: usize = 32;

/// What is wrong with a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptionError {
    #[error("the ICE user name fragment is not 4 to {UFRAG_MAX} ice-chars")]
    Ufrag,
    #[error("the ICE password is not 22 to {PWD_MAX} ice-chars")]
    Pwd,
    #[error("the setup role does not fit an offer or an answer")]
    Setup,
    #[error("more than {CANDIDATES_MAX} candidates")]
    TooManyCandidates,
    #[error("candidate {index}: its foundation is not 1 to 32 ice-chars")]
    Foundation { index: usize },
    #[error("candidate {index}: its mDNS name is not a label")]
    Mdns { index: usize },
    #[error("candidate {index}: an address that no peer can have")]
    Address { index: usize },
    #[error("candidate {index}: port 0")]
    Port { index: usize },
}

impl Description {
    /// Whether every field is within its grammar and limits.
    pub fn validate(&self) -> Result<(), DescriptionError> {
        if !is_ice_chars(&self.ufrag, 4, UFRAG_MAX) {
            return Err(DescriptionError::Ufrag);
        }
        if !is_ice_chars(&self.pwd, 22, PWD_MAX) {
            return Err(DescriptionError::Pwd);
        }
        validate_candidates(&self.candidates)
    }
}

/// Whether a list of candidates is within its grammar and limits.
pub fn validate_candidates(candidates: &[IceCandidate]) -> Result<(), DescriptionError> {
    if candidates.len() > CANDIDATES_MAX {
        return Err(DescriptionError::TooManyCandidates);
    }
    candidates
        .iter()
        .enumerate()
        .try_for_each(|(index, candidate)| candidate.validate(index))
}

impl IceCandidate {
    fn validate(&self, index: usize) -> Result<(), DescriptionError> {
        if !is_ice_chars(&self.foundation, 1, FOUNDATION_MAX) {
            return Err(DescriptionError::Foundation { index });
        }
        // RFC 6544 §4.5: an active TCP candidate has no port of its own and says 9.
        if self.port == 0 {
            return Err(DescriptionError::Port { index });
        }
        match &self.address {
            Address::Mdns(name) if !is_label(name) => Err(DescriptionError::Mdns { index }),
            Address::V4(octets) if !is_reachable_v4((*octets).into()) => {
                Err(DescriptionError::Address { index })
            }
            Address::V6(octets) if !is_reachable_v6((*octets).into()) => {
                Err(DescriptionError::Address { index })
            }
            _ => Ok(()),
        }
    }
}

/// ice-char = ALPHA / DIGIT / "+" / "/" (RFC 8839 §5.1). Chromium and Firefox keep to it; so does webrtc-rs.
pub(crate) fn is_ice_chars(text: &str, min: usize, max: usize) -> bool {
    (min..=max).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

pub(crate) fn is_label(text: &str) -> bool {
    (1..=MDNS_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Multicast and broadcast would make a peer's checks hit many hosts at once. Loopback and private addresses stay: the other side may be
/// this very computer or on the same LAN.
fn is_reachable_v4(address: Ipv4Addr) -> bool {
    !(address.is_multicast() || address.is_broadcast() || address.is_unspecified())
}

/// A mapped address (`::ffff:224.0.0.251`) is the IPv4 address that it maps.
fn is_reachable_v6(address: Ipv6Addr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(mapped) => is_reachable_v4(mapped),
        IpAddr::V6(address) => !(address.is_multicast() || address.is_unspecified()),
    }
}

impl core::fmt::Debug for Description {
    /// Without the password: descriptions end up in logs.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Description")
            .field("setup", &self.setup)
            .field("candidates", &self.candidates.len())
            .finish_non_exhaustive()
    }
}
