//! The words that the signalling server and its clients share. Pure.
