//! The space of a cache as its map sees it: one slot a value. The map tests and removes slots under its locks.
//!
//! So nothing here encodes, decodes, or calls the program; `make_room` does, and no lock may be held for it.

use crate::{
    counters::Count,
    state::{SpaceState, StoreState},
};

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct Slots<'a> {
    pub(super) store: &'a StoreState,
    pub(super) space: &'a SpaceState,
}

impl Slots<'_> {
    pub(super) fn is_there(self, slot: u64) -> bool {
        is_there(self.space, slot)
    }

    /// Whether the value was got since this was last asked.
    pub(super) fn take_mark(self, slot: u64) -> bool {
        let found = self.space.index.find(slot);
        found.unmark();
        found.word.is_referenced()
    }

    /// Removes the value; whether there was one.
    pub(super) fn remove(self, slot: u64) -> bool {
        self.store.remove(self.space, slot, Count::Removed)
    }

    /// Makes room for so many bytes of the map, a piece of it; `false` when there is nothing more to try. Drops pages, so
    /// no lock may be held.
    pub(super) fn make_room(self, bytes: usize, round: u32) -> bool {
        self.store.make_room(self.space, bytes as u64, round)
    }
}

/// Whether there is a value in a slot.
pub(super) fn is_there(space: &SpaceState, slot: u64) -> bool {
    !space.index.load(slot).is_empty()
}
