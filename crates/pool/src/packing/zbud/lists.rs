//! Under one lock: the order of use (head: filled last; tail: filled longest ago) and 64 sets of lone frames by free
//! chunks.
//!
//! A frame under reclaim is on no list: no other thread fills, joins or seizes it, and a free only empties its side.
//! Words of the descriptor say what is in a frame; they change under this lock, together with the handle entries. So a
//! free never waits for readers: the bytes stay until a thread locks the frame for writing.
//!
//! # Invariants
//! Whenever the lock is free:
//! - A side has chunks exactly if it names an index, and then the live entry of this index says this side and a length
//!   of so many chunks (I-SIDE).
//! - Each live frame with an object is in the order of use exactly once, or under reclaim (I-ORDER).
//! - A frame is in the set of its free chunks exactly if it has one object and is not under reclaim (I-UNBUDDIED).

use std::sync::Arc;

use pagefold_frame::{
    BitForest, DescriptorId, MemoryBudget, OutOfFrames, ReserveAccess, Slab, SourceError,
};
use pagefold_sys::sync::{AtomicU32, Mutex, MutexGuard, Ordering};

use super::layout::{CHUNKS, Side, SideChunks, SideSlot};

pub(super) type FrameSlab = Slab<(), WORDS>;

pub(super) const WORDS: usize = 5;
/// Ids and indices plus 1; 0 is none.
const NEWER: usize = 0;
const OLDER: usize = 1;
const FIRST: usize = 2;
const LAST: usize = 3;
const SIDES: usize = 4;

#[derive(Debug)]
pub(super) struct FrameOrder {
    unbuddied: BitForest,
    ends: Mutex<Ends>,
}

#[derive(Debug)]
struct Ends {
    /// Id + 1 of the frame.
    head: u32,
    tail: u32,
    counts: [u32; CHUNKS],
    /// A bit for each count above 0.
    in_use: u64,
}

#[derive(Debug)]
pub(super) struct Locked<'a> {
    slab: &'a FrameSlab,
    unbuddied: &'a BitForest,
    ends: MutexGuard<'a, Ends>,
}

impl FrameOrder {
    pub(super) fn new(memory: &Arc<MemoryBudget>, capacity: usize) -> Result<Self, SourceError> {
        let ends = Ends { head: 0, tail: 0, counts: [0; CHUNKS], in_use: 0 };
        Ok(Self { unbuddied: BitForest::new(memory, capacity, CHUNKS)?, ends: Mutex::new(ends) })
    }

    pub(super) fn ensure(
        &self,
        id: DescriptorId,
        access: ReserveAccess,
    ) -> Result<(), OutOfFrames> {
        self.unbuddied.ensure(id.get() as usize, access)
    }

    pub(super) fn lock<'a>(&'a self, slab: &'a FrameSlab) -> Locked<'a> {
        Locked { slab, unbuddied: &self.unbuddied, ends: self.ends.lock() }
    }
}

// ORDERING (this file): Relaxed. Words are used under the lock, except the zeros that a new life begins with, and those
// are followed by this lock before another thread knows of the frame.
impl Locked<'_> {
    fn word(&self, id: DescriptorId, word: usize) -> &AtomicU32 {
        &self.slab.words(id)[word]
    }

    fn load(&self, id: DescriptorId, word: usize) -> u32 {
        self.word(id, word).load(Ordering::Relaxed)
    }

    fn store(&self, id: DescriptorId, word: usize, value: u32) {
        self.word(id, word).store(value, Ordering::Relaxed);
    }

    pub(super) fn sides(&self, id: DescriptorId) -> SideChunks {
        SideChunks::from_word(self.load(id, SIDES))
    }

    pub(super) fn index(&self, id: DescriptorId, side: Side) -> Option<u32> {
        self.load(id, word_of(side)).checked_sub(1)
    }

    /// A new object makes it the frame filled last.
    pub(super) fn fill(&mut self, id: DescriptorId, slot: SideSlot, index: u32, filled: Filled) {
        let before = self.sides(id);
        self.unlist(id);
        self.set_side(id, slot.side, slot.chunks(), Some(index));
        self.list(id);
        if before.is_empty() {
            self.link(id);
        } else if filled == Filled::Anew {
            self.unlink(id);
            self.link(id);
        }
    }

    /// `true`: the empty frame is the caller's to free.
    #[must_use = "the thread that emptied a frame frees it"]
    pub(super) fn empty(&mut self, id: DescriptorId, side: Side) -> bool {
        if self.sides(id).under_reclaim() {
            self.set_side(id, side, 0, None);
            return false;
        }
        self.unlist(id);
        self.set_side(id, side, 0, None);
        if self.sides(id).is_empty() {
            self.unlink(id);
            return true;
        }
        self.list(id);
        false
    }

    pub(super) fn seize_oldest(&mut self) -> Option<DescriptorId> {
        let id = link(self.ends.tail)?;
        self.unlist(id);
        self.unlink(id);
        self.store(id, SIDES, self.sides(id).set_under_reclaim(true).word());
        Some(id)
    }

    /// `true`: the empty frame is the caller's to free.
    #[must_use = "the thread that had an empty frame under reclaim frees it"]
    pub(super) fn put_back(&mut self, id: DescriptorId) -> bool {
        let sides = self.sides(id).set_under_reclaim(false);
        self.store(id, SIDES, sides.word());
        if sides.is_empty() {
            return true;
        }
        self.list(id);
        self.link(id);
        false
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.tail == 0
    }

    fn set_side(&self, id: DescriptorId, side: Side, chunks: usize, index: Option<u32>) {
        let before = self.sides(id);
        assert!(
            (before.chunks(side) == 0) == index.is_some(),
            "I-SIDE: a side is filled when it is empty, and emptied once"
        );
        debug_assert!(chunks <= before.free() || index.is_none(), "I-SIDE: sides do not overlap");
        self.store(id, word_of(side), index.map_or(0, |index| index + 1));
        self.store(id, SIDES, before.with(side, chunks).word());
    }
}

/// Whether filling counts as use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    Anew,
    ByMoving,
}

impl Locked<'_> {
    fn link(&mut self, id: DescriptorId) {
        let older = std::mem::replace(&mut self.ends.head, id.get() + 1);
        self.store(id, NEWER, 0);
        self.store(id, OLDER, older);
        match link(older) {
            Some(older) => self.store(older, NEWER, id.get() + 1),
            None => self.ends.tail = id.get() + 1,
        }
    }

    fn unlink(&mut self, id: DescriptorId) {
        let (newer, older) = (self.load(id, NEWER), self.load(id, OLDER));
        match link(newer) {
            Some(newer) => self.store(newer, OLDER, older),
            None => self.ends.head = older,
        }
        match link(older) {
            Some(older) => self.store(older, NEWER, newer),
            None => self.ends.tail = newer,
        }
    }

    /// The frame filled last first; an error where a link does not lead back.
    pub(super) fn walk(&self, f: &mut dyn FnMut(DescriptorId) -> bool) -> Result<(), String> {
        let (mut newer, mut at) = (0, self.ends.head);
        while let Some(id) = link(at) {
            if self.load(id, NEWER) != newer {
                return Err(format!("I-ORDER: frame {} does not lead back", id.get()));
            }
            if !f(id) {
                return Err(format!("I-ORDER: frame {} does not belong there", id.get()));
            }
            (newer, at) = (at, self.load(id, OLDER));
        }
        if newer == self.ends.tail {
            Ok(())
        } else {
            Err(format!("I-ORDER: the order ends at {newer}, and the tail is {}", self.ends.tail))
        }
    }
}

impl Locked<'_> {
    fn list(&mut self, id: DescriptorId) {
        let sides = self.sides(id);
        if sides.lone().is_none() {
            return;
        }
        let fresh = self.unbuddied.insert(sides.free(), id.get() as usize);
        debug_assert!(fresh, "I-UNBUDDIED: a lone frame is listed once");
        self.ends.counts[sides.free()] += 1;
        self.ends.in_use |= 1 << sides.free();
    }

    fn unlist(&mut self, id: DescriptorId) {
        let sides = self.sides(id);
        if sides.lone().is_none() {
            return;
        }
        let listed = self.unbuddied.remove(sides.free(), id.get() as usize);
        debug_assert!(listed, "I-UNBUDDIED: a lone frame is listed");
        self.ends.counts[sides.free()] -= 1;
        if self.ends.counts[sides.free()] == 0 {
            self.ends.in_use &= !(1 << sides.free());
        }
    }

    /// The tightest first, then the lowest id.
    pub(super) fn lone(&self, chunks: usize) -> impl Iterator<Item = DescriptorId> + '_ {
        let lists = (chunks..CHUNKS).filter(|&list| self.ends.in_use >> list & 1 == 1);
        lists.flat_map(move |list| {
            let first = self.unbuddied.first(list);
            let ids =
                std::iter::successors(first, move |&id| self.unbuddied.first_from(list, id + 1));
            ids.map(id_of)
        })
    }

    pub(super) fn lone_from(&self, free: usize, from: usize) -> Option<DescriptorId> {
        self.unbuddied.first_from(free, from).map(id_of)
    }

    pub(super) fn is_listed(&self, id: DescriptorId, free: usize) -> bool {
        self.unbuddied.contains(free, id.get() as usize)
    }

    pub(super) fn counts(&self) -> &[u32; CHUNKS] {
        &self.ends.counts
    }

    pub(super) fn in_use(&self) -> u64 {
        self.ends.in_use
    }
}

fn word_of(side: Side) -> usize {
    match side {
        Side::First => FIRST,
        Side::Last => LAST,
    }
}

fn link(word: u32) -> Option<DescriptorId> {
    word.checked_sub(1).map(DescriptorId::new)
}

fn id_of(number: usize) -> DescriptorId {
    DescriptorId::new(u32::try_from(number).expect("a slab's capacity fits 29 bits"))
}
