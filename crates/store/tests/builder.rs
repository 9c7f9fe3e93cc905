//! The order of the calls on a builder does not matter.
#![cfg(not(loom))]

use std::sync::Arc;

use pagefold_frame::HeapSource;
use pagefold_pool::{NbudOptions, PoolBuilder};
use pagefold_store::{Store, StoreBuilder};
use pagefold_testkit::faulty::{FaultPlan, FaultySource};

const LIMIT: usize = 8 << 20;
const MAX_LIMIT: usize = 24 << 20;

/// All orders of the numbers below `count`.
fn orders(count: usize) -> Vec<Vec<usize>> {
    (0..count).fold(vec![vec![]], |orders, next| {
        let with_next = |order: &Vec<usize>| {
            let order = order.clone();
            (0..=order.len()).map(move |at| [&order[..at], &[next], &order[at..]].concat())
        };
        orders.iter().flat_map(with_next).collect()
    })
}

fn source(plan: &Arc<FaultPlan>) -> Box<FaultySource> {
    Box::new(FaultySource::new(Box::new(HeapSource::new()), Arc::clone(plan)))
}

#[test]
fn a_store_is_what_all_calls_say_in_any_order() {
    for order in orders(4) {
        let plan = FaultPlan::new();
        let call = |builder: StoreBuilder, number| match number {
            0 => builder.allocator(NbudOptions::new().span_frames(1)),
            1 => builder.source(source(&plan)),
            2 => builder.limit(LIMIT),
            _ => builder.max_limit(MAX_LIMIT),
        };
        let builder = order.iter().copied().fold(Store::builder().shrinker(false), call);
        let store = builder.build().expect("enough for a store");
        assert!(plan.allocations() > 0, "{order:?}: the source");
        assert_eq!((store.limit(), store.max_limit()), (LIMIT, MAX_LIMIT), "{order:?}");
    }
}

#[test]
fn a_pool_is_what_all_calls_say_in_any_order() {
    for order in orders(3) {
        let plan = FaultPlan::new();
        let call = |builder: PoolBuilder, number| match number {
            0 => builder.source(source(&plan)),
            1 => builder.limit(LIMIT),
            _ => builder.max_limit(MAX_LIMIT),
        };
        let builder = PoolBuilder::new(NbudOptions::new().span_frames(1));
        let pool = order.iter().copied().fold(builder, call).build().expect("enough for a pool");
        pool.store(&[1; 100]).expect("room");
        assert!(plan.allocations() > 0, "{order:?}: the source");
        let stats = pool.stats();
        let limits = (stats.limit_bytes, stats.max_limit_bytes);
        assert_eq!(limits, (LIMIT as u64, MAX_LIMIT as u64), "{order:?}");
    }
}
