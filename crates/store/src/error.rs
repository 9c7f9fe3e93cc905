//! The errors of the store. Each text says what to do.

use pagefold_codec::BuildCodecError;
use thiserror::Error;

/// What a refused [`put`](crate::Space::put) did to the old value of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreviousValue {
    /// A later `get` still returns it. Always so in a persistent space.
    Kept,
    /// It was dropped, so that no thread reads stale data.
    Dropped,
    /// There was none.
    Absent,
}

/// Why a key or a space cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The space has fewer pages.
    #[error("key {key} is beyond the space, which has {pages} pages")]
    Beyond {
        /// The key given.
        key: u64,
        /// Keys go from 0 to one less than this.
        pages: u64,
    },
    /// The space was dropped, with everything in it.
    #[error("the space was dropped")]
    Dropped,
    /// The process was forked in the middle of an operation of another thread, which took longer than the fork waits
    /// ([`set_fork_wait`](crate::set_fork_wait)). In this child the store cannot be used.
    #[error(
        "the process was forked while an operation on this store was under way; use it in the parent"
    )]
    Abandoned,
}

/// Why nothing was put. [`Full`](PutError::Full) tells what became of the old value; after any other error it is
/// still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PutError {
    /// The key or the space cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Neither the limit of the store nor that of the space leaves room, after all that could be dropped or compacted.
    #[error("{limit} leaves no room; remove pages, drop a space, or raise the limit ({})", old_value(*.previous))]
    Full {
        /// Whose limit it is.
        limit: ReachedLimit,
        /// What became of the old value.
        previous: PreviousValue,
    },
    /// A page has 4096 bytes.
    #[error("a page has 4096 bytes, and {len} were given; use `put_bytes` for other lengths")]
    WrongLength {
        /// The length given.
        len: usize,
    },
    /// A value has at most 64 KiB, or as much as the allocator takes.
    #[error("{len} bytes are too long for a value; the maximum is {max}")]
    TooLong {
        /// The length given, in bytes.
        len: usize,
        /// The longest value, in bytes.
        max: usize,
    },
}

/// Why [`put_if`](crate::Space::put_if) and its like put nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PutIfError {
    /// The key has another value than expected, and keeps it. Read it again.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UpdateError {
    /// As from [`get`](crate::Space::get); never [`Absent`](GetError::Absent), which is an answer.
    #[error(transparent)]
    Get(#[from] GetError),
    /// As from [`put`](crate::Space::put).
    #[error(transparent)]
    Put(#[from] PutError),
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReachedLimit {
    /// The hard limit of the store.
    Store,
    /// The store's limit was reached, and its use has not yet fallen below the accept threshold.
    Threshold,
    /// The limit of the space.
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

/// Why nothing was got. The destination then holds unspecified bytes, except after [`Absent`](GetError::Absent) and
/// [`Key`](GetError::Key), which leave it as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GetError {
    /// The key or the space cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is nothing under the key: never put, removed, or dropped by an ephemeral space.
    #[error("there is nothing under this key")]
    Absent,
    /// The destination does not have the length of the page or value.
    #[error("the value of this key has {len} bytes, and the destination has {given}")]
    WrongLength {
        /// The length of the page or value, in bytes.
        len: usize,
        /// The length of the destination, in bytes.
        given: usize,
    },
    /// The object does not decode to what was put.
    #[error("the value of this key is damaged")]
    Corrupt,
}

/// Why [`try_get`](crate::Space::try_get) got nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TryGetError {
    /// Another thread moves or writes the object, or every context of the codec is in use. Try again, or use `get`.
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

/// A batch that was put in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{accepted} pages were put, and then: {error}")]
pub struct PutManyError {
    /// How many were accepted before, from the first on.
    pub accepted: usize,
    /// Why the next one was not.
    pub error: PutError,
}

/// Why a store could not be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreBuildError {
    /// The pool could not be built: above all, the limit is too small or too large.
    #[error(transparent)]
    Pool(#[from] pagefold_pool::BuildError),
    /// The codec could not be built.
    #[error(transparent)]
    Codec(#[from] BuildCodecError),
    /// What the codec says of its memory cannot be.
    #[error("the codec {codec} says that it holds more memory than a process can have")]
    CodecMemory {
        /// The codec's name.
        codec: String,
    },
    /// The limit holds the pool, but not the store's own structures and the codec's contexts beside it.
    #[error("a limit of {limit} bytes is too small; this store needs at least {min}")]
    LimitTooSmall {
        /// The limit given, in bytes.
        limit: usize,
        /// The least possible limit, in bytes.
        min: usize,
    },
    /// Shares of the limit are percentages, and the low watermark lies below the high one.
    #[error("{what} of {percent} % makes no sense; choose {expected}")]
    Share {
        /// Which one.
        what: &'static str,
        /// The percentage given.
        percent: u8,
        /// What would do.
        expected: &'static str,
    },
    /// A limit source is asked by the shrinker's thread.
    #[error("a limit source needs the shrinker; leave it on")]
    LimitSourceWithoutShrinker,
    /// The thread could not be started.
    #[error("the shrinker's thread could not be started")]
    Thread(#[source] std::io::Error),
    /// The handlers that keep the store usable after a fork could not be registered.
    #[error("the handlers of a fork could not be registered")]
    Fork(#[source] std::io::Error),
}

/// Why a store was not found valid.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ValidateError {
    /// Other threads were in the middle of operations for too long, or this thread is.
    #[error("operations on the store are under way; validate it when they are done")]
    Busy,
    /// An invariant does not hold.
    #[error(transparent)]
    Violation(#[from] pagefold_pool::Violation),
}

/// Why a space could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpaceError {
    /// Another space of the store has this name.
    #[error("the store has a space named {name:?} already")]
    NameTaken {
        /// The name asked for.
        name: String,
    },
    /// The limit leaves no room for the space's own structures.
    #[error("the limit of the store leaves no room for another space")]
    Full,
    /// As [`KeyError::Abandoned`].
    #[error(transparent)]
    Key(#[from] KeyError),
}
