//! Where one object is, in one word.
//!
//! ```text
//!  entry   0..14 slot    14..16 kind    16..64 descriptor id and generation, as `HandleBits` splits them
//!
//!  VACANT   free, or pending: slot to free, and next index + 1 as id
//!  SLOT     a slot of a descriptor
//!  RUN      a run; the slot field is its slack
//!  RETIRED  as VACANT, after the last generation; out of use when the id is all ones
//! ```

use pagefold_frame::DescriptorId;
use pagefold_sys::sync::{AtomicU64, Ordering};

use crate::handle::HandleBits;

const SLOT_BITS: u32 = 14;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
const KIND_SHIFT: u32 = SLOT_BITS;
const JOINED_SHIFT: u32 = 16;

/// Where a live object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// In a shared descriptor.
    Slot {
        /// The descriptor.
        id: DescriptorId,
        /// 14 bits, defined by the packing.
        slot: u16,
    },
    /// Alone in a run.
    Run {
        /// The descriptor of the run.
        id: DescriptorId,
        /// Bytes behind the object.
        slack: u16,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Vacant { slot: u16, next: u32 },
    Live(Location),
    Retired { slot: u16, next: u32 },
}

/// A copy with its split: look-ups load nothing more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(super) word: u64,
    bits: HandleBits,
}

impl PartialEq for Entry {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.word == other.word
    }
}

impl Eq for Entry {}

impl Entry {
    pub(super) fn new(bits: HandleBits, generation: u64, state: State) -> Self {
        let (kind, slot, low) = match state {
            State::Vacant { slot, next } => (0, slot, next),
            State::Live(Location::Slot { id, slot }) => (1_u64, slot, id.get()),
            State::Live(Location::Run { id, slack }) => (2, slack, id.get()),
            State::Retired { slot, next } => (3, slot, next),
        };
        debug_assert!(u64::from(slot) <= SLOT_MASK, "a slot fits its field");
        let joined = bits.join(low, generation);
        Self { word: u64::from(slot) | kind << KIND_SHIFT | joined << JOINED_SHIFT, bits }
    }

    pub(super) fn of_word(bits: HandleBits, word: u64) -> Self {
        Self { word, bits }
    }

    pub(super) fn out_of_use(bits: HandleBits) -> Self {
        let state = State::Retired { slot: 0, next: bits.largest() };
        Self::new(bits, bits.last_generation(), state)
    }

    pub(super) fn is_out_of_use(self) -> bool {
        self == Self::out_of_use(self.bits)
    }

    #[inline]
    pub(crate) fn generation(self) -> u64 {
        self.bits.generation(self.word >> JOINED_SHIFT)
    }

    pub(crate) fn state(self) -> State {
        let (kind, slot, low) = self.fields();
        match (kind, self.location()) {
            (_, Some(location)) => State::Live(location),
            (0, None) => State::Vacant { slot, next: low },
            _ => State::Retired { slot, next: low },
        }
    }

    #[inline]
    fn fields(self) -> (u64, u16, u32) {
        let low = self.bits.low(self.word >> JOINED_SHIFT);
        (self.word >> KIND_SHIFT & 3, (self.word & SLOT_MASK) as u16, low)
    }

    #[inline]
    pub(crate) fn location(self) -> Option<Location> {
        let (kind, slot, low) = self.fields();
        let id = DescriptorId::new(low);
        match kind {
            1 => Some(Location::Slot { id, slot }),
            2 => Some(Location::Run { id, slack: slot }),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn is_of(self, short: u64) -> bool {
        self.bits.generation(self.word >> JOINED_SHIFT ^ short) == 0
    }

    pub(crate) fn at(self, location: Location) -> Self {
        Self::new(self.bits, self.generation(), State::Live(location))
    }

    pub(crate) fn freed(self) -> Self {
        let slot = match self.state() {
            State::Live(Location::Slot { slot, .. }) => slot,
            _ => 0,
        };
        let (generation, last) = (self.generation(), self.bits.last_generation());
        if generation < last {
            Self::new(self.bits, generation + 1, State::Vacant { slot, next: 0 })
        } else {
            Self::new(self.bits, last, State::Retired { slot, next: 0 })
        }
    }

    pub(super) fn linked_to(self, next: u32) -> Self {
        let state = match self.state() {
            State::Vacant { slot, .. } => State::Vacant { slot, next },
            State::Retired { slot, .. } => State::Retired { slot, next },
            State::Live(_) => unreachable!("I-PENDING: a pending entry is not live"),
        };
        Self::new(self.bits, self.generation(), state)
    }

    /// For a proxy index.
    pub(crate) fn proxy_for(self, slot: u16) -> Self {
        Self::new(self.bits, self.generation(), State::Vacant { slot, next: 0 })
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryCell<'a> {
    pub(super) word: &'a AtomicU64,
    pub(super) bits: HandleBits,
}

impl EntryCell<'_> {
    #[inline]
    pub(crate) fn load(self) -> Entry {
        // ORDERING: Acquire; pairs with the Release in `exchange` and `store`.
        Entry::of_word(self.bits, self.word.load(Ordering::Acquire))
    }

    /// `false`: not `old` any more.
    pub(crate) fn exchange(self, old: Entry, new: Entry) -> bool {
        // ORDERING: AcqRel; Release pairs with the Acquire in `load`; Acquire, so that the thread that frees an object
        // sees where the last relocation put it.
        let outcome =
            self.word.compare_exchange(old.word, new.word, Ordering::AcqRel, Ordering::Relaxed);
        outcome.is_ok()
    }

    /// Only the caller changes it.
    pub(super) fn store(self, entry: Entry) {
        // ORDERING: Release; pairs with the Acquire in `load`: a thread that sees the location finds the descriptor.
        self.word.store(entry.word, Ordering::Release);
    }
}
