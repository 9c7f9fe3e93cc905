//! Which faults follow each other: a few streams, by thread.

use pagefold_sys::sync::{self, AtomicU64, Ordering, Padded};

use crate::{core::NEIGHBOURS_MAX, table::PageIndex, word::Hint};

const STREAMS: usize = if cfg!(loom) { 1 } else { 16 };
/// The length of a stream is in the upper bits.
const LENGTH_SHIFT: u32 = 48;

#[derive(Debug)]
pub(crate) struct Streams {
    /// The page after the last one that was brought, and how many faults came one after the other.
    next: [Padded<AtomicU64>; STREAMS],
}

impl Streams {
    pub(crate) fn new() -> Self {
        Self { next: std::array::from_fn(|_| Padded(AtomicU64::new(u64::MAX))) }
    }

    /// How many neighbours a fault on this page brings along.
    pub(crate) fn neighbours(&self, page: PageIndex, hint: Hint, most: usize) -> usize {
        let slot = &self.next[sync::shard_hint() % STREAMS];
        // ORDERING: Relaxed, here and below; a guess.
        let last = slot.load(Ordering::Relaxed);
        let (next, length) = (last & ((1 << LENGTH_SHIFT) - 1), last >> LENGTH_SHIFT);
        let length = if next == page.key() { (length + 1).min(8) } else { 0 };
        let count = match hint {
            Hint::Random => 0,
            Hint::Sequential => NEIGHBOURS_MAX,
            // Two in a row may be chance.
            Hint::Normal if length < 2 => 0,
            Hint::Normal => 1 << length.min(5),
        };
        let count = count.min(most);
        slot.store((page.key() + 1) | length << LENGTH_SHIFT, Ordering::Relaxed);
        count
    }

    /// After they were brought.
    pub(crate) fn note(&self, after: PageIndex) {
        let slot = &self.next[sync::shard_hint() % STREAMS];
        let length = slot.load(Ordering::Relaxed) >> LENGTH_SHIFT;
        slot.store(after.key() | length << LENGTH_SHIFT, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_stream_grows_and_a_jump_ends_it() {
        let streams = Streams::new();
        let ask = |page| streams.neighbours(PageIndex(page), Hint::Normal, 16);
        assert_eq!([ask(10), ask(11), ask(12), ask(13), ask(14)], [0, 0, 4, 8, 16]);
        streams.note(PageIndex(31));
        assert_eq!(streams.neighbours(PageIndex(31), Hint::Normal, 16), 16);
        assert_eq!(streams.neighbours(PageIndex(99), Hint::Normal, 16), 0);
        assert_eq!(streams.neighbours(PageIndex(7), Hint::Sequential, 16), 16);
        assert_eq!(streams.neighbours(PageIndex(8), Hint::Random, 16), 0);
    }
}
