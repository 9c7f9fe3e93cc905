//! Compaction, trimming, limits, migration, contiguous ranges.

use pagefold_frame::{ContiguousError, ContiguousRange, FRAME_BYTES, FrameMigrateError};
use pagefold_sys::sync::{AtomicBool, AtomicU64, Ordering};

use super::{deferred::drain_all, insert::make_room, packing::Packing};
use crate::{
    contract::{CompactReport, TrimReport},
    error::{LimitError, MigrateError},
    handle::Handle,
};

/// Bytes to move or to free, a step.
const LIMIT_STEP: usize = 1 << 20;

/// Whether objects or frames are compacted next.
#[derive(Debug, Default)]
pub(super) struct Turns {
    frames_next: AtomicBool,
    /// [`traffic`] when objects were done.
    objects_done: AtomicU64,
}

/// Changes when objects come or go.
fn traffic(packing: &impl Packing) -> u64 {
    let (objects, payload) = packing.base().counters.sums();
    objects.rotate_left(32) ^ payload
}

fn compact_objects(packing: &impl Packing, budget: usize, wanted: u64) -> CompactReport {
    drain_all(packing);
    packing.compact_objects(budget, wanted)
}

/// Compacts objects, then the frames under them. Objects wait until the frames are done, so that frames do not starve.
pub(super) fn compact(packing: &impl Packing, turns: &Turns, budget: usize) -> CompactReport {
    // `pagefold-frame` models frame moves.
    if cfg!(loom) {
        return compact_objects(packing, budget, u64::MAX);
    }
    let mut report = CompactReport::default();
    // ORDERING: Relaxed, here and below; the turn guards nothing.
    let began_with_frames = turns.frames_next.load(Ordering::Relaxed);
    if !began_with_frames {
        report = compact_objects(packing, budget, u64::MAX);
        if report.more {
            return report;
        }
        turns.frames_next.store(true, Ordering::Relaxed);
        turns.objects_done.store(traffic(packing), Ordering::Relaxed);
    }
    let left = budget.saturating_sub(usize::try_from(report.moved_bytes).unwrap_or(budget));
    // Even the smallest budget makes progress.
    if left == 0 && report.moved_bytes > 0 {
        report.more = true;
        return report;
    }
    let frames = packing.base().arena.compact(packing.movable().as_ref(), left);
    report.migrated_bytes += frames.copied_bytes;
    report.freed_pageblocks += frames.freed_pageblocks;
    report.busy += frames.busy;
    report.more |= frames.more;
    if !report.more {
        turns.frames_next.store(false, Ordering::Relaxed);
        // They may have changed since.
        let since = turns.objects_done.load(Ordering::Relaxed) != traffic(packing);
        report.more = began_with_frames && since;
    }
    report
}

pub(super) fn trim(packing: &impl Packing) -> TrimReport {
    drain_all(packing);
    packing.close();
    let handles = packing.base().handles.trim();
    let (frame_bytes, arena_tables) = packing.base().arena.trim();
    let metadata_bytes = handles + arena_tables + packing.trim_tables();
    TrimReport { frame_bytes: frame_bytes as u64, metadata_bytes: metadata_bytes as u64 }
}

/// Compacts and trims to fit the new limit.
pub(super) fn set_limit(
    packing: &impl Packing,
    min: usize,
    bytes: usize,
) -> Result<(), LimitError> {
    if bytes < min {
        return Err(LimitError::TooSmall { limit: bytes, min });
    }
    let max = packing.base().max_limit;
    if bytes > max {
        return Err(LimitError::TooLarge { limit: bytes, max });
    }
    let (memory, frames) = (&packing.base().memory, bytes / FRAME_BYTES);
    let mut more = true;
    while let Err(used) = memory.set_limit(frames) {
        if !more {
            return Err(LimitError::InUse { limit: bytes, resident: used * FRAME_BYTES });
        }
        // Before any move, and after the last.
        trim(packing);
        let over = memory.used().saturating_sub(frames);
        if over > 0 {
            let wanted = over.min(LIMIT_STEP / FRAME_BYTES) as u64;
            more = compact_objects(packing, LIMIT_STEP, wanted).more;
            trim(packing);
        }
    }
    Ok(())
}

pub(super) fn migrate(packing: &impl Packing, handle: Handle) -> Result<usize, MigrateError> {
    loop {
        let found = packing.base().find(handle)?;
        match packing.migrate(&found) {
            Ok(bytes) => return Ok(bytes),
            // Freed, moved or overwritten since.
            Err(FrameMigrateError::Gone) if !found.is_current() => {
                pagefold_sys::sync::yield_now();
            }
            Err(error) => return Err(MigrateError::from(error)),
        }
    }
}

/// Compacts and retries once.
pub(super) fn alloc_contiguous<'a>(
    packing: &'a impl Packing,
    frames: usize,
    align: usize,
) -> Result<ContiguousRange<'a>, ContiguousError> {
    make_room(packing);
    let arena = &packing.base().arena;
    match arena.alloc_contiguous(packing.movable().as_ref(), frames, align) {
        Err(ContiguousError::OutOfMemory { .. }) => {
            loop {
                let report = compact_objects(packing, usize::MAX, u64::MAX);
                // Another compactor makes the same room.
                if !report.more || report.moved_objects == 0 {
                    break;
                }
            }
            packing.base().arena.reclaim();
            arena.alloc_contiguous(packing.movable().as_ref(), frames, align)
        }
        answer => answer,
    }
}
