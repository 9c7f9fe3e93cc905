//! The report: a column for each run, or JSON.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use pagefold_testkit::torture::Summary;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    allocators::torture::{
        config::TortureConfig,
        job::{Few, Found, Outcome, TortureRun},
    },
    bytes,
    console::{self, OutputError},
    printable::printable,
};

pub(super) struct TortureReport {
    pub(super) runs: Vec<TortureRun>,
    pub(super) interrupted: bool,
}

const VERSION: u32 = 1;
/// The file has all steps.
const STEPS_SHOWN: usize = 40;

pub(super) fn print(report: &TortureReport, config: &TortureConfig) -> Result<(), OutputError> {
    let mut text = Vec::new();
    let composed = if config.output.json {
        json(report, config, &mut text)
    } else {
        table(report, config, &mut text)
    };
    composed?;
    console::print(&text)
}

fn table(report: &TortureReport, config: &TortureConfig, out: &mut Vec<u8>) -> io::Result<()> {
    let Some(first) = report.runs.first() else {
        return writeln!(out, "interrupted before anything was run");
    };
    let plan = &first.plan;
    writeln!(
        out,
        "seed {}, {} thread{}, limit {}, faults {}",
        plan.seed,
        plan.threads,
        if plan.threads == 1 { "" } else { "s" },
        bytes::show(config.limit.unwrap_or_default() as u64),
        plan.faults
    )?;
    let passed: Vec<(&TortureRun, &Summary)> = report
        .runs
        .iter()
        .filter_map(|run| match &run.outcome {
            Outcome::Passed(summary) => Some((run, summary)),
            Outcome::Failed(_) => None,
        })
        .collect();
    if config.injected_bugs.is_empty() && !passed.is_empty() {
        writeln!(out, "\n{}", figures(&passed))?;
    }
    for run in &report.runs {
        writeln!(out)?;
        line(run, report.interrupted, out)?;
    }
    if let (Some(path), Some(trace)) =
        (&config.record, report.runs.first().and_then(|run| run.trace.as_ref()))
    {
        let place = printable(&path.display().to_string());
        writeln!(out, "recorded {} steps in {place}", trace.steps.len())?;
    }
    Ok(())
}

fn figures(passed: &[(&TortureRun, &Summary)]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let mut row = |words: &str, cells: Vec<String>| {
        table.add_row(std::iter::once(Cell::new(words)).chain(cells.into_iter().map(right)));
    };
    row("", passed.iter().map(|(run, _)| run.pool.to_string()).collect());
    let kinds: Vec<_> = passed.iter().map(|(_, summary)| summary.tally.kinds()).collect();
    for at in 0..kinds[0].len() {
        let cells = passed.iter().zip(&kinds).map(|((_, summary), kinds)| {
            let kind = kinds[at];
            let none = kind.count == 0 && !summary.support.has(kind.operation);
            if none { "-".to_owned() } else { kind.count.to_string() }
        });
        row(kinds[0][at].words, cells.collect());
    }
    let faults: Vec<_> = passed
        .iter()
        .map(|(run, summary)| summary.injected.kinds(&run.plan.faults, summary.support))
        .collect();
    for at in 0..faults[0].len() {
        let cells = faults.iter().map(|faults| {
            let fault = faults[at];
            if fault.count == 0 && !fault.expected {
                "-".to_owned()
            } else {
                fault.count.to_string()
            }
        });
        row(&format!("fault: {}", faults[0][at].words), cells.collect());
    }
    let mut each = |words: &str, cell: &dyn Fn(&TortureRun, &Summary) -> String| {
        row(words, passed.iter().map(|(run, summary)| cell(run, summary)).collect());
    };
    each("operations", &|_, summary| summary.tally.total().to_string());
    each("operations /s", &|run, summary| {
        format!("{:.0}", summary.tally.total() as f64 / run.elapsed.as_secs_f64())
    });
    if passed.iter().any(|(run, _)| run.skipped > 0) {
        each("steps left out", &|run, _| run.skipped.to_string());
    }
    each("cycles", &|_, summary| summary.cycles.to_string());
    each("most payload", &|_, summary| bytes::show(summary.payload_bytes_max));
    each("resident when empty", &|_, summary| bytes::show(summary.resident_bytes_end));
    each("the same by the kernel", &|_, summary| {
        summary.kernel_bytes_end.map_or_else(|| "-".to_owned(), bytes::show)
    });
    if passed.iter().all(|(run, _)| run.plan.threads == 1) {
        each("digest", &|_, summary| format!("{:016x}", summary.digest));
    }
    table
}

fn line(run: &TortureRun, interrupted: bool, out: &mut Vec<u8>) -> io::Result<()> {
    let seconds = run.elapsed.as_secs_f64();
    let pool = run.pool;
    match (&run.outcome, run.bug) {
        (Outcome::Passed(_), None) if interrupted => {
            writeln!(out, "{pool}: interrupted after {seconds:.1} s; no errors found")
        }
        (Outcome::Passed(_), None) => writeln!(out, "{pool}: passed, {seconds:.1} s"),
        (Outcome::Passed(_), Some(injected_bug)) => {
            writeln!(out, "{pool}: {} was NOT caught in {seconds:.1} s", injected_bug.name())
        }
        (Outcome::Failed(found), Some(injected_bug)) => writeln!(
            out,
            "{pool}: {} was caught after {} operations: {}",
            injected_bug.name(),
            found.operation,
            found.failure
        ),
        (Outcome::Failed(found), None) => failure(run, found, out),
    }
}

fn failure(run: &TortureRun, found: &Found, out: &mut Vec<u8>) -> io::Result<()> {
    let plan = &run.plan;
    writeln!(
        out,
        "{}: FAILED at operation {} with seed {}: {}",
        run.pool, found.operation, plan.seed, found.failure
    )?;
    let order = if plan.threads > 1 { " (threads meet differently each time)" } else { "" };
    writeln!(out, "To reproduce{order}:\n  {}", found.command)?;
    if let Some(Few { trace, command, .. }) = &found.few {
        let steps = trace.steps.len();
        writeln!(out, "{steps} step{} fail as well:", if steps == 1 { "" } else { "s" })?;
        for step in trace.steps.iter().take(STEPS_SHOWN) {
            writeln!(out, "  {step}")?;
        }
        if steps > STEPS_SHOWN {
            writeln!(out, "  .. and {} more", steps - STEPS_SHOWN)?;
        }
        if let Some(command) = command {
            writeln!(out, "To reproduce:\n  {command}")?;
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    seed: String,
    threads: usize,
    limit_bytes: usize,
    mix: String,
    faults: String,
    runs: Vec<RunJson<'a>>,
    passed: bool,
    interrupted: bool,
}

#[derive(Serialize)]
struct RunJson<'a> {
    allocator: String,
    injected_bug: Option<&'a str>,
    outcome: &'a str,
    seconds: f64,
    operations: Option<u64>,
    counts: Option<Map<String, Value>>,
    injected: Option<Map<String, Value>>,
    missing: Option<Vec<&'a str>>,
    skipped: u64,
    cycles: Option<u64>,
    payload_bytes_max: Option<u64>,
    resident_bytes_end: Option<u64>,
    kernel_bytes_end: Option<u64>,
    digest: Option<String>,
    failure: Option<FailureJson<'a>>,
}

#[derive(Serialize)]
struct FailureJson<'a> {
    message: String,
    operation: u64,
    command: &'a str,
    steps: Option<Vec<String>>,
    trace: Option<String>,
    replay: Option<&'a str>,
}

fn json(report: &TortureReport, config: &TortureConfig, out: &mut Vec<u8>) -> io::Result<()> {
    let runs: Vec<RunJson<'_>> = report.runs.iter().map(run_json).collect();
    let plan = report.runs.first().map(|run| &run.plan);
    let document = Document {
        version: VERSION,
        seed: plan.map_or(config.seed, |plan| plan.seed).to_string(),
        threads: config.threads.get(),
        limit_bytes: config.limit.unwrap_or_default(),
        mix: config.mix.to_string(),
        faults: plan.map(|plan| plan.faults.to_string()).unwrap_or_default(),
        passed: runs.iter().all(|run| run.outcome == "passed"),
        runs,
        interrupted: report.interrupted,
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

fn run_json(run: &TortureRun) -> RunJson<'_> {
    let (summary, found) = match &run.outcome {
        Outcome::Passed(summary) => (Some(summary), None),
        Outcome::Failed(found) => (None, Some(found)),
    };
    let outcome = match (found, run.bug) {
        (None, None) => "passed",
        (Some(_), None) => "failed",
        (Some(_), Some(_)) => "caught",
        (None, Some(_)) => "missed",
    };
    let counts = |summary: &Summary| {
        let kinds = summary.tally.kinds().into_iter();
        kinds.map(|kind| (kind.name.to_owned(), kind.count.into())).collect()
    };
    let injected = |summary: &Summary| {
        let kinds = summary.injected.kinds(&run.plan.faults, summary.support).into_iter();
        kinds.map(|fault| (fault.name.to_owned(), fault.count.into())).collect()
    };
    let operations = |found: &Found| found.operation;
    RunJson {
        allocator: run.pool.to_string(),
        injected_bug: run.bug.map(|kind| kind.name()),
        outcome,
        seconds: run.elapsed.as_secs_f64(),
        operations: summary.map(|summary| summary.tally.total()).or(found.map(operations)),
        counts: summary.map(counts),
        injected: summary.map(injected),
        missing: summary.map(|summary| summary.missing(&run.plan)),
        skipped: run.skipped,
        cycles: summary.map(|summary| summary.cycles),
        payload_bytes_max: summary.map(|summary| summary.payload_bytes_max),
        resident_bytes_end: summary.map(|summary| summary.resident_bytes_end),
        kernel_bytes_end: summary.and_then(|summary| summary.kernel_bytes_end),
        digest: summary.map(|summary| format!("{:016x}", summary.digest)),
        failure: found.map(failure_json),
    }
}

fn failure_json(found: &Found) -> FailureJson<'_> {
    let few = found.few.as_ref();
    FailureJson {
        message: found.failure.to_string(),
        operation: found.operation,
        command: &found.command,
        steps: few.map(|few| few.trace.steps.iter().map(ToString::to_string).collect()),
        trace: few.and_then(|few| few.path.as_ref()).map(|path| path.display().to_string()),
        replay: few.and_then(|few| few.command.as_deref()),
    }
}
