//! The naive model of a pool: a map from handle to bytes, and the dead handles.
//!
//! A disagreement is a [`Mismatch`], not a panic: a stress run first prints its seed.

mod checked;
pub(crate) mod contents;
mod decode;
mod moving;
mod op;
mod upkeep;

pub use checked::{Checked, Depth};
pub(crate) use contents::agree;
pub use contents::{Mismatch, Model};
pub use decode::operations;
pub use moving::{Eviction, HeldRange};
pub use op::Op;

#[cfg(test)]
mod tests;
