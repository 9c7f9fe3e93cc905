//! zsmalloc: size classes over zspages, chains of single frames. The allocator that Linux settled on, on typed memory
//! descriptors, with compaction within a class and across classes.
//!
//! A *zspage* is a chain of 1 to 8 frames anywhere in memory, one descriptor over all of them, full of places of one
//! size class. Places may lie across two frames; a read gives one slice or two. An object of a huge class (one object
//! in one frame) has a frame of its own and no header.
//!
//! ```text
//!  handle -> entry -> (zspage, slot) -> descriptor (frames in order, class) -> header, bytes    one or two slices
//!                     (frame, short) -> descriptor (place of the frame)     -> bytes            huge
//! ```
//! | module | holds |
//! |---|---|
//! | `layout` | places of a class over frames, a pure function |
//! | `zspage` | which places of a zspage are used, and their bytes |
//! | `groups` | zspages by class and fullness |
//! | `place` | where a new object goes |
//! | `life` | free, write, and the work that others left pending |
//! | `compact` | emptying zspages within a class, and across classes |
//! | `audit` | stats and validate |
//!
//! # What an object costs
//! | | bytes |
//! |---|---|
//! | entry | 8 |
//! | header | 6; none in a huge class |
//! | rounding | half of what is between two classes: 8 on average for small ones, more where classes are merged |
//! | its share of the zspage's | 64 (descriptor), a bit in the tables of ids and reports, and the arena's 5 a frame |
//!
//! The classes from 600 to 2600 bytes have 18 places in a zspage on average, so it is 8 bytes and some 6 for the share in
//! tables, and 6 in the frames; a huge object has 8 + 8 and the 5 of its frame. Lists and sums take 128 bytes a class, 15
//! KiB in all. All that is counted as metadata comes to 22.5 bytes an object in 96 MiB of compressed pages.
//!
//! # Concurrency
//! There is a lock for each class's lists and none above them, so threads meet only where they store or free in one
//! class. Reading and `len` take none.

mod audit;
mod compact;
mod groups;
pub(crate) mod layout;
mod life;
mod place;
mod zspage;

use pagefold_frame::{
    Busy, Chain, ContiguousError, ContiguousRange, FRAME_BYTES, FrameMigrateError, LockError,
    Mobility, Movable, ReadGuard, ReserveAccess, Slab, SlabConfig, Tag,
};
use pagefold_sys::sync::{self, AtomicU32, Mutex};

use self::{
    groups::Groups,
    layout::{GRAIN, HEADER_BYTES, is_split, object_pieces},
    zspage::{Body, header},
};
use crate::{
    AllocError, Allocator, BuildError, CompactReport, Handle, HandleError, LimitError,
    MigrateError, Pool, PoolId, Slices, Stats, TrimReport, TryReadError, Violation, WriteError,
    attend::Attend,
    base::Base,
    classes::{Class, ClassConfig, ClassTable},
    config::{PoolConfig, ZsmallocOptions},
    entries::Place,
};

/// The longest object: a frame.
const LEN_MAX: usize = FRAME_BYTES;
/// Frames that only overwriting and compaction may use, beside a zspage: pages of tables.
const RESERVE_PAGES: usize = 8;
/// The least a limit leaves beside fixed structures, reserve and a zspage: the first pages of every table.
const SPARE_FRAMES: usize = 32;
/// Bytes that compaction moves at a time to lower a limit.
const LIMIT_STEP: usize = 1 << 20;
/// The third word of a zspage: index + 1 of the first handle entry whose place is to be freed. (I-PENDING)
const PENDING: usize = 2;

type ZspageSlab = Slab<Body, 3, Chain>;
type RunSlab = Slab<(), 0>;

const _: () = assert!(ZspageSlab::DESCRIPTOR_BYTES == 64 || cfg!(loom), "a descriptor is 64 bytes");

/// See the module.
#[derive(Debug)]
pub(crate) struct Zsmalloc {
    base: Base,
    table: ClassTable,
    zspages: ZspageSlab,
    /// Objects of a huge class, a frame each.
    runs: RunSlab,
    groups: Groups,
    /// Id + 1 of the zspage that is being emptied; 0 for none.
    victim: AtomicU32,
    /// Held by whoever compacts.
    compactor: Mutex<()>,
    lending: bool,
}

/// The classes that the options ask for.
fn class_table(options: ZsmallocOptions) -> Result<ClassTable, BuildError> {
    let (step, frames) = (options.class_step, options.chain_limit);
    if !(1..=Chain::FRAMES_MAX.get()).contains(&frames) {
        return Err(BuildError::ChainLimit { frames });
    }
    let config = ClassConfig {
        step,
        chain_max: frames,
        header_bytes: HEADER_BYTES,
        ..ClassConfig::default()
    };
    let between = config.frame_bytes - config.smallest;
    // A pool has no shorter last step, which a table may have.
    let is_whole = |_: &ClassTable| step.is_multiple_of(GRAIN) && between.is_multiple_of(step);
    ClassTable::new(config).ok().filter(is_whole).ok_or(BuildError::ClassStep { step })
}

impl Zsmalloc {
    pub(crate) fn new(config: PoolConfig, options: ZsmallocOptions) -> Result<Self, BuildError> {
        let table = class_table(options)?;
        debug_assert!(
            table
                .classes()
                .iter()
                .all(|class| { class.is_huge() || layout::check(class) == Ok(()) })
        );
        // An object takes a place of the smallest class at least, so more never fit the frames.
        let least = table.config().smallest;
        let base = Base::new(config, least, FRAME_BYTES)?;
        let slab = |tag| SlabConfig {
            tag: Tag::new(tag),
            mobility: Mobility::Movable,
            capacity: base.arena.address_space() / FRAME_BYTES,
        };
        let mut pool = Self {
            zspages: Slab::new(&base.arena, slab(1))?,
            runs: Slab::new(&base.arena, slab(2))?,
            groups: Groups::new(table.classes().len()),
            victim: AtomicU32::new(0),
            compactor: Mutex::new(()),
            lending: options.class_lending,
            table,
            base,
        };
        let chain = pool.table.config().chain_max as usize;
        let fixed = size_of::<Self>()
            + pool.groups.fixed_bytes()
            + size_of_val(pool.table.classes())
            + pool.table.sizes() * size_of::<u16>();
        pool.base.put_limit(fixed, chain + RESERVE_PAGES, chain + SPARE_FRAMES)?;
        Ok(pool)
    }

    #[inline]
    fn class(&self, number: usize) -> &Class {
        &self.table.classes()[number]
    }

    /// The slabs whose frames can be moved.
    fn movable(&self) -> [&dyn Movable; 2] {
        [&self.zspages, &self.runs]
    }

    /// Calls `f` with the bytes of an object, held for reading. The look-up protocol (I-LOOKUP): entry, hold, entry
    /// again; if it changed, the hold may be on something else, so it is let go and the look-up begins anew.
    #[inline]
    fn visit(
        &self,
        handle: Handle,
        waits: bool,
        f: &mut dyn FnMut(Slices<'_>),
    ) -> Result<(), TryReadError> {
        loop {
            let (cell, entry, place) = self.base.entry(handle)?;
            // A refusal to wait for means that the object was freed or moved after its entry was loaded.
            let refusal = match place {
                Place::Span { id, slot } => {
                    let held =
                        if waits { self.zspages.read(id) } else { self.zspages.try_read(id) };
                    match held {
                        Ok(guard) if cell.load() == entry => {
                            self.show(&guard, slot, f);
                            return Ok(());
                        }
                        outcome => outcome.err(),
                    }
                }
                Place::Run { id, short } => {
                    let held = if waits { self.runs.read(id) } else { self.runs.try_read(id) };
                    match held {
                        Ok(guard) if cell.load() == entry => {
                            f(Slices::new(&[&guard.parts().1[..FRAME_BYTES - usize::from(short)]]));
                            return Ok(());
                        }
                        outcome => outcome.err(),
                    }
                }
            };
            if refusal == Some(LockError::Busy) {
                return Err(TryReadError::WouldBlock);
            }
            #[cfg(loom)]
            sync::yield_now();
        }
    }

    /// Calls `f` with the object in a used place, in one slice or two.
    #[inline]
    fn show(
        &self,
        guard: &ReadGuard<'_, Body, 3, Chain>,
        slot: u16,
        f: &mut dyn FnMut(Slices<'_>),
    ) {
        let (body, frames) = guard.parts();
        let size = self.class(body.class()).size;
        let len = usize::from(header(&frames, size, slot).len);
        let (first, rest) = object_pieces(size, slot, len);
        let first = &frames.frame(first.frame)[first.range];
        match rest {
            None => f(Slices::new(&[first])),
            Some(rest) => f(Slices::new(&[first, &frames.frame(rest.frame)[rest.range]])),
        }
    }

    /// The frames of its chain that an object lies in, with its header.
    fn frames_of(&self, guard: &ReadGuard<'_, Body, 3, Chain>, slot: u16) -> (u32, u32) {
        let (body, frames) = guard.parts();
        let size = self.class(body.class()).size;
        let len = usize::from(header(&frames, size, slot).len);
        let first = u32::try_from(layout::place_at(size, slot) / FRAME_BYTES).expect("8 frames");
        (first, first + u32::from(is_split(size, slot, len)))
    }

    /// Compacts objects until nothing more can be won.
    fn compact_all_objects(&self) {
        while self.compact_objects(usize::MAX).more {}
    }
}

impl Pool for Zsmalloc {
    fn name(&self) -> &'static str {
        Allocator::zsmalloc().name()
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
        let mut len = 0;
        self.read(handle, &mut |slices| len = slices.len())?;
        Ok(len)
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
        match self.visit(handle, true, f) {
            Ok(()) => Ok(()),
            Err(TryReadError::Handle(error)) => Err(error),
            Err(TryReadError::WouldBlock) => unreachable!("`Slab::read` waits"),
        }
    }

    fn try_read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), TryReadError> {
        self.visit(handle, false, f)
    }

    fn compact(&self, budget: usize) -> CompactReport {
        self.base.compact(&self.movable(), budget, |budget| self.compact_objects(budget))
    }

    fn migrate(&self, handle: Handle) -> Result<usize, MigrateError> {
        'again: loop {
            let (cell, entry, place) = self.base.entry(handle)?;
            let id = match place {
                Place::Run { id, .. } => match self.base.arena.migrate(&self.runs, id) {
                    Ok(frames) => return Ok(frames.bytes()),
                    // Freed, moved or overwritten since its entry was loaded, or about to be.
                    Err(FrameMigrateError::Gone) if cell.load() != entry => continue,
                    Err(stay) => return Err(MigrateError::from(stay)),
                },
                Place::Span { id, .. } => id,
            };
            let Place::Span { slot, .. } = place else { unreachable!("a run was moved above") };
            let (first, last) = match self.zspages.try_read(id) {
                Ok(guard) if cell.load() == entry => self.frames_of(&guard, slot),
                Err(LockError::Busy) => return Err(MigrateError::Busy(Busy::Locked)),
                Ok(_) | Err(LockError::Gone) => {
                    sync::yield_now();
                    continue;
                }
            };
            let mut moved = 0;
            for number in first..=last {
                match self.base.arena.migrate_extent(&self.zspages, id, number) {
                    Ok(frames) => moved += frames.bytes(),
                    Err(FrameMigrateError::Gone) if cell.load() != entry => continue 'again,
                    // An error says that everything is as it was, so what comes in between after the first is none.
                    Err(_) if moved > 0 => return Ok(moved),
                    Err(stay) => return Err(MigrateError::from(stay)),
                }
            }
            if cell.load() == entry {
                return Ok(moved);
            }
        }
    }

    fn alloc_contiguous(
        &self,
        frames: usize,
        align: usize,
    ) -> Result<ContiguousRange<'_>, ContiguousError> {
        self.make_room();
        self.base.claim(&self.movable(), frames, align, &|| self.compact_all_objects())
    }

    fn trim(&self) -> TrimReport {
        self.drain_all_deferred();
        let entries = self.base.entries.trim();
        let (frame_bytes, tables) = self.base.arena.trim();
        let metadata_bytes = entries + tables + self.zspages.trim() + self.runs.trim();
        TrimReport { frame_bytes: frame_bytes as u64, metadata_bytes: metadata_bytes as u64 }
    }

    fn recycle_retired(&self) -> u64 {
        self.drain_all_deferred();
        self.base.entries.recycle_retired()
    }

    fn set_limit(&self, bytes: usize) -> Result<(), LimitError> {
        let compact = || self.compact_objects(LIMIT_STEP).more;
        self.base.set_limit(bytes, &|| _ = self.trim(), &compact)
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
