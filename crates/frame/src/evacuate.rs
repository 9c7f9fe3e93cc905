//! Evacuation: moves frames out of a range until all of it is free.
//!
//! ```text
//!  isolate the range   free frames leave the lists; frames that become free join none
//!  move each run       frame -> owner word -> descriptor -> isolate, migrate, put back (`migrate`)
//!  all free?           compaction gives the pageblock back; contiguous allocation takes the range
//!  otherwise           the free frames go back to the lists
//! ```
//! One thread at a time evacuates: [`compact`](crate::Arena::compact) returns at once while another thread does,
//! [`alloc_contiguous`](crate::Arena::alloc_contiguous) waits. Other threads go on. Owner words are hints: an
//! isolated descriptor moves only if it owns the frame.

mod candidates;
mod compact;
mod contiguous;
mod error;
mod isolated;
mod migrate;
mod pass;
mod range;

pub use self::{compact::FrameCompaction, error::ContiguousError, range::ContiguousRange};
