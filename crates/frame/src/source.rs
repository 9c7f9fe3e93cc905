//! Where frames and tables get their memory.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    collections::HashMap,
    fmt,
    ops::Range,
    ptr::NonNull,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

#[cfg(target_os = "linux")]
use pagefold_sys::memory::{self, CoreDump};
use pagefold_sys::memory::{MemoryError, Reservation};
use thiserror::Error;

use crate::FRAME_BYTES;

/// Why a source gave no memory.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The system refused.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The heap has no such block.
    #[error("the heap has no block of {bytes} bytes")]
    Heap {
        /// Bytes asked for.
        bytes: usize,
    },
    /// More entries than there are addresses.
    #[error("a table of {entries} entries does not fit the address space")]
    Capacity {
        /// Entries asked for.
        entries: usize,
    },
    /// Pages differ from frames: no frame can be given back alone.
    #[error(
        "the system's pages have {page_bytes} bytes, and frames {FRAME_BYTES}; use the heap source"
    )]
    PageSize {
        /// The system's page size.
        page_bytes: usize,
    },
}

/// A source of memory.
///
/// # Safety
/// Live reservations do not overlap. Committed memory is readable, writable, zero until written, and keeps its
/// contents until decommitted or released.
pub unsafe trait FrameSource: Send + Sync + fmt::Debug {
    /// Reserves address space, aligned to `align`.
    ///
    /// # Errors
    /// [`SourceError`].
    fn reserve(&self, bytes: usize, align: usize) -> Result<Reservation, SourceError>;

    /// Makes a frame-aligned part usable.
    ///
    /// # Errors
    /// [`SourceError`].
    fn commit(&self, reservation: &Reservation, range: Range<usize>) -> Result<(), SourceError>;

    /// Gives committed frame-aligned parts back; they then read as zero.
    ///
    /// # Errors
    /// [`SourceError`]; each part is unchanged or given back.
    ///
    /// # Safety
    /// Meanwhile no thread writes the parts, relies on their contents, or reads them except by atomic loads.
    unsafe fn decommit(
        &self,
        reservation: &Reservation,
        ranges: &[Range<usize>],
    ) -> Result<(), SourceError>;

    /// Ends a reservation.
    ///
    /// # Safety
    /// It came from this source, is released once, and is no longer used.
    unsafe fn release(&self, reservation: Reservation);

    /// A test makes the next allocation of frames or a table page fail.
    #[cfg(feature = "fault-injection")]
    fn injects_failure(&self) -> bool {
        false
    }

    /// A test makes the next isolation fail with `Busy`.
    #[cfg(feature = "fault-injection")]
    fn injects_isolation(&self) -> bool {
        false
    }

    /// Address space to reserve for an arena of `limit_bytes`.
    fn address_space(&self, limit_bytes: usize) -> usize;
}

/// Memory mapped from the system.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct MmapSource {
    dump: CoreDump,
    is_kept_from_children: bool,
}

#[cfg(target_os = "linux")]
impl MmapSource {
    /// Address space costs nothing, and the limit may grow.
    const ADDRESS_SPACE_MIN: usize = 32 << 20;

    /// A source of this system's memory.
    ///
    /// # Errors
    /// [`SourceError::PageSize`] where pages are not the size of frames.
    pub fn new(dump: CoreDump) -> Result<Self, SourceError> {
        match memory::page_bytes() {
            FRAME_BYTES => Ok(Self { dump, is_kept_from_children: false }),
            page_bytes => Err(SourceError::PageSize { page_bytes }),
        }
    }

    /// The child of a fork does not get the memory (`MADV_DONTFORK`), so no write of the parent copies a frame. A touch there is `SIGSEGV`:
    /// for those whose code never uses it there.
    pub fn keep_from_children(self) -> Self {
        Self { is_kept_from_children: true, ..self }
    }
}

#[cfg(target_os = "linux")]
// SAFETY: a fresh private anonymous mapping overlaps no other, reads as zero and keeps its contents.
unsafe impl FrameSource for MmapSource {
    fn reserve(&self, bytes: usize, align: usize) -> Result<Reservation, SourceError> {
        let reservation = memory::reserve(bytes, align, self.dump)?;
        if self.is_kept_from_children
            && let Err(error) = memory::keep_from_children(&reservation)
        {
            // SAFETY: reserved above, and no other has it.
            unsafe { memory::release(reservation) };
            return Err(error.into());
        }
        Ok(reservation)
    }

    fn commit(&self, reservation: &Reservation, range: Range<usize>) -> Result<(), SourceError> {
        Ok(memory::commit(reservation, range)?)
    }

    unsafe fn decommit(
        &self,
        reservation: &Reservation,
        ranges: &[Range<usize>],
    ) -> Result<(), SourceError> {
        // SAFETY: this function's contract; from `memory::reserve`.
        Ok(unsafe { memory::decommit(reservation, ranges) }?)
    }

    unsafe fn release(&self, reservation: Reservation) {
        // SAFETY: this function's contract; from `memory::reserve`.
        unsafe { memory::release(reservation) };
    }

    fn address_space(&self, limit_bytes: usize) -> usize {
        limit_bytes.saturating_mul(4).max(Self::ADDRESS_SPACE_MIN)
    }
}

/// Zeroed blocks of the global allocator, for tests and other systems. Decommitting keeps the memory.
#[derive(Debug, Default)]
pub struct HeapSource {
    /// By address: bytes skipped, and the block.
    blocks: Mutex<HashMap<usize, (usize, Layout)>>,
}

/// At most this alignment leaves zeroed memory untouched.
const HEAP_ALIGN: usize = 16;

impl HeapSource {
    /// An empty source.
    pub fn new() -> Self {
        Self::default()
    }
}

// SAFETY: each reservation is its own zeroed block, kept until released.
unsafe impl FrameSource for HeapSource {
    fn reserve(&self, bytes: usize, align: usize) -> Result<Reservation, SourceError> {
        let failed = || SourceError::Heap { bytes };
        // By hand: for a large alignment the heap would touch the pages.
        let total = bytes.checked_add(align).ok_or_else(failed)?;
        let layout = Layout::from_size_align(total, HEAP_ALIGN).map_err(|_| failed())?;
        // SAFETY: the size is not 0: it includes the alignment.
        let block = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(failed)?;
        let skip = block.addr().get().next_multiple_of(align) - block.addr().get();
        // SAFETY: `skip < align`, within `bytes + align`.
        let base = unsafe { block.add(skip) };
        let mut blocks = self.blocks.lock().expect("no panic while the map was held");
        blocks.insert(base.addr().get(), (skip, layout));
        Ok(Reservation::new(base, bytes))
    }

    fn commit(&self, reservation: &Reservation, range: Range<usize>) -> Result<(), SourceError> {
        assert!(range.end <= reservation.bytes(), "the range lies in the reservation");
        Ok(())
    }

    unsafe fn decommit(
        &self,
        reservation: &Reservation,
        ranges: &[Range<usize>],
    ) -> Result<(), SourceError> {
        for range in ranges {
            assert!(range.start.is_multiple_of(8) && range.end.is_multiple_of(8), "frame-aligned");
            let end = reservation.at(range.end);
            let mut word = reservation.at(range.start).cast::<AtomicU64>();
            while word.cast() < end {
                // Atomic: threads may load meanwhile.
                // SAFETY: an aligned word of our block; by contract no thread writes it.
                unsafe { word.as_ref() }.store(0, Ordering::Relaxed);
                // SAFETY: at most one past the range.
                word = unsafe { word.add(1) };
            }
        }
        Ok(())
    }

    unsafe fn release(&self, reservation: Reservation) {
        let mut blocks = self.blocks.lock().expect("no panic while the map was held");
        let found = blocks.remove(&reservation.base().addr().get());
        let (skip, layout) = found.expect("a reservation of this source");
        // SAFETY: `reserve` skipped these bytes of the block.
        let block = unsafe { reservation.base().sub(skip) };
        // SAFETY: from `reserve` with this layout; by contract unused.
        unsafe { dealloc(block.as_ptr(), layout) };
    }

    fn address_space(&self, limit_bytes: usize) -> usize {
        // Room for pageblocks of each kind.
        limit_bytes.saturating_add(16 << 20)
    }
}
