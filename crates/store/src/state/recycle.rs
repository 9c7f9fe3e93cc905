//! Reuses retired handles, without operations under way: then only index words and versions hold handles.
//!
//! The epoch rises before, so no older version matches.

use std::{sync::atomic::Ordering, time::Duration};

use super::StoreState;

/// Due when more than one in this many is retired.
pub(crate) const RETIRED_SHARE: u64 = 8;
const RECYCLE_WAIT: Duration = Duration::from_secs(1);

// ORDERING (this file): otherwise Relaxed; `wants_handles` is a hint, tested again while quiescent.
impl StoreState {
    pub(crate) fn epoch(&self) -> u64 {
        // ORDERING: Acquire; pairs with the Release in `recycle_handles`: no thread sees a word with a reused handle
        // and the old epoch.
        self.epoch.load(Ordering::Acquire)
    }

    pub(crate) fn look_at_handles(&self, share: u64) {
        let stats = self.pool.stats();
        if stats.retired_indices > stats.index_capacity / share {
            self.wants_handles.store(true, Ordering::Relaxed);
        }
    }

    /// Whether any thread recycled since epoch `since`. Not inside an operation.
    pub(crate) fn recycle_handles(&self, since: u64) -> bool {
        let is_due = || self.wants_handles.load(Ordering::Relaxed) && self.epoch() == since;
        if !is_due() {
            return self.epoch() != since;
        }
        let Some(_quiet) = self.operations.quiesce(RECYCLE_WAIT) else {
            return self.epoch() != since;
        };
        if !is_due() {
            return self.epoch() != since;
        }
        self.wants_handles.store(false, Ordering::Relaxed);
        // ORDERING: Release; pairs with the Acquire in `epoch`: see `space/version.rs`.
        self.epoch.fetch_add(1, Ordering::Release);
        let recycled = self.pool.recycle_retired();
        tracing::debug!(recycled, "handles were taken back");
        recycled > 0
    }
}
