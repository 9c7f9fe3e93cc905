//! Spilled objects: out of memory, back for a get, and gone.
//!
//! ```text
//!  gather (in operations)  -->  write (outside)  -->  exchange words (in operations)
//!  get: word --> leave the operation --> read --> enter, the same word: decode; else look again
//! ```
//! A word names a place only while that is live (I-SPILL): the spiller makes an object live before it exchanges words, and
//! the thread that takes the last word out releases it.

mod choose;
mod clean;
mod come_back;
mod discard;
mod extent;
mod fetch;
mod gather;
mod prefetch;
mod publish;
mod spilling;
mod tables;
mod thread;

pub(crate) use fetch::{Along, Fetch, Fetched};
pub(crate) use spilling::{Spilled, Spilling};
pub(crate) use thread::{Step, start};
