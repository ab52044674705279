//! Whom to name to a newcomer: near peers first, weighed by what they have and can give, and some of the rest so that the graph stays connected.

use std::cmp::Reverse;
use std::net::IpAddr;

use baton_signal_protocol::{Candidate, PeerId};

use crate::geo::Geo;

/// The most peers looked at for one answer: ranking then costs the same in a swarm of any size.
pub const SAMPLE_MAX: usize = 64;
/// The most candidates in one answer. A client connects to a handful at once, and each costs it an ICE session.
pub const CANDIDATES_MAX: usize = 16;
/// How many of these are taken whatever their rank: near peers alone would form islands.
const AT_RANDOM: usize = 4;

/// A peer as the ranking sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub peer: PeerId,
    pub spot: Spot,
    pub completeness_permille: u16,
    pub free_slots: u8,
}

/// Where a peer is: its address, and what a database knows of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    pub place: Place,
    pub geo: Geo,
}

/// A public address in one order, so that neighbours in it share a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u128);

impl Place {
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        })
    }

    /// All places that share this one's prefix: IPv4 /24, IPv6 /48.
    pub fn prefix(self) -> (Self, Self) {
        let host_bits = if self.0 >> 32 == 0xffff { 8 } else { 80 };
        let mask = (1 << host_bits) - 1;
        (Self(self.0 & !mask), Self(self.0 | mask))
    }

    pub fn to_bits(self) -> u128 {
        self.0
    }

    pub fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    pub fn address(self) -> IpAddr {
        IpAddr::V6(self.0.into()).to_canonical()
    }
}

impl Spot {
    /// House, street, network, city, country, world.
    fn nearness(&self, other: &Self) -> u32 {
        let (first, last) = self.place.prefix();
        let (here, there) = (&self.geo, &other.geo);
        let same_country = here.has_country() && here.country == there.country;
        match other.place {
            place if self.place == place => 5,
            place if (first..=last).contains(&place) => 4,
            // Networks of one number span the world: only their part in this country is near.
            _ if same_country && here.asn != 0 && here.asn == there.asn => 3,
            _ if same_country && here.city != 0 && here.city == there.city => 2,
            _ if same_country => 1,
            _ => 0,
        }
    }
}

/// At most [`CANDIDATES_MAX`] of `sample`, best first. `random` decides between equals and picks the rest.
pub fn rank(here: Spot, mut sample: Vec<Seen>, random: &mut fastrand::Rng) -> Vec<Candidate> {
    random.shuffle(&mut sample);
    sample.sort_by_cached_key(|seen| Reverse(score(&here, seen)));
    if sample.len() > CANDIDATES_MAX {
        for at in CANDIDATES_MAX - AT_RANDOM..CANDIDATES_MAX {
            let other = random.usize(at..sample.len());
            sample.swap(at, other);
        }
        sample.truncate(CANDIDATES_MAX);
    }
    sample.into_iter().map(candidate).collect()
}

/// Nearness decides, then distance (8,000 at most), how much a peer has (1,000) and how ready it is (800): the whole stream weighs as much
/// as the way from Europe to the middle of the Atlantic.
fn score(here: &Spot, seen: &Seen) -> u32 {
    let slots = u32::from(seen.free_slots.min(8)) * 100;
    here.nearness(&seen.spot) * 10_000
        + here.geo.closeness(&seen.spot.geo)
        + u32::from(seen.completeness_permille.min(1000))
        + slots
}

fn candidate(seen: Seen) -> Candidate {
    Candidate {
        peer: seen.peer,
        region: seen.spot.geo.region(),
        completeness_permille: seen.completeness_permille.min(1000),
        free_slots: seen.free_slots,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: u8, address: &str, completeness_permille: u16, free_slots: u8) -> Seen {
        Seen {
            peer: [peer; 32],
            spot: spot(address, Geo::default()),
            completeness_permille,
            free_slots,
        }
    }

    fn spot(address: &str, geo: Geo) -> Spot {
        Spot {
            place: Place::of(address.parse().unwrap()),
            geo,
        }
    }

    fn ranked(here: &str, sample: Vec<Seen>) -> Vec<u8> {
        rank(
            spot(here, Geo::default()),
            sample,
            &mut fastrand::Rng::with_seed(1),
        )
        .iter()
        .map(|it| it.peer[0])
        .collect()
    }

    #[test]
    fn the_same_house_comes_before_the_same_street_before_the_world() {
        let sample = vec![
            seen(3, "203.0.113.1", 1000, 8),
            seen(2, "192.0.2.77", 500, 8),
            seen(1, "192.0.2.1", 0, 0),
        ];
        assert_eq!(ranked("192.0.2.1", sample), [1, 2, 3]);
        let sample = vec![
            seen(2, "2001:db8:1::2", 0, 0),
            seen(3, "2001:db8:2::2", 1000, 8),
            seen(1, "2001:db8:1::1", 0, 0),
        ];
        assert_eq!(ranked("2001:db8:1::1", sample), [1, 2, 3]);
    }

    #[test]
    fn without_a_common_street_network_city_country_and_distance_decide_in_this_order() {
        let geo = |country: &[u8; 2], asn, city, latitude, longitude| Geo {
            country: *country,
            asn,
            city,
            direction: crate::geo::direction(latitude, longitude),
        };
        let places = [
            geo(b"DE", 1, 9, 48.1, 11.6),
            geo(b"DE", 2, 5, 52.5, 13.4),
            geo(b"DE", 2, 9, 48.1, 11.6),
            geo(b"FR", 1, 8, 48.9, 2.4),
            geo(b"JP", 1, 7, 35.7, 139.7),
        ];
        let sample = (0..5).rev().map(|at| Seen {
            peer: [at as u8; 32],
            spot: spot(&format!("198.51.{at}.1"), places[at]),
            completeness_permille: 0,
            free_slots: 0,
        });
        let here = spot("192.0.2.1", geo(b"DE", 1, 5, 52.5, 13.4));
        let answer = rank(here, sample.collect(), &mut fastrand::Rng::with_seed(1));
        let order: Vec<u8> = answer.iter().map(|it| it.peer[0]).collect();
        assert_eq!(order, [0, 1, 2, 3, 4]);
        assert_eq!(answer[3].region.as_deref(), Some("FR"));
    }

    #[test]
    fn among_equally_near_ones_those_who_can_give_come_first() {
        let sample = vec![
            seen(3, "203.0.113.1", 0, 1),
            seen(1, "203.0.113.2", 1000, 4),
            seen(2, "203.0.113.3", 1000, 0),
        ];
        assert_eq!(ranked("192.0.2.1", sample), [1, 2, 3]);
    }

    #[test]
    fn a_crowd_next_door_leaves_room_for_the_rest_of_the_world() {
        let near = (0..40).map(|i| seen(i, "192.0.2.1", 1000, 8));
        let far = (100..124).map(|i| seen(i, "203.0.113.1", 0, 0));
        let sample: Vec<Seen> = near.chain(far).collect();
        let mut met_far = 0;
        for seed in 0..50 {
            let answer = rank(
                sample[0].spot,
                sample.clone(),
                &mut fastrand::Rng::with_seed(seed),
            );
            assert_eq!(answer.len(), CANDIDATES_MAX);
            let mut peers: Vec<_> = answer.iter().map(|it| it.peer).collect();
            peers.sort_unstable();
            peers.dedup();
            assert_eq!(peers.len(), CANDIDATES_MAX, "nobody is named twice");
            met_far += usize::from(answer.iter().any(|it| it.peer[0] >= 100));
        }
        assert!(
            met_far > 25,
            "{met_far} of 50 newcomers met somebody far away"
        );
    }

    #[test]
    fn a_boast_counts_as_all_of_it() {
        let sample = vec![seen(1, "203.0.113.1", u16::MAX, u8::MAX)];
        let answer = rank(sample[0].spot, sample, &mut fastrand::Rng::with_seed(1));
        assert_eq!(answer[0].completeness_permille, 1000);
    }
}
