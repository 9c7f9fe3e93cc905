//! A pool's accounts.

use pagefold_frame::MigrationStats;

/// A snapshot; exact only in a quiescent pool, as [`validate`](crate::Pool::validate) checks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Live objects.
    pub objects: u64,
    /// Of live objects; in nbud and zsmalloc also of dead ones whose span or zspage is locked.
    pub payload_bytes: u64,
    /// Frames with objects.
    pub frame_bytes: u64,
    /// From [`alloc_contiguous`](crate::Pool::alloc_contiguous).
    pub contiguous_bytes: u64,
    /// Empty frames that may be resident.
    pub idle_frame_bytes: u64,
    /// Everything except frames.
    pub metadata_bytes: u64,
    /// Slid within a span, or compacted.
    pub moved_bytes: u64,
    /// The compacted part of `moved_bytes`.
    pub compacted_bytes: u64,
    /// What [`compact`](crate::Pool::compact) could free; a lower estimate.
    pub reclaimable_bytes: u64,
    /// Non-empty lists by free room.
    pub lists_in_use: u64,
    /// In several pieces; in zsmalloc with dead ones, as in [`payload_bytes`](Self::payload_bytes).
    pub split_objects: u64,
    /// Since the pool was built.
    pub migration: MigrationStats,
    /// Unused until [`recycle_retired`](crate::Pool::recycle_retired).
    pub retired_indices: u64,
    /// When all are retired, allocation ends.
    pub index_capacity: u64,
    /// The limit on all resident memory.
    pub limit_bytes: u64,
    /// The highest for [`set_limit`](crate::Pool::set_limit).
    pub max_limit_bytes: u64,
}

impl Stats {
    /// At most [`limit_bytes`](Self::limit_bytes).
    pub fn resident_bytes(&self) -> u64 {
        self.frame_bytes + self.contiguous_bytes + self.idle_frame_bytes + self.metadata_bytes
    }

    /// Payload / frames, or 1.
    pub fn density(&self) -> f64 {
        if self.frame_bytes == 0 {
            1.0
        } else {
            self.payload_bytes as f64 / self.frame_bytes as f64
        }
    }

    /// `original_bytes` / (frames + metadata).
    pub fn effective_ratio(&self, original_bytes: u64) -> f64 {
        original_bytes as f64 / ((self.frame_bytes + self.metadata_bytes) as f64).max(1.0)
    }
}
