//! A small, slow, obvious pool: a locked table of reference-counted byte strings. Readers do not lock; bytes kept
//! only by readers do not count against the limit.

mod fair;
mod moving;
mod mutant;
mod spans;

use std::{
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use pagefold_frame::{Arena, ArenaConfig, HeapSource, MemoryBudget};
use pagefold_pool::{
    AllocError, CompactReport, ContiguousError, ContiguousRange, Evict, Handle, HandleError,
    LimitError, MigrateError, MigrationStats, Pool, PoolId, ReclaimError, Reclaimed, Slices, Stats,
    TrimReport, TryReadError, Violation, WriteError,
};

use self::{
    fair::{FairGuard, FairMutex},
    spans::{FRAME_BYTES, SPAN_BYTES, SpanId, Spans},
};

pub use mutant::Mutant;

const ENTRY_BYTES: usize = 32;
const MAX_LEN: usize = 64 << 10;
/// A span and some entries.
const MIN_LIMIT: usize = SPAN_BYTES + FRAME_BYTES;

/// The reference pool.
///
/// # Examples
/// ```
/// use pagefold_pool::Pool;
/// use pagefold_testkit::reference::MapPool;
///
/// let pool = MapPool::new(1 << 20);
/// let handle = pool.store(b"bytes")?;
/// assert_eq!(pool.len(handle), Ok(5));
/// # Ok::<(), pagefold_pool::AllocError>(())
/// ```
#[derive(Debug)]
pub struct MapPool {
    state: FairMutex<State>,
    /// Memory of contiguous ranges only.
    arena: Arena,
    id: PoolId,
    mutant: Option<Mutant>,
}

#[derive(Debug, Default)]
struct State {
    limit: usize,
    entries: Vec<Entry>,
    free: Vec<u32>,
    spans: Spans,
    objects: u64,
    payload: u64,
    moved: u64,
    migration: MigrationStats,
    contiguous_max: usize,
}

#[derive(Debug, Default)]
struct Entry {
    generation: u16,
    object: Option<Object>,
}

#[derive(Debug, Clone)]
struct Object {
    bytes: Arc<[u8]>,
    span: SpanId,
}

impl State {
    fn resident(&self) -> usize {
        self.spans.frame_bytes + self.spans.idle_bytes + self.entries.len() * ENTRY_BYTES
    }

    fn shrink_to(&mut self, limit: usize) {
        let excess = self.resident().saturating_sub(limit);
        self.spans.idle_bytes -= excess.next_multiple_of(FRAME_BYTES).min(self.spans.idle_bytes);
    }
}

impl MapPool {
    /// An empty correct pool.
    pub fn new(limit: usize) -> Self {
        Self::build(limit, None)
    }

    /// An empty pool with one defect.
    pub fn mutant(limit: usize, mutant: Mutant) -> Self {
        Self::build(limit, Some(mutant))
    }

    fn build(limit: usize, mutant: Option<Mutant>) -> Self {
        static POOLS: AtomicU64 = AtomicU64::new(0);
        let number = 1 + POOLS.fetch_add(1, Ordering::Relaxed) % u64::from(u16::MAX);
        let number = u16::try_from(number).ok().and_then(NonZeroU16::new);
        let id = PoolId::from_raw(number.expect("1 to 65 535"));
        let source = HeapSource::new();
        let memory = Arc::new(MemoryBudget::new(Box::new(source), usize::MAX));
        let config = ArenaConfig { address_space: memory.address_space(limit) };
        let arena = Arena::new(&memory, config).expect("the heap has room for a test's pool");
        Self { state: FairMutex::new(State { limit, ..State::default() }), arena, id, mutant }
    }

    fn handle(&self, index: u32, generation: u16) -> Handle {
        self.id.handle(u64::from(index) | u64::from(generation) << 32)
    }

    fn limit_beside_ranges(&self, state: &State) -> usize {
        let uncounted = self.has(Mutant::RangeBeyondLimit) || self.has(Mutant::RangeUncounted);
        state.limit.saturating_sub(if uncounted { 0 } else { self.contiguous() })
    }

    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn lock(&self) -> FairGuard<'_, State> {
        self.state.lock()
    }

    fn find(&self, state: &State, handle: Handle) -> Result<(usize, Object), HandleError> {
        let (index, generation) = split(handle);
        if handle.pool() != Some(self.id) && !self.has(Mutant::ForeignAccepted) {
            return Err(HandleError::Foreign);
        }
        assert!(
            index < state.entries.len() || !self.has(Mutant::ForgedPanics),
            "the mutant asked for"
        );
        let entry = state.entries.get(index).ok_or(HandleError::Stale)?;
        if entry.generation != generation && !self.has(Mutant::StaleRead) {
            return Err(HandleError::Stale);
        }
        entry.object.clone().map(|object| (index, object)).ok_or(HandleError::Stale)
    }

    fn insert(&self, mut bytes: Vec<u8>) -> Result<Handle, AllocError> {
        let mut state = self.lock();
        let state = &mut *state;
        let entry_bytes = if state.free.is_empty() { ENTRY_BYTES } else { 0 };
        let spare = if self.has(Mutant::LimitExceeded) { SPAN_BYTES } else { 0 };
        let limit = self.limit_beside_ranges(state);
        state.shrink_to(limit.saturating_sub(entry_bytes));
        let room = (limit + spare).checked_sub(state.resident() + entry_bytes);
        let Some(span) = room.and_then(|room| state.spans.place(bytes.len(), room)) else {
            if self.has(Mutant::OutOfMemorySpoils) {
                spoil(state.entries.iter_mut().rev().find_map(|entry| entry.object.as_mut()));
            }
            return Err(AllocError::OutOfMemory { limit: state.limit });
        };
        if self.has(Mutant::ShortCopy) && bytes.len() > FRAME_BYTES {
            bytes.pop();
            bytes.push(0);
        }
        state.objects += 1;
        state.payload += bytes.len() as u64;
        let index = state.free.pop().unwrap_or_else(|| {
            state.entries.push(Entry::default());
            u32::try_from(state.entries.len() - 1).expect("a pool of this limit has fewer entries")
        });
        let entry = &mut state.entries[index as usize];
        entry.object = Some(Object { bytes: bytes.into(), span });
        Ok(self.handle(index, entry.generation))
    }

    fn check_len(&self, len: usize) -> Result<(), AllocError> {
        let accepted = MAX_LEN + usize::from(self.has(Mutant::MaximumOffByOne));
        match len {
            0 => Err(AllocError::InvalidSize),
            len if len > accepted => Err(AllocError::TooLarge { len, max: MAX_LEN }),
            _ => Ok(()),
        }
    }
}

impl Pool for MapPool {
    fn name(&self) -> &'static str {
        "map"
    }

    fn id(&self) -> PoolId {
        self.id
    }

    fn max_len(&self) -> usize {
        MAX_LEN
    }

    fn alloc(&self, len: usize) -> Result<Handle, AllocError> {
        self.check_len(len)?;
        let mut bytes = vec![0; len];
        if self.has(Mutant::DirtyAlloc) {
            bytes[len / 2] = 1;
        }
        self.insert(bytes)
    }

    fn store(&self, bytes: &[u8]) -> Result<Handle, AllocError> {
        self.check_len(bytes.len())?;
        self.insert(bytes.to_vec())
    }

    fn free(&self, handle: Handle) -> Result<(), HandleError> {
        let mut state = self.lock();
        let found = self.find(&state, handle);
        if self.has(Mutant::DoubleFreeAccepted) && matches!(found, Err(HandleError::Stale)) {
            return Ok(());
        }
        let (index, object) = found?;
        if self.has(Mutant::RacyFree) {
            drop(state);
            thread::yield_now();
            state = self.lock();
            if state.entries[index].object.is_none() {
                return Ok(());
            }
        }
        let state = &mut *state;
        let entry = &mut state.entries[index];
        entry.object = None;
        let wrapped = entry.generation == u16::MAX;
        entry.generation = entry.generation.wrapping_add(1);
        if !wrapped || self.has(Mutant::GenerationWraps) {
            state.free.push(u32::try_from(index).expect("indices come from a u32"));
        }
        let len = object.bytes.len();
        state.objects -= 1;
        state.payload -= if self.has(Mutant::PayloadLeaks) { 0 } else { len as u64 };
        if state.spans.remove(object.span, len) && self.has(Mutant::FramesLeak) {
            state.spans.frame_bytes += SPAN_BYTES;
            state.spans.idle_bytes = state.spans.idle_bytes.saturating_sub(SPAN_BYTES);
        }
        Ok(())
    }

    fn len(&self, handle: Handle) -> Result<usize, HandleError> {
        self.find(&self.lock(), handle).map(|(_, object)| object.bytes.len())
    }

    fn write(&self, handle: Handle, bytes: &[u8]) -> Result<(), WriteError> {
        let mut state = self.lock();
        let (index, object) = self.find(&state, handle)?;
        let len = object.bytes.len();
        if len != bytes.len() && (bytes.is_empty() || !self.has(Mutant::WriteLengthUnchecked)) {
            return Err(WriteError::WrongLength { len, given: bytes.len() });
        }
        if self.has(Mutant::WriteIgnored) && Arc::strong_count(&object.bytes) > 2 {
            return Ok(());
        }
        if self.has(Mutant::TornWrite) {
            let half: Vec<u8> =
                bytes[..len / 2].iter().chain(&object.bytes[len / 2..]).copied().collect();
            replace(&mut state, index, half.into());
            drop(state);
            thread::yield_now();
            state = self.lock();
            self.find(&state, handle)?;
        }
        replace(&mut state, index, bytes.into());
        Ok(())
    }

    fn read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), HandleError> {
        let state = self.lock();
        let (_, object) = self.find(&state, handle)?;
        if self.has(Mutant::LockedRead) {
            f(Slices::new(&[&object.bytes]));
            return Ok(());
        }
        drop(state);
        f(Slices::new(&[&object.bytes]));
        Ok(())
    }

    fn try_read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), TryReadError> {
        Ok(self.read(handle, f)?)
    }

    fn compact(&self, budget: usize) -> CompactReport {
        let mut state = self.lock();
        let state = &mut *state;
        let frames_before = state.spans.frame_bytes;
        let mut report = CompactReport::default();
        'spans: while let Some(from) = state.spans.emptiest() {
            let objects = state.entries.iter_mut().filter_map(|entry| entry.object.as_mut());
            for object in objects.filter(|object| object.span == from) {
                let len = object.bytes.len();
                if report.moved_bytes >= budget as u64 && !self.has(Mutant::BudgetIgnored) {
                    report.more = !self.has(Mutant::MoreForgotten);
                    break 'spans;
                }
                let Some((to, _)) = state.spans.relocate(from, len) else { break 'spans };
                object.span = to;
                report.moved_objects += 1;
                report.moved_bytes += len as u64;
                if self.has(Mutant::CompactionSpoils) && report.moved_objects == 1 {
                    spoil(Some(object));
                }
            }
        }
        state.moved += report.moved_bytes;
        report.freed_frames = ((frames_before - state.spans.frame_bytes) / FRAME_BYTES) as u64;
        report.migrated_bytes = u64::from(self.has(Mutant::CompactionMiscounted));
        report
    }

    fn reclaim(&self, retries: u32, evict: &mut Evict<'_>) -> Result<Reclaimed, ReclaimError> {
        self.reclaim_spans(retries, evict)
    }

    fn migrate(&self, handle: Handle) -> Result<usize, MigrateError> {
        self.migrate_object(handle)
    }

    fn alloc_contiguous(
        &self,
        frames: usize,
        align: usize,
    ) -> Result<ContiguousRange<'_>, ContiguousError> {
        self.alloc_range(frames, align)
    }

    fn trim(&self) -> TrimReport {
        if self.has(Mutant::TrimsNothing) {
            return TrimReport::default();
        }
        let freed = std::mem::take(&mut self.lock().spans.idle_bytes);
        let mut report = TrimReport::default();
        report.frame_bytes = freed as u64;
        report
    }

    fn set_limit(&self, limit: usize) -> Result<(), LimitError> {
        if limit < MIN_LIMIT {
            return Err(LimitError::TooSmall { limit, min: MIN_LIMIT });
        }
        let max = self.arena.address_space();
        if limit > max {
            return Err(LimitError::TooLarge { limit, max });
        }
        let contiguous = self.contiguous();
        if limit < self.lock().resident() + contiguous {
            self.compact(usize::MAX);
        }
        let mut state = self.lock();
        state.shrink_to(limit.saturating_sub(contiguous));
        let resident = state.resident() + contiguous;
        if resident > limit && !self.has(Mutant::LimitNotChecked) {
            return Err(LimitError::InUse { limit, resident });
        }
        state.limit = limit;
        Ok(())
    }

    fn stats(&self) -> Stats {
        let state = self.lock();
        let contiguous = match self.mutant {
            Some(Mutant::RangeUncounted) => 0,
            Some(Mutant::RangeLeaks) => state.contiguous_max,
            _ => self.contiguous(),
        };
        let mut stats = Stats::default();
        stats.objects = state.objects;
        stats.payload_bytes = state.payload;
        stats.frame_bytes = state.spans.frame_bytes as u64;
        stats.contiguous_bytes = contiguous as u64;
        stats.idle_frame_bytes = state.spans.idle_bytes as u64;
        stats.metadata_bytes = (state.entries.len() * ENTRY_BYTES) as u64;
        stats.moved_bytes = state.moved;
        stats.compacted_bytes = state.moved;
        stats.lists_in_use = state.spans.lists_in_use() as u64;
        stats.reclaimable_bytes = state.spans.reclaimable_bytes() as u64;
        stats.migration = state.migration;
        stats.limit_bytes = state.limit as u64;
        stats
    }

    fn validate(&self) -> Result<(), Violation> {
        let state = self.lock();
        let live = || state.entries.iter().filter_map(|entry| entry.object.as_ref());
        let payload: u64 = live().map(|object| object.bytes.len() as u64).sum();
        if live().count() as u64 != state.objects
            || payload != state.payload && self.mutant.is_none()
        {
            return Err(Violation(format!(
                "the table holds {payload} bytes, the account says {}",
                state.payload
            )));
        }
        Ok(())
    }
}

fn split(handle: Handle) -> (usize, u16) {
    let raw = handle.to_raw();
    let index = usize::try_from(raw & 0xffff_ffff).expect("32 bits fit");
    (index, u16::try_from(raw >> 32 & 0xffff).expect("16 bits fit"))
}

fn replace(state: &mut State, index: usize, bytes: Arc<[u8]>) {
    if let Some(object) = &mut state.entries[index].object {
        object.bytes = bytes;
    }
}

fn spoil(object: Option<&mut Object>) {
    if let Some(object) = object {
        let mut bytes = object.bytes.to_vec();
        bytes[0] = bytes[0].wrapping_add(1);
        object.bytes = bytes.into();
    }
}
