//! The `pagefold` command: arguments, typed configuration, command, exit code.
//!
//! | module | holds |
//! |---|---|
//! | [`args`], [`command`] | the command line |
//! | [`mod@estimate`] | measuring pages in pools |
//! | [`allocators`] | size classes, stress, traces |
//! | [`spill`] | the program for services |
//! | [`mod@bench`] | workloads in a region |
//! | [`doctor`] | what of a region this machine allows |
//! | [`completions`], [`man`] | shell scripts and the manual page |
//! | [`interrupt`], [`progress`], [`console`] | Ctrl-C, the progress bar, output |
//! | [`exit`] | exit codes |
//! | [`bytes`], [`numbers`], [`columns`], [`mod@printable`] | figures and text |
#![forbid(unsafe_code)]

mod allocators;
mod args;
mod bench;
mod bytes;
mod columns;
mod command;
mod completions;
mod console;
mod doctor;
mod estimate;
mod exit;
mod interrupt;
mod man;
mod numbers;
mod printable;
mod progress;
mod spill;

use std::{fmt::Display, process::ExitCode};

use pagefold_sys::heap::ExitingAllocator;

use crate::{
    allocators::{classes, torture, trace},
    command::Command,
    exit::Exit,
};

/// A failed allocation ends with an exit code and advice, without an abort.
#[global_allocator]
static ALLOCATOR: ExitingAllocator =
    ExitingAllocator::new("pagefold", estimate::error::OUT_OF_MEMORY_ADVICE);

fn main() -> ExitCode {
    interrupt::outlive_file_limit();
    let command = match args::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(stop) => return stop.print(),
    };
    let exit = match command {
        Command::Estimate { config, output, html } => end(estimate::run(config, output, html)),
        Command::Classes(config) => end(classes::run(&config)),
        Command::Trace(config) => end(trace::run(&config)),
        Command::Torture(config) => end(torture::run(config)),
        Command::Spill(args) => end(spill::run(&args).map(|never| match never {})),
        Command::Bench(config) => end(bench::run(&config)),
        Command::Swapped(config) => end(bench::swapped::run(&config)),
        Command::Doctor => end(doctor::run()),
        Command::Completions(shell) => end(completions::print(shell, args::table())),
        Command::Man => end(man::print(args::table())),
    };
    exit.into()
}

/// Prints an error as one line on stderr.
fn end<E: Display>(ended: Result<Exit, E>) -> Exit
where
    for<'e> Exit: From<&'e E>,
{
    ended.unwrap_or_else(|error| {
        console::complain(&error.to_string());
        Exit::from(&error)
    })
}
