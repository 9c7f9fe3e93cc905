//! Where objects lie in frames. [`Runs`](super::Runs) and [`SlotPacking`](super::SlotPacking) do most steps.

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
    /// Left for objects by the smallest limit.
    pub spare_frames: usize,
}

/// Which attempt to find room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The first.
    First,
    /// After the engine made room: the packing may search everywhere.
    AtLimit,
}

/// Why there was no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// No frames, and no hole fits.
    Frames,
    /// No memory for the packing's words of this index; another may have.
    Index,
}

impl From<OutOfFrames> for NoRoom {
    fn from(OutOfFrames: OutOfFrames) -> Self {
        Self::Frames
    }
}

/// How objects lie in frames.
///
/// # Invariants
/// - Under a guard of the descriptor that an entry names, the object lies there (I-LOOKUP).
/// - A live entry changes only through [`Found::relocate`], under the write guards of both descriptors (I-RELOCATE);
///   the new one's is enough to replace bytes.
/// - A location stays used until its bytes may be overwritten; then its index is freed.
pub trait Packing: Send + Sync {
    /// As the command line spells it.
    const NAME: &'static str;

    /// Budget, arena and tables.
    fn base(&self) -> &Base;

    /// Of an empty packing.
    fn footprint(&self) -> Footprint;

    /// In bytes.
    fn max_len(&self) -> usize;

    /// The slabs with movable frames.
    fn movable(&self) -> impl AsRef<[&dyn Movable]>;

    /// Whether input is read before another thread can find the descriptor. Otherwise the engine passes a copy: reads
    /// may fault.
    fn reads_input_unlocked(&self, _len: usize) -> bool {
        false
    }

    /// Calls `f` under read guards.
    ///
    /// # Errors
    /// `f` was not called: [`LockError::Busy`] if `wait` says never, [`LockError::Gone`] if freed or moved.
    fn read<F: FnMut(Slices<'_>) + ?Sized>(
        &self,
        found: &Found<'_>,
        wait: impl Wait,
        f: &mut F,
    ) -> Result<(), LockError>;

    /// If known without a lock; the engine checks again.
    fn len(&self, _found: &Found<'_>) -> Option<usize> {
        None
    }

    /// Puts `content` at a new location and publishes it while its readers wait. `Ok(false)`: `publish` refused.
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

    /// In place; of the same length.
    ///
    /// # Errors
    /// [`LockError::Busy`] for another guard, [`LockError::Gone`] if freed or moved.
    fn overwrite(&self, found: &Found<'_>, bytes: &[u8]) -> Result<(), LockError>;

    /// Puts `bytes` at another location and frees the old one, now or later. `Ok(false)`: the entry changed.
    ///
    /// # Errors
    /// [`NoRoom`]; nothing has changed.
    fn rewrite(&self, found: &Found<'_>, bytes: &[u8], attempt: Attempt) -> Result<bool, NoRoom>;

    /// Frees entry, location and index, now or later; never waits. `false`: the entry changed.
    fn free(&self, found: &Found<'_>) -> bool;

    /// Returns how many bytes moved.
    ///
    /// # Errors
    /// [`FrameMigrateError`]; [`Gone`](FrameMigrateError::Gone) also if the object was freed or moved.
    fn migrate(&self, found: &Found<'_>) -> Result<usize, FrameMigrateError>;

    /// Cheap: each allocation asks.
    fn has_deferred(&self) -> bool;

    /// `true` if there was any.
    fn drain_deferred(&self) -> bool;

    /// Closes open spans; releases cached frames.
    fn close(&self) {}

    /// Moves about `budget` bytes at most; may stop once `wanted` frames are free.
    fn compact_objects(&self, budget: usize, wanted: u64) -> CompactReport;

    /// Returns empty table pages to the system; in bytes.
    fn trim_tables(&self) -> usize;

    /// Fills in the packing's own accounts.
    fn account(&self, stats: &mut Stats);

    /// Checks all invariants; tells `audit` of each object and frame. For a quiescent pool.
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
