//! Sharded counts, to share no cache line.

use pagefold_sys::sync::{self, AtomicU64, Ordering, Padded};

/// Only sums are meaningful: objects change shards.
#[derive(Debug, Default)]
struct Tally {
    objects: AtomicU64,
    payload: AtomicU64,
    slid: AtomicU64,
    split: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Counters {
    tallies: Box<[Padded<Tally>]>,
}

// ORDERING (this file): Relaxed; statistics.
impl Counters {
    pub(crate) fn new(shards: usize) -> Self {
        Self { tallies: (0..shards).map(|_| Padded(Tally::default())).collect() }
    }

    pub(crate) fn fixed_bytes(&self) -> usize {
        self.tallies.len() * size_of::<Padded<Tally>>()
    }

    fn tally(&self) -> &Tally {
        &self.tallies[sync::shard_hint() % self.tallies.len()]
    }

    pub(crate) fn add_object(&self) {
        self.tally().objects.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove_object(&self) {
        self.tally().objects.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn add_payload(&self, len: usize) {
        self.tally().payload.fetch_add(len as u64, Ordering::Relaxed);
    }

    pub(crate) fn remove_payload(&self, len: usize) {
        self.tally().payload.fetch_sub(len as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_slid(&self, bytes: usize) {
        if bytes > 0 {
            self.tally().slid.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn slid(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.slid.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn add_split(&self) {
        self.tally().split.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove_split(&self) {
        self.tally().split.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn split(&self) -> u64 {
        self.sum(|tally| &tally.split)
    }

    pub(crate) fn sums(&self) -> (u64, u64) {
        (self.sum(|tally| &tally.objects), self.sum(|tally| &tally.payload))
    }

    fn sum(&self, count: fn(&Tally) -> &AtomicU64) -> u64 {
        let add = |sum: u64, tally: &Padded<Tally>| {
            sum.wrapping_add(count(tally).load(Ordering::Relaxed))
        };
        // Not of one instant: an object's removal may be seen alone.
        u64::try_from(self.tallies.iter().fold(0, add).cast_signed()).unwrap_or(0)
    }
}
