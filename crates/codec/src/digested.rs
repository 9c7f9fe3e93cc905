//! A dictionary in zstd's working form, made once for all contexts of a codec.

use std::{ptr, ptr::NonNull, sync::Arc};

use pagefold_sys::sync::Mutex;
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

/// What encoders need of a dictionary.
///
/// # Invariants
/// The digest is live, refers only to `bytes`, and is never changed.
pub(crate) struct Tables {
    digest: NonNull<ZSTD_CDict>,
    bytes: Arc<[u8]>,
}

// SAFETY: zstd only reads digests, from any thread ("usage is read-only"); the last owner frees it.
unsafe impl Send for Tables {}
// SAFETY: as above.
unsafe impl Sync for Tables {}

impl Tables {
    /// `None` if zstd refuses the bytes or has no memory.
    fn new(bytes: &Arc<[u8]>, level: ZstdLevel, form: Form) -> Option<Self> {
        let memory =
            ZSTD_customMem { customAlloc: None, customFree: None, opaque: ptr::null_mut() };
        // SAFETY: the bytes are readable, and `Self` keeps them for longer than the digest. zstd refuses parameters out
        // of range.
        let digest = unsafe {
            sys::ZSTD_createCDict_advanced(
                bytes.as_ptr().cast(),
                bytes.len(),
                ZSTD_dictLoadMethod_e::ZSTD_dlm_byRef,
                ZSTD_dictContentType_e::ZSTD_dct_fullDict,
                parameters(level, bytes.len(), form),
                memory,
            )
        };
        // INVARIANT: it was made, by reference, from these bytes.
        Some(Self { digest: NonNull::new(digest)?, bytes: Arc::clone(bytes) })
    }

    pub(crate) fn pointer(&self) -> *const ZSTD_CDict {
        self.digest.as_ptr()
    }

    fn bytes(&self) -> usize {
        // SAFETY: the digest is live (invariant).
        unsafe { sys::ZSTD_sizeof_CDict(self.digest.as_ptr()) }
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        // SAFETY: live until here (invariant); a context refers to it only during a call that owns a part of `self`.
        unsafe { sys::ZSTD_freeCDict(self.digest.as_ptr()) };
    }
}

/// zstd's tables of a dictionary for one level. Those of encoders come back when they are asked for.
///
/// # Invariants
/// - `decode` is live, refers only to `bytes`, and is never changed.
/// - At most one `Tables` is alive: it goes from `encode` only while no encoder has it.
pub(crate) struct Digested {
    encode: Mutex<Option<Arc<Tables>>>,
    decode: NonNull<ZSTD_DDict>,
    bytes: Arc<[u8]>,
    checksum: u64,
    level: ZstdLevel,
    form: Form,
    /// Of `encode` when it is there.
    encode_bytes: usize,
}

// SAFETY: zstd only reads digests, from any thread ("usage is read-only"); the last owner frees them.
unsafe impl Send for Digested {}
// SAFETY: as above.
unsafe impl Sync for Digested {}

impl Digested {
    /// `None` if zstd refuses the bytes or has no memory.
    pub(crate) fn new(bytes: &Arc<[u8]>, level: ZstdLevel, form: Form) -> Option<Self> {
        let tables = Tables::new(bytes, level, form)?;
        let encode_bytes = tables.bytes();
        // SAFETY: the bytes are readable, and `Self` keeps them for longer than the digest.
        let decode =
            unsafe { sys::ZSTD_createDDict_byReference(bytes.as_ptr().cast(), bytes.len()) };
        Some(Self {
            encode: Mutex::new(Some(Arc::new(tables))),
            // INVARIANT: it was made, by reference, from these bytes.
            decode: NonNull::new(decode)?,
            bytes: Arc::clone(bytes),
            checksum: xxh3_64(bytes),
            level,
            form,
            encode_bytes,
        })
    }

    /// The bytes that are there now.
    pub(crate) fn bytes(&self) -> usize {
        let is_there = self.encode.lock().is_some();
        self.bytes_max() - if is_there { 0 } else { self.encode_bytes }
    }

    /// With the tables of encoders.
    pub(crate) fn bytes_max(&self) -> usize {
        // SAFETY: the digest is live (invariant).
        let decode = unsafe { sys::ZSTD_sizeof_DDict(self.decode.as_ptr()) };
        size_of::<Self>() + size_of::<Tables>() + self.encode_bytes + decode + self.bytes.len()
    }

    /// Whether the bytes are those from which this was made.
    pub(crate) fn is_intact(&self) -> bool {
        xxh3_64(&self.bytes) == self.checksum
    }

    #[cfg(test)]
    pub(crate) fn damage(&mut self, at: usize) {
        self.release_tables();
        Arc::get_mut(&mut self.bytes).expect("the only owner")[at] ^= 1;
    }

    /// The tables of encoders, made if need be. `None` without memory.
    pub(crate) fn tables(&self) -> Option<Arc<Tables>> {
        let mut encode = self.encode.lock();
        if encode.is_none() {
            *encode = Some(Arc::new(Tables::new(&self.bytes, self.level, self.form)?));
        }
        encode.clone()
    }

    /// Whether these are its tables.
    pub(crate) fn owns(&self, tables: &Tables) -> bool {
        Arc::ptr_eq(&self.bytes, &tables.bytes)
    }

    /// Frees the tables of encoders until they are asked for, unless an encoder has them.
    pub(crate) fn release_tables(&self) {
        // INVARIANT: under the lock a count of one stays one.
        drop(self.encode.lock().take_if(|tables| Arc::strong_count(tables) == 1));
    }

    pub(crate) fn decode(&self) -> *const ZSTD_DDict {
        self.decode.as_ptr()
    }
}

impl Drop for Digested {
    fn drop(&mut self) {
        // SAFETY: live until here (invariant); a context refers to it only during a call that borrows `self`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dictionary;

    #[test]
    fn tables_stay_while_a_call_has_them_and_there_is_one_of_them() {
        let level = ZstdLevel::new(12).expect("a level");
        let digested = Dictionary::built_in().digest(level, Form::Clusters).expect("made");
        let most = digested.bytes();
        assert_eq!(most, digested.bytes_max());
        let tables = digested.tables().expect("there");
        digested.release_tables();
        assert_eq!(digested.bytes(), most);
        assert!(Arc::ptr_eq(&tables, &digested.tables().expect("there")));
        drop(tables);
        digested.release_tables();
        assert!(digested.bytes() + (32 << 10) < most, "{} of {most}", digested.bytes());
        assert_eq!(digested.bytes_max(), most);
        assert_eq!(digested.tables().expect("made again").bytes(), digested.encode_bytes);
        assert_eq!(digested.bytes(), most);
    }
}
