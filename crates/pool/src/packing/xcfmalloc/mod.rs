//! xcfmalloc: scatter-gather. An object is a chain of at most `max_blocks` blocks in any frames, so any hole is usable.
//!
//! ```text
//!  handle -> entry: first block, number of blocks -> descriptor -> header, bytes
//!            side words: other blocks, length     -> descriptor -> header, bytes
//! ```
//! An object costs 8 bytes of entry, 8 of side words (24 for `max_blocks` 4, 56 for 8), 4 a block of header (none for a
//! whole frame), its rounding to 64, and its share of 47 a frame.
//!
//! # Concurrency
//! One lock guards blocks and lists, for one object at a time. Reading and `len` do not take it.

mod audit;
mod blocks;
mod chain;
mod compact;
mod header;
mod lists;
mod lookup;
mod place;
mod reservation;
mod rewrite;
#[cfg(all(test, not(loom)))]
mod tests;

use pagefold_frame::{Busy, FRAME_BYTES, FrameMigrateError, LockError, Movable, ReserveAccess};
use pagefold_sys::sync::Mutex;

use self::{
    blocks::{MAX_BLOCKS, UNIT_BYTES},
    chain::{ChainBlock, Sides},
    compact::CompactionProgress,
    header::{Broken, is_intact},
    lists::{FrameTable, Locked},
    place::BlockSource,
    reservation::BlockReservation,
    rewrite::Replaced,
};
use crate::{
    config::{Allocator, BlockSelection, BuildError, PoolConfig, XcfmallocOptions},
    contract::CompactReport,
    engine::{
        Attempt, Audit, Base, Content, Footprint, Found, Location, NoRoom, Packing, Wait,
        migrate_all,
    },
    slices::Slices,
    stats::Stats,
};

/// Frames for tables, while overwriting and compacting.
const RESERVE_PAGES: usize = 8;
/// Frames for the first pages of all tables.
const SPARE_FRAMES: usize = 32;
#[derive(Debug)]
pub(crate) struct Xcfmalloc {
    base: Base,
    frames: FrameTable,
    sides: Sides,
    compactor: Mutex<CompactionProgress>,
    max_blocks: usize,
    max_len: usize,
    selection: BlockSelection,
}

impl Xcfmalloc {
    pub(crate) fn new(config: PoolConfig, options: XcfmallocOptions) -> Result<Self, BuildError> {
        let max_blocks = options.checked_max_blocks(MAX_BLOCKS)?;
        let base = Base::new(config, UNIT_BYTES, FRAME_BYTES)?;
        let address_space = base.arena.address_space();
        Ok(Self {
            frames: FrameTable::new(&base.arena, address_space / FRAME_BYTES)?,
            sides: Sides::new(&base, address_space / UNIT_BYTES, max_blocks)?,
            compactor: Mutex::new(CompactionProgress::default()),
            max_blocks,
            max_len: max_blocks * FRAME_BYTES,
            selection: options.selection,
            base,
        })
    }

    /// # Panics
    /// If the header is broken.
    fn assert_intact(&self, index: u32, block: ChainBlock, frame: &[u8]) {
        let broken = Broken { index, frame: block.id, offset: block.offset() };
        assert!(is_intact(block.header(frame), index), "{broken}");
    }

    fn trim_sides(&self) -> usize {
        let (mut cursor, mut pages) = (Some(0), 0);
        while cursor.is_some() {
            let mut locked = self.frames.lock();
            pages += self.sides.trim(&mut locked.lists.ready, &mut cursor);
        }
        pages * FRAME_BYTES
    }
}

impl Packing for Xcfmalloc {
    const NAME: &'static str = Allocator::xcfmalloc().name();

    fn base(&self) -> &Base {
        &self.base
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            fixed_bytes: size_of::<Self>(),
            reserve_frames: self.max_blocks + RESERVE_PAGES,
            spare_frames: self.max_blocks + SPARE_FRAMES,
        }
    }

    fn max_len(&self) -> usize {
        self.max_len
    }

    fn movable(&self) -> impl AsRef<[&dyn Movable]> {
        [&self.frames.slab as &dyn Movable]
    }

    #[inline]
    fn read<F: FnMut(Slices<'_>) + ?Sized>(
        &self,
        found: &Found<'_>,
        wait: impl Wait,
        f: &mut F,
    ) -> Result<(), LockError> {
        self.lock_chain(found, wait)?.with_slices(found.index, f);
        Ok(())
    }

    fn len(&self, found: &Found<'_>) -> Option<usize> {
        Some(self.sides.len(found.index))
    }

    fn place(
        &self,
        content: Content<'_>,
        index: u32,
        access: ReserveAccess,
        attempt: Attempt,
        publish: impl FnOnce(Location) -> bool,
    ) -> Result<bool, NoRoom> {
        let write_down = |locked: &mut Locked<'_>, reservation: &BlockReservation<'_>| {
            self.sides.ensure(&mut locked.lists.ready, index, access)?;
            self.sides.store(index, &reservation.chain);
            locked.lists.split_objects += usize::from(reservation.chain.is_split());
            Ok(())
        };
        let (len, source) = (content.len(), BlockSource::Anywhere(access));
        let mut reservation =
            self.insist(attempt, || self.reserve(len, index, self.max_blocks, source, write_down))?;
        reservation.fill(index, content);
        // A reader of the entry waits for these guards.
        let published = publish(reservation.chain.location());
        assert!(published, "the entry of a new object is the caller's");
        Ok(true)
    }

    fn overwrite(&self, found: &Found<'_>, bytes: &[u8]) -> Result<(), LockError> {
        let mut locked = self.try_lock_for_writing(found)?;
        // After a free, its blocks are filled only after these guards.
        let (chain, mut rest) = (locked.chain, bytes);
        for &block in chain.blocks() {
            let (here, after) = rest.split_at(block.len);
            block.split(locked.frame(block)).1.copy_from_slice(here);
            rest = after;
        }
        Ok(())
    }

    fn rewrite(&self, found: &Found<'_>, bytes: &[u8], attempt: Attempt) -> Result<bool, NoRoom> {
        let source = BlockSource::Anywhere(ReserveAccess::Reserve);
        let reserve =
            || self.reserve(bytes.len(), found.index, self.max_blocks, source, |_, _| Ok(()));
        let mut reservation = self.insist(attempt, reserve)?;
        reservation.fill(found.index, Content::Bytes(bytes));
        let frames_to_free = self.switch(found, reservation, Replaced::All, self.keep());
        Ok(frames_to_free.map(|frames_to_free| self.frames.reap(&frames_to_free)).is_some())
    }

    fn free(&self, found: &Found<'_>) -> bool {
        let vacant = found.make_vacant();
        if vacant {
            self.vacate(found);
        }
        vacant
    }

    fn migrate(&self, found: &Found<'_>) -> Result<usize, FrameMigrateError> {
        // Locks all frames before the first write.
        let chain = match self.try_lock_for_writing(found) {
            Ok(locked) => locked.chain,
            Err(LockError::Busy) => return Err(FrameMigrateError::Busy(Busy::Locked)),
            Err(LockError::Gone) => return Err(FrameMigrateError::Gone),
        };
        let blocks = chain.blocks();
        let first_in_frame =
            |at: &usize| !blocks[..*at].iter().any(|before| before.id == blocks[*at].id);
        let migrate = |at: usize| self.base.arena.migrate(&self.frames.slab, blocks[at].id);
        migrate_all(found, (0..blocks.len()).filter(first_in_frame).map(migrate))
    }

    #[inline]
    fn has_deferred(&self) -> bool {
        self.frames.slab.has_deferred()
    }

    fn drain_deferred(&self) -> bool {
        self.frames.slab.drain_deferred(&mut |_| {})
    }

    fn close(&self) {
        self.empty_reserve();
    }

    fn compact_objects(&self, budget: usize, wanted: u64) -> CompactReport {
        let report = self.empty_frames(budget, wanted);
        if !report.more {
            self.empty_reserve();
        }
        report
    }

    fn trim_tables(&self) -> usize {
        self.trim_sides() + self.frames.slab.trim()
    }

    fn account(&self, stats: &mut Stats) {
        self.account_blocks(stats);
    }

    fn audit(&self, audit: &mut Audit<'_>) -> Result<(), String> {
        self.audit_blocks(audit)
    }
}
