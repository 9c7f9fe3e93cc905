//! [`Region`].

use std::{
    fmt,
    io::{self, Read, Write},
    mem,
    ops::Range,
    slice,
    sync::Arc,
};

use pagefold_store::{PAGE_BYTES, Store};
use pagefold_sys::{faults, signals::Blocked};

use crate::{
    advise::{self, Advice},
    builder::RegionBuilder,
    core::{BATCH, Core},
    error::RangeError,
    mode::ModeReport,
    pin::{self, Pinned, PinnedMut},
    registry::Registered,
    server::Threads,
    stats::RegionStats,
};

/// Memory that is touched like any other, and compressed when it is cold.
///
/// Up to the resident limit its pages are in memory; the others are in a store of the region's own. A touch of a missing page is a fault,
/// which the touching thread serves itself, in a signal handler, or a thread of the region; see [`FaultMode`](crate::FaultMode).
///
/// # Concurrency
/// Shared and sent like a slice of bytes. Each thread that touches it needs 16 KiB of free stack for the handler and the codec, and may
/// not block `SIGBUS` (inline) or `SIGSEGV` (guard): the system kills a process whose thread does.
///
/// System calls cannot fault pages in, except in thread mode: `read(2)` into cold memory is `EFAULT`, and some calls
/// lose data then. [`pin`](Self::pin) and [`pin_mut`](Self::pin_mut) make a range fit for them. **A device must write only to pinned
/// ranges** (`O_DIRECT`, registered buffers of io_uring): what it writes to others may be lost without an error.
///
/// From outside, `madvise(MADV_DONTNEED)` zeroes pages, as for other memory; `munmap` and `mremap` of a part make it `SIGSEGV` or
/// `SIGBUS`, and its pages count against the limit until the region is dropped; pages under `mlock` stay in memory.
///
/// In the child of a fork the region does not exist: a touch is `SIGSEGV`.
///
/// # Examples
/// ```
/// use pagefold_region::Region;
///
/// // 16 MiB, of which 2 MiB are in memory at a time.
/// let mut region = Region::builder(16 << 20).resident_limit(2 << 20).build()?;
/// for (number, page) in region.as_mut_slice().chunks_mut(4096).enumerate() {
///     page.fill((number % 251) as u8);
/// }
/// for (number, page) in region.as_slice().chunks(4096).enumerate() {
///     assert!(page.iter().all(|&byte| byte == (number % 251) as u8));
/// }
/// assert!(region.stats().resident_bytes <= 2 << 20);
/// # Ok::<(), pagefold_region::BuildRegionError>(())
/// ```
pub struct Region {
    /// In the order of dropping: no handler is inside, then no thread, then nothing.
    registered: mem::ManuallyDrop<Registered>,
    threads: Option<Threads>,
    core: mem::ManuallyDrop<Arc<Core>>,
    bytes: usize,
    mode: ModeReport,
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("start", &self.as_ptr())
            .field("bytes", &self.bytes)
            .field("mode", &self.mode.mode)
            .field("resident_limit", &self.resident_limit())
            .finish_non_exhaustive()
    }
}

impl Region {
    pub(crate) fn new(
        registered: Registered,
        threads: Threads,
        core: Arc<Core>,
        bytes: usize,
        mode: ModeReport,
    ) -> Self {
        Self {
            registered: mem::ManuallyDrop::new(registered),
            threads: Some(threads),
            core: mem::ManuallyDrop::new(core),
            bytes,
            mode,
        }
    }

    /// Configures a region of `bytes` bytes, rounded up to pages for its limit and addresses.
    pub fn builder(bytes: usize) -> RegionBuilder {
        RegionBuilder::new(bytes)
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Never: a region has at least a byte.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The first byte. Valid until the region is dropped.
    pub fn as_ptr(&self) -> *const u8 {
        self.core.backing.base().as_ptr()
    }

    /// The first byte, to write. Valid until the region is dropped.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.core.backing.base().as_ptr()
    }

    pub(crate) fn base(&self) -> std::ptr::NonNull<u8> {
        self.core.backing.base()
    }

    /// All bytes. Touching them brings pages.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: mapped for `bytes` bytes while `self` lives, always initialised: missing pages are faults that are served; writes
        // need `&mut self`.
        unsafe { slice::from_raw_parts(self.as_ptr(), self.bytes) }
    }

    /// All bytes, to write.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and exclusive by `&mut self`.
        unsafe { slice::from_raw_parts_mut(self.as_mut_ptr(), self.bytes) }
    }

    fn pages(&self, range: &Range<usize>) -> Result<Range<usize>, RangeError> {
        if range.end > self.bytes || range.start > range.end {
            return Err(RangeError::Beyond { end: range.end.max(range.start), bytes: self.bytes });
        }
        if !self.core.is_here() {
            return Err(RangeError::Unmapped);
        }
        Ok(range.start / PAGE_BYTES..range.end.div_ceil(PAGE_BYTES))
    }

    /// Brings a range into memory and keeps it there, for system calls that read it.
    ///
    /// # Errors
    /// [`RangeError::Pins`] if more than the resident limit less 512 KiB would be pinned.
    pub fn pin(&self, range: Range<usize>) -> Result<Pinned<'_>, RangeError> {
        let pins = pin::pin(&self.core, self.pages(&range)?)?;
        Ok(Pinned { _pins: pins, bytes: &self.as_slice()[range] })
    }

    /// Brings a range into memory and keeps it there, for system calls and devices that write it.
    ///
    /// # Errors
    /// As [`pin`](Self::pin).
    ///
    /// # Examples
    /// ```
    /// use std::io::Read;
    ///
    /// let mut region = pagefold_region::Region::builder(4 << 20).build()?;
    /// let mut pinned = region.pin_mut(0..100)?;
    /// std::io::repeat(7).read_exact(&mut pinned)?;
    /// drop(pinned);
    /// assert_eq!(region.as_slice()[..101].iter().filter(|&&byte| byte == 7).count(), 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pin_mut(&mut self, range: Range<usize>) -> Result<PinnedMut<'_>, RangeError> {
        let pages = self.pages(&range)?;
        // SAFETY: within the region.
        let start = unsafe { self.as_mut_ptr().add(range.start) };
        let pins = pin::pin(&self.core, pages)?;
        Ok(PinnedMut { _pins: pins, start, len: range.len() })
    }

    /// Pieces of a range that can be pinned one after the other.
    fn pieces(
        &self,
        range: Range<usize>,
    ) -> Result<impl Iterator<Item = Range<usize>> + use<>, RangeError> {
        self.pages(&range)?;
        let piece = (pin::pins_max(&self.core) / 4).clamp(1, 4 * BATCH) * PAGE_BYTES;
        let end = range.end;
        Ok(range.step_by(piece).map(move |start| start..end.min(start + piece)))
    }

    /// Fills a range from a reader, pinned piece by piece. How many bytes: fewer at the end of the reader.
    ///
    /// # Errors
    /// The reader's; `InvalidInput` for a range outside.
    pub fn read_from(&mut self, range: Range<usize>, reader: &mut impl Read) -> io::Result<usize> {
        let (mut done, pieces) = (0, self.pieces(range).map_err(invalid)?);
        for piece in pieces {
            let mut pinned = self.pin_mut(piece).map_err(invalid)?;
            let mut filled = 0;
            while filled < pinned.len() {
                match reader.read(&mut pinned[filled..]) {
                    Ok(0) => return Ok(done + filled),
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            done += filled;
        }
        Ok(done)
    }

    /// Writes a range to a writer, pinned piece by piece.
    ///
    /// # Errors
    /// The writer's; `InvalidInput` for a range outside.
    pub fn write_to(&self, range: Range<usize>, writer: &mut impl Write) -> io::Result<()> {
        for piece in self.pieces(range).map_err(invalid)? {
            writer.write_all(&self.pin(piece).map_err(invalid)?)?;
        }
        Ok(())
    }

    /// Says how a range will be used. It never changes what a range contains.
    ///
    /// # Errors
    /// [`RangeError::Beyond`].
    pub fn advise(&self, range: Range<usize>, advice: Advice) -> Result<(), RangeError> {
        let pages = self.pages(&range)?;
        let _blocked = Blocked::new();
        advise::advise(&self.core, pages, advice);
        Ok(())
    }

    /// Makes a range zeros again. Its entire pages take no memory afterwards.
    ///
    /// # Errors
    /// [`RangeError::Beyond`].
    pub fn discard(&mut self, range: Range<usize>) -> Result<(), RangeError> {
        self.pages(&range)?;
        let inner = range.start.next_multiple_of(PAGE_BYTES)..range.end / PAGE_BYTES * PAGE_BYTES;
        if inner.start >= inner.end {
            self.as_mut_slice()[range].fill(0);
            return Ok(());
        }
        self.as_mut_slice()[range.start..inner.start].fill(0);
        self.as_mut_slice()[inner.end..range.end].fill(0);
        self.discard_pages(inner.start / PAGE_BYTES..inner.end / PAGE_BYTES);
        Ok(())
    }

    /// No other code relies on the content.
    pub(crate) fn discard_pages(&self, pages: Range<usize>) {
        let _blocked = Blocked::new();
        advise::discard(&self.core, pages);
    }

    /// How faults are served, and why so.
    pub fn fault_mode(&self) -> &ModeReport {
        &self.mode
    }

    /// Whether faults reach the region: false after code of this process has installed another handler for its signal. Faults are
    /// then served only if that handler calls the one before it.
    ///
    /// # Errors
    /// The system's.
    pub fn check_handler(&self) -> io::Result<bool> {
        self.core.backing.signal().map_or(Ok(true), faults::is_installed)
    }

    /// Bytes that may be in memory at a time.
    pub fn resident_limit(&self) -> usize {
        self.core.credits.limit() * PAGE_BYTES
    }

    /// Changes the limit, rounded up to the least (1 MiB). Pages above it leave soon.
    pub fn set_resident_limit(&self, bytes: usize) {
        self.core.credits.set_limit((bytes / PAGE_BYTES).max(4 * BATCH));
        self.core.evictor.wake();
    }

    /// The region's store, for its limit and accounts.
    pub fn store(&self) -> &Store {
        &self.core.store
    }

    /// The accounts. Looks at all pages.
    pub fn stats(&self) -> RegionStats {
        let _blocked = Blocked::new();
        RegionStats::of(&self.core, self.bytes, self.mode.mode)
    }
}

fn invalid(error: RangeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

impl Drop for Region {
    fn drop(&mut self) {
        if !self.core.is_here() {
            // In a child without a snapshot the pages, the threads and the handlers that may be inside do not exist.
            mem::forget(self.threads.take());
            return;
        }
        // SAFETY: dropped here alone, once.
        unsafe { mem::ManuallyDrop::drop(&mut self.registered) };
        self.threads = None;
        // SAFETY: as above. No handler and no thread has it, so the memory goes now.
        unsafe { mem::ManuallyDrop::drop(&mut self.core) };
    }
}
