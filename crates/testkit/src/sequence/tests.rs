//! Sequences are reproducible and complete, and shrink to a few failing steps.

use std::time::{Duration, Instant};

use pagefold_frame::HeapSource;
use pagefold_pool::{Allocator, PoolBuilder};

use super::*;
use crate::{
    faulty::FaultySource,
    injected_bug::{BuggyPool, InjectedBug},
    reference::{MapPool, Mutant},
    seed::Seed,
    torture::{Faults, coverage},
};

const LIMIT: usize = 2 << 20;

fn plan(seed: Seed, ops: u64) -> Plan {
    Plan { ops: Some(ops), ..Plan::new(seed) }
}

fn run_here(build: &Build<'_>, plan: &Plan) -> Result<Done, Box<Failed>> {
    run(build, plan, LIMIT, Rounds::Many, &Watch::default())
}

fn real(allocator: Allocator, source: &Arc<FaultPlan>) -> Box<dyn Pool> {
    let source = FaultySource::new(Box::new(HeapSource::new()), Arc::clone(source));
    let builder = PoolBuilder::new(allocator).limit(LIMIT).source(Box::new(source));
    builder.build().expect("enough for a pool")
}

#[test]
fn every_allocator_passes_with_every_fault_and_does_all_that_it_can() {
    let seed = Seed::for_test(51);
    let faults: Faults =
        "frame=0.01,frame@9,isolate=0.1,evict=0.2,evict-panic=0.05".parse().expect("faults");
    for allocator in Allocator::ALL {
        coverage::assert_complete(allocator, *seed, |seed| {
            let plan = Plan { faults, ..plan(seed, 60_000) };
            let build = |source: &_| real(*allocator, source);
            let done = run_here(&build, &plan).unwrap_or_else(|failed| {
                panic!("{allocator}, {seed}, step {}: {}", failed.ops, failed.failure)
            });
            assert!(done.summary.tally.total() >= 60_000 - 20, "{:?}", done.summary.tally.total());
            done.summary.missing(&plan)
        });
    }
}

#[test]
fn the_same_seed_is_the_same_run_and_its_trace_the_same_again() {
    let seed = Seed::for_test(52);
    let build = |source: &_| real(Allocator::nbud(), source);
    let faults = Faults { ..("frame=0.01,isolate=0.1".parse().expect("faults")) };
    let plan = Plan { faults, ..plan(*seed, 30_000) };
    let once = || run(&build, &plan, LIMIT, Rounds::One, &Watch::default()).expect("it passes");
    let (first, second) = (once(), once());
    assert_eq!(first.summary, second.summary);
    assert_eq!(first.trace, second.trace);
    let again = replay(&build, &first.trace, &Watch::default()).expect("it passes");
    assert_eq!(again.summary, first.summary);
    let other = Plan { seed: Seed::new(!seed.value()), ..plan };
    let other = run(&build, &other, LIMIT, Rounds::One, &Watch::default()).expect("it passes");
    assert_ne!(other.summary.digest, first.summary.digest);
}

#[test]
fn a_trace_means_the_same_to_every_allocator() {
    let seed = Seed::for_test(53);
    let nbud = |source: &_| real(Allocator::nbud(), source);
    let plan = plan(*seed, 30_000);
    let done = run(&nbud, &plan, LIMIT, Rounds::One, &Watch::default()).expect("it passes");
    for allocator in Allocator::ALL {
        let build = |source: &_| real(*allocator, source);
        let again = replay(&build, &done.trace, &Watch::default())
            .unwrap_or_else(|failed| panic!("{allocator}: {}", failed.failure));
        assert_eq!(again.trace.steps, done.trace.steps, "{allocator}");
    }
}

#[test]
fn a_mutant_is_found_and_shrunk_to_a_few_steps_that_fail_again() {
    let seed = Seed::for_test(54);
    for mutant in [
        Mutant::CompactionSpoils,
        Mutant::MigrationSpoils,
        Mutant::StaleRead,
        Mutant::WriteIgnored,
        Mutant::FramesLeak,
        Mutant::RangeSpoils,
        Mutant::EvictForced,
    ] {
        let build = |_: &_| -> Box<dyn Pool> { Box::new(MapPool::mutant(LIMIT, mutant)) };
        let failed = run_here(&build, &plan(*seed, 100_000)).expect_err("the mutant is noticed");
        let until = Instant::now() + Duration::from_secs(60);
        let few = shrink(&build, &failed.trace, until, &Watch::default());
        eprintln!("{mutant:?}: {} of {} steps", few.steps.len(), failed.trace.steps.len());
        assert!(few.steps.len() <= 24, "{mutant:?}: {} steps: {:?}", few.steps.len(), few.steps);

        // Through the text.
        let mut text = Vec::new();
        few.write(&mut text).expect("memory takes it");
        let read = Trace::read(&mut text.as_slice()).expect("a trace");
        let again = replay(&build, &read, &Watch::default()).expect_err("it fails again");
        assert_eq!(again.trace.steps.len(), few.steps.len(), "{mutant:?}: at the last step");
        let sound = |_: &_| -> Box<dyn Pool> { Box::new(MapPool::new(LIMIT)) };
        replay(&sound, &read, &Watch::default()).expect("it is the mutant that fails");
    }
}

#[test]
fn every_injected_bug_is_noticed_and_a_panic_is_a_failure() {
    let seed = Seed::for_test(55);
    for fault in InjectedBug::ALL {
        let build = |_: &_| -> Box<dyn Pool> {
            let pool = BuggyPool::new(Box::new(MapPool::new(LIMIT)), seed.value(), 100).only(fault);
            Box::new(pool)
        };
        // Most bugs show after some thousand operations, lost frames at the end.
        let ops = if fault == InjectedBug::LostFrame { 60_000 } else { 5_000_000 };
        assert!(run_here(&build, &plan(*seed, ops)).is_err(), "{fault:?} went unnoticed");
    }
    let build = |_: &_| -> Box<dyn Pool> { Box::new(MapPool::mutant(LIMIT, Mutant::ForgedPanics)) };
    run_here(&build, &plan(*seed, 20_000)).expect("nothing forged is used in a sequence");
}
