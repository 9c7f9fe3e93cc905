//! Store, overwrite and free.
//!
//! - *Store* fills the tightest lone frame that it can lock for writing, or a new frame.
//! - *Free* exchanges the handle entry, which decides the freeing thread, and empties the side. It takes no guard:
//!   filling takes the write guard, so an open read keeps its bytes.
//! - *Overwrite* beside a reader puts the new bytes on another side.
//!
//! Entry and sides change under one lock of the lists (I-SIDE); bytes are copied outside of it.

use pagefold_frame::{DescriptorId, FrameCount, ReserveAccess, WriteGuard};

use super::{
    Zbud,
    layout::{Side, SideSlot, chunks_for},
    lists::{Filled, Locked, WORDS},
    slot_of,
};
use crate::engine::{Attempt, Content, Found, Location, NoRoom};

/// Lone frames to try before a new one.
pub(super) const CANDIDATES: usize = 16;
const CANDIDATES_AT_LIMIT: usize = 1024;

pub(super) type FrameGuard<'a> = WriteGuard<'a, (), WORDS>;

/// The index, and the old location.
type Object = (u32, Option<(DescriptorId, SideSlot)>);

impl Zbud {
    /// Empties the old side. `Ok(false)`: `publish` refused; nothing changed.
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
                // A reader of the entry waits for the write guard.
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
        // No other thread knows of the frame yet.
        content.copy_to(0, &mut guard.parts().1[slot.range()]);
        let entered = self.enter(self.lists.lock(&self.frames), guard.id(), slot, object, publish);
        if !entered {
            guard.retire();
        }
        Ok(entered)
    }

    /// The tightest with room and no guard in the way.
    fn lone_frame(&self, len: usize, candidates: usize) -> Option<(Locked<'_>, FrameGuard<'_>)> {
        let lists = self.lists.lock(&self.frames);
        let mut lone = lists.lone(chunks_for(len)).take(candidates);
        let guard = lone.find_map(|id| self.frames.try_write(id).ok())?;
        drop(lone);
        Some((lists, guard))
    }

    /// Under the frame's write guard. `false`: `publish` refused; nothing changed.
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
        // The new side first: their common frame is never empty.
        lists.fill(id, slot, index, Filled::Anew);
        if let Some((id, slot)) = old {
            self.vacate(lists, id, slot.side);
        }
        true
    }

    /// `false`: the entry changed.
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

    /// Never waits: the last reader may free the frame.
    fn vacate(&self, mut lists: Locked<'_>, id: DescriptorId, side: Side) {
        let last = lists.empty(id, side);
        drop(lists);
        if last {
            self.frames.reap(id);
        }
    }
}
