//! The trait that a packing implements: where objects lie in frames, and nothing else.
//!
//! The engine does everything else and calls the packing one step at a time. Two parts do most steps for a packing:
//! [`Runs`](super::Runs) for objects alone in their frames, [`SlotPacking`](super::SlotPacking) for slots of shared
//! descriptors.

use pagefold_frame::{FrameMigrateError, LockError, Movable, OutOfFrames, ReserveAccess};

use super::{audit::Audit, base::Base, content::Content, found::Found, handle_table::Location};
use crate::{
    contract::{CompactReport, Evict, Reclaimed},
    engine::found::Wait,
    error::ReclaimError,
    slices::Slices,
    stats::Stats,
};

/// Memory that a packing takes however full it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes outside of the source, the packing itself included.
    pub fixed_bytes: usize,
    /// Frames that only overwriting and compaction may use.
    pub reserve_frames: usize,
    /// The frames that the smallest limit leaves beside fixed bytes and reserve.
    pub spare_frames: usize,
}

/// Which attempt to find room for an object this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The first.
    First,
    /// The second, after the engine made room: the packing may go to any length to find a hole.
    AtLimit,
}

/// Why a packing found no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// There are no frames within the limit, and no hole fits.
    Frames,
    /// The packing has no memory for its own words beside this handle index. Another index may have.
    Index,
}

impl From<OutOfFrames> for NoRoom {
    fn from(OutOfFrames: OutOfFrames) -> Self {
        Self::Frames
    }
}

/// How a pool packs objects into frames. `Engine<P>` makes a pool of it.
///
/// # Invariants
/// - Under a guard of the descriptor that an object's entry names, the object lies there (I-LOOKUP).
/// - The packing changes the entry of a live object only through [`Found::relocate`], under the write guards of the old
///   and the new descriptor (I-RELOCATE). Where it only replaces the bytes, the write guard of the new one is enough.
/// - A location stays used until its bytes may be overwritten; its index goes back to the handle table after that.
pub trait Packing: Send + Sync {
    /// The name of the pool, as the command line spells it.
    const NAME: &'static str;

    /// What the packing stands on.
    fn base(&self) -> &Base;

    /// The memory that it takes however full it is.
    fn footprint(&self) -> Footprint;

    /// The longest object in bytes.
    fn max_len(&self) -> usize;

    /// The slabs whose frames can be moved.
    fn movable(&self) -> impl AsRef<[&dyn Movable]>;

    /// Whether the packing reads a new object's bytes before another thread can find its descriptor. Otherwise the
    /// engine copies input to scratch first, since reading it may fault.
    fn reads_input_unlocked(&self, _len: usize) -> bool {
        false
    }

    /// Calls `f` with the bytes of an object under read guards, if it is still there.
    ///
    /// # Errors
    /// [`LockError::Busy`] for a writer, if `wait` says never; [`LockError::Gone`] if the object was freed or moved.
    /// `f` was not called.
    fn read<F: FnMut(Slices<'_>) + ?Sized>(
        &self,
        found: &Found<'_>,
        wait: impl Wait,
        f: &mut F,
    ) -> Result<(), LockError>;

    /// The length of an object, where it is known without a lock; the engine checks the entry again.
    fn len(&self, _found: &Found<'_>) -> Option<usize> {
        None
    }

    /// Puts `content` at a new location for `index` and calls `publish` with it while readers of the location wait.
    /// `Ok(false)`: `publish` refused, and the location is free again.
    ///
    /// # Errors
    /// [`NoRoom`]; nothing has changed.
    fn place(
        &self,
        content: Content<'_>,
        index: u32,
        access: ReserveAccess,
        attempt: Attempt,
        publish: impl FnOnce(Location) -> bool,
    ) -> Result<bool, NoRoom>;

    /// Replaces the bytes of an object, of the same length, where they lie.
    ///
    /// # Errors
    /// [`LockError::Busy`] when another guard is in the way; [`LockError::Gone`] when the object was freed or moved.
    fn overwrite(&self, found: &Found<'_>, bytes: &[u8]) -> Result<(), LockError>;

    /// Puts new bytes at another location, makes the entry say it, and frees the old one, now or later.
    /// `Ok(false)`: the object was freed or moved meanwhile, and nothing has changed.
    ///
    /// # Errors
    /// [`NoRoom`]; nothing has changed.
    fn rewrite(&self, found: &Found<'_>, bytes: &[u8], attempt: Attempt) -> Result<bool, NoRoom>;

    /// Makes the entry vacant, and frees location and index, now or later. Never waits. `false`: the entry is not the
    /// one found any more, and nothing has changed.
    fn free(&self, found: &Found<'_>) -> bool;

    /// Moves the frames of an object; returns how many bytes.
    ///
    /// # Errors
    /// [`FrameMigrateError`], with [`Gone`](FrameMigrateError::Gone) also when the object was freed or moved.
    fn migrate(&self, found: &Found<'_>) -> Result<usize, FrameMigrateError>;

    /// Whether threads left deferred work in the slabs. Cheap: each allocation asks.
    fn has_deferred(&self) -> bool;

    /// Does some of the deferred work; `true` if there was any.
    fn drain_deferred(&self) -> bool;

    /// Closes open spans and releases free frames that the packing keeps for the next objects.
    fn close(&self) {}

    /// Moves objects together until about `budget` bytes were moved or nothing more can be won. A packing may stop once
    /// `wanted` frames became free.
    fn compact_objects(&self, budget: usize, wanted: u64) -> CompactReport;

    /// Gives empty pages of the packing's tables back to the system; returns how many bytes.
    fn trim_tables(&self) -> usize;

    /// Fills in the accounts that only the packing knows: `reclaimable_bytes`, `lists_in_use`, and the like.
    fn account(&self, stats: &mut Stats);

    /// Checks every invariant of the packing and tells `audit` of each object and frame. For a quiescent pool.
    ///
    /// # Errors
    /// A sentence that names the first violation.
    fn audit(&self, audit: &mut Audit<'_>) -> Result<(), String>;

    /// Evicts by the packing's own order of use. See [`Pool::reclaim`](crate::Pool::reclaim).
    ///
    /// # Errors
    /// [`ReclaimError`].
    fn reclaim(&self, _retries: u32, _evict: &mut Evict<'_>) -> Result<Reclaimed, ReclaimError> {
        Err(ReclaimError::Unsupported)
    }
}
