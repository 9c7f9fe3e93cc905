//! Accounts; serde writes JSON, `prometheus` text.

use pagefold_spill::SpillStats;
use serde::Serialize;

use crate::{
    base::BaseStats,
    config::SpaceKind,
    counters::{LATENCY_BUCKETS, Latency, bound_ns},
};

/// Accounts of a space.
///
/// While other threads work, figures come from different instants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SpaceStats {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: SpaceKind,
    /// Keys are below this.
    pub capacity: u64,
    /// The limit on `object_bytes`.
    pub limit_bytes: Option<u64>,
    /// Present pages and values.
    pub stored: u64,
    /// Of these, same-filled.
    pub same_filled: u64,
    /// Of these, compressed pages.
    pub compressed: u64,
    /// Of these, incompressible pages.
    pub raw: u64,
    /// Of these, pages in staging: raw until a worker compresses them.
    pub fresh: u64,
    /// Of these, idle pages in clusters.
    pub clustered: u64,
    /// Of these, pages in the backing.
    pub spilled: u64,
    /// Of these, other lengths.
    pub values: u64,
    /// Of these, pages equal to their base pages.
    pub equal: u64,
    /// Of these, pages kept as what differs from their base pages.
    pub deltas: u64,
    /// Bytes of the objects of `deltas`.
    pub delta_bytes: u64,
    /// What `equal` and `deltas` save against plain objects: an estimate from one put in 64, which also runs the plain codec.
    pub saved_bytes: u64,
    /// The name of the base.
    pub base: Option<String>,
    /// Their bytes before compression.
    pub original_bytes: u64,
    /// Their objects' bytes, lengths rounded up by at most a sixteenth.
    pub object_bytes: u64,
    /// Accepted puts.
    pub puts: u64,
    /// Of these, overwrites.
    pub overwrites: u64,
    /// Entries removed by callers or `drop_space`.
    pub removed: u64,
    /// Entries dropped for room.
    pub evicted: u64,
    /// Failures of the eviction order; second chance then chose.
    pub order_failures: u64,
    /// Panics of [`on_evict`](crate::SpaceConfig::on_evict).
    pub listener_panics: u64,
    /// Gets that found something.
    pub hits: u64,
    /// Gets that found nothing.
    pub misses: u64,
    /// `try_get` calls that would wait.
    pub would_block: u64,
    /// Gets of damaged objects.
    pub corrupt: u64,
    /// By reason.
    pub rejected: RejectedPuts,
    /// Put times.
    pub put_latency: Histogram,
    /// Hit times.
    pub get_latency: Histogram,
}

/// Accounts of a store's backing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct SpilledStats {
    /// Pages and values in the backing.
    pub pages: u64,
    /// Pages and values that left memory.
    pub spilled: u64,
    /// Of these, came back because they were read twice.
    pub returned: u64,
    /// Objects that came back with a neighbour that was read.
    pub prefetched: u64,
    /// Reads of the backing for a get.
    pub fetches: u64,
    /// Their time, waits included.
    pub fetch_ns: u64,
    /// Whether the thread that writes runs.
    pub runs: bool,
    /// Whether the last write was refused; ephemeral spaces then drop pages again.
    pub refused: bool,
    /// Of the backing.
    pub backing: SpillStats,
}

/// Refused puts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RejectedPuts {
    /// The store's limit.
    pub store_full: u64,
    /// The accept threshold.
    pub threshold: u64,
    /// The space's limit.
    pub space_full: u64,
    /// Too long a value.
    pub too_long: u64,
}

/// A distribution of times.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Histogram {
    /// Counts, not cumulative.
    pub buckets: Vec<HistogramBucket>,
    /// Their sum.
    pub count: u64,
    /// The total time.
    pub sum_ns: u64,
}

/// One class of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HistogramBucket {
    /// Exclusive; `None` for the last class.
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

/// Accounts of a store.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StoreStats {
    /// The allocator's command-line name.
    pub allocator: String,
    /// The codec's name.
    pub codec: String,
    /// The hard limit on `resident_bytes`.
    pub limit_bytes: u64,
    /// The highest possible limit.
    pub max_limit_bytes: u64,
    /// Frames, idle frames, metadata, reservations.
    pub resident_bytes: u64,
    /// Frames with objects.
    pub pool_bytes: u64,
    /// Empty frames, not yet returned.
    pub idle_bytes: u64,
    /// Indices, handle entries, descriptors, tables, used codec contexts, scratch, counters.
    pub metadata_bytes: u64,
    /// Charged, but not there: unused codec contexts and scratch, and what a store at rest frees.
    pub reserved_bytes: u64,
    /// Live objects, exactly.
    pub payload_bytes: u64,
    /// Present pages and values.
    pub stored: u64,
    /// Their bytes before compression.
    pub original_bytes: u64,
    /// Whether persistent spaces take new pages.
    pub accepting: bool,
    /// Pages that wait for their codec.
    pub staging: StagingStats,
    /// Idle pages, in clusters.
    pub idle: IdleStats,
    /// Codecs of the store's own.
    pub training: TrainingStats,
    /// `None` without a backing.
    pub spill: Option<SpilledStats>,
    /// Of all bases.
    pub bases: Vec<BaseStats>,
    /// Work to make room.
    pub work: WorkStats,
    /// Each space.
    pub spaces: Vec<SpaceStats>,
}

/// Staging: pages that a put stored raw, and that workers compress later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StagingStats {
    /// The most pages that may wait; 0: staging is off.
    pub capacity_pages: u64,
    /// Pages that wait now.
    pub pages: u64,
    /// Their bytes; each is charged in full.
    pub bytes: u64,
    /// Pages ever staged.
    pub staged: u64,
    /// Of these, compressed.
    pub compressed: u64,
    /// Of these, kept raw: incompressible, or the codec failed.
    pub kept_raw: u64,
    /// Of these, overwritten or removed before their turn: codec runs saved.
    pub saved: u64,
    /// Of the compressed and raw ones, those that a put or another call handled.
    pub by_callers: u64,
    /// Panics of the codec while it compressed a staged page, which then stayed raw.
    pub failures: u64,
    /// Processor time of the workers, in nanoseconds, training included.
    pub worker_ns: u64,
    /// Workers that run; 0 in child processes.
    pub workers: u64,
    /// Panics of workers outside of the codec: a bug of this crate. The worker went on.
    pub worker_panics: u64,
    /// Whether workers are paused.
    pub paused: bool,
}

/// Idle pages: those that no call read or put for a generation, compressed four together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IdleStats {
    /// The codec of clusters; empty: idle pages stay as they are.
    pub codec: String,
    /// Pages in clusters now.
    pub pages: u64,
    /// Clusters now, each one object.
    pub clusters: u64,
    /// Their bytes, with those of pages that are gone from them.
    pub bytes: u64,
    /// Passes that ended.
    pub passes: u64,
    /// Pages that ever joined a cluster.
    pub joined: u64,
    /// Pages tried that would save less than a thirty-second.
    pub refused: u64,
    /// Pages that left their cluster because they were read twice in a generation.
    pub returned: u64,
    /// Pages that left because two or fewer were left.
    pub split: u64,
    /// Jobs in which the codec panicked or did not restore what it compressed. The pages stayed as they were.
    pub failures: u64,
    /// Processor time of all passes, in nanoseconds.
    pub time_ns: u64,
    /// Codecs of clusters of the store's own.
    pub training: TrainingStats,
}

/// Self-training: codecs with dictionaries of the store's own pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TrainingStats {
    /// Whether the store may train: [`self_training`](crate::StoreBuilder::self_training), with a codec that can be
    /// trained.
    pub on: bool,
    /// The codec that new pages get; 1 is the base codec.
    pub current: u8,
    /// The trained codecs that the store has now. All other compressed pages and all values are the base codec's.
    pub codecs: Vec<TrainedCodecStats>,
    /// Trainings since the store was built.
    pub trained: u64,
    /// Trained codecs adopted.
    pub adopted: u64,
    /// Returns to the base codec, because it was better than the trained one.
    pub given_up: u64,
    /// Trained codecs freed after their last page.
    pub retired: u64,
    /// Trainings put off for want of room.
    pub without_room: u64,
    /// Trainings put off because all ids were in use.
    pub without_id: u64,
    /// Panics and wrong answers of codecs; the first one ends self-training.
    pub failures: u64,
    /// Processor time in nanoseconds.
    pub time_ns: u64,
}

/// A trained codec of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TrainedCodecStats {
    /// Its id, from 2 to 15. A later codec may have it again.
    pub id: u8,
    /// Objects that it made: pages, or clusters.
    pub objects: u64,
    /// The bytes of their objects, lengths rounded up to 16.
    pub bytes: u64,
}

/// Work to make room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WorkStats {
    /// Pieces of compaction.
    pub compactions: u64,
    /// Objects and frames moved.
    pub moved_bytes: u64,
    /// Frames freed by moving objects.
    pub freed_bytes: u64,
    /// Pageblocks emptied by moving frames.
    pub freed_pageblock_bytes: u64,
    /// Pieces of shrinker work.
    pub shrinker_steps: u64,
    /// Pieces done by puts.
    pub synchronous_steps: u64,
    /// Limit source answers clamped.
    pub clamped_limits: u64,
    /// Panics of the limit source.
    pub limit_source_failures: u64,
    /// Panics in shrinker work.
    pub shrinker_failures: u64,
    /// Whether the shrinker's thread works; not in child processes.
    pub shrinker_runs: bool,
}

impl StoreStats {
    /// Original bytes over frame and metadata bytes, without reserved ones.
    pub fn effective_ratio(&self) -> f64 {
        self.original_bytes as f64 / ((self.pool_bytes + self.metadata_bytes) as f64).max(1.0)
    }

    /// One line of JSON.
    ///
    /// # Panics
    /// Never: every field has a JSON form.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain fields have a form in JSON")
    }
}
