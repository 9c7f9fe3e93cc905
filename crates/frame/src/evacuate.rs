//! Evacuation: frames are moved out of a range, so that the whole of it becomes free.
//!
//! ```text
//!  hold the range      free frames of it off the lists; what becomes free stays off: it only gets emptier
//!  move what is there  frame -> owner word -> descriptor -> isolate, migrate, put back (`migrate`)
//!  all captured?       compaction: the pageblock goes back to the system      a claim: the range is the caller's
//!  otherwise           the hold ends; what was captured is free again
//! ```
//! Two users. *Compaction* empties the sparsest pageblocks of a kind into the densest: sources in ascending order of
//! use, destinations in descending order, until they meet. It takes no pageblock for it, and gives back what it
//! captured as soon as the limit is short. *A claim* empties the aligned range that costs the fewest moves.
//!
//! One thread at a time evacuates; a call of [`Arena::compact`] ends at once if another does, a claim waits for it.
//! Descriptors may be read, written and freed meanwhile, and moved by others: who holds one keeps it where it is.
//!
//! An owner word is a hint. The descriptor that it names is isolated, and then moved only if the frame is its own; what
//! changed hands in between is met in the next round.

use std::{fmt, ops::Range};

use pagefold_sys::sync::{self, Ordering};
use thiserror::Error;

use crate::{
    Arena, Busy, Claim, DescriptorId, FRAME_BYTES, FrameCount, FrameNo, Location, Mobility,
    Movable, OutOfFrames, Owner, PAGEBLOCK_FRAMES, Stay,
    arena::{CLAIMED, PAGEBLOCK_BYTES},
    buddy::Kind,
};

/// Rounds through a range, between which others may let go of what is in the way.
const ROUNDS: usize = if cfg!(loom) { 2 } else { 64 };
/// Ranges that a claim tries, the cheapest first.
const CANDIDATES: usize = 8;
/// Blockers that an error names.
const BLOCKERS_MAX: usize = 16;
/// Orders of runs that a descriptor may own.
const ORDERS: usize = 7;
/// The kinds of pageblocks that compaction empties.
const KINDS: [Kind; 2] = [Kind::MovableRun, Kind::MovableSingle];

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

/// Something that kept a frame where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocker {
    /// The frame.
    pub frame: FrameNo,
    /// Who owns it, if a descriptor does.
    pub owner: Option<Owner>,
    /// What was in the way.
    pub busy: Busy,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame {}", self.frame.get())?;
        if let Some(owner) = self.owner {
            write!(f, " (descriptor {})", owner.id.get())?;
        }
        write!(f, ": {}", self.busy)
    }
}

/// Why a range was not claimed. Accounts and contents are as before, though some runs may lie elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClaimError {
    /// A range has at least one frame.
    #[error("a claim of 0 frames is not possible")]
    NoFrames,
    /// Alignments are powers of two.
    #[error("an alignment of {align} frames is not possible; it must be a power of two")]
    Misaligned {
        /// The alignment asked for, in frames.
        align: usize,
    },
    /// More frames than there will ever be, or an alignment that no range of that length has.
    #[error("{frames} frames aligned to {align} do not fit an arena of {capacity} frames")]
    TooLarge {
        /// Frames asked for.
        frames: usize,
        /// The alignment asked for, in frames.
        align: usize,
        /// Frames of the arena.
        capacity: usize,
    },
    /// The limit does not hold the range beside what is stored.
    #[error(
        "the limit of {limit} frames does not hold {frames} claimed frames beside what is stored; free objects or raise it"
    )]
    OutOfMemory {
        /// Frames asked for.
        frames: usize,
        /// The limit in force, in frames.
        limit: usize,
    },
    /// Every range that was tried has something in it that does not move.
    #[error("no range of {frames} frames could be evacuated; in the way were {}", named(.blockers))]
    Blocked {
        /// Frames asked for.
        frames: usize,
        /// What was in the way in the range that would have cost least; the first of them.
        blockers: Vec<Blocker>,
    },
    /// This pool has no frames that could be claimed.
    #[error("this pool has no frames to claim")]
    Unsupported,
}

fn named(blockers: &[Blocker]) -> String {
    let names: Vec<_> = blockers.iter().take(BLOCKERS_MAX).map(Blocker::to_string).collect();
    names.join("; ")
}

/// Frames that are neighbours, owned by whoever holds this; dropping it frees them.
///
/// They count against the limit of their arena.
#[derive(Debug)]
pub struct ClaimedRange<'a> {
    arena: &'a Arena,
    start: FrameNo,
    frames: u32,
}

impl ClaimedRange<'_> {
    /// The first frame.
    pub fn start(&self) -> FrameNo {
        self.start
    }

    /// How many frames.
    pub fn frames(&self) -> usize {
        self.frames as usize
    }

    /// The bytes of the frames; zero, until they are written.
    pub fn as_slice(&self) -> &[u8] {
        let base = self.arena.reservation.at(self.start.byte_offset());
        // SAFETY: committed memory that was taken out of the allocator's hands for this range, initialised, and
        // written only through `&mut self`.
        unsafe { std::slice::from_raw_parts(base.as_ptr(), self.frames() * FRAME_BYTES) }
    }

    /// The bytes of the frames, to be written.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let base = self.arena.reservation.at(self.start.byte_offset());
        // SAFETY: as in `as_slice`, and `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(base.as_ptr(), self.frames() * FRAME_BYTES) }
    }

    fn range(&self) -> Range<u32> {
        self.start.0..self.start.0 + self.frames
    }
}

impl Drop for ClaimedRange<'_> {
    fn drop(&mut self) {
        let range = self.range();
        self.arena.set_owner(range.clone(), 0);
        // ORDERING: Relaxed; a statistic.
        self.arena.claimed.fetch_sub(self.frames(), Ordering::Relaxed);
        self.arena.buddy.lock().unclaim(&range);
        self.arena.give_back_wholes();
    }
}

/// The pageblocks of one kind in the order in which compaction goes through them.
#[derive(Debug, Default)]
struct Plan {
    /// Pageblocks with the frames used in them, in ascending order of these; sources from the front.
    pageblocks: Vec<(u32, u32)>,
    next: usize,
    /// By order: from here on there was no room for a run of it.
    ends: [usize; ORDERS],
    /// Frames free in the pageblocks beyond `next`, as far as they can be filled; and before the last source was taken.
    room: u32,
    room_before: u32,
}

impl Plan {
    fn new(mut pageblocks: Vec<(u32, u32)>) -> Self {
        pageblocks.sort_unstable();
        let room = pageblocks.iter().map(|(used, _)| PAGEBLOCK_FRAMES - used).sum();
        let ends = [pageblocks.len(); ORDERS];
        Self { pageblocks, next: 0, ends, room, room_before: room }
    }

    /// The next pageblock to empty, if all of it fits the ones beyond.
    fn source(&mut self) -> Option<u32> {
        let &(used, pageblock) = self.pageblocks.get(self.next)?;
        let beyond = self.room.saturating_sub(PAGEBLOCK_FRAMES - used);
        (used <= beyond).then(|| {
            self.next += 1;
            (self.room_before, self.room) = (self.room, beyond - used);
            pageblock
        })
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
}

/// What became of the runs of a range.
#[derive(Debug, Default)]
struct Evacuation {
    copied: usize,
    blockers: Vec<Blocker>,
    busy: u64,
    out_of_frames: bool,
    /// The budget was used up.
    stopped: bool,
}

impl Evacuation {
    fn note(&mut self, frame: u32, owner: Option<Owner>, busy: Busy) {
        self.busy += 1;
        if self.blockers.len() < BLOCKERS_MAX {
            self.blockers.push(Blocker { frame: FrameNo(frame), owner, busy });
        }
    }
}

/// Leaves the caches out as long as it lives.
struct CachesOff<'a>(&'a Arena);

impl<'a> CachesOff<'a> {
    fn new(arena: &'a Arena) -> Self {
        // ORDERING: Relaxed; whoever does not see it yet fills a cache that is drained in the next round.
        arena.evacuating.fetch_add(1, Ordering::Relaxed);
        arena.drain_caches();
        Self(arena)
    }
}

impl Drop for CachesOff<'_> {
    fn drop(&mut self) {
        // ORDERING: Relaxed; as above.
        self.0.evacuating.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Holds a range of frames as long as it lives; see `Buddy::hold`.
struct Held<'a> {
    arena: &'a Arena,
    range: Range<u32>,
}

impl<'a> Held<'a> {
    fn new(arena: &'a Arena, range: Range<u32>) -> Option<Self> {
        let held = arena.buddy.lock().hold(&range);
        held.then(|| Self { arena, range })
    }

    fn is_captured(&self) -> bool {
        self.arena.buddy.lock().is_captured(&self.range)
    }

    /// The captured frames that may be resident, in runs.
    fn captured(&self) -> Vec<(FrameNo, u32)> {
        self.arena.buddy.lock().captured_touched(&self.range)
    }

    /// Gives captured frames to the system. `true`: they went, and read as zero.
    fn decommit(&self, captured: &[(FrameNo, u32)]) -> bool {
        let bytes = |&(start, frames): &(FrameNo, u32)| {
            start.byte_offset()..start.byte_offset() + frames as usize * FRAME_BYTES
        };
        let ranges: Vec<_> = captured.iter().map(bytes).collect();
        let source = self.arena.memory().source();
        // SAFETY: captured frames are nobody's: no descriptor owns them, they are on no list, and only whoever holds
        // the range hands them on, which is this call's thread. (I-HELD)
        unsafe { source.decommit(&self.arena.reservation, &ranges) }.is_ok()
    }

    /// Gives the captured frames to the system, with their charge, and goes on holding them. `false`: nothing went.
    fn give_back(&self) -> bool {
        let captured = self.captured();
        if captured.is_empty() || !self.decommit(&captured) {
            return false;
        }
        let mut buddy = self.arena.buddy.lock();
        let gone: u32 = captured.iter().map(|&(start, frames)| buddy.untouch(start, frames)).sum();
        drop(buddy);
        self.arena.uncharge(gone as usize);
        true
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.arena.buddy.lock().release(&self.range);
    }
}

impl Arena {
    /// Moves one descriptor's frames to wherever there is room; returns how many.
    ///
    /// # Errors
    /// [`Stay`]; nothing has changed.
    pub fn migrate(&self, kind: &dyn Movable, id: DescriptorId) -> Result<FrameCount, Stay> {
        let moved = kind.migrate(id, None, &mut |frames, owner| {
            self.alloc(frames, Mobility::Movable, Claim::Reserve, owner)
        });
        moved.map(|from| from.frames)
    }

    /// Moves runs of these kinds out of the sparsest pageblocks into the densest until about `budget` bytes were
    /// copied or no pageblock can be emptied; emptied ones go back to the system. Call it again while
    /// [`more`](FrameCompaction::more) says so.
    ///
    /// # Concurrency
    /// Runs beside everything else. Runs that somebody holds are passed over.
    pub fn compact(&self, kinds: &[&dyn Movable], budget: usize) -> FrameCompaction {
        let Some(mut progress) = self.evacuator.try_lock() else {
            return FrameCompaction { busy: 1, more: true, ..FrameCompaction::default() };
        };
        let _caches = CachesOff::new(self);
        self.compact_on(&mut progress, kinds, budget)
    }

    fn compact_on(
        &self,
        progress: &mut Progress,
        kinds: &[&dyn Movable],
        budget: usize,
    ) -> FrameCompaction {
        let mut report = FrameCompaction::default();
        for (kind, plan) in KINDS.into_iter().zip(&mut progress.plans) {
            self.compact_kind(kind, plan, kinds, budget, &mut report);
            if report.more {
                break;
            }
        }
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
        let mut fresh = false;
        // What a plan frees may let the next one free more; one that frees nothing is the last.
        let mut freed_by_plan = 0;
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
        let frontier = self.buddy.lock().frontier();
        let mut pageblocks = Vec::new();
        for pageblock in 0..frontier {
            let usage = self.buddy.lock().usage(pageblock);
            if let Some(usage) = usage.filter(|usage| usage.kind == kind && usage.claimed == 0) {
                pageblocks.push((usage.used, pageblock));
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
        let range = pageblock * PAGEBLOCK_FRAMES..(pageblock + 1) * PAGEBLOCK_FRAMES;
        let Some(held) = Held::new(self, range.clone()) else { return false };
        let done = self.evacuate(&range, kinds, budget, &mut |frames, owner| {
            self.take_beyond(kind, plan, frames, owner).or_else(|OutOfFrames| {
                // At the limit what was captured so far goes back first.
                if !held.give_back() {
                    return Err(OutOfFrames);
                }
                self.take_beyond(kind, plan, frames, owner)
            })
        });
        report.copied_bytes += done.copied as u64;
        report.busy += done.busy;
        report.more |= done.stopped;
        if done.stopped {
            plan.step_back();
            return false;
        }
        if done.out_of_frames {
            plan.give_up();
        }
        let freed = held.is_captured();
        if freed {
            held.give_back();
            self.moves().pageblocks_freed.add();
        }
        freed
    }

    /// A run in the densest pageblock of the plan that has room.
    fn take_beyond(
        &self,
        kind: Kind,
        plan: &mut Plan,
        frames: FrameCount,
        owner: Owner,
    ) -> Result<Location, OutOfFrames> {
        self.memory().source().grant().map_err(|_| OutOfFrames)?;
        let order = frames.order();
        while plan.ends[order as usize] > plan.next {
            let pageblock = plan.pageblocks[plan.ends[order as usize] - 1].1;
            let mut buddy = self.buddy.lock();
            let usage = buddy.usage(pageblock).filter(|usage| usage.kind == kind);
            if let Some(start) = usage.and_then(|_| buddy.take_in(pageblock, kind, order)) {
                let start = self.cut(&mut buddy, start, frames, Claim::Reserve)?;
                drop(buddy);
                return Ok(self.hand_out(start, frames, owner));
            }
            plan.ends[order as usize] -= 1;
        }
        Err(OutOfFrames)
    }

    /// Moves every run of a held range that can be moved, once through.
    fn evacuate(
        &self,
        range: &Range<u32>,
        kinds: &[&dyn Movable],
        budget: usize,
        to: &mut dyn FnMut(FrameCount, Owner) -> Result<Location, OutOfFrames>,
    ) -> Evacuation {
        let mut done = Evacuation::default();
        self.drain_caches();
        let mut frame = range.start;
        while frame < range.end {
            let word = self.owner_word(frame);
            let Some(owner) = self.owner(FrameNo(frame)) else {
                if word == CLAIMED {
                    self.moves().note_busy(Busy::Claimed);
                    done.note(frame, None, Busy::Claimed);
                }
                frame += 1;
                continue;
            };
            let Some(kind) = kinds.iter().find(|kind| kind.tag() == owner.tag) else {
                self.moves().note_busy(Busy::Pinned);
                done.note(frame, Some(owner), Busy::Pinned);
                frame += 1;
                continue;
            };
            // After the work, so that the smallest budget gets on as well.
            if done.copied > 0 && done.copied >= budget {
                done.stopped = true;
                return done;
            }
            match kind.migrate(owner.id, Some(FrameNo(frame)), to) {
                Ok(from) => {
                    done.copied += from.frames.bytes();
                    frame = from.range().end.max(frame + 1);
                }
                Err(Stay::Gone) => frame += 1,
                Err(Stay::Busy(busy)) => {
                    done.note(frame, Some(owner), busy);
                    frame += 1;
                }
                Err(Stay::OutOfFrames(_)) => {
                    done.out_of_frames = true;
                    return done;
                }
            }
        }
        done
    }

    /// Claims `frames` frames that are neighbours, the first of them at a multiple of `align` frames in memory: the
    /// aligned range with the fewest frames in use is evacuated.
    ///
    /// # Errors
    /// [`ClaimError`]. Contents and accounts are as before; runs that were moved already stay where they are now.
    ///
    /// # Concurrency
    /// Waits for another thread that compacts or claims, not for readers or writers: what they hold for longer than a
    /// moment is a blocker.
    pub fn claim_contiguous(
        &self,
        kinds: &[&dyn Movable],
        frames: usize,
        align: usize,
    ) -> Result<ClaimedRange<'_>, ClaimError> {
        let claimed = self.try_claim_contiguous(kinds, frames, align);
        match &claimed {
            Ok(_) => self.moves().claims_made.add(),
            Err(_) => self.moves().claims_failed.add(),
        }
        claimed
    }

    fn try_claim_contiguous(
        &self,
        kinds: &[&dyn Movable],
        frames: usize,
        align: usize,
    ) -> Result<ClaimedRange<'_>, ClaimError> {
        let capacity = self.reservation.bytes() / FRAME_BYTES;
        if frames == 0 {
            return Err(ClaimError::NoFrames);
        }
        if !align.is_power_of_two() {
            return Err(ClaimError::Misaligned { align });
        }
        let Some(count) = u32::try_from(frames).ok().filter(|_| frames <= capacity) else {
            return Err(ClaimError::TooLarge { frames, align, capacity });
        };
        let idle = self.stats().idle;
        let most = self.memory().limit().saturating_sub(self.memory().reserve());
        if self.memory().used() + frames > most + idle {
            return Err(ClaimError::OutOfMemory { frames, limit: self.memory().limit() });
        }
        let mut progress = self.evacuator.lock();
        let _caches = CachesOff::new(self);
        let claimed = self.claim_cheapest(kinds, count, align)?;
        if !matches!(claimed, Err(ClaimError::OutOfMemory { .. })) {
            return claimed;
        }
        // There may be room for what has to move, but in pageblocks of another kind: whole ones fit every kind.
        self.compact_on(&mut progress, kinds, usize::MAX);
        self.claim_cheapest(kinds, count, align)?
    }

    /// Claims the first of the cheapest ranges that can be evacuated; the inner error is the first one's.
    ///
    /// # Errors
    /// The outer one when there is no range of that length and alignment.
    fn claim_cheapest(
        &self,
        kinds: &[&dyn Movable],
        frames: u32,
        align: usize,
    ) -> Result<Result<ClaimedRange<'_>, ClaimError>, ClaimError> {
        let mut candidates = self.candidates(frames, align);
        candidates.sort_by_key(|candidate| candidate.cost.unwrap_or(u32::MAX));
        let mut first_error = None;
        for candidate in candidates.iter().take(CANDIDATES) {
            match self.claim(kinds, candidate.start..candidate.start + frames) {
                Ok(claimed) => return Ok(Ok(claimed)),
                Err(error @ ClaimError::OutOfMemory { .. }) => return Ok(Err(error)),
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        let capacity = self.reservation.bytes() / FRAME_BYTES;
        let too_large = ClaimError::TooLarge { frames: frames as usize, align, capacity };
        first_error.map(Err).ok_or(too_large)
    }

    /// Evacuates and claims one range.
    fn claim(
        &self,
        kinds: &[&dyn Movable],
        range: Range<u32>,
    ) -> Result<ClaimedRange<'_>, ClaimError> {
        let frames = range.len();
        let out_of_memory = |_| ClaimError::OutOfMemory { frames, limit: self.memory().limit() };
        {
            let mut buddy = self.buddy.lock();
            let mut open = |pageblock| self.open(pageblock, Claim::Normal);
            buddy
                .grow_to(range.end.div_ceil(PAGEBLOCK_FRAMES), Claim::Normal, &mut open)
                .map_err(out_of_memory)?;
            buddy.open_wholes(&range, &mut open).map_err(out_of_memory)?;
        }
        let blocked = |blockers| ClaimError::Blocked { frames, blockers };
        let Some(held) = Held::new(self, range.clone()) else {
            return Err(blocked(self.obstacles(&range)));
        };
        self.await_quiet(kinds, &range).map_err(blocked)?;
        let mut last = Vec::new();
        for _ in 0..ROUNDS {
            let done = self.evacuate(&range, kinds, usize::MAX, &mut |frames, owner| {
                self.alloc(frames, Mobility::Movable, Claim::Normal, owner)
            });
            if done.out_of_frames {
                return Err(out_of_memory(OutOfFrames));
            }
            if held.is_captured() {
                return self.take(held).map_err(out_of_memory);
            }
            last = done.blockers;
            sync::yield_now();
        }
        if last.is_empty() {
            last = self.obstacles(&range);
        }
        Err(blocked(last))
    }

    /// Makes a held range whose frames are all captured the caller's: charged, owned, zero.
    fn take(&self, held: Held<'_>) -> Result<ClaimedRange<'_>, OutOfFrames> {
        let range = held.range.clone();
        // Frames that were used before stay charged; the system makes them zero, or else this does.
        let used = held.captured();
        let used_frames: u32 = used.iter().map(|(_, frames)| frames).sum();
        let is_zero = held.decommit(&used);
        let untouched = range.len() - used_frames as usize;
        self.charge(untouched, Claim::Normal).or_else(|OutOfFrames| {
            self.give_back_free();
            self.charge(untouched, Claim::Normal)
        })?;
        let mut buddy = self.buddy.lock();
        buddy.claim(&range);
        for (start, frames) in parts(&range) {
            buddy.touch(FrameNo(start), frames);
        }
        drop(buddy);
        // The hold ended with the claim.
        std::mem::forget(held);
        self.set_owner(range.clone(), CLAIMED);
        // ORDERING: Relaxed; a statistic.
        self.claimed.fetch_add(range.len(), Ordering::Relaxed);
        for (start, frames) in used.into_iter().filter(|_| !is_zero) {
            let base = self.reservation.at(start.byte_offset());
            // SAFETY: committed memory of frames that were claimed just now, so nobody else has them.
            unsafe { base.write_bytes(0, frames as usize * FRAME_BYTES) };
        }
        let frames = u32::try_from(range.len()).expect("a range of 32-bit frame numbers");
        Ok(ClaimedRange { arena: self, start: FrameNo(range.start), frames })
    }

    /// Waits a moment until nothing in a range is held. What is in the way then is named, before anything was moved.
    fn await_quiet(&self, kinds: &[&dyn Movable], range: &Range<u32>) -> Result<(), Vec<Blocker>> {
        let mut blockers = Vec::new();
        for _ in 0..ROUNDS {
            blockers = self.busy_in(kinds, range);
            let lasting = |blocker: &Blocker| matches!(blocker.busy, Busy::Pinned | Busy::Claimed);
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

    /// The first things in a range that could not be moved now.
    fn busy_in(&self, kinds: &[&dyn Movable], range: &Range<u32>) -> Vec<Blocker> {
        let mut found = Evacuation::default();
        for frame in range.clone() {
            match self.owner(FrameNo(frame)) {
                None if self.owner_word(frame) == CLAIMED => found.note(frame, None, Busy::Claimed),
                None => {}
                Some(owner) => {
                    let kind = kinds.iter().find(|kind| kind.tag() == owner.tag);
                    if let Some(busy) = kind.map_or(Some(Busy::Pinned), |kind| kind.busy(owner.id))
                    {
                        found.note(frame, Some(owner), busy);
                    }
                }
            }
        }
        found.blockers
    }

    /// What keeps a range from being held, or its frames from being captured, by pageblock.
    fn obstacles(&self, range: &Range<u32>) -> Vec<Blocker> {
        let mut found = Evacuation::default();
        for (start, _) in parts(range) {
            let usage = self.buddy.lock().usage(start / PAGEBLOCK_FRAMES);
            let busy = match usage.map(|usage| usage.kind) {
                Some(Kind::PinnedSingle | Kind::PinnedRun) => Busy::Pinned,
                _ => Busy::InTransit,
            };
            found.note(start, self.owner(FrameNo(start)), busy);
        }
        found.blockers
    }

    /// The aligned ranges of a length, with the frames that would have to move.
    fn candidates(&self, frames: u32, align: usize) -> Vec<Candidate> {
        let capacity = u32::try_from(self.reservation.bytes() / PAGEBLOCK_BYTES)
            .expect("32-bit frame numbers");
        let base = self.reservation.base().addr().get() / FRAME_BYTES;
        let is_aligned = |start: u32| (base + start as usize).is_multiple_of(align);
        let window = frames.div_ceil(PAGEBLOCK_FRAMES);
        // Up to the frontier, and as far beyond it as one range needs.
        let end = self.buddy.lock().frontier().saturating_add(window).min(capacity);
        if window > 1 {
            return self.wide_candidates(window, end, &is_aligned);
        }
        let align = u32::try_from(align).unwrap_or(u32::MAX).min(PAGEBLOCK_FRAMES);
        let grain = frames.next_power_of_two().max(align);
        let mut candidates = Vec::new();
        for pageblock in 0..end {
            for first in (0..PAGEBLOCK_FRAMES).step_by(grain as usize) {
                let start = pageblock * PAGEBLOCK_FRAMES + first;
                if is_aligned(start) {
                    let cost = self.cost(pageblock, first, frames);
                    candidates.push(Candidate { start, cost });
                }
            }
        }
        candidates
    }

    /// Ranges of several pageblocks, each from the start of one.
    fn wide_candidates(
        &self,
        window: u32,
        end: u32,
        is_aligned: &dyn Fn(u32) -> bool,
    ) -> Vec<Candidate> {
        let costs: Vec<Option<u32>> =
            (0..end).map(|pageblock| self.cost(pageblock, 0, PAGEBLOCK_FRAMES)).collect();
        let mut candidates = Vec::new();
        for (start, costs) in (0_u32..).zip(costs.windows(window as usize)) {
            let start = start * PAGEBLOCK_FRAMES;
            if is_aligned(start) {
                candidates.push(Candidate { start, cost: costs.iter().copied().sum() });
            }
        }
        candidates
    }

    /// The frames of a part of a pageblock that would have to move; `None` if something in it does not.
    fn cost(&self, pageblock: u32, first: u32, frames: u32) -> Option<u32> {
        let start = pageblock * PAGEBLOCK_FRAMES + first;
        let buddy = self.buddy.lock();
        if pageblock >= buddy.frontier() || buddy.is_whole(pageblock as usize) {
            return Some(0);
        }
        let usage = buddy.usage(pageblock)?;
        if !KINDS.contains(&usage.kind) {
            return None;
        }
        let is_claimed = |frame| self.owner_word(frame) == CLAIMED;
        if usage.claimed > 0 && (start..start + frames).any(is_claimed) {
            return None;
        }
        Some(buddy.used_in(pageblock, first, frames))
    }
}

/// A range that may be claimed.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    start: u32,
    /// Frames that would have to move; `None` if something does not.
    cost: Option<u32>,
}

/// A range by pageblock: first frame and how many.
fn parts(range: &Range<u32>) -> impl Iterator<Item = (u32, u32)> + use<> {
    let (mut at, end) = (range.start, range.end);
    std::iter::from_fn(move || {
        (at < end).then(|| {
            let start = at;
            at = (at - at % PAGEBLOCK_FRAMES + PAGEBLOCK_FRAMES).min(end);
            (start, at - start)
        })
    })
}
