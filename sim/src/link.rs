//! Links: access links with rates and a router's queue, connections over them with round trip, loss and a congestion window.
//!
//! A connection's goodput is what its window gives per round trip. The window doubles each round trip from ten packets on, up to what loss
//! allows: 1200 × 1.22 / √p bytes (Mathis et al. 1997), which is the 0.25 MB/s at 80 ms and 0.5 % that browsers' SCTP was measured at.
//! What leaves it queues in the access link's router, behind everything else that leaves the house.

use baton_swarm::{Channel, ConnId};
use bytes::Bytes;
use std::collections::VecDeque;

/// A packet's payload.
const PACKET: u64 = 1200;
/// dcSCTP begins with ten packets.
const WINDOW_FIRST: u64 = 10 * PACKET;
/// What a browser's receive window lets through however good the way is.
const WINDOW_MAX: u64 = 5 << 20;
/// The send buffer that a driver keeps filled.
pub const SEND_BUFFER: u64 = 256 * 1024;

/// One end of one connection.
#[derive(Debug)]
pub struct Wire {
    pub remote: u32,
    pub remote_conn: ConnId,
    pub one_way_us: u64,
    pub is_relayed: bool,
    /// Nothing comes through any more, and nobody knows.
    pub is_dead: bool,
    /// Somebody's last: it does not die before this.
    pub spared_until: u64,
    loss_ppm: u64,
    window: u64,
    window_max: u64,
    /// Blocks that wait for the window and the router. Control messages do not wait: they are few, and have a stream of their own.
    pub queue: VecDeque<Bytes>,
    pub sent: u64,
    pub drained: u64,
    /// The credit that the engine was told.
    pub told: u64,
    pub free_at: u64,
    /// The control channel is ordered.
    control_arrives: u64,
}

impl Wire {
    pub fn new(
        remote: u32,
        remote_conn: ConnId,
        one_way_us: u64,
        is_relayed: bool,
        loss_ppm: u64,
    ) -> Wire {
        let by_loss = PACKET as f64 * 1.2247 / (loss_ppm.max(1) as f64 / 1e6).sqrt();
        Wire {
            remote,
            remote_conn,
            one_way_us,
            is_relayed,
            is_dead: false,
            spared_until: 0,
            loss_ppm,
            window: WINDOW_FIRST,
            window_max: (by_loss as u64).clamp(2 * PACKET, WINDOW_MAX),
            queue: VecDeque::new(),
            sent: 0,
            drained: 0,
            told: 0,
            free_at: 0,
            control_arrives: 0,
        }
    }

    /// A block message leaves: how long its last packet waits for the window. Moves when the next may go.
    pub fn pass(&mut self, now: u64, len: u64) -> u64 {
        let rtt = 2 * self.one_way_us;
        let mut rounds = 0;
        let mut fits = self.window;
        while fits < len {
            rounds += 1;
            self.window = (self.window * 2).min(self.window_max);
            fits += self.window;
        }
        let delay = rounds * rtt;
        self.free_at = self.free_at.max(now) + (len * rtt / self.window).max(delay);
        self.window = (self.window + len).min(self.window_max);
        delay
    }

    /// How long a message is held up by lost packets: found after a round trip, sent again, half a round trip more.
    pub fn loss_delay(&self, len: u64, dice: u64) -> u64 {
        let lost_ppm = len.div_ceil(PACKET) * self.loss_ppm;
        if dice % 1_000_000 < lost_ppm {
            3 * self.one_way_us
        } else {
            0
        }
    }

    /// When a message arrives: never before an earlier one of its channel, if that is ordered.
    pub fn in_order(&mut self, channel: Channel, arrives: u64) -> u64 {
        if channel == Channel::Data {
            return arrives;
        }
        self.control_arrives = self.control_arrives.max(arrives);
        self.control_arrives
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes per second of a connection that is always busy.
    fn goodput(one_way_us: u64, loss_ppm: u64) -> u64 {
        let mut wire = Wire::new(1, ConnId(1), one_way_us, false, loss_ppm);
        let (mut now, mut bytes) = (0, 0);
        while now < 30_000_000 {
            wire.pass(now, 49_172);
            now = wire.free_at;
            bytes += if now > 10_000_000 { 49_172 } else { 0 };
        }
        bytes / 20
    }

    #[test]
    fn goodput_falls_with_loss_and_round_trip_as_measured() {
        let measured = goodput(40_000, 5_000);
        assert!((240_000..275_000).contains(&measured), "{measured}");
        assert!(goodput(80_000, 5_000) * 19 < measured * 10);
        assert!(goodput(40_000, 1_250) * 10 > measured * 19);
    }

    #[test]
    fn a_connection_starts_slowly() {
        let mut wire = Wire::new(1, ConnId(1), 40_000, false, 0);
        assert_eq!(
            wire.pass(0, 49_172),
            2 * 80_000,
            "ten packets, twenty, the rest"
        );
        wire.free_at = 0;
        assert_eq!(wire.pass(10_000_000, 49_172), 0);
    }

    #[test]
    fn control_messages_arrive_in_order() {
        let mut wire = Wire::new(1, ConnId(1), 40_000, false, 0);
        assert_eq!(wire.in_order(Channel::Control, 100), 100);
        assert_eq!(wire.in_order(Channel::Control, 50), 100);
        assert_eq!(wire.in_order(Channel::Data, 50), 50);
    }
}
