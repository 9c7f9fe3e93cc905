//! The state word: lock, life and place of a descriptor in one 64-bit atomic.
//!
//! ```text
//!  bits   0..32  first frame          32..38  frames - 1          38..54  readers
//!         54 WRITER   55 LIVE   56 DYING   57 PENDING   58 WAITERS   59 ISOLATED   60..64 zero
//! ```
//! | from | to | method |
//! |---|---|---|
//! | vacant (0) | LIVE, WRITER, place | `publish` |
//! | LIVE, not WRITER, not DYING | one reader more | `try_read` |
//! | LIVE, not locked, not DYING | WRITER, not PENDING | `try_write` |
//! | locked | one lock less | `unlock_read`, `unlock_write`; the last of a PENDING or DYING word defers it |
//! | LIVE, WRITER | vacant, or DYING if ISOLATED | `retire`, the writer |
//! | LIVE | vacant, or DYING if locked or ISOLATED | `reap` |
//! | DYING, not locked, not ISOLATED | vacant | `reap_dying`: one caller gets the frames |
//! | LIVE | PENDING as well | `note_pending` |
//! | LIVE, not DYING, not ISOLATED | ISOLATED | `isolate`, a mover |
//! | LIVE, WRITER, ISOLATED | another place | `relocate`, that mover |
//! | LIVE, ISOLATED | not ISOLATED | `putback`; defers a DYING word |
//!
//! Readers never queue behind a writer: writers only try. *Deferring* is a hint: `reap_dying` decides. An ISOLATED
//! word keeps its id; only its mover changes the place.

use pagefold_sys::sync::{self, AtomicU64, Ordering};

use crate::{FrameCount, FrameNo, FrameRange};

#[cfg(all(test, not(loom)))]
mod tests;

const FRAMES_SHIFT: u32 = 32;
const READERS_SHIFT: u32 = 38;
const READER: u64 = 1 << READERS_SHIFT;
const READERS: u64 = 0xffff << READERS_SHIFT;
const WRITER: u64 = 1 << 54;
const LIVE: u64 = 1 << 55;
const DYING: u64 = 1 << 56;
const PENDING: u64 = 1 << 57;
const WAITERS: u64 = 1 << 58;
const ISOLATED: u64 = 1 << 59;
const LOCKS: u64 = READERS | WRITER;
const PLACE: u64 = (1 << READERS_SHIFT) - 1;

/// Looks before a reader sleeps: about the move of one object.
const SPINS: u32 = if cfg!(loom) { 0 } else { 200 };

/// Why a descriptor was not locked or isolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockError {
    /// No descriptor lives under this id.
    Gone,
    /// Another guard or mover excludes it now.
    Busy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reap {
    /// The caller frees these frames.
    Now(FrameRange),
    /// The last guard or mover to leave defers it.
    Later,
}

#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct StateWord(AtomicU64);

#[expect(
    clippy::cast_possible_truncation,
    reason = "the fields are cut out of the word by masks and shifts"
)]
#[inline]
fn location_of(word: u64) -> FrameRange {
    FrameRange {
        start: FrameNo(word as u32),
        frames: FrameCount::new(((word >> FRAMES_SHIFT) as u32 & 0x3f) + 1),
    }
}

fn word_of(location: FrameRange) -> u64 {
    u64::from(location.start.0) | u64::from(location.frames.get() - 1) << FRAMES_SHIFT
}

/// Whether the last unlock of this word defers it. `putback` defers an isolated dying one.
fn has_deferred(word: u64) -> bool {
    let freeable = word & (DYING | ISOLATED) == DYING;
    word & LOCKS == 0 && word & LIVE != 0 && (freeable || word & PENDING != 0)
}

impl StateWord {
    #[cfg(loom)]
    pub(crate) fn vacant() -> Self {
        Self(AtomicU64::new(0))
    }

    fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    pub(crate) fn frame_range(&self) -> Option<FrameRange> {
        // ORDERING: Relaxed; for inspection.
        let word = self.0.load(Ordering::Relaxed);
        (word & LIVE != 0).then(|| location_of(word))
    }

    pub(crate) fn is_locked(&self) -> bool {
        // ORDERING: Relaxed; as above.
        self.0.load(Ordering::Relaxed) & LOCKS != 0
    }

    pub(crate) fn is_dying(&self) -> bool {
        // ORDERING: Relaxed; as above.
        self.0.load(Ordering::Relaxed) & DYING != 0
    }

    pub(crate) fn is_isolated(&self) -> bool {
        // ORDERING: Relaxed; as above.
        self.0.load(Ordering::Relaxed) & ISOLATED != 0
    }

    pub(crate) fn publish(&self, location: FrameRange) {
        // ORDERING: Acquire; pairs with the Release in `retire`, `reap` and `reap_dying`: the last user of the old
        // body was done.
        let outcome = self.0.compare_exchange(
            0,
            word_of(location) | LIVE | WRITER,
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        assert!(outcome.is_ok(), "an id was given out while its descriptor was in use");
    }

    #[inline]
    pub(crate) fn try_read(&self) -> Result<FrameRange, LockError> {
        // ORDERING: Relaxed; the exchange below checks it and acquires.
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & (LIVE | DYING) != LIVE {
                return Err(LockError::Gone);
            }
            // A full reader count counts as a writer.
            if word & WRITER != 0 || word & READERS == READERS {
                return Err(LockError::Busy);
            }
            // ORDERING: Acquire; pairs with the Release in `unlock_write`: the reader sees what the writer wrote, and
            // every handle entry that it rewrote.
            match self.0.compare_exchange_weak(
                word,
                word + READER,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(location_of(word)),
                Err(seen) => word = seen,
            }
        }
    }

    /// Locks for reading; waits for a writer. `None`: nothing lives here.
    pub(crate) fn read(&self) -> Option<FrameRange> {
        for _ in 0..=SPINS {
            match self.try_read() {
                Ok(location) => return Some(location),
                Err(LockError::Gone) => return None,
                Err(LockError::Busy) => sync::spin_loop(),
            }
        }
        loop {
            let epoch = sync::epoch(self.key());
            match self.try_read() {
                Ok(location) => return Some(location),
                Err(LockError::Gone) => return None,
                Err(LockError::Busy) => {}
            }
            // ORDERING: Relaxed; the mark only asks for a wake-up; the epoch orders sleeping against waking.
            let word = self.0.load(Ordering::Relaxed);
            if word & WRITER == 0 {
                // The writer left, or the reader count is full.
                sync::yield_now();
            } else if word & WAITERS != 0
                || self
                    .0
                    .compare_exchange(word, word | WAITERS, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
            {
                sync::wait(self.key(), epoch);
            }
        }
    }

    /// `true`: the caller defers the descriptor.
    #[inline]
    pub(crate) fn unlock_read(&self) -> bool {
        // ORDERING: Release; pairs with the Acquire in `try_write` and `reap_dying`: this reader's reads come before
        // the next write or free.
        let before = self.0.fetch_sub(READER, Ordering::Release);
        debug_assert!(before & READERS != 0, "a reader unlocks once");
        has_deferred(before - READER)
    }

    /// Clears PENDING: this writer does that work.
    pub(crate) fn try_write(&self) -> Result<FrameRange, LockError> {
        self.try_write_clearing(PENDING)
    }

    /// PENDING stays set, so unlocking defers the descriptor again.
    pub(crate) fn try_write_for_move(&self) -> Result<FrameRange, LockError> {
        self.try_write_clearing(0)
    }

    fn try_write_clearing(&self, cleared: u64) -> Result<FrameRange, LockError> {
        // ORDERING: Relaxed; the exchange below checks it and acquires.
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & (LIVE | DYING) != LIVE {
                return Err(LockError::Gone);
            }
            if word & LOCKS != 0 {
                return Err(LockError::Busy);
            }
            let locked = (word | WRITER) & !cleared;
            // ORDERING: Acquire; pairs with the Release in `unlock_read`, `unlock_write` and `note_pending`.
            match self.0.compare_exchange_weak(word, locked, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Ok(location_of(word)),
                Err(seen) => word = seen,
            }
        }
    }

    /// Marks a descriptor for a move by the caller.
    pub(crate) fn isolate(&self) -> Result<FrameRange, LockError> {
        // ORDERING: Relaxed; the exchange below checks it.
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & (LIVE | DYING) != LIVE {
                return Err(LockError::Gone);
            }
            if word & ISOLATED != 0 {
                return Err(LockError::Busy);
            }
            // ORDERING: Acquire; pairs with the Release in `putback`: the last mover's place is seen.
            match self.0.compare_exchange_weak(
                word,
                word | ISOLATED,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(location_of(word)),
                Err(seen) => word = seen,
            }
        }
    }

    /// `true`: the descriptor is dying, and the caller defers it.
    pub(crate) fn putback(&self) -> bool {
        // ORDERING: Release; pairs with the Acquire in `isolate`, and in `reap_dying`, which may free the frames at
        // once.
        let before = self.0.fetch_and(!ISOLATED, Ordering::Release);
        debug_assert!(before & ISOLATED != 0, "a descriptor is put back once");
        before & DYING != 0 && has_deferred(before & !ISOLATED)
    }

    /// The caller isolated the descriptor and locked it for writing.
    pub(crate) fn relocate(&self, to: FrameRange) {
        // ORDERING: Relaxed; published by the Release of `unlock_write`. Other threads change only DYING, PENDING and
        // WAITERS meanwhile.
        let moved = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            debug_assert!(word & (WRITER | ISOLATED) == WRITER | ISOLATED, "the mover locked it");
            Some(word & !PLACE | word_of(to))
        });
        debug_assert!(moved.is_ok(), "an update that always has a value");
    }

    /// `true`: the caller defers the descriptor.
    pub(crate) fn unlock_write(&self) -> bool {
        // ORDERING: Release; pairs with the Acquire in `try_read` and `try_write`.
        let before = self.0.fetch_and(!(WRITER | WAITERS), Ordering::Release);
        debug_assert!(before & WRITER != 0, "a writer unlocks once");
        if before & WAITERS != 0 {
            sync::wake_all(self.key());
        }
        has_deferred(before & !WRITER)
    }

    /// Ends a descriptor that the caller locked for writing: now, or at `putback`.
    pub(crate) fn retire(&self) -> Reap {
        // ORDERING: Relaxed; the exchange below checks it.
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            debug_assert!(word & (LIVE | WRITER) == LIVE | WRITER, "only the writer retires");
            let isolated = word & ISOLATED != 0;
            let after = if isolated { word & !(WRITER | WAITERS | PENDING) | DYING } else { 0 };
            // ORDERING: Release; pairs with the Acquire in `publish` and `reap_dying`.
            match self.0.compare_exchange_weak(word, after, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => {
                    if word & WAITERS != 0 {
                        sync::wake_all(self.key());
                    }
                    return if isolated { Reap::Later } else { Reap::Now(location_of(word)) };
                }
                Err(seen) => word = seen,
            }
        }
    }

    /// Ends a descriptor: now, or with its last lock. Called once for a life.
    pub(crate) fn reap(&self) -> Reap {
        // ORDERING: Relaxed; the exchange below checks it.
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            assert!(word & (LIVE | DYING) == LIVE, "a descriptor is reaped once");
            let idle = word & (LOCKS | ISOLATED) == 0;
            let after = if idle { 0 } else { word | DYING };
            // ORDERING: AcqRel; Acquire pairs with the Release in `unlock_read`, since the frames may be freed at
            // once; Release pairs with the Acquire in `publish` and `reap_dying`.
            match self.0.compare_exchange_weak(word, after, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if idle => return Reap::Now(location_of(word)),
                Ok(_) => return Reap::Later,
                Err(seen) => word = seen,
            }
        }
    }

    /// Ends a dying descriptor that is neither locked nor isolated.
    pub(crate) fn reap_dying(&self) -> Option<FrameRange> {
        // ORDERING: Relaxed; the exchange below checks it.
        let mut word = self.0.load(Ordering::Relaxed);
        while word & (LOCKS | ISOLATED) == 0 && word & (LIVE | DYING) == LIVE | DYING {
            // ORDERING: AcqRel; Acquire pairs with the Release in `unlock_read`, `unlock_write`, `retire` and
            // `putback`, Release with the Acquire in `publish`.
            match self.0.compare_exchange_weak(word, 0, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(location_of(word)),
                Err(seen) => word = seen,
            }
        }
        None
    }

    /// Marks work for the next writer. `true`: no guard locks it, so the caller defers it. A mark on a successor is
    /// harmless.
    pub(crate) fn note_pending(&self) -> bool {
        // ORDERING: Relaxed; the exchange below checks it.
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & LIVE == 0 {
                return false;
            }
            // ORDERING: Release; pairs with the Acquire in `try_write`, which sees the work.
            match self.0.compare_exchange_weak(
                word,
                word | PENDING,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return has_deferred(word | PENDING),
                Err(seen) => word = seen,
            }
        }
    }
}
