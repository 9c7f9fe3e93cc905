//! What a pool is built from: allocators by name, the policies of each, and why a pool could not be built.

use std::{fmt, str::FromStr, sync::Arc};

use pagefold_frame::{FrameCount, MemoryBudget, SourceError};
use thiserror::Error;

use crate::classes::ClassTable;

/// The allocators, by the names that the command line uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Allocator {
    /// Spans with buddies packed back to back; the default.
    Nbud,
    /// Two objects in a frame, with an order of use to reclaim by.
    Zbud,
    /// Objects scattered over blocks in any holes that there are.
    Xcfmalloc,
    /// Size classes over chains of frames.
    Zsmalloc,
}

impl Allocator {
    /// All of them, the default first.
    pub const ALL: &[Self] = &[Self::Nbud, Self::Zbud, Self::Xcfmalloc, Self::Zsmalloc];

    /// The name, lower-case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nbud => "nbud",
            Self::Zbud => "zbud",
            Self::Xcfmalloc => "xcfmalloc",
            Self::Zsmalloc => "zsmalloc",
        }
    }
}

impl fmt::Display for Allocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no allocator's; the text lists the known ones.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown allocator `{name}`; known: {}", known())]
pub struct UnknownAllocator {
    /// The name given.
    pub name: String,
}

fn known() -> String {
    Allocator::ALL.iter().map(|allocator| allocator.name()).collect::<Vec<_>>().join(", ")
}

impl FromStr for Allocator {
    type Err = UnknownAllocator;

    fn from_str(name: &str) -> Result<Self, UnknownAllocator> {
        let found = Self::ALL.iter().find(|allocator| allocator.name() == name);
        found.copied().ok_or_else(|| UnknownAllocator { name: name.to_owned() })
    }
}

/// Why a pool could not be built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The limit does not hold an empty pool and the largest object.
    #[error("a limit of {limit} bytes is too small; {allocator} needs at least {min}")]
    LimitTooSmall {
        /// The allocator asked for.
        allocator: Allocator,
        /// The limit given, in bytes.
        limit: usize,
        /// The least possible limit, in bytes.
        min: usize,
    },
    /// More than an arena can have.
    #[error("a limit of {limit} bytes is too large; the maximum is {max}")]
    LimitTooLarge {
        /// The limit given, in bytes.
        limit: usize,
        /// The largest possible limit, in bytes.
        max: usize,
    },
    /// A span is 1, 2, 4, 8 or 16 frames.
    #[error("a span of {frames} frames is not possible; choose 1, 2, 4, 8 or 16")]
    SpanFrames {
        /// The number given.
        frames: u32,
    },
    /// An object lies in at most 1 to 8 blocks.
    #[error("at most {blocks} blocks an object is not possible; choose 1 to 8")]
    MaxBlocks {
        /// The number given.
        blocks: u32,
    },
    /// Sizes are multiples of 8 bytes from 32 to a frame.
    #[error("a step of {step} bytes is not possible; choose 8, 16, 32, 1016, 2032 or 4064")]
    ClassStep {
        /// The number given.
        step: usize,
    },
    /// A zspage is 1 to 8 frames.
    #[error("chains of up to {frames} frames are not possible; choose 1 to 8")]
    ChainLimit {
        /// The number given.
        frames: u32,
    },
    /// Handles tell 65 535 pools apart.
    #[error("65535 pools are alive in this process; drop one first")]
    TooManyPools,
    /// The source gave no address space.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// Whether a new object fills a hole or is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placement {
    /// Holes are filled while there are more than the density target allows; otherwise objects are appended.
    #[default]
    Auto,
    /// Holes are always filled first: densest, a span of `memmove` a store in the worst case.
    Tight,
    /// Objects are appended as long as the limit allows: fastest, and dense only in a pool without frees.
    Append,
}

/// How xcfmalloc chooses blocks for an object that no free block fits exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Selection {
    /// Unless it is the last block allowed, the largest smaller one; then the smallest larger one.
    #[default]
    Standard,
    /// With the condition inverted, as the design was once circulated: a smaller block is looked for only when it is the
    /// last one allowed, where it is of no use. So objects are scattered only where they are longer than a frame. It is
    /// here to measure what that costs.
    Inverted,
}

/// What a pool is built from.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) limit: usize,
    pub(crate) max_limit: Option<usize>,
    pub(crate) span_frames: FrameCount,
    pub(crate) placement: Placement,
    pub(crate) max_blocks: usize,
    pub(crate) selection: Selection,
    pub(crate) classes: ClassTable,
    pub(crate) lending: bool,
    /// The most indices of handles, and bits of their generations: no bound, but for tests.
    pub(crate) handle_indices: usize,
    pub(crate) generation_bits: u32,
    /// The account, without a limit yet, and the source behind it.
    pub(crate) memory: Arc<MemoryBudget>,
}
