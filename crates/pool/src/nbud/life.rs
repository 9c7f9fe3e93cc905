//! Freeing and overwriting, and the work that is left pending when a span is in use.
//!
//! `free` decides by one exchange of the handle entry who frees, and never waits. If the span is held, the index of
//! the freed entry is hung on the span's *pending* list (a stack through the entries themselves) and the span is
//! marked; whoever holds it for writing next, or takes the report of its last holder, frees the slots.
//!
//! # Invariants (I-PENDING)
//! - A pending slot counts as used in its span until it is drained, so the span lives that long.
//! - An index comes back to the handle table after its slot was freed, and not before.

use pagefold_frame::{Deferred, DescriptorId, OutOfFrames, ReserveAccess};
use pagefold_sys::sync::Ordering;

use super::{
    Content, Nbud, PENDING,
    buckets::{may_be_open, set_may_be_open},
    place::SpanGuard,
    span::Span,
};
use crate::{
    Handle, HandleError, Pool, WriteError,
    attend::Attend,
    entries::{Entry, EntryCell, Place},
};

impl Nbud {
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
                self.base.counters.remove_payload(self.run_bytes(id) - usize::from(short));
                self.runs.reap(id);
                self.base.entries.give_back(index);
            }
            Place::Span { id, slot } => match self.spans.try_write(id) {
                Ok(mut guard) => {
                    self.free_slot(&mut guard, slot, index);
                    self.settle(guard);
                }
                Err(_) => {
                    // The span lives, because the slot counts as used. (I-PENDING)
                    self.base.entries.hang(&self.spans.words(id)[PENDING], index);
                    self.spans.note_pending(id);
                }
            },
        }
    }

    fn run_bytes(&self, id: DescriptorId) -> usize {
        self.runs.frame_range(id).map_or(0, |location| location.frames.bytes())
    }

    fn free_slot(&self, guard: &mut SpanGuard<'_>, slot: u16, index: u32) {
        let len = Span::new(guard.parts()).remove(slot);
        self.base.counters.remove_payload(len);
        self.base.entries.give_back(index);
    }

    /// Frees the slots that others left pending in a span.
    pub(super) fn drain(&self, guard: &mut SpanGuard<'_>) {
        let pending = &self.spans.words(guard.id())[PENDING];
        self.base.entries.take_hung(pending, |index, slot| self.free_slot(guard, slot, index));
    }

    /// Lets go of a span: drains it, and then frees it if it is empty, or lists it by its room. The open span of a
    /// shard is left to the shard.
    pub(super) fn settle(&self, mut guard: SpanGuard<'_>) {
        self.drain(&mut guard);
        let id = guard.id();
        let frames = guard.frames().get() as usize;
        let (body, bytes) = guard.parts();
        let open = may_be_open(body) && self.is_open(id);
        set_may_be_open(body, open);
        let span = Span::new((&mut *body, bytes));
        let (live, room) = (span.live(), span.room());
        if live == 0 && !open {
            self.buckets.unlist(&self.spans, id, body);
            // ORDERING: Relaxed; a statistic.
            self.span_frames.fetch_sub(frames, Ordering::Relaxed);
            guard.retire();
        } else if open {
            self.buckets.unlist(&self.spans, id, body);
        } else {
            self.buckets.list(&self.spans, id, body, room);
        }
    }

    /// Replaces the content of an object by `bytes` of the same length, in place if nobody holds its span, and
    /// otherwise at a new place: an open read keeps the old bytes.
    pub(super) fn replace(&self, handle: Handle, bytes: &[u8]) -> Result<(), WriteError> {
        loop {
            let len = self.len(handle)?;
            if len != bytes.len() {
                return Err(WriteError::WrongLength { len, given: bytes.len() });
            }
            let (cell, entry, place) = self.base.entry(handle)?;
            if let Place::Span { id, slot } = place
                && let Ok(mut guard) = self.spans.try_write(id)
            {
                // With the span held, an entry that says this slot stays so, but for a free, which then comes after.
                if cell.load() != entry {
                    self.settle(guard);
                    continue;
                }
                Span::new(guard.parts()).bytes_of(slot).copy_from_slice(bytes);
                self.settle(guard);
                return Ok(());
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
        // The old slot may have to be left pending, and the object's own entry stays live: another carries it.
        let carrier = self.base.entries.take(ReserveAccess::Reserve)?;
        let exchange = |new| cell.exchange(entry, entry.at(new));
        let moved = self.put(Content::Bytes(bytes), index, ReserveAccess::Reserve, exchange);
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

impl Attend for Nbud {
    fn has_deferred(&self) -> bool {
        self.spans.has_deferred() || self.runs.has_deferred()
    }

    fn drain_deferred(&self) -> bool {
        let spans = self.spans.drain_deferred(&mut |deferred| {
            let Deferred::Pending(id) = deferred else { return };
            // If it is held again, the mark is still set and the last reader reports it, or a writer has settled it.
            if let Ok(guard) = self.spans.try_write(id) {
                self.settle(guard);
            }
        });
        let runs = self.runs.drain_deferred(&mut |_| {});
        spans || runs
    }
}
