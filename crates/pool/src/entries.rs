//! The handle table: where each object is, in one word, and which indices are free.
//!
//! ```text
//!  entry   0..32 descriptor id    32..46 slot    46..48 kind    48..64 generation
//!
//!  kind    VACANT   nobody's; a handle of an older generation finds it stale. While its slot is still to be freed
//!                   it hangs on a descriptor's pending list: slot, and in place of the id the next index + 1
//!          SPAN     slot of a span
//!          RUN      a run of its own; the slot says how many bytes the object falls short of the run
//!          RETIRED  as VACANT, after the last generation: never used again
//! ```
//! Entries change by compare-and-swap: `free` makes an entry vacant of the next generation, relocation puts a new
//! place into a live entry while it holds both places for writing. Whoever loses looks again.
//!
//! Indices come from the lowest free ones, a few at a time into a shard's cache, which hands them out in turn, so that
//! their generations rise together. Pages without a live entry go back to the system on [`trim`](HandleTable::trim);
//! the highest generation of such a page is remembered (its *floor*), so that no old handle comes alive when the page
//! is used again. A page whose indices are all retired goes back for good: what reads as zero is vacant, and stale.
//!
//! # Invariants
//! - An index is in exactly one place: live, pending, in a cache, free, retired, or never used (I-INDEX).
//! - The generation of an index never falls (I-GENERATION).

use std::{collections::VecDeque, sync::Arc};

use pagefold_frame::{
    BitForest, Claim, DescriptorId, Memory, OutOfFrames, SourceError, WordTable, shard_count,
};
use pagefold_sys::sync::{self, AtomicU32, AtomicU64, Mutex, Ordering, Padded};

const SLOT_SHIFT: u32 = 32;
const SLOT_BITS: u32 = 14;
const KIND_SHIFT: u32 = 46;
const GENERATION_SHIFT: u32 = 48;
/// Entries in a page of the table.
const PER_PAGE: usize = 512;
/// A page is given back only while its indices have at least half of their generations before them: to take its floor
/// for all of them costs the others what the oldest has lived.
const FLOOR_MAX: u16 = u16::MAX / 2;
const CACHE: usize = if cfg!(loom) { 2 } else { 64 };

/// The most slots a span may have, by the width of the field.
pub(crate) const SLOTS_MAX: usize = 1 << SLOT_BITS;

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

/// An entry's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry(u64);

#[expect(
    clippy::cast_possible_truncation,
    reason = "the fields are cut out of the word by shifts and masks"
)]
impl Entry {
    pub(crate) fn new(generation: u16, state: State) -> Self {
        let (kind, slot, low) = match state {
            State::Vacant { slot, next } => (0, slot, next),
            State::Live(Place::Span { id, slot }) => (1, slot, id.get()),
            State::Live(Place::Run { id, short }) => (2, short, id.get()),
            State::Retired { slot, next } => (3, slot, next),
        };
        debug_assert!(usize::from(slot) < SLOTS_MAX, "a slot fits its field");
        Self(
            u64::from(low)
                | u64::from(slot) << SLOT_SHIFT
                | kind << KIND_SHIFT
                | u64::from(generation) << GENERATION_SHIFT,
        )
    }

    pub(crate) fn generation(self) -> u16 {
        (self.0 >> GENERATION_SHIFT) as u16
    }

    pub(crate) fn state(self) -> State {
        let low = self.0 as u32;
        let slot = (self.0 >> SLOT_SHIFT) as u16 & (SLOTS_MAX as u16 - 1);
        match self.0 >> KIND_SHIFT & 3 {
            0 => State::Vacant { slot, next: low },
            1 => State::Live(Place::Span { id: DescriptorId::new(low), slot }),
            2 => State::Live(Place::Run { id: DescriptorId::new(low), short: slot }),
            _ => State::Retired { slot, next: low },
        }
    }

    /// The same object at another place.
    pub(crate) fn moved_to(self, place: Place) -> Self {
        Self::new(self.generation(), State::Live(place))
    }

    /// The entry after its object was freed: of the next generation, or retired after the last.
    pub(crate) fn freed(self) -> Self {
        let slot = match self.state() {
            State::Live(Place::Span { slot, .. }) => slot,
            _ => 0,
        };
        match self.generation().checked_add(1) {
            Some(next) => Self::new(next, State::Vacant { slot, next: 0 }),
            None => Self::new(u16::MAX, State::Retired { slot, next: 0 }),
        }
    }

    /// The same pending entry with another successor on its list.
    pub(crate) fn linked_to(self, next: u32) -> Self {
        Self(self.0 & !u64::from(u32::MAX) | u64::from(next))
    }

    /// The same free index, as carrier of a slot that is to be freed.
    pub(crate) fn carrying(self, slot: u16) -> Self {
        Self::new(self.generation(), State::Vacant { slot, next: 0 })
    }
}

/// The place of an entry in the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryCell<'a>(&'a AtomicU64);

impl EntryCell<'_> {
    #[inline]
    pub(crate) fn load(self) -> Entry {
        // ORDERING: Acquire; pairs with the Release in `exchange` and `HandleTable::store`.
        Entry(self.0.load(Ordering::Acquire))
    }

    /// Replaces `old` by `new`, or says that the entry is something else by now.
    pub(crate) fn exchange(self, old: Entry, new: Entry) -> bool {
        // ORDERING: AcqRel; Release pairs with the Acquire in `load`; Acquire, so that whoever frees an object has
        // seen where the last relocation put it.
        self.0.compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// Free indices, under one lock.
#[derive(Debug)]
struct Free {
    /// Set 0: indices that were used and are free.
    given_back: BitForest,
    /// Indices from here on were never used.
    next: usize,
    /// By page: the generation to begin with, plus 1, where the page was given back; 0 where it was not.
    floors: Vec<u32>,
    retired: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct HandleTable {
    entries: WordTable,
    free: Mutex<Free>,
    caches: Box<[Padded<Mutex<VecDeque<u32>>>]>,
}

impl HandleTable {
    /// An empty table for up to `capacity` objects.
    pub(crate) fn new(memory: &Arc<Memory>, capacity: usize) -> Result<Self, SourceError> {
        let entries = WordTable::new(memory, capacity.min(u32::MAX as usize))?;
        let given_back = BitForest::new(memory, entries.capacity(), 1)?;
        let free = Mutex::new(Free { given_back, next: 0, floors: Vec::new(), retired: 0 });
        let caches = (0..shard_count())
            .map(|_| Padded(Mutex::new(VecDeque::with_capacity(CACHE))))
            .collect();
        Ok(Self { entries, free, caches })
    }

    /// Bytes that lie outside of the source: caches.
    pub(crate) fn fixed_bytes(&self) -> usize {
        self.caches.len() * (size_of::<Padded<Mutex<VecDeque<u32>>>>() + CACHE * size_of::<u32>())
    }

    fn cache(&self) -> &Mutex<VecDeque<u32>> {
        &self.caches[sync::shard_hint() % self.caches.len()]
    }

    /// A free index; its entry is vacant and says the generation of the object to come.
    pub(crate) fn take(&self, claim: Claim) -> Result<u32, OutOfFrames> {
        let mut cache = self.cache().lock();
        if let Some(index) = cache.pop_front() {
            return Ok(index);
        }
        let mut free = self.free.lock();
        let first = self.take_free(&mut free, claim)?;
        while cache.len() < CACHE / 2 {
            match self.take_free(&mut free, claim) {
                Ok(index) => cache.push_back(index),
                Err(OutOfFrames) => break,
            }
        }
        Ok(first)
    }

    fn take_free(&self, free: &mut Free, claim: Claim) -> Result<u32, OutOfFrames> {
        let index = match free.given_back.first(0) {
            Some(index) => {
                self.entries.ensure(index, claim)?;
                free.given_back.remove(0, index);
                index
            }
            None => {
                self.entries.ensure(free.next, claim)?;
                free.given_back.ensure(free.next, claim)?;
                free.next += 1;
                free.next - 1
            }
        };
        self.raise_to_floor(free, index);
        Ok(u32::try_from(index).expect("a table has fewer than 2^32 entries"))
    }

    /// Gives the entries of a page that is used again the generation that was remembered for it. (I-GENERATION)
    fn raise_to_floor(&self, free: &mut Free, taken: usize) {
        let page = taken / PER_PAGE;
        let Some(floor) = free.floors.get_mut(page).filter(|floor| **floor > 0) else { return };
        let generation = u16::try_from(*floor - 1).expect("a generation plus 1");
        *floor = 0;
        for index in page * PER_PAGE..((page + 1) * PER_PAGE).min(self.entries.capacity()) {
            // When the page went, every index below `next` was free or retired, and none was taken since but one.
            let retired =
                index != taken && index < free.next && !free.given_back.contains(0, index);
            let entry = match retired {
                true => Entry::new(u16::MAX, State::Retired { slot: 0, next: 0 }),
                false => Entry::new(generation, State::Vacant { slot: 0, next: 0 }),
            };
            // ORDERING: Release; pairs with the Acquire in `EntryCell::load`.
            self.entries.word(index).store(entry.0, Ordering::Release);
        }
    }

    /// Takes an index back whose entry is vacant, or retired and then for ever.
    pub(crate) fn give_back(&self, index: u32) {
        if let State::Retired { .. } = self.load(index).state() {
            self.free.lock().retired += 1;
            return;
        }
        let mut cache = self.cache().lock();
        if cache.len() == CACHE {
            let mut free = self.free.lock();
            for index in cache.drain(..CACHE / 2) {
                Self::free_index(&mut free, index);
            }
        }
        cache.push_back(index);
    }

    fn free_index(free: &mut Free, index: u32) {
        assert!(free.given_back.insert(0, index as usize), "I-INDEX: an index is given back once");
    }

    /// The entry of an index that was given out.
    ///
    /// # Panics
    /// If it was not.
    pub(crate) fn cell(&self, index: u32) -> EntryCell<'_> {
        self.get(index).expect("I-INDEX: an index that was given out has an entry")
    }

    /// The entry of any index, if there is one.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<EntryCell<'_>> {
        self.entries.get(index as usize).map(EntryCell)
    }

    /// What the entry of an index says that was given out.
    pub(crate) fn load(&self, index: u32) -> Entry {
        self.cell(index).load()
    }

    /// Writes an entry that is the caller's alone: vacant, and taken by it.
    pub(crate) fn store(&self, index: u32, entry: Entry) {
        // ORDERING: Release; pairs with the Acquire in `EntryCell::load`: who sees the place finds the descriptor.
        self.cell(index).0.store(entry.0, Ordering::Release);
    }

    /// Hangs a vacant entry, the caller's, on a pending list: a stack through the entries themselves, whose first
    /// index + 1 is in `head`. (I-PENDING)
    pub(crate) fn hang(&self, head: &AtomicU32, index: u32) {
        // ORDERING: Relaxed; the exchange below checks the value.
        let mut first = head.load(Ordering::Relaxed);
        loop {
            self.store(index, self.load(index).linked_to(first));
            // ORDERING: Release; pairs with the Acquire in `take_hung`, who follows the link.
            match head.compare_exchange_weak(first, index + 1, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(seen) => first = seen,
            }
        }
    }

    /// Takes all entries off a pending list and calls `f` for each, with its index and the slot that it carries.
    pub(crate) fn take_hung(&self, head: &AtomicU32, mut f: impl FnMut(u32, u16)) {
        // ORDERING: Relaxed; what is missed here is marked on the state word and reported when the hold ends.
        if head.load(Ordering::Relaxed) == 0 {
            return;
        }
        // ORDERING: Acquire; pairs with the Release in `hang`.
        let mut first = head.swap(0, Ordering::Acquire);
        while let Some(index) = first.checked_sub(1) {
            let (State::Vacant { slot, next } | State::Retired { slot, next }) =
                self.load(index).state()
            else {
                unreachable!("I-PENDING: a pending entry is not live");
            };
            f(index, slot);
            first = next;
        }
    }

    /// Gives pages without a live entry back to the system; returns how many bytes.
    pub(crate) fn trim(&self) -> usize {
        for cache in &self.caches {
            let indices: Vec<u32> = cache.lock().drain(..).collect();
            let mut free = self.free.lock();
            indices.into_iter().for_each(|index| Self::free_index(&mut free, index));
        }
        let (mut cursor, mut pages) = (Some(0), 0);
        while cursor.is_some() {
            // Nobody can take an index meanwhile, so nobody stores to a vacant entry.
            let mut free = self.free.lock();
            let Free { given_back, next, floors, .. } = &mut *free;
            pages += self.entries.release_vacant(&mut cursor, &mut |indices| {
                let page = indices.start / PER_PAGE;
                let used = indices.start..indices.end.min(*next);
                let is_free = |&index: &usize| given_back.contains(0, index);
                if !used.clone().all(|index| is_free(&index) || self.is_retired(index)) {
                    return false;
                }
                let floor = used.filter(is_free).map(|index| self.generation_at(index)).max();
                if floor.is_some_and(|floor| floor > FLOOR_MAX) {
                    return false;
                }
                if floors.len() <= page {
                    floors.resize(page + 1, 0);
                }
                floors[page] = floor.map_or(0, |floor| u32::from(floor) + 1);
                true
            });
        }
        pages * pagefold_frame::FRAME_BYTES
    }

    fn is_retired(&self, index: usize) -> bool {
        // ORDERING: Relaxed; as in `generation_at`.
        let entry = Entry(self.entries.word(index).load(Ordering::Relaxed));
        matches!(entry.state(), State::Retired { .. })
    }

    fn generation_at(&self, index: usize) -> u16 {
        // ORDERING: Relaxed; under the lock that every change of a free entry was made under or before.
        Entry(self.entries.word(index).load(Ordering::Relaxed)).generation()
    }

    /// Indices that were ever used, and how many of them are free (in caches or not) or retired.
    pub(crate) fn census(&self) -> (usize, usize) {
        let cached: usize = self.caches.iter().map(|cache| cache.lock().len()).sum();
        let free = self.free.lock();
        let given_back = (0..free.next).filter(|&index| free.given_back.contains(0, index)).count();
        (free.next, cached + given_back + free.retired)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use pagefold_frame::HeapSource;

    use super::*;

    fn table() -> HandleTable {
        let memory = Arc::new(Memory::new(Box::new(HeapSource::new()), 10_000));
        HandleTable::new(&memory, 100_000).expect("heap")
    }

    #[test]
    fn every_state_comes_back_from_its_word() {
        let id = DescriptorId::new(0x1fff_ffff);
        for state in [
            State::Vacant { slot: 0, next: u32::MAX },
            State::Live(Place::Span { id, slot: 16_383 }),
            State::Live(Place::Run { id, short: 4095 }),
            State::Retired { slot: 7, next: 9 },
        ] {
            for generation in [0, 1, u16::MAX] {
                let entry = Entry::new(generation, state);
                assert_eq!((entry.generation(), entry.state()), (generation, state));
            }
        }
    }

    #[test]
    fn an_index_is_retired_after_its_last_generation() {
        let table = table();
        let index = table.take(Claim::Normal).expect("room");
        let place = Place::Run { id: DescriptorId::new(3), short: 0 };
        table.store(index, Entry::new(u16::MAX, State::Live(place)));
        let live = table.load(index);
        assert!(table.cell(index).exchange(live, live.freed()));
        table.give_back(index);
        let taken: Vec<u32> = (0..1000).map(|_| table.take(Claim::Normal).expect("room")).collect();
        assert!(!taken.contains(&index), "a retired index is not used again");
        assert_eq!(table.load(index).generation(), u16::MAX);
    }

    #[test]
    fn generations_survive_a_page_that_was_given_back() {
        let table = table();
        let place = Place::Run { id: DescriptorId::new(3), short: 0 };
        let indices: Vec<u32> =
            (0..2000).map(|_| table.take(Claim::Normal).expect("room")).collect();
        for &index in &indices {
            let live =
                Entry::new(table.load(index).generation() + (index % 7) as u16, State::Live(place));
            table.store(index, live);
            table.store(index, live.freed());
        }
        let before: Vec<u16> =
            indices.iter().map(|&index| table.load(index).generation()).collect();
        indices.iter().for_each(|&index| table.give_back(index));
        assert!(table.trim() >= 3 * 4096, "whole pages went");
        let again: Vec<u32> = (0..2000).map(|_| table.take(Claim::Normal).expect("room")).collect();
        for index in again {
            if let Some(position) = indices.iter().position(|&old| old == index) {
                assert!(
                    table.load(index).generation() >= before[position],
                    "I-GENERATION for index {index}"
                );
            }
        }
    }
}
