//! Pages.

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;
/// A page.
pub type Page = [u8; PAGE_BYTES];
