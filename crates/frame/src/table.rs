//! Tables of small entries in reserved memory: they grow by pages, never move, and give empty pages back.
//!
//! A *vacant* entry is zero bytes. `ensure` charges a page before use (I-LIMIT). Under loom a table is a boxed slice.

use std::{ops::Range, sync::Arc};

use pagefold_sys::sync::AtomicU64;

pub(crate) use imp::Table;

use crate::{MemoryBudget, OutOfFrames, ReserveAccess, SourceError};

/// An entry of a [`Table`].
///
/// # Safety
/// Zero bytes are a valid value; no drop is needed; the size is a power of two, at most 4096.
pub(crate) unsafe trait Entry: Send + Sync + Sized {
    #[cfg(loom)]
    fn vacant() -> Self;

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

/// A lock guards it, so loom need not.
pub(crate) type GuardedU64 = std::sync::atomic::AtomicU64;
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

    /// Many pages a call; untouched ones are not resident.
    const COMMIT_BYTES: usize = 256 << 10;
    /// Bounds how long the table is locked.
    const RELEASE_BATCH: usize = 128;

    #[derive(Debug)]
    pub(crate) struct Table<T> {
        memory: Arc<MemoryBudget>,
        reservation: Reservation,
        capacity: usize,
        /// In entries.
        committed: AtomicUsize,
        charged: Mutex<ChargedPages>,
        entries: PhantomData<T>,
    }

    impl<T: Entry> Table<T> {
        const PER_PAGE: usize = {
            assert!(size_of::<T>().is_power_of_two() && size_of::<T>() <= FRAME_BYTES);
            FRAME_BYTES / size_of::<T>()
        };

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

        pub(crate) fn capacity(&self) -> usize {
            self.capacity
        }

        #[inline]
        pub(crate) fn get(&self, index: usize) -> Option<&T> {
            // ORDERING: Acquire; pairs with the Release in `ensure`: the memory is usable.
            if index >= self.committed.load(Ordering::Acquire) {
                return None;
            }
            // SAFETY: `index < committed <= capacity`: inside the reservation.
            let entry = unsafe { self.reservation.base().cast::<T>().add(index) };
            // SAFETY: committed and aligned memory, zero or written as a `T`; only shared references, until `drop`.
            Some(unsafe { entry.as_ref() })
        }

        #[inline]
        pub(crate) fn get_array<const N: usize>(&self, index: usize) -> Option<&[T; N]> {
            // ORDERING: Acquire; as in `get`.
            if index.checked_add(N)? > self.committed.load(Ordering::Acquire) {
                return None;
            }
            // SAFETY: `index + N <= committed <= capacity`: inside the reservation.
            let first = unsafe { self.reservation.base().cast::<T>().add(index) };
            // SAFETY: as in `get`, for each entry.
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
            // ORDERING: Relaxed; changed under this lock.
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

        /// Gives back pages of only `vacant` entries; returns how many. Looks at a bounded number from `cursor`,
        /// `None` at the end.
        ///
        /// # Safety
        /// From the call of `vacant` that accepts a page until this returns, no thread writes its entries.
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
            // SAFETY: by contract no thread writes these entries; threads may load them atomically.
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
            // SAFETY: from `new`, released once; references to entries borrow the table.
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
