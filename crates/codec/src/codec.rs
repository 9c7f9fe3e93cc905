//! The [`Codec`] trait, tested in `tests/codecs`.

use thiserror::Error;

/// Compresses byte strings of up to 64 KiB (longer ones work) and restores them.
///
/// # Invariants
/// - [`decompress`](Self::decompress) restores what [`compress`](Self::compress) wrote, in any value of the codec.
/// - The bytes depend only on `src` and the length of `dst`.
/// - A failed call leaves the codec unchanged.
///
/// Memory safety needs none of these. [`checked_compress`] and its neighbours suit an unknown codec.
///
/// [`checked_compress`]: crate::checked_compress
///
/// # Concurrency
/// A call waits only while every context is in use. If touching `src` or `dst` can itself use the codec (a fault
/// handler), copy it first, or threads may wait for each other.
///
/// # Examples
/// A codec that cuts off trailing zeros:
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
    /// The name, as [`CodecSpec`](crate::CodecSpec) parses it.
    fn name(&self) -> &str;

    /// Compresses `src` to the start of `dst`; returns the bytes written.
    ///
    /// `None` if `dst` is too short, or without memory; `dst` is then unspecified.
    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize>;

    /// Decompresses `src` to the start of `dst`; returns the bytes written. Allocates nothing.
    ///
    /// Pass a `dst` of the original length and check the result: damage may show as a shorter one or as other bytes.
    /// The rest of `dst` is unspecified; after an error, all.
    ///
    /// # Errors
    /// [`CodecError::Invalid`] if `src` is corrupt, truncated or too long for `dst`.
    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError>;

    /// As [`decompress`](Self::decompress), but never waits for a context: a signal handler may call it. The default
    /// suits codecs without contexts.
    ///
    /// # Errors
    /// [`TryCodecError::WouldBlock`] when every context is in use; otherwise as `decompress`.
    fn try_decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, TryCodecError> {
        Ok(self.decompress(src, dst)?)
    }

    /// Restores at least the first `wanted` bytes of `src` to the start of `dst`, which has the original's length;
    /// returns how many bytes it restored. The rest of `dst` is unspecified. The default restores everything.
    ///
    /// zstd from [`build_for_clusters`] stops at the end of the block of 4 KiB in which `wanted` ends; `lz4` of the C
    /// library and `raw` stop at `wanted`. As in [`decompress`](Self::decompress), damage may show as fewer bytes.
    ///
    /// [`build_for_clusters`]: crate::CodecSpec::build_for_clusters
    ///
    /// # Errors
    /// As [`decompress`](Self::decompress), for damage in the part that it reads.
    fn decompress_start(
        &self,
        src: &[u8],
        dst: &mut [u8],
        wanted: usize,
    ) -> Result<usize, CodecError> {
        let _ = wanted;
        self.decompress(src, dst)
    }

    /// As [`decompress_start`](Self::decompress_start), without waiting.
    ///
    /// # Errors
    /// As [`try_decompress`](Self::try_decompress).
    fn try_decompress_start(
        &self,
        src: &[u8],
        dst: &mut [u8],
        wanted: usize,
    ) -> Result<usize, TryCodecError> {
        let _ = wanted;
        self.try_decompress(src, dst)
    }

    /// Whether [`train`](Self::train) can give another codec. Of the codecs here, the settings `balanced` and `dense` of
    /// zstd can, as built without a dictionary of the program.
    fn trains(&self) -> bool {
        false
    }

    /// This codec with a dictionary trained on `pages`, which should be some hundred. A thousand pages of 4 KiB take 0.1
    /// to 0.25 seconds. `None` if the pages give no dictionary, without memory, or if the codec does not train.
    ///
    /// The new codec restores only its own output, and cannot train. It may outlive this one. It shares the contexts of
    /// this one, which counts and limits them. So its [`metadata_bytes`](Self::metadata_bytes) and
    /// [`metadata_bytes_max`](Self::metadata_bytes_max) are those of the dictionary, and it adds no contexts.
    ///
    /// For a codec of clusters, give neighbours one behind the other.
    fn train(&self, pages: &[&[u8]]) -> Option<Box<dyn Codec>> {
        let _ = pages;
        None
    }

    /// The most bytes that [`train`](Self::train) takes while it runs on so many bytes of pages, the new codec included
    /// and the pages not. It copies the pages.
    fn train_bytes_max(&self, pages: usize) -> usize {
        let _ = pages;
        0
    }

    /// Whether the dictionary still has the checksum from when the codec was made; true without a dictionary. Reads all
    /// of the dictionary.
    fn is_intact(&self) -> bool {
        true
    }

    /// Bytes of contexts that may be resident now.
    fn metadata_bytes(&self) -> usize;

    /// The maximum of [`metadata_bytes`](Self::metadata_bytes) for inputs of at most `len` bytes.
    fn metadata_bytes_max(&self, len: usize) -> usize {
        let _ = len;
        self.metadata_bytes()
    }

    /// Limits each kind to `count` contexts, at least one, until [`add_context`](Self::add_context). Call it before
    /// the first use. The default does nothing.
    fn limit_contexts(&self, count: usize) {
        let _ = count;
    }

    /// Whether a call found all contexts in use since the last was added, and there may be more.
    fn wants_context(&self) -> bool {
        false
    }

    /// The bytes that [`add_context`](Self::add_context) adds to [`metadata_bytes_max`](Self::metadata_bytes_max).
    fn context_bytes_max(&self, len: usize) -> usize {
        let _ = len;
        0
    }

    /// Frees the memory of contexts that no call uses, and that a later call makes anew: for a codec that rests. A
    /// decompression after it still allocates nothing. The default does nothing.
    ///
    /// A codec from [`train`](Self::train) frees what compressing needs of its dictionary. Release the codec that trained
    /// it first: its contexts keep that of the last dictionary.
    fn release_contexts(&self) {}

    /// Enables one more context of each kind; `false` if there is none.
    fn add_context(&self) -> bool {
        false
    }
}

/// Why an object could not be decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The codec did not write these bytes, or `dst` does not match the original.
    #[error(
        "not a {codec} object of at most {capacity} bytes: it is corrupt, truncated, or made from more than that"
    )]
    Invalid {
        /// Such as `lz4`.
        codec: &'static str,
        /// The length of `dst`.
        capacity: usize,
    },
    /// The object decodes to another length.
    #[error(
        "the object decodes to {decoded} bytes and the page has {expected}: it is corrupt or belongs to another page"
    )]
    WrongLength {
        /// The page's bytes.
        expected: usize,
        /// The object's bytes.
        decoded: usize,
    },
}

/// Why [`try_decompress`](Codec::try_decompress) failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TryCodecError {
    /// Every context is in use.
    #[error("every context of the codec is in use at this moment")]
    WouldBlock,
    /// As from [`decompress`](Codec::decompress).
    #[error(transparent)]
    Codec(#[from] CodecError),
}
