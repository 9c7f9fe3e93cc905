//! Gives free frames back: from caches to the buddy allocator, and to the system.

use super::{Arena, ENTIRELY_FREE_KEPT};
use crate::{FRAME_BYTES, PAGEBLOCK_FRAMES, buddy::FreeBlock, cache::CACHED_ORDERS};

/// Free blocks a system call.
const TRIM_BATCH: usize = 1024;

impl Arena {
    /// Gives back entirely free pageblocks beyond those kept.
    pub(crate) fn give_back_entirely_free(&self) {
        let mut blocks = Vec::new();
        let mut buddy = self.buddy.lock();
        while buddy.free_touched() > ENTIRELY_FREE_KEPT
            && let Some(block) = buddy.detach_one_entirely_free()
        {
            blocks.push(block);
        }
        drop(buddy);
        if !blocks.is_empty() {
            self.give_back(&mut blocks);
        }
    }

    pub(crate) fn drain_caches(&self) {
        for cache in &self.caches {
            for order in 0..CACHED_ORDERS {
                loop {
                    let Some(start) = cache.lock().pop(order) else { break };
                    self.buddy.lock().put(start, order);
                }
            }
        }
    }

    /// Gives detached blocks to the system and reattaches them; returns the frames that went.
    pub(super) fn give_back(&self, blocks: &mut Vec<FreeBlock>) -> usize {
        let ranges: Vec<_> = blocks
            .iter()
            .map(|block| {
                block.start.byte_offset()..block.start.byte_offset() + (FRAME_BYTES << block.order)
            })
            .collect();
        // SAFETY: detached blocks have no owner, and the allocator does not hand them out.
        let given_back =
            unsafe { self.memory.source().decommit(&self.reservation, &ranges) }.is_ok();
        let mut gone = 0;
        for block in blocks.drain(..) {
            gone += self.buddy.lock().reattach(block, given_back) as usize;
        }
        self.uncharge(gone);
        gone
    }

    /// Gives back all free frames; the allocator is usable between batches.
    pub(crate) fn give_back_free(&self) -> usize {
        let (mut blocks, mut gone, mut pageblock) = (Vec::new(), 0, 0);
        loop {
            let mut buddy = self.buddy.lock();
            while pageblock < buddy.high_water_mark() && blocks.len() < TRIM_BATCH {
                buddy.detach_touched(pageblock, &mut blocks);
                pageblock += 1;
            }
            drop(buddy);
            if blocks.is_empty() {
                return gone;
            }
            gone += self.give_back(&mut blocks);
        }
    }

    /// Gives free and cached frames back to the system. `true`: some went.
    pub fn reclaim(&self) -> bool {
        if self.stats().idle == 0 {
            return false;
        }
        let _reclaim = self.reclaim.lock();
        self.drain_caches();
        self.give_back_free() > 0
    }

    /// Gives all free memory back: caches, free frames, owner words. Returns bytes of frames and of tables.
    pub fn trim(&self) -> (usize, usize) {
        let _reclaim = self.reclaim.lock();
        self.drain_caches();
        let frames = self.give_back_free();
        let (mut cursor, mut pages) = (Some(0), 0);
        while cursor.is_some() {
            // Locked so that no pageblock is opened meanwhile.
            let buddy = self.buddy.lock();
            // SAFETY: owner words are written only for pageblocks in use; none of these is, or can become so under
            // this lock.
            pages += unsafe {
                self.owners.release_vacant(&mut cursor, &mut |entries| {
                    let first = entries.start / PAGEBLOCK_FRAMES as usize;
                    let last = (entries.end - 1) / PAGEBLOCK_FRAMES as usize;
                    (first..=last).all(|pageblock| buddy.is_entirely_free(pageblock))
                })
            };
        }
        (frames * FRAME_BYTES, pages * FRAME_BYTES)
    }
}
