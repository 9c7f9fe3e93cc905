//! A shard's cache of a few runs: charged, without owner. Most allocations take only their shard's lock.

use crate::FrameNo;

/// Cached orders: up to the longest span.
pub(crate) const CACHED_ORDERS: u32 = 5;
const ORDERS: usize = CACHED_ORDERS as usize;
/// Runs of each order: 32 KiB of single frames, at most 64 KiB of any.
const CAPACITY: [usize; ORDERS] = if cfg!(loom) { [0; 5] } else { [8, 4, 4, 2, 1] };
const SLOTS: usize = 8;

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

    /// `false`: no room.
    pub(crate) fn push(&mut self, start: FrameNo, order: u32) -> bool {
        let order = order as usize;
        if order >= ORDERS || self.lens[order] == CAPACITY[order] {
            return false;
        }
        self.runs[order][self.lens[order]] = start.0;
        self.lens[order] += 1;
        true
    }

    pub(crate) fn frames(&self) -> u64 {
        (0_u64..).zip(&self.lens).map(|(order, len)| (*len as u64) << order).sum()
    }
}
