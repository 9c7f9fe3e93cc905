//! What every allocator here stands on: the account, the arena, the handle table, the counters.
//!
//! A packing adds its slabs of descriptors and its lists. The first half of the look-up protocol (I-LOOKUP) and the
//! steps that are alike whatever the packing (limits, claims, moving frames) are here.

use std::sync::Arc;

use pagefold_frame::{
    Arena, ArenaConfig, ContiguousError, ContiguousRange, FRAME_BYTES, MemoryBudget, Movable,
    WordTable,
};
use pagefold_sys::sync::{AtomicBool, AtomicU64, Ordering};

use crate::{
    Allocator, BuildError, CompactReport, Handle, HandleError, LimitError, Stats,
    config::PoolConfig,
    counters::Counters,
    entries::{Entry, EntryCell, HandleTable, Place, Size},
    handle::PoolNumber,
    scratch::Scratch,
};

/// The most descriptors of a slab for each frame of address space: entries have room for their ids.
pub(crate) const DESCRIPTORS_PER_FRAME: usize = 2;

/// See the module.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) memory: Arc<MemoryBudget>,
    pub(crate) arena: Arc<Arena>,
    pub(crate) entries: HandleTable,
    pub(crate) scratch: Scratch,
    pub(crate) counters: Counters,
    /// Bytes of objects that compaction moved.
    compacted_bytes: AtomicU64,
    /// Whether compaction goes on with frames.
    frames_next: AtomicBool,
    /// What [`traffic`](Self::traffic) said when objects had nothing more to win.
    objects_done: AtomicU64,
    allocator: Allocator,
    /// The limit asked for; in force once [`put_limit`](Self::put_limit) was called.
    limit: usize,
    min_limit: usize,
    /// How far the limit can be raised, in bytes.
    max_limit: usize,
}

impl Base {
    /// A base without a limit yet. No object of the packing takes fewer than `least_bytes` of its frames; `scratch_bytes`
    /// is the longest input that is copied to scratch. No slab of the packing has more descriptors than
    /// [`DESCRIPTORS_PER_FRAME`] says.
    pub(crate) fn new(
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
        // Room to raise the limit later, where the system grants it; otherwise just what the limit needs. Tables of handles
        // take about as much again: an arena that leaves them no room is too large.
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
        let entries = HandleTable::new(&memory, number, size);
        Ok(Self {
            entries: entries?,
            arena: Arc::new(arena),
            memory,
            scratch: Scratch::new(shards.div_ceil(2), scratch_bytes),
            counters: Counters::new(shards),
            compacted_bytes: AtomicU64::new(0),
            frames_next: AtomicBool::new(false),
            objects_done: AtomicU64::new(0),
            allocator: config.allocator,
            limit,
            min_limit: 0,
            max_limit,
        })
    }

    /// Charges what lives as long as the pool (`fixed_bytes` of the packing, and this), and puts the limit in force:
    /// `reserve` frames of it for [`ReserveAccess::Reserve`](pagefold_frame::ReserveAccess) alone, and at least `spare` beside them.
    pub(crate) fn put_limit(
        &mut self,
        fixed_bytes: usize,
        reserve: usize,
        spare: usize,
    ) -> Result<(), BuildError> {
        let too_small = |base: &Self, min: usize| BuildError::LimitTooSmall {
            allocator: base.allocator,
            limit: base.limit,
            min,
        };
        let fixed = fixed_bytes
            + self.entries.fixed_bytes()
            + self.scratch.fixed_bytes()
            + self.counters.fixed_bytes();
        self.memory.charge_fixed(fixed).map_err(|_| too_small(self, fixed))?;
        self.memory.set_reserve(reserve);
        self.min_limit = (self.memory.used() + reserve + spare) * FRAME_BYTES;
        if self.limit < self.min_limit {
            return Err(too_small(self, self.min_limit));
        }
        let frames = self.limit / FRAME_BYTES;
        self.memory.set_limit(frames).map_err(|_| too_small(self, self.min_limit))
    }

    pub(crate) fn limit_bytes(&self) -> usize {
        self.memory.limit() * FRAME_BYTES
    }

    /// The entry of a handle, if it is live.
    #[inline]
    pub(crate) fn entry(
        &self,
        handle: Handle,
    ) -> Result<(EntryCell<'_>, Entry, Place), HandleError> {
        self.entries.find(handle)
    }

    /// Notes that compaction moved an object.
    pub(crate) fn note_compacted(&self, bytes: usize) {
        // ORDERING: Relaxed; a statistic.
        self.compacted_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The accounts, without what only the packing knows: `reclaimable_bytes`, `lists_in_use`.
    pub(crate) fn stats(&self) -> Stats {
        let (objects, payload_bytes) = self.counters.sums();
        let arena = self.arena.stats();
        // ORDERING: Relaxed; a statistic.
        let compacted_bytes = self.compacted_bytes.load(Ordering::Relaxed);
        let (retired, indices) = self.entries.retired();
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

    /// Puts a new limit in force; `trim` and `compact` (which says whether there is more to win) make room for it.
    pub(crate) fn set_limit(
        &self,
        bytes: usize,
        trim: &dyn Fn(),
        compact: &dyn Fn() -> bool,
    ) -> Result<(), LimitError> {
        if bytes < self.min_limit {
            return Err(LimitError::TooSmall { limit: bytes, min: self.min_limit });
        }
        let max = self.max_limit;
        if bytes > max {
            return Err(LimitError::TooLarge { limit: bytes, max });
        }
        let frames = bytes / FRAME_BYTES;
        let mut more = true;
        while let Err(used) = self.memory.set_limit(frames) {
            if !more {
                return Err(LimitError::InUse { limit: bytes, resident: used * FRAME_BYTES });
            }
            // Trimmed before anything is moved, and once more after the last move.
            trim();
            if self.memory.used() > frames {
                more = compact();
                trim();
            }
        }
        Ok(())
    }

    /// A number that is another one after objects came or went.
    fn traffic(&self) -> u64 {
        let (objects, payload) = self.counters.sums();
        objects.rotate_left(32) ^ payload
    }

    /// Compaction: `objects` first, call by call until it has nothing more to win, and then the frames under them, so
    /// that whole pageblocks go back. Objects are not looked at again before the frames are done, or else a packing
    /// that always finds something to move would never let frames move.
    pub(crate) fn compact(
        &self,
        movable: &[&dyn Movable],
        budget: usize,
        objects: impl FnOnce(usize) -> CompactReport,
    ) -> CompactReport {
        // Frames that move beside everything have models of their own, in `pagefold-frame`; here they would only make
        // those of objects too long.
        if cfg!(loom) {
            return objects(budget);
        }
        let mut report = CompactReport::default();
        // ORDERING: Relaxed, here and below; whose turn it is guards nothing.
        let began_with_frames = self.frames_next.load(Ordering::Relaxed);
        if !began_with_frames {
            report = objects(budget);
            if report.more {
                return report;
            }
            self.frames_next.store(true, Ordering::Relaxed);
            self.objects_done.store(self.traffic(), Ordering::Relaxed);
        }
        let left = budget.saturating_sub(usize::try_from(report.moved_bytes).unwrap_or(budget));
        // The smallest budget gets on as well.
        if left == 0 && report.moved_bytes > 0 {
            report.more = true;
            return report;
        }
        let frames = self.arena.compact(movable, left);
        report.migrated_bytes += frames.copied_bytes;
        report.freed_pageblocks += frames.freed_pageblocks;
        report.busy += frames.busy;
        report.more |= frames.more;
        if !report.more {
            self.frames_next.store(false, Ordering::Relaxed);
            // An earlier call looked at the objects, and they may be others by now.
            let since = self.objects_done.load(Ordering::Relaxed) != self.traffic();
            report.more = began_with_frames && since;
        }
        report
    }

    /// Claims a range of frames that are neighbours. When memory is short for that, `compact` makes objects take less
    /// of it, and it is tried once more.
    pub(crate) fn claim(
        &self,
        movable: &[&dyn Movable],
        frames: usize,
        align: usize,
        compact: &dyn Fn(),
    ) -> Result<ContiguousRange<'_>, ContiguousError> {
        match self.arena.alloc_contiguous(movable, frames, align) {
            Err(ContiguousError::OutOfMemory { .. }) => {
                compact();
                self.arena.reclaim();
                self.arena.alloc_contiguous(movable, frames, align)
            }
            answer => answer,
        }
    }
}
