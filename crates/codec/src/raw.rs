//! The codec that copies.

use crate::{Codec, CodecError, TryCodecError};

/// Copies. The output is as long as the input.
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw;

impl Codec for Raw {
    fn name(&self) -> &str {
        "raw"
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        dst.get_mut(..src.len())?.copy_from_slice(src);
        Some(src.len())
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        let capacity = dst.len();
        let target =
            dst.get_mut(..src.len()).ok_or(CodecError::Invalid { codec: "raw", capacity })?;
        target.copy_from_slice(src);
        Ok(src.len())
    }

    fn decompress_start(
        &self,
        src: &[u8],
        dst: &mut [u8],
        wanted: usize,
    ) -> Result<usize, CodecError> {
        if wanted >= dst.len() {
            return self.decompress(src, dst);
        }
        self.decompress(&src[..wanted.min(src.len())], dst)
    }

    fn try_decompress_start(
        &self,
        src: &[u8],
        dst: &mut [u8],
        wanted: usize,
    ) -> Result<usize, TryCodecError> {
        Ok(self.decompress_start(src, dst, wanted)?)
    }

    fn metadata_bytes(&self) -> usize {
        0
    }
}
