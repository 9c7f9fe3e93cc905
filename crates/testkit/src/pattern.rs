//! Contents that follow from (seed, object, version); any other bytes differ in almost every word.

use std::fmt;

use pagefold_pool::Slices;

const WORD: usize = size_of::<u64>();

/// One version's contents.
///
/// # Examples
/// ```
/// use pagefold_pool::Slices;
/// use pagefold_testkit::pattern::Pattern;
///
/// let pattern = Pattern::new(1, 2, 3);
/// let mut bytes = pattern.bytes(100);
/// assert_eq!(pattern.check(Slices::new(&[&bytes[..33], &bytes[33..]])), Ok(()));
/// bytes[70] ^= 4;
/// assert_eq!(pattern.check(Slices::new(&[&bytes])).unwrap_err().offset, 70);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern {
    key: u64,
}

/// The first wrong byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// Bytes from the object's start.
    pub offset: usize,
    /// The pattern's byte.
    pub expected: u8,
    /// The byte found.
    pub found: u8,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} is {:#04x} instead of {:#04x}", self.offset, self.found, self.expected)
    }
}

impl Pattern {
    /// This version's contents.
    pub fn new(seed: u64, object: u64, version: u64) -> Self {
        Self { key: mix(mix(mix(seed).wrapping_add(object)).wrapping_add(version)) }
    }

    /// Fills a buffer.
    pub fn fill(self, buffer: &mut [u8]) {
        for (index, chunk) in buffer.chunks_mut(WORD).enumerate() {
            chunk.copy_from_slice(&self.word(index)[..chunk.len()]);
        }
    }

    /// The first `len` bytes.
    pub fn bytes(self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }

    /// Compares in place, without allocating.
    ///
    /// # Errors
    /// The first [`Difference`].
    pub fn check(self, slices: Slices<'_>) -> Result<(), Difference> {
        let mut offset = 0;
        for part in slices.parts() {
            let mut rest = *part;
            while !rest.is_empty() {
                let skip = offset % WORD;
                let expected = self.word(offset / WORD);
                let len = rest.len().min(WORD - skip);
                let (head, tail) = rest.split_at(len);
                if let Some(at) = (0..len).find(|&at| head[at] != expected[skip + at]) {
                    return Err(Difference {
                        offset: offset + at,
                        expected: expected[skip + at],
                        found: head[at],
                    });
                }
                offset += len;
                rest = tail;
            }
        }
        Ok(())
    }

    fn word(self, index: usize) -> [u8; WORD] {
        mix(self.key.wrapping_add(index as u64)).to_le_bytes()
    }
}

/// The finaliser of splitmix64.
pub(crate) fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_cut_agrees_with_fill() {
        let pattern = Pattern::new(9, 8, 7);
        for len in 1..70 {
            let bytes = pattern.bytes(len);
            assert_eq!(bytes, pattern.bytes(200)[..len]);
            for cut in 1..len {
                assert_eq!(
                    pattern.check(Slices::new(&[&bytes[..cut], &bytes[cut..]])),
                    Ok(()),
                    "{len} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let pattern = Pattern::new(0, 0, 0);
        for offset in 0..40 {
            let mut bytes = pattern.bytes(40);
            bytes[offset] ^= 0x80;
            let found =
                pattern.check(Slices::new(&[&bytes])).map_err(|difference| difference.offset);
            assert_eq!(found, Err(offset));
        }
    }

    #[test]
    fn neighbours_differ_in_their_first_word() {
        let first = |seed, object, version| Pattern::new(seed, object, version).bytes(8);
        let mine = first(5, 5, 5);
        for other in
            [first(6, 5, 5), first(5, 6, 5), first(5, 5, 6), first(5, 4, 6), first(5, 6, 4)]
        {
            assert_ne!(mine, other);
        }
    }
}
