//! A whole swarm on event queues from one seed: the production engine, as it is, in a world of links, places and people.
//!
//! Pure: no clock, no files; `main.rs` is the door. What is modelled and what is not: docs/simulation.md.

pub mod event;
pub mod film;
pub mod link;
pub mod node;
pub mod outcome;
pub mod overlay;
pub mod places;
pub mod player;
pub mod plot;
pub mod rng;
pub mod scenario;
pub mod server;
pub mod theory;
pub mod world;
