//! A shard's few runs of frames at hand, so that most allocations take only their own shard's lock.
//!
//! Cached runs are charged (they may be resident) and have no owner. When memory is short the arena drains all caches before an
//! allocation fails.

use crate::FrameNo;

/// Orders that are cached: single frames up to the longest span.
pub(crate) const CACHED_ORDERS: u32 = 5;
const ORDERS: usize = CACHED_ORDERS as usize;
/// Runs of each order: 32 KiB of single frames, and no more than 64 KiB of any.
const CAPACITY: [usize; ORDERS] = if cfg!(loom) { [0; 5] } else { [8, 4, 4, 2, 1] };
const SLOTS: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    runs: [[u32; SLOTS]; ORDERS],
    lens: [usize; ORDERS],
}

impl Cache {
    pub(crate) fn pop(&mut self, order: u32) -> Option<FrameNo> {
        let order = order as usize;
        let len = self.lens.get_mut(order)?;
        *len = len.checked_sub(1)?;
        Some(FrameNo(self.runs[order][*len]))
    }

    /// Keeps a run, or says that there is no room for it.
    pub(crate) fn push(&mut self, start: FrameNo, order: u32) -> bool {
        let order = order as usize;
        if order >= ORDERS || self.lens[order] == CAPACITY[order] {
            return false;
        }
        self.runs[order][self.lens[order]] = start.0;
        self.lens[order] += 1;
        true
    }

    /// Frames in the cache.
    pub(crate) fn frames(&self) -> u64 {
        (0_u64..).zip(&self.lens).map(|(order, len)| (*len as u64) << order).sum()
    }
}
