//! Models, fault injectors, corpora and seeds for the tests of pagefold and `pagefold torture`.
//!
//! For a new allocator, [`conformance`](mod@conformance) names the broken rule; [`torture`] and [`sequence`] add
//! threads and faults. The testkit sees a pool only as `&dyn Pool`.
#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "a global allocator is an unsafe trait")]
pub mod alloc_counter;
#[cfg(not(loom))]
pub mod backing;
pub mod conformance;
pub mod corpus;
#[expect(unsafe_code, reason = "a source of memory is an unsafe trait")]
pub mod faulty;
#[cfg(not(loom))]
pub mod hostile;
pub mod injected_bug;
pub mod liar;
pub mod memory_cgroup;
pub mod model;
pub mod pattern;
pub mod reference;
pub mod seed;
pub mod sequence;
pub mod torture;
pub mod trace;
pub mod watchdog;
pub mod zram;
