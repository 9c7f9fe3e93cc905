//! Why a page of a base cannot be had, and why keys cannot be mapped to one.

use std::io;

use thiserror::Error;

/// Why a page of a base cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BaseFault {
    /// Its bytes are not those of opening.
    #[error("was changed since the base was opened")]
    Changed,
    /// The file ends before it.
    #[error("is beyond the end of the file, which was truncated")]
    Truncated,
    /// It cannot be read. It may come back.
    #[error("cannot be read: {0}")]
    Io(io::ErrorKind),
}

/// Why keys cannot be mapped so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MappingError {
    /// The base has fewer pages.
    #[error("base page {page} is beyond the base, which has {pages}")]
    BeyondBase {
        /// The first such page.
        page: u64,
        /// Of the base.
        pages: u64,
    },
    /// Two ranges have a key.
    #[error("key {key} is mapped twice")]
    Twice {
        /// The first such key.
        key: u64,
    },
    /// Keys are mapped, and there is no base.
    #[error("keys are mapped, and no base is given; use `on`")]
    NoBase,
    /// The base is one of another store.
    #[error("the base is one of another store")]
    Foreign,
}
