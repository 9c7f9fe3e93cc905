//! Stats and validation.

use std::collections::HashMap;

use pagefold_frame::{DescriptorId, FRAME_BYTES};

use super::{
    Xcfmalloc,
    blocks::{UNIT_BYTES, UNITS},
    header::{Broken, HEADER_BYTES, is_intact, read_index},
    lists::Locked,
};
use crate::{engine::Audit, stats::Stats};

/// Units left free in a compacted frame, as measured: chains, and single blocks.
const LEFT_A_FRAME: usize = 6;
const LEFT_A_FRAME_UNSPLIT: usize = 24;

type FoundBlocks = HashMap<(DescriptorId, u32), (u32, u32)>;

impl Xcfmalloc {
    pub(super) fn account_blocks(&self, stats: &mut Stats) {
        let locked = self.frames.lock();
        let (free, split) = (locked.entirely_free() * FRAME_BYTES, locked.lists.split_objects);
        let (partial, free_units) = (locked.lists.partial, locked.lists.free_units);
        let lists_in_use = locked.sizes_within(1, UNITS - 1).count_ones();
        drop(locked);
        let left = if self.max_blocks > 1 { LEFT_A_FRAME } else { LEFT_A_FRAME_UNSPLIT };
        let units = UNITS as usize;
        let needed = (partial * units - free_units).div_ceil(units - left);
        stats.frame_bytes = stats.frame_bytes.saturating_sub(free as u64);
        stats.idle_frame_bytes += free as u64;
        stats.reclaimable_bytes = (partial.saturating_sub(needed) * FRAME_BYTES) as u64;
        stats.lists_in_use = u64::from(lists_in_use);
        stats.split_objects = split as u64;
    }

    pub(super) fn audit_blocks(&self, audit: &mut Audit<'_>) -> Result<(), String> {
        let live: Vec<_> = self.frames.slab.live().map(|(id, _)| id).collect();
        let locked = self.frames.lock();
        locked.check(&live)?;
        let mut found = self.audit_frames(&locked, &live)?;
        let split = self.audit_entries(&mut found, audit)?;
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
        audit.frames(live.len());
        self.frames.slab.validate()
    }

    fn audit_frames(
        &self,
        locked: &Locked<'_>,
        live: &[DescriptorId],
    ) -> Result<FoundBlocks, String> {
        let mut found = FoundBlocks::new();
        for &id in live {
            let guard = self.frames.slab.try_read(id);
            let guard = guard.map_err(|_| format!("frame {} is locked", id.get()))?;
            for block in locked.blocks(id).used_blocks() {
                let offset = block.unit as usize * UNIT_BYTES;
                let header = &guard.parts().1[offset..offset + HEADER_BYTES];
                let index = match block.units {
                    UNITS => locked.owner(id),
                    _ => read_index(header).unwrap_or_default(),
                };
                if block.units < UNITS && !is_intact(header, index) {
                    return Err(Broken { index, frame: id, offset }.to_string());
                }
                found.insert((id, block.unit), (index, block.units));
            }
        }
        Ok(found)
    }

    fn audit_entries(
        &self,
        found: &mut FoundBlocks,
        audit: &mut Audit<'_>,
    ) -> Result<usize, String> {
        let mut split = 0;
        for (index, location) in self.base.handles.objects() {
            let Some(location) = location else {
                if self.sides.len(index) != 0 {
                    return Err(format!("I-CHAIN: index {index} has side words and no object"));
                }
                continue;
            };
            let chain = self.sides.chain(index, location);
            let chain = chain
                .ok_or_else(|| format!("I-CHAIN: the side words of index {index} make no chain"))?;
            for part in chain.blocks() {
                let block = found.remove(&(part.id, part.unit));
                if block != Some((index, part.units())) {
                    return Err(format!(
                        "I-CHAIN: index {index} says {part:?}, where {block:?} (index, units) is"
                    ));
                }
            }
            audit.object(chain.len());
            split += usize::from(chain.is_split());
        }
        Ok(split)
    }
}
