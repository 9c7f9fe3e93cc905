//! What `pagefold estimate` is asked to measure, and the units that all of it uses.

use std::{num::NonZeroUsize, path::PathBuf};

use pagefold_pool::Allocator;

use crate::estimate::{codec_choice::CodecChoice, exclude::Exclude, like::Like};

/// The bytes of a full page.
pub(crate) const PAGE: usize = 4096;

/// The most bytes that are sampled unless the user asks for another share.
pub(crate) const DEFAULT_SAMPLE: u64 = 1 << 30;

/// What `pagefold estimate` measures.
#[derive(Debug)]
pub(crate) struct EstimateConfig {
    /// What to read, in the order given; standard input at most once.
    pub inputs: Vec<Input>,
    /// The codecs, in order; at least one.
    pub codecs: Vec<CodecChoice>,
    /// The allocators, in order; at least one.
    pub allocators: Vec<Allocator>,
    /// The limit of each pool in bytes; `None` for one that holds the whole input.
    pub limit: Option<usize>,
    /// How much of the input is kept.
    pub sampling: Sampling,
    /// Seeds the sampling, the order of loads and the lifecycle.
    pub seed: u64,
    /// How many threads store and load.
    pub threads: NonZeroUsize,
    /// Whether the fill is followed by churn, freeing and compaction.
    pub lifecycle: bool,
    /// Whether results are told apart for each mapping of a process.
    pub maps: bool,
    /// Whether pages that several processes have are measured as well, each once.
    pub shared: bool,
    /// What is left out of directories.
    pub walk: Walk,
    /// The part of the kernel that codecs and allocators follow.
    pub like: Option<Like>,
}

/// What is left out when a directory is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Walk {
    /// What matches one of these patterns.
    pub exclude: Exclude,
    /// Whether what lies on another file system than the directory is left out.
    pub one_file_system: bool,
}

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// `-`
    Stdin,
    /// A file or a directory.
    Path(PathBuf),
    /// The files that are listed in this file, or on standard input for `-`, each name ended by a zero byte.
    List(PathBuf),
    /// A running process.
    Process(u32),
    /// The running processes of this name.
    ProcessName(String),
    /// The running processes of this control group and those below it.
    Cgroup(PathBuf),
    /// Every running process that may be read.
    EveryProcess,
}

/// How much of the input is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sampling {
    /// All of it up to a cap, a sample above.
    Auto,
    /// Each page with this probability, in (0, 1].
    Fraction(f64),
}
