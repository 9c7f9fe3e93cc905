//! What a pool says of itself.

use pagefold_frame::MigrationStats;

/// A snapshot of a pool's accounts. Units are in the names; capacity counts, not length.
///
/// While other threads work the figures are each right but not all of the same instant; in a quiet pool they add up
/// to the byte (and [`validate`](crate::Pool::validate) checks that they do).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Live objects.
    pub objects: u64,
    /// Sum of the lengths of live objects. nbud and zsmalloc also count the old bytes of an object that was freed or
    /// overwritten while a thread held its span or zspage, until they free its slot. While no thread holds one,
    /// [`stats`](crate::Pool::stats) frees all such slots first.
    pub payload_bytes: u64,
    /// Bytes of the frames that objects lie in, with slot directories and holes.
    pub frame_bytes: u64,
    /// Bytes of frames that [`alloc_contiguous`](crate::Pool::alloc_contiguous) handed out.
    pub contiguous_bytes: u64,
    /// Bytes of frames that hold nothing but may be resident: in caches, or free and not yet given back.
    pub idle_frame_bytes: u64,
    /// Descriptors, handle entries, tables, frame words, scratch: all that is neither frame nor idle frame.
    pub metadata_bytes: u64,
    /// Bytes of objects moved so far: slid together in their span, or compacted into another.
    pub moved_bytes: u64,
    /// The part of `moved_bytes` that compaction moved.
    pub compacted_bytes: u64,
    /// Frame bytes that [`compact`](crate::Pool::compact) could free right now (an estimate from below).
    pub reclaimable_bytes: u64,
    /// Lists of places by their free room that are not empty: how finely what is free is scattered.
    pub lists_in_use: u64,
    /// Objects that lie in more than one piece; in zsmalloc also those that [`payload_bytes`](Self::payload_bytes) still
    /// counts.
    pub split_objects: u64,
    /// Moving of frames, since the pool was built.
    pub migration: MigrationStats,
    /// Indices of handles that had their last generation, and are not used again unless
    /// [`recycle_retired`](crate::Pool::recycle_retired) takes them back.
    pub retired_indices: u64,
    /// Indices that the pool can ever have. When all of them are retired, it can make no object any more.
    pub index_capacity: u64,
    /// The hard limit on everything that may be resident.
    pub limit_bytes: u64,
    /// How far [`set_limit`](crate::Pool::set_limit) can raise it.
    pub max_limit_bytes: u64,
}

impl Stats {
    /// All that may be resident: frames, claimed and idle ones too, and metadata. Never above [`limit_bytes`](Self::limit_bytes).
    pub fn resident_bytes(&self) -> u64 {
        self.frame_bytes + self.contiguous_bytes + self.idle_frame_bytes + self.metadata_bytes
    }

    /// Payload bytes / frame bytes; 1 when there are no frames.
    pub fn density(&self) -> f64 {
        if self.frame_bytes == 0 {
            1.0
        } else {
            self.payload_bytes as f64 / self.frame_bytes as f64
        }
    }

    /// `original_bytes` / (frames + metadata): what the caller's data would take, over what it takes here.
    pub fn effective_ratio(&self, original_bytes: u64) -> f64 {
        original_bytes as f64 / ((self.frame_bytes + self.metadata_bytes) as f64).max(1.0)
    }
}
