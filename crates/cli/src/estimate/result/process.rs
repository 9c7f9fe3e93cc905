//! A process or a core file: its pages, the memory left out, and the result of each part.

use std::path::PathBuf;

use crate::estimate::result::{interval::Interval, mapping_kind::MappingKind, tally::Tally};

/// A process, or the part of one in a core file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ProcessSummary {
    /// `None` where a core file does not say.
    pub process_id: Option<u32>,
    /// The name that the process gives itself.
    pub name: String,
    pub core: Option<PathBuf>,
    /// The number of processes that share these pages. Such a summary has neither a number nor mappings.
    pub shared_by: Option<u64>,
    /// Private pages: resident in a process, dumped in a core file.
    pub pages: u64,
    pub bytes: u64,
    /// Pages that were private in the page map, but not after the read.
    pub vanished_pages: u64,
    /// Whether the read reached the end.
    pub complete: bool,
    /// Memory outside the figures.
    pub beside: Beside,
    /// The measured part, for each run.
    pub shares: Vec<PartResult>,
    /// The mappings with private pages, by address; only on request.
    pub mappings: Vec<MappingSummary>,
    /// The group of its pages. The groups of its mappings follow on request.
    pub group: u32,
}

/// Memory of a process outside the figures, in bytes; `None` where unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Beside {
    /// RssAnon as the kernel counts it, to compare with the pages.
    pub rss_anon: Option<u64>,
    /// Resident anonymous pages that other processes also map, after a fork or a merge.
    pub shared_anonymous: Option<u64>,
    /// The process's share of memory that several processes map; sums over processes count each page once.
    pub proportional: Option<Proportional>,
    /// Private pages that are locked in memory.
    pub locked: Option<u64>,
    /// Anonymous memory that the kernel merged with equal pages.
    pub merged: Option<u64>,
    pub file: Option<u64>,
    pub shared_memory: Option<u64>,
    /// Huge pages from the system's reserve.
    pub reserved_huge: Option<u64>,
    pub swap: Option<u64>,
    /// Segments of a core file that are read-only and belong to no file.
    pub read_only: Option<u64>,
    /// Pages that are holes in the core file.
    pub holes: Option<u64>,
    /// Not left out: the approximate bytes of zero pages in a core file.
    pub zeros: Option<u64>,
}

/// Shares of resident memory, in bytes: a page that `n` processes map counts `1/n` for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Proportional {
    /// Anonymous pages that other processes also map.
    pub shared_anonymous: u64,
    pub file: u64,
    pub shared_memory: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MappingSummary {
    pub start: u64,
    pub end: u64,
    pub kind: MappingKind,
    /// The file, or the name from the program or the kernel.
    pub name: Option<String>,
    pub pages: u64,
    pub bytes: u64,
    pub shares: Vec<PartResult>,
    pub group: u32,
}

/// The result of a part of the input after the fill of one run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PartResult {
    pub codec: String,
    pub allocator: String,
    pub tally: Tally,
    /// Its share of the pool's frames and metadata.
    pub memory_bytes: f64,
    pub effective_ratio: Option<f64>,
    pub effective_ratio_95: Option<Interval>,
}

impl ProcessSummary {
    /// An unread process of this name.
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

    /// A title for the terminal: `1234 python3`, or the core file.
    pub(crate) fn title(&self) -> String {
        if let Some(processes) = self.shared_by {
            return format!("shared by {processes}");
        }
        let number = self.process_id.map(|number| format!("{number} ")).unwrap_or_default();
        format!("{number}{}", self.name)
    }
}
