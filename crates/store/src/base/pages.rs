//! Where the bytes of base pages come from.

use super::fault::BaseFault;
use crate::page::Page;

/// What a source has for a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It was copied.
    Page,
    /// Without waiting it cannot be had, or not at all.
    NotAtHand,
}

/// How a page may be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtHand {
    /// By system calls and locks that wait for no device.
    Soon,
    /// In a signal handler.
    Never,
}

/// The pages of a base, unchecked.
pub(crate) trait BasePages: Send + Sync {
    /// Copies a page, inside an operation; waits for no device.
    fn at_hand(&self, page: u64, into: &mut Page, how: AtHand) -> Found;

    /// Copies a page, outside of any operation; may wait.
    fn load(&self, page: u64, into: &mut Page) -> Result<(), BaseFault>;
}
