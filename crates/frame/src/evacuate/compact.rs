//! Compaction: empties the sparsest pageblocks of a kind into the densest and gives them back to the system.
//!
//! Each step of the [plan](Plan) is checked again. Only a plan that freed a pageblock has a successor, so compaction
//! ends. It opens no pageblock. At the limit it gives free isolated frames back before it uses the reserve.

use std::{cell::Cell, cmp::Reverse, ops::Range};

use pagefold_sys::sync;

use super::isolated::{CachesOff, IsolatedRange};
use crate::{
    Arena, FRAME_BYTES, FrameCount, FrameOwner, FrameRange, Movable, OutOfFrames, PAGEBLOCK_FRAMES,
    ReserveAccess,
    buddy::{MOVABLE_KINDS, PageblockKind},
    plan::{CompactionProgress, Plan},
};

/// The result of [`Arena::compact`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameCompaction {
    /// Bytes moved.
    pub copied_bytes: u64,
    /// Pageblocks given back to the system.
    pub freed_pageblocks: u64,
    /// Locked runs that stayed.
    pub busy: u64,
    /// Another call may win more.
    pub more: bool,
}

impl Arena {
    /// Moves runs from the sparsest pageblocks into the densest, about `budget` bytes. Call again while
    /// [`more`](FrameCompaction::more).
    ///
    /// # Panics
    /// If a slab is another arena's.
    ///
    /// # Concurrency
    /// Blocks no other operation; skips locked runs.
    pub fn compact(&self, kinds: &[&dyn Movable], budget: usize) -> FrameCompaction {
        self.assert_own(kinds);
        let Some(mut progress) = self.evacuator.try_lock() else {
            // Gives the other thread time.
            sync::yield_now();
            return FrameCompaction { busy: 1, more: true, ..FrameCompaction::default() };
        };
        let _caches = CachesOff::new(self);
        self.compact_on(&mut progress, kinds, budget)
    }

    pub(super) fn compact_on(
        &self,
        progress: &mut CompactionProgress,
        kinds: &[&dyn Movable],
        budget: usize,
    ) -> FrameCompaction {
        let mut report = FrameCompaction::default();
        let first = progress.kind;
        while let Some(kind) = MOVABLE_KINDS.get(progress.kind) {
            let plan = &mut progress.plans[progress.kind];
            self.compact_kind(*kind, plan, kinds, budget, &mut report);
            if report.more {
                return report;
            }
            progress.kind += 1;
        }
        progress.kind = 0;
        // Earlier pageblocks may have changed.
        report.more = first > 0;
        report
    }

    fn compact_kind(
        &self,
        kind: PageblockKind,
        plan: &mut Plan,
        kinds: &[&dyn Movable],
        budget: usize,
        report: &mut FrameCompaction,
    ) {
        // A plan that frees none is the last.
        let (mut fresh, mut freed_by_plan) = (false, 0);
        loop {
            let Some(pageblock) = plan.source() else {
                if fresh && freed_by_plan == 0 {
                    *plan = Plan::default();
                    return;
                }
                (*plan, fresh, freed_by_plan) = (self.plan(kind), true, 0);
                continue;
            };
            let left =
                budget.saturating_sub(usize::try_from(report.copied_bytes).unwrap_or(budget));
            if left == 0 && report.copied_bytes > 0 {
                plan.step_back();
                report.more = true;
                return;
            }
            let freed = self.empty(kind, pageblock, plan, kinds, left, report);
            report.freed_pageblocks += u64::from(freed);
            freed_by_plan += u64::from(freed);
            if report.more {
                return;
            }
        }
    }

    fn plan(&self, kind: PageblockKind) -> Plan {
        let high_water_mark = self.buddy.lock().high_water_mark();
        let mut pageblocks = Vec::new();
        for pageblock in 0..high_water_mark {
            let usage = self.buddy.lock().usage(pageblock);
            if let Some(usage) = usage.filter(|usage| usage.kind == kind && usage.contiguous == 0) {
                pageblocks.push((usage.used, Reverse(pageblock)));
            }
        }
        Plan::new(pageblocks)
    }

    /// `true`: the pageblock went to the system.
    fn empty(
        &self,
        kind: PageblockKind,
        pageblock: u32,
        plan: &mut Plan,
        kinds: &[&dyn Movable],
        budget: usize,
        report: &mut FrameCompaction,
    ) -> bool {
        let range: Range<u32> = pageblock * PAGEBLOCK_FRAMES..(pageblock + 1) * PAGEBLOCK_FRAMES;
        let Some(isolated) = IsolatedRange::pageblock(self, &range, kind) else {
            plan.filled(0);
            return false;
        };
        let no_memory = Cell::new(false);
        let done = self.evacuate(&range, kinds, budget, &mut |frames, owner| {
            let mut take = |access| self.take_beyond(kind, plan, frames, owner, access, &no_memory);
            // Free frames go back before the reserve is used.
            take(ReserveAccess::Normal).or_else(|OutOfFrames| {
                if !no_memory.get() {
                    return Err(OutOfFrames);
                }
                if isolated.give_back()
                    && let Ok(location) = take(ReserveAccess::Normal)
                {
                    return Ok(location);
                }
                take(ReserveAccess::Reserve)
            })
        });
        report.copied_bytes += done.copied as u64;
        report.busy += done.busy;
        report.more |= done.stopped;
        if done.stopped {
            plan.step_back();
            return false;
        }
        plan.filled(u32::try_from(done.copied / FRAME_BYTES).unwrap_or(u32::MAX));
        // Then no other pageblock can be emptied either.
        if done.out_of_frames && no_memory.get() {
            plan.give_up();
        }
        let freed =
            isolated.is_all_free() && (isolated.free_touched().is_empty() || isolated.give_back());
        if freed {
            self.moves().pageblocks_freed.add();
        }
        freed
    }

    /// Uses the densest pageblock with room. `no_memory`: memory was missing, not a hole.
    fn take_beyond(
        &self,
        kind: PageblockKind,
        plan: &mut Plan,
        frames: FrameCount,
        owner: FrameOwner,
        access: ReserveAccess,
        no_memory: &Cell<bool>,
    ) -> Result<FrameRange, OutOfFrames> {
        no_memory.set(true);
        self.memory().injected_failure()?;
        let order = frames.order();
        while plan.ends[order as usize] > plan.next {
            let Reverse(pageblock) = plan.pageblocks[plan.ends[order as usize] - 1].1;
            let mut buddy = self.buddy.lock();
            let usage = buddy.usage(pageblock).filter(|usage| usage.kind == kind);
            if let Some(start) = usage.and_then(|_| buddy.take_in(pageblock, kind, order)) {
                let start = self.cut(&mut buddy, start, frames, access)?;
                drop(buddy);
                return Ok(self.hand_out(start, frames, owner));
            }
            plan.ends[order as usize] -= 1;
        }
        no_memory.set(false);
        Err(OutOfFrames)
    }
}
