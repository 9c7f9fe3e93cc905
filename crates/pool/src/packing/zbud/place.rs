//! Store, overwrite and free.
//!
//! *Store* fills the empty side of the tightest lone frame that it can lock for writing, or takes a new frame. *Free*
//! exchanges the handle entry, which decides the freeing thread, and empties the side. It takes no guard: a side is
//! filled only under the write guard, so an open read keeps its bytes. An overwrite that finds a reader puts the new
//! bytes on another side and empties the old one.
//!
//! Each changes the entry and its sides under one lock of the lists (I-SIDE), so reclaim and compaction find no
//! operation half done. Bytes are copied outside of it: a store publishes its entry first, and readers wait for the
//! write guard.

use pagefold_frame::{DescriptorId, FrameCount, ReserveAccess, WriteGuard};

use super::{
    Zbud,
    layout::{Side, SideSlot, chunks_for},
    lists::{Filled, Locked, WORDS},
    slot_of,
};
use crate::engine::{Attempt, Content, Found, Location, NoRoom};

/// Lone frames tried for writing before a new one is taken: readers may have some locked.
pub(super) const CANDIDATES: usize = 16;
/// As before, when there are no new frames.
const CANDIDATES_AT_LIMIT: usize = 1024;

pub(super) type FrameGuard<'a> = WriteGuard<'a, (), WORDS>;

/// The index of an object, and its old location if it gets new bytes.
type Object = (u32, Option<(DescriptorId, SideSlot)>);

impl Zbud {
    /// Puts `content` on a side and publishes it; empties the object's old side, if any. `Ok(false)`: `publish`
    /// refused, and nothing has changed.
    pub(super) fn put(
        &self,
        content: Content<'_>,
        object: Object,
        access: ReserveAccess,
        attempt: Attempt,
        publish: impl FnOnce(Location) -> bool,
    ) -> Result<bool, NoRoom> {
        let len = content.len();
        let candidates = match attempt {
            Attempt::First => CANDIDATES,
            Attempt::AtLimit => CANDIDATES_AT_LIMIT,
        };
        if let Some((lists, mut guard)) = self.lone_frame(len, candidates) {
            let (_, empty) =
                lists.sides(guard.id()).lone().expect("I-UNBUDDIED: it has one object");
            let slot = SideSlot { side: empty, len };
            let entered = self.enter(lists, guard.id(), slot, object, publish);
            if entered {
                // The lists are unlocked. A reader that finds the entry waits for the write guard.
                content.copy_to(0, &mut guard.parts().1[slot.range()]);
            }
            return Ok(entered);
        }
        let mut guard = self.frames.create(FrameCount::ONE, access, ())?;
        if let Err(error) = self.lists.ensure(guard.id(), access) {
            guard.retire();
            return Err(NoRoom::from(error));
        }
        let slot = SideSlot { side: Side::First, len };
        // No other thread knows of the frame yet, so none waits for the guard.
        content.copy_to(0, &mut guard.parts().1[slot.range()]);
        let entered = self.enter(self.lists.lock(&self.frames), guard.id(), slot, object, publish);
        if !entered {
            guard.retire();
        }
        Ok(entered)
    }

    /// The tightest lone frame with room for `len` bytes and no guard in the way, and the lists locked.
    fn lone_frame(&self, len: usize, candidates: usize) -> Option<(Locked<'_>, FrameGuard<'_>)> {
        let lists = self.lists.lock(&self.frames);
        let mut lone = lists.lone(chunks_for(len)).take(candidates);
        let guard = lone.find_map(|id| self.frames.try_write(id).ok())?;
        drop(lone);
        Some((lists, guard))
    }

    /// Under a frame's write guard, publishes a slot, fills its side, and empties the object's old one. `false`:
    /// `publish` refused, and nothing has changed.
    fn enter(
        &self,
        mut lists: Locked<'_>,
        id: DescriptorId,
        slot: SideSlot,
        (index, old): Object,
        publish: impl FnOnce(Location) -> bool,
    ) -> bool {
        if !publish(Location::Slot { id, slot: slot.bits() }) {
            return false;
        }
        // The new side first: if both are in one frame, it is never empty.
        lists.fill(id, slot, index, Filled::Anew);
        if let Some((id, slot)) = old {
            self.vacate(lists, id, slot.side);
        }
        true
    }

    /// Makes the entry vacant and empties the side. `false`: the entry is not the one found any more.
    pub(super) fn free_side(&self, found: &Found<'_>) -> bool {
        let (id, slot) = slot_of(found);
        let lists = self.lists.lock(&self.frames);
        let vacant = found.make_vacant();
        if vacant {
            self.vacate(lists, id, slot.side);
            self.base.counters.remove_payload(slot.len);
            self.base.handles.give_back(found.index);
        }
        vacant
    }

    /// Empties a side that no entry names and frees an empty frame, or leaves that to its last reader. Never waits.
    fn vacate(&self, mut lists: Locked<'_>, id: DescriptorId, side: Side) {
        let last = lists.empty(id, side);
        drop(lists);
        if last {
            self.frames.reap(id);
        }
    }
}
