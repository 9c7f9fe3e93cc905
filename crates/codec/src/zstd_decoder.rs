//! Decoding contexts of the zstd C library.
//!
//! Two thirds of a decoder are a literals buffer that a page never fills. Each decoder has its own system pages, so the
//! unused part is not resident.

use std::{ffi::c_int, ptr, ptr::NonNull, sync::Arc};

use pagefold_sys::memory::{self, CoreDump, Reservation};
use zstd_safe::zstd_sys::{self as sys, ZSTD_DCtx, ZSTD_DDict, ZSTD_dParameter, ZSTD_format_e};

use crate::{
    block_form::{self, BLOCK_BYTES, Block},
    digested::Digested,
    page_form::{self, BARE_FRAME_MAX, HEADERS_BYTES, WITH_HEADERS},
    zstd_bindings::{Code, DAMAGED, check},
};

/// The bundled library's literals buffer, used up to the destination's length.
const LITERALS_BYTES: usize = 64 << 10;

struct DecoderMemory(Reservation);

impl Drop for DecoderMemory {
    fn drop(&mut self) {
        // SAFETY: from `memory::reserve`, dropped once; every decoder in it shares `self`.
        unsafe { memory::release(self.0) };
    }
}

/// # Invariants
/// `place` is [`full_bytes`] of `memory` for the context, then [`BARE_FRAME_MAX`] to restore a frame in; no other code
/// uses them. `context` lies in the former.
pub(crate) struct Decoder {
    place: NonNull<u8>,
    context: Option<NonNull<ZSTD_DCtx>>,
    /// Bytes that may be resident.
    bytes: usize,
    memory: Arc<DecoderMemory>,
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

/// Null means no dictionary.
fn pointer(dictionary: Option<&Digested>) -> *const ZSTD_DDict {
    dictionary.map_or(ptr::null(), Digested::decode)
}

impl Decoder {
    /// Makes `count` decoders, none resident. `Ok(None)` without memory.
    pub(crate) fn several(count: usize) -> Result<Option<Vec<Self>>, Code> {
        let mut probe = Self::reserve(1).unwrap_or_default();
        let Some(decoder) = probe.first_mut() else { return Ok(None) };
        decoder.set_up()?;
        Ok(Self::reserve(count))
    }

    fn reserve(count: usize) -> Option<Vec<Self>> {
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
            memory: Arc::clone(&memory),
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
        Ok(context)
    }

    fn context(&mut self) -> Result<NonNull<ZSTD_DCtx>, Code> {
        match self.context {
            Some(context) => Ok(context),
            None => {
                let context = self.set_up()?;
                Ok(*self.context.insert(context))
            }
        }
    }

    /// Allocates nothing.
    pub(crate) fn decompress(
        &mut self,
        src: &[u8],
        dst: &mut [u8],
        dictionary: Option<&Digested>,
    ) -> Result<usize, Code> {
        self.framed(src, dst, |decoder, frame, dst| decoder.decode(frame, dst, dictionary))
    }

    /// As [`decompress`](Self::decompress), with a prefix, which must not begin as a dictionary does: the library would
    /// take memory for its tables.
    pub(crate) fn decompress_after(
        &mut self,
        prefix: &[u8],
        src: &[u8],
        dst: &mut [u8],
    ) -> Result<usize, Code> {
        self.framed(src, dst, |decoder, frame, dst| {
            let context = decoder.context()?;
            // SAFETY: a live, exclusive (`&mut`) context; `dst` is writable, `frame` and `prefix` are readable; the
            // borrows do not overlap. The library stays within them for any `frame`. The prefix lives during the call,
            // and the next call begins by resetting each pointer that the context has into it.
            check(unsafe {
                sys::ZSTD_decompress_usingDict(
                    context.as_ptr(),
                    dst.as_mut_ptr().cast(),
                    dst.len(),
                    frame.as_ptr().cast(),
                    frame.len(),
                    prefix.as_ptr().cast(),
                    prefix.len(),
                )
            })
        })
    }

    /// Calls `decode` with the frame of an object.
    fn framed(
        &mut self,
        src: &[u8],
        dst: &mut [u8],
        decode: impl FnOnce(&mut Self, &[u8], &mut [u8]) -> Result<usize, Code>,
    ) -> Result<usize, Code> {
        self.bytes = self.bytes.max(decoder_bytes(dst.len()));
        match src {
            [] => Err(DAMAGED),
            [WITH_HEADERS, frame @ ..] => decode(self, frame, dst),
            block if block.len() > BARE_FRAME_MAX - HEADERS_BYTES => Err(DAMAGED),
            block => {
                // SAFETY: `BARE_FRAME_MAX` bytes after the context are this decoder's (invariant).
                let start = unsafe { self.place.add(full_bytes()) }.as_ptr();
                // SAFETY: as above, exclusive (`&mut`), at most `BARE_FRAME_MAX`, initialised: the system gave zeros.
                let frame =
                    unsafe { std::slice::from_raw_parts_mut(start, HEADERS_BYTES + block.len()) };
                page_form::write_frame(block, frame);
                decode(self, frame, dst)
            }
        }
    }

    fn decode(
        &mut self,
        frame: &[u8],
        dst: &mut [u8],
        dictionary: Option<&Digested>,
    ) -> Result<usize, Code> {
        let context = self.context()?;
        // SAFETY: a live, exclusive (`&mut`) context; `dst` is writable and `frame` readable; the borrows do not
        // overlap. The library stays within them for any `frame`. The dictionary lives during the call, and the next
        // call begins by resetting each pointer that the context has into it.
        check(unsafe {
            sys::ZSTD_decompress_usingDDict(
                context.as_ptr(),
                dst.as_mut_ptr().cast(),
                dst.len(),
                frame.as_ptr().cast(),
                frame.len(),
                pointer(dictionary),
            )
        })
    }

    /// Restores blocks until `wanted` bytes are there, or the end; returns the bytes restored. Allocates nothing.
    pub(crate) fn decompress_blocks(
        &mut self,
        mut src: &[u8],
        dst: &mut [u8],
        wanted: usize,
        dictionary: Option<&Digested>,
    ) -> Result<usize, Code> {
        self.bytes = self.bytes.max(decoder_bytes(dst.len().min(BLOCK_BYTES)));
        let context = self.context()?;
        // SAFETY: a live, exclusive (`&mut`) context; the dictionary lives until this function returns, and each later
        // call begins by resetting each pointer that the context has into it.
        check(unsafe {
            sys::ZSTD_decompressBegin_usingDDict(context.as_ptr(), pointer(dictionary))
        })?;
        let (start, len) = (dst.as_mut_ptr(), dst.len());
        let wanted = wanted.min(len);
        let mut restored = 0;
        while restored < wanted {
            let room = BLOCK_BYTES.min(len - restored);
            let (block, rest) = block_form::split_first(src).ok_or(DAMAGED)?;
            // SAFETY: `restored` is less than `len`, the bytes of `dst`.
            let next = unsafe { start.add(restored) };
            // SAFETY: the context has begun, and every block so far was restored to the bytes from `start` to `next`,
            // which nothing else has touched (`dst` is borrowed and unused). `room` more bytes are writable.
            let block_len = unsafe { restore(context, block, next, room) }?;
            restored += block_len;
            src = rest;
            if block_len != room {
                return if src.is_empty() { Ok(restored) } else { Err(DAMAGED) };
            }
        }
        if restored == len && !src.is_empty() { Err(DAMAGED) } else { Ok(restored) }
    }

    /// Gives the memory back to the system; the next call sets the context up anew.
    pub(crate) fn release(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let bytes = full_bytes() + BARE_FRAME_MAX.next_multiple_of(memory::page_bytes());
        let start = self.place.addr().get() - self.memory.0.base().addr().get();
        // INVARIANT: no context lies in what reads as zero.
        self.context = None;
        // SAFETY: this decoder's own memory (invariant), exclusive (`&mut`), and nothing refers to it any more.
        let released = unsafe {
            memory::decommit(&self.memory.0, std::slice::from_ref(&(start..start + bytes)))
        };
        if released.is_ok() {
            self.bytes = 0;
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Restores one block to `dst`; returns its length, at most `room`.
///
/// # Safety
/// `context` is live and used by no other code. It began after the last frame, and the blocks since then were restored
/// by this function, each directly behind the one before, `dst` behind the last; their bytes are as they were restored.
/// `dst` is writable for `room` bytes, at most [`BLOCK_BYTES`], and does not overlap `block`.
unsafe fn restore(
    context: NonNull<ZSTD_DCtx>,
    block: Block<'_>,
    dst: *mut u8,
    room: usize,
) -> Result<usize, Code> {
    let len = match block {
        Block::Compressed(bytes) => {
            // SAFETY: `zstd.h` asks for a context that began, for the earlier blocks where they were restored, and for
            // at most 128 KiB of output, of which `room` is a part (caller). The library reads `bytes` and those
            // blocks, and writes at most `room` bytes; it refuses other bytes than those of a block.
            return check(unsafe {
                sys::ZSTD_decompressBlock(
                    context.as_ptr(),
                    dst.cast(),
                    room,
                    bytes.as_ptr().cast(),
                    bytes.len(),
                )
            });
        }
        Block::Raw(bytes) if bytes.len() <= room => {
            // SAFETY: `bytes.len()` bytes are readable, and writable at `dst` (caller); they do not overlap.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), dst, bytes.len()) };
            bytes.len()
        }
        Block::Repeated { byte, len } if len <= room => {
            // SAFETY: `len` bytes are writable (caller).
            unsafe { ptr::write_bytes(dst, byte, len) };
            len
        }
        Block::Raw(_) | Block::Repeated { .. } => return Err(DAMAGED),
    };
    // SAFETY: a context that began (caller); it only notes where these bytes lie, so that later blocks may refer to them.
    check(unsafe { sys::ZSTD_insertBlock(context.as_ptr(), dst.cast(), len) })
}

#[cfg(test)]
mod tests {
    use pagefold_procfs::{Pagemap, Process};

    use super::*;
    use crate::{
        CodecSpec,
        zstd_bindings::{Encoder, Form},
    };

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
            Encoder::new(level.expect("a codec"), Form::Pages).expect("known").expect("memory");
        let mut decoder = Decoder::several(1).expect("known").expect("memory").remove(0);
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
            let len = encoder.compress(&input, &mut kept, None).expect("room");
            let frame_len = encoder.frame(&input, &mut frame, None).expect("room");
            assert_eq!(kept[0] == WITH_HEADERS, headers, "{} bytes", input.len());
            let expected = if headers { 1 + frame_len } else { frame_len - HEADERS_BYTES };
            assert_eq!(len, expected, "{} bytes", input.len());
            let mut back = vec![1; input.len() + 10];
            assert_eq!(decoder.decompress(&kept[..len], &mut back, None), Ok(input.len()));
            assert_eq!(back[..input.len()], input);
            assert!(decoder.decompress(&kept[..len - 1], &mut back, None).is_err() || len < 4);
        }
        assert_eq!(decoder.decompress(&[1; BARE_FRAME_MAX], &mut frame, None), Err(DAMAGED));
        assert_eq!(decoder.decompress(&[], &mut frame, None), Err(DAMAGED));
    }

    #[test]
    fn a_decoder_is_resident_as_far_as_it_says() {
        let spec: CodecSpec = "zstd:1".parse().expect("a codec");
        let codec = spec.build().expect("built");
        let mut decoders = Decoder::several(2).expect("known").expect("memory");
        assert_eq!(resident_bytes(&decoders[1]), 0, "not before it is used");
        for len in [1, 4096, 8192, 64 << 10] {
            for page in [literals(len), vec![7; len]] {
                let mut compressed = vec![0; len + 64];
                let compressed_len = codec.compress(&page, &mut compressed).expect("room");
                let mut back = vec![0; len];
                let decoder = &mut decoders[0];
                assert_eq!(
                    decoder.decompress(&compressed[..compressed_len], &mut back, None),
                    Ok(len)
                );
                assert_eq!(back, page);
                assert_eq!(decoder.bytes(), decoder_bytes(len));
                let resident = resident_bytes(decoder);
                assert!(resident <= decoder.bytes(), "{resident} of {} at {len}", decoder.bytes());
            }
        }
        decoders[0].release();
        assert_eq!((decoders[0].bytes(), resident_bytes(&decoders[0])), (0, 0), "it rests");
        let (mut compressed, mut back) = ([0; 4200], [0; 4096]);
        let page = literals(4096);
        let len = codec.compress(&page, &mut compressed).expect("room");
        assert_eq!(decoders[0].decompress(&compressed[..len], &mut back, None), Ok(4096));
        assert!(back == page[..] && decoders[0].bytes() == decoder_bytes(4096));
        assert!(decoder_bytes(4096) <= full_bytes() / 2, "most of it is for longer objects");
    }
}
