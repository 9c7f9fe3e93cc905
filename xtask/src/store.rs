//! `cargo xtask store`: the long forms of the tests of the store.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::{
    error::XtaskError,
    workspace::{self, cargo},
};

/// The long forms of the tests of the store: a soak, reads in signal handlers, every fault.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// Which test
    #[arg(value_enum)]
    test: Test,
    /// How long; by default 600 for the soak and 60 for signals. Faults take as long as they take
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    seconds: Option<u32>,
}

/// A test that can take as long as it is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Test {
    /// Spaces that come and go under limits that change; memory stays flat
    Soak,
    /// `try_get` in a handler that interrupts everything else
    Signal,
    /// Each k-th refusal of memory and failure of the codec, once and from then on, against the model
    Faults,
}

/// Runs the test, built with optimisation.
pub(crate) fn run(arguments: &StoreArgs) -> Result<ExitCode, XtaskError> {
    let (binary, filter, variable, seconds) = match arguments.test {
        Test::Soak => ("soak", "", "PAGEFOLD_SOAK_SECONDS", 600),
        Test::Signal => ("signal", "", "PAGEFOLD_SIGNAL_SECONDS", 60),
        Test::Faults => ("suite", "model::", "PAGEFOLD_EVERY_FAULT", 1),
    };
    let seconds = arguments.seconds.unwrap_or(seconds);
    let mut command = cargo();
    command.args(["test", "--release", "--package", "pagefold-store", "--test", binary, filter]);
    command.args(["--", "--nocapture"]).env(variable, seconds.to_string());
    workspace::run(command)?;
    Ok(ExitCode::SUCCESS)
}
