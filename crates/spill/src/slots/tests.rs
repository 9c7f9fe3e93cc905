//! Slots: reserving, lives, sums.

use super::*;
use crate::end::End;

fn ends(ends: &[End]) -> Ends {
    Ends::new(ends, &vec![0; ends.len()])
}

fn written(slots: &mut Slots, sequence: u64, objects: usize) -> Vec<Place> {
    let (number, generation) = slots.reserve(sequence, Purpose::Moved).expect("a slot");
    let list: Vec<End> = (1..=objects).map(|at| End::new(at * 100, Label::NONE)).collect();
    slots.publish(number, ends(&list));
    let places: Vec<Place> = (0..objects).map(|at| Place::new(number, at, generation)).collect();
    places.iter().for_each(|&place| slots.keep(place));
    slots.end_writing(number);
    slots.audit().expect("right");
    places
}

#[test]
fn a_slot_is_free_with_its_last_object_and_the_old_places_find_nothing() {
    let mut slots = Slots::new(2);
    let first = written(&mut slots, 1, 3);
    let second = written(&mut slots, 2, 70);
    assert_eq!(slots.reserve(3, Purpose::Moved), None, "both are in use");
    assert_eq!(slots.live(), (73, 7300));
    let located = slots.locate(second[69]).expect("there");
    assert_eq!((located.offset, located.len, located.binding.sequence), (6900, 100, 2));
    for (left, &place) in first.iter().enumerate().rev() {
        assert!(slots.locate(place).is_some());
        assert!(slots.release(place).is_some());
        assert!(slots.release(place).is_none(), "once");
        assert_eq!(slots.in_use(), if left == 0 { 1 } else { 2 });
    }
    slots.audit().expect("right");
    let third = written(&mut slots, 3, 3);
    assert_ne!(first, third);
    assert!(
        first.iter().all(|&place| slots.locate(place).is_none() && slots.release(place).is_none())
    );
    assert_eq!(slots.live(), (73, 7300));
}

#[test]
fn a_release_before_the_writer_ends_does_not_free_the_slot() {
    let mut slots = Slots::new(1);
    let (number, generation) = slots.reserve(1, Purpose::Moved).expect("a slot");
    slots.publish(number, ends(&[50, 100].map(|at| End::new(at, Label::new(9)))));
    let place = Place::new(number, 0, generation);
    slots.keep(place);
    assert!(slots.release(place).is_some());
    assert_eq!((slots.reserve(2, Purpose::Moved), slots.extent(number).is_none()), (None, true));
    slots.keep(Place::new(number, 1, generation));
    slots.end_writing(number);
    assert_eq!(slots.extent(number).expect("there").objects, [Place::new(number, 1, generation)]);
    // With its entry in the directory.
    assert_eq!(slots.sparsest(5, 67, 100), [(number, 66)]);
    assert!(slots.sparsest(5, 66, 100).is_empty() && slots.sparsest(0, 67, 100).is_empty());
    assert_eq!(slots.with_dead(5), (vec![number], 50));
    slots.audit().expect("right");
}

#[test]
fn an_extent_full_of_small_objects_is_not_sparse() {
    // Of 32 bytes with the tag; as many with their entries as fit, and as many as there are numbers.
    for (extent, count) in [(48 * 100, 100), (1 << 20, OBJECTS_MAX)] {
        let mut slots = Slots::new(1);
        let (number, generation) = slots.reserve(1, Purpose::New).expect("a slot");
        let at: Vec<usize> = (1..=count).map(|number| 32 * number).collect();
        slots.publish(
            number,
            ends(&at.iter().map(|&at| End::new(at, Label::NONE)).collect::<Vec<_>>()),
        );
        (0..count).for_each(|at| slots.keep(Place::new(number, at, generation)));
        slots.end_writing(number);
        assert_eq!(slots.sparsest(1, extent, 100), []);
        slots.release(Place::new(number, 7, generation)).expect("live");
        assert_eq!(slots.sparsest(1, extent, 100).len(), 1);
        assert_eq!(slots.with_dead(1), (vec![number], 32));
    }
}

#[test]
fn the_last_slot_is_for_cleaning() {
    let mut slots = Slots::new(3);
    let places = [written(&mut slots, 1, 4), written(&mut slots, 2, 2)];
    assert_eq!(slots.reserve(3, Purpose::New), None);
    let (full, sparse) = (places[0][0].slot(), places[1][0].slot());
    assert_eq!(slots.sparsest(1, 1000, 100), [(sparse, 232)]);
    assert_eq!(slots.sparsest(9, 1000, 100), [(sparse, 232), (full, 464)]);
    assert_eq!(slots.with_dead(9), (vec![], 0));
    slots.note_damaged(sparse, places[1][0].generation() + 1);
    assert_eq!(slots.sparsest(1, 1000, 100), [(sparse, 232)], "another extent was");
    slots.note_damaged(sparse, places[1][0].generation());
    assert_eq!(slots.sparsest(1, 1000, 100), [(full, 464)]);
    assert_eq!(slots.written_after(0), Some((1, places[0][0].slot())));
    assert_eq!(slots.written_after(1), Some((2, places[1][0].slot())));
    assert_eq!(slots.written_after(2), None);
    let (number, _) = slots.reserve(3, Purpose::Moved).expect("the last one");
    assert_eq!((slots.reserve(4, Purpose::Moved), slots.written_after(2)), (None, None));
    slots.end_writing(number);
    places[0].iter().for_each(|&place| _ = slots.release(place));
    assert!(slots.reserve(5, Purpose::New).is_some());
    assert_eq!(slots.reserve(6, Purpose::New), None);
    // With a single slot there is nothing to clean into.
    assert!(Slots::new(1).reserve(1, Purpose::New).is_some());
}

#[test]
fn a_failed_write_gives_its_slot_back_with_another_generation() {
    let mut slots = Slots::new(1);
    let before = slots.reserve(1, Purpose::Moved).expect("a slot");
    slots.end_writing(before.0);
    let after = slots.reserve(2, Purpose::Moved).expect("free again");
    assert_eq!((after.0, after.1), (before.0, before.1 + 1));
}

#[test]
fn the_last_generation_uses_a_slot_up() {
    let mut slots = Slots::new(1);
    let (number, _) = slots.reserve(1, Purpose::Moved).expect("a slot");
    slots.slots[0].generation = GENERATIONS - 1;
    slots.end_writing(number);
    assert_eq!((slots.reserve(2, Purpose::Moved), slots.used_up()), (None, 1));
    assert_eq!(slots.take_undiscarded(), Some(0));
    slots.discarded(0);
    assert_eq!(slots.reserve(2, Purpose::Moved), None);
}

#[test]
fn a_slot_that_is_being_discarded_is_not_written() {
    let mut slots = Slots::new(1);
    let places = written(&mut slots, 1, 1);
    assert_eq!(slots.take_undiscarded(), None, "it is in use");
    slots.release(places[0]);
    assert_eq!(slots.take_undiscarded(), Some(0));
    assert_eq!(slots.reserve(2, Purpose::Moved), None);
    slots.discarded(0);
    assert_eq!(slots.reserve(2, Purpose::Moved).expect("free").0, 0);
    assert_eq!(slots.take_undiscarded(), None, "it is written again");
}
