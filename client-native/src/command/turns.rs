//! Whose turn it is where a server takes fewer streams from one address than there are to keep.

use std::time::{Duration, Instant};

/// How one stream stands with its server.
#[derive(Clone, Copy, Debug)]
pub struct Stand {
    pub seat: Seat,
    /// Since when.
    pub since: Instant,
    /// All of it is here.
    pub whole: bool,
    /// Connections that it has.
    pub peers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    Taken,
    /// The server takes no more streams from this address.
    Waits,
    /// Something else keeps it away.
    Away,
}

/// Which stream steps aside for which, if it is time: one of those that nobody uses, for the one that waits longest. Whoever lacks something goes
/// before those who are only there to be found, until these have waited for an hour: some never get what they lack.
pub fn next(stands: &[Stand], now: Instant) -> Option<(usize, usize)> {
    let all = || stands.iter().enumerate();
    let (comes, waiting) = all()
        .filter(|(_, stand)| stand.seat == Seat::Waits)
        .min_by_key(|(_, stand)| {
            let waited = now.saturating_duration_since(stand.since);
            (stand.whole && waited < PATIENCE, stand.since)
        })?;
    let turn = |stand: &Stand| match stand.whole && !waiting.whole {
        true => SHORT_TURN,
        false => TURN,
    };
    let is_over = |stand: &Stand| now.saturating_duration_since(stand.since) >= turn(stand);
    let (goes, _) = all()
        .filter(|(_, stand)| stand.seat == Seat::Taken && stand.peers == 0 && is_over(stand))
        .min_by_key(|(_, stand)| (!stand.whole, stand.since))?;
    Some((goes, comes))
}

/// How long a stream has its place while others wait: whoever looks for it finds it, and an hour brings two hundred more streams by.
pub const TURN: Duration = Duration::from_secs(600);
/// The same for one that has everything, while one waits that lacks something: whoever gave out its ticket may not stay.
const SHORT_TURN: Duration = Duration::from_secs(60);
/// How long one that has everything lets others go before it.
const PATIENCE: Duration = TURN.saturating_mul(6);

#[cfg(test)]
mod tests {
    use super::*;

    fn stand(seat: Seat, since: Instant, whole: bool, peers: usize) -> Stand {
        Stand {
            seat,
            since,
            whole,
            peers,
        }
    }

    #[test]
    fn streams_that_nobody_uses_make_room_for_those_that_wait_and_first_for_what_lacks_something() {
        let start = Instant::now();
        let after = |s| start + Duration::from_secs(s);
        let taken = |whole, peers, s| stand(Seat::Taken, after(s), whole, peers);
        let waits = |whole, s| stand(Seat::Waits, after(s), whole, 0);
        let crowd = [
            taken(true, 1, 0),
            taken(true, 0, 10),
            taken(false, 0, 0),
            waits(true, 3),
            waits(true, 2),
        ];
        assert_eq!(
            next(&crowd, after(609)),
            Some((2, 4)),
            "of what is whole the turn is not over"
        );
        assert_eq!(next(&crowd, after(610)), Some((1, 4)));
        assert_eq!(next(&crowd, after(599)), None);
        let crowd = [taken(true, 0, 0), waits(true, 0), waits(false, 9)];
        assert_eq!(next(&crowd, after(60)), Some((0, 2)));
        assert_eq!(next(&crowd, after(59)), None);
        let crowd = [taken(false, 0, 0), waits(true, 0), waits(false, 9)];
        assert_eq!(next(&crowd, after(3599)), Some((0, 2)));
        assert_eq!(next(&crowd, after(3600)), Some((0, 1)), "an hour is enough");
        let crowd = [taken(true, 3, 0), waits(false, 0)];
        assert_eq!(next(&crowd, after(9999)), None, "somebody is served");
        let crowd = [taken(true, 0, 0), stand(Seat::Away, start, false, 0)];
        assert_eq!(next(&crowd, after(9999)), None, "nobody waits");
    }
}
