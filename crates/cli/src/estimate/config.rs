//! The settings of `pagefold estimate`, and its units.

use std::{num::NonZeroUsize, path::PathBuf};

use pagefold_pool::Allocator;

use crate::estimate::{codec_choice::CodecChoice, exclude::Exclude, like::Like};

/// The bytes of a full page.
pub(crate) const PAGE: usize = 4096;

/// The most bytes sampled by default.
pub(crate) const DEFAULT_SAMPLE: u64 = 1 << 30;

#[derive(Debug)]
pub(crate) struct EstimateConfig {
    /// In the given order; standard input at most once.
    pub inputs: Vec<Input>,
    /// At least one.
    pub codecs: Vec<CodecChoice>,
    /// At least one.
    pub allocators: Vec<Allocator>,
    /// Bytes; `None`: room for the whole input.
    pub limit: Option<usize>,
    /// The kept part of the input.
    pub sampling: Sampling,
    /// Seeds sampling, loads and lifecycle.
    pub seed: u64,
    pub threads: NonZeroUsize,
    /// Whether churn follows the fill.
    pub lifecycle: bool,
    /// Results per mapping.
    pub maps: bool,
    /// Also measure shared pages, each once.
    pub shared: bool,
    pub walk: Walk,
    /// The kernel part to follow.
    pub like: Option<Like>,
    /// The runs as if every page were idle.
    pub idle: Option<IdleRuns>,
    /// What pages are compared with.
    pub base: Option<Input>,
}

impl EstimateConfig {
    /// Clusters need the neighbours of a page.
    pub(crate) fn unit(&self) -> Unit {
        if self.idle.is_some() { Unit::Leaf } else { Unit::Page }
    }
}

/// Runs with idle pages in clusters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdleRuns {
    /// The codecs of pages that stay alone; at least one.
    pub codecs: Vec<CodecChoice>,
    /// At least one.
    pub allocators: Vec<Allocator>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Walk {
    pub exclude: Exclude,
    /// Whether to stay on the file system.
    pub one_file_system: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    Stdin,
    Path(PathBuf),
    /// A file of names, each ended by a zero byte; `-` is standard input.
    List(PathBuf),
    Process(u32),
    ProcessName(String),
    /// A control group and those below.
    Cgroup(PathBuf),
    /// Every readable process.
    EveryProcess,
}

/// The pages that a sample keeps or leaves together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Page,
    /// The pages of one leaf of a store's index, which clusters do not cross.
    Leaf,
}

impl Unit {
    /// The pages of a leaf.
    pub(crate) const LEAF_PAGES: u64 = 64;

    /// The number of the unit.
    pub(crate) fn of(self, page_no: u64) -> u64 {
        match self {
            Self::Page => page_no,
            Self::Leaf => page_no / Self::LEAF_PAGES,
        }
    }
}

/// The kept part of the input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sampling {
    /// All; above a cap, a sample.
    Auto,
    /// Each page with this probability, in (0, 1].
    Fraction(f64),
}
