//! What the handles of a store share: the pool, its account, the forms, the list of spaces.
//!
//! Nothing here holds a lock while a codec runs, an object is stored, or something foreign is called. The list of spaces
//! is locked to look for a victim's space and to walk it for statistics, never around either.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use pagefold_frame::{Charge, FRAME_BYTES, Memory, OutOfFrames};
use pagefold_pool::{CompactReport, Handle, Pool};
use pagefold_sys::sync::Mutex;

use crate::{
    form::{Forms, Patience, Source, Unread},
    gate::Gate,
    shrinker::Wake,
    space::Tenant,
    word::{Kept, Word},
};

/// See the module.
pub(crate) struct Inner {
    pub(crate) pool: Box<dyn Pool>,
    pub(crate) memory: Arc<Memory>,
    /// Any handle of the pool.
    any: Handle,
    pub(crate) forms: Forms,
    pub(crate) gate: Gate,
    pub(crate) wake: Wake,
    pub(crate) marks: Watermarks,
    /// The frames to stay within: the limit, or less while the limit is being lowered.
    target: AtomicUsize,
    pub(crate) tenants: Mutex<Vec<Arc<Tenant>>>,
    pub(crate) work: Work,
    /// Raised, with Release, before retired handles are used again: see `space/update.rs`.
    pub(crate) epoch: AtomicU64,
    /// What the codec's contexts may grow to once a value longer than a page was compressed.
    long: Mutex<Option<Charge>>,
    /// Frames kept for overwriting when everything is full; see [`with_ballast`](Self::with_ballast).
    ballast: Mutex<Option<Charge>>,
    _charge: Charge,
}

/// Frames of the ballast: a few spans, or one object of the longest kind.
const BALLAST_FRAMES: usize = 16;

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
}

impl Inner {
    pub(crate) fn new(
        pool: Box<dyn Pool>,
        memory: Arc<Memory>,
        any: Handle,
        forms: Forms,
        gate: Gate,
        marks: Watermarks,
        charge: Charge,
    ) -> Self {
        let target = AtomicUsize::new(memory.limit());
        let memory_ballast = memory.charge_beside(BALLAST_FRAMES * FRAME_BYTES).ok();
        Self {
            pool,
            memory,
            any,
            forms,
            gate,
            wake: Wake::default(),
            marks,
            target,
            tenants: Mutex::new(Vec::new()),
            work: Work::default(),
            epoch: AtomicU64::new(0),
            long: Mutex::new(None),
            ballast: Mutex::new(memory_ballast),
            _charge: charge,
        }
    }

    // ORDERING (this file): Relaxed; statistics, and a target that whoever misses it by a moment meets at the hard limit.

    /// Bytes that may be resident.
    pub(crate) fn resident(&self) -> usize {
        self.memory.used() * FRAME_BYTES
    }

    /// What is charged and not resident: frames kept for overwriting, and contexts that were never used.
    pub(crate) fn reserved_bytes(&self) -> usize {
        let ballast = self.ballast.lock().as_ref().map_or(0, Charge::bytes);
        let long = self.long.lock().is_some();
        ballast + self.forms.reserved_bytes(long)
    }

    pub(crate) fn limit(&self) -> usize {
        self.memory.limit() * FRAME_BYTES
    }

    /// Whether a limit that is being lowered leaves no room.
    pub(crate) fn is_above_target(&self) -> bool {
        self.memory.used() > self.target.load(Ordering::Relaxed)
    }

    pub(crate) fn set_target(&self, frames: usize) {
        self.target.store(frames, Ordering::Relaxed);
    }

    fn share(&self, percent: u8) -> usize {
        self.memory.limit() / 100 * usize::from(percent)
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

    fn source(&self) -> Source<'_> {
        Source { pool: &*self.pool, any: self.any }
    }

    #[inline]
    pub(crate) fn read(
        &self,
        kept: Kept,
        into: &mut [u8],
        patience: Patience,
    ) -> Result<(), Unread> {
        self.forms.read(&self.source(), kept, into, patience)
    }

    pub(crate) fn len(&self, kept: Kept, patience: Patience) -> Result<usize, Unread> {
        self.forms.len(&self.source(), kept, patience)
    }

    /// Frees the object of a word that is nobody's any more.
    pub(crate) fn free(&self, kept: Kept) {
        if let Some(at) = kept.handle() {
            let freed = self.pool.free(self.any.with_short(at.0));
            assert!(
                freed.is_ok(),
                "I-WORD: whoever takes a word out is the only one to free its object"
            );
        }
    }

    /// Counts out and frees what was taken out of the index.
    pub(crate) fn retire(&self, tenant: &Tenant, word: Word) {
        let kept = word.kept();
        tenant.note_gone(kept, self.original(kept));
        self.free(kept);
    }

    /// What was put for it, in bytes. The object is the caller's, so it is there; a damaged one counts as nothing.
    pub(crate) fn original(&self, kept: Kept) -> usize {
        self.len(kept, Patience::Waits).unwrap_or(0)
    }

    pub(crate) fn forget(&self, tenant: &Tenant) {
        self.tenants.lock().retain(|known| !std::ptr::eq(&**known, tenant));
    }

    /// The spaces of this moment.
    pub(crate) fn tenants(&self) -> Vec<Arc<Tenant>> {
        self.tenants.lock().clone()
    }

    /// The space that satisfies `which` and has the most bytes of objects.
    pub(crate) fn largest(&self, which: impl Fn(&Tenant) -> bool) -> Option<Arc<Tenant>> {
        let tenants = self.tenants.lock();
        tenants.iter().filter(|tenant| which(tenant)).max_by_key(|tenant| tenant.used()).cloned()
    }

    /// Bytes of objects of all spaces.
    pub(crate) fn objects_bytes(&self) -> u64 {
        self.tenants.lock().iter().map(|tenant| tenant.used()).sum()
    }

    /// Lets `attempt` have the frames that are kept for overwriting, one thread at a time, and takes as many of them
    /// back as the limit has room for then. They are charged all the time but for this, so the limit holds; whoever takes
    /// them in between has as good a use for them.
    pub(crate) fn with_ballast<R>(&self, attempt: impl FnOnce() -> R) -> R {
        let mut ballast = self.ballast.lock();
        drop(ballast.take());
        let result = attempt();
        let part =
            |quarters| self.memory.charge_beside(BALLAST_FRAMES / 4 * quarters * FRAME_BYTES);
        *ballast = (1..=4).rev().find_map(|quarters| part(quarters).ok());
        result
    }

    /// Charges what a value longer than a page is worked on in, and, once, what the contexts may grow to by it.
    pub(crate) fn charge_long(&self, scratch_bytes: usize) -> Result<Charge, OutOfFrames> {
        let mut long = self.long.lock();
        if long.is_none() {
            let more = self.forms.growth_of_long();
            *long = Some(self.memory.charge_beside(more)?);
        }
        drop(long);
        self.memory.charge_beside(scratch_bytes)
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
        }
    }
}
