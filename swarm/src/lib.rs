//! One peer's part in one swarm, without IO: what happened goes in as [`Input`], what to do comes out as [`Output`].
//!
//! ```text
//! let mut swarm = Swarm::new(stream, have, role, config, peer_key, seed, now, unix_now_s);
//! swarm.handle_input(now, input);                     // never fails: a bad peer becomes a Disconnect
//! while let Some(output) = swarm.poll_output() { … }  // in order, until None
//! let wake_at = swarm.poll_timeout();                 // then give Input::TimedOut
//! let stats = swarm.stats();
//! ```
//!
//! What a driver must know:
//! - Give `Writable` whenever the send buffer drained; blocks wait for it, control messages do not.
//! - `Store` comes before any `Load` of the same block: a driver that works in order always finds it.
//! - A publisher's `Seal` is followed by `Load`s of the same piece: keep the last few sealed pieces in memory.
//! - `StartSet` should be given by whoever can read the manifest, publisher or viewer, as soon as it is known.
//! - The background waits up to 0.3 s after the manifest for the player's first `Demanded`: a session without a player gives an empty one.
//! - Demands should be fine: one per 64 KiB or less, each with the deadline of its first byte. What is due within half a second or so is
//!   urgent and is asked of the seeder by everybody; what is due later is traded.
//! - `Leaving` when the page closes: others switch at once. Nothing works after it.
//! - Blocks of a stream beyond 1 TiB (or 64 lanes) are not exchanged; it is never complete. Refuse to share what is longer.
//! - `stats()` is computed when asked for: a few microseconds, so a few times a second.
//!
//! The bytes that peers exchange: docs/protocol-wire.md.

mod bits;
mod config;
mod directory;
mod engine;
mod face;
mod have;
mod peer;
mod picker;
mod pieces;
mod rate;
mod rng;
mod timer;
mod uplink;
pub mod wire;

pub use config::Config;
pub use engine::Swarm;
pub use face::{
    Binding, Channel, ConnId, Demand, Event, Flood, Input, Output, Path, PeerStats, Reason, Role,
    Stats, Stream,
};
pub use timer::Instant;
