//! zsmalloc: what compaction within and across classes wins and costs, and objects that lie in two frames.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
};

use pagefold_frame::HeapSource;
use pagefold_pool::{CompactReport, Handle, HandleError, Pool, PoolBuilder, ZsmallocOptions};
use pagefold_testkit::{corpus::Lengths, pattern::Pattern, seed::Seed};
use rand::{RngExt as _, seq::IndexedRandom as _};

/// Objects that one call of `compact` moves at most, as the module says.
const OBJECTS_MAX: u64 = 1024;

fn with(options: ZsmallocOptions) -> PoolBuilder {
    PoolBuilder::new(options).limit(8 << 20)
}

fn builder() -> PoolBuilder {
    with(ZsmallocOptions::new())
}

fn build(builder: PoolBuilder) -> Box<dyn Pool> {
    builder.build().expect("enough for a pool")
}

fn store(pool: &dyn Pool, key: u64, len: usize) -> Handle {
    pool.store(&Pattern::new(key, 0, 0).bytes(len)).expect("room")
}

fn check(pool: &dyn Pool, handle: Handle, key: u64, len: usize) {
    let answer = pool.read(handle, &mut |slices| {
        assert_eq!(slices.len(), len);
        assert_eq!(Pattern::new(key, 0, 0).check(slices), Ok(()));
    });
    assert_eq!(answer, Ok(()));
}

/// Compacts call by call; the sum of the reports.
fn compact_fully(pool: &dyn Pool, budget: usize) -> CompactReport {
    let mut total = CompactReport::default();
    loop {
        let report = pool.compact(budget);
        assert!(report.moved_objects <= OBJECTS_MAX, "{report:?}");
        total.moved_objects += report.moved_objects;
        total.moved_bytes += report.moved_bytes;
        total.freed_frames += report.freed_frames;
        if !report.more {
            return total;
        }
    }
}

#[test]
fn objects_across_frames_have_two_slices_and_are_counted() {
    let pool = build(builder().source(Box::new(HeapSource::new())));
    // Places of 3264 bytes, five in four frames: the second to the fourth lie in two.
    let handles: Vec<Handle> = (0..5).map(|key| store(&*pool, key, 3200)).collect();
    let mut slices = Vec::new();
    for (key, handle) in (0..).zip(&handles) {
        check(&*pool, *handle, key, 3200);
        pool.read(*handle, &mut |parts| slices.push(parts.parts().len())).expect("alive");
    }
    assert_eq!(slices, [1, 2, 2, 2, 1]);
    assert_eq!(pool.stats().split_objects, 3);
    assert_eq!(pool.stats().frame_bytes, 4 * 4096);
    assert_eq!(pool.migrate(handles[0]), Ok(4096), "the frame that it lies in");
    assert_eq!(pool.migrate(handles[1]), Ok(2 * 4096), "both of them");
    (0..).zip(&handles).for_each(|(key, handle)| check(&*pool, *handle, key, 3200));
    pool.free(handles[2]).expect("alive");
    assert_eq!((pool.stats().split_objects, pool.validate()), (2, Ok(())));
}

/// Three quarters of many objects of one length are freed: what is left fills all zspages except one.
#[test]
fn within_a_class_all_zspages_but_one_become_full() {
    let pool = build(with(ZsmallocOptions::new().class_lending(false)));
    let handles: Vec<Handle> = (0..4000).map(|key| store(&*pool, key, 1000)).collect();
    let kept: Vec<(u64, Handle)> = (0..).zip(handles.iter().copied()).step_by(4).collect();
    for (key, handle) in handles.iter().enumerate().filter(|(key, _)| key % 4 != 0) {
        pool.free(*handle).unwrap_or_else(|error| panic!("{key}: {error}"));
    }
    let before = pool.stats();
    let total = compact_fully(&*pool, 64 << 10);
    let after = pool.stats();
    assert_eq!(before.frame_bytes - after.frame_bytes, before.reclaimable_bytes, "as was said");
    assert_eq!(total.freed_frames * 4096, before.reclaimable_bytes);
    // Four places a frame: 1000 objects in 250 frames.
    assert_eq!((after.frame_bytes, after.reclaimable_bytes), (250 * 4096, 0));
    assert!(total.moved_objects <= 750, "of a thousand: {total:?}");
    kept.into_iter().for_each(|(key, handle)| check(&*pool, handle, key, 1000));
    pool.validate().expect("valid");
    assert_eq!(compact_fully(&*pool, usize::MAX), CompactReport::default(), "nothing more to win");
}

/// What is left of each class after compaction within classes is put together across classes.
#[test]
fn across_classes_less_is_left_and_it_ends() {
    let seed = Seed::for_test(0xac05);
    let mut frames = Vec::new();
    for lending in [false, true] {
        let pool = build(
            with(ZsmallocOptions::new().class_lending(lending)).source(Box::new(HeapSource::new())),
        );
        let mut rng = seed.rng(0);
        let mut objects = Vec::new();
        for key in 0..3000 {
            let len = Lengths::Compressed.sample(&mut rng, pool.max_len());
            objects.push((key, len, store(&*pool, key, len)));
        }
        objects.retain(|(_, _, handle)| {
            let keep = rng.random_ratio(1, 3);
            if !keep {
                pool.free(*handle).expect("alive");
            }
            keep
        });
        let before = pool.stats();
        let total = compact_fully(&*pool, 16 << 10);
        let after = pool.stats();
        assert_eq!(before.frame_bytes - after.frame_bytes, total.freed_frames * 4096);
        assert!(total.moved_objects <= objects.len() as u64, "each at most once: {total:?}");
        let again = compact_fully(&*pool, usize::MAX);
        assert_eq!(again.moved_objects, 0, "what was compacted stays: {again:?}");
        objects.iter().for_each(|&(key, len, handle)| check(&*pool, handle, key, len));
        pool.validate().expect("valid");
        frames.push(after.frame_bytes);
        for (_, _, handle) in objects {
            pool.free(handle).expect("alive");
        }
        assert_eq!((pool.stats().frame_bytes, pool.validate()), (0, Ok(())));
    }
    assert!(frames[1] * 20 < frames[0] * 19, "{frames:?} bytes without and with lending");
}

/// Objects of a small class that lie in a larger one go back when that wins.
#[test]
fn what_was_lent_goes_home() {
    let pool = build(builder());
    // Three objects in a frame of four places of 1024 bytes, and one alone in a frame of places of 256.
    let lender = [1, 2, 3].map(|key| store(&*pool, key, 1018));
    let guest = store(&*pool, 9, 250);
    let wide = pool.stats().frame_bytes;
    let report = compact_fully(&*pool, usize::MAX);
    assert_eq!(report.moved_objects, 1, "the small one moves in with the large ones: {report:?}");
    assert_eq!(pool.stats().frame_bytes, wide - 4096);
    // Its own class has a zspage again, and the lender's can be emptied only if the guest goes there.
    let own: Vec<Handle> = (10..20).map(|key| store(&*pool, key, 250)).collect();
    lender.iter().for_each(|handle| pool.free(*handle).expect("alive"));
    let report = compact_fully(&*pool, usize::MAX);
    assert_eq!((report.moved_objects, report.freed_frames), (1, 1), "{report:?}");
    check(&*pool, guest, 9, 250);
    (10..).zip(&own).for_each(|(key, handle)| check(&*pool, *handle, key, 250));
    assert_eq!((pool.stats().frame_bytes, pool.validate()), (4096, Ok(())));
}

/// Whatever the budget is, a call gets on by an object at least, and by a stated number at most.
#[test]
fn each_call_is_bounded_and_gets_on() {
    let pool = build(builder().limit(64 << 20));
    let handles: Vec<Handle> = (0..100_000).map(|key| store(&*pool, key, 40)).collect();
    for handle in handles.iter().enumerate().filter(|(at, _)| at % 5 != 0).map(|(_, handle)| handle)
    {
        pool.free(*handle).expect("alive");
    }
    let first = pool.compact(usize::MAX);
    assert_eq!((first.moved_objects, first.more), (OBJECTS_MAX, true));
    let small = pool.compact(1);
    assert_eq!((small.moved_objects, small.more), (1, true));
    let total = compact_fully(&*pool, 100_000);
    assert!(total.moved_objects < 20_000, "{total:?}");
    handles
        .iter()
        .enumerate()
        .step_by(5)
        .for_each(|(key, handle)| check(&*pool, *handle, key as u64, 40));
    assert_eq!((pool.stats().reclaimable_bytes, pool.validate()), (0, Ok(())));
}

/// A zspage that is read stays, with everything in it, and what is freed meanwhile is freed when the read is over.
#[test]
fn compaction_steps_aside_for_readers_and_frees_wait() {
    let pool = build(builder());
    let handles: Vec<Handle> = (0..64).map(|key| store(&*pool, key, 1000)).collect();
    for handle in handles.iter().skip(1).filter(|handle| **handle != handles[32]) {
        pool.free(*handle).expect("alive");
    }
    let frames = pool.stats().frame_bytes;
    assert_eq!(frames, 2 * 4096);
    pool.read(handles[0], &mut |slices| {
        let report = pool.compact(usize::MAX);
        assert_eq!(report.moved_objects, 0, "both zspages are needed, one is read: {report:?}");
        pool.free(handles[0]).expect("alive");
        assert_eq!(pool.free(handles[0]), Err(HandleError::Stale));
        assert_eq!(Pattern::new(0, 0, 0).check(slices), Ok(()));
    })
    .expect("alive");
    assert_eq!(pool.stats().frame_bytes, 4096, "the pending place was freed, and its zspage");
    check(&*pool, handles[32], 32, 1000);
    pool.validate().expect("valid");
}

/// What a version of an object looks like, from its number.
fn version(object: usize, number: u64, len: usize) -> Vec<u8> {
    Pattern::new(object as u64, 0, number).bytes(len)
}

/// Readers hold objects, many in two frames, while others compact, allocate ranges, rewrite and free: what a reader sees is one
/// version from the first byte to the last, from the beginning of the read to its end.
#[test]
fn readers_see_one_version_whatever_moves() {
    const OBJECTS: usize = 400;
    let seed = Seed::for_test(0x4ead2);
    let pool = build(builder().limit(4 << 20));
    let mut rng = seed.rng(0);
    let mut lens = || 300 + rng.random_range(0..3600);
    // Twice as many objects, and every second one goes, so that all that is left has holes beside it.
    let objects: Vec<(Handle, usize)> = (0..2 * OBJECTS)
        .map(|at| {
            let len = lens();
            (pool.store(&version(at / 2, 0, len)).expect("room"), len)
        })
        .collect();
    for (handle, _) in objects.iter().skip(1).step_by(2) {
        pool.free(*handle).expect("alive");
    }
    let objects: Vec<(Handle, usize)> = objects.into_iter().step_by(2).collect();
    let versions: Vec<AtomicU64> = objects.iter().map(|_| AtomicU64::new(0)).collect();
    let (done, pool, objects, versions) = (&AtomicBool::new(false), &*pool, &objects, &versions);
    thread::scope(|scope| {
        for reader in 1..3 {
            let mut rng = seed.rng(reader);
            scope.spawn(move || {
                while !done.load(SeqCst) {
                    let at = rng.random_range(0..OBJECTS);
                    let (handle, len) = objects[at];
                    let least = versions[at].load(SeqCst);
                    let answer = pool.read(handle, &mut |slices| {
                        let mut copy = vec![0; len];
                        assert_eq!(slices.copy_to(&mut copy), Some(len));
                        // The writer says what it is about to write, so it is one of these.
                        let most = versions[at].load(SeqCst) + 1;
                        let seen = (least..=most).find(|&number| version(at, number, len) == copy);
                        assert!(seen.is_some(), "object {at} is no version from {least} to {most}");
                        thread::yield_now();
                        let same = slices.parts().concat() == copy;
                        assert!(same, "object {at} changed under a read");
                    });
                    assert_eq!(answer, Ok(()));
                    assert_eq!(pool.len(handle), Ok(len));
                }
            });
        }
        scope.spawn(|| {
            let mut rng = seed.rng(7);
            let fillers: Vec<usize> = (64..4000).step_by(61).collect();
            let mut own: Vec<Handle> = Vec::new();
            while !done.load(SeqCst) {
                pool.compact(64 << 10);
                let len = *fillers.choose(&mut rng).expect("some");
                own.extend(pool.store(&vec![9; len]));
                if own.len() > 50 {
                    let at = rng.random_range(0..own.len());
                    pool.free(own.swap_remove(at)).expect("alive");
                    drop(pool.alloc_contiguous(16, 4));
                }
            }
            own.into_iter().for_each(|handle| pool.free(handle).expect("alive"));
        });
        let mut rng = seed.rng(8);
        for number in 1..20_000_u64 {
            let at = rng.random_range(0..OBJECTS);
            let (handle, len) = objects[at];
            let next = versions[at].load(SeqCst) + 1;
            if pool.write(handle, &version(at, next, len)).is_ok() {
                versions[at].store(next, SeqCst);
            }
            if number % 16 == 0 {
                _ = pool.migrate(handle);
            }
        }
        done.store(true, SeqCst);
    });
    for (at, &(handle, len)) in objects.iter().enumerate() {
        let mut copy = vec![0; len];
        assert_eq!(pool.read_into(handle, &mut copy), Ok(len));
        assert!(copy == version(at, versions[at].load(SeqCst), len), "object {at}");
        pool.free(handle).expect("alive");
        assert_eq!(pool.free(handle), Err(HandleError::Stale));
    }
    assert_eq!((pool.stats().objects, pool.validate()), (0, Ok(())));
}
