//! Where peers live, and how long light and routers take between them.

use crate::rng::Rng;

/// A city with its coordinates in degrees and its share of the crowd.
#[derive(Debug)]
pub struct City {
    pub name: &'static str,
    pub country: &'static str,
    pub region: &'static str,
    latitude: f64,
    longitude: f64,
    /// People of its urban area in hundred thousands, roughly.
    people: u64,
}

const fn city(
    name: &'static str,
    country: &'static str,
    region: &'static str,
    latitude: f64,
    longitude: f64,
    people: u64,
) -> City {
    City {
        name,
        country,
        region,
        latitude,
        longitude,
        people,
    }
}

/// Real cities; coordinates to a tenth of a degree are enough for milliseconds.
pub const CITIES: [City; 56] = [
    city("London", "GB", "EU", 51.5, -0.1, 110),
    city("Manchester", "GB", "EU", 53.5, -2.2, 27),
    city("Dublin", "IE", "EU", 53.3, -6.3, 13),
    city("Paris", "FR", "EU", 48.9, 2.4, 110),
    city("Lyon", "FR", "EU", 45.8, 4.8, 17),
    city("Madrid", "ES", "EU", 40.4, -3.7, 62),
    city("Barcelona", "ES", "EU", 41.4, 2.2, 49),
    city("Lisbon", "PT", "EU", 38.7, -9.1, 28),
    city("Frankfurt", "DE", "EU", 50.1, 8.7, 23),
    city("Berlin", "DE", "EU", 52.5, 13.4, 40),
    city("Hamburg", "DE", "EU", 53.6, 10.0, 21),
    city("Munich", "DE", "EU", 48.1, 11.6, 20),
    city("Vienna", "AT", "EU", 48.2, 16.4, 19),
    city("Zurich", "CH", "EU", 47.4, 8.5, 13),
    city("Milan", "IT", "EU", 45.5, 9.2, 49),
    city("Rome", "IT", "EU", 41.9, 12.5, 32),
    city("Amsterdam", "NL", "EU", 52.4, 4.9, 17),
    city("Brussels", "BE", "EU", 50.8, 4.4, 21),
    city("Copenhagen", "DK", "EU", 55.7, 12.6, 13),
    city("Stockholm", "SE", "EU", 59.3, 18.1, 16),
    city("Oslo", "NO", "EU", 59.9, 10.8, 10),
    city("Helsinki", "FI", "EU", 60.2, 24.9, 13),
    city("Warsaw", "PL", "EU", 52.2, 21.0, 18),
    city("Prague", "CZ", "EU", 50.1, 14.4, 13),
    city("Athens", "GR", "EU", 38.0, 23.7, 32),
    city("Kyiv", "UA", "EU", 50.5, 30.5, 30),
    city("Istanbul", "TR", "EU", 41.0, 29.0, 150),
    city("New York", "US", "NA", 40.7, -74.0, 190),
    city("Boston", "US", "NA", 42.4, -71.1, 43),
    city("Washington", "US", "NA", 38.9, -77.0, 52),
    city("Atlanta", "US", "NA", 33.7, -84.4, 52),
    city("Miami", "US", "NA", 25.8, -80.2, 61),
    city("Chicago", "US", "NA", 41.9, -87.6, 88),
    city("Dallas", "US", "NA", 32.8, -96.8, 60),
    city("Denver", "US", "NA", 39.7, -105.0, 27),
    city("Los Angeles", "US", "NA", 34.1, -118.2, 124),
    city("San Francisco", "US", "NA", 37.8, -122.4, 34),
    city("Seattle", "US", "NA", 47.6, -122.3, 35),
    city("Toronto", "CA", "NA", 43.7, -79.4, 56),
    city("Mexico City", "MX", "NA", 19.4, -99.1, 210),
    city("Sao Paulo", "BR", "SA", -23.6, -46.6, 220),
    city("Rio de Janeiro", "BR", "SA", -22.9, -43.2, 130),
    city("Buenos Aires", "AR", "SA", -34.6, -58.4, 150),
    city("Bogota", "CO", "SA", 4.7, -74.1, 110),
    city("Tokyo", "JP", "AS", 35.7, 139.7, 370),
    city("Osaka", "JP", "AS", 34.7, 135.5, 190),
    city("Seoul", "KR", "AS", 37.6, 127.0, 250),
    city("Taipei", "TW", "AS", 25.0, 121.6, 70),
    city("Hong Kong", "HK", "AS", 22.3, 114.2, 75),
    city("Singapore", "SG", "AS", 1.4, 103.8, 57),
    city("Jakarta", "ID", "AS", -6.2, 106.8, 330),
    city("Mumbai", "IN", "AS", 19.1, 72.9, 210),
    city("Delhi", "IN", "AS", 28.6, 77.2, 310),
    city("Johannesburg", "ZA", "AF", -26.2, 28.0, 100),
    city("Lagos", "NG", "AF", 6.5, 3.4, 150),
    city("Sydney", "AU", "OC", -33.9, 151.2, 50),
];

/// One city of `wanted` (names of cities, countries or regions; all of them if none is named), by its people.
pub fn draw(wanted: &[String], rng: &mut Rng) -> usize {
    let fits = |city: &City| {
        wanted.is_empty()
            || wanted
                .iter()
                .any(|it| it == city.name || it == city.country || it == city.region)
    };
    let total: u64 = CITIES
        .iter()
        .filter(|city| fits(city))
        .map(|city| city.people)
        .sum();
    let mut at = rng.below(total);
    for (index, city) in CITIES.iter().enumerate().filter(|(_, city)| fits(city)) {
        if at < city.people {
            return index;
        }
        at -= city.people;
    }
    panic!("no city is called {wanted:?}")
}

/// The city of this name.
pub fn named(name: &str) -> usize {
    CITIES
        .iter()
        .position(|city| city.name == name)
        .unwrap_or_else(|| panic!("no city is called {name}"))
}

/// One way between two cities without the access links, in microseconds.
///
/// Light in glass needs 5 µs per kilometre and cables go a third farther than the great circle: 6.6 µs. That makes 73 ms of round trip between
/// New York and London and 164 between Frankfurt and Mumbai, within a tenth of what people measure. Inside a city 0.3 ms.
pub fn one_way_us(a: usize, b: usize) -> u64 {
    300 + (kilometres(&CITIES[a], &CITIES[b]) * 6.6) as u64
}

fn kilometres(a: &City, b: &City) -> f64 {
    let radians = |degrees: f64| degrees.to_radians();
    let (lat_a, lat_b) = (radians(a.latitude), radians(b.latitude));
    let half = |from: f64, to: f64| ((to - from) / 2.0).sin();
    let h = half(lat_a, lat_b) * half(lat_a, lat_b)
        + lat_a.cos()
            * lat_b.cos()
            * half(radians(a.longitude), radians(b.longitude))
            * half(radians(a.longitude), radians(b.longitude));
    2.0 * 6371.0 * h.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_those_of_the_world() {
        let rtt_ms = |a: &str, b: &str| 2 * one_way_us(named(a), named(b)) / 1000;
        assert_eq!(rtt_ms("New York", "London"), 74);
        assert_eq!(rtt_ms("Frankfurt", "Frankfurt"), 0);
        assert!(
            (200..260).contains(&rtt_ms("London", "Sydney")),
            "{}",
            rtt_ms("London", "Sydney")
        );
    }

    #[test]
    fn a_crowd_comes_from_where_it_is_said_to_come_from() {
        let mut rng = Rng::new(1, 1);
        let drawn = (0..200).map(|_| draw(&["DE".into(), "OC".into()], &mut rng));
        assert!(
            drawn
                .map(|at| &CITIES[at])
                .all(|city| city.country == "DE" || city.region == "OC")
        );
    }
}
