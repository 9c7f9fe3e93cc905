//! Every interleaving of the slot array under the memory model: one owner at a time, who sees the last one's writes.
//!
//! loom's cell fails the test when two accesses to a value are not ordered by the flag of its slot, so these also fail
//! where the Acquire and the Release of `slots.rs` are weakened.
use loom::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use pagefold_sys::sync::SlotArray;

/// Explores all interleavings with up to four preemptions, or as many as `LOOM_MAX_PREEMPTIONS` says. Of three threads at two
/// slots that takes two seconds, and a search without a bound a minute.
fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(4));
    builder.check(f);
}

/// Runs `threads` threads that each acquire a slot, add one and release `rounds` times, all from the same hint.
fn turns(threads: usize, slots: usize, rounds: usize) {
    model(move || {
        let values = Arc::new(SlotArray::from_fn(slots, |_| 0_usize));
        let run = || {
            let values = values.clone();
            move || (0..rounds).for_each(|_| values.acquire_from(0).with(|value| *value += 1))
        };
        let others: Vec<_> = (1..threads).map(|_| thread::spawn(run())).collect();
        run()();
        others.into_iter().for_each(|thread| thread.join().unwrap());

        let mut guards: Vec<_> = std::iter::from_fn(|| values.try_acquire_from(0)).collect();
        assert_eq!(guards.len(), slots, "every slot was released");
        let sum: usize = guards.iter_mut().map(|guard| guard.with(|value| *value)).sum();
        assert_eq!(sum, threads * rounds, "no turn was lost");
    });
}

#[test]
fn two_threads_take_turns_at_one_slot() {
    turns(2, 1, 2);
}

#[test]
fn two_threads_move_between_two_slots() {
    turns(2, 2, 2);
}

#[test]
fn three_threads_share_two_slots() {
    turns(3, 2, 1);
}

#[test]
fn a_nested_use_takes_another_slot_while_a_thread_competes() {
    model(|| {
        let values = Arc::new(SlotArray::from_fn(3, |_| 0_usize));
        let other = {
            let values = values.clone();
            thread::spawn(move || values.acquire_from(0).with(|value| *value += 1))
        };
        let mut outer = values.acquire_from(0);
        let mut inner = values.acquire_from(0);
        outer.with(|outer| inner.with(|inner| (*outer, *inner) = (*outer + 1, *inner + 1)));
        drop((outer, inner));
        other.join().unwrap();
    });
}

#[test]
fn never_more_owners_than_slots_and_a_full_array_refuses_at_once() {
    model(|| {
        let values = Arc::new(SlotArray::from_fn(1, |_| ()));
        let owners = Arc::new(AtomicUsize::new(0));
        let run = || {
            let (values, owners) = (values.clone(), owners.clone());
            move || {
                let Some(guard) = values.try_acquire_from(0) else { return };
                assert_eq!(owners.fetch_add(1, Ordering::Relaxed), 0, "two owners of one slot");
                owners.fetch_sub(1, Ordering::Relaxed);
                drop(guard);
            }
        };
        let other = thread::spawn(run());
        run()();
        other.join().unwrap();
    });
}
