//! Checks of a quiescent allocator.

use super::{
    Buddy, ENTIRELY_FREE, tree,
    words::{ISOLATED_COUNT, ISOLATED_FREE, LISTED_COUNT},
};
use crate::{PAGEBLOCK_FRAMES, units::PAGEBLOCK_ORDER};

impl Buddy {
    /// Checks I-BUDDY and I-TOUCH; returns free and touched frames.
    pub(crate) fn audit(&self) -> Result<(u64, u64), String> {
        let (mut free, mut touched, mut free_touched) = (0, 0, 0);
        for pageblock in 0..self.high_water_mark {
            let block = self.block(pageblock);
            let in_block = block.count_touched(0, PAGEBLOCK_FRAMES);
            touched += u64::from(in_block);
            if block.get(ISOLATED_COUNT) != 0
                || block.count(ISOLATED_FREE, 0, PAGEBLOCK_FRAMES) != 0
            {
                return Err(format!(
                    "I-ISOLATED: pageblock {pageblock} is isolated in a quiescent arena"
                ));
            }
            let Some(kind) = self.kind_of(pageblock) else {
                if !self.forest.contains(ENTIRELY_FREE, pageblock as usize) {
                    return Err(format!(
                        "I-BUDDY: pageblock {pageblock} has no kind and is not entirely free"
                    ));
                }
                free += u64::from(PAGEBLOCK_FRAMES);
                free_touched += u32::from(in_block > 0);
                continue;
            };
            let before = free;
            let mut covered = [false; PAGEBLOCK_FRAMES as usize];
            for order in 0..PAGEBLOCK_ORDER {
                let listed = self.forest.contains(tree(kind, order), pageblock as usize);
                if listed != block.first_free(order).is_some() {
                    return Err(format!(
                        "I-BUDDY: order {order} of pageblock {pageblock} is listed wrongly"
                    ));
                }
                for frame in (0..PAGEBLOCK_FRAMES)
                    .step_by(1 << order)
                    .filter(|&frame| block.is_free(order, frame))
                {
                    if block.is_free(order, frame ^ (1 << order)) {
                        return Err(format!(
                            "I-BUDDY: unmerged buddies at frame {frame} of pageblock {pageblock}"
                        ));
                    }
                    for place in &mut covered[frame as usize..(frame + (1 << order)) as usize] {
                        if std::mem::replace(place, true) {
                            return Err(format!(
                                "I-BUDDY: frame {frame} of pageblock {pageblock} is free twice"
                            ));
                        }
                    }
                    free += 1 << order;
                }
            }
            if free - before != block.get(LISTED_COUNT) {
                return Err(format!(
                    "I-BUDDY: {} frames of pageblock {pageblock} are free, {} counted",
                    free - before,
                    block.get(LISTED_COUNT)
                ));
            }
        }
        if free_touched != self.free_touched {
            return Err(format!(
                "I-TOUCH: {free_touched} entirely free pageblocks are touched, not {}",
                self.free_touched
            ));
        }
        Ok((free, touched))
    }
}
