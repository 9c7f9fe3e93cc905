//! Reclaim evicts the objects of the frame filled longest ago.
//!
//! 1. *Seize*, under the lock: take it off its lists.
//! 2. *Evict* its handles, without a lock.
//! 3. *Put back*, under the lock: free the empty frame, or list it as filled last.
//!
//! Meanwhile no other thread fills, joins or frees the frame. A free or overwrite of its objects counts as an eviction.

use pagefold_frame::{DescriptorId, Release};

use super::{Object, Zbud, layout::Side};
use crate::{
    contract::{Evict, Reclaimed},
    error::ReclaimError,
    handle::Handle,
};

/// Drop puts the frame back, also if the evictor panics.
#[derive(Debug)]
struct Seized<'a> {
    pool: &'a Zbud,
    id: DescriptorId,
}

impl Seized<'_> {
    /// `Some`: the empty frame is freed.
    fn put_back(self) -> Option<Release> {
        let (pool, id) = (self.pool, self.id);
        std::mem::forget(self);
        pool.put_back(id)
    }
}

impl Drop for Seized<'_> {
    fn drop(&mut self) {
        self.pool.put_back(self.id);
    }
}

impl Zbud {
    pub(super) fn reclaim_frame(
        &self,
        retries: u32,
        evict: &mut Evict<'_>,
    ) -> Result<Reclaimed, ReclaimError> {
        if retries == 0 && !self.lists.lock(&self.frames).is_empty() {
            return Err(ReclaimError::Again { tried: 0 });
        }
        for tried in 0..retries {
            let Some((seized, handles)) = self.seize() else {
                // Other threads took the rest.
                return Err(match tried {
                    0 => ReclaimError::NothingToReclaim,
                    _ => ReclaimError::Again { tried },
                });
            };
            for handle in handles.into_iter().flatten() {
                // Freed meanwhile: no failure.
                if self.base.find(handle).is_ok() && evict(handle).is_err() {
                    break;
                }
            }
            if let Some(release) = seized.put_back() {
                let deferred = release == Release::Later;
                return Ok(Reclaimed { frames: 1, kept: tried, deferred });
            }
        }
        Err(match retries {
            0 => ReclaimError::NothingToReclaim,
            tried => ReclaimError::Again { tried },
        })
    }

    fn seize(&self) -> Option<(Seized<'_>, [Option<Handle>; 2])> {
        let mut lists = self.lists.lock(&self.frames);
        let id = lists.seize_oldest()?;
        let handles = Side::BOTH.map(|side| {
            let Object { found, .. } = self.object_on(&lists, id, side)?;
            Some(self.base.handle_of(&found))
        });
        drop(lists);
        Some((Seized { pool: self, id }, handles))
    }

    fn put_back(&self, id: DescriptorId) -> Option<Release> {
        let empty = self.lists.lock(&self.frames).put_back(id);
        empty.then(|| self.frames.reap(id))
    }
}
