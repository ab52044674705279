//! Shared helpers of the end-to-end tests.

pub mod carrier;
pub mod http;
pub mod lab;
pub mod middle;
pub mod mmdb;
pub mod native;
pub mod pebble;
pub mod program;
pub mod redis;
pub mod remote;
pub mod signalling;
pub mod tap;
pub mod tls;
