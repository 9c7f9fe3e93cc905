//! The accounts of a cache.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// The accounts of a cache since its creation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CacheStats {
    /// Gets that found a value.
    pub hits: u64,
    /// Gets that found none, for any reason.
    pub misses: u64,
    /// Values that were accepted.
    pub inserts: u64,
    /// Values that were not.
    pub rejected: u64,
    /// Values that were dropped for room: for the limit of the store, the weight, or the number of entries.
    pub evictions: u64,
    /// Values that were dropped because they had expired.
    pub expired: u64,
    /// Values that were dropped because their bytes stood for none.
    pub undecodable: u64,
    /// Entries now.
    pub entries: u64,
    /// Total weight of the entries.
    pub weight: u64,
    /// Bytes of the cache's own map, in whole frames; they count against the limit of the store.
    pub map_bytes: u64,
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    Hit,
    Miss,
    Insert,
    Rejected,
    Evicted,
    Expired,
    Undecodable,
}

/// Counts of one shard.
#[derive(Debug, Default)]
pub(super) struct Events([AtomicU64; Event::Undecodable as usize + 1]);

// ORDERING (this file): Relaxed; statistics.
impl Events {
    pub(super) fn add(&self, event: Event) {
        self.0[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_to(&self, stats: &mut CacheStats) {
        let count = |event: Event| self.0[event as usize].load(Ordering::Relaxed);
        stats.hits += count(Event::Hit);
        stats.misses += count(Event::Miss);
        stats.inserts += count(Event::Insert);
        stats.rejected += count(Event::Rejected);
        stats.evictions += count(Event::Evicted);
        stats.expired += count(Event::Expired);
        stats.undecodable += count(Event::Undecodable);
    }
}
