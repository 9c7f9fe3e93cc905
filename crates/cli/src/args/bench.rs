//! The arguments of `pagefold bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use pagefold_codec::CodecSpec;
use pagefold_region::FaultMode;

use crate::{
    bench::{
        config::{BenchConfig, MIB_MIN, Pattern, Share},
        swapped::SwappedConfig,
    },
    command::Command,
    console::Output,
};

pub(super) const ABOUT: &str = "\
Measure what a program loses whose memory is compressed when cold.

Runs reads and writes in order, at random and by Zipf's law, a hash join and a sort: in memory, in regions of which a half, a \
quarter and an eighth may be in memory, and, as root, on memory that the kernel swaps to a zram device of the bench's own under \
the same limits. Every answer is compared, and the data that each run left.";

pub(super) const EXAMPLES: &str = "\
Examples:
  pagefold bench region
      on 64 MiB of the generated corpus
  pagefold bench region --quick
      in a few seconds
  pagefold bench region --mib 256 heap.pages more.pages
      on the first 256 MiB of files
  pagefold bench region --pattern zipf --limit 1/3 --busy no
      one pattern, one limit, one thread
  pagefold bench region --codec lz4
      with the codec of the peer
  pagefold bench region --mode guard --zram none --json
      without userfaultfd and without the peer";

pub(super) const MORE: &str = "\
The peer needs root, a zram device that can be added, and a memory cgroup; a figure without them is `skipped`, with the reason, \
and the exit code is still 0. The device and its swap are taken away at the end, after an error, and on Ctrl-C; meanwhile the \
whole machine may swap to it. A wrong answer ends the command with exit code 4.";

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Memory that is compressed when cold
    #[command(after_long_help = super::remarks(EXAMPLES, MORE), after_help = "Examples and exit codes: pagefold bench region --help")]
    Region(RegionArgs),
    /// The process that `region` starts to be swapped
    #[command(hide = true)]
    Swapped(SwappedArgs),
}

#[derive(Debug, Args)]
struct RegionArgs {
    /// Their first bytes are the data [default: the generated corpus]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// How much data, in MiB [default: 64; 8 with --quick]
    #[arg(long, value_name = "MIB", value_parser = mib)]
    mib: Option<usize>,
    /// How much of the data may be in memory, such as 1/4; may be repeated [default: 1/2, 1/4 and 1/8; 1/4 with --quick]
    #[arg(long, value_name = "SHARE")]
    limit: Vec<Share>,
    /// Only this pattern; may be repeated
    #[arg(long, value_enum)]
    pattern: Vec<Pattern>,
    /// How faults are served
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    mode: Mode,
    /// What regions compress with [default: what a store compresses with, `balanced`]
    #[arg(long, value_name = "CODEC")]
    codec: Option<CodecSpec>,
    /// Whether a second thread is busy; both: two tables [default: both; no with --quick]
    #[arg(long, value_enum)]
    busy: Option<Busy>,
    /// How the peer compresses, as zram names it, or none for no peer
    #[arg(long, value_name = "ALGORITHM", default_value = "lz4")]
    zram: String,
    /// Little data, one limit, one thread
    #[arg(long)]
    quick: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct SwappedArgs {
    workload: String,
    words: usize,
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

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Busy {
    No,
    Yes,
    Both,
}

fn mib(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(mib) if (MIB_MIN..=1 << 20).contains(&mib) => Ok(mib),
        _ => Err(format!("a number of MiB, at least {MIB_MIN}")),
    }
}

impl BenchArgs {
    pub(super) fn into_command(self) -> Command {
        match self.what {
            What::Region(args) => Command::Bench(args.into_config()),
            What::Swapped(args) => {
                let SwappedArgs { workload, words, busy } = args;
                Command::Swapped(SwappedConfig { workload, words, busy })
            }
        }
    }
}

impl RegionArgs {
    fn into_config(self) -> BenchConfig {
        let mode = match self.mode {
            Mode::Auto => FaultMode::Auto,
            Mode::Inline => FaultMode::Inline,
            Mode::Guard => FaultMode::Guard,
            Mode::Thread => FaultMode::Thread,
        };
        let shares = match self.limit {
            given if !given.is_empty() => given,
            _ if self.quick => Share::QUICK.to_vec(),
            _ => Share::DEFAULT.to_vec(),
        };
        let busy = match self.busy.unwrap_or(if self.quick { Busy::No } else { Busy::Both }) {
            Busy::No => vec![false],
            Busy::Yes => vec![true],
            Busy::Both => vec![false, true],
        };
        BenchConfig {
            files: self.files,
            mib: self.mib.unwrap_or(if self.quick { MIB_MIN } else { 64 }),
            shares,
            patterns: self.pattern,
            mode,
            codec: self.codec,
            busy,
            zram: Some(self.zram).filter(|name| name != "none"),
            output: Output { json: self.json, quiet: false },
        }
    }
}
