//! A codec that gives one answer that cannot be: what uses a codec must come to no harm by it.
//!
//! What it really does is right, so that only the number is wrong: a caller that does not look at it goes on for a while.

use pagefold_codec::{Codec, CodecError};

/// The one wrong answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lie {
    /// `compress` says that it wrote one byte more than there is room.
    CompressesBeyondDst,
    /// `compress` says that it wrote `usize::MAX` bytes: adding to it wraps.
    CompressesToMaximum,
    /// `compress` says that it wrote nothing.
    CompressesToNothing,
    /// `decompress` says one byte less than it wrote.
    DecompressesShort,
    /// `decompress` says one byte more than there is room.
    DecompressesBeyondDst,
    /// `decompress` says `usize::MAX` bytes.
    DecompressesToMaximum,
    /// `decompress` says that it wrote nothing.
    DecompressesToNothing,
    /// `metadata_bytes`, and with it `metadata_bytes_max`, is `usize::MAX`.
    HoldsMaximum,
    /// `metadata_bytes_max` alone is `usize::MAX`.
    MayHoldMaximum,
    /// `metadata_bytes_max` is 0, and `metadata_bytes` is not.
    HoldsMoreThanItMay,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::CompressesBeyondDst,
        Self::CompressesToMaximum,
        Self::CompressesToNothing,
        Self::DecompressesShort,
        Self::DecompressesBeyondDst,
        Self::DecompressesToMaximum,
        Self::DecompressesToNothing,
        Self::HoldsMaximum,
        Self::MayHoldMaximum,
        Self::HoldsMoreThanItMay,
    ];

    /// Whether it is `compress` that lies.
    pub fn is_about_compress(self) -> bool {
        matches!(
            self,
            Self::CompressesBeyondDst | Self::CompressesToMaximum | Self::CompressesToNothing
        )
    }

    /// Whether it is `decompress` that lies.
    pub fn is_about_decompress(self) -> bool {
        matches!(
            self,
            Self::DecompressesShort
                | Self::DecompressesBeyondDst
                | Self::DecompressesToMaximum
                | Self::DecompressesToNothing
        )
    }
}

/// The bytes that a [`Liar`] says to hold unless it lies about that.
pub const HELD_BYTES: usize = 1000;

/// Keeps the first byte of inputs that are one byte repeated, and lies about it.
///
/// # Examples
/// ```
/// use pagefold_codec::{Codec, checked_compress};
/// use pagefold_testkit::liar::{Liar, Lie};
///
/// let liar = Liar(Lie::CompressesToMaximum);
/// assert_eq!(liar.compress(&[7; 100], &mut [0; 10]), Some(usize::MAX));
/// assert_eq!(checked_compress(&liar, &[7; 100], &mut [0; 10]), None);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Liar(pub Lie);

impl Codec for Liar {
    fn name(&self) -> &str {
        "liar"
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        let first = src.first()?;
        *dst.first_mut()? = *first;
        match self.0 {
            Lie::CompressesBeyondDst => Some(dst.len() + 1),
            Lie::CompressesToMaximum => Some(usize::MAX),
            Lie::CompressesToNothing => Some(0),
            _ => src.iter().all(|byte| byte == first).then_some(1),
        }
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        let &[first] = src else {
            return Err(CodecError::Invalid { codec: "liar", capacity: dst.len() });
        };
        dst.fill(first);
        Ok(match self.0 {
            Lie::DecompressesShort => dst.len().saturating_sub(1),
            Lie::DecompressesBeyondDst => dst.len() + 1,
            Lie::DecompressesToMaximum => usize::MAX,
            Lie::DecompressesToNothing => 0,
            _ => dst.len(),
        })
    }

    fn metadata_bytes(&self) -> usize {
        if self.0 == Lie::HoldsMaximum { usize::MAX } else { HELD_BYTES }
    }

    fn metadata_bytes_max(&self, _len: usize) -> usize {
        match self.0 {
            Lie::MayHoldMaximum => usize::MAX,
            Lie::HoldsMoreThanItMay => 0,
            _ => self.metadata_bytes(),
        }
    }
}
