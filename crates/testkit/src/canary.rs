//! A pool adapter that fails once in a while: a test that runs on it must not pass.
//!
//! Most calls go straight through. A call is struck when a hash of (seed, number of the call) says so, which is exactly
//! reproducible when one thread calls. What a strike does depends on the method, and each is what a real defect in a
//! pool might look like from outside.
//!
//! A strike may find nothing to spoil: the object was freed meanwhile, or the pool is full and refuses the write. Then it does
//! not count, and the next call that can be struck is struck in its place. So how often a fault really occurs follows from
//! the number of calls, whatever the allocator and however threads meet.

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

/// What a strike does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A read sees one bit flipped.
    FlippedBit,
    /// A read sees the bytes of the object stored last.
    OtherObject,
    /// A read sees all but the last byte.
    ShortRead,
    /// A free succeeds and does nothing.
    LostFree,
    /// A free of a live object says that it is stale.
    RefusedFree,
    /// A write succeeds and does nothing.
    LostWrite,
    /// Compaction frees the object stored last.
    LostObject,
    /// Whatever moves frames (migration, a claim, compaction) flips a bit of an object.
    SpoiledMove,
    /// A victim of reclaim is freed without asking anybody to evict it.
    LostEviction,
    /// An object is freed, as far as anybody can see, and the frames that it lay in are kept for ever.
    LostFrame,
    /// The handle of a freed object is accepted.
    StaleAccepted,
}

impl Fault {
    /// All of them.
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

/// Objects stored last that a strike looks at to find one that lives.
const RECENT: usize = 64;

/// The faulty adapter.
///
/// # Examples
/// ```
/// use pagefold_pool::Pool;
/// use pagefold_testkit::{canary::{Canary, Fault}, reference::MapPool};
///
/// let pool = Canary::new(Box::new(MapPool::new(1 << 20)), 7, 1).only(Fault::LostFree);
/// let handle = pool.store(b"bytes")?;
/// pool.free(handle)?;
/// assert_eq!(pool.len(handle), Ok(5), "it is still there");
/// assert_eq!(pool.strikes(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Canary {
    inner: Box<dyn Pool>,
    seed: u64,
    one_in: u64,
    faults: Vec<Fault>,
    calls: AtomicU64,
    strikes: Arc<AtomicU64>,
    /// A strike did nothing; the next call makes up for it.
    owed: AtomicBool,
    /// The last one is at the end.
    recent: Mutex<VecDeque<Handle>>,
    /// Objects that only their frames know of, and their lengths.
    lost: Mutex<HashMap<Handle, usize>>,
}

impl Canary {
    /// Wraps a pool; about one call in `one_in` is struck, by any fault that its method can have.
    ///
    /// # Panics
    /// If `one_in` is 0.
    pub fn new(inner: Box<dyn Pool>, seed: u64, one_in: u64) -> Self {
        assert!(one_in > 0, "one call in 0 cannot be struck");
        Self {
            inner,
            seed,
            one_in,
            faults: Fault::ALL.to_vec(),
            calls: AtomicU64::new(0),
            strikes: Arc::default(),
            owed: AtomicBool::new(false),
            recent: Mutex::default(),
            lost: Mutex::default(),
        }
    }

    /// Restricts the strikes to one fault.
    pub fn only(mut self, fault: Fault) -> Self {
        self.faults = vec![fault];
        self
    }

    /// How many calls were struck and had an effect.
    pub fn strikes(&self) -> u64 {
        // ORDERING: Relaxed; a count for a report, it publishes nothing.
        self.strikes.load(Ordering::Relaxed)
    }

    /// The same, for after the canary was given away.
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.strikes)
    }

    /// The fault of this call, if it is struck, from those that its method can have.
    fn strike(&self, possible: &[Fault]) -> Option<Fault> {
        // ORDERING: Relaxed; each call needs a number of its own, in no particular order.
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let lot = mix(self.seed ^ mix(call));
        let mut choices = possible.iter().filter(|fault| self.faults.contains(fault));
        let count = choices.clone().count() as u64;
        // ORDERING: Relaxed, as in `settle`; either of two threads may make up for it.
        let due = || lot.is_multiple_of(self.one_in) || self.owed.swap(false, Ordering::Relaxed);
        if count == 0 || !due() {
            return None;
        }
        choices.nth(usize::try_from(mix(lot) % count).unwrap_or(0)).copied()
    }

    /// Counts a strike, or owes one if it had no effect.
    fn settle(&self, had_effect: bool) {
        // ORDERING: Relaxed; counts for tests, they publish nothing.
        if had_effect {
            self.strikes.fetch_add(1, Ordering::Relaxed);
        } else {
            self.owed.store(true, Ordering::Relaxed);
        }
    }

    /// An answer of a struck call, which had an effect if it is `Ok`.
    fn settled<T, E>(&self, answer: Result<T, E>) -> Result<T, E> {
        self.settle(answer.is_ok());
        answer
    }

    fn lost(&self) -> MutexGuard<'_, HashMap<Handle, usize>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lost object is freed for everybody but its frames.
    fn check_lost(&self, handle: Handle) -> Result<(), HandleError> {
        if self.lost().contains_key(&handle) { Err(HandleError::Stale) } else { Ok(()) }
    }

    /// The answer of a call with a handle; a struck one finds that a stale handle is as good.
    fn accept_stale<T>(&self, answer: Result<T, HandleError>, good: T) -> Result<T, HandleError> {
        match answer {
            Err(HandleError::Stale) if self.strike(&[Fault::StaleAccepted]).is_some() => {
                self.settled(Ok(good))
            }
            answer => answer,
        }
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<Handle>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the object stored last for which it succeeds.
    fn strike_recent(&self, effect: impl Fn(Handle) -> bool) {
        let recent: Vec<Handle> = self.recent().iter().rev().copied().collect();
        self.settle(recent.into_iter().any(effect));
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

    /// Frees an object but for its frames; of two who try one succeeds.
    fn lose(&self, handle: Handle) -> Result<(), HandleError> {
        let mut lost = self.lost();
        let len = self.inner.len(handle)?;
        if lost.insert(handle, len).is_some() { Err(HandleError::Stale) } else { Ok(()) }
    }

    /// Flips a bit of an object for good. False if it does not live, or the pool refuses the write.
    fn spoil_object(&self, handle: Handle) -> bool {
        let mut bytes = Vec::new();
        let read = self.inner.read(handle, &mut |slices| bytes = slices.parts().concat());
        let Some(last) = bytes.last_mut() else { return false };
        *last ^= 1;
        read.is_ok() && self.check_lost(handle).is_ok() && self.inner.write(handle, &bytes).is_ok()
    }

    /// A read through `read`, that is struck now and then.
    fn read_through<E>(
        &self,
        f: &mut dyn FnMut(Slices<'_>),
        read: impl FnOnce(&mut dyn FnMut(Slices<'_>)) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.strike(&[Fault::FlippedBit, Fault::OtherObject, Fault::ShortRead]) {
            None => read(f),
            Some(fault) => {
                let mut had_effect = false;
                let answer = read(&mut |slices| had_effect = self.spoil(fault, slices, f));
                self.settle(had_effect);
                answer
            }
        }
    }

    /// Calls `f` with a spoiled copy of what a read sees; false if it is not spoiled.
    fn spoil(&self, fault: Fault, slices: Slices<'_>, f: &mut dyn FnMut(Slices<'_>)) -> bool {
        let right = slices.parts().concat();
        let mut bytes = right.clone();
        let at =
            usize::try_from(mix(self.seed ^ bytes.len() as u64) % bytes.len() as u64).unwrap_or(0);
        match fault {
            Fault::OtherObject => {
                let last_stored = self.recent().back().copied();
                if let Some(other) = last_stored {
                    // A stale handle leaves the copy as it is.
                    let mut take = |slices: Slices<'_>| bytes = slices.parts().concat();
                    self.inner.read(other, &mut take).ok();
                }
            }
            Fault::ShortRead if bytes.len() > 1 => {
                bytes.pop();
            }
            _ => bytes[at] ^= 1 << (at % 8),
        }
        f(Slices::new(&[&bytes]));
        bytes != right
    }
}

impl Pool for Canary {
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
            match self.strike(&[Fault::LostFree, Fault::RefusedFree, Fault::LostFrame]) {
                Some(Fault::LostFree) => self.settled(self.inner.len(handle)).map(drop),
                Some(Fault::LostFrame) => self.settled(self.lose(handle)),
                Some(_) => self.settled(self.inner.len(handle)).and(Err(HandleError::Stale)),
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
        match self.strike(&[Fault::LostWrite]) {
            Some(_) if len == bytes.len() => self.settled(Ok(())),
            Some(_) => {
                self.settle(false);
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
        match self.strike(&[Fault::LostObject, Fault::SpoiledMove]) {
            Some(Fault::SpoiledMove) => self.strike_recent(|handle| self.spoil_object(handle)),
            Some(_) => self.strike_recent(|handle| {
                self.check_lost(handle).is_ok() && self.inner.free(handle).is_ok()
            }),
            None => {}
        }
        self.inner.compact(budget)
    }

    fn reclaim(&self, retries: u32, evict: &mut Evict<'_>) -> Result<Reclaimed, ReclaimError> {
        let mut struck = |victim| match self.strike(&[Fault::LostEviction]) {
            Some(_) => self.settled(self.inner.free(victim)).map_err(|_| NotEvicted),
            None if self.check_lost(victim).is_err() => Err(NotEvicted),
            None => evict(victim),
        };
        self.inner.reclaim(retries, &mut struck)
    }

    fn migrate(&self, handle: Handle) -> Result<usize, MigrateError> {
        self.check_lost(handle)?;
        if self.strike(&[Fault::SpoiledMove]).is_some() {
            self.settle(self.spoil_object(handle));
        }
        self.inner.migrate(handle)
    }

    fn alloc_contiguous(
        &self,
        frames: usize,
        align: usize,
    ) -> Result<ContiguousRange<'_>, ContiguousError> {
        if self.strike(&[Fault::SpoiledMove]).is_some() {
            self.strike_recent(|handle| self.spoil_object(handle));
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
        let stats = self.inner.stats();
        Stats {
            objects: stats.objects.saturating_sub(objects as u64),
            payload_bytes: stats.payload_bytes.saturating_sub(bytes as u64),
            ..stats
        }
    }

    fn validate(&self) -> Result<(), Violation> {
        self.inner.validate()
    }
}
