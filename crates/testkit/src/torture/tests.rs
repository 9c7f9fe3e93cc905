//! The stress run on the reference pool: it passes, it is reproducible, and it notices every fault and race.

use std::time::Duration;

use super::*;
use crate::{
    canary::{Canary, Fault},
    reference::{Flaw, MapPool},
    watchdog,
};

const LIMIT: usize = 2 << 20;

fn torture(pool: Box<dyn Pool>, threads: usize, seed: Seed) -> Result<Summary, Failure> {
    let plan = Plan { seed, threads, ops: Some(150_000) };
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
        let tally = summary.tally;
        for count in [
            tally.store,
            tally.out_of_memory,
            tally.read,
            tally.write,
            tally.free,
            tally.stale,
            tally.compact,
            tally.trim,
            tally.set_limit,
        ] {
            assert!(count > 0, "an operation never happened: {tally:?}");
        }
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
            let pool = Canary::new(Box::new(MapPool::new(LIMIT)), seed.value(), 500).only(fault);
            assert!(
                torture(Box::new(pool), threads, *seed).is_err(),
                "{fault:?} with {threads} threads went unnoticed"
            );
        }
    }
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
    ];
    for flaw in flaws {
        let pool = MapPool::with_flaw(2 * LIMIT, flaw);
        assert!(torture(Box::new(pool), 2, *seed).is_err(), "{flaw:?} went unnoticed");
    }
}
