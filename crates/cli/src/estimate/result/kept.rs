//! Where the content of one page is stored.

use pagefold_pool::Handle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Not stored yet, or freed.
    Nothing,
    /// One repeated word, without memory.
    SameFilled(u64),
    /// A compressed object of the pool.
    Compressed(Handle),
    /// An uncompressed object of the pool: compression would not have saved memory.
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
