//! Where each object is, in one word, and which indices are free.
//!
//! Entries change by compare-and-swap; the loser looks the handle up again. Caches hand out the lowest free indices in
//! turn, so that generations rise together. [`trim`](HandleTable::trim) returns pages without a live entry and records
//! the highest generation of each, its *floor*: no old handle comes alive later.
//!
//! # Invariants
//! - An index is in exactly one state: live, pending, cached, free, retired, or never used (I-INDEX).
//! - The generation of an index never falls, except in `recycle_retired` (I-GENERATION).
//! - A page is returned only while each index is free, out of use, or never used (I-PENDING).

mod entry;
mod floors;
mod retired;
#[cfg(all(test, not(loom)))]
mod tests;

use std::{collections::VecDeque, ops::Range, sync::Arc};

use pagefold_frame::{
    BitForest, DescriptorId, MemoryBudget, OutOfFrames, ReserveAccess, SourceError, WordTable,
    shard_count,
};
use pagefold_sys::sync::{self, AtomicU32, Mutex, Ordering, Padded};

pub use self::entry::Location;
pub(crate) use self::entry::{Entry, EntryCell, State};
use self::floors::{Floor, Floors};
use crate::{
    error::HandleError,
    handle::{Handle, HandleBits, PoolId, PoolNumber},
};

const PER_PAGE: usize = 512;
const CACHE: usize = if cfg!(loom) { 2 } else { 64 };

#[derive(Debug)]
struct Free {
    given_back: BitForest,
    /// Never used from here on.
    next: usize,
    floors: Floors,
    retired: usize,
}

impl Free {
    fn is_free(&self, index: usize) -> bool {
        self.given_back.contains(0, index)
    }

    fn insert(&mut self, index: usize) {
        assert!(self.given_back.insert(0, index), "I-INDEX: an index is given back once");
    }
}

#[derive(Debug)]
struct Naming {
    number: PoolNumber,
    bits: HandleBits,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) indices: usize,
    /// Above the largest descriptor id.
    pub(crate) ids: usize,
    pub(crate) generation_bits: u32,
}

#[derive(Debug)]
pub(crate) struct HandleTable {
    naming: Naming,
    entries: WordTable,
    free: Mutex<Free>,
    caches: Box<[Padded<Mutex<VecDeque<u32>>>]>,
}

impl HandleTable {
    pub(crate) fn new(
        memory: &Arc<MemoryBudget>,
        number: PoolNumber,
        size: Size,
    ) -> Result<Self, SourceError> {
        // A link is index + 1.
        let entries = WordTable::new(memory, size.indices.min(u32::MAX as usize - 1))?;
        let ids = size.ids.min(DescriptorId::COUNT as usize);
        let largest = (entries.capacity() + 1).max(ids);
        let naming = Naming { number, bits: HandleBits::new(largest, size.generation_bits) };
        let free = Mutex::new(Free {
            given_back: BitForest::new(memory, entries.capacity(), 1)?,
            next: 0,
            floors: Floors::new(memory, entries.capacity().div_ceil(PER_PAGE))?,
            retired: 0,
        });
        let caches = (0..shard_count())
            .map(|_| Padded(Mutex::new(VecDeque::with_capacity(CACHE))))
            .collect();
        Ok(Self { naming, entries, free, caches })
    }

    pub(crate) fn fixed_bytes(&self) -> usize {
        self.caches.len() * (size_of::<Padded<Mutex<VecDeque<u32>>>>() + CACHE * size_of::<u32>())
    }

    pub(crate) fn handle(&self, index: u32, entry: Entry) -> Handle {
        let Naming { number, bits } = &self.naming;
        Handle::new(bits.join(index, entry.generation()), number.id())
    }

    pub(crate) fn pool_id(&self) -> PoolId {
        self.naming.number.id()
    }

    #[inline]
    pub(crate) fn find(
        &self,
        handle: Handle,
    ) -> Result<(EntryCell<'_>, Entry, Location, u32), HandleError> {
        let Naming { number, bits } = &self.naming;
        if !handle.is_of(number.id()) {
            return Err(HandleError::Foreign);
        }
        let short = handle.to_short();
        let index = bits.low(short);
        let cell = self.get(index).ok_or(HandleError::Stale)?;
        let entry = cell.load();
        match entry.location() {
            Some(location) if entry.is_of(short) => Ok((cell, entry, location, index)),
            _ => Err(HandleError::Stale),
        }
    }

    fn cache(&self) -> &Mutex<VecDeque<u32>> {
        &self.caches[sync::shard_hint() % self.caches.len()]
    }

    /// The vacant entry has the next generation.
    pub(crate) fn take(&self, access: ReserveAccess) -> Result<u32, OutOfFrames> {
        let mut cache = self.cache().lock();
        if let Some(index) = cache.pop_front() {
            return Ok(index);
        }
        let mut free = self.free.lock();
        let first = self.take_free(&mut free, access)?;
        while cache.len() < CACHE / 2 {
            match self.take_free(&mut free, access) {
                Ok(index) => cache.push_back(index),
                Err(OutOfFrames) => break,
            }
        }
        Ok(first)
    }

    fn take_free(&self, free: &mut Free, access: ReserveAccess) -> Result<u32, OutOfFrames> {
        let index = match free.given_back.first(0) {
            Some(index) => {
                self.entries.ensure(index, access)?;
                free.given_back.remove(0, index);
                index
            }
            None => {
                self.entries.ensure(free.next, access)?;
                free.given_back.ensure(free.next, access)?;
                free.floors.ensure(free.next / PER_PAGE, access)?;
                free.next += 1;
                free.next - 1
            }
        };
        self.raise_to_floor(free, index);
        Ok(u32::try_from(index).expect("a table has fewer than 2^32 entries"))
    }

    /// On first reuse of the page. (I-GENERATION)
    fn raise_to_floor(&self, free: &mut Free, taken: usize) {
        let page = taken / PER_PAGE;
        let generation = match free.floors.get(page) {
            Floor::InUse => return,
            Floor::Generation(generation) => generation,
            // The index was never used.
            Floor::Retired => 0,
        };
        free.floors.set(page, Floor::InUse);
        for index in self.indices_of(page) {
            // When the page went, every used index was free or retired.
            let is_retired = index != taken && index < free.next && !free.is_free(index);
            self.cell_at(index).store(match is_retired {
                true => Entry::out_of_use(self.naming.bits),
                false => {
                    Entry::new(self.naming.bits, generation, State::Vacant { slot: 0, next: 0 })
                }
            });
        }
    }

    fn indices_of(&self, page: usize) -> Range<usize> {
        page * PER_PAGE..((page + 1) * PER_PAGE).min(self.entries.capacity())
    }

    /// The entry is vacant or retired.
    pub(crate) fn give_back(&self, index: u32) {
        if let State::Retired { .. } = self.load(index).state() {
            return self.take_out_of_use(index);
        }
        let mut cache = self.cache().lock();
        if cache.len() == CACHE {
            let mut free = self.free.lock();
            for index in cache.drain(..CACHE / 2) {
                free.insert(index as usize);
            }
        }
        cache.push_back(index);
    }

    /// Panics if never given out.
    pub(crate) fn cell(&self, index: u32) -> EntryCell<'_> {
        self.get(index).expect("I-INDEX: an index that was given out has an entry")
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<EntryCell<'_>> {
        let word = self.entries.get(index as usize)?;
        Some(EntryCell { word, bits: self.naming.bits })
    }

    fn cell_at(&self, index: usize) -> EntryCell<'_> {
        EntryCell { word: self.entries.word(index), bits: self.naming.bits }
    }

    pub(crate) fn load(&self, index: u32) -> Entry {
        self.cell(index).load()
    }

    pub(crate) fn store(&self, index: u32, entry: Entry) {
        self.cell(index).store(entry);
    }

    /// A stack through the entries; `head` is an index + 1. (I-PENDING)
    pub(crate) fn push_pending(&self, head: &AtomicU32, index: u32) {
        // ORDERING: Relaxed; the exchange below checks the value.
        let mut first = head.load(Ordering::Relaxed);
        loop {
            self.store(index, self.load(index).linked_to(first));
            // ORDERING: Release; pairs with the Acquire in `take_pending`, which follows the link.
            match head.compare_exchange_weak(first, index + 1, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(seen) => first = seen,
            }
        }
    }

    /// Calls `f` with each index and its slot.
    pub(crate) fn take_pending(&self, head: &AtomicU32, mut f: impl FnMut(u32, u16)) {
        // ORDERING: Relaxed; the last guard of a marked descriptor reports a missed entry.
        if head.load(Ordering::Relaxed) == 0 {
            return;
        }
        // ORDERING: Acquire; pairs with the Release in `push_pending`.
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

    /// In bytes.
    pub(crate) fn trim(&self) -> usize {
        for cache in &self.caches {
            let indices: Vec<u32> = cache.lock().drain(..).collect();
            let mut free = self.free.lock();
            indices.into_iter().for_each(|index| free.insert(index as usize));
        }
        let (mut cursor, mut pages) = (Some(0), 0);
        while cursor.is_some() {
            // Locked: no thread stores to a vacant entry.
            let mut free = self.free.lock();
            pages += self.entries.release_vacant(&mut cursor, &mut |indices| {
                let Some(floor) = self.floor_of(&free, indices.start / PER_PAGE) else {
                    return false;
                };
                free.floors.set(indices.start / PER_PAGE, floor);
                true
            });
        }
        pages * pagefold_frame::FRAME_BYTES
    }

    /// `None`: an index is in use, or too few generations are left, since all rise to the floor.
    fn floor_of(&self, free: &Free, page: usize) -> Option<Floor> {
        let mut floor = None;
        let indices = self.indices_of(page);
        if indices.start >= free.next {
            return Some(Floor::InUse);
        }
        for index in indices.start..indices.end.min(free.next) {
            let entry = self.cell_at(index).load();
            if free.is_free(index) {
                floor = floor.max(Some(entry.generation()));
            } else if !entry.is_out_of_use() {
                return None;
            }
        }
        match floor {
            None => Some(Floor::Retired),
            Some(floor) if floor > self.naming.bits.last_generation() / 2 => None,
            Some(floor) => Some(Floor::Generation(floor)),
        }
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = (u32, Option<Location>)> + '_ {
        let used = u32::try_from(self.free.lock().next).expect("fewer than 2^32 entries");
        // Its page may be gone.
        (0..used).map(|index| (index, self.get(index).and_then(|cell| cell.load().location())))
    }

    /// For a quiescent pool.
    pub(crate) fn check(&self, live: u64) -> Result<(), String> {
        let cached: usize = self.caches.iter().map(|cache| cache.lock().len()).sum();
        let free = self.free.lock();
        let (mut given_back, mut retired) = (0, 0);
        for index in 0..free.next {
            let is_free = free.is_free(index);
            given_back += usize::from(is_free);
            let is_retired = match free.floors.get(index / PER_PAGE) {
                Floor::InUse => self.cell_at(index).load().is_out_of_use(),
                Floor::Generation(_) | Floor::Retired => !is_free,
            };
            if is_free && is_retired {
                return Err(format!("I-INDEX: index {index} is free, and retired"));
            }
            retired += usize::from(is_retired);
        }
        if retired != free.retired {
            return Err(format!("I-INDEX: {retired} indices retired, {} counted", free.retired));
        }
        let used = free.next as u64;
        match used == (cached + given_back + retired) as u64 + live {
            true => Ok(()),
            false => Err(format!(
                "I-INDEX: {used} indices used, {cached} cached, {given_back} free, {retired} retired, {live} live"
            )),
        }
    }
}
