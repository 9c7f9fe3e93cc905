//! The input, and the part of it that was measured.

use pagefold_procfs::CompressedSwap;

use crate::estimate::{
    like::Algorithms,
    result::{dictionary_note::DictionaryNote, process::ProcessSummary, skipped::Skipped},
};

#[derive(Debug)]
pub(crate) struct InputSummary {
    /// The measured bytes.
    pub bytes: u64,
    pub pages: u64,
    pub same_filled: u64,
    pub skipped: Vec<Skipped>,
    /// The bytes of the whole input.
    pub total_bytes: u64,
    pub total_pages: u64,
    /// Bytes in holes of files; the figures leave them out.
    pub hole_bytes: u64,
    pub files: u64,
    pub seed: u64,
    /// Whether the user chose the fraction.
    pub sample_asked: bool,
    /// The most bytes that a run measures.
    pub sample_max: u64,
    /// The limit that lowers the default of `sample_max`.
    pub sample_bound: Option<String>,
    /// In the order they were read.
    pub processes: Vec<ProcessSummary>,
    /// Whether the user asked for the mappings.
    pub maps: bool,
    /// Compressed swap of the system; only where processes were read.
    pub compressed_swap: Option<CompressedSwap>,
    /// The kernel's algorithms that `--like` followed.
    pub like: Option<Algorithms>,
    /// The outcome for each requested dictionary.
    pub dictionaries: Vec<DictionaryNote>,
}

impl InputSummary {
    pub(crate) fn is_sampled(&self) -> bool {
        self.pages < self.total_pages
    }
}
