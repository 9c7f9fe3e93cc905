//! The compressed page store: keyed pages under a hard budget, with an answer for "full".
//!
//! ```text
//!  Store ---- spaces ---- Index: a word a page ---- short handle ---- Pool: frames
//!    |                      |
//!    +- limit, shrinker     +- same-filled pages live in the word
//! ```
//! | module | holds |
//! |---|---|
//! | [`store`](Store), [`builder`](StoreBuilder) | the store: spaces, limit, statistics |
//! | [`space`](Space) | keys of one tenant: put, get, take, remove |
//! | [`cache`](Cache) | values by any key, in a space of their own |
//! | `word` | the index word: what is kept, and where |
//! | `index` | the table of words, and who may change one when |
//! | `form` | from bytes to objects and back |
//! | `inner`, `shared` | what handles share, and who keeps it alive |
//! | `spaces` | the list of spaces, and their names |
//! | `room` | making room: compaction, dropping, giving back |
//! | [`eviction`] | in which order ephemeral pages go |
//! | `gate` | the accept threshold |
//! | `shrinker`, [`limit`](LimitSource) | work in the background, and limits that follow the machine |
//! | `counters`, [`stats`](StoreStats), `prometheus`, `audit` | what the store says of itself, and whether it is true |
//!
//! # What holds
//! - Everything that may be resident stays within the limit: frames, indices, contexts, counters.
//! - In a persistent space, what was accepted is there until it is removed. A put that is refused leaves the old value.
//! - A get finds what was put last, or says that there is nothing. It allocates nothing and takes no lock;
//!   [`try_get`](Space::try_get) never waits and is fit for a signal handler.
//! - A key beyond its space, or of a space that was dropped, is an error.
//!
//! `docs/STORE.md` says more of all this, and why it holds.
#![forbid(unsafe_code)]

mod audit;
mod builder;
mod cache;
mod counters;
mod encoder;
mod error;
pub mod eviction;
mod gate;
mod index;
mod inner;
mod limit;
mod page;
mod prometheus;
mod room;
mod shared;
mod shrinker;
mod space;
mod spaces;
mod stats;
mod store;
mod word;

pub use builder::StoreBuilder;
pub use cache::{Cache, CacheConfig, CacheError, CacheStats, CacheValue, Clock, SystemClock};
pub use error::{
    GetError, KeyError, PreviousValue, PutError, PutIfError, PutManyError, ReachedLimit,
    SpaceError, StoreBuildError, TryGetError, UpdateError, ValidateError,
};
#[cfg(not(loom))]
pub use pagefold_sys::quiesce::set_fork_wait;

pub use limit::{CgroupLimit, FixedLimit, LimitFn, LimitSource};
pub use page::{PAGE_BYTES, Page};
pub use room::ShrinkReport;
pub use space::{Keys, Space, SpaceConfig, SpaceKind, Version};
pub use stats::{Histogram, HistogramBucket, RejectedPuts, SpaceStats, StoreStats, WorkStats};
pub use store::Store;
