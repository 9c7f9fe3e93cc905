//! Migration: the frames of a descriptor move to another place, and nothing above notices.
//!
//! ```text
//!  isolate    the mark is set: the id stays this descriptor's, nobody else moves it      Gone, Busy
//!  migrate    a run to go to; the write hold is tried; copy; the place is switched       Busy, OutOfFrames
//!  putback    the mark is cleared; a descriptor that died meanwhile is reported
//! ```
//! Contents are position-independent, and only the descriptor says where its frames are. So one protocol serves
//! descriptors of every kind: it takes the write hold (success *is* the proof that nobody reads), copies, and changes one
//! word. What is moved is a *piece*: a whole run, or one frame of a chain (`lay`).
//! The run to go to is taken before the hold, so that a reader waits for the copy alone; if the hold is refused the
//! run goes back, and nothing has changed. Handles, lists and orders of use name descriptors by id and do not move.
//!
//! Pending work is not the mover's: the mark for it stays, and is reported when the mover lets go.

use std::{fmt, ops::Add};

use pagefold_sys::sync::{AtomicU64, Ordering};
use thiserror::Error;

use crate::{
    Arena, DescriptorId, FrameCount, FrameNo, FrameRange, LockError, Mobility, OutOfFrames, Slab,
    Tag, WriteGuard,
    lay::{FrameLayout, Run},
    slab::{Body, Descriptor, SlabConfig},
};

#[cfg(all(test, not(loom)))]
mod tests;

/// What keeps frames where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Busy {
    /// Somebody reads or writes there.
    #[error("somebody holds them for reading or writing")]
    Locked,
    /// Somebody else is moving them.
    #[error("somebody else is moving them")]
    Isolated,
    /// They belong to descriptors that do not move.
    #[error("they are pinned")]
    Pinned,
    /// They are part of a claimed range.
    #[error("they are part of a claimed range")]
    Contiguous,
    /// They are on their way from one owner to another, or to the system.
    #[error("they are changing hands at this moment")]
    InTransit,
}

/// Why a run stayed where it was. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameMigrateError {
    /// Nothing lives under this id, or it is dying.
    #[error("the descriptor is gone")]
    Gone,
    /// Something keeps the frames where they are.
    #[error("the frames are busy: {0}")]
    Busy(Busy),
    /// There is no run to go to within the limit.
    #[error(transparent)]
    OutOfFrames(#[from] OutOfFrames),
}

/// A descriptor whose frames are about to be moved; dropping it puts the descriptor back.
///
/// # Concurrency
/// Excludes other movers only. Whoever frees the descriptor meanwhile does so without waiting, and its frames and id
/// are given back after it was put back.
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

    /// Where the frames are; of a chain, where the first is and how many there are. Nobody else moves them.
    pub fn frame_range(&self) -> FrameRange {
        self.location
    }

    /// The piece that a frame is in; where it is may have to be looked at again, under the write hold.
    fn piece_of(&self, frame: FrameNo) -> Option<u32> {
        let mut pieces = 0..L::pieces(self.location.frames);
        pieces.find(|&number| self.piece(number).contains(frame))
    }

    fn piece(&self, number: u32) -> FrameRange {
        L::piece(&self.descriptor.rest, self.location, number)
    }

    /// Moves a piece to the run that `to` gives for its length and this owner, and returns the run it came from, which
    /// is free again.
    ///
    /// The run must be one that the arena handed out for this owner just now: that is why nobody outside calls this.
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
        if self.descriptor.state.is_held() {
            return Err(FrameMigrateError::Busy(Busy::Locked));
        }
        let expected = self.piece(number);
        let place = to(expected.frames, FrameOwner { tag, id: self.id })?;
        let held = self.descriptor.state.try_write_for_move();
        let from = match held {
            Ok(location) => {
                let mut guard = WriteGuard::new(self.slab, self.descriptor, self.id, location);
                // A chain that was isolated while it was made has its place only now. (I-PIECE)
                if guard.piece(number) == expected {
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
            self.slab.report(self.id);
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

/// What an owner word says: which slab, and which of its descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameOwner {
    /// The slab's tag.
    pub tag: Tag,
    /// The descriptor.
    pub id: DescriptorId,
}

/// What became of a descriptor that was to be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrateOutcome {
    /// A piece of its frames was copied; this is the run that it came from, and free.
    Copied(FrameRange),
    /// It was dying and nobody held it any more: it was freed.
    Freed,
}

/// Which of a descriptor's pieces is to be moved.
#[derive(Debug, Clone, Copy)]
pub enum ExtentRef {
    /// The one that this frame is in.
    Of(FrameNo),
    /// The one with this number.
    Number(u32),
}

/// Descriptors of one kind, as evacuation sees them, whatever their bodies and words are: a [`Slab`] of any type.
///
/// What it can do is for the [`Arena`](crate::Arena) alone.
pub trait Movable: sealed::Move {}

impl<M: Body, const W: usize, L: FrameLayout> Movable for Slab<M, W, L> {}

/// What evacuation does with a slab. Outside of this crate nobody can name the trait, so nobody can say where frames go.
mod sealed {
    use super::{
        Busy, DescriptorId, ExtentRef, FrameCount, FrameMigrateError, FrameOwner, FrameRange,
        MigrateOutcome, OutOfFrames,
    };
    use crate::{Arena, Tag};

    pub trait Move: Sync {
        /// The tag of their owner words.
        fn tag(&self) -> Tag;

        /// The arena that their frames are in.
        fn arena(&self) -> &Arena;

        /// Whether the descriptor could not be moved at this moment, and why. A hint.
        fn busy(&self, id: DescriptorId) -> Option<Busy>;

        /// How many pieces of a descriptor move on their own; 0 if it is gone.
        fn pieces(&self, id: DescriptorId) -> u32;

        /// Moves a piece of a descriptor to the run that `to` gives, or frees the descriptor if it is dying and nobody
        /// holds it any more.
        ///
        /// # Errors
        /// [`FrameMigrateError`]; nothing has changed. [`FrameMigrateError::Gone`] also when the descriptor has no such piece (any more).
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

    fn pieces(&self, id: DescriptorId) -> u32 {
        Self::pieces(self, id).unwrap_or(0)
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
            ExtentRef::Of(frame) => isolated.piece_of(frame),
            ExtentRef::Number(number) => {
                (number < L::pieces(isolated.frame_range().frames)).then_some(number)
            }
        };
        isolated.migrate(number.ok_or(FrameMigrateError::Gone)?, to).map(MigrateOutcome::Copied)
    }
}

/// Moving of frames since an arena was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationStats {
    /// Descriptors isolated.
    pub isolated: u64,
    /// Runs moved.
    pub migrated: u64,
    /// Bytes copied by it.
    pub bytes_copied: u64,
    /// Runs that stayed because somebody held them.
    pub busy_locked: u64,
    /// Runs that stayed because somebody else was moving them.
    pub busy_isolated: u64,
    /// Runs that stayed because they are pinned.
    pub busy_pinned: u64,
    /// Claimed ranges that were in the way.
    pub busy_contiguous: u64,
    /// Runs that stayed because there was nowhere to go.
    pub out_of_frames: u64,
    /// Whole pageblocks that became free by it and went back to the system.
    pub pageblocks_freed: u64,
    /// Ranges claimed.
    pub contiguous_allocs: u64,
    /// Claims refused.
    pub contiguous_failures: u64,
}

impl Add for MigrationStats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            isolated: self.isolated + other.isolated,
            migrated: self.migrated + other.migrated,
            bytes_copied: self.bytes_copied + other.bytes_copied,
            busy_locked: self.busy_locked + other.busy_locked,
            busy_isolated: self.busy_isolated + other.busy_isolated,
            busy_pinned: self.busy_pinned + other.busy_pinned,
            busy_contiguous: self.busy_contiguous + other.busy_contiguous,
            out_of_frames: self.out_of_frames + other.out_of_frames,
            pageblocks_freed: self.pageblocks_freed + other.pageblocks_freed,
            contiguous_allocs: self.contiguous_allocs + other.contiguous_allocs,
            contiguous_failures: self.contiguous_failures + other.contiguous_failures,
        }
    }
}

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

// ORDERING: Relaxed; a statistic.
impl Count {
    pub(crate) fn add(&self) {
        self.add_many(1);
    }

    pub(crate) fn add_many(&self, many: u64) {
        self.0.fetch_add(many, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of [`MigrationStats`] as they grow.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    pub(crate) isolated: Count,
    pub(crate) migrated: Count,
    pub(crate) bytes_copied: Count,
    busy_locked: Count,
    busy_isolated: Count,
    busy_pinned: Count,
    busy_contiguous: Count,
    pub(crate) out_of_frames: Count,
    pub(crate) pageblocks_freed: Count,
    pub(crate) contiguous_allocs: Count,
    pub(crate) contiguous_failures: Count,
}

impl Moves {
    pub(crate) fn note_busy(&self, busy: Busy) {
        match busy {
            Busy::Locked => self.busy_locked.add(),
            Busy::Isolated => self.busy_isolated.add(),
            Busy::Pinned => self.busy_pinned.add(),
            Busy::Contiguous => self.busy_contiguous.add(),
            // Only looked at, never moved.
            Busy::InTransit => {}
        }
    }

    pub(crate) fn stats(&self) -> MigrationStats {
        MigrationStats {
            isolated: self.isolated.get(),
            migrated: self.migrated.get(),
            bytes_copied: self.bytes_copied.get(),
            busy_locked: self.busy_locked.get(),
            busy_isolated: self.busy_isolated.get(),
            busy_pinned: self.busy_pinned.get(),
            busy_contiguous: self.busy_contiguous.get(),
            out_of_frames: self.out_of_frames.get(),
            pageblocks_freed: self.pageblocks_freed.get(),
            contiguous_allocs: self.contiguous_allocs.get(),
            contiguous_failures: self.contiguous_failures.get(),
        }
    }
}
