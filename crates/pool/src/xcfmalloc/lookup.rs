//! From an index to the bytes of its object, held. (I-LOOKUP, for chains)
//!
//! 1. The entry is loaded. It says the first block and how many there are.
//! 2. The first block's frame is held.
//! 3. The side words are loaded, and the frames of the other blocks are held as they say.
//! 4. The entry is loaded again. If it is not the same word, everything is let go: back to 1.
//!
//! *Why the words of step 3 are those of the entry.* Whoever changes entry or words of a live object holds, for writing
//! and until both are changed, the frame of the block that is the first one afterwards (I-RELOCATE). So while the frame
//! of step 2 is held nobody makes the entry say a block of it, and nobody changes the words of an entry that says one.
//! If the entry is the same in step 4, it was so ever since step 2, and so were the words. *Why the bytes stay.* At
//! step 4 the object lay where entry and words say, and all its frames are held; they are written by whoever holds
//! them for writing, and by nobody else. If the object is freed or moved after that, its blocks are filled anew only
//! after the hold.

use pagefold_frame::{DescriptorId, LockError, ReadGuard};
#[cfg(loom)]
use pagefold_sys::sync;

use super::{
    MAX_BLOCKS, Xcfmalloc,
    chain::{Chain, Part, first_of},
    header::{Broken, PARANOID, is_intact},
    lists::FrameGuard,
};
use crate::{
    Handle, Slices, TryReadError,
    entries::{Entry, EntryCell, Place},
};

/// A frame held for reading.
type FrameReader<'a> = ReadGuard<'a, (), { super::lists::WORDS }>;

/// Why a look-up came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missed {
    /// A frame is held for writing, and the look-up does not wait.
    Busy,
    /// The object was freed or moved after its entry was loaded.
    Changed,
}

/// An object whose frames are held for reading.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) chain: Chain,
    first: FrameReader<'a>,
    others: [Option<FrameReader<'a>>; MAX_BLOCKS - 1],
}

impl Reading<'_> {
    fn frame(&self, number: usize) -> &[u8] {
        let guard = match number.checked_sub(1) {
            None => &self.first,
            Some(other) => self.others[other].as_ref().expect("each block's frame is held"),
        };
        guard.parts().1
    }

    /// Calls `f` with the object's bytes.
    ///
    /// # Panics
    /// If a sentinel is broken, where there are any.
    #[inline]
    pub(super) fn with_slices<R>(&self, index: u32, f: impl FnOnce(Slices<'_>) -> R) -> R {
        let parts = self.chain.parts();
        let slice = |number: usize, part: &Part| -> &[u8] {
            let frame = self.frame(number);
            if PARANOID && !is_intact(part.header(frame), index) {
                panic!("{}", Broken { index, frame: part.id, offset: part.offset() });
            }
            part.payload(frame)
        };
        if let [part] = parts {
            return f(Slices::new(&[slice(0, part)]));
        }
        let mut slices: [&[u8]; MAX_BLOCKS] = [&[]; MAX_BLOCKS];
        for (number, part) in parts.iter().enumerate() {
            slices[number] = slice(number, part);
        }
        f(Slices::new(&slices[..parts.len()]))
    }
}

/// An object whose frames are held for writing.
#[derive(Debug)]
pub(super) struct Writing<'a> {
    pub(super) chain: Chain,
    held: [Option<FrameGuard<'a>>; MAX_BLOCKS],
}

impl Writing<'_> {
    /// The bytes of the frame that a block lies in.
    pub(super) fn frame(&mut self, part: Part) -> &mut [u8] {
        let guard = self.held.iter_mut().flatten().find(|guard| guard.id() == part.id);
        guard.expect("each block's frame is held").parts().1
    }
}

impl Xcfmalloc {
    /// Calls `f` with the bytes of an object, whose frames are held by `hold`.
    #[inline]
    pub(super) fn visit<'a>(
        &'a self,
        handle: Handle,
        hold: impl Fn(DescriptorId) -> Result<FrameReader<'a>, LockError>,
        f: impl FnOnce(Slices<'_>),
    ) -> Result<(), TryReadError> {
        loop {
            let (cell, entry, place) = self.base.entry(handle)?;
            match self.hold_chain(self.base.entries.index(handle), cell, entry, place, &hold) {
                Ok(reading) => {
                    reading.with_slices(self.base.entries.index(handle), f);
                    return Ok(());
                }
                Err(Missed::Busy) => return Err(TryReadError::WouldBlock),
                Err(Missed::Changed) => {}
            }
            #[cfg(loom)]
            sync::yield_now();
        }
    }

    /// Holds all frames of an object for reading, if its entry is still this one.
    #[inline]
    pub(super) fn hold_chain<'a>(
        &'a self,
        index: u32,
        cell: EntryCell<'_>,
        entry: Entry,
        place: Place,
        hold: &impl Fn(DescriptorId) -> Result<FrameReader<'a>, LockError>,
    ) -> Result<Reading<'a>, Missed> {
        let missed = |refusal| match refusal {
            LockError::Busy => Missed::Busy,
            LockError::Gone => Missed::Changed,
        };
        let first = hold(first_of(place).0).map_err(missed)?;
        // Of another object's words nothing may come out, or anything.
        let Some(chain) = self.sides.chain(index, place) else {
            assert!(cell.load() != entry, "I-CHAIN: the side words of index {index} make no chain");
            return Err(Missed::Changed);
        };
        let mut others = [const { None }; MAX_BLOCKS - 1];
        for (other, part) in others.iter_mut().zip(&chain.parts()[1..]) {
            *other = Some(hold(part.id).map_err(missed)?);
        }
        if cell.load() != entry {
            return Err(Missed::Changed);
        }
        Ok(Reading { chain, first, others })
    }

    /// Holds all frames of an object for writing. `None`: somebody holds one, or the entry is another by now.
    pub(super) fn try_hold_for_writing(
        &self,
        index: u32,
        cell: EntryCell<'_>,
        entry: Entry,
        place: Place,
    ) -> Option<Writing<'_>> {
        let mut held = [const { None::<FrameGuard<'_>> }; MAX_BLOCKS];
        held[0] = Some(self.frames.slab.try_write(first_of(place).0).ok()?);
        let chain = self.sides.chain(index, place)?;
        for (number, part) in chain.parts().iter().enumerate().skip(1) {
            // Two blocks may lie in one frame.
            if !held.iter().flatten().any(|guard| guard.id() == part.id) {
                held[number] = Some(self.frames.slab.try_write(part.id).ok()?);
            }
        }
        (cell.load() == entry).then_some(Writing { chain, held })
    }
}
