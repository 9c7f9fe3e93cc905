//! The stress run passes on sound pools, repeats exactly, and notices every bug.

use std::time::Duration;

use pagefold_pool::{Allocator, PoolBuilder};

use super::*;
use crate::{
    injected_bug::{BuggyPool, InjectedBug},
    reference::{MapPool, Mutant},
    watchdog,
};

const LIMIT: usize = 2 << 20;
/// Real allocators are slow in debug builds.
const REAL_OPS: u64 = 30_000;
/// Most runs notice a bug after some thousand operations.
const BUGGY_OPS: u64 = 5_000_000;
/// Often: few operations compact or allocate ranges.
const ONE_IN: u64 = 100;

fn torture(pool: Box<dyn Pool>, threads: usize, seed: Seed) -> Result<Summary, Failure> {
    torture_for(150_000, pool, threads, seed)
}

fn torture_for(
    ops: u64,
    pool: Box<dyn Pool>,
    threads: usize,
    seed: Seed,
) -> Result<Summary, Failure> {
    let plan = Plan { threads, ops: Some(ops), ..Plan::new(seed) };
    watchdog::within(Duration::from_secs(300), "a stress run", move || {
        run(&*pool, &plan, &Watch::default())
    })
}

#[test]
fn a_correct_pool_passes() {
    let seed = Seed::for_test(31);
    for threads in [1, 3] {
        let summary = torture(Box::new(MapPool::new(LIMIT)), threads, *seed)
            .expect("the reference pool is right");
        let missing = summary.missing(&Plan::new(*seed));
        assert!(missing.is_empty(), "never happened: {missing:?}, {:?}", summary.tally);
        let everything = Support { migrate: true, contiguous: true, reclaim: true };
        assert_eq!(summary.support, everything);
        assert!(summary.payload_bytes_max > 0 && summary.cycles > 1, "{summary:?}");
    }
}

#[test]
fn one_thread_is_reproducible() {
    let seed = Seed::for_test(32);
    let run = |seed| {
        torture(Box::new(MapPool::new(LIMIT)), 1, seed).expect("the reference pool is right")
    };
    assert_eq!(run(*seed), run(*seed));
    assert_ne!(run(*seed).digest, run(Seed::new(!seed.value())).digest);
}

#[test]
fn every_injected_bug_is_noticed() {
    let seed = Seed::for_test(33);
    for fault in InjectedBug::ALL {
        for threads in [1, 2] {
            notices(fault, Box::new(MapPool::new(LIMIT)), threads, *seed);
        }
    }
}

fn notices(fault: InjectedBug, pool: Box<dyn Pool>, threads: usize, seed: Seed) {
    let name = pool.name();
    let buggy = BuggyPool::new(pool, seed.value(), ONE_IN).only(fault);
    let injected = buggy.counter();
    // Lost frames are missed only at the end.
    let ops = if fault == InjectedBug::LostFrame { REAL_OPS } else { BUGGY_OPS };
    let outcome = torture_for(ops, Box::new(buggy), threads, seed);
    let injected = injected.load(Ordering::Relaxed);
    assert!(
        outcome.is_err() && injected > 0,
        "{fault:?} with {name}, {threads} threads, {injected} injected: {outcome:?}"
    );
}

#[test]
fn mutants_are_noticed() {
    let seed = Seed::for_test(34);
    let mutants = [
        Mutant::DoubleFreeAccepted,
        Mutant::StaleRead,
        Mutant::ShortCopy,
        Mutant::OutOfMemorySpoils,
        Mutant::CompactionSpoils,
        Mutant::PayloadLeaks,
        Mutant::FramesLeak,
        Mutant::TrimsNothing,
        Mutant::LimitExceeded,
        Mutant::MigrationSpoils,
        Mutant::MigrationRevives,
        Mutant::RangeSpoils,
        Mutant::RangeDirty,
        Mutant::RangeUnaligned,
        Mutant::RangeLeaks,
        Mutant::EvictForced,
        Mutant::ZeroRetriesIgnored,
    ];
    for mutant in mutants {
        let pool = MapPool::mutant(2 * LIMIT, mutant);
        assert!(torture(Box::new(pool), 2, *seed).is_err(), "{mutant:?} went unnoticed");
    }
}

fn real(allocator: Allocator) -> Box<dyn Pool> {
    PoolBuilder::new(allocator).limit(2 * LIMIT).build().expect("enough for a pool")
}

#[test]
fn every_allocator_does_all_that_it_can() {
    let seed = Seed::for_test(35);
    for allocator in Allocator::ALL {
        coverage::assert_complete(allocator, *seed, |seed| {
            let summary = torture_for(REAL_OPS, real(*allocator), 2, seed)
                .unwrap_or_else(|failure| panic!("{allocator}, {seed}: {failure}"));
            assert!(
                summary.support.migrate && summary.support.contiguous,
                "{allocator} moves frames"
            );
            summary.missing(&Plan::new(seed))
        });
    }
}

#[test]
fn faults_of_moving_and_evicting_are_noticed_with_every_allocator() {
    let seed = Seed::for_test(36);
    for allocator in Allocator::ALL {
        let answer = real(*allocator).reclaim(0, &mut |_| Err(NotEvicted));
        let reclaims = answer != Err(ReclaimError::Unsupported);
        notices(InjectedBug::SpoiledMove, real(*allocator), 2, *seed);
        if reclaims {
            notices(InjectedBug::LostEviction, real(*allocator), 2, *seed);
        } else {
            let buggy = BuggyPool::new(real(*allocator), seed.value(), ONE_IN);
            let buggy = Box::new(buggy.only(InjectedBug::LostEviction));
            let outcome = torture_for(REAL_OPS, buggy, 2, *seed);
            assert!(outcome.is_ok(), "{allocator} never evicts: {outcome:?}");
        }
    }
}
