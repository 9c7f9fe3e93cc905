//! `cargo xtask corpus trace`: which pages of a Redis server change while `redis-benchmark` works on it.
//!
//! The server runs for an interval and is stopped. Each private anonymous page whose bytes are not those of the stop
//! before becomes a record ([`mod@file`]). The time of a record is the time that the server has run: stops are left out, so
//! the cost of the comparison does not slow the trace. The first stop, after the key range was filled, records nothing.
//!
//! What a trace can and cannot say:
//! - A page that changes twice in an interval appears once, and a page that is written with equal bytes does not appear.
//!   So the share of writes that a later one makes superfluous is a lower bound.
//! - All records of an interval have the time of its end, in the order of their addresses. A replay puts them in a burst,
//!   where they wait longer for a codec than writes that are spread: this may raise what staging saves.
//! - The processors are shared by server, clients and recorder. Another machine gives other rates.
//! - `redis-benchmark` draws its keys from the clock, and its values of one size are all the same bytes. The seed fixes
//!   the order of the sizes only, and the pages compress better than those of most programs.
//!
//! The kernel's soft-dirty bits would show writes of equal bytes too, but many kernels are built without them.

mod changes;
mod file;
mod load;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;

use self::{
    changes::Heap,
    file::{Finished, RECORD_BYTES, TraceFile},
    load::Load,
};
use super::{error::ClassError, redis};
use crate::error::XtaskError;

/// A recorded trace: the changed pages of a Redis server under redis-benchmark.
///
/// Writes the trace, and beside it FILE.json with what made it. The recording ends with the first of both limits.
#[derive(Debug, Args, Serialize)]
pub(crate) struct TraceArgs {
    /// The file to write
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    out: PathBuf,
    /// How long the server runs, stops left out
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How long it runs from stop to stop
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    interval_ms: u64,
    /// The largest trace in MiB
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=4096))]
    megabytes: u64,
    /// Number of keys
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    keys: u64,
    /// Connections of redis-benchmark
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1000))]
    clients: u64,
    /// Requests that a connection sends before it waits
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pipeline: u64,
    /// Sets, then as many gets, before the size of the values changes
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    requests: u64,
    /// The seed of the order of the sizes
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Limit {
    Seconds,
    Megabytes,
}

/// The manifest of a trace.
#[derive(Debug, Serialize)]
struct Recorded<'a> {
    version: u32,
    source: String,
    arguments: &'a TraceArgs,
    value_bytes: &'static [u32],
    ended_by: Limit,
    intervals: u64,
    ran_us: u64,
    stopped_us: u64,
    /// Private anonymous pages at the last stop.
    resident_pages: u64,
    /// Pages that the kernel refused to read, over all stops.
    unreadable_pages: u64,
    #[serde(flatten)]
    file: Finished,
}

pub(super) fn run(arguments: &TraceArgs) -> Result<ExitCode, XtaskError> {
    let recorded =
        record(arguments).map_err(|source| XtaskError::Trace { source: source.into() })?;
    let path = manifest_path(&arguments.out);
    let text = serde_json::to_string_pretty(&recorded)
        .map_err(|source| XtaskError::Trace { source: source.into() })?;
    std::fs::write(&path, text + "\n").map_err(XtaskError::file(&path))?;
    eprintln!(
        "{}: {} records of {} pages, {} intervals, {:.2} s of the server, {:.2} s stopped",
        arguments.out.display(),
        recorded.file.records,
        recorded.file.pages,
        recorded.intervals,
        recorded.ran_us as f64 / 1e6,
        recorded.stopped_us as f64 / 1e6,
    );
    Ok(ExitCode::SUCCESS)
}

fn manifest_path(trace: &Path) -> PathBuf {
    let mut name = trace.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

fn record(arguments: &TraceArgs) -> Result<Recorded<'_>, ClassError> {
    let failed = |source| ClassError::Io { path: arguments.out.clone(), source };
    let version = redis::version()?;
    let interval = Duration::from_millis(arguments.interval_ms);
    let mut out = TraceFile::begin(&arguments.out, interval).map_err(failed)?;
    let mut server = redis::start_empty()?;
    let mut load = Load::fill(&server, arguments)?;

    let [mut ran, mut stopped] = [Duration::ZERO; 2];
    let (mut intervals, mut unreadable) = (0, 0);
    server.stop()?;
    let mut before = Heap::default();
    unreadable += before.read(server.process())?;
    let mut heap = Heap::default();
    let ended_by = loop {
        if ran >= Duration::from_secs(arguments.seconds) {
            break Limit::Seconds;
        }
        // A changed heap may be written in full.
        let next = out.records() + heap.len() as u64;
        if next * RECORD_BYTES as u64 > arguments.megabytes << 20 {
            break Limit::Megabytes;
        }
        server.resume()?;
        let resumed = Instant::now();
        load.go_on(&mut server)?;
        thread::sleep(interval.saturating_sub(resumed.elapsed()));
        server.stop()?;
        ran += resumed.elapsed();
        intervals += 1;
        let began = Instant::now();
        unreadable += heap.read(server.process())?;
        for (number, page) in heap.changed_since(&before) {
            out.push(ran, number, page).map_err(failed)?;
        }
        std::mem::swap(&mut heap, &mut before);
        stopped += began.elapsed();
    };
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Ok(Recorded {
        version: file::VERSION,
        source: format!("private anonymous pages of {version} under redis-benchmark"),
        arguments,
        value_bytes: &load::VALUE_BYTES,
        ended_by,
        intervals,
        ran_us: micros(ran),
        stopped_us: micros(stopped),
        resident_pages: before.len() as u64,
        unreadable_pages: unreadable,
        file: out.finish(&arguments.out).map_err(failed)?,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: TraceArgs,
    }

    #[test]
    fn the_manifest_lies_beside_the_trace() {
        assert_eq!(manifest_path(Path::new("a/b.trace")), Path::new("a/b.trace.json"));
    }

    #[test]
    fn a_small_trace_has_the_records_that_it_counts() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("redis.trace");
        let text = out.to_str().unwrap();
        let words = ["x", "--out", text, "--seconds", "1", "--interval-ms", "20"];
        let small = ["--megabytes", "64", "--keys", "200", "--requests", "1000"];
        let arguments = Command::parse_from(words.iter().chain(&small)).arguments;
        let recorded = match record(&arguments) {
            Err(ClassError::Missing { program, .. }) => {
                return eprintln!("SKIPPED: {program} is not installed");
            }
            other => other.unwrap(),
        };
        let records = file::tests::read(&out).unwrap();
        assert_eq!(records.len() as u64, recorded.file.records);
        assert!(recorded.intervals > 1 && !records.is_empty(), "{recorded:?}");
        assert!(records.is_sorted_by_key(|record| (record.time_us, record.page)));
        let last = records.last().unwrap();
        assert!(last.time_us <= recorded.ran_us);
        // Every page of an interval appears once.
        let names: std::collections::HashSet<_> =
            records.iter().map(|record| (record.time_us, record.page)).collect();
        assert_eq!(names.len(), records.len());
    }
}
