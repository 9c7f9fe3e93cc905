//! The arguments of `pagefold torture`, and what they become.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, ValueHint};
use pagefold_pool::Allocator;
use pagefold_testkit::{
    seed::Seed,
    torture::{Faults, Mix},
};

use crate::{
    allocators::torture::config::{ALL, BugKind, Length, PoolUnderTest, TortureConfig},
    args::{
        stop::{Stop, wrong},
        values::threads,
    },
    bytes,
    console::Output,
};

pub(super) const ABOUT: &str = "\
Torture the allocators: model-checked stress, replayed from one seed.

Threads store, read, write, free, compact, migrate, reclaim, trim, allocate contiguous ranges and change the limit at \
once, while faults are injected. Every byte is verified, every account compared, and at the end nothing may be left. With \
one thread the run follows from the seed alone: a failure is shrunk to a short sequence and written as a trace.";

pub(super) const EXAMPLES: &str = "\
Examples:
  pagefold torture
      every allocator, 10 s in all
  pagefold torture --seconds 600 --allocator nbud --threads 4
  pagefold torture --faults frame=0.001,isolate=0.05,evict=0.3
  pagefold torture --mix alloc=40,free=40,read=10,compact=5,migrate=5
  pagefold torture --threads 1 --seed 7 --ops 200000
      the same run each time
  pagefold torture --allocator nbud --ops 100000 --record t.trace
  pagefold torture --replay t.trace
      the same bytes in the same order, to each allocator
  pagefold torture --inject-bug
      does it notice injected bugs?";

pub(super) const MORE: &str =
    "The mix, faults, traces and the JSON are described in docs/TORTURE.md.";

#[derive(Debug, Args)]
pub(super) struct TortureArgs {
    /// An allocator by name, `all` for each of them, or `map` for the reference pool
    #[arg(long, value_name = "NAME", default_value = ALL)]
    allocator: String,

    /// How many threads work at once; with 1 a run follows from its seed [default: as many as processors, at least 2; 1
    /// with --record]
    #[arg(long, value_name = "N", value_parser = threads, allow_negative_numbers = true)]
    threads: Option<NonZeroUsize>,

    /// How long, all runs together [default: 10]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true, conflicts_with = "ops")]
    seconds: Option<u32>,

    /// Stop each run after this many operations instead
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), allow_negative_numbers = true)]
    ops: Option<u64>,

    /// What everything random follows from, decimal or 0x.. [default: another one each time; it is printed]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    seed: Option<Seed>,

    /// The limit of each pool, such as 64MiB [default: 64MiB, or what the trace says]
    #[arg(long, value_name = "BYTES", value_parser = bytes::parse, allow_negative_numbers = true)]
    limit: Option<usize>,

    /// Which operations how often, such as alloc=30,free=25,read=45; names: alloc, free, write, read, stale, compact,
    /// migrate, reclaim, alloc-contiguous, trim, limit, stats
    #[arg(long, value_name = "SPEC")]
    mix: Option<Mix>,

    /// Which faults, such as frame=0.001,frame@137,isolate=0.01,evict=0.3,evict-panic=0.01, or none [default:
    /// evict=0.0625,evict-panic=0.015625]
    #[arg(long, value_name = "SPEC")]
    faults: Option<Faults>,

    /// Inject a bug into each pool, which must be caught: flip, lost-frame or stale; without a kind each of them
    #[arg(long, value_name = "KIND", num_args = 0..=1, require_equals = true, default_missing_value = ALL,
        value_parser = ["all", "flip", "lost-frame", "stale"])]
    inject_bug: Option<String>,

    /// Write the operations and sizes of a run to this file; for one allocator and one thread
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["inject_bug", "replay"])]
    record: Option<PathBuf>,

    /// Do what a trace says instead of anything random
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
        conflicts_with_all = ["threads", "seconds", "ops", "seed", "mix"])]
    replay: Option<PathBuf>,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,

    /// No progress line
    #[arg(long, short)]
    quiet: bool,
}

const SECONDS: u32 = 10;

impl TortureArgs {
    pub(super) fn into_config(self) -> Result<TortureConfig, Stop> {
        let pools = if self.allocator == ALL {
            Allocator::ALL.iter().copied().map(PoolUnderTest::Allocator).collect()
        } else {
            vec![self.allocator.parse::<PoolUnderTest>().map_err(wrong)?]
        };
        if self.record.is_some() && pools.len() != 1 {
            return Err(wrong("--record needs one allocator: name it with --allocator".to_owned()));
        }
        let alone = self.record.is_some() || self.replay.is_some();
        if alone && self.threads.is_some_and(|threads| threads.get() > 1) {
            return Err(wrong(
                "--record needs --threads 1: only then is there an order".to_owned(),
            ));
        }
        let one = NonZeroUsize::MIN;
        let usual = || {
            let available = std::thread::available_parallelism().unwrap_or(one);
            available.max(one.saturating_add(1))
        };
        let threads = self.threads.unwrap_or_else(|| if alone { one } else { usual() });
        let injected_bugs = match self.inject_bug.as_deref() {
            None => Vec::new(),
            Some(name) => {
                BugKind::ALL.into_iter().filter(|kind| name == ALL || kind.name() == name).collect()
            }
        };
        let seconds = Duration::from_secs(self.seconds.unwrap_or(SECONDS).into());
        Ok(TortureConfig {
            pools,
            threads,
            length: self.ops.map_or(Length::Time(seconds), Length::Ops),
            seed: self.seed.unwrap_or_else(Seed::fresh),
            limit: self.limit,
            mix: self.mix.unwrap_or_default(),
            faults: self.faults,
            injected_bugs,
            record: self.record,
            replay: self.replay,
            output: Output { json: self.json, quiet: self.quiet },
        })
    }
}
