//! The tests of the store that can share a process.
//!
//! A test that needs its own stays a file beside this folder: it forks, handles signals, counts allocations, or measures the
//! resident memory of the process.
#![cfg(not(loom))]

mod at_the_limit;
mod bases;
mod bases_in_everything;
mod bases_model;
mod bytes_a_page;
mod cache;
mod cache_use;
mod every_form;
mod evicted;
mod eviction;
mod idle;
mod idle_misuse;
mod keys;
mod liars;
mod limit;
mod long_life;
mod misuse;
mod model;
mod spaces;
mod spill;
mod spill_amount;
mod spill_model;
mod spill_policy;
mod spill_regressions;
mod spill_space;
mod spill_values;
mod staging;
mod training;
mod training_codec;
mod training_room;
mod update;
mod walk;
