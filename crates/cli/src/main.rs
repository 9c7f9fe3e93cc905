//! The `pagefold` command: arguments become a typed configuration, the modules below do the work, and the outcome
//! becomes an exit code.
//!
//! | module | holds |
//! |---|---|
//! | [`args`] | the command line, and the configuration it becomes |
//! | [`mod@estimate`] | reading pages, storing them in pools, reading them back |
//! | [`mod@classes`] | the table of size classes |
//! | [`torture`], [`trace`] | stressing the allocators; measuring them on what was recorded |
//! | [`report`] | what was found, as JSON, as a table with a verdict, and as a page with charts |
//! | [`like`], [`files0`] | what the kernel's own compressed memory has; inputs from a list |
//! | [`completions`], [`man`] | what shells and `man` want, from the definitions of the arguments |
//! | [`interrupt`], [`progress`] | Ctrl-C and the progress bar |
//! | [`bytes`], [`mod@printable`], [`exit`] | byte sizes, text that is safe to print, exit codes |
#![forbid(unsafe_code)]

mod args;
mod bytes;
mod classes;
mod completions;
mod estimate;
mod exit;
mod files0;
mod interrupt;
mod like;
mod man;
mod printable;
mod progress;
mod report;
mod torture;
mod trace;

use std::{path::PathBuf, process::ExitCode};

use pagefold_sys::heap::ExitingAllocator;

use crate::{
    exit::{Exit, Failure},
    report::html::{Destination, Settings},
};

/// A failed allocation is an exit code with advice, not an abort.
#[global_allocator]
static ALLOCATOR: ExitingAllocator = ExitingAllocator::new("pagefold", exit::OUT_OF_MEMORY_ADVICE);

fn main() -> ExitCode {
    interrupt::outlive_file_limit();
    let command = match args::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(stop) => return stop.print(),
    };
    let ended = match command {
        args::Command::Estimate { config, output, html } => estimate(config, output, html),
        args::Command::Classes(config) => classes::run(&config),
        args::Command::Trace(config) => trace::estimate(&config),
        args::Command::Torture(config) => torture::run(config),
        args::Command::Completions(shell) => completions::print(shell, args::table()),
        args::Command::Man => man::print(args::table()),
    };
    ended.unwrap_or_else(Failure::print).into()
}

/// Measures, writes the page if one is wanted, and prints.
fn estimate(
    mut config: args::EstimateConfig,
    output: args::Output,
    html: Option<PathBuf>,
) -> Result<Exit, Failure> {
    config.inputs = files0::expand(config.inputs)?;
    let config = &config;
    // Before anything is measured: it may take an hour to find out otherwise.
    let html = html.map(|path| Destination::check(path, &config.inputs)).transpose()?;
    let mut report = estimate::measure(config, output)?;
    if let Some(destination) = html {
        let page = report::html::render(&report, &Settings::new(config, std::env::args_os()));
        if let Err(error) = destination.write(&page) {
            report.failure.get_or_insert(error.into());
        }
    }
    report::print(report, output)
}
