//! Eviction by the pool's order of use. A pool without one passes by saying so.

use std::{
    collections::HashMap,
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use pagefold_pool::{Handle, HandleError, NotEvicted, Pool, ReclaimError, Reclaimed};
use rand::RngExt;

use super::{PoolUnderTest, accepted, agreed, concurrency::Own, contents, fill};
use crate::{
    corpus::{Lengths, PAGE_BYTES},
    model::{Checked, Depth, Eviction},
    pattern::Pattern,
    seed::Seed,
};

/// Without retries a pool must evict nothing.
fn reclaims(pool: &dyn Pool) -> bool {
    let answer = pool.reclaim(0, &mut |victim| panic!("it evicts {victim:?}"));
    if answer == Err(ReclaimError::Unsupported) {
        let answer = pool.reclaim(1, &mut |victim| panic!("it evicts {victim:?}"));
        assert_eq!(answer, Err(ReclaimError::Unsupported));
        return false;
    }
    let expected = match pool.stats().objects {
        0 => ReclaimError::NothingToReclaim,
        _ => ReclaimError::Again { tried: 0 },
    };
    assert_eq!(answer, Err(expected));
    true
}

/// A frame each, if the packing allows.
fn store_pages(on: &mut Checked<'_>, count: u64) -> Vec<Handle> {
    let len = PAGE_BYTES.min(on.pool().max_len());
    (0..count).map(|key| accepted(on.store(&contents(key, len)))).collect()
}

pub(super) fn without_retries_nothing_is_evicted(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Validate);
    // Empty, then with objects.
    let supported = reclaims(&*pool);
    store_pages(&mut on, 10);
    assert_eq!(reclaims(&*pool), supported);
    agreed(on.check_all(0));
}

pub(super) fn an_empty_pool_has_nothing_to_reclaim(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    if !reclaims(&*pool) {
        return;
    }
    let mut on = Checked::new(&*pool, Depth::Validate);
    for _ in 0..2 {
        for retries in [0, 1, 5] {
            let answer = agreed(
                on.reclaim(retries, &mut |_, victim| panic!("an empty pool evicts {victim:?}")),
            );
            assert_eq!(answer, Err(ReclaimError::NothingToReclaim), "{retries} retries");
        }
        store_pages(&mut on, 10);
        accepted(on.store(&contents(1, 10)));
        agreed(on.free_all());
    }
}

/// `Checked` checks victims and the answer.
pub(super) fn evicted_objects_leave_and_their_frame_comes_back(under_test: &PoolUnderTest<'_>) {
    let seed = Seed::for_test(0xe71c);
    let mut rng = seed.rng(0);
    let pool = under_test.pool();
    if !reclaims(&*pool) {
        return;
    }
    let mut on = Checked::new(&*pool, Depth::Stats);
    fill(&mut on, &mut rng, Lengths::Compressed);
    while !on.model().objects().is_empty() {
        let before = pool.stats().frame_bytes;
        let Reclaimed { frames, kept, deferred } = accepted(on.reclaim(1, &mut |on, victim| {
            accepted(on.read(victim));
            Ok(Eviction::Free)
        }));
        assert!(!deferred && kept == 0, "no read is open, and each was evicted");
        let freed = before - pool.stats().frame_bytes;
        assert_eq!(freed, u64::from(frames) * PAGE_BYTES as u64, "{frames} frames");
    }
    let answer = agreed(on.reclaim(1, &mut |_, _| Ok(Eviction::Free)));
    assert_eq!(answer, Err(ReclaimError::NothingToReclaim));
    agreed(on.validate());
}

/// Each victim must be older than all that stays. Returns the frames reclaimed.
fn evict_in_order(on: &mut Checked<'_>, ages: &HashMap<Handle, usize>) -> u32 {
    let mut frames = 0;
    while !on.model().objects().is_empty() {
        let mut youngest = 0;
        accepted(on.reclaim(1, &mut |_, victim| {
            youngest = youngest.max(ages[&victim]);
            Ok(Eviction::Free)
        }));
        let oldest = on.model().objects().iter().map(|(handle, _)| ages[handle]).min();
        assert!(
            oldest.is_none_or(|oldest| youngest < oldest),
            "number {youngest} went before number {oldest:?}"
        );
        frames += 1;
    }
    frames
}

fn ages(handles: &[Handle]) -> HashMap<Handle, usize> {
    handles.iter().enumerate().map(|(age, handle)| (*handle, age)).collect()
}

pub(super) fn reclaim_takes_what_was_filled_longest_ago(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    if !reclaims(&*pool) {
        return;
    }
    let mut on = Checked::new(&*pool, Depth::Stats);
    let handles = store_pages(&mut on, 60);
    // Reading must not change the order.
    for handle in &handles[..30] {
        accepted(on.read(*handle));
    }
    let frames = evict_in_order(&mut on, &ages(&handles));
    assert!(frames > 5, "60 objects of a frame lay in {frames} places");
}

pub(super) fn migration_keeps_the_order_of_use(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    if !reclaims(&*pool) {
        return;
    }
    let mut on = Checked::new(&*pool, Depth::Stats);
    let handles = store_pages(&mut on, 60);
    for handle in handles[..40].iter().step_by(3) {
        // If it fails, it must not change the order either.
        _ = agreed(on.migrate(*handle));
    }
    evict_in_order(&mut on, &ages(&handles));
}

pub(super) fn an_eviction_that_is_refused_loses_nothing(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    if !reclaims(&*pool) {
        return;
    }
    let mut on = Checked::new(&*pool, Depth::Validate);
    let handles = store_pages(&mut on, 60);
    for retries in [0, 1, 3] {
        let answer = agreed(on.reclaim(retries, &mut |_, _| Ok(Eviction::Refuse)));
        assert_eq!(answer, Err(ReclaimError::Again { tried: retries }));
        agreed(on.check_bytes());
    }
    // These four count as just used, so they come last.
    let mut frames_asked = 0;
    let reclaimed = accepted(on.reclaim(3, &mut |_, victim| {
        frames_asked += 1;
        let refused_before = handles[..4].contains(&victim);
        assert!(!refused_before, "{victim:?} was refused a moment ago and is asked for again");
        Ok(if frames_asked <= 2 { Eviction::Refuse } else { Eviction::Free })
    }));
    assert_eq!(reclaimed.kept, 2, "two frames were kept before one was freed");
    agreed(on.check_all(10));
    while agreed(on.reclaim(8, &mut |_, _| Ok(Eviction::Free))).is_ok() {}
    assert!(on.model().objects().is_empty(), "all of them can be evicted in the end");
}

pub(super) fn an_evictor_that_panics_leaves_the_pool_whole(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    if !reclaims(&*pool) {
        return;
    }
    let mut on = Checked::new(&*pool, Depth::Validate);
    store_pages(&mut on, 40);
    for key in 0..20 {
        accepted(on.store(&contents(key, 900)));
    }
    for round in 0..5 {
        let mut calls = 0;
        let call = AssertUnwindSafe(|| {
            let mut evict = |_| {
                calls += 1;
                if calls > round {
                    // Without the hook that prints it.
                    panic::resume_unwind(Box::new("an evictor's own"));
                }
                Err(NotEvicted)
            };
            pool.reclaim(8, &mut evict)
        });
        let payload = panic::catch_unwind(call).expect_err("the panic is passed on");
        assert_eq!(payload.downcast_ref(), Some(&"an evictor's own"));
        agreed(on.check_all(0));
    }
    while agreed(on.reclaim(1, &mut |_, _| Ok(Eviction::Free))).is_ok() {}
    let left = on.model().objects().len();
    assert_eq!(left, 0, "{left} objects can no longer be evicted");
}

pub(super) fn an_evictor_may_call_every_method(under_test: &PoolUnderTest<'_>) {
    let limit = under_test.expect.limit_bytes;
    under_test.guarded("every method inside an evictor", move |pool| {
        if !reclaims(&**pool) {
            return;
        }
        let mut on = Checked::new(&**pool, Depth::Stats);
        store_pages(&mut on, 60);
        for key in 0..60 {
            accepted(on.store(&contents(key, 1100)));
        }
        for round in 0..10 {
            let answer = agreed(on.reclaim(2, &mut |on, victim| {
                if on.model().get(victim).is_none() {
                    // A neighbour's eviction freed it below.
                    on.misuse(victim)?;
                    return Ok(Eviction::Free);
                }
                accepted(on.read(victim));
                let len = accepted(on.len(victim));
                accepted(on.write(victim, &contents(round, len)));
                let made = accepted(on.store(&contents(round, 500)));
                accepted(on.free(made));
                // Perhaps the next victim.
                let other = on.model().pick(7 * round).filter(|other| *other != victim);
                if let Some(other) = other {
                    accepted(on.free(other));
                }
                on.compact(64 << 10)?;
                on.trim()?;
                accepted(on.set_limit(limit - limit / 4));
                accepted(on.set_limit(limit));
                _ = on.migrate(victim)?;
                _ = on.alloc_contiguous(3, 1, &mut |on| on.check_bytes())?;
                let inner = on.pool().reclaim(1, &mut |_| Err(NotEvicted));
                let right = matches!(
                    inner,
                    Ok(_) | Err(ReclaimError::Again { .. } | ReclaimError::NothingToReclaim)
                );
                assert!(right, "reclaim inside an evictor: {inner:?}");
                Ok(Eviction::Free)
            }));
            assert!(answer.is_ok(), "each victim was freed: {answer:?}");
            agreed(on.check_all(0));
        }
    });
}

pub(super) fn an_evictor_may_free_anything(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("an evictor that frees", |pool| {
        if !reclaims(&**pool) {
            return;
        }
        let mut on = Checked::new(&**pool, Depth::Validate);
        for key in 0..40 {
            accepted(on.store(&contents(key, 1500)));
        }
        // The victim twice.
        accepted(on.reclaim(1, &mut |on, victim| {
            accepted(on.free(victim));
            assert_eq!(on.free(victim)?, Err(HandleError::Stale));
            Ok(Eviction::Free)
        }));
        agreed(on.check_all(10));
        // The victim, although the evictor refuses.
        let answer = pool.reclaim(1, &mut |victim| {
            accepted(on.free(victim));
            Err(NotEvicted)
        });
        assert!(matches!(answer, Ok(_) | Err(ReclaimError::Again { tried: 1 })), "{answer:?}");
        agreed(on.check_all(10));
        // Everything.
        let answer = pool.reclaim(4, &mut |_| {
            agreed(on.free_all());
            Ok(())
        });
        assert!(answer.is_ok(), "every object was freed: {answer:?}");
        agreed(on.trim());
        assert_eq!(pool.stats().frame_bytes, 0);
        agreed(on.validate());
    });
}

pub(super) fn an_object_that_is_read_can_be_evicted(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("reclaim inside a read", |pool| {
        if !reclaims(&**pool) {
            return;
        }
        for len in [20, 1500, PAGE_BYTES.min(pool.max_len()), pool.max_len()] {
            let mut on = Checked::new(&**pool, Depth::Stats);
            let read = accepted(on.store(&contents(1, len)));
            let answer = on.during_read(read, &mut |on| {
                accepted(on.reclaim(1, &mut |_, _| Ok(Eviction::Free)));
                on.misuse(read)?;
                // The open bytes must not go to another object.
                for key in 0..100 {
                    accepted(on.store(&contents(key, len)));
                }
                Ok(())
            });
            accepted(answer);
            agreed(on.check_all(10));
            agreed(on.free_all());
            pool.trim();
            assert_eq!(pool.stats().frame_bytes, 0, "the frame came back when the read ended");
            agreed(on.validate());
        }
    });
}

/// Exactly one free or eviction of an object succeeds; an unfreed object stays.
pub(super) fn reclaim_beside_frees_and_stores_loses_nothing(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("reclaim beside frees and stores", |pool| {
        if !reclaims(&**pool) {
            return;
        }
        let seed = Seed::for_test(0x4ec1);
        let shared: Vec<(Own, AtomicU32)> = (0..2000)
            .map(|id| {
                let len = 100 + usize::try_from(id * 37 % 3900).expect("small");
                let own = Own::store(&**pool, len.min(pool.max_len()), Pattern::new(2, id, 0));
                (own.expect("there is room"), AtomicU32::new(0))
            })
            .collect();
        let by_handle: HashMap<Handle, usize> =
            shared.iter().enumerate().map(|(at, (own, _))| (own.handle, at)).collect();
        let strangers = Mutex::new(Vec::new());
        let (shared, by_handle, strangers) = (&shared, &by_handle, &strangers);
        let over = &AtomicBool::new(false);
        let free = |(own, wins): &(Own, AtomicU32)| match pool.free(own.handle) {
            Ok(()) => _ = wins.fetch_add(1, Ordering::SeqCst),
            Err(error) => assert_eq!(error, HandleError::Stale),
        };
        thread::scope(|scope| {
            for stream in 0..2 {
                let mut rng = seed.rng(stream);
                scope.spawn(move || {
                    while !over.load(Ordering::SeqCst) {
                        let mut evict = |victim| match by_handle.get(&victim) {
                            Some(_) if rng.random_ratio(1, 8) => Err(NotEvicted),
                            Some(at) => {
                                free(&shared[*at]);
                                Ok(())
                            }
                            // The storing thread's; it frees them itself.
                            None => {
                                strangers.lock().expect("no thread panics").push(victim);
                                Err(NotEvicted)
                            }
                        };
                        _ = pool.reclaim(2, &mut evict);
                        thread::yield_now();
                    }
                });
            }
            let mut rng = seed.rng(7);
            let frees = scope.spawn(move || {
                for object in shared.iter().filter(|_| rng.random_bool(0.5)) {
                    free(object);
                }
            });
            let stores = scope.spawn(move || {
                let mut mine = Vec::new();
                for id in 0..2000 {
                    mine.extend(Own::store(&**pool, 1300, Pattern::new(3, id, 0)));
                    if id % 3 == 0 {
                        mine.swap_remove(mine.len() / 2).free(&**pool);
                    }
                }
                mine.iter().for_each(|own| own.check(&**pool));
                mine
            });
            let outcome = frees.join();
            let mine = stores.join();
            over.store(true, Ordering::SeqCst);
            assert!(outcome.is_ok(), "see above");
            mine.expect("see above").into_iter().for_each(|own| own.free(&**pool));
        });
        for (own, wins) in shared {
            match wins.load(Ordering::SeqCst) {
                0 => own.check(&**pool),
                1 => assert_eq!(pool.len(own.handle), Err(HandleError::Stale)),
                wins => panic!("{wins} frees of {:?} succeeded", own.handle),
            }
            free(&(*own, AtomicU32::new(0)));
        }
        let strangers = strangers.lock().expect("no thread panics").len();
        let stats = pool.stats();
        assert_eq!(stats.objects, 0, "{strangers} victims were not the shared ones");
        assert_eq!(pool.validate(), Ok(()));
    });
}
