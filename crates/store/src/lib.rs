//! Compressed pages by key, under a hard limit.
//!
//! ```text
//!  Store ---- spaces ---- Index: a word a page ---- short handle ---- Pool: frames
//!    |                      |
//!    +- limit, shrinker     +- same-filled pages live in the word
//! ```
//! | module | role |
//! |---|---|
//! | [`store`](Store), [`builder`](StoreBuilder) | spaces, limit, statistics |
//! | [`space`](Space), [`cache`](Cache) | pages by number, values by key |
//! | `state`, `shrinker` | shared state, background work |
//! | [`base`](Base) | pages that never change, and differences from them |
//! | `staging`, `worker` | pages that wait for their codec |
//! | `training` | codecs of the store's own |
//! | `encoder`, `index`, `word` | objects, and where they lie |
//! | [`eviction`], `listener` | drops and their reports |
//!
//! - Everything that may be resident counts against the limit.
//! - A persistent space keeps accepted pages until removed; a refused put keeps the old value.
//! - A get finds the last put or nothing. It allocates nothing and takes no lock; [`try_get`](Space::try_get) never
//!   waits.
//!
//! See `docs/STORE.md`.
#![forbid(unsafe_code)]

mod base;
mod builder;
mod cache;
mod config;
mod counters;
mod encoder;
mod error;
pub mod eviction;
mod idle;
mod index;
mod limit;
mod listener;
mod page;
mod policy;
mod prometheus;
mod shrinker;
mod space;
mod spin;
mod staging;
mod state;
mod stats;
mod store;
mod training;
mod word;
mod worker;

/// Where the coldest pages go, for [`StoreBuilder::spill`].
pub use pagefold_spill as spill;

pub use base::{Base, BaseError, BaseFault, BaseSource, BaseStats, MappingError};
pub use builder::StoreBuilder;
pub use cache::{Cache, CacheConfig, CacheError, CacheStats, CacheValue, Clock, SystemClock};
pub use error::{
    GetError, KeyError, PreviousValue, PutError, PutIfError, PutManyError, ReachedLimit,
    SpaceError, StoreBuildError, TryGetError, UpdateError, ValidateError,
};
#[cfg(not(loom))]
pub use pagefold_sys::quiesce::set_fork_wait;

pub use config::{SpaceConfig, SpaceKind};
pub use idle::IdleReport;
pub use limit::{CgroupLimit, FixedLimit, LimitFn, LimitSource};
pub use page::{PAGE_BYTES, Page};
pub use policy::SpillPolicy;
pub use space::{Space, keys::Keys, version::Version};
pub use state::room::ShrinkReport;
pub use stats::{
    Histogram, HistogramBucket, IdleStats, RejectedPuts, SpaceStats, SpilledStats, StagingStats,
    StoreStats, TrainedCodecStats, TrainingStats, WorkStats,
};
pub use store::{MaintainReport, Store};
