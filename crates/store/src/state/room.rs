//! Makes room by compaction, eviction and trimming, in bounded pieces, without a lock between them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use pagefold_frame::FRAME_BYTES;
use pagefold_pool::{CompactReport, LimitError};

use super::{SpaceState, StoreState};
use crate::{
    config::SpaceKind,
    counters::Count,
    eviction::{EvictionOrder, Pages},
};

pub(crate) const COMPACT_BYTES: usize = 256 << 10;
/// Least bytes per eviction: a span's, to free whole frames.
const EVICT_BYTES: u64 = 16 << 10;
const FRUITLESS: u32 = 8;
/// One part in so many of the memory is worth a trim.
const IDLE_SHARE: usize = 16;
/// A training takes 0.1 to 0.25 s of its processor.
const TRAINING_WAIT: Duration = Duration::from_secs(1);
const TRAINING_PAUSE: Duration = Duration::from_millis(1);

/// What [`Store::shrink`](crate::Store::shrink) did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShrinkReport {
    /// Frames of 4 KiB returned, less those charged meanwhile.
    pub frames: u64,
    /// Pages and values of ephemeral spaces that it dropped.
    pub evicted: u64,
}

impl StoreState {
    pub(crate) fn make_room(&self, space: &SpaceState, bytes: u64, round: u32) -> bool {
        self.work.synchronous_steps.fetch_add(1, Ordering::Relaxed);
        self.wakeup.notify();
        let mut won = self.wait_for_spiller(space.kind);
        // Long objects need more than bytes: from the second round on, frames in a row.
        if won && round == 0 {
            return true;
        }
        // The first round only compacts, if that promises anything.
        if !won && (round > 0 || space.kind == SpaceKind::Ephemeral && !self.is_worth_compacting())
        {
            let wanted = (2 * bytes).max(EVICT_BYTES) << round.min(4);
            won |= self.evict_anywhere(wanted) > 0;
        }
        let report = self.compact(COMPACT_BYTES);
        won |= report.freed_frames > 0 || report.freed_pageblocks > 0 || report.more;
        if round >= 2 || !won {
            won |= self.release_indices() > 0;
            let trimmed = self.pool.trim();
            won |= trimmed.frame_bytes > 0 || trimmed.metadata_bytes > 0;
        }
        // The second round may drop pages.
        won || round == 0
    }

    /// As [`make_room`](Self::make_room), but drops nothing, so calls no listener.
    pub(crate) fn make_room_by_moving(&self) -> bool {
        self.work.synchronous_steps.fetch_add(1, Ordering::Relaxed);
        let before = self.memory.used();
        let report = self.compact(COMPACT_BYTES);
        self.trim();
        report.more || self.memory.used() < before
    }

    /// Waits until the trainings under way have given back what they took of the limit; whether there were any. Not inside
    /// an operation: the training may wait for what waits for that.
    pub(crate) fn wait_for_trainings(&self) -> bool {
        // A model has no time.
        if cfg!(loom) || !self.is_training() {
            return false;
        }
        let began = Instant::now();
        while self.is_training() && began.elapsed() < TRAINING_WAIT {
            thread::sleep(TRAINING_PAUSE);
        }
        true
    }

    fn is_training(&self) -> bool {
        self.learners().any(|learner| learner.training.is_in_turn())
    }

    fn is_worth_compacting(&self) -> bool {
        self.pool.stats().reclaimable_bytes > EVICT_BYTES
    }

    pub(crate) fn compact(&self, budget: usize) -> CompactReport {
        let report = self.pool.compact(budget);
        self.work.note_compaction(&report);
        report
    }

    /// Until `bytes` of objects are gone, or no page is left; returns the bytes dropped.
    pub(crate) fn evict_from(&self, space: &SpaceState, bytes: u64) -> u64 {
        let (mut gone, mut fruitless) = (0, 0);
        while gone < bytes {
            let key = match fruitless {
                0..FRUITLESS => self.ask_order(space),
                FRUITLESS => {
                    space.counters.add(Count::OrderFailures, 1);
                    tracing::warn!(space = space.name, "the eviction order finds no page to drop");
                    fruitless += 1;
                    continue;
                }
                _ => {
                    let Some(key) = space.fallback.next(&Pages::new(&space.index)) else { break };
                    Some(key)
                }
            };
            match key.map_or(0, |key| self.evict(space, key)) {
                // Mostly, an order that finds no page is right.
                0 if space.index.next_droppable(0).is_none() => break,
                0 if fruitless < FRUITLESS => fruitless += 1,
                0 => {}
                bytes => gone += bytes,
            }
        }
        gone
    }

    fn ask_order(&self, space: &SpaceState) -> Option<u64> {
        let pages = Pages::new(&space.index);
        let asked = catch_unwind(AssertUnwindSafe(|| space.order.next(&pages)));
        asked.unwrap_or_else(|_| {
            space.counters.add(Count::OrderFailures, 1);
            tracing::error!(space = space.name, "the eviction order panicked");
            None
        })
    }

    fn evict(&self, space: &SpaceState, key: u64) -> u64 {
        let word = space.index.load(key);
        if !word.entry().holds_memory() {
            return 0;
        }
        let Ok(taken) = space.index.take_out(key, word) else { return 0 };
        let bytes = taken.word.entry().counted_bytes();
        space.counters.add(Count::Evicted, 1);
        self.retire(space, taken);
        space.report_evicted(key);
        bytes
    }

    /// Frees `bytes` of objects: staged pages go through the codec, and only then pages are dropped, of all ephemeral
    /// spaces, largest first.
    pub(crate) fn evict_anywhere(&self, bytes: u64) -> u64 {
        let mut gone = self.unstage(bytes);
        for space in self.evictable() {
            if gone >= bytes {
                break;
            }
            gone += self.evict_from(&space, bytes - gone);
        }
        gone
    }

    fn evicted(&self) -> u64 {
        self.spaces().iter().map(|space| space.counters.sum(Count::Evicted)).sum()
    }

    pub(crate) fn release_indices(&self) -> usize {
        self.nodes.release()
    }

    pub(crate) fn trim(&self) {
        self.release_indices();
        self.pool.trim();
    }

    /// For one that makes room down to `goal` frames, step by step: trims if that reaches the goal, or returns enough to be worth its look at all
    /// tables.
    pub(crate) fn trim_towards(&self, goal: usize) {
        let used = self.memory.used();
        let idle = to_frames(self.pool.stats().idle_frame_bytes);
        if used.saturating_sub(idle) <= goal || idle > used / IDLE_SHARE {
            self.trim();
        }
    }

    /// Frees about `bytes`: free memory, then compaction, then eviction.
    pub(crate) fn shrink(&self, bytes: usize) -> ShrinkReport {
        let before = self.memory.used();
        let goal = before.saturating_sub(bytes.div_ceil(FRAME_BYTES));
        let evicted = self.evicted();
        self.trim();
        let mut more = true;
        while self.memory.used() > goal && more {
            let report = self.compact(COMPACT_BYTES);
            more = report.more;
            if !more {
                let missing = (self.memory.used().saturating_sub(goal)) * FRAME_BYTES;
                more = self.evict_anywhere((missing as u64).max(EVICT_BYTES)) > 0;
            }
            self.trim();
        }
        ShrinkReport {
            frames: before.saturating_sub(self.memory.used()) as u64,
            evicted: self.evicted().saturating_sub(evicted),
        }
    }

    pub(crate) fn set_limit(&self, bytes: usize) -> Result<(), LimitError> {
        // Puts must not fill what this thread empties.
        self.set_target(bytes / FRAME_BYTES);
        let outcome = self.lower_until(bytes);
        self.set_target(self.memory.limit());
        match &outcome {
            Ok(()) => tracing::info!(bytes, "the limit was changed"),
            Err(error) => tracing::debug!(bytes, %error, "the limit stays"),
        }
        outcome
    }

    fn lower_until(&self, bytes: usize) -> Result<(), LimitError> {
        loop {
            match self.pool.set_limit(bytes) {
                Err(LimitError::InUse { .. }) if self.wait_for_spiller(SpaceKind::Persistent) => {
                    self.trim_towards(bytes / FRAME_BYTES);
                }
                Err(LimitError::InUse { limit, resident }) => {
                    let before = self.memory.used();
                    self.trim();
                    let missing = resident.saturating_sub(bytes) as u64;
                    let gone = self.evict_anywhere(missing.max(EVICT_BYTES));
                    if gone == 0 && self.memory.used() >= before {
                        return Err(LimitError::InUse { limit, resident });
                    }
                }
                outcome => return outcome,
            }
        }
    }

    /// Whether another step may free more.
    pub(crate) fn shrink_step(&self) -> bool {
        if !self.is_above_low() {
            return false;
        }
        self.work.shrinker_steps.fetch_add(1, Ordering::Relaxed);
        let stats = self.pool.stats();
        if stats.reclaimable_bytes > EVICT_BYTES && self.compact(COMPACT_BYTES).more {
            return true;
        }
        // What a training takes comes back, and the spiller makes room without dropping.
        if self.is_training() || self.spills() {
            return false;
        }
        let low = self.low_bytes() as u64;
        let free = stats.idle_frame_bytes + stats.reclaimable_bytes;
        let above = (self.resident() as u64).saturating_sub(free + low);
        above > 0 && self.evict_anywhere(above.min(EVICT_BYTES * 4)) > 0
    }

    pub(crate) fn trim_idle(&self) {
        if self.pool.stats().idle_frame_bytes > 4 * EVICT_BYTES {
            self.trim();
        }
    }
}

fn to_frames(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX) / FRAME_BYTES
}
