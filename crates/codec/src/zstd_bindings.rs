//! Contexts of the zstd C library.
//!
//! Two thirds of a decoder are a literals buffer that a page never fills. Each decoder has its own system pages, so the
//! unused part is not resident.
//!
//! ```text
//!  frame      header (2 bytes) | header of the block (3) | block
//!  stored                                                  block   one compressed block, of a page
//!  or         0x0d | frame                                         all else

use std::{ffi::c_int, ptr::NonNull, sync::Arc};

use pagefold_sys::memory::{self, CoreDump, Reservation};
use zstd_safe::zstd_sys::{
    self as sys, ZDICT_fastCover_params_t, ZDICT_params_t, ZSTD_CCtx, ZSTD_DCtx, ZSTD_cParameter,
    ZSTD_dParameter, ZSTD_dictAttachPref_e, ZSTD_format_e,
};

use crate::{ZstdLevel, digested::Digested};

/// The largest window (log2): 64 KiB.
const WINDOW_LOG_MAX: u8 = 16;
/// The bundled library's literals buffer, used up to the destination's length.
const LITERALS_BYTES: usize = 64 << 10;

/// RFC 8878, 3.1.1.1: no magic number or flags; 64 KiB window.
const FRAME_HEADER: [u8; 2] = [0, (WINDOW_LOG_MAX - 10) << 3];
const HEADERS_BYTES: usize = FRAME_HEADER.len() + 3;
const LAST_AND_COMPRESSED: u32 = 1 | 2 << 1;
/// The longest that a decoder can restore.
const BARE_FRAME_MAX: usize = 4096;
/// First byte of a form with headers, and of a block of one literal 4096 times or more, which also gets headers.
const WITH_HEADERS: u8 = 0x0d;

pub(crate) type Code = usize;
/// `ZSTD_error_corruption_detected`.
const DAMAGED: Code = 20_usize.wrapping_neg();

fn bare(frame: &[u8]) -> Option<&[u8]> {
    let (&[flags, _, low, middle, high], block) = frame.split_first_chunk::<HEADERS_BYTES>()?;
    let header = u32::from_le_bytes([low, middle, high, 0]);
    let expected = LAST_AND_COMPRESSED | u32::try_from(block.len()).ok()? << 3;
    let alone = flags == FRAME_HEADER[0] && header == expected && frame.len() <= BARE_FRAME_MAX;
    (alone && block.first() != Some(&WITH_HEADERS)).then_some(block)
}

fn check(code: Code) -> Result<usize, Code> {
    // SAFETY: a pure function of a number.
    let is_error = unsafe { sys::ZSTD_isError(code) };
    if is_error == 0 { Ok(code) } else { Err(code) }
}

/// # Invariants
/// `context` is live and used by no other code; it refers only to `_dictionary`.
pub(crate) struct Encoder {
    context: NonNull<ZSTD_CCtx>,
    _dictionary: Option<Arc<Digested>>,
}

// SAFETY: a context is used through `&mut` only, and works in any thread.
unsafe impl Send for Encoder {}

impl Encoder {
    /// `Ok(None)` without memory.
    pub(crate) fn new(
        level: ZstdLevel,
        dictionary: Option<&Arc<Digested>>,
    ) -> Result<Option<Self>, Code> {
        // SAFETY: no arguments; returns a new context or null.
        let Some(context) = NonNull::new(unsafe { sys::ZSTD_createCCtx() }) else {
            return Ok(None);
        };
        // INVARIANT: new; it refers only to the field's dictionary.
        let encoder = Self { context, _dictionary: dictionary.cloned() };
        let magicless = ZSTD_format_e::ZSTD_f_zstd1_magicless as c_int;
        for (parameter, value) in [
            (ZSTD_cParameter::ZSTD_c_compressionLevel, level.get()),
            (ZSTD_cParameter::ZSTD_c_windowLog, c_int::from(WINDOW_LOG_MAX)),
            // `ZSTD_c_format`.
            (ZSTD_cParameter::ZSTD_c_experimentalParam2, magicless),
            (ZSTD_cParameter::ZSTD_c_contentSizeFlag, 0),
            (ZSTD_cParameter::ZSTD_c_checksumFlag, 0),
            (ZSTD_cParameter::ZSTD_c_dictIDFlag, 0),
        ] {
            // SAFETY: a live context; the library refuses unknown parameters and values.
            check(unsafe { sys::ZSTD_CCtx_setParameter(context.as_ptr(), parameter, value) })?;
        }
        if let Some(dictionary) = dictionary {
            let attach = ZSTD_dictAttachPref_e::ZSTD_dictForceAttach as c_int;
            // `ZSTD_c_forceAttachDict`. Without it zstd copies the digest's tables for inputs above 8 KiB.
            let parameter = ZSTD_cParameter::ZSTD_c_experimentalParam4;
            // SAFETY: a live context; the library refuses unknown parameters and values.
            check(unsafe { sys::ZSTD_CCtx_setParameter(context.as_ptr(), parameter, attach) })?;
            // SAFETY: a live context; the field keeps the digest.
            check(unsafe { sys::ZSTD_CCtx_refCDict(context.as_ptr(), dictionary.encode()) })?;
        }
        Ok(Some(encoder))
    }

    /// An error without memory, or if frame and headers do not fit.
    pub(crate) fn compress(&mut self, src: &[u8], dst: &mut [u8]) -> Result<usize, Code> {
        let Some((first, rest)) = dst.split_first_mut() else { return Err(DAMAGED) };
        let len = self.frame(src, rest)?;
        match bare(&rest[..len]).map(<[u8]>::len) {
            Some(bare_len) => {
                dst.copy_within(1 + HEADERS_BYTES..1 + len, 0);
                Ok(bare_len)
            }
            None => {
                *first = WITH_HEADERS;
                Ok(1 + len)
            }
        }
    }

    fn frame(&mut self, src: &[u8], dst: &mut [u8]) -> Result<usize, Code> {
        // SAFETY: a live, exclusive (`&mut`) context; `dst` is writable and `src` readable; the borrows do not overlap.
        check(unsafe {
            sys::ZSTD_compress2(
                self.context.as_ptr(),
                dst.as_mut_ptr().cast(),
                dst.len(),
                src.as_ptr().cast(),
                src.len(),
            )
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        // SAFETY: the context is live.
        unsafe { sys::ZSTD_sizeof_CCtx(self.context.as_ptr()) }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: made by the library, live until here.
        unsafe { sys::ZSTD_freeCCtx(self.context.as_ptr()) };
    }
}

struct DecoderMemory(Reservation);

impl Drop for DecoderMemory {
    fn drop(&mut self) {
        // SAFETY: from `memory::reserve`, dropped once; every decoder in it shares `self`.
        unsafe { memory::release(self.0) };
    }
}

/// # Invariants
/// `place` is [`full_bytes`] of `_memory` for the context, then [`BARE_FRAME_MAX`] to restore a frame in; no other code
/// uses them. `context` lies in the former and refers only to `dictionary`.
pub(crate) struct Decoder {
    place: NonNull<u8>,
    context: Option<NonNull<ZSTD_DCtx>>,
    /// Bytes that may be resident.
    bytes: usize,
    dictionary: Option<Arc<Digested>>,
    _memory: Arc<DecoderMemory>,
}

// SAFETY: a context is used through `&mut` only, and works in any thread.
unsafe impl Send for Decoder {}

fn full_bytes() -> usize {
    // SAFETY: no arguments; returns a constant.
    let bytes = unsafe { sys::ZSTD_estimateDCtxSize() };
    bytes.next_multiple_of(memory::page_bytes())
}

/// Bytes that may be resident for destinations of at most `len` bytes.
pub(crate) fn decoder_bytes(len: usize) -> usize {
    // The unused rest begins anywhere in a page.
    let page = memory::page_bytes();
    let rest = LITERALS_BYTES.saturating_sub(len).saturating_sub(page - 1);
    let full = full_bytes();
    let context = if full > LITERALS_BYTES { full - rest / page * page } else { full };
    context + BARE_FRAME_MAX.next_multiple_of(page)
}

impl Decoder {
    /// Makes `count` decoders, none resident. `Ok(None)` without memory.
    pub(crate) fn several(
        count: usize,
        dictionary: Option<&Arc<Digested>>,
    ) -> Result<Option<Vec<Self>>, Code> {
        let mut probe = Self::reserve(1, dictionary).unwrap_or_default();
        let Some(decoder) = probe.first_mut() else { return Ok(None) };
        decoder.set_up()?;
        Ok(Self::reserve(count, dictionary))
    }

    fn reserve(count: usize, dictionary: Option<&Arc<Digested>>) -> Option<Vec<Self>> {
        let bytes = full_bytes() + BARE_FRAME_MAX.next_multiple_of(memory::page_bytes());
        let memory =
            memory::reserve(count * bytes, memory::page_bytes(), CoreDump::Include).ok()?;
        let memory = Arc::new(DecoderMemory(memory));
        memory::commit(&memory.0, 0..count * bytes).ok()?;
        let decoder = |index| Self {
            // INVARIANT: disjoint parts; the memory outlives them.
            place: memory.0.at(index * bytes),
            context: None,
            bytes: 0,
            dictionary: dictionary.cloned(),
            _memory: Arc::clone(&memory),
        };
        Some((0..count).map(decoder).collect())
    }

    /// Allocates nothing.
    fn set_up(&mut self) -> Result<NonNull<ZSTD_DCtx>, Code> {
        let place = self.place.as_ptr().cast();
        // SAFETY: this decoder's memory (invariant), writable, page-aligned, `full_bytes` long.
        let context = unsafe { sys::ZSTD_initStaticDCtx(place, full_bytes()) };
        let context = NonNull::new(context).expect("the size is the one that the library asks for");
        let magicless = ZSTD_format_e::ZSTD_f_zstd1_magicless as c_int;
        // `ZSTD_d_format`.
        let format = ZSTD_dParameter::ZSTD_d_experimentalParam1;
        // SAFETY: a live context; the library refuses unknown parameters.
        check(unsafe { sys::ZSTD_DCtx_setParameter(context.as_ptr(), format, magicless) })?;
        if let Some(dictionary) = &self.dictionary {
            // SAFETY: a live context; the field keeps the digest.
            check(unsafe { sys::ZSTD_DCtx_refDDict(context.as_ptr(), dictionary.decode()) })?;
        }
        Ok(context)
    }

    /// Allocates nothing.
    pub(crate) fn decompress(&mut self, src: &[u8], dst: &mut [u8]) -> Result<usize, Code> {
        self.bytes = self.bytes.max(decoder_bytes(dst.len()));
        match src {
            [] => Err(DAMAGED),
            [WITH_HEADERS, frame @ ..] => self.decode(frame, dst),
            block if block.len() > BARE_FRAME_MAX - HEADERS_BYTES => Err(DAMAGED),
            block => {
                // SAFETY: `BARE_FRAME_MAX` bytes after the context are this decoder's (invariant).
                let start = unsafe { self.place.add(full_bytes()) }.as_ptr();
                // SAFETY: as above, exclusive (`&mut`), at most `BARE_FRAME_MAX`, initialised: the system gave zeros.
                let frame =
                    unsafe { std::slice::from_raw_parts_mut(start, HEADERS_BYTES + block.len()) };
                let len = u32::try_from(block.len()).expect("at most a page");
                frame[..2].copy_from_slice(&FRAME_HEADER);
                frame[2..HEADERS_BYTES]
                    .copy_from_slice(&(LAST_AND_COMPRESSED | len << 3).to_le_bytes()[..3]);
                frame[HEADERS_BYTES..].copy_from_slice(block);
                self.decode(frame, dst)
            }
        }
    }

    fn decode(&mut self, frame: &[u8], dst: &mut [u8]) -> Result<usize, Code> {
        let context = match self.context {
            Some(context) => context,
            None => {
                let context = self.set_up()?;
                *self.context.insert(context)
            }
        };
        // SAFETY: a live, exclusive (`&mut`) context; `dst` is writable and `frame` readable; the borrows do not
        // overlap. The library stays within them for any `frame`.
        check(unsafe {
            sys::ZSTD_decompressDCtx(
                context.as_ptr(),
                dst.as_mut_ptr().cast(),
                dst.len(),
                frame.as_ptr().cast(),
                frame.len(),
            )
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Fills `dictionary` with the segments that share most with the samples, and tables of symbols at `level`; returns
/// its length.
pub(crate) fn train(
    dictionary: &mut [u8],
    (samples, lengths): (&[u8], &[usize]),
    segment_bytes: u32,
    level: i32,
) -> Result<usize, Code> {
    assert_eq!(
        lengths.iter().sum::<usize>(),
        samples.len(),
        "the lengths are those of the samples"
    );
    let parameters = ZDICT_fastCover_params_t {
        k: segment_bytes,
        // Bytes compared at once; 6 is worse.
        d: 8,
        f: 0,
        steps: 0,
        nbThreads: 0,
        splitPoint: 0.0,
        accel: 0,
        shrinkDict: 0,
        shrinkDictMaxRegression: 0,
        zParams: ZDICT_params_t { compressionLevel: level, notificationLevel: 0, dictID: 0 },
    };
    let count = u32::try_from(lengths.len()).unwrap_or(u32::MAX);
    // SAFETY: `dictionary` is writable. The first `count` lengths sum to at most that of `samples`. The library
    // refuses parameters out of range.
    let trained = unsafe {
        sys::ZDICT_trainFromBuffer_fastCover(
            dictionary.as_mut_ptr().cast(),
            dictionary.len(),
            samples.as_ptr().cast(),
            lengths.as_ptr(),
            count,
            parameters,
        )
    };
    check(trained)
}

/// An error if the bytes are not a dictionary.
pub(crate) fn header_len(dictionary: &[u8]) -> Result<usize, Code> {
    // SAFETY: readable for their length.
    check(unsafe { sys::ZDICT_getDictHeaderSize(dictionary.as_ptr().cast(), dictionary.len()) })
}

#[cfg(test)]
mod tests {
    use pagefold_procfs::{Pagemap, Process};

    use super::*;
    use crate::CodecSpec;

    fn literals(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            b'a' + u8::try_from(state >> 60).expect("four bits")
        };
        (0..len).map(|_| next()).collect()
    }

    fn resident_bytes(decoder: &Decoder) -> usize {
        let start = decoder.place.addr().get() as u64;
        let map = Pagemap::open(Process::Current).expect("the own page map");
        let entries = map.read(start..start + full_bytes() as u64).expect("mapped");
        entries.iter().filter(|entry| entry.present()).count() * memory::page_bytes()
    }

    #[test]
    fn a_page_is_kept_as_its_block_and_other_things_with_headers() {
        let level = "zstd:1".parse::<CodecSpec>().map(|spec| match spec {
            CodecSpec::Zstd(level) => level,
            other => panic!("{other}"),
        });
        let mut encoder =
            Encoder::new(level.expect("a codec"), None).expect("known").expect("memory");
        let mut decoder = Decoder::several(1, None).expect("known").expect("memory").remove(0);
        let mut kept = vec![0; 70_000];
        let mut frame = vec![0; 70_000];
        for (input, headers) in [
            (literals(4096), false),
            (literals(100), false),
            (vec![7; 4096], false),
            (literals(5), true),
            (Vec::new(), true),
            (literals(20_000), true),
        ] {
            let len = encoder.compress(&input, &mut kept).expect("room");
            let frame_len = encoder.frame(&input, &mut frame).expect("room");
            assert_eq!(kept[0] == WITH_HEADERS, headers, "{} bytes", input.len());
            let expected = if headers { 1 + frame_len } else { frame_len - HEADERS_BYTES };
            assert_eq!(len, expected, "{} bytes", input.len());
            let mut back = vec![1; input.len() + 10];
            assert_eq!(decoder.decompress(&kept[..len], &mut back), Ok(input.len()));
            assert_eq!(back[..input.len()], input);
            assert!(decoder.decompress(&kept[..len - 1], &mut back).is_err() || len < 4);
        }
        assert_eq!(decoder.decompress(&[1; BARE_FRAME_MAX], &mut frame), Err(DAMAGED));
        assert_eq!(decoder.decompress(&[], &mut frame), Err(DAMAGED));
        assert_eq!(bare(&[0, 0x30, 0x0d, 0, 0, WITH_HEADERS]), None, "it would look like headers");
        assert_eq!(bare(&[0, 0x30, 0x0d, 0, 0, 1]), Some(&[1][..]));
        assert_eq!(bare(&[0, 0x30, 0x0c, 0, 0, 1]), None, "not the last block");
    }

    #[test]
    fn a_decoder_is_resident_as_far_as_it_says() {
        let spec: CodecSpec = "zstd:1".parse().expect("a codec");
        let codec = spec.build().expect("built");
        let mut decoders = Decoder::several(2, None).expect("known").expect("memory");
        assert_eq!(resident_bytes(&decoders[1]), 0, "not before it is used");
        for len in [1, 4096, 8192, 64 << 10] {
            for page in [literals(len), vec![7; len]] {
                let mut compressed = vec![0; len + 64];
                let compressed_len = codec.compress(&page, &mut compressed).expect("room");
                let mut back = vec![0; len];
                let decoder = &mut decoders[0];
                assert_eq!(decoder.decompress(&compressed[..compressed_len], &mut back), Ok(len));
                assert_eq!(back, page);
                assert_eq!(decoder.bytes(), decoder_bytes(len));
                let resident = resident_bytes(decoder);
                assert!(resident <= decoder.bytes(), "{resident} of {} at {len}", decoder.bytes());
            }
        }
        assert!(decoder_bytes(4096) <= full_bytes() / 2, "most of it is for longer objects");
    }
}
