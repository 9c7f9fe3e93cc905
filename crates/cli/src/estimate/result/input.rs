//! The input and its measured part.

use pagefold_procfs::CompressedSwap;

use crate::estimate::{
    like::Algorithms,
    result::{dictionary_note::DictionaryNote, process::ProcessSummary, skipped::Skipped},
};

#[derive(Debug)]
pub(crate) struct InputSummary {
    pub bytes: u64,
    pub pages: u64,
    pub same_filled: u64,
    pub skipped: Vec<Skipped>,
    pub total_bytes: u64,
    pub total_pages: u64,
    /// In files; outside the figures.
    pub hole_bytes: u64,
    pub files: u64,
    pub seed: u64,
    pub sample_asked: bool,
    /// The most bytes that a run measures.
    pub sample_max: u64,
    /// The limit that lowers the default of `sample_max`.
    pub sample_bound: Option<String>,
    /// In the order of reading.
    pub processes: Vec<ProcessSummary>,
    pub maps: bool,
    /// Of the system; only where processes were read.
    pub compressed_swap: Option<CompressedSwap>,
    /// The kernel's algorithms that `--like` followed.
    pub like: Option<Algorithms>,
    pub dictionaries: Vec<DictionaryNote>,
}

impl InputSummary {
    pub(crate) fn is_sampled(&self) -> bool {
        self.pages < self.total_pages
    }
}
