//! Models, fault injectors, corpora and seeds, shared by the tests of pagefold and by `pagefold torture`.
//!
//! | module | holds |
//! |---|---|
//! | [`model`] | the naive model of a pool, and [`Checked`](model::Checked): a real pool driven beside it |
//! | [`conformance`](mod@conformance) | the suite that every `Pool` must pass, one named test for each rule of the contract |
//! | [`reference`](mod@reference) | a small obvious pool that passes it, and its deliberately broken variants |
//! | [`torture`] | concurrent stress in which every byte is verified |
//! | [`sequence`] | stress by one thread, beside the model: recorded, replayed, shortened |
//! | [`trace`] | operations and sizes as a text |
//! | [`faulty`] | a source of memory that fails on demand |
//! | [`injected_bug`] | a pool adapter that has one bug, to show that a test would notice |
//! | [`liar`] | a codec that gives one impossible answer |
//! | [`pattern`] | contents that follow from an object's identity |
//! | [`corpus`] | generated pages and object lengths |
//! | [`seed`] | one printed number behind everything random |
//! | [`watchdog`] | a deadlock as a failed test |
//! | [`alloc_counter`] | a counting global allocator |
//!
//! For a new allocator, [`conformance`](mod@conformance) names the rule it breaks; [`torture`] and [`sequence`] add
//! threads, compaction, migration and faults. The testkit sees a pool only as `&dyn Pool`.
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
