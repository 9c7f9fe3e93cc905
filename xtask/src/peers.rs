//! `cargo xtask peers`: pool and store beside other allocators and the kernel's zram.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::{
    error::XtaskError,
    workspace::{self, Workspace, cargo},
};

/// Pool and store beside other allocators and the kernel's zram (`benches/peers`, a workspace of its own).
///
/// Page files come from `cargo xtask corpus`. What needs root or zram says what it skips.
#[derive(Debug, Args)]
pub(crate) struct PeersArgs {
    /// Which comparison
    #[arg(value_enum)]
    bench: Comparison,
    /// Passed on; by default the corpus in the root of the workspace
    #[arg(last = true, value_name = "ARGS")]
    words: Vec<String>,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Comparison {
    /// nbud beside the system's allocator, mimalloc and jemalloc
    Peers,
    /// The store beside zram: memory, all of it counted
    Store,
    /// Every packing beside zram: density over a life
    Zram,
}

/// Runs the comparison.
pub(crate) fn run(arguments: &PeersArgs) -> Result<ExitCode, XtaskError> {
    let root = Workspace::load()?.root;
    let name = match arguments.bench {
        Comparison::Peers => "peers",
        Comparison::Store => "store",
        Comparison::Zram => "zram",
    };
    let mut command = cargo();
    command.arg("bench").arg("--manifest-path").arg(root.join("benches/peers/Cargo.toml"));
    command.args(["--bench", name, "--"]);
    if arguments.words.is_empty() && arguments.bench != Comparison::Peers {
        command.arg(root.join("corpus"));
    }
    command.args(&arguments.words);
    workspace::run(command)?;
    Ok(ExitCode::SUCCESS)
}
