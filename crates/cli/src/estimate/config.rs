//! The settings of `pagefold estimate`, and its units.

use std::{num::NonZeroUsize, path::PathBuf};

use pagefold_pool::Allocator;

use crate::estimate::{codec_choice::CodecChoice, exclude::Exclude, like::Like};

/// The bytes of a full page.
pub(crate) const PAGE: usize = 4096;

/// The most bytes that are sampled unless the user sets a share.
pub(crate) const DEFAULT_SAMPLE: u64 = 1 << 30;

#[derive(Debug)]
pub(crate) struct EstimateConfig {
    /// The inputs in the given order; standard input at most once.
    pub inputs: Vec<Input>,
    /// The codecs, in order; at least one.
    pub codecs: Vec<CodecChoice>,
    /// The allocators, in order; at least one.
    pub allocators: Vec<Allocator>,
    /// The limit of each pool in bytes; `None` for one that has room for the whole input.
    pub limit: Option<usize>,
    /// How much of the input is kept.
    pub sampling: Sampling,
    /// Seeds the sampling, the order of loads and the lifecycle.
    pub seed: u64,
    pub threads: NonZeroUsize,
    /// Whether churn, freeing and compaction follow the fill.
    pub lifecycle: bool,
    /// Whether results are per mapping of a process.
    pub maps: bool,
    /// Whether pages that several processes share are measured as well, each once.
    pub shared: bool,
    pub walk: Walk,
    /// The part of the kernel that codecs and allocators follow.
    pub like: Option<Like>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Walk {
    pub exclude: Exclude,
    /// Whether entries on another file system than the directory are left out.
    pub one_file_system: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    Stdin,
    Path(PathBuf),
    /// The files listed in this file, or on standard input for `-`; a zero byte ends each name.
    List(PathBuf),
    Process(u32),
    ProcessName(String),
    /// The running processes of this control group and those below it.
    Cgroup(PathBuf),
    /// Every running process that may be read.
    EveryProcess,
}

/// How much of the input is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sampling {
    /// All of it up to a cap; above it, a sample.
    Auto,
    /// Each page with this probability, in (0, 1].
    Fraction(f64),
}
