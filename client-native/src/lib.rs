//! A native peer: the very `swarm` and `content` crates of the browser, on tokio, `webrtc` and tokio-tungstenite.
//!
//! ```text
//! main.rs → command/*.rs (seed, get, keep, info) → session.rs (one Swarm and its doors)
//!     rtc.rs, link.rs   peer connections        signalling.rs   the server's socket
//!     worker.rs         one thread per session for the disk: publisher.rs | viewer.rs | keeper.rs, with index.rs
//!     library.rs        what a download has, for reader.rs (--stdout) and serve.rs (--serve)
//! ```
//!
//! Invariants: only `Header::verify` makes what is stored or sent; a `Store` is done before any `Load` that follows it, because
//! one thread does both in order; nothing remote sizes a queue: messages wait in SCTP's window, sends for credit.

pub mod args;
pub mod command;
pub mod exit;
mod feed;
pub mod index;
mod keeper;
mod keyfile;
mod library;
mod link;
mod look;
mod output;
pub mod peer;
mod publisher;
mod reader;
mod rtc;
mod serve;
pub mod session;
mod show;
mod signalling;
mod viewer;
mod worker;

pub use library::Library;

use std::time::{SystemTime, UNIX_EPOCH};

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    bytes
}

/// Seconds since 1970.
pub(crate) fn unix_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
pub use keeper::Space;
pub use publisher::Source;
pub use worker::{News, Problem};
