//! nbud under the stress of `pagefold-testkit`, for a bounded number of operations; the `torture` command does more.
#![cfg(not(loom))]

use std::time::Duration;

use pagefold_pool::{FillPolicy, NbudOptions, Pool, PoolBuilder};
use pagefold_testkit::{
    injected_bug::BuggyPool,
    seed::Seed,
    torture::{self, Failure, Plan, Summary, Watch},
    watchdog,
};

/// So long that only a deadlock exceeds it.
const DEADLOCK_AFTER: Duration = Duration::from_secs(300);

fn nbud(span_frames: u32, fill: FillPolicy) -> Box<dyn Pool> {
    let options = NbudOptions::new().span_frames(span_frames).fill_policy(fill);
    PoolBuilder::new(options).limit(8 << 20).build().expect("enough for a pool")
}

fn stress(pool: Box<dyn Pool>, plan: Plan) -> Result<Summary, Failure> {
    watchdog::within(DEADLOCK_AFTER, "a stress run", move || {
        torture::run(&*pool, &plan, &Watch::default())
    })
}

#[test]
fn every_byte_survives_many_threads() {
    let seed = Seed::for_test(0x707);
    for (span_frames, fill, threads) in [
        (4, FillPolicy::Auto, 2),
        (4, FillPolicy::Tight, 4),
        (2, FillPolicy::Append, 4),
        (16, FillPolicy::Auto, 8),
        (1, FillPolicy::Auto, 3),
    ] {
        let plan = Plan { threads, ops: Some(300_000), ..Plan::new(*seed) };
        if let Err(failure) = stress(nbud(span_frames, fill), plan) {
            panic!("{span_frames} frames, {fill:?}, {threads} threads: {failure}");
        }
    }
}

#[test]
fn one_thread_is_reproducible() {
    let seed = Seed::for_test(0x108);
    let plan = Plan { ops: Some(200_000), ..Plan::new(*seed) };
    // Without the watchdog: both runs in this thread, because a pool may spread its threads by who they are.
    let run = || {
        torture::run(&*nbud(4, FillPolicy::Auto), &plan, &Watch::default())
            .expect("the pool passes")
    };
    assert_eq!(run(), run());
}

#[test]
fn a_faulty_pool_does_not_pass() {
    let seed = Seed::for_test(0xbad);
    let pool = BuggyPool::new(nbud(4, FillPolicy::Auto), seed.value(), 10_000);
    let outcome =
        stress(Box::new(pool), Plan { threads: 2, ops: Some(1_000_000), ..Plan::new(*seed) });
    assert!(outcome.is_err(), "the bug went unnoticed: {outcome:?}");
}
