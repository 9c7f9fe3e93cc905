//! Models, fault injectors, corpora and seeds: what the tests of pagefold share, and what `pagefold torture` is made of.
//!
//! | module | holds |
//! |---|---|
//! | [`model`] | the naive model of a pool, and [`Checked`](model::Checked): a real pool driven beside it |
//! | [`conformance`](mod@conformance) | the suite that every `Pool` must pass, one named test for each rule of the contract |
//! | [`reference`](mod@reference) | a small obvious pool that passes it, and its deliberately broken variants |
//! | [`torture`] | concurrent stress in which every byte is verified |
//! | [`sequence`] | the same by one thread, beside the model: kept, replayed, shortened |
//! | [`trace`] | operations and sizes as a text |
//! | [`faulty`] | a source of memory that fails where a test says so |
//! | [`injected_bug`] | a pool adapter that has one bug, to show that a test would notice |
//! | [`liar`] | a codec that gives one answer that cannot be |
//! | [`pattern`] | contents that follow from an object's identity |
//! | [`corpus`] | generated pages and object lengths |
//! | [`seed`] | one printed number behind everything random |
//! | [`watchdog`] | a deadlock as a failed test |
//! | [`alloc_counter`] | a counting global allocator |
//!
//! A new allocator under `trait Pool` runs through all of this: [`conformance`](mod@conformance) says which rule it
//! breaks, [`torture`] and [`sequence`] how it stands up to threads, compaction, migration and faults.
//!
//! It sees a pool only as `&dyn Pool`; what it knows, it knows from the contract.
#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "a global allocator is an unsafe trait")]
pub mod alloc_counter;
pub mod conformance;
pub mod corpus;
#[expect(unsafe_code, reason = "a source of memory is an unsafe trait")]
pub mod faulty;
pub mod injected_bug;
pub mod liar;
pub mod model;
pub mod pattern;
pub mod reference;
pub mod seed;
pub mod sequence;
pub mod torture;
pub mod trace;
pub mod watchdog;
