//! Dictionaries: what the pages of one program have in common, given to zstd before each page.
//!
//! The gain depends on the pages: two fifths for JSON, next to nothing for shared libraries (`docs/BENCHMARKS.md`).

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use thiserror::Error;

use crate::{
    CodecSpec, ZstdLevel,
    digested::Digested,
    training::{self, Samples},
    zstd_bindings::{self, Form},
};

/// Made by `examples/built_in_dictionary.rs`.
static BUILT_IN: LazyLock<Dictionary> =
    LazyLock::new(|| Dictionary { bytes: Arc::from(*include_bytes!("built_in.dictionary")) });

/// Bytes that similar pages have in common, from [`train`](Self::train).
///
/// Only the same dictionary decompresses what was compressed with it.
///
/// # Examples
/// ```
/// use pagefold_codec::{CodecSpec, Dictionary};
///
/// let record = |number: u32| {
///     format!("{{\"id\": {number}, \"owner\": \"user {}\", \"state\": \"waiting\"}}", number % 77)
/// };
/// let samples: Vec<String> = (0..2000).map(record).collect();
/// let dictionary = Dictionary::train(samples.iter().map(String::as_bytes), 8 << 10)?;
///
/// let spec = "zstd:1".parse::<CodecSpec>()?;
/// let (with, without) = (spec.build_with_dictionary(&dictionary)?, spec.build()?);
/// let record = record(1_000_000);
/// let mut compressed = [0; 256];
/// let len = with.compress(record.as_bytes(), &mut compressed).ok_or("it compresses")?;
/// let more = without.compress(record.as_bytes(), &mut [0; 256]).ok_or("as well")?;
/// assert!(len < more);
///
/// let mut back = vec![0; record.len()];
/// with.decompress(&compressed[..len], &mut back)?;
/// assert_eq!(back, record.as_bytes());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Dictionary {
    bytes: Arc<[u8]>,
}

/// Why there is no dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DictionaryError {
    /// The length is out of range.
    #[error(
        "a dictionary of {bytes} bytes is not possible; choose {} to {}",
        Dictionary::BYTES_MIN,
        Dictionary::BYTES_MAX
    )]
    Length {
        /// The length given.
        bytes: usize,
    },
    /// There is too little to learn from.
    #[error(
        "{pages} pages of {bytes} bytes are too few, or too much alike, to train a dictionary; give some hundred pages"
    )]
    TooFew {
        /// Pages that are not same-filled.
        pages: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// The bytes are not a dictionary.
    #[error("these {bytes} bytes are no zstd dictionary, or a damaged one")]
    Damaged {
        /// The length given.
        bytes: usize,
    },
}

impl Dictionary {
    /// The shortest dictionary, in bytes.
    pub const BYTES_MIN: usize = 256;
    /// The longest: 64 KiB.
    pub const BYTES_MAX: usize = 64 << 10;

    /// The dictionary of the setting `balanced`: 2 KiB, trained on heaps of Python, Node, Redis and Java.
    ///
    /// Its symbol tables save the tables of each page, so `zstd:1` takes four fifths of the time for heaps. A later
    /// version may bring another one: keep its bytes where compressed pages outlive the program.
    ///
    /// # Examples
    /// ```
    /// use pagefold_codec::{CodecSpec, Dictionary};
    ///
    /// let named = CodecSpec::Balanced.build()?;
    /// let level_1 = "zstd:1".parse::<CodecSpec>()?;
    /// let composed = level_1.build_with_dictionary(&Dictionary::built_in())?;
    /// let page: Vec<u8> = (0..512_u64).flat_map(|at| (0x7f00_1234_0000 + at * at).to_le_bytes()).collect();
    /// let (mut one, mut other) = ([0; 4096], [0; 4096]);
    /// assert_eq!(named.compress(&page, &mut one), composed.compress(&page, &mut other));
    /// # assert_eq!(one, other);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn built_in() -> Self {
        BUILT_IN.clone()
    }

    /// Learns a dictionary of at most `bytes_max` bytes from pages; skips same-filled ones. A few hundred random pages
    /// are enough; a MiB takes about 30 ms.
    ///
    /// # Errors
    /// [`DictionaryError`].
    pub fn train<'p>(
        pages: impl IntoIterator<Item = &'p [u8]>,
        bytes_max: usize,
    ) -> Result<Self, DictionaryError> {
        check_length(bytes_max)?;
        Samples::new(pages).train(bytes_max, ZstdLevel::new(1).expect("a level"))
    }

    /// Learns the best dictionary for a codec; `None` if none makes pages shorter than the codec does by itself, or if
    /// the codec takes none.
    ///
    /// Trains candidates of 2, 4 and 8 KiB, of `bytes_max` bytes and of a quarter, on three pages in four, and measures
    /// them on the fourth. A longer one must win half a percent, and so must one that takes more time. A thousand pages
    /// take some tenths of a second.
    ///
    /// # Errors
    /// [`DictionaryError`].
    ///
    /// # Examples
    /// ```
    /// use pagefold_codec::{CodecSpec, Dictionary};
    ///
    /// let spec = "zstd:1".parse::<CodecSpec>()?;
    /// let random = |seed: u64| -> Vec<u8> {
    ///     let state = |at: u64| (seed << 16 | at).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ///     (0..4096).map(|at| (state(at) ^ state(at) >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9).to_be_bytes()[0]).collect()
    /// };
    /// let pages: Vec<Vec<u8>> = (0..200).map(random).collect();
    /// let dictionary = Dictionary::train_for(spec, pages.iter().map(Vec::as_slice), 16 << 10)?;
    /// assert!(dictionary.is_none(), "random bytes have nothing in common");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn train_for<'p>(
        codec: CodecSpec,
        pages: impl IntoIterator<Item = &'p [u8]>,
        bytes_max: usize,
    ) -> Result<Option<Self>, DictionaryError> {
        check_length(bytes_max)?;
        let Some(level) = codec.level() else { return Ok(None) };
        let own = codec.own_dictionary();
        training::best(level, own.as_ref(), &Samples::new(pages), bytes_max)
    }

    /// Restores a dictionary from [`as_bytes`](Self::as_bytes).
    ///
    /// # Errors
    /// [`DictionaryError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DictionaryError> {
        check_length(bytes.len())?;
        // zstd takes bytes without the magic number as raw content; training makes no such dictionary.
        let known = zstd_bindings::header_len(bytes).is_ok();
        let dictionary = Self { bytes: bytes.into() };
        if !known || dictionary.digest(ZstdLevel::new(1).expect("a level"), Form::Pages).is_none() {
            return Err(DictionaryError::Damaged { bytes: bytes.len() });
        }
        Ok(dictionary)
    }

    pub(crate) fn digest(&self, level: ZstdLevel, form: Form) -> Option<Digested> {
        Digested::new(&self.bytes, level, form)
    }

    /// The bytes of the dictionary.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl CodecSpec {
    /// The dictionary that a setting has unless another is given.
    pub(crate) fn own_dictionary(self) -> Option<Dictionary> {
        matches!(self, Self::Balanced | Self::Dense).then(Dictionary::built_in)
    }
}

fn check_length(bytes: usize) -> Result<(), DictionaryError> {
    if (Dictionary::BYTES_MIN..=Dictionary::BYTES_MAX).contains(&bytes) {
        Ok(())
    } else {
        Err(DictionaryError::Length { bytes })
    }
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dictionary").field("bytes", &self.bytes.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CodecSpec;

    /// Words that are rare in a page but occur in most pages.
    fn pages() -> Vec<Vec<u8>> {
        let mut state = 7_u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        let word = |number: u32| format!("{:08x} ", number.wrapping_mul(2_654_435_761));
        let mut page = move || (0..512).map(|_| word(random() % 900)).collect::<String>();
        (0..300).map(|_| page().as_bytes()[..4096].to_vec()).collect()
    }

    fn trained() -> Dictionary {
        Dictionary::train(pages().iter().map(Vec::as_slice), 16 << 10).expect("enough pages")
    }

    #[test]
    fn pages_come_back_and_take_less() {
        let dictionary = trained();
        for name in ["zstd:-1", "zstd:1", "zstd:3", "zstd:19"] {
            let spec: CodecSpec = name.parse().expect("a codec");
            let with = spec.build_with_dictionary(&dictionary).expect("built");
            let without = spec.build().expect("built");
            assert_eq!(with.name(), name, "it is the same codec");
            let (mut less, mut more) = (0, 0);
            for page in pages().iter().step_by(7) {
                let mut compressed = [0; 4096];
                let len = with.compress(page, &mut compressed).expect("text");
                less += len;
                more += without.compress(page, &mut [0; 4096]).expect("text");
                let mut back = [0; 4096];
                assert_eq!(with.decompress(&compressed[..len], &mut back), Ok(4096), "{name}");
                assert_eq!(back, page[..], "{name}");
                let mut back = [0; 4096];
                assert_eq!(with.try_decompress(&compressed[..len], &mut back), Ok(4096));
                // An error or other bytes, never more than the destination.
                let decoded = without.decompress(&compressed[..len], &mut back);
                assert!(decoded.is_err() || back != page[..], "{name}");
            }
            assert!(less < more, "{name}: {less} with, {more} without");
        }
    }

    #[test]
    fn the_built_in_dictionary_is_the_one_that_older_pages_were_compressed_with() {
        let built_in = Dictionary::built_in();
        assert_eq!(Dictionary::from_bytes(built_in.as_bytes()).as_ref(), Ok(&built_in));
        assert!((2000..=2048).contains(&built_in.as_bytes().len()), "{built_in:?}");
        // FNV-1a.
        let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = built_in.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step);
        assert_eq!(hash, 0x91d3_87a8_15e0_8bb7, "{hash:#x}");
    }

    #[test]
    fn settings_of_zstd_have_the_built_in_dictionary_and_take_another() {
        for (name, level) in [("balanced", "zstd:1"), ("dense", "zstd:5")] {
            let spec = |name: &str| name.parse::<CodecSpec>().expect("a codec");
            let setting = spec(name).build().expect("built");
            let built_in = Dictionary::built_in();
            let composed = spec(level).build_with_dictionary(&built_in).expect("built");
            let other = spec(name).build_with_dictionary(&trained()).expect("built");
            let plain = spec(level).build().expect("built").metadata_bytes();
            assert_eq!((setting.name(), composed.name(), other.name()), (name, level, name));
            assert!(setting.metadata_bytes() >= plain + 2 * built_in.as_bytes().len());
            for page in pages().iter().step_by(31) {
                let compressed = |codec: &dyn crate::Codec| {
                    let mut bytes = vec![0; 4200];
                    let len = codec.compress(page, &mut bytes).expect("room");
                    bytes.truncate(len);
                    bytes
                };
                assert_eq!(compressed(&*setting), compressed(&*composed), "{name}");
                assert!(compressed(&*other).len() < compressed(&*setting).len(), "{name}");
                let mut back = [0; 4096];
                assert_eq!(setting.decompress(&compressed(&*composed), &mut back), Ok(4096));
                assert_eq!(back, page[..]);
                // At level 5 these pages use neither the dictionary's tables nor its content.
                let decoded = other.decompress(&compressed(&*setting), &mut back);
                assert!(name == "dense" || decoded.is_err() || back != page[..]);
            }
            let fit = spec(name).build_for(pages().iter().map(Vec::as_slice)).expect("built");
            assert_eq!(fit.name(), name);
        }
    }

    #[test]
    fn contexts_hold_the_dictionary_once() {
        let (dictionary, spec) = (trained(), "zstd:1".parse::<CodecSpec>().expect("a codec"));
        let with = spec.build_with_dictionary(&dictionary).expect("built");
        let before = with.metadata_bytes();
        let least = spec.build().expect("built").metadata_bytes() + 2 * dictionary.as_bytes().len();
        assert!(before >= least, "{before}, and not {least} at the least");
        let most = with.metadata_bytes_max(4096);
        for page in pages() {
            with.compress(&page, &mut [0; 4096]).expect("text");
        }
        assert!(with.metadata_bytes() <= most, "{} of {most}", with.metadata_bytes());
    }

    #[test]
    fn what_is_no_dictionary_says_so() {
        let dictionary = trained();
        assert_eq!(Dictionary::from_bytes(dictionary.as_bytes()).as_ref(), Ok(&dictionary));
        for bytes in [0, 255, (64 << 10) + 1] {
            let refused = Dictionary::train([], bytes);
            assert_eq!(refused, Err(DictionaryError::Length { bytes }));
        }
        let few = Dictionary::train([&[7; 4096][..], b"short"], 4096);
        assert_eq!(few, Err(DictionaryError::TooFew { pages: 1, bytes: 5 }));
        let random: Vec<u8> =
            (0..4096_u32).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
        assert_eq!(Dictionary::from_bytes(&random), Err(DictionaryError::Damaged { bytes: 4096 }));
        for at in (0..dictionary.as_bytes().len()).step_by(97) {
            let mut bytes = dictionary.as_bytes().to_vec();
            bytes[at] ^= 0x55;
            // Changed content makes another dictionary; changed tables make none, or one that codes otherwise.
            if let Ok(other) = Dictionary::from_bytes(&bytes) {
                let spec = "zstd:1".parse::<CodecSpec>().expect("a codec");
                if let Ok(codec) = spec.build_with_dictionary(&other) {
                    let page = &pages()[0];
                    let mut compressed = [0; 4200];
                    let len = codec.compress(page, &mut compressed).expect("room");
                    let mut back = [0; 4096];
                    assert_eq!(codec.decompress(&compressed[..len], &mut back), Ok(4096));
                    assert_eq!(back, page[..]);
                }
            }
        }
        for name in ["lz4", "raw"] {
            let spec: CodecSpec = name.parse().expect("a codec");
            let text = spec.build_with_dictionary(&dictionary).err().expect("refused").to_string();
            assert!(text.contains("takes no dictionary"), "{text}");
        }
    }
}
