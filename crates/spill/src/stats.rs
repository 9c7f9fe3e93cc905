//! Statistics.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// What a [`Spill`](crate::Spill) has and did. Counters are since it was built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SpillStats {
    /// Bytes of an extent.
    pub extent_bytes: u64,
    /// Slots that have an extent.
    pub extents: u64,
    /// Slots at most.
    pub extents_max: u64,
    /// Slots that had their last generation.
    pub used_up: u64,
    /// Free slots whose space the backing still keeps.
    pub undiscarded: u64,
    /// Objects that a place leads to.
    pub live_objects: u64,
    /// Their bytes in the backing.
    pub live_bytes: u64,
    /// Bytes of tables in memory.
    pub metadata_bytes: u64,
    /// Extents written.
    pub writes: u64,
    /// Their bytes.
    pub written_bytes: u64,
    /// Of these, of objects that lay in sparse extents.
    pub moved_bytes: u64,
    /// Writes that the backing refused.
    pub write_failures: u64,
    /// Writes that took longer than they may.
    pub slow_writes: u64,
    /// Whether writes rest after a failure.
    pub rests: bool,
    /// Objects read.
    pub reads: u64,
    /// Of these, without a wait.
    pub cached_reads: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Reads that the backing refused.
    pub read_failures: u64,
    /// Reads without an answer before the deadline.
    pub timeouts: u64,
    /// Objects that were not what was written.
    pub corrupt: u64,
    /// Slots given back.
    pub discards: u64,
    /// Slots that the backing did not take back.
    pub discard_failures: u64,
    /// Whether the key stays out of swap; `None` without encryption.
    pub key_is_locked: Option<bool>,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) writes: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) moved_bytes: AtomicU64,
    pub(crate) write_failures: AtomicU64,
    pub(crate) slow_writes: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) cached_reads: AtomicU64,
    pub(crate) read_bytes: AtomicU64,
    pub(crate) read_failures: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) corrupt: AtomicU64,
    pub(crate) discards: AtomicU64,
    pub(crate) discard_failures: AtomicU64,
}

// ORDERING (this file): Relaxed; statistics.
impl Counts {
    pub(crate) fn add(&self, count: &AtomicU64, by: u64) {
        count.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> SpillStats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        SpillStats {
            writes: load(&self.writes),
            written_bytes: load(&self.written_bytes),
            moved_bytes: load(&self.moved_bytes),
            write_failures: load(&self.write_failures),
            slow_writes: load(&self.slow_writes),
            reads: load(&self.reads),
            cached_reads: load(&self.cached_reads),
            read_bytes: load(&self.read_bytes),
            read_failures: load(&self.read_failures),
            timeouts: load(&self.timeouts),
            corrupt: load(&self.corrupt),
            discards: load(&self.discards),
            discard_failures: load(&self.discard_failures),
            ..SpillStats::default()
        }
    }
}
