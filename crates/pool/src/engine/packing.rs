//! Where objects lie in frames; the engine does everything else.
//!
//! [`Runs`](super::Runs) and [`SlotPacking`](super::SlotPacking) do most steps for a packing.

use pagefold_frame::{FrameMigrateError, LockError, Movable, OutOfFrames, ReserveAccess};

use super::{audit::Audit, base::Base, content::Content, found::Found, handle_table::Location};
use crate::{
    contract::{CompactReport, Evict, Reclaimed},
    engine::found::Wait,
    error::ReclaimError,
    slices::Slices,
    stats::Stats,
};

/// Memory of an empty packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes outside of the source, with the packing itself.
    pub fixed_bytes: usize,
    /// For overwriting and compaction only.
    pub reserve_frames: usize,
    /// What the smallest limit leaves for objects.
    pub spare_frames: usize,
}

/// A first or second attempt to find room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The first.
    First,
    /// After the engine made room; the packing may search for long.
    AtLimit,
}

/// Why there was no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// No frames within the limit, and no hole fits.
    Frames,
    /// No memory for the packing's words of this index; another may do.
    Index,
}

impl From<OutOfFrames> for NoRoom {
    fn from(OutOfFrames: OutOfFrames) -> Self {
        Self::Frames
    }
}

/// How a pool packs objects into frames.
///
/// # Invariants
/// - Under a guard of the descriptor that an object's entry names, the object lies there (I-LOOKUP).
/// - The packing changes a live entry only through [`Found::relocate`], under the write guards of both descriptors
///   (I-RELOCATE). To replace only the bytes, it needs only the new one's.
/// - A location stays used until its bytes may be overwritten; its index is freed after that.
pub trait Packing: Send + Sync {
    /// As the command line spells it.
    const NAME: &'static str;

    /// Budget, arena and tables.
    fn base(&self) -> &Base;

    /// The memory of an empty packing.
    fn footprint(&self) -> Footprint;

    /// In bytes.
    fn max_len(&self) -> usize;

    /// The slabs with movable frames.
    fn movable(&self) -> impl AsRef<[&dyn Movable]>;

    /// Whether the packing reads input before another thread can find its descriptor. Otherwise the engine copies input
    /// to scratch first: a read may fault.
    fn reads_input_unlocked(&self, _len: usize) -> bool {
        false
    }

    /// Calls `f` with an object's bytes under read guards.
    ///
    /// # Errors
    /// `f` was not called: [`LockError::Busy`] for a writer if `wait` says never, [`LockError::Gone`] if the object was
    /// freed or moved.
    fn read<F: FnMut(Slices<'_>) + ?Sized>(
        &self,
        found: &Found<'_>,
        wait: impl Wait,
        f: &mut F,
    ) -> Result<(), LockError>;

    /// The length, if known without a lock; the engine checks the entry again.
    fn len(&self, _found: &Found<'_>) -> Option<usize> {
        None
    }

    /// Puts `content` at a new location and calls `publish` while readers of it wait. If that refuses, frees the
    /// location: `Ok(false)`.
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

    /// Replaces an object's bytes in place; the length is the same.
    ///
    /// # Errors
    /// [`LockError::Busy`] for another guard; [`LockError::Gone`] if the object was freed or moved.
    fn overwrite(&self, found: &Found<'_>, bytes: &[u8]) -> Result<(), LockError>;

    /// Puts new bytes at another location, and frees the old one, now or later. `Ok(false)`: the entry changed
    /// meanwhile.
    ///
    /// # Errors
    /// [`NoRoom`]; nothing has changed.
    fn rewrite(&self, found: &Found<'_>, bytes: &[u8], attempt: Attempt) -> Result<bool, NoRoom>;

    /// Makes the entry vacant, and frees location and index, now or later. Never waits. `false`: the entry had changed.
    fn free(&self, found: &Found<'_>) -> bool;

    /// Moves an object's frames; returns how many bytes.
    ///
    /// # Errors
    /// [`FrameMigrateError`]; [`Gone`](FrameMigrateError::Gone) also if the object was freed or moved.
    fn migrate(&self, found: &Found<'_>) -> Result<usize, FrameMigrateError>;

    /// Cheap: each allocation asks.
    fn has_deferred(&self) -> bool;

    /// Does some; `true` if there was any.
    fn drain_deferred(&self) -> bool;

    /// Closes open spans and releases cached free frames.
    fn close(&self) {}

    /// Compacts until about `budget` bytes moved or no gain is left; may stop once `wanted` frames are free.
    fn compact_objects(&self, budget: usize, wanted: u64) -> CompactReport;

    /// Returns empty table pages to the system; in bytes.
    fn trim_tables(&self) -> usize;

    /// Fills in the packing's own accounts.
    fn account(&self, stats: &mut Stats);

    /// Checks every invariant, and counts objects and frames. For a quiescent pool.
    ///
    /// # Errors
    /// The first violation.
    fn audit(&self, audit: &mut Audit<'_>) -> Result<(), String>;

    /// See [`Pool::reclaim`](crate::Pool::reclaim).
    ///
    /// # Errors
    /// [`ReclaimError`].
    fn reclaim(&self, _retries: u32, _evict: &mut Evict<'_>) -> Result<Reclaimed, ReclaimError> {
        Err(ReclaimError::Unsupported)
    }
}
