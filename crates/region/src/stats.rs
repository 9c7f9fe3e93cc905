//! Accounts of a region; serde writes JSON.

use pagefold_store::{PAGE_BYTES, StoreStats};
use serde::Serialize;

use crate::{
    core::Core,
    counters::{Count, FaultLatency},
    mode::FaultMode,
    table::PageIndex,
    word::State,
};

/// Pages by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct PageStates {
    /// Never touched, or discarded.
    pub untouched: u64,
    /// In memory only.
    pub resident: u64,
    /// Chosen to go, still in memory.
    pub limbo: u64,
    /// In memory, with the same content in the store.
    pub clean: u64,
    /// In the store.
    pub compressed: u64,
    /// Being changed.
    pub busy: u64,
}

/// Accounts of a region.
///
/// While threads work, figures come from different instants.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RegionStats {
    /// How faults are served.
    pub mode: FaultMode,
    /// Its size.
    pub bytes: u64,
    /// What may be in memory.
    pub resident_limit_bytes: u64,
    /// What is in memory, or is being placed; the store not counted.
    pub resident_bytes: u64,
    /// Of these, pinned; overlapping pins count each.
    pub pinned_bytes: u64,
    /// Of these, pages whose key the store has too, with the same content or an older one.
    pub kept_bytes: u64,
    /// The words of pages.
    pub table_bytes: u64,
    /// Pages by state.
    pub pages: PageStates,
    /// Faults by what served them.
    pub faults: Vec<FaultLatency>,
    /// Pages brought along.
    pub neighbours: u64,
    /// Faults that waited for a page to leave.
    pub credit_waits: u64,
    /// Pages chosen to go.
    pub chosen: u64,
    /// Pages compressed.
    pub compressed: u64,
    /// Pages that nothing had written since they came back, found by comparison: they were not compressed again. In guard mode only, where
    /// nothing tells writes.
    pub unchanged: u64,
    /// Pages that left memory.
    pub dropped: u64,
    /// Of these, clean ones, which were not compressed again.
    pub dropped_clean: u64,
    /// Pages that the system kept in memory, and pages that a call from outside had taken.
    pub refused: u64,
    /// Puts that found the store full.
    pub store_full: u64,
    /// The store.
    pub store: StoreStats,
}

impl RegionStats {
    pub(crate) fn of(core: &Core, bytes: usize, mode: FaultMode) -> Self {
        let mut pages = PageStates::default();
        for page in (0..core.table.len()).map(PageIndex) {
            let count = match core.table.load(page).state() {
                State::Untouched => &mut pages.untouched,
                State::Resident => &mut pages.resident,
                State::Limbo => &mut pages.limbo,
                State::Clean => &mut pages.clean,
                State::Compressed => &mut pages.compressed,
                State::Busy => &mut pages.busy,
            };
            *count += 1;
        }
        let of_pages = |pages: usize| (pages * PAGE_BYTES) as u64;
        // ORDERING: Relaxed; a count.
        let pinned = core.pinned.load(pagefold_sys::sync::Ordering::Relaxed);
        let sum = |count| core.counters.sum(count);
        Self {
            mode,
            bytes: bytes as u64,
            resident_limit_bytes: of_pages(core.credits.limit()),
            resident_bytes: of_pages(core.credits.used()),
            pinned_bytes: of_pages(pinned),
            kept_bytes: of_pages(core.kept()),
            table_bytes: core.table.bytes() as u64,
            pages,
            faults: core.counters.latencies(),
            neighbours: sum(Count::Neighbours),
            credit_waits: sum(Count::CreditWaits),
            chosen: sum(Count::Chosen),
            compressed: sum(Count::Compressed),
            unchanged: sum(Count::Unchanged),
            dropped: sum(Count::Dropped),
            dropped_clean: sum(Count::DroppedClean),
            refused: sum(Count::Refused),
            store_full: sum(Count::StoreFull),
            store: core.store.stats(),
        }
    }
}
