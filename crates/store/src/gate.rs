//! The accept threshold: a persistent space that was full takes new pages again only when enough has gone.
//!
//! Without it a store at its limit pays for compaction with each page that it then refuses. The gate closes when a put
//! ended in `Full` and the account is above the threshold. It opens when the bytes of persistent objects fell below that
//! share of what they were, when the account fell below that share of the limit, or when an ephemeral space has a page
//! to drop: the first is seen at once, while holes are still frames; the second follows a raised limit; and an ephemeral
//! page never keeps a persistent one out.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{inner::Inner, space::SpaceKind};

/// See the module.
#[derive(Debug)]
pub(crate) struct AcceptGate {
    percent: u8,
    /// 0 while open; otherwise the bytes of persistent objects below which it opens, plus 1.
    opens_below: AtomicU64,
}

// ORDERING (this file): Relaxed; a put that sees the gate a moment late is refused, or let in to find the store full.
impl AcceptGate {
    pub(crate) fn new(percent: u8) -> Self {
        Self { percent, opens_below: AtomicU64::new(0) }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.opens_below.load(Ordering::Relaxed) == 0
    }

    /// Whether a new page may come in.
    pub(crate) fn lets_in(&self, inner: &Inner) -> bool {
        let threshold = self.opens_below.load(Ordering::Relaxed);
        if threshold == 0 {
            return true;
        }
        let opens = inner.objects_bytes(SpaceKind::Persistent) < threshold
            || !self.is_above(inner)
            || inner.objects_bytes(SpaceKind::Ephemeral) > 0;
        if opens {
            self.opens_below.store(0, Ordering::Relaxed);
            tracing::debug!("room can be made: new pages are taken again");
        }
        opens
    }

    fn is_above(&self, inner: &Inner) -> bool {
        inner.memory.used() > inner.share(self.percent)
    }

    /// Notes that the store is full.
    pub(crate) fn close(&self, inner: &Inner) {
        if self.percent < 100 && self.is_open() && self.is_above(inner) {
            let threshold =
                inner.objects_bytes(SpaceKind::Persistent) / 100 * u64::from(self.percent) + 1;
            self.opens_below.store(threshold, Ordering::Relaxed);
            tracing::debug!(limit = inner.limit(), "full: no new pages until the accept threshold");
        }
    }
}
