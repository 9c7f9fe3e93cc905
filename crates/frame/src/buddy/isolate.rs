//! Isolation: the beginning and the ends (I-ISOLATED). `put_range` marks isolated frames that become free.

use std::ops::Range;

use super::{
    Buddy, ENTIRELY_FREE, PageblockKind,
    words::{
        CONTIGUOUS_COUNT, ISOLATED, ISOLATED_COUNT, ISOLATED_FREE, KIND, LISTED_COUNT, TOUCHED,
    },
};
use crate::{
    FrameNo, OutOfFrames, PAGEBLOCK_FRAMES, ReserveAccess,
    units::{BlockPart, PAGEBLOCK_ORDER, by_pageblock},
};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) kind: PageblockKind,
    /// Frames on no free list, contiguous ones included.
    pub(crate) used: u32,
    pub(crate) contiguous: u32,
}

impl Buddy {
    /// `None`: entirely free, isolated or detached.
    pub(crate) fn usage(&self, pageblock: u32) -> Option<Usage> {
        let kind = self.kind_of(pageblock)?;
        let block = self.block(pageblock);
        let count = |counter| u32::try_from(block.get(counter)).expect("at most 512 frames");
        let used = PAGEBLOCK_FRAMES - count(LISTED_COUNT);
        (block.get(ISOLATED_COUNT) == 0).then(|| Usage {
            kind,
            used,
            contiguous: count(CONTIGUOUS_COUNT),
        })
    }

    /// Frames of a part that are on no free list.
    pub(crate) fn used_in(&self, BlockPart { pageblock, first, frames }: BlockPart) -> u32 {
        let block = self.block(pageblock);
        if block.get(KIND) == 0 {
            return 0;
        }
        let end = first + frames;
        let mut free = 0;
        for order in 0..PAGEBLOCK_ORDER {
            for at in (first & !((1 << order) - 1)..end).step_by(1 << order) {
                if block.is_free(order, at) {
                    free += (at + (1 << order)).min(end) - at.max(first);
                }
            }
        }
        frames - free
    }

    /// Raises the high-water mark to the range's end and opens its entirely free pageblocks. They stay open under the
    /// caller's lock.
    pub(crate) fn prepare(
        &mut self,
        range: &Range<u32>,
        access: ReserveAccess,
        open: &mut dyn FnMut(u32) -> Result<(), OutOfFrames>,
    ) -> Result<(), OutOfFrames> {
        while self.high_water_mark < range.end.div_ceil(PAGEBLOCK_FRAMES) {
            self.grow(access, open)?;
        }
        by_pageblock(range)
            .filter(|part| self.forest.contains(ENTIRELY_FREE, part.pageblock as usize))
            .try_for_each(|part| open(part.pageblock))
    }

    /// `false`, and nothing changed: a pageblock is pinned, isolated or detached.
    pub(crate) fn isolate(&mut self, range: &Range<u32>) -> bool {
        let can_be_isolated = |part: BlockPart| match self.kind_of(part.pageblock) {
            Some(PageblockKind::MovableSingle | PageblockKind::MovableRun) => {
                self.block(part.pageblock).get(ISOLATED_COUNT) == 0
            }
            Some(_) => false,
            None => self.forest.contains(ENTIRELY_FREE, part.pageblock as usize),
        };
        if !by_pageblock(range).all(can_be_isolated) {
            return false;
        }
        for part in by_pageblock(range) {
            let free = self.unlist_in(part);
            let block = self.block(part.pageblock);
            block.mark(ISOLATED, part.first, part.frames);
            block.add_to(ISOLATED_COUNT, part.frames);
            for (start, frames) in free {
                self.put_range(start, frames);
            }
        }
        true
    }

    /// Unlists every free block that the part meets; an entirely free pageblock gets a kind.
    fn unlist_in(
        &mut self,
        BlockPart { pageblock, first, frames }: BlockPart,
    ) -> Vec<(FrameNo, u32)> {
        let start = pageblock * PAGEBLOCK_FRAMES;
        let Some(kind) = self.kind_of(pageblock) else {
            self.forest.remove(ENTIRELY_FREE, pageblock as usize);
            if self.block(pageblock).count_touched(0, PAGEBLOCK_FRAMES) > 0 {
                self.free_touched -= 1;
            }
            self.block(pageblock).set(KIND, PageblockKind::MovableSingle as u64 + 1);
            return vec![(FrameNo(start), PAGEBLOCK_FRAMES)];
        };
        let mut free = Vec::new();
        for order in 0..PAGEBLOCK_ORDER {
            for frame in (first & !((1 << order) - 1)..first + frames).step_by(1 << order) {
                if self.block(pageblock).is_free(order, frame) {
                    self.unlist(pageblock, kind, frame, order);
                    free.push((FrameNo(start + frame), 1 << order));
                }
            }
        }
        free
    }

    pub(crate) fn is_all_free(&self, range: &Range<u32>) -> bool {
        by_pageblock(range).all(|part| {
            self.block(part.pageblock).count(ISOLATED_FREE, part.first, part.frames) == part.frames
        })
    }

    /// Frames that may be resident.
    pub(crate) fn touched_in(&self, range: &Range<u32>) -> u32 {
        by_pageblock(range)
            .map(|part| self.block(part.pageblock).count_touched(part.first, part.frames))
            .sum()
    }

    /// The isolated free frames that may be resident, in runs.
    pub(crate) fn isolated_touched(&self, range: &Range<u32>) -> Vec<(FrameNo, u32)> {
        let mut found = Vec::new();
        for part in by_pageblock(range) {
            let block = self.block(part.pageblock);
            if block.get(ISOLATED_COUNT) == 0 {
                continue;
            }
            block.runs(ISOLATED_FREE, part.first, part.frames, |frame, frames, free| {
                if !free {
                    return;
                }
                block.runs(TOUCHED, frame, frames, |frame, frames, touched| {
                    if touched {
                        found.push((FrameNo(part.pageblock * PAGEBLOCK_FRAMES + frame), frames));
                    }
                });
            });
        }
        found
    }

    /// Puts the free frames of the range back on the lists.
    pub(crate) fn end_isolation(&mut self, range: &Range<u32>) {
        for part in by_pageblock(range) {
            let block = self.block(part.pageblock);
            let mut free = Vec::new();
            block.runs(ISOLATED_FREE, part.first, part.frames, |frame, frames, is_free| {
                if is_free {
                    free.push((FrameNo(part.pageblock * PAGEBLOCK_FRAMES + frame), frames));
                }
            });
            self.unmark(part);
            for (start, frames) in free {
                self.put_free(start, frames);
            }
        }
    }

    fn unmark(&self, part: BlockPart) {
        let block = self.block(part.pageblock);
        block.clear(ISOLATED, part.first, part.frames);
        block.clear(ISOLATED_FREE, part.first, part.frames);
        block.take_from(ISOLATED_COUNT, part.frames);
    }

    /// Hands an isolated range, all free and charged, to the caller.
    pub(crate) fn take_isolated(&mut self, range: &Range<u32>) {
        debug_assert!(
            self.is_all_free(range),
            "I-ISOLATED: only isolated free frames are handed out"
        );
        for part in by_pageblock(range) {
            self.unmark(part);
            self.touch(part.start(), part.frames);
            self.block(part.pageblock).add_to(CONTIGUOUS_COUNT, part.frames);
        }
    }

    pub(crate) fn put_contiguous(&mut self, range: &Range<u32>) {
        for part in by_pageblock(range) {
            self.block(part.pageblock).take_from(CONTIGUOUS_COUNT, part.frames);
            self.put_range(part.start(), part.frames);
        }
    }
}
