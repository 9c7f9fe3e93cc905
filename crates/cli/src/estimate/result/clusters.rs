//! What became of idle pages: clusters, or pages alone.

use serde::Serialize;

use crate::estimate::result::kept::CLUSTER_PAGES;

/// Fields are named as in JSON. Each group of four neighbours counts once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Clusters {
    pub codec: String,
    /// In clusters.
    pub pages: u64,
    pub clusters: u64,
    /// Groups that are shorter as single pages.
    pub not_shorter: u64,
    /// Groups whose cluster is longer than `object_bytes_max`.
    pub too_long: u64,
    /// The allocator's longest object.
    pub object_bytes_max: u64,
}

/// The groups of one thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    pub(crate) clusters: u64,
    pub(crate) not_shorter: u64,
    pub(crate) too_long: u64,
}

impl Groups {
    pub(crate) fn add(&mut self, other: Self) {
        self.clusters += other.clusters;
        self.not_shorter += other.not_shorter;
        self.too_long += other.too_long;
    }
}

impl Clusters {
    pub(crate) fn new(codec: &str, groups: Groups, object_bytes_max: usize) -> Self {
        Self {
            codec: codec.to_owned(),
            pages: groups.clusters * CLUSTER_PAGES as u64,
            clusters: groups.clusters,
            not_shorter: groups.not_shorter,
            too_long: groups.too_long,
            object_bytes_max: object_bytes_max as u64,
        }
    }
}
