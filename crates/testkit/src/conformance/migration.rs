//! Moving frames on demand. A pool that cannot passes by saying so.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use pagefold_pool::{Busy, Handle, HandleError, MigrateError, Pool};
use rand::RngExt;

use super::{PoolUnderTest, accepted, agreed, concurrency::Own, contents, fill};
use crate::{
    corpus::Lengths,
    model::{Checked, Depth},
    pattern::Pattern,
    seed::Seed,
};

fn migrates(pool: &dyn Pool) -> bool {
    let handle = pool.store(&[1]).expect("there is room");
    let answer = pool.migrate(handle);
    pool.free(handle).expect("alive");
    answer != Err(MigrateError::Unsupported)
}

/// `Checked` compares contents, handles, lengths and accounts.
pub(super) fn migration_keeps_objects_and_accounts(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    if !migrates(&*pool) {
        return;
    }
    let mut on = Checked::new(&*pool, Depth::Validate);
    let lens = [1, 60, 100, 1500, 2049, 4096, pool.max_len() / 2, pool.max_len()];
    let lens = lens.into_iter().filter(|len| *len <= pool.max_len()).cycle().take(40);
    let handles: Vec<Handle> =
        (0..).zip(lens).map(|(key, len)| accepted(on.store(&contents(key, len)))).collect();
    for _ in 0..3 {
        for handle in &handles {
            let bytes = accepted(on.migrate(*handle));
            assert!(bytes >= 4096, "{bytes} bytes are less than a frame");
        }
        agreed(on.check_bytes());
    }
    agreed(on.free_all());
    agreed(on.trim());
    assert_eq!(pool.stats().frame_bytes, 0, "what was moved comes back");
}

pub(super) fn an_object_that_is_read_does_not_move(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("migration of an object that is read", |pool| {
        if !migrates(&**pool) {
            return;
        }
        for len in [10, 1501, 4096.min(pool.max_len()), pool.max_len()] {
            let mut on = Checked::new(&**pool, Depth::Stats);
            let handle = accepted(on.store(&contents(1, len)));
            let answer = on.during_read(handle, &mut |on| {
                let busy = Err(MigrateError::Busy(Busy::Locked));
                assert_eq!(on.migrate(handle)?, busy, "by the reader, {len} bytes");
                let other = thread::scope(|scope| {
                    let migrate = || pool.migrate(handle);
                    scope.spawn(migrate).join()
                });
                assert_eq!(other.expect("it does not panic"), busy, "by another thread");
                Ok(())
            });
            accepted(answer);
            // The read is over: now it moves.
            accepted(on.migrate(handle));
            agreed(on.free_all());
            agreed(on.validate());
        }
    });
}

pub(super) fn migrating_what_is_not_here_is_refused(under_test: &PoolUnderTest<'_>) {
    let (pool, other) = (under_test.pool(), under_test.pool());
    if !migrates(&*pool) {
        return;
    }
    let mut on = Checked::new(&*pool, Depth::Validate);
    accepted(on.store(&contents(1, 1000)));
    let handle = accepted(on.store(&contents(1, 1000)));
    accepted(on.free(handle));
    let refused = |error| Err(MigrateError::Handle(error));
    assert_eq!(agreed(on.migrate(handle)), refused(HandleError::Stale));
    let successor = accepted(on.store(&contents(2, 1000)));
    assert_eq!(agreed(on.migrate(handle)), refused(HandleError::Stale), "its successor lives");
    accepted(on.migrate(successor));
    let foreign = other.store(&contents(3, 1000)).expect("there is room");
    assert_eq!(agreed(on.migrate(foreign)), refused(HandleError::Foreign));
    agreed(on.check_all(10));
}

/// At the limit a frame without a destination stays.
pub(super) fn migration_in_a_full_pool_moves_or_refuses(under_test: &PoolUnderTest<'_>) {
    let seed = Seed::for_test(0x3f11);
    let mut rng = seed.rng(0);
    let pool = under_test.pool();
    if !migrates(&*pool) {
        return;
    }
    let mut on = Checked::new(&*pool, Depth::Stats);
    fill(&mut on, &mut rng, Lengths::Compressed);
    for _ in 0..500 {
        let handle = on.model().pick(rng.random()).expect("the pool is full");
        match agreed(on.migrate(handle)) {
            Ok(_) | Err(MigrateError::OutOfMemory) => {}
            Err(error) => panic!("migration in a full pool: {error}"),
        }
    }
    agreed(on.check_all(0));
}

/// Also between isolating a frame and putting it back.
pub(super) fn frees_beside_migration_succeed_once(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("frees beside migration", |pool| {
        if !migrates(&**pool) {
            return;
        }
        let seed = Seed::for_test(0x150);
        let lens = [40, 700, 3000, 4096.min(pool.max_len())];
        for (round, len) in (0..40).zip(lens.into_iter().cycle()) {
            let objects: Vec<Own> = (0..64)
                .map(|id| Own::store(&**pool, len, Pattern::new(round, id, 0)).expect("room"))
                .collect();
            let wins: Vec<AtomicU32> = objects.iter().map(|_| AtomicU32::new(0)).collect();
            let (start, over) = (Barrier::new(4), AtomicBool::new(false));
            let (start, migrations) = (&start, &AtomicU32::new(0));
            thread::scope(|scope| {
                let migrator = |mut rng: rand_chacha::ChaCha8Rng| {
                    start.wait();
                    while !over.load(Ordering::SeqCst) {
                        let own = &objects[rng.random_range(0..objects.len())];
                        migrations.fetch_add(1, Ordering::SeqCst);
                        match pool.migrate(own.handle) {
                            Ok(_) | Err(MigrateError::Busy(_) | MigrateError::OutOfMemory) => {}
                            Err(error) => {
                                assert_eq!(error, MigrateError::Handle(HandleError::Stale));
                            }
                        }
                    }
                };
                for stream in 0..2 {
                    let rng = seed.rng(2 * round + stream);
                    scope.spawn(move || migrator(rng));
                }
                let free_all = || {
                    start.wait();
                    // At three, one of the two migrators has ended a call: both run beside the frees.
                    let together = || migrations.load(Ordering::SeqCst) > 2;
                    _ = (0..100_000).map(|_| thread::yield_now()).find(|()| together());
                    for (own, wins) in objects.iter().zip(&wins) {
                        match pool.free(own.handle) {
                            Ok(()) => _ = wins.fetch_add(1, Ordering::SeqCst),
                            Err(error) => assert_eq!(error, HandleError::Stale),
                        }
                        assert_eq!(pool.len(own.handle), Err(HandleError::Stale), "it is freed");
                    }
                };
                let free = [scope.spawn(free_all), scope.spawn(free_all)];
                let outcomes = free.map(thread::ScopedJoinHandle::join);
                over.store(true, Ordering::SeqCst);
                assert!(outcomes.iter().all(Result::is_ok), "a free beside migration failed");
            });
            for (own, wins) in objects.iter().zip(&wins) {
                let wins = wins.load(Ordering::SeqCst);
                assert_eq!(wins, 1, "frees of {:?} that succeeded", own.handle);
                assert_eq!(pool.len(own.handle), Err(HandleError::Stale));
            }
            assert_eq!(pool.stats().objects, 0);
            assert_eq!(pool.validate(), Ok(()));
        }
    });
}

pub(super) fn readers_and_writers_beside_migration_lose_nothing(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("readers and writers beside migration", |pool| {
        if !migrates(&**pool) {
            return;
        }
        let seed = Seed::for_test(0x4ead5);
        let mut rng = seed.rng(0);
        let max_len = pool.max_len();
        let mut object = |id| {
            let len = Lengths::Wide.sample(&mut rng, max_len);
            Own::store(&**pool, len, Pattern::new(1, id, 0)).expect("there is room")
        };
        let read: Vec<Own> = (0..200).map(&mut object).collect();
        let mut written: Vec<Own> = (200..400).map(&mut object).collect();
        let all: Vec<Handle> = read.iter().chain(&written).map(|own| own.handle).collect();
        let over = &AtomicBool::new(false);
        let (read, all) = (&read, &all);
        thread::scope(|scope| {
            for stream in 1..3 {
                let mut rng = seed.rng(stream);
                scope.spawn(move || {
                    while !over.load(Ordering::SeqCst) {
                        let answer = pool.migrate(all[rng.random_range(0..all.len())]);
                        let right = matches!(
                            answer,
                            Ok(_) | Err(MigrateError::Busy(_) | MigrateError::OutOfMemory)
                        );
                        assert!(right, "all objects live: {answer:?}");
                    }
                });
            }
            let reader = scope.spawn(move || {
                for _ in 0..30 {
                    read.iter().for_each(|own| own.check(&**pool));
                }
            });
            let writer = scope.spawn(|| {
                for version in 1..30 {
                    for (id, own) in (200..).zip(&mut written) {
                        own.pattern = Pattern::new(1, id, version);
                        let bytes = own.pattern.bytes(own.len);
                        assert_eq!(pool.write(own.handle, &bytes), Ok(()), "no read is open");
                        own.check(&**pool);
                    }
                }
            });
            let outcomes = [reader.join(), writer.join()];
            over.store(true, Ordering::SeqCst);
            assert!(outcomes.iter().all(Result::is_ok), "see above");
        });
        read.iter().chain(&written).for_each(|own| own.check(&**pool));
        assert_eq!(pool.validate(), Ok(()));
        read.iter().chain(&written).for_each(|own| own.free(&**pool));
        pool.trim();
        assert_eq!(pool.stats().frame_bytes, 0);
    });
}
