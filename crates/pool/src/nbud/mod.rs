//! nbud: spans with buddies packed back to back. Ours, and the default.
//!
//! zbud's property, *whatever is free is one piece*, for any number of buddies: a span's objects slide together when
//! an object needs it. Three kinds of places:
//!
//! | object | place | its descriptor |
//! |---|---|---|
//! | most | a slot of a *span*, a run of frames shared with others | `Slab<SpanBody, 3>`, 32 bytes a span |
//! | one whose directory slot would cost another frame (4089 to 4096 bytes, and so on) | a *run* of its own | `Slab<(), 0>`, 8 bytes |
//! | one of more than half a span | a run of its own | the same |
//!
//! ```text
//!  handle -> entry -> (span, slot) -> descriptor (place of the frames) -> directory slot -> bytes
//!                     (run, short) -> descriptor (place of the frames) -> bytes
//! ```
//! | module | holds |
//! |---|---|
//! | `span` | the layout of a span, a pure function of its bytes |
//! | `buckets` | spans by room: tightest that fits, emptiest |
//! | `place` | where a new object goes: the append-or-fill policy |
//! | `life` | free, write, and the work that others left pending |
//! | `compact` | emptying the emptiest spans into the tightest holes |
//! | `audit` | stats and validate |

mod audit;
mod buckets;
mod compact;
mod life;
mod place;
mod shape;
pub(crate) mod span;

use pagefold_frame::{
    ContiguousError, ContiguousRange, FRAME_BYTES, FrameCount, FrameMigrateError, LockError,
    Mobility, Movable, ReserveAccess, Slab, SlabConfig, Tag,
};
use pagefold_sys::sync::{self, AtomicU32, Mutex, Padded};

use self::{
    buckets::Buckets,
    place::Decision,
    shape::Shape,
    span::{SLOT_BYTES, SpanBody},
};
use crate::{
    AllocError, Allocator, BuildError, CompactReport, Handle, HandleError, LimitError,
    MigrateError, Pool, PoolId, Slices, Stats, TrimReport, TryReadError, Violation, WriteError,
    attend::Attend,
    base::Base,
    config::{FillPolicy, NbudOptions, PoolConfig},
    entries::Place,
};

/// The longest object: a run of 16 frames.
pub(crate) const LEN_MAX: usize = 64 << 10;
/// Frames that only overwriting and compaction may use: room for one object of any length, which is two spans of
/// up to 32 KiB each.
const RESERVE_FRAMES: usize = LEN_MAX / FRAME_BYTES;
/// The least a limit leaves beside fixed structures, reserve and a span: the longest object, and the first pages of
/// every table.
const SPARE_FRAMES: usize = LEN_MAX / FRAME_BYTES + 32;

pub(crate) type SpanSlab = Slab<SpanBody, 3>;
pub(crate) type RunSlab = Slab<(), 0>;
/// The third word of a span: index + 1 of the first handle entry whose slot is to be freed. (I-PENDING)
const PENDING: usize = 2;

/// See the module.
#[derive(Debug)]
pub(crate) struct Nbud {
    base: Base,
    spans: SpanSlab,
    runs: RunSlab,
    buckets: Buckets,
    /// By shard: id + 1 of the span that it appends to; 0 for none, or while somebody has it in hand.
    open: Box<[Padded<AtomicU32>]>,
    shards: Box<[Padded<Shard>]>,
    /// Frames of all spans, for the share of holes.
    span_frames: sync::AtomicUsize,
    /// Held by whoever compacts.
    compactor: Mutex<compact::Progress>,
    /// The usual length of a span.
    usual_frames: FrameCount,
    fill: FillPolicy,
}

/// What a shard goes by when it places objects.
#[derive(Debug)]
struct Shard {
    shape: Shape,
    decision: Decision,
}

impl Shard {
    fn new(span_frames: FrameCount) -> Self {
        Self { shape: Shape::new(span_frames), decision: Decision::default() }
    }
}

/// Bytes that are to become an object.
#[derive(Debug, Clone, Copy)]
enum Content<'a> {
    Zeros(usize),
    Bytes(&'a [u8]),
}

impl Content<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Zeros(len) => *len,
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    fn copy_to(&self, place: &mut [u8]) {
        match self {
            Self::Zeros(_) => place.fill(0),
            Self::Bytes(bytes) => place.copy_from_slice(bytes),
        }
    }
}

impl Nbud {
    pub(crate) fn new(config: PoolConfig, options: NbudOptions) -> Result<Self, BuildError> {
        let span_frames = options.checked_span_frames()?;
        let scratch_bytes = (span_frames.bytes() / 2).min(FRAME_BYTES);
        // No object takes less than a slot and a byte, so more never fit the frames.
        let base = Base::new(config, SLOT_BYTES + 1, scratch_bytes)?;
        let address_space = base.arena.address_space();
        let longest = shape::longest(span_frames);
        let slab = |tag, capacity| SlabConfig {
            tag: Tag::new(tag),
            mobility: Mobility::Movable,
            capacity,
        };
        let shards = pagefold_frame::shard_count();
        let mut pool = Self {
            spans: Slab::new(&base.arena, slab(1, 2 * address_space / span_frames.bytes()))?,
            runs: Slab::new(&base.arena, slab(2, address_space / FRAME_BYTES))?,
            buckets: Buckets::new(shards.div_ceil(2), longest.bytes()),
            open: (0..shards).map(|_| Padded(AtomicU32::new(0))).collect(),
            shards: (0..shards).map(|_| Padded(Shard::new(span_frames))).collect(),
            span_frames: sync::AtomicUsize::new(0),
            compactor: Mutex::new(compact::Progress::default()),
            usual_frames: span_frames,
            fill: options.fill,
            base,
        };
        let (fixed, spare) = (pool.fixed_bytes(), SPARE_FRAMES + longest.get() as usize);
        pool.base.put_limit(fixed, RESERVE_FRAMES, spare)?;
        Ok(pool)
    }

    /// Bytes of structures that live as long as the pool, outside of the source.
    fn fixed_bytes(&self) -> usize {
        size_of::<Self>()
            + self.buckets.fixed_bytes()
            + self.open.len() * size_of::<Padded<AtomicU32>>()
            + self.shards.len() * size_of::<Padded<Shard>>()
    }

    fn shard(&self) -> &Shard {
        &self.shards[sync::shard_hint() % self.shards.len()]
    }

    /// Bytes of a span of the usual length.
    fn span_bytes(&self) -> usize {
        self.usual_frames.bytes()
    }

    /// The slabs whose frames can be moved.
    fn movable(&self) -> [&dyn Movable; 2] {
        [&self.spans, &self.runs]
    }

    /// Calls `f` with the bytes of an object, held for reading. The look-up protocol (I-LOOKUP): entry, hold, entry
    /// again; if it changed, the hold may be on something else, so it is let go and the look-up begins anew.
    #[inline]
    fn visit(&self, handle: Handle, f: impl FnOnce(&[u8])) -> Result<(), HandleError> {
        loop {
            let (cell, entry, place) = self.base.entry(handle)?;
            // A refusal means that the object was freed or moved after the entry was loaded.
            match place {
                Place::Span { id, slot } => {
                    if let Ok(guard) = self.spans.read(id)
                        && cell.load() == entry
                    {
                        f(span::object(guard.parts().1, slot));
                        return Ok(());
                    }
                }
                Place::Run { id, short } => {
                    if let Ok(guard) = self.runs.read(id)
                        && cell.load() == entry
                    {
                        f(run_object(guard.parts().1, short));
                        return Ok(());
                    }
                }
            }
            #[cfg(loom)]
            sync::yield_now();
        }
    }

    /// As [`visit`](Self::visit), without waiting.
    fn try_visit(&self, handle: Handle, f: impl FnOnce(&[u8])) -> Result<(), TryReadError> {
        loop {
            let (cell, entry, place) = self.base.entry(handle)?;
            let refusal = match place {
                Place::Span { id, slot } => match self.spans.try_read(id) {
                    Ok(guard) if cell.load() == entry => {
                        f(span::object(guard.parts().1, slot));
                        return Ok(());
                    }
                    outcome => outcome.err(),
                },
                Place::Run { id, short } => match self.runs.try_read(id) {
                    Ok(guard) if cell.load() == entry => {
                        f(run_object(guard.parts().1, short));
                        return Ok(());
                    }
                    outcome => outcome.err(),
                },
            };
            if refusal == Some(LockError::Busy) {
                return Err(TryReadError::WouldBlock);
            }
            #[cfg(loom)]
            sync::yield_now();
        }
    }
}

/// The object in a run that is `short` bytes longer than it.
#[inline]
fn run_object(bytes: &[u8], short: u16) -> &[u8] {
    &bytes[..bytes.len() - usize::from(short)]
}

impl Pool for Nbud {
    fn name(&self) -> &'static str {
        Allocator::nbud().name()
    }

    fn id(&self) -> PoolId {
        self.base.entries.pool_id()
    }

    fn max_len(&self) -> usize {
        LEN_MAX
    }

    fn alloc(&self, len: usize) -> Result<Handle, AllocError> {
        self.insert(Content::Zeros(len), ReserveAccess::Normal)
    }

    fn store(&self, bytes: &[u8]) -> Result<Handle, AllocError> {
        if bytes.len() > self.span_bytes() / 2 {
            // A run of its own, which nobody else can know of while the bytes are read.
            return self.insert(Content::Bytes(bytes), ReserveAccess::Normal);
        }
        self.base
            .scratch
            .with_copy(bytes, |copy| self.insert(Content::Bytes(copy), ReserveAccess::Normal))
    }

    fn store_resident(&self, bytes: &[u8]) -> Result<Handle, AllocError> {
        self.insert(Content::Bytes(bytes), ReserveAccess::Normal)
    }

    fn store_within(&self, bytes: &[u8], access: ReserveAccess) -> Result<Handle, AllocError> {
        self.insert(Content::Bytes(bytes), access)
    }

    fn free(&self, handle: Handle) -> Result<(), HandleError> {
        self.remove(handle)
    }

    fn len(&self, handle: Handle) -> Result<usize, HandleError> {
        let mut len = 0;
        self.visit(handle, |bytes| len = bytes.len())?;
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
        self.visit(handle, |bytes| f(Slices::new(&[bytes])))
    }

    fn try_read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), TryReadError> {
        self.try_visit(handle, |bytes| f(Slices::new(&[bytes])))
    }

    fn compact(&self, budget: usize) -> CompactReport {
        self.base.compact(&self.movable(), budget, |budget| self.compact_objects(budget))
    }

    fn trim(&self) -> TrimReport {
        self.drain_all_deferred();
        self.close_open_spans();
        let entries = self.base.entries.trim();
        let (frame_bytes, tables) = self.base.arena.trim();
        let metadata_bytes = entries + tables + self.spans.trim() + self.runs.trim();
        TrimReport { frame_bytes: frame_bytes as u64, metadata_bytes: metadata_bytes as u64 }
    }

    fn recycle_retired(&self) -> u64 {
        self.drain_all_deferred();
        self.base.entries.recycle_retired()
    }

    fn set_limit(&self, bytes: usize) -> Result<(), LimitError> {
        let step = self.span_bytes() * 64;
        self.base.set_limit(bytes, &|| _ = self.trim(), &|| self.compact_objects(step).more)
    }

    fn migrate(&self, handle: Handle) -> Result<usize, MigrateError> {
        loop {
            let (cell, entry, place) = self.base.entry(handle)?;
            let moved = match place {
                Place::Span { id, .. } => self.base.arena.migrate(&self.spans, id),
                Place::Run { id, .. } => self.base.arena.migrate(&self.runs, id),
            };
            match moved {
                Ok(frames) => return Ok(frames.bytes()),
                // Freed, moved or overwritten since its entry was loaded, or about to be.
                Err(FrameMigrateError::Gone) if cell.load() != entry => {}
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

    fn stats(&self) -> Stats {
        self.account()
    }

    fn validate(&self) -> Result<(), Violation> {
        self.audit().map_err(Violation)
    }
}
