//! Store, free and write.
//!
//! *Store* fills the empty side of the tightest lone frame that can be held for writing, and takes a new frame if there
//! is none. *Free* exchanges the handle entry, which decides who frees, and empties the side; it takes no hold, so the
//! bytes that an open read sees stay, because a side is filled under the write hold only. *Write* overwrites in place
//! under the write hold, or puts the new bytes in a new place and empties the old side.
//!
//! Each of them changes the entry and the sides that it concerns under one lock of the lists (I-SIDE), so whoever has
//! the lock, to reclaim or to compact, finds no operation half done. Bytes are copied outside of it: a store that
//! fills a side publishes its entry first, and readers wait for the write hold that it has.

use pagefold_frame::{DescriptorId, FrameCount, LockError, OutOfFrames, ReserveAccess, WriteGuard};

use super::{
    Found, Zbud,
    lists::{Filled, Locked},
    shape::{Side, Slot, chunks_for},
};
use crate::{
    AllocError, Handle, HandleError, WriteError,
    attend::Attend,
    entries::{Entry, Place},
};

/// Lone frames tried for writing before a new one is taken: some may be held by readers.
pub(super) const CANDIDATES: usize = 16;
/// As before, when there are no new frames.
const CANDIDATES_AT_LIMIT: usize = 1024;

/// Where an object was before it is put on a side.
#[derive(Debug)]
enum Origin<'a> {
    /// Nowhere; its entry is vacant and the caller's.
    New { vacant: Entry },
    /// It gets new bytes, because somebody reads the old ones.
    Overwrite(Found<'a>),
}

/// A frame held for writing.
pub(super) type FrameGuard<'a> = WriteGuard<'a, (), 5>;

impl Zbud {
    /// Makes an object with a copy of `bytes` and a handle for it.
    pub(super) fn insert(&self, bytes: &[u8], access: ReserveAccess) -> Result<Handle, AllocError> {
        let inserted = self.try_insert(bytes, access, CANDIDATES).or_else(|OutOfFrames| {
            self.make_room();
            self.try_insert(bytes, access, CANDIDATES_AT_LIMIT)
        });
        inserted.map_err(|OutOfFrames| AllocError::OutOfMemory { limit: self.base.limit_bytes() })
    }

    fn try_insert(
        &self,
        bytes: &[u8],
        access: ReserveAccess,
        candidates: usize,
    ) -> Result<Handle, OutOfFrames> {
        let index = self.base.entries.take(access)?;
        let vacant = self.base.entries.load(index);
        let origin = Origin::New { vacant };
        if let Err(error) = self.put(bytes, index, &origin, access, candidates) {
            self.base.entries.give_back(index);
            return Err(error);
        }
        self.base.counters.add_object();
        self.base.counters.add_payload(bytes.len());
        Ok(self.base.entries.handle(index, vacant))
    }

    /// Turns what is free, but in the wrong place, into room under the limit.
    pub(super) fn make_room(&self) {
        self.drain_all_deferred();
        self.base.arena.reclaim();
    }

    /// Puts `bytes` on a side and makes the entry say so. `false`, and nothing has changed: the object that they were
    /// to replace was freed or moved meanwhile.
    fn put(
        &self,
        bytes: &[u8],
        index: u32,
        origin: &Origin<'_>,
        access: ReserveAccess,
        candidates: usize,
    ) -> Result<bool, OutOfFrames> {
        self.drain_some_deferred();
        match self.fill(bytes, index, origin, candidates) {
            Some(entered) => Ok(entered),
            None => self.open(bytes, index, origin, access),
        }
    }

    /// Fills the empty side of the tightest lone frame with room that nobody holds. `None`: there is none.
    fn fill(
        &self,
        bytes: &[u8],
        index: u32,
        origin: &Origin<'_>,
        candidates: usize,
    ) -> Option<bool> {
        let lists = self.lists.lock(&self.frames);
        let mut lone = lists.lone(chunks_for(bytes.len())).take(candidates);
        let mut guard = lone.find_map(|id| self.frames.try_write(id).ok())?;
        drop(lone);
        let (_, empty) = lists.shape(guard.id()).lone().expect("I-UNBUDDIED: it has one object");
        let slot = Slot { side: empty, len: bytes.len() };
        let entered = self.enter(lists, guard.id(), slot, index, origin);
        if entered {
            // The lists are not locked any more. Who finds the entry waits for the hold.
            guard.parts().1[slot.range()].copy_from_slice(bytes);
        }
        Some(entered)
    }

    /// Takes a new frame.
    fn open(
        &self,
        bytes: &[u8],
        index: u32,
        origin: &Origin<'_>,
        access: ReserveAccess,
    ) -> Result<bool, OutOfFrames> {
        let mut guard = self.frames.create(FrameCount::ONE, access, ())?;
        if let Err(error) = self.lists.ensure(guard.id(), access) {
            guard.retire();
            return Err(error);
        }
        let slot = Slot { side: Side::First, len: bytes.len() };
        // Before anybody knows of the frame: it is in nobody's way while it is held.
        guard.parts().1[slot.range()].copy_from_slice(bytes);
        let entered = self.enter(self.lists.lock(&self.frames), guard.id(), slot, index, origin);
        if !entered {
            guard.retire();
        }
        Ok(entered)
    }

    /// Makes the entry say a slot of a frame that the caller holds for writing, fills the side, and empties the one
    /// where the object was before. `false`, and nothing has changed: it was not there any more.
    fn enter(
        &self,
        mut lists: Locked<'_>,
        id: DescriptorId,
        slot: Slot,
        index: u32,
        origin: &Origin<'_>,
    ) -> bool {
        let place = Place::Span { id, slot: slot.bits() };
        match origin {
            Origin::New { vacant } => {
                self.base.entries.store(index, vacant.at(place));
                lists.fill(id, slot, index, Filled::Anew);
            }
            Origin::Overwrite(old) => {
                if !old.cell.exchange(old.entry, old.entry.at(place)) {
                    return false;
                }
                // The new side first: both may be sides of one frame, which is then never empty.
                lists.fill(id, slot, index, Filled::Anew);
                self.vacate(lists, old.id, old.slot.side);
            }
        }
        true
    }

    pub(super) fn remove(&self, handle: Handle) -> Result<(), HandleError> {
        loop {
            let Found { cell, entry, id, slot } = self.find(handle)?;
            let lists = self.lists.lock(&self.frames);
            // Compaction or a write may have won: look again.
            if cell.exchange(entry, entry.freed()) {
                self.vacate(lists, id, slot.side);
                self.base.counters.remove_object();
                self.base.counters.remove_payload(slot.len);
                self.base.entries.give_back(self.base.entries.index(handle));
                return Ok(());
            }
        }
    }

    /// Empties a side that no entry says any more, and frees the frame if that was its last object. Never waits for a
    /// hold: a reader keeps the frame until it is done.
    fn vacate(&self, mut lists: Locked<'_>, id: DescriptorId, side: Side) {
        let last = lists.empty(id, side);
        drop(lists);
        if last {
            self.frames.reap(id);
        }
    }

    /// Replaces the content of an object by `bytes` of the same length, in place if nobody holds its frame, and
    /// otherwise at a new place: an open read keeps the old bytes.
    pub(super) fn replace(&self, handle: Handle, bytes: &[u8]) -> Result<(), WriteError> {
        loop {
            let found = self.find(handle)?;
            if found.slot.len != bytes.len() {
                return Err(WriteError::WrongLength { len: found.slot.len, given: bytes.len() });
            }
            let replaced = match self.frames.try_write(found.id) {
                Ok(mut guard) => {
                    // With the frame held, an entry that says this side stays so, but for a free or another overwrite,
                    // which then come after.
                    let there = found.is_still_there();
                    if there {
                        guard.parts().1[found.slot.range()].copy_from_slice(bytes);
                    }
                    there
                }
                Err(LockError::Busy) => {
                    self.replace_elsewhere(self.base.entries.index(handle), found, bytes)?
                }
                Err(LockError::Gone) => false,
            };
            if replaced {
                return Ok(());
            }
            // Freed or moved since it was found.
            #[cfg(loom)]
            pagefold_sys::sync::yield_now();
        }
    }

    /// Puts new content at a new place. `false`: the object was moved or freed meanwhile.
    fn replace_elsewhere(
        &self,
        index: u32,
        old: Found<'_>,
        bytes: &[u8],
    ) -> Result<bool, WriteError> {
        let origin = Origin::Overwrite(old);
        let put = |candidates| self.put(bytes, index, &origin, ReserveAccess::Reserve, candidates);
        let moved = put(CANDIDATES).or_else(|OutOfFrames| {
            self.make_room();
            put(CANDIDATES_AT_LIMIT)
        });
        moved.map_err(|OutOfFrames| WriteError::OutOfMemory { limit: self.base.limit_bytes() })
    }
}

/// Frames that were freed while somebody held them.
impl Attend for Zbud {
    fn has_deferred(&self) -> bool {
        self.frames.has_deferred()
    }

    fn drain_deferred(&self) -> bool {
        self.frames.drain_deferred(&mut |_| {})
    }
}
