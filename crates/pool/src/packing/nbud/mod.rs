//! nbud: spans with objects packed back to back. Ours, and the default.
//!
//! A *span* is a run of shared frames. Its objects slide together when an object needs room. An object gets its own run
//! if it takes more than half a span or its slot would cost another frame.
//!
//! ```text
//!  handle -> entry -> (span, slot) -> descriptor (32 bytes a span) -> directory slot -> bytes
//!                     (run, slack) -> descriptor (8 bytes a run)   -> bytes
//! ```

mod audit;
mod buckets;
mod compact;
mod place;
mod span;
mod span_sizing;

use pagefold_frame::{
    FRAME_BYTES, FrameCount, FrameMigrateError, LockError, Mobility, Movable, ReserveAccess, Run,
    Slab, SlabConfig, Tag,
};
use pagefold_sys::sync::{self, AtomicU32, Mutex, Ordering, Padded};

use self::{
    buckets::{Buckets, may_be_open, set_may_be_open},
    place::Decision,
    span::{SLOT_BYTES, Span, SpanBody},
    span_sizing::SpanSizing,
};
use crate::{
    config::{Allocator, BuildError, FillPolicy, NbudOptions, PoolConfig},
    contract::CompactReport,
    engine::{
        Attempt, Audit, Base, Content, Footprint, Found, Location, NoRoom, Packing, Runs,
        SLOT_WORDS, SlotGuard, SlotPacking, Wait,
    },
    slices::Slices,
    stats::Stats,
};

pub(crate) const LEN_MAX: usize = 64 << 10;
/// Frames for an object of any length, as much as two spans of 32 KiB.
const RESERVE_FRAMES: usize = LEN_MAX / FRAME_BYTES;
/// The longest object and first pages of tables.
const SPARE_FRAMES: usize = LEN_MAX / FRAME_BYTES + 32;

pub(crate) type SpanSlab = Slab<SpanBody, SLOT_WORDS>;
type SpanGuard<'a> = SlotGuard<'a, Nbud>;

#[derive(Debug)]
pub(crate) struct Nbud {
    base: Base,
    spans: SpanSlab,
    runs: Runs,
    buckets: Buckets,
    /// Id + 1 of the open span; 0 for none, or while a thread has it.
    open: Box<[Padded<AtomicU32>]>,
    shards: Box<[Padded<Shard>]>,
    span_frames: sync::AtomicUsize,
    /// Failed victims in a row, across calls.
    compactor: Mutex<usize>,
    usual_frames: FrameCount,
    fill: FillPolicy,
}

#[derive(Debug)]
struct Shard {
    sizing: SpanSizing,
    decision: Decision,
}

impl Shard {
    fn new(span_frames: FrameCount) -> Self {
        Self { sizing: SpanSizing::new(span_frames), decision: Decision::default() }
    }
}

impl Nbud {
    pub(crate) fn new(config: PoolConfig, options: NbudOptions) -> Result<Self, BuildError> {
        let span_frames = options.checked_span_frames()?;
        let scratch_bytes = (span_frames.bytes() / 2).min(FRAME_BYTES);
        let base = Base::new(config, SLOT_BYTES + 1, scratch_bytes)?;
        let address_space = base.arena.address_space();
        let longest = span_sizing::longest(span_frames);
        let spans = SlabConfig {
            tag: Tag::new(1),
            mobility: Mobility::Movable,
            capacity: 2 * address_space / span_frames.bytes(),
        };
        let shards = pagefold_frame::shard_count();
        Ok(Self {
            spans: Slab::new(&base.arena, spans)?,
            runs: Runs::new(&base, Tag::new(2), address_space / FRAME_BYTES)?,
            buckets: Buckets::new(shards.div_ceil(2), longest.bytes()),
            open: (0..shards).map(|_| Padded(AtomicU32::new(0))).collect(),
            shards: (0..shards).map(|_| Padded(Shard::new(span_frames))).collect(),
            span_frames: sync::AtomicUsize::new(0),
            compactor: Mutex::new(0),
            usual_frames: span_frames,
            fill: options.fill,
            base,
        })
    }

    fn fixed_bytes(&self) -> usize {
        size_of::<Self>()
            + self.buckets.fixed_bytes()
            + self.open.len() * size_of::<Padded<AtomicU32>>()
            + self.shards.len() * size_of::<Padded<Shard>>()
    }

    fn shard(&self) -> &Shard {
        &self.shards[sync::shard_hint() % self.shards.len()]
    }

    fn span_bytes(&self) -> usize {
        self.usual_frames.bytes()
    }
}

impl Packing for Nbud {
    const NAME: &'static str = Allocator::nbud().name();

    fn base(&self) -> &Base {
        &self.base
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            fixed_bytes: self.fixed_bytes(),
            reserve_frames: RESERVE_FRAMES,
            spare_frames: SPARE_FRAMES + span_sizing::longest(self.usual_frames).get() as usize,
        }
    }

    fn max_len(&self) -> usize {
        LEN_MAX
    }

    fn movable(&self) -> impl AsRef<[&dyn Movable]> {
        [&self.spans, self.runs.movable()]
    }

    fn reads_input_unlocked(&self, len: usize) -> bool {
        len > self.span_bytes() / 2
    }

    #[inline]
    fn read<F: FnMut(Slices<'_>) + ?Sized>(
        &self,
        found: &Found<'_>,
        wait: impl Wait,
        f: &mut F,
    ) -> Result<(), LockError> {
        match found.location {
            Location::Slot { id, slot } => found.read_locked(&self.spans, id, wait, |guard| {
                f(Slices::new(&[span::object(guard.parts().1, slot)]));
            }),
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
        if self.is_run(content.len()) {
            self.runs.place(content, access, publish)
        } else {
            self.place_in_span(content, index, access, publish)
        }
    }

    fn overwrite(&self, found: &Found<'_>, bytes: &[u8]) -> Result<(), LockError> {
        let (id, slot) = match found.location {
            Location::Run { id, .. } => return self.runs.overwrite(found, id, bytes),
            Location::Slot { id, slot } => (id, slot),
        };
        let mut guard = self.spans.try_write(id)?;
        let current = found.is_current();
        if current {
            Span::new(guard.parts()).bytes_of(slot).copy_from_slice(bytes);
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
        match found.location {
            Location::Slot { id, .. } => Ok(self.base.arena.migrate(&self.spans, id)?.bytes()),
            Location::Run { id, .. } => self.runs.migrate(&self.base, id),
        }
    }

    #[inline]
    fn has_deferred(&self) -> bool {
        self.slots_have_deferred()
    }

    fn drain_deferred(&self) -> bool {
        self.drain_deferred_slots()
    }

    fn close(&self) {
        self.close_open_spans();
    }

    fn compact_objects(&self, budget: usize, _wanted: u64) -> CompactReport {
        self.empty_spans(budget)
    }

    fn trim_tables(&self) -> usize {
        self.spans.trim() + self.runs.trim()
    }

    fn account(&self, stats: &mut Stats) {
        stats.reclaimable_bytes = self.reclaimable() as u64;
        stats.lists_in_use = self.buckets.in_use() as u64;
    }

    fn audit(&self, audit: &mut Audit<'_>) -> Result<(), String> {
        self.audit_spans(audit)?;
        self.runs.audit(audit)
    }
}

impl SlotPacking for Nbud {
    type Body = SpanBody;
    type Layout = Run;

    fn slots(&self) -> &SpanSlab {
        &self.spans
    }

    fn runs(&self) -> &Runs {
        &self.runs
    }

    fn free_slot(&self, guard: &mut SpanGuard<'_>, slot: u16) -> usize {
        Span::new(guard.parts()).remove(slot)
    }

    fn relist(&self, mut guard: SpanGuard<'_>) {
        let id = guard.id();
        let frames = guard.frames().get() as usize;
        let (body, bytes) = guard.parts();
        let open = may_be_open(body) && self.is_open(id);
        set_may_be_open(body, open);
        let span = Span::new((&mut *body, bytes));
        let (live, room) = (span.live(), span.room());
        if live == 0 && !open {
            self.buckets.unlist(&self.spans, id, body);
            // ORDERING: Relaxed; a statistic.
            self.span_frames.fetch_sub(frames, Ordering::Relaxed);
            guard.retire();
        } else if open {
            self.buckets.unlist(&self.spans, id, body);
        } else {
            self.buckets.list(&self.spans, id, body, room);
        }
    }
}
