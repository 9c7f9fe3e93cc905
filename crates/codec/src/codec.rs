//! The [`Codec`] trait: compress and decompress into bounded buffers, and count memory.
//!
//! `tests/codecs` runs one set of tests through every codec in the build.

use thiserror::Error;

/// Makes byte strings shorter and restores them. Usable as a trait object.
///
/// Tuned for inputs of up to 64 KiB; longer ones work, at a poorer ratio.
///
/// # Invariants
/// - [`decompress`](Self::decompress) restores what [`compress`](Self::compress) of the same codec wrote, byte for
///   byte, in any thread and with any value of the codec.
/// - The bytes depend on `src` and the length of `dst`, not on what the codec did before.
/// - Nothing outside `dst` is written, whatever `src` holds.
/// - A call that fails leaves the codec unchanged.
///
/// Memory safety does not depend on these: for a codec of unknown origin use [`checked_compress`] and its neighbours,
/// which turn a wrong length into a page that did not shrink, or an error.
///
/// [`checked_compress`]: crate::checked_compress
///
/// # Concurrency
/// Shared by reference; a call waits only while every context is in use, and there are at least twice as many as
/// processors. A call runs no foreign code, but it reads `src` and writes `dst`. If touching those can itself use the
/// same codec (a fault handler), enough threads at once could each have a context and wait for another. Copy such
/// memory first.
///
/// # Examples
/// A codec that keeps pages with a short beginning and zeros after it:
/// ```
/// use pagefold_codec::{Codec, CodecError, checked_compress, checked_decompress};
///
/// struct Beginning;
///
/// impl Codec for Beginning {
///     fn name(&self) -> &str {
///         "beginning"
///     }
///
///     fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
///         let len = src.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
///         dst.get_mut(..len)?.copy_from_slice(&src[..len]);
///         Some(len)
///     }
///
///     fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
///         let invalid = CodecError::Invalid { codec: "beginning", capacity: dst.len() };
///         let (head, tail) = dst.split_at_mut_checked(src.len()).ok_or(invalid)?;
///         head.copy_from_slice(src);
///         tail.fill(0);
///         Ok(dst.len())
///     }
///
///     fn metadata_bytes(&self) -> usize {
///         0
///     }
/// }
///
/// let mut page = [0; 4096];
/// page[..5].copy_from_slice(b"begin");
/// let mut compressed = [0; 2048];
/// let len = checked_compress(&Beginning, &page, &mut compressed).ok_or("it shrinks")?;
/// assert_eq!(len, 5);
/// let mut back = [1; 4096];
/// checked_decompress(&Beginning, &compressed[..len], &mut back)?;
/// assert_eq!(back, page);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Codec: Send + Sync {
    /// The codec's name, as [`CodecSpec`](crate::CodecSpec) parses it.
    fn name(&self) -> &str;

    /// Compresses all of `src` to the start of `dst` and returns the number of bytes written.
    ///
    /// `None` when the result does not fit into `dst` (`src` did not shrink enough), or when the codec got no memory to
    /// work in. The content of `dst` is then unspecified; the caller keeps the original. The length of `dst` may change
    /// which bytes are written, never their meaning.
    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize>;

    /// Decompresses all of `src` to the start of `dst` and returns the number of bytes written.
    ///
    /// Pass a `dst` of exactly the original length and check the returned length: damage may show as a shorter result,
    /// or as other bytes. Beyond the returned length, or after an error, the content of `dst` is unspecified. Allocates
    /// nothing.
    ///
    /// # Errors
    /// [`CodecError::Invalid`] when `src` is corrupt or truncated or holds more than `dst` takes.
    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError>;

    /// As [`decompress`](Self::decompress), but never waits for a context, so it suits a signal handler.
    ///
    /// The default is `decompress`, right for codecs that decompress without a context.
    ///
    /// # Errors
    /// [`TryCodecError::WouldBlock`] when every context is in use; otherwise as `decompress`.
    fn try_decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, TryCodecError> {
        Ok(self.decompress(src, dst)?)
    }

    /// The bytes of the codec's contexts that may be resident, given their use so far.
    ///
    /// Contexts may grow at their first use, and this number with them.
    fn metadata_bytes(&self) -> usize;

    /// The maximum of [`metadata_bytes`](Self::metadata_bytes) while no input is longer than `len` bytes. An owner with
    /// a budget charges this before the first use.
    ///
    /// The default is the present number, right for contexts that do not grow.
    fn metadata_bytes_max(&self, len: usize) -> usize {
        let _ = len;
        self.metadata_bytes()
    }

    /// Uses at most `count` contexts of each kind, at least one, until more are [added](Self::add_context). An owner
    /// with a budget calls it before the first use; it lowers [`metadata_bytes_max`](Self::metadata_bytes_max).
    ///
    /// The default does nothing, right for small contexts.
    fn limit_contexts(&self, count: usize) {
        let _ = count;
    }

    /// Whether a call found all contexts of its kind in use since one was last added, and the codec may have more.
    fn wants_context(&self) -> bool {
        false
    }

    /// What [`add_context`](Self::add_context) adds to [`metadata_bytes_max`](Self::metadata_bytes_max) of this length.
    fn context_bytes_max(&self, len: usize) -> usize {
        let _ = len;
        0
    }

    /// Makes one more context of each kind usable; returns whether there was one.
    fn add_context(&self) -> bool {
        false
    }
}

/// Why an object could not be decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The codec did not write these bytes, or the destination does not match the original.
    #[error(
        "not a {codec} object of at most {capacity} bytes: it is corrupt, truncated, or made from more than that"
    )]
    Invalid {
        /// The family of the codec, such as `lz4`, `zstd` or `raw`.
        codec: &'static str,
        /// The length of the destination in bytes.
        capacity: usize,
    },
    /// The object is well-formed but does not decode to the page's length.
    #[error(
        "the object decodes to {decoded} bytes and the page has {expected}: it is corrupt or belongs to another page"
    )]
    WrongLength {
        /// The length of the page in bytes.
        expected: usize,
        /// What the object holds, in bytes.
        decoded: usize,
    },
}

/// Why [`try_decompress`](Codec::try_decompress) failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TryCodecError {
    /// Every context of the codec is in use.
    #[error("every context of the codec is in use at this moment")]
    WouldBlock,
    /// As from [`decompress`](Codec::decompress).
    #[error(transparent)]
    Codec(#[from] CodecError),
}
