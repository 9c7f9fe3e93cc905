//! Evacuation: frames are moved out of a range, so that the whole of it becomes free.
//!
//! ```text
//!  hold the range      free frames of it off the lists; what becomes free stays off: it only gets emptier
//!  move what is there  frame -> owner word -> descriptor -> isolate, migrate, put back (`migrate`)
//!  all captured?       compaction: the pageblock goes back to the system      a claim: the range is the caller's
//!  otherwise           the hold ends; what was captured is free again
//! ```
//! Two users, each with a file: [compaction](Arena::compact) by pageblock, and [claims](Arena::alloc_contiguous).
//!
//! One thread at a time evacuates; a call of [`Arena::compact`] ends at once if another does, a claim waits for it.
//! Descriptors may be read, written and freed meanwhile, and moved by others: who holds one keeps it where it is.
//!
//! An owner word is a hint. The descriptor that it names is isolated, and then moved only if the frame is its own; what
//! changed hands in between is met in the next round.

mod claim;
mod compact;

use std::{
    fmt,
    ops::{ControlFlow, Range},
};

use pagefold_sys::sync::Ordering;

pub(crate) use self::compact::Progress;
pub use self::{
    claim::{ContiguousError, ContiguousRange},
    compact::FrameCompaction,
};
use crate::{
    Arena, Busy, DescriptorId, FRAME_BYTES, FrameCount, FrameMigrateError, FrameNo, FrameOwner,
    FrameRange, Mobility, Movable, OutOfFrames, ReserveAccess,
    arena::CLAIMED,
    buddy::Kind,
    migrate::{ExtentRef, MigrateOutcome},
};

/// Blockers that an error names.
const BLOCKERS_MAX: usize = 16;
/// The kinds of pageblocks that can be evacuated.
const KINDS: [Kind; 2] = [Kind::MovableRun, Kind::MovableSingle];

/// Something that kept a run where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blocker {
    /// The first frame of it that was met.
    pub frame: FrameNo,
    /// Who owns it, if a descriptor does.
    pub owner: Option<FrameOwner>,
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

/// What became of the runs of a range.
#[derive(Debug, Default)]
struct Evacuation {
    copied: usize,
    /// The first of what stayed.
    blockers: Vec<Blocker>,
    /// How many runs stayed.
    busy: u64,
    out_of_frames: bool,
    /// The budget was used up.
    stopped: bool,
}

impl Evacuation {
    fn note(&mut self, frame: u32, owner: Option<FrameOwner>, busy: Busy) {
        self.busy += 1;
        if self.blockers.len() < BLOCKERS_MAX {
            self.blockers.push(Blocker { frame: FrameNo(frame), owner, busy });
        }
    }
}

/// A frame that was met, what its owner word says, and the first frame after those that say the same.
struct Met {
    frame: u32,
    next: u32,
    word: u32,
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
    /// Holds a pageblock of this kind without claimed frames. `None`: it is something else by now.
    fn pageblock(arena: &'a Arena, range: &Range<u32>, kind: Kind) -> Option<Self> {
        let mut buddy = arena.buddy.lock();
        let usage = buddy.usage(range.start / crate::PAGEBLOCK_FRAMES);
        let fits = usage.is_some_and(|usage| usage.kind == kind && usage.claimed == 0);
        (fits && buddy.hold(range)).then(|| Self { arena, range: range.clone() })
    }

    /// Opens and holds a range, wherever it is. `None`: something in it cannot be held.
    fn range(arena: &'a Arena, range: &Range<u32>) -> Result<Option<Self>, OutOfFrames> {
        // One hold of the lock, so that nobody gives the tables of a whole pageblock back in between.
        let mut buddy = arena.buddy.lock();
        let mut open = |pageblock| arena.open(pageblock, ReserveAccess::Normal);
        buddy.prepare(range, ReserveAccess::Normal, &mut open)?;
        Ok(buddy.hold(range).then(|| Self { arena, range: range.clone() }))
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
        // SAFETY: captured frames are nobody's: no descriptor owns them, they are on no list, and only whoever holds
        // the range hands them on, which is this call's thread. (I-HELD)
        unsafe { self.arena.decommit(captured) }
    }

    /// Gives the captured frames to the system, with their charge, and goes on holding them. `true`: some went.
    fn give_back(&self) -> bool {
        let captured = self.captured();
        if captured.is_empty() || !self.decommit(&captured) {
            return false;
        }
        let mut buddy = self.arena.buddy.lock();
        let gone: u32 = captured.iter().map(|&(start, frames)| buddy.untouch(start, frames)).sum();
        drop(buddy);
        self.arena.uncharge(gone as usize);
        gone > 0
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.arena.buddy.lock().release(&self.range);
    }
}

impl Arena {
    /// # Panics
    /// If one of these slabs is another arena's.
    fn assert_own(&self, kinds: &[&dyn Movable]) {
        let own = kinds.iter().all(|kind| std::ptr::eq(kind.arena(), self));
        assert!(own, "only slabs over this arena can be moved in it");
    }

    /// Moves one descriptor's frames to wherever there is room; returns how many. Of a chain, those that cannot be moved
    /// any more once the first one was stay where they are.
    ///
    /// # Errors
    /// [`FrameMigrateError`]; nothing has changed.
    ///
    /// # Panics
    /// If the slab is another arena's.
    pub fn migrate(
        &self,
        kind: &dyn Movable,
        id: DescriptorId,
    ) -> Result<FrameCount, FrameMigrateError> {
        let first = self.migrate_extent(kind, id, 0)?;
        let mut moved = first.get();
        for number in 1..kind.pieces(id) {
            match self.migrate_extent(kind, id, number) {
                Ok(frames) => moved += frames.get(),
                Err(_) => break,
            }
        }
        Ok(FrameCount::new(moved))
    }

    /// Moves one frame of a descriptor's chain, or the whole of its run, which is piece 0, to wherever there is room;
    /// returns how many frames.
    ///
    /// # Errors
    /// [`FrameMigrateError`]; nothing has changed. [`FrameMigrateError::Gone`] also when there is no such piece.
    ///
    /// # Panics
    /// If the slab is another arena's.
    pub fn migrate_extent(
        &self,
        kind: &dyn Movable,
        id: DescriptorId,
        number: u32,
    ) -> Result<FrameCount, FrameMigrateError> {
        self.assert_own(&[kind]);
        let moved = kind.migrate(id, ExtentRef::Number(number), &mut |frames, owner| {
            self.alloc(frames, Mobility::Movable, ReserveAccess::Reserve, owner)
        });
        match moved? {
            MigrateOutcome::Copied(from) => Ok(from.frames),
            MigrateOutcome::Freed => Err(FrameMigrateError::Gone),
        }
    }

    /// Moves every run of a held range that can be moved, once through.
    fn evacuate(
        &self,
        range: &Range<u32>,
        kinds: &[&dyn Movable],
        budget: usize,
        to: &mut dyn FnMut(FrameCount, FrameOwner) -> Result<FrameRange, OutOfFrames>,
    ) -> Evacuation {
        let mut done = Evacuation::default();
        self.drain_caches();
        let mut frame = range.start;
        while frame < range.end {
            let word = self.owner_word(frame);
            // As far as the owner words say, the run ends there.
            let next = match word {
                0 => frame + 1,
                _ => (frame + 1..range.end)
                    .find(|&at| self.owner_word(at) != word)
                    .unwrap_or(range.end),
            };
            match self.evacuate_one(Met { frame, next, word }, kinds, &mut done, budget, to) {
                ControlFlow::Continue(next) => frame = next,
                ControlFlow::Break(()) => break,
            }
        }
        done
    }

    /// Moves what a frame belongs to, and says where to go on.
    fn evacuate_one(
        &self,
        Met { frame, next, word }: Met,
        kinds: &[&dyn Movable],
        done: &mut Evacuation,
        budget: usize,
        to: &mut dyn FnMut(FrameCount, FrameOwner) -> Result<FrameRange, OutOfFrames>,
    ) -> ControlFlow<(), u32> {
        let owner = self.owner(FrameNo(frame));
        let kind = owner.and_then(|owner| kinds.iter().find(|kind| kind.tag() == owner.tag));
        let (Some(owner), Some(kind)) = (owner, kind) else {
            if word != 0 {
                let busy = if word == CLAIMED { Busy::Contiguous } else { Busy::Pinned };
                self.moves().note_busy(busy);
                done.note(frame, owner, busy);
            }
            return ControlFlow::Continue(next);
        };
        // After the work, so that the smallest budget gets on as well.
        if done.copied > 0 && done.copied >= budget {
            done.stopped = true;
            return ControlFlow::Break(());
        }
        match kind.migrate(owner.id, ExtentRef::Of(FrameNo(frame)), to) {
            Ok(MigrateOutcome::Copied(from)) => {
                done.copied += from.frames.bytes();
                return ControlFlow::Continue(from.range().end);
            }
            // What it had may be elsewhere: only the owner word led here.
            Ok(MigrateOutcome::Freed) => return ControlFlow::Continue(frame + 1),
            Err(FrameMigrateError::Gone) => {}
            Err(FrameMigrateError::Busy(busy)) => done.note(frame, Some(owner), busy),
            Err(FrameMigrateError::OutOfFrames(_)) => {
                done.out_of_frames = true;
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(next)
    }

    /// The first things in a range that could not be moved now.
    fn busy_in(&self, kinds: &[&dyn Movable], range: &Range<u32>) -> Vec<Blocker> {
        let mut found = Evacuation::default();
        let mut last = 0;
        for frame in range.clone() {
            let word = self.owner_word(frame);
            if word == 0 || std::mem::replace(&mut last, word) == word {
                continue;
            }
            let owner = self.owner(FrameNo(frame));
            let busy = owner.map_or(Some(Busy::Contiguous), |owner| {
                let kind = kinds.iter().find(|kind| kind.tag() == owner.tag);
                kind.map_or(Some(Busy::Pinned), |kind| kind.busy(owner.id))
            });
            if let Some(busy) = busy {
                found.note(frame, owner, busy);
            }
        }
        found.blockers
    }

    /// # Safety
    /// As [`FrameSource::decommit`](crate::FrameSource::decommit) for these runs of frames.
    pub(crate) unsafe fn decommit(&self, runs: &[(FrameNo, u32)]) -> bool {
        let bytes = |&(start, frames): &(FrameNo, u32)| {
            start.byte_offset()..start.byte_offset() + frames as usize * FRAME_BYTES
        };
        let ranges: Vec<_> = runs.iter().map(bytes).collect();
        // SAFETY: by this function's contract.
        unsafe { self.memory().source().decommit(&self.reservation, &ranges) }.is_ok()
    }

    /// Gives back what others captured while they evacuate: it is charged, and nobody else can take it. Returns
    /// whether some went.
    pub(crate) fn give_back_captured(&self) -> bool {
        // ORDERING: Relaxed; a hint that spares the walk, and whoever misses it fails as if it had come before.
        if self.evacuating.load(Ordering::Relaxed) == 0 {
            return false;
        }
        // The lock is kept over the system call, so that no hold ends, and nobody gets a captured frame, meanwhile.
        let mut buddy = self.buddy.lock();
        let captured = buddy.captured_touched(&(0..buddy.frontier() * crate::PAGEBLOCK_FRAMES));
        // SAFETY: captured frames are nobody's, and with the lock held nobody hands them on. (I-HELD)
        if captured.is_empty() || !unsafe { self.decommit(&captured) } {
            return false;
        }
        let gone: u32 = captured.iter().map(|&(start, frames)| buddy.untouch(start, frames)).sum();
        drop(buddy);
        self.uncharge(gone as usize);
        gone > 0
    }
}
