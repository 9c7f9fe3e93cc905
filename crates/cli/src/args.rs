//! The command line: clap parses it into a typed configuration. Later modules see no unvalidated string.

mod bench;
mod classes;
mod estimate;
mod estimate_help;
mod spill;
mod stop;
mod torture;
mod values;

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use self::{estimate::EstimateArgs, stop::Stop, torture::TortureArgs};
use crate::{command::Command, exit::CODES};

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
    #[command(long_about = estimate_help::ABOUT, after_long_help = remarks(estimate_help::REMARKS, estimate_help::MORE), after_help = "Examples, columns and exit codes: pagefold estimate --help")]
    Estimate(EstimateArgs),
    /// Print a table of size classes, and the density that it would have
    #[command(long_about = classes::ABOUT, after_long_help = remarks(classes::EXAMPLES, classes::MORE), after_help = "Examples and exit codes: pagefold classes --help")]
    Classes(classes::ClassesArgs),
    /// Torture the allocators: stress with compaction, migration and faults, every byte verified
    #[command(long_about = torture::ABOUT, after_long_help = remarks(torture::EXAMPLES, torture::MORE), after_help = "Examples and exit codes: pagefold torture --help")]
    Torture(TortureArgs),
    /// Remove spilled pages that dead stores left in a service (runs `pagefold-spill`)
    #[command(long_about = spill::ABOUT, after_long_help = remarks(spill::EXAMPLES, spill::MORE), after_help = "Examples and exit codes: pagefold spill --help")]
    Spill(spill::SpillArgs),
    /// Measure what a program loses whose memory is compressed when cold
    #[command(long_about = bench::ABOUT, after_long_help = remarks(bench::EXAMPLES, bench::MORE), after_help = "Examples and exit codes: pagefold bench --help")]
    Bench(bench::BenchArgs),
    /// Say how memory regions work on this machine, and what would change it
    #[command(long_about = DOCTOR_ABOUT, after_help = DOCTOR_EXAMPLES)]
    Doctor,
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
  pagefold spill gc redis://host   what dead stores left in a service
  pagefold bench region heap       a program on compressed memory
  pagefold doctor                  can memory regions be used here?
  pagefold completions bash        a script for the shell
  pagefold man | man -l -          the manual page";

/// The long help after the options.
fn remarks(examples: &str, more: &str) -> String {
    format!("{examples}\n\n{CODES}\n\n{more}")
}

const DOCTOR_ABOUT: &str = "\
Say how memory regions work on this machine, and what would change it.

Tries each way to serve page faults in a child process, because a filter of system calls may kill instead of refusing: one line \
each, with what is needed where one does not work. docs/REGION.md has what they mean.";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  pagefold doctor
      on this machine, as this user
  docker run --rm -v .:/mnt IMAGE /mnt/pagefold doctor
      in a container";

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

/// Parses the arguments, the program's name first. [`Stop`] on a request for help or wrong arguments.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Stop> {
    let cli = Cli::try_parse_from(args).map_err(Stop)?;
    match cli.command {
        CliCommand::Estimate(args) => args.into_command(),
        CliCommand::Classes(args) => Ok(Command::Classes(args.into_config()?)),
        CliCommand::Torture(args) => Ok(Command::Torture(args.into_config()?)),
        CliCommand::Spill(args) => Ok(Command::Spill(args.args)),
        CliCommand::Bench(args) => Ok(args.into_command()),
        CliCommand::Doctor => Ok(Command::Doctor),
        CliCommand::Completions { shell } => Ok(Command::Completions(shell)),
        CliCommand::Man => Ok(Command::Man),
    }
}

pub(crate) fn table() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests;
