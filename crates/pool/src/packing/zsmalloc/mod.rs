//! zsmalloc: size classes over zspages. It compacts within and across classes.
//!
//! A *zspage* is a chain of 1 to 8 single frames full of slots of one size class. A slot may span two frames. An object
//! of a huge class has its own frame and no header.
//!
//! ```text
//!  handle -> entry -> (zspage, slot) -> descriptor (frames in order, class) -> header, bytes    one or two slices
//!                     (frame, slack) -> descriptor (its first frame)       -> bytes            huge
//! ```
//! An object costs 8 bytes of entry, 6 of header, half the step between classes, and its share of the zspage's 64 bytes
//! and 5 a frame.
//!
//! # Concurrency
//! Each class has a lock for its lists; none is above them. Reading and `len` take no lock.

mod audit;
mod compact;
mod groups;
mod layout;
mod place;
mod zspage;

use pagefold_frame::{
    Busy, Chain, DescriptorId, FRAME_BYTES, FrameMigrateError, LockError, Mobility, Movable,
    ReadGuard, ReserveAccess, Slab, SlabConfig, Tag,
};
use pagefold_sys::sync::{AtomicU32, Mutex, Ordering};

use self::{
    groups::{Groups, group_of},
    layout::{GRAIN, HEADER_BYTES, is_split, object_extents},
    zspage::{Body, header},
};
use crate::{
    classes::{Class, ClassConfig, ClassTable},
    config::{Allocator, BuildError, PoolConfig, ZsmallocOptions},
    contract::CompactReport,
    engine::{
        Attempt, Audit, Base, Content, Footprint, Found, Location, Never, NoRoom, Packing, Runs,
        SLOT_WORDS, SlotGuard, SlotPacking, Wait, migrate_all,
    },
    slices::Slices,
    stats::Stats,
};

const LEN_MAX: usize = FRAME_BYTES;
/// Frames for tables, while overwriting and compacting.
const RESERVE_PAGES: usize = 8;
/// Frames for the first pages of all tables.
const SPARE_FRAMES: usize = 32;
type ZspageSlab = Slab<Body, SLOT_WORDS, Chain>;
type ZspageGuard<'a> = SlotGuard<'a, Zsmalloc>;
type ZspageReader<'a> = ReadGuard<'a, Body, SLOT_WORDS, Chain>;

const _: () = assert!(ZspageSlab::DESCRIPTOR_BYTES == 64 || cfg!(loom), "a descriptor is 64 bytes");

#[derive(Debug)]
pub(crate) struct Zsmalloc {
    base: Base,
    table: ClassTable,
    zspages: ZspageSlab,
    /// Objects of huge classes.
    runs: Runs,
    groups: Groups,
    /// Id + 1 of the zspage being emptied; 0 for none.
    victim: AtomicU32,
    compactor: Mutex<()>,
    lending: bool,
}

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
        let least = table.config().smallest;
        let base = Base::new(config, least, FRAME_BYTES)?;
        let capacity = base.arena.address_space() / FRAME_BYTES;
        let zspages = SlabConfig { tag: Tag::new(1), mobility: Mobility::Movable, capacity };
        Ok(Self {
            zspages: Slab::new(&base.arena, zspages)?,
            runs: Runs::new(&base, Tag::new(2), capacity)?,
            groups: Groups::new(table.classes().len()),
            victim: AtomicU32::new(0),
            compactor: Mutex::new(()),
            lending: options.class_lending,
            table,
            base,
        })
    }

    #[inline]
    fn class(&self, number: usize) -> &Class {
        &self.table.classes()[number]
    }

    #[inline]
    fn show<F: FnMut(Slices<'_>) + ?Sized>(&self, guard: &ZspageReader<'_>, slot: u16, f: &mut F) {
        let (body, frames) = guard.parts();
        let size = self.class(body.class()).size;
        let len = usize::from(header(&frames, size, slot).len);
        let (first, rest) = object_extents(size, slot, len);
        let first = &frames.frame(first.frame)[first.range];
        match rest {
            None => f(Slices::new(&[first])),
            Some(rest) => f(Slices::new(&[first, &frames.frame(rest.frame)[rest.range]])),
        }
    }

    fn frames_of(&self, guard: &ZspageReader<'_>, slot: u16) -> (u32, u32) {
        let (body, frames) = guard.parts();
        let size = self.class(body.class()).size;
        let len = usize::from(header(&frames, size, slot).len);
        let first = u32::try_from(layout::slot_offset(size, slot) / FRAME_BYTES).expect("8 frames");
        (first, first + u32::from(is_split(size, slot, len)))
    }

    fn is_victim(&self, id: DescriptorId) -> bool {
        // ORDERING: Acquire; pairs with the Release in `compact`. A thread that sees a former victim has its write
        // guard, so the compactor marks the zspage as pending and it is listed once more.
        self.victim.load(Ordering::Acquire) == id.get() + 1
    }

    /// The next zspage with this id is no victim.
    fn forget_victim(&self, id: DescriptorId) {
        // ORDERING: Relaxed; a successor gets the id through the lock of the ids, under which it is given back after
        // this.
        _ = self.victim.compare_exchange(id.get() + 1, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Packing for Zsmalloc {
    const NAME: &'static str = Allocator::zsmalloc().name();

    fn base(&self) -> &Base {
        &self.base
    }

    fn footprint(&self) -> Footprint {
        let chain = self.table.config().chain_max as usize;
        Footprint {
            fixed_bytes: size_of::<Self>()
                + self.groups.fixed_bytes()
                + size_of_val(self.table.classes())
                + self.table.sizes() * size_of::<u16>(),
            reserve_frames: chain + RESERVE_PAGES,
            spare_frames: chain + SPARE_FRAMES,
        }
    }

    fn max_len(&self) -> usize {
        LEN_MAX
    }

    fn movable(&self) -> impl AsRef<[&dyn Movable]> {
        [&self.zspages, self.runs.movable()]
    }

    #[inline]
    fn read<F: FnMut(Slices<'_>) + ?Sized>(
        &self,
        found: &Found<'_>,
        wait: impl Wait,
        f: &mut F,
    ) -> Result<(), LockError> {
        match found.location {
            Location::Slot { id, slot } => {
                found.read_locked(&self.zspages, id, wait, |guard| self.show(&guard, slot, f))
            }
            Location::Run { id, slack } => self.runs.read(found, (id, slack), wait, f),
        }
    }

    fn place(
        &self,
        content: Content<'_>,
        index: u32,
        access: ReserveAccess,
        _attempt: Attempt,
        publish: impl FnOnce(Location) -> bool,
    ) -> Result<bool, NoRoom> {
        let class = self.table.index_of(content.len()).expect("a length within the maximum");
        if self.class(class).is_huge() {
            self.runs.place(content, access, publish)
        } else {
            self.place_in_class(class, content, index, access, publish)
        }
    }

    fn overwrite(&self, found: &Found<'_>, bytes: &[u8]) -> Result<(), LockError> {
        let (id, slot) = match found.location {
            Location::Run { id, .. } => return self.runs.overwrite(found, id, bytes),
            Location::Slot { id, slot } => (id, slot),
        };
        let mut guard = self.zspages.try_write(id)?;
        let current = found.is_current();
        if current {
            self.zspage(&mut guard).write(slot, Content::Bytes(bytes));
        }
        self.unlock_and_relist(guard);
        if current { Ok(()) } else { Err(LockError::Gone) }
    }

    fn rewrite(&self, found: &Found<'_>, bytes: &[u8], attempt: Attempt) -> Result<bool, NoRoom> {
        self.rewrite_location(found, bytes, attempt)
    }

    fn free(&self, found: &Found<'_>) -> bool {
        self.free_location(found)
    }

    fn migrate(&self, found: &Found<'_>) -> Result<usize, FrameMigrateError> {
        let (id, slot) = match found.location {
            Location::Run { id, .. } => return self.runs.migrate(&self.base, id),
            Location::Slot { id, slot } => (id, slot),
        };
        let frames = |guard: ZspageReader<'_>| self.frames_of(&guard, slot);
        let (first, last) = match found.read_locked(&self.zspages, id, Never, frames) {
            Ok(frames) => frames,
            Err(LockError::Busy) => return Err(FrameMigrateError::Busy(Busy::Locked)),
            Err(LockError::Gone) => return Err(FrameMigrateError::Gone),
        };
        let migrate = |number| self.base.arena.migrate_extent(&self.zspages, id, number);
        migrate_all(found, (first..=last).map(migrate))
    }

    #[inline]
    fn has_deferred(&self) -> bool {
        self.slots_have_deferred()
    }

    fn drain_deferred(&self) -> bool {
        self.drain_deferred_slots()
    }

    fn compact_objects(&self, budget: usize, _wanted: u64) -> CompactReport {
        self.empty_zspages(budget)
    }

    fn trim_tables(&self) -> usize {
        self.zspages.trim() + self.runs.trim()
    }

    fn account(&self, stats: &mut Stats) {
        stats.reclaimable_bytes = self.reclaimable() as u64;
        stats.lists_in_use = self.groups.in_use() as u64;
        stats.split_objects = self.base.counters.split();
    }

    fn audit(&self, audit: &mut Audit<'_>) -> Result<(), String> {
        self.audit_zspages(audit)?;
        self.runs.audit(audit)
    }
}

impl SlotPacking for Zsmalloc {
    type Body = Body;
    type Layout = Chain;

    fn slots(&self) -> &ZspageSlab {
        &self.zspages
    }

    fn runs(&self) -> &Runs {
        &self.runs
    }

    fn free_slot(&self, guard: &mut ZspageGuard<'_>, slot: u16) -> usize {
        self.give(guard, slot)
    }

    /// The victim stays off the lists.
    fn relist(&self, mut guard: ZspageGuard<'_>) {
        let id = guard.id();
        let body = guard.parts().0;
        let (class, live) = (body.class(), body.live);
        let group = match live {
            0 => None,
            _ if self.is_victim(id) => None,
            _ => group_of(live, self.class(class).objects),
        };
        self.groups.list(&self.zspages, id, body, group);
        if live == 0 {
            self.groups.remove_zspage(class);
            self.forget_victim(id);
            guard.retire();
        }
    }
}
