//! `cargo xtask torture`: the model-checked stress of the pools, built with optimisation.

use std::process::ExitCode;

use clap::Args;

use crate::{
    error::XtaskError,
    workspace::{self, cargo},
};

/// Model-checked stress of the pools.
///
/// What is not given is left to the program's own default. The exit code is the program's: 0 each pool passed; 1 one did
/// something wrong; 2 bad arguments; 3 deadlock; 101 it could not be built. With --canary the pools are faulty on
/// purpose, so 1 is what a working check ends with: every run has noticed.
#[derive(Debug, Args)]
pub(crate) struct TortureArgs {
    /// How long to run; `--allocator all` shares it
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Stop each run after this many operations instead
    #[arg(long, value_name = "N")]
    ops: Option<u64>,
    /// The seed that everything follows from; a failure prints it
    #[arg(long, value_name = "S")]
    seed: Option<String>,
    /// How many threads
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// The allocator, or `all` for all of them one after another
    #[arg(long, value_name = "NAME")]
    allocator: Option<String>,
    /// The pool's limit
    #[arg(long, value_name = "BYTES")]
    limit: Option<String>,
    /// Plant a fault: the run must fail
    #[arg(long)]
    canary: bool,
}

impl TortureArgs {
    /// The arguments of the program.
    fn to_words(&self) -> Vec<String> {
        let values = [
            ("--seconds", self.seconds.map(|value| value.to_string())),
            ("--ops", self.ops.map(|value| value.to_string())),
            ("--seed", self.seed.clone()),
            ("--threads", self.threads.map(|value| value.to_string())),
            ("--allocator", self.allocator.clone()),
            ("--limit", self.limit.clone()),
        ];
        let pairs = values.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?]));
        pairs.flatten().chain(self.canary.then(|| "--canary".to_owned())).collect()
    }
}

/// Runs the stress.
pub(crate) fn run(arguments: &TortureArgs) -> Result<ExitCode, XtaskError> {
    let mut command = cargo();
    command.args(["run", "--release", "--package", "pagefold-testkit", "--bin", "torture", "--"]);
    command.args(arguments.to_words());
    let status = workspace::status(command)?;
    // Without a code, a signal ended it.
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_given_is_passed_on() {
        let nothing = TortureArgs {
            seconds: None,
            ops: None,
            seed: None,
            threads: None,
            allocator: None,
            limit: None,
            canary: false,
        };
        assert!(nothing.to_words().is_empty());
        let some =
            TortureArgs { seconds: Some(30), seed: Some("0x1f".into()), canary: true, ..nothing };
        assert_eq!(some.to_words(), ["--seconds", "30", "--seed", "0x1f", "--canary"]);
    }
}
