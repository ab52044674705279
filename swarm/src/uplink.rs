//! How much may be under way over the uplink, to all peers together, so that giving yields to the person's own traffic.
//!
//! In the manner of LEDBAT++ (draft-irtf-iccrg-ledbat-plus-plus, RFC 6817): what the uplink's queue adds to a round trip is held at
//! [`TARGET_US`]; what it is without a queue is known by looking, which needs a queue of ours to be gone now and then. A queue here delays
//! whatever goes to anybody, a peer's own downlink or a busy page only what goes to that one: so the least of a few samples counts. How
//! the steps differ from the draft's, and why: docs/decisions.md.

use crate::rate::Goodput;
use crate::timer::Instant;
use baton_content::BLOCK_LEN;

#[derive(Debug)]
pub(crate) struct Uplink {
    /// What all peers together take.
    pub(crate) goodput: Goodput,
    pub(crate) busy_since: Instant,
    window: u64,
    /// Until a queue was seen the window doubles each round trip.
    starts: bool,
    /// Whether the window was in the way since it was last set.
    pub(crate) full: bool,
    /// When the window was last set: what was sent before says nothing of it.
    since: Instant,
    samples: u32,
    least_us: u64,
    sum_us: u64,
    /// When to look how the uplink is without us.
    look_at: Instant,
    /// Somebody came while there may have been a queue: what seems to be its least is not.
    newcomer: bool,
    /// Nothing is sent since, to look.
    still_since: Option<Instant>,
}

impl Uplink {
    pub(crate) fn new(now: Instant) -> Self {
        Uplink {
            goodput: Goodput::default(),
            busy_since: now,
            window: WINDOW_FIRST,
            starts: true,
            full: false,
            since: now,
            samples: 0,
            least_us: u64::MAX,
            sum_us: 0,
            look_at: now.after(LOOK_INTERVAL_US),
            newcomer: false,
            still_since: None,
        }
    }

    /// Bytes that may be under way.
    pub(crate) fn window(&self) -> u64 {
        if self.still_since.is_some() {
            0
        } else {
            self.window
        }
    }

    /// Somebody's round trip was so much longer than its least.
    pub(crate) fn saw(&mut self, now: Instant, queued_us: u64) {
        if queued_us <= LOW_US && !self.newcomer {
            self.look_at = self.look_at.max(now.after(LOOK_INTERVAL_US));
        }
    }

    /// A block that was sent then came back acknowledged: its peer's least round trip, and how much longer its own was.
    pub(crate) fn acked(
        &mut self,
        now: Instant,
        sent: Instant,
        (base_us, queued_us): (u64, u64),
        bytes: u64,
    ) {
        self.saw(now, queued_us);
        if self.starts && self.full && queued_us < START_US {
            self.window = (self.window + bytes).min(WINDOW_MAX);
        }
        if sent < self.since {
            return;
        }
        self.samples += 1;
        self.least_us = self.least_us.min(queued_us);
        self.sum_us += queued_us;
        if self.samples < SAMPLES {
            return;
        }
        let rate = self.goodput.bytes_per_second();
        let carries =
            |us: u64| rate.map_or(self.window, |rate| rate.saturating_mul(us) / 1_000_000);
        let floor = rate.map_or(0, |_| carries(base_us + ACK_US)) + BLOCK_LEN as u64 / 2;
        let queued_us = (self.least_us + self.sum_us / u64::from(SAMPLES)) / 2;
        self.starts &= queued_us < START_US;
        let off = carries(queued_us.abs_diff(TARGET_US)) / 2;
        let window = if queued_us > TARGET_US {
            self.window - off.min(self.window / 2)
        } else if self.full {
            self.window + off.min(self.window)
        } else {
            self.window
        };
        self.window = window.max(floor).clamp(WINDOW_MIN, WINDOW_MAX);
        self.since = now;
        self.samples = 0;
        self.least_us = u64::MAX;
        self.sum_us = 0;
        self.full = false;
    }

    /// A peer came.
    pub(crate) fn came(&mut self, now: Instant) {
        self.newcomer = true;
        self.look_at = self.look_at.min(now.after(LOOK_SOON_US));
    }

    /// Whether to stand still from now on, and for how long at most.
    pub(crate) fn stands_still(&mut self, now: Instant) -> Option<Instant> {
        if self.still_since.is_some() || self.look_at > now || !self.full {
            return None;
        }
        self.still_since = Some(now);
        Some(now.after(STILL_MAX_US))
    }

    /// Whether it stood still until nothing was under way, or long enough: the time to measure round trips.
    pub(crate) fn stood_still(&mut self, now: Instant, empty: bool) -> bool {
        let stood = self
            .still_since
            .is_some_and(|since| empty || now.since(since) >= STILL_MAX_US);
        if stood {
            self.still_since = None;
            self.newcomer = false;
            self.look_at = now.after(LOOK_INTERVAL_US);
        }
        stood
    }

    /// Blocks in one message: one where three would queue for longer than a twentieth of a second.
    pub(crate) fn is_slow(&self) -> bool {
        self.goodput
            .bytes_per_second()
            .is_some_and(|rate| rate < 1_000_000)
    }
}

/// The queue to keep: LEDBAT++'s 60 ms, and a little less because blocks are longer than packets.
pub(crate) const TARGET_US: u64 = 50_000;
/// Such a queue ends the start.
const START_US: u64 = TARGET_US / 4 * 3;
/// The uplink must not run dry while an Ack waits for its time at a peer.
pub(crate) const ACK_US: u64 = crate::config::ACK_INTERVAL_US;
/// Who is nearer is in the same house: what goes there does not pass the uplink.
pub(crate) const NEAR_US: u64 = 4_000;
/// Samples of which the least is taken for the queue: a page's thread that was busy delays one, an uplink all.
const SAMPLES: u32 = 3;
/// More than the congestion window of a new connection in its first round trips.
const WINDOW_FIRST: u64 = 64 * 1024;
/// One block on the link and one behind it: with fewer a slow uplink would be idle for half of the time.
const WINDOW_MIN: u64 = 2 * BLOCK_LEN as u64;
/// As for one peer.
const WINDOW_MAX: u64 = 16 << 20;
/// So little is no queue.
const LOW_US: u64 = 8_000;
/// Who saw no empty queue for so long looks.
const LOOK_INTERVAL_US: u64 = 15_000_000;
/// The same when somebody came.
const LOOK_SOON_US: u64 = 1_000_000;
/// To look takes no longer.
const STILL_MAX_US: u64 = 250_000;
