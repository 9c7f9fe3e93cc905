//! The buddy allocator: which frames are free, by pageblock, order and kind.
//!
//! ```text
//!  pageblock words (512 bytes)   0..16  free blocks: a bit for each block of each order (512 + 256 + .. + 1)
//!                               16..24  touched frames: may be resident, and are charged
//!                               24..32  isolated frames: one that becomes free goes to no list
//!                               32..40  isolated free frames
//!                               40..44  kind + 1, or 0 while the pageblock is entirely free; counts of free frames on
//!                                       lists, of isolated and of contiguous frames
//!  forest of pageblock numbers   kind x order: pageblocks with a free block of that order;  ENTIRELY_FREE
//! ```
//! A pageblock in use has one *kind*: single frames and longer runs stay apart, as do pinned and movable ones.
//! Allocation takes the smallest sufficient order in the lowest pageblock, so that high pageblocks empty out.
//! Pageblocks from the *high-water mark* on were never used.
//!
//! The free blocks of an *isolated* range (`isolate`) are on no list, nor are its frames that become free later. A
//! *detached* block (`detach`) is on its way to the system.
//!
//! # Invariants
//! - A frame is in at most one free block, and no two free buddies have the same order (I-BUDDY).
//! - An entirely free pageblock has no free bits set; its bit in ENTIRELY_FREE replaces them.
//! - Touched frames are exactly the charged ones (I-TOUCH).
//! - An isolated free frame is on no list; only the thread that isolated the range hands it on (I-ISOLATED).
//!
//! The [arena](crate::Arena)'s lock guards all of it. Source: Knowlton's buddy system, with bitmaps for lists, so
//! that freed frames are never written.

mod audit;
mod detach;
mod isolate;
mod kind;
mod words;

use std::sync::Arc;

use self::words::{
    BlockWords, ISOLATED, ISOLATED_COUNT, ISOLATED_FREE, KIND, LISTED_COUNT, TOUCHED,
};
pub(crate) use self::{
    detach::FreeBlock,
    kind::{MOVABLE_KINDS, PageblockKind},
};
use crate::{
    BitForest, FrameNo, MemoryBudget, OutOfFrames, PAGEBLOCK_FRAMES, ReserveAccess, SourceError,
    table::Table, units::PAGEBLOCK_ORDER,
};

const ORDERS: usize = PAGEBLOCK_ORDER as usize + 1;
const KINDS: usize = 4;
const ENTIRELY_FREE: usize = KINDS * ORDERS;
const TREES: usize = ENTIRELY_FREE + 1;

#[derive(Debug)]
pub(crate) struct Buddy {
    blocks: Table<BlockWords>,
    forest: BitForest,
    high_water_mark: u32,
    capacity: u32,
    /// Entirely free pageblocks with touched frames.
    free_touched: u32,
}

fn tree(kind: PageblockKind, order: u32) -> usize {
    kind as usize * ORDERS + order as usize
}

impl Buddy {
    pub(crate) fn new(memory: &Arc<MemoryBudget>, capacity: u32) -> Result<Self, SourceError> {
        Ok(Self {
            blocks: Table::new(memory, capacity as usize)?,
            forest: BitForest::new(memory, capacity as usize, TREES)?,
            high_water_mark: 0,
            capacity,
            free_touched: 0,
        })
    }

    pub(crate) fn high_water_mark(&self) -> u32 {
        self.high_water_mark
    }

    pub(crate) fn free_touched(&self) -> u32 {
        self.free_touched
    }

    fn block(&self, pageblock: u32) -> &BlockWords {
        self.blocks.get(pageblock as usize).expect("a pageblock below the high-water mark")
    }

    fn kind_of(&self, pageblock: u32) -> Option<PageblockKind> {
        match self.block(pageblock).get(KIND) {
            1 => Some(PageblockKind::MovableSingle),
            2 => Some(PageblockKind::MovableRun),
            3 => Some(PageblockKind::PinnedSingle),
            4 => Some(PageblockKind::PinnedRun),
            _ => None,
        }
    }

    pub(crate) fn is_entirely_free(&self, pageblock: usize) -> bool {
        pageblock >= self.high_water_mark as usize || self.forest.contains(ENTIRELY_FREE, pageblock)
    }

    /// `open` makes an entirely free pageblock usable.
    pub(crate) fn take(
        &mut self,
        kind: PageblockKind,
        order: u32,
        access: ReserveAccess,
        open: &mut dyn FnMut(u32) -> Result<(), OutOfFrames>,
    ) -> Result<FrameNo, OutOfFrames> {
        let listed = (order..PAGEBLOCK_ORDER).find_map(|have| self.forest.first(tree(kind, have)));
        if let Some(pageblock) = listed {
            let pageblock = u32::try_from(pageblock).expect("fewer than 2^32 pageblocks");
            return Ok(self.take_in(pageblock, kind, order).expect("the forest says there is one"));
        }
        let pageblock = self.take_entirely_free(kind, access, open)?;
        Ok(self.split(pageblock, kind, 0, PAGEBLOCK_ORDER, order))
    }

    pub(crate) fn take_in(
        &mut self,
        pageblock: u32,
        kind: PageblockKind,
        order: u32,
    ) -> Option<FrameNo> {
        let have = (order..PAGEBLOCK_ORDER)
            .find(|&have| self.forest.contains(tree(kind, have), pageblock as usize))?;
        let frame = self.block(pageblock).first_free(have).expect("the forest says there is one");
        self.unlist(pageblock, kind, frame, have);
        Some(self.split(pageblock, kind, frame, have, order))
    }

    /// Lists the part beyond `order`.
    fn split(
        &mut self,
        pageblock: u32,
        kind: PageblockKind,
        frame: u32,
        have: u32,
        order: u32,
    ) -> FrameNo {
        for half in (order..have).rev() {
            self.list(pageblock, kind, frame + (1 << half), half);
        }
        FrameNo(pageblock * PAGEBLOCK_FRAMES + frame)
    }

    fn take_entirely_free(
        &mut self,
        kind: PageblockKind,
        access: ReserveAccess,
        open: &mut dyn FnMut(u32) -> Result<(), OutOfFrames>,
    ) -> Result<u32, OutOfFrames> {
        let pageblock = match self.forest.first(ENTIRELY_FREE) {
            Some(pageblock) => {
                let pageblock = u32::try_from(pageblock).expect("fewer than 2^32 pageblocks");
                open(pageblock)?;
                self.forest.remove(ENTIRELY_FREE, pageblock as usize);
                if self.block(pageblock).count_touched(0, PAGEBLOCK_FRAMES) > 0 {
                    self.free_touched -= 1;
                }
                pageblock
            }
            None => {
                let pageblock = self.grow(access, open)?;
                self.forest.remove(ENTIRELY_FREE, pageblock as usize);
                pageblock
            }
        };
        self.block(pageblock).set(KIND, kind as u64 + 1);
        Ok(pageblock)
    }

    fn grow(
        &mut self,
        access: ReserveAccess,
        open: &mut dyn FnMut(u32) -> Result<(), OutOfFrames>,
    ) -> Result<u32, OutOfFrames> {
        let pageblock = self.high_water_mark;
        if pageblock == self.capacity {
            return Err(OutOfFrames);
        }
        self.blocks.ensure(pageblock as usize, access)?;
        self.forest.ensure(pageblock as usize, access)?;
        open(pageblock)?;
        self.high_water_mark += 1;
        self.forest.insert(ENTIRELY_FREE, pageblock as usize);
        Ok(pageblock)
    }

    fn list(&mut self, pageblock: u32, kind: PageblockKind, frame: u32, order: u32) {
        debug_assert!(
            !self.block(pageblock).is_free(order, frame),
            "I-BUDDY: a block is free once"
        );
        self.block(pageblock).flip(order, frame);
        self.block(pageblock).add_to(LISTED_COUNT, 1 << order);
        self.forest.insert(tree(kind, order), pageblock as usize);
    }

    fn unlist(&mut self, pageblock: u32, kind: PageblockKind, frame: u32, order: u32) {
        self.block(pageblock).flip(order, frame);
        self.block(pageblock).take_from(LISTED_COUNT, 1 << order);
        if self.block(pageblock).first_free(order).is_none() {
            self.forest.remove(tree(kind, order), pageblock as usize);
        }
    }

    pub(crate) fn put(&mut self, start: FrameNo, order: u32) {
        self.put_range(start, 1 << order);
    }

    /// Lists a free block, merged with its free buddies.
    fn merge(&mut self, start: FrameNo, order: u32) {
        let pageblock = start.pageblock();
        let kind = self.kind_of(pageblock).expect("a pageblock in use has a kind");
        let (mut frame, mut order) = (start.in_pageblock(), order);
        debug_assert!(frame.is_multiple_of(1 << order), "a block starts at a multiple of its size");
        while order < PAGEBLOCK_ORDER && self.block(pageblock).is_free(order, frame ^ (1 << order))
        {
            self.unlist(pageblock, kind, frame ^ (1 << order), order);
            frame &= !(1 << order);
            order += 1;
        }
        if order == PAGEBLOCK_ORDER {
            self.put_entirely_free(pageblock);
        } else {
            self.list(pageblock, kind, frame, order);
        }
    }

    fn put_entirely_free(&mut self, pageblock: u32) {
        self.block(pageblock).set(KIND, 0);
        self.forest.insert(ENTIRELY_FREE, pageblock as usize);
        if self.block(pageblock).count_touched(0, PAGEBLOCK_FRAMES) > 0 {
            self.free_touched += 1;
        }
    }

    /// Frees a run of one pageblock. Isolated frames go to no list.
    pub(crate) fn put_range(&mut self, start: FrameNo, frames: u32) {
        let (pageblock, first) = (start.pageblock(), start.in_pageblock());
        let block = self.block(pageblock);
        if block.get(ISOLATED_COUNT) == 0 {
            self.put_free(start, frames);
            return;
        }
        let mut free = Vec::new();
        block.runs(ISOLATED, first, frames, |frame, frames, isolated| {
            if isolated {
                debug_assert!(
                    block.count(ISOLATED_FREE, frame, frames) == 0,
                    "I-ISOLATED: an isolated frame becomes free once"
                );
                block.mark(ISOLATED_FREE, frame, frames);
            } else {
                free.push((FrameNo(pageblock * PAGEBLOCK_FRAMES + frame), frames));
            }
        });
        for (start, frames) in free {
            self.put_free(start, frames);
        }
    }

    fn put_free(&mut self, start: FrameNo, frames: u32) {
        let (mut at, end) = (start.0, start.0 + frames);
        while at < end {
            let order = at.trailing_zeros().min((end - at).ilog2());
            self.merge(FrameNo(at), order);
            at += 1 << order;
        }
    }

    /// Frames of a run that are not charged.
    pub(crate) fn untouched(&self, start: FrameNo, frames: u32) -> u32 {
        frames - self.block(start.pageblock()).count_touched(start.in_pageblock(), frames)
    }

    pub(crate) fn touch(&mut self, start: FrameNo, frames: u32) {
        self.block(start.pageblock()).mark(TOUCHED, start.in_pageblock(), frames);
    }

    /// Returns how many were charged.
    pub(crate) fn untouch(&mut self, start: FrameNo, frames: u32) -> u32 {
        let (block, first) = (self.block(start.pageblock()), start.in_pageblock());
        let touched = block.count_touched(first, frames);
        block.clear(TOUCHED, first, frames);
        touched
    }
}
