//! Tables of words for the layers above.

use std::{ops::Range, sync::Arc};

use pagefold_sys::sync::AtomicU64;

use crate::{MemoryBudget, OutOfFrames, ReserveAccess, SourceError, table::Table};

/// A table of 64-bit words for the layers above.
///
/// # Concurrency
/// The words are shared atomics; the owner's protocol says which are in use.
#[derive(Debug)]
pub struct WordTable(Table<AtomicU64>);

impl WordTable {
    /// An empty table of up to `capacity` words, charged by page.
    ///
    /// # Errors
    /// [`SourceError`] when the address space cannot be reserved.
    pub fn new(memory: &Arc<MemoryBudget>, capacity: usize) -> Result<Self, SourceError> {
        Ok(Self(Table::new(memory, capacity)?))
    }

    /// The most words.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// The word, or `None` if it was never made usable.
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

    /// `N` words in a row, or `None` if the last was never made usable.
    #[inline]
    pub fn array<const N: usize>(&self, index: usize) -> Option<&[AtomicU64; N]> {
        self.0.get_array(index)
    }

    /// Makes a word usable; 0 unless written before.
    ///
    /// # Errors
    /// [`OutOfFrames`] beyond the limit or the capacity.
    pub fn ensure(&self, index: usize, access: ReserveAccess) -> Result<(), OutOfFrames> {
        self.0.ensure(index, access)
    }

    /// Gives back pages for whose words `vacant` says yes; their words become 0. Looks at a bounded number from
    /// `cursor` on, `None` at the end; returns how many.
    ///
    /// The caller prevents stores to those words, which would be lost.
    pub fn release_vacant(
        &self,
        cursor: &mut Option<usize>,
        vacant: &mut dyn FnMut(Range<usize>) -> bool,
    ) -> usize {
        // A model's table is one page.
        #[cfg(loom)]
        return {
            *cursor = None;
            let vacant = vacant(0..self.capacity());
            for index in (0..self.capacity()).filter(|_| vacant) {
                self.word(index).store(0, pagefold_sys::sync::Ordering::Relaxed);
            }
            usize::from(vacant)
        };
        // SAFETY: a store meanwhile may be lost, as documented, but every value is a valid word.
        #[cfg(not(loom))]
        unsafe {
            self.0.release_vacant(cursor, vacant)
        }
    }
}
