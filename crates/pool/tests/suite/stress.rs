//! Packings under the stress of `pagefold-testkit`, for a bounded number of operations; the `torture` command does more.

use std::time::Duration;

use pagefold_pool::{Allocator, Pool, PoolBuilder};
use pagefold_testkit::{
    injected_bug::BuggyPool,
    seed::Seed,
    torture::{self, Failure, Plan, Summary, Watch},
    watchdog,
};

/// So long that only a deadlock exceeds it.
const DEADLOCK_AFTER: Duration = Duration::from_secs(300);

fn pool(allocator: impl Into<Allocator>) -> Box<dyn Pool> {
    PoolBuilder::new(allocator).limit(8 << 20).build().expect("enough for a pool")
}

fn stress(pool: Box<dyn Pool>, plan: Plan) -> Result<Summary, Failure> {
    watchdog::within(DEADLOCK_AFTER, "a stress run", move || {
        torture::run(&*pool, &plan, &Watch::default())
    })
}

fn a_faulty_pool_does_not_pass(allocator: impl Into<Allocator>) {
    let seed = Seed::for_test(0xbad);
    let pool = BuggyPool::new(pool(allocator), seed.value(), 10_000);
    let outcome =
        stress(Box::new(pool), Plan { threads: 2, ops: Some(1_000_000), ..Plan::new(*seed) });
    assert!(outcome.is_err(), "the bug went unnoticed: {outcome:?}");
}

mod nbud {
    use pagefold_pool::{FillPolicy, NbudOptions};

    use super::*;

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
            if let Err(failure) =
                stress(pool(NbudOptions::new().span_frames(span_frames).fill_policy(fill)), plan)
            {
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
            torture::run(&*pool(NbudOptions::new()), &plan, &Watch::default())
                .expect("the pool passes")
        };
        assert_eq!(run(), run());
    }

    #[test]
    fn a_faulty_pool_does_not_pass() {
        super::a_faulty_pool_does_not_pass(NbudOptions::new());
    }
}

mod xcfmalloc {
    use pagefold_pool::{BlockSelection, XcfmallocOptions};

    use super::*;

    #[test]
    fn every_byte_survives_many_threads() {
        let seed = Seed::for_test(0x8cf);
        for (max_blocks, selection, threads) in [
            (1, BlockSelection::Standard, 3),
            (2, BlockSelection::Standard, 4),
            (2, BlockSelection::Inverted, 2),
            (4, BlockSelection::Standard, 8),
            (8, BlockSelection::Standard, 4),
        ] {
            let plan = Plan { threads, ops: Some(200_000), ..Plan::new(*seed) };
            let options = XcfmallocOptions::new().max_blocks(max_blocks).selection(selection);
            let outcome = stress(pool(options), plan);
            if let Err(failure) = outcome {
                panic!("{max_blocks} blocks, {selection:?}, {threads} threads: {failure}");
            }
        }
    }

    #[test]
    fn a_faulty_pool_does_not_pass() {
        super::a_faulty_pool_does_not_pass(XcfmallocOptions::new().max_blocks(2));
    }
}

mod zsmalloc {
    use pagefold_pool::ZsmallocOptions;

    use super::*;

    #[test]
    fn every_byte_survives_many_threads() {
        let seed = Seed::for_test(0x25a);
        for (step, chain, lending, threads) in [
            (16, 8, true, 2),
            (16, 8, true, 4),
            (32, 4, true, 8),
            (8, 1, true, 3),
            (16, 8, false, 4),
        ] {
            let plan = Plan { threads, ops: Some(200_000), ..Plan::new(*seed) };
            let options = ZsmallocOptions::new().class_step(step).chain_limit(chain);
            let pool = pool(options.class_lending(lending));
            if let Err(failure) = stress(pool, plan) {
                panic!(
                    "step {step}, chain {chain}, lending {lending}, {threads} threads: {failure}"
                );
            }
        }
    }

    #[test]
    fn a_faulty_pool_does_not_pass() {
        super::a_faulty_pool_does_not_pass(ZsmallocOptions::new());
    }
}
