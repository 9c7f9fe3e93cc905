//! The accounts of a base.

/// The accounts of a [`Base`](crate::Base).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct BaseStats {
    /// Its name.
    pub name: String,
    /// Pages of 4096 bytes.
    pub pages: u64,
    /// Of these, pages of zeros.
    pub holes: u64,
    /// Spaces on it.
    pub spaces: u64,
    /// Whether all of its pages stay in memory.
    pub locked: bool,
    /// Bytes of decoded pages in memory.
    pub resident_bytes: u64,
    /// What it takes of the limit, without the pages of a base in the store.
    pub charged_bytes: u64,
    /// Base pages that were in memory.
    pub hits: u64,
    /// Base pages read from their source.
    pub reads: u64,
    /// Base pages that could not be had.
    pub failures: u64,
}
