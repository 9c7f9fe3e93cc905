//! The map of a cache: locked shards, their weight, and evictions by the space.
//!
//! # Protocol
//! A slot of the space belongs to one place of one shard, whose lock guards it:
//! ```text
//!  vacant --reserve--> reserved --link--> live --unlink--> vacant
//!                          '--release--------------------------^
//! ```
//! - **Insert**: reserve; put stamp and value unlocked; link, unless the slot is empty again. So a live place had its
//!   value when linked.
//! - **Eviction by the space**: the listener unlinks a live place with an empty slot, and leaves a reserved one to its
//!   insert. So each value is counted out once.
//! - **Get**: find under the lock, read unlocked, compare stamps. Another stamp is a miss or a retry, never a wrong
//!   value.
//! - **Unlinking** removes the value under the same lock, which calls nothing foreign.

use std::{
    num::NonZeroU64,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use pagefold_sys::sync::{Mutex, Padded};

use super::{
    hash::KeyHash,
    shard::{MapEntry, Need, Shard},
    slots::{self, Slots},
    stats::{CacheStats, Event, Events},
};
use crate::state::SpaceState;

const SHARDS_MAX: u64 = 16;
/// Places that justify another shard.
const SHARD_WORTH: u64 = 256;
/// Rounds of making room per growth.
const ROUNDS: u32 = 8;
/// Places scanned per lock.
const STRIDE: u32 = 128;

#[derive(Debug)]
struct MapShard {
    shard: Mutex<Shard>,
    events: Events,
}

#[derive(Debug)]
pub(super) struct Map {
    parts: Box<[Padded<MapShard>]>,
    weight: AtomicU64,
    weight_max: u64,
    /// It knows the map, and ends first.
    space: OnceLock<Weak<SpaceState>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct SpaceSlot {
    part: usize,
    place: u32,
    pub(super) number: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) slot: SpaceSlot,
    pub(super) entry: MapEntry,
}

impl Map {
    /// For at least `entries_max` entries.
    pub(super) fn new(entries_max: u64, weight_max: u64) -> Arc<Self> {
        let shards = (entries_max / SHARD_WORTH).clamp(1, SHARDS_MAX);
        let places = u32::try_from(entries_max.div_ceil(shards)).unwrap_or(u32::MAX - 1);
        let part = |_| {
            Padded(MapShard { shard: Mutex::new(Shard::new(places)), events: Events::default() })
        };
        Arc::new(Self {
            parts: (0..shards).map(part).collect(),
            weight: AtomicU64::new(0),
            weight_max,
            space: OnceLock::new(),
        })
    }

    pub(super) fn slots(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.shard.lock().places_max())).sum()
    }

    /// Outside of shards.
    pub(super) fn fixed_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.parts)
    }

    pub(super) fn bind(&self, space: &Arc<SpaceState>) {
        self.space.get_or_init(|| Arc::downgrade(space));
    }

    pub(super) fn weight_max(&self) -> u64 {
        self.weight_max
    }

    fn part_of(&self, hash: KeyHash) -> usize {
        // Not the table's bits.
        usize::try_from(hash.high % self.parts.len() as u64).expect("less than a length")
    }

    fn slot(&self, part: usize, place: u32) -> SpaceSlot {
        let number = u64::from(place) * self.parts.len() as u64 + part as u64;
        SpaceSlot { part, place, number }
    }

    pub(super) fn count(&self, hash: KeyHash, event: Event) {
        self.parts[self.part_of(hash)].events.add(event);
    }

    pub(super) fn find(&self, hash: KeyHash) -> Option<Found> {
        let part = self.part_of(hash);
        let (place, entry) = self.parts[part].shard.lock().find(hash)?;
        Some(Found { slot: self.slot(part, place), entry })
    }

    /// Takes a place, growing the map if needed; `None` without room.
    pub(super) fn reserve(&self, hash: KeyHash, now: u64, slots: Slots<'_>) -> Option<SpaceSlot> {
        let part = self.part_of(hash);
        let mut round = 0;
        loop {
            let need = {
                let mut shard = self.parts[part].shard.lock();
                match shard.needs() {
                    None => return Some(self.slot(part, shard.reserve())),
                    Some(need) => need,
                }
            };
            if need != Need::Fewer {
                if let Ok(charge) = slots.store.memory.charge_beside(need.bytes()) {
                    self.parts[part].shard.lock().grow(need, charge);
                    continue;
                }
                if round < ROUNDS && slots.make_room(need.bytes(), round) {
                    round += 1;
                    continue;
                }
            }
            // Eviction enlarges no table.
            if matches!(need, Need::Table(_)) || !self.evict_in(part, None, slots, now) {
                return None;
            }
        }
    }

    /// Frees a reserved place and its slot.
    pub(super) fn release(&self, slot: SpaceSlot, slots: Slots<'_>) {
        let mut shard = self.parts[slot.part].shard.lock();
        slots.remove(slot.number);
        shard.release(slot.place);
    }

    /// Makes a reserved place live, replacing the old one.
    pub(super) fn link(&self, slot: SpaceSlot, entry: MapEntry, slots: Slots<'_>) {
        let part = &self.parts[slot.part];
        part.events.add(Event::Insert);
        let mut shard = part.shard.lock();
        if !slots.is_there(slot.number) {
            // The key must lose its old value too.
            let old = shard.find(entry.hash);
            shard.release(slot.place);
            if let Some((place, _)) = old {
                self.unlink(&mut shard, self.slot(slot.part, place), slots);
            }
            part.events.add(Event::Evicted);
            return;
        }
        // ORDERING of `weight`: Relaxed; changed under the lock of the entry's shard, so the sum is right; it guards no
        // other memory.
        self.weight.fetch_add(u64::from(entry.weight), Ordering::Relaxed);
        if let Some((place, old)) = shard.link(slot.place, entry) {
            self.weight.fetch_sub(u64::from(old.weight), Ordering::Relaxed);
            slots.remove(self.slot(slot.part, place).number);
        }
    }

    /// Removes a live entry; whether its value was present.
    fn unlink(&self, shard: &mut Shard, slot: SpaceSlot, slots: Slots<'_>) -> bool {
        let Some(entry) = shard.unlink(slot.place) else { return false };
        self.weight.fetch_sub(u64::from(entry.weight), Ordering::Relaxed);
        slots.remove(slot.number)
    }

    /// Whether there was a value.
    pub(super) fn remove(&self, hash: KeyHash, slots: Slots<'_>) -> bool {
        let part = self.part_of(hash);
        let mut shard = self.parts[part].shard.lock();
        let Some((place, _)) = shard.find(hash) else { return false };
        self.unlink(&mut shard, self.slot(part, place), slots)
    }

    /// Removes an entry and counts `why`; `false` if it changed since.
    pub(super) fn remove_found(&self, found: &Found, why: Event, slots: Slots<'_>) -> bool {
        let part = &self.parts[found.slot.part];
        let mut shard = part.shard.lock();
        let same = shard.entry(found.slot.place).is_some_and(|e| e.stamp == found.entry.stamp);
        if same {
            self.unlink(&mut shard, found.slot, slots);
            part.events.add(why);
        }
        same
    }

    /// The space's report of an eviction.
    pub(super) fn evicted(&self, number: u64) {
        let Some(space) = self.space.get().and_then(Weak::upgrade) else { return };
        let shards = self.parts.len() as u64;
        let part = usize::try_from(number % shards).expect("less than a length");
        let Ok(place) = u32::try_from(number / shards) else { return };
        let mut shard = self.parts[part].shard.lock();
        if shard.entry(place).is_some()
            && !slots::is_there(&space, number)
            && let Some(entry) = shard.unlink(place)
        {
            self.weight.fetch_sub(u64::from(entry.weight), Ordering::Relaxed);
            self.parts[part].events.add(Event::Evicted);
        }
    }

    /// Evicts until the weight fits, except the stamp `spared`.
    pub(super) fn shed_weight(
        &self,
        hash: KeyHash,
        spared: NonZeroU64,
        now: u64,
        slots: Slots<'_>,
    ) {
        let first = self.part_of(hash);
        let mut empty = 0;
        while self.weight.load(Ordering::Relaxed) > self.weight_max && empty < self.parts.len() {
            let part = (first + empty) % self.parts.len();
            if !self.evict_in(part, Some(spared), slots, now) {
                empty += 1;
            }
        }
    }

    /// Evicts an entry that is expired or not marked.
    fn evict_in(
        &self,
        part: usize,
        spared: Option<NonZeroU64>,
        slots: Slots<'_>,
        now: u64,
    ) -> bool {
        let mut shard = self.parts[part].shard.lock();
        let mut why = Event::Evicted;
        let victim = shard.victim(|place, entry| {
            if Some(entry.stamp) == spared {
                return false;
            }
            let is_over = entry.expires_ms <= now;
            why = if is_over { Event::Expired } else { Event::Evicted };
            is_over || !slots.take_mark(self.slot(part, place).number)
        });
        let Some(place) = victim else { return false };
        self.unlink(&mut shard, self.slot(part, place), slots);
        self.parts[part].events.add(why);
        true
    }

    /// Removes matching entries, and returns their number.
    pub(super) fn remove_where(
        &self,
        goes: impl Fn(&MapEntry) -> bool,
        why: Option<Event>,
        slots: Slots<'_>,
    ) -> u64 {
        let mut removed = 0;
        for (number, part) in self.parts.iter().enumerate() {
            let places = part.shard.lock().places();
            for start in (0..places).step_by(STRIDE as usize) {
                let mut shard = part.shard.lock();
                for place in start..places.min(start + STRIDE) {
                    if shard.entry(place).is_some_and(&goes) {
                        self.unlink(&mut shard, self.slot(number, place), slots);
                        removed += 1;
                        why.into_iter().for_each(|why| part.events.add(why));
                    }
                }
            }
        }
        removed
    }

    pub(super) fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.shard.lock().len() as u64).sum()
    }

    pub(super) fn stats(&self) -> CacheStats {
        let mut stats = CacheStats::default();
        for part in &self.parts {
            part.events.add_to(&mut stats);
            let shard = part.shard.lock();
            stats.entries += shard.len() as u64;
            stats.map_bytes += shard.bytes() as u64;
        }
        stats.weight = self.weight.load(Ordering::Relaxed);
        stats
    }
}
