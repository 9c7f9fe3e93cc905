//! An entry: where one object is, in one word.
//!
//! ```text
//!  entry   0..14 slot    14..16 kind    16..64 descriptor id and generation, as `HandleBits` splits them
//!
//!  kind    VACANT   free or pending; a handle of an older generation finds it stale. While its slot is still to be freed
//!                   it hangs on a descriptor's pending list: slot, and in place of the id the next index + 1
//!          SPAN     slot of a span
//!          RUN      a run of its own; the slot says how many bytes the object falls short of the run
//!          RETIRED  as VACANT, after the last generation. When it hangs on no list any more it is *settled*: all bits
//!                   in place of the id are set, which is no link
//! ```
//! An entry is the size of a word, and the split comes along: a copy in a register, so a look-up loads nothing more.

use pagefold_frame::DescriptorId;
use pagefold_sys::sync::{AtomicU64, Ordering};

use crate::handle::HandleBits;

const SLOT_BITS: u32 = 14;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
const KIND_SHIFT: u32 = SLOT_BITS;
const JOINED_SHIFT: u32 = 16;

/// Where a live object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a slot of a span.
    Span { id: DescriptorId, slot: u16 },
    /// In a run of its own, `short` bytes shorter than the run.
    Run { id: DescriptorId, short: u16 },
}

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Vacant { slot: u16, next: u32 },
    Live(Place),
    Retired { slot: u16, next: u32 },
}

/// An entry's word, and how it is split.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(super) word: u64,
    bits: HandleBits,
}

/// Entries of one table, so of one split, are compared.
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
            State::Live(Place::Span { id, slot }) => (1_u64, slot, id.get()),
            State::Live(Place::Run { id, short }) => (2, short, id.get()),
            State::Retired { slot, next } => (3, slot, next),
        };
        debug_assert!(u64::from(slot) <= SLOT_MASK, "a slot fits its field");
        let joined = bits.join(low, generation);
        Self { word: u64::from(slot) | kind << KIND_SHIFT | joined << JOINED_SHIFT, bits }
    }

    /// What a word of the table says.
    pub(super) fn of_word(bits: HandleBits, word: u64) -> Self {
        Self { word, bits }
    }

    /// The entry of an index that is retired, and on no list.
    pub(super) fn settled(bits: HandleBits) -> Self {
        let state = State::Retired { slot: 0, next: bits.largest() };
        Self::new(bits, bits.last_generation(), state)
    }

    /// Whether the index is retired, and on no list.
    pub(super) fn is_settled(self) -> bool {
        self == Self::settled(self.bits)
    }

    #[inline]
    pub(crate) fn generation(self) -> u64 {
        self.bits.generation(self.word >> JOINED_SHIFT)
    }

    pub(crate) fn state(self) -> State {
        let (kind, slot, low) = self.fields();
        match (kind, self.place()) {
            (_, Some(place)) => State::Live(place),
            (0, None) => State::Vacant { slot, next: low },
            _ => State::Retired { slot, next: low },
        }
    }

    #[inline]
    fn fields(self) -> (u64, u16, u32) {
        let low = self.bits.low(self.word >> JOINED_SHIFT);
        (self.word >> KIND_SHIFT & 3, (self.word & SLOT_MASK) as u16, low)
    }

    /// Where the object is, if one lives here.
    #[inline]
    pub(crate) fn place(self) -> Option<Place> {
        let (kind, slot, low) = self.fields();
        let id = DescriptorId::new(low);
        match kind {
            1 => Some(Place::Span { id, slot }),
            2 => Some(Place::Run { id, short: slot }),
            _ => None,
        }
    }

    /// Whether it is of the generation that a short handle says.
    #[inline]
    pub(super) fn is_of(self, short: u64) -> bool {
        self.bits.generation(self.word >> JOINED_SHIFT ^ short) == 0
    }

    /// A live entry of the same generation: of an object that is made, or that moves.
    pub(crate) fn at(self, place: Place) -> Self {
        Self::new(self.bits, self.generation(), State::Live(place))
    }

    /// The entry after its object was freed: of the next generation, or retired after the last.
    pub(crate) fn freed(self) -> Self {
        let slot = match self.state() {
            State::Live(Place::Span { slot, .. }) => slot,
            _ => 0,
        };
        let (generation, last) = (self.generation(), self.bits.last_generation());
        if generation < last {
            Self::new(self.bits, generation + 1, State::Vacant { slot, next: 0 })
        } else {
            Self::new(self.bits, last, State::Retired { slot, next: 0 })
        }
    }

    /// The same pending entry with another successor on its list.
    pub(super) fn linked_to(self, next: u32) -> Self {
        let state = match self.state() {
            State::Vacant { slot, .. } => State::Vacant { slot, next },
            State::Retired { slot, .. } => State::Retired { slot, next },
            State::Live(_) => unreachable!("I-PENDING: a pending entry is not live"),
        };
        Self::new(self.bits, self.generation(), state)
    }

    /// The same free index, as carrier of a slot that is to be freed.
    pub(crate) fn carrying(self, slot: u16) -> Self {
        Self::new(self.bits, self.generation(), State::Vacant { slot, next: 0 })
    }
}

/// The place of an entry in the table.
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

    /// Replaces `old` by `new`, or says that the entry is something else by now.
    pub(crate) fn exchange(self, old: Entry, new: Entry) -> bool {
        // ORDERING: AcqRel; Release pairs with the Acquire in `load`; Acquire, so that the thread that frees an object
        // has seen where the last relocation put it.
        let outcome =
            self.word.compare_exchange(old.word, new.word, Ordering::AcqRel, Ordering::Relaxed);
        outcome.is_ok()
    }

    /// Writes an entry that is the caller's alone.
    pub(super) fn store(self, entry: Entry) {
        // ORDERING: Release; pairs with the Acquire in `load`: a thread that sees the place finds the descriptor.
        self.word.store(entry.word, Ordering::Release);
    }
}
