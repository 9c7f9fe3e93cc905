//! The command `pagefold-spill`, which `pagefold spill` runs: what stores of spilled pages left in a service.
#![forbid(unsafe_code)]

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Parser, Subcommand, error::ErrorKind};
use pagefold_spill_opendal::{
    CollectOptions, Collected, Fate, FoundStore, OpendalError, Options, collect, connect,
};
use serde::Serialize;

/// The version of the JSON.
const JSON_VERSION: u32 = 1;

#[derive(Debug, Parser)]
#[command(
    name = "pagefold-spill",
    version,
    about = "Spilled pages in services: Redis, Valkey, S3",
    propagate_version = true
)]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Remove what stores left in a service that died
    #[command(long_about = ABOUT, after_long_help = REMARKS, after_help = "Examples and exit codes: pagefold-spill gc --help")]
    Gc(GcArgs),
}

const ABOUT: &str = "\
Remove what stores left in a service that died.

A store removes its extents when it ends. One that was killed cannot. A living store gives a sign each 30 s; this command \
removes the extents of stores without a sign for a time. It touches nothing that has no store's name.

The clocks of the machines must agree: a store whose machine is behind by more than --older-than looks dead.";

const REMARKS: &str = "\
Examples:
  pagefold spill gc redis://localhost:6379/0
  pagefold spill gc --dry-run --json rediss://user:password@host
  pagefold spill gc --prefix cache/spill 's3://bucket?region=eu-west-1'
  pagefold spill gc 's3://b?region=x&endpoint=http://localhost:9000'

The address:
  The query has the settings of the service by OpenDAL's names. S3 takes
  what is missing from the environment: AWS_ACCESS_KEY_ID, AWS_REGION,
  AWS_ENDPOINT_URL and so on. Other users of the machine can read arguments:
  put an address with a password into PAGEFOLD_SPILL_URI instead.

Outcomes:
  alive     it gave a sign
  removed   it was dead, and is gone
  dead      it is dead, and this was a dry run
  unsure    no lease: it ends just now, or the service lost the lease; it
            gets one, and is removed next time unless it renews that
  failed    the service refused; the others went on

Exit codes:
  0    done
  1    failed: the service did not say which stores there are
  2    invalid arguments, and nothing was done
  3    incomplete: what a store left could not be removed, or not read";

#[derive(Debug, clap::Args)]
struct GcArgs {
    /// The service: redis://.., rediss://.., s3://.. [default: PAGEFOLD_SPILL_URI of the environment]
    #[arg(value_name = "URI")]
    uri: Option<String>,

    /// The prefix that the stores were given
    #[arg(long, value_name = "PREFIX", default_value = "pagefold")]
    prefix: String,

    /// Stores without a sign of life for this time are dead: a number and s, m, h or d; at least 2m
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = age, allow_hyphen_values = true)]
    older_than: Duration,

    /// Look only, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// How long a call may take: a number and ms, s or m
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time, allow_hyphen_values = true)]
    timeout: Duration,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn time(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let wrong = || "write a number and a unit, such as 500ms, 90s, 10m, 2h or 7d".to_owned();
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

fn age(text: &str) -> Result<Duration, String> {
    // 0 needs no unit.
    let age = if text == "0" { Duration::ZERO } else { time(text)? };
    if age < CollectOptions::OLDER_THAN_MIN {
        return Err("a living store gives a sign each 30 s; choose at least 2m".to_owned());
    }
    Ok(age)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Success = 0,
    Failed = 1,
    Usage = 2,
    Partial = 3,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    version: u32,
    dry_run: bool,
    older_than_s: u64,
    alive: usize,
    removed: usize,
    dead: usize,
    unsure: usize,
    failed: usize,
    stores: Vec<Line<'a>>,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    id: &'a str,
    outcome: &'static str,
    /// Since its last sign of life; null without a lease.
    age_s: Option<u64>,
    error: Option<String>,
}

fn outcome(fate: &Fate) -> &'static str {
    match fate {
        Fate::Alive => "alive",
        Fate::Removed => "removed",
        Fate::Dead => "dead",
        Fate::Unsure => "unsure",
        _ => "failed",
    }
}

fn line(store: &FoundStore, now: u64) -> Line<'_> {
    let error = match &store.fate {
        Fate::Failed(error) => Some(error.to_string()),
        _ => None,
    };
    let age_s = store.seen.map(|seen| now.saturating_sub(seen));
    Line { id: &store.id, outcome: outcome(&store.fate), age_s, error }
}

fn report<'a>(found: &'a Collected, args: &GcArgs) -> Report<'a> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let count = |name| found.count(|fate| outcome(fate) == name);
    Report {
        version: JSON_VERSION,
        dry_run: args.dry_run,
        older_than_s: args.older_than.as_secs(),
        alive: count("alive"),
        removed: count("removed"),
        dead: count("dead"),
        unsure: count("unsure"),
        failed: count("failed"),
        stores: found.stores.iter().map(|store| line(store, now)).collect(),
    }
}

fn text(report: &Report<'_>) -> String {
    let mut text = String::new();
    for Line { id, outcome, age_s, error } in &report.stores {
        let age = age_s.map_or_else(|| "no lease".to_owned(), |age| format!("seen {age} s ago"));
        let error = error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
        text += &format!("{id} {outcome:<8} {age}{error}\n");
    }
    let Report { alive, removed, dead, unsure, failed, .. } = report;
    text += &format!("{alive} alive, {removed} removed");
    let others = [(dead, "dead (dry run)"), (unsure, "unsure"), (failed, "failed")];
    for (count, name) in others.into_iter().filter(|(count, _)| **count > 0) {
        text += &format!(", {count} {name}");
    }
    text + "\n"
}

fn gc(args: &GcArgs) -> Result<Exit, (Exit, String)> {
    let uri = args.uri.clone().or_else(|| std::env::var("PAGEFOLD_SPILL_URI").ok());
    let uri = uri.ok_or_else(|| {
        (
            Exit::Usage,
            "no service; give an address such as redis://localhost:6379/0; see --help".to_owned(),
        )
    })?;
    let failed = |error: OpendalError| {
        let exit = match error {
            OpendalError::Address(_) | OpendalError::Prefix(_) => Exit::Usage,
            _ => Exit::Failed,
        };
        (exit, error.to_string())
    };
    let operator = connect(&uri).map_err(failed)?;
    let options = CollectOptions::default()
        .older_than(args.older_than)
        .dry_run(args.dry_run)
        .calls(Options::default().timeout(args.timeout));
    let found = collect(operator, &args.prefix, options).map_err(failed)?;
    let report = report(&found, args);
    let text = if args.json {
        let json = serde_json::to_string_pretty(&report);
        json.map_err(|error| (Exit::Failed, error.to_string()))? + "\n"
    } else {
        text(&report)
    };
    print(&text)
        .map_err(|error| (Exit::Failed, format!("the report could not be written: {error}")))?;
    Ok(if report.failed > 0 { Exit::Partial } else { Exit::Success })
}

/// A pipe that the reader closed early is no error.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// One line without control characters. A failure can be reported nowhere.
fn complain(text: &str) {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.replace(char::is_control, "?");
    let _ = writeln!(io::stderr(), "pagefold-spill: {line}");
}

/// The first of clap's paragraphs is the mistake.
fn mistake(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing; try `pagefold spill gc URI` or `pagefold spill gc --help`"
            .to_owned();
    }
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    format!("{}; see --help", first.strip_prefix("error: ").unwrap_or(first))
}

fn main() -> ExitCode {
    let exit = match Cli::try_parse() {
        Ok(Cli { command: CliCommand::Gc(args) }) => gc(&args).unwrap_or_else(|(exit, text)| {
            complain(&text);
            exit
        }),
        Err(error) if error.use_stderr() => {
            complain(&mistake(&error));
            Exit::Usage
        }
        Err(help) => {
            let _ = help.print();
            Exit::Success
        }
    };
    ExitCode::from(exit as u8)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        for (code, exit) in
            [Exit::Success, Exit::Failed, Exit::Usage, Exit::Partial].iter().enumerate()
        {
            assert_eq!(*exit as usize, code);
            assert!(REMARKS.contains(&format!("\n  {code}    ")));
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(age("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "5", "-1s", "m", "1y", "99999999999999999d", "1.5h"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
        for short in ["0", "0s", "119s"] {
            assert!(age(short).is_err_and(|text| text.contains("at least 2m")), "{short}");
        }
    }
}
