//! Migration: the frames of a descriptor move, and its id stays.
//!
//! ```text
//!  isolate    set the mark: no other mover moves it                    Gone, Busy
//!  migrate    take a run; try the write lock; copy; switch the place   Busy, OutOfFrames
//!  putback    clear the mark; defer a descriptor that died meanwhile
//! ```
//! Contents are position-independent, and only the descriptor knows the place. A move takes one *extent* (`layout`).
//! The new run is taken before the lock, so readers wait for the copy alone. A refused lock returns the run. Pending
//! work stays marked, and unlocking defers the descriptor.

use std::fmt;

use crate::{
    Arena, Busy, DescriptorId, FrameCount, FrameMigrateError, FrameNo, FrameOwner, FrameRange,
    LockError, Mobility, OutOfFrames, Slab, Tag, WriteGuard,
    layout::{FrameLayout, Run},
    slab::{Body, Descriptor, SlabConfig},
};

#[cfg(all(test, not(loom)))]
mod tests;

/// A descriptor isolated for a move; dropping it puts it back.
///
/// # Concurrency
/// Excludes other movers only. Freeing the descriptor does not wait; its frames and id are given back after it was
/// put back.
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

    /// Its frames; of a chain, the first frame and the count. No other thread moves them.
    pub fn frame_range(&self) -> FrameRange {
        self.location
    }

    /// The place may have to be read again under the write lock.
    fn extent_of(&self, frame: FrameNo) -> Option<u32> {
        let mut extents = 0..L::extents(self.location.frames);
        extents.find(|&number| self.extent(number).contains(frame))
    }

    fn extent(&self, number: u32) -> FrameRange {
        L::extent(&self.descriptor.further, self.location, number)
    }

    /// Moves an extent to the run from `to`, which the arena has just handed out for this owner. Returns the old run,
    /// now free.
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
        // Hints that save taking a run in vain.
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
                // A chain isolated while it was made has its place only now. (I-EXTENT)
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
    /// An extent was copied from this run, now free.
    Copied(FrameRange),
    /// It was dying and unlocked: it was freed.
    Freed,
}

/// The extent to move.
#[derive(Debug, Clone, Copy)]
pub enum ExtentRef {
    /// The one with this frame.
    Of(FrameNo),
    /// The one with this number.
    Number(u32),
}

/// A [`Slab`] of any type, for evacuation by the [`Arena`](crate::Arena).
pub trait Movable: sealed::Move {}

impl<M: Body, const W: usize, L: FrameLayout> Movable for Slab<M, W, L> {}

/// Sealed: other crates cannot say where frames go.
mod sealed {
    use super::{
        Busy, DescriptorId, ExtentRef, FrameCount, FrameMigrateError, FrameOwner, FrameRange,
        MigrateOutcome, OutOfFrames,
    };
    use crate::{Arena, Tag};

    pub trait Move: Sync {
        fn tag(&self) -> Tag;

        fn arena(&self) -> &Arena;

        /// Why it cannot move now. A hint.
        fn busy(&self, id: DescriptorId) -> Option<Busy>;

        /// 0 if the descriptor is gone.
        fn extents(&self, id: DescriptorId) -> u32;

        /// Moves an extent to the run from `to`, or frees a dying unlocked descriptor.
        ///
        /// # Errors
        /// [`FrameMigrateError`]; nothing has changed. [`FrameMigrateError::Gone`] also without such an extent.
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
