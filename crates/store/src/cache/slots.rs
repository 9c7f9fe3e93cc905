//! The space as a cache's map sees it, called under the map's locks: only `make_room` may call the program.

use crate::{
    counters::Count,
    state::{SpaceState, StoreState},
};

#[derive(Clone, Copy)]
pub(super) struct Slots<'a> {
    pub(super) store: &'a StoreState,
    pub(super) space: &'a SpaceState,
}

impl Slots<'_> {
    pub(super) fn is_there(self, slot: u64) -> bool {
        is_there(self.space, slot)
    }

    /// Whether the value was read since the last call.
    pub(super) fn take_mark(self, slot: u64) -> bool {
        let found = self.space.index.find(slot);
        found.unmark();
        found.word.is_referenced()
    }

    /// Whether there was a value.
    pub(super) fn remove(self, slot: u64) -> bool {
        self.store.remove(self.space, slot, Count::Removed)
    }

    /// Makes some room; `false` when nothing remains to try. Call it unlocked: it drops pages.
    pub(super) fn make_room(self, bytes: usize, round: u32) -> bool {
        self.store.make_room(self.space, bytes as u64, round)
    }
}

pub(super) fn is_there(space: &SpaceState, slot: u64) -> bool {
    !space.index.load(slot).is_empty()
}
