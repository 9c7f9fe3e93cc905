//! What is known of a process or a core file: its pages, what is left out, and what each part came to.

use std::path::PathBuf;

use crate::estimate::result::{interval::Interval, mapping_kind::MappingKind, tally::Tally};

/// A process, or what a core file has of one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ProcessSummary {
    /// The process's number; a core file may not say.
    pub process_id: Option<u32>,
    /// What it calls itself.
    pub name: String,
    /// The core file, if it is one.
    pub core: Option<PathBuf>,
    /// Of how many processes these are the shared pages, if it is that; then it has neither a number nor mappings.
    pub shared_by: Option<u64>,
    /// Its private pages: the resident ones of a process, the dumped ones of a core file.
    pub pages: u64,
    pub bytes: u64,
    /// Pages that were private when the page map was read, and gone or no longer private when they had been read.
    pub vanished_pages: u64,
    /// Whether it was read to its end.
    pub complete: bool,
    /// What is not in the figures.
    pub beside: Beside,
    /// What of it was kept and measured, for each run.
    pub shares: Vec<PartResult>,
    /// The mappings that have private pages, by address; only where they were asked for.
    pub mappings: Vec<MappingSummary>,
    /// The group of its pages; those of its mappings follow where they were asked for.
    pub group: u32,
}

/// A process's memory that is left out, in bytes; `None` where it is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Beside {
    /// RssAnon as the kernel counts it, to hold the pages against.
    pub rss_anon: Option<u64>,
    /// Resident anonymous pages that other processes map too: after a fork, or merged.
    pub shared_anonymous: Option<u64>,
    /// The process's share of what it has together with other processes, so that sums count each page once.
    pub proportional: Option<Proportional>,
    /// The part of the private pages that is locked in memory.
    pub locked: Option<u64>,
    /// The part of these that the kernel merged with equal pages.
    pub merged: Option<u64>,
    /// Pages of files.
    pub file: Option<u64>,
    /// Pages of shared memory.
    pub shared_memory: Option<u64>,
    /// Huge pages from the system's reserve.
    pub reserved_huge: Option<u64>,
    /// Anonymous memory that is swapped out.
    pub swap: Option<u64>,
    /// A core file's segments that cannot be written to and belong to no file.
    pub read_only: Option<u64>,
    /// A core file's pages of which the file has only a hole.
    pub holes: Option<u64>,
    /// Not left out: about how much of what a core file has of a process are pages of zeros.
    pub zeros: Option<u64>,
}

/// Shares of resident memory: a page that `n` processes map counts an `n`th for each. In bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Proportional {
    /// Anonymous pages that other processes map too.
    pub shared_anonymous: u64,
    pub file: u64,
    pub shared_memory: u64,
}

/// An address range with private pages.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MappingSummary {
    pub start: u64,
    pub end: u64,
    pub kind: MappingKind,
    /// The file, or the name that the program or the kernel gave it.
    pub name: Option<String>,
    pub pages: u64,
    pub bytes: u64,
    pub shares: Vec<PartResult>,
    pub group: u32,
}

/// What a part of the input came to in the fill of one run.
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
    /// A process of this name, of which nothing was read yet.
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

    /// Who it is, for a person: `1234 python3`, or the core file.
    pub(crate) fn title(&self) -> String {
        if let Some(processes) = self.shared_by {
            return format!("shared by {processes}");
        }
        let number = self.process_id.map(|number| format!("{number} ")).unwrap_or_default();
        format!("{number}{}", self.name)
    }
}
