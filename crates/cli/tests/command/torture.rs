//! `pagefold torture`: options, bad input, exit codes, JSON keys, injected bugs, traces.

mod bad_input;
mod traces;

use std::{
    ffi::OsStr,
    fs,
    process::{Command, Output, Stdio},
};

use pagefold_pool::Allocator;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::child_signals::with_default_signals;

/// A debug build fills it quickly.
const LIMIT: &str = "4MiB";

fn torture<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pagefold"));
    command.arg("torture").args(args).stdin(Stdio::null()).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the command writes text")
}

/// The JSON of a call with this code and an empty stderr.
fn json(args: &[&str], code: i32) -> Value {
    let output = torture(["--json", "--limit", LIMIT].iter().chain(args));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn runs(document: &Value) -> &Vec<Value> {
    document["runs"].as_array().expect("runs are a list")
}

const FAULTS: &str = "frame=0.005,isolate=0.1,evict=0.3,evict-panic=0.05";

#[test]
fn every_allocator_passes_and_every_key_is_there() {
    let document =
        json(&["--ops", "60000", "--threads", "2", "--seed", "5", "--faults", FAULTS], 0);
    assert_eq!(document["version"], 1);
    assert_eq!(document["seed"], "0x5");
    assert_eq!(document["threads"], 2);
    assert_eq!(document["limit_bytes"], 4 << 20);
    assert_eq!(document["faults"], FAULTS);
    assert!(document["mix"].as_str().is_some_and(|mix| mix.starts_with("alloc=")));
    assert_eq!((&document["passed"], &document["interrupted"]), (&true.into(), &false.into()));
    let names: Vec<&str> =
        runs(&document).iter().filter_map(|run| run["allocator"].as_str()).collect();
    let all: Vec<&str> = Allocator::ALL.iter().map(|allocator| allocator.name()).collect();
    assert_eq!(names, all);
    for run in runs(&document) {
        assert_eq!((&run["outcome"], &run["injected_bug"]), (&"passed".into(), &Value::Null));
        assert!(run["operations"].as_u64() >= Some(60_000), "{run}");
        for key in ["seconds", "cycles", "payload_bytes_max", "resident_bytes_end", "skipped"] {
            assert!(run[key].is_number(), "{key}: {run}");
        }
        for kind in [
            "store",
            "read",
            "read_held",
            "compact",
            "migrate",
            "alloc_contiguous",
            "limit_lowered",
        ] {
            assert!(run["counts"][kind].as_u64() > Some(0), "{kind}: {run}");
        }
        for fault in ["frame", "isolate"] {
            assert!(run["injected"][fault].as_u64() > Some(0), "{fault}: {run}");
        }
        assert!(run["missing"].is_array() && run["digest"].is_string(), "{run}");
        assert!(run["failure"].is_null(), "{run}");
    }
}

#[test]
fn the_table_has_a_column_for_each_allocator_and_a_line_for_each_run() {
    let output = torture(["--ops", "3000", "--threads", "2", "--limit", LIMIT]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let table = text(&output.stdout);
    for allocator in Allocator::ALL {
        assert!(table.contains(&format!("{allocator}: passed")), "{table}");
    }
    for words in ["stored", "reads held open", "fault: found isolated", "cycles", "most payload"] {
        assert!(table.contains(words), "{words}: {table}");
    }
    assert!(!table.contains("digest"), "threads have none: {table}");
    assert!(table.starts_with("seed 0x"), "the seed is printed: {table}");
}

#[test]
fn one_thread_follows_from_the_seed() {
    let digests = |seed: &str| -> Vec<Value> {
        let document = json(&["--threads", "1", "--ops", "8000", "--seed", seed], 0);
        runs(&document).iter().map(|run| run["digest"].clone()).collect()
    };
    let first = digests("0x11");
    assert_eq!(first, digests("17"));
    assert_ne!(first, digests("18"));
}

#[test]
fn a_mix_leaves_out_what_it_does_not_name() {
    let document =
        json(&["--mix", "alloc=30,free=25,read=45", "--ops", "20000", "--allocator", "nbud"], 0);
    let counts = &runs(&document)[0]["counts"];
    assert!(counts["store"].as_u64() > Some(0) && counts["read"].as_u64() > Some(0), "{counts}");
    for kind in ["write", "compact", "migrate", "alloc_contiguous", "trim", "limit_lowered"] {
        assert_eq!(counts[kind], 0, "{kind}: {counts}");
    }
}

#[test]
fn faults_that_are_turned_off_do_not_happen() {
    let document = json(&["--faults", "none", "--ops", "20000", "--allocator", "zbud"], 0);
    let injected = runs(&document)[0]["injected"].as_object().expect("an object").clone();
    assert!(injected.values().all(|count| *count == 0), "{injected:?}");
}

#[test]
fn seconds_are_shared_by_the_runs() {
    let begin = std::time::Instant::now();
    for threads in ["1", "2"] {
        let document = json(&["--seconds", "1", "--threads", threads], 0);
        assert_eq!(runs(&document).len(), Allocator::ALL.len());
    }
    // Each run ends with its checks.
    assert!(begin.elapsed().as_secs() < 60, "{:?}", begin.elapsed());
}

#[test]
fn every_injected_bug_is_caught_with_every_allocator() {
    for threads in ["1", "2"] {
        let document = json(&["--inject-bug", "--ops", "60000", "--threads", threads], 0);
        assert_eq!(runs(&document).len(), 3 * Allocator::ALL.len());
        for run in runs(&document) {
            assert_eq!(run["outcome"], "caught", "{threads} threads: {run}");
            assert!(run["failure"]["message"].is_string(), "{run}");
            assert!(run["injected_bug"].is_string(), "{run}");
        }
        assert_eq!(document["passed"], false);
    }
    let document = json(&["--inject-bug=stale", "--ops", "60000", "--allocator", "map"], 0);
    assert_eq!(runs(&document)[0]["injected_bug"], "stale");
}

#[test]
fn an_injected_bug_that_is_not_caught_has_a_code_of_its_own() {
    // With this seed no bug is injected into the first three calls.
    let output = torture([
        "--inject-bug=flip",
        "--ops",
        "3",
        "--allocator",
        "map",
        "--threads",
        "1",
        "--seed",
        "1",
    ]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert!(text(&output.stdout).contains("NOT caught"), "{output:?}");
}

#[test]
fn what_an_interrupted_run_found_is_said() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pagefold"));
    command.args(["torture", "--allocator", "nbud", "--threads", "1", "--seconds", "600"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let child = with_default_signals(&mut command).spawn().expect("it runs");
    // After a tenth of a second of computing the run is under way.
    let computed = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it runs");
        let mut fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
        fields.nth(11).and_then(|ticks| ticks.parse::<u64>().ok()).expect("a number")
    };
    while computed() < 10 {
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::INT).expect("it is our child");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let shown = text(&output.stdout);
    let line = shown.lines().last().expect("it has a report");
    assert!(
        line.starts_with("nbud: interrupted after ") && line.ends_with(" s; no errors found"),
        "{shown}"
    );
}

#[test]
fn help_has_the_exit_codes_and_every_kind() {
    let help = torture(["--help"]);
    let help = text(&help.stdout);
    for words in
        ["Exit codes:", "stalled", "lost-frame", "evict-panic", "reclaim", "docs/TORTURE.md"]
    {
        assert!(help.contains(words), "{words}: {help}");
    }
}
