//! pagefold's developer commands: `cargo xtask COMMAND`. Single calls of cargo are aliases in `.cargo/config.toml`.
//!
//! Each command prints what it runs. Exit codes: 0 success, 1 failure, 2 wrong arguments, 130 Ctrl-C; a command's
//! help lists its other codes.

#![forbid(unsafe_code)]

mod api;
mod compare;
mod corpus;
mod error;
mod evidence;
mod fuzz;
mod long_run;
mod loom;
mod sanitize;
mod sqlite_speed;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::XtaskError;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    about = "The developer commands of pagefold",
    disable_version_flag = true
)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Api(api::ApiArgs),
    Corpus(corpus::CorpusArgs),
    Evidence(evidence::EvidenceArgs),
    Compare(compare::CompareArgs),
    Loom(loom::LoomArgs),
    LongRun(long_run::LongRunArgs),
    Fuzz(fuzz::FuzzArgs),
    Sanitize(sanitize::SanitizeArgs),
    SqliteSpeed(sqlite_speed::SqliteSpeedArgs),
}

impl Task {
    fn run(&self) -> Result<ExitCode, XtaskError> {
        match self {
            Self::Api(arguments) => api::run(arguments),
            Self::Corpus(arguments) => corpus::run(arguments),
            Self::Evidence(arguments) => evidence::run(arguments),
            Self::Compare(arguments) => compare::run(arguments),
            Self::Loom(arguments) => loom::run(arguments),
            Self::LongRun(arguments) => long_run::run(arguments),
            Self::Fuzz(arguments) => fuzz::run(arguments),
            Self::Sanitize(arguments) => sanitize::run(arguments),
            Self::SqliteSpeed(arguments) => sqlite_speed::run(arguments),
        }
    }
}

fn main() -> ExitCode {
    Cli::parse().command.run().unwrap_or_else(|error| {
        eprintln!("xtask: {error}");
        match error {
            // The shell's exit code after SIGINT.
            XtaskError::Interrupted => ExitCode::from(130),
            _ => ExitCode::FAILURE,
        }
    })
}
