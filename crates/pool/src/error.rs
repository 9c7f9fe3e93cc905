//! The errors of the pool contract. Each text says what to do.

use pagefold_frame::{Busy, FrameMigrateError};
use thiserror::Error;

/// Why [`alloc`](crate::Pool::alloc) or [`store`](crate::Pool::store) gave no handle. The pool is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AllocError {
    /// An object has at least one byte.
    #[error("an object of length 0 cannot be stored")]
    InvalidSize,
    /// The packing has no location for an object of this length, however empty the pool is.
    #[error("{len} bytes are too large for this pool; the maximum is {max}")]
    TooLarge {
        /// The length asked for, in bytes.
        len: usize,
        /// The largest length the pool takes, in bytes.
        max: usize,
    },
    /// The limit is reached, and free memory could not be made to fit.
    #[error(
        "the pool is full: its limit is {limit} bytes; free objects, compact, or raise the limit"
    )]
    OutOfMemory {
        /// The limit in force, in bytes.
        limit: usize,
    },
}

/// Why a handle names nothing in this pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HandleError {
    /// The handle was given out by another pool.
    #[error("the handle belongs to another pool")]
    Foreign,
    /// The object was freed (once or more), or the handle was never given out.
    #[error("the handle is stale: its object was freed or never existed")]
    Stale,
}

/// Why [`read_into`](crate::Pool::read_into) copied nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReadIntoError {
    /// The handle names nothing here.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// The buffer is shorter than the object; nothing was copied.
    #[error("the object has {len} bytes and the buffer only {capacity}")]
    BufferTooSmall {
        /// The object's length in bytes.
        len: usize,
        /// The buffer's length in bytes.
        capacity: usize,
    },
}

/// Why [`try_read`](crate::Pool::try_read) did not call its closure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TryReadError {
    /// The handle names nothing here.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// The object is being moved or written at this moment.
    #[error("the object is locked for writing at this moment")]
    WouldBlock,
}

/// Why [`write`](crate::Pool::write) changed nothing. The object still has its old bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WriteError {
    /// The handle names nothing here.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// A write replaces the whole object and keeps its length.
    #[error("the object has {len} bytes, and {given} were given")]
    WrongLength {
        /// The object's length in bytes.
        len: usize,
        /// The length given.
        given: usize,
    },
    /// A reader has the old bytes, and there is no room for the new ones beside them.
    #[error(
        "the object is being read and the pool has no room for the new bytes beside the old: its limit is {limit} bytes"
    )]
    OutOfMemory {
        /// The limit in force, in bytes.
        limit: usize,
    },
}

/// Why [`reclaim`](crate::Pool::reclaim) gave no frame back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReclaimError {
    /// After all retries, each frame that was tried still has an object.
    #[error("{tried} frames were tried, and each still holds an object; try again")]
    Again {
        /// Frames that were tried.
        tried: u32,
    },
    /// There is no frame to take objects from.
    #[error("there is nothing to reclaim")]
    NothingToReclaim,
    /// This packing keeps no order of use, so it has nothing to choose victims by.
    #[error("this allocator does not reclaim; evict by an order of your own and free the objects")]
    Unsupported,
}

/// Why [`migrate`](crate::Pool::migrate) moved nothing. Everything is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The handle names nothing here.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// The frames are locked or in transit.
    #[error("the frames cannot be moved at this moment: {0}")]
    Busy(Busy),
    /// There are no frames to move to.
    #[error("there are no free frames within the limit to move to")]
    OutOfMemory,
    /// This pool has no frames that could be moved.
    #[error("this pool does not move frames")]
    Unsupported,
}

impl From<FrameMigrateError> for MigrateError {
    fn from(stay: FrameMigrateError) -> Self {
        match stay {
            FrameMigrateError::Busy(busy) => Self::Busy(busy),
            // The object lives, but another thread is freeing or moving its frames.
            FrameMigrateError::Gone => Self::Busy(Busy::InTransit),
            FrameMigrateError::OutOfFrames(_) => Self::OutOfMemory,
        }
    }
}

/// Why [`set_limit`](crate::Pool::set_limit) left the limit as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LimitError {
    /// Less than the pool needs when it is empty.
    #[error("a limit of {limit} bytes is too small; this pool needs at least {min}")]
    TooSmall {
        /// The limit asked for, in bytes.
        limit: usize,
        /// The least possible limit, in bytes.
        min: usize,
    },
    /// More than the address space that was reserved when the pool was built.
    #[error(
        "a limit of {limit} bytes is more than the {max} bytes of address space this pool reserved"
    )]
    TooLarge {
        /// The limit asked for, in bytes.
        limit: usize,
        /// The largest possible limit, in bytes.
        max: usize,
    },
    /// What is stored needs more than the limit, compacted and trimmed as it is now.
    #[error(
        "{resident} bytes are in use after compaction; a limit of {limit} bytes does not hold them"
    )]
    InUse {
        /// The limit asked for, in bytes.
        limit: usize,
        /// What is still resident, in bytes.
        resident: usize,
    },
}

/// A broken invariant that [`validate`](crate::Pool::validate) found, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Violation(pub String);
