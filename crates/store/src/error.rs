//! Errors.

use std::sync::Arc;

use pagefold_codec::BuildCodecError;
use thiserror::Error;

use crate::base::{BaseFault, MappingError};

/// The old value after a refused [`put`](crate::Space::put).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreviousValue {
    /// Always so in persistent spaces.
    Kept,
    /// Prevents stale reads.
    Dropped,
    /// There was none.
    Absent,
}

/// An unusable key or space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Too large a key.
    #[error("key {key} is beyond the space, which has {pages} pages")]
    Beyond {
        /// The key.
        key: u64,
        /// Keys are below this.
        pages: u64,
    },
    /// The space was dropped.
    #[error("the space was dropped")]
    Dropped,
    /// A base is made of the space, which nothing may change.
    #[error("the space is frozen: a base is made of it")]
    Frozen,
    /// The fork wait ([`set_fork_wait`](crate::set_fork_wait)) ended during an operation; this child cannot use the
    /// store.
    #[error(
        "the process was forked while an operation on this store was under way; use it in the parent"
    )]
    Abandoned,
}

/// Why nothing was put. Only [`Full`](PutError::Full) may lose the old value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PutError {
    /// An unusable key or space.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No room, even after dropping and compacting.
    #[error("{limit} leaves no room; remove pages, drop a space, or raise the limit ({})", old_value(*.previous))]
    Full {
        /// The reached limit.
        limit: ReachedLimit,
        /// The old value's fate.
        previous: PreviousValue,
    },
    /// A page has 4096 bytes.
    #[error("a page has 4096 bytes, and {len} were given; use `put_bytes` for other lengths")]
    WrongLength {
        /// In bytes.
        len: usize,
    },
    /// Longer than 64 KiB or the allocator's maximum.
    #[error("{len} bytes are too long for a value; the maximum is {max}")]
    TooLong {
        /// In bytes.
        len: usize,
        /// In bytes.
        max: usize,
    },
}

/// Why [`put_if`](crate::Space::put_if) or a variant failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PutIfError {
    /// Another value is there. Read again.
    #[error("the value of this key is not the expected one")]
    Conflict,
    /// As from [`put`](crate::Space::put).
    #[error(transparent)]
    Put(#[from] PutError),
}

impl From<KeyError> for PutIfError {
    fn from(error: KeyError) -> Self {
        Self::Put(error.into())
    }
}

/// Why [`update`](crate::Space::update) changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UpdateError {
    /// As from [`get`](crate::Space::get), without [`Absent`](GetError::Absent).
    #[error(transparent)]
    Get(#[from] GetError),
    /// As from [`put`](crate::Space::put).
    #[error(transparent)]
    Put(#[from] PutError),
}

/// A reached limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReachedLimit {
    /// The store's hard limit.
    Store,
    /// The accept threshold, after the store was full.
    Threshold,
    /// The space's limit.
    Space,
}

impl std::fmt::Display for ReachedLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Store => "the limit of the store",
            Self::Threshold => "the accept threshold of the store, which was full,",
            Self::Space => "the limit of the space",
        })
    }
}

fn old_value(previous: PreviousValue) -> &'static str {
    match previous {
        PreviousValue::Kept => "the old value is still there",
        PreviousValue::Dropped => "the old value was dropped",
        PreviousValue::Absent => "there was no old value",
    }
}

/// A failed get. Only [`Absent`](GetError::Absent) and [`Key`](GetError::Key) preserve the destination.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GetError {
    /// An unusable key or space.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Nothing is there.
    #[error("there is nothing under this key")]
    Absent,
    /// A wrong destination length.
    #[error("the value of this key has {len} bytes, and the destination has {given}")]
    WrongLength {
        /// In bytes.
        len: usize,
        /// In bytes.
        given: usize,
    },
    /// A damaged object.
    #[error("the value of this key is damaged")]
    Corrupt,
    /// The page is spilled, and its backing cannot read it. It may come back.
    #[error("the page of this key is spilled, and cannot be read: {0}")]
    Io(std::io::ErrorKind),
    /// The page is spilled, and its backing did not answer before the deadline.
    #[error("the page of this key is spilled, and its backing did not answer in time")]
    Timeout,
    /// The page is kept as what differs from its base page, and that cannot be had. It may come back.
    #[error("page {page} of the base {base} {fault}")]
    Base {
        /// The name of the base; of a file, its path.
        base: Arc<str>,
        /// The base page.
        page: u64,
        /// Why.
        fault: BaseFault,
    },
}

/// Why [`try_get`](crate::Space::try_get) got nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TryGetError {
    /// Another thread moves or writes the object, or no codec context is free.
    #[error("the page cannot be read without waiting at this moment")]
    WouldBlock,
    /// As from [`get`](crate::Space::get).
    #[error(transparent)]
    Get(#[from] GetError),
}

impl From<KeyError> for TryGetError {
    fn from(error: KeyError) -> Self {
        Self::Get(error.into())
    }
}

/// A partly put batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{accepted} pages were put, and then: {error}")]
pub struct PutManyError {
    /// From the first.
    pub accepted: usize,
    /// The next page's.
    pub error: PutError,
}

/// Why no store was built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreBuildError {
    /// The pool's error.
    #[error(transparent)]
    Pool(#[from] pagefold_pool::BuildError),
    /// The codec's error.
    #[error(transparent)]
    Codec(#[from] BuildCodecError),
    /// An impossible answer of the codec.
    #[error("the codec {codec} says that it holds more memory than a process can have")]
    CodecMemory {
        /// The codec's name.
        codec: String,
    },
    /// Too small for the store beside the pool.
    #[error("a limit of {limit} bytes is too small; this store needs at least {min}")]
    LimitTooSmall {
        /// In bytes.
        limit: usize,
        /// In bytes.
        min: usize,
    },
    /// An invalid threshold or watermark.
    #[error("{what} of {percent} % makes no sense; choose {expected}")]
    Share {
        /// Which.
        what: &'static str,
        /// As given.
        percent: u8,
        /// Valid values.
        expected: &'static str,
    },
    /// The shrinker is off.
    #[error("a limit source needs the shrinker; leave it on")]
    LimitSourceWithoutShrinker,
    /// Staging would take more than the limit.
    #[error(
        "staging of {bytes} bytes is more than the limit of {limit}; choose less, or 0 for none"
    )]
    Staging {
        /// In bytes.
        bytes: usize,
        /// In bytes.
        limit: usize,
    },
    /// No pass would find what is idle.
    #[error(
        "a spill of idle pages only needs passes that find them: an idle_share of more than 0, and a limit of at least {min} bytes"
    )]
    IdleOnlyWithoutPasses {
        /// In bytes.
        min: usize,
    },
    /// The shrinker or a worker did not start.
    #[error("a thread of the store could not be started")]
    Thread(#[source] std::io::Error),
    /// Fork handlers were not registered.
    #[error("the handlers of a fork could not be registered")]
    Fork(#[source] std::io::Error),
}

/// Why validation failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ValidateError {
    /// Operations took too long, or this thread is in one.
    #[error("operations on the store are under way; validate it when they are done")]
    Busy,
    /// A broken invariant.
    #[error(transparent)]
    Violation(#[from] pagefold_pool::Violation),
}

/// Why no space was made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpaceError {
    /// The name is taken.
    #[error("the store has a space named {name:?} already")]
    NameTaken {
        /// As given.
        name: String,
    },
    /// Its keys cannot be mapped to the base.
    #[error(transparent)]
    Base(#[from] MappingError),
    /// No room for its structures.
    #[error("the limit of the store leaves no room for another space")]
    Full,
    /// As [`KeyError::Abandoned`].
    #[error(transparent)]
    Key(#[from] KeyError),
}
