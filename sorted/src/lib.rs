//! Maps and sets as sorted lists, with the face of std's B-trees as far as it is used here.
//!
//! Each pair of key and value makes the compiler write a B-tree anew; in the page's WebAssembly that was a fifth of all
//! code (docs/decisions.md). A list costs a tenth of that. What it costs at run time: inserting and removing move what lies behind,
//! so it is for what holds hundreds, or thousands that come mostly in order. Where somebody else could fill a map with more than
//! that, in an order of their choice, it is not the right one.
//!
//! Invariant: keys strictly ascend. So iteration has one order, and a simulation replays.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod map;
mod order;
mod set;

pub use map::{Entry, Iter, SortedMap};
pub use order::{sort, sort_by_key};
pub use set::SortedSet;
