//! zstd through its C library: from a little slower than lz4 and much denser (`zstd:-1`) to slow and denser still.
//!
//! Frames are as short as the format allows: no magic number, content size, checksum or dictionary id, which leaves two
//! bytes of header a frame and three a block. The window is never larger than 64 KiB, and zstd makes its tables smaller
//! for shorter inputs by itself, so a 4 KiB page does not pay for tables made for more.
//!
//! With a dictionary, every context refers to one digest of it, made with the codec.
//!
//! Contexts are reused, each one compression or decompression at a time. A decoder is about 94 KiB and complete from
//! the start. An encoder starts at 5 KiB and gets its tables from zstd at its first use (70 KiB for pages at the low
//! levels, up to 1.8 MiB for 64 KiB at level 19), and again when the inputs become much longer or stay much shorter, so
//! slots that are never reached cost next to nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use zstd_safe::{CCtx, CParameter, DCtx, DParameter, ErrorCode, FrameFormat, get_error_name};

use crate::{
    BuildCodecError, Codec, CodecError, CodecSpec, Dictionary, TryCodecError, ZstdLevel,
    digested::Digested,
    slots::{self, Slots},
};

/// The largest window, as a power of two: 64 KiB, the longest object a pool takes.
const WINDOW_LOG_MAX: u32 = 16;

/// The inputs for which the growth of an encoder is measured when the codec is made: a page, and the longest object a
/// pool takes.
const SHORT_LEN: usize = 4096;
const LONG_LEN: usize = 64 << 10;

/// zstd frames at one level.
pub struct Zstd {
    name: String,
    encoders: Slots<Encoder>,
    decoders: Slots<DCtx<'static>>,
    decoder_bytes: usize,
    /// What the encoders hold; kept up by whoever makes one grow or shrink.
    encoder_bytes: AtomicUsize,
    /// What one encoder holds at most while inputs are at most [`SHORT_LEN`] bytes; and at most [`LONG_LEN`].
    short_encoder_bytes: usize,
    long_encoder_bytes: usize,
    /// What the contexts refer to. Behind them: fields are dropped in this order.
    dictionary: Option<Box<Digested>>,
}

struct Encoder {
    context: CCtx<'static>,
    /// This encoder's part of `encoder_bytes`.
    bytes: usize,
}

impl Zstd {
    /// Makes the codec with contexts for [`slots::default_count`] compressions and as many decompressions at once.
    ///
    /// # Errors
    /// [`BuildCodecError::OutOfMemory`], or [`BuildCodecError::Refused`] when a zstd library other than the bundled one
    /// is linked that does not know a parameter.
    pub fn new(level: ZstdLevel) -> Result<Self, BuildCodecError> {
        Self::build(level, None)
    }

    /// As [`new`](Self::new), with a dictionary, which its contexts share. What it compresses can be read by a codec with
    /// the same dictionary only.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_dictionary(
        level: ZstdLevel,
        dictionary: &Dictionary,
    ) -> Result<Self, BuildCodecError> {
        let out_of_memory = BuildCodecError::OutOfMemory { codec: CodecSpec::Zstd(level) };
        Self::build(level, Some(Digested::new(dictionary, level).ok_or(out_of_memory)?))
    }

    fn build(level: ZstdLevel, dictionary: Option<Box<Digested>>) -> Result<Self, BuildCodecError> {
        let codec = CodecSpec::Zstd(level);
        let refused = |code| BuildCodecError::Refused { codec, reason: get_error_name(code) };
        let out_of_memory = BuildCodecError::OutOfMemory { codec };

        let (mut encoder_bytes, mut decoder_bytes) = (0, 0);
        let encoders = Slots::try_from_fn(slots::default_count(), |_| {
            let mut context = CCtx::try_create().ok_or(out_of_memory)?;
            set_up_encoder(&mut context, level, dictionary.as_deref()).map_err(refused)?;
            let bytes = context.sizeof();
            encoder_bytes += bytes;
            Ok(Encoder { context, bytes })
        })?;
        let decoders = Slots::try_from_fn(slots::default_count(), |_| {
            let mut context = DCtx::try_create().ok_or(out_of_memory)?;
            context.set_parameter(DParameter::Format(FrameFormat::Magicless)).map_err(refused)?;
            if let Some(dictionary) = &dictionary {
                // SAFETY: the dictionary is in a box. Decoders and it become fields of one value, which drops the
                // decoders first.
                unsafe { dictionary.attach_decoder(&mut context) }.map_err(refused)?;
            }
            decoder_bytes += context.sizeof();
            Ok(context)
        })?;
        // An encoder of its own that compresses each length once and is dropped. Shorter inputs can ask for more than
        // longer ones (their tables may be of another kind), so the powers of two on the way are tried as well.
        let grown = |len: usize| {
            let mut context = CCtx::try_create().ok_or(out_of_memory)?;
            set_up_encoder(&mut context, level, dictionary.as_deref()).map_err(refused)?;
            let input = vec![0; len];
            let mut output = vec![0; zstd_safe::compress_bound(len)];
            let mut most = 0;
            for shift in (0..=len.ilog2()).rev() {
                context.compress2(&mut output[..], &input[..len >> shift]).map_err(refused)?;
                most = most.max(context.sizeof());
            }
            Ok(most)
        };
        let (short_encoder_bytes, long_encoder_bytes) = (grown(SHORT_LEN)?, grown(LONG_LEN)?);
        Ok(Self {
            name: codec.to_string(),
            encoders,
            decoders,
            decoder_bytes,
            encoder_bytes: encoder_bytes.into(),
            short_encoder_bytes,
            long_encoder_bytes,
            dictionary,
        })
    }
}

impl Zstd {
    /// What it holds beside encoders.
    fn fixed_bytes(&self) -> usize {
        self.encoders.array_bytes()
            + self.decoders.array_bytes()
            + self.decoder_bytes
            + self.dictionary.as_ref().map_or(0, |dictionary| dictionary.bytes())
    }
}

fn set_up_encoder(
    context: &mut CCtx<'static>,
    level: ZstdLevel,
    dictionary: Option<&Digested>,
) -> Result<(), ErrorCode> {
    for parameter in [
        CParameter::CompressionLevel(level.get()),
        CParameter::WindowLog(WINDOW_LOG_MAX),
        CParameter::Format(FrameFormat::Magicless),
        CParameter::ContentSizeFlag(false),
        CParameter::ChecksumFlag(false),
        CParameter::DictIdFlag(false),
    ] {
        context.set_parameter(parameter)?;
    }
    match dictionary {
        // SAFETY: the dictionary is in a box. Encoders and it become fields of one value, which drops the encoders first;
        // or the encoder is one that `build` drops while it has the dictionary.
        Some(dictionary) => unsafe { dictionary.attach_encoder(context) },
        None => Ok(()),
    }
}

impl Codec for Zstd {
    fn name(&self) -> &str {
        &self.name
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        self.encoders.claim().with(|encoder| {
            let result = encoder.context.compress2(dst, src);
            let bytes = encoder.context.sizeof();
            if bytes != encoder.bytes {
                // ORDERING: Relaxed; a sum for `metadata_bytes`, nothing hangs on it. Wrapping, as `fetch_add` is: the
                // parts that were added are never less than what is taken away.
                self.encoder_bytes.fetch_add(bytes.wrapping_sub(encoder.bytes), Ordering::Relaxed);
                encoder.bytes = bytes;
            }
            result.ok()
        })
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        let invalid = CodecError::Invalid { codec: "zstd", capacity: dst.len() };
        // To zstd, no bytes are a sequence of no frames; here they are an object that was cut to nothing.
        if src.is_empty() {
            return Err(invalid);
        }
        self.decoders.claim().with(|context| context.decompress(dst, src)).map_err(|_| invalid)
    }

    fn try_decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, TryCodecError> {
        let invalid = CodecError::Invalid { codec: "zstd", capacity: dst.len() };
        if src.is_empty() {
            return Err(invalid.into());
        }
        let mut decoder = self.decoders.try_claim().ok_or(TryCodecError::WouldBlock)?;
        decoder.with(|context| context.decompress(dst, src)).map_err(|_| invalid.into())
    }

    fn metadata_bytes(&self) -> usize {
        // ORDERING: Relaxed; a sum that is read for statistics.
        self.fixed_bytes() + self.encoder_bytes.load(Ordering::Relaxed)
    }

    fn metadata_bytes_max(&self, len: usize) -> usize {
        let encoder =
            if len <= SHORT_LEN { self.short_encoder_bytes } else { self.long_encoder_bytes };
        self.fixed_bytes() + self.encoders.len() * encoder
    }
}
