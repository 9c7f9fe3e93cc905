//! zbud: its frames and order beside an exact model, reclaim, frames that move, threads.

mod migrate;
mod property;
mod reclaim;
mod threads;
