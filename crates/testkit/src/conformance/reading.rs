//! Open reads: their bytes, and calls inside them.

use std::{sync::Arc, thread};

use pagefold_pool::{Handle, HandleError, NotEvicted, Pool, WriteError};

use super::{PoolUnderTest, accepted, agreed, contents, fill, fill_with_length, free_some};
use crate::{
    corpus::Lengths,
    model::{Checked, Depth},
    pattern::Pattern,
    seed::Seed,
};

fn lengths(pool: &dyn Pool) -> [usize; 4] {
    [10, 1501, 4096.min(pool.max_len()), pool.max_len()]
}

pub(super) fn write_inside_a_read_leaves_the_open_bytes(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("write inside a read", |pool| {
        for len in lengths(&**pool) {
            let mut on = Checked::new(&**pool, Depth::Stats);
            let handle = accepted(on.store(&contents(1, len)));
            let answer = on.during_read(handle, &mut |on| {
                for version in 2..5 {
                    accepted(on.write(handle, &contents(version, len)));
                }
                Ok(())
            });
            accepted(answer);
            accepted(on.read(handle));
            accepted(on.write(handle, &contents(9, len)));
            agreed(on.free_all());
            agreed(on.validate());
        }
    });
}

/// The open bytes must stay while another thread runs `beside`.
fn read_beside(pool: &Arc<dyn Pool>, handle: Handle, open: Pattern, beside: &(dyn Fn() + Sync)) {
    let answer = pool.read(handle, &mut |slices| {
        assert_eq!(open.check(slices), Ok(()), "when the read began");
        thread::scope(|scope| {
            scope.spawn(beside);
        });
        assert_eq!(open.check(slices), Ok(()), "after the other thread");
    });
    assert_eq!(answer, Ok(()));
}

pub(super) fn write_from_another_thread_leaves_the_open_bytes(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("write from another thread", |pool| {
        for len in lengths(&**pool) {
            let [old, new] = [Pattern::new(1, 1, 1), Pattern::new(1, 1, 2)];
            let handle = pool.store(&old.bytes(len)).expect("there is room");
            read_beside(pool, handle, old, &|| {
                assert_eq!(
                    pool.write(handle, &new.bytes(len)),
                    Ok(()),
                    "there is room for both versions"
                );
                assert_eq!(
                    pool.read(handle, &mut |slices| assert_eq!(
                        new.check(slices),
                        Ok(()),
                        "a new reader"
                    )),
                    Ok(())
                );
            });
            assert_eq!(
                pool.read(handle, &mut |slices| assert_eq!(new.check(slices), Ok(()))),
                Ok(())
            );
            pool.free(handle).expect("alive");
        }
    });
}

/// After `OutOfMemory` the old bytes must be there.
pub(super) fn write_while_read_in_a_full_pool_is_whole_or_refused(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("write while read in a full pool", |pool| {
        let seed = Seed::for_test(0xf011);
        let mut rng = seed.rng(0);
        let mut on = Checked::new(&**pool, Depth::Stats);
        fill(&mut on, &mut rng, Lengths::Borders);
        fill_with_length(&mut on, 64);
        let some: Vec<(Handle, usize)> = on
            .model()
            .objects()
            .iter()
            .step_by(37)
            .map(|(handle, bytes)| (*handle, bytes.len()))
            .collect();
        for (handle, len) in some {
            let answer =
                on.during_read(handle, &mut |on| match on.write(handle, &contents(2, len))? {
                    Ok(()) | Err(WriteError::OutOfMemory { .. }) => Ok(()),
                    Err(error) => panic!("write of {len} bytes: {error}"),
                });
            accepted(answer);
            accepted(on.write(handle, &contents(3, len)));
        }
        agreed(on.check_all(0));
    });
}

pub(super) fn free_inside_a_read_leaves_the_open_bytes(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("free inside a read", |pool| {
        for len in lengths(&**pool) {
            let mut on = Checked::new(&**pool, Depth::Stats);
            let handle = accepted(on.store(&contents(1, len)));
            let answer = on.during_read(handle, &mut |on| {
                accepted(on.free(handle));
                on.misuse(handle)
            });
            accepted(answer);
            agreed(on.misuse(handle));
            agreed(on.validate());
        }
    });
}

pub(super) fn free_from_another_thread_leaves_the_open_bytes(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("free from another thread", |pool| {
        for len in lengths(&**pool) {
            let open = Pattern::new(2, 2, 2);
            let handle = pool.store(&open.bytes(len)).expect("there is room");
            read_beside(pool, handle, open, &|| {
                assert_eq!(pool.free(handle), Ok(()), "free does not wait for readers");
                assert_eq!(pool.len(handle), Err(HandleError::Stale));
                for filler in 0..50 {
                    let other = pool.store(&contents(filler, len)).expect("there is room");
                    pool.free(other).expect("alive");
                }
            });
            assert_eq!(pool.free(handle), Err(HandleError::Stale));
            assert_eq!(pool.stats().objects, 0);
        }
    });
}

pub(super) fn freed_bytes_are_not_reused_while_they_are_read(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("filling the pool inside a read", |pool| {
        for len in lengths(&**pool).into_iter().skip(1) {
            let mut on = Checked::new(&**pool, Depth::Result);
            for key in 0..10 {
                accepted(on.store(&contents(key, len)));
            }
            let handle = on.model().pick(4).expect("ten objects");
            let answer = on.during_read(handle, &mut |on| {
                accepted(on.free(handle));
                fill_with_length(on, len);
                fill_with_length(on, len / 3);
                on.compact(usize::MAX)?;
                on.trim()?;
                Ok(())
            });
            accepted(answer);
            agreed(on.check_all(0));
            agreed(on.free_all());
        }
    });
}

pub(super) fn neighbours_can_be_written_and_freed_while_one_is_read(
    under_test: &PoolUnderTest<'_>,
) {
    under_test.guarded("using the neighbours of an object that is read", |pool| {
        for len in [30, 300, 1100] {
            let mut on = Checked::new(&**pool, Depth::Stats);
            let handles: Vec<Handle> =
                (0..60).map(|key| accepted(on.store(&contents(key, len)))).collect();
            let (read, others) = handles.split_at(1);
            let answer = on.during_read(read[0], &mut |on| {
                for (key, handle) in (100..).zip(others) {
                    accepted(on.write(*handle, &contents(key, len)));
                    accepted(on.read(*handle));
                }
                for handle in others.iter().step_by(2) {
                    accepted(on.free(*handle));
                    accepted(on.store(&contents(7, len)));
                }
                on.check_bytes()
            });
            accepted(answer);
            agreed(on.check_all(100));
            agreed(on.free_all());
        }
    });
}

pub(super) fn every_method_works_inside_a_read(under_test: &PoolUnderTest<'_>) {
    let limit = under_test.expect.limit_bytes;
    under_test.guarded("every method inside a read", move |pool| {
        for len in lengths(&**pool) {
            let mut on = Checked::new(&**pool, Depth::Stats);
            let open = accepted(on.store(&contents(1, len)));
            let other = accepted(on.store(&contents(2, len)));
            let answer = on.during_read(open, &mut |on| {
                accepted(on.read(open));
                accepted(on.try_read(open));
                accepted(on.read_into(open, len));
                accepted(on.len(open));
                let made = accepted(on.alloc(len));
                accepted(on.store(&contents(3, len)));
                accepted(on.write(made, &contents(4, len)));
                accepted(on.write(open, &contents(5, len)));
                on.compact(0)?;
                on.compact(usize::MAX)?;
                on.trim()?;
                accepted(on.set_limit(limit - (limit / 4)));
                accepted(on.set_limit(limit));
                on.stats()?;
                on.pool().reclaim(1, &mut |_| Err(NotEvicted)).ok();
                _ = on.migrate(other)?;
                _ = on.migrate(open)?;
                _ = on.alloc_contiguous(2, 1, &mut |on| on.check_bytes())?;
                accepted(on.free(other));
                // It may report a read guard here, but must return.
                on.pool().validate().ok();
                accepted(on.free(open));
                on.misuse(open)
            });
            accepted(answer);
            agreed(on.free_all());
            agreed(on.validate());
        }
    });
}

pub(super) fn reads_nest(under_test: &PoolUnderTest<'_>) {
    fn descend(pool: &dyn Pool, handles: &[(Handle, Pattern)]) {
        let Some(((handle, pattern), rest)) = handles.split_first() else { return };
        let answer = pool.read(*handle, &mut |slices| {
            descend(pool, rest);
            assert_eq!(pattern.check(slices), Ok(()));
        });
        assert_eq!(answer, Ok(()));
    }
    under_test.guarded("nested reads", |pool| {
        let objects: Vec<(Handle, Pattern)> = (0..40)
            .map(|object| {
                let pattern = Pattern::new(3, object, 0);
                (pool.store(&pattern.bytes(700)).expect("there is room"), pattern)
            })
            .collect();
        // Two readers of one object must not block each other.
        let twice: Vec<_> = objects.iter().chain(objects.iter().rev()).copied().collect();
        descend(&**pool, &twice);
    });
}

pub(super) fn compaction_beside_an_open_read_loses_nothing(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("compaction inside a read", |pool| {
        let seed = Seed::for_test(0xc0de);
        let mut rng = seed.rng(0);
        let mut on = Checked::new(&**pool, Depth::Result);
        fill(&mut on, &mut rng, Lengths::Compressed);
        for round in 0..5 {
            free_some(&mut on, &mut rng, 0.3);
            let handle = on.model().pick(round * 1000).expect("some are left");
            let answer = on.during_read(handle, &mut |on| {
                for _ in 0..20 {
                    on.compact(256 << 10)?;
                }
                Ok(())
            });
            accepted(answer);
            agreed(on.check_all(100));
        }
    });
}
