//! Anonymous memory from the system. Linux only.
//!
//! ```text
//!            reserve            commit             (first touch)
//!  nothing ----------> reserved --------> committed -----------> resident
//!                         ^                   ^  \___ decommit ____/
//!                         +---- release ------+
//! ```
//! *Reserved* address space costs nothing and cannot be touched. *Committed* memory reads as zero and becomes resident
//! when written. *Decommitted* memory reads as zero again. `pagefold-frame` knows the use of each range.

use std::{io, ptr::NonNull};

use thiserror::Error;

#[cfg(target_os = "linux")]
pub use linux::{commit, decommit, keep_from_children, page_bytes, release, reserve};

#[cfg(target_os = "linux")]
pub use buffer::Buffer;

#[cfg(target_os = "linux")]
mod buffer;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(all(test, target_os = "linux"))]
mod tests;

/// The system did not give memory, or take it back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// Address space of this size is not available.
    #[error("cannot reserve {bytes} bytes of address space: {source}")]
    Reserve {
        /// Bytes asked for.
        bytes: usize,
        /// The system's error.
        source: io::Error,
    },
    /// The system refuses to back this range with memory.
    #[error("cannot commit {bytes} bytes: {source}")]
    Commit {
        /// Bytes asked for.
        bytes: usize,
        /// The system's error.
        source: io::Error,
    },
    /// The system refuses the range; it is still resident.
    #[error("cannot give back {bytes} bytes: {source}")]
    Decommit {
        /// Bytes offered.
        bytes: usize,
        /// The system's error.
        source: io::Error,
    },
}

/// Whether core files contain the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CoreDump {
    /// They do.
    #[default]
    Include,
    /// They do not (`MADV_DONTDUMP`).
    Exclude,
}

/// A range of reserved address space.
#[derive(Debug, Clone, Copy)]
pub struct Reservation {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a reservation is an address and a length; it gives no access by itself.
unsafe impl Send for Reservation {}
// SAFETY: as above; all methods only read it.
unsafe impl Sync for Reservation {}

impl Reservation {
    /// Describes `bytes` bytes from `base`, for other sources of memory.
    pub fn new(base: NonNull<u8>, bytes: usize) -> Self {
        Self { base, bytes }
    }

    /// The first address.
    #[inline]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The length in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The address at `offset`.
    ///
    /// # Panics
    /// If `offset` lies beyond the end.
    #[inline]
    pub fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(
            offset <= self.bytes,
            "offset {offset} lies outside a reservation of {} bytes",
            self.bytes
        );
        // SAFETY: `base` starts a live range of `bytes` bytes and `offset` lies in it or at its end.
        unsafe { self.base.add(offset) }
    }
}
