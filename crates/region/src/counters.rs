//! Counts and latencies, sharded; increments are single instructions, fit for signal handlers.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use pagefold_sys::sync::{self, Padded};
use serde::Serialize;

/// What served a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ServedFrom {
    /// First touch: zeros.
    Nothing,
    /// The page was in memory: another thread had served it, or a clean page was written for the first time.
    There,
    /// The page had been chosen to go and was still in memory.
    Limbo,
    /// The store's memory.
    Memory,
    /// A cluster of the store.
    Dense,
    /// The backing of the store, or an object that the store was moving.
    Spill,
}

impl ServedFrom {
    /// All, in the order of their costs.
    pub const ALL: [Self; 6] =
        [Self::Nothing, Self::There, Self::Limbo, Self::Memory, Self::Dense, Self::Spill];

    /// The lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::There => "there",
            Self::Limbo => "limbo",
            Self::Memory => "memory",
            Self::Dense => "dense",
            Self::Spill => "spill",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Neighbours,
    CreditWaits,
    Chosen,
    Compressed,
    Unchanged,
    DroppedClean,
    Dropped,
    Refused,
    StoreFull,
}

const COUNTS: usize = Count::StoreFull as usize + 1;
const SHARDS: usize = 8;

/// Bounds double from 256 ns; the last bucket has none.
const BUCKETS: usize = 20;
const FIRST_BOUND_LOG: usize = 8;

#[derive(Debug, Default)]
struct Latency {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    counts: [AtomicU64; COUNTS],
    faults: [Latency; ServedFrom::ALL.len()],
}

#[derive(Debug)]
pub(crate) struct Counters {
    shards: Box<[Padded<Shard>]>,
}

/// Times of faults of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FaultLatency {
    /// What served them.
    pub from: ServedFrom,
    /// How many.
    pub count: u64,
    /// The total time.
    pub sum_ns: u64,
    /// Counts by time, not cumulative: each below its bound in nanoseconds, `None` for the last.
    pub buckets: Vec<(Option<u64>, u64)>,
}

// ORDERING (this file): Relaxed; statistics.
impl Counters {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Padded::default()).collect() }
    }

    fn shard(&self) -> &Shard {
        &self.shards[sync::shard_hint() % SHARDS]
    }

    pub(crate) fn add(&self, count: Count, by: usize) {
        self.shard().counts[count as usize].fetch_add(by as u64, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self, count: Count) -> u64 {
        let shards = self.shards.iter();
        shards.map(|shard| shard.counts[count as usize].load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn served(&self, from: ServedFrom, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let latency = &self.shard().faults[from as usize];
        let bits = (u64::BITS - (ns >> FIRST_BOUND_LOG).leading_zeros()) as usize;
        latency.buckets[bits.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        latency.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    pub(crate) fn latencies(&self) -> Vec<FaultLatency> {
        let one = |from: ServedFrom| {
            let of = |shard: &Padded<Shard>, at: usize| {
                shard.faults[from as usize].buckets[at].load(Ordering::Relaxed)
            };
            let bucket = |at: usize| {
                let bound = (at + 1 < BUCKETS).then(|| 1 << (at + FIRST_BOUND_LOG));
                (bound, self.shards.iter().map(|shard| of(shard, at)).sum())
            };
            let buckets: Vec<(Option<u64>, u64)> = (0..BUCKETS).map(bucket).collect();
            let sum =
                |shard: &Padded<Shard>| shard.faults[from as usize].sum_ns.load(Ordering::Relaxed);
            FaultLatency {
                from,
                count: buckets.iter().map(|(_, count)| count).sum(),
                sum_ns: self.shards.iter().map(sum).sum(),
                buckets,
            }
        };
        ServedFrom::ALL.map(one).to_vec()
    }
}
