//! What can go wrong before memory is touched.

use std::io;

use pagefold_store::{SpaceError, StoreBuildError};
use thiserror::Error;

use crate::mode::FaultMode;

/// A region cannot be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildRegionError {
    /// Not one page, or more than the address space.
    #[error("a region of {bytes} bytes is not possible")]
    Size {
        /// Bytes asked for.
        bytes: usize,
    },
    /// The limit is less than the least.
    #[error("a resident limit of {limit} bytes is too small; the least is {least}")]
    ResidentLimit {
        /// The limit asked for, in bytes.
        limit: usize,
        /// The least, in bytes.
        least: usize,
    },
    /// Pages of this system are not 4 KiB.
    #[error("pages of this system have {bytes} bytes; a region needs 4096")]
    PageSize {
        /// The system's.
        bytes: usize,
    },
    /// The mode does not work here.
    #[error("fault mode {mode}: {reason}; needed: {remedy}")]
    Mode {
        /// The mode.
        mode: FaultMode,
        /// What was tried, and its outcome.
        reason: String,
        /// What would make it work.
        remedy: String,
    },
    /// [`ForkPolicy::Snapshot`](crate::ForkPolicy::Snapshot) is not possible with what else was asked for.
    #[error("snapshots are not possible with {with}: {reason}")]
    Snapshots {
        /// What.
        with: &'static str,
        /// Why.
        reason: String,
    },
    /// More regions than a process may have.
    #[error("a process has at most {most} regions at a time")]
    TooMany {
        /// That many.
        most: usize,
    },
    /// The region's store.
    #[error(transparent)]
    Store(#[from] StoreBuildError),
    /// The space of the region's pages.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// Memory, a thread, or a handler.
    #[error("the system refuses a region: {0}")]
    System(#[from] io::Error),
}

/// A range of a region cannot be pinned, advised or discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RangeError {
    /// It does not lie in the region.
    #[error("the range ends at byte {end}; the region has {bytes}")]
    Beyond {
        /// End of the range.
        end: usize,
        /// Bytes of the region.
        bytes: usize,
    },
    /// Too much would be pinned.
    #[error("{wanted} more pinned bytes do not fit; {most} bytes can be pinned in all")]
    Pins {
        /// Bytes asked for.
        wanted: usize,
        /// All that may be pinned at a time, in bytes.
        most: usize,
    },
    /// A call from outside unmapped a part of it, or this is the child of a fork, which does not have the region.
    #[error("a part of the range is no longer mapped, or is not in this child of a fork")]
    Unmapped,
}
