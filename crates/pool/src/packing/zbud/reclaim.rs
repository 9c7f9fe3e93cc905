//! Reclaim: evicts the objects of the frame that was filled longest ago.
//!
//! ```text
//!  seize      under the lock: off the order of use and its set, marked, its handles remembered
//!  evict      for each handle, without a lock: a free meanwhile only empties its side
//!  put back   under the lock: empty, so it is freed; or listed again, as the frame filled last
//! ```
//! Meanwhile no other thread fills, joins or frees the frame, so its id stays valid. A thread may free or overwrite its
//! objects elsewhere, which counts as an eviction, or move the frame, which does not matter.

use pagefold_frame::{DescriptorId, Release};

use super::{Object, Zbud, layout::Side};
use crate::{
    contract::{Evict, Reclaimed},
    error::ReclaimError,
    handle::Handle,
};

/// A frame under reclaim; dropping it puts the frame back, also if the evictor panics.
#[derive(Debug)]
struct Seized<'a> {
    pool: &'a Zbud,
    id: DescriptorId,
}

impl Seized<'_> {
    /// Puts the frame back. `Some`: it was empty and is freed, now or after its last reader.
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
                // Other threads seized the rest, or freed it.
                return Err(match tried {
                    0 => ReclaimError::NothingToReclaim,
                    _ => ReclaimError::Again { tried },
                });
            };
            for handle in handles.into_iter().flatten() {
                // Another thread freed it, or the evictor did with its buddy: no failure.
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

    /// Takes the frame filled longest ago under reclaim, with the handles of its objects.
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
