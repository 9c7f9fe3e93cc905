//! Objects in slots of shared descriptors, and the frees that a guard delays.
//!
//! For packings that free a slot under its descriptor's write guard: nbud's spans, zsmalloc's zspages. A free that
//! finds the descriptor locked pushes the index onto its *pending* list (a stack through the handle entries) and marks
//! the descriptor. The next thread with a write guard frees the pending slots, or the one that drains deferred work.
//!
//! An overwritten object stays live, so the entry of a *proxy* index keeps the old slot.
//!
//! # Invariants (I-PENDING)
//! - A pending slot counts as used in its descriptor until it is freed, so the descriptor lives that long.
//! - An index comes back to the handle table after its slot was freed, and not before.

use pagefold_frame::{
    Body, Deferred, DescriptorId, FrameLayout, LockError, ReserveAccess, Slab, WriteGuard,
};
use pagefold_sys::sync::{self, AtomicU32};

use super::{
    content::Content,
    found::Found,
    handle_table::Location,
    packing::{Attempt, NoRoom, Packing},
    runs::Runs,
};

/// Words of a descriptor of slots: two for the packing's lists, and the head of the pending list.
pub const SLOT_WORDS: usize = 3;
/// Index + 1 of the first handle entry whose slot is to be freed.
const PENDING: usize = 2;
/// Attempts to lock a descriptor that a reader has locked.
const TRIES: usize = if cfg!(loom) { 1 } else { 16 };

/// The descriptors of a packing's slots.
pub type SlotSlab<P> = Slab<<P as SlotPacking>::Body, SLOT_WORDS, <P as SlotPacking>::Layout>;
/// The write guard of a descriptor of slots.
pub type SlotGuard<'a, P> =
    WriteGuard<'a, <P as SlotPacking>::Body, SLOT_WORDS, <P as SlotPacking>::Layout>;

/// A packing of slots, and of [`Runs`] for what is too long for them. See the module.
pub trait SlotPacking: Packing {
    /// What a descriptor keeps of its slots.
    type Body: Body;
    /// How its frames lie.
    type Layout: FrameLayout;

    /// The descriptors of slots.
    fn slots(&self) -> &SlotSlab<Self>;

    /// The objects that are alone in their frames.
    fn runs(&self) -> &Runs;

    /// Frees a used slot; returns the length of its object.
    fn free_slot(&self, guard: &mut SlotGuard<'_, Self>, slot: u16) -> usize;

    /// Lists a descriptor by what it has free, or retires it if it is empty. Nothing is pending.
    fn relist(&self, guard: SlotGuard<'_, Self>);

    /// The head of a descriptor's pending list.
    fn pending(&self, id: DescriptorId) -> &AtomicU32 {
        &self.slots().words(id)[PENDING]
    }

    /// Frees the slots that are pending in a descriptor.
    fn drain_pending(&self, guard: &mut SlotGuard<'_, Self>) {
        self.base().handles.take_pending(self.pending(guard.id()), |index, slot| {
            self.free_slot_and_index(guard, slot, index);
        });
    }

    /// Frees a slot and the index that kept it.
    fn free_slot_and_index(&self, guard: &mut SlotGuard<'_, Self>, slot: u16, index: u32) {
        let len = self.free_slot(guard, slot);
        self.base().counters.remove_payload(len);
        self.base().handles.give_back(index);
    }

    /// Unlocks a descriptor: frees its pending slots, and lists or retires it.
    fn unlock_and_relist(&self, mut guard: SlotGuard<'_, Self>) {
        self.drain_pending(&mut guard);
        self.relist(guard);
    }

    /// Lists a descriptor now, or leaves that to the thread that locks it.
    fn relist_later(&self, id: DescriptorId) {
        match self.slots().try_write(id) {
            Ok(guard) => self.unlock_and_relist(guard),
            Err(LockError::Busy) => self.slots().note_pending(id),
            Err(LockError::Gone) => {}
        }
    }

    /// Locks a descriptor for writing, unless a reader stays in it.
    fn try_write_hard(&self, id: DescriptorId) -> Option<SlotGuard<'_, Self>> {
        (0..TRIES).find_map(|_| {
            let guard = self.slots().try_write(id).ok();
            if guard.is_none() {
                sync::spin_loop();
            }
            guard
        })
    }

    /// Frees a location, now or later, then gives `index` back to the handle table. No live entry names the location,
    /// and the vacant entry of `index` keeps the slot.
    fn vacate(&self, location: Location, index: u32) {
        match location {
            Location::Run { id, slack } => {
                self.runs().vacate(self.base(), (id, slack));
                self.base().handles.give_back(index);
            }
            Location::Slot { id, slot } => match self.slots().try_write(id) {
                Ok(mut guard) => {
                    self.free_slot_and_index(&mut guard, slot, index);
                    self.unlock_and_relist(guard);
                }
                Err(_) => {
                    // The descriptor lives, because the slot counts as used. (I-PENDING)
                    self.base().handles.push_pending(self.pending(id), index);
                    self.slots().note_pending(id);
                }
            },
        }
    }

    /// [`Packing::free`] for slots and runs.
    fn free_location(&self, found: &Found<'_>) -> bool {
        let vacant = found.make_vacant();
        if vacant {
            self.vacate(found.location, found.index);
        }
        vacant
    }

    /// [`Packing::rewrite`] for slots and runs.
    ///
    /// # Errors
    /// [`NoRoom`]; nothing has changed.
    fn rewrite_location(
        &self,
        found: &Found<'_>,
        bytes: &[u8],
        attempt: Attempt,
    ) -> Result<bool, NoRoom> {
        let handles = &self.base().handles;
        let proxy_index = handles.take(ReserveAccess::Reserve)?;
        let (content, access) = (Content::Bytes(bytes), ReserveAccess::Reserve);
        let publish = |to| found.relocate(to);
        let moved = self.place(content, found.index, access, attempt, publish);
        if moved != Ok(true) {
            handles.give_back(proxy_index);
            return moved;
        }
        self.base().counters.add_payload(bytes.len());
        if let Location::Slot { slot, .. } = found.location {
            handles.store(proxy_index, handles.load(proxy_index).proxy_for(slot));
        }
        self.vacate(found.location, proxy_index);
        Ok(true)
    }

    /// [`Packing::has_deferred`] for slots and runs.
    #[inline]
    fn slots_have_deferred(&self) -> bool {
        self.slots().has_deferred() || self.runs().has_deferred()
    }

    /// [`Packing::drain_deferred`] for slots and runs.
    fn drain_deferred_slots(&self) -> bool {
        let slots = self.slots().drain_deferred(&mut |deferred| {
            let Deferred::Pending(id) = deferred else { return };
            // If it is locked again, the mark is still set and the last reader reports it, or a writer has listed it.
            if let Ok(guard) = self.slots().try_write(id) {
                self.unlock_and_relist(guard);
            }
        });
        let runs = self.runs().drain_deferred();
        slots || runs
    }
}
