//! The contract of every packing, as a trait object.
//!
//! One conformance suite (in `pagefold-testkit`) tests it on every implementation.

use pagefold_frame::{ContiguousError, ContiguousRange, ReserveAccess};

use crate::{
    AllocError, Handle, HandleError, LimitError, MigrateError, PoolId, ReadIntoError, ReclaimError,
    Slices, Stats, TryReadError, Violation, WriteError,
};

/// A store of byte strings of 1 to [`max_len`](Pool::max_len) bytes under a hard limit.
///
/// # Invariants
/// - Everything that may be resident (frames, idle frames, metadata) stays within the limit, to the frame.
/// - A handle names its object until it is freed, wherever compaction moves the bytes.
/// - A stale, doubled or foreign handle is an error, never another object.
///
/// # Concurrency
/// Threads share the pool by reference. A reader takes no pool-wide lock and waits at most for one object move. The
/// closure of a [`read`](Pool::read) may call every method of the pool: none deadlocks or waits for that read. `free`
/// never waits for readers: an open read sees its bytes unchanged until it ends.
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
    /// The allocator's name, as the command line spells it.
    fn name(&self) -> &'static str;

    /// The pool's number, part of each of its handles.
    fn id(&self) -> PoolId;

    /// The longest object this pool takes, in bytes.
    fn max_len(&self) -> usize;

    /// Makes an object of `len` zero bytes.
    ///
    /// # Errors
    /// [`AllocError`]; the pool is then as it was.
    fn alloc(&self, len: usize) -> Result<Handle, AllocError>;

    /// Makes an object with a copy of `bytes`.
    ///
    /// # Errors
    /// [`AllocError`]; the pool is then as it was.
    ///
    /// # Concurrency
    /// `bytes` are read before any lock is taken on what other threads use.
    fn store(&self, bytes: &[u8]) -> Result<Handle, AllocError>;

    /// As [`store`](Self::store), for resident memory of the caller's own, such as a buffer just filled. Reading it
    /// cannot fault, so it may be read under a write guard and is copied once.
    ///
    /// # Errors
    /// As for [`store`](Self::store).
    fn store_resident(&self, bytes: &[u8]) -> Result<Handle, AllocError> {
        self.store(bytes)
    }

    /// As [`store_resident`](Self::store_resident), from the part of the limit that `access` may use:
    /// [`ReserveAccess::Overwrite`] is for bytes that replace another object, which the caller frees next.
    ///
    /// # Errors
    /// As for [`store`](Self::store).
    fn store_within(&self, bytes: &[u8], access: ReserveAccess) -> Result<Handle, AllocError> {
        let _ = access;
        self.store_resident(bytes)
    }

    /// Frees an object. Never waits: if the object is being read, its last reader gives the memory back.
    ///
    /// # Errors
    /// [`HandleError`] when the handle names no live object; of two racing frees exactly one succeeds.
    fn free(&self, handle: Handle) -> Result<(), HandleError>;

    /// The length of an object in bytes.
    ///
    /// # Errors
    /// [`HandleError`] when the handle names no live object.
    fn len(&self, handle: Handle) -> Result<usize, HandleError>;

    /// Replaces the whole content of an object, atomically: a reader sees the old bytes or the new ones.
    ///
    /// # Errors
    /// [`WriteError`]; the object then has its old bytes.
    fn write(&self, handle: Handle, bytes: &[u8]) -> Result<(), WriteError>;

    /// Calls `f` once with the object's bytes, in 1 to 8 slices, in place: nothing is copied or allocated.
    ///
    /// # Errors
    /// [`HandleError`] when the handle names no live object; `f` is then not called.
    ///
    /// # Concurrency
    /// Waits at most for one writer in the middle of a move. While `f` runs, the object cannot move and its span cannot
    /// be written: keep `f` short.
    fn read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), HandleError>;

    /// As [`read`](Pool::read), without ever waiting.
    ///
    /// # Errors
    /// [`TryReadError::WouldBlock`] when the object is locked for writing; `f` is then not called.
    fn try_read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), TryReadError>;

    /// Copies the object to the start of `buffer` and returns its length.
    ///
    /// # Errors
    /// [`ReadIntoError`]; `buffer` is then unchanged.
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

    /// Moves objects, then the frames under them, until about `budget` bytes moved or nothing more can be won. Call it
    /// again while [`more`](CompactReport::more) is set. Runs beside normal use, passes over locked descriptors, and
    /// returns free pageblocks to the system.
    fn compact(&self, budget: usize) -> CompactReport;

    /// Evicts by the packing's own order of use, if it keeps one. Takes the frame filled longest ago and calls `evict`
    /// for each object in it. A frame that is then empty is freed. Otherwise it counts as just used, and the next frame
    /// is tried: at most `retries` frames in all.
    ///
    /// `evict` puts the object's bytes elsewhere and frees the object, or returns [`NotEvicted`] to keep it. It may
    /// call every method of this pool. If it panics, the frame is put back first.
    ///
    /// # Errors
    /// [`ReclaimError`]; objects that were freed before are freed.
    ///
    /// # Concurrency
    /// `evict` runs without a lock. If another thread freed the object, its handle is stale: that is no failure.
    /// Threads that reclaim at the same time take different frames.
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

    /// Moves the frames of an object, with everything in them, to another location; returns how many bytes. Handles,
    /// lists and the order of use stay as they are. After its first frame moved, frames that cannot move stay.
    ///
    /// # Errors
    /// [`MigrateError`]; everything is then as it was.
    fn migrate(&self, handle: Handle) -> Result<usize, MigrateError> {
        let _ = handle;
        Err(MigrateError::Unsupported)
    }

    /// Allocates `frames` neighbouring frames of 4 KiB, the first at a multiple of `align` frames, and moves their
    /// contents elsewhere. The range reads as zero and counts against the limit while it lives.
    ///
    /// # Errors
    /// [`ContiguousError`], which names what was in the way. Objects, handles and accounts are as before; some frames
    /// may have moved.
    fn alloc_contiguous(
        &self,
        frames: usize,
        align: usize,
    ) -> Result<ContiguousRange<'_>, ContiguousError> {
        let _ = (frames, align);
        Err(ContiguousError::Unsupported)
    }

    /// Gives everything that is free back to the system: caches, free frames, empty metadata pages.
    fn trim(&self) -> TrimReport;

    /// Recycles handle indices past their last generation; returns how many.
    ///
    /// Without it, a pool makes at least 2^46 objects. [`Stats::retired_indices`] and [`Stats::index_capacity`] say
    /// when it is needed.
    ///
    /// # Concurrency
    /// A handle of a freed object may name a new object afterwards. The caller vouches that no such handle is kept, and
    /// that no call in progress began before such an object was freed. The second holds if no other thread uses the
    /// pool.
    fn recycle_retired(&self) -> u64 {
        0
    }

    /// Changes the limit. Lowering it compacts and trims first; after `Ok` the new limit is in force.
    ///
    /// # Errors
    /// [`LimitError`]; the old limit is then still in force.
    fn set_limit(&self, bytes: usize) -> Result<(), LimitError>;

    /// The pool's accounts.
    fn stats(&self) -> Stats;

    /// Walks every structure and checks every invariant. Call it while no other thread uses the pool.
    ///
    /// # Errors
    /// The first [`Violation`] found.
    fn validate(&self) -> Result<(), Violation>;
}

/// What one call of [`Pool::compact`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactReport {
    /// Objects moved to another location.
    pub moved_objects: u64,
    /// Their bytes.
    pub moved_bytes: u64,
    /// Frames that became free.
    pub freed_frames: u64,
    /// Bytes of frames moved to free whole pageblocks; counts against the budget like `moved_bytes`.
    pub migrated_bytes: u64,
    /// Pageblocks (2 MiB) that became free and went back to the system.
    pub freed_pageblocks: u64,
    /// Descriptors left alone because they were locked.
    pub busy: u64,
    /// Whether another call may win more.
    pub more: bool,
}

/// What [`Pool::reclaim`] calls for each object.
pub type Evict<'a> = dyn FnMut(Handle) -> Result<(), NotEvicted> + 'a;

/// The answer of an [`Evict`] that could not put the object elsewhere; the object stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, thiserror::Error)]
#[error("the object was not evicted")]
pub struct NotEvicted;

/// What [`Pool::reclaim`] won.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reclaimed {
    /// Frames that became free.
    pub frames: u32,
    /// Frames that were tried and still have an object.
    pub kept: u32,
    /// Whether the frame was still being read: its last reader gives the memory back.
    pub deferred: bool,
}

/// What one call of [`Pool::trim`] gave back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrimReport {
    /// Bytes of frames given back to the system.
    pub frame_bytes: u64,
    /// Bytes of metadata given back to the system.
    pub metadata_bytes: u64,
}
