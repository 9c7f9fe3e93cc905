//! A shard of a cache's map, without its lock: entries at places, and a table from hashes to places.
//!
//! ```text
//!  table   hash -> place, 5 bytes a bucket      chunks   place -> entry, 40 bytes, 99 in a frame
//! ```
//! A place is *vacant* (in the free list), *reserved* (its insert is putting the value) or *live*. Places never move,
//! so each is the value's slot. Growth: [`Shard::needs`] under the lock, the charge without it, then [`Shard::grow`].

use std::num::NonZeroU64;

use hashbrown::HashTable;
use pagefold_frame::{Charge, FRAME_BYTES};

use super::hash::KeyHash;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MapEntry {
    pub(super) hash: KeyHash,
    /// Precedes the value; unique per insert.
    pub(super) stamp: NonZeroU64,
    /// In the clock's milliseconds; `u64::MAX` is never.
    pub(super) expires_ms: u64,
    pub(super) weight: u32,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Live(MapEntry),
    /// The next free place; meaningless while reserved.
    Vacant(Option<PlaceNo>),
}

/// Plus 1, so that `Option` adds no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PlaceNo(std::num::NonZeroU32);

impl PlaceNo {
    fn new(place: u32) -> Self {
        Self(std::num::NonZeroU32::MIN.saturating_add(place))
    }

    fn get(self) -> u32 {
        self.0.get() - 1
    }
}

const _: () = assert!(size_of::<Place>() == 40, "the documents say so");

/// Fills a frame, with the heap's header and two list entries.
const CHUNK: usize = (FRAME_BYTES - 16 - 2 * size_of::<Chunk>()) / size_of::<Place>();

#[derive(Debug)]
struct Chunk {
    places: Box<[Place]>,
    _charge: Charge,
}

/// Required for another entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Chunk,
    /// For so many entries.
    Table(usize),
    /// An eviction: all places are used.
    Fewer,
}

impl Need {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Chunk => FRAME_BYTES,
            Self::Table(capacity) => table_bytes(capacity),
            Self::Fewer => 0,
        }
    }
}

/// At most 7 of 8 buckets are used; each has a number and a byte; a group of bytes follows.
fn table_bytes(capacity: usize) -> usize {
    let buckets = (capacity * 8 / 7).next_power_of_two().max(16);
    buckets * (size_of::<u32>() + 1) + 64
}

const TABLE_MIN: usize = 14;

#[derive(Debug)]
pub(super) struct Shard {
    table: HashTable<u32>,
    table_charge: Option<Charge>,
    chunks: Vec<Chunk>,
    free: Option<PlaceNo>,
    /// The first place never used.
    fresh: u32,
    /// Each may become a table entry.
    reserved: usize,
    places_max: u32,
    hand: u32,
}

impl Shard {
    pub(super) fn new(places_max: u32) -> Self {
        Self {
            table: HashTable::new(),
            table_charge: None,
            chunks: Vec::new(),
            free: None,
            fresh: 0,
            reserved: 0,
            places_max,
            hand: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn places(&self) -> u32 {
        self.fresh
    }

    pub(super) fn places_max(&self) -> u32 {
        self.places_max
    }

    pub(super) fn bytes(&self) -> usize {
        self.chunks.len() * FRAME_BYTES + self.table_charge.as_ref().map_or(0, Charge::bytes)
    }

    fn place(&self, place: u32) -> &Place {
        let place = place as usize;
        &self.chunks[place / CHUNK].places[place % CHUNK]
    }

    fn place_mut(&mut self, place: u32) -> &mut Place {
        let place = place as usize;
        &mut self.chunks[place / CHUNK].places[place % CHUNK]
    }

    /// `None` unless live.
    pub(super) fn entry(&self, place: u32) -> Option<&MapEntry> {
        match (place < self.fresh).then(|| self.place(place)) {
            Some(Place::Live(entry)) => Some(entry),
            _ => None,
        }
    }

    pub(super) fn find(&self, hash: KeyHash) -> Option<(u32, MapEntry)> {
        let entry_at = |place: &u32| self.entry(*place).filter(|entry| entry.hash == hash);
        let place = *self.table.find(hash.low, |place| entry_at(place).is_some())?;
        self.entry(place).map(|entry| (place, *entry))
    }

    pub(super) fn needs(&self) -> Option<Need> {
        let entries = self.table.len() + self.reserved;
        if entries + 1 > self.table.capacity() {
            // A new table has no tombstones.
            let full = self.table.num_buckets() / 8 * 7;
            let capacity = if entries < full / 4 * 3 { full } else { full * 2 };
            return Some(Need::Table(capacity.max(TABLE_MIN)));
        }
        if self.free.is_some() {
            return None;
        }
        if self.fresh >= self.places_max {
            return Some(Need::Fewer);
        }
        (self.fresh as usize >= self.chunks.len() * CHUNK).then_some(Need::Chunk)
    }

    /// Drops the charge if another thread was quicker.
    pub(super) fn grow(&mut self, need: Need, charge: Charge) {
        if self.needs() != Some(need) {
            return;
        }
        match need {
            Need::Chunk => {
                let places = vec![Place::Vacant(None); CHUNK].into_boxed_slice();
                self.chunks.push(Chunk { places, _charge: charge });
            }
            Need::Table(capacity) => {
                let mut table = HashTable::with_capacity(capacity);
                for &place in &self.table {
                    table.insert_unique(self.hash_at(place), place, |place| self.hash_at(*place));
                }
                debug_assert!(
                    table.allocation_size() <= charge.bytes(),
                    "charged before it is made"
                );
                self.table = table;
                self.table_charge = Some(charge);
            }
            Need::Fewer => {}
        }
    }

    fn hash_at(&self, place: u32) -> u64 {
        match self.place(place) {
            Place::Live(entry) => entry.hash.low,
            Place::Vacant(_) => unreachable!("the table names live places"),
        }
    }

    /// Takes a vacant place; `needs` was `None` under the same lock.
    pub(super) fn reserve(&mut self) -> u32 {
        debug_assert_eq!(self.needs(), None);
        let place = match self.free {
            Some(place) => {
                let place = place.get();
                let Place::Vacant(next) = *self.place(place) else {
                    unreachable!("free places are vacant")
                };
                self.free = next;
                place
            }
            None => {
                self.fresh += 1;
                self.fresh - 1
            }
        };
        self.reserved += 1;
        place
    }

    pub(super) fn release(&mut self, place: u32) {
        self.reserved -= 1;
        self.vacate(place);
    }

    fn vacate(&mut self, place: u32) {
        let next = self.free;
        *self.place_mut(place) = Place::Vacant(next);
        self.free = Some(PlaceNo::new(place));
    }

    /// Makes a reserved place live; returns the key's old entry, unlinked.
    pub(super) fn link(&mut self, place: u32, entry: MapEntry) -> Option<(u32, MapEntry)> {
        let old = self.find(entry.hash);
        if let Some((old_place, _)) = old {
            self.unlink(old_place);
        }
        self.reserved -= 1;
        *self.place_mut(place) = Place::Live(entry);
        let Self { table, chunks, .. } = self;
        let hash_at = |place: &u32| {
            let place = *place as usize;
            match &chunks[place / CHUNK].places[place % CHUNK] {
                Place::Live(entry) => entry.hash.low,
                Place::Vacant(_) => unreachable!("the table names live places"),
            }
        };
        table.insert_unique(entry.hash.low, place, hash_at);
        old
    }

    /// Takes out a live entry.
    pub(super) fn unlink(&mut self, place: u32) -> Option<MapEntry> {
        let entry = *self.entry(place)?;
        if let Ok(found) = self.table.find_entry(entry.hash.low, |known| *known == place) {
            found.remove();
        }
        self.vacate(place);
        Some(entry)
    }

    /// The hand's next live entry that `may_go` accepts; each is asked at most twice.
    pub(super) fn victim(&mut self, mut may_go: impl FnMut(u32, &MapEntry) -> bool) -> Option<u32> {
        for _ in 0..2 * u64::from(self.fresh) {
            let place = if self.hand < self.fresh { self.hand } else { 0 };
            self.hand = place + 1;
            if self.entry(place).is_some_and(|entry| may_go(place, entry)) {
                return Some(place);
            }
        }
        None
    }
}
