//! The errors of the contract. Each text says what to do.

use pagefold_frame::{Busy, FrameMigrateError};
use thiserror::Error;

/// From [`alloc`](crate::Pool::alloc) or [`store`](crate::Pool::store); the pool is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AllocError {
    /// The length is 0.
    #[error("an object of length 0 cannot be stored")]
    InvalidSize,
    /// Longer than the packing's maximum.
    #[error("{len} bytes are too large for this pool; the maximum is {max}")]
    TooLarge {
        /// In bytes.
        len: usize,
        /// In bytes.
        max: usize,
    },
    /// The limit is reached.
    #[error(
        "the pool is full: its limit is {limit} bytes; free objects, compact, or raise the limit"
    )]
    OutOfMemory {
        /// In bytes.
        limit: usize,
    },
}

/// Why a handle names nothing in this pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HandleError {
    /// Another pool's handle.
    #[error("the handle belongs to another pool")]
    Foreign,
    /// The object was freed or never existed.
    #[error("the handle is stale: its object was freed or never existed")]
    Stale,
}

/// From [`read_into`](crate::Pool::read_into).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReadIntoError {
    /// The handle names nothing here.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// The buffer is shorter than the object.
    #[error("the object has {len} bytes and the buffer only {capacity}")]
    BufferTooSmall {
        /// In bytes.
        len: usize,
        /// In bytes.
        capacity: usize,
    },
}

/// From [`try_read`](crate::Pool::try_read).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TryReadError {
    /// The handle names nothing here.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// The object is being moved or written.
    #[error("the object is locked for writing at this moment")]
    WouldBlock,
}

/// From [`write`](crate::Pool::write); the object is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WriteError {
    /// The handle names nothing here.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// A write keeps the object's length.
    #[error("the object has {len} bytes, and {given} were given")]
    WrongLength {
        /// In bytes.
        len: usize,
        /// In bytes.
        given: usize,
    },
    /// A reader has the old bytes, and the new ones do not fit beside them.
    #[error(
        "the object is being read and the pool has no room for the new bytes beside the old: its limit is {limit} bytes"
    )]
    OutOfMemory {
        /// In bytes.
        limit: usize,
    },
}

/// From [`reclaim`](crate::Pool::reclaim).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReclaimError {
    /// Each frame that was tried still has an object.
    #[error("{tried} frames were tried, and each still holds an object; try again")]
    Again {
        /// Frames tried.
        tried: u32,
    },
    /// No frame has objects.
    #[error("there is nothing to reclaim")]
    NothingToReclaim,
    /// The packing keeps no order of use.
    #[error("this allocator does not reclaim; evict by an order of your own and free the objects")]
    Unsupported,
}

/// From [`migrate`](crate::Pool::migrate); nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The handle names nothing here.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// The frames are locked or in transit.
    #[error("the frames cannot be moved at this moment: {0}")]
    Busy(Busy),
    /// No frames to move to.
    #[error("there are no free frames within the limit to move to")]
    OutOfMemory,
    /// The pool cannot move frames.
    #[error("this pool does not move frames")]
    Unsupported,
}

impl From<FrameMigrateError> for MigrateError {
    fn from(stay: FrameMigrateError) -> Self {
        match stay {
            FrameMigrateError::Busy(busy) => Self::Busy(busy),
            // The object lives; another thread frees or moves its frames.
            FrameMigrateError::Gone => Self::Busy(Busy::InTransit),
            FrameMigrateError::OutOfFrames(_) => Self::OutOfMemory,
        }
    }
}

/// From [`set_limit`](crate::Pool::set_limit); the limit is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LimitError {
    /// Less than an empty pool needs.
    #[error("a limit of {limit} bytes is too small; this pool needs at least {min}")]
    TooSmall {
        /// In bytes.
        limit: usize,
        /// In bytes.
        min: usize,
    },
    /// More than the reserved address space.
    #[error(
        "a limit of {limit} bytes is more than the {max} bytes of address space this pool reserved"
    )]
    TooLarge {
        /// In bytes.
        limit: usize,
        /// In bytes.
        max: usize,
    },
    /// The objects need more, even compacted.
    #[error(
        "{resident} bytes are in use after compaction; a limit of {limit} bytes does not hold them"
    )]
    InUse {
        /// In bytes.
        limit: usize,
        /// In bytes.
        resident: usize,
    },
}

/// A broken invariant, from [`validate`](crate::Pool::validate).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Violation(pub String);
