//! Where one page went.

use pagefold_pool::Handle;

/// Where a page's content went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// There is none: not stored yet, or freed.
    Nothing,
    /// One repeated word; no memory.
    SameFilled(u64),
    /// An object of the pool, compressed.
    Compressed(Handle),
    /// An object of the pool, as it was: compression would not have paid.
    Raw(Handle),
}

impl Kept {
    /// The object of the pool, if there is one.
    pub(crate) fn handle(self) -> Option<Handle> {
        match self {
            Self::Compressed(handle) | Self::Raw(handle) => Some(handle),
            Self::Nothing | Self::SameFilled(_) => None,
        }
    }
}
