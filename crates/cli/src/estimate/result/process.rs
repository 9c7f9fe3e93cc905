//! A process or a core file, and the result of each part.

use std::path::PathBuf;

use crate::estimate::result::{interval::Interval, mapping_kind::MappingKind, tally::Tally};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ProcessSummary {
    /// `None` where a core file does not say.
    pub process_id: Option<u32>,
    pub name: String,
    pub core: Option<PathBuf>,
    /// Such a summary has no number and no mappings.
    pub shared_by: Option<u64>,
    /// Private ones: resident, or dumped.
    pub pages: u64,
    pub bytes: u64,
    /// Private in the page map, not after the read.
    pub vanished_pages: u64,
    pub complete: bool,
    pub beside: Beside,
    pub shares: Vec<PartResult>,
    /// With private pages, by address; only on request.
    pub mappings: Vec<MappingSummary>,
    /// Groups of mappings follow on request.
    pub group: u32,
}

/// Bytes outside the figures; `None` where unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Beside {
    /// By the kernel's count.
    pub rss_anon: Option<u64>,
    /// Mapped by several processes after a fork or a merge.
    pub shared_anonymous: Option<u64>,
    /// Sums over processes count each page once.
    pub proportional: Option<Proportional>,
    pub locked: Option<u64>,
    /// By the kernel, with equal pages.
    pub merged: Option<u64>,
    pub file: Option<u64>,
    pub shared_memory: Option<u64>,
    /// From the system's reserve.
    pub reserved_huge: Option<u64>,
    pub swap: Option<u64>,
    /// Segments of a core file without a file.
    pub read_only: Option<u64>,
    /// Holes in the core file.
    pub holes: Option<u64>,
    /// About; inside the figures.
    pub zeros: Option<u64>,
}

/// A page that `n` processes map counts `1/n` for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Proportional {
    pub shared_anonymous: u64,
    pub file: u64,
    pub shared_memory: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MappingSummary {
    pub start: u64,
    pub end: u64,
    pub kind: MappingKind,
    /// A file, or a name by program or kernel.
    pub name: Option<String>,
    pub pages: u64,
    pub bytes: u64,
    pub shares: Vec<PartResult>,
    pub group: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PartResult {
    pub codec: String,
    pub allocator: String,
    pub tally: Tally,
    /// Its share of frames and metadata.
    pub memory_bytes: f64,
    pub effective_ratio: Option<f64>,
    pub effective_ratio_95: Option<Interval>,
}

impl ProcessSummary {
    pub(crate) fn new(name: String) -> Self {
        Self {
            process_id: None,
            name,
            core: None,
            shared_by: None,
            pages: 0,
            bytes: 0,
            vanished_pages: 0,
            complete: false,
            beside: Beside::default(),
            shares: Vec::new(),
            mappings: Vec::new(),
            group: 0,
        }
    }

    /// `1234 python3`, or the core file.
    pub(crate) fn title(&self) -> String {
        if let Some(processes) = self.shared_by {
            return format!("shared by {processes}");
        }
        let number = self.process_id.map(|number| format!("{number} ")).unwrap_or_default();
        format!("{number}{}", self.name)
    }
}
