//! Versions: which put made what is under a key.
//!
//! A version is the index word without its mark, and the store's epoch, which the store raises before it reuses
//! retired handles: older versions then match nothing. Read the epoch *before* loading the word; compare it *after*
//! loading the word to replace.

use crate::{state::StoreState, word::Word};

/// The put that made what is under a key: from [`Space::get_versioned`](crate::Space::get_versioned), for
/// [`Space::put_if`](crate::Space::put_if).
///
/// Valid for its key, in its store, while the program runs. Two puts of one same-filled page, or of an empty value,
/// are the same version.
///
/// A conflict means *look again*: the store may have reused its handles.
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

#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    Anything,
    Nothing,
    Version(Version),
}

impl Expected {
    pub(crate) fn depends(self) -> bool {
        !matches!(self, Self::Anything)
    }

    /// Whether this may be replaced. Exact under the shard lock of the key.
    pub(crate) fn allows(self, store: &StoreState, there: Word) -> bool {
        match self {
            Self::Anything => true,
            Self::Nothing => there.is_empty(),
            // In this order; see the module.
            Self::Version(version) => version == Version::new(there, store.epoch()),
        }
    }
}
