//! The accept threshold. Without it, a full store pays for compaction with each page that it then refuses.
//!
//! It closes when a put ends in `Full` above the store's share of the limit. It opens again when one of these holds:
//! - persistent objects take less than that share of their former bytes;
//! - the store uses less than that share of the limit, which may be raised;
//! - an ephemeral space holds objects: these never keep a persistent page out.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Occupancy {
    pub(crate) persistent_bytes: u64,
    pub(crate) ephemeral_bytes: u64,
    pub(crate) is_above: bool,
}

#[derive(Debug)]
pub(crate) struct AcceptThreshold {
    percent: u8,
    /// 0 while open; otherwise 1 more than the persistent bytes below which it opens.
    opens_below: AtomicU64,
}

// ORDERING (this file): Relaxed; a put that reads an old value is refused, or finds the store full.
impl AcceptThreshold {
    pub(crate) fn new(percent: u8) -> Self {
        Self { percent, opens_below: AtomicU64::new(0) }
    }

    pub(crate) fn percent(&self) -> u8 {
        self.percent
    }

    pub(crate) fn is_open(&self) -> bool {
        self.opens_below.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn try_open(&self, occupancy: Occupancy) -> bool {
        let threshold = self.opens_below.load(Ordering::Relaxed);
        if threshold == 0 {
            return true;
        }
        let opens = occupancy.persistent_bytes < threshold
            || !occupancy.is_above
            || occupancy.ephemeral_bytes > 0;
        if opens {
            self.opens_below.store(0, Ordering::Relaxed);
            tracing::debug!("new pages are accepted again");
        }
        opens
    }

    pub(crate) fn close(&self, occupancy: Occupancy) {
        if self.percent < 100 && self.is_open() && occupancy.is_above {
            let threshold = occupancy.persistent_bytes / 100 * u64::from(self.percent) + 1;
            self.opens_below.store(threshold, Ordering::Relaxed);
            tracing::debug!("the store is full: no new pages until the accept threshold");
        }
    }
}
