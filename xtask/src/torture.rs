//! `cargo xtask torture`: `pagefold torture`, built with optimisation.

use std::process::ExitCode;

use clap::Args;

use crate::{
    error::XtaskError,
    workspace::{self, cargo},
};

/// `pagefold torture`, built with optimisation.
///
/// Everything is passed on; `cargo xtask torture --help` is the command's own. The exit code is the command's, or 101 when
/// it could not be built.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct TortureArgs {
    /// The arguments of `pagefold torture`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    words: Vec<String>,
}

/// Runs the stress.
pub(crate) fn run(arguments: &TortureArgs) -> Result<ExitCode, XtaskError> {
    let mut command = cargo();
    command.args(["run", "--release", "--package", "pagefold-cli", "--", "torture"]);
    command.args(&arguments.words);
    let status = workspace::status(command)?;
    // Without a code, a signal ended it.
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}
