//! Why a base cannot be opened.

use std::io;

use thiserror::Error;

use crate::error::{GetError, KeyError, PutError, SpaceError};

/// Why no base was made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BaseError {
    /// The file cannot be opened or read.
    #[error("the base {name} cannot be read")]
    Io {
        /// Of the base.
        name: String,
        /// The system's.
        #[source]
        error: io::Error,
    },
    /// The content is not the expected one.
    #[error("the base {name} has the fingerprint {found:032x}, and {expected:032x} was expected")]
    Fingerprint {
        /// Of the base.
        name: String,
        /// As given.
        expected: u128,
        /// Of the content.
        found: u128,
    },
    /// The limit leaves no room for hashes and resident pages, or for the pages of a base in the store.
    #[error("the limit of the store leaves no room for the base")]
    Full,
    /// An ephemeral space may drop pages.
    #[error("the space {space} is ephemeral: it may drop pages, and a base must not")]
    Ephemeral {
        /// Its name.
        space: String,
    },
    /// A base of a space that is on a base itself.
    #[error("the space {space} is on a base itself; chains of bases are not made")]
    Chain {
        /// Its name.
        space: String,
    },
    /// A space of another store.
    #[error("the space {space} is one of another store")]
    ForeignSpace {
        /// Its name.
        space: String,
    },
    /// A base has pages only.
    #[error("key {key} of the space {space} has a value that is no page")]
    NotAPage {
        /// Its name.
        space: String,
        /// The first such key.
        key: u64,
    },
    /// A page of the space cannot be read.
    #[error("key {key} of the space cannot be read: {error}")]
    Get {
        /// The first such key.
        key: u64,
        /// Why.
        error: GetError,
    },
    /// Operations took too long, or this thread is in one.
    #[error("operations on the store are under way; make the base when they are done")]
    Busy,
    /// An unusable space or store.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl From<SpaceError> for BaseError {
    fn from(error: SpaceError) -> Self {
        match error {
            SpaceError::Key(error) => error.into(),
            _ => Self::Full,
        }
    }
}

impl From<PutError> for BaseError {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Key(error) => error.into(),
            _ => Self::Full,
        }
    }
}
