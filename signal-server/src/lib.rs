//! The blind signalling server.
