//! From an entry to the bytes of its object, under guards of all its frames. (I-LOOKUP, for chains)
//!
//! 1. Load the entry: first block and number of blocks.
//! 2. Lock the first block's frame.
//! 3. Load the side words; lock the other blocks' frames.
//! 4. Load the entry again. If it changed, drop all guards and look up again.
//!
//! *Why the words fit the entry.* A thread that changes entry or words of a live object has, until both are changed,
//! the write guard of the new first block's frame (I-RELOCATE). So after step 2 no thread makes the entry name a block
//! of that frame, or changes the words of an entry that does. The same entry in step 4 means that neither changed since
//! step 2. *Why the bytes stay.* All frames are locked at step 4; if the object is freed or moved later, its blocks are
//! filled only after these guards.

use pagefold_frame::{LockError, ReadGuard};

use super::{
    Xcfmalloc,
    blocks::MAX_BLOCKS,
    chain::{BlockChain, ChainBlock, first_of},
    header::{Broken, PARANOID, is_intact},
    lists::{FrameGuard, WORDS},
};
use crate::{
    engine::{Found, Wait},
    slices::Slices,
};

type FrameReader<'a> = ReadGuard<'a, (), WORDS>;

#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) chain: BlockChain,
    first: FrameReader<'a>,
    others: [Option<FrameReader<'a>>; MAX_BLOCKS - 1],
}

impl Reading<'_> {
    fn frame(&self, number: usize) -> &[u8] {
        let guard = match number.checked_sub(1) {
            None => &self.first,
            Some(other) => self.others[other].as_ref().expect("each block's frame is locked"),
        };
        guard.parts().1
    }

    /// # Panics
    /// If a sentinel is broken.
    #[inline]
    pub(super) fn with_slices<F: FnMut(Slices<'_>) + ?Sized>(&self, index: u32, f: &mut F) {
        let blocks = self.chain.blocks();
        let slice = |number: usize, block: &ChainBlock| -> &[u8] {
            let frame = self.frame(number);
            if PARANOID && !is_intact(block.header(frame), index) {
                panic!("{}", Broken { index, frame: block.id, offset: block.offset() });
            }
            block.payload(frame)
        };
        if let [block] = blocks {
            return f(Slices::new(&[slice(0, block)]));
        }
        let mut slices: [&[u8]; MAX_BLOCKS] = [&[]; MAX_BLOCKS];
        for (number, block) in blocks.iter().enumerate() {
            slices[number] = slice(number, block);
        }
        f(Slices::new(&slices[..blocks.len()]));
    }
}

#[derive(Debug)]
pub(super) struct Writing<'a> {
    pub(super) chain: BlockChain,
    guards: [Option<FrameGuard<'a>>; MAX_BLOCKS],
}

impl Writing<'_> {
    pub(super) fn frame(&mut self, block: ChainBlock) -> &mut [u8] {
        let guard = self.guards.iter_mut().flatten().find(|guard| guard.id() == block.id);
        guard.expect("each block's frame is locked").parts().1
    }
}

impl Xcfmalloc {
    /// Locks all frames if the entry is unchanged.
    #[inline]
    pub(super) fn lock_chain<N: Wait>(
        &self,
        found: &Found<'_>,
        _wait: N,
    ) -> Result<Reading<'_>, LockError> {
        let slab = &self.frames.slab;
        let lock = |id| if N::WAITS { slab.read(id) } else { slab.try_read(id) };
        let first = lock(first_of(found.location).0)?;
        // The words are another object's.
        let Some(chain) = self.sides.chain(found.index, found.location) else {
            assert!(
                !found.is_current(),
                "I-CHAIN: the side words of index {} make no chain",
                found.index
            );
            return Err(LockError::Gone);
        };
        let mut others = [const { None }; MAX_BLOCKS - 1];
        for (other, block) in others.iter_mut().zip(&chain.blocks()[1..]) {
            *other = Some(lock(block.id)?);
        }
        if found.is_current() { Ok(Reading { chain, first, others }) } else { Err(LockError::Gone) }
    }

    /// [`LockError::Busy`]: a guard is in the way; [`LockError::Gone`]: the entry changed.
    pub(super) fn try_lock_for_writing(&self, found: &Found<'_>) -> Result<Writing<'_>, LockError> {
        let refused = |_| if found.is_current() { LockError::Busy } else { LockError::Gone };
        let mut guards = [const { None::<FrameGuard<'_>> }; MAX_BLOCKS];
        let first = self.frames.slab.try_write(first_of(found.location).0);
        guards[0] = Some(first.map_err(refused)?);
        let chain = self.sides.chain(found.index, found.location).ok_or(LockError::Gone)?;
        for (number, block) in chain.blocks().iter().enumerate().skip(1) {
            // Two blocks may lie in one frame.
            if !guards.iter().flatten().any(|guard| guard.id() == block.id) {
                guards[number] = Some(self.frames.slab.try_write(block.id).map_err(refused)?);
            }
        }
        if found.is_current() { Ok(Writing { chain, guards }) } else { Err(LockError::Gone) }
    }
}
