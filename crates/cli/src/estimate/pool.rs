//! Builds the pools to measure, and sets their limits.

use std::hint::black_box;

use pagefold_pool::{Allocator, BuildError, Pool, PoolBuilder};
use pagefold_sys::heap::fallible;

use crate::estimate::config::{EstimateConfig, PAGE};

/// Metadata of a small pool.
const LIMIT_SLACK: usize = 64 << 20;

/// Address space for small allocations and thread stacks.
const SPARE_ADDRESSES: usize = 16 << 20;
const STACK_ADDRESSES: usize = 2 << 20;

pub(crate) fn pool_builder(config: &EstimateConfig, allocator: Allocator) -> PoolBuilder {
    PoolBuilder::new(match allocator {
        // The kernel's classes do not lend slots.
        Allocator::Zsmalloc(options) if config.like.is_some() => {
            options.class_lending(false).into()
        }
        allocator => allocator,
    })
}

/// A limit with room for every page even if none compresses.
pub(crate) fn limit_for(pages: usize) -> usize {
    let bytes = pages.saturating_mul(PAGE);
    bytes.saturating_add(bytes / 100 * 15).saturating_add(LIMIT_SLACK)
}

/// Builds a pool. Reserves address space for the threads first, because a pool takes more than it needs.
pub(crate) fn build_pool(
    config: &EstimateConfig,
    allocator: Allocator,
    limit: usize,
) -> Result<Box<dyn Pool>, BuildError> {
    let mut set_aside = Vec::<u8>::new();
    let spare =
        STACK_ADDRESSES.saturating_mul(config.threads.get()).saturating_add(SPARE_ADDRESSES);
    // Without even that much address space, the pool may still fit.
    let _ = fallible(|| set_aside.try_reserve_exact(spare));
    let pool = pool_builder(config, allocator).limit(limit).build();
    black_box(&set_aside);
    pool
}
