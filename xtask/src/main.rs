//! The developer commands of pagefold: `cargo xtask COMMAND`.
//!
//! Each command prints what it runs, so that it can be run by hand as well. The exit code is 0 when everything was
//! done, 1 when something failed, 2 for wrong arguments, 130 after Ctrl-C; where a command has more to say with it, its help says so.

#![forbid(unsafe_code)]

mod api;
mod bench;
mod compare;
mod corpus;
mod error;
mod evidence;
mod fuzz;
mod loom;
mod peers;
mod sanitize;
mod store;
mod torture;
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
    Bench(bench::BenchArgs),
    Compare(compare::CompareArgs),
    Peers(peers::PeersArgs),
    Loom(loom::LoomArgs),
    Torture(torture::TortureArgs),
    Fuzz(fuzz::FuzzArgs),
    Sanitize(sanitize::SanitizeArgs),
    Store(store::StoreArgs),
}

impl Task {
    fn run(&self) -> Result<ExitCode, XtaskError> {
        match self {
            Self::Api(arguments) => api::run(arguments),
            Self::Corpus(arguments) => corpus::run(arguments),
            Self::Evidence(arguments) => evidence::run(arguments),
            Self::Bench(arguments) => bench::run(arguments),
            Self::Compare(arguments) => compare::run(arguments),
            Self::Peers(arguments) => peers::run(arguments),
            Self::Loom(arguments) => loom::run(arguments),
            Self::Torture(arguments) => torture::run(arguments),
            Self::Fuzz(arguments) => fuzz::run(arguments),
            Self::Sanitize(arguments) => sanitize::run(arguments),
            Self::Store(arguments) => store::run(arguments),
        }
    }
}

fn main() -> ExitCode {
    Cli::parse().command.run().unwrap_or_else(|error| {
        eprintln!("xtask: {error}");
        match error {
            // What a shell says of a program that SIGINT ended.
            XtaskError::Interrupted => ExitCode::from(130),
            _ => ExitCode::FAILURE,
        }
    })
}
