//! Contiguous ranges. A pool without them passes by saying so.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use pagefold_pool::{AllocError, ContiguousError, LimitError, Pool, Slices};
use rand::{RngExt, seq::IndexedRandom};

use super::{
    PoolUnderTest, accepted, agreed,
    concurrency::{Own, own_step},
    contents, fill, free_some,
};
use crate::{
    corpus::{Lengths, PAGE_BYTES},
    model::{Checked, Depth, Mismatch},
    pattern::Pattern,
    seed::Seed,
};

fn has_ranges(pool: &dyn Pool) -> bool {
    pool.alloc_contiguous(1, 1).err() != Some(ContiguousError::Unsupported)
}

fn nothing(_: &mut Checked<'_>) -> Result<(), Mismatch> {
    Ok(())
}

pub(super) fn impossible_ranges_are_refused(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    if !has_ranges(&*pool) {
        return;
    }
    let mut on = Checked::new(&*pool, Depth::Validate);
    for key in 0..50 {
        accepted(on.store(&contents(key, 700)));
    }
    let refused = |on: &mut Checked<'_>, frames, align| {
        let answer = agreed(on.alloc_contiguous(frames, align, &mut nothing));
        answer.expect_err("no pool has such a range")
    };
    for align in [0, 1, 2, 3, usize::MAX] {
        assert_eq!(refused(&mut on, 0, align), ContiguousError::NoFrames, "aligned to {align}");
    }
    for (frames, align) in [(1, 0), (1, 3), (5, 6), (100, 511), (usize::MAX, usize::MAX)] {
        assert_eq!(refused(&mut on, frames, align), ContiguousError::Misaligned { align });
    }
    let ContiguousError::TooLarge { capacity, .. } = refused(&mut on, usize::MAX, 1) else {
        panic!("more frames than there are addresses are too large")
    };
    assert!(capacity * PAGE_BYTES >= under_test.expect.limit_bytes, "{capacity} frames at most");
    for (frames, align) in [(capacity + 1, 1), (usize::MAX / PAGE_BYTES, 2), (1, 1 << 63)] {
        let error = refused(&mut on, frames, align);
        assert_eq!(error, ContiguousError::TooLarge { frames, align, capacity });
    }
    let limit = under_test.expect.limit_bytes / PAGE_BYTES;
    let error = refused(&mut on, limit + 1, 1);
    let named =
        matches!(error, ContiguousError::OutOfMemory { .. } | ContiguousError::TooLarge { .. });
    assert!(named, "more frames than the limit: {error:?}");
    agreed(on.check_all(0));
}

/// `Checked` checks length, alignment, zeros and its pattern.
pub(super) fn a_contiguous_range_is_aligned_zero_and_not_shared(under_test: &PoolUnderTest<'_>) {
    let seed = Seed::for_test(0xc1a1);
    let mut rng = seed.rng(0);
    let pool = under_test.pool();
    if !has_ranges(&*pool) {
        return;
    }
    let mut on = Checked::new(&*pool, Depth::Stats);
    fill(&mut on, &mut rng, Lengths::Compressed);
    free_some(&mut on, &mut rng, 0.6);
    let shapes = [(1, 1), (1, 64), (3, 2), (16, 16), (31, 1), (64, 512), (200, 8), (512, 512)];
    for (round, (frames, align)) in (0..).zip(shapes.into_iter().cycle().take(16)) {
        let answer = on.alloc_contiguous(frames, align, &mut |on| {
            on.check_bytes()?;
            for _ in 0..20 {
                let bytes = contents(rng.random(), Lengths::Wide.sample(&mut rng, pool.max_len()));
                _ = on.store(&bytes)?;
                if let Some(victim) = on.model().pick(rng.random()) {
                    accepted(on.free(victim));
                }
            }
            on.compact(256 << 10)?;
            on.trim()?;
            // Another range, also in frames just freed.
            _ = on.alloc_contiguous(round % 8 + 1, 1, &mut nothing)?;
            on.check_bytes()
        });
        accepted(answer);
    }
    agreed(on.check_all(50));
    agreed(on.free_all());
    agreed(on.validate());
}

pub(super) fn a_contiguous_range_counts_against_the_limit(under_test: &PoolUnderTest<'_>) {
    let seed = Seed::for_test(0xc0047);
    let mut rng = seed.rng(0);
    let pool = under_test.pool();
    if !has_ranges(&*pool) {
        return;
    }
    let limit = under_test.expect.limit_bytes;
    let mut on = Checked::new(&*pool, Depth::Stats);
    let half = limit / 2 / PAGE_BYTES;
    let mut held = 0;
    let answer = on.alloc_contiguous(half, 1, &mut |on| {
        // `Checked` compares resident bytes with the limit.
        fill(on, &mut rng, Lengths::Compressed);
        held = on.model().payload_bytes();
        let answer = on.set_limit(limit / 2)?;
        assert!(matches!(answer, Err(LimitError::InUse { .. })), "half is a range: {answer:?}");
        on.check_bytes()
    });
    accepted(answer);
    assert!(held > 0 && held < (limit / 2) as u64, "{held} bytes beside a range of half");
    // Room for as much again; then none for half of it.
    fill(&mut on, &mut rng, Lengths::Compressed);
    let full = on.model().payload_bytes();
    assert!(full > held + held / 2, "{held} bytes beside the range, {full} without it");
    let error = agreed(on.alloc_contiguous(half, 1, &mut nothing)).expect_err("the pool is full");
    assert!(matches!(error, ContiguousError::OutOfMemory { .. }), "{error:?}");
    agreed(on.check_all(0));
}

pub(super) fn contiguous_ranges_come_back(under_test: &PoolUnderTest<'_>) {
    let limit = under_test.expect.limit_bytes / 4;
    let pool = (under_test.make)(limit);
    if !has_ranges(&*pool) {
        return;
    }
    let mut on = Checked::new(&*pool, Depth::Validate);
    accepted(on.store(&contents(1, 3000)));
    // Together many times the limit.
    for round in 0..40 {
        let frames = limit / PAGE_BYTES / (2 + round % 3);
        accepted(on.alloc_contiguous(frames, 1 << (round % 10), &mut nothing));
    }
    agreed(on.free_all());
    agreed(on.trim());
    let stats = agreed(on.stats());
    let most = under_test.expect.empty_resident_max;
    assert!(stats.resident_bytes() <= most, "something is left of the ranges: {stats:?}");
    let made = stats.migration.contiguous_allocs;
    assert!(made >= 40, "{made} ranges are counted");
}

/// A full address space, three of four objects freed at random: any range has occupants.
fn fragmented(pool: &dyn Pool, rng: &mut impl rand::Rng) -> Vec<Own> {
    let max = match pool.set_limit(usize::MAX) {
        Err(LimitError::TooLarge { max, .. }) => max,
        answer => panic!("a limit of all addresses: {answer:?}"),
    };
    assert_eq!(pool.set_limit(max), Ok(()));
    let len = PAGE_BYTES.min(pool.max_len());
    let mut objects = Vec::new();
    loop {
        let pattern = Pattern::new(4, objects.len() as u64, 0);
        match pool.store(&pattern.bytes(len)) {
            Ok(handle) => objects.push(Own { handle, len, pattern }),
            Err(AllocError::OutOfMemory { .. }) => break,
            Err(error) => panic!("{len} bytes: {error}"),
        }
    }
    let (gone, kept): (Vec<Own>, Vec<Own>) =
        objects.into_iter().partition(|_| rng.random_ratio(3, 4));
    gone.into_iter().for_each(|object| object.free(pool));
    kept
}

pub(super) fn a_range_in_a_fragmented_pool_moves_what_is_there(under_test: &PoolUnderTest<'_>) {
    let seed = Seed::for_test(0xf4a6);
    let pool = (under_test.make)(under_test.expect.limit_bytes / 4);
    if !has_ranges(&*pool) {
        return;
    }
    let kept = fragmented(&*pool, &mut seed.rng(0));
    let before = pool.stats();
    let limit = usize::try_from(before.limit_bytes).expect("it was a usize");
    let frames = limit / 4 / PAGE_BYTES;
    let mut range = match pool.alloc_contiguous(frames, 1) {
        Ok(range) => range,
        Err(error) => panic!("{frames} frames, of which three in four are free: {error}"),
    };
    let during = pool.stats();
    assert!(during.migration.migrated > before.migration.migrated, "nothing was moved: {during:?}");
    assert_eq!(during.objects, before.objects);
    assert_eq!(during.contiguous_bytes, (frames * PAGE_BYTES) as u64);
    assert!(during.resident_bytes() <= during.limit_bytes, "{during:?}");
    let pattern = Pattern::new(5, 5, 5);
    pattern.fill(range.as_mut_slice());
    kept.iter().for_each(|object| object.check(&*pool));
    assert_eq!(pattern.check(Slices::new(&[range.as_slice()])), Ok(()));
    drop(range);
    assert_eq!(pool.stats().contiguous_bytes, 0);
    assert_eq!(pool.validate(), Ok(()));
    kept.iter().for_each(|object| object.check(&*pool));
}

/// The range avoids read objects, or the error names them.
pub(super) fn a_range_beside_open_reads_avoids_or_names_them(under_test: &PoolUnderTest<'_>) {
    fn descend(pool: &dyn Pool, objects: &[Own], inside: &mut dyn FnMut()) {
        let Some((first, rest)) = objects.split_first() else { return inside() };
        let answer = pool.read(first.handle, &mut |slices| {
            descend(pool, rest, &mut *inside);
            assert_eq!(first.pattern.check(slices), Ok(()), "the open bytes");
        });
        assert_eq!(answer, Ok(()));
    }
    let limit = under_test.expect.limit_bytes / 4;
    let pool = (under_test.make)(limit);
    if !has_ranges(&*pool) {
        return;
    }
    under_test.guarded_pool("a range beside open reads", pool, |pool| {
        let seed = Seed::for_test(0x0be4);
        let mut rng = seed.rng(0);
        let kept = fragmented(&**pool, &mut rng);
        let limit = usize::try_from(pool.stats().limit_bytes).expect("it was a usize");
        let frames = limit / 4 / PAGE_BYTES;
        let open: Vec<Own> = kept.sample(&mut rng, 60).copied().collect();
        let before = pool.stats();
        descend(&**pool, &open, &mut || match pool.alloc_contiguous(frames, 1) {
            Ok(range) => assert_eq!(range.frames(), frames),
            Err(ContiguousError::Blocked { frames: said, blockers }) => {
                assert_eq!(said, frames);
                assert!(!blockers.is_empty(), "blocked, and nothing was in the way");
            }
            Err(error) => panic!("{frames} frames beside open reads: {error}"),
        });
        let after = pool.stats();
        let accounts = |stats: pagefold_pool::Stats| {
            (stats.objects, stats.payload_bytes, stats.frame_bytes, stats.contiguous_bytes)
        };
        assert_eq!(accounts(after), accounts(before));
        assert_eq!(pool.validate(), Ok(()));
        let range = pool.alloc_contiguous(frames, 1);
        assert!(range.is_ok(), "after the last read ended: {:?}", range.err());
        kept.iter().for_each(|object| object.check(&**pool));
    });
}

pub(super) fn ranges_beside_traffic_lose_nothing(under_test: &PoolUnderTest<'_>) {
    under_test.guarded("ranges beside traffic", |pool| {
        if !has_ranges(&**pool) {
            return;
        }
        let seed = Seed::for_test(0xc4ad);
        let over = &AtomicBool::new(false);
        thread::scope(|scope| {
            let working = [0, 1].map(|thread| {
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
                })
            });
            let mut rng = seed.rng(9);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let (frames, align) = (rng.random_range(1..400), 1 << rng.random_range(0..9));
                    let Ok(mut range) = pool.alloc_contiguous(frames, align) else { continue };
                    assert!(range.as_slice().iter().all(|byte| *byte == 0), "not zero");
                    let pattern = Pattern::new(6, rng.random(), 0);
                    pattern.fill(range.as_mut_slice());
                    thread::yield_now();
                    assert_eq!(pattern.check(Slices::new(&[range.as_slice()])), Ok(()));
                }
            });
            let outcomes = working.map(thread::ScopedJoinHandle::join);
            over.store(true, Ordering::SeqCst);
            assert!(outcomes.iter().all(Result::is_ok), "see above");
        });
        let stats = pool.stats();
        assert_eq!((stats.objects, stats.contiguous_bytes), (0, 0));
        assert_eq!(pool.validate(), Ok(()));
    });
}
