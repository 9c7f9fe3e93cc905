//! Slots on real threads; `tests/loom` has the models.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Barrier,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use super::*;

#[derive(Default)]
struct Watched {
    users: AtomicU32,
    parts: [u64; 8],
}

impl Watched {
    fn use_once(&mut self) {
        assert_eq!(self.users.fetch_add(1, Ordering::Relaxed), 0, "two threads use the value");
        let first = self.parts[0];
        for part in &mut self.parts {
            assert_eq!(*part, first, "the last owner's writes are not all seen");
            *part += 1;
        }
        self.users.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn more_threads_than_slots_take_turns() {
    const THREADS: usize = 8;
    const ROUNDS: u64 = 20_000;
    let slots = SlotArray::from_fn(3, |_| Watched::default());
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (slots, start) = (&slots, &start);
            scope.spawn(move || {
                start.wait();
                for _ in 0..ROUNDS / 2 {
                    slots.acquire().with(Watched::use_once);
                    // The worst hint: all threads start at the same slot.
                    slots
                        .acquire_from(if thread % 2 == 0 { 0 } else { usize::MAX })
                        .with(Watched::use_once);
                }
            });
        }
    });
    let guards: Vec<_> = std::iter::from_fn(|| slots.try_acquire()).collect();
    let uses: u64 = guards.into_iter().map(|mut guard| guard.with(|value| value.parts[0])).sum();
    assert_eq!(uses, THREADS as u64 * ROUNDS, "no use was lost");
}

#[test]
fn nested_uses_take_different_slots_until_none_is_left() {
    let slots = SlotArray::from_fn(5, |index| index);
    for hint in [0, 3, usize::MAX] {
        let mut guards = Vec::new();
        while let Some(guard) = slots.try_acquire_from(hint) {
            guards.push(guard);
        }
        let seen: BTreeSet<_> = guards.iter_mut().map(|guard| guard.with(|index| *index)).collect();
        assert_eq!(seen, (0..5).collect(), "hint {hint}");
    }
    assert!(slots.try_acquire().is_some(), "all were released");
}

#[test]
fn the_hinted_slot_comes_first_and_the_search_goes_round() {
    let slots = SlotArray::from_fn(4, |index| index);
    let mut first = slots.acquire_from(6);
    let mut second = slots.acquire_from(6);
    let mut third = slots.acquire_from(6);
    assert_eq!(
        [&mut first, &mut second, &mut third].map(|guard| guard.with(|index| *index)),
        [2, 3, 0]
    );
}

#[test]
fn a_panic_in_use_releases_the_slot() {
    let slots = SlotArray::from_fn(1, |_| 7);
    let panicked = catch_unwind(AssertUnwindSafe(|| slots.acquire().with(|_| panic!("in use"))));
    assert!(panicked.is_err());
    assert_eq!(slots.try_acquire().map(|mut guard| guard.with(|value| *value)), Some(7));
}

#[test]
fn a_failing_value_fails_the_array_and_the_rest_is_dropped() {
    let made = std::rc::Rc::new(());
    for failing in 0..4 {
        let result =
            SlotArray::try_from_fn(
                4,
                |index| if index == failing { Err(index) } else { Ok(made.clone()) },
            );
        assert_eq!(result.err(), Some(failing));
        assert_eq!(std::rc::Rc::strong_count(&made), 1);
    }
}

#[test]
fn slots_lie_on_cache_lines_of_their_own() {
    let slots = SlotArray::from_fn(3, |_| 0_u8);
    assert_eq!(slots.array_bytes(), 3 * 128);
    assert_eq!(align_of::<ArraySlot<u8>>(), 128);
}

#[test]
fn a_visit_reaches_the_free_usable_slots_and_asks_for_no_more() {
    let slots = SlotArray::from_fn(4, |index| index);
    slots.limit(3);
    let taken = slots.acquire_from(1);
    let mut seen = Vec::new();
    slots.visit_free(|index| seen.push(*index));
    assert_eq!(seen, [0, 2]);
    assert!(!slots.is_crowded());
    drop(taken);
    slots.visit_free(|index| *index += 10);
    assert_eq!(slots.acquire_from(1).with(|index| *index), 11, "it was released again");
}

#[test]
#[should_panic(expected = "at least one")]
fn an_empty_array_is_refused() {
    drop(SlotArray::from_fn(0, |_| ()));
}

#[test]
fn the_default_is_twice_the_processors() {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    assert!(default_slot_count() >= 2 * processors);
}

#[test]
fn only_usable_slots_are_acquired_and_a_search_that_found_none_asks_for_more() {
    let slots = SlotArray::from_fn(3, |index| index);
    slots.limit(1);
    assert_eq!(slots.usable(), 1);
    for hint in 0..10 {
        let mut only = slots.acquire_from(hint);
        assert_eq!(only.with(|index| *index), 0);
        assert!(slots.try_acquire_from(hint).is_none());
    }
    assert!(slots.is_crowded() && slots.add());
    assert!(!slots.is_crowded(), "until a search finds both taken");
    let (_first, _second) = (slots.acquire(), slots.acquire());
    assert!(!slots.is_crowded());
    assert!(slots.try_acquire().is_none() && slots.is_crowded() && slots.add());
    let _third = slots.acquire();
    assert!(slots.try_acquire().is_none() && !slots.is_crowded(), "there is no fourth");
    assert!(!slots.add());
    slots.limit(0);
    assert_eq!(slots.usable(), 1);
}
