//! The packings, their options, and build errors. The setters accept any value; the builder checks them.

use std::{fmt, str::FromStr, sync::Arc};

use pagefold_frame::{FrameCount, FrameSource, MemoryBudget, SourceError};
use thiserror::Error;

/// A packing and its options.
///
/// # Examples
/// ```
/// use pagefold_pool::{Allocator, NbudOptions, PoolBuilder};
///
/// // The default; by name; with options.
/// assert_eq!(Allocator::default(), Allocator::nbud());
/// assert_eq!("zsmalloc".parse(), Ok(Allocator::zsmalloc()));
/// let pool = PoolBuilder::new(NbudOptions::new().span_frames(8)).limit(8 << 20).build()?;
/// # assert_eq!(pool.name(), "nbud");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Allocator {
    /// Spans of buddies packed back to back; the default.
    Nbud(NbudOptions),
    /// Two objects in a frame, with reclaim in order of use.
    Zbud,
    /// Objects scattered over free blocks.
    Xcfmalloc(XcfmallocOptions),
    /// Size classes over chains of frames.
    Zsmalloc(ZsmallocOptions),
}

impl Allocator {
    /// All packings with default options; the default first.
    pub const ALL: &[Self] = &[Self::nbud(), Self::zbud(), Self::xcfmalloc(), Self::zsmalloc()];

    /// nbud with default options.
    pub const fn nbud() -> Self {
        Self::Nbud(NbudOptions::new())
    }

    /// zbud.
    pub const fn zbud() -> Self {
        Self::Zbud
    }

    /// xcfmalloc with default options.
    pub const fn xcfmalloc() -> Self {
        Self::Xcfmalloc(XcfmallocOptions::new())
    }

    /// zsmalloc with default options.
    pub const fn zsmalloc() -> Self {
        Self::Zsmalloc(ZsmallocOptions::new())
    }

    /// The name, lower-case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nbud(_) => "nbud",
            Self::Zbud => "zbud",
            Self::Xcfmalloc(_) => "xcfmalloc",
            Self::Zsmalloc(_) => "zsmalloc",
        }
    }
}

impl Default for Allocator {
    fn default() -> Self {
        Self::nbud()
    }
}

impl fmt::Display for Allocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Allocator {
    type Err = UnknownAllocator;

    fn from_str(name: &str) -> Result<Self, UnknownAllocator> {
        let found = Self::ALL.iter().find(|allocator| allocator.name() == name);
        found.copied().ok_or_else(|| UnknownAllocator { name: name.to_owned() })
    }
}

impl From<NbudOptions> for Allocator {
    fn from(options: NbudOptions) -> Self {
        Self::Nbud(options)
    }
}

impl From<XcfmallocOptions> for Allocator {
    fn from(options: XcfmallocOptions) -> Self {
        Self::Xcfmalloc(options)
    }
}

impl From<ZsmallocOptions> for Allocator {
    fn from(options: ZsmallocOptions) -> Self {
        Self::Zsmalloc(options)
    }
}

/// The text lists the known names.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown allocator `{name}`; known: {}", known())]
#[non_exhaustive]
pub struct UnknownAllocator {
    /// The name given.
    pub name: String,
}

fn known() -> String {
    Allocator::ALL.iter().map(|allocator| allocator.name()).collect::<Vec<_>>().join(", ")
}

/// The options of nbud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NbudOptions {
    span_frames: u32,
    pub(crate) fill: FillPolicy,
}

/// Whether nbud puts a new object into a hole or appends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum FillPolicy {
    /// Fills holes while there are more than the density target allows.
    #[default]
    Auto,
    /// Fills holes first: densest; a store may slide a span's bytes.
    Tight,
    /// Appends while the limit allows: fastest; dense only without frees.
    Append,
}

impl NbudOptions {
    /// Spans of 4 frames (16 KiB), [`FillPolicy::Auto`].
    // Measured in BENCHMARKS.md.
    pub const fn new() -> Self {
        Self { span_frames: 4, fill: FillPolicy::Auto }
    }

    /// Frames in a span: 1, 2, 4, 8 or 16. Longer spans are denser and slide more bytes.
    pub const fn span_frames(mut self, frames: u32) -> Self {
        self.span_frames = frames;
        self
    }

    /// Sets the fill policy.
    pub const fn fill_policy(mut self, policy: FillPolicy) -> Self {
        self.fill = policy;
        self
    }

    pub(crate) fn checked_span_frames(self) -> Result<FrameCount, BuildError> {
        match self.span_frames {
            frames @ (1 | 2 | 4 | 8 | 16) => Ok(FrameCount::new(frames)),
            frames => Err(BuildError::SpanFrames { frames }),
        }
    }
}

impl Default for NbudOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The options of xcfmalloc.
///
/// # Examples
/// ```
/// use pagefold_pool::{PoolBuilder, XcfmallocOptions};
///
/// let pool = PoolBuilder::new(XcfmallocOptions::new().max_blocks(4)).limit(8 << 20).build()?;
/// assert_eq!(pool.max_len(), 4 * 4096);
/// let handle = pool.store(&[7; 3 * 4096])?;
/// pool.read(handle, &mut |slices| assert!((1..=4).contains(&slices.parts().len())))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct XcfmallocOptions {
    max_blocks: u32,
    pub(crate) selection: BlockSelection,
}

/// How xcfmalloc chooses blocks when no free block fits exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum BlockSelection {
    /// The largest smaller block; for the last one allowed, the smallest larger one.
    #[default]
    Standard,
    /// The condition inverted, as the design once circulated: only objects longer than a frame are scattered. For
    /// measurements.
    Inverted,
}

impl XcfmallocOptions {
    /// 2 blocks, [`BlockSelection::Standard`].
    // Measured in BENCHMARKS.md.
    pub const fn new() -> Self {
        Self { max_blocks: 2, selection: BlockSelection::Standard }
    }

    /// The most blocks of an object, 1 to 8. More make more holes usable and each object larger: by 8 bytes for two
    /// blocks, 24
    /// for four, 56 for eight.
    pub const fn max_blocks(mut self, blocks: u32) -> Self {
        self.max_blocks = blocks;
        self
    }

    /// Sets how blocks are chosen.
    pub const fn selection(mut self, selection: BlockSelection) -> Self {
        self.selection = selection;
        self
    }

    pub(crate) fn checked_max_blocks(self, most: usize) -> Result<usize, BuildError> {
        let blocks = usize::try_from(self.max_blocks).ok();
        let blocks = blocks.filter(|blocks| (1..=most).contains(blocks));
        blocks.ok_or(BuildError::MaxBlocks { blocks: self.max_blocks })
    }
}

impl Default for XcfmallocOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The options of zsmalloc.
///
/// # Examples
/// ```
/// use pagefold_pool::{PoolBuilder, ZsmallocOptions};
///
/// let pool = PoolBuilder::new(ZsmallocOptions::new().chain_limit(4)).limit(8 << 20).build()?;
/// let handle = pool.store(&[7; 3000])?;
/// pool.read(handle, &mut |slices| assert!(slices.parts().len() <= 2))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ZsmallocOptions {
    pub(crate) class_step: usize,
    pub(crate) chain_limit: u32,
    pub(crate) class_lending: bool,
}

impl ZsmallocOptions {
    /// As in Linux: classes 16 bytes apart, chains of up to 8 frames, class lending.
    pub const fn new() -> Self {
        Self { class_step: 16, chain_limit: 8, class_lending: true }
    }

    /// Bytes between size classes: 8, 16, 32, 1016, 2032 or 4064. Smaller steps waste less behind objects and leave
    /// more
    /// partial zspages.
    pub const fn class_step(mut self, bytes: usize) -> Self {
        self.class_step = bytes;
        self
    }

    /// The most frames of a zspage, 1 to 8. Longer chains waste less and split more objects.
    pub const fn chain_limit(mut self, frames: u32) -> Self {
        self.chain_limit = frames;
        self
    }

    /// Whether larger classes lend free slots to smaller objects, at the limit and in compaction.
    pub const fn class_lending(mut self, lending: bool) -> Self {
        self.class_lending = lending;
        self
    }
}

impl Default for ZsmallocOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What a pool is built from.
#[derive(Debug)]
pub struct PoolConfig {
    /// In bytes.
    pub(crate) limit: usize,
    pub(crate) max_limit: Option<usize>,
    /// Bounds for tests.
    pub(crate) handle_indices: usize,
    pub(crate) generation_bits: u32,
    /// Has no limit yet.
    pub(crate) memory: Arc<MemoryBudget>,
}

impl PoolConfig {
    /// A hard limit on resident memory, in bytes, and the memory's source.
    pub fn new(limit: usize, source: Box<dyn FrameSource>) -> Self {
        Self {
            limit,
            max_limit: None,
            handle_indices: usize::MAX,
            generation_bits: u32::MAX,
            memory: Arc::new(MemoryBudget::new(source, usize::MAX)),
        }
    }
}

/// Why a pool could not be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The limit does not fit an empty pool and the largest object.
    #[error("a limit of {limit} bytes is too small; {allocator} needs at least {min}")]
    LimitTooSmall {
        /// Its name.
        allocator: &'static str,
        /// In bytes.
        limit: usize,
        /// In bytes.
        min: usize,
    },
    /// More than an arena's address space.
    #[error("a limit of {limit} bytes is too large; the maximum is {max}")]
    LimitTooLarge {
        /// In bytes.
        limit: usize,
        /// In bytes.
        max: usize,
    },
    /// Not 1, 2, 4, 8 or 16 frames.
    #[error("a span of {frames} frames is not possible; choose 1, 2, 4, 8 or 16")]
    SpanFrames {
        /// The number given.
        frames: u32,
    },
    /// Not 1 to 8 blocks.
    #[error("at most {blocks} blocks an object is not possible; choose 1 to 8")]
    MaxBlocks {
        /// The number given.
        blocks: u32,
    },
    /// Not a multiple of 8 bytes that divides 4064.
    #[error("a step of {step} bytes is not possible; choose 8, 16, 32, 1016, 2032 or 4064")]
    ClassStep {
        /// The number given.
        step: usize,
    },
    /// Not 1 to 8 frames.
    #[error("chains of up to {frames} frames are not possible; choose 1 to 8")]
    ChainLimit {
        /// The number given.
        frames: u32,
    },
    /// A handle has 16 bits for its pool.
    #[error("65535 pools are alive in this process; drop one first")]
    TooManyPools,
    /// The source gave no address space.
    #[error(transparent)]
    Source(#[from] SourceError),
}
