//! Idle pages become denser: a pass visits each leaf of each space once a generation, and pages that no call read or put
//! for a whole generation join clusters of four (I-CLUSTER).
//!
//! ```text
//!   single --- idle for a generation ---> cluster
//!     ^                                      |
//!     +---- read twice in a generation ------+
//!     +---- two or fewer pages are left -----+
//! ```
//! No page is given up for a cluster before the cluster was restored and compared. Decision 0061.

mod budget;
mod pass;
mod plan;
mod report;

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use pagefold_sys::sync::Mutex;

pub use self::report::IdleReport;
pub(crate) use self::{
    budget::Budget,
    pass::{Next, Pass},
    plan::{Job, PageAt, jobs},
    report::Outcome,
};
use crate::{stats::IdleStats, word::CLUSTER_PAGES};

/// The most pages that wait to leave their clusters because they were read; later ones wait for another read.
const READ_MAX: usize = 256;

/// What the workers and the store share about idle pages.
pub(crate) struct Idle {
    pub(crate) interval: Duration,
    pub(crate) pass: Mutex<Pass>,
    pub(crate) budget: Mutex<Budget>,
    /// Pages in clusters that were read twice: number of the space, key.
    pub(crate) read: Mutex<VecDeque<(u64, u64)>>,
    pub(crate) counts: Counts,
}

/// Since the store was built; `clusters` and `bytes` are those of now.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) clusters: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) passes: AtomicU64,
    pub(crate) joined: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) returned: AtomicU64,
    pub(crate) split: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) time_ns: AtomicU64,
}

// ORDERING (this file): Relaxed; statistics.
impl Idle {
    pub(crate) fn new(interval: Duration, share: u8) -> Self {
        Self {
            interval,
            pass: Mutex::new(Pass::new(interval)),
            budget: Mutex::new(Budget::new(share)),
            read: Mutex::new(VecDeque::with_capacity(READ_MAX)),
            counts: Counts::default(),
        }
    }

    pub(crate) fn fixed_bytes() -> usize {
        READ_MAX * size_of::<(u64, u64)>()
    }

    /// A page of a cluster was read a second time; whether a worker is due. Never waits.
    pub(crate) fn note_read_twice(&self, space: u64, key: u64) -> bool {
        let Some(mut read) = self.read.try_lock() else { return false };
        if read.len() == READ_MAX || read.back() == Some(&(space, key)) {
            return false;
        }
        read.push_back((space, key));
        read.len() == 1
    }

    /// Counts time against the share.
    pub(crate) fn spend(&self, time: Duration) {
        self.budget.lock().spend(time);
    }

    /// A cluster is gone.
    pub(crate) fn note_freed(&self, bytes: usize) {
        self.counts.clusters.fetch_sub(1, Ordering::Relaxed);
        self.counts.bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn note_joined(&self, bytes: usize, pages: usize) {
        self.counts.clusters.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.counts.joined.fetch_add(pages as u64, Ordering::Relaxed);
    }

    /// A cluster is in memory again.
    pub(crate) fn note_back(&self, bytes: usize) {
        self.counts.clusters.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn clusters(&self) -> u64 {
        self.counts.clusters.load(Ordering::Relaxed)
    }

    /// The accounts; `pages` are in clusters now.
    pub(crate) fn stats(&self, pages: u64, codec: &str) -> IdleStats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        // A cluster may go before the thread that made it has counted it.
        let present = |count| u64::try_from(load(count).cast_signed()).unwrap_or(0);
        let counts = &self.counts;
        IdleStats {
            codec: codec.to_owned(),
            pages,
            clusters: present(&counts.clusters),
            bytes: present(&counts.bytes),
            passes: load(&counts.passes),
            joined: load(&counts.joined),
            refused: load(&counts.refused),
            returned: load(&counts.returned),
            split: load(&counts.split),
            failures: load(&counts.failures),
            time_ns: load(&counts.time_ns),
            ..IdleStats::default()
        }
    }

    pub(crate) fn count(&self, job: &Job, outcome: Outcome) {
        let counts = &self.counts;
        match (job, outcome) {
            (Job::Join(_), Outcome::NotWorth) => {
                counts.refused.fetch_add(CLUSTER_PAGES as u64, Ordering::Relaxed);
            }
            (Job::Split(pages), Outcome::Done(_)) => {
                counts.split.fetch_add(pages.len() as u64, Ordering::Relaxed);
            }
            (_, Outcome::Failed) => _ = counts.failures.fetch_add(1, Ordering::Relaxed),
            _ => {}
        }
    }
}
