//! Counts of frames that moved or stayed.

use std::ops::Add;

use pagefold_sys::sync::{AtomicU64, Ordering};

use crate::Busy;

/// Moves of frames since an arena was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationStats {
    /// Descriptors isolated.
    pub isolated: u64,
    /// Runs moved.
    pub migrated: u64,
    /// Bytes copied.
    pub bytes_copied: u64,
    /// Runs that a guard locked.
    pub busy_locked: u64,
    /// Runs that another thread was moving.
    pub busy_isolated: u64,
    /// Pinned runs.
    pub busy_pinned: u64,
    /// Contiguous ranges in the way.
    pub busy_contiguous: u64,
    /// Runs without a destination.
    pub out_of_frames: u64,
    /// Pageblocks that compaction gave back.
    pub pageblocks_freed: u64,
    /// Contiguous ranges allocated.
    pub contiguous_allocs: u64,
    /// Contiguous allocations that failed.
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
            // A look-up names it; a move never does.
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
