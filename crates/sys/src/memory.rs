//! Anonymous memory from the system: address space reserved once, committed and given back piece by piece.
//!
//! ```text
//!            reserve            commit             (first touch)
//!  nothing ----------> reserved --------> committed -----------> resident
//!                         ^                   ^  \___ decommit ____/
//!                         +---- release ------+
//! ```
//! *Reserved* address space costs nothing and cannot be touched. *Committed* memory reads as zero and becomes
//! resident page by page when it is written. *Decommitted* memory is committed memory that was given back: it reads
//! as zero again. Who owns a range, and what is alive in it, is the caller's business (`pagefold-frame`).

use std::{io, ops::Range, ptr::NonNull};

use thiserror::Error;

/// Why the system did not give, or did not take back, memory.
#[derive(Debug, Error)]
pub enum MemoryError {
    /// Address space of this size is not to be had.
    #[error("cannot reserve {bytes} bytes of address space: {source}")]
    Reserve {
        /// Bytes asked for.
        bytes: usize,
        /// What the system said.
        source: io::Error,
    },
    /// The system refuses to back this range with memory.
    #[error("cannot commit {bytes} bytes: {source}")]
    Commit {
        /// Bytes asked for.
        bytes: usize,
        /// What the system said.
        source: io::Error,
    },
    /// The system refuses to take the range back; it is still resident.
    #[error("cannot give back {bytes} bytes: {source}")]
    Decommit {
        /// Bytes offered.
        bytes: usize,
        /// What the system said.
        source: io::Error,
    },
}

/// Whether the pages of a reservation appear in core files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CoreDump {
    /// They do, as ordinary memory does.
    #[default]
    Include,
    /// They do not (`MADV_DONTDUMP`).
    Exclude,
}

/// A range of reserved address space. Whoever has it must give it back to the platform it came from.
#[derive(Debug, Clone, Copy)]
pub struct Reservation {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a reservation is an address and a length; it gives no access by itself.
unsafe impl Send for Reservation {}
// SAFETY: as above; all methods take it by shared reference and only read it.
unsafe impl Sync for Reservation {}

impl Reservation {
    /// Describes `bytes` bytes from `base`, for platforms and sources that get memory in their own way.
    pub fn new(base: NonNull<u8>, bytes: usize) -> Self {
        Self { base, bytes }
    }

    /// The first address.
    #[inline]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The length in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The address `offset` bytes into the range.
    ///
    /// # Panics
    /// If `offset` lies beyond the end.
    #[inline]
    pub fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(
            offset <= self.bytes,
            "offset {offset} lies outside a reservation of {} bytes",
            self.bytes
        );
        // SAFETY: `base` starts a live range of `bytes` bytes and `offset` lies in it or at its end.
        unsafe { self.base.add(offset) }
    }
}

/// The memory calls, as a seam that tests replace.
///
/// # Safety
/// `reserve` must return a range that nobody else uses until `release`; memory committed in it must be readable and
/// writable, read as zero until written, and keep what was written until it is decommitted or released.
pub unsafe trait Platform: Send + Sync {
    /// The size of the system's pages in bytes: the grain of commit and decommit.
    fn page_bytes(&self) -> usize;

    /// Reserves `bytes` bytes of address space that starts at a multiple of `align` (a power of two).
    ///
    /// # Errors
    /// [`MemoryError::Reserve`].
    fn reserve(
        &self,
        bytes: usize,
        align: usize,
        dump: CoreDump,
    ) -> Result<Reservation, MemoryError>;

    /// Makes a page-aligned part usable.
    ///
    /// # Errors
    /// [`MemoryError::Commit`]; the range is as it was.
    fn commit(&self, reservation: &Reservation, range: Range<usize>) -> Result<(), MemoryError>;

    /// Gives the contents of page-aligned committed parts back to the system; they read as zero from now on.
    ///
    /// # Errors
    /// [`MemoryError::Decommit`]; parts may have been given back already.
    ///
    /// # Safety
    /// Nobody reads or writes the parts, or relies on their contents, during the call.
    unsafe fn decommit(
        &self,
        reservation: &Reservation,
        ranges: &[Range<usize>],
    ) -> Result<(), MemoryError>;

    /// Ends the reservation.
    ///
    /// # Safety
    /// It came from this platform's `reserve`, is released once, and nothing refers to its memory any more.
    unsafe fn release(&self, reservation: Reservation);
}

/// The system this program runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Host;

#[cfg(target_os = "linux")]
mod linux {
    use std::{ffi::c_void, ptr};

    use rustix::mm::{
        Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap_anonymous, mprotect, munmap,
    };

    use super::*;

    /// `process_madvise` takes at most this many ranges a call (`UIO_MAXIOV`).
    const RANGES_PER_CALL_MAX: usize = 1024;
    /// Names the calling process where a process descriptor is expected (Linux 6.14, `PIDFD_SELF_THREAD_GROUP`).
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

    /// Unmaps `bytes` bytes at `base`, which may be none.
    ///
    /// # Safety
    /// The range belongs to a mapping of [`map`] and nothing refers to it.
    unsafe fn unmap(base: NonNull<u8>, bytes: usize) {
        if bytes > 0 {
            // SAFETY: by this function's contract.
            let outcome = unsafe { munmap(base.as_ptr().cast(), bytes) };
            outcome.expect("unmapping a whole mapping, or an end of one, does not fail");
        }
    }

    // SAFETY: fresh private anonymous mappings are nobody else's, read as zero and keep what is written.
    unsafe impl Platform for Host {
        fn page_bytes(&self) -> usize {
            rustix::param::page_size()
        }

        fn reserve(
            &self,
            bytes: usize,
            align: usize,
            dump: CoreDump,
        ) -> Result<Reservation, MemoryError> {
            assert!(align.is_power_of_two(), "an alignment is a power of two");
            assert!(bytes.is_multiple_of(self.page_bytes()), "a reservation is whole pages");
            let slack = if align > self.page_bytes() { align } else { 0 };
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
            // Advice that an old or unusual kernel does not know makes nothing wrong, so refusals are not errors:
            // with transparent huge pages one touched frame would become 512 resident ones.
            // SAFETY: the range is a mapping of our own and this advice does not change contents.
            let _ = unsafe { madvise(base.as_ptr().cast(), bytes, Advice::LinuxNoHugepage) };
            if dump == CoreDump::Exclude {
                // SAFETY: as above.
                let _ = unsafe { madvise(base.as_ptr().cast(), bytes, Advice::LinuxDontDump) };
            }
            Ok(Reservation { base, bytes })
        }

        fn commit(
            &self,
            reservation: &Reservation,
            range: Range<usize>,
        ) -> Result<(), MemoryError> {
            assert!(range.end <= reservation.bytes, "the range lies in the reservation");
            let start = reservation.at(range.start);
            // SAFETY: the range is part of our own mapping; making it writable invalidates nothing.
            unsafe {
                mprotect(
                    start.as_ptr().cast(),
                    range.len(),
                    MprotectFlags::READ | MprotectFlags::WRITE,
                )
            }
            .map_err(|errno| MemoryError::Commit { bytes: range.len(), source: errno.into() })
        }

        unsafe fn decommit(
            &self,
            reservation: &Reservation,
            ranges: &[Range<usize>],
        ) -> Result<(), MemoryError> {
            for batch in ranges.chunks(RANGES_PER_CALL_MAX) {
                // SAFETY: by this function's contract nobody uses the parts.
                if batch.len() > 1 && unsafe { decommit_vectored(reservation, batch) } {
                    continue;
                }
                for range in batch {
                    assert!(range.end <= reservation.bytes, "the range lies in the reservation");
                    let start: *mut c_void = reservation.at(range.start).as_ptr().cast();
                    // SAFETY: a part of our own mapping whose contents nobody relies on.
                    unsafe { madvise(start, range.len(), Advice::LinuxDontNeed) }.map_err(
                        |errno| MemoryError::Decommit { bytes: range.len(), source: errno.into() },
                    )?;
                }
            }
            Ok(())
        }

        unsafe fn release(&self, reservation: Reservation) {
            // SAFETY: by this function's contract the mapping is ours and unused.
            unsafe { unmap(reservation.base, reservation.bytes) };
        }
    }

    /// Gives many scattered parts back in one call, which interrupts the other processors once instead of once a
    /// part. Returns whether the kernel could (it takes `MADV_DONTNEED` for the own process since 6.13).
    ///
    /// # Safety
    /// As [`Platform::decommit`].
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
        // SAFETY: the vectors name parts of our own mapping whose contents nobody relies on, and live for the call.
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
        // A partial or refused call is finished range by range; giving a part back twice changes nothing.
        usize::try_from(done) == Ok(total)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    const PAGE: usize = 4096;

    fn write(reservation: &Reservation, offset: usize, value: u8) {
        // SAFETY: the tests write only where they committed, from one thread.
        unsafe { reservation.at(offset).write(value) }
    }

    fn read(reservation: &Reservation, offset: usize) -> u8 {
        // SAFETY: the tests read only where they committed, from one thread.
        unsafe { reservation.at(offset).read() }
    }

    fn give_back(reservation: &Reservation, ranges: &[Range<usize>]) {
        // SAFETY: nothing refers to the memory of the tests.
        unsafe { Host.decommit(reservation, ranges) }.expect("decommit");
    }

    #[test]
    fn committed_memory_is_zero_keeps_bytes_and_is_zero_again_after_decommit() {
        let reservation = Host.reserve(64 * PAGE, 1 << 21, CoreDump::Exclude).expect("reserve");
        assert_eq!(reservation.base().addr().get() % (1 << 21), 0, "aligned as asked");
        Host.commit(&reservation, 0..64 * PAGE).expect("commit");
        assert_eq!(read(&reservation, 5 * PAGE), 0);
        for page in 0..64 {
            write(&reservation, page * PAGE + 7, 0xa5);
        }
        give_back(&reservation, &[0..PAGE, 5 * PAGE..6 * PAGE, 9 * PAGE..12 * PAGE]);
        for page in 0..64 {
            let gone = page == 0 || page == 5 || (9..12).contains(&page);
            assert_eq!(
                read(&reservation, page * PAGE + 7),
                if gone { 0 } else { 0xa5 },
                "page {page}"
            );
        }
        give_back(&reservation, std::slice::from_ref(&(20 * PAGE..21 * PAGE)));
        assert_eq!(read(&reservation, 20 * PAGE + 7), 0);
        // SAFETY: released once, nothing refers to it.
        unsafe { Host.release(reservation) };
    }

    #[test]
    fn more_ranges_than_one_call_takes_are_all_given_back() {
        let pages = 5000;
        let reservation = Host.reserve(pages * PAGE, PAGE, CoreDump::Include).expect("reserve");
        Host.commit(&reservation, 0..pages * PAGE).expect("commit");
        for page in 0..pages {
            write(&reservation, page * PAGE, 1);
        }
        let odd: Vec<_> = (0..pages)
            .filter(|page| page % 2 == 1)
            .map(|page| page * PAGE..(page + 1) * PAGE)
            .collect();
        give_back(&reservation, &odd);
        assert!(
            (0..pages).all(|page| usize::from(read(&reservation, page * PAGE)) == 1 - page % 2)
        );
        // SAFETY: released once, nothing refers to it.
        unsafe { Host.release(reservation) };
    }

    #[test]
    fn an_impossible_reservation_is_an_error() {
        let error =
            Host.reserve(1 << 62, PAGE, CoreDump::Include).expect_err("no machine has that");
        assert!(matches!(error, MemoryError::Reserve { .. }), "{error}");
    }
}
