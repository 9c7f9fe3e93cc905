//! Deferred work: what a thread leaves in a slab because of another thread's guard.
//!
//! The last thread to unlock a marked descriptor reports it. An allocation does a bounded part of the work;
//! `alloc_contiguous`, `trim`, `compact` and `stats` do all of it.

use super::packing::Packing;

/// Reports that one allocation works off.
const PER_ALLOC: usize = 2;
/// Rounds of up to 64 reports; more means that other threads report as fast as this one works.
const ROUNDS_MAX: usize = 1 << 16;

#[inline]
pub(crate) fn drain_some(packing: &impl Packing) {
    for _ in 0..PER_ALLOC {
        if !packing.has_deferred() {
            return;
        }
        packing.drain_deferred();
    }
}

/// Does all deferred work; `true` if there was any.
pub(crate) fn drain_all(packing: &impl Packing) -> bool {
    let mut any = false;
    for _ in 0..ROUNDS_MAX {
        if !packing.drain_deferred() {
            break;
        }
        any = true;
    }
    any
}
