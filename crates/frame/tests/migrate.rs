//! Migration, compaction and contiguous allocation, one rule at a time; `model.rs` mixes them at random.
#![cfg(not(loom))]

mod support;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use pagefold_frame::{
    Busy, ContiguousError, DescriptorId, FrameCount, FrameMigrateError, HeapSource, LockError,
    Movable, PAGEBLOCK_FRAMES, Release, ReserveAccess,
};
use pagefold_testkit::faulty::{FaultPlan, FaultySource};
use support::{Numbers, Rig, create, fill, is_filled};

const ADDRESS_SPACE: usize = 64 << 20;
/// Frames of the whole address space, with its tables.
const AMPLE: usize = 20_000;

fn rig() -> Rig {
    Rig::new(Box::new(HeapSource::new()), AMPLE, ADDRESS_SPACE)
}

fn assert_filled(rig: &Rig, id: DescriptorId, value: u32) {
    let guard = rig.movable.read(id).expect("lives");
    assert!(is_filled(guard.parts().1, value), "the bytes of {id:?} changed");
    assert_eq!(*guard.parts().0, value);
}

#[test]
fn a_run_moves_with_its_bytes_and_names_its_owner_at_the_new_place() {
    let rig = rig();
    for frames in [1, 3, 4, 64] {
        let id = create(&rig.movable, frames, frames).expect("room");
        let before = rig.movable.frame_range(id).expect("lives");
        let allocated = rig.arena.stats().allocated;
        assert_eq!(rig.arena.migrate(&rig.movable, id), Ok(FrameCount::new(frames)));
        let after = rig.movable.frame_range(id).expect("lives");
        assert!(before.start != after.start);
        assert_eq!(before.frames, after.frames);
        assert_eq!(rig.arena.stats().allocated, allocated);
        assert_eq!(rig.arena.owner(before.start), None, "the old run has no owner");
        assert_filled(&rig, id, frames);
        rig.validate().expect("valid");
    }
    assert_eq!(rig.arena.migration().bytes_copied, (1 + 3 + 4 + 64) * 4096);
}

#[test]
fn a_reader_makes_it_busy_and_nothing_changes() {
    let rig = rig();
    let id = create(&rig.movable, 2, 7).expect("room");
    let (place, used) = (rig.movable.frame_range(id), rig.memory.used());
    let reader = rig.movable.read(id).expect("lives");
    assert_eq!(rig.arena.migrate(&rig.movable, id), Err(FrameMigrateError::Busy(Busy::Locked)));
    assert_eq!((rig.movable.frame_range(id), rig.memory.used()), (place, used));
    assert!(is_filled(reader.parts().1, 7));
    drop(reader);
    assert_eq!(rig.arena.migrate(&rig.movable, id), Ok(FrameCount::new(2)));
    assert_filled(&rig, id, 7);
    let writer = rig.movable.try_write(id).expect("no guard locks it");
    assert_eq!(rig.arena.migrate(&rig.movable, id), Err(FrameMigrateError::Busy(Busy::Locked)));
    drop(writer);
    assert_eq!(rig.arena.migration().busy_locked, 2);
    rig.validate().expect("valid");
}

#[test]
fn pinned_and_isolated_runs_stay() {
    let rig = rig();
    let pinned = create(&rig.pinned, 1, 7).expect("room");
    assert_eq!(rig.arena.migrate(&rig.pinned, pinned), Err(FrameMigrateError::Busy(Busy::Pinned)));
    let id = create(&rig.movable, 1, 7).expect("room");
    let isolated = rig.movable.isolate(id).expect("lives");
    assert_eq!(rig.movable.isolate(id).err(), Some(LockError::Busy), "one mover at a time");
    assert_eq!(rig.arena.migrate(&rig.movable, id), Err(FrameMigrateError::Busy(Busy::Isolated)));
    assert_filled(&rig, id, 7);
    drop(isolated);
    assert!(rig.arena.migrate(&rig.movable, id).is_ok());
    let never = DescriptorId::new(99);
    assert_eq!(rig.arena.migrate(&rig.movable, never), Err(FrameMigrateError::Gone));
    let moves = rig.arena.migration();
    assert_eq!((moves.busy_pinned, moves.busy_isolated, moves.migrated), (1, 1, 1));
    rig.validate().expect("valid");
}

/// While the mark is set neither id nor frames go to another owner; a second free is refused as ever.
#[test]
fn what_is_freed_while_it_is_isolated_goes_when_it_is_put_back() {
    let rig = rig();
    let id = create(&rig.movable, 3, 7).expect("room");
    let isolated = rig.movable.isolate(id).expect("lives");
    assert_eq!(rig.movable.reap(id), Release::Later);
    assert_eq!(rig.movable.read(id).err(), Some(LockError::Gone));
    let again = catch_unwind(AssertUnwindSafe(|| rig.movable.reap(id)));
    assert!(again.is_err(), "freed twice");
    rig.drain_deferred();
    assert_eq!(rig.arena.stats().allocated, 3, "it still has its frames");
    assert_eq!(rig.arena.migrate(&rig.movable, id), Err(FrameMigrateError::Gone), "it is dead");
    let other = create(&rig.movable, 3, 8).expect("room");
    assert!(other != id, "the id is not free yet");
    drop(isolated);
    rig.drain_deferred();
    assert_eq!(rig.arena.stats().allocated, 3, "the other's");
    rig.validate().expect("valid");
}

/// The same for a descriptor that its writer ends.
#[test]
fn what_is_retired_while_it_is_isolated_goes_when_it_is_put_back() {
    let rig = rig();
    let id = create(&rig.movable, 1, 7).expect("room");
    let isolated = rig.movable.isolate(id).expect("lives");
    rig.movable.try_write(id).expect("a mark keeps no writer out").retire();
    assert_eq!(rig.movable.read(id).err(), Some(LockError::Gone));
    rig.drain_deferred();
    assert_eq!(rig.arena.stats().allocated, 1);
    drop(isolated);
    rig.drain_deferred();
    assert_eq!(rig.arena.stats().allocated, 0);
    rig.validate().expect("valid");
}

/// Pending work is left to who comes next, and is reported.
#[test]
fn a_move_leaves_pending_work_pending() {
    let rig = rig();
    let id = create(&rig.movable, 1, 7).expect("room");
    let reader = rig.movable.read(id).expect("lives");
    rig.movable.note_pending(id);
    drop(reader);
    assert!(rig.arena.migrate(&rig.movable, id).is_ok());
    let mut seen = Vec::new();
    while rig.movable.drain_deferred(&mut |work| seen.push(work)) {}
    assert!(seen.contains(&pagefold_frame::Deferred::Pending(id)));
    rig.validate().expect("valid");
}

#[test]
fn without_a_run_to_go_to_it_stays() {
    let plan = FaultPlan::new();
    let source = FaultySource::new(Box::new(HeapSource::new()), Arc::clone(&plan));
    let rig = Rig::new(Box::new(source), AMPLE, ADDRESS_SPACE);
    let id = create(&rig.movable, 4, 7).expect("room");
    let place = rig.movable.frame_range(id);
    plan.fail(0, u64::MAX);
    let answer = rig.arena.migrate(&rig.movable, id);
    assert!(matches!(answer, Err(FrameMigrateError::OutOfFrames(_))), "{answer:?}");
    assert!(
        matches!(
            rig.arena.alloc_contiguous(&[&rig.movable], AMPLE / 2, 1),
            Err(ContiguousError::OutOfMemory { .. })
        ),
        "a range that needs a pageblock"
    );
    plan.heal();
    assert_eq!(rig.movable.frame_range(id), place);
    assert_filled(&rig, id, 7);
    rig.validate().expect("valid");
}

/// Fills pageblocks with single frames and longer runs, and frees all but every `keep`-th of them.
fn fragmented(rig: &Rig, runs: u32, keep: usize) -> Vec<(DescriptorId, u32)> {
    let all: Vec<(DescriptorId, u32)> = (0..runs)
        .map(|value| {
            (create(&rig.movable, [1, 4, 4, 3][value as usize % 4], value).expect("room"), value)
        })
        .collect();
    let (kept, freed): (Vec<_>, Vec<_>) =
        all.into_iter().enumerate().partition(|(at, _)| at % keep == 0);
    for (_, (id, _)) in freed {
        assert_eq!(rig.movable.reap(id), Release::Now);
    }
    kept.into_iter().map(|(_, run)| run).collect()
}

#[test]
fn compaction_leaves_few_pageblocks_and_gives_the_rest_back() {
    let rig = rig();
    let kept = fragmented(&rig, 4000, 5);
    let used = rig.arena.stats().allocated;
    let before = rig.memory.used();
    let mut calls = 0;
    loop {
        let report = rig.arena.compact(&[&rig.movable], 256 << 10);
        assert!(report.copied_bytes <= (256 << 10) + 4 * 4096, "{report:?}");
        calls += 1;
        rig.validate().expect("valid between calls");
        if !report.more {
            break;
        }
    }
    assert!(calls > 2, "the budget splits the work");
    for (id, value) in kept {
        assert_filled(&rig, id, value);
    }
    let stats = rig.arena.stats();
    assert_eq!(stats.allocated, used);
    // Singles and runs have pageblocks of their own, one of each is partly used, and runs of three leave one frame.
    let bound = used / 3 + used + 2 * PAGEBLOCK_FRAMES as usize;
    assert!(stats.allocated + stats.idle <= bound, "{stats:?} of {used} used, {before} before");
    assert!(rig.arena.migration().pageblocks_freed > 10);
    let again = rig.arena.compact(&[&rig.movable], usize::MAX);
    assert_eq!((again.copied_bytes, again.more), (0, false), "there is nothing left to win");
}

/// Every frame of the limit is in use: compaction goes on, with the reserve, and never beyond it.
#[test]
fn compaction_works_at_the_limit() {
    let rig = Rig::new(Box::new(HeapSource::new()), 6000, ADDRESS_SPACE);
    rig.memory.set_reserve(16);
    let mut ids = Vec::new();
    while let Ok(id) = create(&rig.movable, 4, 3) {
        ids.push(id);
    }
    for id in ids.iter().skip(1).step_by(2) {
        assert_eq!(rig.movable.reap(*id), Release::Now);
    }
    // What is free goes back, so that whatever is to be filled has to be charged anew.
    rig.arena.trim();
    let used = rig.memory.used();
    rig.memory.set_limit(used).expect("exactly what is used");
    rig.memory.set_reserve(0);
    let report = rig.arena.compact(&[&rig.movable], usize::MAX);
    assert_eq!(report.freed_pageblocks, 0, "without a frame to start with nothing moves");
    rig.memory.set_limit(used + 16).expect("more");
    let report = rig.arena.compact(&[&rig.movable], usize::MAX);
    assert!(report.freed_pageblocks >= 3, "{report:?}");
    assert!(rig.memory.used() <= used);
    rig.validate().expect("valid");
}

#[test]
fn an_allocation_evacuates_a_range_and_gives_it_back() {
    // No pageblock beyond those in use, so that something has to move.
    let rig = Rig::new(Box::new(HeapSource::new()), AMPLE, 32 << 20);
    let kept = fragmented(&rig, 2200, 3);
    let stats = rig.arena.stats();
    let free = stats.capacity - stats.allocated;
    let mut range = rig.arena.alloc_contiguous(&[&rig.movable], 2048, 512).expect("room");
    assert!(free > 2 * 2048);
    assert!(range.start().get().is_multiple_of(512));
    assert!(range.as_slice().iter().all(|&byte| byte == 0));
    fill(range.as_mut_slice(), 0xfeed);
    assert!(rig.arena.migration().migrated > 0, "something was in the way");
    assert_eq!(rig.arena.stats().contiguous, 2048);
    rig.validate().expect("valid with a range");
    for &(id, value) in &kept {
        assert_filled(&rig, id, value);
        let location = rig.movable.frame_range(id).expect("lives");
        let start = location.start.get();
        let (first, last) = (range.start().get(), range.start().get() + 2048);
        assert!(start + location.frames.get() <= first || start >= last, "inside the range");
    }
    assert!(is_filled(range.as_slice(), 0xfeed));
    drop(range);
    assert_eq!(rig.arena.stats().contiguous, 0);
    rig.validate().expect("valid");
    rig.arena.trim();
    assert_eq!(rig.arena.stats().idle, 0);
}

/// Runs have no room but in the pageblocks of single frames: these are compacted first.
#[test]
fn an_allocation_makes_room_in_pageblocks_of_another_kind() {
    let rig = Rig::new(Box::new(HeapSource::new()), AMPLE, 16 << 20);
    let (mut singles, mut runs) = (Vec::new(), Vec::new());
    // One pageblock of single frames, one of runs, and so on.
    for _ in 0..4 {
        singles.extend((0..512).map(|value| create(&rig.movable, 1, value).expect("room")));
        runs.extend((0..128).map(|value| create(&rig.movable, 4, value).expect("room")));
    }
    assert_eq!(create(&rig.movable, 1, 1).err(), Some(pagefold_frame::OutOfFrames), "full");
    for id in singles.iter().filter(|id| id.get() % 8 != 0) {
        assert_eq!(rig.movable.reap(*id), Release::Now);
    }
    let range = rig.arena.alloc_contiguous(&[&rig.movable], 2 * 512, 1).expect("singles fit one");
    assert!(rig.arena.migration().pageblocks_freed >= 1, "the allocation alone was not enough");
    for (value, id) in (0_u32..).zip(&runs) {
        assert_filled(&rig, *id, value % 128);
    }
    drop(range);
    rig.validate().expect("valid");
}

#[test]
fn an_allocation_names_its_blockers_and_leaves_everything_as_it_was() {
    let rig = Rig::new(Box::new(HeapSource::new()), AMPLE, 2 << 20);
    let id = create(&rig.movable, 4, 7).expect("room");
    let place = rig.movable.frame_range(id).expect("lives");
    let reader = rig.movable.read(id).expect("lives");
    let used = rig.memory.used();
    let error = rig.arena.alloc_contiguous(&[&rig.movable], 512, 1).expect_err("it is held");
    let ContiguousError::Blocked { frames: 512, blockers } = &error else { panic!("{error}") };
    assert_eq!(blockers[0].frame, place.start);
    assert_eq!(blockers[0].busy, Busy::Locked);
    assert_eq!(blockers[0].owner.map(|owner| owner.id), Some(id));
    assert!(
        error.to_string().contains("frame 0 (descriptor 0): a reader or a writer has them locked"),
        "{error}"
    );
    assert_eq!((rig.movable.frame_range(id), rig.memory.used()), (Some(place), used));
    // Beside it there is room.
    let range = rig.arena.alloc_contiguous(&[&rig.movable], 256, 256).expect("the other half");
    assert_eq!(range.start().get(), 256);
    let error =
        rig.arena.alloc_contiguous(&[&rig.movable], 257, 1).expect_err("contiguous and locked");
    let ContiguousError::Blocked { blockers, .. } = &error else { panic!("{error}") };
    assert!(blockers.iter().any(|blocker| blocker.busy == Busy::Contiguous), "{error}");
    drop((reader, range));
    // Nowhere to go: the arena has one pageblock.
    let error = rig.arena.alloc_contiguous(&[&rig.movable], 512, 1).expect_err("no room beside");
    assert!(matches!(error, ContiguousError::OutOfMemory { .. }), "{error}");
    assert_eq!(rig.movable.reap(id), Release::Now);
    let range = rig.arena.alloc_contiguous(&[&rig.movable], 512, 512).expect("all of it");
    assert_eq!(create(&rig.movable, 1, 1).err(), Some(pagefold_frame::OutOfFrames));
    drop(range);
    create(&rig.movable, 1, 1).expect("room again");
    rig.validate().expect("valid");
    assert_eq!(rig.arena.migration().contiguous_allocs, 2);
    assert_eq!(rig.arena.migration().contiguous_failures, 3);
}

#[test]
fn a_pinned_run_is_named_and_gone_round() {
    let rig = Rig::new(Box::new(HeapSource::new()), AMPLE, 4 << 20);
    create(&rig.pinned, 1, 1).expect("room");
    create(&rig.movable, 1, 2).expect("room");
    let error = rig.arena.alloc_contiguous(&[&rig.movable], 1024, 1).expect_err("pinned");
    let ContiguousError::Blocked { blockers, .. } = &error else { panic!("{error}") };
    assert!(blockers.iter().any(|blocker| blocker.busy == Busy::Pinned), "{error}");
    let range = rig.arena.alloc_contiguous(&[&rig.movable], 300, 1).expect("beside it");
    assert!(range.start().get() >= 512, "the pinned pageblock is left alone");
    drop(range);
    rig.validate().expect("valid");
}

#[test]
fn impossible_ranges_are_refused() {
    let rig = Rig::new(Box::new(HeapSource::new()), AMPLE, 4 << 20);
    let alloc = |frames, align| rig.arena.alloc_contiguous(&[&rig.movable], frames, align);
    assert_eq!(alloc(0, 1).err(), Some(ContiguousError::NoFrames));
    assert_eq!(alloc(1, 0).err(), Some(ContiguousError::Misaligned { align: 0 }));
    assert_eq!(alloc(8, 3).err(), Some(ContiguousError::Misaligned { align: 3 }));
    let too_large = |frames, align| ContiguousError::TooLarge { frames, align, capacity: 1024 };
    assert_eq!(alloc(1025, 1).err(), Some(too_large(1025, 1)));
    assert_eq!(alloc(usize::MAX, 1).err(), Some(too_large(usize::MAX, 1)));
    let align = 1 << 40;
    assert_eq!(alloc(1, align).err(), Some(too_large(1, align)));
    assert_eq!(rig.arena.migration().contiguous_failures, 6);
    rig.memory.set_limit(rig.memory.used() + 100).expect("enough");
    assert_eq!(
        alloc(600, 1).err(),
        Some(ContiguousError::OutOfMemory { frames: 600, limit: rig.memory.limit() })
    );
    rig.validate().expect("valid");
}

#[test]
fn an_allocation_inside_the_limit_pushes_out_what_is_only_idle() {
    let rig = Rig::new(Box::new(HeapSource::new()), 3000, ADDRESS_SPACE);
    let kept = fragmented(&rig, 900, 9);
    let idle = rig.arena.stats().idle;
    assert!(idle > 1500, "{idle}");
    let frames = 3000 - rig.arena.stats().allocated - rig.memory.metadata() - 20;
    let range = rig.arena.alloc_contiguous(&[&rig.movable], frames, 1).expect("fits the limit");
    assert!(rig.memory.used() <= 3000);
    for (id, value) in kept {
        assert_filled(&rig, id, value);
    }
    drop(range);
    rig.validate().expect("valid");
}

/// Readers, writers, births and deaths beside movers of every kind; every byte is verified.
#[test]
fn everything_at_once() {
    let rig = Rig::new(Box::new(HeapSource::new()), 9000, ADDRESS_SPACE);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for stream in 0..2 {
            let (rig, stop) = (&rig, &stop);
            scope.spawn(move || {
                let mut numbers = Numbers::for_test(0x51ab).stream(stream);
                let mut mine: Vec<(DescriptorId, u32)> = Vec::new();
                for value in 0..40_000 {
                    match numbers.below(5) {
                        0 if mine.len() < 700 => {
                            let frames = u32::try_from(1 + numbers.below(8)).expect("few");
                            mine.extend(
                                create(&rig.movable, frames, value).ok().map(|id| (id, value)),
                            );
                        }
                        1 if !mine.is_empty() => {
                            let (id, _) = mine.swap_remove(numbers.below(mine.len()));
                            rig.movable.reap(id);
                        }
                        2 if !mine.is_empty() => {
                            let at = numbers.below(mine.len());
                            if let Ok(mut guard) = rig.movable.try_write(mine[at].0) {
                                let (body, bytes) = guard.parts();
                                *body = value;
                                fill(bytes, value);
                                mine[at].1 = value;
                            }
                        }
                        3 => drop(rig.movable.drain_deferred(&mut |_| {})),
                        _ if !mine.is_empty() => {
                            let (id, value) = mine[numbers.below(mine.len())];
                            assert_filled(rig, id, value);
                        }
                        _ => {}
                    }
                }
                for (id, value) in mine {
                    assert_filled(rig, id, value);
                    rig.movable.reap(id);
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
        for stream in 2..4 {
            let (rig, stop) = (&rig, &stop);
            scope.spawn(move || {
                let mut numbers = Numbers::for_test(0x51ab).stream(stream);
                while !stop.load(Ordering::Relaxed) {
                    match numbers.below(8) {
                        0 => drop(rig.arena.compact(&[&rig.movable], numbers.below(1 << 22))),
                        1 => drop(rig.arena.alloc_contiguous(
                            &[&rig.movable],
                            1 + numbers.below(1500),
                            1 << numbers.below(10),
                        )),
                        2 => drop(rig.arena.trim()),
                        _ => {
                            let id = u32::try_from(numbers.below(1400)).expect("few");
                            let _ = rig.arena.migrate(&rig.movable, DescriptorId::new(id));
                        }
                    }
                }
            });
        }
    });
    rig.drain_deferred();
    assert_eq!(rig.arena.stats().allocated, 0, "everything was freed");
    let moves = rig.arena.migration();
    assert!(moves.migrated > 100 && moves.contiguous_allocs > 0, "{moves:?}");
    rig.validate().expect("valid");
    rig.arena.trim();
    assert_eq!(rig.memory.used(), rig.memory.metadata());
}

/// A kind that evacuation was not told of does not move, and is named.
#[test]
fn a_slab_that_is_not_given_is_pinned() {
    let rig = Rig::new(Box::new(HeapSource::new()), AMPLE, 2 << 20);
    let guard = rig.movable.create(FrameCount::ONE, ReserveAccess::Normal, 1).expect("room");
    let id = guard.id();
    drop(guard);
    let none: &[&dyn Movable] = &[];
    let error = rig.arena.alloc_contiguous(none, 512, 1).expect_err("unknown");
    let ContiguousError::Blocked { blockers, .. } = &error else { panic!("{error}") };
    assert_eq!(
        (blockers[0].busy, blockers[0].owner.map(|owner| owner.id)),
        (Busy::Pinned, Some(id))
    );
}
