//! The calls into the lz4 C library. All unsafe code of lz4 is here.
//!
//! Compression works in a [`State`]: the library's simpler calls put 16 KiB on the stack. `lz4-sys` does not declare
//! the calls with an external state, so they are declared here as in `lz4.h`.

use std::ffi::{c_char, c_int, c_void};

use lz4_sys::LZ4_decompress_safe;

unsafe extern "C" {
    // SAFETY: takes nothing and returns a constant of the library.
    safe fn LZ4_sizeofState() -> c_int;

    /// 0 if the output does not fit or `src_len` is out of range. Initialises the state first.
    fn LZ4_compress_fast_extState(
        state: *mut c_void,
        src: *const c_char,
        dst: *mut c_char,
        src_len: c_int,
        dst_capacity: c_int,
        acceleration: c_int,
    ) -> c_int;

    /// Stops at `target_len` restored bytes. Negative for malformed input before that.
    fn LZ4_decompress_safe_partial(
        src: *const c_char,
        dst: *mut c_char,
        src_len: c_int,
        target_len: c_int,
        dst_capacity: c_int,
    ) -> c_int;
}

/// Working memory of one compression.
///
/// # Invariants
/// At least `LZ4_sizeofState()` bytes, aligned to 8 as the library asks.
#[derive(Debug)]
pub(crate) struct State(Box<[u64]>);

impl State {
    pub(crate) fn new() -> Self {
        let bytes = usize::try_from(LZ4_sizeofState())
            .expect("the library's state has a size of about 16 KiB");
        // INVARIANT: rounded up to whole words; a `u64` is aligned to 8.
        Self(vec![0; bytes.div_ceil(size_of::<u64>())].into_boxed_slice())
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// `None` if the output does not fit or `src` is too long for lz4 (about 2 GiB).
    pub(crate) fn compress(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        let src_len = c_int::try_from(src.len()).ok()?;
        let dst_capacity = c_int::try_from(dst.len()).unwrap_or(c_int::MAX);
        // SAFETY: `state` has the required size and alignment (invariant of `State`) and no other user (`&mut self`).
        // `src` is readable for `src_len` bytes, `dst` writable for `dst_capacity`; the borrows do not overlap. The
        // library writes nothing beyond them.
        let written = unsafe {
            LZ4_compress_fast_extState(
                self.0.as_mut_ptr().cast(),
                src.as_ptr().cast(),
                dst.as_mut_ptr().cast(),
                src_len,
                dst_capacity,
                1,
            )
        };
        usize::try_from(written).ok().filter(|&len| len > 0)
    }
}

/// `None` if `src` is malformed or too long for `dst`.
pub(crate) fn decompress(src: &[u8], dst: &mut [u8]) -> Option<usize> {
    let src_len = c_int::try_from(src.len()).ok()?;
    let dst_capacity = c_int::try_from(dst.len()).unwrap_or(c_int::MAX);
    // SAFETY: `src` is readable for `src_len` bytes, `dst` writable for `dst_capacity`; the borrows do not overlap. The
    // library stays within these lengths for any input and returns a negative number for a malformed one.
    let written = unsafe {
        LZ4_decompress_safe(src.as_ptr().cast(), dst.as_mut_ptr().cast(), src_len, dst_capacity)
    };
    usize::try_from(written).ok()
}

/// Restores the first `wanted` bytes, or all; returns how many. `None` if `src` is malformed up to there.
pub(crate) fn decompress_start(src: &[u8], dst: &mut [u8], wanted: usize) -> Option<usize> {
    let src_len = c_int::try_from(src.len()).ok()?;
    let dst_capacity = c_int::try_from(dst.len()).unwrap_or(c_int::MAX);
    let wanted = c_int::try_from(wanted).unwrap_or(c_int::MAX);
    // SAFETY: as for `LZ4_decompress_safe`; the library also takes the lesser of `wanted` and `dst_capacity`.
    let written = unsafe {
        LZ4_decompress_safe_partial(
            src.as_ptr().cast(),
            dst.as_mut_ptr().cast(),
            src_len,
            wanted,
            dst_capacity,
        )
    };
    usize::try_from(written).ok()
}
