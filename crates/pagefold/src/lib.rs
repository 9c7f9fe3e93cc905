//! Compressed memory for user space: a program's cold data, kept compressed in RAM under a hard budget.
//!
//! | part | does |
//! |---|---|
//! | [`Cache`], in a store | keeps values by any key, compressed: weights, time to live; unused values go first |
//! | [`Store`], from a [`StoreBuilder`] | keeps pages and values by key, compressed; when full, drops or refuses |
//! | [`region`] | memory that is touched like any other, and compressed when cold; Linux |
//! | [`Pool`], from a [`PoolBuilder`] | keeps byte strings of 1 byte to 64 KiB, tightly packed, named by [`Handle`] |
//! | [`codec`] | compresses pages: `lz4`, `zstd:LEVEL`, `raw`, same-filled pages |
//!
//! A store is a pool, a codec and an index; a program with its own index uses the parts. Memory comes from a
//! [`source`], by default the system.
//!
//! # Guarantees
//! - All that may be resident (frames, idle frames, metadata) counts against one limit; [`Stats`] itemises it.
//! - A handle names its object until freed, wherever compaction moves the bytes. A stale, doubled or foreign handle is
//!   an error, never another object.
//! - A refused call changes nothing: after [`AllocError::OutOfMemory`] every stored byte is readable.
//! - A persistent space keeps every accepted value until it is removed; a refused put ([`PutError`]) leaves the old
//!   value. [`Space::try_get`] may be called from a signal handler.
//! - Reading copies nothing, allocates nothing and takes no pool lock; [`Pool::try_read`] never waits.
//!
//! How and why: `docs/INVARIANTS.md`, `docs/CONCURRENCY.md`.
//!
//! # Examples
//! Pages by number, under a limit:
//! ```
//! use pagefold::{SpaceConfig, Store};
//!
//! let store = Store::builder().limit(64 << 20).build()?;
//! let pages = store.space(SpaceConfig::persistent(1 << 20))?;
//!
//! let page: [u8; 4096] = std::array::from_fn(|at| (at / 64) as u8);
//! pages.put(1234, &page)?;
//! let mut back = [0; 4096];
//! pages.get(1234, &mut back)?;
//! assert_eq!(back, page);
//! assert!(store.resident() <= store.limit());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! A page through a codec into a pool and back:
//! ```
//! use pagefold::{
//!     Allocator, PoolBuilder,
//!     codec::{CodecSpec, Encoded, accept_len, decode, encode},
//! };
//!
//! let codec = "lz4".parse::<CodecSpec>()?.build()?;
//! let pool = PoolBuilder::new(Allocator::nbud()).limit(64 << 20).build()?;
//!
//! let page = b"cold data that is worth keeping; ".repeat(125)[..4096].to_vec();
//! let mut scratch = [0; accept_len(4096)];
//! let Encoded::Compressed(bytes) = encode(&*codec, &page, &mut scratch) else {
//!     return Err("this page compresses".into());
//! };
//! let handle = pool.store(bytes)?;
//!
//! let mut kept = vec![0; pool.len(handle)?];
//! pool.read_into(handle, &mut kept)?;
//! let mut back = vec![0; 4096];
//! decode(&*codec, Encoded::Compressed(&kept), &mut back)?;
//! assert_eq!(back, page);
//!
//! pool.free(handle)?;
//! assert!(pool.read(handle, &mut |_| {}).is_err(), "a freed handle names nothing");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! The same without the copy, straight from the pool's memory:
//! ```
//! # use pagefold::{Allocator, PoolBuilder, codec::{CodecSpec, Encoded, decode}};
//! # let codec = "raw".parse::<CodecSpec>()?.build()?;
//! # let pool = PoolBuilder::new(Allocator::nbud()).build()?;
//! # let handle = pool.store(&[7; 100])?;
//! # let mut back = vec![0; 100];
//! pool.with(handle, |slices| match slices.contiguous() {
//!     Some(bytes) => decode(&*codec, Encoded::Compressed(bytes), &mut back),
//!     None => unreachable!("nbud keeps an object in one piece"),
//! })??;
//! # assert_eq!(back, [7; 100]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//! | features | codecs |
//! |---|---|
//! | `c-codecs` (default) | `lz4`, `zstd:LEVEL`, `raw`; needs a C compiler |
//! | `pure-rust` without the default | `lz4`, `raw` |
//! | neither | `raw` |

#![forbid(unsafe_code)]

pub use pagefold_pool::{
    AllocError, Allocator, BlockSelection, BuildError, CompactReport, Evict, FillPolicy, Handle,
    HandleError, LimitError, MigrateError, NbudOptions, NotEvicted, Pool, PoolBuilder, PoolId,
    ReadIntoError, ReclaimError, Reclaimed, ReserveAccess, Slices, Stats, TrimReport, TryReadError,
    UnknownAllocator, Violation, WriteError, XcfmallocOptions, ZsmallocOptions,
};

pub use pagefold_store::{
    Base, BaseError, BaseFault, BaseSource, BaseStats, Cache, CacheConfig, CacheError, CacheStats,
    CacheValue, CgroupLimit, Clock, FixedLimit, GetError, Histogram, HistogramBucket, IdleReport,
    IdleStats, KeyError, Keys, LimitFn, LimitSource, MaintainReport, MappingError, Page,
    PreviousValue, PutError, PutIfError, PutManyError, ReachedLimit, RejectedPuts, ShrinkReport,
    Space, SpaceConfig, SpaceError, SpaceKind, SpaceStats, SpillPolicy, SpilledStats, StagingStats,
    Store, StoreBuildError, StoreBuilder, StoreStats, SystemClock, TrainedCodecStats,
    TrainingStats, TryGetError, UpdateError, ValidateError, Version, WorkStats, eviction,
    set_fork_wait,
};

/// Where the coldest pages go that a store's memory has no room for.
///
/// The crate `pagefold-spill-opendal` has a backing for Redis, S3 and others.
///
/// # Examples
/// More data than memory:
/// ```
/// use pagefold::{
///     SpaceConfig, Store,
///     spill::{EXTENT_BYTES, FileBacking, Spill},
/// };
///
/// let backing = FileBacking::new(&std::env::temp_dir(), EXTENT_BYTES)?;
/// let spill = Spill::builder(backing).limit(1 << 30).build()?;
/// let store = Store::builder().limit(64 << 20).spill(spill).build()?;
/// let pages = store.space(SpaceConfig::persistent(1 << 20))?;
/// pages.put(7, &[1; 4096])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub mod spill {
    pub use pagefold_store::spill::*;
}

/// Memory that is touched like any other, and compressed when it is cold.
///
/// # Examples
/// ```
/// use pagefold::region::RegionVec;
///
/// // 16 MiB of numbers, of which 2 MiB are in memory at a time.
/// let mut numbers = RegionVec::<u64>::zeroed(2 << 20, |region| region.resident_limit(2 << 20))?;
/// for (at, number) in numbers.iter_mut().enumerate() {
///     *number = at as u64 * 3;
/// }
/// assert_eq!(numbers[1_000_000], 3_000_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(target_os = "linux")]
pub mod region {
    pub use pagefold_region::*;
}

/// Codecs, which compress and restore byte strings.
pub mod codec {
    pub use pagefold_codec::*;
}

/// Sources of memory for [`PoolBuilder::source`], and the budget they are charged to.
///
/// # Examples
/// A pool that core files omit:
/// ```
/// # #[cfg(target_os = "linux")] {
/// use pagefold::{
///     Allocator, PoolBuilder,
///     source::{CoreDump, MmapSource},
/// };
///
/// let source = match MmapSource::new(CoreDump::Exclude) {
///     Ok(source) => source,
/// #   Err(pagefold::source::SourceError::PageSize { .. }) => return Ok(()),
///     Err(error) => return Err(error.into()),
/// };
/// let pool = PoolBuilder::new(Allocator::nbud()).source(Box::new(source)).build()?;
/// # let _ = pool;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub mod source {
    #[cfg(target_os = "linux")]
    pub use pagefold_frame::MmapSource;
    pub use pagefold_frame::{Charge, MemoryBudget, OutOfFrames};
    pub use pagefold_frame::{FrameSource, HeapSource, SourceError};
    pub use pagefold_sys::memory::{CoreDump, MemoryError, Reservation};
}

/// Frames of 4 KiB: ranges from [`Pool::alloc_contiguous`], blockers, and counts of moves.
pub mod frames {
    pub use pagefold_frame::{
        Blocker, Busy, ContiguousError, ContiguousRange, DescriptorId, FrameNo, FrameOwner,
        MigrationStats, Tag,
    };
}

/// The control group of a process, for [`CgroupLimit`].
pub mod cgroup {
    pub use pagefold_sys::cgroup::{Cgroup, CgroupError, CgroupMemory, Pressure};
}

/// The examples of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
