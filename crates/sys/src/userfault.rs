//! `userfaultfd`: page faults of a range, served by its owner.
//!
//! With [`Delivery::Signal`] the thread that touches a missing or protected page gets `SIGBUS`, and no other thread takes
//! part. With [`Delivery::Event`] it sleeps until a reader of the descriptor has served it; faults of the kernel, as of
//! `read(2)`, are served too.

use std::{
    ffi::c_void,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

mod abi;

use abi::{Api, Copy, Move, Range, Register, WriteProtect, Zero};
pub use abi::{Event, FEATURE_MOVE, FEATURE_WP};

/// How a fault reaches its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// `SIGBUS` to the thread that touched the page. Needs no privilege; faults inside of system calls are `EFAULT`.
    Signal,
    /// An event to read; faults inside of system calls too. Needs a privilege.
    Event,
}

/// What a page is after it was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// It can be written.
    Writable,
    /// The first write is a fault.
    Protected,
}

/// A userfaultfd.
#[derive(Debug)]
pub struct Userfault {
    descriptor: OwnedFd,
    features: u64,
}

impl Userfault {
    /// Opens one. The features must contain `wanted`.
    ///
    /// # Errors
    /// The system's: `EPERM` without the privilege, `EINVAL` from a kernel without a feature, `ENOSYS`.
    pub fn open(delivery: Delivery, wanted: u64) -> io::Result<Self> {
        let own_mode = if delivery == Delivery::Signal { abi::USER_MODE_ONLY } else { 0 };
        // SAFETY: flags in, descriptor out; touches no memory.
        let answer = unsafe {
            libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK | own_mode)
        };
        let number = i32::try_from(answer).ok().filter(|number| *number >= 0);
        let number = number.ok_or_else(io::Error::last_os_error)?;
        // SAFETY: a new descriptor that no other code has.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        let signal = if delivery == Delivery::Signal { abi::FEATURE_SIGBUS } else { 0 };
        let mut api = Api { api: abi::API, features: wanted | signal, ioctls: 0 };
        let userfault = Self { descriptor, features: wanted | signal };
        // SAFETY: the structure of this request.
        unsafe { userfault.call(abi::UFFDIO_API, &mut api) }?;
        Ok(userfault)
    }

    /// In the child of a fork: a new one takes the number of this descriptor. The inherited one would change the memory of the parent.
    /// Ranges are to be registered again.
    ///
    /// # Errors
    /// As [`open`](Self::open); the descriptor is the inherited one then.
    pub fn replace_in_child(&self, delivery: Delivery) -> io::Result<()> {
        let new = Self::open(delivery, self.features)?;
        let (from, to) = (new.descriptor.as_raw_fd(), self.descriptor.as_raw_fd());
        // SAFETY: two descriptors that these values own. The second number stays this value's, and its old file is closed, which no
        // borrow of it minds: it is used by number.
        let number = unsafe { libc::dup3(from, to, libc::O_CLOEXEC) };
        if number == to { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Whether it was opened with this feature.
    pub fn has(&self, feature: u64) -> bool {
        self.features & feature == feature
    }

    /// # Safety
    /// `argument` is the structure that `request` expects, and what it points to is fit for it.
    unsafe fn call<T>(&self, request: u64, argument: &mut T) -> io::Result<()> {
        let pointer = std::ptr::from_mut(argument).cast::<c_void>();
        // SAFETY: by this function's contract; the structure lives for the call.
        let answer = unsafe { libc::ioctl(self.descriptor.as_raw_fd(), request as _, pointer) };
        if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Faults of the range are served from now on: those of missing pages, and writes to protected ones.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Safety
    /// The range is an anonymous private mapping of the caller, of whole pages. From now on reads of missing pages are
    /// faults; the caller serves them.
    pub unsafe fn register(&self, start: usize, bytes: usize) -> io::Result<()> {
        let mut register = Register {
            range: Range { start: start as u64, len: bytes as u64 },
            mode: abi::MODE_MISSING | abi::MODE_WP,
            ioctls: 0,
        };
        // SAFETY: the structure of this request; the range by this function's contract.
        unsafe { self.call(abi::UFFDIO_REGISTER, &mut register) }
    }

    /// Places copies of whole pages where none are; returns how many bytes. Wakes those that wait.
    ///
    /// # Errors
    /// The system's, if not one page was placed: `AlreadyExists` when there is one.
    ///
    /// # Safety
    /// `start` lies in a range of this descriptor, whose owner wants this content there.
    pub unsafe fn copy(
        &self,
        start: usize,
        content: &[u8],
        protection: Protection,
    ) -> io::Result<usize> {
        let mut done = 0;
        while done < content.len() {
            let rest = &content[done..];
            let mut copy = Copy {
                dst: (start + done) as u64,
                src: rest.as_ptr() as u64,
                len: rest.len() as u64,
                mode: if protection == Protection::Protected { abi::COPY_WP } else { 0 },
                copy: 0,
            };
            // SAFETY: the structure of this request; the source is a slice, the place by this function's contract.
            let answer = unsafe { self.call(abi::UFFDIO_COPY, &mut copy) };
            done += usize::try_from(copy.copy).unwrap_or(0);
            match answer {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
                Err(error) if done == 0 => return Err(error),
                _ => break,
            }
        }
        Ok(done)
    }

    /// Places a page of zeros where none is. Wakes those that wait.
    ///
    /// # Errors
    /// The system's: `AlreadyExists` when there is a page.
    ///
    /// # Safety
    /// As [`copy`](Self::copy), for one page of `bytes`.
    pub unsafe fn zero(&self, start: usize, bytes: usize) -> io::Result<()> {
        loop {
            let range = Range { start: start as u64, len: bytes as u64 };
            let mut zero = Zero { range, mode: 0, zeropage: 0 };
            // SAFETY: the structure of this request; the place by this function's contract.
            match unsafe { self.call(abi::UFFDIO_ZEROPAGE, &mut zero) } {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
                other => return other,
            }
        }
    }

    /// Moves pages, without a copy; holes stay holes. Returns how many bytes were passed, and what ended it.
    ///
    /// # Errors
    /// In the second value, the system's: `EBUSY` for a page that is pinned or shared, `EEXIST` where there is one,
    /// `EINVAL` for locked memory.
    ///
    /// # Safety
    /// Both ranges are of this descriptor; their owner wants the content there.
    pub unsafe fn move_pages(
        &self,
        to: usize,
        from: usize,
        bytes: usize,
    ) -> (usize, io::Result<()>) {
        let mut done = 0;
        while done < bytes {
            let mut request = Move {
                dst: (to + done) as u64,
                src: (from + done) as u64,
                len: (bytes - done) as u64,
                mode: abi::MOVE_HOLES,
                moved: 0,
            };
            // SAFETY: the structure of this request; the ranges by this function's contract.
            let answer = unsafe { self.call(abi::UFFDIO_MOVE, &mut request) };
            done += usize::try_from(request.moved).unwrap_or(0);
            match answer {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
                Err(error) => return (done, Err(error)),
                Ok(()) => break,
            }
        }
        (done, Ok(()))
    }

    /// Makes the next write of each present page a fault, or lets writes through again and wakes those that wait.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Safety
    /// The range is of this descriptor.
    pub unsafe fn protect(
        &self,
        start: usize,
        bytes: usize,
        protection: Protection,
    ) -> io::Result<()> {
        loop {
            let mut request = WriteProtect {
                range: Range { start: start as u64, len: bytes as u64 },
                mode: u64::from(protection == Protection::Protected),
            };
            // SAFETY: the structure of this request; the range by this function's contract.
            match unsafe { self.call(abi::UFFDIO_WRITEPROTECT, &mut request) } {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
                other => return other,
            }
        }
    }

    /// Lets threads that wait for the range look again.
    pub fn wake(&self, start: usize, bytes: usize) {
        let mut range = Range { start: start as u64, len: bytes as u64 };
        // SAFETY: the structure of this request; waking changes no memory. It fails only for ranges that are no ranges.
        let _ = unsafe { self.call(abi::UFFDIO_WAKE, &mut range) };
    }

    /// The next fault; `None` if there is none for `timeout_ms`.
    ///
    /// # Errors
    /// The system's.
    pub fn next_event(&self, timeout_ms: i32) -> io::Result<Option<Event>> {
        let mut poll =
            libc::pollfd { fd: self.descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid entry.
        let ready = unsafe { libc::poll(&raw mut poll, 1, timeout_ms) };
        if ready <= 0 {
            let error = io::Error::last_os_error();
            let interrupted = error.kind() == io::ErrorKind::Interrupted;
            return if ready == 0 || interrupted { Ok(None) } else { Err(error) };
        }
        let mut message = [0_u64; 4];
        // SAFETY: room for one message of 32 bytes.
        let read = unsafe {
            libc::read(
                self.descriptor.as_raw_fd(),
                message.as_mut_ptr().cast(),
                size_of_val(&message),
            )
        };
        if read == 32 {
            return Ok(Event::of(message));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Ok(None),
            _ => Err(error),
        }
    }
}
