//! Allocators for compressed pages: one contract, several packings.
//!
//! | module | holds |
//! |---|---|
//! | [`contract`](Pool) | `trait Pool`, the whole contract as a trait object |
//! | [`handle`](Handle) | the opaque name of an object |
//! | [`stats`](Stats) | what a pool says of itself, every byte accounted for |
//! | [`builder`](PoolBuilder) | allocators by name, limits, sources |
//! | `entries` | the handle table that every allocator shares |
//! | `nbud` | spans with buddies packed back to back |
//!
//! Contents lie in frames of `pagefold-frame`; nothing here knows an address, and nothing here is `unsafe`.
#![forbid(unsafe_code)]

mod builder;
mod contract;
mod counters;
mod entries;
mod error;
mod handle;
mod nbud;
mod scratch;
mod stats;

pub use builder::{Allocator, BuildError, Placement, PoolBuilder, UnknownAllocator};
pub use contract::{CompactReport, Pool, Slices, TrimReport};
pub use error::{
    AllocError, HandleError, LimitError, ReadIntoError, ReclaimError, TryReadError, Violation,
    WriteError,
};
pub use handle::Handle;
pub use stats::Stats;
