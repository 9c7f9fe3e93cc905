//! Where a page's content is stored.

use pagefold_pool::Handle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Nothing,
    /// One repeated word.
    SameFilled(u64),
    Compressed(Handle),
    /// Uncompressed: compression would not save memory.
    Raw(Handle),
}

impl Kept {
    pub(crate) fn handle(self) -> Option<Handle> {
        match self {
            Self::Compressed(handle) | Self::Raw(handle) => Some(handle),
            Self::Nothing | Self::SameFilled(_) => None,
        }
    }
}
