//! `torture`: stresses pools with many threads and verifies every byte.
//!
//! Exit codes: 0 each pool passed; 1 one did something wrong; 2 the arguments make no sense; 3 no operation was finished
//! for a minute, which is a deadlock. With `--canary` the pools are faulty on purpose: 1 says that each run noticed,
//! and 0 that one did not.

use std::{
    io::{self, Write},
    process::{self, ExitCode},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use pagefold_pool::{Allocator, Pool, PoolBuilder};
use pagefold_testkit::{
    canary::Canary,
    reference::MapPool,
    seed::Seed,
    torture::{self, Plan, Summary, Watch},
};

const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;
const EXIT_STALLED: i32 = 3;

/// A canary strikes about one call in this many.
const CANARY_ONE_IN: u64 = 100_000;
/// The name of the reference pool.
const REFERENCE: &str = "map";
/// The name for all allocators, one after another.
const ALL: &str = "all";
/// A run of this length in which a kind of operation never happened tests less than it says.
const LONG: Duration = Duration::from_secs(20);

const REPORT_EVERY: Duration = Duration::from_secs(5);
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// Stresses pools with many threads and verifies every byte.
///
/// Exit codes: 0 each pool passed; 1 one did something wrong; 2 bad arguments; 3 deadlock.
#[derive(Debug, Parser)]
struct Args {
    /// How long to run, with `all` shared by the allocators
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u64,
    /// Stop each run after this many operations instead; with one thread the run is then exactly reproducible
    #[arg(long, value_name = "N")]
    ops: Option<u64>,
    /// What all randomness follows from (decimal or 0x..); otherwise each run is different
    #[arg(long, value_name = "S")]
    seed: Option<Seed>,
    /// Threads that work at the same time; as many as there are processors by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// The allocator, `all` for all of them one after another, or `map` for the reference pool
    #[arg(long, value_name = "NAME", default_value = "nbud")]
    allocator: String,
    /// The pool's limit
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    limit: usize,
    /// Make each pool fail about once in 100000 calls, to see that its run notices: it must not exit with 0
    #[arg(long)]
    canary: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(Seed::fresh);
    let threads = args
        .threads
        .map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from);
    let names: Vec<&str> = match args.allocator.as_str() {
        ALL => Allocator::ALL.iter().map(|allocator| allocator.name()).collect(),
        name => vec![name],
    };
    let share = Duration::from_secs(args.seconds) / u32::try_from(names.len()).unwrap_or(1);
    let deadline = if args.ops.is_some() { None } else { Some(share) };
    let plan = Plan { seed, threads, ops: args.ops };
    let mut passed = 0;
    for name in &names {
        let pool = match build(&args, name, seed) {
            Ok(pool) => pool,
            Err(error) => {
                eprintln!("torture: {error}");
                return ExitCode::from(EXIT_USAGE);
            }
        };
        say(format_args!(
            "seed {seed}, {threads} threads, {} with a limit of {} bytes",
            pool.name(),
            args.limit
        ));
        if stress(&*pool, &plan, deadline, args.canary) {
            passed += 1;
            if args.canary {
                say(format_args!("the canary was NOT noticed"));
            }
        } else if !args.canary {
            break;
        }
    }
    // A canary is noticed only if no run passes; otherwise all of them must.
    let succeeded = if args.canary { passed > 0 } else { passed == names.len() };
    if succeeded { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) }
}

/// Whether the pool passes. With a `canary` a kind of operation that never happened does not count: it would look as if
/// the fault had been noticed.
fn stress(pool: &dyn Pool, plan: &Plan, deadline: Option<Duration>, canary: bool) -> bool {
    let watch = &Watch::default();
    let begin = Instant::now();
    let outcome = thread::scope(|scope| {
        // Dropping `running` when the run is over ends the observer.
        let (running, ended) = mpsc::channel::<()>();
        let seed = plan.seed;
        scope.spawn(move || observe(watch, seed, deadline, &ended));
        let outcome = torture::run(pool, plan, watch);
        drop(running);
        outcome
    });
    let elapsed = begin.elapsed();
    match outcome {
        Ok(summary) => {
            report(&summary, elapsed);
            let missing = summary.tally.missing(summary.support);
            if elapsed >= LONG && !missing.is_empty() && !canary {
                say(format_args!("FAILED: these never happened: {}", missing.join(", ")));
                return false;
            }
            true
        }
        Err(failure) => {
            say(format_args!(
                "FAILED after {} operations with seed {} and {} threads: {failure}",
                watch.ops(),
                plan.seed,
                plan.threads
            ));
            false
        }
    }
}

fn build(args: &Args, name: &str, seed: Seed) -> Result<Box<dyn Pool>, Box<dyn std::error::Error>> {
    let pool: Box<dyn Pool> = match name {
        REFERENCE => Box::new(MapPool::new(args.limit)),
        name => PoolBuilder::new(name.parse::<Allocator>()?).limit(args.limit).build()?,
    };
    Ok(if args.canary { Box::new(Canary::new(pool, seed.value(), CANARY_ONE_IN)) } else { pool })
}

/// Prints a line now and then, stops the run in time, and ends the process if nothing moves any more.
fn observe(watch: &Watch, seed: Seed, deadline: Option<Duration>, ended: &mpsc::Receiver<()>) {
    let begin = Instant::now();
    let (mut last_ops, mut last_report, mut last_move) = (0, begin, begin);
    loop {
        let left =
            deadline.map_or(REPORT_EVERY, |deadline| deadline.saturating_sub(begin.elapsed()));
        let pause = if left.is_zero() { REPORT_EVERY } else { left.min(REPORT_EVERY) };
        if ended.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        if deadline.is_some_and(|deadline| begin.elapsed() >= deadline) {
            watch.stop();
        }
        let (ops, now) = (watch.ops(), Instant::now());
        if now - last_report >= REPORT_EVERY {
            let rate = (ops - last_ops) as f64 / (now - last_report).as_secs_f64();
            say(format_args!(
                "{:6.0} s  {ops:12} operations  {rate:10.0} /s",
                begin.elapsed().as_secs_f64()
            ));
            if ops > last_ops {
                last_move = now;
            }
            (last_ops, last_report) = (ops, now);
        }
        if now - last_move >= STALLED_AFTER {
            say(format_args!(
                "STALLED after {ops} operations with seed {seed}: nothing was finished for a minute"
            ));
            process::exit(EXIT_STALLED);
        }
    }
}

fn report(summary: &Summary, elapsed: Duration) {
    let Summary { tally, support, cycles, payload_bytes_max, resident_bytes_end, digest } = summary;
    let rate = tally.total() as f64 / elapsed.as_secs_f64();
    say(format_args!(
        "passed: {} operations in {:.1} s ({rate:.0} /s), {cycles} cycles",
        tally.total(),
        elapsed.as_secs_f64()
    ));
    let kinds = tally.kinds(*support).into_iter();
    let kinds: Vec<String> = kinds.map(|(words, count)| format!("{words} {count}")).collect();
    say(format_args!("  {}", kinds.join(", ")));
    say(format_args!(
        "  at most {payload_bytes_max} payload bytes between cycles; {resident_bytes_end} bytes resident at the end; digest {digest:016x}"
    ));
}

/// A line on standard output. A reader that went away is no reason to stop the run.
fn say(line: std::fmt::Arguments<'_>) {
    _ = writeln!(io::stdout().lock(), "{line}");
}
