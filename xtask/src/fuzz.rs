//! `cargo xtask fuzz`: runs the fuzz targets; installs cargo-fuzz if missing.

use std::process::{Command, ExitCode, Stdio};

use clap::Args;

use crate::{
    error::XtaskError,
    workspace::{self, Workspace, cargo},
};

/// The fuzz targets in `fuzz/`, one after another or one alone.
#[derive(Debug, Args)]
pub(crate) struct FuzzArgs {
    /// One target; by default all
    target: Option<String>,
    /// The allocator that `pool_ops` uses; by default each input chooses one
    #[arg(long, value_name = "NAME")]
    allocator: Option<String>,
    /// How long to run each
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
}

pub(crate) fn run(arguments: &FuzzArgs) -> Result<ExitCode, XtaskError> {
    let workspace = Workspace::load()?;
    if !workspace.root.join("fuzz/Cargo.toml").is_file() {
        return Err(XtaskError::Nothing { what: "fuzz/Cargo.toml" });
    }
    install()?;
    let mut list = cargo_fuzz(&workspace);
    list.arg("list");
    let known = workspace::output(list)?;
    let known: Vec<&str> = known.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    for target in workspace::choose("fuzz target", &known, arguments.target.as_slice())? {
        let mut command = cargo_fuzz(&workspace);
        command.args(["run", target, "--", &format!("-max_total_time={}", arguments.seconds)]);
        if let Some(allocator) = &arguments.allocator {
            command.env("PAGEFOLD_FUZZ_ALLOCATOR", allocator);
        }
        workspace::run(command)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn cargo_fuzz(workspace: &Workspace) -> Command {
    let mut command = cargo();
    // libFuzzer's coverage counters are an unstable option of the compiler.
    command.arg("fuzz").current_dir(&workspace.root).env("RUSTC_BOOTSTRAP", "1");
    // cargo-fuzz turns AddressSanitizer on.
    command.env("CFLAGS", workspace::flags("CFLAGS", workspace::ASAN_C_FLAGS));
    command
}

fn install() -> Result<(), XtaskError> {
    let quiet =
        cargo().args(["fuzz", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if quiet.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    let mut command = cargo();
    command.args(["install", "--locked", "cargo-fuzz"]);
    workspace::run(command)
}
