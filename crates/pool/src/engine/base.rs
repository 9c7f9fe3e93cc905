//! What packing and engine share.

use std::sync::Arc;

use pagefold_frame::{Arena, ArenaConfig, FRAME_BYTES, MemoryBudget, WordTable};
use pagefold_sys::sync::{AtomicU64, Ordering};

use super::{
    counters::Counters,
    found::Found,
    handle_table::{HandleTable, Location, Size},
    scratch::Scratch,
};
use crate::{
    config::{BuildError, PoolConfig},
    error::HandleError,
    handle::{Handle, PoolNumber},
    stats::Stats,
};

/// Of one slab; entries have room for as many ids.
pub(crate) const DESCRIPTORS_PER_FRAME: usize = 2;

/// See the module.
#[derive(Debug)]
pub struct Base {
    pub(crate) memory: Arc<MemoryBudget>,
    pub(crate) arena: Arc<Arena>,
    pub(crate) handles: HandleTable,
    pub(crate) scratch: Scratch,
    pub(crate) counters: Counters,
    compacted_bytes: AtomicU64,
    /// In bytes; [`Engine::new`](super::Engine::new) sets it.
    pub(super) limit: usize,
    /// In bytes.
    pub(super) max_limit: usize,
}

impl Base {
    /// A base without a limit. An object takes at least `least_bytes` of frames; input over `scratch_bytes` is copied
    /// to the heap. A slab has at most two descriptors a frame of address space.
    ///
    /// # Errors
    /// [`BuildError`] without address space or pool number.
    pub fn new(
        config: PoolConfig,
        least_bytes: usize,
        scratch_bytes: usize,
    ) -> Result<Self, BuildError> {
        let limit = config.limit;
        if limit > Arena::ADDRESS_SPACE_MAX {
            return Err(BuildError::LimitTooLarge { limit, max: Arena::ADDRESS_SPACE_MAX });
        }
        let number = PoolNumber::take().ok_or(BuildError::TooManyPools)?;
        let memory = config.memory;
        // Room to raise the limit. Handle tables take about as much again.
        let max_limit = config.max_limit.unwrap_or(limit).clamp(limit, Arena::ADDRESS_SPACE_MAX);
        let with_room_for_tables = |address_space| {
            let arena = Arena::new(&memory, ArenaConfig { address_space }).ok()?;
            WordTable::new(&memory, address_space / size_of::<u64>()).ok()?;
            Some(arena)
        };
        let arena =
            [memory.address_space(max_limit), max_limit].into_iter().find_map(with_room_for_tables);
        let arena = match arena {
            Some(arena) => arena,
            None => Arena::new(&memory, ArenaConfig { address_space: limit })?,
        };
        let max_limit = match config.max_limit {
            Some(_) => max_limit.min(arena.address_space()),
            None => arena.address_space(),
        };
        let shards = pagefold_frame::shard_count();
        let size = Size {
            indices: (arena.address_space() / least_bytes).min(config.handle_indices),
            ids: arena.address_space() / FRAME_BYTES * DESCRIPTORS_PER_FRAME,
            generation_bits: config.generation_bits,
        };
        let handles = HandleTable::new(&memory, number, size);
        Ok(Self {
            handles: handles?,
            arena: Arc::new(arena),
            memory,
            scratch: Scratch::new(shards.div_ceil(2), scratch_bytes),
            counters: Counters::new(shards),
            compacted_bytes: AtomicU64::new(0),
            limit,
            max_limit,
        })
    }

    /// For the packing's slabs.
    pub fn arena(&self) -> &Arc<Arena> {
        &self.arena
    }

    pub(super) fn fixed_bytes(&self) -> usize {
        self.handles.fixed_bytes() + self.scratch.fixed_bytes() + self.counters.fixed_bytes()
    }

    pub(super) fn limit_bytes(&self) -> usize {
        self.memory.limit() * FRAME_BYTES
    }

    /// The object of a handle. (I-LOOKUP, first step)
    ///
    /// # Errors
    /// [`HandleError`] if it is not live.
    #[inline]
    pub fn find(&self, handle: Handle) -> Result<Found<'_>, HandleError> {
        let (cell, entry, location, index) = self.handles.find(handle)?;
        Ok(Found { cell, entry, location, index })
    }

    /// The live object of an index.
    pub fn find_index(&self, index: u32) -> Option<Found<'_>> {
        let cell = self.handles.get(index)?;
        let entry = cell.load();
        Some(Found { cell, entry, location: entry.location()?, index })
    }

    /// The same, if it is at `location`.
    pub fn find_at(&self, index: u32, location: Location) -> Option<Found<'_>> {
        self.find_index(index).filter(|found| found.location == location)
    }

    /// The handle of a found object.
    pub fn handle_of(&self, found: &Found<'_>) -> Handle {
        self.handles.handle(found.index, found.entry)
    }

    /// Counts compacted bytes.
    pub fn note_compacted(&self, bytes: usize) {
        // ORDERING: Relaxed; a statistic.
        self.compacted_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Without the packing's own accounts.
    pub(super) fn stats(&self) -> Stats {
        let (objects, payload_bytes) = self.counters.sums();
        let arena = self.arena.stats();
        // ORDERING: Relaxed; a statistic.
        let compacted_bytes = self.compacted_bytes.load(Ordering::Relaxed);
        let (retired, indices) = self.handles.retired();
        Stats {
            objects,
            payload_bytes,
            frame_bytes: (arena.allocated * FRAME_BYTES) as u64,
            contiguous_bytes: (arena.contiguous * FRAME_BYTES) as u64,
            idle_frame_bytes: (arena.idle * FRAME_BYTES) as u64,
            metadata_bytes: (self.memory.metadata() * FRAME_BYTES) as u64,
            moved_bytes: self.counters.slid() + compacted_bytes,
            compacted_bytes,
            migration: self.arena.migration(),
            retired_indices: retired as u64,
            index_capacity: indices as u64,
            limit_bytes: self.limit_bytes() as u64,
            max_limit_bytes: self.max_limit as u64,
            ..Stats::default()
        }
    }
}
