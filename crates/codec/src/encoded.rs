//! The encoded form of a page: a repeated word, compressed, or raw.

use crate::{Codec, CodecError, checked::expect_len, checked_compress, fill, same_filled};

/// The share of a page that compression must save, as a divisor.
///
/// A compressed page costs about 150 bytes of packing and tables and a decompression at every read; below 256 bytes of
/// 4 KiB that gains next to nothing.
const SAVED_AT_LEAST_ONE_IN: usize = 16;

/// The longest compressed form accepted for a page of `page_len` bytes; [`encode`] needs no longer scratch.
pub const fn accept_len(page_len: usize) -> usize {
    page_len - page_len.div_ceil(SAVED_AT_LEAST_ONE_IN)
}

/// A page as a store keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoded<'a> {
    /// The page repeats this word.
    SameFilled(u64),
    /// The codec's output, at most [`accept_len`] bytes.
    Compressed(&'a [u8]),
    /// The page itself: it did not shrink by a sixteenth.
    Raw(&'a [u8]),
}

/// Encodes `page`; compresses into `scratch`.
///
/// `scratch` should have [`accept_len`] bytes; a shorter one leaves more pages raw. A page also stays raw if the codec
/// returns an impossible length ([`checked_compress`]).
///
/// # Examples
/// ```
/// use pagefold_codec::{Encoded, Raw, accept_len, encode};
///
/// let page: Vec<u8> = (0..=255).collect();
/// let mut scratch = vec![0; accept_len(page.len())];
/// assert_eq!(encode(&Raw, &page, &mut scratch), Encoded::Raw(&page), "a copy saves nothing");
/// ```
pub fn encode<'a>(codec: &dyn Codec, page: &'a [u8], scratch: &'a mut [u8]) -> Encoded<'a> {
    if let Some(word) = same_filled(page) {
        return Encoded::SameFilled(word);
    }
    let accepted = accept_len(page.len()).min(scratch.len());
    match checked_compress(codec, page, &mut scratch[..accepted]) {
        Some(len) => Encoded::Compressed(&scratch[..len]),
        None => Encoded::Raw(page),
    }
}

/// Restores the page that [`encode`] got with the same codec. `page` must have the original's length.
///
/// # Errors
/// [`CodecError`] if the bytes are damaged or the length differs; the content of `page` is then unspecified.
pub fn decode(codec: &dyn Codec, encoded: Encoded<'_>, page: &mut [u8]) -> Result<(), CodecError> {
    let expected = page.len();
    let decoded = match encoded {
        Encoded::SameFilled(word) => {
            fill(word, page);
            expected
        }
        Encoded::Compressed(bytes) => codec.decompress(bytes, page)?,
        Encoded::Raw(bytes) => {
            if bytes.len() == expected {
                page.copy_from_slice(bytes);
            }
            bytes.len()
        }
    };
    expect_len(expected, decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shrinks {
        len: usize,
    }

    impl Codec for Shrinks {
        fn name(&self) -> &str {
            "shrinks"
        }

        fn compress(&self, _src: &[u8], dst: &mut [u8]) -> Option<usize> {
            (self.len <= dst.len()).then_some(self.len)
        }

        fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
            Ok(src.len().min(dst.len()))
        }

        fn metadata_bytes(&self) -> usize {
            0
        }
    }

    fn page() -> Vec<u8> {
        (0..4096_u16).map(|n| n.to_le_bytes()[n as usize % 2]).collect()
    }

    #[test]
    fn a_sixteenth_decides() {
        let (page, mut scratch) = (page(), [0; 4096]);
        assert_eq!(accept_len(4096), 3840);
        let kept = encode(&Shrinks { len: 3840 }, &page, &mut scratch);
        assert!(matches!(kept, Encoded::Compressed(bytes) if bytes.len() == 3840));
        assert_eq!(encode(&Shrinks { len: 3841 }, &page, &mut scratch), Encoded::Raw(&page));
    }

    #[test]
    fn the_threshold_of_odd_lengths_never_accepts_less_than_a_sixteenth() {
        for len in 0..=5000 {
            let saved = len - accept_len(len);
            assert!(saved * 16 >= len, "{saved} of {len}");
            assert!(saved == 0 || (saved - 1) * 16 < len, "{saved} of {len} is more than asked");
        }
    }

    #[test]
    fn a_short_scratch_leaves_the_page_raw() {
        let page = page();
        assert_eq!(encode(&Shrinks { len: 100 }, &page, &mut [0; 99]), Encoded::Raw(&page));
        assert_eq!(encode(&Shrinks { len: 0 }, &[], &mut []), Encoded::Compressed(&[]));
    }

    #[test]
    fn a_page_of_the_wrong_length_is_an_error_in_each_form() {
        let mut page = [0; 100];
        let short = Encoded::Compressed(&[1; 99]);
        assert_eq!(
            decode(&Shrinks { len: 0 }, short, &mut page),
            Err(CodecError::WrongLength { expected: 100, decoded: 99 })
        );
        for len in [99, 101] {
            let raw = vec![1; len];
            let result = decode(&Shrinks { len: 0 }, Encoded::Raw(&raw), &mut page);
            assert_eq!(result, Err(CodecError::WrongLength { expected: 100, decoded: len }));
        }
    }
}
