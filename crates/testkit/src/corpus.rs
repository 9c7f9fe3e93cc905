//! Seeded pages that imitate process memory, and lengths of such pages compressed. Published figures need real
//! memory.

use rand::{Rng, RngExt};

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;

/// A page's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageKind {
    /// One byte repeated, mostly 0.
    SameFilled,
    /// Words, punctuation and numbers.
    Text,
    /// Pointers, small integers, zeros.
    Heap,
    /// Incompressible bytes.
    Random,
}

impl PageKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::SameFilled, Self::Text, Self::Heap, Self::Random];

    /// Fills a buffer.
    pub fn fill(self, rng: &mut impl Rng, buffer: &mut [u8]) {
        match self {
            Self::SameFilled => buffer.fill(if rng.random_ratio(9, 10) { 0 } else { rng.random() }),
            Self::Text => fill_text(rng, buffer),
            Self::Heap => fill_heap(rng, buffer),
            Self::Random => rng.fill_bytes(buffer),
        }
    }

    /// A page of this kind.
    pub fn page(self, rng: &mut impl Rng) -> Vec<u8> {
        let mut page = vec![0; PAGE_BYTES];
        self.fill(rng, &mut page);
        page
    }
}

/// Weights of the kinds.
///
/// # Examples
/// ```
/// use pagefold_testkit::{corpus::Mix, seed::Seed};
///
/// let pages = Mix::PROCESS.pages(&mut Seed::new(1).rng(0), 100);
/// assert_eq!(pages.len(), 100);
/// assert!(pages.iter().any(|page| page.iter().all(|byte| *byte == 0)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mix {
    /// [`PageKind::SameFilled`].
    pub same_filled: u32,
    /// [`PageKind::Text`].
    pub text: u32,
    /// [`PageKind::Heap`].
    pub heap: u32,
    /// [`PageKind::Random`].
    pub random: u32,
}

impl Mix {
    /// Roughly a process with a large heap.
    pub const PROCESS: Self = Self { same_filled: 15, text: 25, heap: 55, random: 5 };

    /// Chooses a kind by weight.
    ///
    /// # Panics
    /// If all weights are 0.
    pub fn kind(self, rng: &mut impl Rng) -> PageKind {
        let weights = [self.same_filled, self.text, self.heap, self.random];
        let mut ticket = rng.random_range(0..weights.iter().sum());
        for (kind, weight) in PageKind::ALL.into_iter().zip(weights) {
            if ticket < weight {
                return kind;
            }
            ticket -= weight;
        }
        PageKind::Random
    }

    /// `count` pages of this mix.
    pub fn pages(self, rng: &mut impl Rng, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.kind(rng).page(rng)).collect()
    }
}

/// A distribution of lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lengths {
    /// Compressed process pages.
    Compressed,
    /// 1 to 64 bytes.
    Tiny,
    /// Around multiples of half a frame.
    Borders,
    /// All lengths; each power of two is equally likely.
    Wide,
}

impl Lengths {
    /// All distributions.
    pub const ALL: [Self; 4] = [Self::Compressed, Self::Tiny, Self::Borders, Self::Wide];

    /// A length from 1 to `max` bytes.
    ///
    /// # Panics
    /// If `max` is 0.
    pub fn sample(self, rng: &mut impl Rng, max: usize) -> usize {
        let half = PAGE_BYTES / 2;
        let len = match self {
            Self::Compressed => match rng.random_range(0..100) {
                0..20 => rng.random_range(24..300),
                20..75 => (rng.random_range(200..1900) + rng.random_range(100..1900)) / 2,
                75..93 => rng.random_range(1200..3300),
                _ => PAGE_BYTES,
            },
            Self::Tiny => rng.random_range(1..=64),
            Self::Borders => (half * rng.random_range(1..=max.div_ceil(half))
                + rng.random_range(0..33))
            .saturating_sub(16),
            Self::Wide => {
                let top = 1_usize << rng.random_range(0..=max.ilog2());
                rng.random_range(top..=(2 * top - 1).max(top))
            }
        };
        len.clamp(1, max)
    }
}

fn fill_text(rng: &mut impl Rng, buffer: &mut [u8]) {
    const WORDS: [&str; 24] = [
        "the",
        "of",
        "memory",
        "page",
        "handle",
        "a",
        "compressed",
        "frame",
        "is",
        "in",
        "reader",
        "span",
        "and",
        "to",
        "value",
        "name",
        "\"id\"",
        "null",
        "true",
        "error",
        "request",
        "user",
        "time",
        "size",
    ];
    const GAPS: [&str; 6] = [" ", " ", " ", ", ", ": ", ".\n"];
    let mut at = 0;
    while at < buffer.len() {
        let number = rng.random_range(0..10_000_u32).to_string();
        let word =
            if rng.random_ratio(1, 8) { &number } else { WORDS[rng.random_range(0..WORDS.len())] };
        for text in [word, GAPS[rng.random_range(0..GAPS.len())]] {
            let len = text.len().min(buffer.len() - at);
            buffer[at..at + len].copy_from_slice(&text.as_bytes()[..len]);
            at += len;
        }
    }
}

fn fill_heap(rng: &mut impl Rng, buffer: &mut [u8]) {
    let regions: [u64; 3] =
        std::array::from_fn(|_| 0x7f00_0000_0000 | (rng.random::<u64>() & 0xff_ffff_f000));
    for word in buffer.chunks_mut(8) {
        let value: u64 = match rng.random_range(0..10) {
            0..4 => 0,
            4..7 => regions[rng.random_range(0..regions.len())] + 16 * rng.random_range(0..1 << 16),
            7..9 => rng.random_range(0..256),
            _ => rng.random(),
        };
        word.copy_from_slice(&value.to_le_bytes()[..word.len()]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::seed::Seed;

    #[test]
    fn lengths_stay_within_the_maximum_and_reach_it() {
        let seed = Seed::for_test(11);
        let mut rng = seed.rng(0);
        for lengths in Lengths::ALL {
            for max in [1, 2, 63, 64, 65, 4095, 4096, 16_384, 65_536] {
                let all: Vec<_> = (0..4000).map(|_| lengths.sample(&mut rng, max)).collect();
                assert!(
                    all.iter().all(|len| (1..=max).contains(len)),
                    "{lengths:?} with at most {max}"
                );
                if lengths == Lengths::Borders {
                    assert!(all.contains(&max), "{lengths:?} never gave {max}");
                }
            }
        }
    }

    #[test]
    fn kinds_differ_in_how_much_they_repeat() {
        let seed = Seed::for_test(12);
        let mut rng = seed.rng(0);
        let mut distinct = |kind: PageKind| {
            let page = kind.page(&mut rng);
            page.chunks(4).collect::<HashSet<_>>().len()
        };
        let [same, text, heap, random] = PageKind::ALL.map(&mut distinct);
        assert_eq!(same, 1);
        assert!(same < heap && heap < random && text < random, "{same} {text} {heap} {random}");
    }
}
