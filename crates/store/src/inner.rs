//! What the handles of a store share: the pool, its account, the forms, the list of spaces.
//!
//! Nothing here holds a lock while a codec runs, an object is stored, or something foreign is called. The list of spaces
//! is locked to look for a victim's space and to walk it for statistics, never around either.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use pagefold_frame::{Charge, FRAME_BYTES, MemoryBudget, OutOfFrames};
use pagefold_pool::{CompactReport, Pool, PoolId};
use pagefold_sys::{
    quiesce::{Abandoned, Entered, Gate},
    sync::Mutex,
};

use crate::{
    KeyError, PAGE_BYTES,
    builder::Parts,
    encoder::{
        Encoder, VALUE_MAX,
        decode::{Objects, ReadError, Wait},
    },
    gate::AcceptGate,
    index::Nodes,
    shrinker::Wake,
    space::{SpaceKind, Tenant},
    word::{Entry, Word},
};

/// See the module.
pub(crate) struct Inner {
    pub(crate) pool: Box<dyn Pool>,
    pub(crate) memory: Arc<MemoryBudget>,
    /// Any handle of the pool.
    pool_id: PoolId,
    pub(crate) encoder: Encoder,
    pub(crate) gate: AcceptGate,
    pub(crate) wake: Wake,
    pub(crate) marks: Watermarks,
    /// The frames to stay within: the limit, or less while the limit is being lowered.
    target: AtomicUsize,
    /// How far the limit can be raised, in bytes.
    max_limit: usize,
    pub(crate) tenants: Mutex<Vec<Arc<Tenant>>>,
    /// The nodes of all indices.
    pub(crate) nodes: Arc<Nodes>,
    /// Every operation passes it, so that a fork, a validation, or a take-back of handles finds none under way.
    pub(crate) operations: Gate,
    /// Whether a put found no handle although the pool has retired ones.
    wants_handles: AtomicBool,
    pub(crate) work: Work,
    /// Raised, with Release, before retired handles are used again: see `space/update.rs`.
    pub(crate) epoch: AtomicU64,
    /// What the codec's contexts may grow to once a value longer than a page was compressed.
    long: Mutex<Option<Charge>>,
    /// Charges for contexts beyond those that the store began with.
    contexts: Mutex<Vec<Charge>>,
    /// Held while an overwrite uses the reserve that is kept for it.
    overwrite_turn: Mutex<()>,
    _charge: Charge,
}

/// The shrinker takes handles back when more than one in this many is retired.
pub(crate) const RETIRED_SHARE: u64 = 8;
/// How long that waits for operations that are under way.
const RECYCLE_WAIT: Duration = Duration::from_secs(1);

/// Shares of the limit, in percent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watermarks {
    pub(crate) low: u8,
    pub(crate) high: u8,
}

/// What was done to make room, since the store was built.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) compactions: AtomicU64,
    pub(crate) moved_bytes: AtomicU64,
    pub(crate) freed_frames: AtomicU64,
    pub(crate) freed_pageblocks: AtomicU64,
    pub(crate) shrinker_steps: AtomicU64,
    pub(crate) synchronous_steps: AtomicU64,
    pub(crate) clamped_limits: AtomicU64,
    pub(crate) limit_source_failures: AtomicU64,
    pub(crate) shrinker_failures: AtomicU64,
}

impl Inner {
    pub(crate) fn new(
        parts: Parts,
        encoder: Encoder,
        gate: AcceptGate,
        marks: Watermarks,
        operations: Gate,
    ) -> Self {
        let Parts { pool, memory, pool_id, nodes, charge } = parts;
        let target = AtomicUsize::new(memory.limit());
        let max_limit = usize::try_from(pool.stats().max_limit_bytes).unwrap_or(usize::MAX);
        Self {
            pool,
            memory,
            pool_id,
            encoder,
            gate,
            wake: Wake::default(),
            marks,
            target,
            max_limit,
            tenants: Mutex::new(Vec::new()),
            nodes,
            operations,
            wants_handles: AtomicBool::new(false),
            work: Work::default(),
            epoch: AtomicU64::new(0),
            long: Mutex::new(None),
            contexts: Mutex::new(Vec::new()),
            overwrite_turn: Mutex::new(()),
            _charge: charge,
        }
    }

    // ORDERING (this file): Relaxed; statistics, and a target that whoever misses it by a moment meets at the hard limit.

    /// Begins an operation. It ends when the guard is dropped.
    #[inline]
    pub(crate) fn enter(&self) -> Result<Entered<'_>, KeyError> {
        self.operations.enter().map_err(|Abandoned| KeyError::Abandoned)
    }

    /// As [`enter`](Self::enter), without ever waiting: none while no operation may run.
    #[inline]
    pub(crate) fn try_enter(&self) -> Result<Option<Entered<'_>>, KeyError> {
        match self.operations.try_enter() {
            None if self.operations.is_abandoned() => Err(KeyError::Abandoned),
            entered => Ok(entered),
        }
    }

    /// Notes that handles are to be taken back, if more than one in `share` of them is retired.
    pub(crate) fn look_at_handles(&self, share: u64) {
        let stats = self.pool.stats();
        if stats.retired_indices > stats.index_capacity / share {
            self.wants_handles.store(true, Ordering::Relaxed);
        }
    }

    /// Takes retired handles back if that is due, at a moment without operations; whether any came back since the epoch
    /// was `since`, by this thread or another. Not from inside of an operation.
    ///
    /// Only index words hold handles then, and versions, which the epoch ends.
    pub(crate) fn recycle_handles(&self, since: u64) -> bool {
        let is_due = || self.wants_handles.load(Ordering::Relaxed) && self.epoch() == since;
        if !is_due() {
            return self.epoch() != since;
        }
        let Some(_quiet) = self.operations.quiesce(RECYCLE_WAIT) else {
            return self.epoch() != since;
        };
        if !is_due() {
            return self.epoch() != since;
        }
        self.wants_handles.store(false, Ordering::Relaxed);
        // ORDERING: Release; pairs with the Acquire in `epoch`: see `space/update.rs`.
        self.epoch.fetch_add(1, Ordering::Release);
        let recycled = self.pool.recycle_retired();
        tracing::debug!(recycled, "handles were taken back");
        recycled > 0
    }

    /// Bytes that may be resident.
    pub(crate) fn resident(&self) -> usize {
        self.memory.used() * FRAME_BYTES
    }

    /// What is charged and not resident: contexts and scratch that were never used.
    pub(crate) fn reserved_bytes(&self) -> usize {
        self.encoder.reserved_bytes(self.long.lock().is_some())
    }

    pub(crate) fn limit(&self) -> usize {
        self.memory.limit() * FRAME_BYTES
    }

    pub(crate) fn max_limit(&self) -> usize {
        self.max_limit
    }

    /// Whether a limit that is being lowered leaves no room.
    pub(crate) fn is_above_target(&self) -> bool {
        self.memory.used() > self.target.load(Ordering::Relaxed)
    }

    pub(crate) fn set_target(&self, frames: usize) {
        self.target.store(frames, Ordering::Relaxed);
    }

    /// A share of what new pages may fill, in frames.
    pub(crate) fn share(&self, percent: u8) -> usize {
        self.memory.normal_limit() * usize::from(percent) / 100
    }

    pub(crate) fn is_above_high(&self) -> bool {
        self.memory.used() > self.share(self.marks.high)
    }

    pub(crate) fn is_above_low(&self) -> bool {
        self.memory.used() > self.share(self.marks.low)
    }

    pub(crate) fn low_bytes(&self) -> usize {
        self.share(self.marks.low) * FRAME_BYTES
    }

    fn objects(&self) -> Objects<'_> {
        Objects { pool: &*self.pool, pool_id: self.pool_id }
    }

    #[inline]
    pub(crate) fn read(&self, entry: Entry, into: &mut [u8], wait: Wait) -> Result<(), ReadError> {
        self.encoder.read(&self.objects(), entry, into, wait)
    }

    pub(crate) fn len(&self, entry: Entry, wait: Wait) -> Result<usize, ReadError> {
        self.encoder.len(&self.objects(), entry, wait)
    }

    /// Frees the object of a word that is nobody's any more.
    pub(crate) fn free(&self, entry: Entry) {
        if let Some(at) = entry.handle() {
            let freed = self.pool.free(self.pool_id.handle(at.0));
            assert!(
                freed.is_ok(),
                "I-WORD: whoever takes a word out is the only one to free its object"
            );
        }
    }

    /// Counts out and frees what was taken out of the index.
    pub(crate) fn retire(&self, tenant: &Tenant, word: Word) {
        let entry = word.entry();
        tenant.note_gone(entry, self.original(entry));
        self.free(entry);
    }

    /// The exact length of its object in bytes; 0 if it has none, or it was replaced meanwhile.
    pub(crate) fn object_len(&self, entry: Entry) -> usize {
        entry.handle().map_or(0, |at| self.pool.len(self.pool_id.handle(at.0)).unwrap_or(0))
    }

    /// What was put for it, in bytes. The object is the caller's, so it is there; a damaged one counts as nothing.
    pub(crate) fn original(&self, entry: Entry) -> usize {
        self.len(entry, Wait::Allowed).unwrap_or(0)
    }

    pub(crate) fn forget(&self, tenant: &Tenant) {
        self.tenants.lock().retain(|known| !std::ptr::eq(&**known, tenant));
    }

    /// The spaces of this moment.
    pub(crate) fn tenants(&self) -> Vec<Arc<Tenant>> {
        self.tenants.lock().clone()
    }

    /// The ephemeral spaces that hold objects, the one with most bytes of them first.
    pub(crate) fn evictable(&self) -> Vec<Arc<Tenant>> {
        let mut tenants = self.tenants();
        tenants.retain(|tenant| tenant.kind == SpaceKind::Ephemeral && tenant.used() > 0);
        tenants.sort_by_cached_key(|tenant| std::cmp::Reverse(tenant.used()));
        tenants
    }

    /// Bytes of objects of all spaces of a kind.
    pub(crate) fn objects_bytes(&self, kind: SpaceKind) -> u64 {
        let tenants = self.tenants.lock();
        tenants.iter().filter(|tenant| tenant.kind == kind).map(|tenant| tenant.used()).sum()
    }

    /// Runs `attempt` with the overwrite reserve to itself: another thread that overwrites at the limit waits.
    pub(crate) fn with_overwrite_reserve<R>(&self, attempt: impl FnOnce() -> R) -> R {
        let _turn = self.overwrite_turn.lock();
        attempt()
    }

    /// Charges, once, what values longer than a page need beside their own scratch: what the contexts may grow by, and
    /// the scratch that is there when the limit has no room for another.
    pub(crate) fn charge_long(&self) -> Result<(), OutOfFrames> {
        let mut long = self.long.lock();
        if long.is_none() {
            *long = Some(self.memory.charge_beside(self.encoder.growth_of_long())?);
        }
        Ok(())
    }

    /// Charges one more context of the codec, if calls have waited for one and the limit has room. Nothing waits for that.
    #[inline]
    pub(crate) fn add_wanted_context(&self) {
        if self.encoder.codec.wants_context() {
            self.add_context();
        }
    }

    #[cold]
    fn add_context(&self) {
        let Some(long) = self.long.try_lock() else { return };
        let len = if long.is_some() { VALUE_MAX } else { PAGE_BYTES };
        let codec = &self.encoder.codec;
        if !codec.wants_context() {
            return;
        }
        let Some(mut contexts) = self.contexts.try_lock() else { return };
        if let Ok(charge) = self.memory.charge_beside(codec.context_bytes_max(len))
            && codec.add_context()
        {
            contexts.push(charge);
        }
    }

    pub(crate) fn note_compaction(&self, report: &CompactReport) {
        let add = |count: &AtomicU64, by| _ = count.fetch_add(by, Ordering::Relaxed);
        add(&self.work.compactions, 1);
        add(&self.work.moved_bytes, report.moved_bytes + report.migrated_bytes);
        add(&self.work.freed_frames, report.freed_frames);
        add(&self.work.freed_pageblocks, report.freed_pageblocks);
    }
}

impl Work {
    pub(crate) fn stats(&self) -> crate::WorkStats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        crate::WorkStats {
            compactions: load(&self.compactions),
            moved_bytes: load(&self.moved_bytes),
            freed_bytes: load(&self.freed_frames) * FRAME_BYTES as u64,
            freed_pageblock_bytes: load(&self.freed_pageblocks)
                * u64::from(pagefold_frame::PAGEBLOCK_FRAMES)
                * FRAME_BYTES as u64,
            shrinker_steps: load(&self.shrinker_steps),
            synchronous_steps: load(&self.synchronous_steps),
            clamped_limits: load(&self.clamped_limits),
            limit_source_failures: load(&self.limit_source_failures),
            shrinker_failures: load(&self.shrinker_failures),
            shrinker_runs: false,
        }
    }
}
