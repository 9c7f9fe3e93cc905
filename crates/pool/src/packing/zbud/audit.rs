//! Stats and validation.

use std::collections::HashSet;

use pagefold_frame::DescriptorId;

use super::{
    Zbud,
    layout::{CHUNKS, Side, SideChunks},
    lists::Locked,
};
use crate::engine::Audit;

impl Zbud {
    pub(super) fn audit_frames(&self, audit: &mut Audit<'_>) -> Result<(), String> {
        let frames: Vec<DescriptorId> = self.frames.live().map(|(id, _)| id).collect();
        audit.frames(frames.len());
        let lists = self.lists.lock(&self.frames);
        let (mut in_order, mut lone) = (HashSet::new(), [0; CHUNKS]);
        for id in frames {
            let sides = lists.sides(id);
            self.audit_sides(&lists, id, sides, audit)?;
            if !sides.under_reclaim() {
                in_order.insert(id);
            }
            let listed = (sides.lone().is_some() && !sides.under_reclaim()).then(|| sides.free());
            if let Some(free) =
                (0..CHUNKS).find(|&free| lists.is_listed(id, free) != (listed == Some(free)))
            {
                return Err(format!(
                    "I-UNBUDDIED: frame {} ({sides:?}) is wrongly in the set of {free} free chunks, or not in it",
                    id.get()
                ));
            }
            if let Some(free) = listed {
                lone[free] += 1;
            }
        }
        audit_sets(&lists, &lone)?;
        lists.walk(&mut |id| in_order.remove(&id))?;
        if let Some(id) = in_order.iter().next() {
            return Err(format!("I-ORDER: frame {} is not in the order of use", id.get()));
        }
        drop(lists);
        self.frames.validate()
    }

    fn audit_sides(
        &self,
        lists: &Locked<'_>,
        id: DescriptorId,
        sides: SideChunks,
        audit: &mut Audit<'_>,
    ) -> Result<(), String> {
        let chunks: usize = Side::BOTH.iter().map(|&side| sides.chunks(side)).sum();
        if chunks > CHUNKS || sides.is_empty() && !sides.under_reclaim() {
            return Err(format!("I-SIDE: frame {} holds nothing or too much: {sides:?}", id.get()));
        }
        for side in Side::BOTH {
            let chunks = sides.chunks(side);
            if lists.index(id, side).is_none() && chunks == 0 {
                continue;
            }
            let Some(object) = self.object_on(lists, id, side) else {
                return Err(format!(
                    "I-SIDE: frame {}, {side:?}, of {chunks} chunks: index {:?} does not say it",
                    id.get(),
                    lists.index(id, side)
                ));
            };
            audit.object(object.slot.len);
        }
        Ok(())
    }
}

fn audit_sets(lists: &Locked<'_>, lone: &[u32; CHUNKS]) -> Result<(), String> {
    if lists.counts() != lone {
        return Err(format!("I-UNBUDDIED: {lone:?} by free chunks, {:?} counted", lists.counts()));
    }
    for (free, &count) in lone.iter().enumerate() {
        let members = lists.lone(free).take_while(|&id| lists.sides(id).free() == free).count();
        if members != count as usize || (count > 0) != (lists.in_use() >> free & 1 == 1) {
            return Err(format!(
                "I-UNBUDDIED: {count} frames with {free} free chunks, {members} in their set"
            ));
        }
    }
    Ok(())
}

/// Pairs of lone frames that compaction would join.
pub(super) fn pairs(lone: &[u32; CHUNKS]) -> usize {
    let mut left = *lone;
    let (mut pairs, mut partner) = (0, 0);
    // The smallest object goes to the tightest partner, as in compaction.
    for free in (0..CHUNKS).rev() {
        partner = partner.max(CHUNKS - free);
        while left[free] > 0 && partner <= free {
            let joined =
                if partner == free { left[free] / 2 } else { left[free].min(left[partner]) };
            pairs += joined as usize;
            left[free] -= joined;
            left[partner] -= joined;
            if left[free] > 0 {
                partner += 1;
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs_one_by_one(lone: &[u32; CHUNKS]) -> usize {
        let mut free: Vec<usize> =
            (0..CHUNKS).flat_map(|free| vec![free; lone[free] as usize]).collect();
        let mut pairs = 0;
        while let Some(roomiest) = free.pop() {
            let chunks = CHUNKS - roomiest;
            if let Some(at) = free.iter().position(|&other| other >= chunks) {
                free.remove(at);
                pairs += 1;
            }
        }
        pairs
    }

    #[test]
    fn pairs_by_count_are_the_pairs_one_by_one() {
        let mut state = 0x5eed_u64;
        for round in 0..2000 {
            let lone = std::array::from_fn(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let often = 1 + round % 7;
                u32::try_from(state >> 40).expect("24 bits") % often / (often / 2 + 1) * 2
                    + u32::from(state >> 61 == 0)
            });
            assert_eq!(pairs(&lone), pairs_one_by_one(&lone), "round {round}: {lone:?}");
        }
        assert_eq!(pairs(&[0; CHUNKS]), 0);
    }
}
