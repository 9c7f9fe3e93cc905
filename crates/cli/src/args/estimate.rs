//! The arguments of `pagefold estimate`, and what they become.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Args, ValueHint};
use globset::Glob;
use pagefold_codec::CodecSpec;
use pagefold_pool::Allocator;

use crate::{
    allocators::trace::TraceConfig,
    args::{
        stop::{PATH, Stop, wrong},
        values::{ProcessChoice, allocator, fraction, process, seed, threads},
    },
    bytes,
    command::Command,
    console::Output,
    estimate::{
        codec_choice::{CodecChoice, codec, takes_dictionary},
        config::{EstimateConfig, IdleRuns, Input, Sampling, Walk},
        exclude::{self, Exclude},
        like::Like,
    },
};

/// The codecs that are measured when none is named.
pub(super) const DEFAULT_CODECS: [&str; 4] = ["lz4", "zstd:-1", "zstd:1", "balanced"];

#[derive(Debug, Args)]
pub(super) struct EstimateArgs {
    /// Files, directories (with all below them), or - for standard input; a core file is read as the process that it was
    #[arg(value_name = PATH, required_unless_present_any = ["pids", "cgroups", "all", "trace", "files0_from"], value_hint = ValueHint::AnyPath)]
    paths: Vec<PathBuf>,

    /// The paths are in this file, or on standard input for -, each ended by a zero byte, as `find -print0` writes them
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "paths")]
    files0_from: Option<PathBuf>,

    /// Leave out what matches this shell pattern: of a directory's content the name, or the whole path if the pattern
    /// has a slash; may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = exclude::pattern)]
    exclude: Vec<Glob>,

    /// Stay on one file system: leave out what is mounted below a directory
    #[arg(long, short = 'x')]
    one_file_system: bool,

    /// A live process by its number, or all of a name, instead of a path: resident private anonymous pages; it is not
    /// stopped; may be repeated
    #[arg(long = "pid", value_name = "PID|NAME", value_parser = process, allow_negative_numbers = true,
        conflicts_with_all = ["paths", "files0_from"])]
    pids: Vec<ProcessChoice>,

    /// The live processes of a control group and those below it: its directory, or its path as `/proc/PID/cgroup` has
    /// it; may be repeated
    #[arg(long = "cgroup", value_name = "PATH", value_hint = ValueHint::DirPath,
        conflicts_with_all = ["paths", "files0_from"])]
    cgroups: Vec<PathBuf>,

    /// Every live process that you may read; those you may not are counted
    #[arg(long, conflicts_with_all = ["paths", "files0_from", "pids", "cgroups"])]
    all: bool,

    /// Measure the anonymous pages that several processes share as well, each once: for servers that fork
    #[arg(long, conflicts_with_all = ["paths", "files0_from"])]
    shared: bool,

    /// A trace of `pagefold torture --record` instead: the same objects in the same order to each allocator
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
        conflicts_with_all = ["paths", "files0_from", "exclude", "one_file_system", "pids", "cgroups", "all", "shared",
            "maps", "codecs", "dictionary", "tiers", "like", "sample", "threads", "lifecycle", "html"])]
    trace: Option<PathBuf>,

    /// Show each mapping of a process or core file by itself: heap, stacks, arenas
    #[arg(long)]
    maps: bool,

    /// What would the kernel's own compressed memory save? zsmalloc, and the codecs that this kernel has
    #[arg(long, value_name = "KERNEL", value_enum, conflicts_with = "allocators")]
    like: Option<Like>,

    /// A codec to measure: fast, balanced or dense, lz4, zstd (level 3), zstd:LEVEL with a level of -7 to 19, the same
    /// with +dict behind it for a dictionary trained from the pages, or raw; may be repeated [default: lz4, zstd:-1,
    /// zstd:1, balanced]
    #[arg(long = "codec", value_name = "CODEC", value_parser = codec)]
    codecs: Vec<CodecChoice>,

    /// Measure each zstd codec with a dictionary as well, trained from some of the pages
    #[arg(long)]
    dictionary: bool,

    /// Add a row for what a store would take if every page were idle: clusters of four neighbours, with the codec for
    /// idle pages, where they are shorter. With each codec that is named, else balanced
    #[arg(long)]
    tiers: bool,

    /// Also say what a store would keep on this base: a file, or a core file, whose pages most pages of the input are copies of.
    /// Pages of files are compared by their place, those of processes and core files by their address
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "trace")]
    base: Option<PathBuf>,

    /// As --base, a live process: the one that forked the others
    #[arg(long, value_name = "PID", conflicts_with_all = ["base", "trace"])]
    base_pid: Option<u32>,

    /// An allocator to measure; may be repeated [default: nbud; with --lifecycle all of them]
    #[arg(long = "allocator", value_name = "NAME", value_parser = allocator())]
    allocators: Vec<Allocator>,

    /// The most memory each pool may hold, such as 256MiB or 1.5G; on reaching it the run stops and says how far it came
    #[arg(long, value_name = "BYTES", value_parser = bytes::parse, allow_negative_numbers = true)]
    limit: Option<usize>,

    /// Keep each page with this probability, above 0 and at most 1 [default: as much as 1 GiB holds]
    #[arg(long, value_name = "FRACTION", value_parser = fraction, allow_negative_numbers = true)]
    sample: Option<f64>,

    /// The seed of everything random: the sample, the order of loads, the lifecycle; 7 or 0x7
    #[arg(long, value_name = "N", default_value = "1", value_parser = seed, allow_negative_numbers = true)]
    seed: u64,

    /// How many threads store and load
    #[arg(long, value_name = "N", default_value = "1", value_parser = threads, allow_negative_numbers = true)]
    threads: NonZeroUsize,

    /// After the fill, overwrite pages at random, free half of them, and compact; a row for each phase, and what each
    /// allocator then still holds
    #[arg(long)]
    lifecycle: bool,

    /// Write the report with charts to this file as well: one HTML page that needs nothing else
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    html: Option<PathBuf>,

    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,

    /// No progress bar and no notes, only the tables and the verdict
    #[arg(long, short)]
    quiet: bool,
}

impl EstimateArgs {
    pub(super) fn into_command(mut self) -> Result<Command, Stop> {
        let output = Output { json: self.json, quiet: self.quiet };
        if let Some(path) = self.trace.take() {
            let named = !self.allocators.is_empty();
            let allocators = if named { self.allocators } else { Allocator::ALL.to_vec() };
            let limit = self.limit;
            return Ok(Command::Trace(TraceConfig { path, allocators, limit, output }));
        }
        let html = self.html.take();
        Ok(Command::Estimate { config: self.into_config()?, output, html })
    }

    fn into_config(self) -> Result<EstimateConfig, Stop> {
        let codecs = self.codecs()?;
        let allocators = match (self.allocators.is_empty(), self.like, self.lifecycle) {
            (false, ..) => self.allocators,
            (true, Some(like), _) => vec![like.allocator()],
            // What a packing makes of holes is what tells allocators apart.
            (true, None, true) => Allocator::ALL.to_vec(),
            (true, None, false) => vec![Allocator::ALL[0]],
        };
        let idle = self.tiers.then(|| IdleRuns {
            codecs: if self.codecs.is_empty() {
                vec![CodecSpec::Balanced.into()]
            } else {
                codecs.clone()
            },
            // The kernel has no such tier: the row is that of a store.
            allocators: match self.like {
                Some(_) => vec![Allocator::nbud()],
                None => allocators.clone(),
            },
        });
        let mut inputs = Vec::with_capacity(self.paths.len());
        for path in self.paths {
            let input = if path.as_os_str() == "-" { Input::Stdin } else { Input::Path(path) };
            // Standard input can be read once; a path given twice is found out by what it leads to.
            if input != Input::Stdin || !inputs.contains(&Input::Stdin) {
                inputs.push(input);
            }
        }
        inputs.extend(self.files0_from.map(Input::List));
        inputs.extend(self.pids.into_iter().map(|process| match process {
            ProcessChoice::Number(number) => Input::Process(number),
            ProcessChoice::Name(name) => Input::ProcessName(name),
        }));
        inputs.extend(self.cgroups.into_iter().map(Input::Cgroup));
        inputs.extend(self.all.then_some(Input::EveryProcess));
        Ok(EstimateConfig {
            inputs,
            codecs,
            allocators,
            limit: self.limit,
            sampling: self.sample.map_or(Sampling::Auto, Sampling::Fraction),
            seed: self.seed,
            threads: self.threads,
            lifecycle: self.lifecycle,
            maps: self.maps,
            shared: self.shared,
            walk: Walk {
                exclude: Exclude::new(self.exclude).map_err(wrong)?,
                one_file_system: self.one_file_system,
            },
            like: self.like,
            idle,
            base: self.base.map(Input::Path).or(self.base_pid.map(Input::Process)),
        })
    }

    /// The codecs that were named, else those of the kernel with `--like`, else the default ones; each zstd twice with
    /// `--dictionary`.
    fn codecs(&self) -> Result<Vec<CodecChoice>, Stop> {
        let named = match self.like {
            _ if !self.codecs.is_empty() => self.codecs.clone(),
            Some(like) => like.algorithms().codecs().into_iter().map(CodecChoice::from).collect(),
            None => default_codecs()?,
        };
        if !self.dictionary {
            return Ok(named);
        }
        let mut all: Vec<CodecChoice> = Vec::new();
        for plain in named {
            let with = CodecChoice { dictionary: true, ..plain };
            let both = [Some(plain), takes_dictionary(plain.spec).then_some(with)];
            all.extend(both.into_iter().flatten());
        }
        if all.iter().any(|choice| choice.dictionary) {
            Ok(all)
        } else {
            Err(wrong("--dictionary needs a codec that takes one; add --codec zstd:1".to_owned()))
        }
    }
}

/// The default codecs; a build without one of them says so instead of measuring less than was documented.
fn default_codecs() -> Result<Vec<CodecChoice>, Stop> {
    DEFAULT_CODECS.iter().map(|name| codec(name).map_err(wrong)).collect()
}
