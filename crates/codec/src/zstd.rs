//! zstd through its C library: from a little slower than lz4 and much denser (`zstd:-1`) to slow and denser still.
//!
//! Frames have no magic number, content size, checksum or dictionary id, which leaves two bytes of header a frame and
//! three a block. For a page of one block they follow from the length and are left out (`zstd_bindings`). The window is
//! at most 64 KiB, and zstd itself makes its tables smaller for shorter inputs.
//!
//! With a dictionary, every context refers to one digest of it, made with the codec.
//!
//! Contexts are reused, each for one operation at a time. A decoder is 100 KiB of address space: none of it is resident
//! before its use, 44 KiB while it decodes pages. An encoder is made at its first use and gets its tables from zstd (70
//! KiB for pages at the low levels, up to 1.8 MiB for 64 KiB at level 19), and again when inputs become much longer or
//! stay much shorter. So unused slots cost next to nothing.

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

/// Inputs with which encoder growth is measured when the codec is made: a page, and the longest object of a pool.
const SHORT_LEN: usize = 4096;
const LONG_LEN: usize = 64 << 10;

/// zstd frames at one level.
pub struct Zstd {
    name: String,
    level: ZstdLevel,
    /// Each made at its first use.
    encoders: SlotArray<Option<Encoder>>,
    decoders: SlotArray<Decoder>,
    /// Bytes of the contexts; a call that makes one grow or shrink updates it.
    context_bytes: AtomicUsize,
    /// The most that one encoder takes while inputs are at most [`SHORT_LEN`] bytes; and at most [`LONG_LEN`].
    short_encoder_bytes: usize,
    long_encoder_bytes: usize,
    dictionary: Option<Arc<Digested>>,
}

impl Zstd {
    /// Makes the codec with contexts for [`default_slot_count`] compressions and as many decompressions at once.
    ///
    /// # Errors
    /// [`BuildCodecError::OutOfMemory`], or [`BuildCodecError::Refused`] when another zstd library is linked than the
    /// bundled one, which does not know a parameter.
    pub fn new(level: ZstdLevel) -> Result<Self, BuildCodecError> {
        Self::build(level, None)
    }

    /// As [`new`](Self::new), with a dictionary, which its contexts share. Only a codec with the same dictionary can
    /// decompress the output.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_dictionary(
        level: ZstdLevel,
        dictionary: &Dictionary,
    ) -> Result<Self, BuildCodecError> {
        let out_of_memory = BuildCodecError::OutOfMemory { codec: CodecSpec::Zstd(level) };
        Self::build(level, Some(Arc::new(dictionary.digest(level).ok_or(out_of_memory)?)))
    }

    fn build(level: ZstdLevel, dictionary: Option<Arc<Digested>>) -> Result<Self, BuildCodecError> {
        let codec = CodecSpec::Zstd(level);
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
        // An encoder of its own that compresses each length once and is dropped. Shorter inputs can ask for more than
        // longer ones (their tables may be of another kind), so the powers of two on the way are tried as well.
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

    /// The most that an encoder and a decoder take while inputs are at most `len` bytes.
    fn bytes_each(&self, len: usize) -> (usize, usize) {
        if len <= SHORT_LEN {
            (self.short_encoder_bytes, decoder_bytes(SHORT_LEN))
        } else {
            (self.long_encoder_bytes, decoder_bytes(usize::MAX))
        }
    }

    /// Bytes apart from contexts.
    fn fixed_bytes(&self) -> usize {
        self.encoders.array_bytes()
            + self.decoders.array_bytes()
            + self.dictionary.as_ref().map_or(0, |dictionary| dictionary.bytes())
    }

    fn note(&self, before: usize, after: usize) {
        if before != after {
            // ORDERING: Relaxed; a sum for `metadata_bytes`, nothing hangs on it. Wrapping, as `fetch_add` is: the
            // parts that were added are never less than what is taken away.
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
                // One could be made when the codec was built: only memory may be short.
                None => slot.insert(Encoder::new(self.level, self.dictionary.as_ref()).ok()??),
            };
            let compressed = encoder.compress(src, dst);
            self.note(before, encoder.bytes());
            compressed.ok()
        })
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        let invalid = CodecError::Invalid { codec: "zstd", capacity: dst.len() };
        // zstd takes no bytes as a sequence of no frames; here they are an object truncated to nothing.
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
        // ORDERING: Relaxed; a sum that is read for statistics.
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
        // Both, so that what was charged for one of each is enough.
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
