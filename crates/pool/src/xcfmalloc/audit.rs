//! What the pool says of itself, and whether it is true.

use std::collections::HashMap;

use pagefold_frame::{DescriptorId, FRAME_BYTES};

use super::{
    Xcfmalloc,
    blocks::{UNIT_BYTES, UNITS},
    header::{Broken, HEADER_BYTES, is_intact},
    lists::Locked,
};
use crate::{
    Stats,
    attend::Attend,
    entries::{Entry, Place, State},
};

/// Units that compaction leaves free in a frame, at most, on average over the sizes that were measured: with objects
/// of several blocks, and with objects that must lie in one.
const LEFT_A_FRAME: usize = 6;
const LEFT_A_FRAME_UNSPLIT: usize = 24;

/// The used blocks that a walk over the frames found, and whose they are by their headers.
type Found = HashMap<(DescriptorId, u32), (u32, u32)>;

impl Xcfmalloc {
    pub(super) fn account(&self) -> Stats {
        self.drain_all_deferred();
        let locked = self.frames.lock();
        let (whole, split) = (locked.whole() * FRAME_BYTES, locked.lists.split_objects);
        let (partial, free_units) = (locked.lists.partial, locked.lists.free_units);
        // Whole frames are not in it: they are no list of what is scattered.
        let lists_in_use = locked.sizes_within(1, UNITS - 1).count_ones();
        let base = self.base.stats();
        drop(locked);
        let left = if self.max_blocks > 1 { LEFT_A_FRAME } else { LEFT_A_FRAME_UNSPLIT };
        let units = UNITS as usize;
        let needed = (partial * units - free_units).div_ceil(units - left);
        Stats {
            frame_bytes: base.frame_bytes.saturating_sub(whole as u64),
            idle_frame_bytes: base.idle_frame_bytes + whole as u64,
            reclaimable_bytes: (partial.saturating_sub(needed) * FRAME_BYTES) as u64,
            lists_in_use: u64::from(lists_in_use),
            split_objects: split as u64,
            ..base
        }
    }

    pub(super) fn audit(&self) -> Result<(), String> {
        self.drain_all_deferred();
        let live: Vec<_> = self.frames.slab.live().map(|(id, _)| id).collect();
        let locked = self.frames.lock();
        locked.check(&live)?;
        let mut found = self.audit_frames(&locked, &live)?;
        let (objects, payload, split) = self.audit_entries(&mut found)?;
        if let Some(((id, unit), (index, _))) = found.iter().next() {
            return Err(format!(
                "I-CHAIN: the block of frame {} at unit {unit} says index {index}, which does not say it",
                id.get()
            ));
        }
        if split != locked.lists.split_objects {
            let counted = locked.lists.split_objects;
            return Err(format!("I-COUNT: {split} objects are split, {counted} counted"));
        }
        drop(locked);
        self.audit_sums(objects, payload, live.len())?;
        self.frames.slab.validate()?;
        self.base.arena.validate()
    }

    /// All used blocks, with the index that their headers say and their units.
    fn audit_frames(&self, locked: &Locked<'_>, live: &[DescriptorId]) -> Result<Found, String> {
        let mut found = Found::new();
        for &id in live {
            let guard = self.frames.slab.try_read(id);
            let guard = guard.map_err(|_| format!("frame {} is held", id.get()))?;
            for block in locked.blocks(id).used_blocks() {
                let offset = block.unit as usize * UNIT_BYTES;
                let header = &guard.parts().1[offset..offset + HEADER_BYTES];
                let index = match block.units {
                    UNITS => locked.owner(id),
                    _ => super::header::read_index(header).unwrap_or_default(),
                };
                if block.units < UNITS && !is_intact(header, index) {
                    return Err(Broken { index, frame: id, offset }.to_string());
                }
                found.insert((id, block.unit), (index, block.units));
            }
        }
        Ok(found)
    }

    /// Takes the blocks of each live entry out of what was found. Objects, payload, objects of several blocks.
    fn audit_entries(&self, found: &mut Found) -> Result<(u64, u64, usize), String> {
        let (mut objects, mut payload, mut split) = (0, 0, 0);
        let used = self.base.entries.used();
        for index in 0..u32::try_from(used).expect("a table has fewer than 2^32 entries") {
            // The page of indices that are all retired may have gone back for good.
            let state = self.base.entries.get(index).map(|cell| Entry::state(cell.load()));
            let Some(State::Live(place @ Place::Span { .. })) = state else {
                if self.sides.len(index) != 0 {
                    return Err(format!("I-CHAIN: index {index} has side words and no object"));
                }
                continue;
            };
            let chain = self.sides.chain(index, place);
            let chain = chain
                .ok_or_else(|| format!("I-CHAIN: the side words of index {index} make no chain"))?;
            for part in chain.parts() {
                let block = found.remove(&(part.id, part.unit));
                if block != Some((index, part.units())) {
                    return Err(format!(
                        "I-CHAIN: index {index} says {part:?}, where {block:?} (index, units) is"
                    ));
                }
            }
            objects += 1;
            payload += chain.len() as u64;
            split += usize::from(chain.is_split());
        }
        Ok((objects, payload, split))
    }

    fn audit_sums(&self, objects: u64, payload: u64, frames: usize) -> Result<(), String> {
        let counted = self.base.counters.sums();
        if (objects, payload) != counted {
            return Err(format!(
                "I-COUNT: {objects} objects of {payload} bytes, {counted:?} counted"
            ));
        }
        let allocated = self.base.arena.stats().allocated;
        if frames != allocated {
            return Err(format!("I-COUNT: {frames} frames live, {allocated} allocated"));
        }
        self.base.entries.check(objects)?;
        let (used, limit) = (self.base.memory.used(), self.base.memory.limit());
        if used > limit {
            return Err(format!("I-LIMIT: {used} frames charged of a limit of {limit}"));
        }
        Ok(())
    }
}
