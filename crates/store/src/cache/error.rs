//! Errors of caches.

use thiserror::Error;

use crate::{KeyError, PutError, ReachedLimit};

/// Why [`insert`](super::Cache::insert) kept nothing; the key's old value is gone too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CacheError {
    /// The encoded value is too long.
    #[error("{len} bytes are too long for a value of a cache; the maximum is {max}")]
    TooLong {
        /// In bytes.
        len: usize,
        /// In bytes.
        max: usize,
    },
    /// The value alone is too heavy.
    #[error("a weight of {weight} is more than the cache may hold, which is {max}")]
    TooHeavy {
        /// Its weight.
        weight: u32,
        /// The cache's maximum.
        max: u64,
    },
    /// No room, even after dropping.
    #[error("{0} leaves no room in the cache")]
    Full(ReachedLimit),
    /// The space was dropped, through [`Store::find_space`](crate::Store::find_space).
    #[error("the space of the cache was dropped")]
    Dropped,
    /// As [`KeyError::Abandoned`].
    #[error(
        "the process was forked while an operation on the store was under way; use the cache in the parent"
    )]
    Abandoned,
}

impl CacheError {
    /// `len` excludes the `tag` bytes before the value.
    pub(super) fn from_put(error: PutError, len: usize, tag: usize) -> Self {
        match error {
            PutError::Full { limit, .. } => Self::Full(limit),
            PutError::TooLong { max, .. } => Self::TooLong { len, max: max.saturating_sub(tag) },
            PutError::WrongLength { .. }
            | PutError::Key(KeyError::Beyond { .. } | KeyError::Frozen) => {
                unreachable!("values have any length, slots lie in the space, and no base has it")
            }
            PutError::Key(KeyError::Dropped) => Self::Dropped,
            PutError::Key(KeyError::Abandoned) => Self::Abandoned,
        }
    }
}
