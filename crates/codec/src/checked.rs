//! Checks the answers of a codec that the program supplies.

use crate::{Codec, CodecError, TryCodecError};

/// [`Codec::compress`], with `None` for an impossible length: beyond `dst`, or 0 for a `src` that is not empty.
///
/// # Examples
/// ```
/// use pagefold_codec::{Raw, checked_compress};
///
/// assert_eq!(checked_compress(&Raw, b"bytes", &mut [0; 8]), Some(5));
/// ```
pub fn checked_compress(codec: &dyn Codec, src: &[u8], dst: &mut [u8]) -> Option<usize> {
    let len = codec.compress(src, dst)?;
    let can_be = len <= dst.len() && (len > 0 || src.is_empty());
    can_be.then_some(len)
}

/// [`Codec::decompress`] to exactly the length of `dst`.
///
/// # Errors
/// The codec's own, and [`CodecError::WrongLength`].
pub fn checked_decompress(codec: &dyn Codec, src: &[u8], dst: &mut [u8]) -> Result<(), CodecError> {
    expect_len(dst.len(), codec.decompress(src, dst)?)
}

/// [`Codec::try_decompress`] to exactly the length of `dst`.
///
/// # Errors
/// The codec's own, and [`CodecError::WrongLength`].
pub fn checked_try_decompress(
    codec: &dyn Codec,
    src: &[u8],
    dst: &mut [u8],
) -> Result<(), TryCodecError> {
    Ok(expect_len(dst.len(), codec.try_decompress(src, dst)?)?)
}

pub(crate) fn expect_len(expected: usize, decoded: usize) -> Result<(), CodecError> {
    if decoded == expected { Ok(()) } else { Err(CodecError::WrongLength { expected, decoded }) }
}

/// The larger of [`Codec::metadata_bytes_max`] and [`Codec::metadata_bytes`]. `None` above `isize::MAX`, so two such
/// numbers can be added.
pub fn checked_metadata_bytes_max(codec: &dyn Codec, len: usize) -> Option<usize> {
    let bytes = codec.metadata_bytes_max(len).max(codec.metadata_bytes());
    isize::try_from(bytes).is_ok().then_some(bytes)
}
