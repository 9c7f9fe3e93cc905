//! The stress run on the reference pool: it passes, it is reproducible, and it notices every fault and race. And on real
//! allocators: nothing that they can do is left out, and what goes wrong when they move or evict is noticed.

use std::time::Duration;

use pagefold_pool::{Allocator, PoolBuilder};

use super::*;
use crate::{
    canary::{Canary, Fault},
    reference::{Flaw, MapPool},
    watchdog,
};

const LIMIT: usize = 2 << 20;
/// Operations on a real allocator, whose debug build is slow: enough for each kind of them.
const REAL_OPS: u64 = 30_000;
/// Operations within which a fault must be noticed. A run ends at the first failure, most after some thousand; what it finds out
/// depends on whether an object lives until it is read again, so it goes on until one does.
const CANARY_OPS: u64 = 5_000_000;
/// How often a canary strikes. What only compaction or a claim can meet must still happen many times in a short run, since
/// some strikes hit an object that is gone already.
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
        let everything = Support { migrate: true, claim: true, reclaim: true };
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
fn every_fault_of_the_canary_is_noticed() {
    let seed = Seed::for_test(33);
    for fault in Fault::ALL {
        for threads in [1, 2] {
            notices(fault, Box::new(MapPool::new(LIMIT)), threads, *seed);
        }
    }
}

/// Runs until the fault is noticed.
fn notices(fault: Fault, pool: Box<dyn Pool>, threads: usize, seed: Seed) {
    let name = pool.name();
    let canary = Canary::new(pool, seed.value(), ONE_IN).only(fault);
    let strikes = canary.counter();
    // Lost frames are lost for ever, and missed when everything was freed.
    let ops = if fault == Fault::LostFrame { REAL_OPS } else { CANARY_OPS };
    let outcome = torture_for(ops, Box::new(canary), threads, seed);
    let strikes = strikes.load(Ordering::Relaxed);
    assert!(
        outcome.is_err() && strikes > 0,
        "{fault:?} with {name}, {threads} threads, {strikes} strikes: {outcome:?}"
    );
}

#[test]
fn flaws_of_the_pool_itself_are_noticed() {
    let seed = Seed::for_test(34);
    let flaws = [
        Flaw::DoubleFreeAccepted,
        Flaw::StaleRead,
        Flaw::ShortCopy,
        Flaw::OutOfMemorySpoils,
        Flaw::CompactionSpoils,
        Flaw::PayloadLeaks,
        Flaw::FramesLeak,
        Flaw::TrimsNothing,
        Flaw::LimitExceeded,
        Flaw::MigrationSpoils,
        Flaw::MigrationRevives,
        Flaw::ClaimSpoils,
        Flaw::ClaimDirty,
        Flaw::ClaimUnaligned,
        Flaw::ClaimLeaks,
        Flaw::EvictForced,
        Flaw::ZeroRetriesIgnored,
    ];
    for flaw in flaws {
        let pool = MapPool::with_flaw(2 * LIMIT, flaw);
        assert!(torture(Box::new(pool), 2, *seed).is_err(), "{flaw:?} went unnoticed");
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
            assert!(summary.support.migrate && summary.support.claim, "{allocator} moves frames");
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
        notices(Fault::SpoiledMove, real(*allocator), 2, *seed);
        if reclaims {
            notices(Fault::LostEviction, real(*allocator), 2, *seed);
        } else {
            let canary = Canary::new(real(*allocator), seed.value(), ONE_IN);
            let canary = Box::new(canary.only(Fault::LostEviction));
            let outcome = torture_for(REAL_OPS, canary, 2, *seed);
            assert!(outcome.is_ok(), "{allocator} never evicts: {outcome:?}");
        }
    }
}
