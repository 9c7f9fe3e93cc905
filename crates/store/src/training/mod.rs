//! Self-training: the store trains codecs on its own pages, and adopts what is denser.
//!
//! ```text
//!   Collecting --enough samples--> Due --a thread takes its turn--> InTurn
//!       ^                                                             |
//!       +------ the mean length drifts ------ Watching <--------------+
//!       +---------------- no room, no id, too few pages --------------+
//! ```
//! - `samples`: which pages a training reads, and when it is due
//! - `judge`: what it adopts
//!
//! The turn itself is in `state/train.rs`, the codecs by id in `encoder/trained.rs`. A codec that panics or lies ends
//! self-training for the life of the store.

mod judge;
mod reservoir;
mod samples;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pagefold_frame::Charge;
use pagefold_sys::{quiesce::fork_generation, sync::Mutex};

pub(crate) use judge::{Score, choose, expected_bytes};
pub(crate) use reservoir::Reservoir;
pub(crate) use samples::{End, Sample, Samples, Steps};

use crate::{stats::TrainingStats, word::CodecId};

/// What self-training shares.
pub(crate) struct Training {
    is_on: bool,
    /// Callers of `maintain` do it, because the store has no workers.
    pub(crate) by_callers: bool,
    pub(crate) steps: Steps,
    /// As `Phase::Due` says, to look at without the lock.
    due: AtomicBool,
    /// One more than the fork generation of the thread that has the turn; 0: none has it.
    turn: AtomicU64,
    samples: Mutex<Samples>,
    /// For the codecs that are alive.
    pub(crate) charges: Mutex<Vec<(CodecId, Charge)>>,
    pub(crate) counts: TrainingCounts,
}

/// Since the store was built.
#[derive(Debug, Default)]
pub(crate) struct TrainingCounts {
    pub(crate) trained: AtomicU64,
    pub(crate) adopted: AtomicU64,
    pub(crate) given_up: AtomicU64,
    pub(crate) retired: AtomicU64,
    pub(crate) without_room: AtomicU64,
    pub(crate) without_id: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) time_ns: AtomicU64,
}

// ORDERING (this file): Relaxed; a hint that is tested again under the lock, and statistics.
impl TrainingCounts {
    pub(crate) fn add(&self, count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> TrainingStats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TrainingStats {
            trained: load(&self.trained),
            adopted: load(&self.adopted),
            given_up: load(&self.given_up),
            retired: load(&self.retired),
            without_room: load(&self.without_room),
            without_id: load(&self.without_id),
            failures: load(&self.failures),
            time_ns: load(&self.time_ns),
            ..TrainingStats::default()
        }
    }
}

impl Training {
    pub(crate) fn new(is_on: bool, by_callers: bool, steps: Steps) -> Self {
        Self {
            is_on,
            by_callers,
            steps,
            due: AtomicBool::new(false),
            turn: AtomicU64::new(0),
            samples: Mutex::new(Samples::new(if is_on { steps.ring() } else { 0 })),
            charges: Mutex::new(Vec::new()),
            counts: TrainingCounts::default(),
        }
    }

    /// The bytes of the ring.
    pub(crate) fn fixed_bytes(&self) -> usize {
        // And the sample of all pages, and a copy of it while a training is due.
        if self.is_on { 3 * self.steps.ring() * size_of::<Sample>() } else { 0 }
    }

    /// Charged bytes not resident.
    pub(crate) fn reserved_bytes(&self) -> usize {
        self.fixed_bytes().saturating_sub(self.samples.lock().held_bytes())
    }

    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Notes a page that went through the codec; whether this makes a training due. Never waits: a page more or less
    /// does not matter.
    #[inline]
    pub(crate) fn note(&self, sample: Sample, len: u64) -> bool {
        self.is_on && self.note_sample(sample, len)
    }

    fn note_sample(&self, sample: Sample, len: u64) -> bool {
        let Some(mut samples) = self.samples.try_lock() else { return false };
        let due = samples.note(sample, len, self.steps);
        if due {
            self.due.store(true, Ordering::Relaxed);
        }
        due
    }

    /// Whether a training waits for a thread so long that staging must wait for it. Never waits.
    pub(crate) fn is_overdue(&self) -> bool {
        self.is_due()
            && self.samples.try_lock().is_some_and(|samples| samples.is_overdue(self.steps))
    }

    /// Whether a training waits for a thread. A hint.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.is_on && self.due.load(Ordering::Relaxed)
    }

    /// Makes the first training due on these samples, if they are enough; otherwise it waits for more.
    pub(crate) fn train_on(&self, samples: Vec<Sample>) {
        if self.is_on && self.samples.lock().train_on(samples, self.steps) {
            self.due.store(true, Ordering::Relaxed);
        }
    }

    /// Begins the turn, which [`end`](Self::end) ends; whether this thread has it. Inside an operation, like `end`.
    pub(crate) fn begin(&self) -> bool {
        let begun = self.samples.lock().begin();
        if begun {
            self.due.store(false, Ordering::Relaxed);
            self.turn.store(fork_generation() + 1, Ordering::Relaxed);
        }
        begun
    }

    pub(crate) fn end(&self, end: End) {
        self.due.store(end == End::Interrupted, Ordering::Relaxed);
        self.samples.lock().end(end, self.steps);
        self.turn.store(0, Ordering::Relaxed);
    }

    /// Whether a thread of this process has the turn, and with it memory that comes back. A hint.
    pub(crate) fn is_in_turn(&self) -> bool {
        self.turn.load(Ordering::Relaxed) == fork_generation() + 1
    }

    /// The samples, the newest first and each once.
    pub(crate) fn newest(&self) -> Vec<Sample> {
        self.samples.lock().newest()
    }
}
