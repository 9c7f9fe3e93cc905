//! Reserve, commit, decommit and release.

use std::{ffi::c_void, io, ops::Range, ptr, ptr::NonNull};

use rustix::mm::{
    Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap_anonymous, mprotect, munmap,
};

use super::{CoreDump, MemoryError, Reservation};

/// Ranges of one `process_madvise` (`UIO_MAXIOV`).
const RANGES_PER_CALL_MAX: usize = 1024;
/// The calling process (Linux 6.14, `PIDFD_SELF_THREAD_GROUP`).
const PIDFD_SELF: libc::c_int = -10_000;

fn map(bytes: usize) -> Result<NonNull<u8>, MemoryError> {
    // SAFETY: a new private mapping at an address of the kernel's choice touches no existing memory.
    let address = unsafe {
        mmap_anonymous(
            ptr::null_mut(),
            bytes,
            ProtFlags::empty(),
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )
    }
    .map_err(|errno| MemoryError::Reserve { bytes, source: errno.into() })?;
    Ok(NonNull::new(address.cast()).expect("the kernel does not map page 0"))
}

/// # Safety
/// The range belongs to a mapping of [`map`] and nothing refers to it.
unsafe fn unmap(base: NonNull<u8>, bytes: usize) {
    if bytes > 0 {
        // SAFETY: by this function's contract.
        let outcome = unsafe { munmap(base.as_ptr().cast(), bytes) };
        outcome.expect("unmapping a whole mapping, or an end of one, does not fail");
    }
}

/// The system's page size: the granularity of [`commit`] and [`decommit`].
pub fn page_bytes() -> usize {
    rustix::param::page_size()
}

/// Reserves `bytes` of address space at a multiple of `align`, until [`release`].
///
/// # Errors
/// [`MemoryError::Reserve`].
///
/// # Panics
/// If `align` is not a power of two, or `bytes` is not whole pages.
pub fn reserve(bytes: usize, align: usize, dump: CoreDump) -> Result<Reservation, MemoryError> {
    assert!(align.is_power_of_two(), "an alignment is a power of two");
    assert!(bytes.is_multiple_of(page_bytes()), "a reservation is whole pages");
    let slack = if align > page_bytes() { align } else { 0 };
    let wanted = bytes.checked_add(slack).ok_or_else(|| MemoryError::Reserve {
        bytes,
        source: io::ErrorKind::InvalidInput.into(),
    })?;
    let mapped = map(wanted)?;
    let head = mapped.addr().get().next_multiple_of(align) - mapped.addr().get();
    // SAFETY: `head < align`, so the aligned start lies within the mapping.
    let base = unsafe { mapped.add(head) };
    // SAFETY: the part before the aligned start is ours and unused.
    unsafe { unmap(mapped, head) };
    // SAFETY: `head + bytes` lies within the mapping of `wanted` bytes.
    let end = unsafe { base.add(bytes) };
    // SAFETY: the part after the reservation is ours and unused.
    unsafe { unmap(end, slack - head) };
    // With huge pages one touched frame would make 512 resident. A kernel without this advice refuses; that is no
    // error.
    // SAFETY: the range is a mapping of our own and this advice does not change contents.
    let _ = unsafe { madvise(base.as_ptr().cast(), bytes, Advice::LinuxNoHugepage) };
    if dump == CoreDump::Exclude {
        // SAFETY: as above.
        let _ = unsafe { madvise(base.as_ptr().cast(), bytes, Advice::LinuxDontDump) };
    }
    Ok(Reservation { base, bytes })
}

/// The child of a fork does not get the range: a touch there is `SIGSEGV`. Until [`release`].
///
/// # Errors
/// [`MemoryError::Reserve`]; the range stays as it was.
pub fn keep_from_children(reservation: &Reservation) -> Result<(), MemoryError> {
    let (base, bytes) = (reservation.base, reservation.bytes);
    // SAFETY: the range is a mapping of our own; this advice changes nothing in this process.
    unsafe { madvise(base.as_ptr().cast(), bytes, Advice::LinuxDontFork) }
        .map_err(|errno| MemoryError::Reserve { bytes, source: errno.into() })
}

/// Makes a page-aligned part readable and writable. It reads as zero until written.
///
/// # Errors
/// [`MemoryError::Commit`]; the range is unchanged.
///
/// # Panics
/// If the part does not lie in the reservation.
pub fn commit(reservation: &Reservation, range: Range<usize>) -> Result<(), MemoryError> {
    assert!(range.end <= reservation.bytes, "the range lies in the reservation");
    let start = reservation.at(range.start);
    let protection = MprotectFlags::READ | MprotectFlags::WRITE;
    // SAFETY: the range is part of our own mapping; making it writable invalidates nothing.
    unsafe { mprotect(start.as_ptr().cast(), range.len(), protection) }
        .map_err(|errno| MemoryError::Commit { bytes: range.len(), source: errno.into() })
}

/// Gives page-aligned committed parts back to the system; they then read as zero.
///
/// # Errors
/// [`MemoryError::Decommit`]; some parts may have been given back.
///
/// # Safety
/// The reservation came from [`reserve`]. During the call no thread writes the parts, reads them except by atomic
/// loads, or relies on their contents.
pub unsafe fn decommit(
    reservation: &Reservation,
    ranges: &[Range<usize>],
) -> Result<(), MemoryError> {
    for batch in ranges.chunks(RANGES_PER_CALL_MAX) {
        // SAFETY: by this function's contract no thread uses the parts.
        if batch.len() > 1 && unsafe { decommit_vectored(reservation, batch) } {
            continue;
        }
        for range in batch {
            assert!(range.end <= reservation.bytes, "the range lies in the reservation");
            let start: *mut c_void = reservation.at(range.start).as_ptr().cast();
            // SAFETY: a part of our own mapping whose contents no thread relies on.
            unsafe { madvise(start, range.len(), Advice::LinuxDontNeed) }.map_err(|errno| {
                MemoryError::Decommit { bytes: range.len(), source: errno.into() }
            })?;
        }
    }
    Ok(())
}

/// Ends the reservation.
///
/// # Safety
/// It came from [`reserve`], is released once, and nothing refers to its memory.
pub unsafe fn release(reservation: Reservation) {
    // SAFETY: by this function's contract the mapping is ours and unused.
    unsafe { unmap(reservation.base, reservation.bytes) };
}

/// Gives all parts back in one call, which interrupts other processors once. False if the kernel did not (before 6.13).
///
/// # Safety
/// As [`decommit`].
unsafe fn decommit_vectored(reservation: &Reservation, ranges: &[Range<usize>]) -> bool {
    let vectors: Vec<libc::iovec> = ranges
        .iter()
        .map(|range| {
            assert!(range.end <= reservation.bytes, "the range lies in the reservation");
            libc::iovec {
                iov_base: reservation.at(range.start).as_ptr().cast(),
                iov_len: range.len(),
            }
        })
        .collect();
    let total: usize = ranges.iter().map(Range::len).sum();
    // SAFETY: the vectors name parts of our own mapping whose contents no caller relies on, and live for the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_process_madvise,
            PIDFD_SELF,
            vectors.as_ptr(),
            vectors.len(),
            libc::MADV_DONTNEED,
            0_u32,
        )
    };
    // After a partial call the caller repeats all parts, which is harmless.
    usize::try_from(done) == Ok(total)
}
