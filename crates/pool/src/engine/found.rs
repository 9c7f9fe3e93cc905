//! A live object, as its handle entry said.
//!
//! # Invariants (I-LOOKUP)
//! A thread loads the entry, locks the descriptor that it names, and loads the entry again. If both are the same, the
//! object stays until the guard drops: compaction changes an entry only under the old descriptor's write guard
//! (I-RELOCATE), and a freed slot is filled only under a write guard. Otherwise the thread starts anew.

use pagefold_frame::{
    Body, DescriptorId, FrameCount, FrameLayout, FrameMigrateError, LockError, ReadGuard, Slab,
};

use super::handle_table::{Entry, EntryCell, Location};

/// Whether a reader waits for a writer. A type, so that each look-up is compiled for one.
pub trait Wait: Copy {
    /// `true` to wait.
    const WAITS: bool;
}

/// Waits.
#[derive(Debug, Clone, Copy)]
pub struct ForWriter;

/// Returns [`LockError::Busy`].
#[derive(Debug, Clone, Copy)]
pub struct Never;

impl Wait for ForWriter {
    const WAITS: bool = true;
}

impl Wait for Never {
    const WAITS: bool = false;
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    pub(super) cell: EntryCell<'a>,
    pub(super) entry: Entry,
    /// At the time of the load.
    pub location: Location,
    /// Of its handle entry.
    pub index: u32,
}

impl Found<'_> {
    /// Whether the entry is the same: under a guard of its descriptor, whether the object is there.
    #[inline]
    pub fn is_current(&self) -> bool {
        self.cell.load() == self.entry
    }

    /// Fails if the entry changed. Under the write guards of both descriptors. (I-RELOCATE)
    #[must_use = "if the entry changed meanwhile, the new location is free again"]
    pub fn relocate(&self, to: Location) -> bool {
        self.cell.exchange(self.entry, self.entry.at(to))
    }

    /// One thread gets `true`; it frees the location, then the index.
    #[must_use = "the thread that made the entry vacant frees the location"]
    pub fn make_vacant(&self) -> bool {
        self.cell.exchange(self.entry, self.entry.freed())
    }

    /// Calls `f` under a read guard.
    ///
    /// # Errors
    /// [`LockError::Busy`] unless `N` waits; [`LockError::Gone`] if freed or moved.
    #[inline(always)]
    pub fn read_locked<'s, M: Body, const W: usize, L: FrameLayout, N: Wait, R>(
        &self,
        slab: &'s Slab<M, W, L>,
        id: DescriptorId,
        _wait: N,
        f: impl FnOnce(ReadGuard<'s, M, W, L>) -> R,
    ) -> Result<R, LockError> {
        let guard = if N::WAITS { slab.read(id) } else { slab.try_read(id) }?;
        if self.is_current() { Ok(f(guard)) } else { Err(LockError::Gone) }
    }
}

/// Returns how many bytes moved; fails only at the first.
pub(crate) fn migrate_all(
    found: &Found<'_>,
    moves: impl Iterator<Item = Result<FrameCount, FrameMigrateError>>,
) -> Result<usize, FrameMigrateError> {
    let mut moved = 0;
    for outcome in moves {
        match outcome {
            Ok(frames) => moved += frames.bytes(),
            // Freed, moved or overwritten since.
            Err(FrameMigrateError::Gone) if !found.is_current() => break,
            Err(_) if moved > 0 => return Ok(moved),
            Err(error) => return Err(error),
        }
    }
    if found.is_current() { Ok(moved) } else { Err(FrameMigrateError::Gone) }
}
