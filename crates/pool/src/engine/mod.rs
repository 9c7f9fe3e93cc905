//! One implementation of the pool contract over any packing.
//!
//! ```text
//!  Pool  <-  Engine<P>   handles, look-up, overwriting, deferred work, compaction turns, limits, accounts
//!              |
//!              P: Packing    where objects lie in frames: nbud, zbud, xcfmalloc, zsmalloc, or your own
//!              |
//!              Base          budget, arena, handle table, scratch, counters
//! ```
//! To build a pool: `PoolConfig` -> `Base::new` -> the packing, over `base.arena()` -> `Engine::new`.
//! [`PoolBuilder`](crate::PoolBuilder) does that for the packings of this crate.
//!
//! - `found`, `lookup`: from a handle to bytes under a guard
//! - `insert`, `overwrite`, `free`: the life of an object
//! - `deferred`: work that a guard delays
//! - `runs`, `slots`: parts that packings share
//! - `upkeep`: compaction, trim, limit, migration, contiguous ranges

mod audit;
mod base;
mod content;
mod counters;
mod deferred;
mod found;
mod free;
mod handle_table;
mod insert;
mod lookup;
mod overwrite;
mod packing;
mod runs;
mod scratch;
mod slots;
mod upkeep;

use pagefold_frame::{ContiguousError, ContiguousRange, FRAME_BYTES, ReserveAccess};

use self::upkeep::Turns;
pub use self::{
    audit::Audit,
    base::Base,
    content::Content,
    found::{ForWriter, Found, Never, Wait},
    handle_table::Location,
    packing::{Attempt, Footprint, NoRoom, Packing},
    runs::Runs,
    slots::{SLOT_WORDS, SlotGuard, SlotPacking, SlotSlab},
};
pub(crate) use self::{deferred::drain_all, found::migrate_all};
pub use crate::config::PoolConfig;
use crate::{
    config::BuildError,
    contract::{CompactReport, Evict, Pool, Reclaimed, TrimReport},
    error::{
        AllocError, HandleError, LimitError, MigrateError, ReclaimError, TryReadError, Violation,
        WriteError,
    },
    handle::{Handle, PoolId},
    slices::Slices,
    stats::Stats,
};

/// A pool of packing `P`.
#[derive(Debug)]
pub struct Engine<P> {
    packing: P,
    turns: Turns,
    /// In bytes.
    min_limit: usize,
}

impl<P: Packing> Engine<P> {
    /// Charges fixed memory, and sets the limit.
    ///
    /// # Errors
    /// [`BuildError::LimitTooSmall`].
    pub fn new(packing: P) -> Result<Self, BuildError> {
        let Footprint { fixed_bytes, reserve_frames, spare_frames } = packing.footprint();
        let (memory, limit) = (&packing.base().memory, packing.base().limit);
        let too_small = |min: usize| BuildError::LimitTooSmall { allocator: P::NAME, limit, min };
        let fixed = size_of::<Self>() - size_of::<P>() + fixed_bytes + packing.base().fixed_bytes();
        memory.charge_fixed(fixed).map_err(|_| too_small(fixed))?;
        memory.set_reserve(reserve_frames);
        let min_limit = (memory.used() + reserve_frames + spare_frames) * FRAME_BYTES;
        if limit < min_limit {
            return Err(too_small(min_limit));
        }
        memory.set_limit(limit / FRAME_BYTES).map_err(|_| too_small(min_limit))?;
        Ok(Self { packing, turns: Turns::default(), min_limit })
    }

    /// The packing.
    pub fn packing(&self) -> &P {
        &self.packing
    }

    /// Returns a valid length.
    fn storable(&self, len: usize) -> Result<usize, AllocError> {
        match (len, self.packing.max_len()) {
            (0, _) => Err(AllocError::InvalidSize),
            (_, max) if len > max => Err(AllocError::TooLarge { len, max }),
            _ => Ok(len),
        }
    }
}

impl<P: Packing> Pool for Engine<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn id(&self) -> PoolId {
        self.packing.base().handles.pool_id()
    }

    fn max_len(&self) -> usize {
        self.packing.max_len()
    }

    fn alloc(&self, len: usize) -> Result<Handle, AllocError> {
        let zeros = Content::Zeros(self.storable(len)?);
        insert::insert(&self.packing, zeros, ReserveAccess::Normal)
    }

    fn store(&self, bytes: &[u8]) -> Result<Handle, AllocError> {
        if self.packing.reads_input_unlocked(self.storable(bytes.len())?) {
            return self.store_resident(bytes);
        }
        self.packing.base().scratch.with_copy(bytes, |copy| self.store_resident(copy))
    }

    fn store_resident(&self, bytes: &[u8]) -> Result<Handle, AllocError> {
        self.store_within(bytes, ReserveAccess::Normal)
    }

    fn store_within(&self, bytes: &[u8], access: ReserveAccess) -> Result<Handle, AllocError> {
        self.storable(bytes.len())?;
        insert::insert(&self.packing, Content::Bytes(bytes), access)
    }

    fn free(&self, handle: Handle) -> Result<(), HandleError> {
        free::free(&self.packing, handle)
    }

    fn len(&self, handle: Handle) -> Result<usize, HandleError> {
        lookup::len(&self.packing, handle)
    }

    fn write(&self, handle: Handle, bytes: &[u8]) -> Result<(), WriteError> {
        overwrite::write(&self.packing, handle, bytes)
    }

    #[inline]
    fn read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), HandleError> {
        lookup::read(&self.packing, handle, f)
    }

    fn try_read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), TryReadError> {
        lookup::try_read(&self.packing, handle, f)
    }

    fn compact(&self, budget: usize) -> CompactReport {
        upkeep::compact(&self.packing, &self.turns, budget)
    }

    fn reclaim(&self, retries: u32, evict: &mut Evict<'_>) -> Result<Reclaimed, ReclaimError> {
        self.packing.reclaim(retries, evict)
    }

    fn migrate(&self, handle: Handle) -> Result<usize, MigrateError> {
        upkeep::migrate(&self.packing, handle)
    }

    fn alloc_contiguous(
        &self,
        frames: usize,
        align: usize,
    ) -> Result<ContiguousRange<'_>, ContiguousError> {
        upkeep::alloc_contiguous(&self.packing, frames, align)
    }

    fn trim(&self) -> TrimReport {
        upkeep::trim(&self.packing)
    }

    fn recycle_retired(&self) -> u64 {
        drain_all(&self.packing);
        self.packing.base().handles.recycle_retired()
    }

    fn set_limit(&self, bytes: usize) -> Result<(), LimitError> {
        upkeep::set_limit(&self.packing, self.min_limit, bytes)
    }

    fn stats(&self) -> Stats {
        drain_all(&self.packing);
        let mut stats = self.packing.base().stats();
        self.packing.account(&mut stats);
        stats
    }

    fn validate(&self) -> Result<(), Violation> {
        audit::validate(&self.packing).map_err(Violation)
    }
}
