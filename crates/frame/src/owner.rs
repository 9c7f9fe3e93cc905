//! Owner words: the descriptor that a frame belongs to.

use std::num::NonZeroU8;

/// The id of a descriptor in its slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DescriptorId(u32);

impl DescriptorId {
    /// Ids that fit beside the tag.
    pub const COUNT: u32 = 1 << 29;

    /// An id from a number; one that was never given out finds nothing.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The id as a plain integer.
    #[inline]
    pub fn get(self) -> u32 {
        self.0
    }
}

/// The slab of an owner word: 1 to 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag(NonZeroU8);

impl Tag {
    /// A tag.
    ///
    /// # Panics
    /// If `number` is not 1 to 7.
    pub const fn new(number: u8) -> Self {
        assert!(number >= 1 && number <= 7, "a tag is 1 to 7");
        match NonZeroU8::new(number) {
            Some(number) => Self(number),
            None => unreachable!(),
        }
    }

    pub(crate) fn word(self, id: DescriptorId) -> u32 {
        u32::from(self.0.get()) << 29 | id.0
    }

    pub(crate) fn split(word: u32) -> Option<(Self, DescriptorId)> {
        let tag = NonZeroU8::new((word >> 29).to_le_bytes()[0])?;
        Some((Self(tag), DescriptorId(word & (DescriptorId::COUNT - 1))))
    }
}

/// The owner word of a frame in a contiguous range: no slab's.
pub(crate) const CONTIGUOUS: u32 = 1;

/// The content of an owner word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameOwner {
    /// The slab's tag.
    pub tag: Tag,
    /// The descriptor.
    pub id: DescriptorId,
}

/// Whether a slab's frames may be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mobility {
    /// Position-independent, reached through guards only.
    Movable,
    /// Fixed; in pageblocks of their own.
    Pinned,
}
