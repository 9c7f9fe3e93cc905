//! Building a pool: the allocator by name, its limit, where its frames come from.

use std::sync::Arc;

use pagefold_frame::{Chain, FrameCount, FrameSource, HeapSource, MemoryBudget};

use crate::{
    Pool,
    classes::ClassTable,
    config::{Allocator, BuildError, Layout, Placement, Selection},
    nbud::Nbud,
    xcfmalloc::{self, Xcfmalloc},
    zbud::Zbud,
    zsmalloc::{self, Zsmalloc, layout::GRAIN},
};

/// Configures and builds a pool.
#[derive(Debug)]
pub struct PoolBuilder {
    allocator: Allocator,
    limit: usize,
    max_limit: Option<usize>,
    span_frames: u32,
    placement: Placement,
    max_blocks: u32,
    selection: Selection,
    class_step: usize,
    chain_limit: u32,
    class_lending: bool,
    handle_indices: usize,
    generation_bits: u32,
    source: Option<Box<dyn FrameSource>>,
}

/// Frames in a span. 16 KiB is as dense as 8 KiB or denser, has half the descriptors, and fills holes within the target;
/// measured in BENCHMARKS.md.
const SPAN_FRAMES: u32 = 4;
/// Blocks of an object: with two any two holes make a place; measured in BENCHMARKS.md.
const MAX_BLOCKS: u32 = 2;
/// From one size to the next, as in Linux.
const CLASS_STEP: usize = 16;
/// Frames of a zspage, as in Linux.
const CHAIN_LIMIT: u32 = 8;

impl PoolBuilder {
    /// A builder for this allocator with a limit of 1 GiB.
    pub fn new(allocator: Allocator) -> Self {
        Self {
            allocator,
            limit: 1 << 30,
            max_limit: None,
            span_frames: SPAN_FRAMES,
            placement: Placement::Auto,
            max_blocks: MAX_BLOCKS,
            selection: Selection::Standard,
            class_step: CLASS_STEP,
            chain_limit: CHAIN_LIMIT,
            class_lending: true,
            handle_indices: usize::MAX,
            generation_bits: u32::MAX,
            source: None,
        }
    }

    /// The hard limit in bytes on everything that may be resident: frames, idle frames and metadata. Rounded down to
    /// frames.
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// How far [`Pool::set_limit`] can raise the limit, in bytes: address space is reserved for that. Unless this says
    /// more, it is at least four times the limit where memory is mapped from the system.
    pub fn max_limit(mut self, bytes: usize) -> Self {
        self.max_limit = Some(bytes);
        self
    }

    /// A builder with the same settings and the default source of memory.
    pub fn without_source(&self) -> Self {
        Self { source: None, ..*self }
    }

    /// Frames in a span of nbud: 1, 2, 4 (the default), 8 or 16. Longer spans pack tighter and slide more.
    pub fn span_frames(mut self, frames: u32) -> Self {
        self.span_frames = frames;
        self
    }

    /// Whether nbud fills holes or appends.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// The most blocks that xcfmalloc scatters an object over: 1 to 8, by default 2. An object is at most as many frames
    /// long. More blocks make more holes usable, and each object dearer: 8 bytes for two, 24 for four, 56 for eight.
    ///
    /// # Examples
    /// ```
    /// use pagefold_pool::{Allocator, PoolBuilder};
    ///
    /// let pool = PoolBuilder::new(Allocator::Xcfmalloc).limit(8 << 20).max_blocks(4).build()?;
    /// assert_eq!(pool.max_len(), 4 * 4096);
    /// let handle = pool.store(&[7; 3 * 4096])?;
    /// pool.read(handle, &mut |slices| assert!((1..=4).contains(&slices.parts().len())))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_blocks(mut self, blocks: u32) -> Self {
        self.max_blocks = blocks;
        self
    }

    /// How xcfmalloc chooses blocks.
    pub fn selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// Bytes from one size of zsmalloc to the next, a multiple of 8 that divides 4064: 8, 16 (the default), 32, 1016, 2032
    /// or 4064. Smaller steps waste less behind objects, and leave more classes with a zspage that is not full.
    pub fn class_step(mut self, bytes: usize) -> Self {
        self.class_step = bytes;
        self
    }

    /// The most frames of a zspage of zsmalloc: 1 to 8, by default 8. Longer chains waste less behind the last object, and
    /// have more objects that lie in two frames.
    ///
    /// # Examples
    /// ```
    /// use pagefold_pool::{Allocator, PoolBuilder};
    ///
    /// let pool = PoolBuilder::new(Allocator::Zsmalloc).limit(8 << 20).chain_limit(4).build()?;
    /// let handle = pool.store(&[7; 3000])?;
    /// pool.read(handle, &mut |slices| assert!(slices.parts().len() <= 2))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn chain_limit(mut self, frames: u32) -> Self {
        self.chain_limit = frames;
        self
    }

    /// Whether larger classes of zsmalloc lend their free places, in compaction where that frees frames, and at the limit.
    /// They do unless this says otherwise; it is here to measure what it gives.
    pub fn class_lending(mut self, lending: bool) -> Self {
        self.class_lending = lending;
        self
    }

    /// A handle table of at most so many indices, each of which lives at most 2^`generation_bits` times: so that a test
    /// can see both come to their end.
    #[doc(hidden)]
    pub fn handle_table(mut self, indices: usize, generation_bits: u32) -> Self {
        (self.handle_indices, self.generation_bits) = (indices, generation_bits);
        self
    }

    /// Where memory comes from. By default it is mapped from the system, or taken from the heap where the system's
    /// pages are not 4 KiB.
    pub fn source(mut self, source: Box<dyn FrameSource>) -> Self {
        self.source = Some(source);
        self
    }

    /// Builds the pool.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(self) -> Result<Box<dyn Pool>, BuildError> {
        self.build_with_account().map(|(pool, _)| pool)
    }

    /// Builds the pool and hands out its account as well, so that structures beside the pool (an index of handles)
    /// can be charged against the same limit. The limit itself is changed with [`Pool::set_limit`] only.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build_with_account(self) -> Result<(Box<dyn Pool>, Arc<MemoryBudget>), BuildError> {
        let allocator = self.allocator;
        let layout = self.layout()?;
        let memory = Arc::clone(&layout.memory);
        let pool: Box<dyn Pool> = match allocator {
            Allocator::Nbud => Box::new(Nbud::new(layout)?),
            Allocator::Zbud => Box::new(Zbud::new(layout)?),
            Allocator::Xcfmalloc => Box::new(Xcfmalloc::new(layout)?),
            Allocator::Zsmalloc => Box::new(Zsmalloc::new(layout)?),
        };
        Ok((pool, memory))
    }

    pub(crate) fn layout(self) -> Result<Layout, BuildError> {
        if !matches!(self.span_frames, 1 | 2 | 4 | 8 | 16) {
            return Err(BuildError::SpanFrames { frames: self.span_frames });
        }
        let blocks = self.max_blocks;
        let max_blocks = usize::try_from(blocks).unwrap_or(usize::MAX);
        if !(1..=xcfmalloc::MAX_BLOCKS).contains(&max_blocks) {
            return Err(BuildError::MaxBlocks { blocks });
        }
        let (step, frames) = (self.class_step, self.chain_limit);
        if !(1..=Chain::FRAMES_MAX.get()).contains(&frames) {
            return Err(BuildError::ChainLimit { frames });
        }
        let config = zsmalloc::class_config(step, frames);
        let between = config.frame_bytes - config.smallest;
        // A pool has no shorter last step, which a table may have.
        let is_whole = |_: &ClassTable| step.is_multiple_of(GRAIN) && between.is_multiple_of(step);
        let classes = ClassTable::new(config).ok().filter(is_whole);
        let classes = classes.ok_or(BuildError::ClassStep { step })?;
        Ok(Layout {
            limit: self.limit,
            max_limit: self.max_limit,
            span_frames: FrameCount::new(self.span_frames),
            placement: self.placement,
            max_blocks,
            selection: self.selection,
            classes,
            lending: self.class_lending,
            handle_indices: self.handle_indices,
            generation_bits: self.generation_bits,
            memory: Arc::new(MemoryBudget::new(
                self.source.unwrap_or_else(default_source),
                usize::MAX,
            )),
        })
    }
}

/// The source of a pool that is given none: memory mapped from the system, or the heap where the system's pages are not
/// 4 KiB.
pub fn default_source() -> Box<dyn FrameSource> {
    #[cfg(target_os = "linux")]
    if let Ok(source) = pagefold_frame::MmapSource::new(pagefold_sys::memory::CoreDump::Include) {
        return Box::new(source);
    }
    Box::new(HeapSource::new())
}
