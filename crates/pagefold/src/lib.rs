//! Compressed memory for user space: a program's cold data, kept compressed in RAM under a hard budget.
//!
//! | part | does |
//! |---|---|
//! | [`Cache`], in a store | keeps values by any key, compressed: weights, time to live, what was not used goes first |
//! | [`Store`], from a [`StoreBuilder`] | keeps pages and values by key, compressed, in spaces, under one limit; drops what may be dropped when it is full, and otherwise says so |
//! | [`Pool`], from a [`PoolBuilder`] | keeps byte strings of 1 byte to 64 KiB, packed tightly, and names them by [`Handle`] |
//! | [`codec`] | makes pages shorter and gets them back: `lz4`, `zstd:LEVEL`, `raw`, same-filled pages |
//!
//! A store is a pool, a codec and an index of handles; a program with its own index uses the parts. The pool never
//! interprets its bytes, and a codec stores nothing. Memory comes from a [`source`], by default mapped from the system.
//!
//! # What holds
//! - Everything that may be resident (frames, idle frames, metadata) counts against one limit; [`Stats`] says each part.
//! - A handle names its object until it is freed, wherever compaction moves the bytes. A stale, doubled or foreign handle
//!   is an error, never another object.
//! - A refused call changes nothing: [`AllocError::OutOfMemory`] leaves every stored byte readable.
//! - A persistent space keeps every accepted value until it is removed; a refused put leaves the old value,
//!   and [`PutError`] says so. [`Space::try_get`] may be called from a signal handler.
//! - Reading copies nothing, allocates nothing and takes no lock of the pool's; [`Pool::try_read`] never waits.
//!
//! `docs/INVARIANTS.md` says how each of these is kept, and `docs/CONCURRENCY.md` why threads cannot break it.
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
//! Without the copy in between, decoding straight out of the pool's memory:
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
    Cache, CacheConfig, CacheError, CacheStats, CacheValue, CgroupLimit, Clock, FixedLimit,
    GetError, Histogram, HistogramBucket, KeyError, Keys, LimitFn, LimitSource, Page,
    PreviousValue, PutError, PutIfError, PutManyError, ReachedLimit, RejectedPuts, ShrinkReport,
    Space, SpaceConfig, SpaceError, SpaceKind, SpaceStats, Store, StoreBuildError, StoreBuilder,
    StoreStats, SystemClock, TryGetError, UpdateError, ValidateError, Version, WorkStats, eviction,
    set_fork_wait,
};

/// Codecs: byte strings made shorter, and back.
pub mod codec {
    pub use pagefold_codec::*;
}

/// Where a pool's memory comes from, for [`PoolBuilder::source`], and the budget that it is charged to.
///
/// # Examples
/// A pool whose contents stay out of core files:
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

/// Frames of 4 KiB: ranges of neighbours from [`Pool::alloc_contiguous`], what keeps a frame where it is, and how many moved.
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
