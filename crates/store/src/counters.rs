//! Counts and latencies of a space, sharded to avoid shared cache lines.
//!
//! No decision depends on them, so the model does not watch them. Increments are one instruction, fit for signal
//! handlers.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use pagefold_sys::sync::{self, Padded};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// This and those up to `Values`: entries present now.
    Same,
    Compressed,
    Raw,
    /// Pages in staging.
    Fresh,
    /// Pages in clusters.
    Clustered,
    /// Pages equal to their base pages.
    Equal,
    /// Pages kept as what differs from their base pages.
    Deltas,
    /// Pages in the backing.
    Spilled,
    Values,
    /// Before compression.
    Original,
    /// As index words count them.
    Objects,
    /// Of these, of deltas.
    DeltaBytes,
    /// Puts that ended equal or as a delta and ran the plain codec too.
    Sampled,
    /// What that made of them.
    SampledBytes,
    Puts,
    Overwrites,
    Removed,
    Evicted,
    OrderFailures,
    Hits,
    Misses,
    WouldBlock,
    Corrupt,
    RejectedStore,
    RejectedThreshold,
    RejectedSpace,
    RejectedLong,
}

const COUNTS: usize = Count::RejectedLong as usize + 1;

/// Bounds double from 128 ns; the last bucket has none.
pub(crate) const LATENCY_BUCKETS: usize = 20;
/// Log2 of the first bound in ns.
const FIRST_BOUND_LOG: usize = 7;

/// In nanoseconds; `None` for the last.
pub(crate) fn bound_ns(bucket: usize) -> Option<u64> {
    (bucket + 1 < LATENCY_BUCKETS).then(|| 1 << (bucket + FIRST_BOUND_LOG))
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; LATENCY_BUCKETS],
    sum_ns: AtomicU64,
}

/// Only sums over all shards mean anything.
#[derive(Debug, Default)]
struct CounterShard {
    counts: [AtomicU64; COUNTS],
    put: Histogram,
    get: Histogram,
}

#[derive(Debug)]
pub(crate) struct Counters {
    shards: Box<[Padded<CounterShard>]>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Latency {
    pub(crate) buckets: [u64; LATENCY_BUCKETS],
    pub(crate) sum_ns: u64,
}

// ORDERING (this file): Relaxed; statistics.
impl Counters {
    pub(crate) fn new() -> Self {
        Self { shards: (0..pagefold_frame::shard_count()).map(|_| Padded::default()).collect() }
    }

    pub(crate) fn fixed_bytes(&self) -> usize {
        size_of_val(&*self.shards)
    }

    fn shard(&self) -> &CounterShard {
        &self.shards[sync::shard_hint() % self.shards.len()]
    }

    #[inline]
    pub(crate) fn add(&self, count: Count, by: u64) {
        self.shard().counts[count as usize].fetch_add(by, Ordering::Relaxed);
    }

    /// Adds `more - less`.
    pub(crate) fn shift(&self, count: Count, more: u64, less: u64) {
        if more != less {
            self.add(count, more.wrapping_sub(less));
        }
    }

    pub(crate) fn sub(&self, count: Count, by: u64) {
        self.shard().counts[count as usize].fetch_sub(by, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self, count: Count) -> u64 {
        let shards = self.shards.iter();
        let sum = shards.fold(0_u64, |sum, shard| {
            sum.wrapping_add(shard.counts[count as usize].load(Ordering::Relaxed))
        });
        // Parts are read at different instants.
        u64::try_from(sum.cast_signed()).unwrap_or(0)
    }

    pub(crate) fn put_took(&self, time: Duration) {
        record(&self.shard().put, time);
    }

    #[inline]
    pub(crate) fn get_took(&self, time: Duration) {
        record(&self.shard().get, time);
    }

    pub(crate) fn puts(&self) -> Latency {
        self.latency(|shard| &shard.put)
    }

    pub(crate) fn gets(&self) -> Latency {
        self.latency(|shard| &shard.get)
    }

    fn latency(&self, of: fn(&CounterShard) -> &Histogram) -> Latency {
        let mut latency = Latency::default();
        for histogram in self.shards.iter().map(|shard| of(shard)) {
            for (sum, bucket) in latency.buckets.iter_mut().zip(&histogram.buckets) {
                *sum += bucket.load(Ordering::Relaxed);
            }
            latency.sum_ns += histogram.sum_ns.load(Ordering::Relaxed);
        }
        latency
    }
}

#[inline]
fn record(histogram: &Histogram, time: Duration) {
    let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    histogram.buckets[bucket(ns)].fetch_add(1, Ordering::Relaxed);
    histogram.sum_ns.fetch_add(ns, Ordering::Relaxed);
}

fn bucket(ns: u64) -> usize {
    let bits = (u64::BITS - (ns >> FIRST_BOUND_LOG).leading_zeros()) as usize;
    bits.min(LATENCY_BUCKETS - 1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_below_the_bound_of_its_bucket_and_not_below_the_one_before() {
        for ns in
            [0, 1, 127, 128, 255, 256, 1000, 1 << 20, (1 << 25) - 1, 1 << 25, 1 << 26, u64::MAX]
        {
            let at = bucket(ns);
            assert!(bound_ns(at).is_none_or(|bound| ns < bound), "{ns}");
            assert!(at == 0 || bound_ns(at - 1).is_some_and(|bound| ns >= bound), "{ns}");
        }
    }

    #[test]
    fn what_one_thread_counts_another_may_uncount() {
        let counters = Counters::new();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..100).for_each(|_| counters.add(Count::Raw, 1)));
            }
        });
        counters.sub(Count::Raw, 299);
        assert_eq!(counters.sum(Count::Raw), 1);
        counters.sub(Count::Raw, 2);
        assert_eq!(counters.sum(Count::Raw), 0, "not a number near 2^64");
    }
}
