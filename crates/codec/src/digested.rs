//! A dictionary as zstd works with it, made once for all contexts of a codec.

use zstd_safe::{CCtx, CDict, DCtx, DDict, ErrorCode};

use crate::{Dictionary, ZstdLevel};

/// Tables of a dictionary for one level, and what decoding needs of it.
///
/// Made in a box, so that it keeps its place and contexts can refer to it.
pub(crate) struct Digested {
    encode: CDict<'static>,
    decode: DDict<'static>,
}

impl Digested {
    /// `None`: zstd does not take it, or has no memory.
    pub(crate) fn new(dictionary: &Dictionary, level: ZstdLevel) -> Option<Box<Self>> {
        let bytes = dictionary.as_bytes();
        let encode = CDict::try_create(bytes, level.get())?;
        let decode = DDict::try_create(bytes)?;
        Some(Box::new(Self { encode, decode }))
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.encode.sizeof() + self.decode.sizeof()
    }

    /// Makes an encoder use it from now on.
    ///
    /// # Safety
    /// `self` keeps its place, and the encoder is dropped before `self` is or never used after.
    pub(crate) unsafe fn attach_encoder(
        &self,
        context: &mut CCtx<'static>,
    ) -> Result<(), ErrorCode> {
        // SAFETY: by this function's contract it keeps its place, and nobody uses the reference after it is gone; nothing
        // here changes it. zstd reads the tables only, so contexts may share them between threads.
        let encode: &'static CDict<'static> = unsafe { &*std::ptr::from_ref(&self.encode) };
        context.ref_cdict(encode).map(drop)
    }

    /// Makes a decoder use it from now on.
    ///
    /// # Safety
    /// As for [`attach_encoder`](Self::attach_encoder).
    pub(crate) unsafe fn attach_decoder(
        &self,
        context: &mut DCtx<'static>,
    ) -> Result<(), ErrorCode> {
        // SAFETY: as in `attach_encoder`.
        let decode: &'static DDict<'static> = unsafe { &*std::ptr::from_ref(&self.decode) };
        context.ref_ddict(decode).map(drop)
    }
}
