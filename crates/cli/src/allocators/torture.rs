//! `pagefold torture`: all operations and faults at once.
//!
//! `pagefold-testkit` runs the operations.
//!
//! | module | holds |
//! |---|---|
//! | [`job`] | one run of a fresh pool |
//! | [`observe`] | progress, time, Ctrl-C, deadlock |
//! | [`report`] | table and JSON |

pub(crate) mod config;
mod error;
mod job;
mod observe;
mod report;

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use pagefold_testkit::trace::Trace;

use self::job::{Job, Outcome, TortureRun};
use crate::{
    allocators::{
        torture::{
            config::{BugKind, Length, TortureConfig},
            error::TortureError,
            report::TortureReport,
        },
        trace_file,
    },
    exit::Exit,
    interrupt::Interrupt,
    progress::Progress,
};

const LIMIT: usize = 64 << 20;

/// # Errors
/// When a trace cannot be read or written, no pool can be built, or stdout cannot be written.
pub(crate) fn run(config: TortureConfig) -> Result<Exit, TortureError> {
    let replay = config.replay.as_deref().map(trace_file::read).transpose()?;
    let limit = replay.as_ref().map_or(LIMIT, |trace| trace.header.limit);
    let config = TortureConfig { limit: Some(config.limit.unwrap_or(limit)), ..config };
    // Before the jobs, which may take an hour.
    let record = config.record.as_deref().map(create).transpose()?;
    let jobs = jobs(&config, replay);
    for job in &jobs {
        job.check()?;
    }
    let interrupt = Interrupt::install()?;
    interrupt.set_reportable();
    let progress = Progress::new(config.output);

    let mut report = TortureReport { runs: Vec::new(), interrupted: false };
    let deadline = match config.length {
        Length::Time(time) if config.replay.is_none() => Some(Instant::now() + time),
        _ => None,
    };
    let count = jobs.len();
    for (number, job) in jobs.into_iter().enumerate() {
        if interrupt.is_requested() {
            break;
        }
        // The remaining runs share the remaining time.
        let left = u32::try_from(count - number).unwrap_or(1);
        let share: Option<Duration> =
            deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()) / left);
        let run = job.run(share, &interrupt, &progress);
        let failed = matches!(run.outcome, Outcome::Failed(_));
        report.runs.push(run);
        // The first failure of a sound pool ends the command.
        if failed && config.injected_bugs.is_empty() {
            break;
        }
    }
    progress.finish();
    report.interrupted = interrupt.is_requested();
    if let (Some((path, mut file)), Some(run)) = (record, report.runs.first()) {
        let written = run.trace.as_ref().map_or(Ok(()), |trace| trace.write(&mut file));
        let written = written.and_then(|()| file.flush());
        written.map_err(|source| TortureError::Recorded { path, source })?;
    }
    report::print(&report, &config)?;
    Ok(verdict(&report, &config))
}

fn verdict(report: &TortureReport, config: &TortureConfig) -> Exit {
    let caught = |run: &&TortureRun| matches!(run.outcome, Outcome::Failed(_));
    if report.interrupted {
        return Exit::Interrupted;
    }
    let failed = report.runs.iter().filter(caught).count();
    match (config.injected_bugs.is_empty(), failed) {
        (true, 0) => Exit::Success,
        (true, _) => Exit::Wrong,
        (false, caught) if caught == report.runs.len() => Exit::Success,
        (false, _) => Exit::Missed,
    }
}

/// One for each pool, or pool and injected bug.
fn jobs(config: &TortureConfig, trace: Option<Trace>) -> Vec<Job> {
    let bugs: Vec<Option<BugKind>> = if config.injected_bugs.is_empty() {
        vec![None]
    } else {
        config.injected_bugs.iter().copied().map(Some).collect()
    };
    let pairs = config.pools.iter().flat_map(|pool| bugs.iter().map(move |bug| (*pool, *bug)));
    pairs.map(|(pool, bug)| Job::new(config, pool, bug, trace.clone())).collect()
}

fn create(path: &Path) -> Result<(std::path::PathBuf, BufWriter<File>), TortureError> {
    let file = File::create(path)
        .map_err(|source| TortureError::Record { path: path.to_owned(), source })?;
    Ok((path.to_owned(), BufWriter::new(file)))
}
