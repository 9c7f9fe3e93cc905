//! Deferred descriptors, by id: a lock-free tree of bits.
//!
//! The thread that drops the last lock of a dying or pending descriptor pushes its id. Allocators, compactors and
//! `trim` take ids and do the work. An id is a hint; the state word decides. Pushing twice is pushing once.
//!
//! Protocol: a push sets the leaf bit first and goes up only if the word was empty; a taker clears from the top down.
//! So the thread that set a bit below a cleared summary sets the summary again.

use std::sync::Arc;

use pagefold_sys::sync::Ordering;

use crate::{MemoryBudget, OutOfFrames, ReserveAccess, SourceError, WordTable, bits::Levels};

#[derive(Debug)]
pub(crate) struct DeferredList {
    words: WordTable,
    levels: Levels,
}

impl DeferredList {
    pub(crate) fn new(memory: &Arc<MemoryBudget>, capacity: usize) -> Result<Self, SourceError> {
        let levels = Levels::new(capacity);
        Ok(Self { words: WordTable::new(memory, levels.words())?, levels })
    }

    pub(crate) fn ensure(&self, id: usize, access: ReserveAccess) -> Result<(), OutOfFrames> {
        (0..self.levels.count())
            .try_for_each(|level| self.words.ensure(self.levels.word(level, id), access))
    }

    pub(crate) fn push(&self, id: usize) {
        for level in 0..self.levels.count() {
            let word = self.words.word(self.levels.word(level, id));
            // ORDERING: Release; pairs with the Acquire in `take`: the taker sees the descriptor as pushed, and below
            // a summary bit its leaf bit.
            if word.fetch_or(Levels::bit(level, id), Ordering::Release) != 0 {
                return;
            }
        }
    }

    /// A hint: one load.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // The top level is the first word.
        // ORDERING: Relaxed; a hint, `take` decides.
        self.words.get(0).is_none_or(|word| word.load(Ordering::Relaxed) == 0)
    }

    /// Calls `f` for up to 64 neighbouring ids. `false`: there was none.
    pub(crate) fn take(&self, mut f: impl FnMut(usize)) -> bool {
        let top = self.levels.count() - 1;
        loop {
            if top > 0 && self.is_empty() {
                return false;
            }
            // Down along first bits; each summary is cleared before the look below.
            let mut index = 0;
            for level in (1..=top).rev() {
                let word = self.words.word(self.levels.word(level, index));
                // ORDERING: Acquire; pairs with the Release in `push`.
                let bits = word.load(Ordering::Acquire);
                if bits == 0 {
                    break;
                }
                index += (bits.trailing_zeros() as usize) << (6 * level);
                // ORDERING: AcqRel; Acquire pairs with the Release in `push`, whose leaf bit is then seen; Release
                // for the next taker, which must not see an older state below.
                word.fetch_and(!Levels::bit(level, index), Ordering::AcqRel);
            }
            let Some(leaf) = self.words.get(self.levels.word(0, index)) else { return false };
            // ORDERING: Acquire; pairs with the Release in `push`.
            let mut bits = leaf.swap(0, Ordering::Acquire);
            let found = bits != 0;
            while bits != 0 {
                f((index & !63) + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
            // Bits beside the path get their summaries back.
            for level in 1..top {
                // ORDERING: Acquire and Release; as in `push`.
                if self.words.word(self.levels.word(level, index)).load(Ordering::Acquire) != 0 {
                    let above = self.words.word(self.levels.word(level + 1, index));
                    above.fetch_or(Levels::bit(level + 1, index), Ordering::Release);
                }
            }
            if found || top == 0 {
                return found;
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::HeapSource;

    #[test]
    fn every_report_is_taken_once() {
        let memory = Arc::new(MemoryBudget::new(Box::new(HeapSource::new()), 1000));
        for capacity in [1, 64, 65, 4097, 300_000] {
            let list = DeferredList::new(&memory, capacity).expect("heap");
            let ids: BTreeSet<usize> =
                (0..200).map(|k| k * 7919 % capacity).chain([0, capacity - 1]).collect();
            for &id in &ids {
                list.ensure(id, ReserveAccess::Normal).expect("within the limit");
                list.push(id);
                list.push(id);
            }
            assert!(!list.is_empty());
            let mut taken = Vec::new();
            while list.take(|id| taken.push(id)) {}
            taken.sort_unstable();
            assert_eq!(taken, ids.into_iter().collect::<Vec<_>>(), "capacity {capacity}");
            assert!(list.is_empty());
        }
    }

    #[test]
    fn reports_beside_takers_are_not_lost() {
        let memory = Arc::new(MemoryBudget::new(Box::new(HeapSource::new()), 1000));
        let list = DeferredList::new(&memory, 10_000).expect("heap");
        (0..10_000)
            .for_each(|id| list.ensure(id, ReserveAccess::Normal).expect("within the limit"));
        let taken = std::sync::Mutex::new(vec![0_u32; 10_000]);
        std::thread::scope(|scope| {
            for half in 0..2 {
                let list = &list;
                scope.spawn(move || (0..5000).for_each(|k| list.push(2 * k + half)));
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..3000 {
                        list.take(|id| taken.lock().expect("no panic")[id] += 1);
                    }
                });
            }
        });
        while list.take(|id| taken.lock().expect("no panic")[id] += 1) {}
        assert!(taken.into_inner().expect("no panic").iter().all(|&count| count == 1));
    }
}
