//! The three functions of the lz4 C library that pagefold calls, behind a safe face. All unsafe code of lz4 is here.
//!
//! Compression works in a [`State`] of our own: the library's simpler calls put theirs, 16 KiB, on the stack. The crate
//! `lz4-sys` links the library but does not declare the calls with an external state, so they are declared here as in
//! `lz4.h`.

use std::ffi::{c_char, c_int, c_void};

use lz4_sys::LZ4_decompress_safe;

unsafe extern "C" {
    /// The bytes of a compression state.
    ///
    // SAFETY: takes nothing and returns a constant of the library.
    safe fn LZ4_sizeofState() -> c_int;

    /// Compresses `src_len` bytes to at most `dst_capacity`; 0 when they do not fit or `src_len` is out of range.
    /// Initialises the state first, so its content does not matter.
    fn LZ4_compress_fast_extState(
        state: *mut c_void,
        src: *const c_char,
        dst: *mut c_char,
        src_len: c_int,
        dst_capacity: c_int,
        acceleration: c_int,
    ) -> c_int;
}

/// The memory that one compression works in. Its content means nothing between calls.
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

    /// The memory of the state in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// Compresses `src` to the start of `dst`; `None` when it does not fit or is longer than lz4 takes (about 2 GiB).
    pub(crate) fn compress(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        let src_len = c_int::try_from(src.len()).ok()?;
        // A longer `dst` than the library can be told of counts as one of 2 GiB.
        let dst_capacity = c_int::try_from(dst.len()).unwrap_or(c_int::MAX);
        // SAFETY: `state` has the size and alignment that the library asks (invariant of `State`) and is not used by
        // anyone else (`&mut self`); `src` is readable for `src_len` bytes and `dst` writable for `dst_capacity`, and
        // they do not overlap (a shared and a mutable borrow). The library writes nothing beyond them.
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

/// Decompresses `src` to the start of `dst`; `None` when `src` is malformed or holds more than `dst` takes.
pub(crate) fn decompress(src: &[u8], dst: &mut [u8]) -> Option<usize> {
    let src_len = c_int::try_from(src.len()).ok()?;
    let dst_capacity = c_int::try_from(dst.len()).unwrap_or(c_int::MAX);
    // SAFETY: `src` is readable for `src_len` bytes and `dst` writable for `dst_capacity`, and they do not overlap (a
    // shared and a mutable borrow). This call of the library is made for untrusted input: it reads and writes
    // nothing beyond those lengths and answers malformed input with a negative number.
    let written = unsafe {
        LZ4_decompress_safe(src.as_ptr().cast(), dst.as_mut_ptr().cast(), src_len, dst_capacity)
    };
    usize::try_from(written).ok()
}
