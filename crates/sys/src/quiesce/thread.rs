//! The gates that the calling thread is inside.
//!
//! Const-initialised without Drop, so a signal handler allocates and registers nothing. A handler that interrupts
//! `push` or `pop` uses entries above `depth` and restores it: `push` raises it before writing below, `pop` lowers it
//! last.

use std::{
    cell::Cell,
    ptr,
    sync::atomic::{Ordering, compiler_fence},
};

/// Inside more, a thread counts as inside every gate.
const REMEMBERED: usize = 8;

/// Entered when no entry was free.
const UNKNOWN: usize = 0;

struct Held {
    depth: Cell<usize>,
    quiets: Cell<usize>,
    gates: [Cell<usize>; REMEMBERED],
}

impl Held {
    const fn new() -> Self {
        Self {
            depth: Cell::new(0),
            quiets: Cell::new(0),
            gates: [const { Cell::new(UNKNOWN) }; REMEMBERED],
        }
    }

    fn remembered(&self) -> &[Cell<usize>] {
        &self.gates[..self.depth.get().min(REMEMBERED)]
    }

    fn forget(&self, key: usize) {
        let gates = self.remembered();
        let place = |key| gates.iter().rposition(|gate| gate.get() == key);
        if let Some(at) = place(key).or_else(|| place(UNKNOWN)) {
            gates[at..].windows(2).for_each(|pair| pair[0].set(pair[1].get()));
            if self.depth.get() > REMEMBERED {
                gates[REMEMBERED - 1].set(UNKNOWN);
            }
        }
    }
}

#[cfg(not(loom))]
thread_local!(static HELD: Held = const { Held::new() });
#[cfg(loom)]
loom::thread_local!(static HELD: Held = Held::new());

/// Unique among living threads, never 0; kept in a fork's child.
pub(super) fn token() -> usize {
    HELD.with(|held| ptr::from_ref(held).addr())
}

pub(super) fn depth() -> usize {
    HELD.with(|held| held.depth.get())
}

/// In an operation or a `Quiet`.
#[inline]
pub(super) fn is_nested() -> bool {
    HELD.with(|held| held.depth.get() + held.quiets.get() > 0)
}

/// Or may be inside.
pub(super) fn is_inside(key: usize) -> bool {
    HELD.with(|held| held.depth.get() > REMEMBERED) || entries(key) + entries(UNKNOWN) > 0
}

/// Remembered operations.
pub(super) fn entries(key: usize) -> usize {
    HELD.with(|held| held.remembered().iter().filter(|gate| gate.get() == key).count())
}

#[inline]
pub(super) fn push(key: usize) {
    HELD.with(|held| {
        let depth = held.depth.get();
        held.depth.set(depth + 1);
        compiler_fence(Ordering::SeqCst);
        if let Some(gate) = held.gates.get(depth) {
            gate.set(key);
        }
    });
}

#[inline]
pub(super) fn pop(key: usize) {
    HELD.with(|held| {
        let last = held.depth.get() - 1;
        // Guards may be dropped in any order.
        if held.gates.get(last).is_none_or(|gate| gate.get() != key) {
            held.forget(key);
        }
        compiler_fence(Ordering::SeqCst);
        held.depth.set(last);
    });
}

pub(super) fn begin_quiet() {
    HELD.with(|held| held.quiets.set(held.quiets.get() + 1));
}

pub(super) fn end_quiet() {
    HELD.with(|held| held.quiets.set(held.quiets.get() - 1));
}
