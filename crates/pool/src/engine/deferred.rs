//! Work left in a slab because of another thread's guard. The last thread to unlock a marked descriptor reports it.

use super::packing::Packing;

const PER_ALLOC: usize = 2;
/// Of up to 64 reports; then other threads report as fast.
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

/// `true` if there was any.
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
