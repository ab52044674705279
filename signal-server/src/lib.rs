//! The signalling server: brings the peers of a swarm together and understands nothing of what they say.
//!
//! It also serves the web app, so that one process is a whole Baton. The walk of one message: `server` (TCP) → `http` (who may come in) →
//! `socket` (one client's session) → `bus` (who is where) → another client's `socket`.
//!
//! Invariants: a Relay reaches only members of the sender's own swarm; no lock is held across an await; what one
//! client can make the server hold is bounded by `limits`; nothing that identifies a person or a stream is logged or measured.

mod acme;
mod assets;
mod bus;
mod cluster;
mod config;
pub mod config_file;
mod geo;
mod headers;
mod http;
mod limits;
pub mod log;
mod metered;
mod metrics;
mod names;
mod places;
mod proxy;
mod queue;
mod ranking;
mod rooms;
mod server;
mod socket;
pub mod tls;
mod turn;
mod validity;

pub use config::{Config, Ice, Limits};
pub use proxy::Network;
pub use server::{Running, Server, raise_file_limit};
