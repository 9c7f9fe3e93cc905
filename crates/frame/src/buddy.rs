//! The buddy allocator: which frames are free, by pageblock, order and kind.
//!
//! ```text
//!  pageblock words (512 bytes)   0..16  free blocks: a bit for each block of each order (512 + 256 + .. + 1)
//!                               16..24  touched frames: may be resident, and are charged
//!                               24..32  held frames: whoever evacuates them gets them when they become free
//!                               32..40  captured frames: held, and free
//!                               40..44  kind + 1, or 0 while the pageblock is whole; counts of free frames on lists,
//!                                       of held and of claimed frames
//!  forest of pageblock numbers   kind x order: pageblocks with a free block of that order;  ENTIRELY_FREE: all free
//! ```
//! A pageblock belongs to one *kind* while anything in it is in use: single frames stay away from longer runs, so
//! that runs do not fragment, and pinned descriptors from movable ones. Allocation takes the smallest sufficient
//! order and of that the lowest pageblock, so that high pageblocks empty out. A block that becomes whole loses its
//! kind.
//!
//! A range that is being evacuated is *held*: what is free in it comes off the lists, what becomes free does not get
//! on them. So it can only get emptier. In the end it is claimed, or released and free like any other.
//!
//! # Invariants
//! - A frame is in at most one free block, and two free buddies of one order do not exist (I-BUDDY).
//! - A whole pageblock has no free bits set; being in ENTIRELY_FREE says it all.
//! - Touched frames are exactly the charged ones (I-TOUCH).
//! - A captured frame is held and on no list; only whoever holds the range hands it on (I-HELD).
//!
//! All of it lies under one lock of the [arena](crate::Arena)'s; source of the idea: Knowlton's buddy system, with
//! bitmaps in place of lists so that freed frames are never written.

mod isolate;

use std::sync::{Arc, atomic::Ordering};

use crate::{
    BitForest, FrameCount, FrameNo, MemoryBudget, Mobility, OutOfFrames, PAGEBLOCK_FRAMES,
    ReserveAccess, SourceError,
    table::{Entry, GuardedU64, Table},
    units::PAGEBLOCK_ORDER,
};

const ORDERS: usize = PAGEBLOCK_ORDER as usize + 1;
const KINDS: usize = 4;
const ENTIRELY_FREE: usize = KINDS * ORDERS;
const TREES: usize = ENTIRELY_FREE + 1;
const TOUCHED: usize = 16;
const ISOLATED: usize = 24;
const ISOLATED_FREE: usize = 32;
const KIND: usize = 40;
const LISTED_COUNT: usize = 41;
const ISOLATED_COUNT: usize = 42;
const CONTIGUOUS_COUNT: usize = 43;
const WORDS: usize = 64;

/// What a pageblock is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    MovableSingle,
    MovableRun,
    PinnedSingle,
    PinnedRun,
}

impl Kind {
    /// The kind of pageblocks that runs of this length come from.
    pub(crate) fn of(mobility: Mobility, frames: FrameCount) -> Self {
        match (mobility, frames) {
            (Mobility::Movable, FrameCount::ONE) => Self::MovableSingle,
            (Mobility::Movable, _) => Self::MovableRun,
            (Mobility::Pinned, FrameCount::ONE) => Self::PinnedSingle,
            (Mobility::Pinned, _) => Self::PinnedRun,
        }
    }

    fn tree(self, order: u32) -> usize {
        self as usize * ORDERS + order as usize
    }
}

/// The words of one pageblock; see the module.
#[derive(Debug)]
pub(crate) struct BlockWords([GuardedU64; WORDS]);

// SAFETY: an array of integers, 512 bytes.
unsafe impl Entry for BlockWords {
    #[cfg(loom)]
    fn vacant() -> Self {
        Self(std::array::from_fn(|_| GuardedU64::new(0)))
    }
}

// ORDERING (this file): Relaxed; every access is under the arena's lock, which the `&mut self` of `Buddy` stands for.
impl BlockWords {
    fn get(&self, word: usize) -> u64 {
        self.0[word].load(Ordering::Relaxed)
    }

    fn set(&self, word: usize, value: u64) {
        self.0[word].store(value, Ordering::Relaxed);
    }

    /// Where the bits of an order start.
    fn bits_of(order: u32) -> u32 {
        // 512 + 256 + .. down to the order before.
        2 * PAGEBLOCK_FRAMES - ((2 * PAGEBLOCK_FRAMES) >> order)
    }

    fn flip(&self, order: u32, frame: u32) {
        let bit = Self::bits_of(order) + (frame >> order);
        let word = (bit / 64) as usize;
        self.set(word, self.get(word) ^ 1 << (bit % 64));
    }

    fn is_free(&self, order: u32, frame: u32) -> bool {
        let bit = Self::bits_of(order) + (frame >> order);
        self.get((bit / 64) as usize) >> (bit % 64) & 1 == 1
    }

    /// The first frame, within the pageblock, of the lowest free block of an order.
    fn first_free(&self, order: u32) -> Option<u32> {
        let (start, count) = (Self::bits_of(order), PAGEBLOCK_FRAMES >> order);
        let mut bit = start;
        while bit < start + count {
            let in_word = bit % 64;
            let width = (64 - in_word).min(start + count - bit);
            let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
            let bits = self.get((bit / 64) as usize) >> in_word & mask;
            if bits != 0 {
                return Some((bit + bits.trailing_zeros() - start) << order);
            }
            bit += width;
        }
        None
    }

    /// Calls `f` with word and mask for each word of a bitmap of frames (`base` is its first) that a range meets.
    fn words_of(base: usize, frame: u32, frames: u32, mut f: impl FnMut(usize, u64)) {
        let (mut at, end) = (frame, frame + frames);
        while at < end {
            let width = (64 - at % 64).min(end - at);
            let mask = if width == 64 { u64::MAX } else { ((1 << width) - 1) << (at % 64) };
            f(base + (at / 64) as usize, mask);
            at += width;
        }
    }

    fn count(&self, base: usize, frame: u32, frames: u32) -> u32 {
        let mut count = 0;
        Self::words_of(base, frame, frames, |word, mask| {
            count += (self.get(word) & mask).count_ones();
        });
        count
    }

    fn count_touched(&self, frame: u32, frames: u32) -> u32 {
        self.count(TOUCHED, frame, frames)
    }

    fn mark(&self, base: usize, frame: u32, frames: u32) {
        Self::words_of(base, frame, frames, |word, mask| self.set(word, self.get(word) | mask));
    }

    fn clear(&self, base: usize, frame: u32, frames: u32) {
        Self::words_of(base, frame, frames, |word, mask| self.set(word, self.get(word) & !mask));
    }

    fn bit(&self, base: usize, frame: u32) -> bool {
        self.get(base + (frame / 64) as usize) >> (frame % 64) & 1 == 1
    }

    /// The frames of a range in runs that are alike in a bitmap: `f` gets start, length, and whether they are set.
    fn runs(&self, base: usize, frame: u32, frames: u32, mut f: impl FnMut(u32, u32, bool)) {
        let (mut at, end) = (frame, frame + frames);
        while at < end {
            let set = self.bit(base, at);
            let mut next = at + 1;
            while next < end && self.bit(base, next) == set {
                next += 1;
            }
            f(at, next - at, set);
            at = next;
        }
    }

    fn add_to(&self, counter: usize, frames: u32) {
        self.set(counter, self.get(counter) + u64::from(frames));
    }

    fn take_from(&self, counter: usize, frames: u32) {
        let before = self.get(counter);
        debug_assert!(before >= u64::from(frames), "I-BUDDY: a count of frames falls below 0");
        self.set(counter, before - u64::from(frames));
    }
}

/// A block of frames out of the allocator's hands for a moment, to be given back to the system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FreeBlock {
    pub(crate) start: FrameNo,
    pub(crate) order: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Buddy {
    blocks: Table<BlockWords>,
    forest: BitForest,
    /// Pageblocks in use so far; those beyond were never committed.
    high_water_mark: u32,
    capacity: u32,
    /// Whole pageblocks with touched frames.
    free_touched: u32,
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
        self.blocks.get(pageblock as usize).expect("a pageblock below the high_water_mark")
    }

    fn kind_of(&self, pageblock: u32) -> Option<Kind> {
        match self.block(pageblock).get(KIND) {
            1 => Some(Kind::MovableSingle),
            2 => Some(Kind::MovableRun),
            3 => Some(Kind::PinnedSingle),
            4 => Some(Kind::PinnedRun),
            _ => None,
        }
    }

    pub(crate) fn is_entirely_free(&self, pageblock: usize) -> bool {
        pageblock >= self.high_water_mark as usize || self.forest.contains(ENTIRELY_FREE, pageblock)
    }

    /// Takes a block of `order`. `open` is called to make a pageblock usable that holds nothing so far.
    pub(crate) fn take(
        &mut self,
        kind: Kind,
        order: u32,
        access: ReserveAccess,
        open: &mut dyn FnMut(u32) -> Result<(), OutOfFrames>,
    ) -> Result<FrameNo, OutOfFrames> {
        let listed = (order..PAGEBLOCK_ORDER).find_map(|have| self.forest.first(kind.tree(have)));
        if let Some(pageblock) = listed {
            let pageblock = u32::try_from(pageblock).expect("fewer than 2^32 pageblocks");
            return Ok(self.take_in(pageblock, kind, order).expect("the forest says there is one"));
        }
        let pageblock = self.take_entirely_free(kind, access, open)?;
        Ok(self.split(pageblock, kind, 0, PAGEBLOCK_ORDER, order))
    }

    /// Takes a block of `order` in a pageblock of `kind`, from the smallest sufficient free one, if there is any.
    pub(crate) fn take_in(&mut self, pageblock: u32, kind: Kind, order: u32) -> Option<FrameNo> {
        let have = (order..PAGEBLOCK_ORDER)
            .find(|&have| self.forest.contains(kind.tree(have), pageblock as usize))?;
        let frame = self.block(pageblock).first_free(have).expect("the forest says there is one");
        self.unlist(pageblock, kind, frame, have);
        Some(self.split(pageblock, kind, frame, have, order))
    }

    /// Lists what a block of order `have` has beyond one of `order`.
    fn split(&mut self, pageblock: u32, kind: Kind, frame: u32, have: u32, order: u32) -> FrameNo {
        for half in (order..have).rev() {
            self.list(pageblock, kind, frame + (1 << half), half);
        }
        FrameNo(pageblock * PAGEBLOCK_FRAMES + frame)
    }

    /// A whole pageblock for `kind`: one that was used before, or the next at the high_water_mark.
    fn take_entirely_free(
        &mut self,
        kind: Kind,
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

    /// The next pageblock at the high_water_mark, whole.
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

    /// Puts a free block on its list.
    fn list(&mut self, pageblock: u32, kind: Kind, frame: u32, order: u32) {
        debug_assert!(
            !self.block(pageblock).is_free(order, frame),
            "I-BUDDY: a block is free once"
        );
        self.block(pageblock).flip(order, frame);
        self.block(pageblock).add_to(LISTED_COUNT, 1 << order);
        self.forest.insert(kind.tree(order), pageblock as usize);
    }

    /// Takes a free block off its list.
    fn unlist(&mut self, pageblock: u32, kind: Kind, frame: u32, order: u32) {
        self.block(pageblock).flip(order, frame);
        self.block(pageblock).take_from(LISTED_COUNT, 1 << order);
        if self.block(pageblock).first_free(order).is_none() {
            self.forest.remove(kind.tree(order), pageblock as usize);
        }
    }

    /// Returns a block.
    pub(crate) fn put(&mut self, start: FrameNo, order: u32) {
        self.put_range(start, 1 << order);
    }

    /// Lists a free block, merging it with free buddies as far as they go.
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

    /// Returns any run of frames of one pageblock. Held ones are captured.
    pub(crate) fn put_range(&mut self, start: FrameNo, frames: u32) {
        let (pageblock, first) = (start.pageblock(), start.in_pageblock());
        let block = self.block(pageblock);
        if block.get(ISOLATED_COUNT) == 0 {
            self.put_free(start, frames);
            return;
        }
        let mut free = Vec::new();
        block.runs(ISOLATED, first, frames, |frame, frames, held| {
            if held {
                debug_assert!(
                    block.count(ISOLATED_FREE, frame, frames) == 0,
                    "I-HELD: a frame is captured once"
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

    /// Lists a run of frames of one pageblock, as the blocks that it is made of.
    fn put_free(&mut self, start: FrameNo, frames: u32) {
        let (mut at, end) = (start.0, start.0 + frames);
        while at < end {
            let order = at.trailing_zeros().min((end - at).ilog2());
            self.merge(FrameNo(at), order);
            at += 1 << order;
        }
    }

    /// How many frames of a run are not charged yet.
    pub(crate) fn untouched(&self, start: FrameNo, frames: u32) -> u32 {
        frames - self.block(start.pageblock()).count_touched(start.in_pageblock(), frames)
    }

    /// Marks a run as charged.
    pub(crate) fn touch(&mut self, start: FrameNo, frames: u32) {
        self.block(start.pageblock()).mark(TOUCHED, start.in_pageblock(), frames);
    }

    /// Marks frames of one pageblock as not charged; returns how many were.
    pub(crate) fn untouch(&mut self, start: FrameNo, frames: u32) -> u32 {
        let (block, first) = (self.block(start.pageblock()), start.in_pageblock());
        let touched = block.count_touched(first, frames);
        block.clear(TOUCHED, first, frames);
        touched
    }

    /// Takes free blocks of a pageblock that have touched frames out of the allocator, and appends them.
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
            if !self.forest.contains(kind.tree(order), pageblock as usize) {
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

    /// Takes one whole pageblock with touched frames out of the allocator, the highest-numbered that is found.
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

    /// Puts an isolated block back; `given_back` says whether its frames are gone from the resident set. Returns how
    /// many frames are to be uncharged.
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

    /// Checks I-BUDDY and I-TOUCH; returns the free frames and the touched frames below the high_water_mark.
    pub(crate) fn audit(&self) -> Result<(u64, u64), String> {
        let (mut free, mut touched, mut free_touched) = (0, 0, 0);
        for pageblock in 0..self.high_water_mark {
            let block = self.block(pageblock);
            let in_block = block.count_touched(0, PAGEBLOCK_FRAMES);
            touched += u64::from(in_block);
            if block.get(ISOLATED_COUNT) != 0
                || block.count(ISOLATED_FREE, 0, PAGEBLOCK_FRAMES) != 0
            {
                return Err(format!("I-HELD: pageblock {pageblock} is held in a quiet arena"));
            }
            let Some(kind) = self.kind_of(pageblock) else {
                if !self.forest.contains(ENTIRELY_FREE, pageblock as usize) {
                    return Err(format!(
                        "I-BUDDY: pageblock {pageblock} has no kind and is not whole"
                    ));
                }
                free += u64::from(PAGEBLOCK_FRAMES);
                free_touched += u32::from(in_block > 0);
                continue;
            };
            let before = free;
            let mut covered = [false; PAGEBLOCK_FRAMES as usize];
            for order in 0..PAGEBLOCK_ORDER {
                let listed = self.forest.contains(kind.tree(order), pageblock as usize);
                if listed != block.first_free(order).is_some() {
                    return Err(format!(
                        "I-BUDDY: order {order} of pageblock {pageblock} is listed wrongly"
                    ));
                }
                for frame in (0..PAGEBLOCK_FRAMES)
                    .step_by(1 << order)
                    .filter(|&frame| block.is_free(order, frame))
                {
                    if block.is_free(order, frame ^ (1 << order)) {
                        return Err(format!(
                            "I-BUDDY: unmerged buddies at frame {frame} of pageblock {pageblock}"
                        ));
                    }
                    for place in &mut covered[frame as usize..(frame + (1 << order)) as usize] {
                        if std::mem::replace(place, true) {
                            return Err(format!(
                                "I-BUDDY: frame {frame} of pageblock {pageblock} is free twice"
                            ));
                        }
                    }
                    free += 1 << order;
                }
            }
            if free - before != block.get(LISTED_COUNT) {
                return Err(format!(
                    "I-BUDDY: {} frames of pageblock {pageblock} are free, {} counted",
                    free - before,
                    block.get(LISTED_COUNT)
                ));
            }
        }
        if free_touched != self.free_touched {
            return Err(format!(
                "I-TOUCH: {free_touched} whole pageblocks are touched, not {}",
                self.free_touched
            ));
        }
        Ok((free, touched))
    }
}
