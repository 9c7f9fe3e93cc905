//! The naive model of a pool: a map from handle to bytes, and the handles that are dead.
//!
//! | part | holds |
//! |---|---|
//! | [`Model`] | what a pool should contain, kept as plainly as possible |
//! | [`Checked`] | drives a real pool beside a model and compares every result and every byte |
//! | [`Op`] | an operation as data, for property tests, fuzzing and replay |
//! | [`operations`] | the operations that a fuzzer's bytes mean |
//!
//! Unit, property, stress and conformance tests share these, so "correct" means the same in all of them. A
//! disagreement is a [`Mismatch`], a value and not a panic: a stress run wants to print its seed first.

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
