//! zbud: two objects in a frame. The simplest packing, with an order of use to reclaim by.
//!
//! A frame holds at most two objects, one at each end, so whatever is free lies between them in one piece, and freeing
//! either yields the largest free piece that the frame can have. Never fewer than one object a frame: so it never takes
//! more frames than there are objects. What a frame holds is said in its descriptor, so an object may be as long as the
//! frame.
//!
//! ```text
//!  handle -> entry -> (frame, side, length) -> descriptor (place of the frame) -> bytes
//!                                              descriptor's words: what the sides hold, neighbours in the order of use
//! ```
//! | module | holds |
//! |---|---|
//! | `shape` | the layout of a frame, a pure function of sides and lengths |
//! | `lists` | the order of use, and lone frames by what they have free; one lock |
//! | `life` | store, free and write |
//! | `reclaim` | evicting what was filled longest ago |
//! | `compact` | joining the objects of lone frames |
//! | `audit` | stats and validate |
//!
//! A frame is in one of these states, and changes under the lists' lock:
//!
//! | state | on the lists | becomes |
//! |---|---|---|
//! | lone: one object | in the order of use, and in the set of its free chunks | buddied: a store fills it; freed: its object is freed or joined to another; under reclaim |
//! | buddied: two objects | in the order of use | lone: one is freed; under reclaim |
//! | under reclaim | nowhere | freed: empty when the reclaim ends; otherwise as before, and first in the order of use |
//! | freed | nowhere | the descriptor is killed: at once, or after its last reader |
//!
//! The idea is that of Linux's zbud (2013), known from its public discussion. What is different: frames move, objects
//! of lone frames can be joined, and free is safe beside readers.

mod audit;
mod compact;
mod life;
mod lists;
mod reclaim;
mod shape;

use pagefold_frame::{
    ContiguousError, ContiguousRange, DescriptorId, FRAME_BYTES, FrameMigrateError, LockError,
    Mobility, Movable, ReserveAccess, Slab, SlabConfig, Tag,
};

use self::{
    lists::{FrameSlab, Lists, Locked},
    shape::{Side, Slot},
};
use crate::{
    AllocError, Allocator, BuildError, CompactReport, Evict, Handle, HandleError, LimitError,
    MigrateError, Pool, PoolId, ReclaimError, Reclaimed, Slices, Stats, TrimReport, TryReadError,
    Violation, WriteError,
    attend::Attend,
    base::Base,
    config::PoolConfig,
    entries::{Entry, EntryCell, Place, State},
};

/// The longest object: a frame.
const LEN_MAX: usize = FRAME_BYTES;
/// Frames that only overwriting may use: it needs one for each object that is overwritten while it is read.
const RESERVE_FRAMES: usize = 8;
/// The least a limit leaves beside fixed structures and reserve: a frame, and the first pages of every table.
const SPARE_FRAMES: usize = 32;
/// Bytes of frames for each index of the handle table: more indices than the two objects of each frame, since some are in
/// caches.
const BYTES_PER_INDEX: usize = 512;
/// Bytes of objects that one step of compaction moves when the limit is lowered.
const LIMIT_STEP: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Zbud {
    base: Base,
    frames: FrameSlab,
    lists: Lists,
}

/// Where an object is, as its entry says.
#[derive(Debug, Clone, Copy)]
struct Found<'a> {
    cell: EntryCell<'a>,
    entry: Entry,
    id: DescriptorId,
    slot: Slot,
}

impl Found<'_> {
    /// Whether the object is still there; to be asked with the frame held. (I-LOOKUP)
    fn is_still_there(&self) -> bool {
        self.cell.load() == self.entry
    }
}

/// An object as its side and its entry say.
#[derive(Debug, Clone, Copy)]
struct Object {
    index: u32,
    entry: Entry,
    slot: Slot,
}

impl Zbud {
    pub(crate) fn new(config: PoolConfig) -> Result<Self, BuildError> {
        let base = Base::new(config, BYTES_PER_INDEX, LEN_MAX)?;
        let capacity = base.arena.address_space() / FRAME_BYTES;
        let slab = SlabConfig { tag: Tag::new(1), mobility: Mobility::Movable, capacity };
        let mut pool = Self {
            frames: Slab::new(&base.arena, slab)?,
            lists: Lists::new(&base.memory, capacity)?,
            base,
        };
        pool.base.put_limit(size_of::<Self>(), RESERVE_FRAMES, SPARE_FRAMES)?;
        Ok(pool)
    }

    /// The slab whose frames can be moved.
    fn movable(&self) -> [&dyn Movable; 1] {
        [&self.frames]
    }

    /// Where the object of a handle was a moment ago.
    #[inline]
    fn find(&self, handle: Handle) -> Result<Found<'_>, HandleError> {
        let (cell, entry, place) = self.base.entry(handle)?;
        let Place::Span { id, slot } = place else {
            unreachable!("I-SIDE: an entry says a side of a frame");
        };
        Ok(Found { cell, entry, id, slot: Slot::from_bits(slot) })
    }

    /// The object on a side of a frame; `None` if there is none, or its entry does not agree. (I-SIDE)
    fn object_on(&self, lists: &Locked<'_>, id: DescriptorId, side: Side) -> Option<Object> {
        let index = lists.index(id, side)?;
        let entry = self.base.entries.load(index);
        match entry.state() {
            State::Live(Place::Span { id: at, slot }) if at == id => {
                let slot = Slot::from_bits(slot);
                let agrees = slot.side == side && slot.chunks() == lists.shape(id).chunks(side);
                agrees.then_some(Object { index, entry, slot })
            }
            _ => None,
        }
    }

    /// Calls `f` with the bytes of an object, held for reading. The look-up protocol (I-LOOKUP): entry, hold, entry
    /// again; if it changed, the hold may be on something else, so it is let go and the look-up begins anew.
    #[inline]
    fn visit(&self, handle: Handle, f: impl FnOnce(&[u8])) -> Result<(), HandleError> {
        loop {
            let found = self.find(handle)?;
            // A refusal means that the object was freed or moved after its entry was loaded.
            if let Ok(guard) = self.frames.read(found.id)
                && found.is_still_there()
            {
                f(&guard.parts().1[found.slot.range()]);
                return Ok(());
            }
            #[cfg(loom)]
            pagefold_sys::sync::yield_now();
        }
    }

    /// As [`visit`](Self::visit), without waiting.
    fn try_visit(&self, handle: Handle, f: impl FnOnce(&[u8])) -> Result<(), TryReadError> {
        loop {
            let found = self.find(handle)?;
            match self.frames.try_read(found.id) {
                Ok(guard) if found.is_still_there() => {
                    f(&guard.parts().1[found.slot.range()]);
                    return Ok(());
                }
                Err(LockError::Busy) => return Err(TryReadError::WouldBlock),
                Ok(_) | Err(LockError::Gone) => {}
            }
            #[cfg(loom)]
            pagefold_sys::sync::yield_now();
        }
    }
}

impl Pool for Zbud {
    fn name(&self) -> &'static str {
        Allocator::zbud().name()
    }

    fn id(&self) -> PoolId {
        self.base.entries.pool_id()
    }

    fn max_len(&self) -> usize {
        LEN_MAX
    }

    fn alloc(&self, len: usize) -> Result<Handle, AllocError> {
        static ZEROS: [u8; LEN_MAX] = [0; LEN_MAX];
        self.insert(&ZEROS[..storable(len)?], ReserveAccess::Normal)
    }

    fn store(&self, bytes: &[u8]) -> Result<Handle, AllocError> {
        storable(bytes.len())?;
        self.base.scratch.with_copy(bytes, |copy| self.insert(copy, ReserveAccess::Normal))
    }

    fn store_resident(&self, bytes: &[u8]) -> Result<Handle, AllocError> {
        self.store_within(bytes, ReserveAccess::Normal)
    }

    fn store_within(&self, bytes: &[u8], access: ReserveAccess) -> Result<Handle, AllocError> {
        storable(bytes.len())?;
        self.insert(bytes, access)
    }

    fn free(&self, handle: Handle) -> Result<(), HandleError> {
        self.remove(handle)
    }

    fn len(&self, handle: Handle) -> Result<usize, HandleError> {
        Ok(self.find(handle)?.slot.len)
    }

    fn write(&self, handle: Handle, bytes: &[u8]) -> Result<(), WriteError> {
        let len = self.len(handle)?;
        if len != bytes.len() {
            return Err(WriteError::WrongLength { len, given: bytes.len() });
        }
        self.base.scratch.with_copy(bytes, |copy| self.replace(handle, copy))
    }

    #[inline]
    fn read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), HandleError> {
        self.visit(handle, |bytes| f(Slices::new(&[bytes])))
    }

    fn try_read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), TryReadError> {
        self.try_visit(handle, |bytes| f(Slices::new(&[bytes])))
    }

    fn compact(&self, budget: usize) -> CompactReport {
        self.base.compact(&self.movable(), budget, |budget| self.compact_objects(budget))
    }

    fn reclaim(&self, retries: u32, evict: &mut Evict<'_>) -> Result<Reclaimed, ReclaimError> {
        self.reclaim_frame(retries, evict)
    }

    fn migrate(&self, handle: Handle) -> Result<usize, MigrateError> {
        loop {
            let found = self.find(handle)?;
            match self.base.arena.migrate(&self.frames, found.id) {
                Ok(frames) => return Ok(frames.bytes()),
                // Freed, joined or overwritten since its entry was loaded, or about to be.
                Err(FrameMigrateError::Gone) if !found.is_still_there() => {}
                Err(stay) => return Err(MigrateError::from(stay)),
            }
        }
    }

    fn alloc_contiguous(
        &self,
        frames: usize,
        align: usize,
    ) -> Result<ContiguousRange<'_>, ContiguousError> {
        self.make_room();
        self.base.claim(&self.movable(), frames, align, &|| {
            self.compact_objects(usize::MAX);
        })
    }

    fn trim(&self) -> TrimReport {
        self.drain_all_deferred();
        let entries = self.base.entries.trim();
        let (frame_bytes, tables) = self.base.arena.trim();
        let metadata_bytes = entries + tables + self.frames.trim();
        TrimReport { frame_bytes: frame_bytes as u64, metadata_bytes: metadata_bytes as u64 }
    }

    fn recycle_retired(&self) -> u64 {
        self.drain_all_deferred();
        self.base.entries.recycle_retired()
    }

    fn set_limit(&self, bytes: usize) -> Result<(), LimitError> {
        let trim = || {
            self.trim();
        };
        self.base.set_limit(bytes, &trim, &|| self.compact_objects(LIMIT_STEP).more)
    }

    fn stats(&self) -> Stats {
        self.account()
    }

    fn validate(&self) -> Result<(), Violation> {
        self.audit().map_err(Violation)
    }
}

/// The length, if an object can have it.
fn storable(len: usize) -> Result<usize, AllocError> {
    match len {
        0 => Err(AllocError::InvalidSize),
        1..=LEN_MAX => Ok(len),
        _ => Err(AllocError::TooLarge { len, max: LEN_MAX }),
    }
}
