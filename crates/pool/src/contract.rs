//! The pool contract, as a trait object. `pagefold-testkit` tests every packing on it.

use pagefold_frame::{ContiguousError, ContiguousRange, ReserveAccess};

use crate::{
    AllocError, Handle, HandleError, LimitError, MigrateError, PoolId, ReadIntoError, ReclaimError,
    Slices, Stats, TryReadError, Violation, WriteError,
};

/// A store of byte strings of 1 to [`max_len`](Pool::max_len) bytes under a hard limit.
///
/// # Invariants
/// - All memory that may be resident (frames, idle frames, metadata) stays within the limit.
/// - A handle names its object until `free`, wherever compaction moves the bytes.
/// - A stale, doubled or foreign handle is an error.
///
/// # Concurrency
/// Methods take `&self`. A reader takes no pool-wide lock and waits at most for one object move. The closure of a
/// [`read`](Pool::read) may call every method of the pool. `free` never waits: an open read keeps its bytes until it
/// ends.
///
/// # Examples
/// ```
/// use pagefold_pool::{Allocator, PoolBuilder};
///
/// let pool = PoolBuilder::new(Allocator::nbud()).limit(8 << 20).build()?;
/// let handle = pool.store(b"cold bytes")?;
/// let mut copy = [0; 10];
/// assert_eq!(pool.read_into(handle, &mut copy)?, 10);
/// assert_eq!(&copy, b"cold bytes");
/// pool.free(handle)?;
/// assert!(pool.free(handle).is_err(), "a second free is an error");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Pool: Send + Sync {
    /// As the command line spells it.
    fn name(&self) -> &'static str;

    /// Part of each of the pool's handles.
    fn id(&self) -> PoolId;

    /// The longest object, in bytes.
    fn max_len(&self) -> usize;

    /// Makes an object of `len` zero bytes.
    ///
    /// # Errors
    /// [`AllocError`]; the pool is unchanged.
    fn alloc(&self, len: usize) -> Result<Handle, AllocError>;

    /// Stores a copy of `bytes`.
    ///
    /// # Errors
    /// [`AllocError`]; the pool is unchanged.
    ///
    /// # Concurrency
    /// Reads `bytes` before it takes any shared lock.
    fn store(&self, bytes: &[u8]) -> Result<Handle, AllocError>;

    /// As [`store`](Self::store), for bytes whose reading cannot fault, such as a buffer just filled: copied once.
    ///
    /// # Errors
    /// As for [`store`](Self::store).
    fn store_resident(&self, bytes: &[u8]) -> Result<Handle, AllocError> {
        self.store(bytes)
    }

    /// As [`store_resident`](Self::store_resident), from the part of the limit that `access` allows:
    /// [`ReserveAccess::Overwrite`] is for replacing an object that the caller frees next.
    ///
    /// # Errors
    /// As for [`store`](Self::store).
    fn store_within(&self, bytes: &[u8], access: ReserveAccess) -> Result<Handle, AllocError> {
        let _ = access;
        self.store_resident(bytes)
    }

    /// Frees an object without waiting. If it is being read, its last reader frees the memory.
    ///
    /// # Errors
    /// [`HandleError`]; of two racing frees one succeeds.
    fn free(&self, handle: Handle) -> Result<(), HandleError>;

    /// The length in bytes.
    ///
    /// # Errors
    /// [`HandleError`].
    fn len(&self, handle: Handle) -> Result<usize, HandleError>;

    /// Replaces the content atomically: a reader sees the old bytes or the new.
    ///
    /// # Errors
    /// [`WriteError`]; the object is unchanged.
    fn write(&self, handle: Handle, bytes: &[u8]) -> Result<(), WriteError>;

    /// Calls `f` once with the object's bytes in place, in 1 to 8 slices.
    ///
    /// # Errors
    /// [`HandleError`]; `f` is not called.
    ///
    /// # Concurrency
    /// Waits at most for one move. While `f` runs, the object cannot move and its span cannot be written: keep `f`
    /// short.
    fn read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), HandleError>;

    /// As [`read`](Pool::read), without waiting.
    ///
    /// # Errors
    /// [`TryReadError`]; `f` is not called.
    fn try_read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), TryReadError>;

    /// Copies the object to the start of `buffer`; returns its length.
    ///
    /// # Errors
    /// [`ReadIntoError`]; `buffer` is unchanged.
    fn read_into(&self, handle: Handle, buffer: &mut [u8]) -> Result<usize, ReadIntoError> {
        let mut outcome = Ok(0);
        self.read(handle, &mut |slices| {
            outcome = match slices.copy_to(buffer) {
                Some(len) => Ok(len),
                None => {
                    Err(ReadIntoError::BufferTooSmall { len: slices.len(), capacity: buffer.len() })
                }
            };
        })?;
        outcome
    }

    /// Moves objects, then frames, until about `budget` bytes moved or nothing more can be won; returns free pageblocks
    /// to the
    /// system. Passes over locked descriptors. Call again while [`more`](CompactReport::more) is set.
    fn compact(&self, budget: usize) -> CompactReport;

    /// Evicts in the packing's order of use, if it has one: takes the frame filled longest ago and calls `evict` for
    /// each
    /// object in it. An emptied frame is freed. Another counts as just used, and the next is tried: at most `retries`
    /// in all.
    ///
    /// `evict` stores the bytes elsewhere and frees the object, or returns [`NotEvicted`]. It may call this pool.
    ///
    /// # Errors
    /// [`ReclaimError`]; objects freed before stay freed.
    ///
    /// # Concurrency
    /// `evict` runs without a lock; another thread may have freed the object. Concurrent calls take different frames.
    ///
    /// # Examples
    /// ```
    /// use pagefold_pool::{Allocator, NotEvicted, PoolBuilder};
    ///
    /// let pool = PoolBuilder::new(Allocator::zbud()).limit(8 << 20).build()?;
    /// let oldest = pool.store(&[1; 3000])?;
    /// let newest = pool.store(&[2; 3000])?;
    ///
    /// let mut elsewhere = Vec::new();
    /// let reclaimed = pool.reclaim(1, &mut |handle| {
    ///     let bytes = pool.with(handle, |slices| slices.to_vec()).map_err(|_| NotEvicted)?;
    ///     elsewhere.push(bytes);
    ///     pool.free(handle).map_err(|_| NotEvicted)
    /// })?;
    /// assert_eq!((reclaimed.frames, elsewhere), (1, vec![vec![1; 3000]]));
    /// assert!(pool.len(oldest).is_err() && pool.len(newest).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn reclaim(&self, retries: u32, evict: &mut Evict<'_>) -> Result<Reclaimed, ReclaimError> {
        let _ = (retries, evict);
        Err(ReclaimError::Unsupported)
    }

    /// Moves the frames of an object, and all objects in them; returns the bytes moved. After its first frame moved,
    /// frames
    /// that cannot move stay.
    ///
    /// # Errors
    /// [`MigrateError`]; nothing has changed.
    fn migrate(&self, handle: Handle) -> Result<usize, MigrateError> {
        let _ = handle;
        Err(MigrateError::Unsupported)
    }

    /// Allocates `frames` contiguous frames of 4 KiB, the first at a multiple of `align` frames, by moving their
    /// contents. The
    /// range reads as zero and is charged until it drops.
    ///
    /// # Errors
    /// [`ContiguousError`]; some frames may have moved.
    fn alloc_contiguous(
        &self,
        frames: usize,
        align: usize,
    ) -> Result<ContiguousRange<'_>, ContiguousError> {
        let _ = (frames, align);
        Err(ContiguousError::Unsupported)
    }

    /// Returns free memory to the system: caches, free frames, empty metadata pages.
    fn trim(&self) -> TrimReport;

    /// Recycles handle indices past their last generation; returns how many. Without it, a pool makes at least 2^46
    /// objects;
    /// see [`Stats::retired_indices`].
    ///
    /// # Concurrency
    /// A freed object's handle may then name a new object. The caller guarantees that no such handle is kept, and that
    /// no call
    /// in progress began before such an object was freed.
    fn recycle_retired(&self) -> u64 {
        0
    }

    /// Changes the limit; a lower one compacts and trims first.
    ///
    /// # Errors
    /// [`LimitError`]; the old limit stays.
    fn set_limit(&self, bytes: usize) -> Result<(), LimitError>;

    /// Runs deferred work and returns the accounts.
    fn stats(&self) -> Stats;

    /// Checks every invariant. No other thread may use the pool meanwhile.
    ///
    /// # Errors
    /// The first [`Violation`].
    fn validate(&self) -> Result<(), Violation>;
}

/// The result of [`Pool::compact`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactReport {
    /// Objects moved.
    pub moved_objects: u64,
    /// Their bytes.
    pub moved_bytes: u64,
    /// Frames freed.
    pub freed_frames: u64,
    /// Bytes of frames moved to free pageblocks; they count against the budget.
    pub migrated_bytes: u64,
    /// Pageblocks (2 MiB) returned to the system.
    pub freed_pageblocks: u64,
    /// Locked descriptors passed over.
    pub busy: u64,
    /// Whether another call may win more.
    pub more: bool,
}

/// The callback of [`Pool::reclaim`].
pub type Evict<'a> = dyn FnMut(Handle) -> Result<(), NotEvicted> + 'a;

/// The object stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, thiserror::Error)]
#[error("the object was not evicted")]
pub struct NotEvicted;

/// The result of [`Pool::reclaim`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reclaimed {
    /// Frames freed.
    pub frames: u32,
    /// Frames tried that still have an object.
    pub kept: u32,
    /// A reader was in the frame: the last one frees it.
    pub deferred: bool,
}

/// The result of [`Pool::trim`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrimReport {
    /// Bytes of frames returned to the system.
    pub frame_bytes: u64,
    /// Bytes of metadata returned to the system.
    pub metadata_bytes: u64,
}
