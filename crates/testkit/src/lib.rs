//! Models, fault injectors, corpora and seeds for the tests of pagefold and `pagefold torture`.
//!
//! | module | contents |
//! |---|---|
//! | [`model`] | a pool's naive model, and [`Checked`](model::Checked), which drives both |
//! | [`conformance`](mod@conformance) | the suite for every `Pool` |
//! | [`reference`](mod@reference) | a simple pool and its broken variants |
//! | [`torture`] | concurrent stress |
//! | [`sequence`] | recorded, replayed, shortened stress by one thread |
//! | [`trace`] | operations as text |
//! | [`faulty`] | a failing source of memory |
//! | [`injected_bug`] | a pool adapter with one bug |
//! | [`liar`] | a codec with one impossible answer |
//! | [`pattern`] | contents by identity |
//! | [`corpus`] | generated pages and lengths |
//! | [`seed`] | the source of randomness |
//! | [`watchdog`] | a deadlock as a failure |
//! | [`alloc_counter`] | a counting allocator |
//!
//! The testkit sees a pool only as `&dyn Pool`.
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
