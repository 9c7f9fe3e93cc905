//! zbud: two objects in a frame, one at each end. The simplest packing, with an order of use to reclaim by.
//!
//! ```text
//!  handle -> entry -> (frame, side, length) -> descriptor (location, sides, order of use) -> bytes
//! ```
//! States of a frame, which change under the lists' lock:
//!
//! - lone (one object): in the order of use and the set of its free chunks
//! - buddied (two objects): in the order of use
//! - under reclaim: on no list; then freed if empty, else listed as filled last
//! - freed: on no list; reaped at once or after its last reader
//!
//! Source of the idea: Linux's zbud (2013), from its public discussion.

mod audit;
mod compact;
mod layout;
mod lists;
mod place;
mod reclaim;

use pagefold_frame::{
    DescriptorId, FRAME_BYTES, FrameMigrateError, LockError, Mobility, Movable, ReserveAccess,
    Slab, SlabConfig, Tag,
};

use self::{
    layout::{Side, SideSlot},
    lists::{FrameOrder, FrameSlab, Locked},
};
use crate::{
    config::{Allocator, BuildError, PoolConfig},
    contract::{CompactReport, Evict, Reclaimed},
    engine::{Attempt, Audit, Base, Content, Footprint, Found, Location, NoRoom, Packing, Wait},
    error::ReclaimError,
    slices::Slices,
    stats::Stats,
};

const LEN_MAX: usize = FRAME_BYTES;
/// Frames, one for each overwrite beside a reader.
const RESERVE_FRAMES: usize = 8;
/// Frames: one, and each table's first pages.
const SPARE_FRAMES: usize = 32;
/// Allows more than two indices a frame, as caches keep some.
const BYTES_PER_INDEX: usize = 512;
#[derive(Debug)]
pub(crate) struct Zbud {
    base: Base,
    frames: FrameSlab,
    lists: FrameOrder,
}

impl Zbud {
    pub(crate) fn new(config: PoolConfig) -> Result<Self, BuildError> {
        let base = Base::new(config, BYTES_PER_INDEX, LEN_MAX)?;
        let capacity = base.arena.address_space() / FRAME_BYTES;
        let slab = SlabConfig { tag: Tag::new(1), mobility: Mobility::Movable, capacity };
        Ok(Self {
            frames: Slab::new(&base.arena, slab)?,
            lists: FrameOrder::new(&base.memory, capacity)?,
            base,
        })
    }

    /// The object on a side, if its entry agrees. (I-SIDE)
    fn object_on(&self, lists: &Locked<'_>, id: DescriptorId, side: Side) -> Option<Object<'_>> {
        let index = lists.index(id, side)?;
        let found = self.base.find_index(index)?;
        let (at, slot) = slot_of(&found);
        let agrees = at == id && slot.side == side && slot.chunks() == lists.sides(id).chunks(side);
        agrees.then_some(Object { found, slot })
    }
}

#[derive(Debug, Clone, Copy)]
struct Object<'a> {
    found: Found<'a>,
    slot: SideSlot,
}

#[inline]
fn slot_of(found: &Found<'_>) -> (DescriptorId, SideSlot) {
    match found.location {
        Location::Slot { id, slot } => (id, SideSlot::from_bits(slot)),
        Location::Run { .. } => unreachable!("I-SIDE: an entry says a side of a frame"),
    }
}

impl Packing for Zbud {
    const NAME: &'static str = Allocator::zbud().name();

    fn base(&self) -> &Base {
        &self.base
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            fixed_bytes: size_of::<Self>(),
            reserve_frames: RESERVE_FRAMES,
            spare_frames: SPARE_FRAMES,
        }
    }

    fn max_len(&self) -> usize {
        LEN_MAX
    }

    fn movable(&self) -> impl AsRef<[&dyn Movable]> {
        [&self.frames as &dyn Movable]
    }

    #[inline]
    fn read<F: FnMut(Slices<'_>) + ?Sized>(
        &self,
        found: &Found<'_>,
        wait: impl Wait,
        f: &mut F,
    ) -> Result<(), LockError> {
        let (id, slot) = slot_of(found);
        found.read_locked(&self.frames, id, wait, |guard| {
            f(Slices::new(&[&guard.parts().1[slot.range()]]));
        })
    }

    fn len(&self, found: &Found<'_>) -> Option<usize> {
        Some(slot_of(found).1.len)
    }

    fn place(
        &self,
        content: Content<'_>,
        index: u32,
        access: ReserveAccess,
        attempt: Attempt,
        publish: impl FnOnce(Location) -> bool,
    ) -> Result<bool, NoRoom> {
        self.put(content, (index, None), access, attempt, publish)
    }

    fn overwrite(&self, found: &Found<'_>, bytes: &[u8]) -> Result<(), LockError> {
        let (id, slot) = slot_of(found);
        let mut guard = self.frames.try_write(id)?;
        if !found.is_current() {
            return Err(LockError::Gone);
        }
        guard.parts().1[slot.range()].copy_from_slice(bytes);
        Ok(())
    }

    fn rewrite(&self, found: &Found<'_>, bytes: &[u8], attempt: Attempt) -> Result<bool, NoRoom> {
        let object = (found.index, Some(slot_of(found)));
        let publish = |to| found.relocate(to);
        self.put(Content::Bytes(bytes), object, ReserveAccess::Reserve, attempt, publish)
    }

    fn free(&self, found: &Found<'_>) -> bool {
        self.free_side(found)
    }

    fn migrate(&self, found: &Found<'_>) -> Result<usize, FrameMigrateError> {
        Ok(self.base.arena.migrate(&self.frames, slot_of(found).0)?.bytes())
    }

    #[inline]
    fn has_deferred(&self) -> bool {
        self.frames.has_deferred()
    }

    fn drain_deferred(&self) -> bool {
        self.frames.drain_deferred(&mut |_| {})
    }

    fn compact_objects(&self, budget: usize, _wanted: u64) -> CompactReport {
        self.join_lone_frames(budget)
    }

    fn trim_tables(&self) -> usize {
        self.frames.trim()
    }

    fn account(&self, stats: &mut Stats) {
        let lists = self.lists.lock(&self.frames);
        stats.reclaimable_bytes = (audit::pairs(lists.counts()) * FRAME_BYTES) as u64;
        stats.lists_in_use = u64::from(lists.in_use().count_ones());
    }

    fn audit(&self, audit: &mut Audit<'_>) -> Result<(), String> {
        self.audit_frames(audit)
    }

    fn reclaim(&self, retries: u32, evict: &mut Evict<'_>) -> Result<Reclaimed, ReclaimError> {
        self.reclaim_frame(retries, evict)
    }
}
