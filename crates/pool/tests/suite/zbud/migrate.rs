//! zbud's frames are moved under its objects: nothing above them changes, neither order nor room nor a byte.

use pagefold_frame::HeapSource;
use pagefold_pool::{
    Allocator, Busy, Handle, HandleError, MigrateError, NotEvicted, Pool, PoolBuilder, ReclaimError,
};
use pagefold_testkit::{pattern::Pattern, seed::Seed};
use rand::{RngExt as _, seq::SliceRandom as _};

/// From the heap, where there is little more address space than the limit.
fn pool(limit: usize) -> Box<dyn Pool> {
    let builder = PoolBuilder::new(Allocator::zbud()).limit(limit);
    builder.source(Box::new(HeapSource::new())).build().expect("enough for a pool")
}

fn store(pool: &dyn Pool, number: u64, len: usize) -> Handle {
    pool.store(&Pattern::new(2, number, 0).bytes(len)).expect("room")
}

fn check(pool: &dyn Pool, handle: Handle, number: u64) {
    let mut seen = None;
    pool.read(handle, &mut |slices| seen = Some(Pattern::new(2, number, 0).check(slices)))
        .unwrap_or_else(|error| panic!("object {number}: {error}"));
    assert_eq!(seen, Some(Ok(())), "object {number}");
}

/// The first object of each frame, the frame filled longest ago first; a whole turn, so the order is the same after.
fn order(pool: &dyn Pool) -> Vec<Handle> {
    let frames = u32::try_from(pool.stats().frame_bytes / 4096).expect("few frames");
    let mut asked = Vec::new();
    let answer = pool.reclaim(frames, &mut |handle| {
        asked.push(handle);
        Err(NotEvicted)
    });
    assert_eq!(answer, Err(ReclaimError::Again { tried: frames }));
    asked
}

#[test]
fn an_object_that_is_read_stays_and_moves_when_the_read_ends() {
    let pool = pool(4 << 20);
    // Three frames; the third object joins the second, where it fits tightest.
    let handles: Vec<Handle> = [2000, 2500, 1500, 3000]
        .into_iter()
        .zip(0..)
        .map(|(len, n)| store(&*pool, n, len))
        .collect();
    let before = (order(&*pool), pool.stats());
    let answer = pool.read(handles[1], &mut |open| {
        for pinned in [handles[1], handles[2]] {
            let same_frame = pool.migrate(pinned);
            assert_eq!(same_frame, Err(MigrateError::Busy(Busy::Locked)), "a buddy is read");
        }
        assert_eq!(pool.stats().migration.bytes_copied, 0);
        assert_eq!(Pattern::new(2, 1, 0).check(open), Ok(()));
        assert_eq!(pool.migrate(handles[3]), Ok(4096), "no read is open there");
    });
    assert_eq!(answer, Ok(()));
    for handle in &handles {
        assert_eq!(pool.migrate(*handle), Ok(4096));
    }
    (0..).zip(&handles).for_each(|(number, handle)| check(&*pool, *handle, number));
    let after = (order(&*pool), pool.stats());
    assert_eq!(after.0, before.0, "the order of use");
    let room = |stats: pagefold_pool::Stats| {
        (stats.objects, stats.frame_bytes, stats.reclaimable_bytes, stats.lists_in_use)
    };
    assert_eq!(room(after.1), room(before.1));
    assert_eq!(after.1.migration.migrated, 5);
    // What was free is found where it was: the tightest fit for each.
    store(&*pool, 4, 1000);
    store(&*pool, 5, 1500);
    assert_eq!(pool.stats().frame_bytes, before.1.frame_bytes, "no frame was needed");
    assert_eq!(pool.validate(), Ok(()));
}

#[test]
fn handles_that_name_nothing_are_not_migrated() {
    let (mine, other) = (pool(4 << 20), pool(4 << 20));
    let [stale, foreign] = [store(&*mine, 0, 100), store(&*other, 0, 100)];
    mine.free(stale).expect("alive");
    assert_eq!(mine.migrate(stale), Err(MigrateError::Handle(HandleError::Stale)));
    assert_eq!(mine.migrate(foreign), Err(MigrateError::Handle(HandleError::Foreign)));
}

/// Fills so many pageblocks with lone frames and frees two of three, all over; the rest in the order of filling.
fn scattered(pool: &dyn Pool, seed: Seed, pageblocks: u64) -> Vec<(u64, Handle)> {
    let mut rng = seed.rng(0);
    let mut objects: Vec<(u64, Handle)> = Vec::new();
    for number in 0..pageblocks * 512 {
        objects.push((number, store(pool, number, rng.random_range(2100..4096))));
    }
    objects.shuffle(&mut rng);
    for (_, handle) in objects.drain(objects.len() / 3..) {
        pool.free(handle).expect("alive");
    }
    objects.sort_unstable();
    objects
}

#[test]
fn a_range_in_memory_full_of_frames_moves_them_and_nothing_else() {
    let seed = Seed::for_test(0xc1a1);
    let pool = pool(40 << 20);
    // Of 28 pageblocks 18 are in use, each a third: a range of 11 does not fit beside them.
    let objects = scattered(&*pool, *seed, 18);
    let before = order(&*pool);
    assert_eq!(before, objects.iter().map(|(_, handle)| *handle).collect::<Vec<_>>());
    let mut range = pool.alloc_contiguous(11 * 512, 512).expect("what is there can be moved");
    assert!(pool.stats().migration.migrated > 0, "it had to move something");
    assert!(range.as_slice().iter().all(|byte| *byte == 0));
    range.as_mut_slice().fill(0xaa);
    for (number, handle) in &objects {
        check(&*pool, *handle, *number);
    }
    assert_eq!(order(&*pool), before, "the order of use");
    assert!(range.as_slice().iter().all(|byte| *byte == 0xaa), "no other thread wrote there");
    drop(range);
    assert_eq!(pool.validate(), Ok(()));
}

#[test]
fn compaction_of_frames_gives_pageblocks_back_and_keeps_the_order() {
    let seed = Seed::for_test(0xc0b4);
    let pool = pool(14 << 20);
    let objects = scattered(&*pool, *seed, 6);
    let before = order(&*pool);
    let (mut freed, mut calls) = (0, 0);
    loop {
        let report = pool.compact(256 << 10);
        (freed, calls) = (freed + report.freed_pageblocks, calls + 1);
        assert_eq!(report.moved_objects, 0, "no two objects fit together");
        assert_eq!(pool.validate(), Ok(()), "call {calls}");
        if !report.more {
            break;
        }
        assert!(calls < 1000, "every call gets on");
    }
    assert!(
        freed >= 3,
        "1000 frames take two pageblocks of six; {freed} were freed in {calls} calls"
    );
    assert_eq!(order(&*pool), before, "the order of use");
    for (number, handle) in &objects {
        check(&*pool, *handle, *number);
    }
}
