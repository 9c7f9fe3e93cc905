//! What was read, and what of it was measured.

use pagefold_procfs::CompressedSwap;

use crate::estimate::{
    like::Algorithms,
    result::{dictionary_note::DictionaryNote, process::ProcessSummary, skipped::Skipped},
};

/// What was read.
#[derive(Debug)]
pub(crate) struct InputSummary {
    /// The bytes that were kept and measured.
    pub bytes: u64,
    pub pages: u64,
    pub same_filled: u64,
    pub skipped: Vec<Skipped>,
    /// The bytes of the whole input.
    pub total_bytes: u64,
    pub total_pages: u64,
    /// The bytes of files' holes, which are not in the figures.
    pub hole_bytes: u64,
    pub files: u64,
    pub seed: u64,
    /// Whether the user chose the fraction.
    pub sample_asked: bool,
    /// The most bytes that are measured.
    pub sample_max: u64,
    /// What leaves no room for as many as are measured by default.
    pub sample_bound: Option<String>,
    /// The processes and core files, in the order they were read.
    pub processes: Vec<ProcessSummary>,
    /// Whether their mappings were asked for.
    pub maps: bool,
    /// What the system has in compressed swap already; only where processes were read.
    pub compressed_swap: Option<CompressedSwap>,
    /// What the kernel has that was followed, if it was.
    pub like: Option<Algorithms>,
    /// What became of each dictionary that was asked for.
    pub dictionaries: Vec<DictionaryNote>,
}

impl InputSummary {
    /// Whether some pages were left out.
    pub(crate) fn is_sampled(&self) -> bool {
        self.pages < self.total_pages
    }
}
