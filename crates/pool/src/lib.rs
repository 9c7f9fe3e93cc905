//! Allocators for compressed pages: one contract, several packings.
//!
//! | module | holds |
//! |---|---|
//! | [`contract`](Pool), [`slices`](Slices), [`handle`](Handle), [`stats`](Stats) | `trait Pool` and its types |
//! | [`builder`](PoolBuilder), `config` | limits, sources, options |
//! | [`engine`] | the one implementation; how to write a packing |
//! | `packing` | nbud, zbud, xcfmalloc, zsmalloc |
//! | [`classes`] | size classes, a pure function |
//!
//! Contents lie in frames of `pagefold-frame`; no code here knows an address.
#![forbid(unsafe_code)]

mod builder;
pub mod classes;
mod config;
mod contract;
pub mod engine;
mod error;
mod handle;
mod packing;
mod read;
mod slices;
mod stats;

pub use builder::{PoolBuilder, default_source};
pub use config::{
    Allocator, BlockSelection, BuildError, FillPolicy, NbudOptions, UnknownAllocator,
    XcfmallocOptions, ZsmallocOptions,
};
pub use contract::{CompactReport, Evict, NotEvicted, Pool, Reclaimed, TrimReport};
pub use error::{
    AllocError, HandleError, LimitError, MigrateError, ReadIntoError, ReclaimError, TryReadError,
    Violation, WriteError,
};
pub use handle::{Handle, PoolId};
pub use pagefold_frame::{
    Blocker, Busy, ContiguousError, ContiguousRange, MigrationStats, ReserveAccess,
};
pub use slices::Slices;
pub use stats::Stats;
