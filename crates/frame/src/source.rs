//! Where frames and tables get their memory: the one seam for production, other systems and faults.

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
    /// The heap has no block of that size.
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
    /// Pages are not the size of a frame, so frames cannot be given back one by one.
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
/// No other reservation overlaps one until it is released. Committed memory is readable and writable, reads as zero
/// until written, and keeps its contents until it is decommitted or released.
pub unsafe trait FrameSource: Send + Sync + fmt::Debug {
    /// Reserves address space that starts at a multiple of `align`.
    ///
    /// # Errors
    /// [`SourceError`].
    fn reserve(&self, bytes: usize, align: usize) -> Result<Reservation, SourceError>;

    /// Makes a frame-aligned part usable.
    ///
    /// # Errors
    /// [`SourceError`].
    fn commit(&self, reservation: &Reservation, range: Range<usize>) -> Result<(), SourceError>;

    /// Gives frame-aligned committed parts back; they read as zero from now on.
    ///
    /// # Errors
    /// [`SourceError`]; each part is then as it was, or given back.
    ///
    /// # Safety
    /// During the call no thread writes the parts, or reads them other than by atomic loads, or relies on their
    /// contents.
    unsafe fn decommit(
        &self,
        reservation: &Reservation,
        ranges: &[Range<usize>],
    ) -> Result<(), SourceError>;

    /// Ends a reservation.
    ///
    /// # Safety
    /// It came from this source, is released once, and nothing refers to its memory.
    unsafe fn release(&self, reservation: Reservation);

    /// Whether a test makes the next allocation fail: of a run of frames, or of a page of a table.
    #[cfg(feature = "fault-injection")]
    fn injects_failure(&self) -> bool {
        false
    }

    /// Whether a test makes the next isolation fail as if another mover had isolated the descriptor.
    #[cfg(feature = "fault-injection")]
    fn injects_isolation(&self) -> bool {
        false
    }

    /// Address space worth reserving for an arena of `limit_bytes`.
    fn address_space(&self, limit_bytes: usize) -> usize;
}

/// Memory mapped from the system: the source for production.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct MmapSource {
    dump: CoreDump,
}

#[cfg(target_os = "linux")]
impl MmapSource {
    /// The least address space to reserve: it is free of charge, and a limit may be raised later.
    const ADDRESS_SPACE_MIN: usize = 32 << 20;

    /// A source on this system.
    ///
    /// # Errors
    /// [`SourceError::PageSize`] where pages are not the size of frames.
    pub fn new(dump: CoreDump) -> Result<Self, SourceError> {
        match memory::page_bytes() {
            FRAME_BYTES => Ok(Self { dump }),
            page_bytes => Err(SourceError::PageSize { page_bytes }),
        }
    }
}

#[cfg(target_os = "linux")]
// SAFETY: a fresh private anonymous mapping is no other reservation's, reads as zero and keeps what is written.
unsafe impl FrameSource for MmapSource {
    fn reserve(&self, bytes: usize, align: usize) -> Result<Reservation, SourceError> {
        Ok(memory::reserve(bytes, align, self.dump)?)
    }

    fn commit(&self, reservation: &Reservation, range: Range<usize>) -> Result<(), SourceError> {
        Ok(memory::commit(reservation, range)?)
    }

    unsafe fn decommit(
        &self,
        reservation: &Reservation,
        ranges: &[Range<usize>],
    ) -> Result<(), SourceError> {
        // SAFETY: by this function's contract; the reservation came from `memory::reserve`.
        Ok(unsafe { memory::decommit(reservation, ranges) }?)
    }

    unsafe fn release(&self, reservation: Reservation) {
        // SAFETY: by this function's contract; the reservation came from `memory::reserve`.
        unsafe { memory::release(reservation) };
    }

    fn address_space(&self, limit_bytes: usize) -> usize {
        limit_bytes.saturating_mul(4).max(Self::ADDRESS_SPACE_MIN)
    }
}

/// Memory from the global allocator: for tests, and for systems without a source of their own.
///
/// Reservations are real blocks, so address space stays close to the limit. Decommitting zeroes memory but keeps it.
#[derive(Debug, Default)]
pub struct HeapSource {
    /// By the address of the reservation: the bytes skipped before it, and the layout of the whole block.
    blocks: Mutex<HashMap<usize, (usize, Layout)>>,
}

/// The alignment up to which the heap hands out zeroed memory without touching it.
const HEAP_ALIGN: usize = 16;

impl HeapSource {
    /// A source without blocks.
    pub fn new() -> Self {
        Self::default()
    }
}

// SAFETY: each reservation is a zeroed block of its own, kept until it is released.
unsafe impl FrameSource for HeapSource {
    fn reserve(&self, bytes: usize, align: usize) -> Result<Reservation, SourceError> {
        let failed = || SourceError::Heap { bytes };
        // Aligned by hand: the heap fills zero pages for a large alignment, and leaves them untouched for a small one.
        let total = bytes.checked_add(align).ok_or_else(failed)?;
        let layout = Layout::from_size_align(total, HEAP_ALIGN).map_err(|_| failed())?;
        // SAFETY: the size is at least that of the alignment, which is not 0.
        let block = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(failed)?;
        let skip = block.addr().get().next_multiple_of(align) - block.addr().get();
        // SAFETY: `skip < align`, so it lies in the block of `bytes + align`.
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
                // Atomic stores, because threads may load atomically meanwhile.
                // SAFETY: an aligned word of our live block, which no thread writes, by this function's contract.
                unsafe { word.as_ref() }.store(0, Ordering::Relaxed);
                // SAFETY: at most one past the end of the range.
                word = unsafe { word.add(1) };
            }
        }
        Ok(())
    }

    unsafe fn release(&self, reservation: Reservation) {
        let mut blocks = self.blocks.lock().expect("no panic while the map was held");
        let found = blocks.remove(&reservation.base().addr().get());
        let (skip, layout) = found.expect("a reservation of this source");
        // SAFETY: `reserve` skipped that many bytes of the block.
        let block = unsafe { reservation.base().sub(skip) };
        // SAFETY: allocated by `reserve` with this layout, and by contract unused.
        unsafe { dealloc(block.as_ptr(), layout) };
    }

    fn address_space(&self, limit_bytes: usize) -> usize {
        // Room for pageblocks of each kind beside each other.
        limit_bytes.saturating_add(16 << 20)
    }
}
