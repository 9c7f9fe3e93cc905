//! Freeing and overwriting, and the work that is left pending when a zspage is in use.
//!
//! `free` decides by one exchange of the handle entry who frees, and never waits. If the zspage is held, the freed entry
//! is hung on its *pending* list and the zspage is marked; whoever holds it for writing next, or takes the report of its
//! last holder, frees the places. So a lock that is contended defers the release, and no place and no frame is lost.

use pagefold_frame::{Deferred, DescriptorId, OutOfFrames, ReserveAccess};
use pagefold_sys::sync::Ordering;

use super::{PENDING, Zsmalloc, groups::group_of, place::ZspageGuard};
use crate::{
    Handle, HandleError, Pool, WriteError,
    attend::Attend,
    entries::{Entry, EntryCell, Place},
};

impl Zsmalloc {
    pub(super) fn remove(&self, handle: Handle) -> Result<(), HandleError> {
        loop {
            let (cell, entry, place) = self.base.entry(handle)?;
            // Relocation may have won: look again.
            if cell.exchange(entry, entry.freed()) {
                self.base.counters.remove_object();
                self.vacate(place, self.base.entries.index(handle));
                return Ok(());
            }
        }
    }

    /// Frees the place that an object had, now or later, and then gives `index` back to the handle table. No live
    /// entry says this place any more, and the entry of `index` is vacant and carries the slot.
    fn vacate(&self, place: Place, index: u32) {
        match place {
            Place::Run { id, short } => {
                let len = pagefold_frame::FRAME_BYTES - usize::from(short);
                self.base.counters.remove_payload(len);
                self.runs.reap(id);
                self.base.entries.give_back(index);
            }
            Place::Span { id, slot } => match self.zspages.try_write(id) {
                Ok(mut guard) => {
                    self.give(&mut guard, slot);
                    self.base.entries.give_back(index);
                    self.settle(guard);
                }
                Err(_) => {
                    // The zspage lives, because the place counts as used. (I-PENDING)
                    self.base.entries.hang(&self.zspages.words(id)[PENDING], index);
                    self.zspages.note_pending(id);
                }
            },
        }
    }

    /// Frees the places that others left pending in a zspage.
    pub(super) fn drain(&self, guard: &mut ZspageGuard<'_>) {
        let pending = &self.zspages.words(guard.id())[PENDING];
        self.base.entries.take_hung(pending, |index, slot| {
            self.give(guard, slot);
            self.base.entries.give_back(index);
        });
    }

    /// Lets go of a zspage: drains it, and then frees it if it is empty, or lists it by its use. The one that is being
    /// emptied stays off the lists.
    pub(super) fn settle(&self, mut guard: ZspageGuard<'_>) {
        self.drain(&mut guard);
        let id = guard.id();
        let body = guard.parts().0;
        let (class, live) = (body.class(), body.live);
        let group = match live {
            0 => None,
            _ if self.is_victim(id) => None,
            _ => group_of(live, self.class(class).objects),
        };
        self.groups.list(&self.zspages, id, body, group);
        if live == 0 {
            self.groups.remove_zspage(class);
            self.forget_victim(id);
            guard.retire();
        }
    }

    /// Whether a zspage is being emptied.
    fn is_victim(&self, id: DescriptorId) -> bool {
        // ORDERING: Acquire; pairs with the Release in `compact`. Whoever still sees a victim that is none any more
        // holds it, and then the compactor notes it as pending, so that it is settled once more.
        self.victim.load(Ordering::Acquire) == id.get() + 1
    }

    /// A zspage that was being emptied is about to end, and whoever gets its id next must not be taken for it.
    fn forget_victim(&self, id: DescriptorId) {
        // ORDERING: Relaxed; a successor gets the id through the lock of the ids, under which it is given back after this.
        _ = self.victim.compare_exchange(id.get() + 1, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Replaces the content of an object by `bytes` of the same length, in place if nobody holds its zspage, and
    /// otherwise at a new place: an open read keeps the old bytes.
    pub(super) fn replace(&self, handle: Handle, bytes: &[u8]) -> Result<(), WriteError> {
        loop {
            let len = self.len(handle)?;
            if len != bytes.len() {
                return Err(WriteError::WrongLength { len, given: bytes.len() });
            }
            let (cell, entry, place) = self.base.entry(handle)?;
            if let Place::Span { id, slot } = place
                && let Ok(mut guard) = self.zspages.try_write(id)
            {
                // With the zspage held, an entry that says this place stays so, but for a free, which then comes after.
                let is_there = cell.load() == entry;
                if is_there {
                    self.zspage(&mut guard).write(slot, bytes);
                }
                self.settle(guard);
                if is_there {
                    return Ok(());
                }
                continue;
            }
            if let Place::Run { id, .. } = place
                && let Ok(mut guard) = self.runs.try_write(id)
            {
                if cell.load() != entry {
                    continue;
                }
                guard.parts().1[..bytes.len()].copy_from_slice(bytes);
                return Ok(());
            }
            if self.replace_elsewhere(handle, bytes)? {
                return Ok(());
            }
        }
    }

    /// `false`: the object was moved or freed meanwhile.
    fn replace_elsewhere(&self, handle: Handle, bytes: &[u8]) -> Result<bool, WriteError> {
        let (cell, entry, old) = self.base.entry(handle)?;
        let moved = self
            .put_beside(cell, entry, old, self.base.entries.index(handle), bytes)
            .or_else(|OutOfFrames| {
                self.make_room();
                self.put_beside(cell, entry, old, self.base.entries.index(handle), bytes)
            });
        moved.map_err(|OutOfFrames| WriteError::OutOfMemory { limit: self.base.limit_bytes() })
    }

    /// Puts new content at a new place, makes the entry say so, and frees the old place.
    fn put_beside(
        &self,
        cell: EntryCell<'_>,
        entry: Entry,
        old: Place,
        index: u32,
        bytes: &[u8],
    ) -> Result<bool, OutOfFrames> {
        // The old place may have to be left pending, and the object's own entry stays live: another carries it.
        let carrier = self.base.entries.take(ReserveAccess::Reserve)?;
        let exchange = |new| cell.exchange(entry, entry.at(new));
        let moved = self.put(bytes, index, ReserveAccess::Reserve, exchange);
        if moved != Ok(true) {
            self.base.entries.give_back(carrier);
            return moved;
        }
        if let Place::Span { slot, .. } = old {
            self.base.entries.store(carrier, self.base.entries.load(carrier).carrying(slot));
        }
        self.vacate(old, carrier);
        Ok(true)
    }
}

impl Attend for Zsmalloc {
    fn has_deferred(&self) -> bool {
        self.zspages.has_deferred() || self.runs.has_deferred()
    }

    fn drain_deferred(&self) -> bool {
        let zspages = self.zspages.drain_deferred(&mut |deferred| {
            let Deferred::Pending(id) = deferred else { return };
            // If it is held again, the mark is still set and the last reader reports it, or a writer has settled it.
            if let Ok(guard) = self.zspages.try_write(id) {
                self.settle(guard);
            }
        });
        let runs = self.runs.drain_deferred(&mut |_| {});
        zspages || runs
    }
}
