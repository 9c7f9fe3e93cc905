//! The arena: one reservation of frames, who owns each of them, and giving them back.
//!
//! ```text
//!  alloc:  own cache -> buddy -> (out of frames) everybody's caches -> free touched frames to the system -> buddy
//!  free:   own cache -> buddy -> (a second whole pageblock is free) it goes back to the system
//! ```
//! While frames are evacuated (`evacuate`) the caches are left out, so that what becomes free is free at once.
//!
//! The *owner word* of a frame is the allocatee's: type tag and descriptor id, a mark for claimed frames, or 0. What
//! the allocator itself knows lies in bitmaps by pageblock (`buddy`), so the two never share a word.

use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering as GuardedOrdering},
};

use pagefold_sys::{
    memory::Reservation,
    sync::{self, AtomicUsize, Mutex, Ordering, Padded},
};

use crate::{
    FRAME_BYTES, FrameCount, FrameNo, FrameOwner, FrameRange, MemoryBudget, MigrationStats,
    Mobility, OutOfFrames, PAGEBLOCK_FRAMES, ReserveAccess, SourceError, Tag,
    buddy::{Buddy, FreeBlock, Kind},
    cache::{CACHED_ORDERS, Cache},
    evacuate::Progress,
    migrate::Moves,
    table::{GuardedU32, Table},
};

/// The most shards that anything of a pool is spread over.
pub const SHARDS_MAX: usize = 16;
/// Whole pageblocks that stay resident for the next allocation, so that a pool at its edge does not thrash.
const WHOLE_KEPT: u32 = 1;
/// Free blocks given back with one system call.
const TRIM_BATCH: usize = 1024;
/// The owner word of a claimed frame: of no slab, so no descriptor's.
pub(crate) const CLAIMED: u32 = 1;
pub(crate) const PAGEBLOCK_BYTES: usize = PAGEBLOCK_FRAMES as usize * FRAME_BYTES;

/// How many shards caches and the like have here: twice the processors, a power of two.
pub fn shard_count() -> usize {
    if cfg!(loom) {
        return 1;
    }
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (2 * processors).next_power_of_two().min(SHARDS_MAX)
}

/// How an arena is laid out.
#[derive(Debug, Clone, Copy)]
pub struct ArenaConfig {
    /// Address space to reserve, in bytes; rounded up to pageblocks. What the limit may ever be raised to.
    pub address_space: usize,
}

/// The frames of an arena by use, in frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArenaStats {
    /// Owned by descriptors.
    pub allocated: usize,
    /// Claimed.
    pub contiguous: usize,
    /// In caches, or free and not yet given back: may be resident.
    pub idle: usize,
    /// Frames that the reservation holds.
    pub capacity: usize,
}

/// Caches hold movable runs of a power of two, so that whatever comes out of one may go anywhere it is asked for.
fn is_cacheable(frames: FrameCount, mobility: Mobility) -> bool {
    let order = frames.order();
    mobility == Mobility::Movable && frames.get() == 1 << order && order < CACHED_ORDERS
}

/// See the module.
#[derive(Debug)]
pub struct Arena {
    memory: Arc<MemoryBudget>,
    pub(crate) reservation: Reservation,
    owners: Table<GuardedU32>,
    pub(crate) buddy: Mutex<Buddy>,
    caches: Box<[Padded<Mutex<Cache>>]>,
    /// Threads that evacuate frames; while there are any, caches are left out.
    pub(crate) evacuating: AtomicUsize,
    /// Held by whoever compacts or claims.
    pub(crate) evacuator: Mutex<Progress>,
    moves: Moves,
    /// Held by whoever makes room when the limit is reached, so that others wait for it instead of failing.
    reclaim: Mutex<()>,
    allocated: AtomicUsize,
    pub(crate) claimed: AtomicUsize,
    /// Frames of the reservation that are charged.
    charged: AtomicUsize,
}

impl Arena {
    /// The most address space an arena can have: as many whole pageblocks as frame numbers of 32 bits tell apart.
    pub const ADDRESS_SPACE_MAX: usize = (u32::MAX / PAGEBLOCK_FRAMES) as usize * PAGEBLOCK_BYTES;

    /// An arena without any frames in use.
    ///
    /// # Errors
    /// [`SourceError`] when the address space cannot be had.
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
            evacuator: Mutex::new(Progress::default()),
            moves: Moves::default(),
            reclaim: Mutex::new(()),
            allocated: AtomicUsize::new(0),
            claimed: AtomicUsize::new(0),
            charged: AtomicUsize::new(0),
        })
    }

    /// The account that this arena charges.
    pub fn memory(&self) -> &Arc<MemoryBudget> {
        &self.memory
    }

    /// Bytes of address space: the largest limit that makes sense.
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

    /// Moving of frames so far.
    pub fn migration(&self) -> MigrationStats {
        self.moves.stats()
    }

    /// The shard's cache, unless frames are being evacuated.
    fn cache(&self) -> Option<&Mutex<Cache>> {
        // ORDERING: Relaxed; a cache that is used all the same is drained once more.
        (self.evacuating.load(Ordering::Relaxed) == 0).then(|| self.own_cache())
    }

    fn own_cache(&self) -> &Mutex<Cache> {
        &self.caches[sync::shard_hint() % self.caches.len()]
    }

    /// A run of frames for a descriptor, which from now on is their owner.
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

    /// Gives a run that is nobody's its owner.
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
        // A cached run is charged already: to take it must not eat into the reserve either.
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
        let kind = Kind::of(mobility, frames);
        let mut buddy = self.buddy.lock();
        let start = buddy
            .take(kind, frames.order(), access, &mut |pageblock| self.open(pageblock, access))?;
        self.cut(&mut buddy, start, frames, access)
    }

    /// Makes the block at `start` a run of `frames`: the rest is free again, and the run is charged, or free again too.
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

    /// Makes a pageblock usable: its memory and its owner words.
    pub(crate) fn open(&self, pageblock: u32, access: ReserveAccess) -> Result<(), OutOfFrames> {
        let first = pageblock as usize * PAGEBLOCK_FRAMES as usize;
        self.owners.ensure(first, access)?;
        self.owners.ensure(first + PAGEBLOCK_FRAMES as usize - 1, access)?;
        let start = pageblock as usize * PAGEBLOCK_BYTES;
        let committed =
            self.memory.source().commit(&self.reservation, start..start + PAGEBLOCK_BYTES);
        committed.map_err(|_| OutOfFrames)
    }

    /// Tries again after everybody's caches were drained, and then after free frames went back to the system.
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
            self.give_back_captured();
            self.carve(frames, mobility, access)
        })
    }

    pub(crate) fn set_owner(&self, frames: Range<u32>, word: u32) {
        for frame in frames {
            let owner = self
                .owners
                .get(frame as usize)
                .expect("frames of an open pageblock have owner words");
            // ORDERING: Relaxed; a look at the word is a hint, unless the allocator's lock or a quiet arena orders it.
            owner.store(word, GuardedOrdering::Relaxed);
        }
    }

    /// What a frame's owner word says; 0 if it has none.
    pub(crate) fn owner_word(&self, frame: u32) -> u32 {
        // ORDERING: Relaxed; see `set_owner`.
        self.owners.get(frame as usize).map_or(0, |word| word.load(GuardedOrdering::Relaxed))
    }

    /// Who owns a frame. The one place where a frame becomes a descriptor: whoever goes on to use it isolates or holds
    /// the descriptor and looks whether the frame is (still) its own.
    pub fn owner(&self, frame: FrameNo) -> Option<FrameOwner> {
        Tag::split(self.owner_word(frame.0)).map(|(tag, id)| FrameOwner { tag, id })
    }

    /// Takes a run back from the descriptor that owned it.
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
        if buddy.whole_touched() > WHOLE_KEPT {
            let surplus = buddy.isolate_one_whole();
            drop(buddy);
            if let Some(block) = surplus {
                self.give_back(&mut vec![block]);
            }
        }
    }

    /// Gives whole pageblocks back to the system, all but those that stay for the next allocation.
    pub(crate) fn give_back_wholes(&self) {
        let mut blocks = Vec::new();
        let mut buddy = self.buddy.lock();
        while buddy.whole_touched() > WHOLE_KEPT
            && let Some(block) = buddy.isolate_one_whole()
        {
            blocks.push(block);
        }
        drop(buddy);
        if !blocks.is_empty() {
            self.give_back(&mut blocks);
        }
    }

    pub(crate) fn drain_caches(&self) {
        for cache in &self.caches {
            for order in 0..CACHED_ORDERS {
                loop {
                    let Some(start) = cache.lock().pop(order) else { break };
                    self.buddy.lock().put(start, order);
                }
            }
        }
    }

    /// Gives isolated blocks to the system and puts them back as free. Returns how many frames went.
    fn give_back(&self, blocks: &mut Vec<FreeBlock>) -> usize {
        let ranges: Vec<_> = blocks
            .iter()
            .map(|block| {
                block.start.byte_offset()..block.start.byte_offset() + (FRAME_BYTES << block.order)
            })
            .collect();
        // SAFETY: the blocks are isolated: no descriptor owns them and the allocator does not hand them out.
        let given_back =
            unsafe { self.memory.source().decommit(&self.reservation, &ranges) }.is_ok();
        let mut gone = 0;
        for block in blocks.drain(..) {
            gone += self.buddy.lock().putback(block, given_back) as usize;
        }
        self.uncharge(gone);
        gone
    }

    /// Gives a charge for frames back that are no longer resident.
    pub(crate) fn uncharge(&self, frames: usize) {
        // ORDERING: Relaxed; a statistic.
        self.charged.fetch_sub(frames, Ordering::Relaxed);
        self.memory.uncharge(frames);
    }

    /// Charges frames that are about to be touched.
    pub(crate) fn charge(&self, frames: usize, access: ReserveAccess) -> Result<(), OutOfFrames> {
        self.memory.charge(frames, access)?;
        // ORDERING: Relaxed; a statistic.
        self.charged.fetch_add(frames, Ordering::Relaxed);
        Ok(())
    }

    /// Gives all free frames back, some hundred a system call, the allocator usable in between.
    pub(crate) fn give_back_free(&self) -> usize {
        let (mut blocks, mut gone, mut pageblock) = (Vec::new(), 0, 0);
        loop {
            let mut buddy = self.buddy.lock();
            while pageblock < buddy.frontier() && blocks.len() < TRIM_BATCH {
                buddy.isolate_touched(pageblock, &mut blocks);
                pageblock += 1;
            }
            drop(buddy);
            if blocks.is_empty() {
                return gone;
            }
            gone += self.give_back(&mut blocks);
        }
    }

    /// Makes room under the limit: gives free frames, cached ones too, back to the system. `true`: there were some.
    pub fn reclaim(&self) -> bool {
        if self.stats().idle == 0 {
            return false;
        }
        let _reclaim = self.reclaim.lock();
        self.drain_caches();
        self.give_back_free() > 0
    }

    /// Gives everything that is free back to the system: caches, free frames, owner words of whole pageblocks.
    /// Returns the bytes of frames and the bytes of tables that went.
    pub fn trim(&self) -> (usize, usize) {
        let _reclaim = self.reclaim.lock();
        self.drain_caches();
        let frames = self.give_back_free();
        let (mut cursor, mut pages) = (Some(0), 0);
        while cursor.is_some() {
            // Held so that no pageblock is opened meanwhile; owner words of whole ones are not written.
            let buddy = self.buddy.lock();
            // SAFETY: owner words are written only for frames of pageblocks in use, and none of these is, or can
            // become so while the allocator's lock is held.
            pages += unsafe {
                self.owners.release_vacant(&mut cursor, &mut |entries| {
                    let first = entries.start / PAGEBLOCK_FRAMES as usize;
                    let last = (entries.end - 1) / PAGEBLOCK_FRAMES as usize;
                    (first..=last).all(|pageblock| buddy.is_whole(pageblock))
                })
            };
        }
        (frames * FRAME_BYTES, pages * FRAME_BYTES)
    }

    /// The frames by use.
    pub fn stats(&self) -> ArenaStats {
        // ORDERING: Relaxed; statistics.
        let allocated = self.allocated.load(Ordering::Relaxed);
        let claimed = self.claimed.load(Ordering::Relaxed);
        let charged = self.charged.load(Ordering::Relaxed);
        ArenaStats {
            allocated,
            contiguous: claimed,
            idle: charged.saturating_sub(allocated + claimed),
            capacity: self.reservation.bytes() / FRAME_BYTES,
        }
    }

    /// Checks that free, cached and owned frames add up to the pageblocks in use, and charges to touched frames.
    /// For a quiet arena.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub fn validate(&self) -> Result<(), String> {
        let buddy = self.buddy.lock();
        let (free, touched) = buddy.audit()?;
        let cached: u64 = self.caches.iter().map(|cache| cache.lock().frames()).sum();
        let in_use = u64::from(buddy.frontier()) * u64::from(PAGEBLOCK_FRAMES);
        let stats = self.stats();
        let handed_out = stats.allocated + stats.contiguous;
        if free + cached + handed_out as u64 != in_use {
            return Err(format!(
                "I-BUDDY: {free} frames free, {cached} cached, {} allocated, {} claimed, of {in_use} in use",
                stats.allocated, stats.contiguous
            ));
        }
        let charged = (handed_out + stats.idle) as u64;
        if touched != charged {
            return Err(format!("I-TOUCH: {touched} frames touched, {charged} charged"));
        }
        let used = self.memory.used();
        if used != handed_out + stats.idle + self.memory.metadata() {
            return Err(format!(
                "I-LIMIT: {used} frames charged in all, which is not frames and metadata"
            ));
        }
        let owned = (0..buddy.frontier() * PAGEBLOCK_FRAMES)
            .filter(|&frame| self.owner(FrameNo(frame)).is_some())
            .count();
        let claimed = (0..buddy.frontier() * PAGEBLOCK_FRAMES)
            .filter(|&frame| self.owner_word(frame) == CLAIMED)
            .count();
        if (owned, claimed) != (stats.allocated, stats.contiguous) {
            return Err(format!(
                "I-OWNER: {owned} frames have an owner and {claimed} are claimed, not {} and {}",
                stats.allocated, stats.contiguous
            ));
        }
        Ok(())
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // ORDERING: Relaxed; the arena is exclusive here.
        self.memory.uncharge(self.charged.load(Ordering::Relaxed));
        // SAFETY: reserved in `new`, released once; descriptors and guards borrow the slabs that hold this arena.
        unsafe { self.memory.source().release(self.reservation) };
    }
}
