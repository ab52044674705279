//! Where an address is, as coarsely as ranking needs it.
//!
//! It stays on the server: peers hear the country of a candidate and nothing finer.

/// What a database says of an address; all of it may be unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Geo {
    /// ISO 3166-1, two capital letters; zeros if unknown.
    pub country: [u8; 2],
    /// The network's number; 0 if unknown.
    pub asn: u32,
    /// The database's number of the city; 0 if unknown.
    pub city: u32,
    /// The place's centroid as a direction from the middle of the earth, each part times 10,000; zeros if unknown. So distances compare by
    /// multiplying and adding alone.
    pub direction: [i16; 3],
}

/// A country and what is known below it, in an order in which one country is one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Area(u64);

impl Geo {
    pub fn has_country(&self) -> bool {
        self.country != [0; 2]
    }

    /// For peers and people: the country.
    pub fn region(&self) -> Option<String> {
        self.has_country()
            .then(|| self.country.iter().copied().map(char::from).collect())
    }

    /// The country with the network, else with the city, else alone. `None` if not even the country is known.
    pub fn area(&self) -> Option<Area> {
        let below = match (self.asn, self.city) {
            (0, 0) => 0,
            (0, city) => 1 << 32 | u64::from(city),
            (asn, _) => u64::from(asn),
        };
        self.has_country()
            .then(|| Area(u64::from(u16::from_be_bytes(self.country)) << 48 | below))
    }

    /// How near two centroids are: 0 (the other end of the world, or unknown) to 8,000 (the same place).
    pub fn closeness(&self, other: &Self) -> u32 {
        if self.direction == [0; 3] || other.direction == [0; 3] {
            return 0;
        }
        let cosine: i32 = self
            .direction
            .iter()
            .zip(&other.direction)
            .map(|(a, b)| i32::from(*a) * i32::from(*b))
            .sum();
        // Rounding may lead a little beyond the sphere.
        let from_behind = (cosine + 100_000_000).clamp(0, 200_000_000);
        (from_behind / 25_000) as u32
    }
}

impl Area {
    /// All areas of this one's country.
    pub fn country(self) -> (Self, Self) {
        let below = (1 << 48) - 1;
        (Self(self.0 & !below), Self(self.0 | below))
    }

    pub fn number(self) -> u64 {
        self.0
    }
}

/// The direction of a place on the globe.
pub fn direction(latitude: f64, longitude: f64) -> [i16; 3] {
    if !(latitude.abs() <= 90.0 && longitude.abs() <= 180.0) {
        return [0; 3];
    }
    let (latitude, longitude) = (latitude.to_radians(), longitude.to_radians());
    let part = |value: f64| (value * 10_000.0).round() as i16;
    [
        part(latitude.cos() * longitude.cos()),
        part(latitude.cos() * longitude.sin()),
        part(latitude.sin()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(latitude: f64, longitude: f64) -> Geo {
        Geo {
            direction: direction(latitude, longitude),
            ..Geo::default()
        }
    }

    #[test]
    fn nearer_places_are_closer_and_unknown_ones_are_far() {
        let (berlin, paris, tokyo) = (at(52.5, 13.4), at(48.9, 2.4), at(35.7, 139.7));
        assert!(berlin.closeness(&berlin) > berlin.closeness(&paris));
        assert!(berlin.closeness(&paris) > berlin.closeness(&tokyo) + 1000);
        assert_eq!(berlin.closeness(&Geo::default()), 0);
        assert!(at(90.0, 0.0).closeness(&at(-90.0, 0.0)) < 2);
        assert_eq!(direction(f64::NAN, 0.0), [0; 3]);
        assert_eq!(direction(91.0, 0.0), [0; 3]);
    }

    #[test]
    fn the_areas_of_one_country_are_one_run() {
        let in_ = |country: &[u8; 2], asn, city| {
            let geo = Geo {
                country: *country,
                asn,
                city,
                ..Geo::default()
            };
            geo.area().unwrap()
        };
        let (first, last) = in_(b"DE", 0, 0).country();
        for area in [in_(b"DE", u32::MAX, 5), in_(b"DE", 0, u32::MAX)] {
            assert!((first..=last).contains(&area));
        }
        for area in [in_(b"DF", 0, 0), in_(b"DD", u32::MAX, 0)] {
            assert!(!(first..=last).contains(&area));
        }
        assert_eq!(Geo::default().area(), None);
    }
}
