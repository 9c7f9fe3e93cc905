//! A pool's accounts.

use pagefold_frame::MigrationStats;

/// A snapshot of a pool's accounts. Units are in the names; capacity counts, not length.
///
/// Under concurrent use, the figures are not of one instant. In a quiescent pool they add up to the byte, which
/// [`validate`](crate::Pool::validate) checks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Live objects.
    pub objects: u64,
    /// Sum of the lengths of live objects. nbud and zsmalloc also count a freed or overwritten object until its slot is
    /// free; [`stats`](crate::Pool::stats) first frees all such slots whose span or zspage is not locked.
    pub payload_bytes: u64,
    /// Bytes of the frames that objects lie in, with slot directories and holes.
    pub frame_bytes: u64,
    /// Bytes of frames that [`alloc_contiguous`](crate::Pool::alloc_contiguous) handed out.
    pub contiguous_bytes: u64,
    /// Bytes of empty frames that may be resident: cached, or free and not yet returned to the system.
    pub idle_frame_bytes: u64,
    /// Descriptors, handle entries, tables, frame words, scratch: everything except frames.
    pub metadata_bytes: u64,
    /// Bytes of objects moved so far: slid within a span, or compacted.
    pub moved_bytes: u64,
    /// The part of `moved_bytes` that compaction moved.
    pub compacted_bytes: u64,
    /// Frame bytes that [`compact`](crate::Pool::compact) could free right now; a lower estimate.
    pub reclaimable_bytes: u64,
    /// Lists by free room that are not empty: how scattered the free room is.
    pub lists_in_use: u64,
    /// Objects in more than one piece; in zsmalloc also those that only [`payload_bytes`](Self::payload_bytes) counts.
    pub split_objects: u64,
    /// Frame moves since the pool was built.
    pub migration: MigrationStats,
    /// Handle indices past their last generation, unused until [`recycle_retired`](crate::Pool::recycle_retired).
    pub retired_indices: u64,
    /// Indices that the pool can have. When all are retired, it makes no more objects.
    pub index_capacity: u64,
    /// The hard limit on all resident memory.
    pub limit_bytes: u64,
    /// How far [`set_limit`](crate::Pool::set_limit) can raise it.
    pub max_limit_bytes: u64,
}

impl Stats {
    /// All resident bytes: frames, contiguous and idle ones, metadata. At most [`limit_bytes`](Self::limit_bytes).
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
