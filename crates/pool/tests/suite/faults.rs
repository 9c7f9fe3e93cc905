//! Memory that is refused: for every k, the k-th run of frames or page of a table, once and from then on.
//!
//! A refusal must look like a full pool: the operation says `OutOfMemory` or does without, every byte that was stored
//! stays readable, the pool stays valid, and when the refusals end everything works again.

use std::sync::Arc;

use pagefold_frame::HeapSource;
use pagefold_pool::{
    Allocator, FillPolicy, NbudOptions, Pool, PoolBuilder, XcfmallocOptions, ZsmallocOptions,
};
use pagefold_testkit::faulty::{FaultPlan, FaultySource};
use pagefold_testkit::{
    model::{Checked, Depth, Mismatch, Op},
    seed::Seed,
};
use rand::Rng;

const LIMIT: usize = 4 << 20;
const OPS: usize = 300;
const MAX_LEN: usize = 20_000;

fn nbud(fill: FillPolicy) -> Allocator {
    NbudOptions::new().fill_policy(fill).into()
}

fn xcfmalloc(max_blocks: u32) -> Allocator {
    XcfmallocOptions::new().max_blocks(max_blocks).into()
}

fn zsmalloc(chain: u32) -> Allocator {
    ZsmallocOptions::new().chain_limit(chain).into()
}

fn pool(plan: &Arc<FaultPlan>, allocator: Allocator) -> Box<dyn Pool> {
    let source = FaultySource::new(Box::new(HeapSource::new()), Arc::clone(plan));
    let builder = PoolBuilder::new(allocator).limit(LIMIT).source(Box::new(source));
    builder.build().expect("nothing fails while the pool is built")
}

fn traffic(on: &mut Checked<'_>, rng: &mut impl Rng, ops: usize) -> Result<(), Mismatch> {
    let max_len = on.pool().max_len().min(MAX_LEN);
    for step in 0..ops {
        let op = Op::random(rng, max_len);
        op.apply(on)
            .map_err(|mismatch| Mismatch(format!("operation {step}, {op:?}: {mismatch}")))?;
    }
    on.check_all(20)
}

/// The same traffic with each single grant refused (and the `count - 1` after it); how many were refused.
fn refuse_each(allocator: Allocator, count: u64) -> u64 {
    let seed = Seed::for_test(0xfa17);
    let mut k = 0;
    loop {
        let plan = FaultPlan::new();
        let pool = pool(&plan, allocator);
        let mut on = Checked::new(&*pool, Depth::Stats);
        let mut rng = seed.rng(1);
        let before = plan.allocations();
        plan.fail(k, count);
        if let Err(mismatch) = traffic(&mut on, &mut rng, OPS) {
            panic!("{allocator:?}, grant {k} and {count} in all refused: {mismatch}");
        }
        let asked = plan.allocations() - before;
        plan.heal();
        let after = traffic(&mut on, &mut rng, OPS / 4).and_then(|()| {
            let stored = on.store(&vec![1; pool.max_len().min(5000)])?;
            assert!(stored.is_ok(), "nothing is refused any more: {stored:?}");
            on.free_all()?;
            on.validate()
        });
        if let Err(mismatch) = after {
            panic!("{allocator:?}, after grant {k} and {count} in all were refused: {mismatch}");
        }
        if asked <= k {
            return k;
        }
        k += 1;
    }
}

#[test]
fn each_single_refusal_is_harmless() {
    let nbuds = [FillPolicy::Auto, FillPolicy::Tight, FillPolicy::Append].map(nbud);
    let others = [Allocator::zbud(), xcfmalloc(2), xcfmalloc(8), zsmalloc(8), zsmalloc(1)];
    for allocator in nbuds.into_iter().chain(others) {
        let refused = refuse_each(allocator, 1);
        assert!(refused > 20, "{allocator:?}: the traffic asked for memory only {refused} times");
    }
}

#[test]
fn refusing_everything_from_some_moment_is_harmless() {
    let nbuds = [FillPolicy::Auto, FillPolicy::Tight].map(nbud);
    let others = [Allocator::zbud(), xcfmalloc(2), xcfmalloc(8), zsmalloc(8), zsmalloc(1)];
    for allocator in nbuds.into_iter().chain(others) {
        let refused = refuse_each(allocator, u64::MAX);
        assert!(refused > 20, "{allocator:?}: the traffic asked for memory only {refused} times");
    }
}
