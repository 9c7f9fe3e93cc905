//! The command that the arguments request.

use std::{ffi::OsString, path::PathBuf};

use clap_complete::Shell;

use crate::{
    allocators::{classes::ClassesConfig, torture::config::TortureConfig, trace::TraceConfig},
    bench::{config::BenchConfig, swapped::SwappedConfig},
    console::Output,
    estimate::config::EstimateConfig,
};

#[derive(Debug)]
pub(crate) enum Command {
    /// `html`: the path of an additional report.
    Estimate { config: EstimateConfig, output: Output, html: Option<PathBuf> },
    /// Print a table of size classes and what it comes to.
    Classes(ClassesConfig),
    /// Measure what the allocators make of a trace.
    Trace(TraceConfig),
    /// Stress the allocators.
    Torture(TortureConfig),
    /// Become `pagefold-spill`, with these arguments.
    Spill(Vec<OsString>),
    /// Measure workloads in a region.
    Bench(BenchConfig),
    /// Run a workload whose memory the kernel swaps, for the bench.
    Swapped(SwappedConfig),
    /// Say what of a region works here.
    Doctor,
    /// Print the completions of a shell.
    Completions(Shell),
    /// Print the manual page.
    Man,
}
