//! The `pagefold` command: arguments become a typed configuration, the modules below do the work, and the outcome
//! becomes an exit code.
//!
//! | module | holds |
//! |---|---|
//! | [`args`] | the command line, and the configuration it becomes |
//! | [`estimate`] | reading pages, storing them in pools, reading them back |
//! | [`report`] | what was found, as JSON and as a table with a verdict |
//! | [`interrupt`], [`progress`] | Ctrl-C and the progress bar |
//! | [`bytes`], [`exit`] | byte sizes and exit codes |
#![forbid(unsafe_code)]

mod args;
mod bytes;
mod estimate;
mod exit;
mod interrupt;
mod progress;
mod report;

use std::process::ExitCode;

fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(stop) => return stop.print(),
    };
    let args::Command::Estimate { config, output } = command;
    let exit = match estimate::measure(&config, output) {
        Ok(report) => report::print(report, output).unwrap_or_else(exit::Failure::print),
        Err(failure) => failure.print(),
    };
    exit.into()
}
