//! Errors.

use std::{io, time::Duration};

use thiserror::Error;

use crate::seal::KeyMakingError;

/// Why an object could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No live object has this place. The caller looks again where it had it from.
    #[error("nothing lies at this place any more")]
    Gone,
    /// The backing's error.
    #[error("the backing cannot read")]
    Io(#[source] io::Error),
    /// No answer before the deadline.
    #[error("the backing did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// What was read is not what was written there: damaged, short, of another place, or of an earlier write.
    #[error("what lies at this place is not what was written there")]
    Corrupt,
    /// The caller's buffer is shorter than the object.
    #[error("the object has {len} bytes, and the buffer {given}")]
    TooLong {
        /// In bytes.
        len: usize,
        /// In bytes.
        given: usize,
    },
    /// As [`WriteError::Abandoned`].
    #[error("the process was forked while an operation was under way; read in the parent")]
    Abandoned,
}

/// Why nothing was written. The batch's objects stay the caller's.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// All slots are in use: the spill limit.
    #[error("the spill limit is reached")]
    Full,
    /// The write budget of this interval is used up.
    #[error("the write budget is used up for {} ms", .0.as_millis())]
    Budget(Duration),
    /// Earlier writes failed or were slow; the next trial comes after this time.
    #[error("the backing failed before; the next trial is in {} ms", .0.as_millis())]
    Resting(Duration),
    /// The backing's error.
    #[error("the backing cannot write")]
    Io(#[source] io::Error),
    /// Sequences are used up, after 2^64 writes.
    #[error("no more extents can be written")]
    UsedUp,
    /// The child of a fork has its parent's key and backing: it would use nonces twice, and write over its parent's extents.
    #[error("this process is the child of a fork, and its parent has the key and the backing")]
    Child,
    /// The process was forked without waiting for an operation.
    #[error("the process was forked while an operation was under way; write in the parent")]
    Abandoned,
}

/// Why nothing was built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Too short or too long an extent.
    #[error("an extent of {bytes} bytes is not possible; choose {min} to {max}")]
    Extent {
        /// As given.
        bytes: usize,
        /// The least.
        min: usize,
        /// The most.
        max: usize,
    },
    /// A limit below one extent.
    #[error("a spill limit of {limit} bytes is less than one extent of {extent}")]
    Limit {
        /// As given.
        limit: u64,
        /// In bytes.
        extent: usize,
    },
    /// A budget that no extent fits, or an interval of 0.
    #[error("a write budget of {bytes} bytes in {} ms lets nothing through; choose at least {extent} bytes and 1 ms", .interval.as_millis())]
    Budget {
        /// As given.
        bytes: u64,
        /// As given.
        interval: Duration,
        /// Bytes of an extent.
        extent: usize,
    },
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyMakingError),
    /// Fork handlers were not registered.
    #[error("the handlers of a fork could not be registered")]
    Fork(#[source] io::Error),
}
