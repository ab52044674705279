//! The switch without its sockets: frames in with a time, frames out when they are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// One host's link to the network.
#[derive(Debug, Clone)]
pub struct Host {
    pub up_kbit: u32,
    pub down_kbit: u32,
    /// One way, this host's share; a path has the sum of both hosts'.
    pub delay_us: u32,
    /// Of the frames it sends.
    pub loss_ppm: u32,
    /// What waits for the uplink, and for the downlink; a frame beyond it is dropped.
    pub queue_bytes: u64,
}

/// A frame that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub struct Arrival {
    pub to: usize,
    pub frame: Vec<u8>,
}

pub struct Switch {
    ports: Vec<Port>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    order: u64,
    random: u64,
}

struct Port {
    host: Host,
    up: Queue,
    down: Queue,
    /// Learnt from the frames it sends.
    address: Option<[u8; 6]>,
}

/// A link busy with what was given to it, in order. Times are nanoseconds of the caller's clock.
struct Queue {
    ns_per_byte: f64,
    free_at_ns: u64,
    bytes_max: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    due_ns: u64,
    order: u64,
    to: usize,
    frame: Vec<u8>,
}

impl Switch {
    pub fn new(hosts: impl IntoIterator<Item = Host>) -> Self {
        let ports = hosts.into_iter().map(|host| Port {
            up: Queue::new(host.up_kbit, host.queue_bytes),
            down: Queue::new(host.down_kbit, host.queue_bytes),
            host,
            address: None,
        });
        Self {
            ports: ports.collect(),
            under_way: BinaryHeap::new(),
            order: 0,
            // The same losses in each run.
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// A host has sent a frame.
    pub fn take(&mut self, from: usize, frame: &[u8], now_ns: u64) {
        let (Some(&to), Some(&source)) = (
            frame.first_chunk::<6>(),
            frame[6.min(frame.len())..].first_chunk::<6>(),
        ) else {
            return;
        };
        let lost = self.chance(self.ports[from].host.loss_ppm);
        let port = &mut self.ports[from];
        port.address = Some(source);
        if lost {
            return;
        }
        let Some(left_ns) = port.up.pass(frame.len(), now_ns) else {
            return;
        };
        // The lowest bit of the first byte marks broadcast and multicast (IEEE 802.3 §3.2.3).
        let single = to[0] & 1 == 0;
        let known =
            (0..self.ports.len()).find(|&port| single && self.ports[port].address == Some(to));
        match known {
            Some(to) if to != from => self.carry(from, to, frame, left_ns),
            Some(_) => {}
            None => (0..self.ports.len())
                .filter(|&to| to != from)
                .for_each(|to| self.carry(from, to, frame, left_ns)),
        }
    }

    /// The next frame that has arrived by now.
    pub fn arrival(&mut self, now_ns: u64) -> Option<Arrival> {
        self.under_way
            .peek()
            .filter(|first| first.0.due_ns <= now_ns)?;
        self.under_way
            .pop()
            .map(|Reverse(UnderWay { to, frame, .. })| Arrival { to, frame })
    }

    /// When the next frame arrives.
    pub fn next_ns(&self) -> Option<u64> {
        self.under_way.peek().map(|first| first.0.due_ns)
    }

    fn carry(&mut self, from: usize, to: usize, frame: &[u8], left_ns: u64) {
        let delay_us =
            u64::from(self.ports[from].host.delay_us) + u64::from(self.ports[to].host.delay_us);
        let Some(due_ns) = self.ports[to]
            .down
            .pass(frame.len(), left_ns + delay_us * 1000)
        else {
            return;
        };
        self.order += 1;
        self.under_way.push(Reverse(UnderWay {
            due_ns,
            order: self.order,
            to,
            frame: frame.to_vec(),
        }));
    }

    /// True for so many in a million (xorshift64).
    fn chance(&mut self, ppm: u32) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % 1_000_000 < u64::from(ppm)
    }
}

impl Queue {
    fn new(kbit: u32, bytes_max: u64) -> Self {
        Self {
            ns_per_byte: 8e6 / f64::from(kbit),
            free_at_ns: 0,
            bytes_max,
        }
    }

    /// When a frame that comes now has passed; `None` when too many wait before it (tail drop).
    fn pass(&mut self, bytes: usize, now_ns: u64) -> Option<u64> {
        let starts_ns = self.free_at_ns.max(now_ns);
        let waiting_bytes = (starts_ns - now_ns) as f64 / self.ns_per_byte;
        if waiting_bytes > self.bytes_max as f64 {
            return None;
        }
        self.free_at_ns = starts_ns + (bytes as f64 * self.ns_per_byte) as u64;
        Some(self.free_at_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn host(up_kbit: u32, down_kbit: u32, delay_us: u32, loss_ppm: u32) -> Host {
        Host {
            up_kbit,
            down_kbit,
            delay_us,
            loss_ppm,
            queue_bytes: 10_000,
        }
    }

    /// A frame of 1,000 bytes from one address to another.
    fn frame(to: u8, from: u8) -> Vec<u8> {
        let mut frame = vec![0; 1000];
        (frame[0], frame[6]) = (to * 2, from * 2);
        frame
    }

    fn arrivals(switch: &mut Switch) -> Vec<(u64, usize)> {
        std::iter::from_fn(|| {
            let at = switch.next_ns()?;
            switch.arrival(at).map(|arrival| (at, arrival.to))
        })
        .collect()
    }

    #[test]
    fn a_frame_takes_both_rates_and_both_delays() {
        // 1,000 bytes: 8 ms at 1 Mbit/s up, 4 ms at 2 Mbit/s down, 3 + 5 ms on the way.
        let mut switch = Switch::new([host(1000, 9999, 3000, 0), host(9999, 2000, 5000, 0)]);
        switch.take(0, &frame(2, 1), 0);
        assert!(switch.arrival(20 * MS - 1).is_none());
        assert_eq!(arrivals(&mut switch), [(20 * MS, 1)]);
    }

    #[test]
    fn frames_queue_behind_each_other_and_the_last_ones_are_dropped() {
        let mut switch = Switch::new([host(8000, 8000, 0, 0), host(8000, 8000, 0, 0)]);
        for _ in 0..30 {
            switch.take(0, &frame(2, 1), 0);
        }
        // 10,000 bytes may wait besides the one that is being sent.
        let arrived = arrivals(&mut switch);
        assert_eq!(arrived.len(), 11);
        assert_eq!(arrived.last(), Some(&(12 * MS, 1)));
    }

    #[test]
    fn a_known_address_gets_its_frames_alone_and_an_unknown_one_floods() {
        let fast = || host(1_000_000, 1_000_000, 0, 0);
        let mut switch = Switch::new([fast(), fast(), fast()]);
        switch.take(1, &frame(9, 2), 0);
        assert_eq!(arrivals(&mut switch).len(), 2);
        switch.take(0, &frame(2, 1), MS);
        let to: Vec<usize> = arrivals(&mut switch)
            .into_iter()
            .map(|(_, to)| to)
            .collect();
        assert_eq!(to, [1]);
    }

    #[test]
    fn losses_are_as_many_as_asked_for_and_the_same_each_time() {
        let run = || {
            let fast = |loss| host(u32::MAX, u32::MAX, 0, loss);
            let mut switch = Switch::new([fast(100_000), fast(0)]);
            (0..10_000).for_each(|at| switch.take(0, &frame(2, 1), at * MS));
            arrivals(&mut switch)
        };
        let arrived = run();
        assert!((8_800..9_200).contains(&arrived.len()), "{}", arrived.len());
        assert_eq!(arrived, run());
    }

    #[test]
    fn a_torn_frame_is_ignored() {
        let mut switch = Switch::new([host(1, 1, 0, 0), host(1, 1, 0, 0)]);
        switch.take(0, &[1, 2, 3], 0);
        switch.take(0, &[1; 11], 0);
        assert_eq!(switch.next_ns(), None);
    }
}
