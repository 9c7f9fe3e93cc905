//! Pages that the region's own thread has to bring: a handler posts them, claims included.

use pagefold_sys::{
    faults::Access,
    sync::{AtomicU64, Ordering},
};

use crate::table::PageIndex;

const ENTRIES: usize = if cfg!(loom) { 1 } else { 64 };
const PRESENT: u64 = 1;
const WRITE: u64 = 2;

#[derive(Debug)]
pub(crate) struct Mailbox {
    entries: [AtomicU64; ENTRIES],
}

impl Mailbox {
    pub(crate) fn new() -> Self {
        Self { entries: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// False if there is no room. Async-signal-safe.
    pub(crate) fn post(&self, page: PageIndex, access: Access) -> bool {
        let write = if access == Access::Write { WRITE } else { 0 };
        let entry = page.key() << 2 | write | PRESENT;
        // ORDERING: Release; pairs with the Acquire in `take`: the claim goes with the entry.
        self.entries.iter().any(|slot| {
            slot.compare_exchange(0, entry, Ordering::Release, Ordering::Relaxed).is_ok()
        })
    }

    pub(crate) fn take(&self) -> Option<(PageIndex, Access)> {
        self.entries.iter().find_map(|slot| {
            // ORDERING: Relaxed; a look. Acquire; pairs with the Release in `post`.
            let present = slot.load(Ordering::Relaxed) != 0;
            let entry = if present { slot.swap(0, Ordering::Acquire) } else { 0 };
            let page = usize::try_from(entry >> 2).ok()?;
            let access = if entry & WRITE == 0 { Access::Read } else { Access::Write };
            (entry != 0).then_some((PageIndex(page), access))
        })
    }

    /// In the child of a fork, whose words say what became of the claims.
    pub(crate) fn clear(&self) {
        // ORDERING: Relaxed; the process has one thread.
        self.entries.iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
    }

    pub(crate) fn is_empty(&self) -> bool {
        // ORDERING: Relaxed; a look.
        self.entries.iter().all(|slot| slot.load(Ordering::Relaxed) == 0)
    }
}
