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
//! | [`space`](Space) | keys of one part of a store: put, get, take, remove |
//! | [`cache`](Cache) | values by any key, in a space of their own |
//! | `shrinker` | work in the background, and limits that follow the machine |
//! | `state` | what the handles of a store and of a space share |
//! | `encoder` | from pages and values to objects, and back |
//! | [`eviction`] | in which order ephemeral pages are dropped |
//! | `index` | the table of words, and which thread may change one when |
//! | `word` | the index word: what is under a key, and where |
//! | `config`, `listener`, [`limit`](LimitSource), `error`, `page` | configuration, callbacks, errors, the page |
//! | `counters`, [`stats`](StoreStats), `prometheus` | counts, and the accounts |
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

mod builder;
mod cache;
mod config;
mod counters;
mod encoder;
mod error;
pub mod eviction;
mod index;
mod limit;
mod listener;
mod page;
mod prometheus;
mod shrinker;
mod space;
mod state;
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

pub use config::{SpaceConfig, SpaceKind};
pub use limit::{CgroupLimit, FixedLimit, LimitFn, LimitSource};
pub use page::{PAGE_BYTES, Page};
pub use space::{Space, keys::Keys, version::Version};
pub use state::room::ShrinkReport;
pub use stats::{Histogram, HistogramBucket, RejectedPuts, SpaceStats, StoreStats, WorkStats};
pub use store::Store;
