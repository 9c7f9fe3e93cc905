//! A dictionary in zstd's working form, made once for all contexts of a codec.

use std::{ptr, ptr::NonNull, sync::Arc};

use xxhash_rust::xxh3::xxh3_64;
use zstd_safe::zstd_sys::{
    self as sys, ZSTD_CDict, ZSTD_DDict, ZSTD_compressionParameters, ZSTD_customMem,
    ZSTD_dictContentType_e, ZSTD_dictLoadMethod_e, ZSTD_strategy,
};

use crate::{ZstdLevel, zstd_bindings::Form};

/// The shortest match. zstd's default for long inputs is 6; for pages 5 wins one percent.
const MATCH_MIN: u32 = 5;
/// The smallest hash table (log2 of entries of 4 bytes).
const HASH_LOG_MIN: u32 = 13;
/// Bytes of a dictionary for each hash-table entry (log2).
const BYTES_AN_ENTRY_LOG: u32 = 2;

/// The largest tables for clusters of 16 KiB at levels above 4 (log2 of entries of 4 bytes). zstd's own, which are up to
/// four times as large, win a thousandth.
const CLUSTER_HASH_LOG_MAX: u32 = 12;
const CLUSTER_CHAIN_LOG_MAX: u32 = 14;

/// zstd's tables of a dictionary for one level.
///
/// # Invariants
/// `encode` and `decode` are live, refer only to `bytes`, and are never changed.
pub(crate) struct Digested {
    encode: NonNull<ZSTD_CDict>,
    decode: NonNull<ZSTD_DDict>,
    bytes: Arc<[u8]>,
    checksum: u64,
}

// SAFETY: zstd only reads digests, from any thread ("usage is read-only"); the last owner frees them.
unsafe impl Send for Digested {}
// SAFETY: as above.
unsafe impl Sync for Digested {}

impl Digested {
    /// `None` if zstd refuses the bytes or has no memory.
    pub(crate) fn new(bytes: &Arc<[u8]>, level: ZstdLevel, form: Form) -> Option<Self> {
        let (start, len) = (bytes.as_ptr().cast(), bytes.len());
        let memory =
            ZSTD_customMem { customAlloc: None, customFree: None, opaque: ptr::null_mut() };
        // SAFETY: `start` is readable for `len` bytes, and `Self` keeps them for longer than the digest. zstd refuses
        // parameters out of range.
        let encode = unsafe {
            sys::ZSTD_createCDict_advanced(
                start,
                len,
                ZSTD_dictLoadMethod_e::ZSTD_dlm_byRef,
                ZSTD_dictContentType_e::ZSTD_dct_fullDict,
                parameters(level, len, form),
                memory,
            )
        };
        let encode = NonNull::new(encode)?;
        // SAFETY: as above.
        let decode = unsafe { sys::ZSTD_createDDict_byReference(start, len) };
        let Some(decode) = NonNull::new(decode) else {
            // SAFETY: just made; no other code has seen it.
            unsafe { sys::ZSTD_freeCDict(encode.as_ptr()) };
            return None;
        };
        // INVARIANT: both were made, by reference, from these bytes.
        Some(Self { encode, decode, bytes: Arc::clone(bytes), checksum: xxh3_64(bytes) })
    }

    pub(crate) fn bytes(&self) -> usize {
        // SAFETY: the digest is live (invariant).
        let encode = unsafe { sys::ZSTD_sizeof_CDict(self.encode.as_ptr()) };
        // SAFETY: as above.
        let decode = unsafe { sys::ZSTD_sizeof_DDict(self.decode.as_ptr()) };
        size_of::<Self>() + encode + decode + self.bytes.len()
    }

    /// Whether the bytes are those from which this was made.
    pub(crate) fn is_intact(&self) -> bool {
        xxh3_64(&self.bytes) == self.checksum
    }

    #[cfg(test)]
    pub(crate) fn damage(&mut self, at: usize) {
        Arc::get_mut(&mut self.bytes).expect("the only owner")[at] ^= 1;
    }

    pub(crate) fn encode(&self) -> *const ZSTD_CDict {
        self.encode.as_ptr()
    }

    pub(crate) fn decode(&self) -> *const ZSTD_DDict {
        self.decode.as_ptr()
    }
}

impl Drop for Digested {
    fn drop(&mut self) {
        // SAFETY: live until here (invariant); a context refers to it only during a call that borrows `self`.
        unsafe { sys::ZSTD_freeCDict(self.encode.as_ptr()) };
        // SAFETY: as above.
        unsafe { sys::ZSTD_freeDDict(self.decode.as_ptr()) };
    }
}

/// zstd's parameters for the level, adapted to pages and clusters. Decisions 0028 and 0059.
fn parameters(level: ZstdLevel, dictionary_bytes: usize, form: Form) -> ZSTD_compressionParameters {
    // SAFETY: a pure function of three numbers; 0 means inputs of unknown length.
    let mut parameters = unsafe { sys::ZSTD_getCParams(level.get(), 0, dictionary_bytes) };
    if matches!(parameters.strategy, ZSTD_strategy::ZSTD_fast | ZSTD_strategy::ZSTD_dfast) {
        let entries = dictionary_bytes.next_power_of_two() >> BYTES_AN_ENTRY_LOG;
        parameters.minMatch = MATCH_MIN;
        parameters.hashLog = entries.ilog2().max(HASH_LOG_MIN);
        // The second table of `dfast`; `fast` has none.
        parameters.chainLog = parameters.hashLog - 1;
    } else if form == Form::Clusters {
        parameters.hashLog = parameters.hashLog.min(CLUSTER_HASH_LOG_MAX);
        parameters.chainLog = parameters.chainLog.min(CLUSTER_CHAIN_LOG_MAX);
    }
    parameters
}
