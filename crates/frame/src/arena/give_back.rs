//! Free frames go back: from caches to the buddy allocator, and from there to the system.

use super::{Arena, ENTIRELY_FREE_KEPT};
use crate::{FRAME_BYTES, PAGEBLOCK_FRAMES, buddy::FreeBlock, cache::CACHED_ORDERS};

/// Free blocks given back with one system call.
const TRIM_BATCH: usize = 1024;

impl Arena {
    /// Gives entirely free pageblocks back to the system, all but those that stay for the next allocation.
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

    /// Gives detached blocks to the system and puts them back as free. Returns how many frames went.
    pub(super) fn give_back(&self, blocks: &mut Vec<FreeBlock>) -> usize {
        let ranges: Vec<_> = blocks
            .iter()
            .map(|block| {
                block.start.byte_offset()..block.start.byte_offset() + (FRAME_BYTES << block.order)
            })
            .collect();
        // SAFETY: the blocks are detached: no descriptor owns them and the allocator does not hand them out.
        let given_back =
            unsafe { self.memory.source().decommit(&self.reservation, &ranges) }.is_ok();
        let mut gone = 0;
        for block in blocks.drain(..) {
            gone += self.buddy.lock().reattach(block, given_back) as usize;
        }
        self.uncharge(gone);
        gone
    }

    /// Gives all free frames back, some hundred a system call, the allocator usable in between.
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

    /// Makes room under the limit: gives free frames, cached ones too, back to the system. `true`: there were some.
    pub fn reclaim(&self) -> bool {
        if self.stats().idle == 0 {
            return false;
        }
        let _reclaim = self.reclaim.lock();
        self.drain_caches();
        self.give_back_free() > 0
    }

    /// Gives everything that is free back to the system: caches, free frames, owner words of entirely free pageblocks.
    /// Returns the bytes of frames and the bytes of tables that went.
    pub fn trim(&self) -> (usize, usize) {
        let _reclaim = self.reclaim.lock();
        self.drain_caches();
        let frames = self.give_back_free();
        let (mut cursor, mut pages) = (Some(0), 0);
        while cursor.is_some() {
            // Held so that no pageblock is opened meanwhile; owner words of entirely free ones are not written.
            let buddy = self.buddy.lock();
            // SAFETY: owner words are written only for frames of pageblocks in use, and none of these is, or can
            // become so while the allocator's lock is held.
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
