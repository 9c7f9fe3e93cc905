//! Counts of objects, payload, slid bytes and split objects, spread over shards so that threads do not share a cache line.

use pagefold_sys::sync::{self, AtomicU64, Ordering, Padded};

/// One shard's part. An object may be counted here and uncounted in another shard, so parts wrap and only their sum
/// means anything.
#[derive(Debug, Default)]
struct Part {
    objects: AtomicU64,
    payload: AtomicU64,
    slid: AtomicU64,
    split: AtomicU64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Counters {
    parts: Box<[Padded<Part>]>,
}

// ORDERING (this file): Relaxed; statistics.
impl Counters {
    pub(crate) fn new(shards: usize) -> Self {
        Self { parts: (0..shards).map(|_| Padded(Part::default())).collect() }
    }

    /// Bytes that lie outside of the source.
    pub(crate) fn fixed_bytes(&self) -> usize {
        self.parts.len() * size_of::<Padded<Part>>()
    }

    fn part(&self) -> &Part {
        &self.parts[sync::shard_hint() % self.parts.len()]
    }

    /// One object more.
    pub(crate) fn add_object(&self) {
        self.part().objects.fetch_add(1, Ordering::Relaxed);
    }

    /// One object less.
    pub(crate) fn remove_object(&self) {
        self.part().objects.fetch_sub(1, Ordering::Relaxed);
    }

    /// More payload in place.
    pub(crate) fn add_payload(&self, len: usize) {
        self.part().payload.fetch_add(len as u64, Ordering::Relaxed);
    }

    /// Less payload in place.
    pub(crate) fn remove_payload(&self, len: usize) {
        self.part().payload.fetch_sub(len as u64, Ordering::Relaxed);
    }

    /// Bytes of objects that slid within their span to make room.
    pub(crate) fn add_slid(&self, bytes: usize) {
        if bytes > 0 {
            self.part().slid.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    /// Bytes slid so far.
    pub(crate) fn slid(&self) -> u64 {
        self.parts.iter().map(|part| part.slid.load(Ordering::Relaxed)).sum()
    }

    /// One object more that lies in two frames.
    pub(crate) fn add_split(&self) {
        self.part().split.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub(crate) fn remove_split(&self) {
        self.part().split.fetch_sub(1, Ordering::Relaxed);
    }

    /// Objects that lie in two frames.
    pub(crate) fn split(&self) -> u64 {
        self.sum(|part| &part.split)
    }

    /// Objects and payload bytes.
    pub(crate) fn sums(&self) -> (u64, u64) {
        (self.sum(|part| &part.objects), self.sum(|part| &part.payload))
    }

    fn sum(&self, count: fn(&Part) -> &AtomicU64) -> u64 {
        let add =
            |sum: u64, part: &Padded<Part>| sum.wrapping_add(count(part).load(Ordering::Relaxed));
        // The parts are not read at one instant: an object may be missed in one and its end counted in another.
        u64::try_from(self.parts.iter().fold(0, add).cast_signed()).unwrap_or(0)
    }
}
