//! A process or a core file, and the result of each part.

use std::path::PathBuf;

use crate::estimate::result::{interval::Interval, mapping_kind::MappingKind, tally::Tally};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ProcessSummary {
    /// `None` where a core file does not say.
    pub process_id: Option<u32>,
    pub name: String,
    pub core: Option<PathBuf>,
    /// The processes that share these pages; the summary then has no number and no mappings.
    pub shared_by: Option<u64>,
    /// Private pages: resident, or dumped in a core file.
    pub pages: u64,
    pub bytes: u64,
    /// Private in the page map, but not after the read.
    pub vanished_pages: u64,
    /// Whether the read reached the end.
    pub complete: bool,
    pub beside: Beside,
    /// One for each run.
    pub shares: Vec<PartResult>,
    /// Those with private pages, by address; only on request.
    pub mappings: Vec<MappingSummary>,
    /// The groups of the mappings follow on request.
    pub group: u32,
}

/// Memory outside the figures, in bytes; `None` where unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Beside {
    /// As the kernel counts it, to compare with the pages.
    pub rss_anon: Option<u64>,
    /// Resident, and mapped by several processes after a fork or a merge.
    pub shared_anonymous: Option<u64>,
    /// Sums over processes count each page once.
    pub proportional: Option<Proportional>,
    /// Private pages locked in memory.
    pub locked: Option<u64>,
    /// Anonymous memory merged with equal pages.
    pub merged: Option<u64>,
    pub file: Option<u64>,
    pub shared_memory: Option<u64>,
    /// From the system's reserve.
    pub reserved_huge: Option<u64>,
    pub swap: Option<u64>,
    /// Read-only segments of a core file without a file.
    pub read_only: Option<u64>,
    /// Holes in the core file.
    pub holes: Option<u64>,
    /// Zero pages of a core file, about; inside the figures.
    pub zeros: Option<u64>,
}

/// Bytes; a page that `n` processes map counts `1/n` for each.
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
    /// The file, or the program's or the kernel's name.
    pub name: Option<String>,
    pub pages: u64,
    pub bytes: u64,
    pub shares: Vec<PartResult>,
    pub group: u32,
}

/// A part of the input after one fill.
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
