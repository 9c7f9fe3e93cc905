//! Compaction by pageblock: the sparsest of a kind are emptied into the densest, and go back to the system.
//!
//! It goes by a *plan*: the pageblocks of a kind in ascending order of use, sources from the front, destinations from
//! the back, until they meet. The plan is kept from call to call, so that a small budget does not pay for planning each
//! time; what it says of a pageblock is looked at again before that is emptied. A new plan is made only after one that
//! freed a pageblock, so compaction ends.
//!
//! It opens no pageblock for what it moves. At the limit it gives back what it captured before it goes into the
//! reserve, so that others find the reserve as it was but for one run.

use std::{cell::Cell, cmp::Reverse, ops::Range};

use pagefold_sys::sync;

use super::{CachesOff, IsolatedRange, KINDS};
use crate::{
    Arena, FrameCount, FrameOwner, FrameRange, Movable, OutOfFrames, PAGEBLOCK_FRAMES,
    ReserveAccess, buddy::Kind,
};

/// Orders of runs that a descriptor may own.
const ORDERS: usize = 7;

/// What one call of [`Arena::compact`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameCompaction {
    /// Bytes of runs that were moved.
    pub copied_bytes: u64,
    /// Pageblocks that became free by it and went back to the system.
    pub freed_pageblocks: u64,
    /// Runs that stayed because somebody held them.
    pub busy: u64,
    /// Whether another call may win more.
    pub more: bool,
}

/// The pageblocks of one kind in the order in which compaction goes through them.
#[derive(Debug, Default)]
struct Plan {
    /// Pageblocks with the frames used in them, in ascending order of these; sources from the front. Of equally used
    /// ones the lowest is the last: allocation fills low pageblocks first.
    pageblocks: Vec<(u32, Reverse<u32>)>,
    next: usize,
    /// By order: from here on there was no room for a run of it.
    ends: [usize; ORDERS],
    /// Frames free in the pageblocks from `next` on, as far as they can be filled.
    room: u32,
    /// The same beyond the last source, before anything was moved out of it; and what it was before that.
    room_beyond: u32,
    room_before: u32,
}

impl Plan {
    fn new(mut pageblocks: Vec<(u32, Reverse<u32>)>) -> Self {
        pageblocks.sort_unstable();
        let room = pageblocks.iter().map(|(used, _)| PAGEBLOCK_FRAMES - used).sum();
        let ends = [pageblocks.len(); ORDERS];
        Self { pageblocks, next: 0, ends, room, room_beyond: room, room_before: room }
    }

    /// The next pageblock to empty, if all of it fits the ones beyond.
    fn source(&mut self) -> Option<u32> {
        let &(used, Reverse(pageblock)) = self.pageblocks.get(self.next)?;
        let beyond = self.room.saturating_sub(PAGEBLOCK_FRAMES - used);
        (used <= beyond).then(|| {
            self.next += 1;
            (self.room_before, self.room_beyond) = (self.room, beyond);
            pageblock
        })
    }

    /// Notes how many frames of the last source really went to the ones beyond.
    fn filled(&mut self, frames: u32) {
        self.room = self.room_beyond.saturating_sub(frames);
    }

    /// Makes the last source the next one again.
    fn step_back(&mut self) {
        self.next -= 1;
        self.room = self.room_before;
    }

    /// No source is left.
    fn give_up(&mut self) {
        self.next = self.pageblocks.len();
    }
}

/// How compaction fares, from one call to the next.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    plans: [Plan; KINDS.len()],
    /// The kind that is next.
    kind: usize,
}

impl Arena {
    /// Moves runs of these kinds out of the sparsest pageblocks into the densest until about `budget` bytes were
    /// copied or no pageblock can be emptied; emptied ones go back to the system. Call it again while
    /// [`more`](FrameCompaction::more) says so.
    ///
    /// # Panics
    /// If one of the slabs is another arena's.
    ///
    /// # Concurrency
    /// Runs beside everything else. Runs that somebody holds are passed over.
    pub fn compact(&self, kinds: &[&dyn Movable], budget: usize) -> FrameCompaction {
        self.assert_own(kinds);
        let Some(mut progress) = self.evacuator.try_lock() else {
            // Whoever calls again until there is no more waits for the other this way.
            sync::yield_now();
            return FrameCompaction { busy: 1, more: true, ..FrameCompaction::default() };
        };
        let _caches = CachesOff::new(self);
        self.compact_on(&mut progress, kinds, budget)
    }

    pub(super) fn compact_on(
        &self,
        progress: &mut Progress,
        kinds: &[&dyn Movable],
        budget: usize,
    ) -> FrameCompaction {
        let mut report = FrameCompaction::default();
        let first = progress.kind;
        while let Some(kind) = KINDS.get(progress.kind) {
            let plan = &mut progress.plans[progress.kind];
            self.compact_kind(*kind, plan, kinds, budget, &mut report);
            if report.more {
                return report;
            }
            progress.kind += 1;
        }
        progress.kind = 0;
        // What an earlier call looked at may have changed since.
        report.more = first > 0;
        report
    }

    fn compact_kind(
        &self,
        kind: Kind,
        plan: &mut Plan,
        kinds: &[&dyn Movable],
        budget: usize,
        report: &mut FrameCompaction,
    ) {
        // What a plan frees may let the next one free more; one that frees nothing is the last.
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

    /// The pageblocks of a kind that may be emptied or filled.
    fn plan(&self, kind: Kind) -> Plan {
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

    /// Empties one pageblock into the ones beyond it in the plan. `true`: it is free and went to the system.
    fn empty(
        &self,
        kind: Kind,
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
            // The reserve is for everybody: what was captured goes back before it is used, and after.
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
        plan.filled(u32::try_from(done.copied / crate::FRAME_BYTES).unwrap_or(u32::MAX));
        // A run that fits no hole keeps its pageblock; without memory no other one can be emptied either.
        if done.out_of_frames && no_memory.get() {
            plan.give_up();
        }
        let freed = isolated.is_all_free() && (isolated.free().is_empty() || isolated.give_back());
        if freed {
            self.moves().pageblocks_freed.add();
        }
        freed
    }

    /// A run in the densest pageblock of the plan that has room. `no_memory` says whether a failure was for want of
    /// memory, and not of a hole.
    fn take_beyond(
        &self,
        kind: Kind,
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
