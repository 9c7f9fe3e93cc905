//! Why a cache refuses a value.

use thiserror::Error;

use crate::{KeyError, PutError, ReachedLimit};

/// Why [`insert`](super::Cache::insert) kept nothing. What was under the key before is gone then, so that no thread reads
/// an old value; after [`TooLong`](CacheError::TooLong) and [`TooHeavy`](CacheError::TooHeavy) too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CacheError {
    /// The encoded value is longer than a cache takes, or than the store's allocator takes.
    #[error("{len} bytes are too long for a value of a cache; the maximum is {max}")]
    TooLong {
        /// The length of the encoded value, in bytes.
        len: usize,
        /// The longest value, in bytes.
        max: usize,
    },
    /// The value alone weighs more than all of the cache may.
    #[error("a weight of {weight} is more than the cache may hold, which is {max}")]
    TooHeavy {
        /// The weight of the value.
        weight: u32,
        /// The most that the values of the cache may weigh together.
        max: u64,
    },
    /// There was no room after all that could be dropped: for the value, or for the cache's own map.
    #[error("{0} leaves no room in the cache")]
    Full(ReachedLimit),
    /// The space of the cache was dropped, by way of [`Store::find_space`](crate::Store::find_space).
    #[error("the space of the cache was dropped")]
    Dropped,
    /// As [`KeyError::Abandoned`].
    #[error(
        "the process was forked while an operation on the store was under way; use the cache in the parent"
    )]
    Abandoned,
}

impl CacheError {
    /// `len` is the length of the value, before which the cache has put `tag` bytes.
    pub(super) fn from_put(error: PutError, len: usize, tag: usize) -> Self {
        match error {
            PutError::Full { limit, .. } => Self::Full(limit),
            PutError::TooLong { max, .. } => Self::TooLong { len, max: max.saturating_sub(tag) },
            PutError::WrongLength { .. } | PutError::Key(KeyError::Beyond { .. }) => {
                unreachable!("values have any length, and slots lie in the space")
            }
            PutError::Key(KeyError::Dropped) => Self::Dropped,
            PutError::Key(KeyError::Abandoned) => Self::Abandoned,
        }
    }
}
