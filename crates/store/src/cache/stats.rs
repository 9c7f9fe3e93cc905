//! Accounts of a cache.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Since the cache's creation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CacheStats {
    /// Gets that found a value.
    pub hits: u64,
    /// Gets that found none.
    pub misses: u64,
    /// Accepted values.
    pub inserts: u64,
    /// Refused values.
    pub rejected: u64,
    /// Dropped for room.
    pub evictions: u64,
    /// Dropped as expired.
    pub expired: u64,
    /// Dropped as undecodable.
    pub undecodable: u64,
    /// Entries now.
    pub entries: u64,
    /// Their total weight.
    pub weight: u64,
    /// The map, in whole frames.
    pub map_bytes: u64,
}

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

/// Per shard.
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
