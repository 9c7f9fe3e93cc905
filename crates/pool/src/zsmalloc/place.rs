//! Where a new object goes: the fullest zspage of its class that has room, or a new one.
//!
//! ```text
//!  huge? -- a frame of its own
//!  the fullest of its class that nobody holds --> a new zspage -- no frames? --> what others left to do, and again;
//!                                                                               a place of a larger class
//! ```
//! At the limit a free place of any larger class will do: better one that is too large than none.

use pagefold_frame::{
    Chain, DescriptorId, FRAME_BYTES, FrameCount, OutOfFrames, ReserveAccess, WriteGuard,
};
use pagefold_sys::sync;

use super::{
    Zsmalloc,
    groups::listed,
    layout::is_split,
    zspage::{Body, Zspage},
};
use crate::{AllocError, Handle, attend::Attend, entries::Place};

/// Candidates looked at in one class: some may be held by others.
const CANDIDATES: usize = 4;
/// Looks at a class whose zspages with room are all held, before it gets a new one.
const LOOKS: usize = if cfg!(loom) { 1 } else { 4 };
/// Attempts at the limit while others hold what would fit.
const ATTEMPTS_AT_LIMIT: usize = if cfg!(loom) { 2 } else { 64 };

/// A zspage held for writing.
pub(super) type ZspageGuard<'a> = WriteGuard<'a, Body, 3, Chain>;

impl Zsmalloc {
    /// Makes an object with a copy of `bytes` and a handle for it.
    pub(super) fn insert(&self, bytes: &[u8], access: ReserveAccess) -> Result<Handle, AllocError> {
        let inserted = self.try_insert(bytes, access).or_else(|OutOfFrames| {
            self.make_room();
            self.try_insert(bytes, access)
        });
        inserted.map_err(|OutOfFrames| AllocError::OutOfMemory { limit: self.base.limit_bytes() })
    }

    /// Turns what is free, but in the wrong place, into room under the limit.
    pub(super) fn make_room(&self) {
        self.drain_all_deferred();
        self.base.arena.reclaim();
    }

    fn try_insert(&self, bytes: &[u8], access: ReserveAccess) -> Result<Handle, OutOfFrames> {
        let index = self.base.entries.take(access)?;
        let vacant = self.base.entries.load(index);
        // The entry is published while the place is still held, so whoever finds it finds the bytes.
        let publish = |place| {
            self.base.entries.store(index, vacant.at(place));
            true
        };
        match self.put(bytes, index, access, publish) {
            Ok(_) => {
                self.base.counters.add_object();
                Ok(self.base.entries.handle(index, vacant))
            }
            Err(OutOfFrames) => {
                self.base.entries.give_back(index);
                Err(OutOfFrames)
            }
        }
    }

    /// Puts `bytes` at a new place and calls `publish` with it while the place is held for writing. When that says no
    /// (the object is somebody else's by now) the place is free again, and the answer is `false`.
    pub(super) fn put(
        &self,
        bytes: &[u8],
        index: u32,
        access: ReserveAccess,
        publish: impl FnOnce(Place) -> bool,
    ) -> Result<bool, OutOfFrames> {
        self.drain_some_deferred();
        let len = bytes.len();
        let class = self.table.index_of(len).expect("a length that was looked at");
        if self.class(class).is_huge() {
            let mut guard = self.runs.create(FrameCount::ONE, access, ())?;
            guard.parts().1[..len].copy_from_slice(bytes);
            let short = u16::try_from(FRAME_BYTES - len).expect("less than a frame");
            let published = publish(Place::Run { id: guard.id(), short });
            match published {
                true => self.base.counters.add_payload(len),
                false => guard.retire(),
            }
            return Ok(published);
        }
        let mut guard = self.zspage_with_room(class, access)?;
        let id = guard.id();
        let slot = self.take(&mut guard, len, index);
        self.zspage(&mut guard).write(slot, bytes);
        let published = publish(Place::Span { id, slot });
        if !published {
            self.give(&mut guard, slot);
        }
        self.settle(guard);
        Ok(published)
    }

    pub(super) fn zspage<'a>(
        &self,
        guard: &'a mut ZspageGuard<'_>,
    ) -> Zspage<'a, pagefold_frame::ChainBytesMut<'a>> {
        let (body, frames) = guard.parts();
        let class = *self.class(body.class());
        Zspage::new((body, frames), class)
    }

    /// Takes a place for an object of `len` bytes.
    pub(super) fn take(&self, guard: &mut ZspageGuard<'_>, len: usize, index: u32) -> u16 {
        let class = guard.parts().0.class();
        let slot = self.zspage(guard).place(len, index);
        self.groups.add_live(class);
        self.base.counters.add_payload(len);
        if is_split(self.class(class).size, slot, len) {
            self.base.counters.add_split();
        }
        slot
    }

    /// Gives a used place back.
    pub(super) fn give(&self, guard: &mut ZspageGuard<'_>, slot: u16) {
        let class = guard.parts().0.class();
        let len = self.zspage(guard).remove(slot);
        self.groups.remove_live(class);
        self.base.counters.remove_payload(len);
        if is_split(self.class(class).size, slot, len) {
            self.base.counters.remove_split();
        }
    }

    /// A zspage with a free place for objects of a class, held for writing; the caller takes it and settles.
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

    /// The fullest zspage of a class that has room and is not in use, and whether there was any with room.
    pub(super) fn fill(&self, class: usize) -> (Option<ZspageGuard<'_>>, bool) {
        let mut candidates = [DescriptorId::new(0); CANDIDATES];
        let count = self.groups.fullest(&self.zspages, class, &mut candidates);
        let found = candidates[..count].iter().find_map(|&id| {
            let mut guard = self.zspages.try_write(id).ok()?;
            self.drain(&mut guard);
            let body = guard.parts().0;
            // Since it was found others may have filled it, or freed it, and its id may be another's.
            let is_listed = body.class() == class && listed(body).is_some();
            if is_listed && self.zspage(&mut guard).has_room() {
                return Some(guard);
            }
            self.settle(guard);
            None
        });
        (found, count > 0)
    }

    /// The same of the classes from `from` up to `to`, the tightest first.
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

    /// There are no frames: a place that was freed meanwhile will do, or one of a larger class.
    fn fill_at_limit(
        &self,
        class: usize,
        access: ReserveAccess,
    ) -> Result<ZspageGuard<'_>, OutOfFrames> {
        let to = if self.lending { usize::MAX } else { class };
        for attempt in 0..ATTEMPTS_AT_LIMIT {
            let more = self.drain_all_deferred();
            if let Some(guard) = self.fill_among(class, to) {
                return Ok(guard);
            }
            if let Ok(guard) = self.new_zspage(class, access) {
                return Ok(guard);
            }
            // Zspages in other hands would be worth waiting for; a full pool is not.
            if attempt > 0 && !more {
                break;
            }
            sync::yield_now();
        }
        Err(OutOfFrames)
    }
}
