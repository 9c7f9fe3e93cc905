//! Where a new object goes:
//!
//! 1. of a huge class: a frame of its own
//! 2. the fullest unlocked zspage of its class
//! 3. a new zspage
//! 4. without frames: deferred work, and again; a slot of a larger class

use pagefold_frame::{ChainBytesMut, DescriptorId, FrameCount, OutOfFrames, ReserveAccess};
use pagefold_sys::sync;

use super::{
    Zsmalloc, ZspageGuard,
    groups::listed,
    layout::is_split,
    zspage::{Body, Zspage},
};
use crate::engine::{Content, Location, NoRoom, SlotPacking, drain_all};

const CANDIDATES: usize = 4;
/// Looks at a class whose zspages with room are locked.
const LOOKS: usize = if cfg!(loom) { 1 } else { 4 };
const ATTEMPTS_AT_LIMIT: usize = if cfg!(loom) { 2 } else { 64 };

impl Zsmalloc {
    pub(super) fn place_in_class(
        &self,
        class: usize,
        content: Content<'_>,
        index: u32,
        access: ReserveAccess,
        publish: impl FnOnce(Location) -> bool,
    ) -> Result<bool, NoRoom> {
        let mut guard = self.zspage_with_room(class, access)?;
        let id = guard.id();
        let slot = self.take(&mut guard, content.len(), index);
        self.zspage(&mut guard).write(slot, content);
        let published = publish(Location::Slot { id, slot });
        if !published {
            self.give(&mut guard, slot);
        }
        self.unlock_and_relist(guard);
        Ok(published)
    }

    pub(super) fn zspage<'a>(
        &self,
        guard: &'a mut ZspageGuard<'_>,
    ) -> Zspage<'a, ChainBytesMut<'a>> {
        let (body, frames) = guard.parts();
        let class = *self.class(body.class());
        Zspage::new((body, frames), class)
    }

    pub(super) fn take(&self, guard: &mut ZspageGuard<'_>, len: usize, index: u32) -> u16 {
        let class = guard.parts().0.class();
        let slot = self.zspage(guard).place(len, index);
        self.groups.add_live(class);
        if is_split(self.class(class).size, slot, len) {
            self.base.counters.add_split();
        }
        slot
    }

    pub(super) fn give(&self, guard: &mut ZspageGuard<'_>, slot: u16) -> usize {
        let class = guard.parts().0.class();
        let len = self.zspage(guard).remove(slot);
        self.groups.remove_live(class);
        if is_split(self.class(class).size, slot, len) {
            self.base.counters.remove_split();
        }
        len
    }

    fn zspage_with_room(
        &self,
        class: usize,
        access: ReserveAccess,
    ) -> Result<ZspageGuard<'_>, OutOfFrames> {
        for _ in 0..LOOKS {
            let (found, any) = self.fill(class);
            if let Some(guard) = found {
                return Ok(guard);
            }
            if !any {
                break;
            }
            sync::spin_loop();
        }
        self.new_zspage(class, access).or_else(|OutOfFrames| self.fill_at_limit(class, access))
    }

    /// The fullest unlocked one, and whether any had room.
    pub(super) fn fill(&self, class: usize) -> (Option<ZspageGuard<'_>>, bool) {
        let mut candidates = [DescriptorId::new(0); CANDIDATES];
        let count = self.groups.fullest(&self.zspages, class, &mut candidates);
        let found = candidates[..count].iter().find_map(|&id| {
            let mut guard = self.zspages.try_write(id).ok()?;
            self.drain_pending(&mut guard);
            let body = guard.parts().0;
            // The zspage may have changed.
            let is_listed = body.class() == class && listed(body).is_some();
            if is_listed && self.zspage(&mut guard).has_room() {
                return Some(guard);
            }
            self.unlock_and_relist(guard);
            None
        });
        (found, count > 0)
    }

    /// The tightest class first.
    pub(super) fn fill_among(&self, from: usize, to: usize) -> Option<ZspageGuard<'_>> {
        let mut class = from;
        while let Some(next) = self.groups.next_with_room(class).filter(|next| *next <= to) {
            if let (Some(guard), _) = self.fill(next) {
                return Some(guard);
            }
            class = next + 1;
        }
        None
    }

    fn new_zspage(
        &self,
        class: usize,
        access: ReserveAccess,
    ) -> Result<ZspageGuard<'_>, OutOfFrames> {
        let frames = FrameCount::new(self.class(class).frames);
        let guard = self.zspages.create(frames, access, Body::new(class))?;
        self.groups.add_zspage(class);
        Ok(guard)
    }

    fn fill_at_limit(
        &self,
        class: usize,
        access: ReserveAccess,
    ) -> Result<ZspageGuard<'_>, OutOfFrames> {
        let to = if self.lending { usize::MAX } else { class };
        for attempt in 0..ATTEMPTS_AT_LIMIT {
            let more = drain_all(self);
            if let Some(guard) = self.fill_among(class, to) {
                return Ok(guard);
            }
            if let Ok(guard) = self.new_zspage(class, access) {
                return Ok(guard);
            }
            // Wait for locked zspages, not for a full pool.
            if attempt > 0 && !more {
                break;
            }
            sync::yield_now();
        }
        Err(OutOfFrames)
    }
}
