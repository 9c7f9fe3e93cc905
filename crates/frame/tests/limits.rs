//! The limit: never exceeded, what is cached or idle given up before anything is refused, the reserve kept, every
//! refusal harmless.
#![cfg(not(loom))]

mod support;

use std::{sync::Arc, thread};

use pagefold_frame::{
    DescriptorId, FrameCount, HeapSource, MemoryBudget, PAGEBLOCK_FRAMES, ReserveAccess, WordTable,
};
use pagefold_testkit::faulty::{FaultPlan, FaultySource};
use support::{Numbers, Rig, create};

const ADDRESS_SPACE: usize = 64 << 20;

fn rig(limit: usize) -> Rig {
    Rig::new(Box::new(HeapSource::new()), limit, ADDRESS_SPACE)
}

/// Runs of `frames` frames until there is no room.
fn fill_up(rig: &Rig, frames: u32) -> Vec<DescriptorId> {
    let ids: Vec<_> = std::iter::from_fn(|| create(&rig.movable, frames, frames).ok()).collect();
    assert!(rig.memory.used() <= rig.memory.limit());
    ids
}

fn reap_all(rig: &Rig, ids: Vec<DescriptorId>) {
    for id in ids {
        rig.movable.reap(id);
    }
}

#[test]
fn the_limit_is_used_up_to_less_than_one_run() {
    for frames in [1, 2, 3, 7, 16, 33, 64] {
        let rig = rig(1500);
        fill_up(&rig, frames);
        let left = rig.memory.limit() - rig.memory.used();
        // A new page of a table, or the first pages of another pageblock, may be what did not fit.
        assert!(left < frames as usize + 3, "{left} frames left when {frames} were refused");
        rig.validate().expect("valid");
    }
}

/// What was freed serves any other length, whichever caches and pageblocks it lies in.
#[test]
fn everything_that_is_free_is_given_up_before_a_run_is_refused() {
    for (before, after) in [(1, 64), (64, 1), (2, 3), (16, 1), (1, 16), (5, 8), (4, 4)] {
        let rig = rig(1500);
        let first = fill_up(&rig, before).len();
        for _ in 0..3 {
            let ids = fill_up(&rig, before);
            reap_all(&rig, ids);
            reap_all(&rig, rig.movable.live().map(|(id, _)| id).collect());
            let ids = fill_up(&rig, after);
            let frames = ids.len() * after as usize;
            assert!(
                frames + 80 >= first * before as usize,
                "{before} -> {after}: {frames} of {first}"
            );
            reap_all(&rig, ids);
            rig.validate().expect("valid");
        }
    }
}

/// Frames in another thread's cache count as free: an allocation drains them before it fails.
#[test]
fn caches_of_other_threads_are_drained_before_a_run_is_refused() {
    let rig = rig(600);
    let ids = fill_up(&rig, 1);
    let count = ids.len();
    let mut ids = ids.into_iter();
    for _ in 0..8 {
        let some: Vec<_> = ids.by_ref().take(10).collect();
        // Each thread has a cache of its own, or shares one.
        thread::scope(|scope| {
            scope.spawn(|| reap_all(&rig, some));
        });
    }
    assert_eq!(fill_up(&rig, 1).len(), 80, "of {count} runs 80 were freed, in caches or not");
    rig.validate().expect("valid");
}

#[test]
fn the_reserve_is_for_those_who_claim_it() {
    let rig = rig(1000);
    rig.memory.set_reserve(100);
    fill_up(&rig, 1);
    let used = rig.memory.used();
    assert!(used <= 900, "{used} frames used by those who do not claim the reserve");
    let mut reserved = 0;
    while rig.movable.create(FrameCount::ONE, ReserveAccess::Reserve, 0).is_ok() {
        reserved += 1;
    }
    assert!((95..=100).contains(&reserved), "{reserved} frames of the reserve");
    assert!(rig.memory.used() <= 1000);
    rig.validate().expect("valid");
}

/// What one who may use the reserve has freed becomes the reserve again, and not prey of those who may not.
#[test]
fn frames_of_the_reserve_come_back_to_the_reserve() {
    let rig = rig(1000);
    rig.memory.set_reserve(64);
    fill_up(&rig, 1);
    for round in 0..10 {
        let guard = rig.movable.create(FrameCount::new(16), ReserveAccess::Reserve, 0);
        let id = guard.unwrap_or_else(|_| panic!("round {round}: the reserve is gone")).id();
        rig.movable.reap(id);
        while create(&rig.movable, 16, 0).is_ok() {}
        while create(&rig.movable, 1, 0).is_ok() {}
    }
    rig.validate().expect("valid");
}

#[test]
fn a_lower_limit_refuses_and_a_higher_one_admits() {
    let rig = rig(1000);
    let ids = fill_up(&rig, 1);
    let used = rig.memory.used();
    assert_eq!(rig.memory.set_limit(500), Err(used), "what is used does not fit");
    assert_eq!(rig.memory.limit(), 1000, "so the old limit stays");
    reap_all(&rig, ids);
    rig.arena.trim();
    assert_eq!(rig.memory.set_limit(500), Ok(()));
    let fewer = fill_up(&rig, 1).len();
    assert!(rig.memory.used() <= 500);
    assert_eq!(rig.memory.set_limit(1500), Ok(()));
    let more = fill_up(&rig, 1).len();
    assert!(more >= 990, "{more} more after {fewer}");
    assert!(rig.memory.used() <= 1500);
    rig.validate().expect("valid");
}

/// One whole pageblock stays for the next allocation; the second goes back to the system at once.
#[test]
fn of_two_whole_pageblocks_one_is_given_back() {
    let rig = rig(10_000);
    let runs = 3 * PAGEBLOCK_FRAMES / 64;
    // Runs of 64 frames pass by all caches.
    let ids: Vec<_> = (0..runs).map(|_| create(&rig.movable, 64, 1).expect("room")).collect();
    let block = PAGEBLOCK_FRAMES as usize;
    let mut idle = Vec::new();
    for id in ids {
        rig.movable.reap(id);
        idle.push(rig.arena.stats().idle);
    }
    let after_each_block: Vec<_> = idle.iter().skip(7).step_by(8).copied().collect();
    assert_eq!(after_each_block, [block, block, block]);
    assert!(idle.iter().all(|&idle| idle < 2 * block), "{idle:?}");
    rig.validate().expect("valid");
    assert_eq!(rig.arena.trim().0, block * 4096);
}

#[test]
fn freed_frames_are_used_again_before_new_ones_are_charged() {
    let rig = rig(10_000);
    let ids: Vec<_> = (0..200).map(|_| create(&rig.movable, 4, 1).expect("room")).collect();
    let used = rig.memory.used();
    reap_all(&rig, ids);
    for _ in 0..200 {
        create(&rig.movable, 4, 2).expect("room");
    }
    assert_eq!(rig.memory.used(), used);
}

/// For every k, the k-th grant refused, once and from then on: the call fails or does without, and nothing is lost.
#[test]
fn any_refused_grant_leaves_everything_as_it_was() {
    for count in [1, u64::MAX] {
        let mut refused = 0;
        for k in 0.. {
            let plan = FaultPlan::new();
            let source = FaultySource::new(Box::new(HeapSource::new()), Arc::clone(&plan));
            let rig = Rig::new(Box::new(source), 3000, ADDRESS_SPACE);
            let asked = plan.allocations();
            plan.fail(k, count);
            let mut alive = Vec::new();
            for step in 0..120 {
                let before = (rig.arena.stats().allocated, rig.movable.live().count());
                match create(&rig.movable, [1, 4, 16, 64][step % 4], 5) {
                    Ok(id) => alive.push(id),
                    Err(_) => {
                        let after = (rig.arena.stats().allocated, rig.movable.live().count());
                        assert_eq!(before, after, "grant {k}: a refused run leaves nothing behind");
                    }
                }
                if step % 3 == 0 && !alive.is_empty() {
                    rig.movable.reap(alive.swap_remove(step % alive.len()));
                }
                if step == 60 {
                    rig.arena.trim();
                    rig.movable.trim();
                }
            }
            rig.validate().unwrap_or_else(|violation| panic!("grant {k}: {violation}"));
            let asked = plan.allocations() - asked;
            plan.heal();
            alive.push(create(&rig.movable, 16, 5).expect("nothing is refused any more"));
            reap_all(&rig, alive);
            rig.validate().unwrap_or_else(|violation| panic!("grant {k}, healed: {violation}"));
            assert_eq!(rig.arena.stats().allocated, 0);
            if asked <= k {
                break;
            }
            refused += 1;
        }
        assert!(refused > 100, "memory was asked for only {refused} times");
    }
}

/// Threads at the limit: it holds at any moment, and what is free at the end is all there is.
#[test]
fn threads_together_keep_the_limit() {
    const THREADS: u64 = 4;
    let rig = rig(1200);
    let numbers = Numbers::for_test(0x11a1);
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (rig, mut numbers) = (&rig, numbers.stream(number));
            scope.spawn(move || {
                let mut alive = Vec::new();
                for step in 0..20_000 {
                    let frames = [1, 1, 2, 4, 5, 16, 64][numbers.below(7)];
                    if numbers.below(2) == 0
                        && let Ok(id) = create(&rig.movable, frames, step)
                    {
                        alive.push((id, step));
                    } else if !alive.is_empty() {
                        let (id, value) = alive.swap_remove(numbers.below(alive.len()));
                        let guard = rig.movable.read(id).expect("lives");
                        assert!(support::is_filled(guard.parts().1, value));
                        drop(guard);
                        rig.movable.reap(id);
                    }
                    if step % 5000 == 0 {
                        rig.arena.trim();
                        rig.movable.trim();
                    }
                    assert!(rig.memory.used() <= rig.memory.limit());
                }
                reap_all(rig, alive.into_iter().map(|(id, _)| id).collect());
            });
        }
    });
    rig.drain_deferred();
    rig.validate().expect("valid");
    assert_eq!(rig.arena.stats().allocated, 0);
    rig.arena.trim();
    assert_eq!(rig.memory.used(), rig.memory.metadata());
}

/// What a table keeps of its pages counts as well: of a table of 4 GiB, a frame for each 128 MiB up to the page used.
#[test]
fn a_table_charges_what_it_keeps_of_its_pages() {
    let memory = Arc::new(MemoryBudget::new(Box::new(HeapSource::new()), 20));
    let words = (4 << 30) / 8;
    let table = WordTable::new(&memory, words).expect("address space");
    table.ensure(0, ReserveAccess::Normal).expect("room");
    assert_eq!(memory.used(), 1, "the first pages cost nothing more");
    assert!(
        table.ensure(words - 1, ReserveAccess::Normal).is_err(),
        "32 frames of bits do not fit"
    );
    assert_eq!(memory.used(), 1, "nothing was charged for it");
    table.ensure(words / 4, ReserveAccess::Normal).expect("room");
    assert_eq!((memory.used(), memory.metadata()), (1 + 1 + 8, 1 + 1 + 8));
    let pages = table.release_vacant(&mut Some(0), &mut |_| true);
    assert_eq!((pages, memory.used()), (10, 0), "bits of pages that went go too");
    table.ensure(words / 4, ReserveAccess::Normal).expect("room");
    drop(table);
    assert_eq!(memory.used(), 0);
}
