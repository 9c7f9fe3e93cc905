//! A pool adapter with a bug: a test that runs on it must fail.
//!
//! A hash of the seed and the call's number selects the calls. After a bug without effect, the next possible call
//! goes wrong.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use pagefold_pool::{
    AllocError, CompactReport, ContiguousError, ContiguousRange, Evict, Handle, HandleError,
    LimitError, MigrateError, NotEvicted, Pool, PoolId, ReclaimError, Reclaimed, Slices, Stats,
    TrimReport, TryReadError, Violation, WriteError,
};

use crate::pattern::mix;

/// A bug in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InjectedBug {
    /// A read sees one bit flipped.
    FlippedBit,
    /// A read sees the newest object's bytes.
    OtherObject,
    /// A read lacks the last byte.
    ShortRead,
    /// A free succeeds and does nothing.
    LostFree,
    /// A free calls a live object stale.
    RefusedFree,
    /// A write succeeds and does nothing.
    LostWrite,
    /// Compaction frees the newest object.
    LostObject,
    /// Moving frames flips an object's bit.
    SpoiledMove,
    /// Reclaim frees a victim without the evictor.
    LostEviction,
    /// A free leaks the object's frames.
    LostFrame,
    /// A stale handle is accepted.
    StaleAccepted,
}

impl InjectedBug {
    /// All bugs.
    pub const ALL: [Self; 11] = [
        Self::FlippedBit,
        Self::OtherObject,
        Self::ShortRead,
        Self::LostFree,
        Self::RefusedFree,
        Self::LostWrite,
        Self::LostObject,
        Self::SpoiledMove,
        Self::LostEviction,
        Self::LostFrame,
        Self::StaleAccepted,
    ];
}

/// Newest objects searched for a live one.
const RECENT: usize = 64;

/// A pool in which some calls go wrong.
///
/// # Examples
/// ```
/// use pagefold_pool::Pool;
/// use pagefold_testkit::{injected_bug::{BuggyPool, InjectedBug}, reference::MapPool};
///
/// let pool = BuggyPool::new(Box::new(MapPool::new(1 << 20)), 7, 1).only(InjectedBug::LostFree);
/// let handle = pool.store(b"bytes")?;
/// pool.free(handle)?;
/// assert_eq!(pool.len(handle), Ok(5), "it is still there");
/// assert_eq!(pool.injected(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BuggyPool {
    inner: Box<dyn Pool>,
    seed: u64,
    one_in: u64,
    bugs: Vec<InjectedBug>,
    calls: AtomicU64,
    injected: Arc<AtomicU64>,
    /// The next call makes up for an ineffective bug.
    owed: AtomicBool,
    recent: Mutex<VecDeque<Handle>>,
    /// Objects that leaked, with their lengths.
    lost: Mutex<HashMap<Handle, usize>>,
}

impl BuggyPool {
    /// Wraps a pool; about one call in `one_in` goes wrong.
    ///
    /// # Panics
    /// If `one_in` is 0.
    pub fn new(inner: Box<dyn Pool>, seed: u64, one_in: u64) -> Self {
        assert!(one_in > 0, "one call in 0 cannot go wrong");
        Self {
            inner,
            seed,
            one_in,
            bugs: InjectedBug::ALL.to_vec(),
            calls: AtomicU64::new(0),
            injected: Arc::default(),
            owed: AtomicBool::new(false),
            recent: Mutex::default(),
            lost: Mutex::default(),
        }
    }

    /// Injects this bug alone.
    pub fn only(mut self, bug: InjectedBug) -> Self {
        self.bugs = vec![bug];
        self
    }

    /// Bugs that had an effect.
    pub fn injected(&self) -> u64 {
        // ORDERING: Relaxed; a count.
        self.injected.load(Ordering::Relaxed)
    }

    /// The counter behind [`injected`](Self::injected).
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.injected)
    }

    fn inject(&self, possible: &[InjectedBug]) -> Option<InjectedBug> {
        // ORDERING: Relaxed; only uniqueness matters.
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let dice = mix(self.seed ^ mix(call));
        let mut choices = possible.iter().filter(|bug| self.bugs.contains(bug));
        let count = choices.clone().count() as u64;
        // ORDERING: Relaxed, as in `count_effect`; either of two threads may make up for it.
        let due = || dice.is_multiple_of(self.one_in) || self.owed.swap(false, Ordering::Relaxed);
        if count == 0 || !due() {
            return None;
        }
        choices.nth(usize::try_from(mix(dice) % count).unwrap_or(0)).copied()
    }

    fn count_effect(&self, had_effect: bool) {
        // ORDERING: Relaxed; counts.
        if had_effect {
            self.injected.fetch_add(1, Ordering::Relaxed);
        } else {
            self.owed.store(true, Ordering::Relaxed);
        }
    }

    fn with_effect<T, E>(&self, answer: Result<T, E>) -> Result<T, E> {
        self.count_effect(answer.is_ok());
        answer
    }

    fn lost(&self) -> MutexGuard<'_, HashMap<Handle, usize>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_lost(&self, handle: Handle) -> Result<(), HandleError> {
        if self.lost().contains_key(&handle) { Err(HandleError::Stale) } else { Ok(()) }
    }

    fn accept_stale<T>(&self, answer: Result<T, HandleError>, good: T) -> Result<T, HandleError> {
        match answer {
            Err(HandleError::Stale) if self.inject(&[InjectedBug::StaleAccepted]).is_some() => {
                self.with_effect(Ok(good))
            }
            answer => answer,
        }
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<Handle>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies `effect` to the newest object for which it succeeds.
    fn inject_into_recent(&self, effect: impl Fn(Handle) -> bool) {
        let recent: Vec<Handle> = self.recent().iter().rev().copied().collect();
        self.count_effect(recent.into_iter().any(effect));
    }

    fn note(&self, stored: Result<Handle, AllocError>) -> Result<Handle, AllocError> {
        if let Ok(handle) = stored {
            let mut recent = self.recent();
            if recent.len() == RECENT {
                recent.pop_front();
            }
            recent.push_back(handle);
        }
        stored
    }

    /// Of two threads that try, one succeeds.
    fn lose(&self, handle: Handle) -> Result<(), HandleError> {
        let mut lost = self.lost();
        let len = self.inner.len(handle)?;
        if lost.insert(handle, len).is_some() { Err(HandleError::Stale) } else { Ok(()) }
    }

    /// Flips a stored bit; false if dead or refused.
    fn spoil_object(&self, handle: Handle) -> bool {
        let mut bytes = Vec::new();
        let read = self.inner.read(handle, &mut |slices| bytes = slices.parts().concat());
        let Some(last) = bytes.last_mut() else { return false };
        *last ^= 1;
        read.is_ok() && self.check_lost(handle).is_ok() && self.inner.write(handle, &bytes).is_ok()
    }

    fn read_through<E>(
        &self,
        f: &mut dyn FnMut(Slices<'_>),
        read: impl FnOnce(&mut dyn FnMut(Slices<'_>)) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.inject(&[
            InjectedBug::FlippedBit,
            InjectedBug::OtherObject,
            InjectedBug::ShortRead,
        ]) {
            None => read(f),
            Some(bug) => {
                let mut had_effect = false;
                let answer = read(&mut |slices| had_effect = self.spoil(bug, slices, f));
                self.count_effect(had_effect);
                answer
            }
        }
    }

    /// Passes a spoiled copy to `f`; false if unspoiled.
    fn spoil(&self, bug: InjectedBug, slices: Slices<'_>, f: &mut dyn FnMut(Slices<'_>)) -> bool {
        let right = slices.parts().concat();
        let mut bytes = right.clone();
        let at =
            usize::try_from(mix(self.seed ^ bytes.len() as u64) % bytes.len() as u64).unwrap_or(0);
        match bug {
            InjectedBug::OtherObject => {
                let last_stored = self.recent().back().copied();
                if let Some(other) = last_stored {
                    // A stale handle leaves the copy unchanged.
                    let mut take = |slices: Slices<'_>| bytes = slices.parts().concat();
                    self.inner.read(other, &mut take).ok();
                }
            }
            InjectedBug::ShortRead if bytes.len() > 1 => {
                bytes.pop();
            }
            _ => bytes[at] ^= 1 << (at % 8),
        }
        f(Slices::new(&[&bytes]));
        bytes != right
    }
}

impl Pool for BuggyPool {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn id(&self) -> PoolId {
        self.inner.id()
    }

    fn max_len(&self) -> usize {
        self.inner.max_len()
    }

    fn alloc(&self, len: usize) -> Result<Handle, AllocError> {
        self.note(self.inner.alloc(len))
    }

    fn store(&self, bytes: &[u8]) -> Result<Handle, AllocError> {
        self.note(self.inner.store(bytes))
    }

    fn free(&self, handle: Handle) -> Result<(), HandleError> {
        let answer = self.check_lost(handle).and_then(|()| {
            match self.inject(&[
                InjectedBug::LostFree,
                InjectedBug::RefusedFree,
                InjectedBug::LostFrame,
            ]) {
                Some(InjectedBug::LostFree) => self.with_effect(self.inner.len(handle)).map(drop),
                Some(InjectedBug::LostFrame) => self.with_effect(self.lose(handle)),
                Some(_) => self.with_effect(self.inner.len(handle)).and(Err(HandleError::Stale)),
                None => self.inner.free(handle),
            }
        });
        self.accept_stale(answer, ())
    }

    fn len(&self, handle: Handle) -> Result<usize, HandleError> {
        let answer = self.check_lost(handle).and_then(|()| self.inner.len(handle));
        self.accept_stale(answer, 1)
    }

    fn write(&self, handle: Handle, bytes: &[u8]) -> Result<(), WriteError> {
        self.check_lost(handle)?;
        let len = self.inner.len(handle)?;
        match self.inject(&[InjectedBug::LostWrite]) {
            Some(_) if len == bytes.len() => self.with_effect(Ok(())),
            Some(_) => {
                self.count_effect(false);
                self.inner.write(handle, bytes)
            }
            None => self.inner.write(handle, bytes),
        }
    }

    fn read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), HandleError> {
        self.check_lost(handle)?;
        self.read_through(f, |f| self.inner.read(handle, f))
    }

    fn try_read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), TryReadError> {
        self.check_lost(handle)?;
        self.read_through(f, |f| self.inner.try_read(handle, f))
    }

    fn compact(&self, budget: usize) -> CompactReport {
        match self.inject(&[InjectedBug::LostObject, InjectedBug::SpoiledMove]) {
            Some(InjectedBug::SpoiledMove) => {
                self.inject_into_recent(|handle| self.spoil_object(handle));
            }
            Some(_) => self.inject_into_recent(|handle| {
                self.check_lost(handle).is_ok() && self.inner.free(handle).is_ok()
            }),
            None => {}
        }
        self.inner.compact(budget)
    }

    fn reclaim(&self, retries: u32, evict: &mut Evict<'_>) -> Result<Reclaimed, ReclaimError> {
        let mut injected = |victim| match self.inject(&[InjectedBug::LostEviction]) {
            Some(_) => self.with_effect(self.inner.free(victim)).map_err(|_| NotEvicted),
            None if self.check_lost(victim).is_err() => Err(NotEvicted),
            None => evict(victim),
        };
        self.inner.reclaim(retries, &mut injected)
    }

    fn migrate(&self, handle: Handle) -> Result<usize, MigrateError> {
        self.check_lost(handle)?;
        if self.inject(&[InjectedBug::SpoiledMove]).is_some() {
            self.count_effect(self.spoil_object(handle));
        }
        self.inner.migrate(handle)
    }

    fn alloc_contiguous(
        &self,
        frames: usize,
        align: usize,
    ) -> Result<ContiguousRange<'_>, ContiguousError> {
        if self.inject(&[InjectedBug::SpoiledMove]).is_some() {
            self.inject_into_recent(|handle| self.spoil_object(handle));
        }
        self.inner.alloc_contiguous(frames, align)
    }

    fn trim(&self) -> TrimReport {
        self.inner.trim()
    }

    fn set_limit(&self, bytes: usize) -> Result<(), LimitError> {
        self.inner.set_limit(bytes)
    }

    fn stats(&self) -> Stats {
        let lost = self.lost();
        let (objects, bytes) = (lost.len(), lost.values().sum::<usize>());
        let mut stats = self.inner.stats();
        stats.objects = stats.objects.saturating_sub(objects as u64);
        stats.payload_bytes = stats.payload_bytes.saturating_sub(bytes as u64);
        stats
    }

    fn validate(&self) -> Result<(), Violation> {
        self.inner.validate()
    }
}
