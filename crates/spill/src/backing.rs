//! What extents are written to.

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Keeps extents by slot: a file, a directory, an object store.
///
/// # Concurrency
/// Several threads call it at once, without any lock of the caller. One slot is written by one thread at a time, and not read while it is
/// written, except by gets whose bytes the caller then discards. A panic counts as an error.
pub trait Backing: Send + Sync + fmt::Debug {
    /// Writes the extent of a slot. What the slot had before is gone, also after an error.
    ///
    /// # Errors
    /// Any: the caller keeps its objects in memory.
    fn write(&self, slot: u32, bytes: &[u8]) -> io::Result<()>;

    /// Fills `into` from the slot's extent at `offset`. May wait.
    ///
    /// # Errors
    /// `UnexpectedEof` if the extent is shorter; `TimedOut`; any other.
    fn read(&self, slot: u32, offset: u32, into: &mut [u8]) -> io::Result<()>;

    /// As [`read`](Self::read), if that needs no waiting. The default never can.
    ///
    /// # Errors
    /// `WouldBlock` leaves `into` unspecified.
    fn try_read(&self, slot: u32, offset: u32, into: &mut [u8]) -> io::Result<()> {
        let _ = (slot, offset, into);
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Whether [`start_flush`](Self::start_flush) does anything. The default does not.
    fn starts_flushes(&self) -> bool {
        false
    }

    /// An extent was written; the backing may begin to bring it to its disk. A thread of its own calls this, beside other writes, and leaves some out
    /// when it cannot keep up.
    fn start_flush(&self, slot: u32, bytes: usize) {
        let _ = (slot, bytes);
    }

    /// The extent of a slot is not needed any more; the backing may give its space back.
    ///
    /// # Errors
    /// Any: it is counted, and the slot is used again.
    fn discard(&self, slot: u32) -> io::Result<()>;
}

/// A panic of the backing is an error of it.
pub(crate) fn caught<R>(call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(io::Error::other("the backing panicked")))
}

impl<B: Backing + ?Sized> Backing for std::sync::Arc<B> {
    fn write(&self, slot: u32, bytes: &[u8]) -> io::Result<()> {
        (**self).write(slot, bytes)
    }

    fn read(&self, slot: u32, offset: u32, into: &mut [u8]) -> io::Result<()> {
        (**self).read(slot, offset, into)
    }

    fn try_read(&self, slot: u32, offset: u32, into: &mut [u8]) -> io::Result<()> {
        (**self).try_read(slot, offset, into)
    }

    fn starts_flushes(&self) -> bool {
        (**self).starts_flushes()
    }

    fn start_flush(&self, slot: u32, bytes: usize) {
        (**self).start_flush(slot, bytes);
    }

    fn discard(&self, slot: u32) -> io::Result<()> {
        (**self).discard(slot)
    }
}
