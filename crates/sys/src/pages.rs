//! Pages of a mapping whose owner serves its faults: unmap, guard, read from outside.

use std::{
    io,
    ops::Range,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
};

use rustix::{
    fs::{FallocateFlags, MemfdFlags, fallocate, ftruncate, memfd_create},
    io::retry_on_intr,
    mm::{MapFlags, ProtFlags, mmap, mmap_anonymous},
};

use crate::memory::{self, Reservation};

const GUARD_INSTALL: libc::c_int = 102;
const GUARD_REMOVE: libc::c_int = 103;
/// The calling process (Linux 6.14, `PIDFD_SELF_THREAD_GROUP`).
const PIDFD_SELF: libc::c_int = -10_000;
/// Ranges of one call.
pub const RANGES_MAX: usize = 64;

fn advise(range: &Range<usize>, advice: libc::c_int) -> io::Result<()> {
    loop {
        let start = std::ptr::without_provenance_mut(range.start);
        // SAFETY: the callers' contracts; the kernel checks the range.
        let answer = unsafe { libc::madvise(start, range.len(), advice) };
        let error = match answer {
            0 => return Ok(()),
            _ => io::Error::last_os_error(),
        };
        if error.kind() != io::ErrorKind::Interrupted && error.raw_os_error() != Some(libc::EAGAIN)
        {
            return Err(error);
        }
    }
}

/// Drops the pages of all ranges, in one call where the kernel takes one. Anonymous memory loses its content.
///
/// # Errors
/// The system's. Some pages may be dropped, also a part of a range.
///
/// # Safety
/// The ranges, at most [`RANGES_MAX`], are whole pages of mappings of the caller, which wants their content gone.
pub unsafe fn drop_all(ranges: &[Range<usize>]) -> io::Result<()> {
    // SAFETY: by this function's contract.
    if ranges.len() > 1 && unsafe { advise_vectored(ranges, libc::MADV_DONTNEED) } {
        return Ok(());
    }
    ranges.iter().try_for_each(|range| advise(range, libc::MADV_DONTNEED))
}

/// Whether the kernel did all ranges in one call.
///
/// # Safety
/// As the advice asks.
unsafe fn advise_vectored(ranges: &[Range<usize>], advice: libc::c_int) -> bool {
    let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    let mut vectors = [empty; RANGES_MAX];
    for (vector, range) in vectors.iter_mut().zip(ranges) {
        vector.iov_base = std::ptr::without_provenance_mut(range.start);
        vector.iov_len = range.len();
    }
    let total: usize = ranges.iter().map(Range::len).sum();
    // SAFETY: the vectors live for the call; the ranges by this function's contract.
    let done = unsafe {
        libc::syscall(
            libc::SYS_process_madvise,
            PIDFD_SELF,
            vectors.as_ptr(),
            ranges.len().min(RANGES_MAX),
            advice,
            0_u32,
        )
    };
    usize::try_from(done) == Ok(total)
}

/// Makes every touch of the range a `SIGSEGV`; pages of files stay in their file (Linux 6.13 for anonymous memory, 6.15 for
/// files).
///
/// # Errors
/// The system's: `EINVAL` from an older kernel, `EPERM` or what a filter says.
///
/// # Safety
/// The range is whole pages of a mapping of the caller, which serves the faults.
pub unsafe fn install_guards(range: &Range<usize>) -> io::Result<()> {
    advise(range, GUARD_INSTALL)
}

/// Lets touches of the range through again.
///
/// # Errors
/// The system's.
///
/// # Safety
/// As [`install_guards`].
pub unsafe fn remove_guards(range: &Range<usize>) -> io::Result<()> {
    advise(range, GUARD_REMOVE)
}

/// A fork's child does not get the range.
///
/// # Errors
/// The system's.
///
/// # Safety
/// The range is whole pages of a mapping of the caller.
pub unsafe fn keep_from_children(range: &Range<usize>) -> io::Result<()> {
    advise(range, libc::MADV_DONTFORK)
}

/// A fork's child gets a copy of the range again.
///
/// # Errors
/// The system's.
///
/// # Safety
/// The range is whole pages of a private mapping of the caller, which sees to its copy in the child.
pub unsafe fn show_to_children(range: &Range<usize>) -> io::Result<()> {
    advise(range, libc::MADV_DOFORK)
}

/// Every touch of the range is `SIGSEGV` from now on, and its memory goes.
///
/// # Errors
/// The system's.
///
/// # Safety
/// The range is whole pages of a mapping of the caller, and no other code relies on them.
pub unsafe fn hide(range: &Range<usize>) -> io::Result<()> {
    let start = std::ptr::without_provenance_mut(range.start);
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
    // SAFETY: replaces a mapping that is the caller's, by this function's contract.
    unsafe { mmap_anonymous(start, range.len(), ProtFlags::empty(), flags) }?;
    Ok(())
}

/// The pages that lie wholly in a slice.
fn whole_pages<T>(content: &[T]) -> Range<usize> {
    let (range, page) = (content.as_ptr_range(), memory::page_bytes());
    let start = range.start.addr().next_multiple_of(page);
    start..(range.end.addr() / page * page).max(start)
}

/// Asks the kernel to write the pages that lie wholly in `content` to swap. Their content stays; whether they are out of memory,
/// only pagemap tells.
///
/// # Errors
/// The system's.
pub fn page_out<T>(content: &[T]) -> io::Result<()> {
    advise(&whole_pages(content), libc::MADV_PAGEOUT)
}

/// The pages that lie wholly in `content` get no huge pages from now on.
///
/// # Errors
/// The system's: `EINVAL` from a kernel without huge pages.
pub fn without_huge_pages<T>(content: &[T]) -> io::Result<()> {
    advise(&whole_pages(content), libc::MADV_NOHUGEPAGE)
}

/// Copies memory of this process without a fault: bytes before the first address that is not there.
///
/// # Errors
/// The system's, but not that an address is not there.
///
/// # Safety
/// A thread that writes to the memory meanwhile makes the bytes that it writes unspecified, not more.
pub unsafe fn read_self(from: &[usize], each: usize, into: &mut [u8]) -> io::Result<usize> {
    let mut parts = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; RANGES_MAX];
    let count = from.len().min(RANGES_MAX).min(into.len() / each);
    for (part, start) in parts.iter_mut().zip(from) {
        part.iov_base = std::ptr::without_provenance_mut(*start);
        part.iov_len = each;
    }
    let destination = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: count * each };
    let own = rustix::process::getpid().as_raw_pid();
    // SAFETY: the kernel checks the addresses that it reads; the destination is a slice of that length.
    let read = unsafe {
        libc::process_vm_readv(own, &raw const destination, 1, parts.as_ptr(), count as _, 0)
    };
    match usize::try_from(read) {
        Ok(read) => Ok(read),
        Err(_) => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EFAULT) => Ok(0),
            error => Err(error),
        },
    }
}

/// A file in memory, of a fixed length, for a mapping with guards.
#[derive(Debug)]
pub struct MemoryFile(OwnedFd);

impl MemoryFile {
    /// Makes one.
    ///
    /// # Errors
    /// The system's.
    pub fn new(name: &str, bytes: u64) -> io::Result<Self> {
        let file = memfd_create(name, MemfdFlags::CLOEXEC)?;
        ftruncate(&file, bytes)?;
        Ok(Self(file))
    }

    /// Writes at an offset.
    ///
    /// # Errors
    /// The system's; `WriteZero` if it takes less.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let written = retry_on_intr(|| rustix::io::pwrite(&self.0, bytes, offset))?;
        if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Reads at an offset.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` if there is less.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let wanted = into.len();
        let read = retry_on_intr(|| rustix::io::pread(&self.0, &mut *into, offset))?;
        if read == wanted { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Gives pages back; they read as zeros.
    ///
    /// # Errors
    /// The system's.
    pub fn punch(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(retry_on_intr(|| fallocate(&self.0, flags, offset, bytes))?)
    }

    /// The bytes of memory that it takes.
    ///
    /// # Errors
    /// The system's.
    pub fn allocated(&self) -> io::Result<u64> {
        let blocks = rustix::fs::fstat(&self.0)?.st_blocks;
        Ok(u64::try_from(blocks).unwrap_or(0) * 512)
    }
}

impl AsFd for MemoryFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Maps the whole file, shared, readable and writable.
///
/// # Errors
/// The system's.
pub fn map_shared(file: &MemoryFile, bytes: usize) -> io::Result<Reservation> {
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
    let address = unsafe {
        mmap(
            std::ptr::null_mut(),
            bytes,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED | MapFlags::NORESERVE,
            file,
            0,
        )
    }?;
    let base = NonNull::new(address.cast()).expect("the kernel does not map page 0");
    Ok(Reservation::new(base, bytes))
}
