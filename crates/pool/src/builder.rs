//! The one file that knows every packing.

use std::sync::Arc;

use pagefold_frame::{FrameSource, HeapSource, MemoryBudget};

use crate::{
    Pool,
    config::{Allocator, BuildError, PoolConfig},
    engine::Engine,
    packing::{nbud::Nbud, xcfmalloc::Xcfmalloc, zbud::Zbud, zsmalloc::Zsmalloc},
};

/// Configures and builds a pool. The order of calls does not matter.
///
/// # Examples
/// ```
/// use pagefold_pool::{FillPolicy, NbudOptions, PoolBuilder};
///
/// let options = NbudOptions::new().span_frames(8).fill_policy(FillPolicy::Tight);
/// let pool = PoolBuilder::new(options).limit(8 << 20).max_limit(32 << 20).build()?;
/// assert_eq!(pool.stats().limit_bytes, 8 << 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PoolBuilder {
    allocator: Allocator,
    limit: usize,
    max_limit: Option<usize>,
    handle_indices: usize,
    generation_bits: u32,
    source: Option<Box<dyn FrameSource>>,
    kept_from_children: bool,
}

impl PoolBuilder {
    /// A builder with a limit of 1 GiB.
    pub fn new(allocator: impl Into<Allocator>) -> Self {
        Self {
            allocator: allocator.into(),
            limit: 1 << 30,
            max_limit: None,
            handle_indices: usize::MAX,
            generation_bits: u32::MAX,
            source: None,
            kept_from_children: false,
        }
    }

    /// The hard limit on resident memory (frames, idle frames, metadata), in bytes.
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// The highest limit that [`Pool::set_limit`] accepts, in bytes: the pool reserves address space for it. For mapped
    /// memory
    /// the default is at least four times the limit.
    pub fn max_limit(mut self, bytes: usize) -> Self {
        self.max_limit = Some(bytes);
        self
    }

    /// The child of a fork does not get the pool's memory, so what the parent writes copies no frame; for those who never use the pool
    /// there, because a touch is `SIGSEGV`. Without effect on a [`source`](Self::source) of one's own.
    pub fn keep_from_children(mut self) -> Self {
        self.kept_from_children = true;
        self
    }

    /// The memory's source, by default [`default_source`].
    pub fn source(mut self, source: Box<dyn FrameSource>) -> Self {
        self.source = Some(source);
        self
    }

    /// Bounds the handle table, for tests.
    #[doc(hidden)]
    pub fn handle_table(mut self, indices: usize, generation_bits: u32) -> Self {
        (self.handle_indices, self.generation_bits) = (indices, generation_bits);
        self
    }

    /// Builds the pool.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(self) -> Result<Box<dyn Pool>, BuildError> {
        self.build_with_account().map(|(pool, _)| pool)
    }

    /// Also returns the budget, to charge other structures against the same limit. Only [`Pool::set_limit`] changes it.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build_with_account(self) -> Result<(Box<dyn Pool>, Arc<MemoryBudget>), BuildError> {
        let allocator = self.allocator;
        let config = self.config();
        let memory = Arc::clone(&config.memory);
        let pool: Box<dyn Pool> = match allocator {
            Allocator::Nbud(options) => Box::new(Engine::new(Nbud::new(config, options)?)?),
            Allocator::Zbud => Box::new(Engine::new(Zbud::new(config)?)?),
            Allocator::Xcfmalloc(options) => {
                Box::new(Engine::new(Xcfmalloc::new(config, options)?)?)
            }
            Allocator::Zsmalloc(options) => Box::new(Engine::new(Zsmalloc::new(config, options)?)?),
        };
        Ok((pool, memory))
    }

    pub(crate) fn config(self) -> PoolConfig {
        let source = self.source.unwrap_or_else(|| source_for(self.kept_from_children));
        PoolConfig {
            max_limit: self.max_limit,
            handle_indices: self.handle_indices,
            generation_bits: self.generation_bits,
            ..PoolConfig::new(self.limit, source)
        }
    }
}

/// The system, or the heap if system pages are not 4 KiB.
pub fn default_source() -> Box<dyn FrameSource> {
    source_for(false)
}

fn source_for(kept_from_children: bool) -> Box<dyn FrameSource> {
    #[cfg(target_os = "linux")]
    if let Ok(source) = pagefold_frame::MmapSource::new(pagefold_sys::memory::CoreDump::Include) {
        return match kept_from_children {
            true => Box::new(source.keep_from_children()),
            false => Box::new(source),
        };
    }
    let _ = kept_from_children;
    Box::new(HeapSource::new())
}
