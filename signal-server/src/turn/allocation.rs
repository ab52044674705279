//! One allocation: whose it is, whom it may speak with, and until when.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::relay::Client;
use super::stun::{Class, Message, Writer, attribute, method};

/// One client's relay.
pub struct Allocation {
    pub client: Client,
    pub username: String,
    pub user: String,
    pub key: [u8; 16],
    /// Of the Allocate that made it, so that its repetition gets the same answer.
    pub transaction: [u8; 12],
    pub lifetime: Duration,
    pub relayed: Option<SocketAddr>,
    pub created: Instant,
    pub expires: Instant,
    /// Each with its end.
    pub permissions: BTreeMap<IpAddr, Instant>,
    pub channels: BTreeMap<u16, (SocketAddr, Instant)>,
}

impl Allocation {
    /// Whether it has not run out.
    pub fn is_live(&self, now: Instant) -> bool {
        self.expires > now
    }

    /// Whether the client permitted this peer, and not too long ago.
    pub fn may_speak_with(&self, peer: IpAddr, now: Instant) -> bool {
        self.is_live(now) && self.permissions.get(&peer).is_some_and(|end| *end > now)
    }

    /// The channel on which the client hears this peer, if it bound one.
    pub fn channel_of(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        let bound =
            |(_, (bound, end)): &(&u16, &(SocketAddr, Instant))| *bound == peer && *end > now;
        self.channels
            .iter()
            .find(bound)
            .map(|(channel, _)| *channel)
    }

    /// The answer to the Allocate that made it.
    pub fn welcome(&self, relayed: SocketAddr) -> Vec<u8> {
        Writer::new(Class::Success, method::ALLOCATE, &self.transaction)
            .address(attribute::XOR_RELAYED_ADDRESS, relayed)
            .number(attribute::LIFETIME, self.lifetime.as_secs() as u32)
            .address(attribute::XOR_MAPPED_ADDRESS, self.client.address)
            .sign(&self.key)
            .finish()
    }
}

/// How long a client asks an allocation to last, within what we give.
pub fn lifetime(message: &Message<'_>) -> Duration {
    let asked = message
        .number(attribute::LIFETIME)
        .map_or(LIFETIME, |it| Duration::from_secs(it.into()));
    asked.clamp(LIFETIME, LIFETIME_MAX)
}

/// RFC 8656 §3.2, §8 and §9: what an allocation, a permission and a channel last without being refreshed.
const LIFETIME: Duration = Duration::from_secs(600);
const LIFETIME_MAX: Duration = Duration::from_secs(3600);
pub const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
pub const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);
/// No allocation lives longer, however often it is refreshed: a film, a match and the way home.
pub const AGE_MAX: Duration = Duration::from_secs(12 * 3600);
