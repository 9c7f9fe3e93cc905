//! Evacuation: frames are moved out of a range until all of it is free.
//!
//! ```text
//!  isolate the range   its free frames leave the lists; a frame that becomes free goes to none: it only gets emptier
//!  move what is there  frame -> owner word -> descriptor -> isolate, migrate, put back (`migrate`)
//!  all free?           compaction: the pageblock goes back to the system   contiguous allocation: the caller has the range
//!  otherwise           the isolation ends; its free frames go back to the lists
//! ```
//! Two users: [compaction](crate::Arena::compact) by pageblock, and
//! [contiguous allocation](crate::Arena::alloc_contiguous).
//!
//! One thread at a time evacuates. [`compact`](crate::Arena::compact) returns at once while another thread does;
//! [`alloc_contiguous`](crate::Arena::alloc_contiguous) waits. Meanwhile other threads may read, write, free and move
//! descriptors; a guard keeps its descriptor's frames where they are.
//!
//! An owner word is a hint: the evacuator isolates the descriptor that it names, and moves it only if it owns the
//! frame. The next pass meets frames that changed owners.

mod candidates;
mod compact;
mod contiguous;
mod error;
mod isolated;
mod migrate;
mod pass;
mod range;

pub use self::{compact::FrameCompaction, error::ContiguousError, range::ContiguousRange};
