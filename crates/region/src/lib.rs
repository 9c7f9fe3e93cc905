//! Memory that looks ordinary and is compressed when cold: no root, no swap device, one process. Linux only.
//!
//! ```text
//!  touch --> missing page --> SIGBUS | SIGSEGV | event --> resolve: credit, claim, store, place --> the touch is repeated
//!                                                                |
//!  evictors: choose 64 --> limbo --> compress --> forget --> credits
//! ```
//! | module | role |
//! |---|---|
//! | [`region`](Region), [`builder`](RegionBuilder) | the range, its settings |
//! | `word`, `table`, `credits` | the state of each page, claims, how many may be in memory |
//! | `backing` | how a missing page is made, and a present one taken away |
//! | `resolve`, `registry` | faults |
//! | `evict`, `server` | the way out, the region's threads |
//! | [`pin`](Region::pin), [`advise`](Region::advise) | what a program says about ranges |
//! | [`vec`](RegionVec), [`allocator`](RegionAllocator) | typed fronts |
//! | [`mode`](probe_modes) | what this machine allows |
//!
//! See `docs/REGION.md`.

#![cfg(target_os = "linux")]

mod advise;
mod allocator;
mod backing;
mod builder;
mod core;
mod counters;
mod credits;
mod error;
mod evict;
mod failure;
mod fork;
mod mailbox;
mod mode;
#[cfg(loom)]
#[doc(hidden)]
pub mod model;
mod pin;
mod region;
mod registry;
mod resolve;
mod server;
mod stats;
mod streams;
mod table;
mod vec;
mod wakeup;
mod word;

pub use advise::Advice;
pub use allocator::{RegionAllocator, RegionFull};
pub use builder::RegionBuilder;
pub use counters::{FaultLatency, ServedFrom};
pub use error::{BuildRegionError, RangeError};
pub use failure::FailurePolicy;
pub use fork::ForkPolicy;
pub use mode::{FaultMode, ModeReport, probe_modes};
pub use pin::{Pinned, PinnedMut};
pub use region::Region;
pub use stats::{PageStates, RegionStats};
pub use vec::RegionVec;
