//! zstd through its C library.
//!
//! Frames carry only the headers that decoding needs; a page of one block is stored without any (`page_form`), a cluster
//! as its blocks (`block_form`). The window is at most 64 KiB. A codec has contexts and perhaps a dictionary; a codec
//! that [`train`](Codec::train) gives has the same contexts. A context refers to a dictionary only while it uses it.
//!
//! Unused slots cost almost nothing. A decoder reserves 100 KiB of address space; decoding pages makes 44 KiB resident.
//! An encoder is made at its first use; zstd resizes its tables with the inputs: 70 KiB for pages at low levels, up to
//! 1.8 MiB for 64 KiB at level 19.

use std::sync::Arc;

use zstd_safe::get_error_name;

use crate::{
    BuildCodecError, Codec, CodecError, CodecSpec, Dictionary, TryCodecError, ZstdLevel,
    digested::Digested,
    self_training,
    zstd_bindings::{Code, Form},
    zstd_contexts::Contexts,
    zstd_decoder::Decoder,
};

/// zstd frames at one level.
pub struct Zstd {
    name: String,
    contexts: Arc<Contexts>,
    dictionary: Option<Digested>,
    trains: bool,
    /// Whether another codec has the contexts, and counts them.
    is_sibling: bool,
}

impl Zstd {
    /// Makes the codec with [`default_slot_count`] contexts of each kind.
    ///
    /// # Errors
    /// [`BuildCodecError::OutOfMemory`], or [`BuildCodecError::Refused`] if the linked zstd lacks a parameter.
    ///
    /// [`default_slot_count`]: pagefold_sys::sync::default_slot_count
    pub fn new(level: ZstdLevel) -> Result<Self, BuildCodecError> {
        Self::of(CodecSpec::Zstd(level), None)
    }

    /// As [`new`](Self::new), with a dictionary. Only a codec with the same dictionary decompresses the output.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_dictionary(
        level: ZstdLevel,
        dictionary: &Dictionary,
    ) -> Result<Self, BuildCodecError> {
        Self::of(CodecSpec::Zstd(level), Some(dictionary))
    }

    /// # Panics
    /// For a codec without a level.
    pub(crate) fn of(
        codec: CodecSpec,
        dictionary: Option<&Dictionary>,
    ) -> Result<Self, BuildCodecError> {
        let level = codec.level().expect("a codec of zstd");
        Self::make(codec, level, Form::Pages, dictionary, false)
    }

    /// With the dictionary of the setting, if it is one, in place of which pages can train another.
    ///
    /// # Panics
    /// For a codec without a level.
    pub(crate) fn of_setting(codec: CodecSpec, form: Form) -> Result<Self, BuildCodecError> {
        let level = match form {
            Form::Pages => codec.level(),
            Form::Clusters => codec.cluster_level(),
        };
        let own = codec.own_dictionary();
        Self::make(codec, level.expect("a codec of zstd"), form, own.as_ref(), own.is_some())
    }

    fn make(
        codec: CodecSpec,
        level: ZstdLevel,
        form: Form,
        dictionary: Option<&Dictionary>,
        trains: bool,
    ) -> Result<Self, BuildCodecError> {
        let out_of_memory = BuildCodecError::OutOfMemory { codec };
        let digest = |dictionary: &Dictionary| dictionary.digest(level, form).ok_or(out_of_memory);
        let own = dictionary.map(digest).transpose()?;
        // A context also works for the codecs that are trained later.
        let longest = match dictionary {
            Some(dictionary) if trains => Some(digest(&self_training::longest_like(dictionary))?),
            _ => None,
        };
        let dictionaries: Vec<&Digested> = own.iter().chain(&longest).collect();
        let refused = |code: Code| BuildCodecError::Refused { codec, reason: get_error_name(code) };
        let contexts = Contexts::new(level, form, &dictionaries).map_err(refused)?;
        Ok(Self {
            name: codec.to_string(),
            contexts: Arc::new(contexts.ok_or(out_of_memory)?),
            dictionary: own,
            trains,
            is_sibling: false,
        })
    }

    fn dictionary_bytes(&self, of: fn(&Digested) -> usize) -> usize {
        self.dictionary.as_ref().map_or(0, of)
    }

    fn decode(
        &self,
        decoder: &mut Decoder,
        src: &[u8],
        dst: &mut [u8],
        wanted: usize,
    ) -> Option<usize> {
        let dictionary = self.dictionary.as_ref();
        let restored = match self.contexts.form() {
            Form::Pages => decoder.decompress(src, dst, dictionary),
            Form::Clusters => decoder.decompress_blocks(src, dst, wanted, dictionary),
        };
        restored.ok()
    }
}

impl Codec for Zstd {
    fn name(&self) -> &str {
        &self.name
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        self.contexts.compress(src, dst, self.dictionary.as_ref())
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        let len = dst.len();
        self.decompress_start(src, dst, len)
    }

    fn try_decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, TryCodecError> {
        let len = dst.len();
        self.try_decompress_start(src, dst, len)
    }

    fn decompress_start(
        &self,
        src: &[u8],
        dst: &mut [u8],
        wanted: usize,
    ) -> Result<usize, CodecError> {
        let invalid = CodecError::Invalid { codec: "zstd", capacity: dst.len() };
        self.contexts.decode(|decoder| self.decode(decoder, src, dst, wanted)).ok_or(invalid)
    }

    fn try_decompress_start(
        &self,
        src: &[u8],
        dst: &mut [u8],
        wanted: usize,
    ) -> Result<usize, TryCodecError> {
        let invalid = CodecError::Invalid { codec: "zstd", capacity: dst.len() };
        let decoded = self.contexts.try_decode(|decoder| self.decode(decoder, src, dst, wanted));
        Ok(decoded.ok_or(TryCodecError::WouldBlock)?.ok_or(invalid)?)
    }

    fn trains(&self) -> bool {
        self.trains
    }

    fn train(&self, pages: &[&[u8]]) -> Option<Box<dyn Codec>> {
        if !self.trains {
            return None;
        }
        let (level, form) = (self.contexts.level(), self.contexts.form());
        Some(Box::new(Self {
            name: self.name.clone(),
            contexts: Arc::clone(&self.contexts),
            dictionary: Some(self_training::train_own(level, form, pages)?),
            trains: false,
            is_sibling: true,
        }))
    }

    fn train_bytes_max(&self, pages: usize) -> usize {
        if self.trains { size_of::<Self>() + self_training::bytes_max(pages) } else { 0 }
    }

    fn is_intact(&self) -> bool {
        self.dictionary.as_ref().is_none_or(Digested::is_intact)
    }

    fn metadata_bytes(&self) -> usize {
        let contexts = if self.is_sibling { 0 } else { self.contexts.bytes() };
        contexts + self.dictionary_bytes(Digested::bytes)
    }

    fn metadata_bytes_max(&self, len: usize) -> usize {
        let contexts = if self.is_sibling { 0 } else { self.contexts.bytes_max(len) };
        contexts + self.dictionary_bytes(Digested::bytes_max)
    }

    fn limit_contexts(&self, count: usize) {
        if !self.is_sibling {
            self.contexts.limit(count);
        }
    }

    fn release_contexts(&self) {
        if !self.is_sibling {
            self.contexts.release();
        }
        if let Some(dictionary) = &self.dictionary {
            dictionary.release_tables();
        }
    }

    fn wants_context(&self) -> bool {
        !self.is_sibling && self.contexts.are_crowded()
    }

    fn context_bytes_max(&self, len: usize) -> usize {
        if self.is_sibling { 0 } else { self.contexts.one_more_bytes_max(len) }
    }

    fn add_context(&self) -> bool {
        !self.is_sibling && self.contexts.add()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{iter, time::Duration};

    use pagefold_testkit::watchdog;

    use super::*;

    #[test]
    fn what_never_waits_says_so_while_every_decoder_is_taken() {
        watchdog::within(Duration::from_secs(120), "a decoding that never waits", || {
            let codec = Zstd::new(ZstdLevel::new(1).expect("a level")).expect("built");
            let (page, mut compressed, mut back) = ([7; 4096], [0; 100], [0; 4096]);
            let len = codec.compress(&page, &mut compressed).expect("it shrinks");
            let compressed = &compressed[..len];
            let mut taken: Vec<_> =
                iter::from_fn(|| codec.contexts.decoders().try_acquire()).collect();
            assert_eq!(taken.len(), codec.contexts.decoders().len());
            let refused = codec.try_decompress(compressed, &mut back);
            assert_eq!(refused, Err(TryCodecError::WouldBlock));
            taken.pop();
            assert_eq!(codec.try_decompress(compressed, &mut back), Ok(4096));
            assert_eq!(back, page);
        });
    }

    #[test]
    fn a_changed_byte_of_the_dictionary_is_noticed() {
        let level = ZstdLevel::new(1).expect("a level");
        let dictionary = Dictionary::from_bytes(Dictionary::built_in().as_bytes());
        let dictionary = dictionary.expect("it is one");
        let len = dictionary.as_bytes().len();
        let mut codec = Zstd::with_dictionary(level, &dictionary).expect("built");
        drop(dictionary);
        assert!(codec.is_intact());
        for at in [0, 1, len / 2, len - 1] {
            codec.dictionary.as_mut().expect("one").damage(at);
            assert!(!codec.is_intact(), "byte {at}");
            codec.dictionary.as_mut().expect("one").damage(at);
            assert!(codec.is_intact(), "byte {at} is back");
        }
        assert!(Zstd::new(level).expect("built").is_intact(), "without one");
    }
}
