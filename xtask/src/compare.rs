//! `cargo xtask compare`: runs a benchmark of an earlier revision and of the work tree, in alternation.
//!
//! Machines are noisy, so the order alternates and rows are compared by medians.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use clap::Args;
use serde::Deserialize;

use crate::{
    error::XtaskError,
    workspace::{self, Workspace, cargo},
};

/// A benchmark that prints a table, of an earlier revision and of the work tree in one run.
///
/// Prints, for each row that both tables have: the median of the rounds of either, the lowest and the highest round, and
/// the later figure as a part of the earlier. Rows of one table alone are listed below.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The earlier revision, as git names it
    revision: String,
    /// The package of the benchmark
    package: String,
    /// The benchmark, one that prints a table of `| name | value unit | .. |`
    bench: String,
    /// How often each of the two runs
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Passed to both
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<String>,
}

/// From a row's name to its unit and the figures of its rounds.
type Rows = BTreeMap<String, (String, Vec<f64>)>;

pub(crate) fn run(arguments: &CompareArgs) -> Result<ExitCode, XtaskError> {
    let workspace = Workspace::load()?;
    let earlier = workspace.target.join("compare").join(&arguments.revision);
    if !earlier.join("Cargo.toml").is_file() {
        let mut command = Command::new("git");
        command.current_dir(&workspace.root).args(["worktree", "add", "--force", "--detach"]);
        command.arg(&earlier).arg(&arguments.revision);
        workspace::run(command)?;
    }
    let programs = [build(&earlier, arguments)?, build(&workspace.root, arguments)?];
    let mut rows = [Rows::new(), Rows::new()];
    for round in 0..arguments.rounds {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            eprintln!(
                "round {} of {}: {}",
                round + 1,
                arguments.rounds,
                ["earlier", "later"][which]
            );
            let mut command = Command::new(&programs[which]);
            command.arg("--bench").args(&arguments.arguments);
            note(&workspace::output(command)?, &mut rows[which]);
        }
    }
    print(rows);
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
}

/// Uses a separate target directory; returns the program's path.
fn build(checkout: &Path, arguments: &CompareArgs) -> Result<PathBuf, XtaskError> {
    let mut command = cargo();
    command.current_dir(checkout).env("CARGO_TARGET_DIR", checkout.join("target"));
    command.args(["bench", "--no-run", "--message-format=json-render-diagnostics"]);
    command.args(["--package", &arguments.package, "--bench", &arguments.bench]);
    let shown = workspace::show(&command);
    let mut program = None;
    for line in workspace::output(command)?.lines() {
        let message: Message = serde_json::from_str(line)
            .map_err(|source| XtaskError::Output { command: shown.clone(), source })?;
        if message.reason == "compiler-artifact" {
            program = message.executable.or(program);
        }
    }
    program.ok_or(XtaskError::Nothing { what: "program of that benchmark" })
}

/// A row that begins with a dash gets the name of the row above as a prefix.
fn note(printed: &str, rows: &mut Rows) {
    let mut above = "";
    for line in printed.lines() {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (Some(name), Some(value)) = (cells.next(), cells.next()) else { continue };
        let (figure, unit) = value.split_once(' ').unwrap_or((value, ""));
        if let Ok(figure) = figure.parse() {
            let name = match name.strip_prefix("- ") {
                Some(part) => format!("{above}: {part}"),
                None => {
                    above = name;
                    name.to_owned()
                }
            };
            let row = rows.entry(name).or_insert_with(|| (unit.to_owned(), Vec::new()));
            row.1.push(figure);
        }
    }
}

fn spread(figures: &mut [f64]) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    (figures[figures.len() / 2], figures[0], figures[figures.len() - 1])
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn print([earlier, mut later]: [Rows; 2]) {
    println!("| row | earlier | its rounds | later | its rounds | later / earlier |");
    println!("|---|---|---|---|---|---|");
    let mut alone = Vec::new();
    for (name, (unit, mut before)) in earlier {
        let Some((_, mut after)) = later.remove(&name) else {
            alone.push(format!("{name} (earlier)"));
            continue;
        };
        let (old, old_low, old_high) = spread(&mut before);
        let (new, new_low, new_high) = spread(&mut after);
        println!(
            "| {name} | {old:.3} {unit} | {old_low:.3} to {old_high:.3} | {new:.3} {unit} | {new_low:.3} to {new_high:.3} | {:.3} |",
            new / old
        );
    }
    alone.extend(later.into_keys().map(|name| format!("{name} (later)")));
    if !alone.is_empty() {
        println!("\nIn one table alone: {}", alone.join("; "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_a_figure_are_read_and_others_passed_over() {
        let mut rows = Rows::new();
        let table = "text\n| figure | median | lowest |\n|---|---|---|\n| read | 22.5 ns | 22 to 23 |\n| - ratio | 1.03 | |";
        note(table, &mut rows);
        note("| read | 24.5 ns | |", &mut rows);
        assert_eq!(rows["read"], ("ns".to_owned(), vec![22.5, 24.5]));
        assert_eq!(rows["read: ratio"], (String::new(), vec![1.03]));
        assert_eq!(rows.len(), 2);
        assert_eq!(spread(&mut [3.0, 1.0, 2.0]), (2.0, 1.0, 3.0));
    }
}
