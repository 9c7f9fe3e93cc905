//! `cargo xtask loom`: the loom models, which walk through all interleavings of a few threads.

use std::{env, process::ExitCode};

use clap::Args;

use crate::{
    error::XtaskError,
    workspace::{self, Workspace, cargo},
};

/// The name of the test target that holds a package's models.
const TARGET: &str = "loom";
const PREEMPTIONS: &str = "LOOM_MAX_PREEMPTIONS";
/// Compaction against lookup has so many steps that an unbounded search does not end. With two preemptions all models
/// take about a minute, with three some ten times as long.
const POOL_PREEMPTIONS: &str = "2";
/// Of three threads at two slots an unbounded search takes a minute, one with four preemptions two seconds.
const CODEC_PREEMPTIONS: &str = "4";
/// The store's models have the pool below them: with one preemption they take 12 s, with two ten minutes.
const STORE_PREEMPTIONS: &str = "1";

/// The loom models of all packages that have some.
///
/// They are built into a target directory of their own. LOOM_MAX_PREEMPTIONS is passed on; unless it is set it is 2 for
/// pagefold-pool, 4 for pagefold-codec and 1 for pagefold-store. The other LOOM_ variables work as well.
#[derive(Debug, Args)]
pub(crate) struct LoomArgs {
    /// Only these packages
    #[arg(long, short, value_name = "NAME")]
    package: Vec<String>,
    /// Passed to the test programs: names to filter by, `--nocapture`
    #[arg(last = true, value_name = "ARGS")]
    test: Vec<String>,
}

/// Runs the models.
pub(crate) fn run(arguments: &LoomArgs) -> Result<ExitCode, XtaskError> {
    let workspace = Workspace::load()?;
    let with_models: Vec<&str> = workspace
        .targets("test")
        .into_iter()
        .filter(|&(_, target)| target == TARGET)
        .map(|(package, _)| package)
        .collect();
    let packages = workspace::choose("package with loom models", &with_models, &arguments.package)?;
    for package in packages {
        let mut command = cargo();
        command.args(["test", "--release", "--package", package, "--test", TARGET]);
        if !arguments.test.is_empty() {
            command.arg("--").args(&arguments.test);
        }
        command
            .env("RUSTFLAGS", workspace::flags("RUSTFLAGS", "--cfg loom"))
            .env("CARGO_TARGET_DIR", workspace.target.join("loom"))
            // A model says itself where it was; lines only take time to build.
            .env("CARGO_PROFILE_RELEASE_DEBUG", "0");
        if env::var_os(PREEMPTIONS).is_none() {
            match package {
                "pagefold-pool" => _ = command.env(PREEMPTIONS, POOL_PREEMPTIONS),
                "pagefold-codec" => _ = command.env(PREEMPTIONS, CODEC_PREEMPTIONS),
                "pagefold-store" => _ = command.env(PREEMPTIONS, STORE_PREEMPTIONS),
                _ => {}
            }
        }
        workspace::run(command)?;
    }
    Ok(ExitCode::SUCCESS)
}
