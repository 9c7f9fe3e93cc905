//! A chain under construction: blocks with write guards of their frames, named by no entry yet. Under these guards,
//! either an entry comes to name them or all go back.

use pagefold_frame::DescriptorId;

use super::{
    blocks::{MAX_BLOCKS, UNITS},
    chain::{BlockChain, ChainBlock},
    header::{capacity, units_for, write_header},
    lists::{FrameGuard, FramesToFree, Locked},
};
use crate::engine::Content;

const CANDIDATES: usize = 4;

#[derive(Debug)]
pub(super) struct BlockReservation<'a> {
    pub(super) chain: BlockChain,
    guards: [Option<LockedFrame<'a>>; MAX_BLOCKS],
    /// New frames, on no list.
    spares: [Option<FrameGuard<'a>>; MAX_BLOCKS],
    len: usize,
    blocks: usize,
    rest: usize,
    left: usize,
    pub(super) met_busy: bool,
    /// Frames that were entirely free, or new.
    pub(super) whole_taken: usize,
}

#[derive(Debug)]
struct LockedFrame<'a> {
    guard: FrameGuard<'a>,
    is_new: bool,
}

impl<'a> BlockReservation<'a> {
    pub(super) fn new(len: usize, blocks: usize) -> Self {
        Self {
            chain: BlockChain::empty(),
            guards: [const { None }; MAX_BLOCKS],
            spares: [const { None }; MAX_BLOCKS],
            len,
            blocks,
            rest: len,
            left: blocks,
            met_busy: false,
            whole_taken: 0,
        }
    }

    pub(super) fn rest(&self) -> usize {
        self.rest
    }

    pub(super) fn left(&self) -> usize {
        self.left
    }

    fn guard(&mut self, id: DescriptorId) -> Option<&mut FrameGuard<'a>> {
        self.guards
            .iter_mut()
            .flatten()
            .map(|locked| &mut locked.guard)
            .find(|guard| guard.id() == id)
    }

    fn keep_locked(&mut self, guard: FrameGuard<'a>, is_new: bool) {
        let slot = self.guards.iter_mut().find(|slot| slot.is_none());
        *slot.expect("a reservation locks no more frames than blocks") =
            Some(LockedFrame { guard, is_new });
    }

    pub(super) fn keep_spare(&mut self, guard: FrameGuard<'a>) {
        let slot = self.spares.iter_mut().find(|slot| slot.is_none());
        *slot.expect("a reservation asks for no more frames than blocks") = Some(guard);
    }

    pub(super) fn retire_spares(&mut self) {
        self.spares.iter_mut().filter_map(Option::take).for_each(FrameGuard::retire);
    }

    /// `false`: no such block, or the first few frames are locked.
    pub(super) fn take(&mut self, locked: &mut Locked<'a>, size: u32) -> bool {
        let mut from = 0;
        for _ in 0..CANDIDATES {
            let Some(id) = locked.find(size, from) else { return false };
            from = id.get() + 1;
            if self.guard(id).is_none() {
                match locked.try_write(id) {
                    Ok(guard) => self.keep_locked(guard, false),
                    Err(_) => {
                        self.met_busy = true;
                        continue;
                    }
                }
            }
            let len = self.rest.min(capacity(size));
            let unit = locked.take(id, size, units_for(len));
            self.whole_taken += usize::from(size == UNITS);
            self.add(ChainBlock { id, unit, len });
            return true;
        }
        false
    }

    pub(super) fn take_largest(&mut self, locked: &mut Locked<'a>, mut sizes: u64) -> bool {
        while let Some(size) = sizes.checked_ilog2() {
            if self.take(locked, size + 1) {
                return true;
            }
            sizes &= !(1 << size);
        }
        false
    }

    pub(super) fn take_smallest(&mut self, locked: &mut Locked<'a>, mut sizes: u64) -> bool {
        while sizes != 0 {
            if self.take(locked, sizes.trailing_zeros() + 1) {
                return true;
            }
            sizes &= sizes - 1;
        }
        false
    }

    pub(super) fn take_spare(&mut self, locked: &mut Locked<'a>) -> bool {
        let Some(guard) = self.spares.iter_mut().find_map(Option::take) else { return false };
        let (id, len) = (guard.id(), self.rest.min(pagefold_frame::FRAME_BYTES));
        self.keep_locked(guard, true);
        let unit = locked.take_new(id, units_for(len));
        self.whole_taken += 1;
        self.add(ChainBlock { id, unit, len });
        true
    }

    fn add(&mut self, block: ChainBlock) {
        self.chain.push(block);
        self.rest -= block.len;
        self.left -= 1;
    }

    pub(super) fn fill(&mut self, index: u32, content: Content<'_>) {
        let (chain, mut done) = (self.chain, 0);
        for block in chain.blocks() {
            let guard = self.guard(block.id).expect("a reservation locks the frames of its blocks");
            let (header, payload) = block.split(guard.parts().1);
            write_header(header, index);
            content.copy_to(done, payload);
            done += block.len;
        }
    }

    /// New frames become spares.
    pub(super) fn start_over(&mut self, locked: &mut Locked<'a>, keep: usize) -> FramesToFree {
        let fresh = Self::new(self.len, self.blocks);
        let Self { chain, guards, spares, met_busy, .. } = std::mem::replace(self, fresh);
        (self.spares, self.met_busy) = (spares, met_busy);
        let mut frames_to_free = FramesToFree::none();
        for block in chain.blocks() {
            locked.give(block.id, block.unit, keep, &mut frames_to_free);
        }
        for LockedFrame { guard, is_new } in guards.into_iter().flatten() {
            if is_new {
                locked.withdraw(guard.id(), &mut frames_to_free);
                self.keep_spare(guard);
            }
        }
        frames_to_free
    }
}
