//! Contiguous allocation: evacuates and hands out the aligned range that needs the fewest moves.
//!
//! A range starts at a multiple of its length rounded up to a power of two; one beyond a pageblock starts with a
//! pageblock. After a late blocker, moved runs stay.

use std::ops::Range;

use pagefold_sys::sync::{self, Ordering};

use super::{
    candidates::{CANDIDATES, Candidate},
    error::ContiguousError,
    isolated::{CachesOff, IsolatedRange},
    pass::Evacuation,
    range::ContiguousRange,
};
use crate::{
    Arena, Blocker, Busy, FRAME_BYTES, FrameNo, Mobility, Movable, OutOfFrames, ReserveAccess,
    buddy::PageblockKind, owner::CONTIGUOUS, units::by_pageblock,
};

/// Passes over a range, while guards drop.
const ROUNDS: usize = if cfg!(loom) { 2 } else { 64 };
/// Failed evacuations of one allocation.
const ATTEMPTS: usize = 8;

impl Arena {
    /// Allocates `frames` neighbours at a multiple of `align` frames. Without room for moves, compacts and retries.
    ///
    /// # Errors
    /// [`ContiguousError`]; contents and accounts are unchanged, but runs may have moved and table pages be in use.
    ///
    /// # Panics
    /// If a slab is another arena's.
    ///
    /// # Concurrency
    /// Waits for another evacuation, but only briefly for locks: then a locked run is a blocker.
    pub fn alloc_contiguous(
        &self,
        kinds: &[&dyn Movable],
        frames: usize,
        align: usize,
    ) -> Result<ContiguousRange<'_>, ContiguousError> {
        self.assert_own(kinds);
        let range = self.try_alloc_contiguous(kinds, frames, align);
        match &range {
            Ok(_) => self.moves().contiguous_allocs.add(),
            Err(_) => self.moves().contiguous_failures.add(),
        }
        range
    }

    fn try_alloc_contiguous(
        &self,
        kinds: &[&dyn Movable],
        frames: usize,
        align: usize,
    ) -> Result<ContiguousRange<'_>, ContiguousError> {
        let capacity = self.reservation.bytes() / FRAME_BYTES;
        if frames == 0 {
            return Err(ContiguousError::NoFrames);
        }
        if !align.is_power_of_two() {
            return Err(ContiguousError::Misaligned { align });
        }
        let Some(count) = u32::try_from(frames).ok().filter(|_| frames <= capacity) else {
            return Err(ContiguousError::TooLarge { frames, align, capacity });
        };
        let idle = self.stats().idle;
        let most = self.memory().normal_limit();
        if self.memory().used() + frames > most + idle {
            return Err(ContiguousError::OutOfMemory { frames, limit: self.memory().limit() });
        }
        let mut progress = self.evacuator.lock();
        let _caches = CachesOff::new(self);
        match self.alloc_cheapest(kinds, count, align) {
            Err(ContiguousError::OutOfMemory { .. }) => {}
            answer => return answer,
        }
        // Entirely free pageblocks fit every kind.
        self.compact_on(&mut progress, kinds, usize::MAX);
        self.alloc_cheapest(kinds, count, align)
    }

    fn alloc_cheapest(
        &self,
        kinds: &[&dyn Movable],
        frames: u32,
        align: usize,
    ) -> Result<ContiguousRange<'_>, ContiguousError> {
        let mut candidates = self.candidates(frames, align);
        candidates.sort_by_key(Candidate::key);
        candidates.truncate(CANDIDATES);
        let range_of = |candidate: &Candidate| candidate.start..candidate.start + frames;
        let mut attempts = 0;
        for candidate in &candidates {
            if attempts == ATTEMPTS {
                break;
            }
            // The first pass never waits.
            if candidate.cost.is_none() || !self.busy_in(kinds, &range_of(candidate)).is_empty() {
                continue;
            }
            attempts += 1;
            match self.alloc_range(kinds, range_of(candidate)) {
                Err(ContiguousError::Blocked { .. }) => {}
                answer => return answer,
            }
        }
        match candidates.first() {
            Some(cheapest) => self.alloc_range(kinds, range_of(cheapest)),
            None => Err(ContiguousError::TooLarge {
                frames: frames as usize,
                align,
                capacity: self.reservation.bytes() / FRAME_BYTES,
            }),
        }
    }

    fn alloc_range(
        &self,
        kinds: &[&dyn Movable],
        range: Range<u32>,
    ) -> Result<ContiguousRange<'_>, ContiguousError> {
        let frames = range.len();
        let out_of_memory =
            |OutOfFrames| ContiguousError::OutOfMemory { frames, limit: self.memory().limit() };
        let blocked = |blockers| ContiguousError::Blocked { frames, blockers };
        self.await_unlocked(kinds, &range).map_err(blocked)?;
        let Some(isolated) = IsolatedRange::range(self, &range).map_err(out_of_memory)? else {
            return Err(blocked(self.obstacles(&range)));
        };
        let mut last = Vec::new();
        for _ in 0..ROUNDS {
            let done = self.evacuate(&range, kinds, usize::MAX, &mut |frames, owner| {
                self.alloc(frames, Mobility::Movable, ReserveAccess::Normal, owner)
            });
            if done.out_of_frames {
                return Err(out_of_memory(OutOfFrames));
            }
            if isolated.is_all_free() {
                return self.take(isolated).map_err(out_of_memory);
            }
            last = done.blockers;
            sync::yield_now();
        }
        if last.is_empty() {
            last = self.obstacles(&range);
        }
        Err(blocked(last))
    }

    /// Charges, owns and zeroes the range.
    fn take(&self, isolated: IsolatedRange<'_>) -> Result<ContiguousRange<'_>, OutOfFrames> {
        let range = isolated.range.clone();
        // Used frames stay charged, and are zeroed here if not by the system.
        let used = isolated.free_touched();
        let is_zero = isolated.decommit(&used);
        self.charge_and_take(&range).or_else(|OutOfFrames| {
            self.give_back_free();
            self.charge_and_take(&range)
        })?;
        // `charge_and_take` ended the isolation.
        std::mem::forget(isolated);
        self.set_owner(range.clone(), CONTIGUOUS);
        // ORDERING: Relaxed; a statistic.
        self.contiguous.fetch_add(range.len(), Ordering::Relaxed);
        for (start, frames) in used.into_iter().filter(|_| !is_zero) {
            let base = self.reservation.at(start.byte_offset());
            // SAFETY: committed memory of frames just taken.
            unsafe { base.write_bytes(0, frames as usize * FRAME_BYTES) };
        }
        let frames = u32::try_from(range.len()).expect("a range of 32-bit frame numbers");
        Ok(ContiguousRange { arena: self, start: FrameNo(range.start), frames })
    }

    /// An error changes nothing.
    fn charge_and_take(&self, range: &Range<u32>) -> Result<(), OutOfFrames> {
        // One lock: a thread may give isolated free frames back.
        let mut buddy = self.buddy.lock();
        let untouched = range.len() - buddy.touched_in(range) as usize;
        self.charge(untouched, ReserveAccess::Normal)?;
        buddy.take_isolated(range);
        Ok(())
    }

    /// Waits briefly for locks; blockers are known before any move.
    fn await_unlocked(
        &self,
        kinds: &[&dyn Movable],
        range: &Range<u32>,
    ) -> Result<(), Vec<Blocker>> {
        let mut blockers = Vec::new();
        for _ in 0..ROUNDS {
            blockers = self.busy_in(kinds, range);
            let lasting =
                |blocker: &Blocker| matches!(blocker.busy, Busy::Pinned | Busy::Contiguous);
            if blockers.is_empty() {
                return Ok(());
            }
            if blockers.iter().any(lasting) {
                break;
            }
            sync::yield_now();
        }
        Err(blockers)
    }

    /// Obstacles of whole pageblocks.
    fn obstacles(&self, range: &Range<u32>) -> Vec<Blocker> {
        let mut found = Evacuation::default();
        let high_water_mark = self.buddy.lock().high_water_mark();
        for part in by_pageblock(range).filter(|part| part.pageblock < high_water_mark) {
            let usage = self.buddy.lock().usage(part.pageblock);
            let busy = match usage.map(|usage| usage.kind) {
                Some(PageblockKind::PinnedSingle | PageblockKind::PinnedRun) => Busy::Pinned,
                _ => Busy::InTransit,
            };
            found.note(part.start().0, self.owner(part.start()), busy);
        }
        found.blockers
    }
}
