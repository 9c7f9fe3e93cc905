//! Store, overwrite and free.
//!
//! *Store* fills the empty side of the tightest lone frame that it can lock for writing, and takes a new frame if there is
//! none. *Free* exchanges the handle entry, which decides which thread frees, and empties the side; it takes no guard, so
//! the bytes that an open read sees stay: a side is filled under the write guard only. An overwrite that finds a reader
//! puts the new bytes on another side and empties the old one.
//!
//! Each of them changes the entry and the sides that it concerns under one lock of the lists (I-SIDE), so a thread that
//! has the lock, to reclaim or to compact, finds no operation half done. Bytes are copied outside of it: a store that
//! fills a side publishes its entry first, and readers wait for its write guard.

use pagefold_frame::{DescriptorId, FrameCount, ReserveAccess, WriteGuard};

use super::{
    Zbud,
    layout::{Side, Slot, chunks_for},
    lists::{Filled, Locked, WORDS},
    slot_of,
};
use crate::engine::{Attempt, Content, Found, Location, NoRoom};

/// Lone frames tried for writing before a new one is taken: readers may have some.
pub(super) const CANDIDATES: usize = 16;
/// As before, when there are no new frames.
const CANDIDATES_AT_LIMIT: usize = 1024;

/// The write guard of a frame.
pub(super) type FrameGuard<'a> = WriteGuard<'a, (), WORDS>;

/// The index of an object, and where it was before if it gets new bytes.
type Object = (u32, Option<(DescriptorId, Slot)>);

impl Zbud {
    /// Puts `content` on a side and publishes it; if the object was on another side before, that one is empty then.
    /// `Ok(false)`: `publish` refused, and nothing has changed.
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
                lists.shape(guard.id()).lone().expect("I-UNBUDDIED: it has one object");
            let slot = Slot { side: empty, len };
            let entered = self.enter(lists, guard.id(), slot, object, publish);
            if entered {
                // The lists are not locked any more. A reader that finds the entry waits for the write guard.
                content.copy_to(0, &mut guard.parts().1[slot.range()]);
            }
            return Ok(entered);
        }
        let mut guard = self.frames.create(FrameCount::ONE, access, ())?;
        if let Err(error) = self.lists.ensure(guard.id(), access) {
            guard.retire();
            return Err(NoRoom::from(error));
        }
        let slot = Slot { side: Side::First, len };
        // Before any other thread knows of the frame, so none waits for the guard.
        content.copy_to(0, &mut guard.parts().1[slot.range()]);
        let entered = self.enter(self.lists.lock(&self.frames), guard.id(), slot, object, publish);
        if !entered {
            guard.retire();
        }
        Ok(entered)
    }

    /// The tightest lone frame with room for `len` bytes that no guard is in the way of, and the lists locked.
    fn lone_frame(&self, len: usize, candidates: usize) -> Option<(Locked<'_>, FrameGuard<'_>)> {
        let lists = self.lists.lock(&self.frames);
        let mut lone = lists.lone(chunks_for(len)).take(candidates);
        let guard = lone.find_map(|id| self.frames.try_write(id).ok())?;
        drop(lone);
        Some((lists, guard))
    }

    /// Publishes a slot of a frame that the caller has the write guard of, fills the side, and empties the one where the
    /// object was before. `false`, and nothing has changed: `publish` refused.
    fn enter(
        &self,
        mut lists: Locked<'_>,
        id: DescriptorId,
        slot: Slot,
        (index, old): Object,
        publish: impl FnOnce(Location) -> bool,
    ) -> bool {
        if !publish(Location::Slot { id, slot: slot.bits() }) {
            return false;
        }
        // The new side first: both may be sides of one frame, which is then never empty.
        lists.fill(id, slot, index, Filled::Anew);
        if let Some((id, slot)) = old {
            self.vacate(lists, id, slot.side);
        }
        true
    }

    /// Makes the entry vacant and empties the side. `false`: the entry is not what was found any more.
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

    /// Empties a side that no entry says any more, and frees the frame if that was its last object. Never waits: the
    /// last reader frees the frame if there is one.
    fn vacate(&self, mut lists: Locked<'_>, id: DescriptorId, side: Side) {
        let last = lists.empty(id, side);
        drop(lists);
        if last {
            self.frames.reap(id);
        }
    }
}
