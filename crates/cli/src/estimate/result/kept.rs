//! Where a page's content is stored.

use pagefold_pool::Handle;

/// The pages of a cluster.
pub(crate) const CLUSTER_PAGES: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Nothing,
    /// One repeated word.
    SameFilled(u64),
    Compressed(Handle),
    /// Uncompressed: compression would not save memory.
    Raw(Handle),
    /// One of the [`CLUSTER_PAGES`] of an object.
    Member {
        handle: Handle,
        page: u8,
    },
}

impl Kept {
    pub(crate) fn handle(self) -> Option<Handle> {
        match self {
            Self::Compressed(handle) | Self::Raw(handle) | Self::Member { handle, .. } => {
                Some(handle)
            }
            Self::Nothing | Self::SameFilled(_) => None,
        }
    }

    /// The handle, for one page of each object.
    pub(crate) fn object(self) -> Option<Handle> {
        match self {
            Self::Member { page: 1.., .. } => None,
            kept => kept.handle(),
        }
    }
}
