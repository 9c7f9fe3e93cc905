//! Detaches free blocks while their memory goes back to the system without the lock.

use super::{Buddy, ENTIRELY_FREE, tree};
use crate::{FrameNo, PAGEBLOCK_FRAMES, units::PAGEBLOCK_ORDER};

/// A free block on no list until it is reattached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FreeBlock {
    pub(crate) start: FrameNo,
    pub(crate) order: u32,
}

impl Buddy {
    /// Appends the detached free blocks that have touched frames.
    pub(crate) fn detach_touched(&mut self, pageblock: u32, into: &mut Vec<FreeBlock>) {
        let start = pageblock * PAGEBLOCK_FRAMES;
        let Some(kind) = self.kind_of(pageblock) else {
            if self.forest.contains(ENTIRELY_FREE, pageblock as usize)
                && self.block(pageblock).count_touched(0, PAGEBLOCK_FRAMES) > 0
            {
                into.push(self.detach_entirely_free(pageblock));
            }
            return;
        };
        for order in 0..PAGEBLOCK_ORDER {
            if !self.forest.contains(tree(kind, order), pageblock as usize) {
                continue;
            }
            for frame in (0..PAGEBLOCK_FRAMES).step_by(1 << order) {
                let block = self.block(pageblock);
                if block.is_free(order, frame) && block.count_touched(frame, 1 << order) > 0 {
                    self.unlist(pageblock, kind, frame, order);
                    into.push(FreeBlock { start: FrameNo(start + frame), order });
                }
            }
        }
    }

    pub(crate) fn detach_one_entirely_free(&mut self) -> Option<FreeBlock> {
        let candidate = (0..self.high_water_mark).rev().find(|&pageblock| {
            self.forest.contains(ENTIRELY_FREE, pageblock as usize)
                && self.block(pageblock).count_touched(0, PAGEBLOCK_FRAMES) > 0
        })?;
        Some(self.detach_entirely_free(candidate))
    }

    fn detach_entirely_free(&mut self, pageblock: u32) -> FreeBlock {
        self.forest.remove(ENTIRELY_FREE, pageblock as usize);
        self.free_touched -= 1;
        FreeBlock { start: FrameNo(pageblock * PAGEBLOCK_FRAMES), order: PAGEBLOCK_ORDER }
    }

    /// `given_back`: its frames left the resident set. Returns the frames to uncharge.
    pub(crate) fn reattach(&mut self, free: FreeBlock, given_back: bool) -> u32 {
        let (pageblock, frames) = (free.start.pageblock(), 1 << free.order);
        let uncharge = if given_back { self.untouch(free.start, frames) } else { 0 };
        if free.order == PAGEBLOCK_ORDER {
            self.put_entirely_free(pageblock);
        } else {
            self.put(free.start, free.order);
        }
        uncharge
    }
}
