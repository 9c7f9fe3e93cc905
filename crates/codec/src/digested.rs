//! A dictionary in zstd's working form, made once for all contexts of a codec.
//!
//! Both digests refer to the bytes of the [`Dictionary`](crate::Dictionary), which all codecs made of it share.

use std::{ptr, ptr::NonNull, sync::Arc};

use zstd_safe::zstd_sys::{
    self as sys, ZSTD_CDict, ZSTD_DDict, ZSTD_compressionParameters, ZSTD_customMem,
    ZSTD_dictContentType_e, ZSTD_dictLoadMethod_e, ZSTD_strategy,
};

use crate::ZstdLevel;

/// The shortest match to search for. zstd takes 6 for a dictionary of 64 KiB, for inputs as long; pages are shorter,
/// and 5 wins one percent.
const MATCH_MIN: u32 = 5;
/// The smallest hash table of a dictionary, as a power of two of entries of 4 bytes; below it matches are lost.
const HASH_LOG_MIN: u32 = 13;
/// Bytes of a dictionary for each entry of its hash table, as a power of two. A larger table wins less than it takes.
const BYTES_AN_ENTRY_LOG: u32 = 2;

/// Tables of a dictionary for one level, and what decoding needs of it.
///
/// # Invariants
/// `encode` and `decode` are live, refer to `bytes` and nothing else, and are never changed.
pub(crate) struct Digested {
    encode: NonNull<ZSTD_CDict>,
    decode: NonNull<ZSTD_DDict>,
    bytes: Arc<[u8]>,
}

// SAFETY: zstd reads digests only, from any thread ("usage is read-only"); the last owner frees them.
unsafe impl Send for Digested {}
// SAFETY: as above.
unsafe impl Sync for Digested {}

impl Digested {
    /// `None` if zstd refuses the bytes or has no memory.
    pub(crate) fn new(bytes: &Arc<[u8]>, level: ZstdLevel) -> Option<Self> {
        let (start, len) = (bytes.as_ptr().cast(), bytes.len());
        let memory =
            ZSTD_customMem { customAlloc: None, customFree: None, opaque: ptr::null_mut() };
        // SAFETY: `start` is readable for `len` bytes, which `Self` keeps for longer than the digest. Parameters out of
        // range are refused; the memory is the library's own.
        let encode = unsafe {
            sys::ZSTD_createCDict_advanced(
                start,
                len,
                ZSTD_dictLoadMethod_e::ZSTD_dlm_byRef,
                ZSTD_dictContentType_e::ZSTD_dct_fullDict,
                parameters(level, len),
                memory,
            )
        };
        let encode = NonNull::new(encode)?;
        // SAFETY: as above.
        let decode = unsafe { sys::ZSTD_createDDict_byReference(start, len) };
        let Some(decode) = NonNull::new(decode) else {
            // SAFETY: it was just made, and no other code has seen it.
            unsafe { sys::ZSTD_freeCDict(encode.as_ptr()) };
            return None;
        };
        // INVARIANT: both were made, by reference, from these bytes.
        Some(Self { encode, decode, bytes: Arc::clone(bytes) })
    }

    /// Tables, and the dictionary itself.
    pub(crate) fn bytes(&self) -> usize {
        // SAFETY: the digest is live (invariant).
        let encode = unsafe { sys::ZSTD_sizeof_CDict(self.encode.as_ptr()) };
        // SAFETY: as above.
        let decode = unsafe { sys::ZSTD_sizeof_DDict(self.decode.as_ptr()) };
        size_of::<Self>() + encode + decode + self.bytes.len()
    }

    /// For an encoder that keeps this value as long as it refers to the digest.
    pub(crate) fn encode(&self) -> *const ZSTD_CDict {
        self.encode.as_ptr()
    }

    /// For a decoder that keeps this value as long as it refers to the digest.
    pub(crate) fn decode(&self) -> *const ZSTD_DDict {
        self.decode.as_ptr()
    }
}

impl Drop for Digested {
    fn drop(&mut self) {
        // SAFETY: live until here (invariant), and each reference to it owns a share of this value.
        unsafe { sys::ZSTD_freeCDict(self.encode.as_ptr()) };
        // SAFETY: as above.
        unsafe { sys::ZSTD_freeDDict(self.decode.as_ptr()) };
    }
}

/// zstd's parameters for the level, with tables for pages beside a dictionary (`docs/decisions/0028`).
fn parameters(level: ZstdLevel, dictionary_bytes: usize) -> ZSTD_compressionParameters {
    // SAFETY: a pure function of three numbers; 0 says that the length of the inputs is not known.
    let mut parameters = unsafe { sys::ZSTD_getCParams(level.get(), 0, dictionary_bytes) };
    if matches!(parameters.strategy, ZSTD_strategy::ZSTD_fast | ZSTD_strategy::ZSTD_dfast) {
        let entries = dictionary_bytes.next_power_of_two() >> BYTES_AN_ENTRY_LOG;
        parameters.minMatch = MATCH_MIN;
        parameters.hashLog = entries.ilog2().max(HASH_LOG_MIN);
        // The second table of the strategy with two; the one with one has none.
        parameters.chainLog = parameters.hashLog - 1;
    }
    parameters
}
