//! Retired handles come back: an index of the pool's handle table that has used up its generations is retired, and the store
//! lets the pool use it again at a moment without operations.
//!
//! Only index words and versions hold handles at such a moment. The epoch, which is a part of every version, rises before;
//! so no version from before matches a word with a handle that is used again. See `space/version.rs`.

use std::{sync::atomic::Ordering, time::Duration};

use super::StoreState;

/// The shrinker takes handles back when more than one in this many is retired.
pub(crate) const RETIRED_SHARE: u64 = 8;
/// How long that waits for operations that are under way.
const RECYCLE_WAIT: Duration = Duration::from_secs(1);

// ORDERING (this file): Relaxed where nothing else is said; `wants_handles` is a hint, tested again at the quiet moment.
impl StoreState {
    /// How often the store took retired handles back.
    pub(crate) fn epoch(&self) -> u64 {
        // ORDERING: Acquire; pairs with the Release in `recycle_handles`, so that no thread sees a word with a handle that is
        // used again together with the old epoch.
        self.epoch.load(Ordering::Acquire)
    }

    /// Notes that handles are to be taken back, if more than one in `share` of them is retired.
    pub(crate) fn look_at_handles(&self, share: u64) {
        let stats = self.pool.stats();
        if stats.retired_indices > stats.index_capacity / share {
            self.wants_handles.store(true, Ordering::Relaxed);
        }
    }

    /// Takes retired handles back if that is due, at a moment without operations. Returns whether this thread or another
    /// took any back since the epoch was `since`. Not to be called inside an operation.
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
