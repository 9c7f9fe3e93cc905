//! `cargo xtask bench`: the benchmarks, on the corpus if there is one.

use std::{env, process::ExitCode};

use clap::Args;

use crate::{
    error::XtaskError,
    workspace::{self, Workspace, cargo},
};

/// Where the benchmarks look for page files.
const CORPUS: &str = "PAGEFOLD_CORPUS";

/// The benchmarks of the workspace.
///
/// Packages with `peers` in their name build other allocators to compare with and run only when their benchmark is
/// named. PAGEFOLD_CORPUS is set to `corpus` in the root of the workspace where that exists, unless it is set already.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Only these benchmarks; by default all
    name: Vec<String>,
    /// Passed to the benchmarks: names to filter by, criterion's options
    #[arg(last = true, value_name = "ARGS")]
    bench: Vec<String>,
}

/// Runs the benchmarks.
pub(crate) fn run(arguments: &BenchArgs) -> Result<ExitCode, XtaskError> {
    let workspace = Workspace::load()?;
    let all = workspace.targets("bench");
    let chosen: Vec<&str> = match arguments.name.as_slice() {
        [] => all
            .iter()
            .filter(|(package, _)| !package.contains("peers"))
            .map(|&(_, bench)| bench)
            .collect(),
        names => workspace::choose(
            "benchmark",
            &all.iter().map(|&(_, bench)| bench).collect::<Vec<_>>(),
            names,
        )?,
    };
    if chosen.is_empty() {
        return Err(XtaskError::Nothing { what: "benchmark" });
    }
    for &(package, bench) in all.iter().filter(|(_, bench)| chosen.contains(bench)) {
        let mut command = cargo();
        command.args(["bench", "--package", package, "--bench", bench]);
        if !arguments.bench.is_empty() {
            command.arg("--").args(&arguments.bench);
        }
        let corpus = workspace.root.join("corpus");
        if env::var_os(CORPUS).is_none() && corpus.is_dir() {
            command.env(CORPUS, corpus);
        }
        workspace::run(command)?;
    }
    Ok(ExitCode::SUCCESS)
}
