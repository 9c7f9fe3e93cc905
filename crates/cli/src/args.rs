//! The command line: what clap parses, and the typed configuration it becomes. Nothing behind this module sees a
//! string that may still be wrong.

mod classes;
mod torture;

use std::{ffi::OsString, io::Write as _, num::NonZeroUsize, path::PathBuf, process::ExitCode};

use clap::{
    Args, CommandFactory as _, Parser, Subcommand, ValueHint,
    builder::{PossibleValuesParser, TypedValueParser},
    error::ErrorKind,
};
use clap_complete::Shell;
use pagefold_codec::CodecSpec;
use pagefold_pool::Allocator;

pub(crate) use self::classes::{ClassesConfig, Lengths};
use crate::{
    bytes,
    exit::{self, Exit},
    trace::TraceConfig,
};

use self::torture::TortureArgs;
pub(crate) use self::torture::{CanaryKind, Length, Subject, TortureConfig};

/// The codecs that are measured when none is named.
const DEFAULT_CODECS: [&str; 3] = ["lz4", "zstd:-1", "zstd:1"];

/// What the user wants done.
#[derive(Debug)]
pub(crate) enum Command {
    /// Measure what compressed memory would save on an input; `html` is where a report goes beside what is printed.
    Estimate { config: EstimateConfig, output: Output, html: Option<PathBuf> },
    /// Print a table of size classes and what it comes to.
    Classes(ClassesConfig),
    /// Measure what the allocators make of a trace.
    Trace(TraceConfig),
    /// Stress the allocators.
    Torture(TortureConfig),
    /// Print the completions of a shell.
    Completions(Shell),
    /// Print the manual page.
    Man,
}

/// What `pagefold estimate` measures.
#[derive(Debug)]
pub(crate) struct EstimateConfig {
    /// What to read, in the order given; standard input at most once.
    pub inputs: Vec<Input>,
    /// The codecs, in order; at least one.
    pub codecs: Vec<CodecSpec>,
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
}

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// `-`
    Stdin,
    /// A file or a directory.
    Path(PathBuf),
    /// A running process.
    Process(u32),
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

/// How the report is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// JSON instead of a table.
    pub json: bool,
    /// No progress bar and no notes.
    pub quiet: bool,
}

#[derive(Debug, Parser)]
#[command(
    name = "pagefold",
    version,
    about = "Compressed memory for user space",
    propagate_version = true,
    after_help = EXAMPLES,
    subcommand_help_heading = "Commands"
)]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Measure what compressed memory would save on your own data
    #[command(long_about = ESTIMATE_ABOUT, after_long_help = ESTIMATE_EXAMPLES, after_help = "Examples and exit codes: pagefold estimate --help")]
    Estimate(EstimateArgs),
    /// Print a table of size classes, and the density that it would have
    #[command(long_about = classes::ABOUT, after_long_help = classes::EXAMPLES, after_help = "Examples and exit codes: pagefold classes --help")]
    Classes(classes::ClassesArgs),
    /// Torture the allocators: stress with compaction, migration and faults, every byte verified
    #[command(long_about = torture::ABOUT, after_long_help = torture::EXAMPLES, after_help = "Examples and exit codes: pagefold torture --help")]
    Torture(TortureArgs),
    /// Print a script that completes this command's words in a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Print the manual page of this command
    #[command(after_help = MAN_EXAMPLES)]
    Man,
}

const EXAMPLES: &str = "\
Examples:
  pagefold estimate /usr/lib                       what would these files take?
  pagefold estimate --lifecycle --html r.html .    the same with charts, and over the life of a pool
  gunzip -c dump.gz | pagefold estimate --json -   read a pipe, print JSON
  pagefold classes --chain 4                       size classes and their density
  pagefold torture --seconds 60                    do the allocators stand up to everything at once?
  pagefold completions bash > ~/.local/share/bash-completion/completions/pagefold
  pagefold man | man -l -                          the manual page";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  pagefold completions bash > ~/.local/share/bash-completion/completions/pagefold
  pagefold completions fish > ~/.config/fish/completions/pagefold.fish
  pagefold completions zsh > DIR/_pagefold         DIR is one of zsh's $fpath";

const MAN_EXAMPLES: &str = "\
Examples:
  pagefold man | man -l -                          read it
  pagefold man > ~/.local/share/man/man1/pagefold.1";

const ESTIMATE_ABOUT: &str = "\
Measure what compressed memory would save on your own data.

Every 4 KiB page of the input is compressed by a real codec, stored in a real pool, read back and checked by a \
128-bit hash. Nothing is extrapolated from a formula: memory is what the pool holds, RssAnon is what the kernel says. \
Each combination of codec and allocator gets a fresh pool, one after another, on the same bytes.";

const ESTIMATE_EXAMPLES: &str = "\
Examples:
  pagefold estimate /usr/lib                       what would these files take?
  pagefold estimate --lifecycle data.bin           all allocators, over the life of a pool
  pagefold estimate --codec lz4 --codec zstd:3 .   compare two codecs
  pagefold estimate --sample 0.05 --seed 7 /srv    one page in twenty, the same ones each time
  pagefold estimate --limit 256MiB dump.rdb        how much fits in 256 MiB?
  pagefold estimate --html report.html data.bin    the same as a page with charts
  gunzip -c dump.gz | pagefold estimate --json -   read a pipe, print JSON
  pagefold estimate --pid 4321 --maps              a live process: which part of it compresses how?
  pagefold estimate --all --sample 0.02            every process that you may read
  pagefold estimate core.4321                      what a process had when it crashed
  pagefold estimate --trace t.trace                what pagefold torture --record wrote

Exit codes:
  0    everything was measured and read back intact
  1    nothing could be measured, or the run failed
  2    the arguments make no sense (this includes a limit that is too small for a pool, and a report that
       cannot be written where --html says)
  3    measured, but an input was missing or could not be read; the report lists it
  4    a page did not read back as it was stored
  130  interrupted; the report holds what there was

The JSON and the rules of sampling are described in docs/ESTIMATE.md.";

#[derive(Debug, Args)]
struct EstimateArgs {
    /// Files, directories (with all below them), or - for standard input; a core file is read as the process that it was
    #[arg(value_name = "PATH", required_unless_present_any = ["pids", "all", "trace"], value_hint = ValueHint::AnyPath)]
    paths: Vec<PathBuf>,

    /// A live process, instead of a path: its resident private anonymous pages; it is not stopped; may be repeated
    #[arg(long = "pid", value_name = "PID", value_parser = process_id, allow_negative_numbers = true, conflicts_with = "paths")]
    pids: Vec<u32>,

    /// Every live process that you may read; those you may not are listed
    #[arg(long, conflicts_with_all = ["paths", "pids"])]
    all: bool,

    /// A trace of `pagefold torture --record` instead: the same objects in the same order to each allocator
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
        conflicts_with_all = ["paths", "pids", "all", "maps", "codecs", "sample", "threads", "lifecycle", "html"])]
    trace: Option<PathBuf>,

    /// Show each mapping of a process or core file by itself: heap, stacks, arenas
    #[arg(long)]
    maps: bool,

    /// A codec to measure: lz4, zstd:LEVEL with a level of -7 to 19, or raw; may be repeated [default: lz4, zstd:-1, zstd:1]
    #[arg(long = "codec", value_name = "CODEC", value_parser = codec)]
    codecs: Vec<CodecSpec>,

    /// An allocator to measure; may be repeated [default: nbud; with --lifecycle all of them]
    #[arg(long = "allocator", value_name = "NAME", value_parser = allocator())]
    allocators: Vec<Allocator>,

    /// The most memory each pool may hold, such as 256MiB; on reaching it the run stops and says how far it came
    #[arg(long, value_name = "BYTES", value_parser = bytes::parse, allow_negative_numbers = true)]
    limit: Option<usize>,

    /// Keep each page with this probability, above 0 and at most 1 [default: as much as 1 GiB holds]
    #[arg(long, value_name = "FRACTION", value_parser = fraction, allow_negative_numbers = true)]
    sample: Option<f64>,

    /// The seed of everything random: the sample, the order of loads, the lifecycle
    #[arg(long, value_name = "N", default_value_t = 1)]
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

/// The most threads that are sensible on any machine; a typing error should not start a million.
const THREADS_MAX: usize = 1024;

fn codec(text: &str) -> Result<CodecSpec, String> {
    text.parse::<CodecSpec>().map_err(|error| error.to_string())
}

/// With the names as possible values: help, completions and the manual page then list what there is.
fn allocator() -> impl TypedValueParser<Value = Allocator> {
    let names = Allocator::ALL.iter().map(|allocator| allocator.name());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Allocator>())
}

fn fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(fraction) if fraction > 0.0 && fraction <= 1.0 => Ok(fraction),
        _ => Err("a sample is a fraction above 0 and at most 1, such as 0.05".to_owned()),
    }
}

/// The most that the kernel's `pid_max` can be set to.
const PROCESS_ID_MAX: u32 = 1 << 22;

fn process_id(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(number) if (1..=PROCESS_ID_MAX).contains(&number) => Ok(number),
        _ => Err(format!("a process has a whole number from 1 to {PROCESS_ID_MAX}")),
    }
}

fn threads(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse::<NonZeroUsize>() {
        Ok(threads) if threads.get() <= THREADS_MAX => Ok(threads),
        _ => Err(format!("the number of threads is 1 to {THREADS_MAX}")),
    }
}

/// Why parsing ended without a command: help was asked for, or the arguments are wrong.
#[derive(Debug)]
pub(crate) struct Stop(clap::Error);

impl Stop {
    /// Prints the help to stdout, or the mistake as one line to stderr.
    pub(crate) fn print(self) -> ExitCode {
        if self.0.use_stderr() {
            exit::complain(&one_line(&self.0));
            return Exit::Usage.into();
        }
        // A closed pipe is the reader's choice, not an error.
        let _ = self.0.print();
        let _ = std::io::stdout().flush();
        Exit::Success.into()
    }
}

/// clap explains over several paragraphs; the first one is the mistake.
fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing; try `pagefold estimate PATH..` or `pagefold --help`"
            .to_owned();
    }
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words = first.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}; see --help", words.strip_prefix("error: ").unwrap_or(&words))
}

/// Parses the arguments, the program's name first.
///
/// # Errors
/// [`Stop`] when help was asked for or the arguments are wrong.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Stop> {
    let cli = Cli::try_parse_from(args).map_err(Stop)?;
    match cli.command {
        CliCommand::Estimate(mut args) => {
            let output = Output { json: args.json, quiet: args.quiet };
            if let Some(path) = args.trace.take() {
                let named = !args.allocators.is_empty();
                let allocators = if named { args.allocators } else { Allocator::ALL.to_vec() };
                let limit = args.limit;
                return Ok(Command::Trace(TraceConfig { path, allocators, limit, output }));
            }
            let html = args.html.take();
            Ok(Command::Estimate { config: args.into_config()?, output, html })
        }
        CliCommand::Classes(args) => Ok(Command::Classes(args.into_config()?)),
        CliCommand::Torture(args) => Ok(Command::Torture(args.into_config()?)),
        CliCommand::Completions { shell } => Ok(Command::Completions(shell)),
        CliCommand::Man => Ok(Command::Man),
    }
}

/// The definitions of all commands and options, for whatever is made from them.
pub(crate) fn table() -> clap::Command {
    Cli::command()
}

impl EstimateArgs {
    fn into_config(self) -> Result<EstimateConfig, Stop> {
        let mut inputs = Vec::with_capacity(self.paths.len());
        for path in self.paths {
            let input = if path.as_os_str() == "-" { Input::Stdin } else { Input::Path(path) };
            // Standard input can be read once; a path given twice is found out by its inode.
            if input != Input::Stdin || !inputs.contains(&Input::Stdin) {
                inputs.push(input);
            }
        }
        inputs.extend(self.pids.into_iter().map(Input::Process));
        if self.all {
            inputs.push(Input::EveryProcess);
        }
        let codecs = if self.codecs.is_empty() { default_codecs()? } else { self.codecs };
        let allocators = match (self.allocators.is_empty(), self.lifecycle) {
            (false, _) => self.allocators,
            // What a packing makes of holes is what tells allocators apart.
            (true, true) => Allocator::ALL.to_vec(),
            (true, false) => vec![Allocator::ALL[0]],
        };
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
        })
    }
}

/// The default codecs; a build without one of them says so instead of measuring less than was documented.
fn default_codecs() -> Result<Vec<CodecSpec>, Stop> {
    let parse = |name: &&str| {
        codec(name).map_err(|text| Stop(clap::Error::raw(ErrorKind::ValueValidation, text)))
    };
    DEFAULT_CODECS.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(args: &[&str]) -> EstimateConfig {
        let args = ["pagefold", "estimate"].iter().chain(args).map(OsString::from);
        match parse(args).expect("these arguments are right") {
            Command::Estimate { config, .. } => config,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn clap_finds_no_contradiction_in_the_definitions() {
        table().debug_assert();
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = config(&["."]);
        assert_eq!(
            config.codecs.iter().map(ToString::to_string).collect::<Vec<_>>(),
            DEFAULT_CODECS
        );
        assert_eq!(config.allocators, [Allocator::Nbud]);
        assert_eq!((config.sampling, config.seed, config.threads.get()), (Sampling::Auto, 1, 1));
        assert_eq!((config.limit, config.lifecycle), (None, false));
    }

    #[test]
    fn a_lifecycle_compares_all_allocators_unless_some_are_named() {
        assert_eq!(config(&["--lifecycle", "."]).allocators, Allocator::ALL);
        for allocator in Allocator::ALL {
            let named = config(&["--lifecycle", "--allocator", allocator.name(), "."]);
            assert_eq!(named.allocators, [*allocator]);
        }
    }

    #[test]
    fn help_names_every_allocator() {
        let mut table = table();
        let estimate = table.find_subcommand_mut("estimate").expect("it is a command");
        let help = estimate.render_long_help().to_string();
        for allocator in Allocator::ALL {
            assert!(help.contains(allocator.name()), "`{allocator}` is missing:\n{help}");
        }
    }

    #[test]
    fn standard_input_counts_once() {
        let path = |name: &str| Input::Path(PathBuf::from(name));
        assert_eq!(config(&["-", "a", "-", "./-"]).inputs, [Input::Stdin, path("a"), path("./-")]);
    }

    #[test]
    fn processes_stand_instead_of_paths() {
        let processes = config(&["--pid", "7", "--maps", "--pid", "4194304"]);
        assert_eq!(processes.inputs, [Input::Process(7), Input::Process(1 << 22)]);
        assert!(processes.maps);
        assert_eq!(config(&["--all"]).inputs, [Input::EveryProcess]);
        for wrong in
            [&["--pid", "7", "."][..], &["--all", "."], &["--all", "--pid", "7"], &["--maps"]]
        {
            let args = ["pagefold", "estimate"].iter().chain(wrong).map(OsString::from);
            assert!(parse(args).is_err(), "{wrong:?}");
        }
        for text in ["0", "-1", "4194305", "4294967297", "1.5", "", "0x7", "self"] {
            assert!(process_id(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_sample_lies_above_0_and_at_most_at_1() {
        for text in ["0", "-0.0", "-0.5", "1.0000001", "NaN", "inf", "", "half"] {
            assert!(fraction(text).is_err(), "{text}");
        }
        assert_eq!(fraction("1"), Ok(1.0));
        assert_eq!(fraction("1e-9"), Ok(1e-9));
    }

    #[test]
    fn every_error_is_one_line() {
        for args in [
            &["pagefold"][..],
            &["pagefold", "estimate"],
            &["pagefold", "estimate", "--bogus", "x"],
            &["pagefold", "fold"],
        ] {
            let Err(Stop(error)) = parse(args.iter().map(OsString::from)) else {
                panic!("{args:?} is wrong")
            };
            let line = one_line(&error);
            assert!(!line.contains('\n') && line.len() > 20, "{line}");
        }
    }
}
