//! The links between nodes: uplinks that serve their connections in turn, latency, downlinks, credit.

use super::{Habit, SECOND, What, World};
use baton_content::PeerId;
use baton_swarm::wire::Message;
use baton_swarm::{Binding, Channel, ConnId, Input, Path};
use bytes::Bytes;
use std::collections::VecDeque;

const SEND_BUFFER: u64 = 256 * 1024;

pub struct Wire {
    pub remote: usize,
    pub remote_conn: ConnId,
    pub queue: VecDeque<(u64, Channel, Bytes)>,
    pub sent: u64,
    pub drained: u64,
    pub control_arrives: u64,
}

impl World {
    fn latency(&self, a: usize, b: usize) -> u64 {
        self.nodes[a].link.latency_us + self.nodes[b].link.latency_us
    }

    pub(super) fn link(&mut self, from: usize, to: PeerId) {
        let other = self
            .nodes
            .iter()
            .position(|node| node.id == to && node.alive);
        let reachable =
            other.filter(|&other| !self.apart.contains(&(from.min(other), from.max(other))));
        let Some(other) = reachable else {
            return self.later(SECOND, from, Input::ConnectFailed { peer: to });
        };
        let tabs = self.tabs.contains(&(from.min(other), from.max(other)));
        let mut ends = [ConnId(0); 2];
        for (end, node) in ends.iter_mut().zip([from, other]) {
            *end = ConnId(self.nodes[node].next_conn);
            self.nodes[node].next_conn += 1;
        }
        let mut fingerprint = [0; 32];
        fingerprint[..8].copy_from_slice(&self.random(u64::MAX).to_le_bytes());
        let a = Binding {
            local_nonce: [self.random(256) as u8; 16],
            remote_nonce: [self.random(256) as u8; 16],
            local_fingerprint: fingerprint,
            remote_fingerprint: [from as u8; 32],
            offerer: true,
        };
        for (at, (node, remote, binding)) in [(from, other, a), (other, from, a.swapped())]
            .into_iter()
            .enumerate()
        {
            let wire = Wire {
                remote,
                remote_conn: ends[1 - at],
                queue: VecDeque::new(),
                sent: 0,
                drained: 0,
                control_arrives: 0,
            };
            self.nodes[node].wires.insert(ends[at], wire);
            let peer = self.nodes[remote].id;
            self.input(
                node,
                Input::Connected {
                    conn: ends[at],
                    peer,
                    binding,
                    path: match tabs {
                        true => Path::Local,
                        false => Path::Direct,
                    },
                },
            );
            self.input(
                node,
                Input::Writable {
                    conn: ends[at],
                    credit: SEND_BUFFER,
                },
            );
        }
    }

    /// How long something would wait that leaves a node now.
    pub fn queue_us(&self, node: usize) -> u64 {
        let node = &self.nodes[node];
        let wires = node.wires.values().flat_map(|wire| &wire.queue);
        let bytes: u64 = wires.map(|(_, _, bytes)| bytes.len() as u64 + 60).sum();
        bytes * SECOND / node.link.up + node.up_free_at.saturating_sub(self.now)
    }

    pub(super) fn send(&mut self, node: usize, conn: ConnId, channel: Channel, bytes: Bytes) {
        let habit = self.nodes[node].habit;
        let Some(wire) = self.nodes[node].wires.get_mut(&conn) else {
            return;
        };
        assert!(bytes.len() <= 65_536, "a message is at most 64 KiB");
        wire.sent += bytes.len() as u64;
        if self.trace {
            let message = Message::decode(&bytes, channel == Channel::Data).expect("readable");
            let text = match &message {
                Message::Blocks(blocks) => {
                    format!("Blocks {} {:?}", blocks.piece, blocks.mask)
                }
                Message::Header(_) => "Header".into(),
                Message::Hello(hello) => {
                    format!("Hello start_set {}", hello.start_set)
                }
                other => format!("{other:?}"),
            };
            println!(
                "{:>9} {node} -> {} queue {} {}",
                self.now,
                wire.remote,
                wire.queue.len(),
                &text[..text.len().min(260)]
            );
        }
        assert!(
            channel == Channel::Control || wire.sent <= wire.drained + SEND_BUFFER + 64 * 1024,
            "blocks wait for credit"
        );
        let bytes = match habit {
            Habit::Poison if channel == Channel::Data => {
                let mut spoilt = bytes.to_vec();
                *spoilt.last_mut().expect("not empty") ^= 1;
                spoilt.into()
            }
            _ => bytes,
        };
        let withheld = habit == Habit::Withhold && channel == Channel::Data;
        if !withheld {
            self.seq += 1;
            wire.queue.push_back((self.seq, channel, bytes));
        }
        self.uplink(node);
    }

    /// Puts the next message on the uplink, connections in turn.
    pub(super) fn uplink(&mut self, node: usize) {
        if self.nodes[node].up_busy || !self.nodes[node].alive {
            return;
        }
        let turn = self.nodes[node].turn;
        let waiting = |(conn, wire): (&ConnId, &Wire)| (!wire.queue.is_empty()).then_some(*conn);
        let after = self.nodes[node]
            .wires
            .range(ConnId(turn + 1)..)
            .find_map(waiting);
        let waiting = || self.nodes[node].wires.iter().filter_map(waiting);
        let first = |conn: &ConnId| self.nodes[node].wires[conn].queue[0].0;
        let next = match self.router {
            true => waiting().min_by_key(first),
            false => after.or_else(|| waiting().next()),
        };
        let Some(conn) = next else {
            return;
        };
        self.nodes[node].turn = conn.0;
        let up = self.nodes[node].link.up;
        let jitter = if self.control_jitter_us > 0 {
            self.random(self.control_jitter_us)
        } else {
            0
        };
        let wire = self.nodes[node].wires.get_mut(&conn).expect("just seen");
        let (_, channel, bytes) = wire.queue.pop_front().expect("not empty");
        let len = bytes.len() as u64;
        wire.drained += len;
        let (remote, remote_conn, credit) =
            (wire.remote, wire.remote_conn, wire.drained + SEND_BUFFER);
        let out_at = self.now + (len + 60) * SECOND / up;
        let mut arrives = out_at + self.latency(node, remote);
        if channel == Channel::Control {
            let wire = self.nodes[node].wires.get_mut(&conn).expect("just seen");
            arrives = wire.control_arrives.max(arrives + jitter);
            wire.control_arrives = arrives;
        }
        self.nodes[node].up_busy = true;
        self.nodes[node].up_free_at = out_at;
        self.at(
            arrives,
            What::Arrive {
                node: remote,
                conn: remote_conn,
                channel,
                bytes,
            },
        );
        self.at(out_at, What::Input(node, Input::Writable { conn, credit }));
        self.at(out_at, What::UplinkFree(node));
    }
}
