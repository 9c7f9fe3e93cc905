//! Which pages of a table are charged: a bit each.
//!
//! The first bits are inside the table. Later bits are charged themselves (I-LIMIT), a frame for each 128 MiB of the
//! table, up to the highest charged page.

use crate::{FRAME_BYTES, MemoryBudget, OutOfFrames, ReserveAccess};

/// The bits of 128 pages, 512 KiB.
const INSIDE: usize = 2;
const PER_FRAME: usize = FRAME_BYTES / size_of::<u64>();

#[derive(Debug)]
pub(crate) struct ChargedPages {
    inside: [u64; INSIDE],
    /// Whole frames of words, charged.
    beyond: Vec<u64>,
}

impl ChargedPages {
    pub(crate) fn new() -> Self {
        Self { inside: [0; INSIDE], beyond: Vec::new() }
    }

    pub(crate) fn ensure(
        &mut self,
        page: usize,
        memory: &MemoryBudget,
        access: ReserveAccess,
    ) -> Result<(), OutOfFrames> {
        let Some(word) = (page / 64).checked_sub(INSIDE) else { return Ok(()) };
        let missing = (word / PER_FRAME + 1).saturating_sub(self.frames());
        if missing > 0 {
            memory.charge_metadata(missing, access)?;
            self.beyond.reserve_exact(missing * PER_FRAME);
            self.beyond.resize(self.beyond.len() + missing * PER_FRAME, 0);
        }
        Ok(())
    }

    fn frames(&self) -> usize {
        self.beyond.len() / PER_FRAME
    }

    /// No page from here on is charged.
    pub(crate) fn end(&self) -> usize {
        (INSIDE + self.beyond.len()) * 64
    }

    fn word(&self, number: usize) -> u64 {
        match number.checked_sub(INSIDE) {
            None => self.inside[number],
            Some(beyond) => self.beyond.get(beyond).copied().unwrap_or(0),
        }
    }

    fn word_mut(&mut self, number: usize) -> &mut u64 {
        match number.checked_sub(INSIDE) {
            None => &mut self.inside[number],
            Some(beyond) => &mut self.beyond[beyond],
        }
    }

    pub(crate) fn contains(&self, page: usize) -> bool {
        self.word(page / 64) >> (page % 64) & 1 == 1
    }

    pub(crate) fn next_from(&self, page: usize) -> Option<usize> {
        let first = self.word(page / 64) & u64::MAX << (page % 64);
        let later = (page / 64 + 1..self.end() / 64).map(|number| (number, self.word(number)));
        let mut words = std::iter::once((page / 64, first)).chain(later);
        let (number, word) = words.find(|&(_, word)| word != 0)?;
        Some(number * 64 + word.trailing_zeros() as usize)
    }

    /// [`ensure`](Self::ensure) made room.
    pub(crate) fn insert(&mut self, page: usize) {
        *self.word_mut(page / 64) |= 1 << (page % 64);
    }

    pub(crate) fn remove(&mut self, page: usize) {
        *self.word_mut(page / 64) &= !(1 << (page % 64));
    }

    /// Gives back frames of bits after the last charged page; returns how many.
    pub(crate) fn shrink(&mut self, memory: &MemoryBudget) -> usize {
        let used = self.beyond.iter().rposition(|&word| word != 0).map_or(0, |last| last + 1);
        let unused = self.frames() - used.div_ceil(PER_FRAME);
        if unused > 0 {
            self.beyond.truncate(self.beyond.len() - unused * PER_FRAME);
            self.beyond.shrink_to_fit();
            memory.uncharge_metadata(unused);
        }
        unused
    }

    /// Charged frames: pages and their bits.
    pub(crate) fn count(&self) -> usize {
        let words = self.inside.iter().chain(&self.beyond);
        words.map(|word| word.count_ones() as usize).sum::<usize>() + self.frames()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeapSource;

    fn memory(frames: usize) -> MemoryBudget {
        MemoryBudget::new(Box::new(HeapSource::new()), frames)
    }

    #[test]
    fn bits_are_charged_beyond_the_first_pages_and_given_back_behind_the_last() {
        let memory = memory(10);
        let mut pages = ChargedPages::new();
        let beyond = INSIDE * 64;
        for (page, frames) in [
            (0, 0),
            (beyond - 1, 0),
            (beyond, 1),
            (beyond + PER_FRAME * 64 - 1, 1),
            (beyond + 3 * PER_FRAME * 64, 4),
        ] {
            pages.ensure(page, &memory, ReserveAccess::Normal).expect("within the limit");
            assert_eq!((memory.used(), memory.metadata()), (frames, frames), "page {page}");
            assert!(page < pages.end() && !pages.contains(page));
            pages.insert(page);
            assert!(pages.contains(page));
        }
        let found: Vec<usize> =
            std::iter::successors(pages.next_from(0), |&page| pages.next_from(page + 1)).collect();
        assert_eq!(found.len(), 5);
        assert_eq!(pages.count(), 5 + 4);
        assert_eq!(pages.shrink(&memory), 0);
        pages.remove(found[4]);
        assert_eq!(pages.shrink(&memory), 3);
        pages.remove(found[3]);
        assert_eq!(pages.shrink(&memory), 0, "the first of the frame is charged");
        pages.remove(found[2]);
        assert_eq!((pages.shrink(&memory), memory.used()), (1, 0));
        assert_eq!(pages.next_from(1), Some(beyond - 1));
    }

    #[test]
    fn bits_that_do_not_fit_the_limit_are_refused() {
        let memory = memory(2);
        let mut pages = ChargedPages::new();
        let far = (INSIDE + 2 * PER_FRAME) * 64;
        assert_eq!(pages.ensure(far, &memory, ReserveAccess::Normal), Err(OutOfFrames));
        assert_eq!(memory.used(), 0);
        assert_eq!(pages.ensure(far - 1, &memory, ReserveAccess::Normal), Ok(()));
    }
}
