use pagefold_frame::HeapSource;

use super::*;

const SOMEWHERE: Location = Location::Run { id: DescriptorId::new(3), slack: 0 };

fn table(generation_bits: u32) -> HandleTable {
    let memory = Arc::new(MemoryBudget::new(Box::new(HeapSource::new()), 10_000));
    let size = Size { indices: 100_000, ids: 1 << 10, generation_bits };
    let number = PoolNumber::take().expect("few pools are alive");
    HandleTable::new(&memory, number, size).expect("heap")
}

/// Growth charges a page of entries, one of free indices, and one of floors; each may be the one that finds no room.
#[test]
fn growth_that_stops_half_way_leaves_a_table_that_trims_and_grows() {
    for limit in 1..60 {
        let memory = Arc::new(MemoryBudget::new(Box::new(HeapSource::new()), limit));
        let size = Size { indices: 100_000, ids: 1 << 10, generation_bits: 16 };
        let number = PoolNumber::take().expect("few pools are alive");
        let table = HandleTable::new(&memory, number, size).expect("heap");
        let mut taken: Vec<u32> = Vec::new();
        for _ in 0..3 {
            while let Ok(index) = table.take(ReserveAccess::Normal) {
                taken.push(index);
            }
            table.trim();
            // Half of them come back, so that the next round finds others.
            let keep = taken.len() / 2;
            taken.drain(keep..).for_each(|index| table.give_back(index));
        }
        taken.drain(..).for_each(|index| table.give_back(index));
        table.trim();
        table.check(0).expect("right");
        assert!(memory.used() <= limit);
    }
}

fn take(table: &HandleTable) -> u32 {
    table.take(ReserveAccess::Normal).expect("room")
}

fn live_and_free(table: &HandleTable, index: u32) -> Handle {
    let live = table.load(index).at(SOMEWHERE);
    table.store(index, live);
    assert!(table.cell(index).exchange(live, live.freed()));
    table.handle(index, live)
}

fn at_their_end(table: &HandleTable, count: usize) -> Vec<u32> {
    let indices: Vec<u32> = (0..count).map(|_| take(table)).collect();
    for &index in &indices {
        while matches!(table.load(index).state(), State::Vacant { .. }) {
            live_and_free(table, index);
        }
    }
    indices
}

fn trim<const PAGES: usize>(table: &HandleTable) -> [Floor; PAGES] {
    table.trim();
    std::array::from_fn(|page| table.free.lock().floors.get(page))
}

#[test]
fn every_state_comes_back_from_its_word() {
    for largest in [100, 0x1fff_ffff, u32::MAX as usize] {
        let bits = HandleBits::new(largest, u32::MAX);
        let id = DescriptorId::new(u32::try_from(largest).expect("32 bits"));
        for state in [
            State::Vacant { slot: 0, next: bits.largest() },
            State::Live(Location::Slot { id, slot: 16_383 }),
            State::Live(Location::Run { id, slack: 4095 }),
            State::Retired { slot: 7, next: 9 },
        ] {
            for generation in [0, 1, bits.last_generation()] {
                let entry = Entry::new(bits, generation, state);
                assert_eq!((entry.generation(), entry.state()), (generation, state));
            }
        }
        assert_eq!(Entry::new(bits, 0, State::Vacant { slot: 0, next: 0 }).word, 0);
    }
}

/// Even if each return of a page costs half of its generations.
#[test]
fn the_smaller_a_table_the_more_generations_it_has() {
    let memory = Arc::new(MemoryBudget::new(Box::new(HeapSource::new()), 10_000));
    for indices in [100, 1 << 12, 1 << 20, (1 << 23) - 1] {
        let number = PoolNumber::take().expect("few pools are alive");
        let size = Size { indices, ids: 100, generation_bits: u32::MAX };
        let table = HandleTable::new(&memory, number, size).expect("heap");
        let handles = indices as u64 * (table.naming.bits.last_generation() + 1);
        assert!((1 << 46..=1 << 48).contains(&handles), "{indices}: {handles}");
    }
}

#[test]
fn an_index_is_retired_after_its_last_generation() {
    let table = table(2);
    let index = take(&table);
    let handles: Vec<Handle> = (0..4).map(|_| live_and_free(&table, index)).collect();
    assert!(matches!(table.load(index).state(), State::Retired { .. }), "four generations");
    table.give_back(index);
    let taken: Vec<u32> = (0..1000).map(|_| take(&table)).collect();
    assert!(!taken.contains(&index), "a retired index is not used again");
    assert!(handles.into_iter().all(|old| table.find(old).is_err()), "nor any handle of it");
}

#[test]
fn generations_survive_a_page_that_was_given_back() {
    let table = table(u32::MAX);
    let indices: Vec<u32> = (0..2000).map(|_| take(&table)).collect();
    for &index in &indices {
        (0..=index % 7).for_each(|_| _ = live_and_free(&table, index));
    }
    let before: Vec<u64> = indices.iter().map(|&index| table.load(index).generation()).collect();
    indices.iter().for_each(|&index| table.give_back(index));
    assert!(table.trim() >= 3 * 4096, "whole pages went");
    for index in (0..2000).map(|_| take(&table)) {
        if let Some(position) = indices.iter().position(|&old| old == index) {
            assert!(
                table.load(index).generation() >= before[position],
                "I-GENERATION for index {index}"
            );
        }
    }
}

/// A pending entry has slot and link.
#[test]
fn a_page_stays_until_its_last_retired_index_was_given_back() {
    let table = table(1);
    let indices = at_their_end(&table, 2 * PER_PAGE);
    let pending = indices[100];
    let head = AtomicU32::new(0);
    table.push_pending(&head, pending);
    indices.iter().filter(|&&index| index != pending).for_each(|&index| table.give_back(index));
    assert_eq!(trim(&table), [Floor::InUse, Floor::Retired]);
    let mut seen = Vec::new();
    table.take_pending(&head, |index, _| seen.push(index));
    assert_eq!(seen, [pending]);
    assert_eq!(trim(&table), [Floor::InUse, Floor::Retired], "it is not given back yet");
    table.give_back(pending);
    assert_eq!(trim(&table), [Floor::Retired, Floor::Retired]);
    assert_eq!(table.retired(), (1024, 100_000));
    assert_eq!(table.check(0), Ok(()));
    let again: Vec<u32> = (0..100).map(|_| take(&table)).collect();
    assert!(again.iter().all(|index| !indices.contains(index)), "retired for good");
}

#[test]
fn retired_indices_stay_retired_when_their_page_is_used_again() {
    let table = table(2);
    let indices: Vec<u32> = (0..PER_PAGE).map(|_| take(&table)).collect();
    let (old, young) = indices.split_at(100);
    for &index in old {
        (0..4).for_each(|_| _ = live_and_free(&table, index));
    }
    for &index in young {
        live_and_free(&table, index);
    }
    indices.iter().for_each(|&index| table.give_back(index));
    assert_eq!(trim(&table), [Floor::Generation(1)]);
    assert_eq!(table.check(0), Ok(()));
    let mut again: Vec<u32> = (0..young.len()).map(|_| take(&table)).collect();
    again.sort_unstable();
    assert_eq!(again, young, "the others are retired");
    assert!(old.iter().all(|&index| matches!(table.load(index).state(), State::Retired { .. })));
    again.iter().for_each(|&index| table.give_back(index));
    assert_eq!(table.check(0), Ok(()));
    assert_eq!(trim(&table), [Floor::Generation(1)], "such a page goes again");
}

/// Also when the page was made usable in vain.
#[test]
fn a_page_goes_and_comes_whatever_part_of_it_was_used() {
    let table = table(1);
    table.entries.ensure(0, ReserveAccess::Normal).expect("room");
    assert_eq!(trim(&table), [Floor::InUse], "it was never used");
    let old = at_their_end(&table, 33);
    old.iter().for_each(|&index| table.give_back(index));
    assert_eq!(table.objects().count(), 33, "no more were taken");
    assert_eq!(trim(&table), [Floor::Retired]);
    assert_eq!(table.check(0), Ok(()));
    let young = at_their_end(&table, 66);
    assert!(young.iter().all(|index| !old.contains(index)));
    assert_eq!(table.check(66), Ok(()));
    young.iter().for_each(|&index| table.give_back(index));
    assert_eq!(trim(&table), [Floor::Retired]);
    assert_eq!((table.retired().0, table.check(0)), (99, Ok(())));
}

/// Pages gone for good, gone with a floor, in use.
#[test]
fn all_retired_indices_come_back_when_they_are_recycled() {
    let table = table(2);
    let indices: Vec<u32> = (0..3 * PER_PAGE).map(|_| take(&table)).collect();
    let young = &indices[PER_PAGE + 5..PER_PAGE + 105];
    let pending = indices[2 * PER_PAGE];
    for &index in &indices {
        let lives = if young.contains(&index) { 1 } else { 4 };
        (0..lives).for_each(|_| _ = live_and_free(&table, index));
    }
    indices.iter().filter(|&&index| index != pending).for_each(|&index| table.give_back(index));
    assert_eq!(trim(&table), [Floor::Retired, Floor::Generation(1), Floor::InUse]);
    assert_eq!(table.check(1), Ok(()), "one is on a list");
    assert_eq!(table.recycle_retired(), 3 * 512 - 1 - 100);
    assert_eq!(table.retired().0, 0);
    table.give_back(pending);
    assert_eq!(table.retired().0, 1, "it retired too late");
    assert_eq!(table.check(0), Ok(()));
    let mut again: Vec<u32> = (0..3 * PER_PAGE - 1).map(|_| take(&table)).collect();
    for &index in &again {
        let entry = table.load(index);
        let floor = if (index as usize) / PER_PAGE == 1 { 1 } else { 0 };
        assert_eq!(
            (entry.generation(), entry.state()),
            (floor, State::Vacant { slot: 0, next: 0 })
        );
    }
    again.push(pending);
    again.sort_unstable();
    assert_eq!(again, indices, "each once");
    assert_eq!(table.check(3 * 512 - 1), Ok(()));
}
