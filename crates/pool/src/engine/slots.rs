//! Objects in slots of shared descriptors: nbud's spans, zsmalloc's zspages.
//!
//! A free that finds the descriptor locked pushes the index onto its *pending* list and marks it. The next writer frees
//! the slot, or the thread that drains deferred work. After an overwrite a *proxy* index keeps the old slot.
//!
//! # Invariants (I-PENDING)
//! - A pending slot counts as used, so its descriptor lives.
//! - An index is given back only after its slot was freed.

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

/// Two for lists, one for the pending list.
pub const SLOT_WORDS: usize = 3;
const PENDING: usize = 2;
const TRIES: usize = if cfg!(loom) { 1 } else { 16 };

/// A packing's slots.
pub type SlotSlab<P> = Slab<<P as SlotPacking>::Body, SLOT_WORDS, <P as SlotPacking>::Layout>;
/// Its write guard.
pub type SlotGuard<'a, P> =
    WriteGuard<'a, <P as SlotPacking>::Body, SLOT_WORDS, <P as SlotPacking>::Layout>;

/// Slots, and [`Runs`] for longer objects.
pub trait SlotPacking: Packing {
    /// A descriptor's data.
    type Body: Body;
    /// How its frames lie.
    type Layout: FrameLayout;

    /// Its slab.
    fn slots(&self) -> &SlotSlab<Self>;

    /// Longer objects.
    fn runs(&self) -> &Runs;

    /// Returns the object's length.
    fn free_slot(&self, guard: &mut SlotGuard<'_, Self>, slot: u16) -> usize;

    /// Lists a descriptor by free room, or retires it if empty. Nothing is pending.
    fn relist(&self, guard: SlotGuard<'_, Self>);

    /// The head of the list.
    fn pending(&self, id: DescriptorId) -> &AtomicU32 {
        &self.slots().words(id)[PENDING]
    }

    /// Frees all pending slots.
    fn drain_pending(&self, guard: &mut SlotGuard<'_, Self>) {
        self.base().handles.take_pending(self.pending(guard.id()), |index, slot| {
            self.free_slot_and_index(guard, slot, index);
        });
    }

    /// Frees both.
    fn free_slot_and_index(&self, guard: &mut SlotGuard<'_, Self>, slot: u16, index: u32) {
        let len = self.free_slot(guard, slot);
        self.base().counters.remove_payload(len);
        self.base().handles.give_back(index);
    }

    /// Frees pending slots, then relists.
    fn unlock_and_relist(&self, mut guard: SlotGuard<'_, Self>) {
        self.drain_pending(&mut guard);
        self.relist(guard);
    }

    /// Now, or leaves that to the thread that locks it.
    fn relist_later(&self, id: DescriptorId) {
        match self.slots().try_write(id) {
            Ok(guard) => self.unlock_and_relist(guard),
            Err(LockError::Busy) => self.slots().note_pending(id),
            Err(LockError::Gone) => {}
        }
    }

    /// Gives up if a reader stays.
    fn try_write_hard(&self, id: DescriptorId) -> Option<SlotGuard<'_, Self>> {
        (0..TRIES).find_map(|_| {
            let guard = self.slots().try_write(id).ok();
            if guard.is_none() {
                sync::spin_loop();
            }
            guard
        })
    }

    /// Frees location and index, now or later. No live entry names the location; the entry of `index` keeps the slot.
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
                    // The used slot keeps the descriptor. (I-PENDING)
                    self.base().handles.push_pending(self.pending(id), index);
                    self.slots().note_pending(id);
                }
            },
        }
    }

    /// [`Packing::free`].
    fn free_location(&self, found: &Found<'_>) -> bool {
        let vacant = found.make_vacant();
        if vacant {
            self.vacate(found.location, found.index);
        }
        vacant
    }

    /// [`Packing::rewrite`].
    ///
    /// # Errors
    /// [`NoRoom`].
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

    /// [`Packing::has_deferred`].
    #[inline]
    fn slots_have_deferred(&self) -> bool {
        self.slots().has_deferred() || self.runs().has_deferred()
    }

    /// [`Packing::drain_deferred`].
    fn drain_deferred_slots(&self) -> bool {
        let slots = self.slots().drain_deferred(&mut |deferred| {
            let Deferred::Pending(id) = deferred else { return };
            // Locked again: its last reader reports it, or a writer has listed it.
            if let Ok(guard) = self.slots().try_write(id) {
                self.unlock_and_relist(guard);
            }
        });
        let runs = self.runs().drain_deferred();
        slots || runs
    }
}
