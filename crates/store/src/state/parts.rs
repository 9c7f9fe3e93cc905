//! The parts of a store that need room within the limit.

use std::sync::Arc;

use pagefold_frame::{Charge, FRAME_BYTES, MemoryBudget};
use pagefold_pool::{BuildError, Pool, PoolBuilder, PoolId};

use crate::{error::StoreBuildError, index::Nodes};

/// Left for the first page of each table, an index and a few pages.
const SPARE_FRAMES: usize = 32;
/// In the overwrite reserve, for growth of the pool's tables.
const OVERWRITE_SPARE_FRAMES: usize = 4;
const TRIES: usize = 64;

pub(crate) struct Parts {
    pub(crate) pool: Box<dyn Pool>,
    pub(crate) memory: Arc<MemoryBudget>,
    pub(crate) pool_id: PoolId,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) charge: Charge,
}

pub(crate) enum PartsError {
    /// The limit must be at least `min` bytes.
    TooSmall {
        min: usize,
    },
    Other(StoreBuildError),
}

impl Parts {
    pub(crate) fn build(
        pool: PoolBuilder,
        fixed: usize,
        has_ages: bool,
    ) -> Result<Self, PartsError> {
        let (pool, memory) = pool.build_with_account().map_err(|error| match error {
            BuildError::LimitTooSmall { min, .. } => PartsError::TooSmall { min },
            error => PartsError::Other(error.into()),
        })?;
        let too_small = |more: usize| {
            let frames = memory.used() + memory.reserve() + memory.overwrite_reserve();
            let frames = (frames + SPARE_FRAMES).saturating_add(more.div_ceil(FRAME_BYTES));
            PartsError::TooSmall { min: frames.saturating_mul(FRAME_BYTES) }
        };
        memory.set_overwrite_reserve(pool.max_len().div_ceil(FRAME_BYTES) + OVERWRITE_SPARE_FRAMES);
        // Charges the first page of each table.
        let first = pool.store(&[0]).map_err(|_| too_small(fixed))?;
        pool.free(first).expect("no other thread knows the handle");
        let stats = pool.stats();
        let nodes = [stats.max_limit_bytes, stats.limit_bytes, stats.limit_bytes / 8]
            .into_iter()
            .map(|bytes| {
                Nodes::new(&memory, usize::try_from(bytes).unwrap_or(usize::MAX), has_ages)
            })
            .reduce(Result::or)
            .expect("three sizes");
        let nodes = nodes.map_err(|error| PartsError::Other(BuildError::Source(error).into()))?;
        let charge = memory.charge_beside(fixed).map_err(|_| too_small(fixed))?;
        if memory.used() + SPARE_FRAMES > memory.normal_limit() {
            return Err(too_small(0));
        }
        Ok(Self { pool_id: pool.id(), pool, memory, nodes: Arc::new(nodes), charge })
    }
}

/// The least limit for a store of these settings, found by trying.
pub(crate) fn least_limit(
    settings: &dyn Fn(usize) -> PoolBuilder,
    fixed: usize,
    has_ages: bool,
) -> usize {
    let build = |limit| Parts::build(settings(limit), fixed, has_ages);
    let mut limit = FRAME_BYTES;
    for _ in 0..TRIES {
        match build(limit) {
            Err(PartsError::TooSmall { min }) => limit = min.max(limit.saturating_add(FRAME_BYTES)),
            // Other errors come when the limit is large enough.
            Ok(_) | Err(PartsError::Other(_)) => break,
        }
    }
    limit
}
