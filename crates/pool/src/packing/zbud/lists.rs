//! The lists of frames, under one lock: the order of use, and lone frames by what they have free.
//!
//! ```text
//!  order of use    head (filled last) <-> .. <-> tail (filled longest ago)      links in words of the descriptor
//!  unbuddied       64 sets of ids, by free chunks                               a forest of bits, lowest id first
//! ```
//! A frame with two objects is in the order of use alone. A frame under reclaim is on no list: it belongs to that
//! thread, so no other fills, joins or seizes it, and a free only empties its side.
//!
//! Everything that says what a frame holds is in words of its descriptor that need no hold. They change under this
//! lock alone, together with the handle entries that say the same from the other end. So a free never waits for
//! readers: it empties the side, and the bytes stay until the frame is held for writing.
//!
//! # Invariants
//! Whenever the lock is free:
//! - A side has chunks exactly if it names an index, and then the entry of this index is live and says this side, and a
//!   length of so many chunks (I-SIDE).
//! - Each live frame with an object is in the order of use exactly once, or under reclaim (I-ORDER).
//! - A frame is in the set of its free chunks exactly if it has one object and is not under reclaim (I-UNBUDDIED).

use std::sync::Arc;

use pagefold_frame::{
    BitForest, DescriptorId, MemoryBudget, OutOfFrames, ReserveAccess, Slab, SourceError,
};
use pagefold_sys::sync::{AtomicU32, Mutex, MutexGuard, Ordering};

use super::layout::{CHUNKS, Shape, Side, Slot};

/// Descriptors of frames: no body, and the words below.
pub(super) type FrameSlab = Slab<(), WORDS>;

/// Words of a frame's descriptor.
pub(super) const WORDS: usize = 5;
/// Which they are. Ids and indices are kept plus 1; 0 is none.
const NEWER: usize = 0;
const OLDER: usize = 1;
const FIRST: usize = 2;
const LAST: usize = 3;
const SHAPE: usize = 4;

/// See the module.
#[derive(Debug)]
pub(super) struct Lists {
    /// By free chunks: ids of lone frames.
    unbuddied: BitForest,
    ends: Mutex<Ends>,
}

/// What the lock guards, beside the words and the forest.
#[derive(Debug)]
struct Ends {
    /// The frame filled last, and the one filled longest ago: id + 1.
    head: u32,
    tail: u32,
    /// Lone frames by their free chunks.
    counts: [u32; CHUNKS],
    /// A bit for each count that is not 0.
    in_use: u64,
}

/// The lists, locked.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    slab: &'a FrameSlab,
    unbuddied: &'a BitForest,
    ends: MutexGuard<'a, Ends>,
}

impl Lists {
    /// Empty lists for up to `capacity` frames.
    pub(super) fn new(memory: &Arc<MemoryBudget>, capacity: usize) -> Result<Self, SourceError> {
        let ends = Ends { head: 0, tail: 0, counts: [0; CHUNKS], in_use: 0 };
        Ok(Self { unbuddied: BitForest::new(memory, capacity, CHUNKS)?, ends: Mutex::new(ends) })
    }

    /// Makes room for a frame in every list.
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

// ORDERING (this file): Relaxed. Words are read and written under the lock, except the zeros that a new life begins
// with, and those are followed by this lock before another thread knows of the frame.
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

    /// What the frame holds.
    pub(super) fn shape(&self, id: DescriptorId) -> Shape {
        Shape::from_word(self.load(id, SHAPE))
    }

    /// The index of the handle entry of the object on a side.
    pub(super) fn index(&self, id: DescriptorId, side: Side) -> Option<u32> {
        self.load(id, word_of(side)).checked_sub(1)
    }

    /// Puts an object on an empty side of a lone frame, or of a new one that is on no list yet. The frame becomes the
    /// one filled last if the object is new there, and keeps its place in the order of use if it was moved.
    pub(super) fn fill(&mut self, id: DescriptorId, slot: Slot, index: u32, filled: Filled) {
        let before = self.shape(id);
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

    /// Empties a side. `true`: that was the last object, the frame is off all lists, and it is the caller's to free.
    #[must_use = "the thread that emptied a frame frees it"]
    pub(super) fn empty(&mut self, id: DescriptorId, side: Side) -> bool {
        if self.shape(id).under_reclaim() {
            self.set_side(id, side, 0, None);
            return false;
        }
        self.unlist(id);
        self.set_side(id, side, 0, None);
        if self.shape(id).is_empty() {
            self.unlink(id);
            return true;
        }
        self.list(id);
        false
    }

    /// Takes the frame that was filled longest ago off all lists and marks it as under reclaim.
    pub(super) fn seize_oldest(&mut self) -> Option<DescriptorId> {
        let id = link(self.ends.tail)?;
        self.unlist(id);
        self.unlink(id);
        self.store(id, SHAPE, self.shape(id).set_under_reclaim(true).word());
        Some(id)
    }

    /// Ends the reclaim of a frame: it is on the lists again, as the one filled last. `true`: it is empty, on no list,
    /// and the caller's to free.
    #[must_use = "the thread that had an empty frame under reclaim frees it"]
    pub(super) fn put_back(&mut self, id: DescriptorId) -> bool {
        let shape = self.shape(id).set_under_reclaim(false);
        self.store(id, SHAPE, shape.word());
        if shape.is_empty() {
            return true;
        }
        self.list(id);
        self.link(id);
        false
    }

    /// Whether there is a frame to seize.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.tail == 0
    }

    fn set_side(&self, id: DescriptorId, side: Side, chunks: usize, index: Option<u32>) {
        let before = self.shape(id);
        assert!(
            (before.chunks(side) == 0) == index.is_some(),
            "I-SIDE: a side is filled when it is empty, and emptied once"
        );
        debug_assert!(chunks <= before.free() || index.is_none(), "I-SIDE: sides do not overlap");
        self.store(id, word_of(side), index.map_or(0, |index| index + 1));
        self.store(id, SHAPE, before.with(side, chunks).word());
    }
}

/// Whether a frame that gets an object counts as used by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    /// The object is new.
    Anew,
    /// The object was moved.
    ByMoving,
}

/// The order of use.
impl Locked<'_> {
    /// Puts a frame in front.
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

    /// All frames in the order of use, the one filled last first; an error where a link does not lead back. For a
    /// quiescent pool.
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

/// Lone frames.
impl Locked<'_> {
    /// Puts a frame in the set of its free chunks, if it is a lone one.
    fn list(&mut self, id: DescriptorId) {
        let shape = self.shape(id);
        if shape.lone().is_none() {
            return;
        }
        let fresh = self.unbuddied.insert(shape.free(), id.get() as usize);
        debug_assert!(fresh, "I-UNBUDDIED: a lone frame is listed once");
        self.ends.counts[shape.free()] += 1;
        self.ends.in_use |= 1 << shape.free();
    }

    fn unlist(&mut self, id: DescriptorId) {
        let shape = self.shape(id);
        if shape.lone().is_none() {
            return;
        }
        let listed = self.unbuddied.remove(shape.free(), id.get() as usize);
        debug_assert!(listed, "I-UNBUDDIED: a lone frame is listed");
        self.ends.counts[shape.free()] -= 1;
        if self.ends.counts[shape.free()] == 0 {
            self.ends.in_use &= !(1 << shape.free());
        }
    }

    /// Lone frames with at least so many chunks free: the tightest first, of those the lowest id first.
    pub(super) fn lone(&self, chunks: usize) -> impl Iterator<Item = DescriptorId> + '_ {
        let lists = (chunks..CHUNKS).filter(|&list| self.ends.in_use >> list & 1 == 1);
        lists.flat_map(move |list| {
            let first = self.unbuddied.first(list);
            let ids =
                std::iter::successors(first, move |&id| self.unbuddied.first_from(list, id + 1));
            ids.map(id_of)
        })
    }

    /// The lone frame with this many free chunks and the lowest id from `from` on.
    pub(super) fn lone_from(&self, free: usize, from: usize) -> Option<DescriptorId> {
        self.unbuddied.first_from(free, from).map(id_of)
    }

    pub(super) fn is_listed(&self, id: DescriptorId, free: usize) -> bool {
        self.unbuddied.contains(free, id.get() as usize)
    }

    /// Lone frames by their free chunks.
    pub(super) fn counts(&self) -> &[u32; CHUNKS] {
        &self.ends.counts
    }

    /// Sets of lone frames that are not empty.
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
