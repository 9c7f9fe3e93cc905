//! The accounts of a store and its spaces: plain structs, which serde turns into JSON. `prometheus` writes them as text.

use serde::Serialize;

use crate::{
    config::SpaceKind,
    counters::{LATENCY_BUCKETS, Latency, bound_ns},
};

/// The accounts of one space. Units are in the names.
///
/// While other threads work, each figure is right, but they are not all of the same instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SpaceStats {
    /// The space's name.
    pub name: String,
    /// Persistent or ephemeral.
    pub kind: SpaceKind,
    /// Keys go from 0 to one less than this.
    pub capacity: u64,
    /// The limit on `object_bytes`; `None` without one.
    pub limit_bytes: Option<u64>,
    /// Pages and values there are now.
    pub stored: u64,
    /// Of these, pages of one repeated word.
    pub same_filled: u64,
    /// Of these, compressed pages.
    pub compressed: u64,
    /// Of these, pages stored uncompressed because they did not shrink enough.
    pub raw: u64,
    /// Of these, values of other lengths than a page.
    pub values: u64,
    /// Bytes of all pages and values before compression.
    pub original_bytes: u64,
    /// Bytes of the objects in the pool, lengths rounded up by at most a sixteenth.
    pub object_bytes: u64,
    /// Puts that were accepted.
    pub puts: u64,
    /// Of these, puts that replaced something.
    pub overwrites: u64,
    /// Entries taken out by `remove`, `remove_range`, `take` and dropping the space.
    pub removed: u64,
    /// Entries that the store dropped to make room; ephemeral spaces only.
    pub evicted: u64,
    /// Times that the eviction order panicked, or kept choosing nothing although there was a page to drop. The store then
    /// chose by second chance.
    pub order_failures: u64,
    /// Calls of the space's [`on_evict`](crate::SpaceConfig::on_evict) that panicked.
    pub listener_panics: u64,
    /// Gets that found something.
    pub hits: u64,
    /// Gets that found nothing.
    pub misses: u64,
    /// Calls of `try_get` that would have had to wait.
    pub would_block: u64,
    /// Gets that found something damaged.
    pub corrupt: u64,
    /// Puts that were not accepted, by reason.
    pub rejected: RejectedPuts,
    /// How long puts took.
    pub put_latency: Histogram,
    /// How long gets took that found something.
    pub get_latency: Histogram,
}

/// Puts that were not accepted, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RejectedPuts {
    /// The limit of the store left no room.
    pub store_full: u64,
    /// The store was full before, and its use not yet below the accept threshold.
    pub threshold: u64,
    /// The limit of the space left no room.
    pub space_full: u64,
    /// The value was too long.
    pub too_long: u64,
}

/// A distribution of times.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Histogram {
    /// How many there are below each bound, and not below the one before.
    pub buckets: Vec<HistogramBucket>,
    /// All of them.
    pub count: u64,
    /// Their sum.
    pub sum_ns: u64,
}

/// One class of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HistogramBucket {
    /// Times below this; `None` for the last class.
    pub below_ns: Option<u64>,
    /// How many.
    pub count: u64,
}

impl From<Latency> for Histogram {
    fn from(latency: Latency) -> Self {
        let bucket =
            |at: usize| HistogramBucket { below_ns: bound_ns(at), count: latency.buckets[at] };
        Self {
            buckets: (0..LATENCY_BUCKETS).map(bucket).collect(),
            count: latency.buckets.iter().sum(),
            sum_ns: latency.sum_ns,
        }
    }
}

/// The accounts of a store.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StoreStats {
    /// The allocator, as the command line spells it.
    pub allocator: String,
    /// The codec, likewise.
    pub codec: String,
    /// The hard limit on `resident_bytes`.
    pub limit_bytes: u64,
    /// How far it can be raised.
    pub max_limit_bytes: u64,
    /// All that may be resident: frames, idle frames, metadata, and what is reserved.
    pub resident_bytes: u64,
    /// Bytes of the frames that objects lie in.
    pub pool_bytes: u64,
    /// Bytes of empty frames not yet given back.
    pub idle_bytes: u64,
    /// Indices, handle entries, descriptors, tables, codec contexts as far as they were used, scratch, counters.
    pub metadata_bytes: u64,
    /// Bytes that are charged but not resident yet: contexts of the codec, and scratch that no thread has used.
    pub reserved_bytes: u64,
    /// Bytes of live objects in the pool, exactly.
    pub payload_bytes: u64,
    /// Pages and values there are now, in all spaces.
    pub stored: u64,
    /// Bytes of all pages and values before compression.
    pub original_bytes: u64,
    /// Whether persistent spaces take new pages. After the store was full they do not, until the accept threshold.
    pub accepting: bool,
    /// What was done to make room.
    pub work: WorkStats,
    /// Each space.
    pub spaces: Vec<SpaceStats>,
}

/// What was done to make room, since the store was built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WorkStats {
    /// Pieces of compaction.
    pub compactions: u64,
    /// Bytes that compaction moved, objects and frames.
    pub moved_bytes: u64,
    /// Bytes of frames that it freed by moving objects.
    pub freed_bytes: u64,
    /// Bytes of pageblocks that it emptied by moving frames.
    pub freed_pageblock_bytes: u64,
    /// Pieces of work of the shrinker.
    pub shrinker_steps: u64,
    /// Pieces of work that puts did because the limit was reached.
    pub synchronous_steps: u64,
    /// Answers of the limit source that were beyond [`max_limit`](crate::Store::max_limit), and clamped to it.
    pub clamped_limits: u64,
    /// Calls of the limit source that panicked. It is asked again a second later.
    pub limit_source_failures: u64,
    /// Pieces of the shrinker's work that panicked. It goes on.
    pub shrinker_failures: u64,
    /// Whether the shrinker's thread works. Not if it was disabled, and not in a child process.
    pub shrinker_runs: bool,
}

impl StoreStats {
    /// Bytes before compression over bytes of frames and all metadata, the index too, without reserved bytes.
    pub fn effective_ratio(&self) -> f64 {
        self.original_bytes as f64 / ((self.pool_bytes + self.metadata_bytes) as f64).max(1.0)
    }

    /// The accounts as JSON, in one line.
    ///
    /// # Panics
    /// Never: every field has a form in JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain fields have a form in JSON")
    }
}
