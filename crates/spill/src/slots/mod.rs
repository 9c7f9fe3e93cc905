//! The slots of a backing, and which objects of their extents are live.
//!
//! ```text
//!  free --reserve--> writing --publish--> live --last release, no writer--> free, generation + 1
//!                       '--fail--> free                                       '--discard--> free
//! ```
//! A slot in its last generation is used up and stays away. The lowest free slot comes first, so the end of a file empties.

use std::collections::BTreeSet;

use crate::{
    batch::directory_bytes,
    end::{Ends, Label},
    place::{GENERATIONS, OBJECTS_MAX, Place},
    seal::{Binding, TAG_BYTES},
};

/// One extent, as memory knows it.
#[derive(Debug, Default)]
struct Slot {
    sequence: u64,
    generation: u32,
    ends: Ends,
    /// A bit for each object.
    live: Box<[u64]>,
    live_objects: u32,
    live_bytes: u32,
    /// The writer has not ended.
    is_written: bool,
    is_free: bool,
    /// Something of it does not open: cleaning would not free it.
    is_damaged: bool,
}

/// What an extent has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Objects from memory.
    New,
    /// The live objects of sparse extents.
    Moved,
}

/// Where to read an object, and what opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) slot: u32,
    pub(crate) offset: u32,
    /// With the tag.
    pub(crate) len: u32,
    pub(crate) binding: Binding,
}

#[derive(Debug)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: BTreeSet<u32>,
    /// Of the free ones, those with an extent that the backing still keeps.
    undiscarded: BTreeSet<u32>,
    max: u32,
    in_use: u32,
    used_up: u32,
    /// Bytes of all lists.
    lists: usize,
    live_objects: u64,
    live_bytes: u64,
}

impl Slots {
    pub(crate) fn new(max: u32) -> Self {
        Self {
            slots: Vec::new(),
            free: BTreeSet::new(),
            undiscarded: BTreeSet::new(),
            max,
            in_use: 0,
            used_up: 0,
            lists: 0,
            live_objects: 0,
            live_bytes: 0,
        }
    }

    /// A slot to write, with its generation; `None` if all are in use. The last one is for cleaning, which frees others.
    pub(crate) fn reserve(&mut self, sequence: u64, purpose: Purpose) -> Option<(u32, u32)> {
        let left = self.free.len() + (self.max as usize).saturating_sub(self.slots.len());
        if purpose == Purpose::New && self.max > 1 && left <= 1 {
            return None;
        }
        let number = match self.free.pop_first() {
            Some(number) => number,
            None => {
                let number =
                    u32::try_from(self.slots.len()).ok().filter(|&next| next < self.max)?;
                self.slots.push(Slot { is_free: true, ..Slot::default() });
                number
            }
        };
        self.undiscarded.remove(&number);
        let slot = &mut self.slots[number as usize];
        assert!(slot.is_free, "I-SPILL: a slot that is written is free");
        (slot.is_free, slot.is_written, slot.sequence) = (false, false, sequence);
        self.in_use += 1;
        Some((number, slot.generation))
    }

    /// The extent of a reserved slot is written: its objects can be kept.
    pub(crate) fn publish(&mut self, number: u32, ends: Ends) {
        debug_assert!(ends.len() <= OBJECTS_MAX);
        let slot = &mut self.slots[number as usize];
        slot.live = vec![0; ends.len().div_ceil(64)].into();
        slot.ends = ends;
        self.lists += lists_bytes(slot);
    }

    /// Ends the writing of a slot, or gives a reserved one back. Without a live object it is free again.
    pub(crate) fn end_writing(&mut self, number: u32) {
        self.slots[number as usize].is_written = true;
        self.free_if_empty(number);
    }

    /// Counts an object as live, before any word names it. By the writer.
    pub(crate) fn keep(&mut self, place: Place) {
        let Some(slot) = self.slots.get_mut(place.slot() as usize) else { return };
        debug_assert!(!slot.is_written && slot.generation == place.generation());
        let (at, bit) = (place.number() / 64, 1 << (place.number() % 64));
        if slot.live[at] & bit == 0 {
            slot.live[at] |= bit;
            let bytes = object_len(&slot.ends, place.number());
            (slot.live_objects, slot.live_bytes) = (slot.live_objects + 1, slot.live_bytes + bytes);
            (self.live_objects, self.live_bytes) =
                (self.live_objects + 1, self.live_bytes + u64::from(bytes));
        }
    }

    /// No word names the object any more; what it was, if it was live. The caller took its word out, so this happens once.
    pub(crate) fn release(&mut self, place: Place) -> Option<Released> {
        let slot = self.slots.get_mut(place.slot() as usize)?;
        let (at, bit) = (place.number() / 64, 1 << (place.number() % 64));
        let is_live = !slot.is_free
            && slot.generation == place.generation()
            && slot.live.get(at).is_some_and(|live| live & bit != 0);
        if !is_live {
            return None;
        }
        slot.live[at] &= !bit;
        let bytes = object_len(&slot.ends, place.number());
        let label = slot.ends.label(place.number());
        (slot.live_objects, slot.live_bytes) = (slot.live_objects - 1, slot.live_bytes - bytes);
        (self.live_objects, self.live_bytes) =
            (self.live_objects - 1, self.live_bytes - u64::from(bytes));
        self.free_if_empty(place.slot());
        Some(Released { label, bytes: bytes as usize - TAG_BYTES })
    }

    fn free_if_empty(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        if slot.live_objects > 0 || !slot.is_written || slot.is_free {
            return;
        }
        (slot.is_free, slot.is_damaged) = (true, false);
        slot.generation += 1;
        (self.in_use, self.lists) = (self.in_use - 1, self.lists - lists_bytes(slot));
        (slot.ends, slot.live) = (Ends::default(), Box::default());
        self.undiscarded.insert(number);
        if slot.generation < GENERATIONS {
            self.free.insert(number);
        } else {
            self.used_up += 1;
        }
    }

    /// `None`: nothing live lies there.
    pub(crate) fn locate(&self, place: Place) -> Option<Located> {
        let slot = self.slots.get(place.slot() as usize)?;
        let number = place.number();
        let bit = slot.live.get(number / 64)? >> (number % 64) & 1;
        if slot.is_free || slot.generation != place.generation() || bit == 0 {
            return None;
        }
        Some(Located {
            slot: place.slot(),
            offset: start(&slot.ends, number),
            len: object_len(&slot.ends, number),
            binding: binding(
                slot,
                place.slot(),
                u32::try_from(number).ok()?,
                slot.ends.label(number),
            ),
        })
    }

    /// The live objects that follow one in its extent: at most `count`, and within `bytes` from its beginning.
    pub(crate) fn followers(
        &self,
        located: &Located,
        count: usize,
        bytes: u32,
    ) -> Vec<(Place, Located)> {
        let Some(slot) = self.slots.get(located.slot as usize) else { return Vec::new() };
        let first = located.binding.number as usize + 1;
        (first..slot.ends.len())
            .map(|number| Place::new(located.slot, number, slot.generation))
            .take_while(|place| {
                slot.ends.range(place.number()).1 <= (located.offset + bytes) as usize
            })
            .filter_map(|place| Some((place, self.locate(place)?)))
            .take(count)
            .collect()
    }

    /// All of an extent: its length, its objects and the binding of its directory. `None` unless it has live objects, and its writer
    /// has ended.
    pub(crate) fn extent(&self, number: u32) -> Option<Extent> {
        let slot = self.slots.get(number as usize)?;
        if slot.is_free || !slot.is_written || slot.live_objects == 0 {
            return None;
        }
        let objects = (0..slot.ends.len())
            .filter(|at| slot.live[at / 64] >> (at % 64) & 1 == 1)
            .map(|at| Place::new(number, at, slot.generation))
            .collect();
        Some(Extent {
            objects,
            count: slot.ends.len(),
            objects_end: slot.ends.end(),
            directory: binding(slot, number, u32::MAX, Label::NONE),
        })
    }

    /// Up to `count` slots of which live objects fill less than `percent`, and the bytes that these fill, the sparsest first; none that is
    /// damaged or whose writer goes on.
    pub(crate) fn sparsest(
        &self,
        count: usize,
        extent_bytes: usize,
        percent: u8,
    ) -> Vec<(u32, u32)> {
        let below = extent_bytes * usize::from(percent.min(100)) / 100;
        let filled = |slot| filled_bytes(slot, extent_bytes);
        let sparse = (0..)
            .zip(&self.slots)
            .filter(|(_, slot)| is_whole(slot) && (filled(slot) as usize) < below)
            .map(|(number, slot)| (filled(slot), number))
            .collect();
        lowest(sparse, count).into_iter().map(|(filled, number)| (number, filled)).collect()
    }

    /// As [`sparsest`](Self::sparsest), of the slots with any dead object; and the bytes of all dead objects.
    pub(crate) fn with_dead(&self, count: usize) -> (Vec<u32>, u64) {
        let dead = |slot: &Slot| slot.ends.end() as u64 - u64::from(slot.live_bytes);
        let mut slots: Vec<(u32, u32)> = Vec::new();
        let mut bytes = 0;
        for (number, slot) in (0..).zip(&self.slots) {
            if is_whole(slot) && dead(slot) > 0 {
                slots.push((slot.live_bytes, number));
                bytes += dead(slot);
            }
        }
        (lowest(slots, count).into_iter().map(|(_, number)| number).collect(), bytes)
    }

    /// An object of the extent that `place` lies in, or its directory, does not open.
    pub(crate) fn note_damaged(&mut self, number: u32, generation: u32) {
        if let Some(slot) = self.slots.get_mut(number as usize)
            && slot.generation == generation
        {
            slot.is_damaged = true;
        }
    }

    /// The extent that was written first after the write `sequence`; none whose writer goes on.
    pub(crate) fn written_after(&self, sequence: u64) -> Option<(u64, u32)> {
        let is_whole = |slot: &Slot| !slot.is_free && slot.is_written;
        let later =
            (0..).zip(&self.slots).filter(|(_, slot)| is_whole(slot) && slot.sequence > sequence);
        later.map(|(number, slot)| (slot.sequence, number)).min()
    }

    /// Takes a free slot away whose extent the backing still keeps, so that it can be discarded; [`discarded`](Self::discarded) brings it back.
    pub(crate) fn take_undiscarded(&mut self) -> Option<u32> {
        let number = self.undiscarded.pop_last()?;
        self.free.remove(&number);
        Some(number)
    }

    pub(crate) fn discarded(&mut self, number: u32) {
        if self.slots[number as usize].generation < GENERATIONS {
            self.free.insert(number);
        }
    }

    /// Slots that have an extent.
    pub(crate) fn in_use(&self) -> u32 {
        self.in_use
    }

    pub(crate) fn used_up(&self) -> u32 {
        self.used_up
    }

    pub(crate) fn undiscarded(&self) -> usize {
        self.undiscarded.len()
    }

    pub(crate) fn live(&self) -> (u64, u64) {
        (self.live_objects, self.live_bytes)
    }

    /// The bytes of the table and its lists.
    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>() + self.lists
    }

    /// Checks the sums.
    pub(crate) fn audit(&self) -> Result<(), String> {
        let (mut objects, mut bytes) = (0, 0);
        for (number, slot) in self.slots.iter().enumerate() {
            let live = (0..slot.ends.len()).filter(|at| slot.live[at / 64] >> (at % 64) & 1 == 1);
            let (count, sum) =
                live.fold((0, 0), |(count, sum), at| (count + 1, sum + object_len(&slot.ends, at)));
            if (count, sum) != (slot.live_objects, slot.live_bytes) {
                return Err(format!("I-SPILL: slot {number} counts {slot:?}"));
            }
            if slot.is_free && count > 0 || !slot.is_free && slot.is_written && count == 0 {
                return Err(format!("I-SPILL: slot {number} with {count} objects: {slot:?}"));
            }
            (objects, bytes) = (objects + u64::from(count), bytes + u64::from(sum));
        }
        let in_use = self.slots.iter().filter(|slot| !slot.is_free).count();
        let lists: usize = self.slots.iter().map(lists_bytes).sum();
        if (in_use, lists) != (self.in_use as usize, self.lists) {
            return Err(format!("I-SPILL: {in_use} slots with {lists} bytes are in use"));
        }
        if (objects, bytes) != (self.live_objects, self.live_bytes) {
            return Err(format!("I-SPILL: {objects} objects of {bytes} bytes: {:?}", self.live()));
        }
        Ok(())
    }
}

/// What was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Released {
    /// As given to [`Batch::push`](crate::Batch::push).
    pub label: Label,
    /// The object's.
    pub bytes: usize,
}

/// All of an extent.
#[derive(Debug)]
pub(crate) struct Extent {
    /// Those that are live.
    pub(crate) objects: Vec<Place>,
    /// With those that are not.
    pub(crate) count: usize,
    /// Where the directory begins.
    pub(crate) objects_end: usize,
    pub(crate) directory: Binding,
}

/// Whether cleaning can move what it has.
fn is_whole(slot: &Slot) -> bool {
    !slot.is_free && slot.is_written && !slot.is_damaged
}

/// What the live objects take of an extent that has them alone: their bytes and their entries, or their share of its numbers.
fn filled_bytes(slot: &Slot, extent_bytes: usize) -> u32 {
    let objects = slot.live_objects as usize;
    let bytes = slot.live_bytes as usize + directory_bytes(objects) - directory_bytes(0);
    let filled = bytes.max(extent_bytes / OBJECTS_MAX * objects);
    u32::try_from(filled.min(extent_bytes)).expect("26 bits")
}

/// The lowest `count`, sorted.
fn lowest(mut of: Vec<(u32, u32)>, count: usize) -> Vec<(u32, u32)> {
    if count < of.len() {
        of.select_nth_unstable(count);
        of.truncate(count);
    }
    of.sort_unstable();
    of
}

fn lists_bytes(slot: &Slot) -> usize {
    slot.ends.bytes() + size_of_val(&*slot.live)
}

fn start(ends: &Ends, number: usize) -> u32 {
    u32::try_from(ends.range(number).0).expect("26 bits")
}

/// With the tag.
fn object_len(ends: &Ends, number: usize) -> u32 {
    let len = u32::try_from(ends.range(number).1).expect("26 bits") - start(ends, number);
    debug_assert!(len as usize >= TAG_BYTES);
    len
}

fn binding(slot: &Slot, number: u32, object: u32, label: Label) -> Binding {
    Binding {
        sequence: slot.sequence,
        slot: number,
        generation: slot.generation,
        number: object,
        label,
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
