//! The words of one pageblock; `buddy` has their table.

use std::sync::atomic::Ordering;

use crate::{
    PAGEBLOCK_FRAMES,
    table::{Entry, GuardedU64},
};

pub(super) const TOUCHED: usize = 16;
pub(super) const ISOLATED: usize = 24;
pub(super) const ISOLATED_FREE: usize = 32;
pub(super) const KIND: usize = 40;
pub(super) const LISTED_COUNT: usize = 41;
pub(super) const ISOLATED_COUNT: usize = 42;
pub(super) const CONTIGUOUS_COUNT: usize = 43;
const WORDS: usize = 64;

#[derive(Debug)]
pub(super) struct BlockWords([GuardedU64; WORDS]);

// SAFETY: an array of integers, 512 bytes.
unsafe impl Entry for BlockWords {
    #[cfg(loom)]
    fn vacant() -> Self {
        Self(std::array::from_fn(|_| GuardedU64::new(0)))
    }
}

// ORDERING (this file): Relaxed; under the arena's lock, which the `&mut self` of `Buddy` stands for.
impl BlockWords {
    pub(super) fn get(&self, word: usize) -> u64 {
        self.0[word].load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, word: usize, value: u64) {
        self.0[word].store(value, Ordering::Relaxed);
    }

    fn bits_of(order: u32) -> u32 {
        // 512 + 256 + .. for the orders before.
        2 * PAGEBLOCK_FRAMES - ((2 * PAGEBLOCK_FRAMES) >> order)
    }

    pub(super) fn flip(&self, order: u32, frame: u32) {
        let bit = Self::bits_of(order) + (frame >> order);
        let word = (bit / 64) as usize;
        self.set(word, self.get(word) ^ 1 << (bit % 64));
    }

    pub(super) fn is_free(&self, order: u32, frame: u32) -> bool {
        let bit = Self::bits_of(order) + (frame >> order);
        self.get((bit / 64) as usize) >> (bit % 64) & 1 == 1
    }

    /// The start of the lowest free block of an order.
    pub(super) fn first_free(&self, order: u32) -> Option<u32> {
        let (start, count) = (Self::bits_of(order), PAGEBLOCK_FRAMES >> order);
        let mut bit = start;
        while bit < start + count {
            let in_word = bit % 64;
            let width = (64 - in_word).min(start + count - bit);
            let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
            let bits = self.get((bit / 64) as usize) >> in_word & mask;
            if bits != 0 {
                return Some((bit + bits.trailing_zeros() - start) << order);
            }
            bit += width;
        }
        None
    }

    /// Calls `f` with word and mask for each word that the range meets in the bitmap at `base`.
    fn words_of(base: usize, frame: u32, frames: u32, mut f: impl FnMut(usize, u64)) {
        let (mut at, end) = (frame, frame + frames);
        while at < end {
            let width = (64 - at % 64).min(end - at);
            let mask = if width == 64 { u64::MAX } else { ((1 << width) - 1) << (at % 64) };
            f(base + (at / 64) as usize, mask);
            at += width;
        }
    }

    pub(super) fn count(&self, base: usize, frame: u32, frames: u32) -> u32 {
        let mut count = 0;
        Self::words_of(base, frame, frames, |word, mask| {
            count += (self.get(word) & mask).count_ones();
        });
        count
    }

    pub(super) fn count_touched(&self, frame: u32, frames: u32) -> u32 {
        self.count(TOUCHED, frame, frames)
    }

    pub(super) fn mark(&self, base: usize, frame: u32, frames: u32) {
        Self::words_of(base, frame, frames, |word, mask| self.set(word, self.get(word) | mask));
    }

    pub(super) fn clear(&self, base: usize, frame: u32, frames: u32) {
        Self::words_of(base, frame, frames, |word, mask| self.set(word, self.get(word) & !mask));
    }

    pub(super) fn bit(&self, base: usize, frame: u32) -> bool {
        self.get(base + (frame / 64) as usize) >> (frame % 64) & 1 == 1
    }

    /// Splits a range into runs alike in a bitmap: `f` gets start, length and the bit.
    pub(super) fn runs(
        &self,
        base: usize,
        frame: u32,
        frames: u32,
        mut f: impl FnMut(u32, u32, bool),
    ) {
        let (mut at, end) = (frame, frame + frames);
        while at < end {
            let set = self.bit(base, at);
            let mut next = at + 1;
            while next < end && self.bit(base, next) == set {
                next += 1;
            }
            f(at, next - at, set);
            at = next;
        }
    }

    pub(super) fn add_to(&self, counter: usize, frames: u32) {
        self.set(counter, self.get(counter) + u64::from(frames));
    }

    pub(super) fn take_from(&self, counter: usize, frames: u32) {
        let before = self.get(counter);
        debug_assert!(before >= u64::from(frames), "I-BUDDY: a count of frames falls below 0");
        self.set(counter, before - u64::from(frames));
    }
}
