//! Frames and the lists of their free blocks.
//!
//! A frame is on the list of each size of its free blocks; entirely free frames are the *reserve*. Partly used frames
//! are on one of 16 lists by use. The lowest frame comes first, so high frames empty out.
//!
//! One lock guards blocks and lists ([`FrameTable::lock`]). A thread that takes a block tries for the write guard of
//! its frame, so it skips a block whose old bytes a reader still reads.
//!
//! # Invariants (I-HOLE)
//! - A frame is on exactly the lists of its free sizes and, while partly used, of its use. The victim is on none.
//! - A frame on no list and without a used block belongs to the thread that frees it.
//! - The counts are the sums over all frames.

use std::sync::Arc;

use pagefold_frame::{
    Arena, BitForest, DescriptorId, FrameCount, LockError, Mobility, OutOfFrames, ReserveAccess,
    Slab, SlabConfig, SourceError, Tag, WriteGuard,
};
use pagefold_sys::sync::{Mutex, MutexGuard, Ordering};

use super::{
    blocks::{Block, Blocks, MAX_BLOCKS, UNITS},
    chain::ReadyPages,
};

/// Starts, used, index of the object that has the whole frame.
pub(super) const WORDS: usize = 6;
const STARTS: usize = 0;
const USED: usize = 2;
const OWNER: usize = 4;
pub(super) const USES: usize = 16;
const SIZES: usize = UNITS as usize;

pub(super) type FrameSlab = Slab<(), WORDS>;
pub(super) type FrameGuard<'a> = WriteGuard<'a, (), WORDS>;

const _: () = assert!(FrameSlab::DESCRIPTOR_BYTES == 32 || cfg!(loom), "a descriptor is 32 bytes");

#[derive(Debug)]
pub(super) struct FrameTable {
    pub(super) slab: FrameSlab,
    holes: BitForest,
    by_use: BitForest,
    lists: Mutex<BlockLists>,
}

#[derive(Debug)]
pub(super) struct BlockLists {
    counts: [u32; SIZES],
    sizes: u64,
    /// Partly used frames, and their free units.
    pub(super) partial: usize,
    pub(super) free_units: usize,
    victim: Option<DescriptorId>,
    pub(super) split_objects: usize,
    pub(super) ready: ReadyPages,
}

/// Empty frames on no list, to be freed without the lock.
#[derive(Debug)]
pub(super) struct FramesToFree {
    ids: [DescriptorId; MAX_BLOCKS],
    count: usize,
}

impl FramesToFree {
    pub(super) fn none() -> Self {
        Self { ids: [DescriptorId::new(0); MAX_BLOCKS], count: 0 }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    fn push(&mut self, id: DescriptorId) {
        self.ids[self.count] = id;
        self.count += 1;
    }
}

fn use_of(blocks: Blocks) -> Option<usize> {
    let used = blocks.used_units();
    (1..UNITS).contains(&used).then(|| used as usize * USES / SIZES)
}

impl FrameTable {
    pub(super) fn new(arena: &Arc<Arena>, capacity: usize) -> Result<Self, SourceError> {
        let config = SlabConfig { tag: Tag::new(1), mobility: Mobility::Movable, capacity };
        let lists = BlockLists {
            counts: [0; SIZES],
            sizes: 0,
            partial: 0,
            free_units: 0,
            victim: None,
            split_objects: 0,
            ready: ReadyPages::default(),
        };
        Ok(Self {
            slab: Slab::new(arena, config)?,
            holes: BitForest::new(arena.memory(), capacity, SIZES)?,
            by_use: BitForest::new(arena.memory(), capacity, USES)?,
            lists: Mutex::new(lists),
        })
    }

    pub(super) fn lock(&self) -> Locked<'_> {
        Locked { frames: self, lists: self.lists.lock() }
    }

    pub(super) fn create(&self, access: ReserveAccess) -> Result<FrameGuard<'_>, OutOfFrames> {
        let guard = self.slab.create(FrameCount::ONE, access, ())?;
        let number = guard.id().get() as usize;
        let listable = self.holes.ensure(number, access);
        if let Err(error) = listable.and_then(|()| self.by_use.ensure(number, access)) {
            guard.retire();
            return Err(error);
        }
        Ok(guard)
    }

    /// The last reader frees a frame that is being read.
    pub(super) fn reap(&self, frames_to_free: &FramesToFree) {
        for &id in &frames_to_free.ids[..frames_to_free.count] {
            self.slab.reap(id);
        }
    }

    // ORDERING (both): Relaxed; the words of a frame change under the lock of the lists.
    fn load(&self, id: DescriptorId, word: usize) -> u64 {
        let words = self.slab.words(id);
        let half = |word: usize| u64::from(words[word].load(Ordering::Relaxed));
        half(word) | half(word + 1) << 32
    }

    #[expect(clippy::cast_possible_truncation, reason = "the halves of a number")]
    fn store(&self, id: DescriptorId, word: usize, value: u64) {
        let words = self.slab.words(id);
        words[word].store(value as u32, Ordering::Relaxed);
        words[word + 1].store((value >> 32) as u32, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub(super) struct Locked<'a> {
    frames: &'a FrameTable,
    pub(super) lists: MutexGuard<'a, BlockLists>,
}

impl<'a> Locked<'a> {
    pub(super) fn blocks(&self, id: DescriptorId) -> Blocks {
        Blocks { starts: self.frames.load(id, STARTS), used: self.frames.load(id, USED) }
    }

    fn change(&mut self, id: DescriptorId, before: Blocks, after: Blocks) {
        self.frames.store(id, STARTS, after.starts);
        self.frames.store(id, USED, after.used);
        self.count(before, false);
        self.count(after, true);
        if self.lists.victim != Some(id) {
            self.relist(id, before, after);
        }
    }

    fn count(&mut self, blocks: Blocks, add: bool) {
        if use_of(blocks).is_none() {
            return;
        }
        let free = (UNITS - blocks.used_units()) as usize;
        let lists = &mut *self.lists;
        if add {
            (lists.partial, lists.free_units) = (lists.partial + 1, lists.free_units + free);
        } else {
            (lists.partial, lists.free_units) = (lists.partial - 1, lists.free_units - free);
        }
    }

    fn relist(&mut self, id: DescriptorId, before: Blocks, after: Blocks) {
        let number = id.get() as usize;
        let (old, new) = (before.free_sizes(), after.free_sizes());
        let mut changed = old ^ new;
        while changed != 0 {
            let size = changed.trailing_zeros() as usize;
            let list = 1 << size;
            if new & list == 0 {
                self.frames.holes.remove(size, number);
                self.lists.counts[size] -= 1;
                if self.lists.counts[size] == 0 {
                    self.lists.sizes &= !list;
                }
            } else {
                self.frames.holes.insert(size, number);
                self.lists.counts[size] += 1;
                self.lists.sizes |= list;
            }
            changed &= changed - 1;
        }
        let (old, new) = (use_of(before), use_of(after));
        if old != new {
            if let Some(list) = old {
                self.frames.by_use.remove(list, number);
            }
            if let Some(list) = new {
                self.frames.by_use.insert(list, number);
            }
        }
    }

    /// Sizes with free blocks: bit `units - 1` each.
    pub(super) fn sizes_within(&self, from: u32, to: u32) -> u64 {
        if from > to {
            return 0;
        }
        self.lists.sizes & u64::MAX << (from - 1) & u64::MAX >> (UNITS - to)
    }

    pub(super) fn try_write(&self, id: DescriptorId) -> Result<FrameGuard<'a>, LockError> {
        self.frames.slab.try_write(id)
    }

    pub(super) fn find(&self, units: u32, from: u32) -> Option<DescriptorId> {
        let found = self.frames.holes.first_from(units as usize - 1, from as usize)?;
        Some(DescriptorId::new(u32::try_from(found).expect("ids have 29 bits")))
    }

    pub(super) fn take(&mut self, id: DescriptorId, size: u32, units: u32) -> u32 {
        let before = self.blocks(id);
        let block = before.find_free(size).expect("I-HOLE: a listed frame has a block of the size");
        let mut after = before;
        after.take(block, units);
        self.change(id, before, after);
        block.unit
    }

    pub(super) fn take_new(&mut self, id: DescriptorId, units: u32) -> u32 {
        let mut blocks = Blocks::FREE;
        blocks.take(Block { unit: 0, units: UNITS }, units);
        self.change(id, Blocks::NONE, blocks);
        0
    }

    pub(super) fn set_owner(&self, id: DescriptorId, index: u32) {
        // ORDERING: Relaxed; under the lock of the lists.
        self.frames.slab.words(id)[OWNER].store(index, Ordering::Relaxed);
    }

    pub(super) fn owner(&self, id: DescriptorId) -> u32 {
        // ORDERING: Relaxed; under the lock of the lists.
        self.frames.slab.words(id)[OWNER].load(Ordering::Relaxed)
    }

    /// Frees a block. An empty frame joins `frames_to_free` if it is the victim or the reserve has `keep` frames.
    pub(super) fn give(
        &mut self,
        id: DescriptorId,
        unit: u32,
        keep: usize,
        frames_to_free: &mut FramesToFree,
    ) {
        let before = self.blocks(id);
        let mut after = before;
        after.give(unit);
        if after == Blocks::FREE {
            let is_victim = self.lists.victim == Some(id);
            if is_victim || self.entirely_free() >= keep {
                self.change(id, before, Blocks::NONE);
                if is_victim {
                    self.lists.victim = None;
                }
                frames_to_free.push(id);
                return;
            }
        }
        self.change(id, before, after);
    }

    pub(super) fn withdraw(&mut self, id: DescriptorId, frames_to_free: &mut FramesToFree) {
        match frames_to_free.ids[..frames_to_free.count].iter().position(|&other| other == id) {
            Some(at) => {
                frames_to_free.count -= 1;
                frames_to_free.ids.swap(at, frames_to_free.count);
            }
            None => self.change(id, Blocks::FREE, Blocks::NONE),
        }
    }

    pub(super) fn entirely_free(&self) -> usize {
        self.lists.counts[SIZES - 1] as usize
    }

    pub(super) fn take_reserve(&mut self) -> Option<FramesToFree> {
        let mut frames_to_free = FramesToFree::none();
        while frames_to_free.count < MAX_BLOCKS
            && let Some(id) = self.find(UNITS, 0)
        {
            self.change(id, Blocks::FREE, Blocks::NONE);
            frames_to_free.push(id);
        }
        (frames_to_free.count > 0).then_some(frames_to_free)
    }

    /// The least used first.
    pub(super) fn sparsest(&self, most: usize) -> Vec<DescriptorId> {
        let mut found = Vec::new();
        for list in 0..USES {
            let mut from = 0;
            while found.len() < most
                && let Some(number) = self.frames.by_use.first_from(list, from)
            {
                found.push(DescriptorId::new(u32::try_from(number).expect("ids have 29 bits")));
                from = number + 1;
            }
        }
        found
    }

    /// Unlists the frame, so that no store fills it.
    pub(super) fn begin_emptying(&mut self, id: DescriptorId) -> Option<Blocks> {
        let blocks = self.blocks(id);
        // It may have changed since the scan.
        let listed =
            use_of(blocks).is_some_and(|list| self.frames.by_use.contains(list, id.get() as usize));
        listed.then(|| {
            self.relist(id, blocks, Blocks::NONE);
            self.lists.victim = Some(id);
            blocks
        })
    }

    /// `true`: the victim is empty and freed.
    pub(super) fn end_emptying(&mut self) -> bool {
        match self.lists.victim.take() {
            Some(id) => {
                let blocks = self.blocks(id);
                self.relist(id, Blocks::NONE, blocks);
                false
            }
            None => true,
        }
    }

    /// For a quiescent pool.
    pub(super) fn check(&self, live: &[DescriptorId]) -> Result<(), String> {
        let (mut counts, mut partial, mut free_units) = ([0; SIZES], 0, 0);
        for &id in live {
            let (blocks, number) = (self.blocks(id), id.get());
            blocks.check().map_err(|error| format!("frame {number}: {error}"))?;
            let sizes = blocks.free_sizes();
            for (size, count) in counts.iter_mut().enumerate() {
                let has = sizes >> size & 1 == 1;
                *count += u32::from(has);
                if self.frames.holes.contains(size, number as usize) != has {
                    return Err(format!(
                        "I-HOLE: frame {number} is wrongly on the list of {} units, or not",
                        size + 1
                    ));
                }
            }
            for list in 0..USES {
                let should = use_of(blocks) == Some(list);
                if self.frames.by_use.contains(list, number as usize) != should {
                    return Err(format!("I-HOLE: frame {number} is on the wrong list of use"));
                }
            }
            if use_of(blocks).is_some() {
                partial += 1;
                free_units += (UNITS - blocks.used_units()) as usize;
            }
        }
        let lists = &*self.lists;
        let full = (0..SIZES).fold(0_u64, |full, size| full | u64::from(counts[size] > 0) << size);
        if (counts, full) != (lists.counts, lists.sizes) || lists.victim.is_some() {
            return Err(format!("I-HOLE: the lists count {lists:?}, the frames {counts:?}"));
        }
        if (partial, free_units) != (lists.partial, lists.free_units) {
            return Err(format!(
                "I-HOLE: {free_units} units are free in {partial} frames, {} in {} counted",
                lists.free_units, lists.partial
            ));
        }
        Ok(())
    }
}
