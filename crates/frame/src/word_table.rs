//! Tables of words for the layers above.

use std::{ops::Range, sync::Arc};

use pagefold_sys::sync::AtomicU64;

use crate::{MemoryBudget, OutOfFrames, ReserveAccess, SourceError, table::Table};

/// A table of 64-bit words for the layers above.
///
/// # Concurrency
/// The words are atomics and shared freely; the owner's protocol says what they mean and which are in use.
#[derive(Debug)]
pub struct WordTable(Table<AtomicU64>);

impl WordTable {
    /// An empty table for up to `capacity` words, charged to `memory` page by page.
    ///
    /// # Errors
    /// [`SourceError`] when the address space cannot be reserved.
    pub fn new(memory: &Arc<MemoryBudget>, capacity: usize) -> Result<Self, SourceError> {
        Ok(Self(Table::new(memory, capacity)?))
    }

    /// The most words the table can have.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// The word, or `None` when it was never made usable. Any index is allowed.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&AtomicU64> {
        self.0.get(index)
    }

    /// The word.
    ///
    /// # Panics
    /// If it was never made usable.
    #[inline]
    pub fn word(&self, index: usize) -> &AtomicU64 {
        self.0.get(index).expect("a word that was made usable before")
    }

    /// `N` words in a row, or `None` when the last of them was never made usable.
    #[inline]
    pub fn array<const N: usize>(&self, index: usize) -> Option<&[AtomicU64; N]> {
        self.0.get_array(index)
    }

    /// Makes a word usable; it is 0 unless it was written before.
    ///
    /// # Errors
    /// [`OutOfFrames`] when its page does not fit the limit, or beyond the capacity.
    pub fn ensure(&self, index: usize, access: ReserveAccess) -> Result<(), OutOfFrames> {
        self.0.ensure(index, access)
    }

    /// Gives back pages for whose words `vacant` says yes, a bounded number a call, from `cursor` on; returns how many.
    /// Their words become 0. `cursor` is `None` at the end.
    ///
    /// A store to those words meanwhile is lost; the caller prevents it.
    pub fn release_vacant(
        &self,
        cursor: &mut Option<usize>,
        vacant: &mut dyn FnMut(Range<usize>) -> bool,
    ) -> usize {
        // A model's table is one page, and giving it back is to forget what it held.
        #[cfg(loom)]
        return {
            *cursor = None;
            let vacant = vacant(0..self.capacity());
            for index in (0..self.capacity()).filter(|_| vacant) {
                self.word(index).store(0, pagefold_sys::sync::Ordering::Relaxed);
            }
            usize::from(vacant)
        };
        // SAFETY: a word that is stored to meanwhile may lose the store, as documented, but every value is a valid
        // word: no memory safety hangs on it.
        #[cfg(not(loom))]
        unsafe {
            self.0.release_vacant(cursor, vacant)
        }
    }
}
