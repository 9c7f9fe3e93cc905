//! The tests of the pool in one binary: every packing through the same rules, then each packing's own.
//!
//! | module | holds |
//! |---|---|
//! | `conformance` | the suite of `pagefold-testkit`, every packing with its options and from both sources of memory |
//! | `property` | generated sequences beside the model; bounds of nbud's frames |
//! | `stress` | many threads, every byte verified |
//! | `faults` | memory refused at the k-th request, for every k |
//! | `handles` | small tables past the last generation |
//! | `misuse` | pools that cannot be built |
//! | `regressions` | faults that were found and mended |
//! | `nbud`, `zbud`, `xcfmalloc`, `zsmalloc` | what one packing alone has |
//! | `plain` | a packing from outside of the crate, through the suite |
//!
//! Beside it, in processes of their own: `no_alloc` counts allocations, `rss` measures the process, `loom` needs another build.
#![cfg(not(loom))]

mod conformance;
mod faults;
mod handles;
mod misuse;
mod nbud;
mod plain;
mod property;
mod regressions;
mod stress;
mod xcfmalloc;
mod zbud;
mod zsmalloc;
