//! Pages that are one repeated word, stored as that word.

/// Words of a cache line.
const STEP: usize = 8;

/// The word, in native byte order, that `page` repeats. `None` for lengths of 0 or no multiple of 8.
///
/// # Complexity
/// One comparison for most other pages; at most one pass.
///
/// # Examples
/// ```
/// use pagefold_codec::same_filled;
///
/// assert_eq!(same_filled(&[0; 4096]), Some(0));
/// assert_eq!(same_filled(&0xABCD_u64.to_ne_bytes().repeat(512)), Some(0xABCD));
/// assert_eq!(same_filled(b"no repetition..."), None);
/// assert_eq!(same_filled(&[0; 7]), None, "not a multiple of 8");
/// ```
pub fn same_filled(page: &[u8]) -> Option<u64> {
    let (words, rest) = page.as_chunks::<8>();
    let (first, last) = (words.first()?, words.last()?);
    // Most pages have a header or a tail and end here.
    if !rest.is_empty() || first != last {
        return None;
    }
    let word = u64::from_ne_bytes(*first);
    let difference = |words: &[[u8; 8]]| {
        words.iter().fold(0, |all, bytes| all | (u64::from_ne_bytes(*bytes) ^ word))
    };
    let (lines, tail) = words.as_chunks::<STEP>();
    let same = lines.iter().all(|line| difference(line) == 0) && difference(tail) == 0;
    same.then_some(word)
}

/// Fills `page` with repetitions of `word` in native byte order: the inverse of [`same_filled`].
///
/// # Examples
/// ```
/// let mut page = [0; 4096];
/// pagefold_codec::fill(7, &mut page);
/// assert_eq!(pagefold_codec::same_filled(&page), Some(7));
/// ```
pub fn fill(word: u64, page: &mut [u8]) {
    let bytes = word.to_ne_bytes();
    let (words, rest) = page.as_chunks_mut::<8>();
    words.fill(bytes);
    rest.copy_from_slice(&bytes[..rest.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(page: &[u8]) -> Option<u64> {
        let word: [u8; 8] = page.get(..8)?.try_into().ok()?;
        (page.len().is_multiple_of(8) && page.chunks(8).all(|chunk| chunk == word))
            .then_some(u64::from_ne_bytes(word))
    }

    #[test]
    fn every_length_up_to_two_lines_agrees_with_the_definition() {
        for len in 0..=128 {
            for word in [0, 1, u64::MAX, 0x0123_4567_89AB_CDEF] {
                let mut page = vec![0; len];
                fill(word, &mut page);
                let expected = (len >= 8 && len.is_multiple_of(8)).then_some(word);
                assert_eq!(same_filled(&page), expected, "length {len}, word {word:#x}");
                assert_eq!(naive(&page), expected, "length {len}, word {word:#x}");
            }
        }
    }

    #[test]
    fn one_changed_bit_anywhere_is_seen() {
        for len in [16, 64, 72, 4096] {
            let mut page = vec![0; len];
            fill(0x5555_AAAA_0000_FFFF, &mut page);
            for at in 0..len {
                page[at] ^= 1 << (at % 8);
                assert_eq!(same_filled(&page), None, "length {len}, changed at {at}");
                page[at] ^= 1 << (at % 8);
            }
            assert_eq!(same_filled(&page), Some(0x5555_AAAA_0000_FFFF), "length {len}");
        }
    }

    #[test]
    fn fill_ends_in_the_first_bytes_of_the_word() {
        let mut page = [0; 11];
        fill(u64::from_ne_bytes(*b"12345678"), &mut page);
        assert_eq!(&page, b"12345678123");
    }
}
