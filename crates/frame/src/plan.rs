//! The plan of a compaction: the pageblocks of a kind, the sparsest first.
//!
//! Sources come from the front, destinations from the back. A plan lasts from call to call.

use std::cmp::Reverse;

use crate::{PAGEBLOCK_FRAMES, buddy::MOVABLE_KINDS};

/// Orders of a descriptor's runs.
const ORDERS: usize = 7;

#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// By used frames, ascending; of equals the lowest pageblock is last, since allocation fills it first.
    pub(crate) pageblocks: Vec<(u32, Reverse<u32>)>,
    pub(crate) next: usize,
    /// By order: no room from here on.
    pub(crate) ends: [usize; ORDERS],
    /// Fillable free frames from `next` on.
    room: u32,
    /// Room beyond the last source before a run left it, and before it was taken.
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

    /// The next pageblock that fits the ones beyond.
    pub(crate) fn source(&mut self) -> Option<u32> {
        let &(used, Reverse(pageblock)) = self.pageblocks.get(self.next)?;
        let beyond = self.room.saturating_sub(PAGEBLOCK_FRAMES - used);
        (used <= beyond).then(|| {
            self.next += 1;
            (self.room_before, self.room_beyond) = (self.room, beyond);
            pageblock
        })
    }

    /// Notes the frames of the last source that moved.
    pub(crate) fn filled(&mut self, frames: u32) {
        self.room = self.room_beyond.saturating_sub(frames);
    }

    /// Makes the last source the next again.
    pub(crate) fn step_back(&mut self) {
        self.next -= 1;
        self.room = self.room_before;
    }

    pub(crate) fn give_up(&mut self) {
        self.next = self.pageblocks.len();
    }
}

#[derive(Debug, Default)]
pub(crate) struct CompactionProgress {
    pub(crate) plans: [Plan; MOVABLE_KINDS.len()],
    /// The next kind.
    pub(crate) kind: usize,
}
