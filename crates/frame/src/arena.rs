//! The arena: frames of one reservation, their owner words and allocation.
//!
//! ```text
//!  alloc:  own cache -> buddy -> (out of frames) drain all caches -> free touched frames to the system -> buddy
//!  free:   own cache -> buddy -> (a second pageblock is entirely free) it goes back to the system
//! ```
//! Evacuation turns caches off. An *owner word* is a slab's tag and an id, a contiguous range's mark, or 0.

mod audit;
mod give_back;

use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering as GuardedOrdering},
};

use pagefold_sys::{
    memory::Reservation,
    sync::{self, AtomicUsize, Mutex, Ordering, Padded},
};

pub use self::audit::ArenaStats;
use crate::{
    FRAME_BYTES, FrameCount, FrameNo, FrameOwner, FrameRange, MemoryBudget, MigrationStats,
    Mobility, OutOfFrames, PAGEBLOCK_FRAMES, ReserveAccess, SourceError, Tag,
    buddy::{Buddy, PageblockKind},
    cache::{CACHED_ORDERS, Cache},
    migration_stats::Moves,
    plan::CompactionProgress,
    table::{GuardedU32, Table},
};

/// The most shards of a sharded part.
pub const SHARDS_MAX: usize = 16;
/// Resident entirely free pageblocks, against thrashing.
const ENTIRELY_FREE_KEPT: u32 = 1;
pub(crate) const PAGEBLOCK_BYTES: usize = PAGEBLOCK_FRAMES as usize * FRAME_BYTES;

/// Cache shards: twice the processors, a power of two.
pub fn shard_count() -> usize {
    if cfg!(loom) {
        return 1;
    }
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (2 * processors).next_power_of_two().min(SHARDS_MAX)
}

/// Settings of an arena.
#[derive(Debug, Clone, Copy)]
pub struct ArenaConfig {
    /// Bytes, rounded up to pageblocks: the largest later limit.
    pub address_space: usize,
}

/// A cached run fits any request of its order.
fn is_cacheable(frames: FrameCount, mobility: Mobility) -> bool {
    let order = frames.order();
    mobility == Mobility::Movable && frames.get() == 1 << order && order < CACHED_ORDERS
}

/// Allocates frames of one reservation.
#[derive(Debug)]
pub struct Arena {
    memory: Arc<MemoryBudget>,
    pub(crate) reservation: Reservation,
    owners: Table<GuardedU32>,
    pub(crate) buddy: Mutex<Buddy>,
    caches: Box<[Padded<Mutex<Cache>>]>,
    /// Threads; with any, caches are off.
    pub(crate) evacuating: AtomicUsize,
    pub(crate) evacuator: Mutex<CompactionProgress>,
    moves: Moves,
    /// Other threads wait for reclaim instead of failing.
    reclaim: Mutex<()>,
    allocated: AtomicUsize,
    pub(crate) contiguous: AtomicUsize,
    charged: AtomicUsize,
}

impl Arena {
    /// Pageblocks with 32-bit frame numbers.
    pub const ADDRESS_SPACE_MAX: usize = (u32::MAX / PAGEBLOCK_FRAMES) as usize * PAGEBLOCK_BYTES;

    /// An empty arena.
    ///
    /// # Errors
    /// [`SourceError`] without address space.
    pub fn new(memory: &Arc<MemoryBudget>, config: ArenaConfig) -> Result<Self, SourceError> {
        let bytes =
            config.address_space.min(Self::ADDRESS_SPACE_MAX).next_multiple_of(PAGEBLOCK_BYTES);
        let pageblocks = u32::try_from(bytes / PAGEBLOCK_BYTES)
            .unwrap_or(u32::MAX)
            .min(u32::MAX / PAGEBLOCK_FRAMES);
        let bytes = pageblocks as usize * PAGEBLOCK_BYTES;
        let owners = Table::new(memory, pageblocks as usize * PAGEBLOCK_FRAMES as usize)?;
        let buddy = Mutex::new(Buddy::new(memory, pageblocks)?);
        let caches = (0..shard_count()).map(|_| Padded(Mutex::new(Cache::default()))).collect();
        let reservation = memory.source().reserve(bytes, PAGEBLOCK_BYTES)?;
        Ok(Self {
            memory: Arc::clone(memory),
            reservation,
            owners,
            buddy,
            caches,
            evacuating: AtomicUsize::new(0),
            evacuator: Mutex::new(CompactionProgress::default()),
            moves: Moves::default(),
            reclaim: Mutex::new(()),
            allocated: AtomicUsize::new(0),
            contiguous: AtomicUsize::new(0),
            charged: AtomicUsize::new(0),
        })
    }

    /// The account that it charges.
    pub fn memory(&self) -> &Arc<MemoryBudget> {
        &self.memory
    }

    /// Bytes: the largest useful limit.
    pub fn address_space(&self) -> usize {
        self.reservation.bytes()
    }

    #[inline]
    pub(crate) fn base_of(&self, location: FrameRange) -> std::ptr::NonNull<u8> {
        self.reservation.at(location.start.byte_offset())
    }

    pub(crate) fn moves(&self) -> &Moves {
        &self.moves
    }

    /// Frame moves so far.
    pub fn migration(&self) -> MigrationStats {
        self.moves.stats()
    }

    fn cache(&self) -> Option<&Mutex<Cache>> {
        // ORDERING: Relaxed; a late user's cache is drained again.
        (self.evacuating.load(Ordering::Relaxed) == 0).then(|| self.own_cache())
    }

    fn own_cache(&self) -> &Mutex<Cache> {
        &self.caches[sync::shard_hint() % self.caches.len()]
    }

    pub(crate) fn alloc(
        &self,
        frames: FrameCount,
        mobility: Mobility,
        access: ReserveAccess,
        owner: FrameOwner,
    ) -> Result<FrameRange, OutOfFrames> {
        self.memory.injected_failure()?;
        let start = match self.cached(frames, mobility, access) {
            Some(start) => start,
            None => match self.carve(frames, mobility, access) {
                Ok(start) => start,
                Err(OutOfFrames) => self.carve_after_reclaim(frames, mobility, access)?,
            },
        };
        Ok(self.hand_out(start, frames, owner))
    }

    pub(crate) fn hand_out(
        &self,
        start: FrameNo,
        frames: FrameCount,
        owner: FrameOwner,
    ) -> FrameRange {
        let location = FrameRange { start, frames };
        self.set_owner(location.range(), owner.tag.word(owner.id));
        // ORDERING: Relaxed; a statistic.
        self.allocated.fetch_add(frames.get() as usize, Ordering::Relaxed);
        location
    }

    fn cached(
        &self,
        frames: FrameCount,
        mobility: Mobility,
        access: ReserveAccess,
    ) -> Option<FrameNo> {
        // Cached runs are charged, but may not use the reserve.
        if !self.memory.allows(access) {
            return None;
        }
        let order = frames.order();
        let cache = self.cache().filter(|_| is_cacheable(frames, mobility))?;
        cache.lock().pop(order)
    }

    fn carve(
        &self,
        frames: FrameCount,
        mobility: Mobility,
        access: ReserveAccess,
    ) -> Result<FrameNo, OutOfFrames> {
        let kind = PageblockKind::of(mobility, frames);
        let mut buddy = self.buddy.lock();
        let start = buddy
            .take(kind, frames.order(), access, &mut |pageblock| self.open(pageblock, access))?;
        self.cut(&mut buddy, start, frames, access)
    }

    /// Cuts `start` to `frames` and charges it. The rest, or all on failure, is freed.
    pub(crate) fn cut(
        &self,
        buddy: &mut Buddy,
        start: FrameNo,
        frames: FrameCount,
        access: ReserveAccess,
    ) -> Result<FrameNo, OutOfFrames> {
        let (order, count) = (frames.order(), frames.get());
        if count < 1 << order {
            buddy.put_range(FrameNo(start.0 + count), (1 << order) - count);
        }
        let untouched = buddy.untouched(start, count) as usize;
        if let Err(error) = self.charge(untouched, access) {
            buddy.put_range(start, count);
            return Err(error);
        }
        buddy.touch(start, count);
        Ok(start)
    }

    pub(crate) fn open(&self, pageblock: u32, access: ReserveAccess) -> Result<(), OutOfFrames> {
        let first = pageblock as usize * PAGEBLOCK_FRAMES as usize;
        self.owners.ensure(first, access)?;
        self.owners.ensure(first + PAGEBLOCK_FRAMES as usize - 1, access)?;
        let start = pageblock as usize * PAGEBLOCK_BYTES;
        let committed =
            self.memory.source().commit(&self.reservation, start..start + PAGEBLOCK_BYTES);
        committed.map_err(|_| OutOfFrames)
    }

    fn carve_after_reclaim(
        &self,
        frames: FrameCount,
        mobility: Mobility,
        access: ReserveAccess,
    ) -> Result<FrameNo, OutOfFrames> {
        let _reclaim = self.reclaim.lock();
        self.drain_caches();
        self.carve(frames, mobility, access).or_else(|OutOfFrames| {
            self.give_back_free();
            self.give_back_isolated();
            self.carve(frames, mobility, access)
        })
    }

    pub(crate) fn set_owner(&self, frames: Range<u32>, word: u32) {
        for frame in frames {
            let owner = self
                .owners
                .get(frame as usize)
                .expect("frames of an open pageblock have owner words");
            // ORDERING: Relaxed; a hint, unless the allocator's lock or quiescence orders it.
            owner.store(word, GuardedOrdering::Relaxed);
        }
    }

    pub(crate) fn owner_word(&self, frame: u32) -> u32 {
        // ORDERING: Relaxed; see `set_owner`.
        self.owners.get(frame as usize).map_or(0, |word| word.load(GuardedOrdering::Relaxed))
    }

    /// A frame's owner. A hint: isolate or lock the descriptor, then check again.
    pub fn owner(&self, frame: FrameNo) -> Option<FrameOwner> {
        Tag::split(self.owner_word(frame.0)).map(|(tag, id)| FrameOwner { tag, id })
    }

    pub(crate) fn free(&self, location: FrameRange, mobility: Mobility) {
        self.set_owner(location.range(), 0);
        let (order, count) = (location.frames.order(), location.frames.get());
        // ORDERING: Relaxed; a statistic.
        self.allocated.fetch_sub(count as usize, Ordering::Relaxed);
        if is_cacheable(location.frames, mobility)
            && self.cache().is_some_and(|cache| cache.lock().push(location.start, order))
        {
            return;
        }
        let mut buddy = self.buddy.lock();
        buddy.put_range(location.start, count);
        if buddy.free_touched() > ENTIRELY_FREE_KEPT {
            let surplus = buddy.detach_one_entirely_free();
            drop(buddy);
            if let Some(block) = surplus {
                self.give_back(&mut vec![block]);
            }
        }
    }

    pub(crate) fn uncharge(&self, frames: usize) {
        // ORDERING: Relaxed; a statistic.
        self.charged.fetch_sub(frames, Ordering::Relaxed);
        self.memory.uncharge(frames);
    }

    pub(crate) fn charge(&self, frames: usize, access: ReserveAccess) -> Result<(), OutOfFrames> {
        self.memory.charge(frames, access)?;
        // ORDERING: Relaxed; a statistic.
        self.charged.fetch_add(frames, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // ORDERING: Relaxed; exclusive here.
        self.memory.uncharge(self.charged.load(Ordering::Relaxed));
        // SAFETY: from `new`, released once; slabs, which descriptors and guards borrow, own this arena.
        unsafe { self.memory.source().release(self.reservation) };
    }
}
