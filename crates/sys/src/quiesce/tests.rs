//! One process, several threads; forks and signals are in `tests/`.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use super::*;

const AT_ONCE: Duration = Duration::ZERO;

fn gate() -> Gate {
    Gate::new().expect("memory for the handlers")
}

fn until_closed(gate: &Gate) {
    thread::scope(|scope| {
        scope.spawn(|| while gate.try_enter().is_some() {}).join().expect("no panic");
    });
}

#[test]
fn an_operation_waits_until_a_quiet_gate_opens() {
    let gate = gate();
    let quiet = gate.quiesce(AT_ONCE).expect("nothing is inside");
    let (has_looked, is_open) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let entered = gate.try_enter();
            has_looked.store(true, Ordering::SeqCst);
            assert!(entered.is_none());
            let _entered = gate.enter().expect("not abandoned");
            assert!(is_open.load(Ordering::SeqCst), "entered a closed gate");
        });
        while !has_looked.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        is_open.store(true, Ordering::SeqCst);
        drop(quiet);
    });
    assert!(gate.try_enter().is_some());
}

#[test]
fn quiesce_is_busy_beside_an_operation_and_opens_again() {
    let gate = gate();
    let entered = gate.enter().expect("not abandoned");
    thread::scope(|scope| {
        scope.spawn(|| {
            assert!(gate.quiesce(AT_ONCE).is_none());
            assert!(gate.quiesce(Duration::from_millis(2)).is_none());
            assert!(gate.try_enter().is_some(), "the gate stayed closed");
        });
    });
    drop(entered);
    assert!(gate.quiesce(AT_ONCE).is_some());
}

#[test]
fn quiesce_from_inside_is_busy_without_waiting() {
    let (outer, inner) = (gate(), gate());
    let first = outer.enter().expect("not abandoned");
    assert!(outer.quiesce(Duration::MAX).is_none());
    let second = inner.enter().expect("not abandoned");
    // Not the reverse of the order of entering.
    drop(first);
    assert!(inner.quiesce(Duration::MAX).is_none());
    let quiet = outer.quiesce(Duration::MAX).expect("left");
    assert!(outer.quiesce(Duration::MAX).is_none(), "closed twice by one thread");
    drop((quiet, second));
    assert!(inner.quiesce(AT_ONCE).is_some());
}

#[test]
fn a_thread_inside_more_gates_than_are_remembered_is_inside_all() {
    let gates: Vec<Gate> = (0..12).map(|_| gate()).collect();
    let mut entered: Vec<_> = gates.iter().map(|gate| gate.enter().expect("open")).collect();
    assert!(gates.iter().all(|gate| gate.quiesce(Duration::MAX).is_none()));
    while entered.len() > 3 {
        drop(entered.remove(0));
        assert!(gates.iter().all(|gate| gate.quiesce(Duration::MAX).is_none()));
    }
    let known = gates[0].enter().expect("not abandoned");
    drop(entered);
    assert!(gates[1..].iter().all(|gate| gate.quiesce(AT_ONCE).is_some()));
    assert!(gates[0].quiesce(Duration::MAX).is_none());
    drop(known);
    assert!(gates[0].quiesce(AT_ONCE).is_some());
}

#[test]
fn what_is_inside_a_closing_gate_may_begin_another_operation() {
    let (gate, other) = (gate(), gate());
    thread::scope(|scope| {
        let outer = gate.enter().expect("not abandoned");
        let closer = scope.spawn(|| gate.quiesce(Duration::MAX).is_some());
        let closes_other = scope.spawn(|| {
            // Ends when the thread below has entered and left.
            other.quiesce(Duration::MAX).is_some()
        });
        until_closed(&gate);
        drop(gate.enter().expect("would wait for itself"));
        drop(gate.try_enter().expect("nested"));
        drop(other.enter().expect("not abandoned"));
        drop(outer);
        assert!(closer.join().expect("no panic"));
        assert!(closes_other.join().expect("no panic"));
    });
}

#[test]
fn the_thread_that_closed_a_gate_enters_it_but_its_signal_handlers_do_not() {
    let gate = gate();
    let quiet = gate.quiesce(AT_ONCE).expect("nothing is inside");
    drop(gate.enter().expect("would wait for itself"));
    assert!(gate.try_enter().is_none());
    drop(quiet);
    assert!(gate.quiesce(AT_ONCE).is_some(), "the operation was not counted out");
}

#[test]
fn a_quiet_gate_has_no_operation_and_quiescers_take_turns() {
    let (gate, inside, quiet) = (gate(), AtomicUsize::new(0), AtomicUsize::new(0));
    let running = AtomicUsize::new(3);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..300 {
                    let _quiet = gate.quiesce(Duration::MAX).expect("waits as long as needed");
                    assert_eq!(quiet.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                    assert_eq!(inside.load(Ordering::SeqCst), 0, "an operation is inside");
                    quiet.fetch_sub(1, Ordering::SeqCst);
                }
                running.fetch_sub(1, Ordering::SeqCst);
            });
        }
        for _ in 0..3 {
            scope.spawn(|| {
                while running.load(Ordering::SeqCst) > 0 {
                    let _entered = gate.enter().expect("not abandoned");
                    inside.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(quiet.load(Ordering::SeqCst), 0, "entered a quiet gate");
                    let _nested = gate.enter().expect("not abandoned");
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert!(gate.quiesce(AT_ONCE).is_some(), "a counter is wrong");
}

#[test]
fn a_thread_that_closes_in_a_loop_lets_operations_in_between() {
    let (gate, done) = (gate(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                drop(gate.quiesce(Duration::MAX));
            }
        });
        for _ in 0..200 {
            drop(gate.enter());
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn the_memory_of_a_dropped_gate_is_used_again() {
    let before = registry::len();
    for _ in 0..1000 {
        let gate = gate();
        drop(gate.enter());
    }
    // Other tests make gates at the same time.
    assert!(registry::len() < before + 200, "{before} gates became {}", registry::len());
}

/// The operation that the closing thread waits for ends only if another thread, inside no gate, can enter.
#[test]
fn a_helper_enters_a_closing_gate_after_its_wait() {
    let (gate, helped) = (gate(), AtomicBool::new(false));
    thread::scope(|scope| {
        let entered = gate.enter().expect("not abandoned");
        let closer = scope.spawn(|| gate.quiesce(Duration::MAX).is_some());
        until_closed(&gate);
        let helper = scope.spawn(|| {
            let wait = Duration::from_millis(20);
            let begun = std::time::Instant::now();
            drop(gate.enter_to_help(wait).expect("not abandoned"));
            assert!(begun.elapsed() >= wait, "entered at once");
            helped.store(true, Ordering::SeqCst);
        });
        helper.join().expect("no panic");
        assert!(helped.load(Ordering::SeqCst) && !closer.is_finished());
        drop(entered);
        assert!(closer.join().expect("no panic"));
    });
    // Open: at once. Quiet: as all others.
    drop(gate.enter_to_help(Duration::MAX).expect("open"));
    let quiet = gate.quiesce(AT_ONCE).expect("nothing is inside");
    let is_open = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _entered = gate.enter_to_help(AT_ONCE).expect("not abandoned");
            assert!(is_open.load(Ordering::SeqCst), "entered a quiet gate");
        });
        thread::sleep(Duration::from_millis(10));
        is_open.store(true, Ordering::SeqCst);
        drop(quiet);
    });
}
