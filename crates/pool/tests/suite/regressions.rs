//! Faults that were found and mended: each test fails without its fix.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use pagefold_pool::{Allocator, BuildError, Handle, Pool, PoolBuilder};

fn pool(limit: usize) -> Box<dyn Pool> {
    PoolBuilder::new(Allocator::nbud()).limit(limit).build().expect("room")
}

/// Fills the pool with objects of `len` bytes and returns them.
fn fill(pool: &dyn Pool, len: usize) -> Vec<Handle> {
    let bytes = vec![7; len];
    std::iter::from_fn(|| pool.store(&bytes).ok()).collect()
}

#[test]
fn compaction_with_no_budget_comes_to_an_end() {
    let pool = pool(4 << 20);
    for handle in fill(&*pool, 1500).into_iter().step_by(2) {
        pool.free(handle).expect("alive");
    }
    let calls = (0..100_000).take_while(|_| pool.compact(0).more).count();
    assert!(calls < 100_000, "every call gets on");
    assert_eq!(pool.validate(), Ok(()));
}

#[test]
fn a_limit_beyond_the_arena_is_refused() {
    for limit in [usize::MAX, 1 << 62, 1 << 50] {
        let built = PoolBuilder::new(Allocator::nbud()).limit(limit).build();
        assert!(matches!(built, Err(BuildError::LimitTooLarge { .. })), "{limit}");
    }
}

#[test]
fn the_reserve_is_there_for_every_overwrite_beside_a_reader() {
    let pool = pool(4 << 20);
    let len = 64 << 10;
    let handles = fill(&*pool, len);
    let new = vec![9; len];
    for round in 0..50 {
        let handle = handles[round % handles.len()];
        let mut written = Ok(());
        pool.read(handle, &mut |_| written = pool.write(handle, &new)).expect("alive");
        assert_eq!(written, Ok(()), "round {round}");
        assert!(
            pool.store(&new).is_err(),
            "round {round}: the pool is full, and its reserve not for this"
        );
    }
    assert_eq!(pool.validate(), Ok(()));
}

#[test]
fn a_limit_that_was_accepted_holds_beside_one_that_was_not() {
    let pool = pool(16 << 20);
    let _half = (0..2000).map(|_| pool.store(&[3; 4096]).expect("room")).collect::<Vec<_>>();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // Refused every time: what is stored does not fit.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(pool.set_limit(2 << 20).is_err());
            }
        });
        for round in 0..2000 {
            let limit = (12 << 20) + (round % 64) * 4096;
            pool.set_limit(limit).expect("it fits");
            assert_eq!(pool.stats().limit_bytes, limit as u64, "round {round}");
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_snapshot_beside_threads_counts_no_less_than_nothing() {
    let pool = pool(8 << 20);
    let done = AtomicBool::new(false);
    let (send, receive) = std::sync::mpsc::sync_channel::<Handle>(64);
    thread::scope(|scope| {
        // One thread stores and another frees, so that the parts of the counts are in different shards.
        let (pool, done) = (&*pool, &done);
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                send.send(pool.store(&[1; 100]).expect("room"))
                    .expect("the other thread takes all");
            }
        });
        scope.spawn(move || receive.iter().for_each(|handle| pool.free(handle).expect("alive")));
        for _ in 0..200_000 {
            let stats = pool.stats();
            assert!(stats.objects < 1 << 32 && stats.payload_bytes < 1 << 32, "{stats:?}");
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// An index has 65 536 lives here, and the page of those that had theirs goes back: an empty pool stays small.
#[test]
fn a_pool_that_is_always_empty_again_does_not_grow() {
    let builder = PoolBuilder::new(Allocator::nbud()).limit(1 << 20);
    let pool = builder.handle_table(usize::MAX, 16).build().expect("room");
    let mut most = 0;
    for round in 0..8_000_000_u32 {
        let handle = pool.store(&[1; 8]).expect("an empty pool has room");
        pool.free(handle).expect("alive");
        if round.is_multiple_of(100_000) {
            pool.trim();
            most = most.max(pool.stats().metadata_bytes);
        }
    }
    assert!(pool.stats().retired_indices > 0, "some are at their end");
    assert!(most < 200_000, "{most} bytes of metadata for one object at a time");
    assert_eq!(pool.validate(), Ok(()));
}

/// A caller who stopped while frames were being moved must not keep the next one from objects.
#[test]
fn compaction_looks_at_objects_again_after_an_unfinished_one() {
    let pool = pool(16 << 20);
    let mut handles = fill(&*pool, 1500);
    let free_most = |handles: &mut Vec<Handle>| {
        let mut at = 0;
        handles.retain(|&handle| {
            at += 1;
            at % 4 == 0 || pool.free(handle).is_err()
        });
    };
    free_most(&mut handles);
    while pool.compact(64 << 10).migrated_bytes == 0 {}
    free_most(&mut handles);
    while pool.compact(usize::MAX).more {}
    let before = pool.stats();
    while pool.compact(usize::MAX).more {}
    let after = pool.stats();
    assert!(after.frame_bytes + (64 << 10) >= before.frame_bytes, "much was left: {before:?}");
    assert_eq!(pool.validate(), Ok(()));
}

/// Not a span that a thread appended to last, nor a reserve, nor a cache.
#[test]
fn a_trimmed_pool_without_objects_has_no_frames() {
    for &allocator in Allocator::ALL {
        let pool = PoolBuilder::new(allocator).limit(4 << 20).build().expect("room");
        let handles: Vec<Handle> = (0..100).map(|_| pool.store(&[1; 100]).expect("room")).collect();
        handles.into_iter().for_each(|handle| pool.free(handle).expect("alive"));
        pool.trim();
        let stats = pool.stats();
        assert_eq!((stats.frame_bytes, stats.idle_frame_bytes), (0, 0), "{allocator}");
        assert_eq!(pool.validate(), Ok(()), "{allocator}");
    }
}
