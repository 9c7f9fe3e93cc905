//! State that all handles of a store or a space share.
//!
//! - `store`, `space`, `parts`, `list`: the states and their parts
//! - `stage`, `workers`: turns of staged pages, and the threads that end them
//! - `spill`: objects out of memory and back
//! - `train`: turns of self-training, and codecs that retire
//! - `accept`, `wakeup`, `room`, `work`: making room
//! - `bases`, `frozen`: bases, and spaces that are one
//! - `objects`, `contexts`, `recycle`, `removal`: objects, charges, retired handles, entries out
//! - `stats`, `audit`: the accounts, and their validation

mod accept;
mod audit;
pub(crate) mod bases;
mod caught;
mod contexts;
mod frozen;
pub(crate) mod handle;
mod idle;
mod list;
mod objects;
pub(crate) mod parts;
mod recycle;
mod removal;
pub(crate) mod room;
pub(crate) mod space;
pub(crate) mod spill;
pub(crate) mod stage;
mod stats;
pub(crate) mod store;
mod train;
mod wakeup;
mod work;
mod workers;

pub(crate) use accept::AcceptThreshold;
pub(crate) use recycle::RETIRED_SHARE;
pub(crate) use space::SpaceState;
pub(crate) use store::{StoreState, Watermarks};
