//! The pool beside general-purpose allocators: one trace, run by one program for each contender.
//!
//! | module | holds |
//! |---|---|
//! | [`memory`] | a contender, as the trace uses it |
//! | [`trace`] | the trace: fill, churn, read, free half, give back; timed, and checked after each phase |
//! | [`boxed`] | objects that are a `Vec<u8>` each, from the program's global allocator |
//! | [`pooled`] | objects in nbud |
//! | [`figures`] | what a run prints and the driver reads; the resident memory |
//! | [`programs`] | the programs of the contenders |
//! | [`pages`] | page files, as `cargo xtask corpus` makes them |
//! | [`zram`] | the kernel's zram as a peer for pages |
//! | [`cached`] | the workload of caches: keys, values, phases |
//! | [`peer`] | a cache, as the workload uses it |
//! | [`caches`] | the cache of pagefold, moka and quick_cache |
//!
//! The README says how to run it and what the figures mean.
#![forbid(unsafe_code)]

pub mod boxed;
pub mod cached;
pub mod caches;
pub mod figures;
pub mod memory;
pub mod pages;
pub mod peer;
pub mod pooled;
pub mod programs;
pub mod trace;
pub mod zram;

#[path = "../../../crates/pool/benches/common/mod.rs"]
#[expect(dead_code, reason = "the pool's own benchmarks use the rest")]
mod common;
