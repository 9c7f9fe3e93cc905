//! Tables of small entries in reserved memory: they grow page by page, never move, and give empty pages back.
//!
//! A table reserves address space for its whole capacity, so an index becomes an address by arithmetic, and references
//! stay valid as long as the table. An entry of zero bytes is *vacant*, as on a page first used or given back.
//!
//! Pages are charged to the [`MemoryBudget`] account before they are used (I-LIMIT), entry by entry through `ensure`.
//! Under loom a table is a short boxed slice of loom's own atomics.

use std::{ops::Range, sync::Arc};

use pagefold_sys::sync::AtomicU64;

pub(crate) use imp::Table;

use crate::{MemoryBudget, OutOfFrames, ReserveAccess, SourceError};

/// What may lie in a [`Table`].
///
/// # Safety
/// All-zero bytes are a valid value, the type needs no drop, and its size is a power of two of at most 4096.
pub(crate) unsafe trait Entry: Send + Sync + Sized {
    /// The value of all-zero bytes.
    #[cfg(loom)]
    fn vacant() -> Self;

    /// Entries of this type that a model's table has at most.
    #[cfg(loom)]
    const MODEL_ENTRIES: usize = 80;
}

// SAFETY: an integer of 8 bytes.
unsafe impl Entry for AtomicU64 {
    #[cfg(loom)]
    fn vacant() -> Self {
        Self::new(0)
    }
}

/// A word that an owner's lock guards. Loom watches the lock and need not watch the words.
pub(crate) type GuardedU64 = std::sync::atomic::AtomicU64;
/// As [`GuardedU64`], of 32 bits.
pub(crate) type GuardedU32 = std::sync::atomic::AtomicU32;

// SAFETY: an integer of 8 bytes.
#[cfg(loom)]
unsafe impl Entry for GuardedU64 {
    fn vacant() -> Self {
        Self::new(0)
    }

    const MODEL_ENTRIES: usize = 4096;
}

// SAFETY: an integer of 4 bytes.
unsafe impl Entry for GuardedU32 {
    #[cfg(loom)]
    fn vacant() -> Self {
        Self::new(0)
    }

    #[cfg(loom)]
    const MODEL_ENTRIES: usize = 4096;
}

#[cfg(not(loom))]
mod imp {
    use std::marker::PhantomData;

    use pagefold_sys::{
        memory::Reservation,
        sync::{AtomicUsize, Mutex, Ordering},
    };

    use super::*;
    use crate::{FRAME_BYTES, charged::ChargedPages};

    /// The grain of commit: one system call for many pages; pages not yet touched are not resident.
    const COMMIT_BYTES: usize = 256 << 10;
    /// Pages given back in one call, so that a thread that waits for the table waits briefly.
    const RELEASE_BATCH: usize = 128;

    /// A table of `T`.
    #[derive(Debug)]
    pub(crate) struct Table<T> {
        memory: Arc<MemoryBudget>,
        reservation: Reservation,
        capacity: usize,
        /// Entries whose memory is committed.
        committed: AtomicUsize,
        charged: Mutex<ChargedPages>,
        entries: PhantomData<T>,
    }

    impl<T: Entry> Table<T> {
        const PER_PAGE: usize = {
            assert!(size_of::<T>().is_power_of_two() && size_of::<T>() <= FRAME_BYTES);
            FRAME_BYTES / size_of::<T>()
        };

        /// An empty table for up to `capacity` entries.
        pub(crate) fn new(
            memory: &Arc<MemoryBudget>,
            capacity: usize,
        ) -> Result<Self, SourceError> {
            let bytes = capacity.max(1).checked_mul(size_of::<T>());
            let bytes = bytes.and_then(|bytes| bytes.checked_next_multiple_of(FRAME_BYTES));
            let bytes = bytes.ok_or(SourceError::Capacity { entries: capacity })?;
            Ok(Self {
                memory: Arc::clone(memory),
                reservation: memory.source().reserve(bytes, FRAME_BYTES)?,
                capacity,
                committed: AtomicUsize::new(0),
                charged: Mutex::new(ChargedPages::new()),
                entries: PhantomData,
            })
        }

        /// The entries there can ever be.
        pub(crate) fn capacity(&self) -> usize {
            self.capacity
        }

        /// The entry, if its memory is committed.
        #[inline]
        pub(crate) fn get(&self, index: usize) -> Option<&T> {
            // ORDERING: Acquire; pairs with the Release in `ensure`, after the memory became usable.
            if index >= self.committed.load(Ordering::Acquire) {
                return None;
            }
            // SAFETY: `index < committed <= capacity`, so the offset lies in the reservation.
            let entry = unsafe { self.reservation.base().cast::<T>().add(index) };
            // SAFETY: committed memory of ours, aligned (the base is page-aligned), zero or written as a `T`; it is
            // only reached by shared reference and released only in `drop`.
            Some(unsafe { entry.as_ref() })
        }

        /// `N` entries in a row, if their memory is committed.
        #[inline]
        pub(crate) fn get_array<const N: usize>(&self, index: usize) -> Option<&[T; N]> {
            // ORDERING: Acquire; as in `get`.
            if index.checked_add(N)? > self.committed.load(Ordering::Acquire) {
                return None;
            }
            // SAFETY: `index + N <= committed <= capacity`, so the offset lies in the reservation.
            let first = unsafe { self.reservation.base().cast::<T>().add(index) };
            // SAFETY: as in `get`, for each of the `N` entries from here on.
            Some(unsafe { first.cast::<[T; N]>().as_ref() })
        }

        /// Makes the entry usable and charges its page.
        pub(crate) fn ensure(
            &self,
            index: usize,
            access: ReserveAccess,
        ) -> Result<(), OutOfFrames> {
            if index >= self.capacity {
                return Err(OutOfFrames);
            }
            let page = index / Self::PER_PAGE;
            let mut charged = self.charged.lock();
            if charged.contains(page) {
                return Ok(());
            }
            charged.ensure(page, &self.memory, access)?;
            self.memory.charge_metadata(1, access)?;
            // ORDERING: Relaxed; only changed under the lock held here.
            let committed = self.committed.load(Ordering::Relaxed) * size_of::<T>();
            let end = (page + 1) * FRAME_BYTES;
            if committed < end {
                let upto = end.next_multiple_of(COMMIT_BYTES).min(self.reservation.bytes());
                if self.memory.source().commit(&self.reservation, committed..upto).is_err() {
                    self.memory.uncharge_metadata(1);
                    return Err(OutOfFrames);
                }
                // ORDERING: Release; pairs with the Acquire in `get`.
                self.committed.store(upto / size_of::<T>(), Ordering::Release);
            }
            charged.insert(page);
            Ok(())
        }

        /// Gives pages back whose entries are all vacant, as `vacant` says for the range of each page, and returns
        /// how many. Looks at pages from `cursor` on, a bounded number a call, and moves it to `None` at the end.
        ///
        /// # Safety
        /// From the call of `vacant` to the end of this one, no thread writes an entry of a page that it said yes for.
        pub(crate) unsafe fn release_vacant(
            &self,
            cursor: &mut Option<usize>,
            vacant: &mut dyn FnMut(Range<usize>) -> bool,
        ) -> usize {
            let Some(first) = *cursor else { return 0 };
            let mut charged = self.charged.lock();
            let mut pages = Vec::new();
            let mut next = first;
            *cursor = loop {
                let Some(page) = charged.next_from(next) else { break None };
                if pages.len() == RELEASE_BATCH {
                    break Some(page);
                }
                if vacant(page * Self::PER_PAGE..(page + 1) * Self::PER_PAGE) {
                    pages.push(page);
                }
                next = page + 1;
            };
            let ranges: Vec<_> =
                pages.iter().map(|page| page * FRAME_BYTES..(page + 1) * FRAME_BYTES).collect();
            if ranges.is_empty() {
                return charged.shrink(&self.memory);
            }
            // SAFETY: no thread writes these entries, by this function's contract; threads may load them atomically.
            let given_back = unsafe { self.memory.source().decommit(&self.reservation, &ranges) };
            if given_back.is_err() {
                return 0;
            }
            for &page in &pages {
                charged.remove(page);
            }
            self.memory.uncharge_metadata(pages.len());
            pages.len() + charged.shrink(&self.memory)
        }
    }

    impl<T> Drop for Table<T> {
        fn drop(&mut self) {
            self.memory.uncharge_metadata(self.charged.lock().count());
            // SAFETY: reserved in `new`, released once, and references to entries borrow the table.
            unsafe { self.memory.source().release(self.reservation) };
        }
    }
}

#[cfg(loom)]
mod imp {
    use super::*;

    #[derive(Debug)]
    pub(crate) struct Table<T> {
        entries: Box<[T]>,
    }

    impl<T: Entry> Table<T> {
        pub(crate) fn new(
            _memory: &Arc<MemoryBudget>,
            capacity: usize,
        ) -> Result<Self, SourceError> {
            Ok(Self { entries: (0..capacity.min(T::MODEL_ENTRIES)).map(|_| T::vacant()).collect() })
        }

        pub(crate) fn capacity(&self) -> usize {
            self.entries.len()
        }

        pub(crate) fn get(&self, index: usize) -> Option<&T> {
            self.entries.get(index)
        }

        pub(crate) fn get_array<const N: usize>(&self, index: usize) -> Option<&[T; N]> {
            self.entries.get(index..index.checked_add(N)?)?.try_into().ok()
        }

        pub(crate) fn ensure(
            &self,
            index: usize,
            _claim: ReserveAccess,
        ) -> Result<(), OutOfFrames> {
            if index < self.entries.len() { Ok(()) } else { Err(OutOfFrames) }
        }

        pub(crate) unsafe fn release_vacant(
            &self,
            cursor: &mut Option<usize>,
            _vacant: &mut dyn FnMut(Range<usize>) -> bool,
        ) -> usize {
            *cursor = None;
            0
        }
    }
}
