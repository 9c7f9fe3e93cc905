//! A codec with one impossible answer. Only the reported number is wrong.

use pagefold_codec::{Codec, CodecError};

/// The wrong answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lie {
    /// `compress` reports a byte beyond the room.
    CompressesBeyondDst,
    /// `compress` reports `usize::MAX`.
    CompressesToMaximum,
    /// `compress` reports 0.
    CompressesToNothing,
    /// `decompress` reports a byte too few.
    DecompressesShort,
    /// `decompress` reports a byte beyond the room.
    DecompressesBeyondDst,
    /// `decompress` reports `usize::MAX`.
    DecompressesToMaximum,
    /// `decompress` reports 0.
    DecompressesToNothing,
    /// `metadata_bytes` and `metadata_bytes_max` are `usize::MAX`.
    HoldsMaximum,
    /// `metadata_bytes_max` alone is `usize::MAX`.
    MayHoldMaximum,
    /// `metadata_bytes_max` alone is 0.
    HoldsMoreThanItMay,
}

impl Lie {
    /// All lies.
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

    /// Whether `compress` lies.
    pub fn is_about_compress(self) -> bool {
        matches!(
            self,
            Self::CompressesBeyondDst | Self::CompressesToMaximum | Self::CompressesToNothing
        )
    }

    /// Whether `decompress` lies.
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

/// The metadata bytes of an honest [`Liar`].
pub const HELD_BYTES: usize = 1000;

/// Keeps the first byte of same-filled inputs, and lies.
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
