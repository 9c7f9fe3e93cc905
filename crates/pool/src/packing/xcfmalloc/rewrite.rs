//! Replacing and freeing blocks.
//!
//! One exchange of the handle entry decides which thread frees; `free` takes no guard. Filling a freed block takes its
//! frame's write guard, so readers keep its bytes.

use pagefold_frame::ReserveAccess;

use super::{
    Xcfmalloc,
    chain::{BlockChain, ChainBlock},
    header::{Broken, PARANOID, is_intact},
    lists::FramesToFree,
    reservation::BlockReservation,
};
use crate::engine::Found;

/// Enough for a burst of stores.
const WHOLE_KEPT: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replaced {
    All,
    /// Its number in the chain.
    Block(usize),
}

impl Xcfmalloc {
    /// Whether this access may take a frame of the reserve.
    pub(super) fn allows(&self, access: ReserveAccess) -> bool {
        self.base.memory.allows(access)
    }

    /// None stay above the normal limit.
    pub(super) fn keep(&self) -> usize {
        if self.allows(ReserveAccess::Normal) { WHOLE_KEPT } else { 0 }
    }

    pub(super) fn vacate(&self, found: &Found<'_>) {
        let index = found.index;
        let mut locked = self.frames.lock();
        let chain = self.sides.chain(index, found.location);
        let chain = chain.expect("I-CHAIN: the side words are those of the entry");
        let broken = self.find_broken(index, &chain);
        locked.lists.split_objects -= usize::from(chain.is_split());
        let (keep, mut frames_to_free) = (self.keep(), FramesToFree::none());
        for block in chain.blocks() {
            locked.give(block.id, block.unit, keep, &mut frames_to_free);
        }
        self.sides.clear(index);
        drop(locked);
        self.frames.reap(&frames_to_free);
        self.base.counters.remove_payload(chain.len());
        self.base.handles.give_back(index);
        if let Some(broken) = broken {
            panic!("{broken}");
        }
    }

    fn find_broken(&self, index: u32, chain: &BlockChain) -> Option<Broken> {
        let broken = |block: &&ChainBlock| {
            let guard = self.frames.slab.try_read(block.id);
            guard.is_ok_and(|guard| !is_intact(block.header(guard.parts().1), index))
        };
        let block = chain.blocks().iter().filter(|_| PARANOID).find(broken)?;
        Some(Broken { index, frame: block.id, offset: block.offset() })
    }

    /// Makes entry and side words name the reservation's blocks, and frees the replaced ones; the caller reaps. `None`:
    /// the entry changed.
    ///
    /// I-RELOCATE: the reservation has write guards of its frames until both are changed. If the first block stays, the
    /// caller has the write guard of its frame.
    pub(super) fn switch<'a>(
        &'a self,
        found: &Found<'_>,
        mut reservation: BlockReservation<'a>,
        replaced: Replaced,
        keep: usize,
    ) -> Option<FramesToFree> {
        let mut locked = self.frames.lock();
        // Under this lock the words are the entry's if it is unchanged.
        let old = self.sides.chain(found.index, found.location);
        let new = old.map(|old| match replaced {
            Replaced::All => reservation.chain,
            Replaced::Block(at) => old.spliced(at, reservation.chain.blocks()),
        });
        let switched = old.zip(new).filter(|(_, new)| {
            let to = new.location();
            // A later free finds the new words under the lock.
            if to == found.location { found.is_current() } else { found.relocate(to) }
        });
        let Some((old, new)) = switched else {
            let frames_to_free = reservation.start_over(&mut locked, self.keep());
            drop(locked);
            self.frames.reap(&frames_to_free);
            reservation.retire_spares();
            return None;
        };
        self.sides.store(found.index, &new);
        locked.lists.split_objects += usize::from(new.is_split());
        locked.lists.split_objects -= usize::from(old.is_split());
        let mut frames_to_free = FramesToFree::none();
        let replaced = match replaced {
            Replaced::All => old.blocks(),
            Replaced::Block(at) => &old.blocks()[at..=at],
        };
        for block in replaced {
            locked.give(block.id, block.unit, keep, &mut frames_to_free);
        }
        Some(frames_to_free)
    }

    pub(super) fn empty_reserve(&self) {
        loop {
            let frames_to_free = self.frames.lock().take_reserve();
            let Some(frames_to_free) = frames_to_free else { return };
            self.frames.reap(&frames_to_free);
        }
    }
}
