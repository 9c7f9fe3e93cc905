//! `cargo xtask long-run`: tests that are short beside each change, for as long as one asks.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::{
    error::XtaskError,
    workspace::{self, cargo},
};

/// Long forms of tests, one after another: each byte verified, memory and limits watched.
///
/// Exit code 1 when one fails; the others still run.
#[derive(Debug, Args)]
pub(crate) struct LongRunArgs {
    /// Which
    #[arg(value_enum, required = true)]
    tests: Vec<LongTest>,
    /// How long each takes; what refuses memory at every request takes what it takes
    #[arg(long, value_name = "N", default_value_t = 1200, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LongTest {
    /// A store with all tiers, spaces that come and go, limits that change: its memory stays flat
    Soak,
    /// The same with a backing, and ten times more data than memory
    SoakSpill,
    /// The same with bases that come and go
    SoakBases,
    /// Reads in signal handlers that interrupt every method of a store at random instants
    Signals,
    /// Memory refused at the k-th request, for every k, in the models of the store
    RefusedMemory,
    /// A region in inline mode under threads that read, write, pin, advise and fork
    RegionInline,
    /// The same in guard mode
    RegionGuard,
    /// The same in thread mode
    RegionThread,
}

/// How a test is run.
struct Run {
    package: &'static str,
    target: &'static str,
    filter: &'static [&'static str],
    seconds: Option<&'static str>,
    variables: &'static [(&'static str, &'static str)],
}

const SOAK_SECONDS: Option<&str> = Some("PAGEFOLD_SOAK_SECONDS");

impl LongTest {
    fn run(self) -> Run {
        let store = |target, filter, seconds| Run {
            package: "pagefold-store",
            target,
            filter,
            seconds,
            variables: &[],
        };
        let region = |variables| Run {
            package: "pagefold-region",
            target: "suite",
            filter: &["stress"],
            seconds: Some("PAGEFOLD_REGION_SECONDS"),
            variables,
        };
        match self {
            Self::Soak => store("soak", &["--exact", "memory_stays_flat"], SOAK_SECONDS),
            Self::SoakSpill => {
                store("soak", &["--exact", "memory_stays_flat_with_a_backing"], SOAK_SECONDS)
            }
            Self::SoakBases => {
                store("soak", &["--exact", "memory_stays_flat_with_bases"], SOAK_SECONDS)
            }
            Self::Signals => store("signal", &[], Some("PAGEFOLD_SIGNAL_SECONDS")),
            Self::RefusedMemory => Run {
                variables: &[("PAGEFOLD_EVERY_FAULT", "1")],
                ..store("suite", &["model::", "every_form::"], None)
            },
            Self::RegionInline => region(&[("PAGEFOLD_REGION_MODE", "inline")]),
            Self::RegionGuard => region(&[("PAGEFOLD_REGION_MODE", "guard")]),
            Self::RegionThread => region(&[("PAGEFOLD_REGION_MODE", "thread")]),
        }
    }
}

pub(crate) fn run(arguments: &LongRunArgs) -> Result<ExitCode, XtaskError> {
    let mut failed = false;
    for test in &arguments.tests {
        let run = test.run();
        let mut command = cargo();
        command.args(["test", "--release", "--package", run.package, "--test", run.target, "--"]);
        command.args(run.filter).arg("--nocapture").envs(run.variables.iter().copied());
        if let Some(variable) = run.seconds {
            command.env(variable, arguments.seconds.to_string());
        }
        failed |= !workspace::status(command)?.success();
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
