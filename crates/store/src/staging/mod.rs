//! Staging: pages that wait raw for their codec, in order of arrival.
//!
//! ```text
//!  put      reserve a slot -> store the page raw -> publish a fresh word -> push (space, key)
//!  worker   take the oldest -> load the word -> fresh? -> encode -> replace the word -> free the raw object
//! ```
//! The queue names keys, not objects: a page that is overwritten, removed or taken before its turn costs no codec, and
//! a put over a fresh page needs no entry of its own.
//!
//! # Invariants (I-STAGE)
//! - Every fresh word has an entry in the queue, or a thread inside an operation owns its turn: the put that published
//!   it and has not pushed yet, or the thread that took the entry. So a store without operations has an entry for each.
//! - Entries and reserved slots together never exceed the capacity.

mod queue;

pub(crate) use queue::{Outcome, Staged, Staging};
