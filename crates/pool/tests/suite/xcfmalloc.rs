//! xcfmalloc: frames become free again, and readers hold objects of several blocks.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
};

use pagefold_frame::HeapSource;
use pagefold_pool::{Handle, HandleError, Pool, PoolBuilder, XcfmallocOptions};
use pagefold_testkit::{
    corpus::Lengths,
    model::{Checked, Depth},
    pattern::Pattern,
    seed::Seed,
};
use rand::{RngExt as _, seq::IndexedRandom as _};

fn with(options: XcfmallocOptions) -> PoolBuilder {
    PoolBuilder::new(options).limit(8 << 20)
}

fn builder(max_blocks: u32) -> PoolBuilder {
    with(XcfmallocOptions::new().max_blocks(max_blocks))
}

fn build(builder: PoolBuilder) -> Box<dyn Pool> {
    builder.build().expect("enough for a pool")
}

/// A quarter of the objects is freed at a time, at random, so that what is left and what comes is scattered.
#[test]
fn freeing_everything_leaves_whole_frames() {
    let seed = Seed::for_test(0xc0a1);
    for max_blocks in [1, 2, 4, 8] {
        let pool = build(builder(max_blocks).source(Box::new(HeapSource::new())));
        let mut on = Checked::new(&*pool, Depth::Validate);
        let mut rng = seed.rng(u64::from(max_blocks));
        for round in 0..6 {
            for object in 0..60 {
                let len = Lengths::Wide.sample(&mut rng, pool.max_len());
                let bytes = Pattern::new(round, object, 0).bytes(len);
                on.store(&bytes).expect("agrees").expect("room");
            }
            let mut handles: Vec<Handle> =
                on.model().objects().iter().map(|(handle, _)| *handle).collect();
            handles.retain(|_| rng.random_ratio(1, 4));
            for handle in handles {
                on.free(handle).expect("agrees").expect("alive");
            }
        }
        on.free_all().expect("agrees");
        // Neighbours of every kind were joined: nothing but whole frames is left, and they are idle.
        let stats = on.stats().expect("agrees");
        assert_eq!((stats.frame_bytes, stats.lists_in_use, stats.split_objects), (0, 0, 0));
    }
}

/// What a version of an object looks like, from its number.
fn version(object: usize, number: u64, len: usize) -> Vec<u8> {
    Pattern::new(object as u64, 0, number).bytes(len)
}

/// Readers hold objects of several blocks while others compact, rewrite and free: what a reader sees is one version
/// from the first byte to the last, from the beginning of the read to its end.
#[test]
fn readers_see_one_version_whatever_moves() {
    const OBJECTS: usize = 400;
    let seed = Seed::for_test(0x4eadc);
    let pool = build(builder(4).limit(4 << 20));
    let mut rng = seed.rng(0);
    let mut lens = || 900 + rng.random_range(0..5000);
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
                        assert!(
                            slices.parts().concat() == copy,
                            "object {at} changed under a read"
                        );
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
            if number % 64 == 0 {
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
    assert_eq!(pool.stats().objects, 0);
    assert_eq!(pool.validate(), Ok(()));
}
