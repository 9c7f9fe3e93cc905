//! Encoding contexts of the zstd C library, and its training of dictionaries.

use std::{ffi::c_int, ptr, ptr::NonNull, sync::Arc};

use zstd_safe::zstd_sys::{
    self as sys, ZDICT_fastCover_params_t, ZDICT_params_t, ZSTD_CCtx, ZSTD_ParamSwitch_e,
    ZSTD_ResetDirective, ZSTD_cParameter, ZSTD_dictAttachPref_e, ZSTD_format_e,
};

use crate::{
    ZstdLevel,
    block_form::{self, BLOCK_BYTES},
    digested::{Digested, Tables},
    page_form::{self, HEADERS_BYTES, WINDOW_LOG_MAX, WITH_HEADERS},
};

pub(crate) type Code = usize;
/// `ZSTD_error_corruption_detected`.
pub(crate) const DAMAGED: Code = 20_usize.wrapping_neg();
/// `ZSTD_error_memory_allocation`.
const OUT_OF_MEMORY: Code = 64_usize.wrapping_neg();

pub(crate) fn check(code: Code) -> Result<usize, Code> {
    // SAFETY: a pure function of a number.
    let is_error = unsafe { sys::ZSTD_isError(code) };
    if is_error == 0 { Ok(code) } else { Err(code) }
}

/// How objects are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As in [`page_form`].
    Pages,
    /// As in [`block_form`].
    Clusters,
}

/// # Invariants
/// `context` is live and used by no other code. Between calls it refers to no dictionary.
pub(crate) struct Encoder {
    context: NonNull<ZSTD_CCtx>,
    form: Form,
    /// Of the last dictionary, so that a call takes no lock that all encoders share.
    tables: Option<Arc<Tables>>,
}

// SAFETY: a context is used through `&mut` only, and works in any thread.
unsafe impl Send for Encoder {}

impl Encoder {
    /// `Ok(None)` without memory.
    pub(crate) fn new(level: ZstdLevel, form: Form) -> Result<Option<Self>, Code> {
        // SAFETY: no arguments; returns a new context or null.
        let Some(context) = NonNull::new(unsafe { sys::ZSTD_createCCtx() }) else {
            return Ok(None);
        };
        // INVARIANT: new; it has no dictionary.
        let mut encoder = Self { context, form, tables: None };
        let magicless = ZSTD_format_e::ZSTD_f_zstd1_magicless as c_int;
        encoder.set(ZSTD_cParameter::ZSTD_c_compressionLevel, level.get())?;
        encoder.set(ZSTD_cParameter::ZSTD_c_windowLog, c_int::from(WINDOW_LOG_MAX))?;
        // `ZSTD_c_format`.
        encoder.set(ZSTD_cParameter::ZSTD_c_experimentalParam2, magicless)?;
        encoder.set(ZSTD_cParameter::ZSTD_c_contentSizeFlag, 0)?;
        encoder.set(ZSTD_cParameter::ZSTD_c_checksumFlag, 0)?;
        encoder.set(ZSTD_cParameter::ZSTD_c_dictIDFlag, 0)?;
        // `ZSTD_c_forceAttachDict`. Without it zstd copies the digest's tables for inputs above 8 KiB.
        let attach = ZSTD_dictAttachPref_e::ZSTD_dictForceAttach as c_int;
        encoder.set(ZSTD_cParameter::ZSTD_c_experimentalParam4, attach)?;
        if form == Form::Clusters {
            let block_bytes = c_int::try_from(BLOCK_BYTES).expect("a page");
            // `ZSTD_c_maxBlockSize`.
            encoder.set(ZSTD_cParameter::ZSTD_c_experimentalParam18, block_bytes)?;
            // `ZSTD_c_splitAfterSequences`: denser levels would divide a block.
            let never = ZSTD_ParamSwitch_e::ZSTD_ps_disable as c_int;
            encoder.set(ZSTD_cParameter::ZSTD_c_experimentalParam13, never)?;
        }
        Ok(Some(encoder))
    }

    fn set(&mut self, parameter: ZSTD_cParameter, value: c_int) -> Result<(), Code> {
        // SAFETY: a live context; the library refuses unknown parameters and values.
        check(unsafe { sys::ZSTD_CCtx_setParameter(self.context.as_ptr(), parameter, value) })
            .map(|_| ())
    }

    /// An error without memory, or if frame and headers do not fit.
    pub(crate) fn compress(
        &mut self,
        src: &[u8],
        dst: &mut [u8],
        dictionary: Option<&Digested>,
    ) -> Result<usize, Code> {
        match self.form {
            Form::Pages => self.page(src, dst, dictionary),
            Form::Clusters if src.is_empty() => Ok(0),
            Form::Clusters => {
                let len = self.frame(src, dst, dictionary)?;
                block_form::pack(&mut dst[..len], src.len().div_ceil(BLOCK_BYTES)).ok_or(DAMAGED)
            }
        }
    }

    fn page(
        &mut self,
        src: &[u8],
        dst: &mut [u8],
        dictionary: Option<&Digested>,
    ) -> Result<usize, Code> {
        let Some((first, rest)) = dst.split_first_mut() else { return Err(DAMAGED) };
        let len = self.frame(src, rest, dictionary)?;
        match page_form::bare(&rest[..len]).map(<[u8]>::len) {
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

    pub(crate) fn frame(
        &mut self,
        src: &[u8],
        dst: &mut [u8],
        dictionary: Option<&Digested>,
    ) -> Result<usize, Code> {
        let known = self.tables.take();
        let tables = match (dictionary, known) {
            (Some(dictionary), Some(known)) if dictionary.owns(&known) => Some(known),
            (Some(dictionary), _) => Some(dictionary.tables().ok_or(OUT_OF_MEMORY)?),
            (None, _) => None,
        };
        if let Some(tables) = &tables {
            // SAFETY: the tables live during this function, which ends the reference before it returns.
            unsafe { self.refer_to(tables.pointer()) }?;
        }
        // SAFETY: a live, exclusive (`&mut`) context; `dst` is writable and `src` readable; the borrows do not overlap.
        // The context refers to no dictionary (invariant) or to one that lives.
        let len = check(unsafe {
            sys::ZSTD_compress2(
                self.context.as_ptr(),
                dst.as_mut_ptr().cast(),
                dst.len(),
                src.as_ptr().cast(),
                src.len(),
            )
        });
        if tables.is_some() {
            // INVARIANT: no dictionary again. What the match finder still has of the digest's address, the next call
            // overwrites before it reads it, as it does with the address of `src`.
            // SAFETY: null is no dictionary.
            unsafe { self.refer_to(ptr::null()) }.expect("the session was reset");
        }
        self.tables = tables;
        len
    }

    /// As [`compress`](Self::compress) of a page, with a prefix, which must not begin as a dictionary does.
    pub(crate) fn compress_after(
        &mut self,
        prefix: &[u8],
        src: &[u8],
        dst: &mut [u8],
    ) -> Result<usize, Code> {
        let context = self.context.as_ptr();
        // A call that failed left a session open, in which the library takes no prefix.
        let session = ZSTD_ResetDirective::ZSTD_reset_session_only;
        // SAFETY: a live, exclusive (`&mut`) context.
        check(unsafe { sys::ZSTD_CCtx_reset(context, session) })?;
        // SAFETY: as above. `prefix` is readable during this function; the next frame, which ends in it, is the only one
        // that refers to it, and if there is none, the line below clears the reference.
        check(unsafe { sys::ZSTD_CCtx_refPrefix(context, prefix.as_ptr().cast(), prefix.len()) })?;
        let len = self.page(src, dst, None);
        // INVARIANT: no dictionary. A failure before the frame began would leave the prefix.
        // SAFETY: a live context; null is no dictionary.
        unsafe { self.refer_to(ptr::null()) }.expect("the session was reset");
        len
    }

    /// # Safety
    /// `dictionary` is null or lives until the next call.
    unsafe fn refer_to(&mut self, dictionary: *const sys::ZSTD_CDict) -> Result<(), Code> {
        let context = self.context.as_ptr();
        // A call that failed left a session open, in which the library takes no dictionary.
        let session = ZSTD_ResetDirective::ZSTD_reset_session_only;
        // SAFETY: a live, exclusive (`&mut`) context.
        check(unsafe { sys::ZSTD_CCtx_reset(context, session) })?;
        // SAFETY: as above; the caller keeps the dictionary.
        check(unsafe { sys::ZSTD_CCtx_refCDict(context, dictionary) }).map(|_| ())
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

/// How the segments of a dictionary are chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trainer {
    pub(crate) segment_bytes: u32,
    /// Entries of the table of frequencies (log2); 0 is the library's choice, 20.
    pub(crate) table_log: u32,
    /// The level whose symbols are counted for the tables.
    pub(crate) level: i32,
}

/// Fills `dictionary` with the segments that share most with the samples, and tables of symbols; returns its length.
pub(crate) fn train(
    dictionary: &mut [u8],
    (samples, lengths): (&[u8], &[usize]),
    trainer: Trainer,
) -> Result<usize, Code> {
    assert_eq!(
        lengths.iter().sum::<usize>(),
        samples.len(),
        "the lengths are those of the samples"
    );
    let parameters = ZDICT_fastCover_params_t {
        k: trainer.segment_bytes,
        // Bytes compared at once; 6 is worse.
        d: 8,
        f: trainer.table_log,
        steps: 0,
        nbThreads: 0,
        splitPoint: 0.0,
        accel: 1,
        shrinkDict: 0,
        shrinkDictMaxRegression: 0,
        zParams: ZDICT_params_t {
            compressionLevel: trainer.level,
            notificationLevel: 0,
            dictID: 0,
        },
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
