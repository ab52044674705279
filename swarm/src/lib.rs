//! One peer's part in one swarm, without IO.
