//! Sets of small numbers as trees of words: the first member in two or three loads.
//!
//! A bit says whether the word below has any bit set; the top level is one word. The sets of a *forest* lie
//! interleaved, so the words of one number are neighbours, in charged memory.

use std::sync::{Arc, atomic::Ordering};

use crate::{
    MemoryBudget, OutOfFrames, ReserveAccess, SourceError,
    table::{GuardedU64, Table},
};

/// Where each level starts. The top level comes first: all levels but the leaves share a page.
#[derive(Debug)]
pub(crate) struct Levels {
    /// The leaves' level first.
    starts: Vec<usize>,
    words: usize,
}

impl Levels {
    pub(crate) fn new(capacity: usize) -> Self {
        let mut widths = vec![capacity.max(1).div_ceil(64)];
        while let Some(&width) = widths.last()
            && width > 1
        {
            widths.push(width.div_ceil(64));
        }
        let (mut starts, mut words) = (vec![0; widths.len()], 0);
        for (start, width) in starts.iter_mut().zip(&widths).rev() {
            *start = words;
            words += width;
        }
        Self { starts, words }
    }

    pub(crate) fn end_of(&self, level: usize) -> usize {
        level.checked_sub(1).map_or(self.words, |below| self.starts[below])
    }

    pub(crate) fn words(&self) -> usize {
        self.words
    }

    pub(crate) fn count(&self) -> usize {
        self.starts.len()
    }

    pub(crate) fn word(&self, level: usize, index: usize) -> usize {
        self.starts[level] + (index >> (6 * (level + 1)))
    }

    pub(crate) fn bit(level: usize, index: usize) -> u64 {
        1 << ((index >> (6 * level)) & 63)
    }
}

/// Sets over the same numbers `0..capacity`.
///
/// # Concurrency
/// The owner's lock keeps changes of one set apart.
#[derive(Debug)]
pub struct BitForest {
    table: Table<GuardedU64>,
    levels: Levels,
    trees: usize,
}

// ORDERING (this file): Relaxed; the owner's lock orders changes.
impl BitForest {
    /// `trees` empty sets over `0..capacity`.
    ///
    /// # Errors
    /// [`SourceError`] when the address space cannot be reserved.
    pub fn new(
        memory: &Arc<MemoryBudget>,
        capacity: usize,
        trees: usize,
    ) -> Result<Self, SourceError> {
        let levels = Levels::new(capacity);
        Ok(Self { table: Table::new(memory, levels.words() * trees)?, levels, trees })
    }

    fn place(&self, tree: usize, level: usize, index: usize) -> usize {
        debug_assert!(tree < self.trees, "a tree of this forest");
        self.levels.word(level, index) * self.trees + tree
    }

    /// Makes `index` usable in every set.
    ///
    /// # Errors
    /// [`OutOfFrames`] when a page exceeds the limit.
    pub fn ensure(&self, index: usize, access: ReserveAccess) -> Result<(), OutOfFrames> {
        for level in 0..self.levels.count() {
            self.table.ensure(self.place(0, level, index), access)?;
            self.table.ensure(self.place(self.trees - 1, level, index), access)?;
        }
        Ok(())
    }

    /// Adds `index`; `true`: it is new.
    ///
    /// # Panics
    /// If `index` was not made usable.
    pub fn insert(&self, tree: usize, index: usize) -> bool {
        for level in 0..self.levels.count() {
            let word = self.table.get(self.place(tree, level, index)).expect("made usable before");
            let before = word.load(Ordering::Relaxed);
            let bit = Levels::bit(level, index);
            if before & bit != 0 {
                return level > 0;
            }
            word.store(before | bit, Ordering::Relaxed);
        }
        true
    }

    /// Removes `index`; `true`: it was there.
    pub fn remove(&self, tree: usize, index: usize) -> bool {
        for level in 0..self.levels.count() {
            let Some(word) = self.table.get(self.place(tree, level, index)) else { return false };
            let before = word.load(Ordering::Relaxed);
            let bit = Levels::bit(level, index);
            if before & bit == 0 {
                return level > 0;
            }
            word.store(before & !bit, Ordering::Relaxed);
            if before & !bit != 0 {
                return true;
            }
        }
        true
    }

    /// Whether `index` is in the set.
    pub fn contains(&self, tree: usize, index: usize) -> bool {
        let word = self.table.get(self.place(tree, 0, index));
        word.is_some_and(|word| word.load(Ordering::Relaxed) & Levels::bit(0, index) != 0)
    }

    /// The smallest member.
    pub fn first(&self, tree: usize) -> Option<usize> {
        self.first_from(tree, 0)
    }

    /// The smallest member from `from` on.
    pub fn first_from(&self, tree: usize, from: usize) -> Option<usize> {
        // Up until a word has a bit at or after the path, then down.
        let mut level = 0;
        let mut position = from;
        loop {
            let at = position << (6 * level);
            if level == self.levels.count()
                || self.levels.word(level, at) >= self.levels.end_of(level)
            {
                return None;
            }
            let word = self.load(tree, level, at);
            let rest = word & (u64::MAX << (position & 63));
            if rest != 0 {
                let mut found = (position & !63) | rest.trailing_zeros() as usize;
                while level > 0 {
                    level -= 1;
                    let below = self.load(tree, level, found << (6 * (level + 1)));
                    found = (found << 6) | below.trailing_zeros() as usize;
                }
                return Some(found);
            }
            position = (position >> 6) + 1;
            level += 1;
        }
    }

    fn load(&self, tree: usize, level: usize, index: usize) -> u64 {
        self.table
            .get(self.place(tree, level, index))
            .map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::HeapSource;

    #[test]
    fn a_forest_agrees_with_ordered_sets() {
        let memory = Arc::new(MemoryBudget::new(Box::new(HeapSource::new()), 10_000));
        for capacity in [1, 63, 64, 65, 4096, 4097, 300_000] {
            let forest = BitForest::new(&memory, capacity, 3).expect("heap");
            let mut models = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
            let mut state = 0x1234_5678_9abc_def0_u64;
            for step in 0..20_000 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let index = usize::try_from(state >> 33).expect("31 bits") % capacity;
                let tree = step % 3;
                forest.ensure(index, ReserveAccess::Normal).expect("within the limit");
                if state & 0x100 == 0 {
                    assert_eq!(forest.insert(tree, index), models[tree].insert(index));
                } else {
                    assert_eq!(forest.remove(tree, index), models[tree].remove(&index));
                }
                let from = usize::try_from(state >> 40).expect("24 bits") % (capacity + 70);
                assert_eq!(
                    forest.first_from(tree, from),
                    models[tree].range(from..).next().copied()
                );
                assert_eq!(forest.first(tree), models[tree].first().copied());
                assert_eq!(forest.contains(tree, index), models[tree].contains(&index));
            }
        }
    }
}
