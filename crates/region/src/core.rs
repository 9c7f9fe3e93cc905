//! What a region's threads and handlers share.

use std::{io, thread::JoinHandle, time::Duration};

use pagefold_store::{GetError, PAGE_BYTES, Page, Space, Store, TryGetError};
use pagefold_sys::{
    faults,
    quiesce::{Entered, Gate, fork_generation},
    sync::{self, AtomicU32, AtomicU64, AtomicUsize, Mutex, Ordering, Padded, SlotArray},
};

use crate::{
    backing::Backing,
    counters::Counters,
    credits::Credits,
    failure::FailurePolicy,
    mailbox::Mailbox,
    streams::Streams,
    table::{PageIndex, PageTable},
    wakeup::Wakeup,
};

/// Neighbours that a fault brings along, at most.
pub(crate) const NEIGHBOURS_MAX: usize = 16;
/// Pages that are chosen to go together.
pub(crate) const BATCH: usize = 64;
/// How long a fork may look for a moment without the region's own threads.
const HELP_AFTER: Duration = Duration::from_millis(2);

/// Fixed when the region is built.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Pages in memory whose content the store has too, at most.
    pub(crate) kept_max: usize,
    /// Pages that wait between being chosen and being compressed.
    pub(crate) limbo_max: usize,
    pub(crate) neighbours_max: usize,
    pub(crate) evictors: usize,
    /// Children of forks have the region too.
    pub(crate) snapshots: bool,
    pub(crate) failure: FailurePolicy,
}

/// # Invariants
/// I-KEY: the store has a page's key exactly if its word is `Compressed`, `Clean`, stale, or copied; only the claim's owner changes
/// that.
///
/// I-CREDIT: each page that is mapped, or chosen, or being placed, has a credit.
///
/// I-FORK: with snapshots, the owner of a claim, or of `hand`, is inside the gate, or has posted the claim.
///
/// Lock order: the gate -> `hand` (evictors only) -> the claim of a page -> what the store locks. A handler has at most one claim while it waits,
/// and waits for a credit only without one.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) table: PageTable,
    pub(crate) credits: Credits,
    pub(crate) backing: Box<dyn Backing>,
    pub(crate) store: Store,
    pub(crate) space: Space,
    /// For a page and its neighbours: a handler keeps none on its stack.
    pub(crate) buffers: SlotArray<Box<[Page]>>,
    pub(crate) streams: Streams,
    pub(crate) counters: Counters,
    /// Pages in memory whose key the store has.
    pub(crate) kept: AtomicUsize,
    pub(crate) pinned: AtomicUsize,
    /// Pages that left memory; wraps.
    pub(crate) dropped: Padded<AtomicU32>,
    pub(crate) isolations: AtomicU32,
    /// Where the next choice begins; locked while pages are chosen.
    pub(crate) hand: Mutex<usize>,
    pub(crate) evictor: Wakeup,
    pub(crate) server: Wakeup,
    pub(crate) mailbox: Mailbox,
    pub(crate) settings: Settings,
    /// The region's own.
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
    /// Closed while a fork is under way.
    pub(crate) gate: Gate,
    /// Of the process that has its pages.
    pub(crate) generation: AtomicU64,
}

/// What of a core is made before it.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) backing: Box<dyn Backing>,
    pub(crate) store: Store,
    pub(crate) space: Space,
    /// Pages that may be in memory.
    pub(crate) limit: usize,
    /// Buffers for pages and their neighbours.
    pub(crate) buffers: usize,
    pub(crate) settings: Settings,
}

impl Core {
    /// No page was touched.
    ///
    /// # Errors
    /// The system's, if it cannot register the handlers of forks.
    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        let Parts { backing, store, space, limit, buffers, settings } = parts;
        let buffer = |_| vec![[0; PAGE_BYTES]; NEIGHBOURS_MAX].into_boxed_slice();
        Ok(Self {
            table: PageTable::new(backing.pages(), !backing.sees_writes()),
            credits: Credits::new(limit),
            backing,
            store,
            space,
            buffers: SlotArray::from_fn(buffers, buffer),
            streams: Streams::new(),
            counters: Counters::new(),
            kept: AtomicUsize::new(0),
            pinned: AtomicUsize::new(0),
            dropped: Padded(AtomicU32::new(0)),
            isolations: AtomicU32::new(0),
            hand: Mutex::new(0),
            evictor: Wakeup::new(),
            server: Wakeup::new(),
            mailbox: Mailbox::new(),
            settings,
            threads: Mutex::new(Vec::new()),
            gate: Gate::new()?,
            generation: AtomicU64::new(fork_generation()),
        })
    }

    /// Begins to change pages: a fork waits for the end, if its child gets the region. Waits for a fork. Async-signal-safe.
    pub(crate) fn enter(&self) -> Option<Entered<'_>> {
        // An abandoned gate is in a child that does not have the region.
        self.settings.snapshots.then(|| self.gate.enter().ok()).flatten()
    }

    /// As [`enter`](Self::enter), for threads that others wait for.
    pub(crate) fn enter_to_help(&self) -> Option<Entered<'_>> {
        self.settings.snapshots.then(|| self.gate.enter_to_help(HELP_AFTER).ok()).flatten()
    }

    pub(crate) fn generation(&self) -> u64 {
        // ORDERING: Relaxed; changes while the process has one thread.
        self.generation.load(Ordering::Relaxed)
    }

    /// Whether this process has its pages: not in a child, unless it got a snapshot.
    pub(crate) fn is_here(&self) -> bool {
        self.generation() == fork_generation()
    }

    /// Whether evictors have work: fewer than this many credits are free.
    pub(crate) fn low_credits(&self) -> usize {
        (self.credits.limit() / 16).clamp(BATCH / 2, 4 * BATCH).min(self.credits.limit() / 2)
    }

    /// When they are done.
    pub(crate) fn high_credits(&self) -> usize {
        self.low_credits() + (self.credits.limit() / 16).min(2 * BATCH)
    }

    pub(crate) fn is_low(&self) -> bool {
        self.credits.free() < self.low_credits()
    }

    /// Whether faults wait, or soon will: pages in limbo get no more time.
    pub(crate) fn is_urgent(&self) -> bool {
        self.credits.free() < self.low_credits() / 2
    }

    /// Async-signal-safe.
    pub(crate) fn wake_if_low(&self) {
        if self.is_low() {
            self.evictor.wake();
        }
    }

    pub(crate) fn kept(&self) -> usize {
        // ORDERING: Relaxed, all of `kept`; a hint about memory.
        self.kept.load(Ordering::Relaxed)
    }

    pub(crate) fn keep(&self) {
        self.kept.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn unkeep(&self) {
        self.kept.fetch_sub(1, Ordering::Relaxed);
    }

    /// What the word of a page that leaves memory says of when.
    pub(crate) fn note_dropped(&self, count: usize) -> u32 {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        // ORDERING: Relaxed; a clock without readers that depend on it.
        self.dropped.fetch_add(count, Ordering::Relaxed)
    }

    /// Passes of the hand that a page survives which comes back: more if it left lately.
    pub(crate) fn heat(&self, left_at: u32) -> u64 {
        // ORDERING: Relaxed; as above.
        let away = self.dropped.load(Ordering::Relaxed).wrapping_sub(left_at) as usize;
        let limit = self.credits.limit();
        u64::from(away < limit) + u64::from(away < limit / 4)
    }

    /// Reads a page that the store has. False if a thread that may wait has to. Async-signal-safe.
    pub(crate) fn try_get(&self, page: PageIndex, into: &mut Page) -> bool {
        const TRIES: usize = 64;
        for _ in 0..TRIES {
            match self.space.try_get(page.key(), into) {
                Ok(()) => return true,
                Err(TryGetError::WouldBlock) if self.is_spilled(page) => return false,
                Err(TryGetError::WouldBlock) => sync::yield_now(),
                // It may come back: the policy decides how long a thread waits.
                Err(TryGetError::Get(GetError::Io(_) | GetError::Timeout)) => return false,
                Err(TryGetError::Get(error)) => self.die(page, &error),
            }
        }
        false
    }

    fn is_spilled(&self, page: PageIndex) -> bool {
        self.space.form_of(page.key()) == Some("spilled")
    }

    /// Whether a page is in a cluster. A hint.
    pub(crate) fn is_dense(&self, page: PageIndex) -> bool {
        self.space.form_of(page.key()) == Some("member")
    }

    /// Ends the process: a memory access has no answer. Async-signal-safe.
    pub(crate) fn die(&self, page: PageIndex, error: &GetError) -> ! {
        let cause = match error {
            GetError::Absent => "the store has lost it",
            GetError::Corrupt => "its stored bytes are corrupt",
            GetError::Io(_) => "its backing cannot be read",
            GetError::Timeout => "its backing does not answer",
            _ => "the store refuses it",
        };
        faults::die("pagefold-region: cannot bring back page ", page.0, cause)
    }
}
