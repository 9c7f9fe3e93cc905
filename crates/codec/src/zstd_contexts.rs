//! The contexts of a zstd codec, which codecs with different dictionaries share.

use std::sync::atomic::{AtomicUsize, Ordering};

use pagefold_sys::sync::{SlotArray, default_slot_count};

use crate::{
    ZstdLevel,
    digested::Digested,
    zstd_bindings::{Code, Encoder, Form},
    zstd_decoder::{Decoder, decoder_bytes},
};

/// The lengths of input up to which encoder memory is measured: a page, a cluster, and the longest object of a pool.
const MEASURED_LENGTHS: [usize; 3] = [4096, 16 << 10, 64 << 10];

pub(crate) struct Contexts {
    level: ZstdLevel,
    form: Form,
    encoders: SlotArray<Option<Encoder>>,
    decoders: SlotArray<Decoder>,
    /// Of all contexts that were used.
    bytes: AtomicUsize,
    /// The most that one encoder takes for inputs up to each of [`MEASURED_LENGTHS`].
    encoder_bytes: [usize; MEASURED_LENGTHS.len()],
}

impl Contexts {
    /// `dictionaries` are those that need most memory; `Ok(None)` without memory.
    pub(crate) fn new(
        level: ZstdLevel,
        form: Form,
        dictionaries: &[&Digested],
    ) -> Result<Option<Self>, Code> {
        Self::measured(level, form, encoder_bytes(level, form, dictionaries)?)
    }

    /// For [`compress_after`](Self::compress_after), with prefixes as long as the input.
    pub(crate) fn prefixed(level: ZstdLevel, form: Form) -> Result<Option<Self>, Code> {
        Self::measured(level, form, prefixed_encoder_bytes(level, form)?)
    }

    fn measured(
        level: ZstdLevel,
        form: Form,
        encoder_bytes: Option<[usize; MEASURED_LENGTHS.len()]>,
    ) -> Result<Option<Self>, Code> {
        let Some(encoder_bytes) = encoder_bytes else { return Ok(None) };
        let count = default_slot_count();
        let Some(mut decoders) = Decoder::several(count)? else { return Ok(None) };
        let decoders = SlotArray::from_fn(count, |_| decoders.pop().expect("one for each slot"));
        let encoders = SlotArray::from_fn(count, |_| None);
        let bytes = AtomicUsize::new(0);
        Ok(Some(Self { level, form, encoders, decoders, bytes, encoder_bytes }))
    }

    pub(crate) fn level(&self) -> ZstdLevel {
        self.level
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// Frees the encoders that no call uses, and the memory of such decoders.
    pub(crate) fn release(&self) {
        self.decoders.visit_free(|decoder| {
            let before = decoder.bytes();
            decoder.release();
            self.note(before, decoder.bytes());
        });
        self.encoders.visit_free(|slot| {
            if let Some(encoder) = slot.take() {
                self.note(encoder.bytes(), 0);
            }
        });
    }

    pub(crate) fn compress(
        &self,
        src: &[u8],
        dst: &mut [u8],
        dictionary: Option<&Digested>,
    ) -> Option<usize> {
        self.encode(|encoder| encoder.compress(src, dst, dictionary))
    }

    /// With a prefix, which must not begin as a dictionary does.
    pub(crate) fn compress_after(
        &self,
        prefix: &[u8],
        src: &[u8],
        dst: &mut [u8],
    ) -> Option<usize> {
        self.encode(|encoder| encoder.compress_after(prefix, src, dst))
    }

    fn encode(&self, f: impl FnOnce(&mut Encoder) -> Result<usize, Code>) -> Option<usize> {
        self.encoders.acquire().with(|slot| {
            let before = slot.as_ref().map_or(0, Encoder::bytes);
            let encoder = match slot {
                Some(encoder) => encoder,
                // An encoder was made when the codec was built: only memory can be short.
                None => slot.insert(Encoder::new(self.level, self.form).ok()??),
            };
            let compressed = f(encoder);
            self.note(before, encoder.bytes());
            compressed.ok()
        })
    }

    /// Runs `decode` in a decoder, after a wait where all are in use.
    pub(crate) fn decode<R>(&self, decode: impl FnOnce(&mut Decoder) -> R) -> R {
        self.decoders.acquire().with(|decoder| self.counted(decoder, decode))
    }

    /// Runs `decode` in a decoder. `None` while all are in use.
    pub(crate) fn try_decode<R>(&self, decode: impl FnOnce(&mut Decoder) -> R) -> Option<R> {
        let mut decoder = self.decoders.try_acquire()?;
        Some(decoder.with(|decoder| self.counted(decoder, decode)))
    }

    fn counted<R>(&self, decoder: &mut Decoder, decode: impl FnOnce(&mut Decoder) -> R) -> R {
        let before = decoder.bytes();
        let decoded = decode(decoder);
        self.note(before, decoder.bytes());
        decoded
    }

    fn note(&self, before: usize, after: usize) {
        if before != after {
            // ORDERING: Relaxed; a sum for `metadata_bytes`. Wrapping: the sum stays at least what is subtracted.
            self.bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
    }

    fn fixed_bytes(&self) -> usize {
        size_of::<Self>() + self.encoders.array_bytes() + self.decoders.array_bytes()
    }

    pub(crate) fn bytes(&self) -> usize {
        // ORDERING: Relaxed; a statistic.
        self.fixed_bytes() + self.bytes.load(Ordering::Relaxed)
    }

    fn bytes_each(&self, len: usize) -> (usize, usize) {
        let measured = MEASURED_LENGTHS.iter().position(|&measured| len <= measured);
        let encoder = self.encoder_bytes[measured.unwrap_or(MEASURED_LENGTHS.len() - 1)];
        let is_page = self.form == Form::Clusters || len <= MEASURED_LENGTHS[0];
        (encoder, decoder_bytes(if is_page { MEASURED_LENGTHS[0] } else { usize::MAX }))
    }

    pub(crate) fn bytes_max(&self, len: usize) -> usize {
        let (encoder, decoder) = self.bytes_each(len);
        self.fixed_bytes() + self.encoders.usable() * encoder + self.decoders.usable() * decoder
    }

    /// The bytes of one more encoder and decoder.
    pub(crate) fn one_more_bytes_max(&self, len: usize) -> usize {
        let (encoder, decoder) = self.bytes_each(len);
        encoder + decoder
    }

    pub(crate) fn limit(&self, count: usize) {
        self.encoders.limit(count);
        self.decoders.limit(count);
    }

    pub(crate) fn are_crowded(&self) -> bool {
        self.encoders.is_crowded() || self.decoders.is_crowded()
    }

    pub(crate) fn add(&self) -> bool {
        // Both, as `one_more_bytes_max` says.
        let added = self.encoders.add();
        self.decoders.add() || added
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn decoders(&self) -> &SlotArray<Decoder> {
        &self.decoders
    }
}

/// `Ok(None)` without memory.
fn encoder_bytes(
    level: ZstdLevel,
    form: Form,
    dictionaries: &[&Digested],
) -> Result<Option<[usize; MEASURED_LENGTHS.len()]>, Code> {
    let Some(mut encoder) = Encoder::new(level, form)? else { return Ok(None) };
    let longest = MEASURED_LENGTHS[MEASURED_LENGTHS.len() - 1];
    let input = vec![0; longest];
    let mut output = vec![0; zstd_safe::compress_bound(longest)];
    let with = dictionaries.iter().map(|&dictionary| Some(dictionary));
    let without = dictionaries.is_empty().then_some(None);
    let choices: Vec<Option<&Digested>> = with.chain(without).collect();
    let mut measured = [0; MEASURED_LENGTHS.len()];
    // An encoder never shrinks. Shorter inputs can need more than longer ones, so each power of two is measured.
    for shift in 0..=longest.ilog2() {
        let len = 1 << shift;
        for dictionary in &choices {
            encoder.compress(&input[..len], &mut output, *dictionary)?;
        }
        for (bytes, measured_len) in measured.iter_mut().zip(MEASURED_LENGTHS) {
            if len <= measured_len {
                *bytes = encoder.bytes();
            }
        }
    }
    Ok(Some(measured))
}

/// As `encoder_bytes`, with prefixes. `Ok(None)` without memory.
fn prefixed_encoder_bytes(
    level: ZstdLevel,
    form: Form,
) -> Result<Option<[usize; MEASURED_LENGTHS.len()]>, Code> {
    let Some(mut encoder) = Encoder::new(level, form)? else { return Ok(None) };
    let longest = MEASURED_LENGTHS[MEASURED_LENGTHS.len() - 1];
    let input = vec![0; longest];
    let mut output = vec![0; zstd_safe::compress_bound(longest)];
    let mut measured = [0; MEASURED_LENGTHS.len()];
    for shift in 0..=longest.ilog2() {
        let len = 1 << shift;
        encoder.compress_after(&input[..len], &input[..len], &mut output)?;
        for (bytes, measured_len) in measured.iter_mut().zip(MEASURED_LENGTHS) {
            if len <= measured_len {
                *bytes = encoder.bytes();
            }
        }
    }
    Ok(Some(measured))
}
