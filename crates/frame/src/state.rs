//! The state word of a descriptor: lock, life and location in one 64-bit atomic.
//!
//! ```text
//!  bits   0..32  first frame          32..38  frames - 1          38..54  readers
//!         54 WRITER   55 LIVE   56 DYING   57 PENDING   58 WAITERS   59 ISOLATED   60..64 zero
//! ```
//! | method | from | to |
//! |---|---|---|
//! | `publish` | vacant (0) | LIVE, WRITER, location |
//! | `try_read` | LIVE, no WRITER or DYING | one reader more |
//! | `try_write` | LIVE, not locked or DYING | WRITER, not PENDING |
//! | `retire` | LIVE, WRITER | vacant, or DYING if ISOLATED |
//! | `reap` | LIVE | vacant, or DYING if locked or ISOLATED |
//! | `reap_dying` | DYING, not locked or ISOLATED | vacant |
//! | `isolate` | LIVE, not DYING or ISOLATED | ISOLATED |
//! | `relocate` | LIVE, WRITER, ISOLATED | another location |
//!
//! The last unlock of a PENDING or DYING word defers it; so does `putback` of a DYING one. That is a hint:
//! `reap_dying` decides. Writers only try, so readers never queue behind one.

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

/// About one object's move.
const SPINS: u32 = if cfg!(loom) { 0 } else { 200 };

/// Why a descriptor was not locked or isolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockError {
    /// The id names no live descriptor.
    Gone,
    /// Another guard or mover excludes it.
    Busy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reap {
    /// The caller frees these frames.
    Now(FrameRange),
    /// The last guard or mover defers it.
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

/// An isolated dying word is left to `putback`.
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
        // ORDERING: Relaxed; for inspection, as the three below.
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
        // ORDERING: Acquire; pairs with the Release in `retire`, `reap`, `reap_dying`: the old body is unused.
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
        // ORDERING: Relaxed; checked below.
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & (LIVE | DYING) != LIVE {
                return Err(LockError::Gone);
            }
            if word & WRITER != 0 || word & READERS == READERS {
                return Err(LockError::Busy);
            }
            // ORDERING: Acquire; pairs with the Release in `unlock_write`, after the writer's bytes and handle entries.
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

    /// Waits for a writer. `None`: nothing lives here.
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
            // ORDERING: Relaxed; the epoch orders sleeping against waking.
            let word = self.0.load(Ordering::Relaxed);
            if word & WRITER == 0 {
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
        // ORDERING: Release; pairs with the Acquire in `try_write` and `reap_dying`: these reads come first.
        let before = self.0.fetch_sub(READER, Ordering::Release);
        debug_assert!(before & READERS != 0, "a reader unlocks once");
        has_deferred(before - READER)
    }

    /// Clears PENDING: the caller does that work.
    pub(crate) fn try_write(&self) -> Result<FrameRange, LockError> {
        self.try_write_clearing(PENDING)
    }

    /// PENDING stays: unlocking defers again.
    pub(crate) fn try_write_for_move(&self) -> Result<FrameRange, LockError> {
        self.try_write_clearing(0)
    }

    fn try_write_clearing(&self, cleared: u64) -> Result<FrameRange, LockError> {
        // ORDERING: Relaxed; checked below.
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

    pub(crate) fn isolate(&self) -> Result<FrameRange, LockError> {
        // ORDERING: Relaxed; checked below.
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & (LIVE | DYING) != LIVE {
                return Err(LockError::Gone);
            }
            if word & ISOLATED != 0 {
                return Err(LockError::Busy);
            }
            // ORDERING: Acquire; pairs with the Release in `putback`: the last move is seen.
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

    /// `true`: dying, and the caller defers it.
    pub(crate) fn putback(&self) -> bool {
        // ORDERING: Release; pairs with the Acquire in `isolate` and `reap_dying`, which may free at once.
        let before = self.0.fetch_and(!ISOLATED, Ordering::Release);
        debug_assert!(before & ISOLATED != 0, "a descriptor is put back once");
        before & DYING != 0 && has_deferred(before & !ISOLATED)
    }

    /// The caller isolated and write-locked it.
    pub(crate) fn relocate(&self, to: FrameRange) {
        // ORDERING: Relaxed; `unlock_write` publishes it. Other threads change only DYING, PENDING and WAITERS.
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

    /// Ends a descriptor that the caller write-locked: now, or at `putback`.
    pub(crate) fn retire(&self) -> Reap {
        // ORDERING: Relaxed; checked below.
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

    /// Ends a descriptor, once: now, or with its last lock.
    pub(crate) fn reap(&self) -> Reap {
        // ORDERING: Relaxed; checked below.
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            assert!(word & (LIVE | DYING) == LIVE, "a descriptor is reaped once");
            let idle = word & (LOCKS | ISOLATED) == 0;
            let after = if idle { 0 } else { word | DYING };
            // ORDERING: AcqRel; pairs with the Release in `unlock_read` (the frames may be freed now), and with the
            // Acquire in `publish` and `reap_dying`.
            match self.0.compare_exchange_weak(word, after, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if idle => return Reap::Now(location_of(word)),
                Ok(_) => return Reap::Later,
                Err(seen) => word = seen,
            }
        }
    }

    pub(crate) fn reap_dying(&self) -> Option<FrameRange> {
        // ORDERING: Relaxed; checked below.
        let mut word = self.0.load(Ordering::Relaxed);
        while word & (LOCKS | ISOLATED) == 0 && word & (LIVE | DYING) == LIVE | DYING {
            // ORDERING: AcqRel; pairs with the Release in `unlock_read`, `unlock_write`, `retire` and `putback`, and
            // with the Acquire in `publish`.
            match self.0.compare_exchange_weak(word, 0, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(location_of(word)),
                Err(seen) => word = seen,
            }
        }
        None
    }

    /// Marks work for the next writer. `true`: unlocked, so the caller defers it. A successor may be marked.
    pub(crate) fn note_pending(&self) -> bool {
        // ORDERING: Relaxed; checked below.
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & LIVE == 0 {
                return false;
            }
            // ORDERING: Release; pairs with the Acquire in `try_write`.
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
