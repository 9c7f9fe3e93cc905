//! Allocators for compressed pages: one contract, several packings.
//!
//! | module | holds |
//! |---|---|
//! | [`contract`](Pool) | `trait Pool`, the whole contract as a trait object |
//! | [`slices`](Slices), `read` | what a read shows; reads that return a value |
//! | [`handle`](Handle) | the opaque name of an object |
//! | [`stats`](Stats) | a pool's accounts |
//! | [`builder`](PoolBuilder) | limits and sources; the one module that knows every packing |
//! | `config` | allocators by name, their policies, why a pool could not be built |
//! | [`engine`] | the one implementation of the contract, over any packing; how to write a packing of your own |
//! | `packing` | the packings: nbud, zbud, xcfmalloc, zsmalloc |
//! | [`classes`] | size classes over chains of frames, a pure function |
//!
//! Contents lie in frames of `pagefold-frame`; nothing here knows an address, and nothing here is `unsafe`.
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
