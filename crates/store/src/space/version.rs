//! Versions: which put made what is under a key.
//!
//! A version is the index word without its mark, and the store's epoch. Words name objects, and a handle names one object for
//! ever (I-WORD), until a store takes retired handles back. Before that it raises its epoch, so an older version matches
//! nothing any more. A thread reads the epoch *before* it loads the word, and compares it *after* it has loaded the word to
//! replace: if that word names an object with a handle that is used again, its put came after the epoch was raised, and
//! the comparison sees that.

use crate::{state::StoreState, word::Word};

/// Which put it was that made what is under a key: from [`Space::get_versioned`](crate::Space::get_versioned), for [`Space::put_if`](crate::Space::put_if).
///
/// Copied and compared for free. Valid for its key, in its store, as long as the program runs; elsewhere it means nothing,
/// and a put with it is refused, or hits a page that happens to be equal. A page of one repeated 8-byte word, and a value
/// of no bytes, have no identity: two puts of it are the same version.
///
/// A version may fail though its page is still there (after the store reused its handles, or keeps the page in another
/// form): a conflict means *look again*, and not that another thread put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    pub(super) word: u64,
    epoch: u64,
}

impl Version {
    pub(crate) fn new(word: Word, epoch: u64) -> Self {
        Self { word: word.unreferenced().bits(), epoch }
    }
}

/// What must be under a key for a put to be accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    Anything,
    Nothing,
    Version(Version),
}

impl Expected {
    /// Whether the entry of the key matters.
    pub(crate) fn depends(self) -> bool {
        !matches!(self, Self::Anything)
    }

    /// Whether this may be replaced. Exact under the shard lock of the key, a look otherwise.
    pub(crate) fn allows(self, store: &StoreState, there: Word) -> bool {
        match self {
            Self::Anything => true,
            Self::Nothing => there.is_empty(),
            // In this order; see the module.
            Self::Version(version) => version == Version::new(there, store.epoch()),
        }
    }
}
