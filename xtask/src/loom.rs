//! `cargo xtask loom`: the loom models.

use std::process::ExitCode;

use clap::Args;

use crate::{
    error::XtaskError,
    workspace::{self, Workspace, cargo},
};

const TARGET: &str = "loom";

/// The loom models of all packages that have some.
///
/// They are built into a target directory of their own. LOOM_MAX_PREEMPTIONS is passed on; unless it is set the models of
/// each package have a bound of their own. The other LOOM_ variables work as well.
#[derive(Debug, Args)]
pub(crate) struct LoomArgs {
    /// Only these packages
    #[arg(long, short, value_name = "NAME")]
    package: Vec<String>,
    /// Passed to the test programs: names to filter by, `--nocapture`
    #[arg(last = true, value_name = "ARGS")]
    test: Vec<String>,
}

pub(crate) fn run(arguments: &LoomArgs) -> Result<ExitCode, XtaskError> {
    let workspace = Workspace::load()?;
    let with_models: Vec<&str> = workspace
        .targets("test")
        .into_iter()
        .filter(|&(_, target)| target == TARGET)
        .map(|(package, _)| package)
        .collect();
    let packages = workspace::choose("package with loom models", &with_models, &arguments.package)?;
    // One cargo call: shared dependencies are built once, with the same features.
    let mut command = cargo();
    command.args(["test", "--release", "--test", TARGET]);
    for package in packages {
        command.args(["--package", package]);
    }
    if !arguments.test.is_empty() {
        command.arg("--").args(&arguments.test);
    }
    command
        .env("RUSTFLAGS", workspace::flags("RUSTFLAGS", "--cfg loom"))
        .env("CARGO_TARGET_DIR", workspace.target.join("loom"))
        // A model reports its own position; debug lines only slow the build.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    workspace::run(command)?;
    Ok(ExitCode::SUCCESS)
}
