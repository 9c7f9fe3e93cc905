//! Ranges that a contiguous allocation may evacuate.

use crate::{
    Arena, FRAME_BYTES, PAGEBLOCK_FRAMES, arena::PAGEBLOCK_BYTES, buddy::MOVABLE_KINDS,
    owner::CONTIGUOUS, units::BlockPart,
};

/// The cheapest are considered.
pub(super) const CANDIDATES: usize = 256;
const PER_PAGEBLOCK: usize = 4;

#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) start: u32,
    /// Frames to move; `None`: some cannot.
    pub(super) cost: Option<u32>,
}

impl Candidate {
    pub(super) fn key(&self) -> u32 {
        self.cost.unwrap_or(u32::MAX)
    }
}

impl Arena {
    /// The cheapest aligned ranges of each pageblock.
    pub(super) fn candidates(&self, frames: u32, align: usize) -> Vec<Candidate> {
        let capacity = u32::try_from(self.reservation.bytes() / PAGEBLOCK_BYTES)
            .expect("32-bit frame numbers");
        let base = self.reservation.base().addr().get() / FRAME_BYTES;
        let is_aligned = |start: u32| (base + start as usize).is_multiple_of(align);
        let window = frames.div_ceil(PAGEBLOCK_FRAMES);
        // One aligned range beyond.
        let stride = u32::try_from(align / PAGEBLOCK_FRAMES as usize).unwrap_or(u32::MAX);
        let high_water_mark = self.buddy.lock().high_water_mark();
        let end = high_water_mark.saturating_add(window).saturating_add(stride).min(capacity);
        if window > 1 {
            return self.wide_candidates(window, end, &is_aligned);
        }
        let align = u32::try_from(align).unwrap_or(u32::MAX).min(PAGEBLOCK_FRAMES);
        let grain = frames.next_power_of_two().max(align) as usize;
        let (mut all, mut free) = (Vec::new(), 0);
        for pageblock in 0..end {
            let in_block = all.len();
            for first in (0..PAGEBLOCK_FRAMES).step_by(grain) {
                let part = BlockPart { pageblock, first, frames };
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

    /// Ranges of whole pageblocks.
    fn wide_candidates(
        &self,
        window: u32,
        end: u32,
        is_aligned: &dyn Fn(u32) -> bool,
    ) -> Vec<Candidate> {
        let whole = |pageblock| BlockPart { pageblock, first: 0, frames: PAGEBLOCK_FRAMES };
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

    fn cost(&self, part: BlockPart) -> Option<u32> {
        let buddy = self.buddy.lock();
        if part.pageblock >= buddy.high_water_mark()
            || buddy.is_entirely_free(part.pageblock as usize)
        {
            return Some(0);
        }
        let usage = buddy.usage(part.pageblock)?;
        if !MOVABLE_KINDS.contains(&usage.kind) {
            return None;
        }
        let start = part.start().0;
        let is_contiguous = |frame| self.owner_word(frame) == CONTIGUOUS;
        if usage.contiguous > 0 && (start..start + part.frames).any(is_contiguous) {
            return None;
        }
        Some(buddy.used_in(part))
    }
}
