//! Allocators for compressed pages: one contract, several packings.
//!
//! | module | holds |
//! |---|---|
//! | [`contract`](Pool) | `trait Pool`, the whole contract as a trait object |
//! | [`handle`](Handle) | the opaque name of an object, and its pool |
//! | [`stats`](Stats) | what a pool says of itself, every byte accounted for |
//! | [`builder`](PoolBuilder) | limits, sources, and the one place that knows every packing |
//! | `config` | allocators by name, their policies, why a pool could not be built |
//! | `base` | account, arena, handle table, counters: what every packing stands on |
//! | `entries` | the handle table that every allocator shares |
//! | [`classes`] | size classes over chains of frames, a pure function |
//! | `nbud` | spans with buddies packed back to back |
//! | `zbud` | two objects in a frame |
//! | `xcfmalloc` | objects scattered over blocks in any holes |
//! | `zsmalloc` | size classes over chains of frames |
//!
//! Contents lie in frames of `pagefold-frame`; nothing here knows an address, and nothing here is `unsafe`.
#![forbid(unsafe_code)]

mod attend;
mod base;
mod builder;
pub mod classes;
mod config;
mod contract;
mod counters;
mod entries;
mod error;
mod handle;
mod nbud;
mod scratch;
mod stats;
mod xcfmalloc;
mod zbud;
mod zsmalloc;

pub use builder::{PoolBuilder, default_source};
pub use config::{
    Allocator, BlockSelection, BuildError, FillPolicy, NbudOptions, UnknownAllocator,
    XcfmallocOptions, ZsmallocOptions,
};
pub use contract::{CompactReport, Evict, NotEvicted, Pool, Reclaimed, Slices, TrimReport};
pub use error::{
    AllocError, HandleError, LimitError, MigrateError, ReadIntoError, ReclaimError, TryReadError,
    Violation, WriteError,
};
pub use handle::{Handle, PoolId};
pub use pagefold_frame::{
    Blocker, Busy, ContiguousError, ContiguousRange, MigrationStats, ReserveAccess,
};
pub use stats::Stats;
