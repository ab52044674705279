//! The way between clients, wherever they are connected: in this process's memory, or through Redis to other nodes too.

use std::sync::Arc;

use baton_signal_protocol::{Candidate, PeerId, Refusal, Report, SwarmId};

use crate::cluster::Cluster;
use crate::ranking::rank;
use crate::rooms::{Delivery, Member, Rooms};

pub enum Bus {
    Memory(Box<Rooms>),
    Cluster(Arc<Cluster>),
}

impl Bus {
    pub async fn join(&self, swarm: SwarmId, member: Member) -> Result<Vec<Candidate>, Refusal> {
        match self {
            Self::Memory(rooms) => {
                let spot = member.spot;
                let sample = rooms.join(swarm, member)?;
                Ok(rank(spot, sample, &mut fastrand::Rng::new()))
            }
            Self::Cluster(cluster) => cluster.join(swarm, member).await,
        }
    }

    /// Names candidates once more; others, by chance, in a big swarm.
    pub async fn more(&self, swarm: &SwarmId, peer: &PeerId) -> Vec<Candidate> {
        match self {
            Self::Memory(rooms) => rooms
                .more(swarm, peer)
                .map_or(Vec::new(), |(spot, sample)| {
                    rank(spot, sample, &mut fastrand::Rng::new())
                }),
            Self::Cluster(cluster) => cluster.more(swarm, peer).await,
        }
    }

    pub fn deliver(&self, swarm: &SwarmId, from: PeerId, to: PeerId, blob: Vec<u8>) -> Delivery {
        match self {
            Self::Memory(rooms) => rooms.relay(swarm, from, &to, blob),
            Self::Cluster(cluster) => cluster.deliver(swarm, from, to, blob),
        }
    }

    /// Hands a frame of a carried connection to somebody.
    pub fn carry(&self, swarm: &SwarmId, from: PeerId, to: PeerId, frame: Vec<u8>) -> Delivery {
        match self {
            Self::Memory(rooms) => rooms.carry(swarm, from, &to, frame),
            Self::Cluster(cluster) => cluster.carry(swarm, from, to, frame),
        }
    }

    pub fn report(&self, swarm: &SwarmId, peer: &PeerId, report: Report) {
        match self {
            Self::Memory(rooms) => rooms.report(swarm, peer, report),
            Self::Cluster(cluster) => cluster.report(swarm, peer, report),
        }
    }

    /// Not `async`: it is called when a session ends in whatever way, panics included.
    pub fn leave(&self, swarm: &SwarmId, peer: &PeerId, connection: u64) {
        match self {
            Self::Memory(rooms) => {
                rooms.leave(swarm, peer, connection);
            }
            Self::Cluster(cluster) => cluster.leave(swarm, peer, connection),
        }
    }

    /// The other nodes, if there can be any.
    pub fn cluster(&self) -> Option<Arc<Cluster>> {
        match self {
            Self::Memory(_) => None,
            Self::Cluster(cluster) => Some(cluster.clone()),
        }
    }

    /// Says goodbye to the other nodes, if there are any.
    pub async fn close(&self) {
        if let Self::Cluster(cluster) = self {
            cluster.close().await;
        }
    }
}
