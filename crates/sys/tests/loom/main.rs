//! Models of the gate: operations, nested ones, threads that close it, and a fork that closes several.
//!
//! `cargo xtask loom` runs them. loom watches a cell that operations read and that a thread with a quiet gate writes: an
//! operation inside a quiet gate fails the model, as does a write that a later operation does not see.
#![cfg(loom)]

mod slots;

use std::{sync::Arc, time::Duration};

use loom::{cell::UnsafeCell, thread};
use pagefold_sys::quiesce::{Gate, model_of_a_fork};

/// Explores all interleavings with up to three preemptions, or as many as `LOOM_MAX_PREEMPTIONS` says.
fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(f);
}

/// A gate and what it guards.
struct Guarded {
    gate: Gate,
    value: UnsafeCell<u32>,
}

// SAFETY: the cell is read by operations and written while the gate is quiet, which excludes them; loom checks it.
unsafe impl Send for Guarded {}
// SAFETY: as above.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn new() -> Arc<Self> {
        Arc::new(Self { gate: Gate::new().expect("a model"), value: UnsafeCell::new(0) })
    }

    /// Of a thread inside the gate.
    fn read(&self) -> u32 {
        // SAFETY: the gate is not quiet, so no thread writes.
        self.value.with(|value| unsafe { *value })
    }

    /// Of a thread that made the gate quiet.
    fn write(&self) {
        // SAFETY: the gate is quiet, so no other thread reads or writes.
        self.value.with_mut(|value| unsafe { *value += 1 });
    }

    fn operation(&self) -> u32 {
        let _entered = self.gate.enter().expect("not abandoned");
        self.read()
    }

    fn change(&self) {
        let _quiet = self.gate.quiesce(Duration::MAX).expect("waits for ever");
        self.write();
    }
}

#[test]
fn a_quiet_gate_has_no_operation_inside() {
    model(|| {
        let guarded = Guarded::new();
        let other = {
            let guarded = Arc::clone(&guarded);
            thread::spawn(move || (guarded.operation(), guarded.operation()))
        };
        guarded.change();
        assert_eq!(guarded.operation(), 1);
        let (first, second) = other.join().expect("no panic");
        assert!(first <= second);
    });
}

#[test]
fn what_never_waits_is_refused_or_inside() {
    model(|| {
        let guarded = Guarded::new();
        let other = {
            let guarded = Arc::clone(&guarded);
            thread::spawn(move || {
                for _ in 0..2 {
                    if let Some(_entered) = guarded.gate.try_enter() {
                        guarded.read();
                    }
                }
            })
        };
        if let Some(_quiet) = guarded.gate.quiesce(Duration::ZERO) {
            guarded.write();
        }
        other.join().expect("no panic");
        assert!(guarded.gate.quiesce(Duration::ZERO).is_some(), "counted wrongly");
    });
}

#[test]
fn two_threads_that_close_a_gate_take_turns() {
    model(|| {
        let guarded = Guarded::new();
        let other = {
            let guarded = Arc::clone(&guarded);
            thread::spawn(move || guarded.change())
        };
        guarded.change();
        other.join().expect("no panic");
        assert_eq!(guarded.operation(), 2);
    });
}

#[test]
fn a_nested_operation_enters_a_closing_gate() {
    model(|| {
        let guarded = Guarded::new();
        let other = {
            let guarded = Arc::clone(&guarded);
            thread::spawn(move || {
                let _entered = guarded.gate.enter().expect("not abandoned");
                guarded.operation()
            })
        };
        guarded.change();
        other.join().expect("no panic");
    });
}

#[test]
fn an_operation_that_comes_from_another_gate_is_kept_out_of_a_quiet_one() {
    model(|| {
        let (outer, inner) = (Guarded::new(), Guarded::new());
        let other = {
            let (outer, inner) = (Arc::clone(&outer), Arc::clone(&inner));
            thread::spawn(move || {
                let _entered = outer.gate.enter().expect("not abandoned");
                inner.operation()
            })
        };
        inner.change();
        other.join().expect("no panic");
    });
}

#[test]
fn a_fork_finds_every_gate_without_operations_of_other_threads() {
    model(|| {
        let (outer, inner) = (Guarded::new(), Guarded::new());
        // In one of the two at any time: a look at one gate after the other may find both empty.
        let mut held = outer.gate.enter().expect("not abandoned");
        let forker = {
            let (outer, inner) = (Arc::clone(&outer), Arc::clone(&inner));
            thread::spawn(move || {
                model_of_a_fork(&[&inner.gate, &outer.gate], || {
                    outer.write();
                    inner.write();
                });
            })
        };
        for guarded in [&inner, &outer] {
            let next = guarded.gate.enter().expect("not abandoned");
            drop(std::mem::replace(&mut held, next));
            guarded.read();
        }
        drop(held);
        forker.join().expect("no panic");
        assert_eq!((outer.operation(), inner.operation()), (1, 1));
    });
}

#[test]
fn a_fork_beside_a_thread_that_closes_one_gate_and_enters_another() {
    model(|| {
        let (first, second) = (Guarded::new(), Guarded::new());
        let other = {
            let (first, second) = (Arc::clone(&first), Arc::clone(&second));
            thread::spawn(move || {
                let _quiet = second.gate.quiesce(Duration::MAX).expect("waits for ever");
                second.write();
                first.operation();
            })
        };
        // The forking thread is inside itself, as in a callback.
        let _entered = first.gate.enter().expect("not abandoned");
        model_of_a_fork(&[&first.gate, &second.gate], || second.write());
        other.join().expect("no panic");
    });
}
