//! The arguments of `pagefold bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use pagefold_region::FaultMode;

use crate::bench::{BenchConfig, MIB_MIN};

pub(super) const ABOUT: &str = "\
Measure what a program loses whose memory is compressed when cold.

Runs reads and writes in order, at random and skewed, a hash join and a sort on the bytes of a file: in memory, and in regions of \
which a half, a quarter and an eighth may be in memory.";

pub(super) const EXAMPLES: &str = "\
Examples:
  pagefold bench region --mib 64 heap.pages
      on 64 MiB of pages
  pagefold bench region --mode guard --busy heap.pages
      without userfaultfd, beside a busy thread";

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Memory that is compressed when cold
    #[command(after_help = EXAMPLES)]
    Region(RegionArgs),
}

#[derive(Debug, Args)]
struct RegionArgs {
    /// Its first bytes are the data
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How much of the file
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = mib)]
    mib: usize,
    /// How faults are served
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    mode: Mode,
    /// A second thread of the program is busy
    #[arg(long)]
    busy: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    Auto,
    Inline,
    Guard,
    Thread,
}

fn mib(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(mib) if (MIB_MIN..=1 << 20).contains(&mib) => Ok(mib),
        _ => Err(format!("a number of MiB, at least {MIB_MIN}")),
    }
}

impl BenchArgs {
    pub(super) fn into_config(self) -> BenchConfig {
        let What::Region(args) = self.what;
        let mode = match args.mode {
            Mode::Auto => FaultMode::Auto,
            Mode::Inline => FaultMode::Inline,
            Mode::Guard => FaultMode::Guard,
            Mode::Thread => FaultMode::Thread,
        };
        BenchConfig { file: args.file, mib: args.mib, mode, busy: args.busy }
    }
}
