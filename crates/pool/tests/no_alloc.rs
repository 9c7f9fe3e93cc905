//! Reading allocates nothing: not in a new thread, not in a full pool, not when the reader is the last that holds freed bytes.
#![cfg(not(loom))]

use std::thread;

use pagefold_pool::{Allocator, Handle, Pool, PoolBuilder};
use pagefold_testkit::{
    alloc_counter::{Allocations, CountingAllocator},
    corpus::Lengths,
    pattern::Pattern,
    seed::Seed,
};
use rand::RngExt;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const NONE: Allocations = Allocations { allocated: 0, freed: 0 };

/// A full pool after some churn, and its objects.
fn churned(allocator: Allocator, seed: Seed) -> (Box<dyn Pool>, Vec<(Handle, Pattern)>) {
    let pool = PoolBuilder::new(allocator).limit(8 << 20).build().expect("enough for a pool");
    let mut rng = seed.rng(0);
    let mut objects: Vec<(Handle, Pattern)> = Vec::new();
    for number in 0..40_000 {
        let pattern = Pattern::new(seed.value(), number, 0);
        let len = Lengths::Wide.sample(&mut rng, pool.max_len());
        match pool.store(&pattern.bytes(len)) {
            Ok(handle) => objects.push((handle, pattern)),
            Err(_) => {
                let at = rng.random_range(0..objects.len());
                pool.free(objects.swap_remove(at).0).expect("alive");
            }
        }
    }
    (pool, objects)
}

/// Every way to read, of every object, and of handles that name nothing.
fn read_everything(
    pool: &dyn Pool,
    objects: &[(Handle, Pattern)],
    dead: Handle,
    buffer: &mut [u8],
) {
    for (handle, pattern) in objects {
        pool.read(*handle, &mut |slices| assert_eq!(pattern.check(slices), Ok(()))).expect("alive");
        pool.try_read(*handle, &mut |slices| assert_eq!(pattern.check(slices), Ok(())))
            .expect("no thread writes");
        assert_eq!(pool.read_into(*handle, buffer), Ok(pool.len(*handle).expect("alive")));
    }
    assert!(pool.read(dead, &mut |_| {}).is_err() && pool.try_read(dead, &mut |_| {}).is_err());
    assert!(pool.read_into(dead, buffer).is_err() && pool.len(dead).is_err());
}

fn reads_without_allocating(allocator: Allocator) {
    let seed = Seed::for_test(0x4ead);
    let (pool, mut objects) = churned(allocator, *seed);
    let (dead, _) = objects.pop().expect("the pool is full");
    pool.free(dead).expect("alive");
    let mut buffer = vec![0; pool.max_len()];
    let count = Allocations::of(|| read_everything(&*pool, &objects, dead, &mut buffer));
    assert_eq!(count, NONE, "{allocator}");
    // A thread's first read must not set anything up either.
    let in_thread = thread::scope(|scope| {
        let reader = scope
            .spawn(|| Allocations::of(|| read_everything(&*pool, &objects, dead, &mut buffer)));
        reader.join().expect("the reads are right")
    });
    assert_eq!(in_thread, NONE, "{allocator}, in a new thread");
}

#[test]
fn reading_allocates_nothing() {
    Allocator::ALL.iter().copied().for_each(reads_without_allocating);
}

/// The bytes are freed while they are read, so ending the read is what makes them free.
fn ends_reads_without_allocating(allocator: Allocator) {
    let seed = Seed::for_test(0x1a57);
    let (pool, objects) = churned(allocator, *seed);
    for (handle, pattern) in &objects[..200] {
        let count = Allocations::of(|| {
            let answer = pool.read(*handle, &mut |slices| {
                pool.free(*handle).expect("alive");
                assert_eq!(pattern.check(slices), Ok(()));
            });
            assert_eq!(answer, Ok(()));
        });
        assert_eq!(count, NONE, "{allocator}");
    }
    pool.validate().expect("valid");
}

#[test]
fn ending_the_last_read_of_freed_bytes_allocates_nothing() {
    Allocator::ALL.iter().copied().for_each(ends_reads_without_allocating);
}
