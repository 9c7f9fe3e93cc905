//! Many threads on one pool. Each check holds under any schedule.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    thread,
};

use pagefold_pool::{AllocError, Handle, HandleError, Pool, Slices, TryReadError};
use rand::{Rng, RngExt};

use super::PoolUnderTest;
use crate::{corpus::Lengths, pattern::Pattern, seed::Seed};

const THREADS: u64 = 4;

/// One thread's own object.
#[derive(Clone, Copy)]
pub(super) struct Own {
    pub(super) handle: Handle,
    pub(super) len: usize,
    pub(super) pattern: Pattern,
}

impl Own {
    pub(super) fn store(pool: &dyn Pool, len: usize, pattern: Pattern) -> Option<Self> {
        match pool.store(&pattern.bytes(len)) {
            Ok(handle) => Some(Self { handle, len, pattern }),
            Err(AllocError::OutOfMemory { .. }) => None,
            Err(error) => panic!("{len} bytes: {error}"),
        }
    }

    pub(super) fn check(&self, pool: &dyn Pool) {
        let answer = pool.read(self.handle, &mut |slices| {
            assert_eq!(
                (slices.len(), self.pattern.check(slices)),
                (self.len, Ok(())),
                "{:?}",
                self.handle
            );
        });
        assert_eq!(answer, Ok(()), "{:?} is alive", self.handle);
    }

    pub(super) fn free(self, pool: &dyn Pool) {
        assert_eq!(pool.free(self.handle), Ok(()));
        assert_eq!(pool.len(self.handle), Err(HandleError::Stale));
    }
}

pub(super) fn threads_with_objects_of_their_own(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("threads with objects of their own", |pool| {
        let seed = Seed::for_test(0x0b7);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let mut rng = seed.rng(thread);
                scope.spawn(move || {
                    let mut own = Vec::new();
                    for step in 0..4000 {
                        own_step(&**pool, &mut rng, &mut own, thread, step);
                    }
                    for object in own {
                        object.check(&**pool);
                        object.free(&**pool);
                    }
                });
            }
        });
        let stats = pool.stats();
        assert_eq!((stats.objects, stats.payload_bytes), (0, 0));
        assert_eq!(pool.validate(), Ok(()));
    });
}

pub(super) fn own_step(
    pool: &dyn Pool,
    rng: &mut impl Rng,
    own: &mut Vec<Own>,
    thread: u64,
    step: u64,
) {
    let pattern = Pattern::new(thread, step, 0);
    let len = Lengths::Wide.sample(rng, pool.max_len());
    let at = rng.random_range(0..own.len().max(1));
    match rng.random_range(0..10) {
        0..4 if own.len() < 100 => own.extend(Own::store(pool, len, pattern)),
        4 | 5 if !own.is_empty() => own.swap_remove(at).free(pool),
        6 if !own.is_empty() => {
            let object = &mut own[at];
            if pool.write(object.handle, &pattern.bytes(object.len)).is_ok() {
                object.pattern = pattern;
            }
            object.check(pool);
        }
        7 if step.is_multiple_of(50) => {
            pool.compact(64 << 10);
            pool.trim();
        }
        _ => own.iter().skip(at).take(3).for_each(|object| object.check(pool)),
    }
}

pub(super) fn readers_beside_compaction_and_freeing(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("readers beside compaction and freeing", |pool| {
        const ALIVE: u8 = 0;
        const FREEING: u8 = 1;
        const FREED: u8 = 2;
        let seed = Seed::for_test(0x4ead);
        let mut rng = seed.rng(99);
        let mut lens = || Lengths::Compressed.sample(&mut rng, pool.max_len());
        let objects: Vec<(Own, AtomicU8)> = (0..4000)
            .filter_map(|object| Own::store(&**pool, lens(), Pattern::new(5, object, 0)))
            .map(|own| (own, AtomicU8::new(ALIVE)))
            .collect();
        let (objects, done) = (&objects, &AtomicBool::new(false));
        thread::scope(|scope| {
            for reader in 0..2 {
                let mut rng = seed.rng(reader);
                scope.spawn(move || {
                    while !done.load(Ordering::SeqCst) {
                        let (own, fate) = &objects[rng.random_range(0..objects.len())];
                        let before = fate.load(Ordering::SeqCst);
                        let mut check = |slices: Slices<'_>| {
                            assert_eq!(own.pattern.check(slices), Ok(()), "{:?}", own.handle);
                        };
                        let answer = match rng.random_range(0..4) {
                            0 => pool.try_read(own.handle, &mut check),
                            _ => pool.read(own.handle, &mut check).map_err(TryReadError::Handle),
                        };
                        match answer {
                            Ok(()) => assert_ne!(before, FREED, "a freed object was read"),
                            Err(TryReadError::WouldBlock) => {}
                            Err(error) => {
                                assert_eq!(error, TryReadError::Handle(HandleError::Stale));
                                assert_ne!(
                                    fate.load(Ordering::SeqCst),
                                    ALIVE,
                                    "{:?} is alive",
                                    own.handle
                                );
                            }
                        }
                    }
                });
            }
            let compactor = scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    pool.compact(32 << 10);
                    thread::yield_now();
                }
            });
            let mut rng = seed.rng(7);
            for (own, fate) in objects.iter().filter(|_| rng.random_bool(0.6)) {
                fate.store(FREEING, Ordering::SeqCst);
                let answer = pool.free(own.handle);
                fate.store(FREED, Ordering::SeqCst);
                if answer.is_err() {
                    done.store(true, Ordering::SeqCst);
                }
                assert_eq!(answer, Ok(()));
            }
            while pool.compact(1 << 20).more && !compactor.is_finished() {}
            done.store(true, Ordering::SeqCst);
        });
        for (own, fate) in objects.iter().filter(|(_, fate)| fate.load(Ordering::SeqCst) == ALIVE) {
            own.check(&**pool);
            assert_eq!(fate.load(Ordering::SeqCst), ALIVE);
        }
        assert_eq!(pool.validate(), Ok(()));
    });
}

pub(super) fn exactly_one_of_two_racing_frees_succeeds(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("racing frees", |pool| {
        const BATCH: usize = 64;
        for round in 0..100 {
            let handles: Vec<Handle> =
                (0..BATCH).map(|at| pool.store(&[1; 100][..=at]).expect("there is room")).collect();
            let wins: Vec<AtomicU32> = (0..BATCH).map(|_| AtomicU32::new(0)).collect();
            let start = Barrier::new(2);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        start.wait();
                        for (handle, wins) in handles.iter().zip(&wins) {
                            match pool.free(*handle) {
                                Ok(()) => _ = wins.fetch_add(1, Ordering::SeqCst),
                                Err(error) => assert_eq!(error, HandleError::Stale),
                            }
                        }
                    });
                }
            });
            for (handle, wins) in handles.iter().zip(&wins) {
                assert_eq!(
                    wins.load(Ordering::SeqCst),
                    1,
                    "frees of {handle:?} that succeeded, round {round}"
                );
            }
        }
        assert_eq!(pool.stats().objects, 0);
        assert_eq!(pool.validate(), Ok(()));
    });
}

pub(super) fn a_reader_sees_one_write_or_the_other(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("readers of an object that is written", |pool| {
        for len in [24, 1500, pool.max_len()] {
            let version = |number| Pattern::new(8, 8, number);
            let handle = pool.store(&version(0).bytes(len)).expect("there is room");
            let [begun, ended] = [AtomicU64::new(0), AtomicU64::new(0)];
            let done = AtomicBool::new(false);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        while !done.load(Ordering::SeqCst) {
                            let least = ended.load(Ordering::SeqCst);
                            let answer = pool.read(handle, &mut |slices| {
                                let most = begun.load(Ordering::SeqCst);
                                let whole = (least..=most)
                                    .any(|number| version(number).check(slices).is_ok());
                                assert!(whole, "the bytes are no version from {least} to {most}");
                            });
                            assert_eq!(answer, Ok(()));
                        }
                    });
                }
                for number in 1..2000 {
                    begun.store(number, Ordering::SeqCst);
                    let answer = pool.write(handle, &version(number).bytes(len));
                    ended.store(number, Ordering::SeqCst);
                    if answer.is_err() {
                        done.store(true, Ordering::SeqCst);
                    }
                    assert_eq!(answer, Ok(()), "there is room for two versions");
                }
                done.store(true, Ordering::SeqCst);
            });
            pool.free(handle).expect("alive");
        }
        assert_eq!(pool.validate(), Ok(()));
    });
}

/// Concurrent figures are not of one instant, so the threads stop first.
pub(super) fn threads_in_a_full_pool_stay_within_the_limit(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("threads in a full pool", |pool| {
        let seed = Seed::for_test(0xb41);
        let mut owned: Vec<Vec<Own>> = (0..THREADS).map(|_| Vec::new()).collect();
        for round in 0..4 {
            thread::scope(|scope| {
                for (thread, own) in (0..).zip(&mut owned) {
                    let mut rng = seed.rng(round * THREADS + thread);
                    scope.spawn(move || refill(&**pool, &mut rng, own));
                }
            });
            let stats = pool.stats();
            assert!(stats.resident_bytes() <= stats.limit_bytes, "{stats:?}");
            let objects: usize = owned.iter().map(Vec::len).sum();
            assert_eq!(stats.objects, objects as u64);
            assert_eq!(pool.validate(), Ok(()));
        }
        owned.into_iter().flatten().for_each(|object| object.free(&**pool));
        assert_eq!(pool.stats().payload_bytes, 0);
    });
}

fn refill(pool: &dyn Pool, rng: &mut impl Rng, own: &mut Vec<Own>) {
    own.iter().for_each(|object| object.check(pool));
    own.drain(..own.len() / 2).for_each(|object| object.free(pool));
    loop {
        let len = Lengths::Compressed.sample(rng, pool.max_len());
        let Some(stored) = Own::store(pool, len, Pattern::new(rng.random(), 0, 0)) else { return };
        own.push(stored);
    }
}
