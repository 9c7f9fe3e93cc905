//! What all handles of a store, and all handles of a space, share.
//!
//! | module | holds |
//! |---|---|
//! | `store` | the state of a store: pool, budget, operations, limits |
//! | `space` | the state of a space: index, counters, limit |
//! | `parts` | pool, budget and index nodes, built within the limit |
//! | `accept`, `wakeup`, `work` | the accept threshold, the wakeup of the shrinker, counts of the work for room |
//! | `objects` | objects read, measured and freed |
//! | `contexts` | charges for long values and for more codec contexts |
//! | `recycle` | retired handles, used again |
//! | `list` | the list of spaces, and their names |
//! | `removal` | entries out of a space, and the space out of the store |
//! | `room` | compaction, eviction, trimming, limits |
//! | `stats`, `audit` | the accounts, and whether they are true |

mod accept;
mod audit;
mod contexts;
pub(crate) mod handle;
mod list;
mod objects;
pub(crate) mod parts;
mod recycle;
mod removal;
pub(crate) mod room;
pub(crate) mod space;
mod stats;
pub(crate) mod store;
mod wakeup;
mod work;

pub(crate) use accept::AcceptThreshold;
pub(crate) use recycle::RETIRED_SHARE;
pub(crate) use space::SpaceState;
pub(crate) use store::{StoreState, Watermarks};
