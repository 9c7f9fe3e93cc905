//! Page frames and the memory descriptors that own them.
//!
//! ```text
//!  pool      handle -> (descriptor id, slot)
//!  ------------------------------------------------------------------
//!  frame     Slab<M, W, L>   descriptors by id: state word + words + M      guards give (&M, bytes)
//!            Arena           owner words, buddy allocator, caches, limit
//!            FrameSource     mmap | heap | a test's own
//! ```
//!
//! | module | content |
//! |---|---|
//! | [`units`](FrameNo) | frames, ranges |
//! | [`source`](FrameSource), [`budget`](MemoryBudget) | memory, its limit |
//! | `table`, [`word_table`](WordTable), [`bits`](BitForest) | growing tables and sets |
//! | [`owner`](FrameOwner), `buddy`, `cache`, [`arena`](Arena) | the frame allocator |
//! | `state` | the one-word descriptor lock |
//! | [`slab`](Slab), [`guard`](ReadGuard), [`layout`](FrameLayout), `deferred` | descriptors and their bytes |
//! | [`migrate`](Movable), [`busy`](Busy), [`migration_stats`](MigrationStats) | moving frames |
//! | `evacuate`, `plan` | [compaction](Arena::compact), [contiguous ranges](Arena::alloc_contiguous) |
//!
//! Unsafe code is in `source`, `table`, `slab`, `layout`, `guard`, `arena` and `evacuate`.

mod arena;
mod bits;
mod buddy;
mod budget;
mod busy;
mod cache;
#[cfg(not(loom))]
mod charged;
mod deferred;
mod evacuate;
mod guard;
mod layout;
mod migrate;
mod migration_stats;
mod owner;
mod plan;
mod slab;
mod source;
mod state;
mod table;
mod units;
mod word_table;

pub use arena::{Arena, ArenaConfig, ArenaStats, SHARDS_MAX, shard_count};
pub use bits::BitForest;
pub use budget::{Charge, MemoryBudget, OutOfFrames, ReserveAccess};
pub use busy::{Blocker, Busy, FrameMigrateError};
pub use evacuate::{ContiguousError, ContiguousRange, FrameCompaction};
pub use guard::{ReadGuard, WriteGuard};
pub use layout::{Chain, ChainBytes, ChainBytesMut, FrameLayout, Run};
pub use migrate::{Isolated, MigrateOutcome, Movable};
pub use migration_stats::MigrationStats;
pub use owner::{DescriptorId, FrameOwner, Mobility, Tag};
pub use slab::{Body, Deferred, Release, Slab, SlabConfig};
#[cfg(target_os = "linux")]
pub use source::MmapSource;
pub use source::{FrameSource, HeapSource, SourceError};
pub use state::LockError;
pub use units::{FRAME_BYTES, FrameCount, FrameNo, FrameRange, PAGEBLOCK_FRAMES, frames_for};
pub use word_table::WordTable;
