//! The command line: what clap parses, and the typed configuration it becomes. Nothing behind this module sees a
//! string that may still be wrong.

mod classes;
mod estimate;
mod estimate_help;
mod exclude;
mod torture;
mod values;

use std::{ffi::OsString, io::Write as _, num::NonZeroUsize, path::PathBuf, process::ExitCode};

use clap::{
    CommandFactory as _, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};
use clap_complete::Shell;
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
use self::{estimate::EstimateArgs, torture::TortureArgs, values::threads};

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
    if error.kind() == ErrorKind::MissingRequiredArgument && lacks(error, estimate::PATH) {
        return "no input; give a file, a directory, - for standard input, or a process, for example \
            `pagefold estimate /usr/lib` or `pagefold estimate --pid firefox`; see --help"
            .to_owned();
    }
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words = first.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}; see --help", words.strip_prefix("error: ").unwrap_or(&words))
}

/// Whether one of the arguments that are missing is called `name`.
fn lacks(error: &clap::Error, name: &str) -> bool {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => missing.iter().any(|text| text.contains(name)),
        _ => false,
    }
}

/// Parses the arguments, the program's name first.
///
/// # Errors
/// [`Stop`] when help was asked for or the arguments are wrong.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Stop> {
    let cli = Cli::try_parse_from(args).map_err(Stop)?;
    match cli.command {
        CliCommand::Estimate(args) => args.into_command(),
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

fn wrong(text: String) -> Stop {
    Stop(clap::Error::raw(ErrorKind::ValueValidation, text))
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
            estimate::DEFAULT_CODECS
        );
        assert_eq!(config.allocators, [Allocator::nbud()]);
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
