//! The frames of an arena by use, and checks of their sums.

use pagefold_sys::sync::Ordering;

use super::Arena;
use crate::{FRAME_BYTES, FrameNo, PAGEBLOCK_FRAMES, owner::CONTIGUOUS};

/// The frames of an arena by use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArenaStats {
    /// Owned by descriptors.
    pub allocated: usize,
    /// In contiguous ranges.
    pub contiguous: usize,
    /// Cached, or free and not given back: may be resident.
    pub idle: usize,
    /// Frames of the reservation.
    pub capacity: usize,
}

impl Arena {
    /// The frames by use.
    pub fn stats(&self) -> ArenaStats {
        // ORDERING: Relaxed; statistics.
        let allocated = self.allocated.load(Ordering::Relaxed);
        let contiguous = self.contiguous.load(Ordering::Relaxed);
        let charged = self.charged.load(Ordering::Relaxed);
        ArenaStats {
            allocated,
            contiguous,
            idle: charged.saturating_sub(allocated + contiguous),
            capacity: self.reservation.bytes() / FRAME_BYTES,
        }
    }

    /// Checks that free, cached and owned frames, and charges, add up. For a quiescent arena.
    ///
    /// # Errors
    /// A sentence that names the fault.
    pub fn validate(&self) -> Result<(), String> {
        let buddy = self.buddy.lock();
        let (free, touched) = buddy.audit()?;
        let cached: u64 = self.caches.iter().map(|cache| cache.lock().frames()).sum();
        let in_use = u64::from(buddy.high_water_mark()) * u64::from(PAGEBLOCK_FRAMES);
        let stats = self.stats();
        let handed_out = stats.allocated + stats.contiguous;
        if free + cached + handed_out as u64 != in_use {
            return Err(format!(
                "I-BUDDY: {free} frames free, {cached} cached, {} allocated, {} contiguous, of {in_use} in use",
                stats.allocated, stats.contiguous
            ));
        }
        let charged = (handed_out + stats.idle) as u64;
        if touched != charged {
            return Err(format!("I-TOUCH: {touched} frames touched, {charged} charged"));
        }
        let used = self.memory.used();
        if used != handed_out + stats.idle + self.memory.metadata() {
            return Err(format!(
                "I-LIMIT: {used} frames charged in all, which is not frames and metadata"
            ));
        }
        let owned = (0..buddy.high_water_mark() * PAGEBLOCK_FRAMES)
            .filter(|&frame| self.owner(FrameNo(frame)).is_some())
            .count();
        let contiguous = (0..buddy.high_water_mark() * PAGEBLOCK_FRAMES)
            .filter(|&frame| self.owner_word(frame) == CONTIGUOUS)
            .count();
        if (owned, contiguous) != (stats.allocated, stats.contiguous) {
            return Err(format!(
                "I-OWNER: {owned} frames have an owner and {contiguous} are contiguous, not {} and {}",
                stats.allocated, stats.contiguous
            ));
        }
        Ok(())
    }
}
