//! The browser's doors: the only crate that names web-sys, and the only place where JavaScript crosses.
//!
//! One module, two instances. The page's ([`page`]) has what must be on a page: signalling socket, RTCPeerConnections,
//! MediaSource, and the classes `Client`, `Share` and `View`. The worker's ([`worker`]) has the engine: swarm, content,
//! media, file reading. They speak by `postMessage` ([`bridge`]); channel messages and segments cross by transfer.

mod bridge;
mod check;
mod door;
mod flow;
mod inbox;
mod page;
mod worker;

pub use check::self_check;
pub use page::face::{Client, Share, View};
pub use worker::worker_main;
