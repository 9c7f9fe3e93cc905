//! zstd through its C library.
//!
//! Frames carry only the headers that decoding needs; a page of one block is stored without any (`zstd_bindings`). The
//! window is at most 64 KiB. All contexts share one digest of the dictionary.
//!
//! Unused slots cost almost nothing. A decoder reserves 100 KiB of address space; decoding pages makes 44 KiB resident.
//! An encoder is made at its first use; zstd resizes its tables with the inputs: 70 KiB for pages at low levels, up to
//! 1.8 MiB for 64 KiB at level 19.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use pagefold_sys::sync::{SlotArray, default_slot_count};
use zstd_safe::get_error_name;

use crate::{
    BuildCodecError, Codec, CodecError, CodecSpec, Dictionary, TryCodecError, ZstdLevel,
    digested::Digested,
    zstd_bindings::{Decoder, Encoder, decoder_bytes},
};

/// The lengths at which encoder memory is measured: a page, and the longest object of a pool.
const SHORT_LEN: usize = 4096;
const LONG_LEN: usize = 64 << 10;

/// zstd frames at one level.
pub struct Zstd {
    name: String,
    level: ZstdLevel,
    encoders: SlotArray<Option<Encoder>>,
    decoders: SlotArray<Decoder>,
    context_bytes: AtomicUsize,
    /// The most that one encoder takes for inputs up to [`SHORT_LEN`]; and up to [`LONG_LEN`].
    short_encoder_bytes: usize,
    long_encoder_bytes: usize,
    dictionary: Option<Arc<Digested>>,
}

impl Zstd {
    /// Makes the codec with [`default_slot_count`] contexts of each kind.
    ///
    /// # Errors
    /// [`BuildCodecError::OutOfMemory`], or [`BuildCodecError::Refused`] if the linked zstd lacks a parameter.
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
        let digest = |dictionary: &Dictionary| {
            dictionary.digest(level).map(Arc::new).ok_or(BuildCodecError::OutOfMemory { codec })
        };
        let dictionary = dictionary.map(digest).transpose()?;
        let refused = |code| BuildCodecError::Refused { codec, reason: get_error_name(code) };
        let out_of_memory = BuildCodecError::OutOfMemory { codec };
        let encoder = || {
            let made = Encoder::new(level, dictionary.as_ref()).map_err(refused)?;
            made.ok_or(out_of_memory)
        };

        let count = default_slot_count();
        let encoders = SlotArray::from_fn(count, |_| None);
        let decoders = Decoder::several(count, dictionary.as_ref()).map_err(refused)?;
        let mut decoders = decoders.ok_or(out_of_memory)?;
        let decoders = SlotArray::from_fn(count, |_| decoders.pop().expect("one for each slot"));
        // Shorter inputs can need more than longer ones, so each power of two is measured.
        let grown = |len: usize| {
            let mut encoder = encoder()?;
            let input = vec![0; len];
            let mut output = vec![0; zstd_safe::compress_bound(len)];
            let mut most = 0;
            for shift in (0..=len.ilog2()).rev() {
                encoder.compress(&input[..len >> shift], &mut output).map_err(refused)?;
                most = most.max(encoder.bytes());
            }
            Ok(most)
        };
        let (short_encoder_bytes, long_encoder_bytes) = (grown(SHORT_LEN)?, grown(LONG_LEN)?);
        Ok(Self {
            name: codec.to_string(),
            level,
            encoders,
            decoders,
            context_bytes: AtomicUsize::new(0),
            short_encoder_bytes,
            long_encoder_bytes,
            dictionary,
        })
    }

    fn bytes_each(&self, len: usize) -> (usize, usize) {
        if len <= SHORT_LEN {
            (self.short_encoder_bytes, decoder_bytes(SHORT_LEN))
        } else {
            (self.long_encoder_bytes, decoder_bytes(usize::MAX))
        }
    }

    fn fixed_bytes(&self) -> usize {
        self.encoders.array_bytes()
            + self.decoders.array_bytes()
            + self.dictionary.as_ref().map_or(0, |dictionary| dictionary.bytes())
    }

    fn note(&self, before: usize, after: usize) {
        if before != after {
            // ORDERING: Relaxed; a sum for `metadata_bytes`. Wrapping: the sum stays at least what is subtracted.
            self.context_bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
    }

    fn decode(&self, decoder: &mut Decoder, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        let before = decoder.bytes();
        let decoded = decoder.decompress(src, dst);
        self.note(before, decoder.bytes());
        decoded.ok()
    }
}

impl Codec for Zstd {
    fn name(&self) -> &str {
        &self.name
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        self.encoders.acquire().with(|slot| {
            let before = slot.as_ref().map_or(0, Encoder::bytes);
            let encoder = match slot {
                Some(encoder) => encoder,
                // An encoder was made when the codec was built: only memory can be short.
                None => slot.insert(Encoder::new(self.level, self.dictionary.as_ref()).ok()??),
            };
            let compressed = encoder.compress(src, dst);
            self.note(before, encoder.bytes());
            compressed.ok()
        })
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        let invalid = CodecError::Invalid { codec: "zstd", capacity: dst.len() };
        // zstd takes no bytes as no frames; here they are a truncated object.
        if src.is_empty() {
            return Err(invalid);
        }
        self.decoders.acquire().with(|decoder| self.decode(decoder, src, dst)).ok_or(invalid)
    }

    fn try_decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, TryCodecError> {
        let invalid = CodecError::Invalid { codec: "zstd", capacity: dst.len() };
        if src.is_empty() {
            return Err(invalid.into());
        }
        let mut decoder = self.decoders.try_acquire().ok_or(TryCodecError::WouldBlock)?;
        decoder.with(|decoder| self.decode(decoder, src, dst)).ok_or(invalid.into())
    }

    fn metadata_bytes(&self) -> usize {
        // ORDERING: Relaxed; a statistic.
        self.fixed_bytes() + self.context_bytes.load(Ordering::Relaxed)
    }

    fn metadata_bytes_max(&self, len: usize) -> usize {
        let (encoder, decoder) = self.bytes_each(len);
        self.fixed_bytes() + self.encoders.usable() * encoder + self.decoders.usable() * decoder
    }

    fn limit_contexts(&self, count: usize) {
        self.encoders.limit(count);
        self.decoders.limit(count);
    }

    fn wants_context(&self) -> bool {
        self.encoders.is_crowded() || self.decoders.is_crowded()
    }

    fn context_bytes_max(&self, len: usize) -> usize {
        let (encoder, decoder) = self.bytes_each(len);
        encoder + decoder
    }

    fn add_context(&self) -> bool {
        // Both, as `context_bytes_max` says.
        let added = self.encoders.add();
        self.decoders.add() || added
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
            let mut taken: Vec<_> = iter::from_fn(|| codec.decoders.try_acquire()).collect();
            assert_eq!(taken.len(), codec.decoders.len());
            let refused = codec.try_decompress(compressed, &mut back);
            assert_eq!(refused, Err(TryCodecError::WouldBlock));
            taken.pop();
            assert_eq!(codec.try_decompress(compressed, &mut back), Ok(4096));
            assert_eq!(back, page);
        });
    }
}
