//! The command line: what clap parses, and the typed configuration it becomes. Nothing behind this module sees a
//! string that may still be wrong.

mod classes;
mod estimate_help;
mod exclude;
mod torture;
mod values;

use std::{ffi::OsString, io::Write as _, num::NonZeroUsize, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueHint, error::ErrorKind};
use clap_complete::Shell;
use globset::Glob;
use pagefold_pool::Allocator;

pub(crate) use self::{
    classes::{ClassesConfig, Lengths},
    exclude::Exclude,
    values::CodecChoice,
};
use crate::{
    bytes,
    exit::{self, Exit},
    like::Like,
    trace::TraceConfig,
};

pub(crate) use self::torture::{CanaryKind, Length, Subject, TortureConfig};
use self::{
    torture::TortureArgs,
    values::{ProcessChoice, allocator, codec, fraction, process, seed, takes_dictionary, threads},
};

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
    #[command(long_about = estimate_help::ABOUT, after_long_help = estimate_help::REMARKS, after_help = "Examples, columns and exit codes: pagefold estimate --help")]
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
  pagefold estimate /usr/lib       what would these files take?
  pagefold estimate --like zram .  what would zram save me?
  pagefold estimate --pid firefox  a running program
  pagefold estimate --html r.html --lifecycle .
                                   charts, and the life of a pool
  pagefold classes --chain 4       size classes and their density
  pagefold torture --seconds 60    do the allocators stand up to it?
  pagefold completions bash        a script for the shell
  pagefold man | man -l -          the manual page";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  cd ~/.local/share/bash-completion/completions
  pagefold completions bash > pagefold
      for bash
  pagefold completions fish > ~/.config/fish/completions/pagefold.fish
      for fish
  pagefold completions zsh > DIR/_pagefold
      for zsh; DIR is one of its $fpath";

const MAN_EXAMPLES: &str = "\
Examples:
  pagefold man | man -l -
      read it
  pagefold man > ~/.local/share/man/man1/pagefold.1";

#[derive(Debug, Args)]
struct EstimateArgs {
    /// Files, directories (with all below them), or - for standard input; a core file is read as the process that it was
    #[arg(value_name = "PATH", required_unless_present_any = ["pids", "cgroups", "all", "trace", "files0_from"], value_hint = ValueHint::AnyPath)]
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
            "maps", "codecs", "dictionary", "like", "sample", "threads", "lifecycle", "html"])]
    trace: Option<PathBuf>,

    /// Show each mapping of a process or core file by itself: heap, stacks, arenas
    #[arg(long)]
    maps: bool,

    /// What would the kernel's own compressed memory save? zsmalloc, and the codecs that this kernel has
    #[arg(long, value_name = "KERNEL", value_enum, conflicts_with = "allocators")]
    like: Option<Like>,

    /// A codec to measure: lz4, zstd (level 3), zstd:LEVEL with a level of -7 to 19, the same with +dict behind it for a
    /// dictionary, or raw; may be repeated [default: lz4, zstd:-1, zstd:1]
    #[arg(long = "codec", value_name = "CODEC", value_parser = codec)]
    codecs: Vec<CodecChoice>,

    /// Measure each zstd codec with a dictionary as well, trained from some of the pages
    #[arg(long)]
    dictionary: bool,

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
        let codecs = self.codecs()?;
        let allocators = match (self.allocators.is_empty(), self.like, self.lifecycle) {
            (false, ..) => self.allocators,
            (true, Some(like), _) => vec![like.allocator()],
            // What a packing makes of holes is what tells allocators apart.
            (true, None, true) => Allocator::ALL.to_vec(),
            (true, None, false) => vec![Allocator::ALL[0]],
        };
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

fn wrong(text: String) -> Stop {
    Stop(clap::Error::raw(ErrorKind::ValueValidation, text))
}

/// The default codecs; a build without one of them says so instead of measuring less than was documented.
fn default_codecs() -> Result<Vec<CodecChoice>, Stop> {
    DEFAULT_CODECS.iter().map(|name| codec(name).map_err(wrong)).collect()
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
        for wrong in [
            &["--pid", "7", "."][..],
            &["--all", "."],
            &["--all", "--pid", "7"],
            &["--maps"],
            &["--shared", "."],
        ] {
            let args = ["pagefold", "estimate"].iter().chain(wrong).map(OsString::from);
            assert!(parse(args).is_err(), "{wrong:?}");
        }
        let named = config(&["--pid", "redis-server", "--cgroup", "/a", "--shared"]);
        let name = Input::ProcessName("redis-server".to_owned());
        assert_eq!(named.inputs, [name, Input::Cgroup("/a".into())]);
        assert!(named.shared);
    }

    #[test]
    fn a_dictionary_is_measured_beside_each_codec_that_takes_one() {
        let names =
            |args: &[&str]| config(args).codecs.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            names(&["--dictionary", "."]),
            ["lz4", "zstd:-1", "zstd:-1+dict", "zstd:1", "zstd:1+dict"]
        );
        assert_eq!(names(&["--codec", "zstd:3+dict", "."]), ["zstd:3+dict"]);
        let args =
            ["pagefold", "estimate", "--dictionary", "--codec", "lz4", "."].map(OsString::from);
        assert!(parse(args).is_err(), "nothing takes one");
    }

    #[test]
    fn no_remark_is_too_long_for_a_page_of_the_manual() {
        let table = table();
        for command in std::iter::once(&table).chain(table.get_subcommands()) {
            let remarks = command.get_after_long_help().or_else(|| command.get_after_help());
            let remarks = remarks.map(ToString::to_string).unwrap_or_default();
            for line in remarks.lines().filter(|line| line.starts_with(' ')) {
                assert!(line.chars().count() <= 71, "{}: {line}", command.get_name());
            }
        }
    }

    #[test]
    fn every_column_of_the_tables_is_explained() {
        let headings = crate::report::headings();
        let told = |heading: &&str| !["p99", "mean", "process", "mapping"].contains(heading);
        for heading in headings.into_iter().filter(told) {
            let line = format!("\n  {} ", heading.trim_end_matches(" p50"));
            assert!(estimate_help::REMARKS.contains(&line), "`{heading}` is not explained");
        }
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
