//! The map of a cache: shards with a lock each, what they weigh, and what happens when the space drops a value.
//!
//! # Protocol
//! A slot of the space belongs to one place of one shard. Who has it is decided under the shard's lock:
//! ```text
//!  vacant --reserve--> reserved --link--> live --unlink--> vacant
//!                          '--release--------------------------^
//! ```
//! - **Insert**: reserve; put the stamp and the value (no lock held: codec, making room, listeners); link, unless the slot is
//!   empty again by then. So a live place had its value when it became live.
//! - **Dropped by the space**: the listener looks, under the lock, whether the place is live and its slot empty. If so, it
//!   unlinks it. If the place is reserved, its insert will look. If it is vacant, another thread was quicker. So each
//!   value is counted out once, however late the report is.
//! - **Get**: find under the lock, read without it, compare the stamp. Whatever happened in between, another value has
//!   another stamp, so it is a miss or another look, and never a wrong value.
//! - **Everything that unlinks** a live place removes the value under the same lock, which frees and calls nothing foreign.

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

/// Shards at most.
const SHARDS_MAX: u64 = 16;
/// Places for which another shard is worth its lock.
const SHARD_WORTH: u64 = 256;
/// How often room is made for one growth of the map.
const ROUNDS: u32 = 8;
/// Places that are looked at under one lock.
const STRIDE: u32 = 128;

#[derive(Debug)]
struct Part {
    shard: Mutex<Shard>,
    events: Events,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Map {
    parts: Box<[Padded<Part>]>,
    weight: AtomicU64,
    weight_max: u64,
    /// The space, once there is one; it knows the map, and ends before it.
    space: OnceLock<Weak<SpaceState>>,
}

/// A slot of the space, with the place it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    part: usize,
    place: u32,
    pub(super) number: u64,
}

/// What a key has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) slot: Slot,
    pub(super) entry: MapEntry,
}

impl Map {
    /// A map for at least so many entries.
    pub(super) fn new(entries_max: u64, weight_max: u64) -> Arc<Self> {
        let shards = (entries_max / SHARD_WORTH).clamp(1, SHARDS_MAX);
        let places = u32::try_from(entries_max.div_ceil(shards)).unwrap_or(u32::MAX - 1);
        let part =
            |_| Padded(Part { shard: Mutex::new(Shard::new(places)), events: Events::default() });
        Arc::new(Self {
            parts: (0..shards).map(part).collect(),
            weight: AtomicU64::new(0),
            weight_max,
            space: OnceLock::new(),
        })
    }

    /// Slots of the space that the map may use.
    pub(super) fn slots(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.shard.lock().places_max())).sum()
    }

    /// What lies outside of shards.
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
        // Other bits than those of the table.
        usize::try_from(hash.high % self.parts.len() as u64).expect("less than a length")
    }

    fn slot(&self, part: usize, place: u32) -> Slot {
        let number = u64::from(place) * self.parts.len() as u64 + part as u64;
        Slot { part, place, number }
    }

    pub(super) fn count(&self, hash: KeyHash, event: Event) {
        self.parts[self.part_of(hash)].events.add(event);
    }

    pub(super) fn find(&self, hash: KeyHash) -> Option<Found> {
        let part = self.part_of(hash);
        let (place, entry) = self.parts[part].shard.lock().find(hash)?;
        Some(Found { slot: self.slot(part, place), entry })
    }

    /// Takes a place for an insert, and makes the map longer for it if it must. `None` when there is no room for that.
    pub(super) fn reserve(&self, hash: KeyHash, now: u64, slots: Slots<'_>) -> Option<Slot> {
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
            // An entry less is a place more, though no larger table.
            if matches!(need, Need::Table(_)) || !self.evict_in(part, None, slots, now) {
                return None;
            }
        }
    }

    /// Gives a reserved place back, with what was put there.
    pub(super) fn release(&self, slot: Slot, slots: Slots<'_>) {
        let mut shard = self.parts[slot.part].shard.lock();
        slots.remove(slot.number);
        shard.release(slot.place);
    }

    /// Makes a reserved place the entry of its key, and removes what the key had.
    pub(super) fn link(&self, slot: Slot, entry: MapEntry, slots: Slots<'_>) {
        let part = &self.parts[slot.part];
        part.events.add(Event::Insert);
        let mut shard = part.shard.lock();
        if !slots.is_there(slot.number) {
            // Already dropped: the key then has nothing, and not its old value.
            let old = shard.find(entry.hash);
            shard.release(slot.place);
            if let Some((place, _)) = old {
                self.unlink(&mut shard, self.slot(slot.part, place), slots);
            }
            part.events.add(Event::Evicted);
            return;
        }
        // ORDERING of `weight`: Relaxed; changed under the lock of the entry's shard, so the sum is right, and no other
        // memory hangs on it.
        self.weight.fetch_add(u64::from(entry.weight), Ordering::Relaxed);
        if let Some((place, old)) = shard.link(slot.place, entry) {
            self.weight.fetch_sub(u64::from(old.weight), Ordering::Relaxed);
            slots.remove(self.slot(slot.part, place).number);
        }
    }

    /// Takes a live entry out, with its value. Returns whether the value was there.
    fn unlink(&self, shard: &mut Shard, slot: Slot, slots: Slots<'_>) -> bool {
        let Some(entry) = shard.unlink(slot.place) else { return false };
        self.weight.fetch_sub(u64::from(entry.weight), Ordering::Relaxed);
        slots.remove(slot.number)
    }

    /// Removes the entry of a key. Returns whether there was a value.
    pub(super) fn remove(&self, hash: KeyHash, slots: Slots<'_>) -> bool {
        let part = self.part_of(hash);
        let mut shard = self.parts[part].shard.lock();
        let Some((place, _)) = shard.find(hash) else { return false };
        self.unlink(&mut shard, self.slot(part, place), slots)
    }

    /// Removes an entry that was found, if it is still there; counts why. `false` when the key has another by now, or none.
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

    /// The space dropped what was in a slot.
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

    /// Drops entries until the weight is within its maximum, except the one with this stamp.
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

    /// Drops an entry of a shard: one whose time is over, or that was not got since the hand came by last.
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

    /// Removes all entries that `goes` accepts, counts the reason if given, and returns their number.
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
