//! What Redis holds of a peer, and under which keys. Pure: bytes in, bytes out.
//!
//! All keys of a swarm share one hash tag, so that a Redis Cluster keeps them together and a script may use them at once.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use baton_signal_protocol::SwarmId;

use crate::geo::Geo;
use crate::limits::AddressKey;
use crate::ranking::{Place, Seen, Spot};
use crate::rooms::Member;

/// One connection of one node to Redis, from its beginning to its end; never used again.
pub type NodeId = [u8; 16];

/// A peer as the cluster knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Where it is connected.
    pub node: NodeId,
    /// The time that its Join was signed for.
    pub joined_unix_s: u64,
    pub spot: Spot,
    pub completeness_permille: u16,
    pub free_slots: u8,
}

/// `VERSION || node (16) || joined (8) || place (16) || country (2) || ASN (4) || city (4) || direction (6) || completeness (2) || slots (1)`, big-endian.
/// Below 64 bytes, as Redis packs small hashes up to there. The scripts read node and joined at their places.
pub const PRESENCE_LEN: usize = 1 + 16 + 8 + 16 + 2 + 4 + 4 + 6 + 2 + 1;
const VERSION: u8 = 1;

impl Presence {
    pub fn of(member: &Member, node: NodeId) -> Self {
        Self {
            node,
            joined_unix_s: member.joined_unix_s,
            spot: member.spot,
            completeness_permille: member.completeness_permille,
            free_slots: member.free_slots,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let geo = &self.spot.geo;
        let mut bytes = Vec::with_capacity(PRESENCE_LEN);
        bytes.push(VERSION);
        bytes.extend(self.node);
        bytes.extend(self.joined_unix_s.to_be_bytes());
        bytes.extend(self.spot.place.to_bits().to_be_bytes());
        bytes.extend(geo.country);
        bytes.extend(geo.asn.to_be_bytes());
        bytes.extend(geo.city.to_be_bytes());
        bytes.extend(geo.direction.iter().flat_map(|part| part.to_be_bytes()));
        bytes.extend(self.completeness_permille.to_be_bytes());
        bytes.push(self.free_slots);
        bytes
    }

    /// `None` for whatever is no presence.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        if bytes.len() != PRESENCE_LEN || take::<1>(&mut rest) != [VERSION] {
            return None;
        }
        let presence = Self {
            node: take(&mut rest),
            joined_unix_s: u64::from_be_bytes(take(&mut rest)),
            spot: Spot {
                place: Place::from_bits(u128::from_be_bytes(take(&mut rest))),
                geo: Geo {
                    country: take(&mut rest),
                    asn: u32::from_be_bytes(take(&mut rest)),
                    city: u32::from_be_bytes(take(&mut rest)),
                    direction: [(); 3].map(|()| i16::from_be_bytes(take(&mut rest))),
                },
            },
            completeness_permille: u16::from_be_bytes(take(&mut rest)),
            free_slots: take::<1>(&mut rest)[0],
        };
        let geo = &presence.spot.geo;
        let is_country = !geo.has_country() || geo.country.iter().all(u8::is_ascii_uppercase);
        let on_globe = geo
            .direction
            .iter()
            .all(|part| (-10_000..=10_000).contains(part));
        (is_country && on_globe).then_some(presence)
    }

    pub fn seen(&self, peer: [u8; 32]) -> Seen {
        Seen {
            peer,
            spot: self.spot,
            completeness_permille: self.completeness_permille,
            free_slots: self.free_slots,
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (first, more) = rest
        .split_first_chunk()
        .expect("the length was checked for all of it");
    *rest = more;
    *first
}

/// All peers of a swarm: a hash of PeerId to presence.
pub fn world(swarm: &SwarmId) -> Vec<u8> {
    format!("baton:{{{}}}", URL_SAFE_NO_PAD.encode(swarm)).into_bytes()
}

/// The world first, then the cells that a peer at this spot is in: hashes of PeerIds, which say where to look and nothing else.
pub fn keys(swarm: &SwarmId, spot: &Spot) -> Vec<Vec<u8>> {
    let world = world(swarm);
    let cell = |kind: u8, name: &[u8]| {
        let mut key = world.clone();
        key.extend([b':', kind]);
        key.extend(name);
        key
    };
    let (street, _) = spot.place.prefix();
    let mut keys = vec![world.clone(), cell(b's', &street.to_bits().to_be_bytes())];
    if let Some(area) = spot.geo.area() {
        let (country, _) = area.country();
        if area != country {
            keys.push(cell(b'a', &area.number().to_be_bytes()));
        }
        keys.push(cell(b'c', &country.number().to_be_bytes()));
    }
    keys
}

/// The most keys of one peer: world, street, network or city, country.
#[cfg(test)]
pub const KEYS_MAX: usize = 4;

/// Who of one address is connected where: a hash of node and connection to swarm.
pub fn account(place: Place) -> Vec<u8> {
    format!(
        "baton:address:{:016x}",
        AddressKey::of(place.address()).number()
    )
    .into_bytes()
}

/// What one address asked about short names lately: how often for one, and how often who has one.
pub fn asked(address: AddressKey) -> Vec<u8> {
    format!("baton:asked:{:016x}", address.number()).into_bytes()
}

/// A short name: a hash of whose it is, its ticket, and how often it may still be found.
pub fn name_key(name: u16) -> Vec<u8> {
    format!("baton:name:{name}").into_bytes()
}

/// A node's own channel.
pub fn channel(node: &NodeId) -> Vec<u8> {
    [b"baton:node:".as_slice(), node].concat()
}

/// The nodes and until when each one's lease lasts.
pub const NODES: &[u8] = b"baton:nodes";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn presence() -> Presence {
        Presence {
            node: [7; 16],
            joined_unix_s: 1_800_000_000,
            spot: Spot {
                place: Place::of("192.0.2.1".parse().unwrap()),
                geo: Geo {
                    country: *b"DE",
                    asn: 64500,
                    city: 9,
                    direction: [6000, -1, 8000],
                },
            },
            completeness_permille: 1000,
            free_slots: 4,
        }
    }

    #[test]
    fn a_presence_reads_as_it_was_written_and_fits_a_packed_hash() {
        let bytes = presence().encode();
        assert_eq!(bytes.len(), PRESENCE_LEN);
        assert!(bytes.len() <= 64);
        assert_eq!(
            &bytes[1..17],
            [7; 16],
            "where the scripts look for the node"
        );
        assert_eq!(bytes[17..25], 1_800_000_000u64.to_be_bytes());
        assert_eq!(Presence::decode(&bytes), Some(presence()));
    }

    #[test]
    fn what_no_node_would_write_is_no_presence() {
        let good = presence().encode();
        assert_eq!(Presence::decode(&good[1..]), None);
        assert_eq!(Presence::decode(&[&good[..], b"x"].concat()), None);
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Presence::decode(&bytes)
        };
        assert_eq!(with(0, 2), None, "another version");
        assert_eq!(with(41, b'<'), None, "a country is two capital letters");
        assert_eq!(
            with(51, 0x7f),
            None,
            "no direction is longer than the globe"
        );
    }

    #[test]
    fn all_keys_of_a_swarm_have_one_hash_tag_and_near_peers_share_cells() {
        let here = presence().spot;
        let all = keys(&[1; 32], &here);
        assert_eq!(all.len(), KEYS_MAX);
        for key in &all {
            let text = String::from_utf8_lossy(key);
            let tag = text.split(['{', '}']).nth(1).unwrap();
            assert_eq!(tag, URL_SAFE_NO_PAD.encode([1; 32]));
        }
        let mut abroad = here;
        abroad.geo.country = *b"FR";
        let there = keys(&[1; 32], &abroad);
        assert_eq!((&there[..2], there[3] == all[3]), (&all[..2], false));
        let unknown = Spot {
            place: here.place,
            geo: Geo::default(),
        };
        assert_eq!(keys(&[1; 32], &unknown).len(), 2);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Presence::decode(&bytes);
        }

        #[test]
        fn what_is_read_is_written_the_same(mut bytes in proptest::collection::vec(any::<u8>(), PRESENCE_LEN)) {
            bytes[0] = VERSION;
            if let Some(presence) = Presence::decode(&bytes) {
                prop_assert_eq!(presence.encode(), bytes);
            }
        }
    }
}
