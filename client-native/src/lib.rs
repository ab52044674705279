//! A native peer: the very `swarm` and `content` crates of the browser, on tokio, `webrtc` and tokio-tungstenite.
//!
//! ```text
//! main.rs → command/*.rs (seed, get, keep, info) → session.rs (one Swarm and its doors)
//!     rtc.rs, link.rs   peer connections, by ice.rs into inbox.rs        signalling.rs   the server's socket
//!     worker.rs         one thread per session for the disk: publisher.rs | viewer.rs | keeper.rs, with index.rs
//!     library.rs        what a download has, for reader.rs (--stdout) and serve.rs (--serve)
//!     page.rs           what --serve shows      ahead.rs  reading ahead for the many   signed.rs  what a publisher signed
//!     fresh.rs          files that take another's place in one step
//!     output.rs         where a download lies   space.rs  a keeper's room   uplink.rs  what all sessions may send
//! ```
//!
//! Invariants: only `Header::verify` makes what is stored or sent; a `Store` is done before any `Load` that follows it, because
//! one thread does both in order; nothing remote sizes a queue: messages wait for room in the inbox, sends for credit.

mod ahead;
pub mod args;
pub mod command;
pub mod exit;
mod feed;
mod fresh;
mod handles;
mod ice;
mod inbox;
pub mod index;
mod keeper;
mod keyfile;
mod library;
mod link;
mod look;
mod output;
mod page;
pub mod peer;
mod publisher;
mod reader;
mod rtc;
mod serve;
pub mod session;
mod show;
mod signalling;
mod signed;
pub mod sockets;
mod space;
mod uplink;
mod viewer;
mod worker;

pub use library::Library;
pub use show::complain;

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
pub use publisher::Source;
pub use space::Space;
pub use uplink::Uplink;
pub use worker::{News, Problem};

/// Takes as many file handles as the system allows: a folder, a keeper's streams and every connection need some.
pub fn raise_file_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointers are good for the calls. Where it fails, the limit stays as it was.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max.min(FILES_MAX);
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// File handles to ask for: 160 connections and a few files for each of several hundred streams.
const FILES_MAX: libc::rlim_t = 65_536;
