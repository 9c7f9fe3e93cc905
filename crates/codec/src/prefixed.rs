//! Pages compressed against another page, which is zstd's prefix.
//!
//! The form is that of `page_form`. A context refers to a prefix only during a call.

use std::{fmt, sync::Arc};

use zstd_safe::get_error_name;

use crate::{
    BuildCodecError, CodecError, CodecSpec, TryCodecError, ZstdLevel, zstd_bindings::Form,
    zstd_contexts::Contexts,
};

/// As the library reads a dictionary's first four bytes.
const DICTIONARY_MAGIC: [u8; 4] = 0xec30_a437_u32.to_le_bytes();

/// zstd with a prefix, for pages that share much with another one.
///
/// # Concurrency
/// As of a [`Codec`](crate::Codec): a call waits only while every context is in use.
///
/// # Examples
/// ```
/// use pagefold_codec::Prefixed;
///
/// let codec = Prefixed::new()?;
/// let base: [u8; 4096] = std::array::from_fn(|at| (at * at / 7) as u8);
/// let mut page = base;
/// page.rotate_left(100);
/// let mut compressed = [0; 4096];
/// let len = codec.compress(&base, &page, &mut compressed).ok_or("it shrinks")?;
/// assert!(len < 300, "{len}");
///
/// let mut back = [0; 4096];
/// assert_eq!(codec.decompress(&base, &compressed[..len], &mut back)?, 4096);
/// assert_eq!(back, page);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Prefixed {
    contexts: Arc<Contexts>,
}

impl fmt::Debug for Prefixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefixed").finish_non_exhaustive()
    }
}

impl Prefixed {
    /// Makes the codec, with contexts as [`Zstd`](crate::Zstd) has them.
    ///
    /// # Errors
    /// As of [`Zstd::new`](crate::Zstd::new).
    pub fn new() -> Result<Self, BuildCodecError> {
        let level = ZstdLevel::new(1).expect("a level");
        let codec = CodecSpec::Zstd(level);
        let refused = |code| BuildCodecError::Refused { codec, reason: get_error_name(code) };
        let contexts = Contexts::prefixed(level, Form::Pages).map_err(refused)?;
        let contexts = contexts.ok_or(BuildCodecError::OutOfMemory { codec })?;
        Ok(Self { contexts: Arc::new(contexts) })
    }

    /// Compresses `src` to the start of `dst`; returns the bytes written. `None` if `dst` is too short, without memory, or
    /// if the prefix begins as a dictionary of zstd does.
    pub fn compress(&self, prefix: &[u8], src: &[u8], dst: &mut [u8]) -> Option<usize> {
        if !can_be_prefix(prefix) {
            return None;
        }
        self.contexts.compress_after(prefix, src, dst)
    }

    /// Decompresses to the start of `dst`; returns the bytes written. Allocates nothing.
    ///
    /// # Errors
    /// [`CodecError::Invalid`]. Another prefix than that of `compress` may also restore other bytes.
    pub fn decompress(
        &self,
        prefix: &[u8],
        src: &[u8],
        dst: &mut [u8],
    ) -> Result<usize, CodecError> {
        let invalid = CodecError::Invalid { codec: "zstd", capacity: dst.len() };
        if !can_be_prefix(prefix) {
            return Err(invalid);
        }
        let decoded = self.contexts.decode(|decoder| decoder.decompress_after(prefix, src, dst));
        decoded.map_err(|_| invalid)
    }

    /// As [`decompress`](Self::decompress), but never waits for a context: a signal handler may call it.
    ///
    /// # Errors
    /// [`TryCodecError::WouldBlock`] when every context is in use; otherwise as `decompress`.
    pub fn try_decompress(
        &self,
        prefix: &[u8],
        src: &[u8],
        dst: &mut [u8],
    ) -> Result<usize, TryCodecError> {
        let invalid = CodecError::Invalid { codec: "zstd", capacity: dst.len() };
        if !can_be_prefix(prefix) {
            return Err(invalid.into());
        }
        let decode =
            |decoder: &mut crate::zstd_decoder::Decoder| decoder.decompress_after(prefix, src, dst);
        let decoded = self.contexts.try_decode(decode).ok_or(TryCodecError::WouldBlock)?;
        Ok(decoded.map_err(|_| invalid)?)
    }

    /// The most bytes that its contexts take for pages of at most `len` bytes.
    pub fn metadata_bytes_max(&self, len: usize) -> usize {
        self.contexts.bytes_max(len)
    }

    /// Bytes of contexts that may be resident now.
    pub fn metadata_bytes(&self) -> usize {
        self.contexts.bytes()
    }

    /// As [`Codec::limit_contexts`](crate::Codec::limit_contexts).
    pub fn limit_contexts(&self, count: usize) {
        self.contexts.limit(count);
    }

    /// As [`Codec::release_contexts`](crate::Codec::release_contexts).
    pub fn release_contexts(&self) {
        self.contexts.release();
    }
}

/// The library would read it as a dictionary with tables.
fn can_be_prefix(prefix: &[u8]) -> bool {
    !prefix.starts_with(&DICTIONARY_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(seed: u64) -> [u8; 4096] {
        let mut state = seed;
        std::array::from_fn(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56).to_le_bytes()[0]
        })
    }

    #[test]
    fn what_a_prefix_made_comes_back_with_it_and_not_without() {
        let codec = Prefixed::new().expect("built");
        let (base, mut out, mut back) = (page(1), [0; 4096], [0; 4096]);
        let mut moved = base;
        moved.copy_within(0..3000, 1000);
        let len = codec.compress(&base, &moved, &mut out).expect("it shrinks");
        assert!(len < 200, "{len}");
        assert_eq!(codec.decompress(&base, &out[..len], &mut back), Ok(4096));
        assert!(back == moved);
        assert_eq!(codec.try_decompress(&base, &out[..len], &mut back), Ok(4096));
        let other = codec.decompress(&page(2), &out[..len], &mut back);
        assert!(other.is_err() || back != moved);
        assert!(codec.decompress(&base[..100], &out[..len], &mut back).is_err());
        assert!(codec.decompress(&base, &out[..len], &mut [0; 100]).is_err());
        // After failed calls, of both kinds.
        assert_eq!(codec.compress(&base, &moved, &mut [0; 10]), None);
        let len = codec.compress(&base, &moved, &mut out).expect("it shrinks");
        assert_eq!(codec.decompress(&base, &out[..len], &mut back), Ok(4096));
        assert!(back == moved);
        assert_eq!(codec.compress(&base, &page(3), &mut [0; 3840]), None, "nothing in common");
    }

    #[test]
    fn a_prefix_that_looks_like_a_dictionary_is_refused() {
        let codec = Prefixed::new().expect("built");
        let mut base = page(1);
        base[..4].copy_from_slice(&DICTIONARY_MAGIC);
        assert_eq!(codec.compress(&base, &base, &mut [0; 4096]), None);
        assert!(codec.decompress(&base, &[1, 2, 3], &mut [0; 4096]).is_err());
    }

    #[test]
    fn contexts_take_no_more_than_they_say() {
        let codec = Prefixed::new().expect("built");
        let mut out = [0; 4200];
        for seed in 0..20 {
            let (base, mut near) = (page(seed), page(seed));
            near.rotate_left(usize::try_from(seed).expect("small"));
            for other in [near, [7; 4096], page(seed + 100)] {
                let len = codec.compress(&base, &other, &mut out).expect("room");
                codec.decompress(&base, &out[..len], &mut [0; 4096]).expect("its own");
                let (now, most) = (codec.metadata_bytes(), codec.metadata_bytes_max(4096));
                assert!(now <= most, "{now} of {most}");
            }
        }
    }
}
