//! Owner words: which descriptor of which slab a frame belongs to, and whether its frames may move.

use std::num::NonZeroU8;

/// The id of a descriptor in its slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DescriptorId(u32);

impl DescriptorId {
    /// Ids that fit an owner word beside its tag.
    pub const COUNT: u32 = 1 << 29;

    /// An id from a number that a pool kept. A number that was never an id is safe and finds nothing.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The id as a plain integer.
    #[inline]
    pub fn get(self) -> u32 {
        self.0
    }
}

/// Which slab an owner word points into: 1 to 7.
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

/// The owner word of a frame in a contiguous range: of no slab, so of no descriptor.
pub(crate) const CONTIGUOUS: u32 = 1;

/// What an owner word says: which slab, and which of its descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameOwner {
    /// The slab's tag.
    pub tag: Tag,
    /// The descriptor.
    pub id: DescriptorId,
}

/// Whether the frames of a slab's descriptors may be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mobility {
    /// Contents are position-independent and reached through guards only.
    Movable,
    /// They stay where they are; kept in pageblocks of their own.
    Pinned,
}
