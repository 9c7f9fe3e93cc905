//! Counts of the work that makes room, since the store was built.

use std::sync::atomic::{AtomicU64, Ordering};

use pagefold_frame::{FRAME_BYTES, PAGEBLOCK_FRAMES};
use pagefold_pool::CompactReport;

use crate::stats::WorkStats;

#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) compactions: AtomicU64,
    pub(crate) moved_bytes: AtomicU64,
    pub(crate) freed_frames: AtomicU64,
    pub(crate) freed_pageblocks: AtomicU64,
    pub(crate) shrinker_steps: AtomicU64,
    pub(crate) synchronous_steps: AtomicU64,
    pub(crate) clamped_limits: AtomicU64,
    pub(crate) limit_source_failures: AtomicU64,
    pub(crate) shrinker_failures: AtomicU64,
}

// ORDERING (this file): Relaxed; statistics.
impl Work {
    pub(crate) fn note_compaction(&self, report: &CompactReport) {
        let add = |count: &AtomicU64, by| _ = count.fetch_add(by, Ordering::Relaxed);
        add(&self.compactions, 1);
        add(&self.moved_bytes, report.moved_bytes + report.migrated_bytes);
        add(&self.freed_frames, report.freed_frames);
        add(&self.freed_pageblocks, report.freed_pageblocks);
    }

    pub(crate) fn stats(&self) -> WorkStats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        WorkStats {
            compactions: load(&self.compactions),
            moved_bytes: load(&self.moved_bytes),
            freed_bytes: load(&self.freed_frames) * FRAME_BYTES as u64,
            freed_pageblock_bytes: load(&self.freed_pageblocks)
                * u64::from(PAGEBLOCK_FRAMES)
                * FRAME_BYTES as u64,
            shrinker_steps: load(&self.shrinker_steps),
            synchronous_steps: load(&self.synchronous_steps),
            clamped_limits: load(&self.clamped_limits),
            limit_source_failures: load(&self.limit_source_failures),
            shrinker_failures: load(&self.shrinker_failures),
            shrinker_runs: false,
        }
    }
}
