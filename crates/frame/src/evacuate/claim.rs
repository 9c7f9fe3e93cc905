//! Contiguous claims: the aligned range that costs the fewest moves is evacuated and handed out.
//!
//! Ranges of at most a pageblock are looked for in steps of their length rounded up to a power of two; longer ones from
//! the start of a pageblock. What is in the way is looked for before anything is moved. What was moved when a late
//! obstacle is met stays where it is: contents, handles and accounts of objects do not change by it.

use std::ops::Range;

use pagefold_sys::sync::{self, Ordering};
use thiserror::Error;

use super::{Blocker, CachesOff, Evacuation, Held, KINDS};
use crate::{
    Arena, Busy, FRAME_BYTES, FrameNo, Mobility, Movable, OutOfFrames, PAGEBLOCK_FRAMES,
    ReserveAccess,
    arena::{CLAIMED, PAGEBLOCK_BYTES},
    buddy::Kind,
    units::{Part, by_pageblock},
};

/// Rounds through a range, between which others may let go of what is in the way.
const ROUNDS: usize = if cfg!(loom) { 2 } else { 64 };
/// Ranges that a claim looks at, the cheapest first; and those that it evacuates in vain.
const CANDIDATES: usize = 256;
const ATTEMPTS: usize = 8;
/// Ranges of one pageblock that are looked at.
const PER_PAGEBLOCK: usize = 4;

/// Why a range was not claimed. Contents and accounts are as before, but for pages of tables and for runs that lie
/// elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContiguousError {
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
    /// There is no room for the range beside what is stored, in the limit or in the arena.
    #[error(
        "there is no room for {frames} claimed frames beside what is stored (the limit is {limit} frames); free objects or raise the limit"
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
    let names: Vec<_> = blockers.iter().map(Blocker::to_string).collect();
    names.join("; ")
}

/// Frames that are neighbours, owned by whoever holds this; dropping it frees them.
///
/// They count against the limit of their arena.
#[derive(Debug)]
pub struct ContiguousRange<'a> {
    arena: &'a Arena,
    start: FrameNo,
    frames: u32,
}

impl ContiguousRange<'_> {
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

impl Drop for ContiguousRange<'_> {
    fn drop(&mut self) {
        let range = self.range();
        self.arena.set_owner(range.clone(), 0);
        // ORDERING: Relaxed; a statistic.
        self.arena.claimed.fetch_sub(self.frames(), Ordering::Relaxed);
        self.arena.buddy.lock().unclaim(&range);
        self.arena.give_back_wholes();
    }
}

/// A range that may be claimed.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    start: u32,
    /// Frames that would have to move; `None` if something does not.
    cost: Option<u32>,
}

impl Candidate {
    fn key(&self) -> u32 {
        self.cost.unwrap_or(u32::MAX)
    }
}

impl Arena {
    /// Claims `frames` frames that are neighbours, the first of them at a multiple of `align` frames in memory: the
    /// aligned range with the fewest frames in use is evacuated. If what has to move finds no room, pageblocks are
    /// compacted and it is tried once more.
    ///
    /// # Errors
    /// [`ContiguousError`]. Contents and accounts are as before, but that some pages of tables may be used more, and that
    /// runs that were moved already stay where they are now.
    ///
    /// # Panics
    /// If one of the slabs is another arena's.
    ///
    /// # Concurrency
    /// Waits for another thread that compacts or claims, not for readers or writers: what they hold for longer than a
    /// moment is a blocker.
    pub fn alloc_contiguous(
        &self,
        kinds: &[&dyn Movable],
        frames: usize,
        align: usize,
    ) -> Result<ContiguousRange<'_>, ContiguousError> {
        self.assert_own(kinds);
        let claimed = self.try_claim_contiguous(kinds, frames, align);
        match &claimed {
            Ok(_) => self.moves().contiguous_allocs.add(),
            Err(_) => self.moves().contiguous_failures.add(),
        }
        claimed
    }

    fn try_claim_contiguous(
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
        match self.claim_cheapest(kinds, count, align) {
            Err(ContiguousError::OutOfMemory { .. }) => {}
            answer => return answer,
        }
        // There may be room for what has to move, but in pageblocks of another kind: whole ones fit every kind.
        self.compact_on(&mut progress, kinds, usize::MAX);
        self.claim_cheapest(kinds, count, align)
    }

    /// Claims the first of the cheapest ranges that can be evacuated.
    fn claim_cheapest(
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
            // In a first pass nothing is waited for.
            if candidate.cost.is_none() || !self.busy_in(kinds, &range_of(candidate)).is_empty() {
                continue;
            }
            attempts += 1;
            match self.claim(kinds, range_of(candidate)) {
                Err(ContiguousError::Blocked { .. }) => {}
                answer => return answer,
            }
        }
        match candidates.first() {
            Some(cheapest) => self.claim(kinds, range_of(cheapest)),
            None => Err(ContiguousError::TooLarge {
                frames: frames as usize,
                align,
                capacity: self.reservation.bytes() / FRAME_BYTES,
            }),
        }
    }

    /// Evacuates and claims one range.
    fn claim(
        &self,
        kinds: &[&dyn Movable],
        range: Range<u32>,
    ) -> Result<ContiguousRange<'_>, ContiguousError> {
        let frames = range.len();
        let out_of_memory =
            |OutOfFrames| ContiguousError::OutOfMemory { frames, limit: self.memory().limit() };
        let blocked = |blockers| ContiguousError::Blocked { frames, blockers };
        self.await_quiet(kinds, &range).map_err(blocked)?;
        let Some(held) = Held::range(self, &range).map_err(out_of_memory)? else {
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
    fn take(&self, held: Held<'_>) -> Result<ContiguousRange<'_>, OutOfFrames> {
        let range = held.range.clone();
        // Frames that were used before stay charged; the system makes them zero, or else this does.
        let used = held.captured();
        let is_zero = held.decommit(&used);
        self.charge_and_claim(&range).or_else(|OutOfFrames| {
            self.give_back_free();
            self.charge_and_claim(&range)
        })?;
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
        Ok(ContiguousRange { arena: self, start: FrameNo(range.start), frames })
    }

    /// Charges what is not charged of a captured range, and ends its hold. An error changes nothing.
    fn charge_and_claim(&self, range: &Range<u32>) -> Result<(), OutOfFrames> {
        // Under one lock: others may give captured frames back when memory is short.
        let mut buddy = self.buddy.lock();
        let untouched = range.len() - buddy.touched_in(range) as usize;
        self.charge(untouched, ReserveAccess::Normal)?;
        buddy.claim(range);
        Ok(())
    }

    /// Waits a moment until nothing in a range is held. What is in the way then is named, before anything was moved.
    fn await_quiet(&self, kinds: &[&dyn Movable], range: &Range<u32>) -> Result<(), Vec<Blocker>> {
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

    /// What keeps a range from being held, or its frames from being captured, by pageblock.
    fn obstacles(&self, range: &Range<u32>) -> Vec<Blocker> {
        let mut found = Evacuation::default();
        let frontier = self.buddy.lock().frontier();
        for part in by_pageblock(range).filter(|part| part.pageblock < frontier) {
            let usage = self.buddy.lock().usage(part.pageblock);
            let busy = match usage.map(|usage| usage.kind) {
                Some(Kind::PinnedSingle | Kind::PinnedRun) => Busy::Pinned,
                _ => Busy::InTransit,
            };
            found.note(part.start().0, self.owner(part.start()), busy);
        }
        found.blockers
    }

    /// The aligned ranges of a length, with the frames that would have to move; of each pageblock the cheapest few.
    fn candidates(&self, frames: u32, align: usize) -> Vec<Candidate> {
        let capacity = u32::try_from(self.reservation.bytes() / PAGEBLOCK_BYTES)
            .expect("32-bit frame numbers");
        let base = self.reservation.base().addr().get() / FRAME_BYTES;
        let is_aligned = |start: u32| (base + start as usize).is_multiple_of(align);
        let window = frames.div_ceil(PAGEBLOCK_FRAMES);
        // Up to the frontier, and as far beyond it as one aligned range needs.
        let stride = u32::try_from(align / PAGEBLOCK_FRAMES as usize).unwrap_or(u32::MAX);
        let frontier = self.buddy.lock().frontier();
        let end = frontier.saturating_add(window).saturating_add(stride).min(capacity);
        if window > 1 {
            return self.wide_candidates(window, end, &is_aligned);
        }
        let align = u32::try_from(align).unwrap_or(u32::MAX).min(PAGEBLOCK_FRAMES);
        let grain = frames.next_power_of_two().max(align) as usize;
        let (mut all, mut free) = (Vec::new(), 0);
        for pageblock in 0..end {
            let in_block = all.len();
            for first in (0..PAGEBLOCK_FRAMES).step_by(grain) {
                let part = Part { pageblock, first, frames };
                if is_aligned(part.start().0) {
                    all.push(Candidate { start: part.start().0, cost: self.cost(part) });
                }
            }
            all[in_block..].sort_by_key(Candidate::key);
            all.truncate(in_block + PER_PAGEBLOCK);
            free += all[in_block..].iter().filter(|candidate| candidate.cost == Some(0)).count();
            if free >= CANDIDATES {
                break;
            }
        }
        all
    }

    /// Ranges of several pageblocks, each from the start of one.
    fn wide_candidates(
        &self,
        window: u32,
        end: u32,
        is_aligned: &dyn Fn(u32) -> bool,
    ) -> Vec<Candidate> {
        let whole = |pageblock| Part { pageblock, first: 0, frames: PAGEBLOCK_FRAMES };
        let costs: Vec<Option<u32>> = (0..end).map(|number| self.cost(whole(number))).collect();
        let mut candidates = Vec::new();
        for (pageblock, costs) in (0_u32..).zip(costs.windows(window as usize)) {
            let start = pageblock * PAGEBLOCK_FRAMES;
            if is_aligned(start) {
                candidates.push(Candidate { start, cost: costs.iter().copied().sum() });
            }
        }
        candidates
    }

    /// The frames of a part of a pageblock that would have to move; `None` if something in it does not.
    fn cost(&self, part: Part) -> Option<u32> {
        let buddy = self.buddy.lock();
        if part.pageblock >= buddy.frontier() || buddy.is_whole(part.pageblock as usize) {
            return Some(0);
        }
        let usage = buddy.usage(part.pageblock)?;
        if !KINDS.contains(&usage.kind) {
            return None;
        }
        let start = part.start().0;
        let is_claimed = |frame| self.owner_word(frame) == CLAIMED;
        if usage.claimed > 0 && (start..start + part.frames).any(is_claimed) {
            return None;
        }
        Some(buddy.used_in(part))
    }
}
