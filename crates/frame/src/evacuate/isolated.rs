//! An isolated range; dropping it ends the isolation.

use std::ops::Range;

use pagefold_sys::sync::Ordering;

use crate::{
    Arena, FRAME_BYTES, FrameNo, OutOfFrames, PAGEBLOCK_FRAMES, ReserveAccess, buddy::PageblockKind,
};

/// While it lives, frees skip the caches.
pub(super) struct CachesOff<'a>(&'a Arena);

impl<'a> CachesOff<'a> {
    pub(super) fn new(arena: &'a Arena) -> Self {
        // ORDERING: Relaxed; the next pass drains a late thread's cache.
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

pub(super) struct IsolatedRange<'a> {
    arena: &'a Arena,
    pub(super) range: Range<u32>,
}

impl<'a> IsolatedRange<'a> {
    /// `None`: its use changed.
    pub(super) fn pageblock(
        arena: &'a Arena,
        range: &Range<u32>,
        kind: PageblockKind,
    ) -> Option<Self> {
        let mut buddy = arena.buddy.lock();
        let usage = buddy.usage(range.start / PAGEBLOCK_FRAMES);
        let fits = usage.is_some_and(|usage| usage.kind == kind && usage.contiguous == 0);
        (fits && buddy.isolate(range)).then(|| Self { arena, range: range.clone() })
    }

    /// `None`: not all can be isolated.
    pub(super) fn range(arena: &'a Arena, range: &Range<u32>) -> Result<Option<Self>, OutOfFrames> {
        // One lock: no trim may give back the opened tables.
        let mut buddy = arena.buddy.lock();
        let mut open = |pageblock| arena.open(pageblock, ReserveAccess::Normal);
        buddy.prepare(range, ReserveAccess::Normal, &mut open)?;
        Ok(buddy.isolate(range).then(|| Self { arena, range: range.clone() }))
    }

    pub(super) fn is_all_free(&self) -> bool {
        self.arena.buddy.lock().is_all_free(&self.range)
    }

    /// Free frames that may be resident, in runs.
    pub(super) fn free_touched(&self) -> Vec<(FrameNo, u32)> {
        self.arena.buddy.lock().isolated_touched(&self.range)
    }

    /// `true`: they went, and read as zero.
    pub(super) fn decommit(&self, free: &[(FrameNo, u32)]) -> bool {
        // SAFETY: isolated free frames have no owner and are on no list; only this thread, which isolated them,
        // hands them on. (I-ISOLATED)
        unsafe { self.arena.decommit(free) }
    }

    /// Gives back and uncharges free frames; they stay isolated. `true`: some went.
    pub(super) fn give_back(&self) -> bool {
        let free = self.free_touched();
        if free.is_empty() || !self.decommit(&free) {
            return false;
        }
        let mut buddy = self.arena.buddy.lock();
        let gone: u32 = free.iter().map(|&(start, frames)| buddy.untouch(start, frames)).sum();
        drop(buddy);
        self.arena.uncharge(gone as usize);
        gone > 0
    }
}

impl Drop for IsolatedRange<'_> {
    fn drop(&mut self) {
        self.arena.buddy.lock().end_isolation(&self.range);
    }
}

impl Arena {
    /// # Safety
    /// As [`FrameSource::decommit`](crate::FrameSource::decommit) for these runs.
    pub(crate) unsafe fn decommit(&self, runs: &[(FrameNo, u32)]) -> bool {
        let bytes = |&(start, frames): &(FrameNo, u32)| {
            start.byte_offset()..start.byte_offset() + frames as usize * FRAME_BYTES
        };
        let ranges: Vec<_> = runs.iter().map(bytes).collect();
        // SAFETY: this function's contract.
        unsafe { self.memory().source().decommit(&self.reservation, &ranges) }.is_ok()
    }

    /// Gives back isolated free frames of another thread's evacuation. `true`: some went.
    pub(crate) fn give_back_isolated(&self) -> bool {
        // ORDERING: Relaxed; a hint: missing it is as if this call came earlier.
        if self.evacuating.load(Ordering::Relaxed) == 0 {
            return false;
        }
        // Locked over the system call: no isolation ends meanwhile.
        let mut buddy = self.buddy.lock();
        let free = buddy.isolated_touched(&(0..buddy.high_water_mark() * PAGEBLOCK_FRAMES));
        // SAFETY: isolated free frames have no owner, and under this lock no thread hands them on. (I-ISOLATED)
        if free.is_empty() || !unsafe { self.decommit(&free) } {
            return false;
        }
        let gone: u32 = free.iter().map(|&(start, frames)| buddy.untouch(start, frames)).sum();
        drop(buddy);
        self.uncharge(gone as usize);
        gone > 0
    }
}
