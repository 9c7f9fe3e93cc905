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

    fn discard(&self, slot: u32) -> io::Result<()> {
        (**self).discard(slot)
    }
}
