//! The plan of a compaction: the pageblocks of a kind, from the sparsest to the densest.
//!
//! Sources come from the front, destinations from the back, until they meet. A plan lasts from call to call, so that a
//! small budget does not pay for a new one.

use std::cmp::Reverse;

use crate::{PAGEBLOCK_FRAMES, buddy::MOVABLE_KINDS};

/// Orders of runs that a descriptor may own.
const ORDERS: usize = 7;

/// The pageblocks of one kind in the order of compaction.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Pageblocks with the frames used in them, in ascending order of these; sources from the front. Of equally used
    /// ones the lowest is the last: allocation fills low pageblocks first.
    pub(crate) pageblocks: Vec<(u32, Reverse<u32>)>,
    pub(crate) next: usize,
    /// By order: from here on there was no room for a run of it.
    pub(crate) ends: [usize; ORDERS],
    /// Frames free in the pageblocks from `next` on, as far as they can be filled.
    room: u32,
    /// The same beyond the last source, as it was before a run left that source; and before the source was taken.
    room_beyond: u32,
    room_before: u32,
}

impl Plan {
    pub(crate) fn new(mut pageblocks: Vec<(u32, Reverse<u32>)>) -> Self {
        pageblocks.sort_unstable();
        let room = pageblocks.iter().map(|(used, _)| PAGEBLOCK_FRAMES - used).sum();
        let ends = [pageblocks.len(); ORDERS];
        Self { pageblocks, next: 0, ends, room, room_beyond: room, room_before: room }
    }

    /// The next pageblock to empty, if all of it fits the ones beyond.
    pub(crate) fn source(&mut self) -> Option<u32> {
        let &(used, Reverse(pageblock)) = self.pageblocks.get(self.next)?;
        let beyond = self.room.saturating_sub(PAGEBLOCK_FRAMES - used);
        (used <= beyond).then(|| {
            self.next += 1;
            (self.room_before, self.room_beyond) = (self.room, beyond);
            pageblock
        })
    }

    /// Notes how many frames of the last source went to the ones beyond.
    pub(crate) fn filled(&mut self, frames: u32) {
        self.room = self.room_beyond.saturating_sub(frames);
    }

    /// Makes the last source the next one again.
    pub(crate) fn step_back(&mut self) {
        self.next -= 1;
        self.room = self.room_before;
    }

    pub(crate) fn give_up(&mut self) {
        self.next = self.pageblocks.len();
    }
}

/// How far compaction is, from one call to the next.
#[derive(Debug, Default)]
pub(crate) struct CompactionProgress {
    pub(crate) plans: [Plan; MOVABLE_KINDS.len()],
    /// The kind that is next.
    pub(crate) kind: usize,
}
