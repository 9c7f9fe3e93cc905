//! Migration: the frames of a descriptor move, and its id stays.
//!
//! ```text
//!  isolate    the mark is set: the id stays this descriptor's, and no other mover moves it   Gone, Busy
//!  migrate    take a run to go to; try the write lock; copy; switch the place                Busy, OutOfFrames
//!  putback    the mark is cleared; a descriptor that died meanwhile is deferred
//! ```
//! Contents are position-independent, and only the descriptor says where its frames are. So one protocol serves every
//! kind: lock for writing (success *is* the proof that no thread reads), copy, change one word. It moves one *extent*:
//! a whole run, or one frame of a chain (`layout`). The mover takes the new run before the lock, so a reader waits for
//! the copy alone. If the lock is refused, the run goes back, and nothing has changed. Handles and lists name
//! descriptors by id and do not move.
//!
//! The mover leaves pending work alone: the mark for it stays, and the mover defers the descriptor when it unlocks.

use std::fmt;

use crate::{
    Arena, Busy, DescriptorId, FrameCount, FrameMigrateError, FrameNo, FrameOwner, FrameRange,
    LockError, Mobility, OutOfFrames, Slab, Tag, WriteGuard,
    layout::{FrameLayout, Run},
    slab::{Body, Descriptor, SlabConfig},
};

#[cfg(all(test, not(loom)))]
mod tests;

/// A descriptor isolated for a move; dropping it puts the descriptor back.
///
/// # Concurrency
/// Excludes other movers only. A thread that frees the descriptor meanwhile does not wait; its frames and id are given
/// back after it was put back.
pub struct Isolated<'a, M: Body, const W: usize, L: FrameLayout = Run> {
    slab: &'a Slab<M, W, L>,
    descriptor: &'a Descriptor<M, W, L>,
    id: DescriptorId,
    location: FrameRange,
}

impl<'a, M: Body, const W: usize, L: FrameLayout> Isolated<'a, M, W, L> {
    pub(crate) fn new(
        slab: &'a Slab<M, W, L>,
        descriptor: &'a Descriptor<M, W, L>,
        id: DescriptorId,
        location: FrameRange,
    ) -> Self {
        slab.arena().moves().isolated.add();
        Self { slab, descriptor, id, location }
    }

    /// Where the frames are; of a chain, where the first is and how many there are. No other thread moves them.
    pub fn frame_range(&self) -> FrameRange {
        self.location
    }

    /// The extent of a frame; its place may have to be read again under the write lock.
    fn extent_of(&self, frame: FrameNo) -> Option<u32> {
        let mut extents = 0..L::extents(self.location.frames);
        extents.find(|&number| self.extent(number).contains(frame))
    }

    fn extent(&self, number: u32) -> FrameRange {
        L::extent(&self.descriptor.further, self.location, number)
    }

    /// Moves an extent to the run that `to` gives for its length and this owner. Returns the old run, which is free
    /// again.
    ///
    /// The arena must have handed out the run for this owner just now, so no code outside this crate calls this.
    ///
    /// # Errors
    /// [`FrameMigrateError`]; nothing has changed.
    pub(crate) fn migrate(
        &mut self,
        number: u32,
        to: &mut dyn FnMut(FrameCount, FrameOwner) -> Result<FrameRange, OutOfFrames>,
    ) -> Result<FrameRange, FrameMigrateError> {
        let moves = self.slab.arena().moves();
        let moved = self.try_migrate(number, to);
        match moved {
            Ok(from) => {
                moves.migrated.add();
                moves.bytes_copied.add_many(from.frames.bytes() as u64);
            }
            Err(FrameMigrateError::Busy(busy)) => moves.note_busy(busy),
            Err(FrameMigrateError::OutOfFrames(_)) => moves.out_of_frames.add(),
            Err(FrameMigrateError::Gone) => {}
        }
        moved
    }

    fn try_migrate(
        &mut self,
        number: u32,
        to: &mut dyn FnMut(FrameCount, FrameOwner) -> Result<FrameRange, OutOfFrames>,
    ) -> Result<FrameRange, FrameMigrateError> {
        let SlabConfig { tag, mobility, .. } = *self.slab.config();
        if mobility == Mobility::Pinned {
            return Err(FrameMigrateError::Busy(Busy::Pinned));
        }
        // Hints, so that no run is taken in vain.
        if self.descriptor.state.is_dying() {
            return Err(FrameMigrateError::Gone);
        }
        if self.descriptor.state.is_locked() {
            return Err(FrameMigrateError::Busy(Busy::Locked));
        }
        let expected = self.extent(number);
        let place = to(expected.frames, FrameOwner { tag, id: self.id })?;
        let from = match self.descriptor.state.try_write_for_move() {
            Ok(location) => {
                let mut guard = WriteGuard::new(self.slab, self.descriptor, self.id, location);
                // A chain that was isolated while it was made has its place only now. (I-PIECE)
                if guard.extent(number) == expected {
                    guard.relocate(number, place)
                } else {
                    drop(guard);
                    self.slab.arena().free(place, mobility);
                    return Err(FrameMigrateError::Gone);
                }
            }
            Err(refusal) => {
                self.slab.arena().free(place, mobility);
                return Err(match refusal {
                    LockError::Gone => FrameMigrateError::Gone,
                    LockError::Busy => FrameMigrateError::Busy(Busy::Locked),
                });
            }
        };
        if number == 0 {
            self.location.start = place.start;
        }
        self.slab.arena().free(from, mobility);
        Ok(from)
    }
}

impl<M: Body, const W: usize, L: FrameLayout> Drop for Isolated<'_, M, W, L> {
    fn drop(&mut self) {
        if self.descriptor.state.putback() {
            self.slab.defer(self.id);
        }
    }
}

impl<M: Body, const W: usize, L: FrameLayout> fmt::Debug for Isolated<'_, M, W, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Isolated")
            .field("id", &self.id)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

/// The result of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrateOutcome {
    /// An extent was copied; this is its old run, now free.
    Copied(FrameRange),
    /// It was dying and not locked: it was freed.
    Freed,
}

/// Which of a descriptor's extents to move.
#[derive(Debug, Clone, Copy)]
pub enum ExtentRef {
    /// The one that this frame is in.
    Of(FrameNo),
    /// The one with this number.
    Number(u32),
}

/// Descriptors of one kind, as evacuation sees them: a [`Slab`] of any type. Only the [`Arena`](crate::Arena) can use
/// it.
pub trait Movable: sealed::Move {}

impl<M: Body, const W: usize, L: FrameLayout> Movable for Slab<M, W, L> {}

/// What evacuation does with a slab. Code outside this crate cannot name the trait, so it cannot say where frames go.
mod sealed {
    use super::{
        Busy, DescriptorId, ExtentRef, FrameCount, FrameMigrateError, FrameOwner, FrameRange,
        MigrateOutcome, OutOfFrames,
    };
    use crate::{Arena, Tag};

    pub trait Move: Sync {
        fn tag(&self) -> Tag;

        fn arena(&self) -> &Arena;

        /// Why the descriptor cannot be moved now, if so. A hint.
        fn busy(&self, id: DescriptorId) -> Option<Busy>;

        /// How many extents of a descriptor move on their own; 0 if it is gone.
        fn extents(&self, id: DescriptorId) -> u32;

        /// Moves an extent of a descriptor to the run that `to` gives, or frees the descriptor if it is dying and not
        /// locked any more.
        ///
        /// # Errors
        /// [`FrameMigrateError`]; nothing has changed. [`FrameMigrateError::Gone`] also when the descriptor has no such
        /// extent (any more).
        fn migrate(
            &self,
            id: DescriptorId,
            which: ExtentRef,
            to: &mut dyn FnMut(FrameCount, FrameOwner) -> Result<FrameRange, OutOfFrames>,
        ) -> Result<MigrateOutcome, FrameMigrateError>;
    }
}

impl<M: Body, const W: usize, L: FrameLayout> sealed::Move for Slab<M, W, L> {
    fn tag(&self) -> Tag {
        self.config().tag
    }

    fn arena(&self) -> &Arena {
        Self::arena(self)
    }

    fn busy(&self, id: DescriptorId) -> Option<Busy> {
        Self::busy(self, id)
    }

    fn extents(&self, id: DescriptorId) -> u32 {
        Self::extents(self, id).unwrap_or(0)
    }

    fn migrate(
        &self,
        id: DescriptorId,
        which: ExtentRef,
        to: &mut dyn FnMut(FrameCount, FrameOwner) -> Result<FrameRange, OutOfFrames>,
    ) -> Result<MigrateOutcome, FrameMigrateError> {
        let mut isolated = match self.isolate(id) {
            Ok(isolated) => isolated,
            Err(LockError::Gone) => {
                return if self.finish(id) {
                    Ok(MigrateOutcome::Freed)
                } else {
                    Err(FrameMigrateError::Gone)
                };
            }
            Err(LockError::Busy) => {
                Self::arena(self).moves().note_busy(Busy::Isolated);
                return Err(FrameMigrateError::Busy(Busy::Isolated));
            }
        };
        let number = match which {
            ExtentRef::Of(frame) => isolated.extent_of(frame),
            ExtentRef::Number(number) => {
                (number < L::extents(isolated.frame_range().frames)).then_some(number)
            }
        };
        isolated.migrate(number.ok_or(FrameMigrateError::Gone)?, to).map(MigrateOutcome::Copied)
    }
}
