//! The queue of staging: bounded, in order of arrival.

use std::{
    collections::{HashSet, VecDeque},
    mem::ManuallyDrop,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use pagefold_sys::sync::Mutex;

use crate::stats::StagingStats;

/// See the module above. `S` is the state of a space.
pub(crate) struct Staging<S> {
    /// In pages; 0: staging is off.
    capacity: usize,
    /// From when the queue is full until it is empty.
    overflows: AtomicBool,
    queue: Mutex<Queue<S>>,
    staged: AtomicU64,
    compressed: AtomicU64,
    kept_raw: AtomicU64,
    by_callers: AtomicU64,
    failures: AtomicU64,
}

struct Queue<S> {
    entries: VecDeque<Entry<S>>,
    /// Slots of puts that have not pushed yet.
    reserved: usize,
    /// The number of the oldest entry.
    first: u64,
    /// Numbers of taken entries whose turn has not ended.
    in_turn: Vec<u64>,
}

struct Entry<S> {
    /// `None` only while `forget` drops the entry.
    space: Option<Arc<S>>,
    key: u64,
}

impl<S> Entry<S> {
    fn is_of(&self, space: &S) -> bool {
        self.space.as_deref().is_some_and(|own| std::ptr::eq(own, space))
    }
}

/// A slot of the queue for one put; without a push it is given back.
pub(crate) struct Reserved<'a, S> {
    staging: &'a Staging<S>,
}

/// The oldest entry, taken. Its turn ends when this is dropped.
pub(crate) struct Staged<'a, S> {
    staging: &'a Staging<S>,
    number: u64,
    pub(crate) space: Arc<S>,
    pub(crate) key: u64,
}

/// What became of a staged page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Compressed,
    KeptRaw,
}

// ORDERING (this file): Relaxed; statistics.
impl<S> Staging<S> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            overflows: AtomicBool::new(false),
            queue: Mutex::new(Queue {
                entries: VecDeque::new(),
                reserved: 0,
                first: 0,
                in_turn: Vec::new(),
            }),
            staged: AtomicU64::new(0),
            compressed: AtomicU64::new(0),
            kept_raw: AtomicU64::new(0),
            by_callers: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// The bytes of a queue for `capacity` pages.
    pub(crate) const fn fixed_bytes(capacity: usize) -> usize {
        capacity.saturating_mul(size_of::<Entry<S>>())
    }

    /// Charged bytes not resident.
    pub(crate) fn reserved_bytes(&self) -> usize {
        let held = Self::fixed_bytes(self.queue.lock().entries.capacity());
        Self::fixed_bytes(self.capacity).saturating_sub(held)
    }

    /// Frees an empty queue until the next page comes.
    pub(crate) fn rest(&self) {
        let mut queue = self.queue.lock();
        if queue.entries.is_empty() {
            queue.entries = VecDeque::new();
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// `None` when the queue is full.
    pub(crate) fn reserve(&self) -> Option<Reserved<'_, S>> {
        let mut queue = self.queue.lock();
        if queue.entries.len() + queue.reserved >= self.capacity {
            self.overflows.store(true, Ordering::Relaxed);
            return None;
        }
        queue.reserved += 1;
        Some(Reserved { staging: self })
    }

    /// Begins the turn of the oldest entry.
    pub(crate) fn take(&self) -> Option<Staged<'_, S>> {
        if self.capacity == 0 {
            return None;
        }
        let mut queue = self.queue.lock();
        let Entry { space: Some(space), key } = queue.entries.pop_front()? else {
            unreachable!("`forget` removes what it empties")
        };
        let number = queue.first;
        queue.first += 1;
        queue.in_turn.push(number);
        if queue.entries.is_empty() {
            self.overflows.store(false, Ordering::Relaxed);
        }
        Some(Staged { staging: self, number, space, key })
    }

    /// Whether puts come faster than workers end turns: the queue was full, and is not empty yet.
    #[inline]
    pub(crate) fn overflows(&self) -> bool {
        self.overflows.load(Ordering::Relaxed)
    }

    /// The number of the next entry: all that are staged now have a lower one.
    pub(crate) fn next_number(&self) -> u64 {
        let queue = self.queue.lock();
        queue.first + queue.entries.len() as u64
    }

    /// Whether every entry with a lower number has had its turn. `forget` lowers the numbers of later entries, so this
    /// may wait for a few that came after.
    pub(crate) fn is_past(&self, number: u64) -> bool {
        let queue = self.queue.lock();
        (queue.entries.is_empty() || queue.first >= number)
            && queue.in_turn.iter().all(|&taken| taken >= number)
    }

    /// Whether an entry with a lower number waits for its turn.
    pub(crate) fn has_before(&self, number: u64) -> bool {
        let queue = self.queue.lock();
        !queue.entries.is_empty() && queue.first < number
    }

    /// Drops the entries of a space that was dropped.
    pub(crate) fn forget(&self, space: &S) {
        if self.capacity == 0 {
            return;
        }
        // Dropped after the lock: an entry may be the last owner of its space.
        let mut gone = Vec::new();
        self.queue.lock().entries.retain_mut(|entry| {
            let stays = !entry.is_of(space);
            if !stays {
                gone.extend(entry.space.take());
            }
            stays
        });
    }

    pub(crate) fn note(&self, outcome: Outcome, by_caller: bool) {
        match outcome {
            Outcome::Compressed => self.compressed.fetch_add(1, Ordering::Relaxed),
            Outcome::KeptRaw => self.kept_raw.fetch_add(1, Ordering::Relaxed),
        };
        self.by_callers.fetch_add(u64::from(by_caller), Ordering::Relaxed);
    }

    pub(crate) fn note_staged(&self) {
        self.staged.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// The accounts; `pages` wait now.
    pub(crate) fn stats(&self, pages: u64) -> StagingStats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (staged, compressed, kept_raw) =
            (load(&self.staged), load(&self.compressed), load(&self.kept_raw));
        StagingStats {
            capacity_pages: self.capacity as u64,
            pages,
            bytes: pages * crate::PAGE_BYTES as u64,
            staged,
            compressed,
            kept_raw,
            saved: staged.saturating_sub(compressed + kept_raw + pages),
            by_callers: load(&self.by_callers),
            failures: load(&self.failures),
            ..StagingStats::default()
        }
    }

    /// The keys of a space that have an entry. For a store without operations.
    pub(crate) fn keys_of(&self, space: &S) -> HashSet<u64> {
        let queue = self.queue.lock();
        let own = queue.entries.iter().filter(|entry| entry.is_of(space));
        own.map(|entry| entry.key).collect()
    }

    /// Checks a queue without operations.
    pub(crate) fn audit(&self) -> Result<(), String> {
        let queue = self.queue.lock();
        let (entries, reserved, in_turn) =
            (queue.entries.len(), queue.reserved, queue.in_turn.len());
        if entries > self.capacity || reserved != 0 || in_turn != 0 {
            return Err(format!(
                "I-STAGE: {entries} entries of {}, {reserved} reserved slots and {in_turn} turns without an operation",
                self.capacity
            ));
        }
        Ok(())
    }
}

impl<S> Reserved<'_, S> {
    /// Appends a key; whether workers are due: the queue was empty, or is half full now.
    pub(crate) fn push(self, space: &Arc<S>, key: u64) -> bool {
        let staging = ManuallyDrop::new(self).staging;
        let space = Some(Arc::clone(space));
        let mut queue = staging.queue.lock();
        let before = queue.entries.len();
        if before == queue.entries.capacity() {
            queue.entries.reserve_exact(staging.capacity - before);
        }
        queue.entries.push_back(Entry { space, key });
        queue.reserved -= 1;
        before == 0 || before + 1 == staging.capacity.div_ceil(2)
    }
}

impl<S> Drop for Reserved<'_, S> {
    fn drop(&mut self) {
        self.staging.queue.lock().reserved -= 1;
    }
}

impl<S> Drop for Staged<'_, S> {
    fn drop(&mut self) {
        let mut queue = self.staging.queue.lock();
        let at = queue.in_turn.iter().position(|&number| number == self.number);
        queue.in_turn.swap_remove(at.expect("a turn ends once"));
    }
}
