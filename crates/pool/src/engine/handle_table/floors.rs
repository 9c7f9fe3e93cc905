//! The floors of returned pages. Eight bytes each; after the first pages, charged as the table grows (I-LIMIT).

use std::sync::Arc;

use pagefold_frame::{MemoryBudget, OutOfFrames, ReserveAccess, SourceError, WordTable};
use pagefold_sys::sync::{AtomicU64, Ordering};

/// Uncharged.
const INSIDE: usize = 16;

/// A page when it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Floor {
    /// Never returned, or used again since.
    InUse,
    /// The highest of its free indices; others are retired.
    Generation(u64),
    /// All indices are.
    Retired,
}

impl Floor {
    fn to_word(self) -> u64 {
        match self {
            Self::InUse => 0,
            Self::Generation(generation) => generation + 1,
            Self::Retired => u64::MAX,
        }
    }

    fn of_word(word: u64) -> Self {
        match word {
            0 => Self::InUse,
            u64::MAX => Self::Retired,
            _ => Self::Generation(word - 1),
        }
    }
}

/// Guarded by the lock of `Free`.
#[derive(Debug)]
pub(super) struct Floors {
    inside: [u64; INSIDE],
    beyond: WordTable,
}

impl Floors {
    pub(super) fn new(memory: &Arc<MemoryBudget>, pages: usize) -> Result<Self, SourceError> {
        let beyond = WordTable::new(memory, pages.saturating_sub(INSIDE))?;
        Ok(Self { inside: [0; INSIDE], beyond })
    }

    pub(super) fn ensure(&self, page: usize, access: ReserveAccess) -> Result<(), OutOfFrames> {
        page.checked_sub(INSIDE).map_or(Ok(()), |beyond| self.beyond.ensure(beyond, access))
    }

    pub(super) fn get(&self, page: usize) -> Floor {
        let word = match page.checked_sub(INSIDE) {
            None => self.inside[page],
            // ORDERING: Relaxed, here and below; the lock orders changes and hands them over.
            Some(beyond) => self.word(beyond).map_or(0, |word| word.load(Ordering::Relaxed)),
        };
        Floor::of_word(word)
    }

    /// Unless the page is in use, it has [room](Self::ensure).
    pub(super) fn set(&mut self, page: usize, floor: Floor) {
        match page.checked_sub(INSIDE) {
            None => self.inside[page] = floor.to_word(),
            // Growth that found no room for the floor left the page without.
            Some(beyond) if floor == Floor::InUse && self.word(beyond).is_none() => {}
            Some(beyond) => {
                self.beyond.word(beyond).store(floor.to_word(), Ordering::Relaxed);
            }
        }
    }

    fn word(&self, beyond: usize) -> Option<&AtomicU64> {
        self.beyond.get(beyond)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use pagefold_frame::HeapSource;

    use super::*;

    #[test]
    fn every_floor_comes_back_and_is_charged_beyond_the_first_pages() {
        let memory = Arc::new(MemoryBudget::new(Box::new(HeapSource::new()), 100));
        let mut floors = Floors::new(&memory, 2000).expect("heap");
        for page in [0, INSIDE - 1, INSIDE, 600, 1999] {
            assert_eq!(floors.get(page), Floor::InUse, "page {page}");
            floors.ensure(page, ReserveAccess::Normal).expect("within the limit");
            assert_eq!(memory.used() == 0, page < INSIDE, "page {page}");
            for floor in [Floor::Generation(0), Floor::Generation(1 << 46), Floor::Retired] {
                floors.set(page, floor);
                assert_eq!(floors.get(page), floor, "page {page}");
            }
        }
        assert_eq!(
            memory.used(),
            3,
            "the floors of 1984 pages, 512 a frame, except a frame without any"
        );
        drop(floors);
        assert_eq!(memory.used(), 0);
    }
}
