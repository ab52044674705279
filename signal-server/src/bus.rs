//! The way between clients, wherever they are connected.
//!
//! Today that is this process's memory. A cluster becomes another variant: its methods wait for the network, which is why they are
//! `async` already and nobody calls them with a lock in hand.

use baton_signal_protocol::{Candidate, PeerId, Refusal, Report, SwarmId};
use bytes::Bytes;

use crate::rooms::{Delivery, Member, Rooms};

pub enum Bus {
    Memory(Rooms),
}

impl Bus {
    pub async fn join(&self, swarm: SwarmId, member: Member) -> Result<Vec<Candidate>, Refusal> {
        match self {
            Self::Memory(rooms) => rooms.join(swarm, member),
        }
    }

    pub async fn more(&self, swarm: &SwarmId, peer: &PeerId) -> Vec<Candidate> {
        match self {
            Self::Memory(rooms) => rooms.more(swarm, peer),
        }
    }

    pub async fn deliver(
        &self,
        swarm: &SwarmId,
        from: PeerId,
        to: &PeerId,
        frame: Bytes,
    ) -> Delivery {
        match self {
            Self::Memory(rooms) => rooms.deliver(swarm, from, to, frame),
        }
    }

    pub async fn report(&self, swarm: &SwarmId, peer: &PeerId, report: Report) {
        match self {
            Self::Memory(rooms) => rooms.report(swarm, peer, report),
        }
    }

    /// Not `async`: it is called when a session ends in whatever way, panics included.
    pub fn leave(&self, swarm: &SwarmId, peer: &PeerId, connection: u64) {
        match self {
            Self::Memory(rooms) => rooms.leave(swarm, peer, connection),
        }
    }
}
