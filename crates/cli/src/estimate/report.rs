//! Prints the result: JSON or tables on stdout, at most one line on stderr, and the exit code.
//!
//! [`verdict`] is the conclusion; [`base`], [`table`], [`parts`], [`mappings`] and [`skipped`] are tables; [`json`] and [`html`]
//! are formats; [`terminal`] gives the width of a line.

mod base;
#[cfg(feature = "html")]
pub(crate) mod html;
mod json;
mod mappings;
mod parts;
mod parts_json;
mod skipped;
mod table;
mod terminal;
mod verdict;

use std::io::{self, Write};

use self::terminal::Terminal;
use crate::{
    console::{self, Output, OutputError},
    estimate::{
        error::EstimateError,
        result::{report::EstimateReport, row::Row},
    },
    exit::Exit,
};

/// Prints the report and returns the exit code.
///
/// # Errors
/// When writing to stdout fails, except to a closed pipe.
pub(crate) fn print(report: EstimateReport, output: Output) -> Result<Exit, EstimateError> {
    // One write: stderr does not split a table.
    let mut text = Vec::new();
    if output.json {
        json::write(&report, &mut text).map_err(OutputError::from)?;
    } else {
        write_text(&report, output, Terminal::of_stdout(), &mut text).map_err(OutputError::from)?;
    }
    console::print(&text)?;
    Ok(conclude(report))
}

fn write_text(
    report: &EstimateReport,
    output: Output,
    terminal: Terminal,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    write_answer(report, terminal, out)?;
    writeln!(out, "{}", terminal.wrap(&verdict::input(&report.input)))?;
    if !output.quiet && report.input.is_sampled() {
        writeln!(out, "{}", terminal.wrap(&verdict::sampling(&report.input)))?;
    }
    if let Some(like) = report.input.like.as_ref().filter(|_| !output.quiet) {
        writeln!(out, "{}", terminal.wrap(&like.describe()))?;
    }
    write_tables(&report.rows, output, terminal, out)?;
    if let Some(base) = &report.base {
        writeln!(out, "{}\n", base::table(base))?;
        if !output.quiet {
            writeln!(out, "{}\n", terminal.wrap(&base::times(base)))?;
        }
    }
    for table in parts::tables(&report.input) {
        writeln!(out, "{table}\n")?;
    }
    if !output.quiet {
        for note in parts::notes(&report.input) {
            writeln!(out, "{}\n", terminal.wrap(&note))?;
        }
    }
    let lines: Vec<_> =
        verdict::tiers(report).chain(verdict::dictionaries(&report.input)).collect();
    if !lines.is_empty() && !output.quiet {
        writeln!(out, "{}\n", terminal.wrap(&lines.join("\n")))?;
    }
    if let Some(line) = skipped::line(&report.input.skipped).filter(|_| !output.quiet) {
        writeln!(out, "{}", terminal.wrap(&line))?;
    }
    while out.ends_with(b"\n\n") {
        out.pop();
    }
    Ok(())
}

fn write_answer(report: &EstimateReport, terminal: Terminal, out: &mut Vec<u8>) -> io::Result<()> {
    let savings = verdict::savings(report).into_iter();
    let savings = savings.chain(report.base.as_ref().map(base::sentence));
    let savings = savings.map(|sentence| terminal.bold(&terminal.wrap(&sentence)));
    let others = verdict::confidence(report).into_iter().chain(verdict::stops(report));
    let others = others.map(|sentence| terminal.wrap(&sentence));
    let sentences: Vec<_> = savings.chain(others).collect();
    if !sentences.is_empty() {
        writeln!(out, "{}\n", sentences.join("\n"))?;
    }
    Ok(())
}

fn write_tables(
    rows: &[Row],
    output: Output,
    terminal: Terminal,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    for (title, rows) in table::groups(rows) {
        if let Some(title) = title {
            writeln!(out, "{title}")?;
        }
        writeln!(out, "{}\n\n{}\n", table::space(&rows), table::time(&rows))?;
    }
    let resident = table::resident(rows);
    if let Some(table) = &resident {
        writeln!(out, "{table}\n")?;
    }
    if !output.quiet {
        writeln!(out, "{}", terminal.wrap(table::LEGEND))?;
        if rows.iter().any(|row| row.clusters.is_some()) {
            writeln!(out, "{}", terminal.wrap(table::IDLE_LEGEND))?;
        }
        if resident.is_some() {
            writeln!(out, "{}", terminal.wrap(table::RESIDENT_LEGEND))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Writes the gravest problem to stderr and picks its exit code.
fn conclude(report: EstimateReport) -> Exit {
    if let Some(mismatch) = report.mismatch {
        console::complain(&format!("verification failed: {mismatch}"));
        return Exit::Wrong;
    }
    if let Some(failure) = report.failure {
        console::complain(&failure.to_string());
        return Exit::from(&failure);
    }
    if report.interrupted {
        console::complain("interrupted; the report holds what was measured so far");
        return Exit::Interrupted;
    }
    let mut failed = report.input.skipped.iter().filter(|skipped| skipped.failed);
    let Some(first) = failed.next() else { return Exit::Success };
    let more = match failed.count() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    console::complain(&format!(
        "not everything could be read: {}: {}{more}",
        first.what, first.why
    ));
    Exit::Partial
}

#[cfg(test)]
fn test_report(rows: Vec<Row>, mebibytes: u64, total_mebibytes: u64) -> EstimateReport {
    let pages = |mebibytes: u64| mebibytes << 8;
    let input = crate::estimate::result::input::InputSummary {
        bytes: mebibytes << 20,
        pages: pages(mebibytes),
        same_filled: 0,
        skipped: Vec::new(),
        total_bytes: total_mebibytes << 20,
        total_pages: pages(total_mebibytes),
        hole_bytes: 0,
        files: 1,
        seed: 1,
        sample_asked: false,
        sample_max: crate::estimate::config::DEFAULT_SAMPLE,
        sample_bound: None,
        processes: Vec::new(),
        maps: false,
        compressed_swap: None,
        like: None,
        dictionaries: Vec::new(),
    };
    EstimateReport { input, rows, base: None, mismatch: None, failure: None, interrupted: false }
}

#[cfg(test)]
pub(crate) fn headings() -> Vec<&'static str> {
    let tables = [
        &table::SPACE[..],
        &table::TIME,
        &table::RESIDENT,
        &parts::HEADINGS,
        &mappings::HEADINGS,
        &base::HEADINGS,
    ];
    tables.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::result::skipped::Skipped;

    #[test]
    fn the_gravest_news_decides_the_exit_code() {
        let failed = || Skipped { what: "a".into(), why: "gone".into(), failed: true };
        let report = |skipped: bool, interrupted, failure: bool, mismatch: bool| {
            let mut report = test_report(Vec::new(), 1, 1);
            report.input.skipped.push(Skipped { failed: skipped, ..failed() });
            report.interrupted = interrupted;
            report.failure = failure.then_some(EstimateError::EmptyInput);
            report.mismatch = mismatch.then(|| "page 3 of a".to_owned());
            conclude(report)
        };
        assert_eq!(
            report(false, false, false, false),
            Exit::Success,
            "an ordinary skip is no failure"
        );
        assert_eq!(report(true, false, false, false), Exit::Partial);
        assert_eq!(report(true, true, false, false), Exit::Interrupted);
        assert_eq!(report(true, true, true, false), Exit::Failed);
        assert_eq!(report(true, true, true, true), Exit::Wrong);
    }
}
