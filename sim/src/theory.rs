//! What no scheduler can beat.

/// How long it takes at least until `viewers` with these uplinks have `bytes` (Kumar and Ross 2006), in seconds. Rates in bytes per second.
pub fn distribution_s(bytes: u64, publisher_up: u64, down_least: u64, ups: &[u64]) -> f64 {
    let bytes = bytes as f64;
    let all = publisher_up as f64 + ups.iter().sum::<u64>() as f64;
    let terms = [
        bytes / publisher_up as f64,
        bytes / down_least.max(1) as f64,
        ups.len() as f64 * bytes / all,
    ];
    terms.into_iter().fold(0.0, f64::max)
}

/// The longest wait for the first picture in a crowd of fluid: everybody who has the picture's bytes passes them on at full rate at once.
/// `joins_us` in order.
pub fn crowd_wait_ms(joins_us: &[u64], bytes: u64, publisher_up: u64, mean_up: u64) -> f64 {
    const STEP_US: u64 = 5_000;
    let (mut served, mut came, mut now, mut longest) = (0.0f64, 0usize, 0u64, 0u64);
    while (served as usize) < joins_us.len() && now < 3_600_000_000 {
        now += STEP_US;
        while came < joins_us.len() && joins_us[came] <= now {
            came += 1;
        }
        let rate = (publisher_up as f64 + served * mean_up as f64) / bytes as f64;
        served = (served + rate * STEP_US as f64 / 1e6).min(came as f64);
        if (served as usize) < came {
            longest = longest.max(now - joins_us[served as usize]);
        }
    }
    longest as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_the_three_terms_decides() {
        assert_eq!(distribution_s(1000, 100, 1000, &[1000; 4]), 10.0);
        assert_eq!(distribution_s(1000, 1000, 100, &[1000; 4]), 10.0);
        assert_eq!(distribution_s(1000, 1000, 1000, &[150; 4]), 2.5);
    }

    #[test]
    fn a_crowd_that_comes_slower_than_it_is_served_hardly_waits() {
        let slowly: Vec<u64> = (0..10).map(|n| n * 1_000_000).collect();
        assert!(crowd_wait_ms(&slowly, 1000, 1_000_000, 1_000_000) <= 5.0);
        let at_once = [0; 100];
        let wait = crowd_wait_ms(&at_once, 100_000, 1_000_000, 0);
        assert!((9_900.0..10_100.0).contains(&wait), "{wait}");
    }
}
