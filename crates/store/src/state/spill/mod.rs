//! Spilled objects: out of memory, back for a get, and gone.
//!
//! ```text
//!  gather (in operations)  -->  write (outside)  -->  exchange words (in operations)
//!  get: word --> leave the operation --> read --> enter, the same word: decode; else look again
//! ```
//! A word names a place only while that is live (I-SPILL): the spiller makes an object live before it exchanges words, and
//! the thread that takes the last word out releases it.

mod clean;
mod fetch;
mod gather;
mod publish;
mod thread;

use std::sync::Arc;

use pagefold_spill::{Batch, Spill};
use pagefold_sys::sync::Mutex;

use super::{SpaceState, wakeup::Wakeup};
use crate::{index::Change, stats::SpilledCounts};

pub(crate) use fetch::Fetched;
pub(crate) use thread::start;

/// What a store with a backing has more.
pub(crate) struct Spilling {
    pub(crate) spill: Spill,
    /// `None` while a thread gathers, writes and exchanges.
    turn: Mutex<Option<Turn>>,
    pub(crate) wakeup: Wakeup,
    pub(crate) counts: SpilledCounts,
}

/// The memory of the spiller, for one extent.
struct Turn {
    batch: Batch,
    objects: Vec<Gathered>,
}

/// An object in the batch, by its position there.
struct Gathered {
    space: Arc<SpaceState>,
    /// Of one leaf. `new` is set once the place is known.
    words: Vec<Change>,
}

impl Spilling {
    pub(crate) fn new(spill: Spill, batch: Batch) -> Self {
        Self {
            spill,
            turn: Mutex::new(Some(Turn { batch, objects: Vec::new() })),
            wakeup: Wakeup::default(),
            counts: SpilledCounts::default(),
        }
    }
}
